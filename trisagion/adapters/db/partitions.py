"""The months in which history is kept: on MariaDB and MySQL partitions of its tables, on SQLite the rows of a month.

A partition is called by the month before which it ends, and so are its contents: everything before that month that no
earlier partition has. The last, `later`, has no end. Making partitions splits one that is there, and moves its rows; so
they are made before the rows come. Nothing but `drop` removes history, and it removes whole months.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import SqlDatabase, open_engine
from trisagion.adapters.db.faults import Conflict
from trisagion.clock import iso
from trisagion.errors import StateError
from trisagion.market.months import month_of, named, shifted

LATER: Final = "later"

BEGINS: Final = {t.bar_day: t.bar_day.c.day_ns, t.quote_hour: t.quote_hour.c.hour_ns}
"""Table → the column by which it is partitioned."""

TABLE_WAIT_S: Final = 3
"""A statement that waits longer for a table gives up: whoever wants the table after it would wait behind it."""

DDL_S: Final = 3600
"""How long a statement may take: splitting a partition that has rows moves them, 200 MB in 4 s."""

_PARTITIONS: Final = sa.text(
    "SELECT partition_name, partition_description, data_length + index_length FROM information_schema.partitions "
    "WHERE table_schema = DATABASE() AND table_name = :name AND partition_name IS NOT NULL "
    "ORDER BY partition_ordinal_position"
)
_LOCK: Final = "CONCAT('trisagion.partitions.', LEFT(SHA2(DATABASE(), 256), 40))"


@dataclass(frozen=True, slots=True)
class Partition:
    """What one partition of a table holds: `count` bars or quotes of [from_ns, until_ns), None where there is no bound.

    `size_bytes` is what the server has for it on disk; on SQLite what its values take.
    """

    table: str
    name: str
    from_ns: int | None
    until_ns: int | None
    count: int
    size_bytes: int


def listed(database: SqlDatabase) -> list[Partition]:
    """Return the partitions of both tables in order of time; on SQLite the months that have rows."""
    with database.snapshot() as unit:
        connection = unit.session.connection
        read = _months if unit.session.is_sqlite else _partitions
        return [partition for table in BEGINS for partition in read(connection, table)]


def kept_until(connection: sa.Connection) -> list[tuple[str, int]]:
    """Return up to when months are made in each table that has months or rows, 0 where none is made.

    Raises
    ------
    StateError
        A table is there without partitions.
    """
    found = []
    for table in BEGINS:
        ends = [part.until_ns for part in _partitions(connection, table, measured=False) if part.until_ns is not None]
        if ends or connection.execute(sa.select(BEGINS[table]).limit(1)).first() is not None:
            found.append((table.name, max(ends, default=0)))
    return found


def make(database: SqlDatabase, months: Iterable[int]) -> list[str]:
    """Give each of the months a partition of its own in both tables; return what was made, as table.partition.

    Raises
    ------
    Conflict
        Another process is making or dropping partitions, or a table is in use for longer than `TABLE_WAIT_S`.
    StateError
        A table is there without partitions.
    """
    bounds = {bound for month_ns in months for bound in (month_ns, shifted(month_ns, 1))} - {0}
    if database.engine.dialect.name == "sqlite" or not bounds:
        return []
    made = []
    with _alone(database) as connection:
        for table in BEGINS:
            for split, parts in _splits(_partitions(connection, table, measured=False), bounds):
                pieces = [f"PARTITION {_name(bound)} VALUES LESS THAN ({bound})" for bound in parts]
                end = "MAXVALUE" if split.until_ns is None else f"({split.until_ns})"
                pieces.append(f"PARTITION {split.name} VALUES LESS THAN {end}")
                connection.exec_driver_sql(
                    f"ALTER TABLE {table.name} REORGANIZE PARTITION {split.name} INTO ({', '.join(pieces)})"
                )
                made += [f"{table.name}.{_name(bound)}" for bound in parts]
    return made


def due(database: SqlDatabase, before_ns: int) -> list[Partition]:
    """Return the partitions that `drop` would remove: those that end by a month's first instant."""
    return [found for found in listed(database) if found.until_ns is not None and found.until_ns <= before_ns]


