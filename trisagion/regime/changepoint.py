"""Where a series changed: the best segmentation in hindsight (PELT), and an alarm as it happens (CUSUM).

A change is the index of the first point of the new segment. The Bayesian answer, a distribution of the time since the
last change, is in `trisagion.regime.runlength`.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from ext.changepoint import MEAN, MEAN_MBIC, MEAN_VARIANCE, pelt_advance, pelt_begin
from trisagion.market.types import Float64Array, Int64Array

EVALUATIONS_MAX: Final = 4_000_000
"""Segment costs in one call of the kernel: below 0.1 s, so that a task's time limit is noticed between two calls."""

DEVIATION_MIN_SHARE: Final = 1e-3
"""Of the series' deviation: the least deviation of a segment, where the caller names none."""

RUN_LENGTH_MAX: Final = 1e9
"""Longest average run length computed: beyond it the integral equation loses its digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A series cut into k + 1 segments by k changes.

    Attributes
    ----------
    changes : int64, shape (k,)
        Rising; the index of the first point of each segment but the first.
    means, deviations : float64, shape (k + 1,)
        Of each segment, in the series' unit; the deviation is the population's (divisor N), 0 for a single point.
    cost : float
        What was minimised, less the penalties of the k changes.
    penalty : float
        β, that of one change.
    """

    changes: Int64Array
    means: Float64Array
    deviations: Float64Array
    cost: float
    penalty: float


def shifts_of_mean(
    x: Float64Array,
    penalty: Literal["bic", "mbic"] | float = "bic",
    *,
    sigma: float | None = None,
    min_size: int = 1,
) -> Segmentation:
    """Find the changes of mean in normal noise of one variance: the exact least penalised cost, by PELT.

    Parameters
    ----------
    x : float64, shape (n,)
        The series, finite.
    penalty : "bic", "mbic" or float
        For each change: ``2 log n`` (two parameters: a mean and a place); ``2 log n`` with ``log(length)`` added for
        each segment, Zhang & Siegmund's modified BIC; or a number, not negative.
    sigma : float, optional
        Deviation of the noise, in x's unit. Without it, `noise_deviation` of the series.
    min_size : int
        Least length of a segment.

    Returns
    -------
    Segmentation
        ``cost`` is ``Σ (x − mean of its segment)²/sigma²``, with "mbic" plus ``Σ log(length/n)``.

    Raises
    ------
    ValueError
        For values that are not finite, a series shorter than `min_size`, a constant one without `sigma`, or a
        parameter out of range.

    Notes
    -----
    Killick, Fearnhead & Eckley, J. Am. Stat. Assoc. 107, 1590 (2012); Zhang & Siegmund, "A modified Bayes information
    criterion …", Biometrics 63, 22 (2007), eq. 2: ``3k log n + Σ log(length/n)`` for k changes. As its sum has k + 1
    terms, it is ``2k log n + Σ log(length) − log n``, whence the penalty above (the cost holds the terms with
    ``length/n``, the penalty is 3 log n). The R package changepoint adds ``log(length)`` to 3 log n, which asks for
    more. The noise is taken as known; if `sigma` is too small by half, expect four times the evidence for a change.
    """
    series = _series(x)
    noise = noise_deviation(series) if sigma is None else sigma
    if not 0.0 < noise < math.inf:
        raise ValueError(f"sigma: expected a positive finite number, found {sigma}")
    beta = _penalty(penalty, {"bic": 2.0, "mbic": 3.0}, len(series))
    with np.errstate(over="ignore"):
        scaled = series / noise
    return _search(series, scaled, MEAN_MBIC if penalty == "mbic" else MEAN, beta, min_size, 0.0)


