"""The audit chain: records that become durable and linked on MariaDB, and rows that are verified."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from bench.measure import Figure, benchmark, interleaved
from init import create
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import SqlDatabase, open_database
from trisagion.adapters.servers import mariadb
from trisagion.safety.audit import ORDERS, Link, Record, Verifier, chained, genesis
from trisagion.services.keep_audit import CHAIN_MAX, chain_all

APPENDED: Final = 2 * CHAIN_MAX
A_TRANSACTION: Final = 50
"""Records of one transaction: what a cycle or a drain of several orders makes."""

VERIFIED: Final = 50_000
DETAIL: Final = {"price": "1635.25", "qty": "12", "session": "SIM", "side": "buy", "updated_ns": "1378229760000000000"}
_INSERT: Final = str(sa.insert(t.audit_event).compile(dialect=sa.dialects.mysql.dialect()))


def _links(count: int, before: bytes, seq: int) -> list[Link]:
    return chained(
        before,
        seq,
        [
            Record(
                ORDERS,
                10**18 + n,
                n,
                "host",
                "op:worker:1",
                "0.1.0+0123456789ab",
                "0123456789ab",
                "order.routed",
                f"TRIS1-ES-20130903T173600-{n}",
                '{"price":"1635.25","qty":"12","session":"SIM","side":"buy"}',
            )
            for n in range(count)
        ],
    )


@benchmark("audit.append", "records/s", "value >= 5000")
def append() -> Figure:
    """From `note` in transactions of fifty to the link in the chain; the peer only inserts such rows into the chain.

    The peer is the raw driver on the same server: the same columns, a statement and a commit for each batch of the
    chain's writer.
    """
    with _server() as database:
        raw = database.engine.raw_connection()
        seq = [0]
        try:
            return interleaved(lambda: _ours(database), lambda: _raw(raw, seq), "limit: raw driver, rows only")
        finally:
            raw.close()


@contextmanager
def _server() -> Iterator[SqlDatabase]:
    with (
        tempfile.TemporaryDirectory() as data,
        tempfile.TemporaryDirectory(prefix="t-") as sockets,
        mariadb(Path(data), Path(sockets)) as url,
    ):
        create(url)
        database = open_database(url, "0123456789ab")
        yield database
        database.close()


def _ours(database: SqlDatabase) -> float:
    begun = time.perf_counter()
    for first in range(0, APPENDED, A_TRANSACTION):
        with database.transaction() as tx:
            for number in range(first, first + A_TRANSACTION):
                tx.audit.note("order.routed", f"TRIS1-ES-20130903T173600-{number}", DETAIL)
    chain_all(database, "bench")
    return APPENDED / (time.perf_counter() - begun)


def _raw(raw: Any, seq: list[int]) -> float:
    rows = [tuple(link._replace(shard="raw")) for link in _links(APPENDED, genesis(ORDERS), seq[0])]
    seq[0] += APPENDED
    begun = time.perf_counter()
    cursor = raw.cursor()
    for first in range(0, APPENDED, CHAIN_MAX):
        cursor.executemany(_INSERT, rows[first : first + CHAIN_MAX])
        raw.commit()
    cursor.close()
    return APPENDED / (time.perf_counter() - begun)


@benchmark("audit.verify", "rows/s", "value >= 200000")
def verify() -> Figure:
    """Hash and compare every row of a chain that has been read; by the process' own time, for it only computes."""
    rows = [tuple(link) for link in _links(VERIFIED, genesis(ORDERS), 0)]

    def ours() -> float:
        verifier = Verifier(ORDERS, {})
        begun = time.process_time()
        assert verifier.take(rows) is None
        return VERIFIED / (time.process_time() - begun)

    return Figure([ours() for _ in range(9)])


@benchmark("audit.verify_read", "rows/s", "value >= 100000")
def verify_read() -> Figure:
    """The same with the reading, from SQLite through the adapter: what `trisagion audit verify` does."""
    from trisagion.services.keep_audit import verify as verified

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        create(url)
        database = open_database(url)
        with database.transaction() as tx:
            tx.session.write(
                sa.insert(t.audit_event), [link._asdict() for link in _links(VERIFIED, genesis(ORDERS), 0)]
            )

        def ours() -> float:
            begun = time.perf_counter()
            found = verified(database, [], lambda _shard, _rows: None)
            assert found.rows[ORDERS] == VERIFIED and not found.flaws
            return VERIFIED / (time.perf_counter() - begun)

        samples = [ours() for _ in range(9)]
        database.close()
        return Figure(samples)
