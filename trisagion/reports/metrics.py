"""Figures of a replay, each with its formula. What cannot be known from so little data is None, never a guess.

Nothing is compounded to a year: a return of two days says nothing about one. The Sharpe ratio is quoted per year
because readers expect it so, and always with its interval, with the time it would take to prove it, and with what luck
alone gives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from statistics import NormalDist
from typing import Final

import numpy as np

from trisagion.clock import HOUR_NS
from trisagion.market.types import Float64Array, Int64Array
from trisagion.orders.types import Liquidity
from trisagion.reports.model import CohortOutcome, Fill, Market, RunReport
from trisagion.units import WIDE, Money, Quantity, notional

YEAR_NS: Final = round(365.24 * 24 * HOUR_NS)
"""The year of the platform's own APR (the source paper's 365.24 days)."""

CONFIDENCE: Final = 0.95
"""Of every interval and proof here: the customary one, and the one of Bailey and López de Prado (2012)."""

EULER_GAMMA: Final = 0.5772156649015329
"""Euler–Mascheroni constant, in the expected maximum of normal draws (Bailey and López de Prado 2014, eq. 1)."""

RETURNS_MIN: Final = 30
"""Fewer returns give no Sharpe ratio: its interval rests on the central limit theorem and its customary thirty."""

BASIS_POINTS: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class DrawDown:
    """The deepest fall from a peak: `depth` is a fraction of the peak; `recovered_ns` is None while below the peak."""

    depth: float
    peak_ns: int
    trough_ns: int
    recovered_ns: int | None
    lasted_ns: int


@dataclass(frozen=True, slots=True)
class Moments:
    """Of `count` returns from mark to mark; `ratio` is their Sharpe ratio, not yearly; a normal has a kurtosis of 3."""

    ratio: float
    skewness: float
    kurtosis: float
    count: int

    @property
    def shape(self) -> float:
        """``1 − γ₃·SR + (γ₄ − 1)/4·SR²``: the variance of the estimated ratio, times `count` (Mertens 2002)."""
        return 1.0 - self.skewness * self.ratio + (self.kurtosis - 1.0) / 4.0 * self.ratio**2


@dataclass(frozen=True, slots=True)
class Sharpe:
    """A yearly Sharpe ratio and how much it is worth.

    `low` and `high` bound it with `CONFIDENCE`; `proof_ns` is the sample length that would prove it above zero at this
    rate (None when it is not above zero); `luck` is what the best of the cohort's tries would show without any skill.
    """

    value: float
    low: float
    high: float
    returns: int
    proof_ns: int | None
    luck: float | None


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Completed trips from flat to flat (a flip ends one and begins the next), net of fees."""

    count: int
    wins: int
    best: Money | None
    worst: Money | None


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """The instruments held from the first to the last close of each, without costs: two P&Ls.

    `unlevered` holds a notional of the starting equity, in equal parts where there are several instruments, and
    `change` is the mean of their prices' changes, as fractions; `same_exposure` holds the account's mean absolute
    position in each, long.
    """

    change: float
    unlevered: float
    same_exposure: float


@dataclass(frozen=True, slots=True)
class Standing:
    """The account within its own cohort, by P&L before fees per notional traded, in bp; None without turnover.

    `percentile` counts runs below, and half of those equal, out of 100.
    """

    account_bp: float | None
    median_bp: float | None
    percentile: float | None
    compared: int
    trials: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """All figures of one report. Shares and returns are fractions; `leverage` is the mean of |notional| over equity."""

    total_return: float
    drawdown: DrawDown | None
    sharpe: Sharpe | None
    in_market: float | None
    leverage: float | None
    turnover: Money
    turnover_multiple: float | None
    maker_share: float | None
    round_trips: RoundTrips
    buy_and_hold: BuyAndHold | None
    standing: Standing


def measure(report: RunReport) -> Metrics:
    """Compute all figures of a report."""
    curve = report.equity
    turnover = _turnover(report)
    mean_equity = float(curve.equity.mean()) if len(curve.equity) else 0.0
    return Metrics(
        total_return=float(report.profit) / float(report.account.start_equity),
        drawdown=drawdown(curve.at_ns, curve.equity),
        sharpe=sharpe(curve.at_ns, curve.equity, len(report.cohort.profit)),
        in_market=_in_market(report),
        leverage=_leverage(report),
        turnover=turnover,
        turnover_multiple=float(turnover) / mean_equity if mean_equity > 0 else None,
        maker_share=_maker_share(report.fills),
        round_trips=_all_round_trips(report),
        buy_and_hold=_buy_and_hold(report),
        standing=standing(Money(report.profit + report.fees), turnover, report.cohort),
    )


