"""Permutation entropy in plain Python: the truth that the compiled twin must repeat.

Both twins sum the patterns in the same order (lexicographic by ranks) with the same libm logarithm, so that they agree
to the last bit where the C library is the same, and to 1e-12 anywhere. Over moving windows the compiled twin updates
where this one computes anew; they agree to 1e-12.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDER_MIN: Final = 2
ORDER_MAX: Final = 7
"""Bandt & Pompe recommend orders 3 to 7: 7! = 5040 patterns already want series of many thousand samples."""

WINDOW_MAX: Final = 2**24
"""The longest moving window, in samples: the compiled twin keeps a table with an entry for each possible count."""

WEIGHTED_MAX: Final = 1e150
"""The largest magnitude of a sample in a weighted entropy: sums of squares of many millions of them stay finite."""

MINUTE_NS: Final = 60_000_000_000
WINDOWS: Final = 15
"""The grid's windows are 1 … 15 minutes: the range of a run's `entropy_window_min` (domain, section 3)."""
ORDERS: Final = (3, 4, 5)
DELAYS: Final = (1, 2, 3)


def permutation_entropy(
    x: NDArray[np.float64],
    order: int,
    delay: int,
    base: float = math.e,
    normalised: bool = True,
    weighted: bool = False,
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
    weighted : bool
        Let each pattern weigh as much as the population variance of its d samples, instead of 1.

    Returns
    -------
    float
        ``H = −Σ p_i log p_i`` over the ordinal patterns seen, p_i the share of pattern i in the weights of all.
        NaN ("unknown") when the series is shorter than one pattern, (d − 1)·τ + 1 samples, or holds a NaN; weighted
        also when a magnitude is above 1e150 or infinite, and when nothing moves, so that all weights are 0.

    Raises
    ------
    ValueError
        For an order, delay or base out of range, or a series that is not one-dimensional and of real numbers.

    Notes
    -----
    Bandt & Pompe, "Permutation entropy: a natural complexity measure for time series", Phys. Rev. Lett. 88, 174102
    (2002). We differ in one point: they assume that equal values do not occur; here ties are ranked by order of
    appearance. Weights: Fadlallah, Chen, Keil & Príncipe, "Weighted-permutation entropy", Phys. Rev. E 87, 022911
    (2013), equations 3 and 4.
    """
    check(order, delay, base)
    series = series_of(x, 1)
    if not (np.abs(series) <= (WEIGHTED_MAX if weighted else math.inf)).all():
        return math.nan
    scale = math.log(math.factorial(order)) if normalised else math.log(base)
    return _entropy(_patterns(series, order, delay, weighted), scale)


def permutation_entropy_batch(
    x: NDArray[np.float64],
    order: int,
    delay: int,
    base: float = math.e,
    normalised: bool = True,
    weighted: bool = False,
) -> NDArray[np.float64]:
    """Return the permutation entropy of each of m series of one length.

    Parameters
    ----------
    x : float64, shape (m, n)
        A series a row. The other parameters are those of `permutation_entropy`.

    Returns
    -------
    float64, shape (m,)
        What `permutation_entropy` gives for each row.

    Raises
    ------
    ValueError
        As `permutation_entropy`, and for an array that is not two-dimensional.
    """
    check(order, delay, base)
    return np.array(
        [permutation_entropy(row, order, delay, base, normalised, weighted) for row in series_of(x, 2)],
        dtype=np.float64,
    )


def rolling_permutation_entropy(
    x: NDArray[np.float64],
    window: int,
    order: int,
    delay: int,
    base: float = math.e,
    normalised: bool = True,
    weighted: bool = False,
) -> NDArray[np.float64]:
    """Return the permutation entropy of every window of a long series.

    Parameters
    ----------
    x : float64, shape (n,)
        The series.
    window : int
        Samples in a window: at least one pattern, (d − 1)·τ + 1, at most 2²⁴. The other parameters are those of
        `permutation_entropy`.

    Returns
    -------
    float64, shape (n,)
        Element i is the entropy of the window that ends with sample i, hence known with that sample; NaN for the first
        window − 1, and wherever `permutation_entropy` is NaN for the window.

    Raises
    ------
    ValueError
        As `permutation_entropy`, and for a window out of range.

    See Also
    --------
    RollingPermutationEntropy : the same, for samples that arrive one by one.
    """
    return RollingPermutationEntropy(window, order, delay, base, normalised, weighted).extend(x)


class RollingPermutationEntropy:
    """The permutation entropy of the last `window` samples of a stream.

    The parameters are those of `rolling_permutation_entropy`, and so are the values, however the stream is cut. The
    compiled twin does the same work for each sample, whatever the window: its own notes say how.
    """

    def __init__(
        self,
        window: int,
        order: int,
        delay: int,
        base: float = math.e,
        normalised: bool = True,
        weighted: bool = False,
    ) -> None:
        check(order, delay, base)
        check_window(window, order, delay)
        self._arguments = (order, delay, base, normalised, weighted)
        self._last: deque[float] = deque(maxlen=window)

    def update(self, value: float) -> float:
        """Take in one sample; return the entropy of the window that it ends, NaN before there is a whole one."""
        self._last.append(value)
        if len(self._last) < (self._last.maxlen or 0):
            return math.nan
        return permutation_entropy(np.array(self._last, dtype=np.float64), *self._arguments)

    def extend(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take in samples, shape (n,); return what `update` gives after each, shape (n,)."""
        return np.array([self.update(value) for value in series_of(x, 1).tolist()], dtype=np.float64)


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
    if not 1 < base < math.inf:
        raise ValueError(f"base: expected above 1 and finite, found {base}")


def check_window(window: int, order: int, delay: int) -> None:
    """Raise `ValueError` unless a window holds a pattern and is not too long for the table of the compiled twin."""
    least = (order - 1) * delay + 1
    if not least <= window <= WINDOW_MAX:
        raise ValueError(f"window: expected {least} to {WINDOW_MAX} samples, found {window}")


def series_of(x: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """Return float64 samples in C order; `ValueError` unless they are real numbers in so many dimensions."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"x: expected real numbers, found {array.dtype}")
    if array.ndim != dimensions:
        raise ValueError(f"x: expected {dimensions} dimension(s), found shape {array.shape}")
    return np.ascontiguousarray(array, dtype=np.float64)


def _patterns(series: NDArray[np.float64], order: int, delay: int, weighted: bool) -> Sequence[float]:
    """Add up the weights of each ordinal pattern of a series, in lexicographic order of the patterns' ranks."""
    weights: dict[tuple[int, ...], float] = {}
    for start in range(len(series) - (order - 1) * delay):
        window = series[start : start + (order - 1) * delay + 1 : delay]
        # A stable sort ranks ties by order of appearance; the inverse of a sorting permutation is the tuple of ranks.
        ranks = tuple(np.argsort(np.argsort(window, kind="stable"), kind="stable").tolist())
        weights[ranks] = weights.get(ranks, 0) + (_variance(window.tolist()) if weighted else 1)
    return [weights[ranks] for ranks in sorted(weights)]


def _variance(samples: list[float]) -> float:
    mean = sum(samples) / len(samples)
    return sum((sample - mean) * (sample - mean) for sample in samples) / len(samples)


def _entropy(weights: Sequence[float], scale: float) -> float:
    total = sum(weights)
    if total == 0:
        return math.nan
    nats = 0.0
    for weight in weights:
        share = weight / total
        # A weight may be so small that its share is 0; the limit of p log p is 0.
        if share > 0.0:
            nats -= share * math.log(share)
    return nats / scale
