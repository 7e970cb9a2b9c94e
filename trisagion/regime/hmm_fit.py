"""Fitting hidden Markov models: Baum–Welch, with Student's t by ECM, from several starts.

The kernels keep probabilities scaled at each sample, see `ext.hmm`: no length and no outlier makes them underflow. But
for rounding an iteration never lowers the likelihood: every constraint (a floor under the variances, bounds of the
degrees of freedom, a diagonal) is kept by taking the constrained maximum of the M-step, not by correcting the free one.

The likelihood of a hidden Markov model has many local maxima and, without a floor under the variances, none that is
global: a state that sits on one sample has an infinite density. Hence the floor, and hence the starts.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma

from ext.hmm import STATES_MAX, VALUE_MAX, moments, smooth
from trisagion.market.types import Float64Array, Int64Array
from trisagion.regime.hmm import (
    HmmModel,
    as_series,
    checked_series,
    chunks,
    filter_states,
    log_likelihood,
    stationary_distribution,
)

DOF_MIN: Final = 2.1
DOF_MAX: Final = 200.0
"""Bounds of estimated degrees of freedom: the variance exists; above, the likelihood cannot tell t from normal."""
DOF_START: Final = 10.0

RESTARTS_MAX: Final = 1000
ITERATIONS_MAX: Final = 100_000
SHORT_ITERATIONS: Final = 25
"""Each start runs so far, the best one to the end (Biernacki, Celeux & Govaert, Comput. Stat. Data Anal. 41, 2003)."""

ROUNDING: Final = 1e-10
"""Relative loss of likelihood that is put down to rounding: 1e-16 a sample, and many of them."""
STEP_HALVINGS: Final = 30

LOCAL_WINDOW: Final = 11
"""Samples over which a start measures how volatile a stretch is: two trading weeks and the day itself."""

Covariance = Literal["diagonal", "full"]
Start = Literal["free", "stationary"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a fit may and may not do; a `ValueError` when out of range.

    Parameters
    ----------
    covariance : "diagonal" or "full"
        Whether a state's variables may be correlated.
    start : "free" or "stationary"
        Whether the first state's distribution is estimated (Rabiner) or that of the transition matrix (Hamilton).
    fit_dof : bool
        Estimate the degrees of freedom of states that are not normal; else they stay.
    variance_floor : float
        Least variance of a state, as a share of the whole series' variance, variable by variable.
    iterations_max : int
        Bound of the iterations.
    tolerance : float
        In nats: a fit has converged when its likelihood is estimated to rise by less than this in all iterations to
        come (Aitken's extrapolation: Böhning et al., Ann. Inst. Statist. Math. 46, 1994). 0 does all the iterations.
    """

    covariance: Covariance = "diagonal"
    start: Start = "free"
    fit_dof: bool = True
    variance_floor: float = 1e-6
    iterations_max: int = 1000
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.covariance not in {"diagonal", "full"} or self.start not in {"free", "stationary"}:
            raise ValueError(f"expected diagonal or full, free or stationary, found {self.covariance}, {self.start}")
        if not 0.0 < self.variance_floor < 1.0:
            raise ValueError(f"variance_floor: expected between 0 and 1, found {self.variance_floor}")
        if not 1 <= self.iterations_max <= ITERATIONS_MAX:
            raise ValueError(f"iterations_max: expected 1 to {ITERATIONS_MAX}, found {self.iterations_max}")
        if not 0.0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance: expected 0 or more, found {self.tolerance}")


@dataclass(frozen=True, slots=True, eq=False)
class HmmFit:
    """A fitted model and how it came about.

    Parameters
    ----------
    model : HmmModel
        `fit` numbers its states by rising scale of the first variable, `baum_welch` leaves them as they were.
    log_likelihood : float
        Of the model, in nats.
    samples, parameters : int
        Number of samples and of free parameters.
    history : float64, shape (iterations + 1,)
        Log-likelihood of the starting model and after each iteration.
    converged : bool
        Whether the tolerance was met.
    reason : str
        Why the iterations stopped.
    starts : float64, shape (restarts,)
        Log-likelihoods that the starts had reached when the best was chosen. Far apart, they say that the maximum found
        may not be the highest.
    """

    model: HmmModel
    log_likelihood: float
    samples: int
    parameters: int
    history: Float64Array
    converged: bool
    reason: str
    starts: Float64Array

    @property
    def iterations(self) -> int:
        """The number of iterations done."""
        return len(self.history) - 1

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return 2.0 * self.parameters - 2.0 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's information criterion."""
        return math.log(self.samples) * self.parameters - 2.0 * self.log_likelihood


