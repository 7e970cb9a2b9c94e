"""Recursions of hidden Markov models in plain Python: the truth that the compiled twin must repeat.

Notation. A chain S_t of k states has the transition matrix A, ``a_ij = P(S_{t+1} = j | S_t = i)``, rows of sum 1. In
state j the sample x_t, a vector of d variables, has the density b_j: Student's t with centre μ_j, scale matrix Σ_j and
ν_j degrees of freedom, ``ν_j = inf`` for the normal distribution. A state's Σ comes as its whitening factor W, lower
triangular with ``W Σ Wᵀ = I``, so that ``z = W (x − μ)`` is white; a diagonal Σ has a diagonal W.

Every recursion takes what the samples before (or after) its block have left, and returns what its block leaves. A
caller may therefore cut a series as it likes, the probabilities are the same to the last bit, and no call need be long.

Scaling. Probabilities are kept, not their logarithms, and normalised at each sample (Rabiner, "A tutorial on hidden
Markov models and selected applications in speech recognition", Proceedings of the IEEE 77, 1989, section V.A): one
exponential for a state and sample is all the transcendental work. His scaled variables underflow all the same where a
sample is far out for every state that the chain can be in; there, and only there, the step is done in logarithms. The
backward pass divides smoothed by predicted probabilities (Kim, "Dynamic linear models with Markov-switching", Journal
of Econometrics 60, 1994) and needs no densities at all: nothing in it can underflow.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STATES_MAX: Final = 32
VARIABLES_MAX: Final = 32
VALUE_MAX: Final = 1e100
"""Samples are at most this in absolute value: their squares stay finite, and no price or return comes near."""

PRIOR_MIN: Final = 1e-280
"""A state predicted with less than this counts as impossible, so that no quotient by it overflows."""
FAR_OUT: Final = 1e-200
"""Below this scale factor a sample is done in logarithms: exponentials of states that matter may have underflowed."""


def forward(
    x: Floats, prior: Floats, transition: Floats, mean: Floats, whiten: Floats, dof: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Filter a block of samples of s series, each with its own model (Hamilton 1989; Rabiner's forward pass, scaled).

    Parameters
    ----------
    x : float64, shape (s, n, d)
        Samples in any unit, without NaN, at most 1e100 in absolute value.
    prior : float64, shape (s, k)
        ``P(S_0 = j | samples before the block)``: the chain's initial distribution where there are none.
    transition : float64, shape (s, k, k)
        Transition matrices A.
    mean : float64, shape (s, k, d)
        Centres μ_j, in the unit of x.
    whiten : float64, shape (s, k, d, d)
        Factors W_j, lower triangular with a positive diagonal, in its inverse.
    dof : float64, shape (s, k)
        Degrees of freedom ν_j, above 0; inf is the normal distribution.

    Returns
    -------
    filtered : float64, shape (s, n, k)
        ``P(S_t = j | x_0 … x_t)`` with ``filtered_t(j) ∝ prior_t(j)·b_j(x_t)``.
    predicted : float64, shape (s, n, k)
        ``prior_t(j) = P(S_t = j | x_0 … x_{t−1}) = Σ_i filtered_{t−1}(i)·a_ij``; those below 1e-280 are 0.
    log_density : float64, shape (s, n)
        ``log p(x_t | x_0 … x_{t−1})`` in nats; their sum is the log-likelihood.
    next_prior : float64, shape (s, k)
        The prior of the sample after the block.

    Raises
    ------
    ValueError
        For shapes that do not fit, a NaN or a value beyond 1e100, or a sample with density 0 in every possible state.
    """
    check(x.shape[2:], prior.shape[1:], transition.shape[1:], mean.shape[1:], whiten.shape[1:], dof.shape[1:])
    check_series(x.shape, prior.shape, transition.shape, mean.shape, whiten.shape, dof.shape)
    check_values(x)
    filtered, predicted = np.empty((*x.shape[:2], prior.shape[1])), np.empty((*x.shape[:2], prior.shape[1]))
    log_density, next_prior = np.empty(x.shape[:2]), prior.copy()
    for s in range(x.shape[0]):
        densities = log_densities(x[s], mean[s], whiten[s], dof[s])
        for t, log_b in enumerate(densities):
            predicted[s, t] = np.where(next_prior[s] < PRIOR_MIN, 0.0, next_prior[s])
            joint, shift = _joint(predicted[s, t], log_b)
            total = joint.sum()
            if not total > 0.0:
                raise ValueError(impossible(s, t))
            filtered[s, t] = joint / total
            log_density[s, t] = shift + math.log(total)
            next_prior[s] = filtered[s, t] @ transition[s]
    return filtered, predicted, log_density, next_prior