def drop(database: SqlDatabase, chosen: Sequence[Partition], operator: str, now_ns: int) -> None:
    """Remove partitions, of those that `due` returned, and all history that they hold; the event log tells it.

    It is told before and after: what was begun and not ended may or may not be gone.

    Raises
    ------
    Conflict
        Another process is making or dropping partitions, or a table is in use for longer than `TABLE_WAIT_S`.
    """
    by_table = defaultdict(list)
    for partition in chosen:
        by_table[partition.table].append(partition)
    for name, partitions in by_table.items():
        table = next(table for table in BEGINS if table.name == name)
        detail = {
            "operator": operator,
            "partitions": ", ".join(partition.name for partition in partitions),
            "before": iso(max(partition.until_ns or 0 for partition in partitions)),
            "count": str(sum(partition.count for partition in partitions)),
        }
        with database.transaction() as unit:
            unit.control.add_event("history.dropping", name, detail, now_ns)
        if database.engine.dialect.name == "sqlite":
            _delete(database, table, partitions)
        else:
            _drop(database, table, {partition.name for partition in partitions})
        with database.transaction() as unit:
            unit.control.add_event("history.dropped", name, detail, now_ns)


def _drop(database: SqlDatabase, table: sa.Table, chosen: set[str]) -> None:
    with _alone(database) as connection:
        # Another may have dropped some since they were chosen. A name never comes to hold later months than it had.
        there = [found.name for found in _partitions(connection, table, measured=False) if found.name in chosen]
        if there:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} DROP PARTITION {', '.join(there)}")


def _delete(database: SqlDatabase, table: sa.Table, partitions: Sequence[Partition]) -> None:
    begins = BEGINS[table]
    for partition in partitions:
        with database.transaction() as unit:
            unit.session.write(sa.delete(table).where(begins >= partition.from_ns, begins < partition.until_ns), {})


def _name(bound_ns: int) -> str:
    return f"before_{named(bound_ns).replace('-', '')}"


def _splits(partitions: Sequence[Partition], bounds: set[int]) -> Iterator[tuple[Partition, list[int]]]:
    """Give each partition that has some of the bounds inside it, with those bounds."""
    for partition in partitions:
        parts = sorted(
            bound
            for bound in bounds
            if (partition.from_ns is None or bound > partition.from_ns)
            and (partition.until_ns is None or bound < partition.until_ns)
        )
        if parts:
            yield partition, parts


def _partitions(connection: sa.Connection, table: sa.Table, *, measured: bool = True) -> list[Partition]:
    begins, from_ns, found = BEGINS[table], None, []
    for name, bound, size_bytes in connection.execute(_PARTITIONS, {"name": table.name}).all():
        until_ns = None if bound == "MAXVALUE" else int(bound)
        count = 0
        if measured:
            inside = [begins >= from_ns] if from_ns is not None else []
            inside += [begins < until_ns] if until_ns is not None else []
            total = sa.func.coalesce(sa.func.sum(table.c.n), 0)
            count = int(connection.execute(sa.select(total).where(*inside)).scalar_one())
        found.append(Partition(table.name, name, from_ns, until_ns, count, int(size_bytes)))
        from_ns = until_ns
    if not found:
        raise StateError(
            f"table {table.name} has no partitions: another program made it; expected it as in init/, "
            "PARTITION BY RANGE"
        )
    return found


def _months(connection: sa.Connection, table: sa.Table) -> list[Partition]:
    begins = BEGINS[table]
    arrays = [column for column in table.columns if isinstance(column.type, sa.LargeBinary)]
    size: Any = sum((sa.func.length(column) for column in arrays), start=sa.literal(0))
    rows = connection.execute(
        sa.select(begins, sa.func.sum(table.c.n), sa.func.sum(size)).group_by(begins).order_by(begins)
    ).all()
    months: dict[int, list[int]] = {}
    for begin_ns, count, size_bytes in rows:
        month = months.setdefault(month_of(begin_ns), [0, 0])
        month[0] += count
        month[1] += size_bytes
    return [
        Partition(table.name, _name(shifted(month_ns, 1)), month_ns, shifted(month_ns, 1), count, size_bytes)
        for month_ns, (count, size_bytes) in months.items()
    ]


@contextmanager
def _alone(database: SqlDatabase) -> Iterator[sa.Connection]:
    """Give a connection of its own while nobody else makes or drops partitions; the lock ends with the connection."""
    engine = open_engine(database.engine.url.render_as_string(hide_password=False))

    @event.listens_for(engine, "do_connect")
    def wait_longer(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        options.update(read_timeout=DDL_S, write_timeout=DDL_S)

    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout={TABLE_WAIT_S}")
        if not connection.exec_driver_sql(f"SELECT GET_LOCK({_LOCK}, {TABLE_WAIT_S})").scalar_one():
            raise Conflict("another process is making or dropping partitions: wait until it is done")
        yield connection
