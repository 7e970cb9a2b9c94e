"""Who advances a shard holds its row: others wait, and a holder that is lost loses nothing but time."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from init import FOLDER
from tests.builders import COHORT_RULES, TUESDAY_NS, Desk, states
from trisagion.adapters.db import Conflict, SqlDatabase, Unreachable, engine, open_database, retrying
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance as advance_shard
from trisagion.cohort.state import from_bytes, to_bytes
from trisagion.cohort.supervise import supervise
from trisagion.ids import cycle_id
from trisagion.ports import Cycle
from trisagion.services.advance_cohort import ShardCopies, advance, supervise_cohort
from trisagion.services.outcome import Outcome

T0 = TUESDAY_NS
DUE_NS = T0 + 10 * MINUTE_NS
MINUTES = 10
WAITING_S = 0.3
"""How long one looks at somebody who waits."""


def step(desk: Desk, copies: ShardCopies | None = None, number: int = 0, due_ns: int = DUE_NS) -> str:
    """Advance a shard as a worker does, which tries again when another one was in its way; return what it says."""
    mine = ShardCopies() if copies is None else copies
    return retrying(lambda: advance(desk.database, mine, number, due_ns, MINUTES * MINUTE_NS)).word


def ready(desk: Desk) -> bytes:
    """Found a cohort with ten minutes before it; return what shard 0 is to become."""
    desk.people().publish(states(MINUTES, T0))
    return to_bytes(advance_shard(from_bytes(desk.checkpoint()[2]), states(MINUTES, T0)))


class Rival:
    """Somebody else, in a thread and on a connection of his own; he has had time enough when this was made."""

    def __init__(self, work: Callable[[], str]) -> None:
        self.said: list[str] = []
        begun = threading.Event()

        def run() -> None:
            begun.set()
            self.said.append(work())

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert begun.wait(5)
        self._thread.join(WAITING_S)

    def end(self) -> list[str]:
        """Wait for him; return what he said."""
        self._thread.join()
        return self.said


@pytest.mark.parametrize("minute", [1, 10], ids=["between checkpoints", "at a checkpoint"])
def test_whoever_comes_second_waits_and_finds_it_done(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch, minute: int
) -> None:
    """On either server, on a connection of his own: he reads no checkpoint, computes nothing and writes nothing."""
    expected = ready(shared)
    rivals: list[Rival] = []
    calls: list[int] = []

    def slowly(shard: Any, market: Any, *, consume: bool) -> Any:
        calls.append(len(market))
        rivals.append(Rival(lambda: step(colleague, due_ns=T0 + minute * MINUTE_NS)))
        assert rivals[0].said == []
        return advance_shard(shard, market, consume=consume)

    monkeypatch.setattr("trisagion.services.advance_cohort.advance_shard", slowly)
    copies = ShardCopies()
    assert step(shared, copies, due_ns=T0 + minute * MINUTE_NS) == "advanced"
    left = shared.everything()
    assert rivals[0].end() == ["nothing"]
    assert calls == [10]
    assert shared.everything() == left
    assert shared.checkpoint() == (DUE_NS, 1, expected)
    assert copies.held[0][0] == 1


def test_a_row_that_is_held_too_long_is_a_conflict(
    database_url: str, shared: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting has an end; nothing is written, the copy at hand stays good, and once the row is free it goes on."""
    expected = ready(shared)
    monkeypatch.setattr(engine, "BUSY_S", 0)
    monkeypatch.setattr(engine, "LOCK_WAIT_S", 1)
    late = Desk(open_database(database_url))
    copies = ShardCopies()
    copies.held[0] = (0, from_bytes(shared.checkpoint()[2]))
    before = shared.everything()
    with shared.database.transaction() as tx:
        assert tx.cohort.hold_shard(0) == (T0, 0)
        with pytest.raises(Conflict, match="try again"):
            advance(late.database, copies, 0, DUE_NS, MINUTES * MINUTE_NS)
    assert shared.everything() == before
    assert copies.held[0][0] == 0
    assert step(late, copies) == "advanced"
    assert shared.checkpoint() == (DUE_NS, 1, expected)
    late.database.close()


_HOLDER = """
import sys
from trisagion.adapters.db import open_database
from trisagion.services import advance_cohort

def stand_still(shard):
    print("written, not committed", flush=True)
    sys.stdin.read()

advance_cohort.progress = stand_still
database, due_ns = open_database(sys.argv[1]), int(sys.argv[2])
advance_cohort.advance(database, advance_cohort.ShardCopies(), 0, due_ns, int(sys.argv[3]))
"""


