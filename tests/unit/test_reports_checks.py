"""The report's checks: they hold on books that add up, and each finds its own kind of nonsense."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.report_builder import CAPITAL, fill, report, report_of, walk
from trisagion.orders.types import Liquidity, Side
from trisagion.reports.checks import check
from trisagion.reports.metrics import measure
from trisagion.reports.model import EquityCurve, Fill, RunReport
from trisagion.units import Money, Price, Quantity

LAST_DIGIT = Decimal("0.000000000001")


def failed(made: RunReport) -> list[str]:
    """Return the claims that do not hold."""
    return [item.claim for item in check(made, measure(made)) if not item.ok]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_every_check_of_the_books_holds_on_books_that_add_up(seed: int, every: int) -> None:
    """No false alarm on sums, prices and flags, whatever was traded; a lucky walk may still beat the luck bar."""
    assert set(failed(report(300, seed, every))) <= {"The Sharpe ratio is no better than luck could make it"}


@pytest.mark.parametrize("minutes", [0, 1, 2])
def test_no_alarm_before_there_is_data(minutes: int) -> None:
    """A run that has just begun is not suspicious."""
    assert failed(report(minutes)) == []


def with_fill(made: RunReport, **change: object) -> RunReport:
    """Return the report with its first fill changed and the books left as they were."""
    return replace(made, fills=(replace(made.fills[0], **change), *made.fills[1:]))  # type: ignore[arg-type]


def booked(*fills: Fill) -> RunReport:
    """Return a report whose books include the given fills."""
    return report_of(walk(600, 3), fills)


def steady(made: RunReport) -> RunReport:
    """Return the report with a curve that only knows up."""
    count = len(made.equity.at_ns)
    equity = float(CAPITAL) + 100.0 * np.arange(count, dtype=np.float64) + np.where(np.arange(count) % 2, 1.0, -1.0)
    return replace(made, equity=EquityCurve(made.equity.at_ns, equity))


CASES: dict[str, tuple[Callable[[], RunReport], str]] = {
    "a fill the ledger missed": (
        lambda: with_fill(report(), qty=Quantity(Decimal(9))),
        "The position is the sum of the fills",
    ),
    "equity off in the last digit": (
        lambda: replace(
            made := report(), account=replace(made.account, equity=Money(made.account.equity + LAST_DIGIT))
        ),
        "Equity re-added from every fill is the ledger's, to the last digit",
    ),
    "realised off in the last digit": (
        lambda: replace(
            made := report(),
            markets=(replace(made.markets[0], realised=Money(made.markets[0].realised - LAST_DIGIT)),),
        ),
        "Equity is start + realised − fees + unrealised, to the last digit",
    ),
    "a ruined account": (
        lambda: replace(made := report(), equity=replace(made.equity, equity=np.append(made.equity.equity[:-1], -1.0))),
        "Equity was above zero throughout",
    ),
    "a price nobody traded": (
        lambda: booked(fill(10.5, Side.BUY, "1", "1600"), fill(20.5, Side.SELL, "1", "1700")),
        "Every fill lies within what its minute traded",
    ),
    "a fill after the last bar": (
        lambda: booked(fill(600.5, Side.BUY, "1", "1640")),
        "Every fill lies within what its minute traded",
    ),
    "a fill that took": (
        lambda: with_fill(report(), liquidity=Liquidity.TAKER),
        "Every fill made liquidity (only Emergency may take)",
    ),
    "a fill on Sunday in the Vatican": (
        lambda: booked(fill(-30, Side.BUY, "1", "1640")),
        "Nothing was filled in a rest period",
    ),
    "a result too good": (lambda: steady(report()), "The Sharpe ratio is no better than luck could make it"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_kind_of_nonsense_raises_its_alarm(name: str) -> None:
    """A report that cannot be true says so, and in what."""
    make, claim = CASES[name]
    assert claim in failed(make())


def test_a_fill_one_tick_off_the_last_trade_is_granted_and_two_are_not() -> None:
    """The quote stands one tick around the last trade, so a fill may lie one tick outside its minute."""
    prices = walk(60, 1)
    for ticks, alarms in ((1, 0), (2, 1)):
        px = Decimal(repr(float(prices.low[9]))) - Decimal("0.25") * ticks
        made = report_of(prices, (replace(fill(9.5, Side.BUY, "1", "1640"), px=Price(px)),))
        assert failed(made).count("Every fill lies within what its minute traded") == alarms


def test_what_an_emergency_took_is_told_and_no_alarm() -> None:
    """The one exemption of maker-only orders is one here too, as in the certificate."""
    made = with_fill(report(), liquidity=Liquidity.TAKER, emergency=True)
    claim = "Every fill made liquidity (only Emergency may take)"
    [item] = [item for item in check(made, measure(made)) if item.claim == claim]
    assert item.ok
    assert item.found == f"{len(made.fills)} fills, 1 of them Emergency's, all others maker"


def test_a_fill_of_the_minute_in_which_a_run_was_stopped_is_not_judged() -> None:
    """Its minute is on no tape yet; at the end of the data it would be an alarm."""
    claim = "Every fill lies within what its minute traded"
    made = booked(fill(599.5, Side.BUY, "1", "1640"), fill(600.3, Side.SELL, "1", "1640"))
    px = Price(Decimal(repr(float(made.markets[0].prices.close[-1]))))
    made = replace(made, fills=tuple(replace(each, px=px) for each in made.fills))
    stopped = replace(made, provenance=replace(made.provenance, finished=False))
    [item] = [item for item in check(stopped, measure(stopped)) if item.claim == claim]
    assert item.ok
    assert item.found == "1 fills inside, 1 in a minute that is not complete"
    assert claim in failed(made)
