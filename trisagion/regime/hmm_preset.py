"""Six market regimes: a hidden Markov model of returns with six states, and names that follow from its parameters.

The rules look at nothing but the fitted parameters, in this order, and give each name once:

1. The three states of highest volatility are the rough ones, the others the calm ones.
2. *Crisis* is the rough state with the lowest mean.
3. *Recovery* is, of the two other rough states, the one with a positive mean; where both or neither have one, the one
   that is entered out of Crisis more often: the larger ``P(before: Crisis | now entered)``.
4. *StrongBull*, *Bull*, *Sideways*, *Bear* are the remaining four states by falling mean.

A market need not have six regimes, and then a name is only a rank: the fourth of four calm means may be positive and is
called Bear all the same. Each state therefore says whether it is what its name says (`typical`), and why.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from trisagion.market.types import Float64Array
from trisagion.regime.hmm import HmmModel
from trisagion.regime.hmm_fit import HmmFit, Rules, fit

STATES: Final = 6
ROUGH: Final = 3


class Regime(StrEnum):
    """Names of the states."""

    STRONG_BULL = "StrongBull"
    BULL = "Bull"
    SIDEWAYS = "Sideways"
    BEAR = "Bear"
    CRISIS = "Crisis"
    RECOVERY = "Recovery"


@dataclass(frozen=True, slots=True)
class NamedState:
    """One state of the six.

    Parameters
    ----------
    index : int
        The state's number in the model.
    regime : Regime
        Its name, by the rules.
    mean, volatility : float
        Centre and standard deviation of a return in this state, in the unit of the returns; the latter is NaN where
        Student's t has none.
    expected_duration : float
        Mean length of a stay, in samples; inf if it is never left.
    share : float
        Share of all samples in the long run.
    typical : bool
        Whether the state is what its name says, as told in `reason`.
    reason : str
        Why it has this name.
    """

    index: int
    regime: Regime
    mean: float
    volatility: float
    expected_duration: float
    share: float
    typical: bool
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class SixStates:
    """A fitted model, and its states in the model's order: by rising scale."""

    fit: HmmFit
    states: tuple[NamedState, ...]


def fit_six_states(
    returns: Float64Array,
    rng: np.random.Generator,
    *,
    dof: float | None = math.inf,
    rules: Rules | None = None,
    restarts: int = 8,
) -> SixStates:
    """Fit six states to a series of returns and name them.

    Parameters
    ----------
    returns : float64, shape (n,)
        Returns per sample, in any unit.
    rng, dof, rules, restarts
        As in `trisagion.regime.hmm_fit.fit`.

    Returns
    -------
    SixStates
        The fit with its named states.

    Raises
    ------
    ValueError
        As in `fit`.
    """
    fitted = fit(returns, STATES, rng, dof=dof, rules=rules, restarts=restarts)
    return SixStates(fitted, name_states(fitted.model))


def name_states(model: HmmModel) -> tuple[NamedState, ...]:
    """Name the states of a model of returns by the rules above.

    Parameters
    ----------
    model : HmmModel
        Six states; the first variable is the return.

    Returns
    -------
    tuple of NamedState
        One for each state, in the model's order.

    Raises
    ------
    ValueError
        For a model with another number of states.

    Notes
    -----
    Where two states have the same mean or volatility, that of the lower number counts as the lower. Volatility ranks by
    scale where Student's t has no variance.
    """
    if model.states != STATES:
        raise ValueError(f"expected {STATES} states, found {model.states}")
    means, spreads = model.mean[:, 0], model.scale[:, 0, 0] * _variance_factor(model)
    by_spread = np.lexsort((np.arange(STATES), spreads)).tolist()
    rough, calm = by_spread[ROUGH:], by_spread[:ROUGH]
    crisis = min(rough, key=lambda i: (means[i], i))
    entries = _entries_from(model, crisis)
    candidates = [i for i in rough if i != crisis]
    recovery = max(candidates, key=lambda i: (means[i] > 0.0, entries[i], -i))
    left = sorted([*calm, *(i for i in candidates if i != recovery)], key=lambda i: (-means[i], -i))
    ranked = zip(left, (Regime.STRONG_BULL, Regime.BULL, Regime.SIDEWAYS, Regime.BEAR), strict=True)
    names = {crisis: Regime.CRISIS, recovery: Regime.RECOVERY, **dict(ranked)}
    volatility = np.sqrt(model.covariance[:, 0, 0])
    return tuple(_named(model, i, names[i], float(volatility[i]), float(entries[i]), crisis) for i in range(STATES))


def _variance_factor(model: HmmModel) -> Float64Array:
    """Return covariance over scale, 1 where no covariance exists."""
    factor = model.covariance[:, 0, 0] / model.scale[:, 0, 0]
    return np.asarray(np.where(np.isnan(factor), 1.0, factor))


def _entries_from(model: HmmModel, origin: int) -> Float64Array:
    """Return which share of the entries into each state comes out of `origin`, in the long run; 0 if none enters."""
    flows = model.stationary[:, None] * model.transition
    np.fill_diagonal(flows, 0.0)
    total = flows.sum(axis=0)
    shares: Float64Array = np.divide(flows[origin], total, out=np.zeros(len(total)), where=total > 0.0)
    return shares


def _named(model: HmmModel, i: int, regime: Regime, volatility: float, from_crisis: float, crisis: int) -> NamedState:
    share, mean = model.stationary, float(model.mean[i, 0])
    duration = float(model.expected_duration[i])
    if regime is Regime.CRISIS:
        typical, reason = mean < 0.0, "lowest mean of the three most volatile states; typical if negative"
    elif regime is Regime.RECOVERY:
        # Entries that ignored where they come from would come out of Crisis in proportion to its exits.
        expected = _exits_share(model, crisis, i)
        typical = mean > 0.0 and from_crisis > expected
        reason = (
            f"among the three most volatile states; {from_crisis:.0%} of its entries come out of Crisis, by chance it"
            f" were {expected:.0%}; typical if more than that and with a positive mean"
        )
    elif regime is Regime.SIDEWAYS:
        # Over one stay the drift of a sideways market is lost in its noise.
        typical = abs(mean) * math.sqrt(duration) < volatility
        reason = "third of the four remaining means; typical if one stay's drift is below its noise"
    elif regime is Regime.BEAR:
        typical, reason = mean < 0.0, "lowest of the four remaining means; typical if negative"
    else:
        rank = "highest" if regime is Regime.STRONG_BULL else "second"
        typical, reason = mean > 0.0, f"{rank} of the four remaining means; typical if positive"
    return NamedState(i, regime, mean, volatility, duration, float(share[i]), bool(typical), reason)


def _exits_share(model: HmmModel, origin: int, target: int) -> float:
    """Return which share of all exits, those of `target` aside, are exits of `origin`, in the long run."""
    exits = model.stationary * (1.0 - model.transition.diagonal())
    exits[target] = 0.0
    return float(exits[origin] / exits.sum()) if exits.sum() > 0.0 else 0.0
