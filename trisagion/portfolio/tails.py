"""What a bad day costs: value at risk and shortfall of a portfolio by three methods, of which the worst counts.

The portfolio's P&L of each past minute, had it been held then as it is now, is what all three look at. They fail in
different ways: history knows nothing worse than it has seen, the parametric one knows no tail but its own, and the
generalised Pareto tail is fitted to few points.

"MFE" is McNeil, Frey & Embrechts, "Quantitative Risk Management" (2005).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from trisagion.market.types import Float64Array
from trisagion.portfolio.returns import TAIL_RETURNS_MIN
from trisagion.regime.tails import peaks_over_threshold, tail_mean, tail_quantile

LEVEL: Final = 0.99
"""Both are of the worst hundredth: the level of the Basel committee's backtests (MAR99)."""

THRESHOLD: Final = 0.9
"""The tail is fitted to the worst tenth, as McNeil and Frey do (J. Empirical Finance 7, 2000)."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Value at risk and expected shortfall, in the unit of the P&L; losses are positive. `method` is whose they are."""

    var: float
    es: float
    method: str


def historical(losses: Float64Array) -> Tail:
    """Return the empirical quantile, and the mean of the losses of the worst share ``1 − LEVEL``.

    Parameters
    ----------
    losses : float64, shape (n,)
        Rising; positive when they hurt.

    Notes
    -----
    The share need not be a whole number of losses: the last one counts in part (Acerbi & Tasche, "On the coherence of
    expected shortfall", J. Banking & Finance 26, 2002, proposition 4.1), so that the shortfall is coherent.
    """
    worst = losses[::-1]
    share = len(worst) * (1.0 - LEVEL)
    whole = int(share + 1e-9)
    rest = max(share - whole, 0.0)
    part = rest * worst[whole] if whole < len(worst) else 0.0
    return Tail(float(worst[min(whole, len(worst) - 1)]), float((worst[:whole].sum() + part) / share), "history")


def normal(deviation: float) -> Tail:
    """Return those of a normal distribution without a mean (MFE examples 2.14 and 2.18)."""
    quantile = float(ndtri(LEVEL))
    density = math.exp(-quantile * quantile / 2.0) / math.sqrt(2.0 * math.pi)
    return Tail(deviation * quantile, deviation * density / (1.0 - LEVEL), "normal")


def student(deviation: float, freedom: float) -> Tail:
    """Return those of a Student t of this deviation, without a mean, with more than 2 degrees of freedom (MFE 2.19)."""
    quantile = float(stdtrit(freedom, LEVEL))
    log_scale = math.lgamma((freedom + 1.0) / 2.0) - math.lgamma(freedom / 2.0) - math.log(freedom * math.pi) / 2.0
    density = math.exp(log_scale) * (1.0 + quantile * quantile / freedom) ** (-(freedom + 1.0) / 2.0)
    beyond = density / (1.0 - LEVEL) * (freedom + quantile * quantile) / (freedom - 1.0)
    scale = deviation * math.sqrt((freedom - 2.0) / freedom)
    return Tail(scale * quantile, scale * beyond, "student")


def parametric(losses: Float64Array) -> Tail:
    """Return those of the Student t with the losses' deviation and kurtosis; without a heavy tail, the normal's.

    Notes
    -----
    A t with ν degrees of freedom has an excess kurtosis of ``6/(ν − 4)``. The mean is taken for 0: that of a minute
    cannot be told from it.
    """
    squares = losses * losses
    variance = float(squares.mean())
    excess = float((squares * squares).mean()) / (variance * variance) - 3.0
    deviation = math.sqrt(variance)
    return student(deviation, 4.0 + 6.0 / excess) if excess > 0.0 else normal(deviation)


def pareto(losses: Float64Array) -> Tail | None:
    """Return those of the Pareto tail of the worst tenth of rising losses; None with fewer than ten, or equal ones."""
    at = THRESHOLD * (len(losses) - 1)
    below = int(at)
    threshold = float(losses[below] + (at - below) * (losses[min(below + 1, len(losses) - 1)] - losses[below]))
    try:
        tail = peaks_over_threshold(losses, threshold=threshold, by_moments=True)
    except ValueError:
        return None
    return Tail(tail_quantile(tail, LEVEL), tail_mean(tail, LEVEL), "pareto")


def worst(pnl: Float64Array, horizon_min: int) -> Tail | None:
    """Return the worst value at risk and the worst shortfall of all methods, over a horizon.

    Parameters
    ----------
    pnl : float64, shape (n,)
        Of each minute, in money.
    horizon_min : int
        Minutes of trade. Both grow with its square root, as those of independent minutes of one variance do.

    Returns
    -------
    Tail or None
        `method` is that of the worst shortfall. None: with fewer than `TAIL_RETURNS_MIN` minutes, or without a Pareto
        tail. Without any P&L both are 0.
    """
    if len(pnl) < TAIL_RETURNS_MIN or not np.isfinite(pnl).all():
        return None
    losses = np.sort(-pnl)
    unit = max(-float(losses[0]), float(losses[-1]))
    if unit == 0.0:
        return Tail(0.0, 0.0, "history")
    losses /= unit
    tail = pareto(losses)
    if tail is None:
        return None
    found = (historical(losses), parametric(losses), tail)
    scale = unit * math.sqrt(horizon_min)
    most = max(found, key=lambda each: each.es)
    return Tail(max(0.0, *(each.var for each in found)) * scale, max(0.0, most.es) * scale, most.method)
