"""Rows 9, 16, 17 and 20: one session of ours, without workers or broker, and a line or a venue that misbehaves.

What a case returns is not a recovery alone: it is the time of the whole case, from its first order until both books
agree. Whatever is waited for in it has a bound, and not to come within it is a violation.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar

from tests.e2e.faults.peer import Wrong
from tests.e2e.faults.rows import Row, Run, Stage
from tests.e2e.faults.wire import Bench, Wire, benched
from tests.e2e.faults.wire_bytes import Track, cut_at, noisy, tracked
from tests.e2e.faults.wire_cases import CASES, run_case
from tests.e2e.faults.wire_hostile import MISTAKES, run_mistake
from trisagion.errors import TrisagionError

W = TypeVar("W", bound=Wire)

CUT_BYTES: Final = 10
CUTS: Final = {"35=D": 25, "35=F": 25, "35=G": 30}
"""So many cuts, ten bytes apart, go beyond the end of the message."""
CORRUPTED: Final = 1_000
"""Messages in one run of row 20."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRow(Row, Generic[W]):
    """A row that is played on a wire: `play` takes it, the name of a case and its number; it raises what is wrong."""

    opened: Callable[[Path], AbstractContextManager[W]]
    play: Callable[[W, str, int], object]

    @contextmanager
    def stage(self, directory: Path) -> Iterator[Stage]:
        """Open a wire."""
        with self.opened(directory) as wire:
            yield partial(self._run, wire)

    def _run(self, wire: W, case: str, seed: int) -> Run:
        begun_s = time.monotonic()
        try:
            self.play(wire, case, seed)
        except (AssertionError, TrisagionError) as error:
            return Run(self.number, case, seed, None, (str(error) or type(error).__name__,))
        return Run(self.number, case, seed, time.monotonic() - begun_s, ())


def cut(track: Track, case: str, number: int) -> None:
    """Cut the line after ten times the run's number of bytes, and hold the books against each other."""
    length = cut_at(track, case.removeprefix("35="), CUT_BYTES * number)
    if length > CUT_BYTES * (CUTS[case] - 1):
        raise Wrong(f"expected cuts over the whole of {case}, found a message of {length} bytes")
    track.agree()


def corrupt(bench: Bench, _: str, seed: int) -> None:
    """Trade while the line makes up messages."""
    noisy(bench, seed, CORRUPTED)


_CASES: Final = {case.name: case for case in CASES}
_MISTAKES: Final = {mistake.name: mistake for mistake in MISTAKES}

ROWS: Final[tuple[Row, ...]] = (
    WireRow(
        number=9,
        what="the line is cut after every tenth byte of a new order, a cancel, a replace",
        must="I1 I3 I8",
        cases=CUTS,
        opened=tracked,
        play=cut,
    ),
    WireRow(
        number=16,
        what="the venue breaks the rules of the session layer: the acceptor's end of the FIX 4.4 session test cases",
        must="I1 I3 I8; the answer is the case's, the session holds or comes back, and orders go on",
        cases=dict.fromkeys(_CASES, 1),
        opened=benched,
        play=lambda bench, case, _: run_case(bench, _CASES[case]),
    ),
    WireRow(
        number=17,
        what="the venue's reports are wrong: over-fills, fills of strangers, busts, gaps, what cannot be read",
        must="I1 I3 I8; an alarm where one is promised, the gate shut where it must, no crash",
        cases=dict.fromkeys(_MISTAKES, 20),
        opened=benched,
        play=lambda bench, case, _: run_mistake(bench, _MISTAKES[case]),
    ),
    WireRow(
        number=20,
        what=f"{CORRUPTED:,} corrupted messages a run, both ways, among true ones: flips, cuts, false lengths, tag 0",
        must="I1 I3 I8; the session survives or comes back",
        cases={f"{CORRUPTED} messages": 100},
        opened=benched,
        play=corrupt,
    ),
)
