"""The report of several instruments: one account, each instrument with its own terms, and words that say so."""

import json
import re
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tests.unit.report_builder import pair, report
from trisagion.reports.checks import check
from trisagion.reports.metrics import measure
from trisagion.reports.model import PriceTrack, RunReport
from trisagion.reports.tearsheet import render, summary_json, summary_text
from trisagion.units import Money, Price, Quantity

LAST_DIGIT = Decimal("1e-12")


def failed(made: RunReport) -> list[str]:
    """Return the claims that do not hold, luck left aside."""
    return [item.claim for item in check(made, measure(made)) if not item.ok and "luck" not in item.claim]


@pytest.mark.parametrize("seed", range(5))
def test_the_books_of_two_instruments_agree_to_the_last_digit(seed: int) -> None:
    """Positions, equity and identity, each instrument by its own multiplier."""
    assert failed(pair(seed=seed)) == []


def test_each_error_in_one_instrument_is_an_alarm() -> None:
    """A position, a realised gain, a fill of the other instrument's price: none hides behind the other's."""
    made = pair()
    one, other = made.markets
    wrong = {
        "Each position is the sum of its fills": replace(
            made, markets=(one, replace(other, qty=Quantity(other.qty + 1)))
        ),
        "Equity is start + realised − fees + unrealised, to the last digit": replace(
            made, markets=(one, replace(other, realised=Money(other.realised + LAST_DIGIT)))
        ),
    }
    for claim, report_of_two in wrong.items():
        assert claim in failed(report_of_two)
    fill = made.of("NQ")[0]
    strange = replace(made, fills=tuple(replace(f, px=Price(Decimal(1640))) if f is fill else f for f in made.fills))
    told = next(item for item in check(strange, measure(strange)) if "its minute traded" in item.claim)
    assert told.found.startswith(f"1 of {len(made.fills)} outside, first NQ {fill.side} at 1640, ")


def test_totals_are_the_sums_of_the_instruments() -> None:
    """Profit, fees, turnover and round trips; what is held of both is what is in the market."""
    made = pair()
    assert made.only is None
    assert made.profit == made.realised - made.fees + made.unrealised
    assert made.fees == sum(market.fees for market in made.markets)
    metrics = measure(made)
    alone = [measure(replace(made, markets=(market,), fills=made.of(market.symbol))) for market in made.markets]
    assert metrics.turnover == sum(each.turnover for each in alone)
    assert metrics.round_trips.count == sum(each.round_trips.count for each in alone)
    assert metrics.leverage == pytest.approx(sum(each.leverage or 0.0 for each in alone))
    assert metrics.in_market == np.mean((made.markets[0].held != 0) | (made.markets[1].held != 0))


def test_buy_and_hold_is_an_equal_part_of_each() -> None:
    """The starting equity in halves; like size holds the mean position of each."""
    made = pair()
    held = measure(made).buy_and_hold
    assert held is not None
    changes = [market.prices.close[-1] / market.prices.close[0] - 1 for market in made.markets]
    assert held.change == pytest.approx(sum(changes) / 2)
    assert held.unlevered == pytest.approx(float(made.account.start_equity) * sum(changes) / 2)
    assert held.same_exposure == pytest.approx(
        sum(
            np.abs(market.held).mean()
            * (market.prices.close[-1] - market.prices.close[0])
            * float(market.instrument.multiplier)
            for market in made.markets
        )
    )


def test_the_page_shows_each_instrument() -> None:
    """Its price, position and regime, its terms, and what it came to; the account's profit once."""
    made = pair()
    page = render(made)
    assert "<title>ES, NQ · trisagion tear sheet</title>" in page
    for part in (
        *("Price of ES, one-minute closes", "Price of NQ, one-minute closes", "ES: Position, units"),
        *("NQ: Position, units", "NQ: Regime of each minute", "ES at SIM, in USD", "NQ at SIM, in USD"),
        *("tick 1, lot 1, multiplier 20, leverage at most 10", "<h2>The instruments</h2>"),
        "an equal part of the starting equity in each",
    ):
        assert page.count(part) == 1, part
    assert page.count("Profit and loss over time") == 1
    assert "The instruments" not in render(report())


def test_the_reading_line_knows_each_instrument() -> None:
    """As many samples of each as there are instants."""
    found = re.search(r'id="samples">(.*?)</script>', render(pair()))
    assert found is not None
    samples = json.loads(found[1])
    assert [market["s"] for market in samples["m"]] == ["ES", "NQ"]
    assert {len(market[name]) for market in samples["m"] for name in ("px", "q", "r")} == {len(samples["t"])}


def test_an_instrument_that_has_not_begun_is_left_out_of_the_charts() -> None:
    """A run may be stopped before; what there is is drawn, and no figure breaks."""
    made = pair()
    other = made.markets[1]
    nothing = PriceTrack(other.prices.at_ns[:0], *(other.prices.close[:0],) * 3)
    none = Money(Decimal(0))
    early = replace(
        made,
        fills=made.of("ES"),
        markets=(
            made.markets[0],
            replace(
                other,
                realised=none,
                fees=none,
                cost=none,
                qty=Quantity(Decimal(0)),
                mark=None,
                held=np.zeros(len(made.equity.at_ns)),
                prices=nothing,
            ),
        ),
    )
    page = render(early)
    assert "Price of ES" in page
    assert "Price of NQ" not in page
    assert json.dumps(summary_json(early), allow_nan=False)


def test_the_summary_names_one_instrument_only_where_it_is_alone() -> None:
    """Positions are by symbol in any case; text for people tells them too."""
    one, two = summary_json(report()), summary_json(pair())
    assert list(one) == list(two)
    assert (one["symbol"], one["symbols"], two["symbol"], two["symbols"]) == ("ES", ["ES"], None, ["ES", "NQ"])
    made, positions = pair(), two["positions"]
    assert isinstance(positions, dict)
    assert {symbol: facts["fills"] for symbol, facts in positions.items()} == {
        market.symbol: len(made.of(market.symbol)) for market in made.markets
    }
    text = summary_text(made)
    assert text.startswith("ES NQ  replay of")
    assert "before fees, positions ES " in text
