"""The form of a benchmark's row and the judgement on it. How fast anything is no test's business."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import HEAVY, SUBJECTS
from bench.measure import REGISTERED, Benchmark, Figure, missed, newest, row

TIME = Benchmark("a.time", "s", 2.0, lambda: Figure([1.0]))
RATE = Benchmark("a.rate", "x/s", "value >= 10; ratio >= 0.5", lambda: Figure([1.0]))


@pytest.mark.parametrize(
    ("bench", "ours", "peers", "ratio"),
    [
        (TIME, [1.0, 2.0, 9.0], [8.0], 4.0),
        (RATE, [8.0], [2.0], 4.0),
        (TIME, [1.0], [], None),
    ],
)
def test_a_ratio_above_one_means_that_we_are_better(
    bench: Benchmark, ours: list[float], peers: list[float], ratio: float | None
) -> None:
    """Peer over ours for times, ours over peer for rates, of the medians; without a peer there is none."""
    assert row(bench, Figure(ours, peers, "peer"), "here").ratio == ratio


@pytest.mark.parametrize(
    ("target", "value", "ratio", "expected"),
    [
        (2.0, 1.0, 2.0, []),
        (2.0, 1.0, 1.9, ["ratio >= 2.0"]),
        (2.0, 1.0, None, ["ratio >= 2.0"]),
        ("value <= 1e-3", 1e-3, None, []),
        ("value <= 1e-3", 2e-3, None, ["value <= 1e-3"]),
        ("value >= 10; ratio >= 3", 9.0, 4.0, ["value >= 10"]),
        ("value >= 10; ratio >= 3", 9.0, 2.0, ["value >= 10", "ratio >= 3"]),
    ],
)
def test_every_clause_of_a_target_is_judged(
    target: float | str, value: float, ratio: float | None, expected: list[str]
) -> None:
    """A bare number is the least ratio; a ratio that was not measured is missed."""
    found: dict[str, Any] = {"name": "a", "target": target, "value": value, "ratio": ratio}
    assert missed(found) == expected


def test_the_newest_row_of_a_name_is_judged(tmp_path: Path) -> None:
    """Older rows are history."""
    results = tmp_path / "results.jsonl"
    lines = [row(bench, Figure([value]), "here").line() for bench, value in ((RATE, 1.0), (TIME, 2.0), (RATE, 3.0))]
    results.write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert [(found["name"], found["value"]) for found in newest(results)] == [("a.rate", 3.0), ("a.time", 2.0)]


def test_every_benchmark_has_one_name_and_a_target_that_can_be_judged() -> None:
    """The rows in the repository are rows of benchmarks that exist."""
    for subject in (*SUBJECTS, *HEAVY):
        import_module(f"bench.{subject}")
    names = [bench.name for bench in REGISTERED]
    assert len(set(names)) == len(names)
    for bench in REGISTERED:
        missed({"name": bench.name, "target": bench.target, "value": 0.0, "ratio": 0.0})
    assert {found["name"] for found in newest()} <= set(names)
