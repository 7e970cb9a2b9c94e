"""Tables orders (the outbox), order_link (its further ClOrdIDs) and execution (the inbox)."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once, params
from trisagion.errors import StaleOwner
from trisagion.ids import ClOrdId, IntentKey
from trisagion.orders.rejects import Reject
from trisagion.orders.state import LIVE, WORKING, OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, OrderLink, Side, leaves_of
from trisagion.risk.check import NOT_SENT, Load
from trisagion.units import WIDE, Price, Quantity, round_money

_ADD: Final = insert_once(t.orders)
_ORDER: Final = sa.select(t.orders).where(t.orders.c.cl_ord_id == sa.bindparam("cl_ord_id"))
_ORDER_LOCKED: Final = _ORDER.with_for_update()
_SAVE: Final = (
    sa.update(t.orders)
    .where(t.orders.c.cl_ord_id == sa.bindparam("its_id"), t.orders.c.version == sa.bindparam("its_version"))
    .values({column.name: sa.bindparam(column.name) for column in t.orders.c if not column.primary_key})
)
_IN_STATES: Final = (
    sa.select(t.orders)
    .where(t.orders.c.state.in_(sa.bindparam("states", expanding=True)))
    .order_by(t.orders.c.created_ns, t.orders.c.cl_ord_id)
)
_OWN: Final = sa.case(
    (
        t.orders.c.intent.in_(sa.bindparam("intents", expanding=True)) & t.orders.c.state.in_(sorted(NOT_SENT)),
        t.orders.c.intent,
    )
)
_ALIKE: Final = (t.orders.c.symbol, t.orders.c.side, t.orders.c.qty, t.orders.c.cum_qty, t.orders.c.wanted_qty, _OWN)
_LOADS: Final = sa.select(*_ALIKE, sa.func.count()).where(t.orders.c.state.in_(sorted(LIVE))).group_by(*_ALIKE)
"""Grouped and not summed: SQLite has no exact decimals to sum."""
_OUTBOX: Final = (
    sa.select(t.orders)
    .where(
        t.orders.c.session == sa.bindparam("session"),
        sa.or_(
            t.orders.c.state == OrderState.ROUTED,
            t.orders.c.state.in_(sorted(WORKING))
            & (t.orders.c.cancel_reason.is_not(None) | t.orders.c.wanted_qty.is_not(None)),
        ),
    )
    .order_by(t.orders.c.state == OrderState.ROUTED, t.orders.c.created_ns, t.orders.c.cl_ord_id)
    .limit(sa.bindparam("limit"))
)
_LOCKED: Final = (
    sa.select(t.orders)
    .where(t.orders.c.cl_ord_id.in_(sa.bindparam("names", expanding=True)))
    .order_by(t.orders.c.created_ns, t.orders.c.cl_ord_id)
    .with_for_update()
)
_ASK: Final = (
    sa.update(t.orders)
    .where(t.orders.c.cl_ord_id.in_(sa.bindparam("names", expanding=True)))
    .values(
        state=sa.bindparam("asked"),
        updated_ns=sa.case(
            (t.orders.c.updated_ns > sa.bindparam("now_ns"), t.orders.c.updated_ns), else_=sa.bindparam("now_ns")
        ),
        version=t.orders.c.version + 1,
        wanted_qty=None,
        wanted_price=None,
    )
)
_WAITING: Final = (
    sa.select(t.orders)
    .where(t.orders.c.state == OrderState.RISK_CHECKED, t.orders.c.attempt == 0)
    .order_by(t.orders.c.created_ns, t.orders.c.cl_ord_id)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_ROUTE: Final = (
    sa.update(t.orders)
    .where(t.orders.c.cl_ord_id.in_(sa.bindparam("names", expanding=True)))
    .values(
        state=OrderState.ROUTED,
        session=sa.bindparam("its_session"),
        price=sa.bindparam("its_price"),
        updated_ns=sa.bindparam("now_ns"),
        version=t.orders.c.version + 1,
    )
)
_ATTEMPTS: Final = sa.select(t.orders).where(t.orders.c.intent == sa.bindparam("intent")).order_by(t.orders.c.attempt)
_ADD_EXECUTION: Final = insert_once(t.execution)
_ADD_LINK: Final = insert_once(t.order_link)
_LINK: Final = sa.select(t.order_link).where(t.order_link.c.cl_ord_id == sa.bindparam("cl_ord_id"))
_REPORTED: Final = tuple(column.name for column in t.execution.c if column.name not in {"seq", "learned_ns"})
_EXECUTION: Final = sa.select(*(t.execution.c[name] for name in _REPORTED)).where(
    t.execution.c.venue == sa.bindparam("venue"), t.execution.c.exec_id == sa.bindparam("exec_id")
)
_EXECUTION_COUNT: Final = (
    sa.select(sa.func.count()).select_from(t.execution).where(t.execution.c.venue == sa.bindparam("venue"))
)


class Orders:
    """`ports.OrderStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, order: Order) -> bool:
        """Insert an order; False when its id is there already."""
        return self._session.write(_ADD, _params(order)) == 1

    def order(self, cl_ord_id: ClOrdId) -> Order | None:
        """Return an order, locked against other writers until the transaction ends (a snapshot locks nothing)."""
        statement = _ORDER_LOCKED if self._session.writable else _ORDER
        row = self._session.row(statement, {"cl_ord_id": cl_ord_id})
        return None if row is None else read_order(row)

    def save(self, order: Order) -> None:
        """Replace the order whose version is `order.version - 1`; `StaleOwner` when another writer was first."""
        values = _params(order)
        values |= {"its_id": values.pop("cl_ord_id"), "its_version": order.version - 1}
        if self._session.write(_SAVE, values) != 1:
            raise StaleOwner(f"order {order.cl_ord_id}: version {order.version - 1} is not in the database any more")

    def in_states(self, states: frozenset[OrderState]) -> Sequence[Order]:
        """Return the orders in any of the states, in order of creation, then id."""
        return [read_order(row) for row in self._session.rows(_IN_STATES, {"states": sorted(states)})]

    def loads(self, intents: Sequence[IntentKey]) -> tuple[Load, dict[IntentKey, Load]]:
        """Return what all live orders amount to, and for each of some intents its part that was not sent yet."""
        counts = Counter[IntentKey | None]()
        leaves: dict[IntentKey | None, dict[tuple[str, Side], Quantity]] = {key: {} for key in (None, *intents)}
        rows = self._session.rows(_LOADS, {"intents": intents})
        for symbol, side, qty, cum_qty, wanted_qty, own, alike in rows:
            which = (symbol, Side(side))
            left = WIDE.multiply(leaves_of(qty, cum_qty, wanted_qty), alike)
            for key in (None,) if own is None else (None, own):
                counts[key] += alike
                leaves[key][which] = Quantity(WIDE.add(leaves[key].get(which, Decimal(0)), left))
        return Load(counts[None], leaves[None]), {key: Load(counts[key], leaves[key]) for key in intents}

    def outbox(self, session: str, count: int) -> Sequence[Order]:
        """Return what a session has to send: working orders to be cancelled or replaced, then routed ones.

        Each in order of creation, then id, `count` at most.
        """
        return [read_order(row) for row in self._session.rows(_OUTBOX, {"session": session, "limit": count})]

    def locked(self, names: Sequence[ClOrdId]) -> Sequence[Order]:
        """Return the orders of some ids in order of creation, locked against other writers as `order` does."""
        return [read_order(row) for row in self._session.rows(_LOCKED, {"names": names})]

    def ask(self, names: Sequence[ClOrdId], state: OrderState, now_ns: int) -> None:
        """Move orders that this transaction has locked to a state, in one write.

        With the next version, an instant of at least `now_ns`, and nothing wanted of them any more.
        """
        if names:
            changed = self._session.write(_ASK, {"names": names, "asked": state.value, "now_ns": now_ns})
            assert changed == len(names), (changed, names)

    def waiting(self, count: int) -> Sequence[Order]:
        """Return the oldest `count` first attempts that wait for the gateway, locked as `order` does.

        Without those that another transaction holds. Of equal age: in order of id.
        """
        return [read_order(row) for row in self._session.rows(_WAITING, {"limit": count})]

    def route(self, names: Sequence[ClOrdId], session: str, price: Price, now_ns: int) -> None:
        """Move orders that this transaction has locked to ROUTED, to a session at a price, in one write."""
        values = {"names": names, "its_session": session, "its_price": price, "now_ns": now_ns}
        changed = self._session.write(_ROUTE, values)
        assert changed == len(names), (changed, names)

    def attempts(self, intent: IntentKey) -> Sequence[Order]:
        """Return the orders of an intent in order of attempt."""
        return [read_order(row) for row in self._session.rows(_ATTEMPTS, {"intent": intent})]

    def add_execution(self, report: ExecutionReport, learned_ns: int) -> bool:
        """Record an execution report by (venue, exec_id); False when it is there already: then it must not be booked.

        A report without an exec_id (a cancel reject) is news each time it comes: True, whatever was recorded before.
        """
        values = params(report) | {"learned_ns": learned_ns, "avg_px": round_money(report.avg_px)}
        del values["price"]
        if report.exec_id is None:
            values["exec_id"] = f"~{report.cl_ord_id}@{learned_ns}"
        return self._session.write(_ADD_EXECUTION, values) == 1 or report.exec_id is None

    def execution(self, venue: str, exec_id: str) -> ExecutionReport | None:
        """Return a recorded execution report."""
        row = self._session.row(_EXECUTION, {"venue": venue, "exec_id": exec_id})
        return None if row is None else read_execution(row)

    def add_link(self, link: OrderLink) -> None:
        """Record a ClOrdID that a replace gives to an order; the same again changes nothing."""
        self._session.write(_ADD_LINK, params(link))

    def link(self, cl_ord_id: ClOrdId) -> OrderLink | None:
        """Return what a ClOrdID beyond an order's first one belongs to."""
        row = self._session.row(_LINK, {"cl_ord_id": cl_ord_id})
        return None if row is None else OrderLink(*row)

    def execution_count(self, venue: str) -> int:
        """Return how many execution reports of a venue were recorded."""
        count: int = self._session.scalar(_EXECUTION_COUNT, {"venue": venue})
        return count


def _params(order: Order) -> dict[str, Any]:
    # The average is the venue's quotient and may have any number of places; prices and quantities must fit as they are.
    return params(order) | {"avg_px": round_money(order.avg_px)}


def read_order(row: Sequence[Any]) -> Order:
    """Read the columns of table orders."""
    cl_ord_id, intent, cycle, attempt, symbol, side, qty, taker, state, *rest = row
    return Order(cl_ord_id, intent, cycle, attempt, symbol, Side(side), qty, taker, OrderState(state), *rest)


def read_execution(row: Sequence[Any]) -> ExecutionReport:
    """Read the columns of table execution but its first and its last."""
    values = dict(zip(_REPORTED, row, strict=True))
    liquidity, reject = values["liquidity"], values["reject"]
    values |= {
        "exec_type": ExecType(values["exec_type"]),
        "ord_status": OrderState(values["ord_status"]),
        "side": Side(values["side"]),
        "liquidity": None if liquidity is None else Liquidity(liquidity),
        "reject": None if reject is None else Reject(reject),
    }
    return ExecutionReport(**values)
