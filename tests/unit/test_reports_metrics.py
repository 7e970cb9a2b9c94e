"""Figures of a replay against hand-made and published numbers."""

import math
import statistics
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.report_builder import CAPITAL, START_NS, fill, report, report_of, walk
from trisagion.clock import MINUTE_NS
from trisagion.market.instruments import ES
from trisagion.market.types import Int64Array
from trisagion.orders.types import Liquidity, Side
from trisagion.reports.metrics import (
    YEAR_NS,
    cohort_bp,
    drawdown,
    drawdowns,
    measure,
    round_trips,
    sharpe,
    standing,
)
from trisagion.reports.model import CohortOutcome
from trisagion.units import Money


def minutes(count: int) -> Int64Array:
    """Return instants a minute apart."""
    return START_NS + MINUTE_NS * np.arange(count, dtype=np.int64)


def cohort_of(points: list[float]) -> CohortOutcome:
    """Make random draws with a turnover of one and the given P&L in basis points, without fees."""
    count = len(points)
    no, zero = np.zeros(count, dtype=bool), np.zeros(count, dtype=np.int64)
    return CohortOutcome(np.array(points) / 1e4, np.ones(count), np.zeros(count), no, no, zero, zero)


@pytest.mark.parametrize(
    ("equity", "depth", "peak", "trough", "recovered", "lasted"),
    [
        ([100, 110, 99, 105, 88, 120], 0.2, 1, 4, 5, 4),
        ([100, 110, 99, 105, 88, 100], 0.2, 1, 4, None, 4),
        ([100, 50, 100, 40, 100], 0.6, 2, 3, 4, 2),
        ([100, 100, 90, 100], 0.1, 1, 2, 3, 2),
    ],
)
def test_the_deepest_fall_is_found_with_its_peak_trough_and_recovery(
    equity: list[float], depth: float, peak: int, trough: int, recovered: int | None, lasted: int
) -> None:
    """A draw-down is measured from the last instant at its peak, and lasts until that peak is seen again."""
    at_ns = minutes(len(equity))
    fall = drawdown(at_ns, np.array(equity, dtype=float))
    assert fall is not None
    assert fall.depth == pytest.approx(depth, rel=1e-12)
    assert (fall.peak_ns, fall.trough_ns) == (at_ns[peak], at_ns[trough])
    assert fall.recovered_ns == (None if recovered is None else at_ns[recovered])
    assert fall.lasted_ns == lasted * MINUTE_NS


@pytest.mark.parametrize("equity", [[], [100], [100, 100, 101]])
def test_a_curve_that_never_falls_has_no_draw_down(equity: list[float]) -> None:
    """Rising, standing and empty curves have none, rather than one of zero."""
    assert drawdown(minutes(len(equity)), np.array(equity, dtype=float)) is None


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=60))
def test_the_draw_down_curve_equals_the_definition(equity: list[float]) -> None:
    """Each sample is one minus itself over the highest so far."""
    expected = [1 - value / max(equity[: index + 1]) for index, value in enumerate(equity)]
    assert drawdowns(np.array(equity)).tolist() == pytest.approx(expected, abs=1e-12)


def test_sharpe_of_a_two_valued_return_equals_the_formula_by_hand() -> None:
    """Returns m ± s have no skew and a kurtosis of one: the error is 1/√n and the proof takes 1 + (z/SR)² returns."""
    count, mean, spread = 400, 2e-5, 1e-3
    returns = np.where(np.arange(count) % 2, mean + spread, mean - spread)
    equity = 1e6 * np.concatenate(([1.0], np.cumprod(1 + returns)))
    found = sharpe(minutes(count + 1), equity, 1)
    assert found is not None
    ratio = statistics.mean(returns.tolist()) / statistics.stdev(returns.tolist())
    yearly = math.sqrt(YEAR_NS / MINUTE_NS)
    assert found.returns == count
    assert found.value == pytest.approx(ratio * yearly, rel=1e-6)
    assert found.high - found.low == pytest.approx(2 * 1.959964 / math.sqrt(count) * yearly, rel=1e-4)
    assert found.proof_ns == pytest.approx((1 + (1.644854 / ratio) ** 2) * MINUTE_NS, rel=1e-4)
    assert found.luck is None


@pytest.mark.parametrize(("trials", "largest"), [(10, 1.53875), (100, 2.50759), (1000, 3.24144)])
def test_luck_is_the_expected_largest_of_normal_draws(trials: int, largest: float) -> None:
    """The bar agrees with the exact expectations of the largest of 10, 100 and 1000 normals within three per cent."""
    equity = 1e6 + np.where(np.arange(1001) % 2, 1.0, -1.0)
    found = sharpe(minutes(1001), equity, trials)
    assert found is not None
    assert found.luck is not None
    assert found.luck / math.sqrt(YEAR_NS / MINUTE_NS) * math.sqrt(1000) == pytest.approx(largest, rel=0.03)


@pytest.mark.parametrize(
    "equity",
    [np.full(100, 1e6), np.linspace(1e6, 2e6, 30), np.linspace(1e6, -1e6, 100)],
    ids=["unmoved", "29 returns", "below zero"],
)
def test_no_sharpe_ratio_where_it_would_mean_nothing(equity: np.ndarray) -> None:
    """Too few, unmoved and ruined curves have no Sharpe ratio."""
    assert sharpe(minutes(len(equity)), equity, 500) is None


