"""Whole platforms as processes, and the judge of what they did: the venue's own books, not ours.

A platform is `trisagion run --json` with a state directory of its own. The judge rebuilds the venue from its journal
and holds orders, fills and positions of both sides against each other.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import sqlalchemy as sa

from tests.e2e.faults.judge import books, violations
from trisagion.adapters.db import SqlDatabase, open_database, tables
from trisagion.adapters.db.reading import history
from trisagion.adapters.files import load
from trisagion.adapters.venues.control import VenueControl
from trisagion.cli import rundir
from trisagion.cli.preflight import specs_of
from trisagion.clock import MINUTE_NS
from trisagion.cohort.state import Shard, from_bytes
from trisagion.orders.state import OrderState
from trisagion.settings import load as load_settings
from trisagion.simulate.venue import SimulatedVenue

ROOT: Final = Path(__file__).resolve().parents[2]
TRISAGION: Final = (sys.executable, "-m", "trisagion.cli.main")
END_S_MAX: Final = 150.0
POLL_S: Final = 0.001
HOLD_S: Final = 0.3
"""How long an order that is about to be sent is waited for; the answer may have been quicker than our signal."""

EARLY: Final = ("reconcile.interval_s=60", "cohort.runs=200")
"""Settings under which the slice of the tape that the tests replay trades dozens of times."""


EQUITY: Final = sa.select(tables.equity).order_by(tables.equity.c.at_ns, tables.equity.c.symbol)

_ORDER: Final = sa.select(tables.orders.c.cl_ord_id)
ABOUT_TO_BE: Final = {
    OrderState.PENDING_NEW: _ORDER.where(tables.orders.c.state.in_([OrderState.RISK_CHECKED, OrderState.ROUTED])),
    OrderState.PENDING_CANCEL: _ORDER.where(
        tables.orders.c.state.in_([OrderState.NEW, OrderState.PARTIALLY_FILLED]),
        tables.orders.c.cancel_reason.is_not(None),
    ),
}
"""The orders that the session's owner will move to a state within milliseconds."""