@dataclass(frozen=True, slots=True, eq=False)
class _Expected:
    """The E-step's sums; all but the first as `ext.hmm.moments` and `ext.hmm.smooth` describe them."""

    log_likelihood: float
    first_state: Float64Array
    flows: Float64Array
    weight: Float64Array
    scaled: Float64Array
    first: Float64Array
    second: Float64Array
    log_term: Float64Array


def fit(
    x: Float64Array,
    states: int,
    rng: np.random.Generator,
    *,
    dof: float | None = math.inf,
    rules: Rules | None = None,
    restarts: int = 8,
) -> HmmFit:
    """Fit a hidden Markov model to a series.

    Parameters
    ----------
    x : float64, shape (n, d), or (n,) for one variable
        The series, without NaN, at most 1e100 in absolute value; at least as many samples as parameters.
    states : int
        k, 1 to 32.
    rng : numpy.random.Generator
        Draws the starts but the first two.
    dof : float, optional
        Degrees of freedom of all states: inf (normal), a fixed number above 0, or None to estimate those of each state.
    rules : Rules, optional
        `Rules()` by default; its `fit_dof` is set by `dof`.
    restarts : int
        Number of starts, 1 to 1000. The first divides the samples by local volatility, the second by level, the others
        by the nearest of k samples drawn at random, in level and local volatility.

    Returns
    -------
    HmmFit
        The best of the starts, run to the end. Its states are numbered by rising scale of the first variable (then by
        mean): means of returns are within their own errors of each other and would change places from fit to fit.

    Raises
    ------
    ValueError
        For a series that is too short, does not vary, has NaN or infinities or the wrong shape; for arguments out of
        range.

    Notes
    -----
    Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE 77 (1989), section III.C; Peel & McLachlan,
    "Robust mixture modelling using the t distribution", Statistics and Computing 10 (2000), for Student's t.
    We differ in bounding variances and degrees of freedom; a state that no sample belongs to keeps its density.
    """
    series = checked_series(x)
    if dof is not None and not dof > 0.0:
        raise ValueError(f"dof: expected above 0, or None to estimate, found {dof}")
    if not 1 <= restarts <= RESTARTS_MAX:
        raise ValueError(f"restarts: expected 1 to {RESTARTS_MAX}, found {restarts}")
    if not 1 <= states <= STATES_MAX:
        raise ValueError(f"states: expected 1 to {STATES_MAX}, found {states}")
    rules = replace(rules or Rules(), fit_dof=dof is None)
    floor = _floor(series, rules)
    short = replace(rules, iterations_max=min(SHORT_ITERATIONS, rules.iterations_max))
    tried: list[HmmFit] = []
    for labels in _starting_labels(series, states, rng, restarts):
        begin = _from_labels(series, labels, states, DOF_START if dof is None else dof, floor)
        if len(series) < (wanted := _parameters(begin, rules)):
            raise ValueError(f"x: expected as many samples as parameters, {wanted}, found {len(series)}")
        tried.append(baum_welch(begin, series, short))
    best = max(tried, key=lambda one: one.log_likelihood)
    done = best
    if not best.converged and best.iterations < rules.iterations_max:
        left = replace(rules, iterations_max=rules.iterations_max - best.iterations)
        done = baum_welch(best.model, series, left)
        done = replace(done, history=np.concatenate([best.history[:-1], done.history]))
    spread = done.model.scale[:, 0, 0]
    order = np.lexsort((done.model.mean[:, 0], spread)).tolist()
    return replace(
        done,
        model=done.model.reordered(order),
        starts=np.array([one.log_likelihood for one in tried], dtype=np.float64),
    )


