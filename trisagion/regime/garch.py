"""Conditional variance by GARCH(1,1), GJR(1,1,1) and EGARCH(1,1): what to do with parameters once they are known.

Filter, stream, forecast and simulate; `regime.garch_fit` estimates. Orders above one are left out on purpose: Hansen &
Lunde, J. Applied Econometrics 20 (2005), compare 330 models and find none that forecasts exchange rates better than
GARCH(1,1), and for stocks only those with a leverage effect, which GJR and EGARCH have.

Returns have any unit, variances its square. All models are stationary: the integrated one (RiskMetrics) is refused. The
recursions, with sources, stand in `ext.garch`.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np
from scipy.special import gammaln, ndtr, psi

import ext.garch
from trisagion.market.types import Float64Array

Model: TypeAlias = Literal["garch", "gjr", "egarch"]
MODELS: Final = ("garch", "gjr", "egarch")

FORECAST_STEPS_MAX: Final = 100_000
SIMULATE_COUNT_MAX: Final = 10_000_000
BURN: Final = 500
"""Observations thrown away before a simulated series, so that it does not remember where it began."""

Number = TypeVar("Number", float, Float64Array)


@dataclass(frozen=True, slots=True)
class GarchParams:
    """Parameters of one model, stationary by construction.

    Attributes
    ----------
    model : {"garch", "gjr", "egarch"}
        ``h = ω + (α + γ·1[e < 0])·e² + β·h`` (γ = 0 for GARCH), or ``ln h = ω + α(|z| − E|z|) + γz + β ln h``.
    mu : float
        Mean of the returns, in their unit.
    omega : float
        In the square of that unit, positive; for EGARCH in its logarithm, any number.
    alpha, gamma, beta : float
        For GARCH and GJR α >= 0, α + γ >= 0, β >= 0 and α + γ/2 + β < 1; for EGARCH −1 < β < 1.
    nu : float
        Degrees of freedom of standardised Student errors, above 2; infinity: normal errors.

    Raises
    ------
    ValueError
        When a number is out of its range.
    """

    model: Model
    mu: float
    omega: float
    alpha: float
    beta: float
    gamma: float = 0.0
    nu: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what has no stationary variance."""
        if self.model not in MODELS:
            raise ValueError(f"model: expected one of {', '.join(MODELS)}, found {self.model!r}")
        if not all(map(math.isfinite, (self.mu, self.omega, self.alpha, self.gamma, self.beta))):
            raise ValueError(f"parameters: expected finite numbers, found {self}")
        if not self.nu > 2.0:
            raise ValueError(f"nu: expected above 2, found {self.nu}")
        if not abs(self.persistence) < 1.0:
            raise ValueError(f"persistence: expected below 1, found {self.persistence}")
        if self.model == "egarch":
            return
        if not self.omega > 0.0:
            raise ValueError(f"omega: expected above 0, found {self.omega}")
        if min(self.alpha, self.alpha + self.gamma, self.beta) < 0.0:
            raise ValueError(f"expected alpha, alpha + gamma and beta of at least 0, found {self}")
        if self.model == "garch" and self.gamma != 0.0:
            raise ValueError(f"gamma: expected 0 in a GARCH model, found {self.gamma}")

    @property
    def persistence(self) -> float:
        """The share of a shock to the variance (EGARCH: to its logarithm) that is left a step later."""
        return self.beta if self.model == "egarch" else self.alpha + 0.5 * self.gamma + self.beta

    @property
    def half_life(self) -> float:
        """Steps until half of a shock is gone; 0 where nothing persists, NaN where its sign alternates."""
        if self.persistence < 0.0:
            return math.nan
        return math.log(0.5) / math.log(self.persistence) if self.persistence > 0.0 else 0.0

    @property
    def unconditional_variance(self) -> float:
        """The long-run variance ω / (1 − persistence); NaN for EGARCH, which has no such short formula."""
        return math.nan if self.model == "egarch" else self.omega / (1.0 - self.persistence)

    @property
    def abs_mean(self) -> float:
        """E|z| of the standardised errors."""
        return abs_mean(self.nu)[0]

    def vector(self) -> Float64Array:
        """Return the parameters in the kernel's order, shape (6,)."""
        return np.array([self.mu, self.omega, self.alpha, self.gamma, self.beta, self.nu])


