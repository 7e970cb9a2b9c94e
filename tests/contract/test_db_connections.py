"""Connections to a real server: one for each unit of work, how it is set up, and what two of them do to each other."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
import sqlalchemy as sa

from tests.mysql_server import MYSQLD
from trisagion.adapters.db import Conflict, SqlDatabase, Unit, engine, open_database, retrying
from trisagion.ids import CycleId
from trisagion.ports import Cycle, ProcessBeat

pytestmark = pytest.mark.mariadb

WAIT_S_MAX = 20.0


@pytest.fixture(params=["mysqldb", "pymysql"])
def opened(request: pytest.FixtureRequest, on_mariadb: SqlDatabase, mariadb_url: str) -> SqlDatabase:
    """Give the database through either driver."""
    return open_database(mariadb_url.replace("mysql://", f"mysql+{request.param}://"))


def _number(tx: Unit) -> int:
    number: int = tx.session.scalar(sa.text("SELECT CONNECTION_ID()"))
    return number


def _tasks(database: SqlDatabase, name: str) -> int:
    with database.snapshot() as tx:
        found: int = tx.session.scalar(sa.text("SELECT tasks FROM process WHERE name = :name"), {"name": name})
    return found


def _beat(tx: Unit, name: str, tasks: int) -> None:
    tx.control.beat(ProcessBeat(name, 1, 1, tasks, 1))


def test_each_unit_of_work_has_a_connection_that_ends_with_it(opened: SqlDatabase, on_mariadb: SqlDatabase) -> None:
    """Three units of one thread, three connections, and soon none of them is at the server any more."""
    seen = set()
    with opened.transaction() as tx:
        seen.add(_number(tx))
    with opened.snapshot() as tx:
        seen.add(_number(tx))

    def fail() -> None:
        with opened.transaction() as tx:
            seen.add(_number(tx))
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert len(seen) == 3

    def left() -> set[int]:
        with on_mariadb.snapshot() as tx:
            return seen & {row.id for row in tx.session.rows(sa.text("SELECT id FROM information_schema.processlist"))}

    _until(lambda: not left(), "the server to have ended the connections")


def test_a_connection_that_is_kept_serves_the_next_unit(opened: SqlDatabase) -> None:
    """The owner of a session asks for it."""
    opened.keep()
    with opened.transaction() as tx:
        first = _number(tx)
    with opened.snapshot() as tx:
        assert _number(tx) == first
    opened.close()


def test_a_connection_begins_with_the_platforms_settings(opened: SqlDatabase) -> None:
    """Strict, in UTC, reading what is committed, with a short wait for locks; a snapshot holds what it saw first."""
    level = "transaction_isolation" if MYSQLD else "tx_isolation"
    names = ("sql_mode", "time_zone", level, "innodb_lock_wait_timeout", "autocommit", "character_set_client")
    with opened.transaction() as tx:
        found = tx.session.row(sa.text("SELECT " + ", ".join(f"@@SESSION.{name}" for name in names)))
    wanted = ("STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", "+00:00", "READ-COMMITTED", engine.LOCK_WAIT_S, 0, "utf8mb4")
    assert tuple(found) == wanted


def test_a_unit_of_work_costs_few_words(opened: SqlDatabase, on_mariadb: SqlDatabase) -> None:
    """A write is one statement and its commit, beside the two that set a connection up."""
    with opened.transaction() as tx:
        _beat(tx, "warm", 0)

    def asked() -> dict[str, int]:
        names = "'Com_set_option', 'Com_commit', 'Com_rollback', 'Com_insert', 'Com_select'"
        with on_mariadb.snapshot() as tx:
            rows = tx.session.rows(sa.text(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({names})"))
        return {name: int(value) for name, value in rows}

    on_mariadb.keep()
    asked()
    before, nothing = asked(), asked()
    with opened.transaction() as tx:
        _beat(tx, "one", 1)
    after = asked()
    own = {name: after[name] - nothing[name] - (nothing[name] - before[name]) for name in after}
    assert own == {"Com_set_option": 2, "Com_commit": 1, "Com_rollback": 0, "Com_insert": 1, "Com_select": 0}


def _crossed(database: SqlDatabase, both_hold: threading.Barrier) -> list[int]:
    """Have two threads take two rows in opposite order; return how often each unit of work was begun."""
    begun = [0, 0]

    def work(number: int) -> None:
        begun[number] += 1
        mine, others = (("a", "b"), ("b", "a"))[number]
        with database.transaction() as tx:
            _add_one(tx, mine)
            if begun[number] == 1:
                both_hold.wait(WAIT_S_MAX)
            _add_one(tx, others)

    threads = [threading.Thread(target=retrying, args=(lambda number=number: work(number),)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return begun


def _add_one(tx: Unit, name: str) -> None:
    tx.session.write(sa.text("UPDATE process SET tasks = tasks + 1 WHERE name = :name"), {"name": name})


@pytest.fixture
def rows(on_mariadb: SqlDatabase) -> SqlDatabase:
    """Give a database with the rows a and b, whose counts are 0."""
    with on_mariadb.transaction() as tx:
        for name in ("a", "b"):
            _beat(tx, name, 0)
    return on_mariadb


def test_a_lease_outlives_no_jump_of_the_servers_clock(on_mariadb: SqlDatabase) -> None:
    """Set forward, who held it is fenced off; set back, it ends one term later at most, and nobody need look."""
    on_mariadb.keep()
    now_s = time.time()

    def at(seconds: float, owner: str) -> int | None:
        with on_mariadb.transaction() as tx:
            # What the server's own clock would say; UTC_TIMESTAMP() follows it.
            tx.session.connection.exec_driver_sql(f"SET SESSION timestamp = {now_s + seconds:.6f}")
            return tx.control.acquire("fix", owner, 30.0)

    def holds(token: int) -> bool:
        with on_mariadb.transaction() as tx:
            return tx.control.holds("fix", token)

    hour_s = 3600.0
    assert at(0, "ann") == 1
    assert at(hour_s, "bob") == 2
    assert not holds(1)
    # Back by an hour: bob's lease seems to end in an hour. He lives, and renews under his token.
    assert at(1, "ann") is None
    assert at(2, "bob") == 2
    # Again, and bob is dead.
    assert at(hour_s, "bob") == 3
    assert at(3, "ann") is None
    assert at(32, "ann") is None
    assert at(34, "ann") == 4
    assert not holds(3)
    on_mariadb.close()


def test_a_deadlock_is_run_again_and_nothing_is_lost(rows: SqlDatabase) -> None:
    """Error 1213 of the real server: its victim begins again, and both count on both rows."""
    assert sorted(_crossed(rows, threading.Barrier(2))) == [1, 2]
    assert (_tasks(rows, "a"), _tasks(rows, "b")) == (2, 2)


_READ: Final = sa.text("SELECT tasks FROM process WHERE name = 'a'")
_READ_AND_HELD: Final = sa.text("SELECT tasks FROM process WHERE name = 'a' FOR UPDATE")


def _elsewhere(url: str, work: Callable[[Unit], None]) -> None:
    """Do a unit of work on a connection of another thread, to its end."""
    other = open_database(url)

    def run() -> None:
        with other.transaction() as tx:
            work(tx)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.skipif(MYSQLD is not None, reason="MySQL has no such conflict; nothing of ours may rest on it, see below")
def test_a_row_that_changed_since_it_was_read_is_a_conflict(rows: SqlDatabase, mariadb_url: str) -> None:
    """Error 1020 of the real server with innodb_snapshot_isolation, which would lose the other's update without it."""

    def work() -> None:
        with rows.transaction() as tx:
            tx.session.connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert tx.session.scalar(_READ) == 0
            _elsewhere(mariadb_url, lambda other: _add_one(other, "a"))
            _add_one(tx, "a")

    with pytest.raises(Conflict) as met:
        work()
    assert "(1020, " in str(met.value)
    assert _tasks(rows, "a") == 1


