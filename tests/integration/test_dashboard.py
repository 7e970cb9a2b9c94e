"""`trisagion dashboard`: what is shown of a platform, and a stop by two keys on a real terminal."""

import os
import pty
import re
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.builders import TUESDAY_NS, Desk
from tests.databases import founded_run
from tests.integration.owned import routed
from trisagion.cli import main
from trisagion.cli.board import EVENTS_SHOWN, ORDERS_SHOWN, Beat, Look, lines, look
from trisagion.cli.dashboard import Keys
from trisagion.clock import SECOND_NS
from trisagion.orders.state import OrderState
from trisagion.ports import ProcessBeat
from trisagion.safety.modes import Control, Level, Mode
from trisagion.settings import load
from trisagion.wiring import House

WAIT_S = 60.0
"""Of a machine that is shared; a start takes a second and a half."""

LOOK = Look(
    at_ns=TUESDAY_NS,
    everything=Control(Mode.NORMAL, "ann", "begun", TUESDAY_NS),
    parts=(),
    shut=(),
    beats=(Beat("desk@host", "7 tasks", 1.0),),
    live=(),
    positions=(),
    equity=Decimal("10006858.539375"),
    profit=Decimal("6858.539375"),
    currency="USD",
    events=("order.denied T1 reason=REST",),
)


@dataclass
class Terminal:
    """A dashboard on a terminal of ours, and all that it has drawn."""

    handle: int
    popen: "subprocess.Popen[bytes]"
    drawn: str = ""

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self.handle, keys.encode())

    def until(self, true: Callable[[], bool]) -> None:
        """Read what is drawn until something is true."""
        deadline = time.monotonic() + WAIT_S
        while not true():
            assert time.monotonic() < deadline, self.drawn[-3000:]
            if select.select([self.handle], [], [], 0.05)[0]:
                self.drawn += os.read(self.handle, 65_536).decode(errors="replace")

    def shows(self, text: str, times: int = 1) -> None:
        """Wait until a text was drawn."""
        self.until(lambda: self.drawn.count(text) >= times)


