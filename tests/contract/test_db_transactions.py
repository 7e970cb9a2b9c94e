"""Units of work on both servers: all or nothing, consistent, on connections of their own, and errors that are ours."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from init import FOLDER, create
from trisagion.adapters.db import Conflict, Crowded, SqlDatabase, Unit, Unreachable, engine, open_database, retrying
from trisagion.adapters.db.faults import translated
from trisagion.errors import OurMistake, StateError
from trisagion.ids import CycleId
from trisagion.market.types import Instrument
from trisagion.ports import Cycle
from trisagion.units import Quantity


def _cycle(number: int, version: int = 0) -> Cycle:
    return Cycle(CycleId(f"C{number}"), number, "opened", None, version)


def _count(database: SqlDatabase) -> int:
    with database.snapshot() as tx:
        return len(tx.cycles.unfinished())


def test_a_block_that_ends_is_kept_and_seen_by_others(database: SqlDatabase, other: SqlDatabase) -> None:
    """Commit."""
    with database.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))
    assert _count(other) == 1


def test_a_block_that_raises_leaves_nothing(database: SqlDatabase, other: SqlDatabase) -> None:
    """Roll back, whatever was raised, also what no handler should see; the database stays usable."""

    def write_and_raise(error: type[BaseException]) -> None:
        with database.transaction() as tx:
            tx.cycles.open_cycle(_cycle(1))
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write_and_raise(error)
    assert _count(other) == 0
    with database.transaction() as tx:
        assert tx.cycles.open_cycle(_cycle(1))
    assert _count(other) == 1


def test_a_failed_statement_leaves_nothing(database: SqlDatabase) -> None:
    """A driver's error rolls the whole block back."""

    def write_and_fail() -> None:
        with database.transaction() as tx:
            tx.cycles.open_cycle(_cycle(1))
            tx.session.connection.exec_driver_sql("SELEKT 1")

    with pytest.raises(sa.exc.DBAPIError):
        write_and_fail()
    assert _count(database) == 0


def test_a_snapshot_is_consistent(database: SqlDatabase, other: SqlDatabase) -> None:
    """Two reads in one snapshot agree even when somebody commits between them."""
    with database.snapshot() as tx:
        assert tx.cycles.unfinished() == []
        with other.transaction() as writer:
            writer.cycles.open_cycle(_cycle(1))
        assert tx.cycles.unfinished() == []
    assert _count(database) == 1


def test_a_snapshot_refuses_to_write(database: SqlDatabase) -> None:
    """Writing in a snapshot is a mistake of ours."""
    with pytest.raises(OurMistake, match="a snapshot only reads"), database.snapshot() as tx:
        tx.cycles.open_cycle(_cycle(1))


def test_transactions_do_not_nest(database: SqlDatabase) -> None:
    """A second transaction in the same thread would silently be part of the first: it is refused."""
    with database.transaction(), pytest.raises(OurMistake, match="a transaction is open in this thread already"):
        _count(database)
    assert _count(database) == 0


def test_increments_of_many_threads_are_all_kept(database: SqlDatabase) -> None:
    """Read, add one, write: 4 threads, 15 times each, no update is lost (MariaDB's default would lose most)."""
    with database.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))

    def once() -> bool:
        with database.transaction() as tx:
            before = tx.cycles.cycle(CycleId("C1"))
            assert before is not None
            return tx.cycles.save_cycle(replace(before, version=before.version + 1))

    saved: list[bool] = []
    threads = [threading.Thread(target=lambda: saved.extend(retrying(once) for _ in range(15))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.snapshot() as tx:
        after = tx.cycles.cycle(CycleId("C1"))
    assert saved == [True] * 60
    assert after is not None
    assert after.version == 60


def test_two_writers_of_one_version_cannot_both_win(database: SqlDatabase, other: SqlDatabase) -> None:
    """Compare-and-set: the second, who read before the first wrote, is told."""
    with database.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))
    with other.transaction() as tx:
        assert tx.cycles.save_cycle(_cycle(1, version=1))
    with database.transaction() as tx:
        assert not tx.cycles.save_cycle(_cycle(1, version=1))


