"""Table fix_message."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once, params
from trisagion.session_ports import SessionMessage

_m: Final = t.fix_message.c
_ADD: Final = insert_once(t.fix_message)
_LAST: Final = sa.select(sa.func.max(_m.number)).where(_m.session == sa.bindparam("session"))
_NAMED_BY: Final = (11, 41)


class Messages:
    """`ports.MessageStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, messages: Sequence[SessionMessage]) -> None:
        """Record messages; those that are there already change nothing."""
        self._session.write(_ADD, [params(message) | {"text": _bytes(message.text)} for message in messages])

    def last_number(self, session: str) -> int:
        """Return the number of a session's newest message, 0 when there is none."""
        number: int | None = self._session.scalar(_LAST, {"session": session})
        return number or 0

    def messages(
        self, session: str | None, names: Sequence[str], since_ns: int, after: tuple[int, str, int], count: int
    ) -> Sequence[SessionMessage]:
        """Return messages of a session, or of all, in order of time; with `names` those that hold one as 11 or 41."""
        order = sa.tuple_(_m.at_ns, _m.session, _m.number)
        conditions: list[Any] = [_m.at_ns >= max(since_ns, after[0]), order > sa.tuple_(*after)]
        if session is not None:
            conditions.append(_m.session == session)
        if names:
            conditions.append(sa.or_(*(_holds(tag, name) for tag in _NAMED_BY for name in names)))
        query = sa.select(t.fix_message).where(*conditions).order_by(_m.at_ns, _m.session, _m.number).limit(count)
        return [read_message(row) for row in self._session.rows(query)]


def _holds(tag: int, name: str) -> Any:
    """Say in SQL that a message holds a field; bytes are compared, so that no letter stands for any other."""
    return sa.func.instr(_m.text, sa.literal(_bytes(f"\x01{tag}={name}\x01"), sa.LargeBinary())) > 0


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def read_message(row: Sequence[Any]) -> SessionMessage:
    """Read a row of table fix_message."""
    values = list(row)
    values[-1] = values[-1].decode(errors="surrogateescape")
    return SessionMessage(*values)
