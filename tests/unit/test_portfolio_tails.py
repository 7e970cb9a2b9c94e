"""Value at risk and shortfall against published numbers and another reckoning; and what is read off the minutes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from trisagion.portfolio.returns import RETURNS_MIN, TAIL_RETURNS_MIN, Returns
from trisagion.portfolio.tails import LEVEL, historical, normal, parametric, pareto, student, worst
from trisagion.regime.tails import peaks_over_threshold

DAY = 10_000 * 0.2 / np.sqrt(250)
"""MFE section 2.2.4, the example of stock returns: a deviation of 10,000 in a stock that moves 20 % in a year."""


def test_the_normal_and_the_student_are_those_of_the_book() -> None:
    """Its table at 99 %: 294.3 and 337.1; of a t with four degrees of freedom and the same deviation 335.1."""
    assert (normal(DAY).var, normal(DAY).es) == pytest.approx((294.3, 337.1), abs=0.06)
    assert student(DAY, 4.0).var == pytest.approx(335.1, abs=0.06)


@pytest.mark.parametrize("freedom", [2.1, 3.0, 5.5, 40.0, 1e6])
def test_the_students_shortfall_is_the_integral_of_its_tail(freedom: float) -> None:
    """By scipy's quantiles, integrated; and with many degrees of freedom it is the normal's."""
    scale = np.sqrt((freedom - 2) / freedom)
    found = student(1.0, freedom)
    tail, _ = integrate.quad(lambda x: x * stats.t.pdf(x, freedom), stats.t.ppf(LEVEL, freedom), np.inf)
    assert found.var == pytest.approx(scale * stats.t.ppf(LEVEL, freedom))
    assert found.es == pytest.approx(scale * tail / (1 - LEVEL), rel=1e-6)
    if freedom == 1e6:
        assert (found.var, found.es) == pytest.approx((normal(1.0).var, normal(1.0).es), rel=1e-5)


def test_history_counts_the_last_loss_in_part() -> None:
    """Of 250 losses the worst hundredth is two and a half; of a hundred it is the greatest."""
    losses = np.arange(1.0, 251.0)
    assert (historical(losses).var, historical(losses).es) == pytest.approx((248.0, (250 + 249 + 0.5 * 248) / 2.5))
    assert (historical(losses[:100]).var, historical(losses[:100]).es) == pytest.approx((99.0, 100.0))


def test_the_parametric_one_takes_its_freedom_from_the_kurtosis() -> None:
    """Light tails are normal; a sample of a t with eight degrees of freedom gives about that t."""
    flat = np.tile([-1.0, 1.0], 200)
    assert parametric(flat) == normal(1.0)
    losses = stats.t.rvs(8, size=400_000, random_state=3)
    found, there = parametric(losses), student(float(np.std(losses)), 8.0)
    assert found.method == "student"
    assert (found.var, found.es) == pytest.approx((there.var, there.es), rel=0.01)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_the_moments_find_the_pareto_tail_that_was_drawn(shape: float) -> None:
    """Shape, scale, quantile and mean beyond it, by scipy's own distribution."""
    losses = stats.genpareto.rvs(shape, size=200_000, random_state=5)
    fitted = peaks_over_threshold(losses, quantile=0.9, by_moments=True)
    assert fitted.shape == pytest.approx(shape, abs=0.03)
    found = pareto(np.sort(losses))
    assert found is not None
    there = stats.genpareto(shape)
    assert found.var == pytest.approx(there.ppf(LEVEL), rel=0.02)
    assert found.es == pytest.approx(there.expect(lambda x: x, lb=there.ppf(LEVEL), conditional=True), rel=0.03)


def test_the_moments_see_no_tail_in_losses_that_come_in_ticks() -> None:
    """Equal ticks at a price that moves differ by thousandths of a tick: the likelihood takes that for the tail."""
    rng = np.random.default_rng(2)
    ticks = np.clip(np.round(rng.normal(0.0, 1.5, 500)), -5, 5)
    losses = ticks * 0.25 / (1640 + np.cumsum(ticks) * 0.25)
    by_moments = peaks_over_threshold(losses, quantile=0.9, by_moments=True)
    assert peaks_over_threshold(losses, quantile=0.9).shape > 1.0
    assert by_moments.shape < 0.6
    assert np.isnan(by_moments.covariance).all()


