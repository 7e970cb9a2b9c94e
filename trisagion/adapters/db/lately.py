"""Table session_minute, and what orders and execution say of the last minutes."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.lately_tables import session_minute
from trisagion.adapters.db.session import Session, Write
from trisagion.clock import MINUTE_NS, floor_ns
from trisagion.lately_ports import Made
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side

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
