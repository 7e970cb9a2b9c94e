"""The Kelly percentage of a set of runs: what share of a stake their record of wins and losses would justify."""

from typing import Final

import numpy as np

from trisagion.errors import DataError
from trisagion.market.types import Float64Array

KELLY_RUNS_MIN: Final = 10
"""Fewer runs than this are no record (domain, section 4)."""


def kelly(pnls: Float64Array, *, runs_min: int = KELLY_RUNS_MIN) -> float | None:
    """Return the Kelly percentage of runs with these P&Ls, None where it is not defined.

    ``K = W − (1 − W) / R``, ``W = wins / (wins + losses)``, ``R = mean(win) / mean(|loss|)``.

    Parameters
    ----------
    pnls : float64 array, shape (n,)
        P&L of each run, all in one unit of money.
    runs_min : int
        The least number of runs with a P&L other than zero.

    Returns
    -------
    float or None
        At most 1, unbounded below. None with fewer than `runs_min` runs that won or lost, or without both.

    Raises
    ------
    DataError
        When a P&L is not finite: a broken run must not weigh in quietly as "no outcome".

    Notes
    -----
    J. L. Kelly, "A New Interpretation of Information Rate", Bell System Technical Journal 35 (1956), for the bet with
    two outcomes. We differ from it: the runs' wins and losses are of many sizes, so R is the ratio of their means,
    and a run without P&L is no outcome, so it is in neither W nor the count.
    """
    if not np.isfinite(pnls).all():
        raise DataError(f"kelly: expected {len(pnls)} finite P&Ls, found {int(np.isfinite(pnls).sum())}")
    wins = pnls[pnls > 0]
    losses = pnls[pnls < 0]
    decided = len(wins) + len(losses)
    if decided < runs_min or not len(wins) or not len(losses):
        return None
    won = len(wins) / decided
    reward = float(wins.mean()) / float(-losses.mean())
    return won - (1.0 - won) / reward
