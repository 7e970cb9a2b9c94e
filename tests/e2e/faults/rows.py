"""The rows of faults that are played, and how one run of a row goes."""

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.faults.judge import books, sent, tracebacks, violations
from tests.e2e.faults.lane import Lane, Late
from trisagion.errors import TrisagionError


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what is done, what must hold, how often each of its cases is played, and which are in the short form.

    `play` takes a lane at the beginning of a round, the name of a case and a source of choices. It returns the seconds
    from the fault until the orders concerned were where the venue says they are; what it finds wrong it raises.
    """

    number: int
    what: str
    must: str
    cases: Mapping[str, int]
    short: tuple[str, ...]
    play: Callable[[Lane, str, random.Random], float]
    recovery_s_max: float
    paired: bool = False
    paths: tuple[str, ...] = ()
    raised: tuple[str, ...] = ()
    """Patterns of exceptions that this fault may leave in a log."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one case; `recovery_s` is None when there was none."""

    row: int
    case: str
    seed: int
    recovery_s: float | None
    violations: tuple[str, ...]


def play(lane: Lane, row: Row, case: str, seed: int) -> Run:
    """Play a case in the lane's next round and judge the lane after it."""
    draw = random.Random(f"{row.number}/{case}/{seed}")
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
    ours = books(lane.database)
    found += violations(ours, lane.venue.status())
    found += sent(ours, lane.directory / "venue" / "journal.jsonl")
    found += tracebacks(lane.directory / "log", row.raised)
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
