"""`cli.drills`: the history of the drills, what is shown of it, and what the doctor makes of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trisagion.cli.drills import AGE_MAX, HISTORY, Drill, add, judged, past, share, shown
from trisagion.errors import StateError

NOW = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
DRILL = Drill(
    at="2026-11-22T07:20:10+00:00",
    failure="broker",
    door="kill",
    orders=200,
    working=201,
    engaged_ms=12.5,
    blocked_ms=25.5,
    venue_s=1.0,
    zero_s=1.25,
    booked_s=None,
    load=0.5,
    version="0.1.0",
    build="029b30317bbbb63f",
    notes=(),
    missed=(),
)
FAILED = replace(DRILL, failure="proxy", zero_s=6.5, missed=("zero_s: expected at most 5, found 6.500",))


def test_what_is_added_is_read_again_in_order(tmp_path: Path) -> None:
    """In a state directory that is made where there is none."""
    state = tmp_path / "state"
    assert past(state) == []
    add(state, DRILL)
    add(state, FAILED)
    assert past(state) == [DRILL, FAILED]
    rows = [json.loads(line) for line in (state / HISTORY).read_text(encoding="utf-8").splitlines()]
    assert [row["passed"] for row in rows] == [True, False]


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[1]", "null", '{"at": "yesterday"}', json.dumps({**DRILL.row(), "zero_s": "soon"}), "\ufffd"],
)
def test_a_line_that_is_no_drill_is_named(tmp_path: Path, line: str) -> None:
    """With file and number; nothing is skipped in silence."""
    add(tmp_path, DRILL)
    with (tmp_path / HISTORY).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(StateError, match=r"drills\.jsonl, line 2: expected a drill"):
        past(tmp_path)


def test_a_history_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """As a sentence with the place."""
    (tmp_path / HISTORY).mkdir()
    with pytest.raises(StateError, match="cannot be recorded"):
        add(tmp_path, DRILL)
    with pytest.raises(StateError, match="expected a file that can be read"):
        past(tmp_path)


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([7.0], 50, 7.0), ([7.0], 99, 7.0), ([3.0, 1.0, 2.0], 50, 2.0), ([float(n) for n in range(101)], 99, 99.0)],
)
def test_a_percentile_lies_among_its_values(values: list[float], percent: int, found: float) -> None:
    """By linear interpolation; of one value it is that value."""
    assert share(values, percent) == pytest.approx(found)


def test_the_history_shows_each_failure_with_its_percentiles_and_the_newest_drills() -> None:
    """A line each, with the number of drills and of those that failed."""
    text = shown([replace(DRILL, blocked_ms=10.0), replace(DRILL, blocked_ms=30.0), FAILED]).splitlines()
    [broker] = [line for line in text if line.startswith("broker")]
    assert broker.split() == ["broker", "2", "0", "20", "30", "1.25", "1.25", DRILL.at]
    [proxy] = [line for line in text if line.startswith("proxy")]
    assert proxy.split()[:3] == ["proxy", "1", "1"]
    assert text[-1].endswith("zero_s: expected at most 5, found 6.500")
    assert text[-2].endswith("passed")
    assert "trisagion drill" in shown([])


@pytest.mark.parametrize(
    ("drills", "well", "says"),
    [
        ([], True, "hold one each week"),
        ([FAILED, DRILL], True, "passed, broker"),
        ([DRILL, FAILED], False, "failed: zero_s"),
        ([replace(DRILL, at=(NOW - AGE_MAX - timedelta(days=2)).isoformat())], False, "9 days ago"),
        ([replace(DRILL, at="2026-11-22T07:20:10")], True, "passed"),
    ],
)
def test_the_doctor_is_told_of_a_drill_that_failed_or_is_old(drills: list[Drill], *, well: bool, says: str) -> None:
    """The newest counts."""
    found, text = judged(drills, NOW)
    assert found is well
    assert says in text
