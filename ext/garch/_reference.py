"""Conditional variance, likelihood and score of GARCH, GJR and EGARCH in plain Python: the truth of the compiled twin.

With e_t = y_t − μ and z_t = e_t / √h_t the variance h_t of observation t is, by `log_variance`,

    no   h_t     = ω + (α + γ·1[e_{t−1} < 0])·e²_{t−1} + β·h_{t−1}        GARCH(1,1) when γ = 0, else GJR(1,1,1)
    yes  ln h_t  = ω + α·(|z_{t−1}| − E|z|) + γ·z_{t−1} + β·ln h_{t−1}    EGARCH(1,1)

Parameters always come as the six of `PARAMETERS`; a model without one of them sets it to 0, normal errors set ν to
infinity, and the caller ignores that column of the score. Derivatives are the recursions that come from deriving the
line above by each parameter, as in Fiorentini, Calzolari & Panattoni (1996), section 2.

Before the first observation there is one with h_0 = e²_0 = v, where v is `start`, or, for None, the mean of all e²_t,
which depends on μ and is derived by it. GJR counts one half of it as a fall, EGARCH takes |z_0| = E|z| and z_0 = 0.

Sources: Bollerslev, J. Econometrics 31 (1986); Glosten, Jagannathan & Runkle, J. Finance 48 (1993); Nelson,
Econometrica 59 (1991), eq. 2.2; Fiorentini, Calzolari & Panattoni, J. Applied Econometrics 11 (1996). Nelson's γ and θ
are our α and γ. The errors' density may be Student's, scaled to variance 1 (Bollerslev, Rev. Econ. Stat. 69, 1987).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

PARAMETERS: Final = ("mu", "omega", "alpha", "gamma", "beta", "nu")
"""The order of every parameter vector and of the columns of every score."""

VARIANCE_MIN: Final = 1e-100
VARIANCE_MAX: Final = 1e100
"""A path that leaves these bounds has no likelihood: −∞. Squares and products stay far inside the range of a double."""


def conditional_variance(
    returns: NDArray[np.float64],
    params: NDArray[np.float64],
    log_variance: bool,
    start: float | None = None,
    abs_mean: float = 0.0,
) -> NDArray[np.float64]:
    """Return the variance of every observation, and of the one after the last.

    Parameters
    ----------
    returns : float64, shape (n,)
        Observations y, oldest first, at least one.
    params : float64, shape (6,)
        μ, ω, α, γ, β, ν; μ in the unit of `returns`, ω in its square (EGARCH: in the logarithm of its square).
    log_variance : bool
        EGARCH instead of GARCH or GJR.
    start : float, optional
        Variance before the first observation; None: the mean of the squared residuals.
    abs_mean : float
        E|z| of the errors, for EGARCH; the others do not use it.

    Returns
    -------
    float64, shape (n + 1,)
        In the square of the unit of `returns`; NaN from the first value outside [`VARIANCE_MIN`, `VARIANCE_MAX`] on.

    Raises
    ------
    ValueError
        For an observation that is not finite, none at all, a parameter that is not a number (ν may be infinite, and is
        above 2), or a start that is not positive.
    """
    y, theta = check(returns, params, start)
    if log_variance:
        path, _ = _log_variance_path(y, theta, start, abs_mean, 0.0)
    else:
        path, _ = _variance_path(y, theta, start)
    return path


def scores(
    returns: NDArray[np.float64],
    params: NDArray[np.float64],
    log_variance: bool,
    start: float | None = None,
    abs_mean: float = 0.0,
    abs_mean_slope: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each observation's part of the log-likelihood, and its gradient.

    Parameters
    ----------
    returns, params, log_variance, start, abs_mean
        As in `conditional_variance`.
    abs_mean_slope : float
        The derivative of E|z| by ν, for EGARCH.

    Returns
    -------
    terms : float64, shape (n,)
        ``−½ ln h_t − ½ z²_t`` for normal errors (infinite ν), ``−½ ln h_t − ½(ν + 1) ln(1 + z²_t / (ν − 2))`` for
        Student's: the constant of the density, which depends on ν alone, is the caller's to add.
    gradient : float64, shape (n, 6)
        Derivatives of the terms by μ, ω, α, γ, β, ν. Both are NaN from the first variance out of bounds on.

    Raises
    ------
    ValueError
        As `conditional_variance`.
    """
    y, theta = check(returns, params, start)
    if log_variance:
        path, slopes = _log_variance_path(y, theta, start, abs_mean, abs_mean_slope)
    else:
        path, slopes = _variance_path(y, theta, start)
    h, e, nu = path[:-1], y - theta[0], theta[5]
    square = e * e / h
    if math.isinf(nu):
        weight = np.ones(len(y))
        terms = -0.5 * np.log(h) - 0.5 * square
    else:
        weight = (nu + 1.0) / (nu - 2.0 + square)
        terms = -0.5 * np.log(h) - 0.5 * (nu + 1.0) * np.log1p(square / (nu - 2.0))
    gradient = (0.5 * (weight * square - 1.0))[:, np.newaxis] * slopes
    gradient[:, 0] += weight * e / h
    if not math.isinf(nu):
        gradient[:, 5] += 0.5 * (weight * square / (nu - 2.0) - np.log1p(square / (nu - 2.0)))
    return terms, gradient


