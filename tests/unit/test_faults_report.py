"""What the runs of a row of faults come to: counts, quantiles, and how sure no violation makes us."""

import json
from pathlib import Path

import pytest

from bench import faults
from tests.e2e.faults.report import line
from tests.e2e.faults.rows import Row, Run

ROW = Row(7, "what is done", "what must hold", {"a": 9, "b": 9}, ("a",), lambda *_: 0.0, 30.0)


def a_run(case: str, recovery_s: float | None, *violations: str) -> Run:
    """Return a run of the row."""
    return Run(ROW.number, case, 0, recovery_s, violations)


def test_without_a_violation_the_bound_is_three_in_so_many_runs() -> None:
    """And the recovery's median and 99th percentile are over all runs."""
    found = line(ROW, [a_run("ab"[number % 2], float(number)) for number in range(101)], "c0ffee", "here")
    assert (found.runs, found.violations, found.upper_bound, found.cases) == (101, 0, 0.0297, {"a": 51, "b": 50})
    assert (found.recovery_p50_s, found.recovery_p99_s, found.recovered) == (50.0, 99.0, 101)


def test_with_a_violation_there_is_no_bound_and_the_line_says_what_was_violated() -> None:
    """A run that did not recover has no recovery time, and counts."""
    found = line(ROW, [a_run("a", 1.0), a_run("b", None, "I1: doubled", "I9: never")], "c0ffee", "here")
    assert (found.runs, found.violations, found.recovered, found.upper_bound) == (2, 1, 1, None)
    assert found.violated == ("b 0: I1: doubled; I9: never",)
    assert faults.cells(found.fields()) == ("7", "2", "1", "–", "1.0 s", "1.0 s")


def test_the_newest_line_of_each_row_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order of row; without a file there is none."""
    monkeypatch.setattr(faults, "RESULTS", tmp_path / "faults.jsonl")
    assert faults.newest() == []
    lines = [{"row": 2, "runs": 1}, {"row": 1, "runs": 5}, {"row": 2, "runs": 9}]
    faults.RESULTS.write_text("".join(f"{json.dumps(each)}\n" for each in lines), encoding="utf-8")
    assert faults.newest() == [{"row": 1, "runs": 5}, {"row": 2, "runs": 9}]