def drawdown(at_ns: Int64Array, equity: Float64Array) -> DrawDown | None:
    """Find the deepest draw-down of an equity curve.

    Parameters
    ----------
    at_ns : int64 (n,), rising instants
    equity : float64 (n,), above zero at its first sample

    Returns
    -------
    DrawDown or None
        ``max_t (1 − E_t / max_{s≤t} E_s)``, from the last instant at that peak to recovery, or to the end of the curve.
        None when equity never fell below a peak.

    Notes
    -----
    Magdon-Ismail and Atiya, "Maximum drawdown", Risk 17(10), 2004. Relative to the peak, not to the start.
    """
    if len(equity) == 0:
        return None
    fall = drawdowns(equity)
    trough = int(np.argmax(fall))
    if fall[trough] <= 0:
        return None
    peak_equity = equity[: trough + 1].max()
    peak = int(np.flatnonzero(equity[: trough + 1] == peak_equity)[-1])
    after = np.flatnonzero(equity[trough:] >= peak_equity)
    recovered = trough + int(after[0]) if len(after) else None
    last = len(equity) - 1 if recovered is None else recovered
    return DrawDown(
        depth=float(fall[trough]),
        peak_ns=int(at_ns[peak]),
        trough_ns=int(at_ns[trough]),
        recovered_ns=None if recovered is None else int(at_ns[recovered]),
        lasted_ns=int(at_ns[last] - at_ns[peak]),
    )


def drawdowns(equity: Float64Array) -> Float64Array:
    """Return ``1 − E_t / max_{s≤t} E_s`` for each sample: float64 (n,) in, float64 (n,) out, 0 at a peak."""
    drawn: Float64Array = 1.0 - equity / np.maximum.accumulate(equity)
    return drawn


def moments(equity: Float64Array) -> Moments | None:
    """Return the moments of an equity curve's returns, float64 (n,).

    None for fewer than `RETURNS_MIN` returns, for a curve that does not move, or for equity at or below zero. The
    Sharpe ratio divides by the standard deviation with n − 1, skewness and kurtosis are those of the sample.
    """
    if len(equity) - 1 < RETURNS_MIN or np.any(equity <= 0):
        return None
    returns = np.diff(equity) / equity[:-1]
    spread = float(returns.std(ddof=1))
    if spread == 0:
        return None
    centred = (returns - returns.mean()) / returns.std()
    return Moments(float(returns.mean()) / spread, float(np.mean(centred**3)), float(np.mean(centred**4)), len(returns))


def expected_maximum(trials: int) -> float:
    """Return the expected largest of N > 1 independent standard normals.

    ``(1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))`` (Bailey and López de Prado, "The deflated Sharpe ratio", JPM 40(5),
    2014, eq. 1), too large by up to 3 % for ten, and exact in the limit.
    """
    normal = NormalDist()
    return (1 - EULER_GAMMA) * normal.inv_cdf(1 - 1 / trials) + EULER_GAMMA * normal.inv_cdf(1 - 1 / (trials * math.e))


def sharpe(at_ns: Int64Array, equity: Float64Array, trials: int) -> Sharpe | None:
    """Estimate the yearly Sharpe ratio of an equity curve, and how little or much it says.

    Parameters
    ----------
    at_ns : int64 (n,), rising instants of the marks
    equity : float64 (n,), above zero
    trials : how many strategies were tried: every run ever born

    Returns
    -------
    Sharpe or None
        None for fewer than `RETURNS_MIN` returns, for a curve that does not move, or for equity at or below zero.

    Notes
    -----
    With returns ``r`` from mark to mark, ``SR = mean(r)/std(r)`` (std with n − 1; no risk-free rate, as the account
    earns none), ``q = n / span in years`` and the yearly value ``SR·√q`` (Lo, "The statistics of Sharpe ratios", FAJ
    58(4), 2002, for independent returns). ``q`` counts the marks there were, so that nights and halts do not inflate
    it. Standard error ``√((1 − γ₃·SR + (γ₄ − 1)/4·SR²)/n)``, with γ₃ and γ₄ the skewness and kurtosis (Mertens 2002);
    where Bailey and López de Prado write n − 1 we write n. Length of proof ``1 + (1 − γ₃·SR + (γ₄ − 1)/4·SR²)·(z/SR)²``
    returns with z one-sided (their minimum track record length, "The Sharpe ratio efficient frontier", Journal of Risk
    15(2), 2012). Luck: the expected largest of N independent SR estimates of true value zero, ``√(1/n)`` times
    `expected_maximum`. Runs resemble each other, so
    their effective number is smaller and this bar is too high rather than too low.
    """
    found = moments(equity)
    if found is None:
        return None
    ratio, shape, count = found.ratio, found.shape, found.count
    span_ns = int(at_ns[-1] - at_ns[0])
    yearly = math.sqrt(count / (span_ns / YEAR_NS))
    normal = NormalDist()
    half = normal.inv_cdf(0.5 + CONFIDENCE / 2) * math.sqrt(shape / count)
    needed = 1.0 + shape * (normal.inv_cdf(CONFIDENCE) / ratio) ** 2 if ratio > 0 else None
    luck = expected_maximum(trials) / math.sqrt(count) * yearly if trials > 1 else None
    return Sharpe(
        value=ratio * yearly,
        low=(ratio - half) * yearly,
        high=(ratio + half) * yearly,
        returns=count,
        proof_ns=None if needed is None else round(needed * span_ns / count),
        luck=luck,
    )


