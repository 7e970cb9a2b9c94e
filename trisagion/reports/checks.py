"""Does the result deserve belief? Each check re-derives a fact from an independent source; a failed one is an alarm.

No check has a tuned threshold: they compare exact sums, the tape, the calendar, and what luck alone would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np

from trisagion.clock import MINUTE_NS, iso
from trisagion.market.calendar import rest_of
from trisagion.orders.types import Liquidity
from trisagion.reports import format as write
from trisagion.reports.metrics import Metrics
from trisagion.reports.model import Fill, Market, RunReport
from trisagion.units import WIDE, Money, Price, Quantity, notional, plain, round_money


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `claim` is what should hold, `found` what was found."""

    claim: str
    ok: bool
    found: str


def check(report: RunReport, metrics: Metrics) -> tuple[Check, ...]:
    """Run every check on a report, the most serious first."""
    return (
        _position(report),
        _equity(report),
        _identity(report),
        _solvent(report),
        _traded(report),
        _maker(report.fills),
        _rest(report),
        _luck(metrics),
    )


def _position(report: RunReport) -> Check:
    good, found = True, []
    for market in report.markets:
        with localcontext(WIDE):
            filled = sum((fill.qty * fill.side.sign for fill in report.of(market.symbol)), Decimal(0))
        good = good and filled == market.qty
        whose = "" if report.only else f"{market.symbol}: "
        found.append(f"{whose}{plain(filled)} from fills, {plain(market.qty)} in the ledger")
    claim = "The position is the sum of the fills" if report.only else "Each position is the sum of its fills"
    return Check(claim, good, "; ".join(found))


def _equity(report: RunReport) -> Check:
    with localcontext(WIDE):
        equity = report.account.start_equity + report.account.aside
        equity += sum((_added(market, report) for market in report.markets), Decimal(0))
    return Check(
        "Equity re-added from every fill is the ledger's, to the last digit",
        equity == report.account.equity,
        f"{plain(equity)} from fills, {plain(report.account.equity)} in the ledger",
    )


def _added(market: Market, report: RunReport) -> Decimal:
    """Return what the fills of one instrument, and what is held of it, add to the equity."""

    def worth(px: Price, qty: Decimal) -> Money:
        return round_money(notional(px, Quantity(qty), market.instrument.multiplier))

    held = added = Decimal(0)
    for fill in report.of(market.symbol):
        signed = fill.qty * fill.side.sign
        # The ledger rounds the part of a fill that closes and the part that opens each for itself; so does this.
        closes = max(-held, signed) if held > 0 else min(-held, signed)
        closes = closes if held * signed < 0 else Decimal(0)
        added -= worth(fill.px, closes) + worth(fill.px, signed - closes) + fill.fee
        held += signed
    return added if market.mark is None else added + worth(market.mark, held)


def _identity(report: RunReport) -> Check:
    account = report.account
    with localcontext(WIDE):
        equity = account.start_equity + report.realised - report.fees + report.unrealised + account.aside
    return Check(
        "Equity is start + realised − fees + unrealised, to the last digit",
        equity == account.equity,
        f"{plain(equity)} by the sum, {plain(account.equity)} in the ledger",
    )


def _solvent(report: RunReport) -> Check:
    curve = report.equity.equity
    good = bool(np.all(curve > 0)) and report.account.equity > 0
    low = f"{curve.min():,.2f}" if len(curve) else "no mark"
    return Check("Equity was above zero throughout", good, f"lowest mark {low}")


def _traded(report: RunReport) -> Check:
    """One tick beyond the minute's range is granted: the quote stands one tick off the last trade.

    A run that was stopped may have fills in a minute that the tape has not completed: nothing is known of it yet.
    """
    source, markets = report.provenance, {market.symbol: market for market in report.markets}
    judged = [fill for fill in report.fills if source.finished or fill.at_ns <= source.now_ns]
    strange = [fill for fill in judged if not _inside(fill, markets[fill.symbol])]
    found = f"{len(judged)} fills inside"
    if left := len(report.fills) - len(judged):
        found += f", {left} in a minute that is not complete"
    if strange:
        first = strange[0]
        what = (
            f"{first.side} at {plain(first.px)}" if report.only else f"{first.symbol} {first.side} at {plain(first.px)}"
        )
        found = f"{len(strange)} of {len(report.fills)} outside, first {what}, {iso(first.at_ns)}"
    return Check("Every fill lies within what its minute traded", not strange, found)


def _inside(fill: Fill, market: Market) -> bool:
    prices = market.prices
    bar = int(np.searchsorted(prices.at_ns, fill.at_ns, side="right"))
    if bar == len(prices.at_ns) or fill.at_ns < prices.at_ns[bar] - MINUTE_NS:
        return False
    # A hundredth of a tick absorbs the float64 of the bars; prices themselves lie on whole ticks.
    slack = 1.01 * float(market.instrument.tick_size)
    return bool(prices.low[bar] - slack <= float(fill.px) <= prices.high[bar] + slack)


def _maker(fills: Sequence[Fill]) -> Check:
    may_take = sum(fill.emergency and fill.liquidity is not Liquidity.MAKER for fill in fills)
    taken = sum(not fill.emergency and fill.liquidity is not Liquidity.MAKER for fill in fills)
    found = f"{len(fills)} fills, all maker"
    if taken:
        found = f"{taken} of {len(fills)} not flagged maker"
    elif may_take:
        found = f"{len(fills)} fills, {may_take} of them Emergency's, all others maker"
    return Check("Every fill made liquidity (only Emergency may take)", not taken, found)


def _rest(report: RunReport) -> Check:
    traded = {market.symbol: market.instrument for market in report.markets}
    resting = [fill for fill in report.fills if rest_of(traded[fill.symbol], fill.at_ns) is not None]
    found = "none in a rest period" if not resting else f"{len(resting)} fills, first at {iso(resting[0].at_ns)}"
    return Check("Nothing was filled in a rest period", not resting, found)


def _luck(metrics: Metrics) -> Check:
    claim = "The Sharpe ratio is no better than luck could make it"
    if metrics.sharpe is None or metrics.sharpe.luck is None:
        return Check(claim, True, "too little data for a Sharpe ratio")
    value, luck = metrics.sharpe.value, metrics.sharpe.luck
    found = f"{write.number(value, 1)} against {write.number(luck, 1)}"
    found += f" for the best of {metrics.standing.trials:,} tries without skill"
    if value > luck:
        found += "; look for an error before believing in skill"
    return Check(claim, value <= luck, found)
