"""Volatility from the prices of bars: close-to-close, four estimators of the range, and Wilder's average true range.

All prices are of consecutive bars, oldest first, in points; all volatilities are annualised standard deviations of log
returns, as fractions (0.2 is 20 % a year): ``sqrt(periods_per_year · mean variance of a bar)`` over the last `window`
bars, NaN ("unknown") where there are fewer. A window in which no price moved has volatility 0, which is what it was.

For a geometric Brownian motion that is watched without a break:

    estimator        a drift within bars   jumps between bars   efficiency
    close to close   does not matter       counted              1
    Parkinson        makes it too high     left out             4.9
    Garman-Klass     makes it too high     left out             7.4
    Rogers-Satchell  does not matter       left out             6.0
    Yang-Zhang       does not matter       counted              up to 14 (two bars; falls with the window)

Efficiency is the variance of the squared close-to-close return over that of the estimate of one bar's variance, without
drift or jumps: the figures of the papers, but for Parkinson's, whose 5.2 is 2 / (9ζ(3) / (4 ln 2)² − 1) = 4.9.

Bars of few trades miss their true extremes, and every estimator from the range is then too low; none corrects for it.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter

from trisagion.market.types import Float64Array

_PARKINSON: Final = 1.0 / (4.0 * math.log(2.0))
_GARMAN_KLASS: Final = 2.0 * math.log(2.0) - 1.0
_YANG_ZHANG: Final = 0.34
"""Yang & Zhang's α − 1, with the α = 1.34 that they recommend."""

_BLOCK: Final = 4096
"""Windows summed at a time, so that memory does not grow with the series times the window."""


def close_to_close(close: Float64Array, window: int, periods_per_year: float) -> Float64Array:
    """Return the sample standard deviation (divisor window − 1) of the last log returns, annualised.

    Parameters
    ----------
    close : float64, shape (n,)
        Positive closes.
    window : int
        Returns, at least 2.
    periods_per_year : float
        Bars in a year, positive: 252 for daily bars of a stock, 525 600 for minutes around the clock.

    Returns
    -------
    float64, shape (n,)
        Known from index `window` on.

    Raises
    ------
    ValueError
        For prices that are not positive and finite, or arguments out of range.
    """
    _check(window, 2, periods_per_year, close=close)
    return _annualised(_rolling(_variance, np.diff(np.log(close)), window, len(close)), periods_per_year)


def parkinson(high: Float64Array, low: Float64Array, window: int, periods_per_year: float) -> Float64Array:
    """Return Parkinson's estimate: a bar's variance is ``ln(H/L)² / (4 ln 2)``.

    Parameters
    ----------
    high, low : float64, shape (n,)
        Positive, `low` nowhere above `high`.
    window : int
        Bars, at least 1.
    periods_per_year : float
        Bars in a year, positive.

    Returns
    -------
    float64, shape (n,)
        Known from index `window` − 1 on.

    Raises
    ------
    ValueError
        For prices or arguments that cannot be.

    Notes
    -----
    Parkinson, "The extreme value method for estimating the variance of the rate of return", J. Business 53 (1980).
    """
    _check(window, 1, periods_per_year, low=low, high=high)
    _check_order(("low", low), ("high", high))
    variance = _PARKINSON * np.log(np.divide(high, low)) ** 2
    return _annualised(_rolling(_mean, variance, window, len(variance)), periods_per_year)


def garman_klass(
    open_: Float64Array,
    high: Float64Array,
    low: Float64Array,
    close: Float64Array,
    window: int,
    periods_per_year: float,
) -> Float64Array:
    """Return Garman & Klass' estimate: a bar's variance is ``½ ln(H/L)² − (2 ln 2 − 1) ln(C/O)²``.

    Parameters
    ----------
    open_, high, low, close : float64, shape (n,)
        Positive, with ``low <= open, close <= high``.
    window : int
        Bars, at least 1.
    periods_per_year : float
        Bars in a year, positive.

    Returns
    -------
    float64, shape (n,)
        Known from index `window` − 1 on.

    Raises
    ------
    ValueError
        For prices or arguments that cannot be.

    Notes
    -----
    Garman & Klass, "On the estimation of security price volatilities from historical data", J. Business 53 (1980): the
    one they call practical, which lacks the cross products of their best one and very little of its efficiency. We
    leave out their term for the jump at the opening.
    """
    _check_bars(open_, high, low, close, window, 1, periods_per_year)
    variance = 0.5 * np.log(np.divide(high, low)) ** 2 - _GARMAN_KLASS * np.log(np.divide(close, open_)) ** 2
    return _annualised(_rolling(_mean, variance, window, len(variance)), periods_per_year)


