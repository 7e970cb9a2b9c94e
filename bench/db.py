"""A unit of work on SQLite: one row written and committed, through the adapter and through the driver alone."""

import sqlite3
import tempfile
import time
from pathlib import Path

from bench.measure import Figure, benchmark, interleaved
from init import create
from trisagion.adapters.db.engine import SqlDatabase, open_database
from trisagion.ports import ProcessBeat

COMMITS = 300

_RAW = """INSERT INTO process (name, pid, wall_ns, tasks, rss_bytes) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET pid = excluded.pid, wall_ns = excluded.wall_ns,
    tasks = excluded.tasks, rss_bytes = excluded.rss_bytes"""


@benchmark("db.unit_of_work", "commits/s", 0.5)
def unit_of_work() -> Figure:
    """The same row, the same durability (WAL, synchronous=FULL), the same file system."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.sqlite3"
        create(f"sqlite:///{path}")
        database = open_database(f"sqlite:///{path}")
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("PRAGMA synchronous=FULL")
        try:
            return interleaved(lambda: _ours(database), lambda: _raw(raw), "limit: raw driver (sqlite3)")
        finally:
            raw.close()
            database.close()


def _ours(database: SqlDatabase) -> float:
    begun = time.perf_counter()
    for number in range(COMMITS):
        with database.transaction() as tx:
            tx.control.beat(ProcessBeat("ours", 1, number, number, number))
    return COMMITS / (time.perf_counter() - begun)


def _raw(raw: sqlite3.Connection) -> float:
    begun = time.perf_counter()
    for number in range(COMMITS):
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(_RAW, ("raw", 1, number, number, number))
        raw.execute("COMMIT")
    return COMMITS / (time.perf_counter() - begun)
