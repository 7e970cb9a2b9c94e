"""How much a result proves: do clones help, is the Sharpe ratio more than luck, does picking winners last.

Each answer comes with the number of things it rests on, and is None where they are too few to tell. All of it is about
the one stretch of one market that was replayed: no interval here speaks of another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import combinations
from statistics import NormalDist
from typing import Final

import numpy as np

from trisagion.clock import HOUR_NS
from trisagion.cohort.types import ShardMark
from trisagion.market.types import Float64Array, Int64Array
from trisagion.reports.metrics import BASIS_POINTS, CONFIDENCE, Moments, expected_maximum, moments
from trisagion.reports.model import CohortOutcome, RunReport

RESAMPLES: Final = 9_999
"""Of a bootstrap: Davison and Hinkley (1997) want at least 999 for a 95 % interval; scipy takes these."""

SEED: Final = 1
"""Of the bootstrap, so that one report has one interval; the draws are independent of the replay's."""

HOURS_MIN: Final = 10
"""Fewer hours of births give no interval: from so few, resampling shows the sample and not what it was drawn from."""

HOURS_TOLD: Final = 30.0
"""Fewer, in hours of equal weight, give no verdict: intervals from few clusters are too narrow, and thirty is the least
that is customary (Cameron, Gelbach and Miller, Review of Economics and Statistics 90(3), 2008)."""

BLOCKS: Final = 16
"""Blocks of the cross-validation, the example of its authors: 12,870 ways to split them in halves. Also the length of a
stretch in checkpoints, for few runs live longer: half of them end within 19 (default run)."""

STRATEGIES_MIN: Final = 10
"""With fewer strategies, each step of the rank is a tenth or more of what is measured."""

CELLS_MAX: Final = 20_000
"""Splits times strategies that are computed at a time: in a core's cache, and too small for BLAS to start threads, with
which it was ten times slower on a busy machine. A thousand strategies take 0.1 s."""

PLACES: Final = 10
"""Of the ratios that are compared: strategies that moved once in a half are equal, and rounding must not rank them."""

MOVED_MIN: Final = 1e-12
"""A variance below this part of the mean square is rounding: the strategy has not moved."""


@dataclass(frozen=True, slots=True)
class CloneEffect:
    """Clones less random draws born at the same instants, in one epoch.

    `trials` are all runs ever born in it, `births` the instants at which runs of both kinds were born that traded;
    `clones` and `randoms` count these, `hours` is how many hours of equal weight they are worth. `difference_bp` is
    None when there is no such instant, its bounds `low_bp` and `high_bp` when there are too few.
    """

    epoch: int
    running: bool
    trials: int
    births: int
    clones: int
    randoms: int
    hours: float
    difference_bp: float | None
    low_bp: float | None
    high_bp: float | None

    @property
    def verdict(self) -> str:
        """What may be said of it in words."""
        if self.low_bp is None or self.high_bp is None or self.hours < HOURS_TOLD:
            return "too few to tell"
        if self.low_bp > 0:
            return "clones did better"
        if self.high_bp < 0:
            return "clones did worse"
        return "no difference that chance could not make"


@dataclass(frozen=True, slots=True)
class Skill:
    """The chance that the account's true Sharpe ratio is above zero, and above what the best of all trials has by luck.

    `above_luck` is None with fewer than two trials.
    """

    trials: int
    returns: int
    above_zero: float
    above_luck: float | None


