"""`python -m tests.e2e.faults.wire_rows --row 16 --row 17 --runs 20`: the rows of the wire, one JSON line each.

A row's function plays its cases so many times each in a directory of its own and returns one `WireRun` for each.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tests.e2e.faults.wire import Bench, benched
from tests.e2e.faults.wire_bytes import cut_at, noisy, tracked
from tests.e2e.faults.wire_cases import CASES, run_case
from tests.e2e.faults.wire_hostile import MISTAKES, run_mistake

UPPER: Final = 3.0
"""With no violation in n runs, 3/n bounds its probability from above at 95 %."""
NOISE: Final = 5_000
"""Corrupted messages in one run of row 20."""


@dataclass(frozen=True, slots=True)
class WireRun:
    """One run of one case; `recovery_s` is the time from the fault until its orders were settled on both sides."""

    row: int
    case: str
    seed: int
    recovery_s: float | None
    violations: tuple[str, ...]


def _played(row: int, case: str, seed: int, play: Callable[[], object]) -> WireRun:
    begun_s = time.monotonic()
    try:
        play()
    except AssertionError as error:
        return WireRun(row, case, seed, None, (str(error) or type(error).__name__,))
    return WireRun(row, case, seed, time.monotonic() - begun_s, ())


def _on_benches(
    row: int, runs: int, directory: Path, plays: Sequence[tuple[str, Callable[[Bench], object]]]
) -> Iterator[WireRun]:
    """Play each case so often on one bench; after a violation on a fresh one."""
    with ExitStack() as stack:
        bench: Bench | None = None
        for seed in range(runs):
            for name, play in plays:
                if bench is None:
                    bench = stack.enter_context(benched(Path(tempfile.mkdtemp(dir=directory))))
                present = bench
                run = _played(row, name, seed, lambda play=play, on=present: play(on))  # type: ignore[misc]
                yield run
                if run.violations:
                    stack.close()
                    bench = None


def run_row_16(runs: int, directory: Path) -> list[WireRun]:
    """Play every case of the session layer."""
    plays = [(case.name, lambda bench, case=case: run_case(bench, case)) for case in CASES]
    return list(_on_benches(16, runs, directory, plays))


def run_row_17(runs: int, directory: Path) -> list[WireRun]:
    """Play every mistake of a venue."""
    plays = [(one.name, lambda bench, one=one: run_mistake(bench, one)) for one in MISTAKES]
    return list(_on_benches(17, runs, directory, plays))


def run_row_20(runs: int, directory: Path, messages: int = NOISE) -> list[WireRun]:
    """Corrupt so many messages in each run."""
    found = []
    for seed in range(runs):
        with benched(Path(tempfile.mkdtemp(dir=directory))) as bench:
            found.append(_played(20, f"{messages} messages", seed, lambda on=bench, n=seed: noisy(on, n, messages)))  # type: ignore[misc]
    return found


def run_row_9(runs: int, directory: Path, step: int = 10) -> list[WireRun]:
    """Cut the line after every tenth byte of a new order, a cancel and a replace."""
    found: list[WireRun] = []
    for seed in range(runs):
        with tracked(Path(tempfile.mkdtemp(dir=directory))) as track:
            for kind in "DFG":
                length = 0
                number = 0
                while number <= length:
                    lengths: list[int] = []
                    cut = _played(
                        9,
                        f"35={kind}",
                        seed,
                        lambda n=number, k=kind, on=track, to=lengths: to.append(cut_at(on, k, n)),  # type: ignore[misc]
                    )
                    found.append(cut)
                    length = lengths[0] if lengths else 0
                    number += step
            found.append(_played(9, "books", seed, track.agree))
    return found


ROWS: Final = {9: run_row_9, 16: run_row_16, 17: run_row_17, 20: run_row_20}


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.faults.wire_rows", description=__doc__)
    parser.add_argument("--row", type=int, action="append", choices=sorted(ROWS))
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    bad = False
    for row in given.row or sorted(ROWS):
        with tempfile.TemporaryDirectory(prefix=f"trisagion-row{row}-") as name:
            played = ROWS[row](given.runs, Path(name))
        violated = [f"{run.case} {run.seed}: {'; '.join(run.violations)}" for run in played if run.violations]
        times = [run.recovery_s for run in played if run.recovery_s is not None]
        p50, p99 = (round(float(np.quantile(times, q)), 3) if times else None for q in (0.5, 0.99))
        line = {"row": row, "runs": len(played), "violations": len(violated), "p50_s": p50, "p99_s": p99}
        bound = None if violated else round(UPPER / len(played), 4)
        print(json.dumps({**line, "upper_bound": bound, "violated": violated}), flush=True)
        bad |= bool(violated)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
