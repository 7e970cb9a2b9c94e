"""`trisagion dashboard`: a platform that runs, on a plain terminal, and the stop under two keys.

It only reads, but for the word that a person gives: `k` then `y` engages Pause, `e` then `y` Emergency, over
everything, as `trisagion kill` does. The database is read on a thread of its own: a platform whose database stands
still can be stopped all the same. Without a terminal it shows one look and ends.
"""

import os
import select
import shutil
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trisagion.adapters.witness import person
from trisagion.cli.acting import noted
from trisagion.cli.board import Look, fitting, lines, look
from trisagion.cli.rundir import running_house
from trisagion.cli.stop import Stop
from trisagion.errors import TrisagionError
from trisagion.safety.modes import Mode

if TYPE_CHECKING:
    from trisagion.wiring import House

LOOK_S: Final = 1.0
OLD_S: Final = 3.0
"""A look that is older is marked: the database does not answer."""
ENGAGES: Final = {"k": Mode.PAUSE, "e": Mode.EMERGENCY}
HELP: Final = "k pause   e emergency: flatten   q leave"

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"


def command(
    reason: Annotated[
        str, typer.Option(help="Why, should you stop it; goes to the audit log.")
    ] = "trisagion dashboard",
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
) -> None:
    """Show mode, heart-beats, orders, positions, equity and events each second; k then y pauses, e then y flattens."""
    house = running_house(state)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        with house.database.snapshot() as unit:
            print("\n".join(lines(look(unit, house.settings.account.currency, house.settings.killswitch.name), 200)))
        return
    eyes = Eyes(house)
    threading.Thread(target=eyes.keep_looking, name="eyes", daemon=True).start()
    with _terminal() as terminal:
        _show(eyes, Keys(house, reason), terminal)


@dataclass(slots=True)
class Eyes:
    """Look at a platform, again and again; what was seen last is there for whoever draws it."""

    house: "House"
    seen: Look | None = None
    why: str = "looking for the first time"
    at_s: float = field(default_factory=time.monotonic)

    def keep_looking(self) -> None:
        """Look once a second, for as long as the process lives."""
        given = self.house.settings
        while True:
            try:
                with self.house.database.snapshot() as unit:
                    self.seen = look(unit, given.account.currency, given.killswitch.name)
                self.at_s = time.monotonic()
            except TrisagionError as error:
                self.why = str(error)
            time.sleep(LOOK_S)

    def lines(self, width: int) -> list[str]:
        """Return what is to be drawn."""
        old_s, seen = time.monotonic() - self.at_s, self.seen
        told = [] if seen is None else lines(seen, width)
        if seen is None or old_s > OLD_S:
            # What is shown may be old, and says so above everything else.
            told.insert(0, fitting(f"THE DATABASE DOES NOT ANSWER, for {old_s:.0f} s: {self.why}", width))
        return told


@dataclass(slots=True)
class Keys:
    """What a person at the keys has asked for: `asked` waits for a y, `said` is what became of the last word.

    `waits` says that the last word stands in the kill file, until the database has it.
    """

    house: "House"
    reason: str
    asked: Mode | None = None
    said: str = HELP
    stop: Stop | None = None
    waits: bool = False
    leave: bool = False

    def press(self, key: str) -> None:
        """Take a key."""
        if self.asked is not None:
            mode, self.asked = self.asked, None
            self.said = self._engage(mode) if key in {"y", "Y"} else f"nothing was done   {HELP}"
        elif key in ENGAGES:
            self.asked = ENGAGES[key]
            self.said = f"engage {self.asked.upper()} over everything? y does, any other key does not"
        elif key in {"q", "\x03", "\x04"}:
            self.leave = True

    def tend(self) -> None:
        """Give the database the last word again, where a file stands for it."""
        if self.waits and self.stop is not None and self.stop.confirmed(0.0):
            self.waits = False
            self.said = f"the database answers, and has the word   {HELP}"

    def _engage(self, mode: Mode) -> str:
        begun_s = time.monotonic()
        try:
            self.stop = Stop(self.house, mode, person(), self.reason)
            file = self.stop.give()
        except TrisagionError as error:
            return f"NOT engaged: {error}"
        took_s = time.monotonic() - begun_s
        if file is not None:
            self.waits = True
            return f"the database does not answer: {file} pauses in its place, after {took_s:.3f} s"
        try:
            noted(self.house, self.house.database, "dashboard")
        except TrisagionError as error:
            return f"{mode} engaged after {took_s:.3f} s; the audit chain has not noted it: {error}"
        return f"{mode} engaged after {took_s:.3f} s   {HELP}"


def _show(eyes: Eyes, keys: Keys, terminal: int) -> None:
    """Draw and take keys until the person leaves."""
    while not keys.leave:
        width, height = shutil.get_terminal_size()
        shown = eyes.lines(width)[: max(height - 2, 0)]
        drawn = [*shown, "", fitting(keys.said, width)][:height]
        text = _HOME + "\r\n".join(line + _REST_OF_LINE for line in drawn) + _REST_OF_SCREEN
        sys.stdout.write(text)
        sys.stdout.flush()
        for key in _pressed(terminal):
            keys.press(key)
        keys.tend()


def _pressed(terminal: int) -> str:
    """Wait for keys, until it is time to draw again; a terminal that is gone says q."""
    if not select.select([terminal], [], [], LOOK_S)[0]:
        return ""
    return os.read(terminal, 64).decode(errors="replace") or "q"


@contextmanager
def _terminal() -> Iterator[int]:
    """Have keys come one by one, unechoed, and a screen of our own; both are given back as they were."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        sys.stdout.write(_ENTER)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
