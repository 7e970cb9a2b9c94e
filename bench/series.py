"""A month of one symbol's minutes, read from the history of 20 symbols over 3 months, on MariaDB and on SQLite.

Each reading is of another symbol and month, so that not all of it is in a cache.
"""

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, product
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy.engine import make_url

from bench.measure import Figure, benchmark, interleaved
from init import create
from trisagion.adapters.db.engine import SqlDatabase, open_database
from trisagion.adapters.db.partitions import make
from trisagion.adapters.servers import mariadb
from trisagion.clock import MINUTE_NS
from trisagion.market.history import DAY_NS, Known
from trisagion.market.months import months

SYMBOLS: Final = tuple(f"S{number:02d}" for number in range(20))
FIRST_NS: Final = 1_704_067_200_000_000_000
"""1 January 2024."""

DAYS: Final = 91
MONTH_DAYS: Final = 30
MONTH: Final = MONTH_DAYS * 1440

BLOCKS: Final = (
    "SELECT open_ns, numbers FROM bar_day WHERE symbol = {0} AND interval_ns = {0} AND day_ns >= {0} AND day_ns < {0} "
    "ORDER BY day_ns"
)
ROWS: Final = (
    "SELECT open_ns, open, high, low, close, volume FROM bar_row WHERE symbol = {0} AND open_ns >= {0} "
    "AND open_ns < {0} ORDER BY open_ns"
)
ROW_TABLE: Final = (
    "CREATE TABLE bar_row (symbol VARCHAR(64) NOT NULL, open_ns BIGINT NOT NULL, open DOUBLE NOT NULL, high DOUBLE "
    "NOT NULL, low DOUBLE NOT NULL, close DOUBLE NOT NULL, volume DOUBLE NOT NULL, PRIMARY KEY (symbol, open_ns))"
)


@benchmark("db.month_of_minutes", "s", "value <= 0.1")
def month_on_mariadb() -> Figure:
    """Through the adapter, and the same blocks through the driver alone."""
    with _mariadb() as (database, raw):
        return _against(database, lambda spans: _raw_blocks(raw, "%s", spans), "limit: raw driver (mysqlclient)")


@benchmark("db.month_of_minutes_sqlite", "s", "value <= 0.1")
def month_on_sqlite() -> Figure:
    """Through the adapter, and the same blocks through the driver alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.sqlite3"
        with _filled(f"sqlite:///{path}") as database:
            raw = sqlite3.connect(path)
            figure = _against(
                database, lambda spans: _raw_blocks(raw.cursor(), "?", spans), "limit: raw driver (sqlite3)"
            )
            raw.close()
            return figure


@benchmark("db.month_of_minutes_rows", "s", 5.0)
def month_against_rows() -> Figure:
    """Through the adapter in blocks of a day, and through MariaDB's driver alone with a row for each bar."""
    with _mariadb() as (database, raw):
        raw.execute(ROW_TABLE)
        numbers = _day(0, DAYS * 1440)
        for symbol in SYMBOLS[:2]:
            rows = zip(numbers.at_ns.tolist(), *numbers.numbers.tolist(), strict=True)
            raw.executemany("INSERT INTO bar_row VALUES (%s, %s, %s, %s, %s, %s, %s)", [(symbol, *row) for row in rows])
        return _against(database, lambda spans: _raw_rows(raw, spans), "raw driver (mysqlclient), a row a bar")


@contextmanager
def _mariadb() -> Iterator[tuple[SqlDatabase, Any]]:
    import MySQLdb

    with (
        tempfile.TemporaryDirectory(prefix="tr-") as folder,
        mariadb(Path(folder) / "m", Path(folder)) as url,
        _filled(url) as database,
    ):
        parts = make_url(url)
        raw = MySQLdb.connect(
            host=parts.host,
            port=parts.port,
            user=parts.username,
            password=parts.password,
            database=parts.database,
            autocommit=True,
        )
        yield database, raw.cursor()
        raw.close()


@contextmanager
def _filled(url: str) -> Iterator[SqlDatabase]:
    create(url)
    database = open_database(url)
    make(database, months(FIRST_NS, FIRST_NS + DAYS * DAY_NS))
    for symbol in SYMBOLS:
        with database.transaction() as tx:
            for day in range(DAYS):
                tx.series.put_bars(symbol, MINUTE_NS, _day(day, 1440))
    yield database
    database.close()


def _day(day: int, count: int) -> Known:
    draw = np.random.default_rng(day)
    low = draw.integers(4000, 5000, count) / 4
    numbers = np.stack((low + 1, low + 3, low, low + 2, draw.integers(0, 100, count).astype(np.float64)))
    at_ns = FIRST_NS + day * DAY_NS + np.arange(count, dtype=np.int64) * MINUTE_NS
    return Known(at_ns, numbers, np.ones(count, dtype=np.int64))


def _against(database: SqlDatabase, theirs: Callable[[tuple[str, int]], object], peer: str) -> Figure:
    few = SYMBOLS[:2] if "row a bar" in peer else SYMBOLS
    spans = list(product(few, [FIRST_NS + days * DAY_NS for days in (0, 30, 60)]))
    # In no order, and each its own: neither finds in a cache what the other has read, or what was written last.
    random.Random(1).shuffle(spans)
    ours_next, theirs_next = cycle(spans[0::2]), cycle(spans[1::2])
    return interleaved(
        lambda: _seconds(lambda: _ours(database, next(ours_next))),
        lambda: _seconds(lambda: theirs(next(theirs_next))),
        peer,
        repeats=29,
    )


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _ours(database: SqlDatabase, span: tuple[str, int]) -> None:
    symbol, from_ns = span
    with database.snapshot() as tx:
        found = tx.series.bars(symbol, MINUTE_NS, from_ns, from_ns + MONTH_DAYS * DAY_NS)
    assert len(found) == MONTH


def _raw_blocks(cursor: Any, mark: str, span: tuple[str, int]) -> None:
    symbol, from_ns = span
    cursor.execute(BLOCKS.format(mark), (symbol, MINUTE_NS, from_ns, from_ns + MONTH_DAYS * DAY_NS))
    rows = cursor.fetchall()
    at_ns = np.concatenate([np.frombuffer(row[0], dtype="<i8") for row in rows])
    numbers = np.concatenate([np.frombuffer(row[1], dtype="<f8").reshape(5, -1) for row in rows], axis=1)
    assert len(at_ns) == numbers.shape[1] == MONTH


def _raw_rows(cursor: Any, span: tuple[str, int]) -> None:
    symbol, from_ns = span
    cursor.execute(ROWS.format("%s"), (symbol, from_ns, from_ns + MONTH_DAYS * DAY_NS))
    columns = [np.array(column) for column in zip(*cursor.fetchall(), strict=True)]
    assert len(columns[0]) == MONTH
