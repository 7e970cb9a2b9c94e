"""Hidden Markov models: what a fitted one says about a series, sample by sample or in one call.

Three questions are kept apart, because mixing them is how a backtest comes to see the future. `filter_states` and
`update` tell the state from what was known at that sample; they are for live use, and give the same numbers to the last
bit. `smooth_states` and `decode` use the whole series, later samples too; they are for looking back. `forecast` looks
ahead. Fitting is in `hmm_fit`, names for the states in `hmm_preset`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.special import ndtr, stdtr

from ext.hmm import STATES_MAX, VALUE_MAX, VARIABLES_MAX, forward, scores, smooth, trace
from trisagion.market.types import Float64Array, Int64Array

SUM_TOLERANCE: Final = 1e-8
"""Probabilities may miss the sum 1 by this: what many roundings cost, and no more."""
DEVIATION_MIN: Final = 1e-50
"""With samples up to 1e100 a squared distance in units of this stays finite."""
HORIZON_MAX: Final = 10_000

CHUNK_WORK: Final = 5_000_000
"""Inner steps of one kernel call, 10 to 60 ms: the caller gets the word back often enough to be stopped."""


@dataclass(frozen=True, slots=True, eq=False)
class HmmModel:
    """Parameters of a hidden Markov model with k states and d variables; the arrays are copied and read-only.

    Parameters
    ----------
    start : float64, shape (k,)
        Distribution of the first sample's state.
    transition : float64, shape (k, k)
        ``P(S_{t+1} = j | S_t = i)`` in row i, column j.
    mean : float64, shape (k, d)
        Centre of each state, in the unit of the series.
    scale : float64, shape (k, d, d)
        Scale matrix Σ of each state, positive definite, in that unit squared: the covariance of a normal state;
        Student's t has the covariance ``Σ·ν/(ν − 2)``.
    dof : float64, shape (k,)
        Degrees of freedom ν of each state, above 0; inf is the normal distribution.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN, rows that do not sum to 1, or a scale matrix that is not positive definite.
    """

    start: Float64Array
    transition: Float64Array
    mean: Float64Array
    scale: Float64Array
    dof: Float64Array
    whiten: Float64Array = field(init=False, repr=False)
    """Lower triangular W with ``W Σ Wᵀ = I``, shape (k, d, d)."""

    def __post_init__(self) -> None:
        for name in ("start", "transition", "mean", "scale", "dof"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        _check_shapes(self)
        for name, rows in (("start", self.start[None]), ("transition", self.transition)):
            if not ((rows >= 0.0).all() and (abs(rows.sum(axis=1) - 1.0) <= SUM_TOLERANCE).all()):
                raise ValueError(f"{name}: expected probabilities that sum to 1, found {rows.tolist()}")
        if not (abs(self.mean) <= VALUE_MAX).all():
            raise ValueError(f"mean: expected numbers up to {VALUE_MAX:g}, found {self.mean.tolist()}")
        if not (self.dof > 0.0).all():
            raise ValueError(f"dof: expected above 0, found {self.dof.tolist()}")
        object.__setattr__(self, "whiten", _frozen(_whitening(self.scale)))

    @property
    def states(self) -> int:
        """The number k of states."""
        return len(self.start)

    @property
    def variables(self) -> int:
        """The number d of variables."""
        return int(self.mean.shape[1])

    @property
    def covariance(self) -> Float64Array:
        """Covariance matrices, shape (k, d, d); NaN ("unknown") where ν is at most 2 and there is none."""
        factor = np.ones(self.states)
        student = np.isfinite(self.dof)
        known = self.dof > 2.0
        factor[student & known] = self.dof[student & known] / (self.dof[student & known] - 2.0)
        factor[~known] = math.nan
        return self.scale * factor[:, None, None]

    @property
    def expected_duration(self) -> Float64Array:
        """Mean length of a stay in each state in samples, ``1/(1 − a_ii)``, shape (k,); inf for a state never left."""
        # What leaves a row is summed, not subtracted from 1: a state that is hardly ever left keeps its digits.
        leaving = np.where(np.eye(self.states, dtype=bool), 0.0, self.transition).sum(axis=1)
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / leaving)

    @property
    def stationary(self) -> Float64Array:
        """The distribution π with ``π A = π``, shape (k,); the shortest one where the chain falls apart."""
        return stationary_distribution(self.transition)

    def reordered(self, order: Sequence[int]) -> "HmmModel":
        """Return the same model with its states numbered anew: new state i is the old ``order[i]``."""
        if sorted(order) != list(range(self.states)):
            raise ValueError(f"order: expected each of 0 to {self.states - 1} once, found {list(order)}")
        index = np.array(order)
        return HmmModel(
            self.start[index],
            self.transition[np.ix_(index, index)],
            self.mean[index],
            self.scale[index],
            self.dof[index],
        )


@dataclass(frozen=True, slots=True, eq=False)
class FilterState:
    """What a stream has to remember between two samples.

    `probability` (k,) is the state's distribution given all samples so far, `prior` (k,) that of the next sample's
    state, `log_density` the logarithm of the newest sample's predictive density (0 before the first).
    """

    probability: Float64Array
    prior: Float64Array
    log_density: float


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """Filtered states of one series of n samples.

    `probability` (n, k) is ``P(S_t | x_0 … x_t)``, `predicted` (n, k) is ``P(S_t | x_0 … x_{t−1})``, `log_density` (n,)
    is ``log p(x_t | x_0 … x_{t−1})`` in nats, `next_prior` (k,) the distribution of the state after the last sample.
    """

    probability: Float64Array
    predicted: Float64Array
    log_density: Float64Array
    next_prior: Float64Array

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of the series, in nats."""
        return float(self.log_density.sum())

    @property
    def state(self) -> FilterState:
        """What `update` goes on from."""
        return FilterState(self.probability[-1], self.next_prior, float(self.log_density[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class FilteredMany:
    """The same for s series of n samples: shapes (s, n, k), (s, n, k), (s, n), (s, k)."""

    probability: Float64Array
    predicted: Float64Array
    log_density: Float64Array
    next_prior: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class ModelStack:
    """Models of one size side by side, for `filter_many`; each array has the series first. Made by `stack`."""

    start: Float64Array
    transition: Float64Array
    mean: Float64Array
    whiten: Float64Array
    dof: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Forecasts 1 … h samples ahead, a row each.

    `probability` (h, k) of the states, `mean` (h, d) and `covariance` (h, d, d) of the samples; NaN ("unknown") where a
    state's mean (ν at most 1) or covariance (ν at most 2) does not exist.
    """

    probability: Float64Array
    mean: Float64Array
    covariance: Float64Array


def begin(model: HmmModel) -> FilterState:
    """Return the state of a stream before its first sample."""
    return FilterState(model.start, model.start, 0.0)


def update(model: HmmModel, state: FilterState, x: float | Float64Array) -> FilterState:
    """Take one more sample into a stream.

    Parameters
    ----------
    model : HmmModel
        The model, the same at each step.
    state : FilterState
        What `begin`, the last `update` or a `Filtered.state` gave.
    x : float or float64, shape (d,)
        The sample.

    Returns
    -------
    FilterState
        Equal to the batch filter's numbers at this sample, bit for bit.

    Raises
    ------
    ValueError
        For a sample that is NaN, beyond 1e100, of the wrong shape, or excluded by the model.
    """
    sample = np.asarray(x, dtype=np.float64).reshape(1, 1, -1)
    filtered, _, log_density, prior = forward(
        sample, state.prior[None], model.transition[None], model.mean[None], model.whiten[None], model.dof[None]
    )
    return FilterState(filtered[0, 0], prior[0], float(log_density[0, 0]))


def filter_states(model: HmmModel, x: Float64Array) -> Filtered:
    """Return filtered state probabilities: at each sample from that sample and those before it.

    Parameters
    ----------
    model : HmmModel
        The model.
    x : float64, shape (n, d), or (n,) for one variable
        The series, without NaN, at most 1e100 in absolute value; n at least 1.

    Returns
    -------
    Filtered
        Rows of sums 1. Later samples change nothing of earlier rows.

    Raises
    ------
    ValueError
        For a series of the wrong type or shape, NaN or infinities, or a sample that the model excludes.

    Notes
    -----
    Hamilton, "A new approach to the economic analysis of nonstationary time series and the business cycle",
    Econometrica 57 (1989); the same as the forward pass of Rabiner (1989), scaled at each sample.
    """
    series = as_series(model, x)
    done = _filter_group(stack([model]), series[None], model.start[None])
    return Filtered(done.probability[0], done.predicted[0], done.log_density[0], done.next_prior[0])


def log_likelihood(model: HmmModel, x: Float64Array) -> float:
    """Return the log-likelihood of a series in nats; arguments and errors as in `filter_states`."""
    return filter_states(model, x).log_likelihood


def stack(models: Sequence[HmmModel]) -> ModelStack:
    """Lay models of one size side by side; `ValueError` when there is none or their sizes differ."""
    sizes = {(model.states, model.variables) for model in models}
    if len(sizes) != 1:
        raise ValueError(f"expected models of one size (states, variables), found {sorted(sizes)}")
    return ModelStack(
        np.stack([model.start for model in models]),
        np.stack([model.transition for model in models]),
        np.stack([model.mean for model in models]),
        np.stack([model.whiten for model in models]),
        np.stack([model.dof for model in models]),
    )


def filter_many(models: ModelStack, x: Float64Array, prior: Float64Array | None = None) -> FilteredMany:
    """Filter many series, each under its own model, in one call.

    Parameters
    ----------
    models : ModelStack
        One model for each series.
    x : float64, shape (s, n, d)
        The series; with n = 1 it is one live step of all of them.
    prior : float64, shape (s, k), optional
        ``next_prior`` of the call before; without it the series begin here.

    Returns
    -------
    FilteredMany
        For each series what `filter_states` and `update` give, bit for bit.

    Raises
    ------
    ValueError
        As in `filter_states`; one series that cannot be filtered fails the call.
    """
    if x.ndim != 3 or x.dtype != np.float64 or 0 in x.shape:
        raise ValueError(f"x: expected float64 of shape (series, samples, variables), found {x.dtype} {x.shape}")
    prior = models.start if prior is None else np.ascontiguousarray(prior)
    group = max(1, CHUNK_WORK // work_of_a_sample(*models.mean.shape[1:]))
    if group >= len(x):
        return _filter_group(models, x, prior)
    groups = [slice(first, first + group) for first in range(0, len(x), group)]
    done = [_filter_group(_part(models, part), x[part], prior[part]) for part in groups]
    return FilteredMany(
        np.concatenate([part.probability for part in done]),
        np.concatenate([part.predicted for part in done]),
        np.concatenate([part.log_density for part in done]),
        np.concatenate([part.next_prior for part in done]),
    )


def smooth_states(model: HmmModel, x: Float64Array) -> Float64Array:
    """Return smoothed state probabilities ``P(S_t | all samples)``, shape (n, k): they know the future.

    Arguments and errors as in `filter_states`; recursion of Kim (1994), see `ext.hmm`.
    """
    filtered = filter_states(model, x)
    smoothed = np.empty(filtered.probability.shape)
    ratio = None
    for rows in reversed(chunks(model, len(smoothed))):
        smoothed[rows], _, ratio = smooth(filtered.probability[rows], filtered.predicted[rows], model.transition, ratio)
    return smoothed


def decode(model: HmmModel, x: Float64Array) -> tuple[Int64Array, float]:
    """Return the most probable path of states (Viterbi): it knows the future.

    Returns
    -------
    path : int64, shape (n,)
        State of each sample; where paths are equally good, that of lower numbers, from the end.
    log_probability : float
        ``log P(path, x)`` in nats.

    Notes
    -----
    Arguments and errors as in `filter_states`. Rabiner (1989), section III.B, in logarithms.
    """
    series = as_series(model, x)
    with np.errstate(divide="ignore"):
        entry = np.log(model.start)
    blocks = []
    for rows in chunks(model, len(series)):
        delta, entry = scores(series[rows], entry, model.transition, model.mean, model.whiten, model.dof)
        blocks.append(delta)
    last = int(blocks[-1][-1].argmax())
    best = float(blocks[-1][-1, last])
    if best == -math.inf:
        raise ValueError("expected a series that the model can produce, found one of density 0 on every path")
    path = trace(blocks[-1], model.transition, last)
    if len(blocks) == 1:
        return path, best
    paths = [path]
    with np.errstate(divide="ignore"):
        log_transition = np.log(model.transition)
    for delta in reversed(blocks[:-1]):
        before = int((delta[-1] + log_transition[:, paths[-1][0]]).argmax())
        paths.append(trace(delta, model.transition, before))
    return np.concatenate(paths[::-1]), best


def forecast(model: HmmModel, probability: Float64Array, horizon: int) -> Forecast:
    """Return forecasts of states and samples, 1 … h samples ahead.

    Parameters
    ----------
    model : HmmModel
        The model.
    probability : float64, shape (k,)
        Filtered distribution of the newest sample's state.
    horizon : int
        h, 1 to 10 000.

    Returns
    -------
    Forecast
        ``p_h = p A^h``; mean and covariance are those of the mixture of the states with weights p_h.

    Raises
    ------
    ValueError
        For a distribution that is none, or a horizon out of range.
    """
    if not 1 <= horizon <= HORIZON_MAX:
        raise ValueError(f"horizon: expected 1 to {HORIZON_MAX}, found {horizon}")
    _check_distribution(model, probability)
    ahead = np.empty((horizon, model.states))
    for step in range(horizon):
        probability = probability @ model.transition
        ahead[step] = probability
    centres = np.where(model.dof[:, None] > 1.0, model.mean, math.nan)
    mean = ahead @ centres
    away = centres[None] - mean[:, None]
    within = np.einsum("hj,jab->hab", ahead, model.covariance)
    return Forecast(ahead, mean, within + np.einsum("hj,hja,hjb->hab", ahead, away, away))


def predictive_cdf(model: HmmModel, probability: Float64Array, x: Float64Array) -> Float64Array:
    """Return how probable samples up to the observed ones were: the probability integral transform.

    Parameters
    ----------
    model : HmmModel
        The model.
    probability : float64, shape (n, k)
        Forecast distribution of each sample's state: `Filtered.predicted` for one step ahead.
    x : float64, shape (n, d), or (n,) for one variable
        What was observed then.

    Returns
    -------
    float64, shape (n, d)
        ``Σ_j p_tj F_j(x_t)`` for each variable on its own. If the model is true and the forecasts are one step ahead,
        the values of a variable are independent and uniform on [0, 1] (Diebold, Gunther & Tay, "Evaluating density
        forecasts", International Economic Review 39, 1998).

    Raises
    ------
    ValueError
        As in `filter_states`, and when there are not as many forecasts as samples.
    """
    series = as_series(model, x)
    if probability.shape != (len(series), model.states):
        raise ValueError(
            f"probability: expected shape {(len(series), model.states)}, a row each sample, found {probability.shape}"
        )
    spread = np.sqrt(np.diagonal(model.scale, axis1=1, axis2=2))
    result = np.zeros(series.shape)
    for j, nu in enumerate(model.dof):
        z = (series - model.mean[j]) / spread[j]
        result += probability[:, j, None] * (ndtr(z) if math.isinf(nu) else stdtr(nu, z))
    return result


def stationary_distribution(transition: Float64Array) -> Float64Array:
    """Return the distribution π with ``π A = π``, shape (k,); of several the shortest one."""
    k = len(transition)
    equations = np.vstack([transition.T - np.eye(k), np.ones(k)])
    solution = np.linalg.lstsq(equations, np.append(np.zeros(k), 1.0))[0].clip(0.0)
    return np.asarray(solution / solution.sum())


def as_series(model: HmmModel, x: Float64Array) -> Float64Array:
    """Return a series as float64 of shape (n, d), side by side in memory, or raise `ValueError`."""
    series = checked_series(x)
    if series.shape[1] != model.variables:
        raise ValueError(f"x: expected {model.variables} variables, found {series.shape[1]}")
    return series


def checked_series(x: Float64Array) -> Float64Array:
    """Return a series of any number of variables as float64 of shape (n, d), or raise `ValueError`."""
    if x.dtype != np.float64 or x.ndim not in {1, 2} or 0 in x.shape:
        raise ValueError(f"x: expected float64 of shape (samples,) or (samples, variables), found {x.dtype} {x.shape}")
    return np.ascontiguousarray(x if x.ndim == 2 else x[:, None])


def chunks(model: HmmModel, samples: int) -> list[slice]:
    """Cut a series into blocks that one kernel call works through in a few hundredths of a second."""
    rows = max(1, CHUNK_WORK // work_of_a_sample(model.states, model.variables))
    return [slice(first, min(first + rows, samples)) for first in range(0, samples, rows)]


def work_of_a_sample(states: int, variables: int) -> int:
    """Return the inner steps of one sample: sums over states and variables, and an exponential counts as eight."""
    return states * (states + variables**2 + 8)


def _filter_group(models: ModelStack, x: Float64Array, prior: Float64Array) -> FilteredMany:
    done = list(_filter_blocks(models, x, prior))
    if len(done) == 1:
        return FilteredMany(*done[0])
    filtered, predicted, log_density, next_prior = zip(*done, strict=True)
    return FilteredMany(
        np.concatenate(filtered, axis=1),
        np.concatenate(predicted, axis=1),
        np.concatenate(log_density, axis=1),
        next_prior[-1],
    )


def _filter_blocks(
    models: ModelStack, x: Float64Array, prior: Float64Array
) -> Iterator[tuple[Float64Array, Float64Array, Float64Array, Float64Array]]:
    rows = max(1, CHUNK_WORK // (len(x) * work_of_a_sample(*models.mean.shape[1:])))
    for first in range(0, x.shape[1], rows):
        block = np.ascontiguousarray(x[:, first : first + rows])
        done = forward(block, prior, models.transition, models.mean, models.whiten, models.dof)
        prior = done[3]
        yield done


def _part(models: ModelStack, part: slice) -> ModelStack:
    return ModelStack(
        models.start[part], models.transition[part], models.mean[part], models.whiten[part], models.dof[part]
    )


def _frozen(array: Float64Array) -> Float64Array:
    copy = np.array(array, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy


def _check_shapes(model: HmmModel) -> None:
    k, d = len(model.start) if model.start.ndim else 0, model.mean.shape[-1] if model.mean.ndim else 0
    if not (1 <= k <= STATES_MAX and 1 <= d <= VARIABLES_MAX):
        raise ValueError(f"expected 1 to {STATES_MAX} states, 1 to {VARIABLES_MAX} variables, found {k} and {d}")
    for name, shape in (
        ("start", (k,)),
        ("transition", (k, k)),
        ("mean", (k, d)),
        ("scale", (k, d, d)),
        ("dof", (k,)),
    ):
        if getattr(model, name).shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, found {getattr(model, name).shape}")


def _check_distribution(model: HmmModel, probability: Float64Array) -> None:
    if (
        probability.shape != (model.states,)
        or not (probability >= 0.0).all()
        or not abs(probability.sum() - 1.0) <= SUM_TOLERANCE
    ):
        raise ValueError(f"probability: expected {model.states} that sum to 1, found {probability.tolist()}")


def _whitening(scale: Float64Array) -> Float64Array:
    deviation = np.diagonal(scale, axis1=1, axis2=2)
    if not ((deviation >= DEVIATION_MIN**2) & (deviation <= VALUE_MAX**2)).all():
        raise ValueError(
            f"scale: expected deviations from {DEVIATION_MIN:g} to {VALUE_MAX:g}, found squares {deviation.tolist()}"
        )
    if scale.shape[1] == 1:
        return np.asarray(1.0 / np.sqrt(scale))
    unit = np.sqrt(deviation[:, :, None] * deviation[:, None, :])
    if not (abs(scale - scale.transpose(0, 2, 1)) <= SUM_TOLERANCE * unit).all():
        raise ValueError(f"scale: expected symmetric matrices, found {scale.tolist()}")
    try:
        factor = np.linalg.cholesky(scale)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"scale: expected positive definite matrices, found {scale.tolist()}") from error
    return np.tril(np.linalg.inv(factor))