def smooth(
    filtered: Floats, predicted: Floats, transition: Floats, ratio: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Smooth a block of one series, the last block first (Kim 1994).

    Parameters
    ----------
    filtered, predicted : float64, shape (n, k), n at least 1
        What `forward` gave for the block.
    transition : float64, shape (k, k)
        The transition matrix A.
    ratio : float64, shape (k,), or None
        What the call for the block behind this one has left; None where the series ends.

    Returns
    -------
    smoothed : float64, shape (n, k)
        ``P(S_t = i | all samples) = filtered_t(i)·Σ_j a_ij·ratio_{t+1}(j)``.
    flows : float64, shape (k, k)
        Expected number of transitions from i to j out of this block's samples,
        ``Σ_t filtered_t(i)·a_ij·ratio_{t+1}(j)``; the last sample of a series has none.
    ratio : float64, shape (k,)
        ``smoothed_0(j)/predicted_0(j)``, 0 where the state is impossible; for the block before.

    Raises
    ------
    ValueError
        For shapes that do not fit.
    """
    check_block(filtered.shape, predicted.shape, transition.shape, None if ratio is None else ratio.shape)
    smoothed, flows = np.empty(filtered.shape), np.zeros(transition.shape)
    for t in range(len(filtered) - 1, -1, -1):
        if ratio is None:
            smoothed[t] = filtered[t]
        else:
            smoothed[t] = filtered[t] * (transition @ ratio)
            flows += np.outer(filtered[t], ratio)
        possible = predicted[t] > 0.0
        ratio = np.where(possible, smoothed[t], 0.0) / np.where(possible, predicted[t], 1.0)
    assert ratio is not None
    return smoothed, flows * transition, ratio


def moments(
    x: Floats, smoothed: Floats, mean: Floats, whiten: Floats, dof: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Sum up what the M-step needs of a block of one series (Peel & McLachlan, Statistics and Computing 10, 2000).

    Parameters
    ----------
    x : float64, shape (n, d)
        Samples.
    smoothed : float64, shape (n, k)
        Their smoothed probabilities γ_tj.
    mean, whiten, dof : float64, shapes (k, d), (k, d, d), (k,)
        The model under which they were smoothed. With ``δ² = |W_j (x_t − μ_j)|²``, a sample's weight in state j is
        ``u_tj = (ν_j + d)/(ν_j + δ²)``, 1 for the normal distribution.

    Returns
    -------
    weight : float64, shape (k,)
        ``Σ_t γ_tj``.
    scaled : float64, shape (k,)
        ``Σ_t γ_tj u_tj``.
    first : float64, shape (k, d)
        ``Σ_t γ_tj u_tj (x_t − μ_j)``: about the old centre, so that a far-off level of x costs no digits.
    second : float64, shape (k, d, d)
        ``Σ_t γ_tj u_tj (x_t − μ_j)(x_t − μ_j)ᵀ``.
    log_term : float64, shape (k,)
        ``Σ_t γ_tj (log u_tj − u_tj)``, from which the degrees of freedom follow.

    Raises
    ------
    ValueError
        For shapes that do not fit, a NaN or a value beyond 1e100.
    """
    check(x.shape[1:], smoothed.shape[1:], (smoothed.shape[1],) * 2, mean.shape, whiten.shape, dof.shape)
    check_lengths(len(x), len(smoothed))
    check_values(x)
    away = x[:, None, :] - mean
    u = _weights(away, whiten, dof)
    scaled = smoothed * u
    return (
        smoothed.sum(axis=0),
        scaled.sum(axis=0),
        np.einsum("tj,tja->ja", scaled, away),
        np.einsum("tj,tja,tjb->jab", scaled, away, away),
        (smoothed * (np.log(u) - u)).sum(axis=0),
    )


def scores(
    x: Floats, entry: Floats, transition: Floats, mean: Floats, whiten: Floats, dof: Floats
) -> tuple[Floats, Floats]:
    """Score the best paths through a block of one series (Viterbi's recursion; Rabiner 1989, equations 32 and 33).

    Parameters
    ----------
    x : float64, shape (n, d)
        Samples.
    entry : float64, shape (k,)
        Log-probability of the best path that enters state j with the block's first sample, that sample's own density
        not counted: the logarithm of the initial distribution at the start of a series; −inf is "cannot".
    transition, mean, whiten, dof : float64, shapes (k, k), (k, d), (k, d, d), (k,)
        The model.

    Returns
    -------
    delta : float64, shape (n, k)
        ``δ_t(j) = entry_t(j) + log b_j(x_t)``, in nats.
    entry : float64, shape (k,)
        ``max_i δ_{n−1}(i) + log a_ij``, for the next block.

    Raises
    ------
    ValueError
        For shapes that do not fit, a NaN or a value beyond 1e100.
    """
    check(x.shape[1:], entry.shape, transition.shape, mean.shape, whiten.shape, dof.shape)
    check_values(x)
    delta, log_a = log_densities(x, mean, whiten, dof), log_of(transition)
    for t in range(len(x)):
        delta[t] += entry
        entry = (delta[t][:, None] + log_a).max(axis=0)
    return delta, entry.copy()


def trace(delta: Floats, transition: Floats, last: int) -> NDArray[np.int64]:
    """Follow the best path back through a block (Rabiner 1989, equation 35).

    Parameters
    ----------
    delta : float64, shape (n, k), n at least 1
        What `scores` gave for the block.
    transition : float64, shape (k, k)
        The same as there.
    last : int
        The path's state at the block's last sample.

    Returns
    -------
    int64, shape (n,)
        The path. Of equally good predecessors it takes the one with the lowest number.

    Raises
    ------
    ValueError
        For shapes that do not fit or a last state out of range.
    """
    check_block(delta.shape, delta.shape, transition.shape, None)
    check_state(last, delta.shape[1])
    log_a = log_of(transition)
    path = np.empty(len(delta), dtype=np.int64)
    path[-1] = last
    for t in range(len(delta) - 2, -1, -1):
        path[t] = np.argmax(delta[t] + log_a[:, path[t + 1]])
    return path


def log_densities(x: Floats, mean: Floats, whiten: Floats, dof: Floats) -> Floats:
    """Return ``log b_j(x_t)``, shape (n, k).

    With ``δ² = |W (x − μ)|²`` it is ``log|W| − (d/2) log 2π − δ²/2`` for the normal distribution, and for Student's t
    ``log|W| + log Γ((ν+d)/2) − log Γ(ν/2) − (d/2) log(νπ) − ((ν+d)/2) log(1 + δ²/ν)`` (Peel & McLachlan 2000).
    """
    squares = _squares(x[:, None, :] - mean, whiten)
    result = np.empty(squares.shape)
    for j, nu in enumerate(dof):
        constant = log_constant(whiten[j], float(nu))
        if math.isinf(nu):
            result[:, j] = constant - 0.5 * squares[:, j]
        else:
            result[:, j] = constant - 0.5 * (nu + x.shape[1]) * np.log1p(squares[:, j] / nu)
    return result


def log_constant(whiten: Floats, nu: float) -> float:
    """Return what a state's log-density has at its centre."""
    d = len(whiten)
    log_det = math.fsum(math.log(whiten[a, a]) for a in range(d))
    if math.isinf(nu):
        return log_det - 0.5 * d * math.log(2 * math.pi)
    return log_det + math.lgamma(0.5 * (nu + d)) - math.lgamma(0.5 * nu) - 0.5 * d * math.log(nu * math.pi)


def log_of(probability: Floats) -> Floats:
    """Return logarithms, −inf of 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probability))


def check(
    variables: tuple[int, ...],
    states: tuple[int, ...],
    transition: tuple[int, ...],
    mean: tuple[int, ...],
    whiten: tuple[int, ...],
    dof: tuple[int, ...],
) -> None:
    """Raise `ValueError` unless the shapes of one series' arrays are those of one model."""
    if len(variables) != 1 or not 1 <= variables[0] <= VARIABLES_MAX:
        raise ValueError(f"x: expected 1 to {VARIABLES_MAX} variables in the last axis, found {variables}")
    if len(states) != 1 or not 1 <= states[0] <= STATES_MAX:
        raise ValueError(f"expected 1 to {STATES_MAX} states in the last axis, found {states}")
    (d,), (k,) = variables, states
    for name, expected, found in (
        ("transition", (k, k), transition),
        ("mean", (k, d), mean),
        ("whiten", (k, d, d), whiten),
        ("dof", (k,), dof),
    ):
        if found != expected:
            raise ValueError(f"{name}: expected shape {expected} for each series, found {found}")


def check_series(*shapes: tuple[int, ...]) -> None:
    """Raise `ValueError` unless there are as many models as series."""
    if len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"expected as many models as series, found leading lengths {[shape[0] for shape in shapes]}")