def baum_welch(model: HmmModel, x: Float64Array, rules: Rules | None = None) -> HmmFit:
    """Improve a model by Baum–Welch iterations.

    Parameters
    ----------
    model : HmmModel
        Where to begin. Transitions and starts of probability 0 stay 0, states with ν = inf stay normal. Where the rules
        want a stationary start, its own is replaced before the first iteration.
    x : float64, shape (n, d), or (n,) for one variable
        The series, as in `fit`.
    rules : Rules, optional
        `Rules()` by default.

    Returns
    -------
    HmmFit
        With the states in the order in which they came, and one entry in `starts`.

    Raises
    ------
    ValueError
        As in `filter_states`; for a series that does not vary; for estimated degrees of freedom outside 2.1 … 200, a
        variance below the floor, or a covariance where the rules want none.
    """
    rules = rules or Rules()
    series = as_series(model, x)
    floor = _floor(series, rules)
    _check_begin(model, rules, floor)
    if rules.start == "stationary":
        model = replace(model, start=model.stationary)
    history: list[float] = []
    before, stop = model, None
    for _ in range(rules.iterations_max):
        expected = _expect(model, series)
        history.append(expected.log_likelihood)
        stop = _stopped(history, rules.tolerance)
        if stop is not None:
            break
        before, model = model, _maximise(model, expected, rules, floor)
    else:
        history.append(log_likelihood(model, series))
        stop = _stopped(history, 0.0)
    converged, reason = stop or (False, f"{rules.iterations_max} iterations were done")
    if _fell(history):
        model = before
        history.pop()
    return HmmFit(
        model=model,
        log_likelihood=history[-1],
        samples=len(series),
        parameters=_parameters(model, rules),
        history=np.array(history),
        converged=converged,
        reason=reason,
        starts=np.array(history[-1:]),
    )


def _stopped(history: list[float], tolerance: float) -> tuple[bool, str] | None:
    """Return whether the fit has converged and why it stops, None if it goes on."""
    if len(history) < 2:
        return None
    gain = history[-1] - history[-2]
    if _fell(history):
        return False, f"the log-likelihood fell by {-gain:.3g} nats: the arithmetic has come to its end"
    if tolerance == 0.0:
        return None
    if gain <= 0.0:
        return True, "the log-likelihood has stopped rising"
    if len(history) < 3:
        return None
    rate = gain / (history[-2] - history[-3])
    if rate < 1.0 and gain * rate / (1.0 - rate) < tolerance:
        return True, f"less than {tolerance:g} nats are left to gain"
    return None


def _fell(history: list[float]) -> bool:
    """Tell whether the newest likelihood is lower than the one before by more than rounding."""
    return len(history) > 1 and history[-1] < history[-2] - ROUNDING * max(1.0, abs(history[-1]))


def _expect(model: HmmModel, series: Float64Array) -> _Expected:
    """Do the E-step: forward over the whole series, then backward block by block."""
    filtered = filter_states(model, series)
    flows = np.zeros(model.transition.shape)
    sums: list[Float64Array] | None = None
    ratio = None
    smoothed = filtered.probability
    for rows in reversed(chunks(model, len(series))):
        smoothed, moved, ratio = smooth(filtered.probability[rows], filtered.predicted[rows], model.transition, ratio)
        flows += moved
        part = moments(series[rows], smoothed, model.mean, model.whiten, model.dof)
        sums = list(part) if sums is None else [whole + piece for whole, piece in zip(sums, part, strict=True)]
    assert sums is not None
    return _Expected(filtered.log_likelihood, smoothed[0], flows, *sums)


def _maximise(model: HmmModel, expected: _Expected, rules: Rules, floor: Float64Array) -> HmmModel:
    """Do the M-step (for Student's t the two CM-steps)."""
    transition = model.transition.copy()
    leaving = expected.flows.sum(axis=1)
    left = leaving > 0.0
    transition[left] = expected.flows[left] / leaving[left, None]
    start = expected.first_state / expected.first_state.sum()
    if rules.start == "stationary":
        transition = _stationary_step(model.transition, expected)
        start = stationary_distribution(transition)

    # A state without samples has nothing to be estimated from; what it was does not lower the likelihood.
    seen = expected.scaled > np.finfo(np.float64).tiny / np.finfo(np.float64).eps
    scaled, weight = np.where(seen, expected.scaled, 1.0), np.where(seen, expected.weight, 1.0)
    moved = np.where(seen[:, None], expected.first / scaled[:, None], 0.0)
    scatter = expected.second - expected.scaled[:, None, None] * moved[:, :, None] * moved[:, None, :]
    scale = np.where(seen[:, None, None], _floored(scatter / weight[:, None, None], rules, floor), model.scale)
    dof = model.dof
    if rules.fit_dof and not np.isinf(dof).all():
        dof = np.array([_dof_step(model, expected, j) if seen[j] else dof[j] for j in range(len(dof))])
    return HmmModel(start, transition, model.mean + moved, scale, dof)