def test_waiting_for_a_lock_ends_in_a_conflict(
    database_url: str, database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded, typed, and nothing is written; once the lock is free `retrying` succeeds."""
    monkeypatch.setattr(engine, "BUSY_S", 0)
    monkeypatch.setattr(engine, "LOCK_WAIT_S", 1)
    other = open_database(database_url)
    with database.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))
        with pytest.raises(Conflict, match="try again"), other.transaction() as blocked:
            blocked.cycles.open_cycle(_cycle(1))
    with other.transaction() as tx:
        assert not tx.cycles.open_cycle(_cycle(1))
    other.close()


def test_retrying_gives_up_after_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five attempts, pauses that grow, then the conflict is the caller's."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    attempts = 0

    def never() -> None:
        nonlocal attempts
        attempts += 1
        raise Conflict("always")

    with pytest.raises(Conflict):
        retrying(never)
    assert attempts == engine.ATTEMPTS_MAX
    assert len(pauses) == engine.ATTEMPTS_MAX - 1
    assert all(0 < pause <= engine.BACKOFF_S * 2**index for index, pause in enumerate(pauses))


def test_retrying_waits_for_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time the work is done anew, for a commit may have been kept; after the bound the error is the caller's."""
    now_s = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        assert 0 < seconds <= engine.AWAY_PAUSE_S
        now_s += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: now_s)

    def lost() -> float:
        if now_s < back_s:
            raise Unreachable("gone")
        return now_s

    back_s = 100.0 + engine.AWAY_S_MAX - 1.0
    assert back_s <= retrying(lost) <= back_s + 1.0
    begun_s, back_s = now_s, float("inf")
    with pytest.raises(Unreachable):
        retrying(lost)
    assert engine.AWAY_S_MAX <= now_s - begun_s <= engine.AWAY_S_MAX + 1.0


def test_a_thread_keeps_its_connection_until_an_error(database: SqlDatabase) -> None:
    """Where connections are kept none is opened per transaction; after a block that raised the next one is new."""
    database.keep()

    def connection() -> sa.Connection:
        with database.transaction() as tx:
            return tx.session.connection

    first = connection()
    assert connection() is first
    with pytest.raises(ValueError, match="x"), database.transaction():
        raise ValueError("x")
    assert connection() is not first
    elsewhere: list[sa.Connection] = []
    thread = threading.Thread(target=lambda: elsewhere.append(connection()))
    thread.start()
    thread.join()
    assert elsewhere[0] is not connection()


def test_a_forked_child_opens_its_own_connection(database: SqlDatabase) -> None:
    """The child writes, and the parent's connection, which it kept and the child inherited, still works."""
    database.keep()
    with database.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))
        mine = tx.session.connection
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with database.transaction() as tx:
                tx.cycles.open_cycle(_cycle(2))
                code = 0 if tx.session.connection is not mine else 2
            database.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with database.transaction() as tx:
        assert tx.session.connection is mine
        assert [cycle.due_ns for cycle in tx.cycles.unfinished()] == [1, 2]


_WRITER = """
import sys, time
from trisagion.adapters.db import open_database
from trisagion.ids import CycleId
from trisagion.ports import Cycle
with open_database(sys.argv[1]).transaction() as tx:
    for number in range(500):
        tx.cycles.open_cycle(Cycle(CycleId(f"C{number}"), number, "opened", None, 0))
    print("half done", flush=True)
    sys.stdin.read()
"""


