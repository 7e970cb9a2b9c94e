"""`python -m bench [-k TEXT]` measures, `--list` names what there is, `--compare` judges the newest rows."""

import argparse
import sys
from importlib import import_module
from typing import Any, Final

from bench.measure import REGISTERED, measured, missed, newest

SUBJECTS: Final = (
    *(
        "cohort",
        "regime",
        "hmm",
        "volatility",
        "changepoint",
        "tails",
        "simulate",
        "risk",
        "gateway",
        "reconcile",
        "db",
        "audit",
        "series",
        "cli",
        "fleet",
        "platform",
    ),
)

HEAVY: Final = ("scale_db",)
"""Programs of their own, for they take most of a machine: `python -m bench.scale_db`."""


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("-k", default="", metavar="TEXT", help="only names that contain TEXT")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and their targets")
    parser.add_argument("--compare", action="store_true", help="judge the newest rows; exit code 1 when one misses")
    arguments = parser.parse_args()
    if arguments.compare:
        return compare(arguments.k)
    for subject in SUBJECTS:
        import_module(f"bench.{subject}")
    chosen = [bench for bench in REGISTERED if arguments.k in bench.name]
    if arguments.list:
        for bench in chosen:
            print(f"{bench.name:26} {bench.unit:20} {bench.target}")
    else:
        measured(chosen)
    return 0 if chosen else 2


def compare(text: str) -> int:
    """Print a line for each name; return 1 when a target is missed."""
    rows = [found for found in newest() if text in found["name"]]
    for found in rows:
        print(verdict(found))
    return int(any(missed(found) for found in rows))


def verdict(found: dict[str, Any]) -> str:
    """Say whether a row meets its target."""
    short = missed(found)
    ratio = "" if found["ratio"] is None else f", {found['ratio']:g} × {found['peer']}"
    said = f"MISSED  wanted {'; '.join(short)}" if short else "ok"
    return f"{found['name']:26} {said:8}  {found['value']:g} {found['unit']}{ratio}"


if __name__ == "__main__":
    sys.exit(main())