def check_lengths(samples: int, rows: int) -> None:
    """Raise `ValueError` unless there is a row of probabilities for each sample."""
    if samples != rows:
        raise ValueError(f"expected a row of probabilities for each sample, found {rows} and {samples}")


def check_block(
    rows: tuple[int, ...], others: tuple[int, ...], transition: tuple[int, ...], ratio: tuple[int, ...] | None
) -> None:
    """Raise `ValueError` unless the shapes are those of one block of one series."""
    if len(rows) != 2 or rows[0] < 1 or not 1 <= rows[1] <= STATES_MAX or others != rows:
        raise ValueError(f"expected two arrays of shape (n, k), k at most {STATES_MAX}, found {rows} and {others}")
    k = rows[1]
    if transition != (k, k) or ratio not in {None, (k,)}:
        raise ValueError(f"expected transition ({k}, {k}) and ratio ({k},) or None, found {transition} and {ratio}")


def check_state(state: int, states: int) -> None:
    """Raise `ValueError` unless a state's number is one."""
    if not 0 <= state < states:
        raise ValueError(f"last: expected a state from 0 to {states - 1}, found {state}")


def check_values(x: Floats) -> None:
    """Raise `ValueError` unless all samples are numbers that can be squared."""
    if not (np.abs(x) <= VALUE_MAX).all():
        raise ValueError(values_expected())


