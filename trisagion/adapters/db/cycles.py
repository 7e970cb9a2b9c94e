"""Tables reconcile_cycle and decision."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once, params
from trisagion.ids import CycleId, IntentKey
from trisagion.orders.types import Intent, Side
from trisagion.ports import Cycle, Decision
from trisagion.risk_ports import PastIntent

_DONE: Final = "done"

_CYCLE: Final = sa.select(t.reconcile_cycle).where(t.reconcile_cycle.c.cycle_id == sa.bindparam("cycle_id"))
_CYCLE_LOCKED: Final = _CYCLE.with_for_update()
_OPEN: Final = insert_once(t.reconcile_cycle)
_SAVE: Final = (
    sa.update(t.reconcile_cycle)
    .where(
        t.reconcile_cycle.c.cycle_id == sa.bindparam("its_id"),
        t.reconcile_cycle.c.version == sa.bindparam("its_version"),
    )
    .values({name: sa.bindparam(name) for name in ("due_ns", "stage", "outcome", "version")})
)
_UNFINISHED: Final = (
    sa.select(t.reconcile_cycle)
    # Two ranges rather than "not equal": both servers read them from the index on stage.
    .where(sa.or_(t.reconcile_cycle.c.stage < _DONE, t.reconcile_cycle.c.stage > _DONE))
    .order_by(t.reconcile_cycle.c.due_ns)
)
_DUE_BETWEEN: Final = (
    sa.select(t.reconcile_cycle.c.due_ns)
    .where(t.reconcile_cycle.c.due_ns.between(sa.bindparam("first_ns"), sa.bindparam("last_ns")))
    .order_by(t.reconcile_cycle.c.due_ns)
)
_DECIDED: Final = sa.select(t.decision.c.symbol, t.decision.c.intent).where(
    t.decision.c.cycle_id == sa.bindparam("cycle_id")
)
_ADD_DECISION: Final = insert_once(t.decision)
_LAST_DECISIONS: Final = (
    sa.select(t.decision)
    .join(t.reconcile_cycle, t.reconcile_cycle.c.cycle_id == t.decision.c.cycle_id)
    .where(t.decision.c.symbol == sa.bindparam("symbol"))
    .order_by(t.reconcile_cycle.c.due_ns.desc())
    .limit(sa.bindparam("count", type_=sa.Integer()))
)
_APPROVED: Final = (
    sa.select(
        t.reconcile_cycle.c.due_ns,
        t.decision.c.actual,
        t.orders.c.session,
        *(t.decision.c[name] for name in ("intent", "cycle_id", "symbol", "delta")),
        t.orders.c.taker,
    )
    .join(t.decision, t.decision.c.cycle_id == t.reconcile_cycle.c.cycle_id)
    .join(t.orders, sa.and_(t.orders.c.intent == t.decision.c.intent, t.orders.c.attempt == 0))
    .where(t.reconcile_cycle.c.due_ns > sa.bindparam("after_ns"))
    .order_by(t.reconcile_cycle.c.due_ns.desc(), t.decision.c.symbol.desc())
    .limit(sa.bindparam("count", type_=sa.Integer()))
)


class Cycles:
    """`ports.CycleStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def cycle(self, cycle_id: CycleId) -> Cycle | None:
        """Return a cycle; in a transaction it is locked against other writers until the end."""
        statement = _CYCLE_LOCKED if self._session.writable else _CYCLE
        row = self._session.row(statement, {"cycle_id": cycle_id})
        return None if row is None else Cycle(*row)

    def open_cycle(self, cycle: Cycle) -> bool:
        """Insert a cycle; False when it is there already."""
        return self._session.write(_OPEN, params(cycle)) == 1

    def save_cycle(self, cycle: Cycle) -> bool:
        """Replace the cycle whose version is `cycle.version - 1`; False when another writer was first."""
        values = params(cycle)
        values |= {"its_id": values.pop("cycle_id"), "its_version": cycle.version - 1}
        return self._session.write(_SAVE, values) == 1

    def unfinished(self) -> Sequence[Cycle]:
        """Return the cycles that are not done, oldest first."""
        return [Cycle(*row) for row in self._session.rows(_UNFINISHED)]

    def due_between(self, first_ns: int, last_ns: int) -> Sequence[int]:
        """Return the instants of the cycles that were due from `first_ns` to `last_ns`, in order."""
        rows = self._session.rows(_DUE_BETWEEN, {"first_ns": first_ns, "last_ns": last_ns})
        return [due_ns for (due_ns,) in rows]

    def decided(self, cycle_id: CycleId) -> Mapping[str, IntentKey | None]:
        """Return the intent of each symbol that a cycle has decided on, None where it decided for none."""
        return dict(tuple(row) for row in self._session.rows(_DECIDED, {"cycle_id": cycle_id}))

    def add_decision(self, decision: Decision) -> None:
        """Record a decision; the same cycle and symbol again changes nothing."""
        values = params(decision)
        values["reasons"] = json.dumps(decision.reasons, ensure_ascii=False)
        self._session.write(_ADD_DECISION, values)

    def last_decisions(self, symbol: str, count: int) -> Sequence[Decision]:
        """Return the newest `count` decisions on a symbol, newest first."""
        rows = self._session.rows(_LAST_DECISIONS, {"symbol": symbol, "count": count})
        return [read_decision(row) for row in rows]

    def approved(self, after_ns: int, count: int) -> Sequence[PastIntent]:
        """Return the newest `count` intents that cycles due after an instant approved, by instant, then symbol."""
        rows = self._session.rows(_APPROVED, {"after_ns": after_ns, "count": count})
        return [
            PastIntent(
                due_ns, Intent(key, cycle, symbol, Side.BUY if delta > 0 else Side.SELL, abs(delta), taker), held, name
            )
            for due_ns, held, name, key, cycle, symbol, delta, taker in reversed(rows)
        ]


def read_decision(row: Any) -> Decision:
    """Read a row of table decision."""
    values = list(row)
    values[-1] = tuple(json.loads(values[-1]))
    return Decision(*values)
