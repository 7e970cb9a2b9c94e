"""Dynamic conditional correlation (Engle, 2002) of a few assets, each with a variance by `regime.garch`.

With z_t the returns over their conditional deviations, S their sample correlation ("correlation targeting") and scalar
a, b >= 0 with a + b < 1,

    Q_t = (1 − a − b)·S + a·z_{t−1} z'_{t−1} + b·Q_{t−1},   Q_1 = S,   R_t = diag(Q_t)^(−½) Q_t diag(Q_t)^(−½).

Q is a mean of a positive definite matrix and of positive semi-definite ones, so that every R is a correlation matrix.

Source: Engle, "Dynamic conditional correlation: a simple class of multivariate GARCH models", J. Business & Economic
Statistics 20 (2002): his mean-reverting model with scalar parameters, estimated in his two steps. We differ in S: his
is the mean of z z', ours is centred and has its diagonal scaled to 1. Aielli (JBES 31, 2013) shows that either target
is biased in theory, and that the bias is small for the a and b that are found in practice. There are no standard errors
of a and b: those of two steps need the scores of both (Engle & Sheppard, 2001), and the ones of the second step alone
would be too small.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.signal import lfilter

from trisagion.market.types import Float64Array
from trisagion.regime.garch import GarchParams, Model, next_variance, real_series
from trisagion.regime.garch_fit import PERSISTENCE_MAX, GarchFit, GarchSpec
from trisagion.regime.garch_fit import fit as fit_garch

ASSETS_MAX: Final = 50
"""Two parameters for all pairs describe a handful of assets; of more, none of them."""
EIGENVALUE_MIN: Final = 1e-6
"""Of the target: below it one asset is a sum of the others, and the likelihood has no bound."""
ITERATIONS_MAX: Final = 200
EXPLODED: Final = 1e6
"""Stands for an infinite loss per observation, of which the search could make nothing."""

_BLOCK_NUMBERS: Final = 500_000
"""Numbers in the matrices that are held, and factored in one call, at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class DccModel:
    """Parameters of all assets side by side, made by `of`. Arrays of assets have shape (N,), `target` has (N, N)."""

    model: Model
    mu: Float64Array
    omega: Float64Array
    alpha: Float64Array
    gamma: Float64Array
    beta: Float64Array
    abs_mean: Float64Array
    a: float
    b: float
    target: Float64Array

    @classmethod
    def of(cls, assets: Sequence[GarchParams], a: float, b: float, target: Float64Array) -> "DccModel":
        """Put a model together.

        Parameters
        ----------
        assets : sequence of GarchParams
            2 to 50, all of one model.
        a, b : float
            News and memory of the correlations: not negative, together below 1.
        target : float64, shape (N, N)
            The long-run correlations: symmetric, positive definite, with a diagonal of ones.

        Raises
        ------
        ValueError
            When one of them is not that.
        """
        count = len(assets)
        kinds = sorted({params.model for params in assets})
        if not 2 <= count <= ASSETS_MAX or len(kinds) != 1:
            raise ValueError(f"assets: expected 2 to {ASSETS_MAX} of one model, found {count} of {', '.join(kinds)}")
        if not (a >= 0.0 and b >= 0.0 and a + b < 1.0):
            raise ValueError(f"a, b: expected not negative and together below 1, found {a} and {b}")
        if target.shape != (count, count) or not np.isfinite(target).all() or (target != target.T).any():
            raise ValueError(f"target: expected a symmetric finite matrix of shape {(count, count)}")
        if (np.diag(target) != 1.0).any():
            raise ValueError(f"target: expected a diagonal of ones, found {np.diag(target).tolist()}")
        least = float(np.linalg.eigvalsh(target)[0])
        if not least > EIGENVALUE_MIN:
            raise ValueError(
                f"target: expected assets that do not explain each other, eigenvalues above {EIGENVALUE_MIN}; "
                f"the least found is {least:.3g}"
            )
        columns = np.array([(p.mu, p.omega, p.alpha, p.gamma, p.beta, p.abs_mean) for p in assets]).T.copy()
        mu, omega, alpha, gamma, beta, abs_mean = columns
        return cls(assets[0].model, mu, omega, alpha, gamma, beta, abs_mean, a, b, target)