def values_expected() -> str:
    """Say what a sample may be."""
    return f"x: expected numbers of at most {VALUE_MAX:g} in absolute value, found NaN, an infinity or a larger one"


def impossible(series: int, sample: int) -> str:
    """Say that the model excludes a sample."""
    return f"series {series}, sample {sample} of the block: its density is 0 in every state the chain can be in"


def _joint(prior: Floats, log_b: Floats) -> tuple[Floats, float]:
    """Return ``prior·b·exp(−shift)`` with a shift that keeps the sum in range."""
    shift = float(log_b.max())
    if math.isfinite(shift):
        joint = prior * np.exp(log_b - shift)
        if joint.sum() >= FAR_OUT:
            return joint, shift
    logs = log_of(prior) + log_b
    shift = float(logs.max())
    return (np.exp(logs - shift) if math.isfinite(shift) else np.zeros(len(prior))), shift


def _squares(away: Floats, whiten: Floats) -> Floats:
    """Return Mahalanobis' δ², shape (n, k); inf, and so density 0, where it leaves the range of doubles."""
    with np.errstate(over="ignore"):
        white = np.einsum("jab,tjb->tja", whiten, away)
        return np.asarray((white * white).sum(axis=2))


def _weights(away: Floats, whiten: Floats, dof: Floats) -> Floats:
    """Return u, shape (n, k)."""
    finite = np.isfinite(dof)
    nu = np.where(finite, dof, 1.0)
    return np.where(finite, (nu + away.shape[2]) / (nu + _squares(away, whiten)), 1.0)
