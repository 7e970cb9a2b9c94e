"""Which assets fall together: Student's t copula, its tail dependence, and the same counted from the data.

"DM" is Demarta & McNeil, "The t copula and related copulas", Int. Stat. Rev. 73, 111 (2005). The margins do not matter:
everything is computed from ranks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, stdtr, stdtrit
from scipy.stats import rankdata

from trisagion.market.types import Float64Array

OBSERVATIONS_MIN: Final = 20
"""Fewer say nothing about a tail."""

FREEDOM_MIN: Final = 1.0
FREEDOM_MAX: Final = 200.0
"""Degrees of freedom looked at. At the upper end a few thousand days cannot tell the copula from a normal one."""

EIGENVALUE_MIN: Final = 1e-6
"""Least eigenvalue of a repaired correlation matrix, whose largest is between 1 and the number of assets."""

_COMPARISONS: Final = 1_000_000
"""Comparisons of two observations at a time: some ten milliseconds, and a few megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class StudentCopula:
    """A t copula fitted to d assets.

    Attributes
    ----------
    correlation : float64, shape (d, d)
        Positive definite.
    freedom : float
        Degrees of freedom ν, from 1 to 200.
    log_likelihood : float
        Of the pseudo-observations.
    repaired : bool
        Whether the matrix of ``sin(πτ/2)`` was not positive definite and had to be changed; see `nearest_correlation`.
    converged : bool
        Whether the likelihood has its maximum within the range of ν; `reason` says why not.
    reason : str
    """

    correlation: Float64Array
    freedom: float
    log_likelihood: float
    repaired: bool
    converged: bool
    reason: str


