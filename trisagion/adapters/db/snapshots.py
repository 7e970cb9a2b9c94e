"""Tables observer_snapshot and observer_mark."""

import json
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, params, upsert
from trisagion.errors import DataError
from trisagion.safety.snapshots import Snapshot, SnapshotMark, expected_symbol
from trisagion.units import plain, quantity

_s: Final = t.observer_snapshot.c
_ADD: Final = sa.insert(t.observer_snapshot)
_AFTER: Final = (
    sa.select(t.observer_snapshot)
    .where(_s.observer == sa.bindparam("its_name"), _s.seq > sa.bindparam("after_seq"))
    .order_by(_s.seq.desc())
    .limit(sa.bindparam("count", type_=sa.Integer()))
)
_MARK: Final = sa.select(t.observer_mark).where(t.observer_mark.c.observer == sa.bindparam("its_name"))
_PUT_MARK: Final = upsert(t.observer_mark)

_SHAPE: Final = (int, str, int, int, str, str, str, str)


class Snapshots:
    """`observer_ports.SnapshotStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, snapshot: Snapshot) -> None:
        """Append a snapshot."""
        held = json.dumps([[symbol, plain(qty)] for symbol, qty in snapshot.positions], ensure_ascii=False)
        self._session.write(_ADD, {**params(snapshot), "positions": held})

    def after(self, observer: str, seq: int, count: int) -> Sequence[tuple[int, Snapshot]]:
        """Return the newest `count` snapshots behind a number, in order; one that cannot be read has no signature."""
        rows = self._session.rows(_AFTER, {"its_name": observer, "after_seq": seq, "count": count})
        return [(row.seq, _read(observer, row)) for row in reversed(rows)]

    def mark(self, observer: str) -> SnapshotMark | None:
        """Return how far an observer's snapshots were looked at, None before the first look."""
        row = self._session.row(_MARK, {"its_name": observer})
        return None if row is None else SnapshotMark(*row)

    def put_mark(self, mark: SnapshotMark) -> None:
        """Insert or replace the mark of an observer."""
        self._session.write(_PUT_MARK, params(mark))


def _read(observer: str, row: Any) -> Snapshot:
    _, name, number, at_ns, complete, reason, positions, key_id, signature = row
    # SQLite keeps any value in any column; a forger must not be able to blind whoever looks.
    told = (row.seq, name, number, at_ns, reason, positions, key_id, signature)
    if all(type(value) is kind for value, kind in zip(told, _SHAPE, strict=True)):
        try:
            held = tuple((expected_symbol(symbol), quantity(qty)) for symbol, qty in json.loads(positions))
        except (ValueError, TypeError, RecursionError, DataError):
            pass
        else:
            return Snapshot(name, number, at_ns, bool(complete), reason, held, key_id, signature)
    return Snapshot(observer, 0, 0, False, "a row that nobody of ours writes", ())
