"""Slices of a long life: the evenings before a rest, nights after one, ordinary days, with all that a year brings.

`SIMULATION_FIRST` moves the seeds, so that a run may go where none was. A whole year is `make simulate-year`.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.simulation.life import STARTS, climate, live

ROOT: Final = Path(__file__).resolve().parents[2]
FIRST: Final = int(os.environ.get("SIMULATION_FIRST", "0"))
SEEDS: Final = 50
BATCH: Final = 2


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BATCH))
def test_no_day_breaks_what_must_hold(first: int) -> None:
    """Invariants L1 to L10 whenever the world has come to rest, I1 to I9 at each message and at the end."""
    lives = [live(seed, 1) for seed in range(first, first + BATCH)]
    failed = [life for life in lives if life.violations]
    assert not failed, "\n\n".join(life.explain() for life in failed[:3])
    # A day on which nothing happens proves nothing.
    counts: Counter[str] = sum((Counter(life.counts) for life in lives), Counter())
    assert counts["cycles"] > 8 * BATCH
    assert counts["orders"] > BATCH and counts["fills"] > BATCH


def test_most_kinds_of_day_meet_in_the_seeds() -> None:
    """Each beginning, days with exits and without, calm ones and such of storms, stops, lies and trades by hand."""
    climates = [climate(seed, 1) for seed in range(FIRST, FIRST + SEEDS)]
    assert len({one.start_ns for one in climates}) >= len(STARTS) - 1
    assert 10 < sum(one.exits for one in climates) < SEEDS - 5
    for name in ("storms", "kills", "lies", "hands", "transfers", "beatless"):
        there = sum(getattr(one, name) > 0 for one in climates)
        assert SEEDS / 2 < there < SEEDS, (name, there)


def test_a_life_is_its_story_in_every_process() -> None:
    """To the last character, whatever order Python's hashes have."""
    seed = next(seed for seed in range(FIRST, FIRST + SEEDS) if climate(seed, 1).storms > 0.01)
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation.year", "--seed", str(seed), "--days", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(told)["digest"] == live(seed, 1).digest