def log_likelihood(
    returns: NDArray[np.float64],
    params: NDArray[np.float64],
    log_variance: bool,
    start: float | None = None,
    abs_mean: float = 0.0,
    abs_mean_slope: float = 0.0,
) -> tuple[float, NDArray[np.float64]]:
    """Return the sum of the terms of `scores`, and its gradient of shape (6,).

    A path that leaves the bounds, or a sum that is not finite, gives −∞ and a gradient of zeros. Errors are those of
    `scores`.
    """
    terms, gradient = scores(returns, params, log_variance, start, abs_mean, abs_mean_slope)
    value, slope = float(terms.sum()), gradient.sum(axis=0)
    if not (math.isfinite(value) and np.isfinite(slope).all()):
        return -math.inf, np.zeros(len(PARAMETERS))
    return value, slope


def check(
    returns: NDArray[np.float64], params: NDArray[np.float64], start: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return observations and parameters as contiguous float64; raise `ValueError` unless they can be used."""
    y = np.ascontiguousarray(returns, dtype=np.float64)
    theta = np.ascontiguousarray(params, dtype=np.float64)
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"returns: expected shape (n,) with n >= 1, found {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError("returns: expected finite values, found NaN or an infinity")
    if theta.shape != (len(PARAMETERS),):
        raise ValueError(f"params: expected shape ({len(PARAMETERS)},), found {theta.shape}")
    if not np.isfinite(theta[:-1]).all() or not theta[-1] > 2.0:
        raise ValueError(f"params: expected finite numbers and nu above 2, found {theta.tolist()}")
    if start is not None and not (math.isfinite(start) and start > 0.0):
        raise ValueError(f"start: expected a positive finite variance, found {start}")
    return y, theta


def _presample(y: NDArray[np.float64], mu: float, start: float | None) -> tuple[float, float]:
    """Return the variance before the first observation and its derivative by μ."""
    if start is not None:
        return start, 0.0
    e = y - mu
    return float(e @ e) / len(e), -2.0 * float(e.sum()) / len(e)


def _variance_path(
    y: NDArray[np.float64], theta: NDArray[np.float64], start: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return h of shape (n + 1,), and the derivatives of ln h of shape (n, 6), for GARCH and GJR."""
    mu, omega, alpha, gamma, beta, _ = theta.tolist()
    path, slopes = np.full(len(y) + 1, np.nan), np.full((len(y), len(PARAMETERS)), np.nan)
    v, v_slope = _presample(y, mu, start)
    h = omega + (alpha + 0.5 * gamma) * v + beta * v
    slope = np.array([(alpha + 0.5 * gamma + beta) * v_slope, 1.0, v, 0.5 * v, v, 0.0])
    for t, e in enumerate((y - mu).tolist()):
        if not VARIANCE_MIN <= h <= VARIANCE_MAX:
            return path, slopes
        path[t], slopes[t] = h, slope / h
        reaction, fallen = (alpha + gamma, e * e) if e < 0.0 else (alpha, 0.0)
        slope = np.array([-2.0 * reaction * e, 1.0, e * e, fallen, h, 0.0]) + beta * slope
        h = omega + reaction * (e * e) + beta * h
    path[-1] = h if VARIANCE_MIN <= h <= VARIANCE_MAX else np.nan
    return path, slopes


def _log_variance_path(
    y: NDArray[np.float64], theta: NDArray[np.float64], start: float | None, abs_mean: float, abs_mean_slope: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return h of shape (n + 1,), and the derivatives of ln h of shape (n, 6), for EGARCH."""
    mu, omega, alpha, gamma, beta, _ = theta.tolist()
    path, slopes = np.full(len(y) + 1, np.nan), np.full((len(y), len(PARAMETERS)), np.nan)
    v, v_slope = _presample(y, mu, start)
    if not VARIANCE_MIN <= v <= VARIANCE_MAX:
        return path, slopes
    log_h = omega + beta * math.log(v)
    slope = np.array([beta * v_slope / v, 1.0, 0.0, 0.0, math.log(v), 0.0])
    log_min, log_max = math.log(VARIANCE_MIN), math.log(VARIANCE_MAX)
    for t, e in enumerate((y - mu).tolist()):
        if not log_min <= log_h <= log_max:
            return path, slopes
        h = math.exp(log_h)
        z = e / math.sqrt(h)
        path[t], slopes[t] = h, slope
        # z itself falls with ln h, at half its size: that is where the variable part of the recursion comes from.
        pull = alpha * float(np.sign(z)) + gamma
        direct = np.array([-pull / math.sqrt(h), 1.0, abs(z) - abs_mean, z, log_h, -alpha * abs_mean_slope])
        slope = direct + (beta - 0.5 * pull * z) * slope
        log_h = omega + alpha * (abs(z) - abs_mean) + gamma * z + beta * log_h
    path[-1] = math.exp(log_h) if log_min <= log_h <= log_max else np.nan
    return path, slopes
