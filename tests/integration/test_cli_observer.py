"""`trisagion observer` on a run's directory, from a statement on disk to the row that a cycle takes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.builders import TUESDAY_NS, Desk, qty
from tests.databases import founded_run
from trisagion.cli import main
from trisagion.clock import MINUTE_NS, SECOND_NS, iso
from trisagion.observer_ports import Observation
from trisagion.ports import Replay
from trisagion.services.hear_observers import take
from trisagion.settings import load
from trisagion.wiring import House

WAIT_S = 60.0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Lay an account out as the newest run of a state directory, at Tuesday noon, with an observer that has a key."""
    database = founded_run(tmp_path)
    code, told = observe(tmp_path, "--new-key", str(tmp_path / "broker.key"))
    assert code == 0 and oct((tmp_path / "broker.key").stat().st_mode)[-3:] == "600"
    (tmp_path / "t.toml").write_text(
        f'[reconcile]\nobservers = ["venue", "broker"]\n[observe.sources.broker]\n{told}'
        f'private_key = "file:{tmp_path / "broker.key"}"\nat = "{tmp_path / "statement.csv"}"\naccount = "U1"\n'
        "period_s = 1\n",
        encoding="utf-8",
    )
    with database.transaction() as tx:
        tx.control.put_replay(
            Replay("x", "", 1, "", TUESDAY_NS, TUESDAY_NS + MINUTE_NS, TUESDAY_NS, 1.0, 0, finished=False)
        )
    yield Desk(database).found()
    database.close()


def observe(folder: Path, *words: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    config = [f"--config={folder / 't.toml'}"] if (folder / "t.toml").exists() else []
    argv = ["observer", "broker", f"--state={folder}", *config, *words]
    done = CliRunner().invoke(main._app(argv), argv)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def state(folder: Path, count: int, at_ns: int = TUESDAY_NS) -> None:
    """Write a statement, whole at once."""
    new = folder / "statement.new"
    new.write_text(f"account,as_of,symbol,qty\nU1,{iso(at_ns)},ES,{count}\nU1,{iso(at_ns)},*,1\n", encoding="ascii")
    new.replace(folder / "statement.csv")


def test_a_look_is_a_signed_row_that_a_cycle_takes(desk: Desk, tmp_path: Path) -> None:
    """The platform takes it with the public key alone; the same statement again is no second row."""
    state(tmp_path, 3)
    code, told = observe(tmp_path, "--once", "--json")
    assert (code, json.loads(told)) == (
        0,
        {"observer": "broker", "positions": {"ES": "3"}, "failed": "", "said": {"number": 1, "at": iso(TUESDAY_NS)}},
    )
    assert observe(tmp_path, "--once") == (0, "broker  ES=3  nothing new\n")
    argv = ["observer", "broker", f"--config={tmp_path / 't.toml'}", f"--set=platform.state={tmp_path}", "--once"]
    assert CliRunner().invoke(main._app(argv), argv).stdout == "broker  ES=3  nothing new\n", "the state of the file"
    keys = House(load(tmp_path / "t.toml", {}, {})).cycle_rules.keys
    with desk.database.transaction() as tx:
        take(tx, keys, MINUTE_NS, TUESDAY_NS)
        assert tx.ledger.observations("ES") == [Observation("broker", "ES", qty(3), TUESDAY_NS)]


def test_a_look_that_fails_is_a_row_with_its_reason(desk: Desk, tmp_path: Path) -> None:
    """Exit code 1; as of the instant that the platform has come to."""
    code, told = observe(tmp_path, "--once", "--json")
    assert (code, json.loads(told)["said"]) == (1, {"number": 1, "at": iso(TUESDAY_NS)})
    with desk.database.snapshot() as tx:
        [(_, snapshot)] = tx.snapshots.after("broker", 0, 9)
    assert (snapshot.complete, snapshot.positions) == (False, ())
    assert "statement.csv: expected a readable statement" in snapshot.reason


def test_a_statement_that_no_row_can_hold_is_a_look_that_failed(desk: Desk, tmp_path: Path) -> None:
    """As one of an instant beyond 64 bits of nanoseconds: the observer says so and goes on."""
    (tmp_path / "statement.csv").write_text("account,as_of,symbol,qty\nU1,9999-12-31T00:00:00Z,*,0\n", encoding="ascii")
    code, told = observe(tmp_path, "--once", "--json")
    assert (code, json.loads(told)["said"]) == (1, {"number": 1, "at": iso(TUESDAY_NS)})
    with desk.database.snapshot() as tx:
        [(_, snapshot)] = tx.snapshots.after("broker", 0, 9)
    assert (snapshot.complete, snapshot.reason[:41]) == (False, "expected a whole number of 64 bits, found")


def test_an_observer_looks_again_and_again_until_it_is_told_to_end(desk: Desk, tmp_path: Path) -> None:
    """Each new statement is one more row; SIGTERM ends it after a look, and gives its right to speak back."""
    state(tmp_path, 1)
    words = ["observer", "broker", f"--config={tmp_path / 't.toml'}", f"--state={tmp_path}", "--json"]
    path = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-m", "trisagion.cli.main", *words]
    first = subprocess.Popen(argv, env=path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    try:
        assert json.loads(first.stdout.readline())["said"]["number"] == 1
        state(tmp_path, 2, TUESDAY_NS + SECOND_NS)
        lines = iter(first.stdout.readline, "")
        assert next(said for line in lines if (said := json.loads(line)["said"]) is not None)["number"] == 2
        first.send_signal(signal.SIGTERM)
        assert first.wait(WAIT_S) == 0
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    with desk.database.transaction() as tx:
        assert [number.number for _, number in tx.snapshots.after("broker", 0, 9)] == [1, 2]
        assert tx.control.acquire("observer:broker", "the next one", 1.0) is not None