def _floored(scale: Float64Array, rules: Rules, floor: Float64Array) -> Float64Array:
    """Return the likeliest scale matrices that are nowhere below the floor."""
    if rules.covariance == "diagonal":
        variances = np.maximum(np.diagonal(scale, axis1=1, axis2=2), floor)
        return np.asarray(variances[:, :, None] * np.eye(len(floor)))
    # In units of the floor the constraint says that no eigenvalue is below 1.
    unit = np.sqrt(floor)
    relative = scale / (unit[:, None] * unit)
    values, vectors = np.linalg.eigh(0.5 * (relative + relative.transpose(0, 2, 1)))
    kept = np.einsum("jab,jb,jcb->jac", vectors, np.maximum(values, 1.0), vectors) * (unit[:, None] * unit)
    return np.asarray(0.5 * (kept + kept.transpose(0, 2, 1)))


def _dof_step(model: HmmModel, expected: _Expected, j: int) -> float:
    """Return the degrees of freedom of a state that maximise the expected log-likelihood.

    With ψ the digamma function they solve ``log(ν/2) − ψ(ν/2) + 1 + mean(log u − u) + ψ((ν° + d)/2) − log((ν° + d)/2) =
    0``, ν° being the value of the iteration before (Peel & McLachlan 2000). The left side falls with ν.
    """
    old = float(model.dof[j])
    if math.isinf(old):
        return old
    half = 0.5 * (old + model.variables)
    known = 1.0 + float(expected.log_term[j] / expected.weight[j]) + float(digamma(half)) - math.log(half)

    def slope(nu: float) -> float:
        return math.log(0.5 * nu) - float(digamma(0.5 * nu)) + known

    if slope(DOF_MIN) <= 0.0:
        return DOF_MIN
    if slope(DOF_MAX) >= 0.0:
        return DOF_MAX
    return float(brentq(slope, DOF_MIN, DOF_MAX, xtol=1e-10))


def _stationary_step(transition: Float64Array, expected: _Expected) -> Float64Array:
    """Return transitions that raise ``Σ n_ij log a_ij + Σ γ_0m log π_m(A)``, π being the stationary distribution.

    The derivative of the second sum is ``π_i (Z γ_0/π)_j`` with ``Z = (I − A + 1π)^−1`` (Schweitzer, "Perturbation
    theory and finite Markov chains", J. Appl. Prob. 5, 1968). A row of it may be shifted by a constant, since rows of A
    sum to 1; made positive, it counts as further transitions (Baum & Eagon's growth transform). That is a direction of
    ascent, 0 only where the sum is stationary; steps are halved until they rise.
    """

    def gain(candidate: Float64Array) -> float:
        share = stationary_distribution(candidate)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.where(expected.flows > 0.0, expected.flows * np.log(candidate), 0.0).sum()
            began = np.where(expected.first_state > 0.0, expected.first_state * np.log(share), 0.0).sum()
        return float(moved + began)

    share = stationary_distribution(transition)
    # A chain that falls apart has no inverse; the step is judged by what it gains in any case.
    fundamental = np.linalg.pinv(np.eye(len(share)) - transition + share)
    began = np.divide(expected.first_state, share, out=np.zeros(len(share)), where=share > 0.0)
    pull = fundamental @ began
    counts = expected.flows + transition * share[:, None] * (pull - pull.min())
    total = counts.sum(axis=1, keepdims=True)
    direction = np.divide(counts, total, out=transition.copy(), where=total > 0.0) - transition
    old = gain(transition)
    for halving in range(STEP_HALVINGS):
        candidate = transition + direction * 0.5**halving
        if gain(candidate) >= old:
            return np.asarray(candidate / candidate.sum(axis=1, keepdims=True))
    return transition


