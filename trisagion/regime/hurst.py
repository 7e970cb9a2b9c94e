"""The Hurst exponent of a series of increments, by four estimators, each with an interval that is simulated.

A series of increments (log returns, not prices) scales with exponent H when sums of s neighbours are about s^H large:
0.5 without memory, above it with persistence, below it with reversal. All four estimators measure a fluctuation F(s) at
several scales s and take the slope of log F on log s; they differ in what F is. Each F has a curve of its own on
fractional Gaussian noise (fGn), bent where windows are short or few. Where that curve is known exactly, the slope is
read on it, and the estimate has next to no bias (`exponent` is the slope as it was).

The standard error that a regression prints is far too small: the points lie on the same samples, so that their errors
are neither independent nor of one size. Here the whole estimate is repeated on simulated fGn of the same length and
scales, and the interval holds the exponents with which it could have come out as it did. That is honest for Gaussian
increments that scale. Heavy tails, clustered volatility or a memory that ends within the scales are not simulated, and
make the interval too narrow.

Two estimators that disagree by more than their intervals say that the series does not scale.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy.special import gammaln, stdtrit

from ext.hurst import MAGNITUDE_MAX, ORDERS, SAMPLES_MAX, dfa_fluctuations
from trisagion.market.types import Float64Array, Int64Array
from trisagion.regime.fgn import fgn

SAMPLES_MIN: Final = 128
"""With fewer the interval covers most of (0, 1)."""

PATHS_MIN: Final = 20
PATHS: Final = 60
"""Paths simulated at each of seven exponents: the standard error is then known to some 7 %."""

SCALES: Final = 20
"""Scales at most, evenly spaced on the logarithm; more add no information, windows of neighbours being the same."""

STRUCTURE_LAGS: Final = 19
STRUCTURE_LAGS_MIN: Final = 5
"""Di Matteo, Aste & Dacorogna (2005) average the exponents of lags 1 … τ_max over τ_max from 5 to 19."""

MOMENT_MAX: Final = 4.0
"""Returns have hardly more finite moments than that."""

_GRID: Final = np.arange(1, 100) / 100.0
"""Exponents at which the expected curves are computed; between them the slope is nearly straight."""

_EXACT_SCALE_MAX: Final = 1024
"""Above it the slope of the expected detrended fluctuation is H to 1e-3 for any H, and to 3e-6 from H = 0.5 on."""

_ANCHORS: Final = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
_INTERVAL_STEPS: Final = 981
"""An interval's ends are multiples of 0.001."""

_PLACES_MAX: Final = 65
"""Places along a bridge at which its variance is computed; it hardly changes between them."""

_ROUNDING: Final = 1e-9
"""More than rounding leaves of a constant, as a share of it."""

