"""The daemon as a process of its own, with contacts in a file: told, killed, restarted, silenced."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import dump
from trisagion.adapters.db import SqlDatabase
from trisagion.safety.modes import Control, Mode
from trisagion.services import control
from trisagion.settings import load
from trisagion.wiring import House

WAIT_S = 60.0
NOW_NS = 1_400_000_000_000_000_000


class Pi:
    """A Raspberry Pi at a desk: its contacts, its process, and the platform that listens to it."""

    def __init__(self, folder: Path, database: SqlDatabase, url: str) -> None:
        self.database = database
        self._folder = folder
        self._contacts = folder / "contacts"
        self._shown = {"estop": "closed", "tamper": "closed", "key": "open"}
        self.wire()
        public = self.run("key", "private.key").partition('"')[2].partition('"')[0]
        (folder / "trisagion.toml").write_text(
            '[database]\nurl = "env:SWITCH_DATABASE"\n'
            f'[killswitch]\nname = "desk"\npublic_key = "{public}"\nprivate_key = "file:{folder / "private.key"}"\n'
            'mode = "emergency"\nbeat_ms = 100\ndeadline_s = 3\ncool_down_s = 1\n',
            encoding="utf-8",
        )
        self.environment = {"SWITCH_DATABASE": url}
        settings = load(folder / "trisagion.toml", {}, {})
        rules = House(settings).switch_rules
        assert rules is not None
        self.house = House(settings.model_copy(update={"database": settings.database.model_copy(update={"url": url})}))
        self.process: subprocess.Popen[bytes] | None = None

    def wire(self, **contacts: str) -> None:
        """Move contacts."""
        self._shown |= contacts
        new = self._contacts.with_suffix(".new")
        new.write_text("\n".join(f"{name} {word}" for name, word in self._shown.items()), encoding="utf-8")
        new.replace(self._contacts)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "trisagion.cli.main", "killswitch", *words]

    def _environ(self) -> dict[str, str]:
        return {**os.environ, **getattr(self, "environment", {})}

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(
            self._command(*words), cwd=self._folder, env=self._environ(), text=True, capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def boot(self) -> None:
        """Start the daemon."""
        with (self._folder / "said").open("w") as said, (self._folder / "complained").open("a") as complained:
            self.process = subprocess.Popen(
                self._command("run", "--simulate", "contacts", "--json"),
                cwd=self._folder,
                env=self._environ(),
                stdout=said,
                stderr=complained,
            )

    def said(self) -> dict[str, Any]:
        """Return the newest thing that the daemon said."""
        lines = (self._folder / "said").read_text(encoding="utf-8").splitlines()
        return dict(json.loads(lines[-1])) if lines else {}

    def lose_power(self) -> None:
        """End the daemon without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def arm(self) -> None:
        """Pass the self-test with the hand at the button."""
        self.until(lambda: self.said().get("step") == "press", "asks for a press")
        self.wire(estop="open")
        self.until(lambda: self.said().get("step") == "release", "asks for its end")
        self.wire(estop="closed")
        self.until(lambda: self.said().get("state") == "armed", "is armed")

    def mode(self) -> Mode:
        """Look as the guard of the session does; return the mode in force."""
        self.house.watch_switch(NOW_NS)
        with self.database.snapshot() as tx:
            return tx.control.control().mode

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for something, while the platform looks as it does all the time."""
        deadline = time.monotonic() + WAIT_S
        while not happened():
            assert time.monotonic() < deadline, (what, self.said())
            self.mode()
            time.sleep(0.05)

    def trade(self) -> None:
        """Release the platform as an operator does; what the switch demands by then it has engaged again."""

        def trades() -> bool:
            control.release(self.database, "tester", "looked at", NOW_NS)
            return self.mode() is Mode.NORMAL

        self.until(trades, "trades")


@pytest.fixture
def pi(tmp_path: Path, database: SqlDatabase, database_url: str) -> Iterator[Pi]:
    """Give a desk whose platform trades; its daemon ends with the test."""
    with database.transaction() as tx:
        tx.control.set_mode(Control(Mode.NORMAL, "tester", "begun", NOW_NS))
    pi = Pi(tmp_path, database, database_url)
    yield pi
    pi.house.database.close()
    if pi.process is not None:
        pi.lose_power()


def test_a_press_is_an_emergency_until_key_and_operator_have_released_it(pi: Pi) -> None:
    """The word goes through process, database and look; and out comes the mode that is configured."""
    pi.boot()
    pi.arm()
    pi.trade()
    assert pi.run("status", "--json").count('"state": "armed"') == 1
    pi.wire(estop="open")
    pi.until(lambda: pi.mode() is Mode.EMERGENCY, "engages")
    assert pi.said()["state"] == "pressed"
    assert "it demands emergency: the emergency stop was pressed (pressed: " in pi.run("status", code=1)
    pi.wire(estop="closed")
    pi.until(lambda: pi.said()["state"] == "cooling", "cools down")

    def armed() -> bool:
        # A person turns the key again until it helps.
        pi.wire(key="closed")
        time.sleep(0.3)
        pi.wire(key="open")
        time.sleep(0.3)
        return bool(pi.said()["state"] == "armed")

    pi.until(armed, "is reset")
    assert pi.mode() is Mode.EMERGENCY
    pi.trade()


def test_power_that_is_lost_is_a_pause_and_so_is_the_time_until_a_self_test(pi: Pi) -> None:
    """Killed without a word: silence beyond the deadline. Booted again it says itself that it is not tested."""
    pi.boot()
    pi.arm()
    pi.trade()
    pi.lose_power()
    pi.until(lambda: pi.mode() is Mode.PAUSE, "pauses")
    with pi.database.snapshot() as tx:
        assert tx.control.control().reason == "no heart-beat for more than 3 s"
        before = tx.switches.mark("desk")
    pi.boot()
    pi.arm()
    pi.trade()
    with pi.database.snapshot() as tx:
        after = tx.switches.mark("desk")
    assert before is not None
    assert after is not None
    assert after.number > before.number


def test_a_button_that_is_pressed_while_the_power_is_away_is_pressed_at_the_start(pi: Pi) -> None:
    """A latching button keeps what nobody saw."""
    pi.wire(estop="open")
    pi.boot()
    pi.until(lambda: pi.mode() is Mode.EMERGENCY, "engages")
    assert pi.said()["state"] == "pressed"


def test_a_row_that_was_kept_does_not_speak_for_a_switch_without_power(pi: Pi) -> None:
    """Shown again it is refused, and silence stays silence."""
    pi.boot()
    pi.arm()
    pi.trade()
    with pi.database.snapshot() as tx:
        kept = tx.switches.beat("desk")
    assert kept is not None
    assert kept.state == "armed"

    def newer() -> bool:
        with pi.database.snapshot() as tx:
            mark = tx.switches.mark("desk")
        return mark is not None and mark.number > kept.number

    pi.until(newer, "speaks on")
    pi.lose_power()

    def replayed() -> bool:
        with pi.database.transaction() as tx:
            tx.switches.put_beat(kept)
        return pi.mode() is Mode.PAUSE

    pi.until(replayed, "pauses")
    with pi.database.snapshot() as tx:
        assert tx.control.control().reason == "no heart-beat for more than 3 s"


def test_a_daemon_that_is_stopped_says_so(pi: Pi, database_url: str) -> None:
    """SIGTERM: a pause at once, its exit code is 0, and the key is nowhere to be read."""
    pi.boot()
    pi.arm()
    pi.trade()
    assert pi.process is not None
    pi.process.send_signal(signal.SIGTERM)
    assert pi.process.wait(WAIT_S) == 0
    assert pi.mode() is Mode.PAUSE
    with pi.database.snapshot() as tx:
        assert tx.control.control().reason.endswith("(stopped: the daemon of the switch was stopped)")
    private = (pi._folder / "private.key").read_text(encoding="utf-8").strip()
    told = "".join((pi._folder / name).read_text(encoding="utf-8") for name in ("said", "complained"))
    assert private not in told + dump(database_url)
    assert (pi._folder / "private.key").stat().st_mode & 0o777 == 0o600
    pi.run("key", "private.key", code=4)


def test_a_contact_file_that_goes_away_is_a_fault(pi: Pi) -> None:
    """What cannot be read pauses the platform."""
    pi.boot()
    pi.arm()
    pi.trade()
    pi._contacts.unlink()
    pi.until(lambda: pi.mode() is Mode.PAUSE, "pauses")
    assert pi.said()["state"] in {"fault", "cooling"}


def test_the_self_test_takes_a_person_through_all_of_it(pi: Pi) -> None:
    """Press, trip, release, key; without a platform, whose mode stays."""
    hands = {
        "press the emergency stop": {"estop": "open"},
        "release the emergency stop": {"estop": "closed"},
        "turn the key": {"key": "open"},
    }
    heard = []
    with subprocess.Popen(
        pi._command("self-test", "--simulate", "contacts"),
        cwd=pi._folder,
        env=pi._environ(),
        text=True,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            heard.append(line)
            for asked, contacts in hands.items():
                if asked in line:
                    pi.wire(**contacts)
                    if asked == "turn the key":
                        time.sleep(3)
                        pi.wire(key="closed")
    assert process.returncode == 0, heard
    assert heard[-1] == "the switch has passed\n"
    with pi.database.snapshot() as tx:
        assert (tx.control.control().mode, tx.switches.beat("desk")) == (Mode.NORMAL, None)