def _parameters(model: HmmModel, rules: Rules) -> int:
    """Count the free parameters."""
    k, d = model.mean.shape
    scales = d if rules.covariance == "diagonal" else d * (d + 1) // 2
    free_dof = int(np.isfinite(model.dof).sum()) if rules.fit_dof else 0
    return int(k * (k - 1) + (k - 1 if rules.start == "free" else 0) + k * (d + scales) + free_dof)


def _floor(series: Float64Array, rules: Rules) -> Float64Array:
    """Return the least variances, shape (d,), or refuse a series that does not vary."""
    # In units of the largest value, so that no square of a sample is lost or overflows.
    unit = abs(series).max(axis=0)
    if not (unit <= VALUE_MAX).all() or not (series.max(axis=0) > series.min(axis=0)).all():
        raise ValueError(
            f"x: expected numbers that vary, at most {VALUE_MAX:g}, found {series.min(axis=0)} to {series.max(axis=0)}"
        )
    return np.asarray((series / unit).var(axis=0) * unit * unit * rules.variance_floor)


def _check_begin(model: HmmModel, rules: Rules, floor: Float64Array) -> None:
    variances = np.diagonal(model.scale, axis1=1, axis2=2)
    if (variances < floor * (1.0 - ROUNDING)).any():
        raise ValueError(f"expected variances of at least {floor.tolist()}, found {variances.tolist()}")
    if rules.covariance == "diagonal" and (model.scale != variances[:, :, None] * np.eye(len(floor))).any():
        raise ValueError(f"expected diagonal scale matrices, found {model.scale.tolist()}")
    student = model.dof[np.isfinite(model.dof)]
    if rules.fit_dof and not ((student >= DOF_MIN) & (student <= DOF_MAX)).all():
        raise ValueError(f"dof: expected {DOF_MIN} to {DOF_MAX} where they are fitted, found {student.tolist()}")


def _starting_labels(
    series: Float64Array, states: int, rng: np.random.Generator, restarts: int
) -> Iterator[Int64Array]:
    """Give a division of the samples into states for each start."""
    # Quantiles, not moments, make the units: one bad tick must not flatten all the rest.
    low, middle, high = np.quantile(series, (0.1, 0.5, 0.9), axis=0)
    unit = np.where(high > low, high - low, abs(series - middle).max(axis=0))
    level = ((series - middle) / unit).clip(-10.0, 10.0)
    window = np.ones(min(LOCAL_WINDOW, len(series)))
    volatility = np.array([np.convolve(abs(column), window, "same") for column in level.T]).T / len(window)
    features = np.hstack([level, volatility / (volatility.std(axis=0) + np.finfo(np.float64).tiny)])
    yield _quantile_labels(volatility[:, 0], states)
    if restarts > 1:
        yield _quantile_labels(level[:, 0], states)
    for _ in range(2, restarts):
        centres = features[rng.choice(len(features), states, replace=False)]
        squares = np.array([((features - centre) ** 2).sum(axis=1) for centre in centres])
        yield squares.argmin(axis=0)


def _quantile_labels(values: Float64Array, states: int) -> Int64Array:
    """Divide samples into groups of equal size, by value."""
    labels = np.empty(len(values), dtype=np.int64)
    labels[np.argsort(values, kind="stable")] = np.arange(len(values)) * states // len(values)
    return labels


def _from_labels(series: Float64Array, labels: Int64Array, states: int, dof: float, floor: Float64Array) -> HmmModel:
    """Make a model of the groups' means, variances and transitions; one pseudo-count keeps every transition open."""
    moves = np.ones((states, states))
    np.add.at(moves, (labels[:-1], labels[1:]), 1.0)
    whole_mean, whole_variance = series.mean(axis=0), series.var(axis=0)
    mean, variance = np.tile(whole_mean, (states, 1)), np.tile(whole_variance, (states, 1))
    for j in range(states):
        group = series[labels == j]
        if len(group) > 1:
            mean[j], variance[j] = group.mean(axis=0), group.var(axis=0)
    scale = np.maximum(variance, floor)[:, :, None] * np.eye(series.shape[1])
    return HmmModel(
        np.full(states, 1.0 / states), moves / moves.sum(axis=1, keepdims=True), mean, scale, np.full(states, dof)
    )
