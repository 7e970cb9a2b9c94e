"""Does a market that oscillates hurt who holds a position in it: oscillation against maximum adverse excursion.

The bars are cut into epochs that do not overlap. How a market oscillates is measured in the block of bars before an
epoch, which was known when the position was entered, and in the epoch itself, which was not: the former may decide, the
latter explains. All of it is about the one stretch of one market that was looked at.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import rankdata

from ext.entropy import permutation_entropy
from trisagion.features.momentum import WEIGHT_BARS, market_weight
from trisagion.market.types import Bars, Float64Array, Int64Array
from trisagion.regime.hurst import SAMPLES_MIN as HURST_RETURNS_MIN
from trisagion.regime.hurst import detrended_fluctuation_batch
from trisagion.regime.significance import adjust
from trisagion.reports.metrics import BASIS_POINTS, CONFIDENCE
from trisagion.reports.model import EquityCurve

EPOCH_BARS: Final = 60
EPOCH_BARS_MIN: Final = 5
"""Four returns: fewer have one or two ordinal patterns of order 3, and no entropy worth the name."""

ORDER: Final = 3
HURST_RETURNS: Final = 256
"""Returns up to the block's end that the exponent is taken over where the block itself has too few."""

RESAMPLES: Final = 2_000
SEED: Final = 1
"""Of the bootstrap, so that one file has one interval."""

EPOCHS_TOLD: Final = 30
"""Fewer give no verdict: ranks of few pairs in blocks are few arrangements, and their interval is too narrow."""

EPOCHS_MIN: Final = 10
"""Fewer give no interval."""

_BATCH: Final = 100
"""Resamples ranked at a time, so that memory holds few."""

MEASURES: Final = ("entropy of returns", "entropy of weight signs", "Hurst exponent", "range")
BEFORE: Final = "before"
WITHIN: Final = "within"
MARKET: Final = "position"
ACCOUNT: Final = "account"


@dataclass(frozen=True, slots=True, eq=False)
class Epochs:
    """The epochs of a market, oldest first; the first block of bars is none, for nothing was measured before it.

    Parameters
    ----------
    start_ns, end_ns : int64, shape (n,)
        Closes of the first and of the last bar.
    direction : int64, shape (n,)
        Sign of the market weight at the first close: 1 long, −1 short, 0 no position.
    mae_bp : float64, shape (n,)
        Maximum adverse excursion of a position entered at the first close and held to the end, in basis points of that
        close, at least 0; NaN without a position.
    before, within : float64, shape (4, n)
        `MEASURES` in the block before and in the epoch itself; NaN where unknown.
    """

    start_ns: Int64Array
    end_ns: Int64Array
    direction: Int64Array
    mae_bp: Float64Array
    before: Float64Array
    within: Float64Array

    def __len__(self) -> int:
        return len(self.start_ns)


