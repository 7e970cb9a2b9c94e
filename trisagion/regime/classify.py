"""One market state out of several kinds of evidence, with probabilities, hysteresis and reasons.

The states are those a run can do something about: `trending`, `mean_reverting`, `noisy`, `crisis`. Each piece of
evidence is turned into four likelihoods; they are pooled, and a chain that seldom changes state carries the result from
bar to bar, which is a hidden Markov filter with given parameters (Hamilton, Econometrica 57, 1989). The state that is
announced changes late on purpose: a rival has to be likely, not only likelier.

The numbers of `Rules` are judgement, not estimates: nobody can label the states of a market, so that there is nothing
to fit them to. They are few, they are told with each reading, and a test shows what they do on series whose state is
known because it was simulated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from trisagion.market.types import Float64Array

UNKNOWN: Final = "unknown"
"""Too little evidence. Whoever asks whether the market can be traded takes it for noisy."""


class MarketRegime(StrEnum):
    """What a market is like now."""

    TRENDING = "trending"
    MEAN_REVERTING = "mean_reverting"
    NOISY = "noisy"
    CRISIS = "crisis"


_ORDER: Final = tuple(MarketRegime)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a market at one instant; None where it is unknown.

    Parameters
    ----------
    at_ns : int
        The instant, UTC.
    entropy : float, optional
        Permutation entropy of the signs of the market weight, normalised, 0 … 1: below the threshold the weight has
        kept its sign.
    hurst, hurst_error : float, optional
        Hurst exponent of the returns and its standard error; both or neither.
    volatility_ratio : float, optional
        Deviation expected for the next bar over the usual one, above 0.
    states : mapping, optional
        Filtered probabilities of the hidden states `StrongBull` … `Recovery`; those that are not what their name says
        are left out, so that the sum may be below 1.
    """

    at_ns: int
    entropy: float | None = None
    hurst: float | None = None
    hurst_error: float | None = None
    volatility_ratio: float | None = None
    states: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """How evidence counts.

    Parameters
    ----------
    entropy_max : float
        Entropies below speak for a trend: by default the upper end of the runs' own thresholds (domain, section 3).
    hurst_trending, hurst_reverting : float
        What the exponent is like in a trend and in a market that reverts; 0.5 is that of noise.
    hurst_spread : float
        By how much the exponent of one kind of market differs between times, as a standard deviation.
    crisis_ratio : float
        Volatility ratio at which a crisis is as likely as not.
    entropy_weight, hurst_weight, volatility_weight, hidden_weight : float
        0 … 1: the share of each bar's likelihood that counts, because the evidence of neighbouring bars reads nearly
        the same prices. A weight of 1/n says that n bars tell no more than one. Volatility has to be quick. The hidden
        states hardly count: on series without any they were the largest source of wrong calls (docs/regime.md).
    staying : float
        Probability that a state lasts another bar.
    enter, leave : float
        A state is announced when it is at least as probable as `enter`; it is given up for `noisy` below `leave`.
    """

    entropy_max: float = 0.15
    hurst_trending: float = 0.62
    hurst_reverting: float = 0.38
    hurst_spread: float = 0.06
    crisis_ratio: float = 2.0
    entropy_weight: float = 1 / 30
    hurst_weight: float = 1 / 60
    volatility_weight: float = 1.0
    hidden_weight: float = 1 / 250
    staying: float = 0.99
    enter: float = 0.6
    leave: float = 0.4

    def __post_init__(self) -> None:
        """Refuse rules that contradict themselves."""
        if not 0 < self.hurst_reverting < 0.5 < self.hurst_trending < 1 or not self.hurst_spread > 0:
            raise ValueError(f"hurst: expected 0 < reverting < 0.5 < trending < 1 and a spread above 0, found {self}")
        weights = (self.entropy_weight, self.hurst_weight, self.volatility_weight, self.hidden_weight)
        if not all(0 < weight <= 1 for weight in weights):
            raise ValueError(f"expected weights in (0, 1], found {self}")
        if not (0.25 < self.staying < 1 and self.crisis_ratio > 1 and self.entropy_max > 0):
            raise ValueError(
                f"expected staying in (1/4, 1), a crisis ratio above 1 and an entropy above 0, found {self}"
            )
        if not 0.25 < self.leave < self.enter < 1:
            raise ValueError(f"expected 1/4 < leave < enter < 1, found {self.leave} and {self.enter}")