def shifts_of_mean_and_variance(
    x: Float64Array,
    penalty: Literal["bic"] | float = "bic",
    *,
    min_size: int = 5,
    deviation_min: float | None = None,
) -> Segmentation:
    """Find the changes of mean or variance in normal noise: the exact least penalised cost, by PELT.

    Parameters
    ----------
    x : float64, shape (n,)
        The series, finite.
    penalty : "bic" or float
        For each change: ``3 log n`` (a mean, a variance and a place), or a number, not negative.
    min_size : int
        Least length of a segment, at least 2; but two values that happen to be near each other have a variance near 0,
        and so a likelihood that pays any penalty. With four or five that happens rarely.
    deviation_min : float, optional
        Least deviation that a segment is believed to have, in x's unit. Without it a thousandth of the series'. For
        values rounded to a step of s, give s/√12: a stretch of equal ones would else look infinitely sure.

    Returns
    -------
    Segmentation
        ``cost`` is minus twice the log-likelihood.

    Raises
    ------
    ValueError
        For values that are not finite, a series shorter than `min_size` or constant, or a parameter out of range.

    Notes
    -----
    Killick, Fearnhead & Eckley, J. Am. Stat. Assoc. 107, 1590 (2012). We differ in the least deviation; the cost
    remains a minimum over parameters, so that the pruning remains exact. There is no "mbic" here: Zhang & Siegmund
    derive theirs for a mean only.
    """
    series = _series(x)
    spread = float(np.std(series - series[0]))
    if not spread > 0.0:
        raise ValueError("x: expected a series that is not constant")
    least = DEVIATION_MIN_SHARE * spread if deviation_min is None else deviation_min
    if not 0.0 < least < math.inf:
        raise ValueError(f"deviation_min: expected a positive finite number, found {deviation_min}")
    return _search(series, series, MEAN_VARIANCE, _penalty(penalty, {"bic": 3.0}, len(series)), min_size, least**2)


def noise_deviation(x: Float64Array) -> float:
    """Estimate the deviation of independent normal noise around a mean that jumps now and then.

    Parameters
    ----------
    x : float64, shape (n,)
        The series, finite, at least 3 points.

    Returns
    -------
    float
        The median absolute first difference over ``√2·Φ⁻¹(3/4)``, in x's unit: few differences straddle a change.

    Raises
    ------
    ValueError
        When there are fewer points, or half of the differences are 0, as in a constant or coarsely rounded series.
    """
    series = _series(x)
    if len(series) < 3:
        raise ValueError(f"x: expected at least 3 points to estimate the noise from, found {len(series)}")
    deviation = float(np.median(np.abs(np.diff(series)))) / (math.sqrt(2.0) * float(ndtri(0.75)))
    if not deviation > 0.0:
        raise ValueError("x: expected fewer equal neighbours; half or more are equal, so give sigma")
    return deviation


def _series(x: Float64Array) -> Float64Array:
    series = np.asarray(x, dtype=np.float64)
    if series.ndim != 1 or len(series) == 0:
        raise ValueError(f"x: expected shape (n,) with n >= 1, found {series.shape}")
    if not np.isfinite(series).all():
        raise ValueError("x: expected finite values")
    return series


def _penalty(penalty: str | float, multiples: dict[str, float], count: int) -> float:
    if isinstance(penalty, str):
        if penalty not in multiples:
            raise ValueError(f"penalty: expected {' or '.join(multiples)} or a number, found {penalty!r}")
        return multiples[penalty] * math.log(count)
    return penalty


def _search(
    series: Float64Array, scaled: Float64Array, cost: int, penalty: float, min_size: int, variance_min: float
) -> Segmentation:
    state = pelt_begin(scaled, cost, penalty, min_size, variance_min)
    while not pelt_advance(state, EVALUATIONS_MAX):
        pass
    cuts = [len(series)]
    while cuts[-1] > 0:
        cuts.append(int(state.previous[cuts[-1]]))
    cuts.reverse()
    pieces = [series[first:end] for first, end in pairwise(cuts)]
    return Segmentation(
        changes=np.array(cuts[1:-1], dtype=np.int64),
        means=np.array([piece[0] + np.mean(piece - piece[0]) for piece in pieces]),
        deviations=np.array([np.std(piece - piece[0]) for piece in pieces]),
        cost=float(state.best[-1]) - (len(pieces) - 1) * penalty,
        penalty=penalty,
    )


