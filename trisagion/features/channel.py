"""Donchian channels and z-scores of one symbol over its last closed one-minute bars (domain, section 3, step 5).

All window lengths from 10 to 60 bars are computed at once: one call serves every run. Bars count, not minutes: a window
reaches back over a halt.
"""

from typing import Final

import numpy as np

from ext.cohort import PERIODS_MAX, PERIODS_MIN
from trisagion.market.types import Float64Array

LENGTHS: Final = PERIODS_MAX - PERIODS_MIN + 1
"""Column c of every array is the window of the last c + 10 bars; NaN where there are fewer bars than that."""

_BARS: Final = np.arange(1.0, PERIODS_MAX + 1)


def donchian(highs: Float64Array, lows: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the Donchian channels: the highest high and the lowest low of the last 10 … 60 bars.

    Parameters
    ----------
    highs, lows : float64, shape (n,)
        In points, of consecutive bars, oldest first; at most the last 60 count.

    Returns
    -------
    float64, shape (51,), twice
        Upper and lower bounds in points.

    Notes
    -----
    Source: Donchian's four-week rule, which buys above the highest high of the last four weeks and sells below their
    lowest low. We differ in the bars, minutes for days, and in the price held against the channel: his is the day's in
    progress, ours is that of a live tick. A tick sees only bars that closed by then, so that it cannot move the bounds
    that it has to break; one at the very close of its bar has that bar in the channel, and breaks nothing.
    """
    return (
        _known(np.maximum.accumulate(highs[: -PERIODS_MAX - 1 : -1])),
        _known(np.minimum.accumulate(lows[: -PERIODS_MAX - 1 : -1])),
    )


def bands(closes: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the mean and the standard deviation of the last 10 … 60 closes.

    Parameters
    ----------
    closes : float64, shape (n,)
        In points, of consecutive bars, oldest first; at most the last 60 count.

    Returns
    -------
    mean : float64, shape (51,)
        In points.
    deviation : float64, shape (51,)
        In points, of the population (divisor N); NaN, not 0, where all closes are equal.

    Notes
    -----
    One pass of cumulative sums serves all lengths. Sums are of differences d to the newest close: that close is in
    every window, with d = 0, so that Σd²/N ≤ N·variance and the subtraction below loses less than two digits of 16,
    whatever the level of the prices. Equal closes give exactly 0.
    """
    newest_first = closes[: -PERIODS_MAX - 1 : -1]
    moved = newest_first - newest_first[:1]
    count = _BARS[: len(moved)]
    mean = np.cumsum(moved) / count
    variance = np.cumsum(moved * moved) / count - mean * mean
    variance[variance <= 0.0] = np.nan
    return _known(newest_first[:1] + mean), _known(np.sqrt(variance))


def z_scores(price: Float64Array, mean: Float64Array, deviation: Float64Array) -> Float64Array:
    """Return how many standard deviations prices lie above the mean.

    Parameters
    ----------
    price : float64, shape (n,)
        In points, one for each tick.
    mean, deviation : float64, shape (n, 51)
        What `bands` gives for the bars that each tick sees.

    Returns
    -------
    float64, shape (n, 51)
        ``(price − mean)/deviation``, NaN where either is unknown or nothing moved.

    Notes
    -----
    Source: Bollinger's bands are lines of constant z, with the deviation of the population, as here. We differ in that
    the price is that of a live tick and no member of its window, so |z| has no bound; a close among its own N prices
    cannot exceed √(N − 1).
    """
    return (price[:, None] - mean) / deviation


def _known(newest_first: Float64Array) -> Float64Array:
    """Return what belongs to windows of 10 bars and more, NaN for those that are longer than the history."""
    columns = np.full(LENGTHS, np.nan)
    known = newest_first[PERIODS_MIN - 1 :]
    columns[: len(known)] = known
    return columns
