"""Whole platforms in virtual time, each with the faults of its seed: what must hold holds, and a seed is its story.

`SIMULATION_FIRST` moves the seeds, so that a run may go where none was.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.simulation.plan import draw
from tests.simulation.run import run

ROOT: Final = Path(__file__).resolve().parents[2]
FIRST: Final = int(os.environ.get("SIMULATION_FIRST", "0"))
SEEDS: Final = 500
BATCH: Final = 25


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BATCH))
def test_no_seed_breaks_what_must_hold(first: int) -> None:
    """Reliability, 5.2: invariants I1 to I9, from the venue's own books, after a minute of quiet."""
    verdicts = [run(seed) for seed in range(first, first + BATCH)]
    failed = [verdict for verdict in verdicts if verdict.violations]
    assert not failed, "\n\n".join(verdict.explain() for verdict in failed[:3])
    # A world in which nothing happens proves nothing.
    assert sum(verdict.sent for verdict in verdicts) > 5 * BATCH
    assert sum(verdict.fills for verdict in verdicts) > BATCH


def test_a_seed_is_its_story_in_every_process() -> None:
    """To the last character, whatever order Python's hashes have."""
    seeds = [seed for seed in range(FIRST, FIRST + 40) if draw(seed).pause][:2]
    for seed in seeds:
        story = "\n".join(run(seed).story)
        told = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "-v"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert story in told


def test_most_kinds_of_fault_meet_in_the_seeds() -> None:
    """Each kind is absent from some worlds, rare in some and frequent in others."""
    plans = [draw(seed) for seed in range(FIRST, FIRST + SEEDS)]
    kinds = [name for name in plans[0].__dataclass_fields__ if isinstance(getattr(plans[0], name), float)]
    met = Counter(name for plan in plans for name in kinds if getattr(plan, name))
    assert all(met[name] > SEEDS / 4 for name in kinds), met
    assert sum(1 for plan in plans if not any(getattr(plan, name) for name in kinds if name != "faults_s")) > 10