def round_trips(fills: Sequence[Fill], multiplier: Decimal) -> RoundTrips:
    """Cut fills, oldest first, into trips from flat to flat; a fill that flips is split in proportion, its fee too."""
    results: list[Decimal] = []
    with localcontext(WIDE):
        held = cash = Decimal(0)
        for fill in fills:
            signed = fill.qty * fill.side.sign
            closes = -held if held * signed < 0 and abs(signed) >= abs(held) else Decimal(0)
            if closes:
                part = fill.fee * abs(closes) / fill.qty
                results.append(cash - notional(fill.px, Quantity(closes), multiplier) - part)
                opens = signed - closes
                held, cash = opens, -(fill.px * opens * multiplier) - (fill.fee - part)
            else:
                held += signed
                cash -= fill.px * signed * multiplier + fill.fee
    wins = sum(result > 0 for result in results)
    return RoundTrips(
        len(results), wins, Money(max(results)) if results else None, Money(min(results)) if results else None
    )


def standing(gross: Money, turnover: Money, cohort: CohortOutcome) -> Standing:
    """Place the account, its P&L before fees `gross`, among its runs by P&L before fees per notional traded.

    Notes
    -----
    ``10⁴ · P&L / Σ|price·quantity·multiplier|`` is free of the size of the account, of leverage and of how often one
    trades; returns on start balance are not, for a run trades a few millionths of its balance at a time. Runs that
    never traded are left out. The percentile is the mid-rank, ``100·(below + equal/2)/n``. Before fees, for they are
    not the same: runs pay both ends of each trade in advance, at a rate of their own (domain, section 3), eight basis
    points by default, and after fees the account would lead by the tariff alone. Runs trade at the last price; the
    account waits for its fills.
    """
    traded = cohort_bp(cohort)
    median = float(np.median(traded)) if len(traded) else None
    account = float(gross) / float(turnover) * BASIS_POINTS if turnover > 0 else None
    percentile = None
    if account is not None and len(traded):
        percentile = 100.0 * float(np.mean(traded < account) + np.mean(traded == account) / 2)
    return Standing(account, median, percentile, len(traded), len(cohort.profit))


def cohort_bp(cohort: CohortOutcome) -> Float64Array:
    """Return the P&L before fees per notional traded of each run that traded: float64 (m,), basis points."""
    traded = cohort.turnover > 0
    points: Float64Array = (cohort.profit + cohort.fees)[traded] / cohort.turnover[traded] * BASIS_POINTS
    return points


def _all_round_trips(report: RunReport) -> RoundTrips:
    """Cut the fills of each instrument into trips of their own."""
    parts = [round_trips(report.of(market.symbol), market.instrument.multiplier) for market in report.markets]
    return RoundTrips(
        count=sum(part.count for part in parts),
        wins=sum(part.wins for part in parts),
        best=max((part.best for part in parts if part.best is not None), default=None),
        worst=min((part.worst for part in parts if part.worst is not None), default=None),
    )


def _turnover(report: RunReport) -> Money:
    multipliers = {market.symbol: market.instrument.multiplier for market in report.markets}
    with localcontext(WIDE):
        amounts = (notional(fill.px, fill.qty, multipliers[fill.symbol]) for fill in report.fills)
        return Money(sum(amounts, Decimal(0)))


def _in_market(report: RunReport) -> float | None:
    """Share of the marks at which anything was held."""
    if len(report.equity.at_ns) == 0:
        return None
    return float(np.mean(np.any([market.held != 0 for market in report.markets], axis=0)))


def _maker_share(fills: Sequence[Fill]) -> float | None:
    """Share of the filled quantity that made liquidity; what a venue did not flag counts as taken."""
    filled = sum((fill.qty for fill in fills), Decimal(0))
    if not filled:
        return None
    return float(sum((fill.qty for fill in fills if fill.liquidity is Liquidity.MAKER), Decimal(0)) / filled)


def _leverage(report: RunReport) -> float | None:
    """Mean of |notional| over equity, at the last closes known at each mark; None without marks or after ruin."""
    curve = report.equity
    traded = [market for market in report.markets if len(market.prices.at_ns)]
    if len(curve.at_ns) == 0 or not traded or np.any(curve.equity <= 0):
        return None
    return sum(
        float(np.mean(np.abs(market.held) * market.close_at(curve.at_ns) / curve.equity))
        * float(market.instrument.multiplier)
        for market in traded
    )


def _buy_and_hold(report: RunReport) -> BuyAndHold | None:
    """Hold from the first to the last close of each instrument; fractions of a lot are allowed."""
    traded = [market for market in report.markets if len(market.prices.close)]
    if not traded:
        return None
    change = sum(float(m.prices.close[-1] / m.prices.close[0] - 1.0) for m in traded) / len(traded)
    return BuyAndHold(
        change=change,
        unlevered=change * float(report.account.start_equity),
        same_exposure=sum(
            mean_held(m) * float(m.prices.close[-1] - m.prices.close[0]) * float(m.instrument.multiplier)
            for m in traded
        ),
    )


def mean_held(market: Market) -> float:
    """Return the account's mean absolute position in an instrument."""
    return float(np.mean(np.abs(market.held))) if len(market.held) else 0.0