@contextmanager
def dashboard(state: Path) -> Iterator[Terminal]:
    """Run the command on a terminal of 40 lines of 120 signs."""
    near, far = pty.openpty()
    argv = [sys.executable, "-m", "trisagion.cli.main", "dashboard", "--state", str(state), "--reason", "smoke"]
    env = {**os.environ, "COLUMNS": "120", "LINES": "40", "TERM": "xterm"}
    popen = subprocess.Popen(argv, stdin=far, stdout=far, stderr=far, env=env)
    os.close(far)
    try:
        yield Terminal(near, popen)
    finally:
        popen.kill()
        popen.wait()
        os.close(near)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give the newest run of a state directory, with an order that works."""
    with closing(founded_run(tmp_path)) as database:
        desk = Desk(database).found(quoted_ns=TUESDAY_NS)
        desk.put(routed("T1", state=OrderState.NEW))
        yield desk


def test_a_person_stops_the_platform_by_two_keys(desk: Desk, tmp_path: Path) -> None:
    """Another key than y does nothing; each word is on record with who gave it, and q leaves."""
    with dashboard(tmp_path) as terminal:
        terminal.shows("ES sell 3 @ 4000.25")
        terminal.press("k")
        terminal.shows("engage PAUSE over everything?")
        terminal.press("n")
        terminal.shows("nothing was done")
        assert desk.mode() is Mode.NORMAL
        terminal.press("k")
        terminal.shows("engage PAUSE over everything?", times=2)
        terminal.press("y")
        terminal.shows("pause engaged after")
        assert desk.mode() is Mode.PAUSE
        terminal.press("e")
        terminal.shows("engage EMERGENCY over everything?")
        terminal.press("y")
        terminal.shows("emergency engaged after")
        assert desk.mode() is Mode.EMERGENCY
        terminal.shows("EMERGENCY, by")
        terminal.press("q")
        assert terminal.popen.wait(WAIT_S) == 0
    assert len(desk.events("control.engaged")) == 2
    assert all("smoke" in event for event in desk.events("control.engaged"))
    with desk.database.snapshot() as tx:
        assert tx.control.control().operator != "tester"


def test_without_a_terminal_one_look_is_printed(desk: Desk, tmp_path: Path) -> None:
    """For a log, or another program."""
    done = CliRunner().invoke(main._app(["dashboard"]), ["dashboard", "--state", str(tmp_path)])
    assert done.exit_code == 0
    assert "ES sell 3 @ 4000.25  new  T1" in done.output
    assert "\x1b" not in done.output


def test_a_platform_whose_database_stands_still_is_stopped_all_the_same(desk: Desk, tmp_path: Path) -> None:
    """By the file; when the database answers it has the word, and the file goes."""
    file, url = tmp_path / "KILL", f"sqlite:///{tmp_path / 'trisagion.sqlite3'}"
    house = House(load(None, {}, {"database.url": url, "safety.kill_file": str(file)}))
    person = Keys(house, "smoke")
    with closing(sqlite3.connect(tmp_path / "trisagion.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for key in "ky":
            person.press(key)
        assert f"{file} pauses in its place" in person.said
        assert file.exists()
        person.tend()
        assert person.waits
        other.execute("ROLLBACK")
    deadline = time.monotonic() + WAIT_S
    while person.waits:
        assert time.monotonic() < deadline, person.said
        person.tend()
        time.sleep(0.02)
    assert "the database answers" in person.said
    assert desk.mode() is Mode.PAUSE
    assert not file.exists()


def test_a_look_has_modes_beats_orders_positions_equity_and_events(desk: Desk) -> None:
    """Read in one transaction; what is old says so."""
    desk.hold(2)
    with desk.database.transaction() as tx:
        wall_ns = tx.control.wall_ns()
        tx.control.beat(ProcessBeat("desk@host", 7, wall_ns, 12, 1))
        tx.control.beat(ProcessBeat("session@host", 8, wall_ns - 60 * SECOND_NS, 3, 1))
        tx.control.set_mode(Control(Mode.PAUSE, "bob", "odd prices", TUESDAY_NS, Level.SYMBOL, "ES"))
        tx.control.add_event("order.denied", "T9", {"reason": "REST"}, TUESDAY_NS)
    with desk.database.snapshot() as unit:
        seen = look(unit, "USD", "red")
    text = "\n".join(lines(seen, 200))
    assert "PAUSE of symbol ES, by bob: odd prices" in text
    assert re.search(r"desk@host +12 tasks +\d s ago$", text, re.MULTILINE)
    assert re.search(r"session@host +3 tasks +\d+ s ago  SILENT$", text, re.MULTILINE)
    assert re.search(r"kill switch red +never heard +SILENT$", text, re.MULTILINE)
    assert "position   ES 2" in text
    assert "orders     1 live" in text
    assert "order.denied T9 reason=REST" in text
    assert len(seen.events) <= EVENTS_SHOWN


@pytest.mark.parametrize("width", [20, 40, 120])
def test_a_line_is_no_wider_than_the_terminal_and_acts_on_none(width: int) -> None:
    """What others wrote into the database is shown, never obeyed."""
    hostile = Control(Mode.PAUSE, "\x1b[2Jann", "\u202esmoke\nand fire" * 20, TUESDAY_NS)
    seen = replace(LOOK, everything=hostile, shut=("SIM",), events=("x" * 500, "\x07"))
    for line in lines(seen, width):
        assert line.isprintable() or not line
        assert len(line) < width
    assert any("gate of SIM SHUT"[: width - 12] in line for line in lines(seen, width))


def test_many_orders_are_counted_and_the_first_are_shown() -> None:
    """The rest is a number."""
    many = tuple(routed(f"T{number}", intent=f"I{number}") for number in range(ORDERS_SHOWN + 5))
    text = "\n".join(lines(replace(LOOK, live=many), 120))
    assert f"orders     {len(many)} live" in text
    assert "and 5 more" in text
    assert text.count("@ 4000.25") == ORDERS_SHOWN