@dataclass(frozen=True, slots=True)
class Reading:
    """The state at one instant.

    `state` is a `MarketRegime` or `UNKNOWN`; `probability` holds those of the four states, in the order of
    `MarketRegime`, and sums to 1; `reasons` names each piece of evidence with its value and what it speaks for.
    """

    at_ns: int
    state: str
    probability: tuple[float, float, float, float]
    reasons: tuple[str, ...]


def classify(evidence: Evidence, before: Reading | None = None, rules: Rules | None = None) -> Reading:
    """Return the state of a market.

    Parameters
    ----------
    evidence : Evidence
        What is known now.
    before : Reading, optional
        The reading of the bar before; None at the beginning, and after a gap that it should not bridge.
    rules : Rules, optional
        `Rules()` by default.

    Returns
    -------
    Reading
        `UNKNOWN` while the entropy is unknown, or nothing else is known; the probabilities go on all the same.

    Raises
    ------
    ValueError
        For evidence that is not a finite number in its range, or a reading that is not older.
    """
    rules = rules or Rules()
    _check(evidence, before)
    uniform = np.full(len(_ORDER), 1 / len(_ORDER))
    prior = uniform if before is None else np.array(before.probability)
    # Whoever leaves a state goes to any other alike.
    leaving = (1 - rules.staying) / (len(_ORDER) - 1)
    prior = leaving + (rules.staying - leaving) * prior
    parts = _parts(evidence, rules)
    log_likelihood = sum((part.weight * np.log(part.likelihood) for part in parts), np.zeros(len(_ORDER)))
    posterior = prior * np.exp(log_likelihood - log_likelihood.max())
    posterior /= posterior.sum()
    known = evidence.entropy is not None and len(parts) > 1
    state = _announced(posterior, None if before is None else before.state, rules) if known else UNKNOWN
    told = tuple(f"{part.text}: speaks {_speaks(part.likelihood)}" for part in parts)
    missing = tuple(f"{name}: unknown" for name in _missing(evidence))
    return Reading(evidence.at_ns, state, tuple(posterior.tolist()), told + missing)


def _speaks(likelihood: Float64Array) -> str:
    """Say in words what a piece of evidence makes likeliest, or what it makes less likely than all else."""
    best = likelihood >= likelihood.max() * (1 - 1e-9)
    if best.sum() == len(_ORDER) - 1:
        return f"against {_ORDER[int(likelihood.argmin())]}"
    return f"for {' or '.join(state for state, likely in zip(_ORDER, best, strict=True) if likely)}"