@pytest.mark.parametrize(
    ("fills", "count", "wins", "best", "worst"),
    [
        ([], 0, 0, None, None),
        ([("buy", "1", "100", "1")], 0, 0, None, None),
        ([("buy", "1", "100", "1"), ("sell", "1", "101", "1")], 1, 1, "48", "48"),
        ([("buy", "1", "100", "25"), ("sell", "1", "101", "25")], 1, 0, "0", "0"),
        ([("sell", "2", "100", "0"), ("buy", "1", "99", "0"), ("buy", "1", "102", "0")], 1, 0, "-50", "-50"),
        ([("buy", "1", "100", "1"), ("sell", "2", "101", "2"), ("buy", "1", "99", "1")], 2, 2, "98", "48"),
        ([("buy", "1", "100", "0"), ("buy", "1", "104", "0"), ("sell", "2", "101", "0")], 1, 0, "-100", "-100"),
    ],
    ids=["none", "open", "won", "eaten by fees", "short in parts", "flip", "averaged"],
)
def test_round_trips_run_from_flat_to_flat(
    fills: list[tuple[str, str, str, str]], count: int, wins: int, best: str | None, worst: str | None
) -> None:
    """A trip is won when something is left after fees; a flip ends one and begins another with its share of the fee."""
    made = [fill(minute, Side(side), qty, px, fee=fee) for minute, (side, qty, px, fee) in enumerate(fills)]
    trips = round_trips(made, ES.multiplier)
    assert (trips.count, trips.wins) == (count, wins)
    assert trips.best == (None if best is None else Decimal(best))
    assert trips.worst == (None if worst is None else Decimal(worst))


@pytest.mark.parametrize(("profit", "percentile"), [("100", 87.5), ("200", 100.0), ("-300", 0.0), ("0", 50.0)])
def test_the_account_stands_at_its_mid_rank(profit: str, percentile: float) -> None:
    """Runs below count whole, equal ones half, and those that never traded not at all."""
    runs = cohort_of([-2.0, -1.0, 0.5, 1.0, 9.0])
    idle = replace(runs, turnover=np.array([1.0, 1.0, 1.0, 1.0, 0.0]))
    rank = standing(Money(Decimal(profit)), Money(Decimal(1_000_000)), idle)
    assert rank.percentile == percentile
    assert (rank.compared, rank.trials) == (4, 5)
    assert rank.account_bp == pytest.approx(float(profit) / 100)


def test_the_place_does_not_depend_on_what_either_side_pays() -> None:
    """Runs that pay eight basis points a trade are told, and compared, by what they gained before that."""
    free = cohort_of([-2.0, -1.0, 0.5, 1.0])
    fees = np.full(4, 8e-4)
    paying = replace(free, profit=free.profit - fees, fees=fees)
    assert cohort_bp(paying).tolist() == pytest.approx([-2.0, -1.0, 0.5, 1.0])
    assert standing(Money(Decimal(-50)), Money(Decimal(1_000_000)), paying).percentile == 50.0
    made = report()
    assert measure(made).standing.account_bp == pytest.approx(
        float(made.profit + made.fees) / float(measure(made).turnover) * 1e4
    )


def test_an_account_without_turnover_has_no_place() -> None:
    """Nothing traded: no basis points, no percentile, but the cohort's median is told."""
    rank = standing(Money(Decimal(0)), Money(Decimal(0)), cohort_of([1.0, 3.0]))
    assert (rank.account_bp, rank.percentile) == (None, None)
    assert rank.median_bp == pytest.approx(2.0)


def test_buy_and_hold_is_told_for_the_equity_and_for_the_mean_position() -> None:
    """Unlevered is the price's change on the starting equity, like size the mean absolute position times the points."""
    made = report(minutes=600)
    held = measure(made).buy_and_hold
    assert held is not None
    market = made.markets[0]
    first, last = market.prices.close[0], market.prices.close[-1]
    assert held.unlevered == pytest.approx(float(CAPITAL) * (last / first - 1))
    assert held.same_exposure == pytest.approx(np.abs(market.held).mean() * (last - first) * 50)


def test_what_a_venue_did_not_flag_is_not_counted_as_maker() -> None:
    """Only the maker flag makes a maker; the share is of the quantity."""
    fills = (
        fill(1.5, Side.BUY, "3", "1640"),
        fill(2.5, Side.SELL, "1", "1640", liquidity=None),
        fill(3.5, Side.SELL, "1", "1640", liquidity=Liquidity.TAKER),
    )
    assert measure(report_of(walk(60, 1), fills)).maker_share == pytest.approx(0.6)


def test_a_report_without_data_has_figures_and_no_guesses() -> None:
    """Before the first minute every figure that needs data is None."""
    empty = report(minutes=0)
    metrics = measure(replace(empty, cohort=cohort_of([])))
    assert (metrics.drawdown, metrics.sharpe, metrics.in_market, metrics.leverage, metrics.maker_share) == (None,) * 5
    assert (metrics.buy_and_hold, metrics.standing.median_bp) == (None, None)
    assert metrics.total_return == 0


def test_runs_that_never_traded_are_left_out_of_the_distribution() -> None:
    """P&L per notional is defined for runs with a notional only."""
    made = report(runs=200)
    assert len(cohort_bp(made.cohort)) == int((made.cohort.turnover > 0).sum()) < 200
