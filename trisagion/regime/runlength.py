"""Bayesian change points online: after each point, the distribution of the time since the last change.

The model of Adams & MacKay (2007): changes come with a constant hazard; between two changes points are independent
normals, whose mean and variance have a normal-inverse-gamma prior. A hypothesis is a run length r, the number of points
since the last change. Everything here is causal: the state after a point depends on it and on earlier ones.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import gammaln

from trisagion.market.types import Float64Array, Int64Array

DISTANCE_MAX: Final = 1e150
"""From the prior's mean: the square of anything larger is no float64."""


@dataclass(frozen=True, slots=True)
class NormalInverseGamma:
    """What is believed about a run before its first point.

    ``variance ~ InvGamma(alpha, beta)`` and, given that, ``mean of the run ~ N(mean, variance/kappa)``.
    `mean` is in the series' unit, `beta` in its square, `kappa` and 2·`alpha` count imagined points. The density of a
    single point is then Student's t with 2·alpha degrees of freedom.
    """

    mean: float
    kappa: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        """Refuse what is no distribution."""
        if not math.isfinite(self.mean):
            raise ValueError(f"mean: expected a finite number, found {self.mean}")
        for name in ("kappa", "alpha", "beta"):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name}: expected a positive finite number, found {value}")


@dataclass(frozen=True, slots=True)
class RunLengthModel:
    """A prior for each run, and how run lengths are kept.

    Attributes
    ----------
    prior : NormalInverseGamma
    hazard : float
        Probability of a change at each point, above 0 and below 1: one over the mean length of a run.
    drop_max : float
        Posterior mass that may be dropped at each point, least likely hypotheses first.
    hypotheses_max : int
        Bound on the hypotheses kept; beyond it the least likely are dropped too, whatever their mass.
    """

    prior: NormalInverseGamma
    hazard: float
    drop_max: float = 1e-9
    hypotheses_max: int = 2_000

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0.0 < self.hazard < 1.0:
            raise ValueError(f"hazard: expected above 0 and below 1, found {self.hazard}")
        if not 0.0 <= self.drop_max <= 0.01:
            raise ValueError(f"drop_max: expected 0 to 0.01, found {self.drop_max}")
        if not self.hypotheses_max >= 2:
            raise ValueError(f"hypotheses_max: expected at least 2, found {self.hypotheses_max}")


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """The distribution of the run length after some points: k hypotheses.

    Attributes
    ----------
    lengths : int64, shape (k,)
        Rising, the first always 0.
    mass : float64, shape (k,)
        Their probabilities; they sum to 1.
    mean, beta : float64, shape (k,)
        Those of the run's normal-inverse-gamma posterior; its kappa and alpha follow from the length.
    log_predictive : float
        ``log p(newest point | those before)``, natural logarithm; 0 before the first point.
    mass_lost : float
        The sum over all points of the mass dropped; see `run_length_step` for what it bounds.
    """

    lengths: Int64Array
    mass: Float64Array
    mean: Float64Array
    beta: Float64Array
    log_predictive: float
    mass_lost: float


@dataclass(frozen=True, slots=True, eq=False)
class RunLengthPath:
    """The distribution of the run length after each of n points, in brief.

    Attributes
    ----------
    most_likely : int64, shape (n,)
        The run length of greatest probability.
    expected : float64, shape (n,)
        The mean run length.
    recent : float64, shape (n,)
        Probability that the last change was fewer than `within` points ago.
    log_predictive : float64, shape (n,)
        Their sum is the logarithm of the evidence for the model.
    state : RunLengths
        After the last point, to go on from.
    """

    most_likely: Int64Array
    expected: Float64Array
    recent: Float64Array
    log_predictive: Float64Array
    state: RunLengths


def run_length_begin(model: RunLengthModel) -> RunLengths:
    """Return the state before the first point: a run begins with it."""
    return RunLengths(
        lengths=np.zeros(1, dtype=np.int64),
        mass=np.ones(1),
        mean=np.array([model.prior.mean]),
        beta=np.array([model.prior.beta]),
        log_predictive=0.0,
        mass_lost=0.0,
    )