def test_a_process_killed_while_it_holds_a_shard_costs_time_only(
    database_url: str, shared: Desk, colleague: Desk
) -> None:
    """`kill -9` after the checkpoint, before the commit: who waited goes on at once, to the same bytes."""
    expected = ready(shared)
    before = shared.everything()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, database_url, str(DUE_NS), str(MINUTES * MINUTE_NS)],
        env={"PYTHONPATH": os.pathsep.join([str(FOLDER.parent), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "written, not committed\n"
    waiting = Rival(lambda: step(colleague))
    assert waiting.said == []
    assert shared.everything() == before
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert waiting.end() == ["advanced"]
    assert shared.checkpoint() == (DUE_NS, 1, expected)
    with shared.database.snapshot() as tx:
        assert [progress.shard for progress in tx.cohort.progress(DUE_NS)] == [0]
        assert [mark.shard for mark in tx.cohort.marks()] == [0]


@pytest.fixture
def elsewhere(on_mariadb: SqlDatabase, mariadb_url: str) -> Iterator[Desk]:
    """Give the database of `on_mariadb` as another process sees it."""
    other = open_database(mariadb_url)
    yield Desk(other)
    other.close()


@pytest.mark.mariadb
@pytest.mark.parametrize("overtaken", [False, True], ids=["alone", "and another goes on"])
@pytest.mark.parametrize("minute", [1, 10], ids=["between checkpoints", "at a checkpoint"])
def test_a_holder_whose_connection_is_killed_writes_nothing(
    *, on_mariadb: SqlDatabase, elsewhere: Desk, monkeypatch: pytest.MonkeyPatch, overtaken: bool, minute: int
) -> None:
    """Not even progress, whatever it goes on computing; it keeps no copy, and the next call ends the same."""
    desk = Desk(on_mariadb).found()
    expected = ready(desk)
    on_mariadb.keep()
    with on_mariadb.snapshot() as tx:
        number = tx.session.scalar(sa.text("SELECT CONNECTION_ID()"))
    due_ns = T0 + minute * MINUTE_NS
    left: list[Any] = []

    def cut_off(shard: Any, market: Any, *, consume: bool) -> Any:
        monkeypatch.undo()
        raw = elsewhere.database.engine.connect()
        raw.exec_driver_sql(f"KILL CONNECTION {number}")
        raw.close()
        if overtaken:
            assert step(elsewhere, due_ns=due_ns) == "advanced"
        left.append(elsewhere.everything())
        return advance_shard(shard, market, consume=consume)

    monkeypatch.setattr("trisagion.services.advance_cohort.advance_shard", cut_off)
    copies = ShardCopies()
    with pytest.raises(Unreachable):
        advance(desk.database, copies, 0, due_ns, MINUTES * MINUTE_NS)
    assert copies.held == {}
    assert [elsewhere.everything()] == left
    assert step(desk, copies, due_ns=due_ns) == ("nothing" if overtaken else "advanced")
    assert desk.checkpoint() == (DUE_NS, 1, expected)


@pytest.mark.mariadb
def test_holding_one_shard_holds_up_no_other(
    on_mariadb: SqlDatabase, elsewhere: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rows are locked one by one: in the middle of one shard another one is advanced, checkpoint and all."""
    desk = Desk(on_mariadb).found()
    ready(desk)

    def slowly(shard: Any, market: Any, *, consume: bool) -> Any:
        monkeypatch.undo()
        assert step(elsewhere, number=1) == "advanced"
        assert elsewhere.checkpoint(1)[:2] == (DUE_NS, 1)
        assert elsewhere.checkpoint(0)[:2] == (T0, 0)
        return advance_shard(shard, market, consume=consume)

    monkeypatch.setattr("trisagion.services.advance_cohort.advance_shard", slowly)
    assert step(desk) == "advanced"
    assert desk.checkpoint(0)[:2] == (DUE_NS, 1)


@pytest.mark.mariadb
def test_a_supervision_that_was_overtaken_keeps_nothing(
    on_mariadb: SqlDatabase, elsewhere: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard was advanced between its read and its write: nobody is born or ended, and it is rung again."""
    desk = Desk(on_mariadb).found()
    ready(desk)
    dying = from_bytes(desk.checkpoint()[2])
    dying.state["exit_code"][:2] = 1
    desk.enter(dying, at_ns=T0)
    with on_mariadb.transaction() as tx:
        tx.cycles.open_cycle(Cycle(cycle_id(DUE_NS), DUE_NS, "decided", None, 0))
    left: list[Any] = []

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        assert step(elsewhere) == "advanced"
        left.append(elsewhere.everything())
        return supervise(*arguments, **options)

    monkeypatch.setattr("trisagion.services.advance_cohort.supervise", meanwhile)
    assert supervise_cohort(desk.database, COHORT_RULES, 7, DUE_NS) == Outcome("stale", (str(DUE_NS),))
    assert [desk.everything()] == left
    assert supervise_cohort(desk.database, COHORT_RULES, 7, DUE_NS) == Outcome("supervised")
    with on_mariadb.snapshot() as tx:
        assert tx.cohort.run_count() == COHORT_RULES.desired_runs + 2
