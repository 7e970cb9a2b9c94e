"""Market weight and volatility against values worked out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from trisagion.features.momentum import market_weight, volatility


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        pytest.param([], 0.0, id="no close: no signal"),
        pytest.param([100.0], 0.0, id="one close: no signal"),
        pytest.param([100.0, 101.0], 1.0, id="one rise"),
        pytest.param([100.0, 101.0, 100.0, 99.0, 98.0], -0.5, id="one rise, three falls"),
        pytest.param([100.0, 100.0, 101.0], 0.5, id="no change counts zero"),
        pytest.param([10000.0, 10001.0, 9999.0], -0.5, id="a change of 0.01 % of the mean is inside the dead band"),
        pytest.param([10000.0, 10001.1, 10000.0], 0.0, id="more than 0.01 % is outside"),
        pytest.param([*range(200, 100, -1), *range(101, 131)], 1.0, id="only the last 30 closes count"),
    ],
)
def test_the_market_weight_counts_signs(closes: Sequence[float], expected: float) -> None:
    """The mean of the signs of the changes, with a dead band."""
    assert market_weight(np.array(closes, dtype=np.float64)) == pytest.approx(expected, abs=1e-15)


def slow_volatility(highs: Sequence[float], lows: Sequence[float]) -> float:
    """Return the volatility by the words of its definition."""
    n = len(highs)
    ranges = [
        max(highs[max(0, end - 61) : end]) - min(lows[max(0, end - 61) : end]) for end in range(max(1, n - 60), n + 1)
    ]
    return sum(ranges) / len(ranges)


@pytest.mark.parametrize("bars", [1, 2, 60, 61, 62, 120, 121])
def test_the_volatility_is_the_mean_range_of_the_windows(bars: int) -> None:
    """It equals its definition for as many bars as are needed, and for fewer."""
    rng = np.random.default_rng(bars)
    lows = 100.0 + np.cumsum(rng.normal(size=bars))
    highs = lows + rng.uniform(0, 1, bars)
    assert volatility(highs, lows) == pytest.approx(slow_volatility(highs.tolist(), lows.tolist()), rel=1e-12)


def test_older_bars_than_the_volatility_needs_leave_no_trace() -> None:
    """The last 121 bars decide, whatever came before."""
    rng = np.random.default_rng(1)
    lows = 100.0 + rng.normal(size=121)
    longer = np.concatenate([[1e6, -1e6], lows])
    assert volatility(longer + 1.0, longer) == volatility(lows + 1.0, lows)


def test_without_bars_the_volatility_is_zero() -> None:
    """Nothing was seen, nothing moved."""
    assert volatility(np.zeros(0), np.zeros(0)) == 0.0
