"""Change points by PELT in plain Python: the truth that the compiled twin must repeat.

The problem: cut x[0:n] into segments of at least m points so that the sum of their costs, plus a penalty β for each
cut, is least. With F(0) = −β,

    F(t) = min over s of  F(s) + C(s, t) + β,        s = 0 or s >= m,  t − s >= m,

and the last cut before t is the s that attains it: optimal partitioning (Jackson et al. 2005), O(n²). PELT (Killick,
Fearnhead & Eckley 2012) finds the same minimum, but forgets an s as soon as it can never be the last cut again. If
C(s, t) + C(t, T) + K <= C(s, T) for all s < t < T, then

    F(s) + C(s, t) + K >= F(t)                                                                       (paper, eq. 4)

says that for every T at which a cut at t is allowed, cutting at t is no worse than cutting at s. With a least length m
a cut at t is allowed from T = t + m on, and not before: a start is forgotten m steps after eq. 4 first held, which the
paper, having m = 1, need not say. Forgetting at once is quicker and not exact.

Both twins do the same operations in the same order with the same libm logarithm. They agree to the last bit where the
C library is the same.

A segment's moments are not differences of cumulative sums. Each start carries the running mean and sum of squares of
what followed it (Welford 1962), at the same price, so that an offset of the series, or a jump far larger than the
noise, costs no digits.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MEAN: Final = 0
MEAN_MBIC: Final = 1
MEAN_VARIANCE: Final = 2

RANGE_MAX: Final = 1e150
"""Of the series, highest less lowest: the square of anything larger is no float64."""

NEVER: Final = np.iinfo(np.int64).max

COUNT: Final = 0
AVERAGE: Final = 1
SQUARES: Final = 2
BASE: Final = 3
VALUE: Final = 4
"""Rows of `PeltState.segments`."""


@dataclass(slots=True)
class PeltState:
    """A search in progress: the problem, what is known up to `t`, and the starts that are still in the race.

    Attributes
    ----------
    x : float64, shape (n,)
        The series.
    cost : int
        `MEAN`, `MEAN_MBIC` or `MEAN_VARIANCE`; see `pelt_begin`.
    penalty : float
        β, for each cut.
    min_size : int
        m, the least length of a segment.
    variance_min : float
        The least variance of `MEAN_VARIANCE`.
    t : int
        F is known up to here; the search is over when ``t == n``.
    best : float64, shape (n + 1,)
        F(0) … F(t); infinity where no segmentation exists.
    previous : int64, shape (n + 1,)
        The last cut of the best segmentation of x[0:t], or 0; −1 where none exists.
    active : int
        The number of starts in the race; they fill the first columns of the arrays below, in rising order.
    starts, forget_at : int64, shape (n + 1,)
        The starts, and the first T at which each is forgotten.
    segments : float64, shape (5, n + 1)
        Of x[s:t] for each start s: count, mean, sum of squared deviations, F(s), and F(s) + C(s, t).
    """

    x: NDArray[np.float64]
    cost: int
    penalty: float
    min_size: int
    variance_min: float
    t: int
    best: NDArray[np.float64]
    previous: NDArray[np.int64]
    active: int
    starts: NDArray[np.int64]
    forget_at: NDArray[np.int64]
    segments: NDArray[np.float64]


def pelt_begin(
    x: NDArray[np.float64], cost: int, penalty: float, min_size: int, variance_min: float = 0.0
) -> PeltState:
    """Set a search up.

    Parameters
    ----------
    x : float64, shape (n,)
        The series, finite, its range below 1e150.
    cost : int
        Of a segment of k points with mean a and sum of squared deviations S:

        - `MEAN`: ``S``, minus twice the log-likelihood of a normal with variance 1, up to a constant;
        - `MEAN_MBIC`: ``S + log(k/n)``, the part of Zhang & Siegmund's modified BIC that depends on lengths;
        - `MEAN_VARIANCE`: ``k·log(2πv) + S/v`` with ``v = max(S/k, variance_min)``: minus twice the log-likelihood,
          maximised over all variances that are not below the least one.
    penalty : float
        β for each cut, not negative.
    min_size : int
        m, from 1 (2 with `MEAN_VARIANCE`) to n.
    variance_min : float
        In the square of x's unit; positive with `MEAN_VARIANCE`, where a constant segment would else cost −∞.

    Returns
    -------
    PeltState
        For `pelt_advance`.

    Raises
    ------
    ValueError
        For anything else than the above.
    """
    series = np.array(x, dtype=np.float64, order="C")
    n = check(series, cost, penalty, min_size, variance_min)
    best = np.full(n + 1, math.inf)
    best[0] = -penalty
    return PeltState(
        x=series,
        cost=cost,
        penalty=float(penalty),
        min_size=min_size,
        variance_min=float(variance_min),
        t=0,
        best=best,
        previous=np.full(n + 1, -1, dtype=np.int64),
        active=0,
        starts=np.zeros(n + 1, dtype=np.int64),
        forget_at=np.zeros(n + 1, dtype=np.int64),
        segments=np.zeros((5, n + 1)),
    )


def pelt_advance(state: PeltState, evaluations_max: int) -> bool:
    """Carry a search on, and tell whether it is over.

    Parameters
    ----------
    state : PeltState
        From `pelt_begin`; changed in place.
    evaluations_max : int
        Return once this many segment costs were computed, at the next whole t: at most n more. Without a change a
        search costs n²/2 of them, and its caller wants to be asked now and then whether it is still wanted.

    Returns
    -------
    bool
        ``state.t == n``: `best` and `previous` are complete.

    Raises
    ------
    ValueError
        For a bound below 1.

    Notes
    -----
    Killick, Fearnhead & Eckley, "Optimal detection of changepoints with a linear computational cost", J. Am. Stat.
    Assoc. 107, 1590-1598 (2012). K is 0 for `MEAN` and `MEAN_VARIANCE` (a minimum over parameters never rises when a
    segment is split) and ``log 4`` for `MEAN_MBIC`, the least value of ``log(n/a + n/b)`` for ``a + b <= n``. Among
    equal minima the earliest start is taken. We differ in that the least length delays the pruning; see the module.
    """
    if evaluations_max < 1:
        raise ValueError(f"evaluations_max: expected at least 1, found {evaluations_max}")
    n = len(state.x)
    slack = math.log(4.0) if state.cost == MEAN_MBIC else 0.0
    evaluations = 0
    while state.t < n and evaluations < evaluations_max:
        state.t += 1
        _enter(state)
        _see(state, float(state.x[state.t - 1]))
        _decide(state)
        evaluations += state.active
        _forget(state, slack)
    return state.t == n


def check(x: NDArray[np.float64], cost: int, penalty: float, min_size: int, variance_min: float) -> int:
    """Raise `ValueError` unless the arguments are what `pelt_begin` asks for; return the length of the series."""
    if x.ndim != 1:
        raise ValueError(f"x: expected one dimension, found {x.ndim}")
    if cost not in (MEAN, MEAN_MBIC, MEAN_VARIANCE):
        raise ValueError(f"cost: expected 0, 1 or 2, found {cost}")
    least = 2 if cost == MEAN_VARIANCE else 1
    if not least <= min_size <= len(x):
        raise ValueError(f"min_size: expected {least} to the length of the series, {len(x)}, found {min_size}")
    if not np.isfinite(x).all():
        raise ValueError("x: expected finite values")
    if not x.max() / 2 - x.min() / 2 < RANGE_MAX / 2:
        raise ValueError(f"x: expected a range below {RANGE_MAX:g}")
    if not 0.0 <= penalty < math.inf:
        raise ValueError(f"penalty: expected a finite number of at least 0, found {penalty}")
    if not 0.0 <= variance_min < math.inf or (cost == MEAN_VARIANCE and variance_min == 0.0):
        raise ValueError(f"variance_min: expected a positive finite number, found {variance_min}")
    return len(x)


def _enter(state: PeltState) -> None:
    """Let the newest point but one into the race, if x[0:s] can be cut at all."""
    s = state.t - 1
    if state.best[s] < math.inf:
        i = state.active
        state.starts[i] = s
        state.forget_at[i] = NEVER
        state.segments[:, i] = 0.0
        state.segments[BASE, i] = state.best[s]
        state.active += 1


def _see(state: PeltState, x: float) -> None:
    """Add the newest point to the moments of every segment."""
    for i in range(state.active):
        segment = state.segments[:, i]
        away = x - segment[AVERAGE]
        segment[COUNT] += 1.0
        segment[AVERAGE] += away / segment[COUNT]
        segment[SQUARES] += away * (x - segment[AVERAGE])


def _decide(state: PeltState) -> None:
    """Find F(t) and its last cut among the starts that are far enough back."""
    lowest = math.inf
    for i in range(state.active):
        if state.t - state.starts[i] < state.min_size:
            break
        value = float(state.segments[BASE, i]) + _cost(state, i)
        state.segments[VALUE, i] = value
        if value < lowest:
            lowest = value
            state.previous[state.t] = state.starts[i]
    state.best[state.t] = lowest + state.penalty


def _cost(state: PeltState, i: int) -> float:
    count, squares = float(state.segments[COUNT, i]), float(state.segments[SQUARES, i])
    if state.cost == MEAN:
        return squares
    if state.cost == MEAN_MBIC:
        return squares + math.log(count / len(state.x))
    variance = max(squares / count, state.variance_min)
    return count * math.log(2.0 * math.pi * variance) + squares / variance


def _forget(state: PeltState, slack: float) -> None:
    """Mark the starts that eq. 4 rules out, and close the ranks of those that may still be the last cut at t + 1."""
    kept = 0
    for i in range(state.active):
        if (
            state.t - state.starts[i] >= state.min_size
            and state.segments[VALUE, i] + slack >= state.best[state.t]
            and state.forget_at[i] == NEVER
        ):
            state.forget_at[i] = state.t + state.min_size
        if state.forget_at[i] > state.t + 1:
            state.starts[kept] = state.starts[i]
            state.forget_at[kept] = state.forget_at[i]
            state.segments[:, kept] = state.segments[:, i]
            kept += 1
    state.active = kept
