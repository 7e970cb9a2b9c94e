"""Tables session_minute and loss_record, and what orders, execution and event say of the last minutes."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from trisagion.adapters.db import control_tables as stops
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.lately_tables import loss_record, session_minute
from trisagion.adapters.db.session import Session, Write, params, upsert
from trisagion.clock import MINUTE_NS, floor_ns
from trisagion.lately_ports import Made
from trisagion.orders.rejects import REMEDIES, Remedy
from trisagion.orders.state import AT_VENUE, OrderState
from trisagion.orders.types import ExecType, Side
from trisagion.risk.panic import LossRecord
from trisagion.safety.modes import Level, Mode

_COUNTS: Final = ("messages", "trades")
_SIDES: Final = [side.value for side in Side]


def _adding() -> Write:
    lite, my = sqlite.insert(session_minute), mysql.insert(session_minute)
    return Write(
        lite.on_conflict_do_update(set_={name: session_minute.c[name] + lite.excluded[name] for name in _COUNTS}),
        my.on_duplicate_key_update({name: session_minute.c[name] + my.inserted[name] for name in _COUNTS}),
    )


_COUNT: Final = _adding()
_COUNTED: Final = sa.select(sa.func.sum(session_minute.c.messages), sa.func.sum(session_minute.c.trades)).where(
    session_minute.c.minute_ns >= sa.bindparam("since_ns")
)
_MADE: Final = (
    sa.select(*(t.orders.c[name] for name in Made.__slots__))
    .where(
        # Every state by name: so the index by state and creation is one short range for each.
        t.orders.c.state.in_(sorted(set(OrderState) - {OrderState.DENIED})),
        t.orders.c.created_ns >= sa.bindparam("since_ns"),
        t.orders.c.symbol.in_(sa.bindparam("symbols", expanding=True)),
    )
    .order_by(t.orders.c.created_ns, t.orders.c.cl_ord_id)
)
_AT_VENUE: Final = (
    sa.select(t.orders.c.symbol).where(t.orders.c.state.in_(sorted(AT_VENUE))).distinct().order_by(t.orders.c.symbol)
)
_FILLED: Final = (
    sa.select(t.execution.c.cl_ord_id)
    .where(
        t.execution.c.symbol == sa.bindparam("symbol"),
        t.execution.c.side == sa.bindparam("side"),
        t.execution.c.happened_ns >= sa.bindparam("since_ns"),
        t.execution.c.exec_type.in_([ExecType.TRADE, ExecType.TRADE_CORRECT]),
    )
    .distinct()
    .limit(sa.bindparam("limit"))
)
_ANSWERS: Final = (
    sa.select(t.execution.c.exec_type, t.execution.c.happened_ns)
    .where(
        t.execution.c.venue == sa.bindparam("venue"),
        t.execution.c.exec_type.in_([ExecType.NEW, ExecType.REJECTED]),
        sa.or_(
            t.execution.c.reject.is_(None),
            t.execution.c.reject.not_in(
                sorted(reject for reject, remedy in REMEDIES.items() if remedy in {Remedy.REPRICE, Remedy.WAIT})
            ),
        ),
    )
    .order_by(t.execution.c.seq.desc())
    .limit(sa.bindparam("limit"))
)
EVENTS_LOOKED_AT: Final = 256
"""Of the newest events so many are looked at: a cascade is of this moment, and there is no index by time."""
ERRORS: Final = (
    "execution.contradicted",
    "execution.quarantined",
    "message.quarantined",
    "order.refused",
    "session.alarm",
)
"""Kinds of events that tell of an error of a venue or its session."""
_NEWEST: Final = (
    sa.select(t.event.c.kind, t.event.c.at_ns).order_by(t.event.c.seq.desc()).limit(EVENTS_LOOKED_AT).subquery()
)
_ERRORS: Final = sa.select(sa.func.count()).where(
    _NEWEST.c.kind.in_(ERRORS), _NEWEST.c.at_ns >= sa.bindparam("since_ns")
)
_RELEASED: Final = (
    sa.select(stops.control_level.c.set_ns)
    .where(
        stops.control_level.c.level == sa.bindparam("its_level"),
        stops.control_level.c.name == sa.bindparam("its_name"),
        stops.control_level.c.mode == Mode.NORMAL,
    )
    .order_by(stops.control_level.c.seq.desc())
    .limit(1)
)
_LOSSES: Final = sa.select(*(column for column in loss_record.c if column.name != "id"))
_PUT_LOSSES: Final = upsert(loss_record)
_LOSSES_ID: Final = 1


class Lately:
    """`lately_ports.LatelyStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, session: str, at_ns: int, *, messages: int = 0, trades: int = 0) -> None:
        """Add to what was said on a session in the minute of an instant."""
        named = {"session": session, "minute_ns": floor_ns(at_ns, MINUTE_NS)}
        self._session.write(_COUNT, {**named, "messages": messages, "trades": trades})

    def counted(self, since_ns: int) -> tuple[int, int]:
        """Return messages and trades of all sessions in the minutes that began at an instant or later."""
        messages, trades = self._session.row(_COUNTED, {"since_ns": since_ns})
        return int(messages or 0), int(trades or 0)

    def made(self, symbols: Sequence[str], since_ns: int) -> Sequence[Made]:
        """Return some symbols' orders, made since an instant and not denied, in order of creation, then id."""
        rows = self._session.rows(_MADE, {"symbols": symbols, "since_ns": since_ns})
        # What no order of ours says is put away by `OrderStore.set_aside`.
        return [
            Made(created_ns, name, intent, symbol, Side(side), qty, price)
            for created_ns, name, intent, symbol, side, qty, price in rows
            if side in _SIDES
        ]

    def at_venue(self) -> Sequence[str]:
        """Return the symbols of which a venue may hold an order of ours, in order; also of one that cannot be read."""
        return [symbol for (symbol,) in self._session.rows(_AT_VENUE)]

    def traded(self, symbol: str, side: Side, since_ns: int, count_max: int) -> int:
        """Return how many orders of a symbol and side were filled at an instant or later, `count_max` at most."""
        values = {"symbol": symbol, "side": side.value, "since_ns": since_ns, "limit": count_max}
        return len(self._session.rows(_FILLED, values))

    def answers(self, venue: str, count: int) -> Sequence[int | None]:
        """Return what a venue said last of `count` new orders, newest first: None for a word of it, or when it refused.

        A refusal that a new attempt may follow is left out.
        """
        rows = self._session.rows(_ANSWERS, {"venue": venue, "limit": count})
        return [happened_ns if exec_type == ExecType.REJECTED else None for exec_type, happened_ns in rows]

    def errors(self, since_ns: int) -> int:
        """Return how many of the newest events tell of an error of a venue or its session, at an instant or later."""
        count: int = self._session.scalar(_ERRORS, {"since_ns": since_ns})
        return count

    def released_ns(self, level: Level, name: str) -> int:
        """Return when people last released a part of the platform by itself, 0 when they never did."""
        found: int | None = self._session.scalar(_RELEASED, {"its_level": level.value, "its_name": name})
        return found or 0

    def losses(self) -> LossRecord | None:
        """Return how the account's marks went, None before the first one."""
        row = self._session.row(_LOSSES)
        return None if row is None else LossRecord(*row)

    def put_losses(self, record: LossRecord) -> None:
        """Insert or replace it."""
        self._session.write(_PUT_LOSSES, params(record) | {"id": _LOSSES_ID})
