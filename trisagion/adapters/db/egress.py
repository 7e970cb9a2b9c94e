"""Table egress_event."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once, params
from trisagion.gateway.egress import EgressCount, EgressEvent, What

_ADD: Final = insert_once(t.egress_event)
_SESSIONS: Final = sa.select(t.egress_event.c.session).distinct().order_by(t.egress_event.c.session)
_COUNTS: Final = (
    sa.select(sa.func.count().label("times"), sa.func.max(t.egress_event.c.seq).label("newest"))
    .where(t.egress_event.c.session == sa.bindparam("session"))
    .group_by(t.egress_event.c.path, t.egress_event.c.what)
    .subquery()
)
_NEWEST: Final = (
    sa.select(t.egress_event, _COUNTS.c.times)
    .join(_COUNTS, _COUNTS.c.newest == t.egress_event.c.seq)
    .order_by(t.egress_event.c.seq)
)
_EVENTS: Final = (
    sa.select(t.egress_event)
    .where(t.egress_event.c.session == sa.bindparam("session"))
    .order_by(t.egress_event.c.seq.desc())
    .limit(sa.bindparam("count", type_=sa.Integer()))
)


class Egress:
    """`session_ports.EgressStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, event: EgressEvent) -> None:
        """Record an event; the same again changes nothing."""
        self._session.write(_ADD, params(event))

    def sessions(self) -> Sequence[str]:
        """Return the sessions of which there is a record, in order."""
        return [session for (session,) in self._session.rows(_SESSIONS)]

    def counts(self, session: str) -> Sequence[EgressCount]:
        """Return the newest event of each kind on each path, oldest first, and how many there were."""
        rows = self._session.rows(_NEWEST, {"session": session})
        return [EgressCount(_event(row), row.times) for row in rows]

    def events(self, session: str, count: int) -> Sequence[EgressEvent]:
        """Return the newest `count` events of a session, oldest first."""
        return [_event(row) for row in reversed(self._session.rows(_EVENTS, {"session": session, "count": count}))]


def _event(row: sa.Row[tuple[object, ...]]) -> EgressEvent:
    return EgressEvent(row.session, row.at_ns, row.path, What(row.what), row.why)
