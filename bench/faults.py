"""The form in which the faults that were played are written down: one JSON line a row in bench/faults.jsonl."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.measure import ROOT

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
