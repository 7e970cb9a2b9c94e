"""What befalls a real MariaDB under load: nothing acknowledged is lost, nothing half written, no person is needed.

A full disk is played in `tests/e2e/faults/disks.py`, a server that hangs or is slow in `tests/e2e/faults/servers.py`.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from init import create
from tests.builders import TUESDAY_NS, Desk, an_intended_order
from tests.fakes import FakeSession
from trisagion.adapters.db import SqlDatabase, Unit, Unreachable, engine, open_database, retrying
from trisagion.adapters.processes import Children
from trisagion.adapters.servers import mariadb
from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner, StateError
from trisagion.gateway.settling import SETTLED
from trisagion.ids import CycleId
from trisagion.orders.state import OrderState
from trisagion.ports import Cycle, ProcessBeat
from trisagion.services.drive_session import SessionDriver
from trisagion.services.outcome import Outcome

pytestmark = pytest.mark.mariadb

WRITERS = 8
KEYS = 60
KILLS = 2
WAIT_S_MAX = 60.0
CLOCK_OFF_S = 300


class Server:
    """A MariaDB that is started again when it dies, as the supervisor of a run does."""

    def __init__(self, url: str, children: Children) -> None:
        self.url = url
        self._children = children

    def kill(self) -> None:
        """Kill it; wait until another answers."""
        [child] = self._children.kept
        pid = child.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            self._children.watch()
            return child.pid not in {None, pid} and _answers(self.url)

        _until(back, "the server to be back")


@pytest.fixture
def server(tmp_path: Path, short_directory: Path) -> Iterator[Server]:
    """Give a server of this test's own."""
    children = Children()
    with mariadb(tmp_path / "db", short_directory / "f", children) as url:
        create(url)
        yield Server(url, children)


def _answers(url: str) -> bool:
    with closing(open_database(url)) as database:
        try:
            with database.snapshot() as tx:
                return bool(tx.session.scalar(sa.text("SELECT 1")))
        except StateError:
            return False


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline, f"waited {WAIT_S_MAX:g} s for {what}"
        time.sleep(0.05)


class Writer(threading.Thread):
    """Writes keys, each in a transaction that also counts it; what is in doubt it looks for by its key."""

    def __init__(self, database: SqlDatabase, number: int) -> None:
        super().__init__()
        self.number = number
        self.acknowledged: list[str] = []
        self.doubts = self.kept = 0
        self._database = database

    def run(self) -> None:
        """Write all."""
        for key in range(KEYS):
            name = f"W{self.number}-{key}"
            first = [True]
            retrying(lambda name=name, first=first: self._once(name, first))  # type: ignore[misc]
            self.acknowledged.append(name)

    def _once(self, name: str, first: list[bool]) -> None:
        try:
            with self._database.transaction() as tx:
                cycle = Cycle(CycleId(name), self.number * KEYS + len(self.acknowledged), "opened", None, 0)
                if tx.cycles.open_cycle(cycle):
                    tx.session.write(_COUNT, {"name": f"W{self.number}"})
                else:
                    assert not first[0], f"{name} was there before it was written"
                    self.kept += 1
        except Unreachable:
            self.doubts += 1
            raise
        finally:
            first[0] = False


_COUNT = sa.text("UPDATE process SET tasks = tasks + 1 WHERE name = :name")