def trisagion(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the console to its end."""
    return subprocess.run(
        [*TRISAGION, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=END_S_MAX, check=False
    )


@dataclass(slots=True)
class Platform:
    """A run in a state directory; `go` starts it, or takes it up again."""

    state: Path
    popen: "subprocess.Popen[bytes] | None" = None
    out: list[Path] = field(default_factory=list)

    def go(self, *arguments: str, sets: Iterable[str] = (), json_lines: bool = True) -> "Platform":
        """Start `trisagion run` with these arguments."""
        self.state.mkdir(exist_ok=True)
        self.out.append(self.state / f"out{len(self.out)}")
        options = [part for item in sets for part in ("--set", item)]
        face = ["--json"] if json_lines else []
        argv = [*TRISAGION, "run", *face, "--state", str(self.state), *arguments, *options]
        with self._open(".json") as stdout, self._open(".txt") as stderr:
            self.popen = subprocess.Popen(argv, cwd=ROOT, stdout=stdout, stderr=stderr, start_new_session=True)
        return self

    def _open(self, suffix: str) -> IO[bytes]:
        return self.out[-1].with_suffix(suffix).open("wb")

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.popen is not None
        return self.popen.pid

    @property
    def said(self) -> str:
        """What the last run wrote for people: its complaints, and its report unless that was to be JSON."""
        text = self.out[-1].with_suffix(".txt").read_text(encoding="utf-8")
        report = self.out[-1].with_suffix(".json").read_text(encoding="utf-8")
        return text if report.startswith("{") else text + report

    @property
    def run(self) -> Path:
        """The directory of the run."""
        return rundir.latest_run(self.state)

    def lines(self) -> list[Any]:
        """Return the JSON objects that the last run has written so far."""
        text = self.out[-1].with_suffix(".json").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def end(self, code: int = 0) -> dict[str, Any]:
        """Wait for the end; return the last object that was written; fail when the exit code is another."""
        assert self.popen is not None
        found = self.popen.wait(END_S_MAX)
        assert found == code, f"expected exit code {code}, found {found}: {self.said}{self._logs()}"
        last = self.lines()[-1:] if self.out[-1].with_suffix(".json").read_bytes().startswith(b"{") else []
        return dict(last[0]) if last else {}

    def _logs(self) -> str:
        return "".join(
            f"\n--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-2000:]}"
            for path in sorted((self.run / "log").glob("*.log"))
        )

    def processes(self) -> dict[str, int]:
        """Return the process ids of the children that live, by name: each writes to a log that bears it."""
        found: dict[str, int] = {}
        for pid in _children(self.pid):
            with suppress(OSError):
                log = Path(f"/proc/{pid}/fd/1").readlink()
                if log.suffix == ".log":
                    found.setdefault(log.stem, pid)
        return found

    def venue(self) -> VenueControl:
        """Return the other end of the venue's control socket, whose path is in its driver's environment."""
        self.until(lambda: "driver" in self.processes(), "the driver lives")
        given = Path(f"/proc/{self.processes()['driver']}/environ").read_bytes().split(b"\0")
        path = next(line for line in given if line.startswith(b"TRISAGION_VENUE_CONTROL=")).partition(b"=")[2]
        return VenueControl(Path(path.decode()))

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for something, looking a thousand times a second; fail when the run ends before."""
        assert self.popen is not None
        deadline = time.monotonic() + END_S_MAX
        while not happened():
            assert self.popen.poll() is None, f"the run ended before {what}: {self.said}"
            assert time.monotonic() < deadline, f"waited {END_S_MAX:.0f} s for {what}"
            time.sleep(POLL_S)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Signal a child, once it lives."""
        self.until(lambda: name in self.processes(), f"{name} lives")
        os.kill(self.processes()[name], number)

    @contextmanager
    def trading(self) -> Iterator[SqlDatabase]:
        """Open the run's database once the replay has begun."""
        self.until(lambda: bool(self.lines()), "the replay has begun")
        with self.database() as database:
            yield database

    def moves_on(self, database: SqlDatabase, minutes: int) -> None:
        """Wait until so many more minutes of data are done."""
        goal_ns = come_ns(database) + minutes * MINUTE_NS
        self.until(lambda: come_ns(database) >= goal_ns, f"{minutes} more minutes are done")

    def hold_in_doubt(self, database: SqlDatabase, state: OrderState) -> None:
        """Stop the venue's process just before an order comes to this state, which only the venue can end."""
        while True:
            self.until(lambda: bool(rows(database, ABOUT_TO_BE[state])), f"an order is about to be {state}")
            self.kill("venue", signal.SIGSTOP)
            patience = time.monotonic() + HOLD_S
            while time.monotonic() < patience:
                if in_state(database, state):
                    return
                time.sleep(POLL_S)
            self.kill("venue", signal.SIGCONT)
            self.moves_on(database, 1)

    def stop(self) -> None:
        """End what is left; the children go with their supervisor."""
        if self.popen is not None and self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(END_S_MAX)

    @contextmanager
    def database(self) -> Iterator[SqlDatabase]:
        """Open the run's database; a MariaDB that went with its run is started for it."""
        with rundir.database_of(self.run) as url, closing(open_database(url)) as database:
            yield database

    def traded(self) -> dict[str, list[tuple[str, ...]]]:
        """Return the run's history with its equity, to the last digit, and its virtual runs, to the last bit."""
        with self.database() as database:
            found = history(database)
            with database.snapshot() as unit:
                points = unit.session.rows(EQUITY)
                shards = [from_bytes(row.state) for row in unit.cohort.shards()]
        return {
            **found,
            "equity": [tuple(map(str, point)) for point in points],
            "shards": [_shard(shard) for shard in shards],
        }


def _shard(shard: Shard) -> tuple[str, ...]:
    """Return a shard as texts: who it is, and the digest of every array as it is decoded."""
    arrays = (shard.symbol, shard.params, shard.state, shard.ring_ns, shard.ring_apr)
    digests = (hashlib.sha256(array.tobytes()).hexdigest() for array in arrays)
    return (str(shard.number), str(shard.seen_ns), str(shard.epoch), *shard.run_ids, *digests)


def _children(parent: int) -> Iterator[int]:
    """Yield the process ids of all descendants that the kernel knows."""
    try:
        texts = [path.read_text(encoding="ascii") for path in Path(f"/proc/{parent}/task").glob("*/children")]
    except OSError:
        return
    for pid in map(int, " ".join(texts).split()):
        yield pid
        yield from _children(pid)


def rows(database: SqlDatabase, statement: sa.Executable) -> list[Any]:
    """Read rows in a transaction of their own."""
    with database.snapshot() as unit:
        return list(unit.session.rows(statement))


def come_ns(database: SqlDatabase) -> int:
    """Return the instant of the last complete step."""
    return int(rows(database, sa.select(tables.replay.c.now_ns))[0][0])


def in_state(database: SqlDatabase, *states: OrderState) -> int:
    """Count the orders in some states."""
    return len(rows(database, sa.select(tables.orders.c.cl_ord_id).where(tables.orders.c.state.in_(states))))


def rebuilt(run: Path) -> Mapping[str, Any]:
    """Return the venue's books as its journal makes them: an independent account of what it was told and did."""
    settings = load_settings(run / rundir.SETTINGS, {}, {})
    venue = SimulatedVenue([load(spec) for spec in specs_of(settings)])
    [journal] = run.glob("*/journal.jsonl")
    for line in journal.read_text(encoding="utf-8").splitlines()[1:]:
        command = json.loads(line)
        if "play" in command:
            venue.play(command["play"])
        elif "fault" in command:
            venue.fail(command["fault"])
        else:
            venue.answer({int(tag): value for tag, value in command["message"].items()})
    return dict(json.loads(json.dumps(venue.snapshot())))


def agree(platform: Platform, *, takers: bool = False) -> Mapping[str, Any]:
    """Hold our books against the venue's: nothing doubled, nothing lost, each fill booked once; return the venue's."""
    venue = rebuilt(platform.run)
    told = json.loads((platform.run / rundir.VENUE_LEDGER).read_text(encoding="utf-8"))
    assert {key: told[key] for key in venue} == venue
    with platform.database() as database:
        ours = books(database)
    assert violations(ours, venue) == []
    assert takers or not any(order.taker for order in ours.orders)
    return venue
