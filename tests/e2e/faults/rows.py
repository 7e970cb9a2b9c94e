"""The rows of faults that are played, and how one run of a row goes."""

import random
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.e2e.faults import venues
from tests.e2e.faults.judge import books, sent, tracebacks, violations
from tests.e2e.faults.lane import Lane, Late, opened
from trisagion.errors import TrisagionError
from trisagion.settings import FIX_SIM


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one case; `recovery_s` is None when there was none."""

    row: int
    case: str
    seed: int
    recovery_s: float | None
    violations: tuple[str, ...]


Stage: TypeAlias = Callable[[str, int], Run]
"""Where a row is played: a case and its number make a run, judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(ABC):
    """One row: what is done, what must hold, and how often each of its cases is played."""

    number: int
    what: str
    must: str
    cases: Mapping[str, int]

    @abstractmethod
    def stage(self, directory: Path) -> AbstractContextManager[Stage]:
        """Open in a directory what the row is played on; a stage on which something was violated is left."""

    def lacks(self) -> str:
        """Say what the row needs and this machine does not give, "" when nothing."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow(Row):
    """A row that is played on lanes; the cases of `short` are in the short form.

    `play` takes a lane at the beginning of a round, the name of a case and a source of choices. It returns the seconds
    from the fault until the orders concerned were where the venue says they are; what it finds wrong it raises.
    """

    short: tuple[str, ...]
    play: Callable[[Lane, str, random.Random], float]
    recovery_s_max: float
    paired: bool = False
    paths: tuple[str, ...] = ()
    venue: str = FIX_SIM
    sets: Mapping[str, object] = field(default_factory=dict)
    raised: tuple[str, ...] = ()
    """Patterns of exceptions that this fault may leave in a log."""

    @contextmanager
    def stage(self, directory: Path) -> Iterator[Stage]:
        """Open a lane."""
        with opened(directory, paired=self.paired, paths=self.paths, venue=self.venue, sets=self.sets) as lane:
            yield partial(play, lane, self)


def source(row: Row, case: str, seed: int) -> random.Random:
    """Return the source of a run's choices."""
    return random.Random(f"{row.number}/{case}/{seed}")


def play(lane: Lane, row: LaneRow, case: str, seed: int) -> Run:
    """Play a case in the lane's next round and judge the lane after it."""
    draw = source(row, case, seed)
    lane.raised.update(row.raised)
    recovery_s: float | None = None
    found: list[str] = []
    try:
        lane.begin_round()
        recovery_s = row.play(lane, case, draw)
        if recovery_s > row.recovery_s_max:
            found.append(f"I9: expected recovery within {row.recovery_s_max:g} s, found {recovery_s:.1f} s")
        lane.end_round()
    except (Late, AssertionError, TrisagionError) as error:
        found.append(f"I9: {error}")
    try:
        ours = books(lane.database)
        found += violations(ours, venues.books(lane.settings, lane.venue.status()))
        found += sent(ours, lane.directory / "venue" / "journal.jsonl")
    except TrisagionError as error:
        found.append(f"expected books to judge, found {error}")
    found += tracebacks(lane.directory / "log", sorted(lane.raised))
    return Run(row.number, case, seed, recovery_s, tuple(found))


STORED: Final = {"K6": "K7", "C4": "C5", "R4": "R5"}
"""Stored by the engine and not written: the line swallows it, and the process stops at the next point."""


@dataclass(frozen=True, slots=True)
class Blow:
    """When somebody was killed, by the monotonic clock, and what the process that stopped was about."""

    at_s: float
    about: str


def die(lane: Lane, stops: str, victim: str, point: str, act: Callable[[], Any]) -> Blow:
    """Have a process stop at its point after `act`, and kill `victim` there."""
    lane.arm(stops, STORED.get(point, point))
    try:
        if point in STORED:
            lane.proxy.half_open()
        act()
        lane.until(lambda: lane.stopped(stops) is not None, f"{stops} comes to {point}")
        said = lane.stopped(stops)
        assert said is not None
        lane.kill(victim)
        at_s = time.monotonic()
    finally:
        lane.proxy.heal()
        lane.disarm(stops)
    if victim != stops:
        lane.signal(stops, signal.SIGCONT)
    return Blow(at_s, said["about"])
