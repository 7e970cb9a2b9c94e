"""Markov switching (Hamilton 1989) of means, autoregressions and variances: a plain face of statsmodels' estimators.

statsmodels does the arithmetic. What is added is the platform's way of asking and answering: random starts from the
caller's generator, regimes in a fixed order, transitions with rows that sum to 1, and a result that says whether the
optimiser came to its end. It is for fitting now and then; for live filtering of a model without autoregression, and for
more than a few regimes, there is `trisagion.regime.hmm`.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from statsmodels.tsa.regime_switching.markov_autoregression import MarkovAutoregression
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from trisagion.market.types import Float64Array
from trisagion.regime.hmm import checked_series

REGIMES_MAX: Final = 6
ORDER_MAX: Final = 8
JOINT_STATES_MAX: Final = 1024
"""The filter of an autoregression carries regimes^(order + 1) states, and the optimiser runs it thousands of times."""

RESTARTS_MAX: Final = 100
EM_ITERATIONS: Final = 5
"""EM iterations before the optimiser takes over, statsmodels' own choice."""

BFGS_ENDS: Final = (
    "the gradient has vanished",
    "the iterations allowed were done",
    "the line search found no higher likelihood before the gradient had vanished",
    "the likelihood or its gradient became NaN",
)
"""What the flags of scipy's `fmin_bfgs` mean."""


@dataclass(frozen=True, slots=True, eq=False)
class MarkovSwitchingFit:
    """A fitted Markov switching model of k regimes, numbered by rising mean.

    Parameters
    ----------
    log_likelihood : float
        In nats, given the first `order` samples.
    transition : float64, shape (k, k)
        ``P(S_{t+1} = j | S_t = i)`` in row i, column j. The first regime's distribution is the stationary one.
    mean : float64, shape (k,)
        The switching mean μ, in the unit of y.
    variance : float64, shape (k,)
        Of the errors; all equal unless it switches.
    autoregression : float64, shape (k, order)
        φ_1 … φ_order in each regime; all rows equal unless they switch.
    filtered, smoothed : float64, shape (n − order, k)
        ``P(S_t | y_0 … y_t)`` and ``P(S_t | all y)`` of the samples from number `order` on.
    samples, parameters : int
        Samples in the likelihood, n − order, and free parameters.
    converged : bool
        Whether the optimiser met its tolerance.
    reason : str
        How the optimisation ended.
    """

    log_likelihood: float
    transition: Float64Array
    mean: Float64Array
    variance: Float64Array
    autoregression: Float64Array
    filtered: Float64Array
    smoothed: Float64Array
    samples: int
    parameters: int
    converged: bool
    reason: str

    @property
    def expected_duration(self) -> Float64Array:
        """Mean length of a stay in each regime in samples, shape (k,); inf for a regime never left."""
        leaving = np.where(np.eye(len(self.mean), dtype=bool), 0.0, self.transition).sum(axis=1)
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / leaving)

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return 2.0 * self.parameters - 2.0 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's information criterion."""
        return math.log(self.samples) * self.parameters - 2.0 * self.log_likelihood


def fit_markov_switching(
    y: Float64Array,
    regimes: int,
    rng: np.random.Generator,
    *,
    order: int = 0,
    switching_variance: bool = False,
    switching_autoregression: bool = False,
    restarts: int = 0,
    iterations_max: int = 500,
) -> MarkovSwitchingFit:
    """Fit a Markov switching model by maximum likelihood.

    Parameters
    ----------
    y : float64, shape (n,)
        The series, in any unit, without NaN and infinities; more samples than parameters and lags.
    regimes : int
        k, 2 to 6.
    rng : numpy.random.Generator
        Draws the further starts; not used without restarts.
    order : int
        Number of autoregressive lags, 0 to 8; regimes^(order + 1) at most 1024.
    switching_variance, switching_autoregression : bool
        Whether the errors' variance and the lags' coefficients depend on the regime; the mean always does.
    restarts : int
        Random starts, 0 to 100, beside that of statsmodels; the best by likelihood after a few EM iterations is used.
    iterations_max : int
        Bound of the optimiser's iterations, at least 1.

    Returns
    -------
    MarkovSwitchingFit
        Of ``y_t = μ_{S_t} + Σ_l φ_{l,S_t} (y_{t−l} − μ_{S_{t−l}}) + ε_t``, ``ε_t ~ N(0, σ²_{S_t})``.

    Raises
    ------
    ValueError
        For a series or arguments out of range, and where statsmodels finds no finite likelihood.

    Notes
    -----
    Hamilton, "A new approach to the economic analysis of nonstationary time series and the business cycle",
    Econometrica 57 (1989). `MarkovAutoregression` of statsmodels, `MarkovRegression` for order 0; starts are drawn as
    there, uniformly within ±½ about its own start on the unconstrained scale.
    """
    series = _checked(y, regimes, order, restarts, iterations_max)
    model = _model(series, regimes, order, switching_variance, switching_autoregression)
    if len(series) - order <= model.k_params:
        raise ValueError(f"y: expected more than {model.k_params + order} samples, found {len(series)}")
    # The search passes through impossible parameters, and statsmodels warns of each; what counts is how it ends.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        start = _best_start(model, rng, restarts)
        try:
            result = model.fit(start, em_iter=EM_ITERATIONS, maxiter=iterations_max, cov_type="none", disp=0)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"y: expected a series with a likelihood, statsmodels found: {error}") from error
    if not math.isfinite(result.llf):
        raise ValueError(f"y: expected a series with a finite likelihood, found {result.llf}")
    return _answer(model, result, regimes, order)


