"""What a row's runs come to: a line for bench/faults.jsonl, and a table for the terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from bench.faults import HEAD, UPPER, Line, cells
from tests.e2e.faults.rows import Row, Run


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
        upper_bound=round(min(UPPER / len(played), 1.0), 4) if played and not violated else None,
        cases=dict(Counter(run.case for run in played)),
        violated=tuple(violated),
        commit=commit,
        time=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        machine=machine,
    )


def table(found: Iterable[Line]) -> str:
    """Write lines for a terminal."""
    rows = [HEAD, *(cells(each.fields()) for each in found)]
    return "\n".join("  ".join(f"{cell:>12}" for cell in row) for row in rows)