def _announced(posterior: Float64Array, before: str | None, rules: Rules) -> str:
    """Return the state to announce: a new one once it is likely, the old one while it is not unlikely, else noisy."""
    best = int(posterior.argmax())
    if posterior[best] >= rules.enter:
        return _ORDER[best]
    if before in set(_ORDER) and posterior[_ORDER.index(MarketRegime(before))] >= rules.leave:
        return before
    return MarketRegime.NOISY


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One piece of evidence: in words, its likelihood in each state, of which only ratios mean anything, its weight."""

    text: str
    likelihood: Float64Array
    weight: float


def _parts(evidence: Evidence, rules: Rules) -> list[_Part]:
    parts = []
    if evidence.entropy is not None:
        # Smooth, for an entropy of few samples is one of few values: the threshold itself says nothing.
        low = _logistic((rules.entropy_max - evidence.entropy) / (rules.entropy_max / 3))
        likelihood = _LOW_ENTROPY * low + (1 - _LOW_ENTROPY) * (1 - low)
        parts.append(_Part(f"entropy {evidence.entropy:.3f}", likelihood, rules.entropy_weight))
    if evidence.hurst is not None and evidence.hurst_error is not None:
        spread = math.hypot(evidence.hurst_error, rules.hurst_spread)
        centres = np.array([rules.hurst_trending, rules.hurst_reverting, 0.5])
        three = np.exp(-0.5 * ((evidence.hurst - centres) / spread) ** 2) + _FLOOR
        # A trend is persistence or drift; the latter leaves the exponent that of noise. A crisis may have any.
        three[0] = (three[0] + three[2]) / 2
        text = f"hurst {evidence.hurst:.2f} ± {evidence.hurst_error:.2f}"
        parts.append(_Part(text, np.append(three, three.mean()), rules.hurst_weight))
    if evidence.volatility_ratio is not None:
        crisis = _logistic((math.log(evidence.volatility_ratio) - math.log(rules.crisis_ratio)) / 0.15)
        calm = 1 - crisis
        text = f"volatility {evidence.volatility_ratio:.2f} times the usual"
        parts.append(_Part(text, np.array([calm, calm, calm, crisis]) + _FLOOR, rules.volatility_weight))
    if evidence.states is not None:
        named = {name: evidence.states.get(name, 0.0) for name in ("StrongBull", "Bull", "Bear", "Sideways", "Crisis")}
        trend = named["StrongBull"] + named["Bull"] + named["Bear"]
        other = (1 - trend - named["Crisis"]) / 2
        # Three of the six states are trends: a model that knows nothing gives them half.
        share = np.array([trend / 3, other, other, named["Crisis"]])
        top = max(named, key=lambda name: named[name])
        text = f"hidden state {top} {named[top]:.2f}"
        parts.append(_Part(text, np.maximum(share, 0.0) + _HIDDEN_FLOOR, rules.hidden_weight))
    return parts


_FLOOR: Final = 1e-3
"""No piece of evidence rules a state out by itself."""
_HIDDEN_FLOOR: Final = 0.1
"""The hidden states are a model's opinion, and fitted to the past: they count less than what is measured."""

_LOW_ENTROPY: Final = np.array([0.85, 0.37, 0.5, 0.5])
"""How often the entropy is low in each state, as simulated (docs/regime.md): a weight of thirty bars keeps its sign
through half of all noise. A crisis may have any entropy."""


def _logistic(x: float) -> float:
    """Return 1/(1 + e^−x), kept off 0 and 1 by `_FLOOR`."""
    return _FLOOR + (1 - 2 * _FLOOR) / (1 + math.exp(-max(-50.0, min(50.0, x))))


def _missing(evidence: Evidence) -> list[str]:
    values = {
        "entropy": evidence.entropy,
        "hurst": evidence.hurst,
        "volatility": evidence.volatility_ratio,
        "hidden states": evidence.states,
    }
    return [name for name, value in values.items() if value is None]


def _check(evidence: Evidence, before: Reading | None) -> None:
    if before is not None and before.at_ns >= evidence.at_ns:
        raise ValueError(f"before: expected a reading older than {evidence.at_ns}, found {before.at_ns}")
    if (evidence.hurst is None) != (evidence.hurst_error is None):
        raise ValueError("hurst: expected an exponent and its error, or neither")
    numbers = {
        "entropy": (evidence.entropy, 0.0, 1.0 + 1e-9),
        "hurst": (evidence.hurst, -1.0, 3.0),
        "hurst_error": (evidence.hurst_error, 0.0, math.inf),
        "volatility_ratio": (evidence.volatility_ratio, math.ulp(0.0), math.inf),
    }
    for name, (value, low, high) in numbers.items():
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{name}: expected a finite number from {low:g} to {high:g}, found {value}")
    for name, value in (evidence.states or {}).items():
        if not (math.isfinite(value) and -1e-9 <= value <= 1 + 1e-9):
            raise ValueError(f"states: expected probabilities, found {value} for {name}")
