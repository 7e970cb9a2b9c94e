"""The census: who is best, and how one run descends from another."""

import math
from typing import Any

import pytest

from trisagion.cohort.census import By, Change, Member, best, changes, lineage, winners
from trisagion.cohort.types import ExitReason
from trisagion.ids import RunId


def member(number: int, parent: str | None = None, **facts: object) -> Member:
    """Return a living run that was born in the minute of its number."""
    given = {
        "run_id": RunId(f"R1-{number}"),
        "epoch": 1,
        "symbol": "ES",
        "parent": None if parent is None else RunId(parent),
        "born_ns": number,
        "ended_ns": None,
        "reason": None,
        "direction": 1,
        "trades": 2,
        "iterations": 3,
        "live_pnl": float(number),
        "apr": 0.1,
        "params": f'{{"x": {number}, "word": "swing", "same": 1}}',
    }
    return Member(**{**given, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by", "order"), [(By.LIVE_PNL, [3, 2, 1, 0]), (By.APR, [1, 3, 0, 2]), (By.PNL_PER_TRADE, [1, 3, 0, 2])]
)
def test_the_best_come_first_and_those_without_a_figure_last(by: By, order: list[int]) -> None:
    """Equals stay in the order given; as many as were asked for."""
    members = [
        member(0, live_pnl=-1.0, trades=4, apr=-1.0),
        member(1, live_pnl=0.0, trades=1, apr=0.5),
        member(2, live_pnl=1.0, trades=0, apr=math.nan),
        member(3, live_pnl=9.0, trades=-100, apr=0.2),
    ]
    assert [one.born_ns for one in best(members, by, 4)] == order
    assert [one.born_ns for one in best(members, by, 2)] == order[:2]


def test_winners_live_and_have_gained() -> None:
    """Nothing gained is not enough, and neither is a gain of the past."""
    ended: dict[str, Any] = {"ended_ns": 9, "reason": ExitReason.APR_TARGET}
    members = [member(0, live_pnl=0.0), member(1), member(2), member(3, **ended)]
    assert [one.run_id for one in winners(members)] == ["R1-2", "R1-1"]


def test_a_lineage_is_the_line_from_the_draw_and_the_tree_below() -> None:
    """Siblings of an ancestor are left out; descendants come each behind its parent, elder siblings first."""
    members = [
        member(0),
        member(1, "R1-0"),
        member(2, "R1-0"),
        member(3, "R1-1"),
        member(4, "R1-3"),
        member(5, "R1-3"),
        member(6, "R1-4"),
        member(7),
    ]
    found = lineage(members, RunId("R1-3"))
    assert found is not None
    assert [(kin.member.run_id, kin.generation) for kin in found.line] == [("R1-0", 0), ("R1-1", 1), ("R1-3", 2)]
    assert [(kin.member.run_id, kin.generation) for kin in found.descendants] == [("R1-4", 3), ("R1-6", 4), ("R1-5", 3)]
    assert found.line[0].changes == ()
    assert found.line[2].changes == (Change("x", 1, 3),)
    assert lineage(members, RunId("R1-8")) is None


def test_a_survivors_line_begins_with_it() -> None:
    """Its parent lived elsewhere, and a run of that name that lives here is another."""
    found = lineage([member(0), member(1, "0123456789ab/R1-0"), member(2, "R1-1")], RunId("R1-2"))
    assert found is not None
    assert [kin.member.run_id for kin in found.line] == ["R1-1", "R1-2"]
    assert found.line[0].changes == ()


def test_what_mutated_is_told_by_name_with_both_values() -> None:
    """Only what differs, words too, in the order of the set."""
    told = changes('{"a": "swing", "b": 1, "c": 0.5}', '{"a": "breakout", "b": 1, "c": 0.25}')
    assert told == (Change("a", "swing", "breakout"), Change("c", 0.5, 0.25))


def test_an_age_ends_with_the_run() -> None:
    """And grows until then."""
    assert member(3).age_ns(10) == 7
    assert member(3, ended_ns=5, reason=ExitReason.PURGED).age_ns(10) == 2