def test_of_a_server_killed_under_load_nothing_acknowledged_is_lost_and_nothing_happens_twice(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight writers, two kills: each key is there once and had its effect once, also of those that were in doubt."""
    monkeypatch.setattr(engine, "AWAY_S_MAX", WAIT_S_MAX)
    database = open_database(server.url)
    with database.transaction() as tx:
        for number in range(WRITERS):
            tx.control.beat(ProcessBeat(f"W{number}", 1, 1, 0, 1))
    writers = [Writer(database, number) for number in range(WRITERS)]
    for writer in writers:
        writer.start()

    def written() -> int:
        return sum(len(writer.acknowledged) for writer in writers)

    for kill in range(1, KILLS + 1):
        part = kill * WRITERS * KEYS // (KILLS + 1)
        _until(lambda part=part: written() >= part, "the load to go on")  # type: ignore[misc]
        server.kill()
    for writer in writers:
        writer.join(WAIT_S_MAX)
    assert [len(writer.acknowledged) for writer in writers] == [KEYS] * WRITERS
    assert sum(writer.doubts for writer in writers) > 0, "the kills met nobody at work"
    with database.snapshot() as tx:
        kept = {str(cycle.cycle_id) for cycle in tx.cycles.unfinished()}
        counted = {beat.name: beat.tasks for beat in tx.control.beats()}
    assert kept == {name for writer in writers for name in writer.acknowledged}
    assert counted == {f"W{number}": KEYS for number in range(WRITERS)}


@contextmanager
def _root(database: SqlDatabase, short_directory: Path) -> Iterator[SqlDatabase]:
    path = short_directory / "mariadb.sock"
    with closing(open_database(f"mysql://root@localhost/{database.engine.url.database}?unix_socket={path}")) as root:
        yield root


def _open_two(tx: Unit, between: Callable[[], None]) -> None:
    for number in (1, 2):
        tx.cycles.open_cycle(Cycle(CycleId(f"C{number}"), number, "opened", None, 0))
        if number == 1:
            between()


def _opened(database: SqlDatabase) -> int:
    with database.snapshot() as tx:
        return len(tx.cycles.unfinished())


def test_a_connection_lost_in_a_transaction_leaves_nothing_and_the_work_is_done_again(
    on_mariadb: SqlDatabase, short_directory: Path
) -> None:
    """Killed between two writes: neither is there; run again the unit of work writes both."""
    lost: list[int] = []

    def work() -> None:
        with on_mariadb.transaction() as tx:
            number = tx.session.scalar(sa.text("SELECT CONNECTION_ID()"))

            def kill_once() -> None:
                if not lost:
                    lost.append(number)
                    with _root(on_mariadb, short_directory) as root, root.transaction() as other:
                        other.session.connection.exec_driver_sql(f"KILL CONNECTION {number}")

            _open_two(tx, lambda: _other_thread(kill_once))

    with pytest.raises(Unreachable, match="does not answer"):
        work()
    assert _opened(on_mariadb) == 0
    lost.clear()
    retrying(work)
    assert len(lost) == 1
    assert _opened(on_mariadb) == 2


def _other_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_server_that_becomes_read_only_is_told_and_takes_writes_again_later(
    on_mariadb: SqlDatabase, short_directory: Path
) -> None:
    """One sentence with what to do, nothing half written, and reading goes on; nobody has to start anything again."""

    def write() -> None:
        with on_mariadb.transaction() as tx:
            _open_two(tx, lambda: None)

    with _root(on_mariadb, short_directory) as root:
        try:
            with root.transaction() as tx:
                tx.session.connection.exec_driver_sql("SET GLOBAL read_only = ON")
            with pytest.raises(StateError, match=r"is read-only .*: use the primary server"):
                retrying(write)
            assert _opened(on_mariadb) == 0
        finally:
            with root.transaction() as tx:
                tx.session.connection.exec_driver_sql("SET GLOBAL read_only = OFF")
    write()
    assert _opened(on_mariadb) == 2


@pytest.mark.parametrize("off_s", [CLOCK_OFF_S, -CLOCK_OFF_S])
def test_a_host_whose_clock_is_not_the_databases_keeps_its_lease_and_sends_nothing_new(
    on_mariadb: SqlDatabase, off_s: int
) -> None:
    """Leases go by the server's clock alone; once the host's is right again the owner knows it without a person."""
    desk, off_ns = Desk(on_mariadb).found(), [off_s * SECOND_NS]

    def driver(owner: str) -> SessionDriver:
        return SessionDriver(
            on_mariadb, FakeSession(), "SIM", owner, settling=SETTLED, wall=lambda: time.time_ns() + off_ns[0]
        )

    owner, standby = driver("one"), driver("two")
    owner.lease()
    with pytest.raises(StaleOwner, match="held by another process"):
        standby.lease()
    owner.watch(TUESDAY_NS)
    assert owner.skewed
    assert "CLOCK: ours less the database's is " in desk.events("gate.shut SIM")[0]
    desk.put(an_intended_order(TUESDAY_NS, OrderState.ROUTED))
    assert owner.drain(TUESDAY_NS) == Outcome("settling")
    off_ns[0] = 0
    owner.lease()
    owner.watch(TUESDAY_NS)
    assert not owner.skewed