def abs_mean(nu: float) -> tuple[float, float]:
    """Return E|z| of standardised Student errors (infinite ν: normal ones), and its derivative by ν."""
    if math.isinf(nu):
        return math.sqrt(2.0 / math.pi), 0.0
    ratio = math.exp(gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu))
    value = 2.0 * math.sqrt((nu - 2.0) / math.pi) * ratio / (nu - 1.0)
    growth = 0.5 * (psi(0.5 * (nu + 1.0)) - psi(0.5 * nu)) + 0.5 / (nu - 2.0) - 1.0 / (nu - 1.0)
    return value, value * float(growth)


def conditional_variance(returns: Float64Array, params: GarchParams, start: float | None = None) -> Float64Array:
    """Return the variance of each observation given those before it, and that of the next one.

    Parameters
    ----------
    returns : float64, shape (n,)
        Finite, oldest first, at least one.
    params : GarchParams
        The model.
    start : float, optional
        Variance before the first observation; None: the mean of the squared residuals of the whole series, which is a
        look ahead that a decision must not use.

    Returns
    -------
    float64, shape (n + 1,)
        The last is the forecast for the observation after the last.

    Raises
    ------
    ValueError
        For returns or a start that cannot be used, or a variance that leaves the range of the kernel, as a series in
        an absurd unit makes it do.
    """
    path = ext.garch.conditional_variance(
        real_series(returns), params.vector(), params.model == "egarch", start, params.abs_mean
    )
    if np.isnan(path[-1]):
        raise ValueError(
            f"variance: expected to stay within {ext.garch.VARIANCE_MIN} and {ext.garch.VARIANCE_MAX}, "
            f"left it at observation {int(np.isnan(path).argmax())}"
        )
    return path


def next_variance(
    model: Model,
    omega: Number,
    alpha: Number,
    gamma: Number,
    beta: Number,
    abs_mean: Number,
    variance: Number,
    e: Number,
) -> Number:
    """Return the variance after one with residual e: numbers, or arrays of one shape; nothing is checked."""
    if model == "egarch":
        z: Any = e / np.sqrt(variance)
        grown: Number = np.exp(omega + alpha * (abs(z) - abs_mean) + gamma * z + beta * np.log(variance))
        return grown
    fallen: Any = e < 0.0
    risen: Number = omega + (alpha + gamma * fallen) * (e * e) + beta * variance
    return risen


def update(params: GarchParams, variance: float, value: float) -> float:
    """Return the variance of the next observation, once the present one is known.

    Parameters
    ----------
    params : GarchParams
        The model.
    variance : float
        Of the present observation: the last of `conditional_variance`, or of the `update` before.
    value : float
        The present observation, a return.

    Raises
    ------
    ValueError
        For a variance that is not positive, or a value that is not finite.

    Notes
    -----
    Streaming gives what the batch filter gives: to the last bit for GARCH and GJR; EGARCH's filter carries the
    logarithm, and the two differ by rounding.
    """
    if not (math.isfinite(variance) and variance > 0.0):
        raise ValueError(f"variance: expected a positive finite number, found {variance}")
    if not math.isfinite(value):
        raise ValueError(f"value: expected a finite return, found {value}")
    return float(
        next_variance(
            params.model,
            params.omega,
            params.alpha,
            params.gamma,
            params.beta,
            params.abs_mean,
            variance,
            value - params.mu,
        )
    )


