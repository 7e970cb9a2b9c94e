"""Market weight and volatility of one symbol, from closed one-minute bars (domain, section 2)."""

from typing import Final

import numpy as np

from trisagion.clock import MINUTE_NS
from trisagion.market.types import Float64Array

WEIGHT_BARS: Final = 30
WEIGHT_WINDOW_NS: Final = WEIGHT_BARS * MINUTE_NS
DEAD_BAND: Final = 1e-4
"""A change of at most 0.01 % of the window's mean close is no change."""

VOLATILITY_BARS: Final = 61
VOLATILITY_HISTORY: Final = 2 * VOLATILITY_BARS - 1
"""Bars that the volatility reads: 61 windows of 61 bars, the oldest of which ends 60 bars back."""


def market_weight(closes: Float64Array) -> float:
    """Return the market weight of a symbol.

    Parameters
    ----------
    closes : float64, shape (n,)
        Closes in points, oldest first; the caller passes those of the last 30 minutes, of which at most the last 30
        count.

    Returns
    -------
    float
        In [−1, 1]: the mean of ``sign(close[i] − close[i−1])``, where a change of at most 0.01 % of the mean close
        counts 0. With fewer closes than 30 the mean is over what there is; with fewer than two it is 0.0, which means
        "no signal".
    """
    window = np.asarray(closes, dtype=np.float64)[-WEIGHT_BARS:]
    if len(window) < 2:
        return 0.0
    change = np.diff(window)
    moved = np.abs(change) > DEAD_BAND * window.mean()
    return float(np.where(moved, np.sign(change), 0.0).mean())


def volatility(highs: Float64Array, lows: Float64Array) -> float:
    """Return the volatility of a symbol.

    Parameters
    ----------
    highs, lows : float64, shape (n,)
        Highs and lows in points of consecutive one-minute bars, oldest first; at most the last 121 count.

    Returns
    -------
    float
        In points: the mean, over the last 61 bars, of (max high − min low) of the 61 bars ending there. With fewer than
        121 bars the oldest windows are as long as the history allows; with fewer than 61 the mean is over the bars
        there are; without any it is 0.0.
    """
    if len(highs) == 0:
        return 0.0
    gap = np.full(VOLATILITY_BARS - 1, np.nan)
    high = np.concatenate([gap, highs[-VOLATILITY_HISTORY:]])
    low = np.concatenate([gap, lows[-VOLATILITY_HISTORY:]])
    tops = np.fmax.reduce(np.lib.stride_tricks.sliding_window_view(high, VOLATILITY_BARS), axis=1)
    bottoms = np.fmin.reduce(np.lib.stride_tricks.sliding_window_view(low, VOLATILITY_BARS), axis=1)
    return float((tops - bottoms)[-VOLATILITY_BARS:].mean())
