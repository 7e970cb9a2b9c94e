"""`python -m tests.simulation.year --days 365 --seed 1`: live a year, or so many days; `-v` tells the whole story.

Each life adds a line to bench/simulation.jsonl when `--into` names it; the exit code is 1 when one of them is not as it
must be.
"""

import argparse
import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.measure import commit, machine
from tests.simulation.life import Biography, Life

PROGRESS_S: Final = 30.0


def main() -> int:
    """Live the lives that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.year", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--days", type=int, default=365, help="virtual days of each life")
    parser.add_argument("--into", type=Path, help="the file to which a line is added for each life")
    parser.add_argument("-v", "--verbose", action="store_true", help="print everything that happens")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = []
    for seed in range(given.seed, given.seed + given.seeds):
        began_s = time.process_time()
        life = Life(seed, given.days, print if given.verbose else None).live(_Progress(seed, given.days).tell)
        line = written(life, time.process_time() - began_s)
        print(line, flush=True)
        if life.violations:
            failed.append(seed)
            print(life.explain(), flush=True)
        if given.into is not None:
            with given.into.open("a", encoding="utf-8") as results:
                results.write(line + "\n")
    if failed:
        print("failed:", *failed)
    return bool(failed)


def written(life: Biography, cpu_s: float) -> str:
    """Write a life down as one line of JSON."""
    found = {
        "seed": life.seed,
        "days": round(life.days, 3),
        "violations": [f"{invariant}: {text}" for invariant, text, _ in life.violations],
        **life.counts,
        "wall_s": round(life.wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "days_per_cpu_s": round(life.days / cpu_s, 3),
        "digest": life.digest,
        "commit": commit(),
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
    }
    return json.dumps(found, ensure_ascii=False)


class _Progress:
    """Says now and then how far a life has come."""

    def __init__(self, seed: int, days: int) -> None:
        self.seed, self.days = seed, days
        self.began_s = self.told_s = time.monotonic()

    def tell(self, day: float) -> None:
        """Hear which day it is."""
        now_s = time.monotonic()
        if now_s - self.told_s > PROGRESS_S:
            self.told_s = now_s
            left_s = (now_s - self.began_s) * (self.days - day) / max(day, 0.01)
            told = f"seed {self.seed}: day {day:.1f} of {self.days}, {left_s / 60:.0f} min to go"
            print(told, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
