"""Tables audit_event, audit_mark and audit_note, and the reading of the tables that the chain tells of.

Rows are read as the driver gives them, without the types of `columns`: what is chained is what stands there, also where
none of ours wrote it.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import audit_tables as own
from trisagion.adapters.db import control_tables as stops
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session
from trisagion.orders.state import LIVE, TERMINAL, OrderState
from trisagion.safety.audit import (
    DECISION,
    NUMBERED,
    ORDER,
    ORDER_LINK,
    SMALL,
    Hole,
    Link,
    Mark,
    Witness,
    canonical,
    row_detail,
)

_e: Final = own.audit_event.c
_o: Final = t.orders.c
_TABLES: Final = stops.signed_command.metadata.tables
_NUMBERED: Final = {name: _TABLES[name] for names in NUMBERED.values() for name in names}
_SMALL: Final = {name: _TABLES[name] for names in SMALL.values() for name in names}
_SOURCES: Final = {**_NUMBERED, **_SMALL, ORDER: t.orders, DECISION: t.decision, ORDER_LINK: t.order_link}
_NAMES: Final = {name: sorted(column.name for column in table.c) for name, table in _SOURCES.items()}
_COLUMNS: Final = {
    name: [sa.type_coerce(table.c[column], sa.types.NULLTYPE).label(column) for column in _NAMES[name]]
    for name, table in _SOURCES.items()
}
_NUMBER: Final = {name: table.c.seq for name, table in _NUMBERED.items()}


def _text(column: Any) -> Any:
    return sa.cast(column, sa.String(32))


_KEY: Final[dict[str, Any]] = {
    **{name: _text(number) for name, number in _NUMBER.items()},
    **{name: _text(table.c.version) for name, table in _SMALL.items()},
    ORDER: _o.cl_ord_id + sa.literal("/", sa.String()) + _text(_o.version),
    DECISION: t.decision.c.cycle_id + sa.literal(" ", sa.String()) + t.decision.c.symbol,
    ORDER_LINK: t.order_link.c.cl_ord_id,
}
"""What names a row in the chain."""

_FOUND_BY: Final[dict[str, Any]] = {
    **_NUMBER,
    **{name: table.c.version for name, table in _SMALL.items()},
    ORDER: _o.cl_ord_id,
    DECISION: t.decision.c.cycle_id,
    ORDER_LINK: t.order_link.c.cl_ord_id,
}
"""The column by which rows are looked up when their keys are known."""


def _unchained(name: str) -> Any:
    which = sa.select(sa.literal(1)).where(_e.source == sa.literal(name), _e.row_key == _KEY[name])
    return ~which.correlate(_SOURCES[name]).exists()


_COUNT: Final = sa.bindparam("count", type_=sa.Integer())
_FRESH: Final = {
    name: sa.select(number, *_COLUMNS[name]).where(number > sa.bindparam("after")).order_by(number).limit(_COUNT)
    for name, number in _NUMBER.items()
}
_BEYOND: Final = {
    name: sa.select(sa.func.count()).where(number > sa.bindparam("after")) for name, number in _NUMBER.items()
}
_LOST: Final = {
    name: sa.select(number).where(number <= sa.bindparam("upto"), _unchained(name)).order_by(number).limit(_COUNT)
    for name, number in _NUMBER.items()
}
_OF_SMALL: Final = {
    name: sa.select(_KEY[name], *_COLUMNS[name]).where(_unchained(name)).order_by(table.c.version).limit(_COUNT)
    for name, table in _SMALL.items()
}
_NEW_ORDERS: Final = (
    sa.select(_KEY[ORDER], _o.created_ns, _o.cl_ord_id, _o.links, *_COLUMNS[ORDER])
    .where(_unchained(ORDER))
    .order_by(_o.created_ns, _o.cl_ord_id)
    .limit(_COUNT)
)
_ORDERS_SINCE: Final = _NEW_ORDERS.where(_o.state.in_(sorted(OrderState)), _o.created_ns >= sa.bindparam("since_ns"))
_ORDERS_NAMED: Final = _NEW_ORDERS.where(_o.cl_ord_id.in_(sa.bindparam("names", expanding=True)))
_LIVE: Final = sa.select(_o.cl_ord_id).where(_o.state.in_(sorted(LIVE))).order_by(_o.cl_ord_id)
_LOST_ORDERS: Final = (
    sa.select(_o.cl_ord_id)
    .where(_o.state.in_(sorted(TERMINAL)), _o.created_ns <= sa.bindparam("upto"), _unchained(ORDER))
    .order_by(_o.created_ns, _o.cl_ord_id)
    .limit(_COUNT)
)
_REPORTED: Final = sa.select(t.execution.c.cl_ord_id).where(t.execution.c.seq > sa.bindparam("after")).distinct()
_FIRST_IDS: Final = sa.select(t.order_link.c.first_id).where(
    t.order_link.c.cl_ord_id.in_(sa.bindparam("names", expanding=True))
)
_LINKS: Final = (
    sa.select(_KEY[ORDER_LINK], *_COLUMNS[ORDER_LINK])
    .where(t.order_link.c.cl_ord_id.in_(sa.bindparam("names", expanding=True)), _unchained(ORDER_LINK))
    .order_by(t.order_link.c.cl_ord_id)
)
_due: Final = t.reconcile_cycle.c.due_ns
_OF_CYCLES: Final = t.decision.join(t.reconcile_cycle, t.reconcile_cycle.c.cycle_id == t.decision.c.cycle_id)
_DECISIONS: Final = (
    sa.select(_KEY[DECISION], _due, *_COLUMNS[DECISION])
    .select_from(_OF_CYCLES)
    .where(_due >= sa.bindparam("since_ns"), _unchained(DECISION))
    .order_by(_due, t.decision.c.symbol)
    .limit(_COUNT)
)
_LOST_DECISIONS: Final = (
    sa.select(_KEY[DECISION])
    .select_from(_OF_CYCLES)
    .where(_due <= sa.bindparam("upto"), _unchained(DECISION))
    .order_by(_due, t.decision.c.symbol)
    .limit(_COUNT)
)
_AT: Final = {
    name: sa.select(_KEY[name], *_COLUMNS[name]).where(column.in_(sa.bindparam("parts", expanding=True)))
    for name, column in _FOUND_BY.items()
}
AT_MAX: Final = 1_000
"""Rows that are asked for by their keys in one statement."""

_ADD_NOTE: Final = sa.insert(own.audit_note)
_APPEND: Final = sa.insert(own.audit_event)
_MARKS: Final = sa.select(own.audit_mark).where(own.audit_mark.c.source.in_(sa.bindparam("sources", expanding=True)))
_ADD_MARK: Final = sa.insert(own.audit_mark)
_SAVE_MARK: Final = (
    sa.update(own.audit_mark)
    .where(
        own.audit_mark.c.source == sa.bindparam("its_source"), own.audit_mark.c.version == sa.bindparam("its_version")
    )
    .values({name: sa.bindparam(name) for name in ("version", "upto", "state")})
)
_LINK: Final = sa.select(*(_e[name] for name in Link._fields)).where(_e.shard == sa.bindparam("shard"))
_HEAD: Final = _LINK.order_by(_e.seq.desc()).limit(1)
_ROW: Final = _LINK.where(_e.seq == sa.bindparam("number"))
_ROWS: Final = _LINK.where(_e.seq > sa.bindparam("after")).order_by(_e.seq).limit(_COUNT)
_SHARDS: Final = sa.select(_e.shard).distinct().order_by(_e.shard)
_REACH: Final = sa.select(sa.func.min(_e.seq), sa.func.max(_e.seq)).where(
    _e.shard == sa.bindparam("shard"), _e.at_ns >= sa.bindparam("since_ns"), _e.at_ns < sa.bindparam("until_ns")
)


class AuditBook:
    """`audit_ports.AuditStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, by: Witness, kind: str, subject: str, detail: Mapping[str, str]) -> None:
        """Add to the notes, with both clocks of this machine."""
        values = {"at_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns(), **asdict(by)}
        self._session.write(_ADD_NOTE, values | {"kind": kind, "subject": subject, "detail": canonical(detail)})

    def marks(self, sources: Iterable[str]) -> dict[str, Mark]:
        """Return how far each of some tables was read, a new mark where nothing was."""
        found = {row.source: row for row in self._session.rows(_MARKS, {"sources": list(sources)})}
        return {name: _mark(found[name]) if name in found else Mark(name) for name in sources}

    def save_mark(self, mark: Mark) -> bool:
        """Replace the mark whose version is `mark.version - 1`; False when another writer was first."""
        state = {"holes": [asdict(hole) for hole in mark.holes], "unsettled": mark.unsettled}
        values = {"version": mark.version, "upto": mark.upto, "state": json.dumps(state).encode()}
        if mark.version == 1:
            return self._session.write(_ADD_MARK, values | {"source": mark.source}) == 1
        names = {"its_source": mark.source, "its_version": mark.version - 1}
        return self._session.write(_SAVE_MARK, values | names) == 1

    def fresh(self, source: str, after: int, count: int) -> list[tuple[int, str]]:
        """Return number and detail of the rows after a number, in order, `count` at most."""
        names = _NAMES[source]
        rows = self._session.rows(_FRESH[source], {"after": after, "count": count})
        return [(row[0], row_detail(names, row[1:])) for row in rows]

    def within(self, source: str, holes: Sequence[Hole], count: int) -> list[tuple[int, str]]:
        """Return number and detail of the rows within some holes, in order, `count` at most."""
        if not holes:
            return []
        number, names = _NUMBER[source], _NAMES[source]
        spans = sa.or_(*(number.between(hole.first, hole.last) for hole in holes))
        query = sa.select(number, *_COLUMNS[source]).where(spans).order_by(number).limit(count)
        return [(row[0], row_detail(names, row[1:])) for row in self._session.rows(query)]

    def unchained(self, source: str, count: int) -> list[tuple[str, str]]:
        """Return key and detail of the rows of a small table that are not in the chain, `count` at most."""
        rows = self._session.rows(_OF_SMALL[source], {"count": count})
        return [(key, row_detail(_NAMES[source], row)) for key, *row in rows]

    def beyond(self, source: str, after: int) -> int:
        """Return how many rows come after a number."""
        count: int = self._session.scalar(_BEYOND[source], {"after": after})
        return count

    def orders_since(self, since_ns: int, count: int) -> list[tuple[str, str, int, str, int]]:
        """Return the orders of an instant or later whose version is not in the chain, oldest first, `count` at most.

        Each as key, detail, instant of creation, name and number of replaces.
        """
        return self._orders(_ORDERS_SINCE, {"since_ns": since_ns, "count": count})

    def orders_named(self, names: Sequence[str], count: int) -> list[tuple[str, str, int, str, int]]:
        """Return the same of the orders that some ClOrdIDs, also those of replaces, belong to."""
        if not names:
            return []
        firsts = [first for (first,) in self._session.rows(_FIRST_IDS, {"names": names})]
        return self._orders(_ORDERS_NAMED, {"names": [*names, *firsts], "count": count})

    def _orders(self, query: Any, parameters: Mapping[str, Any]) -> list[tuple[str, str, int, str, int]]:
        return [
            (key, row_detail(_NAMES[ORDER], row), created_ns, name, links)
            for key, created_ns, name, links, *row in self._session.rows(query, parameters)
        ]

    def live(self) -> tuple[str, ...]:
        """Return the names of the orders that are not at rest."""
        return tuple(name for (name,) in self._session.rows(_LIVE))

    def reported(self, after: int) -> list[str]:
        """Return the ClOrdIDs of the executions after a number."""
        return [name for (name,) in self._session.rows(_REPORTED, {"after": after})]

    def links(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Return key and detail of the replaces under some ClOrdIDs that are not in the chain."""
        if not names:
            return []
        rows = self._session.rows(_LINKS, {"names": names})
        return [(key, row_detail(_NAMES[ORDER_LINK], row)) for key, *row in rows]

    def decisions(self, since_ns: int, count: int) -> list[tuple[str, str, int]]:
        """Return key, detail and instant of the decisions of an instant or later that are not in the chain."""
        rows = self._session.rows(_DECISIONS, {"since_ns": since_ns, "count": count})
        return [(key, row_detail(_NAMES[DECISION], row), due_ns) for key, due_ns, *row in rows]

    def lost(self, source: str, upto: int, count: int) -> list[str]:
        """Return what names the first rows up to a number or instant that the chain should have, and has not."""
        query = {ORDER: _LOST_ORDERS, DECISION: _LOST_DECISIONS}.get(source)
        rows = self._session.rows(_LOST[source] if query is None else query, {"upto": upto, "count": count})
        return [str(name) for (name,) in rows]

    def at(self, source: str, keys: Sequence[str]) -> dict[str, str]:
        """Return key and detail of the rows that keys name, as they are now; an order's key has its present version."""
        query = _AT[source]
        found: dict[str, str] = {}
        for first in range(0, len(keys), AT_MAX):
            rows = self._session.rows(query, {"parts": _parts(source, keys[first : first + AT_MAX])})
            found |= {str(key): row_detail(_NAMES[source], row) for key, *row in rows}
        return found

    def append(self, links: Sequence[Link]) -> None:
        """Append links to their chain."""
        self._session.write(_APPEND, [link._asdict() for link in links])

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


def _mark(row: Any) -> Mark:
    state = json.loads(row.state)
    holes = tuple(Hole(**hole) for hole in state["holes"])
    return Mark(row.source, row.version, row.upto, holes, tuple(state["unsettled"]))


def _parts(source: str, keys: Sequence[str]) -> list[Any]:
    """Return what to look for to find the rows of some keys."""
    if source in _NUMBER or source in _SMALL:
        return [int(key) for key in keys]
    if source == ORDER:
        return sorted({key.rpartition("/")[0] for key in keys})
    return sorted({key.partition(" ")[0] for key in keys})