def test_the_worst_of_all_counts_over_the_square_root_of_the_day() -> None:
    """No method says more than what is reported; losses of a few minutes, of none, and of a gap are told apart."""
    rng = np.random.default_rng(4)
    pnl = rng.standard_t(3, 500) * 70.0
    found = worst(pnl, 400)
    losses = np.sort(-pnl)
    tail = pareto(losses)
    assert found is not None and tail is not None
    each = (historical(losses), parametric(losses), tail)
    assert found.var == pytest.approx(20 * max(one.var for one in each))
    assert found.es == pytest.approx(20 * max(one.es for one in each))
    assert worst(pnl[: TAIL_RETURNS_MIN - 1], 400) is None
    assert worst(np.zeros(500), 400) is not None
    assert worst(np.full(500, np.nan), 400) is None
    assert worst(np.append(np.ones(495), -np.ones(5)), 400) is None, "five losses are no tail"


@settings(max_examples=40)
@given(scale=st.floats(1e-6, 1e9), seed=st.integers(0, 50))
def test_what_is_held_twice_costs_twice(scale: float, seed: int) -> None:
    """Both measures grow as the position does, so that a share of it uses up that share of a limit."""
    pnl = np.random.default_rng(seed).standard_t(3, 300)
    one, many = worst(pnl, 100), worst(pnl * scale, 100)
    assert one is not None and many is not None
    assert (many.var, many.es) == pytest.approx((one.var * scale, one.es * scale), rel=1e-9)


def series(**closes: list[float]) -> Returns:
    """Align closes of consecutive minutes, all ending now; NaN is a minute without a bar."""
    ends = max(map(len, closes.values()))
    made = {}
    for symbol, values in closes.items():
        price = np.array(values)
        stamp = np.arange(ends - len(values), ends, dtype=np.int64)
        made[symbol] = (stamp[~np.isnan(price)], price[~np.isnan(price)])
    return Returns.of(made, 500)


def test_returns_share_a_grid() -> None:
    """A minute without a bar has a return of zero, and who came later none before; without bars nothing is known."""
    found = series(A=[100.0, 110.0, 99.0, 99.0], B=[np.nan, 50.0, np.nan, 55.0], C=[])
    assert found.values == pytest.approx(np.array([[0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0]]))
    assert (found.first.tolist(), found.known.tolist()) == ([0, 1, 3], [3, 1, 0])
    assert Returns.of({"A": (np.arange(9), np.arange(1.0, 10.0))}, 4).values.shape == (4, 1)
    assert Returns.of({}, 500).values.shape == (0, 0)


def test_a_price_that_is_none_leaves_a_symbol_unknown() -> None:
    """One of zero or below is told apart from one that is there: nothing is reckoned with it."""
    found = series(A=[10.0, 0.0, 11.0], B=[1.0, 2.0, 3.0])
    assert (found.known.tolist(), found.values[:, 0].tolist()) == ([0, 2], [0.0, 0.0])


def test_the_deviation_forgets_half_in_a_half_life() -> None:
    """A weighted mean of squares, from a symbol's first return on; unknown with too few, or when nothing moved."""
    rng = np.random.default_rng(6)
    price = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, 200)))
    found = series(A=list(price), B=list(price[-RETURNS_MIN - 1 :]), C=list(price[-RETURNS_MIN:]), D=[5.0] * 200)
    for column, count in ((0, 199), (1, RETURNS_MIN)):
        weight = 0.5 ** (np.arange(count)[::-1] / 30)
        squares = np.square(np.diff(price)[-count:] / price[-count - 1 : -1])
        assert found.deviations(30)[column] == pytest.approx(np.sqrt(np.average(squares, weights=weight)))
    assert np.isnan(found.deviations(30)[2:]).all()


def test_correlation_is_that_of_the_minutes_both_had_a_price() -> None:
    """As numpy has it, but for the means; a late symbol is not watered down; the unknown stays so on either side."""
    rng = np.random.default_rng(7)
    common = rng.normal(0, 0.001, 300)
    price = {
        "A": 100 * np.cumprod(1 + common),
        "B": 50 * np.cumprod(1 - common + rng.normal(0, 0.0005, 300)),
        "C": (70 * np.cumprod(1 + common))[-80:],
        "D": (70 * np.cumprod(1 + common))[-20:],
    }
    found = series(**{name: list(values) for name, values in price.items()})
    near = np.corrcoef(np.diff(price["A"]) / price["A"][:-1], np.diff(price["B"]) / price["B"][:-1])[0, 1]
    matrix = found.correlations()
    assert matrix[0, 1] == pytest.approx(near, abs=0.005)
    assert matrix[0, [0, 2]].tolist() == [1.0, 1.0]
    assert np.array_equal(matrix, matrix.T, equal_nan=True)
    assert np.isnan(matrix[3]).all()