@dataclass(frozen=True, slots=True, eq=False)
class DccState:
    """What is known of the next observation: its variances, shape (N,), and its Q, shape (N, N)."""

    variance: Float64Array
    q: Float64Array

    @property
    def correlation(self) -> Float64Array:
        """The correlations R of the next observation, shape (N, N), with a diagonal of exact ones."""
        return _correlation(self.q)

    @property
    def covariance(self) -> Float64Array:
        """The covariances of the next observation, shape (N, N), in the square of the unit of the returns."""
        deviation = np.sqrt(self.variance)
        return np.asarray(self.correlation * np.outer(deviation, deviation))


@dataclass(frozen=True, slots=True, eq=False)
class DccFit:
    """A model fitted to the returns of some assets.

    Attributes
    ----------
    model : DccModel
        The parameters, ready for `update`.
    assets : tuple of GarchFit
        The first step's fits.
    standardised : float64, shape (n, N)
        The z_t.
    log_likelihood : float
        Of both steps together.
    state : DccState
        Of the observation after the last.
    converged : bool
        Whether all searches did.
    message : str
        Which did not, and why; whether a lies at its bound, where the correlations are constant.
    """

    model: DccModel
    assets: tuple[GarchFit, ...]
    standardised: Float64Array
    log_likelihood: float
    state: DccState
    converged: bool
    message: str


def fit_dcc(returns: Float64Array, spec: GarchSpec | None = None) -> DccFit:
    """Estimate a model in two steps, each by maximum likelihood.

    Parameters
    ----------
    returns : float64, shape (n, N)
        A column for each of 2 to 50 assets, finite, oldest first, as long as `garch_fit.fit` asks for.
    spec : GarchSpec, optional
        Of every asset's variance; by default GARCH(1,1) with a mean and normal errors. The second step is that of
        normal errors in any case, which is consistent also where they are not normal.

    Returns
    -------
    DccFit
        Look at `converged` before using it.

    Raises
    ------
    ValueError
        For returns that a univariate fit refuses (the text names the column), or assets that explain each other.
    """
    series = real_series(returns)
    if series.ndim != 2 or not 2 <= series.shape[1] <= ASSETS_MAX:
        raise ValueError(f"returns: expected shape (n, N) with 2 <= N <= {ASSETS_MAX}, found {series.shape}")
    assets = tuple(_fit_column(series, i, spec or GarchSpec()) for i in range(series.shape[1]))
    z = np.column_stack([asset.standardised for asset in assets])
    deviations = z - z.mean(axis=0)
    products = deviations.T @ deviations
    target = _correlation(0.5 * (products + products.T))
    params = [asset.params for asset in assets]
    # Made once before the search, for its refusals.
    DccModel.of(params, 0.0, 0.0, target)

    def loss(point: Float64Array) -> float:
        persistence, share = point.tolist()
        value = _log_likelihood(z, target, persistence * share, persistence * (1.0 - share))
        return -value / len(z) if math.isfinite(value) else EXPLODED

    starts = [np.array([persistence, share]) for persistence in (0.9, 0.98) for share in (0.02, 0.1)]
    found = minimize(
        loss,
        min(starts, key=loss),
        jac="2-point",
        method="SLSQP",
        bounds=[(0.0, PERSISTENCE_MAX), (0.0, 1.0)],
        options={"maxiter": ITERATIONS_MAX, "ftol": 1e-12},
    )
    persistence, share = found.x.tolist()
    model = DccModel.of(params, persistence * share, persistence * (1.0 - share), target)
    problems = [f"asset {i}: {asset.message}" for i, asset in enumerate(assets) if not asset.converged]
    if not found.success:
        problems.append(f"correlations: {found.message}")
    constant = "" if model.a > 0.0 else "; at a bound: a = 0, the correlations are constant"
    return DccFit(
        model=model,
        assets=assets,
        standardised=z,
        log_likelihood=sum(asset.log_likelihood for asset in assets) - float(found.fun) * len(z),
        state=DccState(np.array([asset.next_variance for asset in assets]), _last_q(model, z)),
        converged=not problems,
        message=("; ".join(problems) or "converged") + constant,
    )