def rogers_satchell(
    open_: Float64Array,
    high: Float64Array,
    low: Float64Array,
    close: Float64Array,
    window: int,
    periods_per_year: float,
) -> Float64Array:
    """Return Rogers & Satchell's estimate: a bar's variance is ``ln(H/C)·ln(H/O) + ln(L/C)·ln(L/O)``.

    Parameters, result and errors are those of `garman_klass`.

    Notes
    -----
    Rogers & Satchell, "Estimating variance from high, low and closing prices", Annals of Applied Probability 1 (1991).
    We leave out their correction for the extremes that a finite number of trades misses.
    """
    _check_bars(open_, high, low, close, window, 1, periods_per_year)
    variance = _rogers_satchell(open_, high, low, close)
    return _annualised(_rolling(_mean, variance, window, len(variance)), periods_per_year)


def yang_zhang(
    open_: Float64Array,
    high: Float64Array,
    low: Float64Array,
    close: Float64Array,
    window: int,
    periods_per_year: float,
) -> Float64Array:
    """Return Yang & Zhang's estimate: ``V_open + k·V_close + (1 − k)·V_RS``.

    Parameters
    ----------
    open_, high, low, close : float64, shape (n,)
        Positive, with ``low <= open, close <= high``.
    window : int
        Bars, at least 2.
    periods_per_year : float
        Bars in a year, positive.

    Returns
    -------
    float64, shape (n,)
        Known from index `window` on: the first bar's jump is from a close that we do not have.

    Raises
    ------
    ValueError
        For prices or arguments that cannot be.

    Notes
    -----
    Yang & Zhang, "Drift-independent volatility estimation based on high, low, open, and close prices", J. Business 73
    (2000). With m = `window`, V_open is the sample variance (divisor m − 1) of the jumps ``ln(O_t / C_{t−1})``, V_close
    that of ``ln(C_t / O_t)``, V_RS the mean of Rogers & Satchell's, and ``k = 0.34 / (1.34 + (m + 1)/(m − 1))``.
    """
    _check_bars(open_, high, low, close, window, 2, periods_per_year)
    n = len(np.asarray(close))
    k = _YANG_ZHANG / (1.0 + _YANG_ZHANG + (window + 1.0) / (window - 1.0))
    log_open, log_close = np.log(open_), np.log(close)
    jumps = _rolling(_variance, log_open[1:] - log_close[:-1], window, n)
    bodies = _rolling(_variance, (log_close - log_open)[1:], window, n)
    ranges = _rolling(_mean, _rogers_satchell(open_, high, low, close)[1:], window, n)
    return _annualised(jumps + k * bodies + (1.0 - k) * ranges, periods_per_year)


def true_range(high: Float64Array, low: Float64Array, close: Float64Array) -> Float64Array:
    """Return Wilder's true range: ``max(H, C_before) − min(L, C_before)``, in points.

    Parameters
    ----------
    high, low, close : float64, shape (n,)
        Positive, with ``low <= close <= high``.

    Returns
    -------
    float64, shape (n,)
        NaN for the first bar, whose close before is unknown.

    Raises
    ------
    ValueError
        For prices that cannot be.
    """
    _check(1, 1, 1.0, low=low, close=close, high=high)
    _check_order(("low", low), ("close", close))
    _check_order(("close", close), ("high", high))
    found = np.full(len(np.asarray(close)), np.nan)
    before = np.asarray(close, dtype=np.float64)[:-1]
    found[1:] = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    return found


