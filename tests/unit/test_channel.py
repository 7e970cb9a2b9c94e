"""Donchian channels and z-scores against their definitions, computed in exact fractions."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trisagion.features.channel import LENGTHS, bands, donchian, z_scores

PERIODS = range(10, 61)


def exact_bands(closes: Sequence[float], length: int) -> tuple[float, float]:
    """Return mean and population deviation of the last closes, by the words of their definition."""
    window = [Fraction(close) for close in closes[-length:]]
    mean = sum(window, Fraction(0)) / length
    variance = sum(((close - mean) ** 2 for close in window), Fraction(0)) / length
    return float(mean), math.sqrt(variance)


def path(bars: int, level: float = 1600.0, tick: float = 0.25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return highs, lows and closes of a random walk in ticks."""
    rng = np.random.default_rng(bars)
    closes = level + tick * np.cumsum(rng.integers(-3, 4, bars))
    return closes + tick * rng.integers(0, 4, bars), closes - tick * rng.integers(0, 4, bars), closes


@pytest.mark.parametrize("bars", [0, 1, 9, 10, 11, 59, 60, 61, 122])
def test_the_channel_is_the_highest_high_and_the_lowest_low(bars: int) -> None:
    """Of as many of the last bars as the column says; unknown where there are fewer."""
    highs, lows, _ = path(bars)
    high, low = donchian(highs, lows)
    assert high.shape == low.shape == (LENGTHS,)
    for periods, top, bottom in zip(PERIODS, high.tolist(), low.tolist(), strict=True):
        if bars < periods:
            assert math.isnan(top)
            assert math.isnan(bottom)
        else:
            assert top == max(highs[-periods:].tolist())
            assert bottom == min(lows[-periods:].tolist())


@pytest.mark.parametrize("bars", [0, 1, 9, 10, 11, 59, 60, 61, 122])
@pytest.mark.parametrize(("level", "tick"), [(1600.0, 0.25), (1e7, 0.01), (0.0008, 1e-7)])
def test_the_bands_are_mean_and_population_deviation(bars: int, level: float, tick: float) -> None:
    """Within 1e-12 of the exact value, however small the moves are beside the level of the prices."""
    _, _, closes = path(bars, level, tick)
    mean, deviation = bands(closes)
    assert mean.shape == deviation.shape == (LENGTHS,)
    for periods, middle, width in zip(PERIODS, mean.tolist(), deviation.tolist(), strict=True):
        if bars < periods:
            assert math.isnan(middle)
            assert math.isnan(width)
        else:
            assert (middle, width) == pytest.approx(exact_bands(closes.tolist(), periods), rel=1e-12)


def test_one_move_long_ago_counts_in_the_windows_that_hold_it() -> None:
    """After a single move and many equal closes the longer windows have a deviation, the shorter ones none."""
    closes = np.array([1e6] * 30 + [1e6 + 1e-6] * 20)
    _, deviation = bands(closes)
    for periods, width in zip(PERIODS, deviation.tolist(), strict=True):
        if 20 < periods <= 50:
            assert width == pytest.approx(exact_bands(closes.tolist(), periods)[1], rel=1e-12)
        else:
            assert math.isnan(width)


@pytest.mark.parametrize("close", [0.1, 1600.25, 1e15])
def test_equal_closes_have_no_deviation(close: float) -> None:
    """Nothing moved: no z-score, rather than one made of rounding errors."""
    mean, deviation = bands(np.full(60, close))
    assert mean.tolist() == [close] * LENGTHS
    assert np.isnan(deviation).all()
    assert np.isnan(z_scores(np.array([close + 1.0]), mean[None, :], deviation[None, :])).all()


@given(st.lists(st.integers(1, 100_000), min_size=10, max_size=70), st.integers(1, 100_000))
@example([4] * 9 + [5], 100_000)
def test_a_z_score_is_the_distance_in_deviations(ticks: list[int], price: int) -> None:
    """Of each tick's price from the mean, for any closes."""
    closes = np.array(ticks) / 4
    mean, deviation = bands(closes)
    z = z_scores(np.array([price / 4, closes[-1]]), np.array([mean] * 2), np.array([deviation] * 2))
    for row, value in enumerate((price / 4, float(closes[-1]))):
        for periods in range(10, 61):
            found = float(z[row, periods - 10])
            if len(closes) < periods or len(set(ticks[-periods:])) == 1:
                assert math.isnan(found)
                continue
            middle, width = exact_bands(closes.tolist(), periods)
            assert found == pytest.approx((value - middle) / width, rel=1e-9, abs=1e-9)


def test_older_bars_than_the_longest_window_leave_no_trace() -> None:
    """The last 60 bars decide, to the bit."""
    highs, lows, closes = path(60)
    older = np.array([1e6, 1.0])
    for longer, plain in zip(
        (*donchian(np.append(older, highs), np.append(older, lows)), *bands(np.append(older, closes))),
        (*donchian(highs, lows), *bands(closes)),
        strict=True,
    ):
        assert longer.tobytes() == plain.tobytes()
