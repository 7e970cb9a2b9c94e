"""The states of a market over its past, as they would have been judged at the time.

Each reading comes from the bars up to it and from models that were fitted to bars before it, so that whatever comes
later changes nothing: what is seen here is what a run would have seen.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from trisagion.market.types import Bars
from trisagion.regime.classify import UNKNOWN, Evidence, MarketRegime, Reading, Rules, classify
from trisagion.regime.evidence import EVIDENCE_BARS, FIT_BARS, FIT_BARS_MIN, MODELS, Models, evidence, fit, models

GAP_BARS: Final = 60
"""After a pause as long as this many bars, an hour of minutes, a reading says nothing about the next."""

REFIT_BARS: Final = 1_000
"""Bars from one fit of the models to the next, when nobody says."""

STATES: Final = (*MarketRegime, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A reading, and what it was made of."""

    evidence: Evidence
    reading: Reading


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive bars of one state.

    Parameters
    ----------
    first, last : int
        Numbers of its bars, from 0.
    from_ns, to_ns : int
        Closes of its first and its last bar, UTC.
    state : str
        A `MarketRegime`, or `UNKNOWN`.
    probability : float
        Of that state, the mean over the bars; NaN where it is `UNKNOWN`.
    reasons : tuple of str
        Those of the first bar: why it began.
    """

    first: int
    last: int
    from_ns: int
    to_ns: int
    state: str
    probability: float
    reasons: tuple[str, ...]

    @property
    def bars(self) -> int:
        """The number of its bars."""
        return self.last - self.first + 1


def judgements(bars: Bars, refit: int = REFIT_BARS, rules: Rules | None = None) -> Iterator[Judgement]:
    """Judge the market at the close of each bar.

    Parameters
    ----------
    bars : Bars
        Oldest first.
    refit : int
        Bars from one fit of the models to the next, at least 1. The first is at the bar that makes `FIT_BARS_MIN`
        returns. What is fitted to bars up to i is used from bar i + 1 on.
    rules : Rules, optional
        Of the classifier.

    Yields
    ------
    Judgement
        One for each bar. Between two there is one fit of the models at most, some tenths of a second.

    Raises
    ------
    ValueError
        For bars that do not rise in time, prices that are not finite and above 0, and a refit below 1.
    """
    if refit < 1:
        raise ValueError(f"refit: expected 1 bar at least, found {refit}")
    if (np.diff(bars.close_ns) <= 0).any():
        raise ValueError("bars: expected rising instants")
    if not (np.isfinite(bars.close) & (bars.close > 0)).all():
        raise ValueError("bars: expected finite closes above 0")
    return _judged(bars, refit, rules)


def _judged(bars: Bars, refit: int, rules: Rules | None) -> Iterator[Judgement]:
    known = Models()
    before: Reading | None = None
    for i, at_ns in enumerate(bars.close_ns.tolist()):
        found = evidence(bars.close[max(0, i + 1 - EVIDENCE_BARS) : i + 1], at_ns, known)
        if before is not None and at_ns - before.at_ns >= GAP_BARS * bars.interval_ns:
            before = None
        before = classify(found, before, rules)
        yield Judgement(found, before)
        if i >= FIT_BARS_MIN and (i - FIT_BARS_MIN) % refit == 0:
            past = bars.close[max(0, i - FIT_BARS) : i + 1]
            known = models(**{name: fit(name, past, bars.symbol).text for name in MODELS})


def stretches(readings: Sequence[Reading]) -> tuple[Stretch, ...]:
    """Join consecutive readings of one state."""
    return tuple(
        _stretch(readings, [number for number, _ in run])
        for _, run in groupby(enumerate(readings), key=lambda entry: entry[1].state)
    )


def shares(readings: Sequence[Reading]) -> dict[str, float]:
    """Return the share of the bars that each of `STATES` has; all 0 without bars."""
    counts = Counter(reading.state for reading in readings)
    return {str(state): counts[state] / max(1, len(readings)) for state in STATES}


def probability_of(reading: Reading) -> float:
    """Return the probability of the state that a reading announces; NaN when that is `UNKNOWN`."""
    if reading.state == UNKNOWN:
        return float("nan")
    return reading.probability[tuple(MarketRegime).index(MarketRegime(reading.state))]


def _stretch(readings: Sequence[Reading], numbers: list[int]) -> Stretch:
    first, last = numbers[0], numbers[-1]
    return Stretch(
        first,
        last,
        readings[first].at_ns,
        readings[last].at_ns,
        readings[first].state,
        float(np.mean([probability_of(reading) for reading in readings[first : last + 1]])),
        readings[first].reasons,
    )