def _best_start(model: Any, rng: np.random.Generator, restarts: int) -> Float64Array:
    """Return the likeliest of statsmodels' own start and random ones about it, all after a few EM iterations."""
    own = np.asarray(model.start_params, dtype=np.float64)
    best, highest = own, -math.inf
    if restarts == 0:
        return best
    free = model.untransform_params(own)
    noise = np.vstack([np.zeros(len(free)), rng.uniform(-0.5, 0.5, (restarts, len(free)))])
    for offset in noise:
        try:
            # One step of the optimiser is the least that can be asked for.
            params = model.fit(
                model.transform_params(free + offset), em_iter=EM_ITERATIONS, maxiter=1, return_params=True, disp=0
            )
            reached = float(model.loglike(params))
        except np.linalg.LinAlgError:
            continue
        if reached > highest:
            best, highest = np.asarray(params, dtype=np.float64), reached
    return best


def _model(series: Float64Array, regimes: int, order: int, variance: bool, autoregression: bool) -> Any:
    if order == 0:
        return MarkovRegression(series, k_regimes=regimes, switching_variance=variance)
    return MarkovAutoregression(
        series, k_regimes=regimes, order=order, switching_variance=variance, switching_ar=autoregression
    )


def _answer(model: Any, result: Any, regimes: int, order: int) -> MarkovSwitchingFit:
    """Copy what was found out of statsmodels' result, regimes by rising mean."""
    params = np.asarray(result.params, dtype=np.float64)

    def by_regime(kind: str) -> Float64Array:
        # A parameter that does not switch is at the same place of the vector for every regime.
        return np.array([params[model.parameters[i, kind]] for i in range(regimes)])

    mean = by_regime("exog")[:, 0]
    ordered = np.argsort(mean, kind="stable")
    # statsmodels has the regime that is left in the columns.
    transition = np.asarray(result.regime_transition)[:, :, 0].T
    flag = int(result.mle_retvals["warnflag"])
    return MarkovSwitchingFit(
        log_likelihood=float(result.llf),
        transition=transition[np.ix_(ordered, ordered)],
        mean=mean[ordered],
        variance=by_regime("variance")[ordered, 0],
        autoregression=by_regime("autoregressive")[ordered] if order else np.empty((regimes, 0)),
        filtered=np.asarray(result.filtered_marginal_probabilities)[:, ordered],
        smoothed=np.asarray(result.smoothed_marginal_probabilities)[:, ordered],
        samples=int(model.nobs),
        parameters=int(model.k_params),
        converged=flag == 0,
        reason=BFGS_ENDS[flag],
    )


def _checked(y: Float64Array, regimes: int, order: int, restarts: int, iterations_max: int) -> Float64Array:
    for name, value, low, high in (
        ("regimes", regimes, 2, REGIMES_MAX),
        ("order", order, 0, ORDER_MAX),
        ("restarts", restarts, 0, RESTARTS_MAX),
        ("iterations_max", iterations_max, 1, 100_000),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name}: expected {low} to {high}, found {value}")
    if regimes ** (order + 1) > JOINT_STATES_MAX:
        raise ValueError(f"regimes^(order + 1): expected at most {JOINT_STATES_MAX}, found {regimes ** (order + 1)}")
    series = checked_series(y)
    if series.shape[1] != 1 or not np.isfinite(series).all() or not series.max() > series.min():
        raise ValueError("y: expected one series of finite numbers that vary")
    return series[:, 0]
