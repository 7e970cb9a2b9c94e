"""An import that is killed in its middle leaves whole days, and is simply called again."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from init import create
from trisagion.adapters.db import SqlDatabase, open_database, tables
from trisagion.market.history import DAY_NS, INTERVALS
from trisagion.services.keep_series import roll_day

ROOT = Path(__file__).resolve().parents[2]
DAYS = 60
WAIT_S = 90.0


def importing(file: Path, url: str) -> subprocess.Popen[str]:
    """Start an import as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "trisagion.cli.main", "data", "import", str(file), "--symbol", "NQ", "--database", url],
        cwd=file.parent,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kept(database: SqlDatabase) -> dict[tuple[int, int], tuple[int, bytes]]:
    """Return all blocks, without when they were learned."""
    c = tables.bar_day.c
    with database.snapshot() as tx:
        return {
            (row.interval_ns, row.day_ns): (row.n, row.open_ns + row.numbers)
            for row in tx.session.rows(sa.select(c.interval_ns, c.day_ns, c.n, c.open_ns, c.numbers))
        }


@pytest.fixture
def database_url(owned_url: str) -> str:
    """Give the database to somebody who may make partitions, as the importer of history must."""
    return owned_url


def test_a_killed_import_is_simply_called_again(tmp_path: Path, database_url: str, database: SqlDatabase) -> None:
    """Each day is there with its longer bars or not at all; the second call adds the rest, and nothing tells of it."""
    file = tmp_path / "minutes.csv"
    first = datetime(2024, 1, 31, tzinfo=UTC)
    with file.open("w", encoding="utf-8") as out:
        out.write("time,open,high,low,close,volume\n")
        for minute in range(DAYS * 1440):
            at, low = first + timedelta(minutes=minute), 100 + minute % 977
            out.write(f"{at:%Y-%m-%dT%H:%M:%SZ},{low + 1},{low + 3},{low},{low + 2},{minute % 13}\n")
    killed = importing(file, database_url)
    until_s = time.monotonic() + WAIT_S
    while len(kept(database)) < 3 * len(INTERVALS) and killed.poll() is None and time.monotonic() < until_s:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    part = kept(database)
    days = {day_ns for _, day_ns in part}
    assert 0 < len(days) < DAYS, "it was to be killed in its middle"
    assert set(part) == {(interval_ns, day_ns) for interval_ns in INTERVALS.values() for day_ns in days}
    assert all(count == DAY_NS // interval_ns for (interval_ns, _), (count, _) in part.items())
    again = importing(file, database_url)
    told, _ = again.communicate(timeout=WAIT_S)
    assert f"{(DAYS - len(days)) * 1440:,} new, 0 corrected, {len(days) * 1440:,} the same" in told
    create(f"sqlite:///{tmp_path / 'undisturbed.sqlite3'}")
    undisturbed = importing(file, f"sqlite:///{tmp_path / 'undisturbed.sqlite3'}")
    assert f"{DAYS * 1440:,} new" in undisturbed.communicate(timeout=WAIT_S)[0]
    other = open_database(f"sqlite:///{tmp_path / 'undisturbed.sqlite3'}")
    assert kept(database) == kept(other)
    other.close()
    assert sum(roll_day(database, "NQ", day_ns) for day_ns in days) == 0
