"""The audit chain: records that become durable and linked on MariaDB, and rows that are verified."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from bench.measure import Figure, benchmark, interleaved
from init import create
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import SqlDatabase, open_database
from trisagion.adapters.servers import mariadb
from trisagion.safety.audit import ORDERS, Link, Record, Verifier, chained, genesis, row_detail
from trisagion.services.keep_audit import CHAIN_MAX, chain_all
from trisagion.services.keep_audit import verify as verified

APPENDED: Final = 2 * CHAIN_MAX
VERIFIED: Final = 50_000
_INSERT: Final = str(sa.insert(t.audit_event).compile(dialect=sa.dialects.mysql.dialect()))
_INTO_SOURCE: Final = sa.insert(t.execution)


def _reports(first: int, count: int) -> list[dict[str, Any]]:
    """Return so many executions, none twice."""
    return [
        {
            "venue": "SIM",
            "exec_id": f"EX-{number}",
            "cl_ord_id": f"TRIS1-ES-20130903T173600-{number}",
            "order_id": f"V{number}",
            "exec_type": "trade",
            "ord_status": "filled",
            "symbol": "ES",
            "side": "buy",
            "last_qty": Decimal(1),
            "last_px": Decimal("1635.25"),
            "cum_qty": Decimal(1),
            "leaves_qty": Decimal(0),
            "avg_px": Decimal("1635.25"),
            "fee": Decimal("0.6541"),
            "liquidity": "maker",
            "reason": None,
            "unknown_order": False,
            "happened_ns": 1378229760000000000 + number,
            "request_id": None,
            "ref_exec_id": None,
            "reject": None,
            "learned_ns": 1378229760000000000 + number,
        }
        for number in range(first, first + count)
    ]


def _links(count: int, before: bytes, seq: int) -> list[Link]:
    """Return a part of a chain of executions."""
    rows = _reports(seq, count)
    names = sorted(rows[0])
    details = [row_detail(names, [row[name] for name in names]) for row in rows]
    return chained(
        before, seq, [Record(ORDERS, 10**18 + n, "execution", str(seq + n), text) for n, text in enumerate(details)]
    )


@benchmark("audit.append", "rows/s", "value >= 5000")
def append() -> Figure:
    """Read executions from their table and link them; the peer only inserts rows as long, already made, into the chain.

    The peer is the raw driver on the same server: the same columns, a statement and a commit for each batch of the
    chain's writer.
    """
    with _server() as database:
        raw = database.engine.raw_connection()
        seq, first = [0], [0]
        try:
            return interleaved(lambda: _ours(database, first), lambda: _raw(raw, seq), "limit: raw driver, rows only")
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
        database = open_database(url)
        yield database
        database.close()


def _ours(database: SqlDatabase, first: list[int]) -> float:
    with database.transaction() as tx:
        tx.session.write(_INTO_SOURCE, _reports(first[0], APPENDED))
    first[0] += APPENDED
    begun = time.perf_counter()
    chain_all(database, "bench")
    took_s = time.perf_counter() - begun
    with database.snapshot() as tx:
        head = tx.audit.head(ORDERS)
    assert head is not None and head.seq == first[0], head
    return APPENDED / took_s


def _raw(raw: Any, seq: list[int]) -> float:
    rows = [tuple(link._replace(shard="raw", source="raw")) for link in _links(APPENDED, genesis(ORDERS), seq[0])]
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
    """The same with the reading of the chain from SQLite through the adapter: `trisagion audit verify --chain`."""
    return _verified(sources=False)


@benchmark("audit.verify_sources", "rows/s", "value >= 20000")
def verify_sources() -> Figure:
    """The same, and each row held against the row of its table: what `trisagion audit verify` does."""
    return _verified(sources=True)


def _verified(*, sources: bool) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        create(url)
        database = open_database(url)
        with database.transaction() as tx:
            tx.session.write(_INTO_SOURCE, _reports(0, VERIFIED))
        chain_all(database, "bench")

        def ours() -> float:
            begun = time.perf_counter()
            found = verified(database, [], lambda _shard, _rows: None, sources=sources)
            assert found.rows[ORDERS] == VERIFIED and not found.flaws
            return VERIFIED / (time.perf_counter() - begun)

        samples = [ours() for _ in range(5)]
        database.close()
        return Figure(samples)
