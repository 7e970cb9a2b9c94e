"""What a row's runs come to: one JSON line in bench/faults.jsonl, and a table of the newest lines."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from bench.measure import ROOT
from tests.e2e.faults.rows import Row, Run

RESULTS: Final = ROOT / "bench" / "faults.jsonl"

UPPER: Final = 3.0
"""With no violation in n runs, 3/n bounds its probability from above at 95 % (Hanley and Lippman-Hand, 1983)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the results; the order of the fields is that of the line.

    `upper_bound` is the greatest probability of a violation that the runs leave likely, None where there was one.
    `recovered` are the runs that the recovery is of.
    """

    row: int
    what: str
    must: str
    runs: int
    violations: int
    recovered: int
    recovery_p50_s: float | None
    recovery_p99_s: float | None
    upper_bound: float | None
    cases: dict[str, int]
    violated: tuple[str, ...]
    commit: str
    time: str
    machine: str

    def fields(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def text(self) -> str:
        """Write it down."""
        return json.dumps(self.fields(), ensure_ascii=False, allow_nan=False)


def line(row: Row, played: Sequence[Run], commit: str, machine: str) -> Line:
    """Make the line of a row's runs."""
    times = [run.recovery_s for run in played if run.recovery_s is not None]
    violated = [f"{run.case} {run.seed}: {'; '.join(run.violations)}" for run in played if run.violations]
    p50, p99 = (round(float(np.quantile(times, q)), 2) if times else None for q in (0.5, 0.99))
    return Line(
        row=row.number,
        what=row.what,
        must=row.must,
        runs=len(played),
        violations=len(violated),
        recovered=len(times),
        recovery_p50_s=p50,
        recovery_p99_s=p99,
        upper_bound=round(UPPER / len(played), 4) if played and not violated else None,
        cases=dict(Counter(run.case for run in played)),
        violated=tuple(violated),
        commit=commit,
        time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        machine=machine,
    )


def newest() -> list[dict[str, Any]]:
    """Return the newest line of each row, in order of row."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    rows = {found["row"]: found for found in map(json.loads, lines)}
    return [rows[number] for number in sorted(rows)]


def cells(found: dict[str, Any]) -> tuple[str, ...]:
    """Return a line as the cells of a table: row, runs, violations, bound, median and 99th percentile."""
    bound = "–" if found["upper_bound"] is None else f"{found['upper_bound']:.1%}"
    times = ("–" if found[name] is None else f"{found[name]:.1f} s" for name in ("recovery_p50_s", "recovery_p99_s"))
    return (str(found["row"]), str(found["runs"]), str(found["violations"]), bound, *times)


HEAD: Final = ("row", "runs", "violations", "95 % bound", "recovery p50", "recovery p99")


def table(found: Iterable[Line]) -> str:
    """Write lines for a terminal."""
    rows = [HEAD, *(cells(each.fields()) for each in found)]
    return "\n".join("  ".join(f"{cell:>12}" for cell in row) for row in rows)