def forecast(params: GarchParams, variance: float, steps: int) -> Float64Array:
    """Return the expected variance of the next observations.

    Parameters
    ----------
    params : GarchParams
        The model.
    variance : float
        Of the next observation, which is known today: it is the first forecast.
    steps : int
        How many, 1 to 100 000.

    Returns
    -------
    float64, shape (steps,)
        ``E[h_{n+k}]`` for k = 1 … steps. The variance of a sum of the next returns is the sum of these.

    Raises
    ------
    ValueError
        For arguments out of range; for EGARCH with Student errors and more than one step, where the expectation is
        infinite: a Student variable has no finite E exp|z|, which is why Nelson took another density. `simulate` draws
        the paths, whose quantiles exist.

    Notes
    -----
    GARCH and GJR, with v the long-run variance and p the persistence: ``v + p^(k−1)·(h_{n+1} − v)``.

    EGARCH with normal errors: ln h_{n+k} is ``β^(k−1) ln h_{n+1} + Σ_j β^j (ω + g(z))`` over j = 0 … k − 2 with
    independent z and ``g(z) = α(|z| − E|z|) + γz``, so that the expectation is a product of
    ``E exp(b·g(z)) = exp(−bαE|z|)·[exp(s²/2)Φ(s) + exp(d²/2)Φ(d)]`` with s = b(α + γ), d = b(α − γ) and b = β^j
    (Nelson, 1991, appendix 1, has the infinite product). Others simulate it; the formula has no noise.
    """
    if not (math.isfinite(variance) and variance > 0.0):
        raise ValueError(f"variance: expected a positive finite number, found {variance}")
    if not 1 <= steps <= FORECAST_STEPS_MAX:
        raise ValueError(f"steps: expected 1 to {FORECAST_STEPS_MAX}, found {steps}")
    ahead = np.arange(float(steps))
    if params.model != "egarch":
        level = params.unconditional_variance
        return level + params.persistence**ahead * (variance - level)
    if steps > 1 and not math.isinf(params.nu):
        raise ValueError(
            "steps: expected 1 for EGARCH with Student errors, whose expected variance is infinite after it"
        )
    weight = params.beta ** ahead[:-1]
    up, down = weight * (params.alpha + params.gamma), weight * (params.alpha - params.gamma)
    expected = np.exp(0.5 * up * up) * ndtr(up) + np.exp(0.5 * down * down) * ndtr(down)
    drift = weight * (params.omega - params.alpha * params.abs_mean) + np.log(expected)
    expectation: Float64Array = np.exp(
        params.beta**ahead * math.log(variance) + np.concatenate([[0.0], np.cumsum(drift)])
    )
    return expectation


def simulate(
    params: GarchParams, count: int, rng: np.random.Generator, *, variance: float | None = None
) -> tuple[Float64Array, Float64Array]:
    """Draw a series from the model.

    Parameters
    ----------
    params : GarchParams
        The model.
    count : int
        Observations, 1 to 10 000 000.
    rng : numpy.random.Generator
        The source of the draws.
    variance : float, optional
        Of the first observation: a path of the future from today's forecast. None: the series is one of the past,
        begun at the long-run variance (EGARCH: its geometric mean) and kept after `BURN` observations. Where the
        half-life is long beside `BURN` it still remembers that.

    Returns
    -------
    returns, variance : float64, shape (count,)
        The observations, and the conditional variance of each.

    Raises
    ------
    ValueError
        For arguments out of range.
    """
    if not 1 <= count <= SIMULATE_COUNT_MAX:
        raise ValueError(f"count: expected 1 to {SIMULATE_COUNT_MAX}, found {count}")
    if variance is None:
        burn = BURN
        h = params.unconditional_variance
        if params.model == "egarch":
            h = math.exp(params.omega / (1.0 - params.beta))
    elif math.isfinite(variance) and variance > 0.0:
        burn, h = 0, variance
    else:
        raise ValueError(f"variance: expected a positive finite number, found {variance}")
    if math.isinf(params.nu):
        z = rng.standard_normal(burn + count)
    else:
        z = rng.standard_t(params.nu, burn + count) * math.sqrt((params.nu - 2.0) / params.nu)
    path = np.empty(burn + count)
    recursion = (params.model, params.omega, params.alpha, params.gamma, params.beta, params.abs_mean)
    for t, shock in enumerate(z.tolist()):
        path[t] = h
        h = float(next_variance(*recursion, h, shock * math.sqrt(h)))
    return params.mu + z[burn:] * np.sqrt(path[burn:]), path[burn:]


def real_series(returns: Float64Array) -> Float64Array:
    """Return a series as float64; raise `ValueError` unless it is an array of real numbers."""
    series = np.asarray(returns)
    if series.dtype.kind not in "fiu":
        raise ValueError(f"returns: expected real numbers, found dtype {series.dtype}")
    return series.astype(np.float64, copy=False)