def run_length_step(model: RunLengthModel, state: RunLengths, x: float) -> RunLengths:
    """Add a point.

    Parameters
    ----------
    model : RunLengthModel
    state : RunLengths
        After the point before; `run_length_begin` for the first.
    x : float
        The point, finite, less than 1e150 from the prior's mean.

    Returns
    -------
    RunLengths
        By the paper's convention the point belongs to the old run, and run length 0 says that a new one begins with the
        next point: but for the mass dropped, its probability is always the hazard. Ask for a change within the last few
        points instead.

    Raises
    ------
    ValueError
        When x is not what is asked for.

    Notes
    -----
    Adams & MacKay, "Bayesian online changepoint detection", arXiv:0710.3742 (2007), algorithm 1; the conjugate update
    is Murphy's (2007), "Conjugate Bayesian analysis of the Gaussian distribution", section 3.

    We differ in the dropping. Let δ be the mass dropped at each point, as a share of the distribution at the time, and
    `mass_lost` their sum. What is kept is exactly the posterior given that no dropped hypothesis was ever the true one.
    If the model is true, one of them was with a probability of at most E(Σδ); so the total variation between
    the distribution kept and the exact one is at most E(Σδ) on average over series. For the series at hand this is no
    bound: a hypothesis dropped early might have come back. δ <= drop_max while `hypotheses_max` is not reached.
    """
    prior = model.prior
    if not abs(x - prior.mean) < DISTANCE_MAX:
        raise ValueError(f"x: expected a finite number within {DISTANCE_MAX:g} of the prior's mean, found {x}")
    kappa = prior.kappa + state.lengths
    alpha = prior.alpha + 0.5 * state.lengths
    away = x - state.mean
    squares = kappa / (kappa + 1.0) * away * away / (2.0 * state.beta)
    # Student's t with 2·alpha degrees of freedom, squared scale beta·(kappa + 1)/(alpha·kappa).
    log_density = (
        gammaln(alpha + 0.5)
        - gammaln(alpha)
        - 0.5 * np.log(2.0 * math.pi * state.beta * (kappa + 1.0) / kappa)
        - (alpha + 0.5) * np.log1p(squares)
    )
    with np.errstate(divide="ignore"):
        log_joint = np.log(state.mass) + log_density
    highest = log_joint.max()
    joint = np.exp(log_joint - highest)
    total = joint.sum()
    grown = joint / total * (1.0 - model.hazard)
    kept, lost = _keep(model, grown)
    mass = np.concatenate([[model.hazard], grown[kept]])
    return RunLengths(
        lengths=np.concatenate([[0], state.lengths[kept] + 1]),
        mass=mass / mass.sum(),
        mean=np.concatenate([[prior.mean], state.mean[kept] + away[kept] / (kappa[kept] + 1.0)]),
        beta=np.concatenate([[prior.beta], state.beta[kept] * (1.0 + squares[kept])]),
        log_predictive=float(highest + np.log(total)),
        mass_lost=state.mass_lost + lost,
    )


def run_lengths(
    model: RunLengthModel, x: Float64Array, state: RunLengths | None = None, *, within: int = 10
) -> RunLengthPath:
    """Follow the run length over a series: `run_length_step` for each point.

    Parameters
    ----------
    model : RunLengthModel
    x : float64, shape (n,)
        Finite, less than 1e150 from the prior's mean.
    state : RunLengths, optional
        After the point before the series; without it, the beginning.
    within : int
        Points of `RunLengthPath.recent`, at least 1.

    Returns
    -------
    RunLengthPath

    Raises
    ------
    ValueError
        For a series that is empty or not what is asked for.
    """
    series = np.asarray(x, dtype=np.float64)
    if series.ndim != 1 or len(series) == 0:
        raise ValueError(f"x: expected shape (n,) with n >= 1, found {series.shape}")
    if within < 1:
        raise ValueError(f"within: expected at least 1, found {within}")
    newest = run_length_begin(model) if state is None else state
    most_likely = np.empty(len(series), dtype=np.int64)
    expected, recent, log_predictive = np.empty((3, len(series)))
    for i, value in enumerate(series.tolist()):
        newest = run_length_step(model, newest, value)
        most_likely[i] = newest.lengths[np.argmax(newest.mass)]
        expected[i] = newest.lengths @ newest.mass
        recent[i] = newest.mass[: np.searchsorted(newest.lengths, within)].sum()
        log_predictive[i] = newest.log_predictive
    return RunLengthPath(most_likely, expected, recent, log_predictive, newest)


def _keep(model: RunLengthModel, grown: Float64Array) -> tuple[Int64Array, float]:
    """Choose the grown hypotheses to keep, in rising order; return the mass of the others as well."""
    order = np.argsort(grown, kind="stable")
    dropped = int(np.searchsorted(np.cumsum(grown[order]), model.drop_max, side="right"))
    dropped = max(dropped, len(grown) + 1 - model.hypotheses_max)
    # One must stay: before the second point there is no other, and then its mass is far above any `drop_max`.
    dropped = min(dropped, len(grown) - 1)
    return np.sort(order[dropped:]), float(grown[order[:dropped]].sum())