def atr_percent(high: Float64Array, low: Float64Array, close: Float64Array, window: int) -> Float64Array:
    """Return Wilder's average true range over the bar's close, in percent.

    Parameters
    ----------
    high, low, close : float64, shape (n,)
        Positive, with ``low <= close <= high``.
    window : int
        Bars, at least 1; Wilder's is 14.

    Returns
    -------
    float64, shape (n,)
        Known from index `window` on.

    Raises
    ------
    ValueError
        For prices that cannot be, or a window out of range.

    Notes
    -----
    Wilder, "New Concepts in Technical Trading Systems" (1978): the first average is the plain mean of
    `window` true ranges, each later one ``((window − 1)·before + range) / window``. He measures in points; percent of
    the price makes symbols and years comparable. The first bar has no true range here, where some take high − low.
    """
    _check(window, 1, 1.0, close=close)
    ranges = true_range(high, low, close)
    average = np.full(len(ranges), np.nan)
    if len(ranges) > window:
        first = float(ranges[1 : window + 1].mean())
        keep = 1.0 - 1.0 / window
        later, _ = lfilter([1.0 / window], [1.0, -keep], ranges[window + 1 :], zi=[keep * first])
        average[window], average[window + 1 :] = first, later
    return 100.0 * average / np.asarray(close, dtype=np.float64)


def _rogers_satchell(open_: Float64Array, high: Float64Array, low: Float64Array, close: Float64Array) -> Float64Array:
    o, c = np.log(open_), np.log(close)
    up, down = np.log(high), np.log(low)
    variance: Float64Array = (up - c) * (up - o) + (down - c) * (down - o)
    return variance


def _mean(windows: Float64Array) -> Float64Array:
    return np.asarray(windows.mean(axis=1))


def _variance(windows: Float64Array) -> Float64Array:
    return np.asarray(windows.var(axis=1, ddof=1))


def _rolling(
    statistic: Callable[[Float64Array], Float64Array], values: Float64Array, window: int, count: int
) -> Float64Array:
    """Return a statistic of each window of values, at its end, behind as many NaN as make `count` in all.

    Each window is summed afresh: running sums would carry the rounding of a violent day into the quiet ones after it.
    """
    found = np.full(count, np.nan)
    if len(values) >= window:
        windows = sliding_window_view(values, window)
        place = count - len(windows)
        for begin in range(0, len(windows), _BLOCK):
            block = windows[begin : begin + _BLOCK]
            found[place + begin : place + begin + len(block)] = statistic(block)
    return found


def _annualised(variance: Float64Array, periods_per_year: float) -> Float64Array:
    # Rogers and Satchell's products of equal prices may round to just below zero.
    return np.asarray(np.sqrt(periods_per_year * np.maximum(variance, 0.0)))


def _check(window: int, window_min: int, periods_per_year: float, **prices: Float64Array) -> None:
    """Raise `ValueError` unless arguments and prices, one by one, can be used."""
    if window < window_min:
        raise ValueError(f"window: expected at least {window_min}, found {window}")
    if not (math.isfinite(periods_per_year) and periods_per_year > 0.0):
        raise ValueError(f"periods_per_year: expected a positive finite number, found {periods_per_year}")
    shapes = {name: np.asarray(column).shape for name, column in prices.items()}
    if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
        raise ValueError(f"prices: expected one shape (n,), found {shapes}")
    for name, column in prices.items():
        found = np.asarray(column)
        if found.dtype.kind not in "fiu":
            raise ValueError(f"{name}: expected real numbers, found dtype {found.dtype}")
        bad = ~((found > 0.0) & np.isfinite(found))
        if bad.any():
            at = int(bad.argmax())
            raise ValueError(f"{name}: expected positive finite prices, found {found[at]} at index {at}")


def _check_order(lesser: tuple[str, Float64Array], greater: tuple[str, Float64Array]) -> None:
    """Raise `ValueError` where the one is above the other."""
    wrong = np.greater(lesser[1], greater[1])
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"prices: expected {lesser[0]} <= {greater[0]}, found {lesser[1][at]} > {greater[1][at]} at index {at}"
        )


def _check_bars(
    open_: Float64Array,
    high: Float64Array,
    low: Float64Array,
    close: Float64Array,
    window: int,
    window_min: int,
    periods_per_year: float,
) -> None:
    _check(window, window_min, periods_per_year, low=low, open=open_, close=close, high=high)
    for name, body in (("open", open_), ("close", close)):
        _check_order(("low", low), (name, body))
        _check_order((name, body), ("high", high))
