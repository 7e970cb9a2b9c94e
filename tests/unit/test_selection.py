"""Votes and the Kelly percentage."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.clock import SECOND_NS
from trisagion.cohort.types import Votes
from trisagion.errors import DataError
from trisagion.selection.kelly import kelly
from trisagion.selection.votes import SelectionRules, left_out, select

NOW_NS = 1_750_000_000 * SECOND_NS
PNLS = st.lists(st.floats(min_value=0.01, max_value=1e6), min_size=5, max_size=30)


def votes(*runs: tuple[int, float, bool, int]) -> Votes:
    """Make votes from rows of (direction, live_pnl, exiting, age in seconds)."""
    return Votes(
        "ES",
        np.array([row[0] for row in runs], dtype=np.int64),
        np.array([row[1] for row in runs], dtype=np.float64),
        np.array([row[2] for row in runs], dtype=np.bool_),
        np.array([NOW_NS - row[3] * SECOND_NS for row in runs], dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("pnls", "expected"),
    [
        ([2.0] * 6 + [-1.0] * 4, 0.6 - 0.4 / 2.0),
        ([1.0] * 5 + [-1.0] * 5, 0.0),
        ([1.0] * 1 + [-1.0] * 9, 0.1 - 0.9),
        ([1.0, 3.0] * 5 + [-4.0] * 10, 0.5 - 0.5 / 0.5),
        ([2.0] * 6 + [-1.0] * 4 + [0.0] * 90, 0.6 - 0.4 / 2.0),
    ],
)
def test_kelly_is_the_win_share_less_the_loss_share_over_the_reward(pnls: list[float], expected: float) -> None:
    """K = W − (1 − W)/R, and runs that neither won nor lost change nothing."""
    assert kelly(np.array(pnls)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    "pnls",
    [[], [1.0] * 5 + [-1.0] * 4, [1.0] * 5 + [-1.0] * 4 + [0.0] * 20, [1.0] * 20, [-1.0] * 20, [0.0] * 20],
)
def test_kelly_is_unknown_without_a_record(pnls: list[float]) -> None:
    """Fewer than ten decided runs, or no win, or no loss: None, not a number."""
    assert kelly(np.array(pnls, dtype=np.float64)) is None


@given(
    wins=st.lists(st.floats(0.01, 1e6), max_size=12),
    losses=st.lists(st.floats(0.01, 1e6), max_size=12),
    zeros=st.integers(0, 30),
    runs_min=st.integers(2, 20),
)
def test_kelly_is_the_formula_in_fractions_or_unknown(
    wins: list[float], losses: list[float], zeros: int, runs_min: int
) -> None:
    """A number exactly where enough runs are decided and both kinds are there, however many are undecided."""
    pnls = np.array([-loss for loss in losses] + [0.0] * zeros + wins)
    found = kelly(pnls, runs_min=runs_min)
    decided = len(wins) + len(losses)
    if decided < runs_min or not wins or not losses:
        assert found is None
        return
    share = Fraction(len(wins), decided)
    reward = (sum(map(Fraction, wins)) / len(wins)) / (sum(map(Fraction, losses)) / len(losses))
    assert found == pytest.approx(float(share - (1 - share) / reward), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_broken_pnl_is_refused(bad: float) -> None:
    """A P&L that is no number is not quietly left out."""
    with pytest.raises(DataError, match="expected 21 finite P&Ls, found 20"):
        kelly(np.array([1.0, -1.0] * 10 + [bad]))


@given(PNLS, PNLS, st.floats(min_value=0.001, max_value=1000))
def test_kelly_is_below_the_win_share_and_knows_no_unit(wins: list[float], losses: list[float], unit: float) -> None:
    """K < W, and the currency in which the runs are kept does not matter."""
    pnls = np.array(wins + [-loss for loss in losses])
    k = kelly(pnls)
    assert k is not None
    assert k < len(wins) / len(pnls)
    assert kelly(pnls * unit) == pytest.approx(k, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("rows", "direction", "live_pnl", "stale", "wins", "code"),
    [
        ([(2, 1.0, False, 0), (1, 0.5, False, 600)], 3, 1.5, False, True, "VOTES_COUNTED"),
        ([(-2, 1.0, False, 0), (-1, 0.5, False, 0)], -3, 1.5, False, True, "VOTES_COUNTED"),
        ([(2, 1.0, False, 0), (9, 5.0, True, 0)], 2, 1.0, False, True, "VOTES_COUNTED"),
        ([(2, 1.0, False, 0), (9, 5.0, False, 601)], 2, 1.0, False, True, "VOTES_COUNTED"),
        ([(2, 1.0, False, 0), (9, 5.0, False, -601)], 2, 1.0, False, True, "VOTES_COUNTED"),
        ([(2, 1.0, False, -60)], 2, 1.0, False, True, "VOTES_COUNTED"),
        ([(2, 1.0, False, 0), (0, 5.0, False, 0)], 2, 1.0, False, True, "VOTES_COUNTED"),
        ([(2, 0.2, False, 0)], 0, 0.0, False, False, "VOTES_NO_WINNERS"),
        ([(2, 0.21, False, 0)], 2, 0.21, False, True, "VOTES_COUNTED"),
        ([(2, -3.0, False, 0)], 0, 0.0, False, False, "VOTES_NO_WINNERS"),
        ([(2, 1.0, False, 0), (-2, 1.0, False, 0)], 0, 2.0, False, False, "VOTES_UNDECIDED"),
        ([], 0, 0.0, True, False, "VOTES_STALE"),
        ([(2, 1.0, False, 601)], 0, 0.0, True, False, "VOTES_STALE"),
        ([(2, 1.0, True, 0)], 0, 0.0, True, False, "VOTES_STALE"),
    ],
)
def test_only_fresh_living_winners_in_a_position_vote(
    *,
    rows: Sequence[tuple[int, float, bool, int]],
    direction: int,
    live_pnl: float,
    stale: bool,
    wins: bool,
    code: str,
) -> None:
    """Exiting, stale, flat and poor runs do not vote; no winner means flat, no living run that nothing is known."""
    selection = select(votes(*rows), [], SelectionRules(), NOW_NS)
    assert selection.direction == direction
    assert selection.live_pnl == pytest.approx(live_pnl)
    assert (selection.stale, selection.wins) == (stale, wins)
    assert selection.reasons[0].startswith(f"{code}: ")


def test_each_vote_that_does_not_count_is_left_out_for_one_reason() -> None:
    """Exiting before stale, stale before flat, flat before poor; with the winners they are all runs."""
    rows = [
        (2, 1.0, False, 0),
        *[(2, 1.0, True, 601)] * 5,
        *[(0, 0.1, False, 601)] * 4,
        *[(0, 0.1, False, 0)] * 3,
        *[(2, 0.2, False, 0)] * 2,
    ]
    assert left_out(votes(*rows), SelectionRules(), NOW_NS) == "exiting=5 stale=4 flat=3 poor=2"
    assert select(votes(*rows), [], SelectionRules(), NOW_NS).winners == len(rows) - 5 - 4 - 3 - 2


def test_a_sum_without_profit_asks_for_nothing() -> None:
    """With a bar below zero losers vote too; a total that is not positive still earns no position."""
    selection = select(votes((3, -1.0, False, 0)), [], SelectionRules(live_pnl_min=-2.0), NOW_NS)
    assert (selection.direction, selection.wins) == (3, False)
    assert selection.reasons[0].startswith("VOTES_UNDECIDED: ")


def test_kelly_now_counts_all_living_runs_and_only_those() -> None:
    """Losing and flat runs belong to the record of the cohort; exiting and stale ones do not."""
    living = [(1, 2.0, False, 0)] * 6 + [(0, -1.0, False, 0)] * 4
    gone = [(1, 9.0, True, 0), (1, 9.0, False, 601)]
    selection = select(votes(*living, *gone), [1.0] * 5 + [-1.0] * 5, SelectionRules(), NOW_NS)
    assert selection.kelly_now == pytest.approx(0.4)
    assert selection.kelly_past == pytest.approx(0.0)


def test_a_broken_living_run_stops_the_selection() -> None:
    """A run whose P&L is no number is an error, not an abstention."""
    with pytest.raises(DataError):
        select(votes((1, 1.0, False, 0), (1, float("nan"), False, 0)), [], SelectionRules(), NOW_NS)