_BATCH_SAMPLES: Final = 2**18
"""Samples simulated at a time: some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class HurstEstimate:
    """An estimate of the Hurst exponent of a series of increments.

    Attributes
    ----------
    method : str
        Which F(s): "R/S", "aggregated variance", "DFA1", "DFA2", "structure function".
    hurst : float
        The estimate, in (0, 1); NaN unless `converged`.
    standard_error : float
        Standard deviation of the estimates on simulated fGn whose estimates are this one on average; NaN unless
        `converged`.
    low, high : float
        The confidence interval: the exponents whose fGn gives such an estimate not too seldom. NaN unless `converged`.
        The estimator's bias at this length, where it has one, moves the interval and not the estimate, which may then
        lie off its middle, or outside.
    confidence : float
        Its level.
    exponent : float
        The slope of log F(s) on log s, as measured.
    scales : int64, shape (k,)
        In samples.
    fluctuations : float64, shape (k,)
        F(s) at each scale, proportional to s^H up to the curve's bend.
    converged : bool
        Whether fGn of some H has this slope. If not, `reason` says what was found: a DFA exponent above 1, for
        instance, is that of a path; its increments were wanted.
    reason : str
        Empty when converged.
    """

    method: str
    hurst: float
    standard_error: float
    low: float
    high: float
    confidence: float
    exponent: float
    scales: Int64Array
    fluctuations: Float64Array
    converged: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Method:
    """An estimator: log F times `weights` is the slope; `slopes` are those expected of fGn with the exponents _GRID."""

    name: str
    scales: Int64Array
    weights: Float64Array
    slopes: Float64Array
    fluctuations: Callable[[Float64Array], Float64Array]

    def exponents(self, fluctuations: Float64Array) -> Float64Array:
        """Return the slopes, shape (m,), of fluctuations, shape (m, k)."""
        return np.asarray(np.log(fluctuations) @ self.weights, dtype=np.float64)

    def hurst(self, exponents: Float64Array) -> Float64Array:
        """Return the H of fGn with these slopes; beyond the grid straight on, so that errors are not cut there."""
        step = _GRID[1] - _GRID[0]
        below = np.minimum(exponents - self.slopes[0], 0.0) * step / (self.slopes[1] - self.slopes[0])
        above = np.maximum(exponents - self.slopes[-1], 0.0) * step / (self.slopes[-1] - self.slopes[-2])
        return np.asarray(np.interp(exponents, self.slopes, _GRID) + below + above, dtype=np.float64)

    def knows(self, exponents: Float64Array) -> NDArray[np.bool_]:
        """Tell which slopes are those of fGn."""
        return np.asarray((exponents >= self.slopes[0]) & (exponents <= self.slopes[-1]), dtype=np.bool_)


def rescaled_range(
    x: Float64Array,
    rng: np.random.Generator,
    *,
    scales: Int64Array | None = None,
    confidence: float = 0.95,
    paths: int = PATHS,
) -> HurstEstimate:
    """Estimate by rescaled range, with the correction of Anis and Lloyd.

    Parameters
    ----------
    x : float64, shape (n,)
        Increments, n from 128 to 2²².
    rng : numpy.random.Generator
        For the interval.
    scales : int64, shape (k,), optional
        Window lengths, at least 3 of them, rising, 4 … n/2. Without: up to 20 from 16 to n/4.
    confidence : float
        Level of the interval, above 0 and below 1.
    paths : int
        Paths simulated at each of seven exponents, at least 20.

    Returns
    -------
    HurstEstimate
        F(s) is the mean over ⌊n/s⌋ windows of (range of the profile)/(standard deviation); windows in which nothing
        moves have none and do not count.

    Raises
    ------
    ValueError
        For a series that is constant, too short or too long, or has a NaN, an infinity or a magnitude above 1e100; one
        that does not move at some scale; arguments out of range.

    Notes
    -----
    Hurst, Trans. Am. Soc. Civ. Eng. 116, 770 (1951). White noise has

        E[R/S](s) = Γ((s − 1)/2) / (√π Γ(s/2)) · Σ_{r=1}^{s−1} √((s − r)/r)

    (Anis & Lloyd, Biometrika 63, 111, 1976), steeper than √s on short windows. The estimate is 0.5 + the slope of
    log(F/E[R/S]). We differ from Peters, *Fractal Market Analysis* (1994), who multiplies by (s − ½)/s to fit a
    simulation of his and keeps the slopes apart; the formula is exact without. It is exact at H = 0.5 only. Elsewhere a
    bias towards 0.5 remains, which no choice of windows removes; the interval is moved by it.

    Measured with the default scales over 1000 paths of fGn: bias of the plain slope, bias of the estimate, and standard
    deviation of the estimate.

    ======  =====================  =====================  =====================
    H       n = 256                n = 1024               n = 4096
    ======  =====================  =====================  =====================
    0.20    +0.144 +0.069 0.054    +0.118 +0.062 0.026    +0.099 +0.056 0.015
    0.35    +0.113 +0.038 0.069    +0.086 +0.030 0.033    +0.068 +0.025 0.020
    0.50    +0.071 −0.005 0.078    +0.055 −0.002 0.040    +0.043 −0.000 0.025
    0.65    +0.027 −0.048 0.087    +0.022 −0.035 0.044    +0.016 −0.027 0.027
    0.80    −0.023 −0.099 0.089    −0.026 −0.082 0.044    −0.019 −0.062 0.027
    0.90    −0.079 −0.154 0.083    −0.061 −0.118 0.046    −0.055 −0.098 0.029
    ======  =====================  =====================  =====================
    """
    series = _series(x)
    lengths = _scales(scales, series.size, least=16, windows=4, bound=4)
    return _estimate(series, _rescaled_range(lengths), rng, confidence, paths)


def aggregated_variance(
    x: Float64Array,
    rng: np.random.Generator,
    *,
    scales: Int64Array | None = None,
    confidence: float = 0.95,
    paths: int = PATHS,
) -> HurstEstimate:
    """Estimate by the variance of sums of neighbours.

    Parameters
    ----------
    x, rng, scales, confidence, paths
        As in `rescaled_range`; block lengths from 1. Without: up to 20 from 2 to n/16.

    Returns
    -------
    HurstEstimate
        F(s) is the standard deviation of the sums of ⌊n/s⌋ blocks of s samples.

    Raises
    ------
    ValueError
        As `rescaled_range`.

    Notes
    -----
    Taqqu, Teverovsky & Willinger, "Estimators for long-range dependence: an empirical study", Fractals 3, 785 (1995),
    section 3.1, with the variance of means, s^(2H − 2); that of sums, s^2H, is the same. The variance of k blocks about
    their own mean is too small, by the factor 1 − k^(2H − 2) in expectation on fGn: a large bias downwards above
    H = 0.7. We differ in reading the slope on the curve that has this factor.
    """
    series = _series(x)
    lengths = _scales(scales, series.size, least=2, windows=16, bound=1)
    return _estimate(series, _aggregated_variance(series.size, lengths), rng, confidence, paths)


def detrended_fluctuation(
    x: Float64Array,
    rng: np.random.Generator,
    *,
    order: int = 1,
    scales: Int64Array | None = None,
    confidence: float = 0.95,
    paths: int = PATHS,
) -> HurstEstimate:
    """Estimate by detrended fluctuation analysis.

    Parameters
    ----------
    x, rng, scales, confidence, paths
        As in `rescaled_range`; window lengths from order + 2. Without: up to 20 from 10 to n/8.
    order : int
        The degree of the trend that is taken out of each window of the profile, 1 or 2.

    Returns
    -------
    HurstEstimate
        F(s) is that of `ext.hurst.dfa_fluctuations`.

    Raises
    ------
    ValueError
        As `rescaled_range`, and for another order.

    Notes
    -----
    Peng et al., Phys. Rev. E 49, 1685 (1994). On short windows F(s) is above its power law (Kantelhardt et al., Physica
    A 295, 441 (2001), section 4, correct by a simulation of white noise). We differ: the slope is read on the curve

        E F²(s) = ½ Σ_{l≠0} a(l) |l|^2H,    a(l) = (1/s) Σ_k Σ_i q_k(i) q_k(i + l),

    exact for fGn, with q_k the orthonormal polynomials of degree 0 … order on the window: the residual is PΓP with P
    the projection off them, and of the covariance Γ of the profile, ½(i^2H + j^2H − |i − j|^2H), only the last term
    survives P.

    Measured as in `rescaled_range`, order 1: bias is at most 0.015 at any of these lengths; what a single path tells is
    limited by its spread.

    ======  =====================  =====================  =====================
    H       n = 256                n = 1024               n = 4096
    ======  =====================  =====================  =====================
    0.20    +0.035 −0.000 0.053    +0.015 −0.002 0.024    +0.009 −0.001 0.014
    0.35    +0.015 −0.008 0.072    +0.007 −0.003 0.034    +0.004 −0.001 0.020
    0.50    +0.013 −0.002 0.090    +0.003 −0.004 0.042    +0.000 −0.003 0.025
    0.65    +0.002 −0.010 0.102    +0.000 −0.004 0.049    −0.000 −0.003 0.028
    0.80    −0.005 −0.015 0.111    −0.002 −0.007 0.054    −0.002 −0.004 0.032
    0.90    +0.000 −0.010 0.117    −0.007 −0.012 0.057    −0.004 −0.006 0.033
    ======  =====================  =====================  =====================
    """
    series = _series(x)
    return _estimate(series, _detrending(series.size, scales, order), rng, confidence, paths)


def detrended_fluctuation_batch(
    x: Float64Array, *, order: int = 1, scales: Int64Array | None = None
) -> tuple[Float64Array, Float64Array]:
    """Estimate many series of one length by detrended fluctuation analysis, without intervals.

    Parameters
    ----------
    x : float64, shape (m, n)
        A series of increments a row.
    order, scales
        As in `detrended_fluctuation`.

    Returns
    -------
    hurst : float64, shape (m,)
        The `hurst` of `detrended_fluctuation`; NaN where that does not converge, and where nothing moves.
    exponent : float64, shape (m,)
        The slopes as measured; NaN where nothing moves at some scale.

    Raises
    ------
    ValueError
        As `detrended_fluctuation`, but for the series that do not move.
    """
    rows = np.asarray(x)
    if rows.ndim != 2:
        raise ValueError(f"x: expected two dimensions, found shape {rows.shape}")
    _check_length(rows.shape[1])
    method = _detrending(rows.shape[1], scales, order)
    fluctuations = method.fluctuations(rows)
    moves = np.asarray((fluctuations > 0.0).all(axis=1), dtype=np.bool_)
    # Of a constant at most rounding is left; only what may be one is looked at.
    near = np.flatnonzero(fluctuations[:, 0] <= _ROUNDING * np.abs(rows[:, 0]))
    moves[near] &= rows[near].max(axis=1) > rows[near].min(axis=1)
    exponent = np.full(len(rows), np.nan)
    exponent[moves] = method.exponents(fluctuations[moves])
    return np.where(method.knows(exponent), method.hurst(exponent), np.nan), exponent


def structure_function(
    x: Float64Array,
    rng: np.random.Generator,
    *,
    moment: float = 1.0,
    confidence: float = 0.95,
    paths: int = PATHS,
) -> HurstEstimate:
    """Estimate the generalised Hurst exponent H(q) by the structure function of order q.

    Parameters
    ----------
    x, rng, confidence, paths
        As in `rescaled_range`. The path is the sum of the increments less their mean.
    moment : float
        The order q, above 0, at most 4. H(q) is the same for all q where one exponent says all; that it falls with q is
        the sign of a multifractal, or of heavy tails.

    Returns
    -------
    HurstEstimate
        F(τ) is (mean of |X(t + τ) − X(t)|^q)^(1/q), τ from 1 to 19.

    Raises
    ------
    ValueError
        As `rescaled_range`, and for a moment out of range.

    Notes
    -----
    Di Matteo, Aste & Dacorogna, "Long-term memories of developed and emerging markets: using the scaling analysis to
    characterize their stage of development", J. Bank. Finance 29, 827 (2005), equations 1 and 2, with their average
    over τ_max from 5 to 19. Scales are short, hence a small error, and all the trust in short scales: bid-ask bounce
    looks like reversal. Without its mean the path ends where it began, which bends F above H = 0.7; we differ in
    reading the slope on the curve of such a bridge of fGn, whose variances are known.
    """
    if not 0.0 < moment <= MOMENT_MAX:
        raise ValueError(f"moment: expected above 0 and at most {MOMENT_MAX:g}, found {moment}")
    series = _series(x)
    return _estimate(series, _structure_function(series.size, moment), rng, confidence, paths)


def _estimate(
    x: Float64Array, method: _Method, rng: np.random.Generator, confidence: float, paths: int
) -> HurstEstimate:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: expected above 0 and below 1, found {confidence}")
    if paths < PATHS_MIN:
        raise ValueError(f"paths: expected at least {PATHS_MIN}, found {paths}")
    fluctuations = method.fluctuations(x[None])
    still = ~(fluctuations[0] > 0.0)
    if still.any():
        raise ValueError(f"x: expected a series that moves at every scale, found none at {method.scales[still][0]}")
    exponent = method.exponents(fluctuations)
    hurst, error, low, high, reason = math.nan, math.nan, math.nan, math.nan, ""
    if method.knows(exponent)[0]:
        hurst = float(method.hurst(exponent)[0])
        error, low, high = _interval(hurst, x.size, method, rng, confidence, paths)
    else:
        reason = (
            f"expected a slope of {method.slopes[0]:.3f} to {method.slopes[-1]:.3f}, that of fractional Gaussian noise "
            f"with H from {_GRID[0]} to {_GRID[-1]}, found {exponent[0]:.3f}"
        )
    return HurstEstimate(
        method=method.name,
        hurst=hurst,
        standard_error=error,
        low=low,
        high=high,
        confidence=confidence,
        exponent=float(exponent[0]),
        scales=method.scales,
        fluctuations=fluctuations[0],
        converged=not reason,
        reason=reason,
    )


def _interval(
    hurst: float, samples: int, method: _Method, rng: np.random.Generator, confidence: float, paths: int
) -> tuple[float, float, float]:
    """Return the standard error and the interval: the exponents that do not make such an estimate unlikely.

    Bias and spread depend on H, smoothly: both are simulated at a few exponents, and a cubic through each serves all.
    """
    found = np.stack([_simulated(truth, samples, method, rng, paths) for truth in _ANCHORS.tolist()])
    exponents = np.linspace(_GRID[0], _GRID[-1], _INTERVAL_STEPS)
    mean = Polynomial.fit(_ANCHORS, found.mean(axis=1), 3)(exponents)
    error = np.maximum(Polynomial.fit(_ANCHORS, found.std(axis=1, ddof=1), 3)(exponents), 0.0)
    reach = float(stdtrit(paths - 1, 0.5 + confidence / 2.0)) * error
    nearest = int(np.abs(mean - hurst).argmin())
    likely = exponents[np.abs(mean - hurst) <= np.maximum(reach, np.abs(mean[nearest] - hurst))]
    # Beyond the grid's ends are no exponents that could be excluded.
    low = 0.0 if likely[0] == exponents[0] else float(likely[0])
    high = 1.0 if likely[-1] == exponents[-1] else float(likely[-1])
    return float(error[nearest]), low, high


def _simulated(hurst: float, samples: int, method: _Method, rng: np.random.Generator, paths: int) -> Float64Array:
    estimates = np.empty(paths)
    batch = max(1, _BATCH_SAMPLES // samples)
    for first in range(0, paths, batch):
        noise = fgn(rng, hurst, samples, min(batch, paths - first))
        estimates[first : first + batch] = method.hurst(method.exponents(method.fluctuations(noise)))
    return estimates


def _regression(scales: Int64Array) -> Float64Array:
    """Return the weights with which log F adds up to the least squares slope on log s."""
    places = np.log(scales)
    places -= places.mean()
    return np.asarray(places / (places @ places), dtype=np.float64)


def _rescaled_range(scales: Int64Array) -> _Method:
    expected = np.empty(len(scales))
    for place, scale in enumerate(scales.tolist()):
        rest = np.arange(1.0, scale)
        gammas = math.exp(gammaln((scale - 1) / 2.0) - gammaln(scale / 2.0)) / math.sqrt(math.pi)
        expected[place] = gammas * np.sqrt((scale - rest) / rest).sum()
    weights = _regression(scales)
    slopes = _GRID - 0.5 + np.log(expected) @ weights
    return _Method("R/S", scales, weights, slopes, functools.partial(_ranges, scales=scales))


def _ranges(x: Float64Array, scales: Int64Array) -> Float64Array:
    fluctuations = np.empty((len(x), len(scales)))
    for place, scale in enumerate(scales.tolist()):
        count = x.shape[1] // scale
        windows = x[:, : count * scale].reshape(len(x), count, scale)
        profile = np.cumsum(windows - windows.mean(axis=2, keepdims=True), axis=2)
        reach = profile.max(axis=2) - profile.min(axis=2)
        moves = windows.max(axis=2) > windows.min(axis=2)
        ratio = np.divide(reach, windows.std(axis=2), out=np.zeros_like(reach), where=moves)
        fluctuations[:, place] = ratio.sum(axis=1) / np.maximum(moves.sum(axis=1), 1)
    return fluctuations


def _aggregated_variance(samples: int, scales: Int64Array) -> _Method:
    weights = _regression(scales)
    blocks = (samples // scales).astype(np.float64)
    power = 2.0 * _GRID[:, None]
    curves = 0.5 * (power * np.log(scales) + np.log1p(-(blocks ** (power - 2.0))))
    return _Method(
        "aggregated variance", scales, weights, curves @ weights, functools.partial(_block_deviations, scales=scales)
    )


def _block_deviations(x: Float64Array, scales: Int64Array) -> Float64Array:
    profile = np.zeros((len(x), x.shape[1] + 1))
    np.cumsum(x - x.mean(axis=1, keepdims=True), axis=1, out=profile[:, 1:])
    return np.stack([np.diff(profile[:, ::scale], axis=1).std(axis=1) for scale in scales.tolist()], axis=1)


def _detrending(samples: int, scales: Int64Array | None, order: int) -> _Method:
    if order not in ORDERS:
        raise ValueError(f"order: expected 1 or 2, found {order}")
    lengths = _scales(scales, samples, least=10, windows=8, bound=order + 2)
    return _detrended_fluctuation(tuple(lengths.tolist()), order)


@functools.lru_cache(maxsize=16)
def _detrended_fluctuation(scales: tuple[int, ...], order: int) -> _Method:
    lengths = np.array(scales, dtype=np.int64)
    weights = _regression(lengths)
    curves = np.stack([_detrended_curve(scale, order) for scale in scales], axis=1)
    fluctuations = functools.partial(dfa_fluctuations, scales=lengths, order=order)
    return _Method(f"DFA{order}", lengths, weights, curves @ weights, fluctuations)


def _detrended_curve(scale: int, order: int) -> Float64Array:
    """Return log E F(s)²/2 at each exponent of the grid."""
    length = min(scale, _EXACT_SCALE_MAX)
    basis, _ = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, length), order + 1))
    # The correlations at the lags 1 … length − 1 stand for those at the negative lags too.
    weight = sum(np.correlate(column, column, "full")[length:] for column in basis.T) / length
    squares = np.arange(1.0, length) ** (2.0 * _GRID[:, None]) @ weight
    return np.asarray(0.5 * np.log(squares) + _GRID * math.log(scale / length), dtype=np.float64)


@functools.lru_cache(maxsize=16)
def _structure_function(samples: int, moment: float) -> _Method:
    lags = np.arange(1, STRUCTURE_LAGS + 1)
    weights = np.zeros(len(lags))
    for most in range(STRUCTURE_LAGS_MIN, STRUCTURE_LAGS + 1):
        weights[:most] += _regression(lags[:most])
    weights /= STRUCTURE_LAGS - STRUCTURE_LAGS_MIN + 1
    curves = np.stack([_bridge_curve(lag, samples, moment) for lag in lags.tolist()], axis=1)
    return _Method(
        "structure function", lags, weights, curves @ weights, functools.partial(_moments, lags=lags, moment=moment)
    )


def _bridge_curve(lag: int, samples: int, moment: float) -> Float64Array:
    """Return log (mean over t of the variance of a bridge's increments to the power q/2)/q at each exponent.

    With X(n) the path's end, the increment X(t + τ) − X(t) − (τ/n) X(n) is normal.
    """
    power = 2.0 * _GRID[:, None]
    places = samples - lag + 1
    count = min(places, _PLACES_MAX)
    before = np.floor((np.arange(count) + 0.5) * places / count)
    after = samples - lag - before
    with_end = 0.5 * ((before + lag) ** power - before**power + (after + lag) ** power - after**power)
    share = lag / samples
    variance = lag**power + share * share * float(samples) ** power - 2.0 * share * with_end
    return np.asarray(np.log((variance ** (moment / 2.0)).mean(axis=1)) / moment, dtype=np.float64)


def _moments(x: Float64Array, lags: Int64Array, moment: float) -> Float64Array:
    path = np.zeros((len(x), x.shape[1] + 1))
    np.cumsum(x - x.mean(axis=1, keepdims=True), axis=1, out=path[:, 1:])
    # In units of the path's own size, that its powers stay finite.
    size = np.abs(path).max(axis=1, keepdims=True)
    path /= size
    means = [(np.abs(path[:, lag:] - path[:, :-lag]) ** moment).mean(axis=1) for lag in lags.tolist()]
    return np.asarray(size * np.stack(means, axis=1) ** (1.0 / moment), dtype=np.float64)


def _series(x: Float64Array) -> Float64Array:
    """Return the increments as float64; `ValueError` unless they can be estimated from."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf" or array.ndim != 1:
        raise ValueError(f"x: expected real numbers in one dimension, found {array.dtype}, shape {array.shape}")
    _check_length(array.size)
    series = array.astype(np.float64)
    unusable = ~(np.abs(series) <= MAGNITUDE_MAX)
    if unusable.any():
        raise ValueError(f"x: expected numbers of a magnitude up to {MAGNITUDE_MAX:g}, found {series[unusable][0]}")
    if (series == series[0]).all():
        raise ValueError(f"x: expected a series that moves, found {series[0]} throughout")
    return series


def _check_length(samples: int) -> None:
    if not SAMPLES_MIN <= samples <= SAMPLES_MAX:
        raise ValueError(f"x: expected {SAMPLES_MIN} to {SAMPLES_MAX} samples, found {samples}")


def _scales(scales: Int64Array | None, samples: int, least: int, windows: int, bound: int) -> Int64Array:
    """Return the caller's scales, or up to 20 from `least` to n/`windows`; each has two windows at least."""
    if scales is None:
        return np.unique(np.rint(np.geomspace(least, samples // windows, SCALES))).astype(np.int64)
    lengths = np.asarray(scales)
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or lengths.size < 3:
        raise ValueError(f"scales: expected at least 3 integers, found {lengths.dtype}, shape {lengths.shape}")
    outside = (lengths < bound) | (lengths > samples // 2)
    if outside.any():
        raise ValueError(f"scales: expected {bound} to {samples // 2} samples, found {lengths[outside][0]}")
    if (np.diff(lengths.astype(np.int64)) <= 0).any():
        raise ValueError(f"scales: expected rising lengths, found {lengths.tolist()}")
    return lengths.astype(np.int64)