def kendall_tau(x: Float64Array) -> Float64Array:
    """Return Kendall's rank correlation τ-b of every pair of columns.

    Parameters
    ----------
    x : float64, shape (n, d)
        Finite, n >= 2, no column constant.

    Returns
    -------
    float64, shape (d, d)
        Symmetric, ones on the diagonal.

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Kendall, "The treatment of ties in ranking problems", Biometrika 33, 239 (1945): the signs of all n(n − 1)/2
    differences of a column are one long vector, and τ-b is the cosine of two such. Written so, all pairs of columns are
    one matrix product; it costs O(n²), and beats O(n log n) for each pair up to some thousand observations.
    """
    values = _observations(x, 2)
    n, d = values.shape
    products = np.zeros((d, d))
    rows = max(1, _COMPARISONS // (n * d))
    columns = np.ascontiguousarray(values.T)
    for first in range(0, n, rows):
        # Every pair is seen twice, and each observation once with itself, which counts nothing.
        block = columns[:, first : first + rows, None]
        others = columns[:, None, :]
        signs = np.subtract(block > others, block < others, dtype=np.float32).reshape(d, -1)
        # Sums of up to 1e6 ones are exact in float32.
        products += signs @ signs.T
    lengths = np.sqrt(np.diag(products))
    tau: Float64Array = np.clip(products / np.outer(lengths, lengths), -1.0, 1.0)
    np.fill_diagonal(tau, 1.0)
    return tau


def nearest_correlation(matrix: Float64Array) -> tuple[Float64Array, bool]:
    """Make a symmetric matrix with unit diagonal positive definite, and tell whether that was needed.

    Parameters
    ----------
    matrix : float64, shape (d, d)

    Returns
    -------
    correlation : float64, shape (d, d)
        The matrix itself where its least eigenvalue is at least 1e-6.
    repaired : bool

    Raises
    ------
    ValueError
        For a matrix that is not finite, square, symmetric, or without a diagonal of ones.

    Notes
    -----
    The eigenvalue method of Rousseeuw & Molenberghs, "Transformation of non positive semidefinite correlation
    matrices", Communications in Statistics 22, 965 (1993), which DM use: eigenvalues below the least one are raised to
    it, and the result is scaled back to a diagonal of ones. Near to the matrix given, not the nearest.
    """
    given = np.asarray(matrix, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or not np.isfinite(given).all():
        raise ValueError(f"matrix: expected finite values, shape (d, d), found shape {given.shape}")
    if not np.allclose(given, given.T, rtol=0.0, atol=1e-12) or not np.allclose(np.diag(given), 1.0, atol=1e-12):
        raise ValueError("matrix: expected a symmetric matrix with ones on its diagonal")
    eigenvalues, vectors = np.linalg.eigh(given)
    if eigenvalues[0] >= EIGENVALUE_MIN:
        return given, False
    raised = (vectors * np.maximum(eigenvalues, EIGENVALUE_MIN)) @ vectors.T
    scale = 1.0 / np.sqrt(np.diag(raised))
    correlation = (raised + raised.T) / 2.0 * np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return correlation, True


def fit_student_copula(x: Float64Array) -> StudentCopula:
    """Fit a t copula: correlation by inversion of Kendall's τ, degrees of freedom by likelihood.

    Parameters
    ----------
    x : float64, shape (n, d)
        Observations of d >= 2 assets, finite, n >= 20, no column constant; for example daily returns.

    Returns
    -------
    StudentCopula

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    DM section 4.2: the method of moments for the correlation, then pseudo-likelihood for ν alone. Pseudo-observations
    are ``rank/(n + 1)``, ties sharing their mean rank, so that all columns together hold at most 2n different ones:
    Student's quantile, the dear part, is evaluated once for each and looked up. The maximum is sought in ``log ν``.
    """
    values = _observations(x, OBSERVATIONS_MIN)
    if values.shape[1] < 2:
        raise ValueError(f"x: expected at least 2 columns, found {values.shape[1]}")
    raw = np.sin(math.pi / 2.0 * kendall_tau(values))
    np.fill_diagonal(raw, 1.0)
    correlation, repaired = nearest_correlation(raw)
    log_likelihood = _likelihood(rankdata(values, axis=0) / (len(values) + 1.0), correlation)
    ends = math.log(FREEDOM_MIN), math.log(FREEDOM_MAX)
    found = minimize_scalar(
        lambda log_freedom: -log_likelihood(math.exp(log_freedom)),
        bounds=ends,
        method="bounded",
        options={"xatol": 1e-5},
    )
    reason = "" if found.success else f"the search ended early: {found.message}"
    best = float(found.x)
    # The search stays a hair inside its bounds.
    if best > ends[1] - 1e-3:
        reason = f"the likelihood still rises at {FREEDOM_MAX:g} degrees of freedom: the copula is as good as normal"
    elif best < ends[0] + 1e-3:
        reason = f"the likelihood still rises at {FREEDOM_MIN:g} degrees of freedom: the tails are beyond the model"
    return StudentCopula(correlation, math.exp(best), -float(found.fun), repaired, not reason, reason)


def sample_student_copula(
    generator: np.random.Generator, correlation: Float64Array, freedom: float, count: int
) -> Float64Array:
    """Draw from a t copula.

    Parameters
    ----------
    generator : numpy.random.Generator
    correlation : float64, shape (d, d)
        Positive definite, with unit diagonal.
    freedom : float
        Degrees of freedom, positive.
    count : int
        At least 1.

    Returns
    -------
    float64, shape (count, d)
        Uniform on (0, 1) in each column.

    Raises
    ------
    ValueError
        For arguments out of range.

    Notes
    -----
    DM section 2.2: a normal vector over the root of an independent ``χ²/ν``, each part through Student's distribution.
    """
    if not 0.0 < freedom < math.inf:
        raise ValueError(f"freedom: expected a positive finite number, found {freedom}")
    if count < 1:
        raise ValueError(f"count: expected at least 1, found {count}")
    matrix, wanting = nearest_correlation(correlation)
    if wanting:
        raise ValueError("correlation: expected a positive definite matrix")
    normal = generator.standard_normal((count, len(matrix))) @ np.linalg.cholesky(matrix).T
    mixing = generator.chisquare(freedom, count) / freedom
    return np.asarray(stdtr(freedom, normal / np.sqrt(mixing)[:, None]))


def tail_dependence(correlation: Float64Array, freedom: float) -> Float64Array:
    """Return the coefficients of tail dependence of a t copula; upper and lower are the same.

    Parameters
    ----------
    correlation : float64, any shape
        Each from −1 to 1.
    freedom : float
        Degrees of freedom ν, positive.

    Returns
    -------
    float64, the shape of `correlation`
        ``λ = 2·t(−√((ν + 1)(1 − ρ)/(1 + ρ)))`` with the distribution function of ν + 1 degrees of freedom: the limit of
        the probability that one asset is beyond its quantile, given that the other is.

    Raises
    ------
    ValueError
        For values out of range.

    Notes
    -----
    Embrechts, McNeil & Straumann (2001); DM proposition 1.
    """
    rho = np.asarray(correlation, dtype=np.float64)
    if not (np.abs(rho) <= 1.0).all():
        raise ValueError("correlation: expected values from -1 to 1")
    if not 0.0 < freedom < math.inf:
        raise ValueError(f"freedom: expected a positive finite number, found {freedom}")
    with np.errstate(divide="ignore"):
        away = np.sqrt((freedom + 1.0) * (1.0 - rho) / (1.0 + rho))
    return np.asarray(2.0 * stdtr(freedom + 1.0, -away))


def empirical_tail_dependence(x: Float64Array, k: int) -> tuple[Float64Array, Float64Array]:
    """Count how often two assets have their k lowest, or their k highest, observations together.

    Parameters
    ----------
    x : float64, shape (n, d)
        Finite, no column constant.
    k : int
        From 1 to n/2. Large enough to count, small enough to be a tail; √n is usual.

    Returns
    -------
    lower, upper : float64, shape (d, d)
        Observations that are among the k of both columns, over k. For independent columns about k/n, not 0.

    Raises
    ------
    ValueError
        For anything else, or when a tie leaves it open which observations are the k.

    Notes
    -----
    Schmidt & Stadtmüller, "Non-parametric estimation of tail dependence", Scand. J. Stat. 33, 307 (2006), the estimator
    of the tail copula at (1, 1). They assume that there are no ties.
    """
    values = _observations(x, 2)
    n = len(values)
    if not 1 <= k <= n // 2:
        raise ValueError(f"k: expected 1 to {n // 2}, half the observations, found {k}")
    ordered = np.sort(values, axis=0)
    low = (values <= ordered[k - 1]).astype(np.float64)
    high = (values >= ordered[n - k]).astype(np.float64)
    if (low.sum(axis=0) != k).any() or (high.sum(axis=0) != k).any():
        raise ValueError(f"k: expected no tie between the {k}th and the next observation of a column; choose another")
    return low.T @ low / k, high.T @ high / k


def _observations(x: Float64Array, least: int) -> Float64Array:
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2 or len(values) < least or values.shape[1] == 0:
        raise ValueError(f"x: expected shape (n, d) with n >= {least} and d >= 1, found {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("x: expected finite values")
    constant = np.flatnonzero(values.min(axis=0) == values.max(axis=0))
    if len(constant) > 0:
        raise ValueError(f"x: expected columns that are not constant, found column {constant[0]}")
    return values


def _likelihood(uniforms: Float64Array, correlation: Float64Array) -> Callable[[float], float]:
    """Return the log-likelihood of a t copula as a function of its degrees of freedom.

    With z the Student quantiles of an observation: ``log t_d(z; ν, R) − Σ log t_1(z_j; ν)``, the multivariate density
    over those of its margins.
    """
    n, d = uniforms.shape
    distinct, place = np.unique(uniforms, return_inverse=True)
    place = place.reshape(n, d)
    weights = np.bincount(place.ravel()).astype(np.float64)
    root = np.linalg.cholesky(correlation)
    # By NumPy: SciPy's triangular solver wakes a pool of threads, which costs more than all the rest.
    whiten = np.linalg.inv(root).T
    log_determinant = 2.0 * float(np.log(np.diag(root)).sum())

    def log_likelihood(freedom: float) -> float:
        quantiles = stdtrit(freedom, distinct)
        whitened = quantiles[place] @ whiten
        joint = np.log1p(np.einsum("ij,ij->i", whitened, whitened) / freedom).sum()
        margins = weights @ np.log1p(quantiles * quantiles / freedom)
        constant = (
            gammaln((freedom + d) / 2.0) + (d - 1) * gammaln(freedom / 2.0) - d * gammaln((freedom + 1.0) / 2.0)
        ) - log_determinant / 2.0
        return float(n * constant - (freedom + d) / 2.0 * joint + (freedom + 1.0) / 2.0 * margins)

    return log_likelihood