@dataclass(frozen=True, slots=True)
class Overfitting:
    """How often the best half-time strategy is no better than the median in the other half.

    `probability` is None when there are too few strategies or periods to tell.
    """

    strategies: int
    periods: int
    splits: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it; `clones` has an entry for each epoch, `overfitting` one for each stretch of time, oldest first."""

    clones: tuple[CloneEffect, ...]
    skill: Skill | None
    overfitting: tuple[Overfitting, ...]


@lru_cache(maxsize=1)
def weigh(report: RunReport) -> Evidence:
    """Gather the evidence of a report; page and summary ask for the same one."""
    return Evidence(
        clones=tuple(clone_effect(report.cohort, row.number, running=row.closed_ns is None) for row in report.epochs),
        skill=skill(report.equity.equity, len(report.cohort.profit)),
        overfitting=tuple(overfitting(gains) for gains in stretches(report.marks)),
    )


def clone_effect(cohort: CohortOutcome, epoch: int, *, running: bool) -> CloneEffect:
    """Estimate what cloning winners adds, against random draws that met the same market from the same instant on.

    Parameters
    ----------
    cohort : CohortOutcome
        All runs; those that live are taken as they stand.
    epoch : int
        The epoch whose runs are compared.
    running : bool
        Whether it is still open; passed on.

    Notes
    -----
    The measure of a run is its P&L per notional traded, ``10⁴ · P&L / Σ|price·quantity|``, which for trades of one size
    is its mean P&L per trade in basis points of notional, after fees, which all pay alike. Each run that traded counts
    once. At each instant s of birth let ``d_s`` be the mean of its clones less that of its random draws and ``w_s =
    m·n/(m + n)`` of their numbers; the estimate is ``Σ w_s·d_s / Σ w_s``, the least-squares coefficient of "is a clone"
    with a constant for each instant. So founders, whom no clone accompanies, do not count; survivors of another cohort
    among them are clones. Interval: bias-corrected and accelerated bootstrap (Efron, "Better bootstrap confidence
    intervals", JASA 82(397), 1987) that draws whole hours of births, for runs born together share their market and
    often their parent: in the default run ``d_s`` has an autocorrelation of 0.44 at ten minutes and 0.09 at thirty.
    `hours` is ``(Σ w_h)² / Σ w_h²`` (Kish 1965): one hour in which half of the cohort is replaced weighs as much as
    many.
    """
    mine = cohort.epoch == epoch
    traded = mine & (cohort.turnover > 0)
    points = cohort.profit[traded] / cohort.turnover[traded] * BASIS_POINTS
    cloned = cohort.cloned[traded]
    instants, place = np.unique(cohort.born_ns[traded], return_inverse=True)
    m = np.bincount(place[cloned], minlength=len(instants))
    n = np.bincount(place[~cloned], minlength=len(instants))
    both = (m > 0) & (n > 0)
    m, n = m[both], n[both]
    ours = np.bincount(place[cloned], points[cloned], len(instants))[both]
    theirs = np.bincount(place[~cloned], points[~cloned], len(instants))[both]
    difference, weight = ours / m - theirs / n, m * n / (m + n)
    _, hour = np.unique(instants[both] // HOUR_NS, return_inverse=True)
    weights = np.bincount(hour, weight).astype(np.float64)
    low, high = _bounds(np.bincount(hour, difference * weight) / weights, weights)
    return CloneEffect(
        epoch=epoch,
        running=running,
        trials=int(mine.sum()),
        births=len(difference),
        clones=int(m.sum()),
        randoms=int(n.sum()),
        hours=float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0,
        difference_bp=float(_weighted_mean(difference, weight)) if len(difference) else None,
        low_bp=low,
        high_bp=high,
    )


def skill(equity: Float64Array, trials: int) -> Skill | None:
    """Return the probabilistic and the deflated Sharpe ratio of an equity curve, float64 (n,).

    None where there is no Sharpe ratio (`metrics.moments`).

    Notes
    -----
    The deflated ratio is the probabilistic one against the expected best of N trials without skill (Bailey and López de
    Prado, "The deflated Sharpe ratio", JPM 40(5), 2014, eq. 2). They multiply `expected_maximum` by the standard
    deviation of the trials' Sharpe ratios; runs live too short and too unequally long to have comparable ones, so it is
    the one that ratios of n returns have when their true value is zero, ``√(1/n)``. Runs resemble each other, so their
    effective number is smaller than N, and the chance told is too low rather than too high.
    """
    found = moments(equity)
    if found is None:
        return None
    luck = expected_maximum(trials) / math.sqrt(found.count) if trials > 1 else None
    return Skill(
        trials=trials,
        returns=found.count,
        above_zero=probabilistic_sharpe(found, 0.0),
        above_luck=None if luck is None else probabilistic_sharpe(found, luck),
    )


def probabilistic_sharpe(found: Moments, benchmark: float) -> float:
    """Return the chance that the true Sharpe ratio is above a benchmark, both per return.

    ``Φ((SR − SR*)·√(n − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4·SR²))`` (Bailey and López de Prado, "The Sharpe ratio efficient
    frontier", Journal of Risk 15(2), 2012).
    """
    return NormalDist().cdf((found.ratio - benchmark) * math.sqrt(found.count - 1) / math.sqrt(found.shape))


def stretches(marks: Sequence[ShardMark], periods: int = BLOCKS) -> tuple[Float64Array, ...]:
    """Cut the checkpoints into stretches and return what the runs that lived through each gained between checkpoints.

    Parameters
    ----------
    marks : sequence of ShardMark
        In any order. Instants at which a shard is missing are left out.
    periods : int
        Between two checkpoints each, in a stretch; a stretch begins with the checkpoint that ends the one before it.

    Returns
    -------
    tuple of float64 (periods, n)
        In the run's own money, oldest stretch first, the newest ending now; n differs, and may be 0.

    Notes
    -----
    Runs that gained and lost nothing at all are left out. What ended on the way is not among them, so this says of
    those that lasted how far their order lasts, not how good they are.
    """
    shards = {mark.shard for mark in marks}
    held: dict[int, list[ShardMark]] = {}
    for mark in marks:
        held.setdefault(mark.at_ns, []).append(mark)
    complete = [
        (np.concatenate([mark.runs for mark in group]), np.concatenate([mark.pnl for mark in group]))
        for _, group in sorted(held.items())
        if {mark.shard for mark in group} == shards
    ]
    ends = range(len(complete) - 1, periods - 1, -periods)
    return tuple(_gains(complete[end - periods : end + 1]) for end in reversed(ends))


def overfitting(gains: Float64Array, blocks: int = BLOCKS) -> Overfitting:
    """Estimate the probability of backtest overfitting by combinatorially symmetric cross-validation.

    Parameters
    ----------
    gains : float64 (t, n)
        What each of n strategies gained in each of t periods. The oldest are left out until t is a multiple of
        `blocks`.
    blocks : int
        Even; each split takes half of the blocks to choose from and the other half to judge.

    Notes
    -----
    Bailey, Borwein, López de Prado and Zhu, "The probability of backtest overfitting", Journal of Computational Finance
    20(4), 2016 (there PBO, from a matrix M of T × N and S blocks). For each of the C(S, S/2) splits, the
    strategy with the best Sharpe ratio in the first half has the rank r among the N in the other, ``ω = r/(N + 1)``;
    the probability is the share of splits with ``logit ω ≤ 0``, that is with a rank no better than the median. Where
    the paper is silent: equal ratios share their mean rank, the first of equals is chosen, and the ratio of what has
    not moved is zero. Chance alone gives about one half, as much below as above it for few or similar strategies.
    """
    assert blocks >= 2 and blocks % 2 == 0, blocks
    rows, strategies = gains.shape
    periods = rows // blocks * blocks
    if strategies < STRATEGIES_MIN or periods < blocks:
        return Overfitting(strategies, rows, 0, None)
    parts = gains[rows - periods :].reshape(blocks, periods // blocks, strategies)
    sums, squares = parts.sum(axis=1), (parts**2).sum(axis=1)
    # Splits come in pairs, each half judging the other's choice: those whose first half has the first block name all.
    picks = [(0, *others) for others in combinations(range(1, blocks), blocks // 2 - 1)]
    chosen = np.zeros((len(picks), blocks))
    np.put_along_axis(chosen, np.array(picks), 1.0, axis=1)
    low = 0
    step = max(1, CELLS_MAX // strategies)
    for start in range(0, len(chosen), step):
        one = chosen[start : start + step]
        halves = [_ratios(half @ sums, half @ squares, periods // 2) for half in (one, 1 - one)]
        low += _low(*halves) + _low(*reversed(halves))
    return Overfitting(strategies, periods, 2 * len(chosen), low / (2 * len(chosen)))


def _low(seen: Float64Array, judged: Float64Array) -> int:
    """Count the splits, shapes (splits, n), in which the best of those seen has at most the median rank as judged."""
    own = np.take_along_axis(judged, np.argmax(seen, axis=1)[:, None], axis=1)
    rank = np.count_nonzero(judged < own, axis=1) + (np.count_nonzero(judged == own, axis=1) + 1) / 2
    return int(np.count_nonzero(rank <= (judged.shape[1] + 1) / 2))


def _gains(checkpoints: Sequence[tuple[Int64Array, Float64Array]]) -> Float64Array:
    """Return the gains between checkpoints, each (runs, P&L), of the runs that are in all of them and moved."""
    alive = reduce(np.intersect1d, (runs for runs, _ in checkpoints))
    worth = np.empty((len(checkpoints), len(alive)))
    for row, (runs, pnl) in enumerate(checkpoints):
        order = np.argsort(runs)
        worth[row] = pnl[order[np.searchsorted(runs, alive, sorter=order)]]
    gains: Float64Array = np.diff(worth, axis=0)
    return gains[:, gains.any(axis=0)]


def _ratios(sums: Float64Array, squares: Float64Array, count: int) -> Float64Array:
    """Return mean over deviation, rounded, from sums and squares of `count` values; 0 for what has not moved."""
    spread = squares * count
    moved = MOVED_MIN * spread
    spread -= sums**2
    ratios: Float64Array = np.divide(sums, np.sqrt(np.abs(spread)), out=np.zeros_like(sums), where=spread > moved)
    return np.round(ratios, PLACES)


def _weighted_mean(values: Float64Array, weights: Float64Array, axis: int = -1) -> Float64Array:
    mean: Float64Array = np.sum(values * weights, axis=axis) / np.sum(weights, axis=axis)
    return mean


def _bounds(values: Float64Array, weights: Float64Array) -> tuple[float | None, float | None]:
    """Return the bounds of a weighted mean; None for fewer than `HOURS_MIN` values, and for equal ones."""
    if len(values) < HOURS_MIN or np.ptp(values) == 0:
        return None, None
    from scipy.stats import bootstrap  # noqa: PLC0415 # a run loads it at its end, not at its start

    found = bootstrap(
        (values, weights),
        _weighted_mean,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
