"""Range estimators against values by hand, and against simulated prices whose volatility is known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trisagion.regime.ranges import (
    atr_percent,
    close_to_close,
    garman_klass,
    parkinson,
    rogers_satchell,
    true_range,
    yang_zhang,
)

OPEN = np.array([100.0, 102.0, 101.0, 104.0])
HIGH = np.array([103.0, 104.0, 105.0, 106.0])
LOW = np.array([99.0, 100.0, 100.0, 103.0])
CLOSE = np.array([101.0, 101.0, 104.0, 105.0])
BARS = (OPEN, HIGH, LOW, CLOSE)

Prices = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def simulated(*, sigma: float, drift: float, jump: float, bars: int = 8000, steps: int = 1000, seed: int = 1) -> Prices:
    """Return bars of a geometric Brownian motion, whose log moves by `drift` and `sigma` in a bar, `jump` between two.

    A path of steps misses the true extremes. Between two neighbours the maximum of the bridge is drawn from its exact
    law, so that the bars are those of the motion itself: for a bridge from 0 to b of variance v,
    P(max > m) = exp(−2m(m − b)/v).
    """
    rng = np.random.default_rng(seed)
    moves = rng.normal(drift / steps, sigma / math.sqrt(steps), (bars, steps))
    path = np.concatenate([np.zeros((bars, 1)), np.cumsum(moves, axis=1)], axis=1)
    variance = sigma**2 / steps
    reach = [np.sqrt(moves**2 - 2.0 * variance * np.log(rng.random(moves.shape))) for _ in range(2)]
    top = (path[:, :-1] + 0.5 * (moves + reach[0])).max(axis=1)
    bottom = (path[:, :-1] + 0.5 * (moves - reach[1])).min(axis=1)
    opens = np.cumsum(path[:, -1] + rng.normal(0.0, jump, bars)) - path[:, -1]
    return np.exp(opens), np.exp(opens + top), np.exp(opens + bottom), np.exp(opens + path[:, -1])


def over_all(estimator: str, prices: Prices) -> float:
    """Return an estimator's variance of a bar over all bars but the first."""
    o, h, low, c = prices
    window = len(o) - 1
    found = {
        "close": lambda: close_to_close(c, window, 1.0),
        "parkinson": lambda: parkinson(h, low, window, 1.0),
        "garman-klass": lambda: garman_klass(o, h, low, c, window, 1.0),
        "rogers-satchell": lambda: rogers_satchell(o, h, low, c, window, 1.0),
        "yang-zhang": lambda: yang_zhang(o, h, low, c, window, 1.0),
    }[estimator]()
    return float(found[-1]) ** 2


ESTIMATORS = ["close", "parkinson", "garman-klass", "rogers-satchell", "yang-zhang"]
SIGMA = 0.01


@pytest.mark.parametrize(
    ("drift", "jump", "expected"),
    [
        pytest.param(0.0, 0.0, dict.fromkeys(ESTIMATORS, 1.0), id="no drift, no jumps: all are unbiased"),
        pytest.param(
            0.01,
            0.0,
            {"close": 1.0, "rogers-satchell": 1.0, "yang-zhang": 1.0},
            id="drift: Rogers-Satchell and Yang-Zhang do not see it",
        ),
        pytest.param(
            0.0,
            0.005,
            {"close": 1.25, "parkinson": 1.0, "garman-klass": 1.0, "rogers-satchell": 1.0, "yang-zhang": 1.25},
            id="jumps: only Yang-Zhang and close to close count them",
        ),
        pytest.param(0.01, 0.005, {"close": 1.25, "rogers-satchell": 1.0, "yang-zhang": 1.25}, id="both"),
    ],
)
def test_the_estimators_are_unbiased_where_they_claim_to_be(
    drift: float, jump: float, expected: dict[str, float]
) -> None:
    """Of 8000 bars of a known motion, in units of its variance; 5 % is three errors of the least efficient one."""
    prices = simulated(sigma=SIGMA, drift=drift, jump=jump, steps=100)
    for name, ratio in expected.items():
        assert over_all(name, prices) / SIGMA**2 == pytest.approx(ratio, rel=0.05), name


def test_drift_biases_parkinson_and_garman_klass_upwards() -> None:
    """With a drift of one standard deviation a bar both are too high, Parkinson by more than a quarter."""
    prices = simulated(sigma=SIGMA, drift=SIGMA, jump=0.0, steps=100)
    assert over_all("parkinson", prices) / SIGMA**2 > 1.25
    assert over_all("garman-klass", prices) / SIGMA**2 > 1.05


