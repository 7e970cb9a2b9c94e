"""Exact fractional Gaussian noise: the increments whose Hurst exponent is known, to hold estimators against.

Nothing here decides. The random source is the caller's.
"""

from typing import Final

import numpy as np
from scipy import fft

from trisagion.market.types import Float64Array

SAMPLES_MAX: Final = 2**22
"""The longest path: its transform takes some tenths of a second."""

_ROUNDING: Final = 1e-9
"""Eigenvalues above minus this share of the largest are zeros that were rounded."""


def fgn_autocovariance(hurst: float, count: int) -> Float64Array:
    """Return the autocovariance of fractional Gaussian noise of unit variance.

    Parameters
    ----------
    hurst : float
        The Hurst exponent H, 0 < H < 1.
    count : int
        The number of lags, 1 … 2²² + 1.

    Returns
    -------
    float64, shape (count,)
        ``γ(k) = ½(|k + 1|^2H − 2|k|^2H + |k − 1|^2H)`` at the lags 0 … count − 1.

    Raises
    ------
    ValueError
        For arguments out of range.

    Notes
    -----
    Mandelbrot & Van Ness, "Fractional Brownian motions, fractional noises and applications", SIAM Review 10, 422
    (1968). From lag 2 on, k^2H is taken out of the bracket and the 1s cancel before they are rounded; at a million lags
    the formula as it stands has no digit left.
    """
    _check_hurst(hurst)
    if not 1 <= count <= SAMPLES_MAX + 1:
        raise ValueError(f"count: expected 1 to {SAMPLES_MAX + 1} lags, found {count}")
    lag = np.arange(2.0, max(count, 2))
    power = 2.0 * hurst
    far = 0.5 * lag**power * (np.expm1(power * np.log1p(1.0 / lag)) + np.expm1(power * np.log1p(-1.0 / lag)))
    return np.concatenate([[1.0, 0.5 * 2.0**power - 1.0], far])[:count]


def fgn(rng: np.random.Generator, hurst: float, samples: int, paths: int = 1) -> Float64Array:
    """Draw paths of fractional Gaussian noise of mean 0 and variance 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        The random source.
    hurst : float
        The Hurst exponent H, 0 < H < 1; 0.5 is white noise.
    samples : int
        The length n of a path, 1 … 2²².
    paths : int
        Their number m, at least 1. All are in memory at once, and some six times their size while they are made.

    Returns
    -------
    float64, shape (m, n)
        Independent paths with the autocovariance of `fgn_autocovariance`, exactly: nothing is approximated.

    Raises
    ------
    ValueError
        For arguments out of range.

    Notes
    -----
    Davies & Harte, "Tests for Hurst effect", Biometrika 74, 95 (1987), appendix; Dietrich & Newsam, "Fast and exact
    simulation of stationary Gaussian processes through circulant embedding of the covariance matrix", SIAM J. Sci.
    Comput. 18, 1088 (1997). The autocovariance up to lag N ≥ n, written there and back on a circle of 2N, is the
    covariance of a periodic process whose Fourier coefficients are independent, with the circle's eigenvalues for
    variances; n neighbours on the circle are a path. Craigmile, J. Time Series Anal. 24, 505 (2003), proves that the
    eigenvalues are not negative for H < ½, Perrin et al., IEEE Signal Process. Lett. 9, 382 (2002), for all H. We
    differ in N: the next length that transforms fast, not the next power of two.
    """
    _check_hurst(hurst)
    if not 1 <= samples <= SAMPLES_MAX:
        raise ValueError(f"samples: expected 1 to {SAMPLES_MAX}, found {samples}")
    if paths < 1:
        raise ValueError(f"paths: expected at least 1, found {paths}")
    half = min(fft.next_fast_len(samples, real=True), SAMPLES_MAX)
    there = fgn_autocovariance(hurst, half + 1)
    variances = fft.rfft(np.concatenate([there, there[-2:0:-1]])).real
    assert variances.min() >= -_ROUNDING * variances.max(), (hurst, samples, variances.min())
    amplitude = np.sqrt(np.maximum(variances, 0.0) * half)
    # The first and the last frequency are real, and have the variance of both parts of the others.
    amplitude[[0, -1]] *= np.sqrt(2.0)
    normals = rng.standard_normal((paths, half + 1, 2))
    normals[:, [0, -1], 1] = 0.0
    coefficients = normals.view(np.complex128)[:, :, 0] * amplitude
    return np.ascontiguousarray(fft.irfft(coefficients, 2 * half, axis=1)[:, :samples])


def _check_hurst(hurst: float) -> None:
    if not 0.0 < hurst < 1.0:
        raise ValueError(f"hurst: expected above 0 and below 1, found {hurst}")