@dataclass(frozen=True, slots=True)
class CusumRule:
    """When a CUSUM raises an alarm. `mean` and `deviation` are those of the series while all is well, in its unit.

    `drift` (Page's reference value k, half the shift to be found) and `threshold` (h) count deviations. The usual 0.5
    and 5 give a false alarm every 465 points and find a shift of one deviation after 10.4 (`cusum_run_length`).
    """

    mean: float
    deviation: float
    drift: float = 0.5
    threshold: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a rule that could not work."""
        if not math.isfinite(self.mean):
            raise ValueError(f"mean: expected a finite number, found {self.mean}")
        if not 0.0 < self.deviation < math.inf:
            raise ValueError(f"deviation: expected a positive finite number, found {self.deviation}")
        _check_cusum(self.threshold, self.drift)


@dataclass(frozen=True, slots=True)
class CusumState:
    """What a CUSUM remembers: both sums, in deviations, and how many points each has been above 0.

    `alarm` is +1 when the newest point took the upper sum over the threshold, −1 for the lower, else 0. After an alarm
    the next point starts from 0, so that a lasting shift raises alarm after alarm.
    """

    up: float = 0.0
    down: float = 0.0
    up_points: int = 0
    down_points: int = 0
    alarm: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class CusumPath:
    """A CUSUM over a series of n points, with m alarms.

    Attributes
    ----------
    up, down : float64, shape (n,)
        The sums after each point, in deviations.
    alarms, changes : int64, shape (m,)
        The points that raised an alarm, and for each the first point since its sum was 0: Page's estimate of where the
        change was. With a `state` from before, a change may lie before the series: its index is negative.
    directions : int64, shape (m,)
        +1 for a rise, −1 for a fall.
    state : CusumState
        After the last point, to go on from.
    """

    up: Float64Array
    down: Float64Array
    alarms: Int64Array
    changes: Int64Array
    directions: Int64Array
    state: CusumState


def cusum_step(rule: CusumRule, state: CusumState, x: float) -> CusumState:
    """Add a point to a two-sided CUSUM.

    Parameters
    ----------
    rule : CusumRule
    state : CusumState
        After the point before; `CusumState()` to begin.
    x : float
        The point, in the series' unit.

    Returns
    -------
    CusumState
        With ``z = (x − mean)/deviation``: ``up = max(0, up + z − drift)``, ``down = max(0, down − z − drift)``.

    Raises
    ------
    ValueError
        When x is not finite.

    Notes
    -----
    Page, "Continuous inspection schemes", Biometrika 41, 100 (1954). Both sums start from 0 after an alarm.
    """
    if not math.isfinite(x):
        raise ValueError(f"x: expected a finite number, found {x}")
    before = CusumState() if state.alarm else state
    z = (x - rule.mean) / rule.deviation
    up = max(0.0, before.up + z - rule.drift)
    down = max(0.0, before.down - z - rule.drift)
    return CusumState(
        up=up,
        down=down,
        up_points=before.up_points + 1 if up > 0.0 else 0,
        down_points=before.down_points + 1 if down > 0.0 else 0,
        alarm=int(up > rule.threshold) - int(down > rule.threshold),
    )


def cusum(rule: CusumRule, x: Float64Array, state: CusumState | None = None) -> CusumPath:
    """Run a two-sided CUSUM over a series: `cusum_step` for each point.

    Parameters
    ----------
    rule : CusumRule
    x : float64, shape (n,)
        Finite.
    state : CusumState, optional
        After the point before the series; without it, the beginning.

    Returns
    -------
    CusumPath

    Raises
    ------
    ValueError
        For an empty series, or values that are not finite.
    """
    newest = CusumState() if state is None else state
    found: list[tuple[int, int, int]] = []
    sums = np.empty((2, len(x)))
    for i, value in enumerate(_series(x).tolist()):
        newest = cusum_step(rule, newest, value)
        sums[:, i] = newest.up, newest.down
        if newest.alarm:
            found.append((i, i + 1 - (newest.up_points if newest.alarm > 0 else newest.down_points), newest.alarm))
    alarms, changes, directions = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return CusumPath(sums[0], sums[1], alarms, changes, directions, newest)


def cusum_run_length(threshold: float, drift: float, shift: float = 0.0) -> float:
    """Return the average number of points until a two-sided CUSUM of normal values raises an alarm.

    Parameters
    ----------
    threshold, drift : float
        As in `CusumRule`, in deviations.
    shift : float
        How far the mean lies from the rule's, in deviations, from the first point on.

    Returns
    -------
    float
        In points. Without a shift, the average time between false alarms.

    Raises
    ------
    ValueError
        For a threshold or drift out of range, or an average run length above 1e9.

    Notes
    -----
    Page's integral equation for one side that starts at u, here with his reference value k = drift,

        ``L(u) = 1 + L(0)·Φ(k − u) + ∫₀ʰ L(y)·φ(y + k − u) dy``,

    on Gauss-Legendre nodes (Nyström's method). Both sides together: ``1/L = 1/L⁺ + 1/L⁻``, exact when both have the
    same threshold and drift (Kemp 1961). Lucas & Crosier (1982) have the table that the tests repeat.
    """
    _check_cusum(threshold, drift)
    if not math.isfinite(shift):
        raise ValueError(f"shift: expected a finite number, found {shift}")
    rate = 1.0 / _one_sided_run_length(threshold, drift - shift) + 1.0 / _one_sided_run_length(threshold, drift + shift)
    if rate < 1.0 / RUN_LENGTH_MAX:
        raise ValueError(f"expected an average run length up to {RUN_LENGTH_MAX:g}: lower the threshold or the drift")
    return 1.0 / rate


def cusum_threshold(run_length: float, drift: float = 0.5) -> float:
    """Return the threshold at which false alarms are `run_length` points apart on average.

    Parameters
    ----------
    run_length : float
        In points, from 5 to 1e8.
    drift : float
        As in `CusumRule`, from 0.1 to 2.

    Returns
    -------
    float
        In deviations.

    Raises
    ------
    ValueError
        For arguments out of range, or a run length that is shorter than with a threshold of 0.01.
    """
    if not 5.0 <= run_length <= RUN_LENGTH_MAX / 10:
        raise ValueError(f"run_length: expected 5 to {RUN_LENGTH_MAX / 10:g}, found {run_length}")
    if not 0.1 <= drift <= 2.0:
        raise ValueError(f"drift: expected 0.1 to 2, found {drift}")
    low, high = 0.01, 1.0
    if cusum_run_length(low, drift) > run_length:
        raise ValueError(f"run_length: with a drift of {drift} no threshold gives one as short as {run_length}")
    # A quarter more threshold never takes the run length past its bound before it passes the one wanted.
    while cusum_run_length(high, drift) < run_length:
        high *= 1.25
    return float(brentq(lambda h: math.log(cusum_run_length(h, drift) / run_length), low, high, xtol=1e-9))


def _check_cusum(threshold: float, drift: float) -> None:
    if not 0.0 < threshold <= 100.0:
        raise ValueError(f"threshold: expected above 0, up to 100, found {threshold}")
    if not 0.0 <= drift <= 10.0:
        raise ValueError(f"drift: expected 0 to 10, found {drift}")


def _one_sided_run_length(threshold: float, reference: float) -> float:
    # Three nodes for each deviation, and some for the ends, resolve the normal density to nine digits and more.
    nodes, weights = leggauss(12 + 3 * math.ceil(threshold))
    y = np.concatenate([[0.0], threshold * (nodes + 1.0) / 2.0])
    step = y[None, :] + reference - y[:, None]
    kernel = np.exp(-step * step / 2.0) / math.sqrt(2.0 * math.pi)
    kernel[:, 1:] *= threshold * weights / 2.0
    kernel[:, 0] = ndtr(reference - y)
    length = float(np.linalg.solve(np.eye(len(y)) - kernel, np.ones(len(y)))[0])
    # A run length that double precision cannot tell from never comes out negative or absurd.
    return length if 1.0 <= length <= 1e13 else math.inf