def test_no_server_saves_what_a_unit_of_work_read_without_a_lock(rows: SqlDatabase, mariadb_url: str) -> None:
    """At the platform's own level neither server has a conflict: the lock has the newest word, the version refuses."""
    cycle = Cycle(CycleId("C1"), 1, "opened", None, 0)
    with rows.transaction() as tx:
        tx.cycles.open_cycle(cycle)

    def first(tx: Unit) -> None:
        _add_one(tx, "a")
        assert tx.cycles.save_cycle(replace(cycle, stage="decided", version=1))

    with rows.transaction() as tx:
        assert tx.session.scalar(_READ) == 0
        _elsewhere(mariadb_url, first)
        assert tx.session.scalar(_READ_AND_HELD) == 1
        _add_one(tx, "a")
        assert not tx.cycles.save_cycle(replace(cycle, stage="done", version=1))
    assert _tasks(rows, "a") == 2
    with rows.snapshot() as tx:
        assert [(one.stage, one.version) for one in tx.cycles.unfinished()] == [("decided", 1)]


def test_a_lock_that_is_held_too_long_is_a_conflict_and_run_again(
    rows: SqlDatabase, mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Error 1205 of the real server; once the lock is free, the work is done once."""
    monkeypatch.setattr(engine, "LOCK_WAIT_S", 1)
    waiting, met = open_database(mariadb_url), []
    held, met_one = threading.Event(), threading.Event()

    def hold() -> None:
        with rows.transaction() as tx:
            _add_one(tx, "a")
            held.set()
            met_one.wait(WAIT_S_MAX)

    def once() -> None:
        try:
            with waiting.transaction() as tx:
                _add_one(tx, "a")
        except Conflict as error:
            met.append(str(error))
            met_one.set()
            raise

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(WAIT_S_MAX)
    retrying(once)
    holder.join()
    assert "(1205, " in met[0]
    assert _tasks(rows, "a") == 2


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline, f"waited {WAIT_S_MAX:g} s for {what}"
        time.sleep(0.02)
