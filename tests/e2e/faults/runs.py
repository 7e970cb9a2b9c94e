"""Plays a row on several lanes at once, each lane a process of its own, and writes what came of it."""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from bench.faults import RESULTS, Line
from bench.measure import commit, machine
from tests.e2e.faults.lane import opened
from tests.e2e.faults.report import line
from tests.e2e.faults.rows import Row, Run, play
from tests.e2e.faults.table import ROWS
from trisagion.adapters import processes

LANE_RUNS_MAX: Final = 200
"""A lane's judge looks at all that the lane ever did; after so many runs another lane takes over."""

Job = tuple[str, int]
"""A case and its number, which seeds its choices."""


def jobs(row: Row, runs: int | None) -> list[Job]:
    """Return what is to be played, the cases in turns."""
    counts = {case: min(count, runs or count) for case, count in row.cases.items()}
    return [
        (case, number) for number in range(max(counts.values())) for case, count in counts.items() if number < count
    ]


def play_share(number: int, until_s: float, todo: Sequence[Job]) -> list[Run]:
    """Play one lane's share of a row, as far as time allows; a lane that was violated is kept, and another opened."""
    done: list[Run] = []
    while len(done) < len(todo) and time.monotonic() < until_s:
        directory = Path(tempfile.mkdtemp(prefix=f"trisagion-row{number}-"))
        batch = todo[len(done) : len(done) + LANE_RUNS_MAX]
        done += _in_one_lane(ROWS[number], batch, directory, until_s)
        if done and done[-1].violations:
            print(f"kept: {directory}", file=sys.stderr, flush=True)
        else:
            shutil.rmtree(directory)
    return done


def _in_one_lane(row: Row, batch: Sequence[Job], directory: Path, until_s: float) -> Iterator[Run]:
    """Play in one lane until its first violation."""
    with opened(directory, paired=row.paired, paths=row.paths) as lane:
        for case, seed in batch:
            if time.monotonic() > until_s:
                return
            run = play(lane, row, case, seed)
            recovered = "no recovery" if run.recovery_s is None else f"{run.recovery_s:.1f} s"
            told = (f"row {row.number} {case} {seed}: {recovered}", *run.violations)
            print(*told, sep="\n  ", file=sys.stderr, flush=True)
            yield run
            if run.violations:
                return


def measured(row: Row, runs: int | None, lanes: int, until_s: float) -> Line:
    """Play a row on so many lanes at once and write its line."""
    todo, where = jobs(row, runs), machine()
    shares = [todo[first::lanes] for first in range(lanes)]
    spawn = multiprocessing.get_context("spawn")
    end_with_us = partial(processes._die_with, os.getpid())
    with ProcessPoolExecutor(lanes, mp_context=spawn, initializer=end_with_us) as pool:
        played = [run for part in pool.map(partial(play_share, row.number, until_s), shares) for run in part]
    found = line(row, played, commit(), where)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(found.text() + "\n")
    return found
