"""Tables audit_outbox and audit_event.

A transaction's records are collected and written in one statement just before its commit: they cost the order path one
round trip, wherever in it they were made, and no lock that anybody waits for.
"""

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session
from trisagion.safety.audit import Link, Record, Witness, canonical, shard_of
from trisagion.units import plain

_o: Final = t.audit_outbox.c
_e: Final = t.audit_event.c
_ADD: Final = sa.insert(t.audit_outbox)
_WAITING: Final = sa.select(_o.shard, sa.func.count()).group_by(_o.shard).order_by(_o.shard)
_OUTBOX: Final = (
    sa.select(_o.seq, *(_o[name] for name in Record._fields))
    .where(_o.shard == sa.bindparam("shard"))
    .order_by(_o.seq)
    .limit(sa.bindparam("count", type_=sa.Integer()))
)
_APPEND: Final = sa.insert(t.audit_event)
_TAKE_OUT: Final = sa.delete(t.audit_outbox).where(_o.seq.in_(sa.bindparam("numbers", expanding=True)))
_LINK: Final = sa.select(*(_e[name] for name in Link._fields)).where(_e.shard == sa.bindparam("shard"))
_HEAD: Final = _LINK.order_by(_e.seq.desc()).limit(1)
_ROW: Final = _LINK.where(_e.seq == sa.bindparam("number"))
_ROWS: Final = (
    _LINK.where(_e.seq > sa.bindparam("after")).order_by(_e.seq).limit(sa.bindparam("count", type_=sa.Integer()))
)
_SHARDS: Final = sa.select(_e.shard).distinct().order_by(_e.shard)
_REACH: Final = sa.select(sa.func.min(_e.seq), sa.func.max(_e.seq)).where(
    _e.shard == sa.bindparam("shard"), _e.at_ns >= sa.bindparam("since_ns"), _e.at_ns < sa.bindparam("until_ns")
)
OPERATOR: Final = "operator"
"""The member of a detail that names the person who did it."""


class AuditBook:
    """`audit_ports.AuditStore`."""

    def __init__(self, session: Session, witness: Witness) -> None:
        self._session = session
        self._witness = witness
        self._notes: list[Record] = []

    def note(self, kind: str, subject: str, detail: Mapping[str, str]) -> None:
        """Record what happens in this transaction; it is kept when the transaction is."""
        by = self._witness
        self._notes.append(
            Record(
                shard=shard_of(kind),
                at_ns=time.time_ns(),
                monotonic_ns=time.monotonic_ns(),
                host=by.host,
                actor=detail.get(OPERATOR) or by.actor,
                build=by.build,
                config=by.config,
                kind=kind,
                subject=subject,
                detail=canonical(detail),
            )
        )

    def flush(self) -> None:
        """Write what was noted; the last statement of a transaction."""
        if self._notes:
            self._session.write(_ADD, [record._asdict() for record in self._notes])
            self._notes = []

    def waiting(self) -> Mapping[str, int]:
        """Return how many records of each shard wait to be linked, where any do."""
        return dict(map(tuple, self._session.rows(_WAITING)))

    def outbox(self, shard: str, count: int) -> Sequence[tuple[int, Record]]:
        """Return the oldest records of a shard that wait, with their numbers there, `count` at most."""
        rows = self._session.rows(_OUTBOX, {"shard": shard, "count": count})
        return [(number, Record(*record)) for number, *record in rows]

    def move(self, numbers: Sequence[int], links: Sequence[Link]) -> None:
        """Append links to their chain, and take the records with these numbers out of the outbox."""
        assert len(numbers) == len(links), (len(numbers), len(links))
        self._session.write(_APPEND, [link._asdict() for link in links])
        gone = self._session.write(_TAKE_OUT, {"numbers": numbers})
        assert gone == len(numbers), (gone, len(numbers))

    def shards(self) -> Sequence[str]:
        """Return the shards that have a chain."""
        return [shard for (shard,) in self._session.rows(_SHARDS)]

    def head(self, shard: str) -> Link | None:
        """Return the last row of a chain."""
        row = self._session.row(_HEAD, {"shard": shard})
        return None if row is None else Link(*row)

    def row(self, shard: str, seq: int) -> Link | None:
        """Return one row of a chain."""
        row = self._session.row(_ROW, {"shard": shard, "number": seq})
        return None if row is None else Link(*row)

    def rows(self, shard: str, after: int, count: int) -> Sequence[Any]:
        """Return the rows of a chain after a number, in order and in the order of `Link`'s fields, `count` at most."""
        return self._session.rows(_ROWS, {"shard": shard, "after": after, "count": count})

    def reach(self, shard: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        """Return the first and the last number of a chain's rows in a span of time, its end outside; (1, 0): none."""
        first, last = self._session.row(_REACH, {"shard": shard, "since_ns": since_ns, "until_ns": until_ns})
        return (1, 0) if first is None else (first, last)


def told(values: Mapping[str, Any], *without: str) -> dict[str, str]:
    """Write a row's columns as texts for a detail, without those that are empty."""
    return {
        name: plain(value) if isinstance(value, Decimal) else str(value)
        for name, value in values.items()
        if value is not None and name not in without
    }
