"""Permutation entropy in plain Python: the truth that the compiled twin must repeat.

Both twins sum the patterns in the same order (lexicographic by ranks) with the same libm logarithm, so that they agree
to the last bit where the C library is the same, and to 1e-12 anywhere.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDER_MIN: Final = 2
ORDER_MAX: Final = 7
"""Bandt & Pompe recommend orders 3 to 7: 7! = 5040 patterns already want series of many thousand samples."""

MINUTE_NS: Final = 60_000_000_000
WINDOWS: Final = 15
"""The grid's windows are 1 … 15 minutes: the range of a run's `entropy_window_min` (domain, section 3)."""
ORDERS: Final = (3, 4, 5)
DELAYS: Final = (1, 2, 3)


def permutation_entropy(
    x: NDArray[np.float64], order: int, delay: int, base: float = math.e, normalised: bool = True
) -> float:
    """Return the permutation entropy of a series.

    Parameters
    ----------
    x : float64, shape (n,)
        The series, in any unit.
    order, delay : int
        Embedding dimension d (2 … 7) and time delay τ (at least 1), in samples.
    base : float
        Base of the logarithm, above 1; it cancels when normalised.
    normalised : bool
        Divide by log d!, so that the result lies in [0, 1].

    Returns
    -------
    float
        ``H = −Σ p_i log p_i`` over the ordinal patterns seen; NaN ("unknown") when the series is shorter than one
        pattern, (d − 1)·τ + 1 samples, or holds a NaN.

    Raises
    ------
    ValueError
        For an order, delay or base out of range.

    Notes
    -----
    Bandt & Pompe, "Permutation entropy: a natural complexity measure for time series", Phys. Rev. Lett. 88, 174102
    (2002). We differ in one point: they assume that equal values do not occur; here ties are ranked by order of
    appearance.
    """
    check(order, delay, base)
    series = np.asarray(x, dtype=np.float64)
    if np.isnan(series).any():
        return math.nan
    scale = math.log(math.factorial(order)) if normalised else math.log(base)
    return _entropy(_patterns(series, order, delay), scale)


def entropy_grid(
    ts_ns: NDArray[np.int64], x: NDArray[np.float64], tick_ns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the normalised permutation entropies that any run may ask for, at each of n ticks.

    Parameters
    ----------
    ts_ns : int64, shape (h,)
        Instants of the samples, never falling.
    x : float64, shape (h,)
        The samples, without NaN.
    tick_ns : int64, shape (n,)
        The ticks. A sample belongs to the window of m minutes of tick t when ``t − m·60 s < ts <= t``.

    Returns
    -------
    entropy : float64, shape (n, 15, 3, 3)
        Indexed by window in minutes − 1, order − 3, delay − 1; NaN where the window is shorter than one pattern.
    samples : int64, shape (n, 15)
        The number of samples in each window.

    Raises
    ------
    ValueError
        When lengths differ, instants fall, or a sample is NaN.
    """
    check_history(ts_ns, x)
    entropy = np.full((len(tick_ns), WINDOWS, len(ORDERS), len(DELAYS)), np.nan)
    samples = np.zeros((len(tick_ns), WINDOWS), dtype=np.int64)
    for t, now in enumerate(tick_ns):
        for m in range(WINDOWS):
            seen = x[(ts_ns > now - (m + 1) * MINUTE_NS) & (ts_ns <= now)]
            samples[t, m] = len(seen)
            for i, order in enumerate(ORDERS):
                for j, delay in enumerate(DELAYS):
                    entropy[t, m, i, j] = permutation_entropy(seen, order, delay)
    return entropy, samples


def check_history(ts_ns: NDArray[np.int64], x: NDArray[np.float64]) -> None:
    """Raise `ValueError` unless a history is what `entropy_grid` asks for."""
    if len(ts_ns) != len(x):
        raise ValueError(f"expected as many instants as samples, found {len(ts_ns)} and {len(x)}")
    if (np.diff(ts_ns) < 0).any():
        raise ValueError("expected instants that never fall")
    if np.isnan(x).any():
        raise ValueError("expected samples without NaN")


def check(order: int, delay: int, base: float) -> None:
    """Raise `ValueError` unless the arguments are what `permutation_entropy` asks for."""
    if not ORDER_MIN <= order <= ORDER_MAX:
        raise ValueError(f"order: expected {ORDER_MIN} to {ORDER_MAX}, found {order}")
    if delay < 1:
        raise ValueError(f"delay: expected at least 1, found {delay}")
    if not base > 1:
        raise ValueError(f"base: expected above 1, found {base}")


def _patterns(series: NDArray[np.float64], order: int, delay: int) -> Sequence[int]:
    """Count the ordinal patterns of a series, in lexicographic order of their ranks."""
    counts: Counter[tuple[int, ...]] = Counter()
    for start in range(len(series) - (order - 1) * delay):
        window = series[start : start + (order - 1) * delay + 1 : delay]
        # A stable sort ranks ties by order of appearance; the inverse of a sorting permutation is the tuple of ranks.
        ranks = np.argsort(np.argsort(window, kind="stable"), kind="stable")
        counts[tuple(ranks.tolist())] += 1
    return [counts[ranks] for ranks in sorted(counts)]


def _entropy(counts: Sequence[int], scale: float) -> float:
    total = sum(counts)
    if total == 0:
        return math.nan
    nats = 0.0
    for count in counts:
        share = count / total
        nats -= share * math.log(share)
    return nats / scale
