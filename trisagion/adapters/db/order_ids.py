"""Table ib_order_id."""

from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once

_BEGIN: Final = insert_once(t.ib_order_id)
_NEXT: Final = (
    sa.select(t.ib_order_id.c.next_id).where(t.ib_order_id.c.session == sa.bindparam("session")).with_for_update()
)
_SAVE: Final = (
    sa.update(t.ib_order_id)
    .where(t.ib_order_id.c.session == sa.bindparam("its_session"))
    .values(next_id=sa.bindparam("after"))
)


class OrderIdRows:
    """`session_ports.OrderIdStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def reserve(self, session: str, floor: int, count: int) -> int:
        """Return the first of `count` order ids that were never given before; it is `floor` at least."""
        self._session.write(_BEGIN, {"session": session, "next_id": floor})
        row = self._session.row(_NEXT, {"session": session})
        assert row is not None, session
        first = max(int(row.next_id), floor)
        self._session.write(_SAVE, {"its_session": session, "after": first + count})
        return first