def test_the_efficiencies_are_in_the_published_order() -> None:
    """Variance of the squared return over each estimate's: Parkinson 4.9, Garman-Klass 7.4, Rogers-Satchell 6.0."""
    o, h, low, c = simulated(sigma=SIGMA, drift=0.0, jump=0.0, bars=20_000, steps=50, seed=3)
    worst = np.var(np.log(c / o) ** 2)
    found = {
        "parkinson": worst / np.var(parkinson(h, low, 1, 1.0) ** 2),
        "garman-klass": worst / np.var(garman_klass(o, h, low, c, 1, 1.0) ** 2),
        "rogers-satchell": worst / np.var(rogers_satchell(o, h, low, c, 1, 1.0) ** 2),
    }
    assert found == pytest.approx({"parkinson": 4.9, "garman-klass": 7.4, "rogers-satchell": 6.0}, rel=0.08)


def test_the_values_are_those_computed_by_hand() -> None:
    """Two bars, 250 periods a year, each formula written out with its numbers."""
    year = 250.0
    ln = math.log
    at = 2
    assert parkinson(HIGH, LOW, 2, year)[at] == pytest.approx(
        math.sqrt(year * (ln(104 / 100) ** 2 + ln(105 / 100) ** 2) / 2 / (4 * ln(2)))
    )
    bar_1 = 0.5 * ln(104 / 100) ** 2 - (2 * ln(2) - 1) * ln(101 / 102) ** 2
    bar_2 = 0.5 * ln(105 / 100) ** 2 - (2 * ln(2) - 1) * ln(104 / 101) ** 2
    assert garman_klass(*BARS, 2, year)[at] == pytest.approx(math.sqrt(year * (bar_1 + bar_2) / 2))
    satchell_1 = ln(104 / 101) * ln(104 / 102) + ln(100 / 101) * ln(100 / 102)
    satchell_2 = ln(105 / 104) * ln(105 / 101) + ln(100 / 104) * ln(100 / 101)
    satchell = (satchell_1 + satchell_2) / 2
    assert rogers_satchell(*BARS, 2, year)[at] == pytest.approx(math.sqrt(year * satchell))
    # Of two numbers the sample variance is half the square of their difference.
    assert close_to_close(CLOSE, 2, year)[at] == pytest.approx(math.sqrt(year * ln(104 / 101) ** 2 / 2))
    jumps = (ln(102 / 101) - ln(101 / 101)) ** 2 / 2
    bodies = (ln(101 / 102) - ln(104 / 101)) ** 2 / 2
    k = 0.34 / (1.34 + 3 / 1)
    assert yang_zhang(*BARS, 2, year)[at] == pytest.approx(math.sqrt(year * (jumps + k * bodies + (1 - k) * satchell)))


def test_the_average_true_range_is_wilders() -> None:
    """By hand: a gap up and a gap down count from the close before, then Wilder's smoothing."""
    high, low, close = (
        np.array([10.0, 14.0, 9.0, 10.0]),
        np.array([9.0, 12.0, 8.0, 9.0]),
        np.array([9.5, 13.0, 8.5, 9.5]),
    )
    np.testing.assert_array_equal(true_range(high, low, close), [np.nan, 4.5, 5.0, 1.5])
    expected = [np.nan, np.nan, 100 * 4.75 / 8.5, 100 * (4.75 + 1.5) / 2 / 9.5]
    np.testing.assert_allclose(atr_percent(high, low, close, 2), expected, rtol=1e-14)


@pytest.mark.parametrize("window", [1, 2, 14, 99, 100])
def test_the_average_true_range_is_the_recursion(window: int) -> None:
    """Bar by bar, with any window, up to one that is too long."""
    _, h, low, c = simulated(sigma=SIGMA, drift=0.0, jump=0.003, bars=100, steps=5)
    ranges = true_range(h, low, c)
    expected, average = np.full(100, np.nan), math.nan
    for t in range(window, 100):
        average = ranges[1 : window + 1].mean() if t == window else ((window - 1) * average + ranges[t]) / window
        expected[t] = 100.0 * average / c[t]
    np.testing.assert_allclose(atr_percent(h, low, c, window), expected, rtol=1e-12)


CALLS: list[Callable[[Prices, int], np.ndarray]] = [
    lambda p, w: close_to_close(p[3], w, 252.0),
    lambda p, w: parkinson(p[1], p[2], w, 252.0),
    lambda p, w: garman_klass(*p, w, 252.0),
    lambda p, w: rogers_satchell(*p, w, 252.0),
    lambda p, w: yang_zhang(*p, w, 252.0),
    lambda p, w: atr_percent(*p[1:], w),
]
FIRST = [0, -1, -1, -1, 0, 0]
"""The first known index less the window."""


@pytest.mark.parametrize(("call", "first"), list(zip(CALLS, FIRST, strict=True)), ids=[*ESTIMATORS, "atr"])
@pytest.mark.parametrize("window", [2, 5, 30, 31])
def test_a_value_needs_its_window_and_no_more(
    call: Callable[[Prices, int], np.ndarray], first: int, window: int
) -> None:
    """Unknown before the window is full; after that a window's bars alone give the same value."""
    prices = simulated(sigma=SIGMA, drift=0.0, jump=0.003, bars=30, steps=5)
    found = call(prices, window)
    assert found.shape == (30,)
    known = np.arange(30) >= window + first
    np.testing.assert_array_equal(np.isfinite(found), known)
    if known.any() and call is not CALLS[-1]:
        bars = window + first + 1
        last = call((prices[0][-bars:], prices[1][-bars:], prices[2][-bars:], prices[3][-bars:]), window)
        assert last[-1] == pytest.approx(found[-1], rel=1e-12)