def test_a_writer_killed_in_mid_transaction_leaves_nothing(database_url: str, database: SqlDatabase) -> None:
    """`kill -9` after 500 rows: no row, no lock, and the next writer goes on at once."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, database_url],
        env={"PYTHONPATH": os.pathsep.join([str(FOLDER.parent), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half done\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert _count(database) == 0
    with database.transaction() as tx:
        assert tx.cycles.open_cycle(_cycle(1))
    assert _count(database) == 1


def test_the_version_moves_when_another_connection_writes(database: SqlDatabase, other: SqlDatabase) -> None:
    """On SQLite a waiting process sees that something changed without reading it; MySQL cannot tell and says None."""
    before = database.version()
    assert database.version() == before
    with other.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))
    assert (database.version() == before) == (before is None)
    assert (before is None) == (database.engine.dialect.name == "mysql")


def test_closing_twice_and_using_again_works(database: SqlDatabase) -> None:
    """Closing ends the connections, not the adapter."""
    database.close()
    database.close()
    assert _count(database) == 0


def _corrupt(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[100:8000] = b"\xff" * 7900
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.write_bytes(b"no database at all" * 100), "is not a SQLite database: name another file"),
        (_corrupt, "is damaged: stop, keep a copy, restore"),
        (lambda path: path.write_bytes(b""), "has no tables of ours: run `trisagion db init`"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be opened: check that its folder exists"),
    ],
    ids=["foreign", "damaged", "empty", "a folder"],
)
def test_a_bad_file_is_told_in_one_sentence(tmp_path: Path, spoil: Callable[[Path], object], told: str) -> None:
    """What is wrong with the database, and what to do."""
    path = tmp_path / "db.sqlite3"
    create(f"sqlite:///{path}")
    spoil(path)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    database = open_database(f"sqlite:///{path}")
    with pytest.raises(StateError, match=told), database.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))
    database.close()


def test_a_missing_file_is_told_and_not_made(tmp_path: Path) -> None:
    """A mistyped path leaves no empty database behind."""
    path = tmp_path / "nowhere.sqlite3"
    with (
        pytest.raises(StateError, match="does not exist: name the right file"),
        open_database(f"sqlite:///{path}").snapshot(),
    ):
        pass
    assert not path.exists()


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    """SQLite at the end of its room: a sentence, and after making room the work can be done."""
    url = f"sqlite:///{tmp_path / 'full.sqlite3'}"
    create(url)
    database = open_database(url)

    def fill(tx: Unit, pages: int) -> None:
        tx.session.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        for number in range(200):
            tx.control.add_event("kind", "subject", {"text": "x" * 4000}, number)

    with pytest.raises(StateError, match="the disk is full: free some space"), database.transaction() as tx:
        fill(tx, 100)
    with database.snapshot() as tx:
        assert tx.session.scalar(sa.text("SELECT COUNT(*) FROM event")) == 0
    with database.transaction() as tx:
        fill(tx, 1_000_000)
    database.close()


def test_a_read_only_database_is_told(tmp_path: Path) -> None:
    """The advice is about rights, not about space."""
    path = tmp_path / "ro.sqlite3"
    create(f"sqlite:///{path}")
    database = open_database(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(StateError, match="is read-only: give this user the right"), database.transaction() as tx:
        tx.cycles.open_cycle(_cycle(1))
    database.close()


@pytest.mark.parametrize(
    ("code", "text", "kind", "told"),
    [
        (1020, "Record has changed since last read", Conflict, "try again"),
        (1205, "Lock wait timeout exceeded", Conflict, "try again"),
        (1213, "Deadlock found", Conflict, "try again"),
        (2006, "Server has gone away", Unreachable, "check that the server runs"),
        (2013, "Lost connection during query", Unreachable, "check that the server runs"),
        (1040, "Too many connections", Crowded, "run fewer workers, or raise its budget"),
        (1203, "User already has more than 'max_user_connections' active", Crowded, "run fewer workers"),
        (1226, "User has exceeded the 'max_user_connections' resource", Crowded, "run fewer workers"),
        (1021, "Disk full (/tmp)", StateError, "free some space"),
        (3, 'Error writing file (errno: 28 "No space left on device")', StateError, "free some space"),
        (1030, "Got error 28 from storage engine", StateError, "free some space"),
        (1290, "running with the --read-only option", StateError, "use the primary server"),
        (1146, "Table 't' doesn't exist", StateError, "run `python -m init`"),
        (1142, "ALTER command denied to user", StateError, "grant the right"),
        (1045, "Access denied", StateError, "check the URL"),
        (1064, "You have an error in your SQL syntax", None, ""),
        (1062, "Duplicate entry", None, ""),
    ],
)
def test_the_errors_of_mysql_become_ours(code: int, text: str, kind: type[StateError] | None, told: str) -> None:
    """By code; what is a mistake in our SQL stays the driver's error, and no password is ever told."""
    error = translated(Exception(code, text), sa.make_url("mysql://user:canary@host/name"))
    assert type(error) is (type(None) if kind is None else kind)
    assert told in str(error)
    assert "canary" not in str(error)


@pytest.mark.mariadb
def test_an_unreachable_server_is_told_without_the_password(mariadb_url: str) -> None:
    """Nobody listens on the port; the wrong password."""
    right = sa.make_url(mariadb_url)
    for url, told in ((right.set(port=1), "does not answer"), (right.set(password="canary"), "check the URL")):
        database = open_database(url.render_as_string(hide_password=False))
        with pytest.raises(StateError, match=told) as error, database.snapshot():
            pass
        assert "canary" not in str(error.value)


@pytest.mark.mariadb
def test_a_dead_connection_is_replaced(on_mariadb: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while kept: an error, then a new one. Dropped while idle for long: asked first, replaced in silence."""
    on_mariadb.keep()

    def kill() -> None:
        with on_mariadb.snapshot() as tx:
            number = tx.session.scalar(sa.text("SELECT CONNECTION_ID()"))
        raw = on_mariadb.engine.connect()
        raw.exec_driver_sql(f"KILL CONNECTION {number}")
        raw.close()

    kill()
    with pytest.raises(Unreachable), on_mariadb.transaction() as tx:
        tx.cycles.unfinished()
    assert _count(on_mariadb) == 0
    kill()
    monkeypatch.setattr(engine, "PING_AFTER_S", -1.0)
    assert _count(on_mariadb) == 0


@pytest.mark.mariadb
def test_the_first_fills_of_two_writers_are_not_lost(on_mariadb: SqlDatabase) -> None:
    """A position that does not exist yet is locked by its instrument: the second writer waits and sees the first's."""
    one = Decimal(1)
    with on_mariadb.transaction() as tx:
        tx.market.add_instrument(Instrument("ES", "SIM", "USD", one, one, one, one, one))

    def buy() -> None:
        with on_mariadb.transaction() as tx:
            before = tx.ledger.position("ES")
            tx.ledger.save_position(replace(before, qty=Quantity(before.qty + 1)))

    threads = [threading.Thread(target=retrying, args=(buy,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with on_mariadb.snapshot() as tx:
        assert tx.ledger.position("ES").qty == 8