def update(model: DccModel, state: DccState, values: Float64Array) -> DccState:
    """Return what is known of the next observation, once the present one is.

    Parameters
    ----------
    model : DccModel
        The parameters.
    state : DccState
        What was known of the present observation.
    values : float64, shape (N,)
        The present returns.

    Raises
    ------
    ValueError
        For values of another shape, or not finite.
    """
    if values.shape != model.mu.shape or not np.isfinite(values).all():
        raise ValueError(f"values: expected {len(model.mu)} finite returns, found {values}")
    e = values - model.mu
    z = e / np.sqrt(state.variance)
    q = (1.0 - model.a - model.b) * model.target + model.a * np.multiply.outer(z, z) + model.b * state.q
    h = next_variance(model.model, model.omega, model.alpha, model.gamma, model.beta, model.abs_mean, state.variance, e)
    return DccState(h, q)


def correlations(fitted: DccFit) -> Float64Array:
    """Return the conditional correlations of every observation, shape (n, N, N): a large array for many assets."""
    model = fitted.model
    return np.concatenate([_correlation(q) for _, q in _paths(fitted.standardised, model.target, model.a, model.b)])


def _fit_column(series: Float64Array, column: int, spec: GarchSpec) -> GarchFit:
    try:
        return fit_garch(series[:, column], spec)
    except ValueError as error:
        raise ValueError(f"column {column}: {error}") from error


def _correlation(q: Float64Array) -> Float64Array:
    """Scale matrices of shape (…, N, N) to diagonals of exact ones."""
    deviation = np.sqrt(np.diagonal(q, axis1=-2, axis2=-1))
    r = np.asarray(q / (deviation[..., :, np.newaxis] * deviation[..., np.newaxis, :]))
    i = np.arange(q.shape[-1])
    r[..., i, i] = 1.0
    return r


def _paths(z: Float64Array, target: Float64Array, a: float, b: float) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Give z and Q of all observations, block by block: the memory is bounded, and the caller can be stopped."""
    count = z.shape[1]
    rows = max(_BLOCK_NUMBERS // count**2, 1)
    # The difference to the target is a first-order filter of the products' difference to it, one step late.
    carried, before = np.zeros((1, count, count)), np.zeros((1, count, count))
    for begin in range(0, len(z), rows):
        block = z[begin : begin + rows]
        products = block[:, :, np.newaxis] * block[:, np.newaxis, :] - target
        late = np.concatenate([before, products[:-1]])
        if begin == 0:
            late[0] = 0.0
        differences, carried = lfilter([a], [1.0, -b], late, axis=0, zi=carried)
        before = products[-1:]
        yield block, target + differences


def _last_q(model: DccModel, z: Float64Array) -> Float64Array:
    """Return the Q of the observation after the last."""
    q = model.target
    for _, path in _paths(z, model.target, model.a, model.b):
        q = path[-1]
    return (1.0 - model.a - model.b) * model.target + model.a * np.outer(z[-1], z[-1]) + model.b * q


def _log_likelihood(z: Float64Array, target: Float64Array, a: float, b: float) -> float:
    """Return the second step's ``−½ Σ (ln|R| + z'R⁻¹z − z'z)``; −∞ where rounding makes an R singular."""
    total = 0.0
    for block, q in _paths(z, target, a, b):
        try:
            factor = np.linalg.cholesky(_correlation(q))
        except np.linalg.LinAlgError:
            return -math.inf
        white = np.linalg.solve(factor, block[:, :, np.newaxis])[:, :, 0]
        log_determinants = 2.0 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum()
        total -= 0.5 * float(log_determinants + (white * white).sum() - (block * block).sum())
    return total