@pytest.mark.parametrize("call", CALLS[:5], ids=ESTIMATORS)
def test_a_year_of_more_periods_is_more_volatile(call: Callable[[Prices, int], np.ndarray]) -> None:
    """A series longer than the block of windows is annualised and seen whole."""
    prices = simulated(sigma=SIGMA, drift=0.0, jump=0.0, bars=9000, steps=2)
    found = call(prices, 60)
    tail = (prices[0][-200:], prices[1][-200:], prices[2][-200:], prices[3][-200:])
    np.testing.assert_allclose(found[-100:], call(tail, 60)[-100:], rtol=1e-12)
    middle = (prices[0][4000:4300], prices[1][4000:4300], prices[2][4000:4300], prices[3][4000:4300])
    np.testing.assert_allclose(found[4100:4300], call(middle, 60)[100:], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(st.tuples(*[st.integers(1, 40)] * 4), min_size=1, max_size=12),
    window=st.integers(2, 5),
    level=st.sampled_from([1e-6, 1.0, 1e7]),
)
@example(ticks=[(7, 7, 7, 7)] * 6, window=2, level=1e7)
@example(ticks=[(1, 40, 1, 40)] * 6, window=2, level=1e-6)
def test_a_volatility_is_never_negative_nor_a_matter_of_level(
    ticks: list[tuple[int, ...]], window: int, level: float
) -> None:
    """Whatever the bars: 0 or more, or unknown, and the same at any level of the prices."""
    bars = np.array(ticks, dtype=np.float64)
    prices = (bars[:, 0], bars.max(axis=1), bars.min(axis=1), bars[:, 1])
    scaled = tuple(column * level for column in prices)
    for call in CALLS:
        found = call(prices, window)
        assert ((found >= 0.0) | np.isnan(found)).all()
        np.testing.assert_allclose(call(scaled, window), found, rtol=1e-7, atol=1e-6)  # type: ignore[arg-type]


def test_prices_that_stand_still_have_no_volatility() -> None:
    """Zero is a measurement here, not a failure."""
    still = np.full(10, 1234.5)
    for call in CALLS:
        assert call((still, still, still, still), 3)[-1] == 0.0


@pytest.mark.parametrize(
    ("change", "window", "year", "message"),
    [
        ({}, 0, 252.0, "window"),
        ({}, 2, 0.0, "periods_per_year"),
        ({}, 2, math.nan, "periods_per_year"),
        ({"open": OPEN[:3]}, 2, 252.0, "one shape"),
        ({"high": HIGH.astype(str)}, 2, 252.0, "real numbers"),
        ({"close": np.array([1.0, math.nan, 1.0, 1.0])}, 2, 252.0, "close: expected positive finite prices, found nan"),
        ({"low": np.zeros(4)}, 2, 252.0, "low: expected positive"),
        ({"high": np.full(4, math.inf)}, 2, 252.0, "high: expected positive finite"),
        ({"low": OPEN + 1}, 2, 252.0, "low <= open"),
        ({"open": HIGH + 1}, 2, 252.0, "open <= high"),
        ({"low": np.array([99.0, 101.5, 100.0, 103.0])}, 2, 252.0, "low <= close"),
        ({"close": HIGH + 1}, 2, 252.0, "close <= high"),
    ],
)
def test_bars_that_cannot_be_are_refused(change: dict[str, np.ndarray], window: int, year: float, message: str) -> None:
    """The message says what was expected, and where."""
    columns = {"open": OPEN, "high": HIGH, "low": LOW, "close": CLOSE} | change
    with pytest.raises(ValueError, match=message):
        rogers_satchell(columns["open"], columns["high"], columns["low"], columns["close"], window, year)


def test_each_estimator_checks_what_it_reads() -> None:
    """Too short a window, crossed prices, and a series of series."""
    with pytest.raises(ValueError, match="at least 2"):
        close_to_close(CLOSE, 1, 252.0)
    with pytest.raises(ValueError, match="at least 2"):
        yang_zhang(*BARS, 1, 252.0)
    with pytest.raises(ValueError, match="low <= high"):
        parkinson(LOW, HIGH, 2, 252.0)
    with pytest.raises(ValueError, match="close <= high"):
        true_range(HIGH, LOW, HIGH + 1)
    with pytest.raises(ValueError, match="window"):
        atr_percent(HIGH, LOW, CLOSE, 0)
    with pytest.raises(ValueError, match="one shape"):
        close_to_close(np.ones((3, 2)), 2, 252.0)