@dataclass(frozen=True, slots=True)
class Pair:
    """One rank correlation.

    Parameters
    ----------
    measure : str
        Of `MEASURES`.
    when : str
        `BEFORE` or `WITHIN`.
    of : str
        What it is correlated with: the excursion of the `MARKET` position, or the fall of the `ACCOUNT`.
    epochs : int
        Epochs in which both are known.
    rho : float, optional
        Spearman's coefficient; None where one of the two does not vary.
    low, high : float, optional
        Its interval; None with fewer than `EPOCHS_MIN` epochs.
    p, p_adjusted : float, optional
        Probability of one as far from 0 by chance; the latter corrected for the number of pairs of the study.
    """

    measure: str
    when: str
    of: str
    epochs: int
    rho: float | None
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None

    @property
    def verdict(self) -> str:
        """What may be said of it in words."""
        if self.epochs < EPOCHS_TOLD:
            return f"too few epochs to tell: {self.epochs} of {EPOCHS_TOLD}"
        if self.rho is None or self.p_adjusted is None:
            return "one of the two does not vary"
        if self.p_adjusted > 1 - CONFIDENCE:
            return "no relation that chance could not make"
        return "larger, then a larger excursion" if self.rho > 0 else "larger, then a smaller excursion"


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The epochs of one market and their correlations; `account_bp` float64 (n,), None without an account."""

    symbol: str
    epoch_bars: int
    epochs: Epochs
    account_bp: Float64Array | None
    pairs: tuple[Pair, ...]

    @property
    def flat(self) -> int:
        """The number of epochs without a position."""
        return int((self.epochs.direction == 0).sum())

    @property
    def enough(self) -> bool:
        """Whether there are epochs enough to say anything."""
        return max((pair.epochs for pair in self.pairs), default=0) >= EPOCHS_TOLD


def study(bars: Bars, epoch_bars: int = EPOCH_BARS, equity: EquityCurve | None = None) -> Study:
    """Correlate the oscillation of a market with adverse excursions.

    Parameters
    ----------
    bars : Bars
        Oldest first.
    epoch_bars : int
        Bars of an epoch, at least `EPOCH_BARS_MIN`. What is left at the end is no epoch.
    equity : EquityCurve, optional
        Of an account that traded in the meantime.

    Raises
    ------
    ValueError
        For too short an epoch, or bars that are not finite, above 0 and rising in time.

    Notes
    -----
    Maximum adverse excursion: Sweeney, *Maximum Adverse Excursion*, 1997. Correlation: Spearman, Am. J. Psychol. 15, 72
    (1904). Interval: percentiles of `RESAMPLES` circular block bootstraps (Politis & Romano, in *Exploring the Limits
    of Bootstrap*, 1992) in blocks of ⌈n^⅓⌉ epochs, the rate of Hall, Horowitz & Jing, Biometrika 82, 561 (1995); p: the
    share of resamples as far from ρ as ρ is from 0. Correction: Holm (1979), over all pairs that have a p.
    """
    found = epochs_of(bars, epoch_bars)
    account = None if equity is None else falls_bp(equity, found)
    outcomes = [(MARKET, found.mae_bp)] + ([] if account is None else [(ACCOUNT, account)])
    pairs = [
        _pair(measure, when, name, oscillation[row], outcome)
        for name, outcome in outcomes
        for when, oscillation in ((BEFORE, found.before), (WITHIN, found.within))
        for row, measure in enumerate(MEASURES)
    ]
    return Study(bars.symbol, epoch_bars, found, account, _adjusted(pairs))


def epochs_of(bars: Bars, epoch_bars: int) -> Epochs:
    """Cut bars into epochs and measure each; arguments and errors as in `study`."""
    _check(bars, epoch_bars)
    blocks = len(bars) // epoch_bars
    starts = np.arange(1, blocks, dtype=np.int64) * epoch_bars
    measured = np.full((len(MEASURES), max(blocks, 1)), np.nan)
    for block in range(blocks):
        measured[:, block] = _oscillation(bars, block * epoch_bars, (block + 1) * epoch_bars)
    direction = np.array([np.sign(_weight(bars.close, int(first))) for first in starts], dtype=np.int64)
    return Epochs(
        start_ns=bars.close_ns[starts],
        end_ns=bars.close_ns[starts + epoch_bars - 1],
        direction=direction,
        mae_bp=_excursions(bars, starts, epoch_bars, direction),
        before=measured[:, :-1],
        within=measured[:, 1:],
    )


def falls_bp(equity: EquityCurve, epochs: Epochs) -> Float64Array:
    """Return the largest fall of an account below its value at the start of each epoch.

    Returns
    -------
    float64, shape (n,)
        In basis points of that value, at least 0; NaN where the account was not known at the start, was worth nothing,
        or was not looked at within the epoch.
    """
    falls = np.full(len(epochs), np.nan)
    first = np.searchsorted(equity.at_ns, epochs.start_ns, side="right")
    last = np.searchsorted(equity.at_ns, epochs.end_ns, side="right")
    for epoch, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        if 0 < begin < end and equity.equity[begin - 1] > 0:
            worth = float(equity.equity[begin - 1])
            falls[epoch] = max(0.0, worth - float(equity.equity[begin:end].min())) / worth * BASIS_POINTS
    return falls


def _oscillation(bars: Bars, first: int, end: int) -> tuple[float, float, float, float]:
    """Return `MEASURES` of the bars [first, end); weights and exponent look further back where they have to."""
    returns = np.diff(np.log(bars.close[first:end]))
    signs = np.array([np.sign(_weight(bars.close, bar)) for bar in range(first, end)])
    high, low = bars.high[first:end].max(), bars.low[first:end].min()
    return (
        permutation_entropy(returns, ORDER, 1),
        permutation_entropy(signs, ORDER, 1),
        _hurst(bars.close, first, end),
        float((high - low) / bars.close[first:end].mean()),
    )


def _weight(closes: Float64Array, bar: int) -> float:
    """Return the market weight at the close of a bar, over bars instead of minutes."""
    return market_weight(closes[max(0, bar + 1 - WEIGHT_BARS) : bar + 1])


def _hurst(closes: Float64Array, first: int, end: int) -> float:
    own = end - first - 1 >= HURST_RETURNS_MIN
    begin = first if own else end - HURST_RETURNS - 1
    if begin < 0:
        return math.nan
    returns = np.diff(np.log(closes[begin:end]))
    return float(detrended_fluctuation_batch(returns[None])[0][0])


def _excursions(bars: Bars, starts: Int64Array, epoch_bars: int, direction: Int64Array) -> Float64Array:
    found = np.full(len(starts), np.nan)
    for epoch, (first, side) in enumerate(zip(starts.tolist(), direction.tolist(), strict=True)):
        held = slice(first + 1, first + epoch_bars)
        entry = float(bars.close[first])
        if side > 0:
            found[epoch] = max(0.0, entry - float(bars.low[held].min())) / entry * BASIS_POINTS
        elif side < 0:
            found[epoch] = max(0.0, float(bars.high[held].max()) - entry) / entry * BASIS_POINTS
    return found


def _pair(measure: str, when: str, of: str, oscillation: Float64Array, outcome: Float64Array) -> Pair:
    known = np.isfinite(oscillation) & np.isfinite(outcome)
    x, y = oscillation[known], outcome[known]
    n = len(x)
    rho = float(_spearman(x[None], y[None])[0]) if n > 1 else math.nan
    low = high = p = None
    if n >= EPOCHS_MIN and math.isfinite(rho):
        drawn = _resampled(x, y)
        low, high = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)).tolist()
        # As far counts as farther, and rounding must not decide: a resample may be the sample.
        p = (1 + int((np.abs(drawn - rho) >= abs(rho) - 1e-12).sum())) / (1 + len(drawn))
    return Pair(measure, when, of, n, rho if math.isfinite(rho) else None, low, high, p, None)


def _resampled(x: Float64Array, y: Float64Array) -> Float64Array:
    """Return the correlations of circular block resamples; one in which nothing varies says 0."""
    n = len(x)
    rng = np.random.default_rng(SEED)
    length = math.ceil(n ** (1 / 3))
    blocks = math.ceil(n / length)
    drawn = np.empty(RESAMPLES)
    for first in range(0, RESAMPLES, _BATCH):
        begins = rng.integers(n, size=(min(_BATCH, RESAMPLES - first), blocks, 1))
        rows = ((begins + np.arange(length)) % n).reshape(len(begins), -1)[:, :n]
        drawn[first : first + len(rows)] = _spearman(x[rows], y[rows])
    return np.nan_to_num(drawn, nan=0.0)


def _spearman(x: Float64Array, y: Float64Array) -> Float64Array:
    """Return the rank correlation of each row, shapes (m, n) → (m,); NaN where one of the two does not vary."""
    ranks = [rankdata(values, axis=1) for values in (x, y)]
    first, second = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    none = np.full(len(x), np.nan)
    return np.asarray(np.divide((first * second).sum(axis=1), scale, out=none, where=scale > 0), dtype=np.float64)


def _adjusted(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    p_values = [pair.p for pair in pairs if pair.p is not None]
    corrected = iter(adjust(np.array(p_values), "holm").p_values.tolist() if p_values else ())
    return tuple(pair if pair.p is None else replace(pair, p_adjusted=next(corrected)) for pair in pairs)


def _check(bars: Bars, epoch_bars: int) -> None:
    if epoch_bars < EPOCH_BARS_MIN:
        raise ValueError(f"epoch: expected {EPOCH_BARS_MIN} bars at least, found {epoch_bars}")
    if (np.diff(bars.close_ns) <= 0).any():
        raise ValueError("bars: expected rising instants")
    prices = np.stack((bars.high, bars.low, bars.close))
    if not (np.isfinite(prices) & (prices > 0)).all():
        raise ValueError("bars: expected finite prices above 0")
