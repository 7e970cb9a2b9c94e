"""Does the result deserve belief? Each check re-derives a fact from an independent source; a failed one is an alarm.

No check has a tuned threshold: they compare exact sums, the tape, the calendar, and what luck alone would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np

from trisagion.clock import MINUTE_NS, iso
from trisagion.market.calendar import rest_reason
from trisagion.orders.types import Liquidity
from trisagion.reports.metrics import Metrics
from trisagion.reports.model import Fill, PriceTrack, RunReport
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
        _traded(report.fills, report.prices, float(report.instrument.tick_size)),
        _maker(report.fills),
        _rest(report.fills),
        _luck(metrics),
    )


def _position(report: RunReport) -> Check:
    with localcontext(WIDE):
        filled = sum((fill.qty * fill.side.sign for fill in report.fills), Decimal(0))
    return Check(
        "The position is the sum of the fills",
        filled == report.account.qty,
        f"{plain(filled)} from fills, {plain(report.account.qty)} in the ledger",
    )


def _equity(report: RunReport) -> Check:
    account = report.account

    def worth(px: Price, qty: Decimal) -> Money:
        return round_money(notional(px, Quantity(qty), report.instrument.multiplier))

    with localcontext(WIDE):
        held, equity = Decimal(0), Decimal(account.start_equity)
        for fill in report.fills:
            signed = fill.qty * fill.side.sign
            # The ledger rounds the part of a fill that closes and the part that opens each for itself; so does this.
            closes = max(-held, signed) if held > 0 else min(-held, signed)
            closes = closes if held * signed < 0 else Decimal(0)
            equity -= worth(fill.px, closes) + worth(fill.px, signed - closes) + fill.fee
            held += signed
        if account.mark is not None:
            equity += worth(account.mark, held)
    return Check(
        "Equity re-added from every fill is the ledger's, to the last digit",
        equity == account.equity,
        f"{plain(equity)} from fills, {plain(account.equity)} in the ledger",
    )


def _identity(report: RunReport) -> Check:
    account = report.account
    with localcontext(WIDE):
        equity = account.start_equity + account.realised - account.fees + report.unrealised
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


def _traded(fills: Sequence[Fill], prices: PriceTrack, tick: float) -> Check:
    """One tick beyond the minute's range is granted: the quote stands one tick off the last trade."""
    strange = [fill for fill in fills if not _inside(fill, prices, tick)]
    found = f"{len(fills)} fills inside"
    if strange:
        first = strange[0]
        found = f"{len(strange)} of {len(fills)} outside, first {first.side} at {plain(first.px)}, {iso(first.at_ns)}"
    return Check("Every fill lies within what its minute traded", not strange, found)


def _inside(fill: Fill, prices: PriceTrack, tick: float) -> bool:
    bar = int(np.searchsorted(prices.at_ns, fill.at_ns, side="right"))
    if bar == len(prices.at_ns) or fill.at_ns < prices.at_ns[bar] - MINUTE_NS:
        return False
    # A hundredth of a tick absorbs the float64 of the bars; prices themselves lie on whole ticks.
    slack = 1.01 * tick
    return bool(prices.low[bar] - slack <= float(fill.px) <= prices.high[bar] + slack)


def _maker(fills: Sequence[Fill]) -> Check:
    taken = [fill for fill in fills if fill.liquidity is not Liquidity.MAKER]
    found = f"{len(fills)} fills, all maker" if not taken else f"{len(taken)} of {len(fills)} not flagged maker"
    return Check("Every fill made liquidity (only Emergency may take)", not taken, found)


def _rest(fills: Sequence[Fill]) -> Check:
    resting = [fill for fill in fills if rest_reason(fill.at_ns) is not None]
    found = "none in a rest period" if not resting else f"{len(resting)} fills, first at {iso(resting[0].at_ns)}"
    return Check("Nothing was filled in a rest period", not resting, found)


def _luck(metrics: Metrics) -> Check:
    claim = "The Sharpe ratio is no better than luck could make it"
    if metrics.sharpe is None or metrics.sharpe.luck is None:
        return Check(claim, True, "too little data for a Sharpe ratio")
    value, luck = metrics.sharpe.value, metrics.sharpe.luck
    found = f"{value:.1f} against {luck:.1f} for the best of {metrics.standing.trials:,} tries without skill"
    if value > luck:
        found += "; look for an error before believing in skill"
    return Check(claim, value <= luck, found)
