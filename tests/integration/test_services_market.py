"""One minute of several instruments: stored whole, announced to all, and marked as one account."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from tests.builders import CAPITAL, COHORT_RULES, ES, PATIENT, TUESDAY_NS, Desk, a_report, a_step, words
from trisagion.adapters.db import tables as t
from trisagion.clock import MINUTE_NS
from trisagion.errors import DataError
from trisagion.ledger.postings import book_fill
from trisagion.ledger.take_profit import TakeProfitRules
from trisagion.market.types import MarketStep
from trisagion.orders.types import Side
from trisagion.services.advance_cohort import found_cohort
from trisagion.services.detect_regime import detect
from trisagion.services.ingest_market import ingest, read_steps, write_steps
from trisagion.services.outcome import Outcome
from trisagion.services.take_profit import WatchRules, watch
from trisagion.units import Money, Price, Quantity

T0 = TUESDAY_NS
NQ = replace(ES, symbol="NQ", tick_size=Decimal(1), multiplier=Decimal(20), leverage_max=Decimal(10))
RULES = WatchRules(
    TakeProfitRules(threshold=Decimal(1), reward_multiple=Decimal(5)), COHORT_RULES, seed=7, losses=PATIENT
)


@pytest.fixture
def both(empty: Desk) -> Desk:
    """Found an account and a cohort on two instruments, neither with a price yet."""
    empty.found(quoted_ns=None)
    with empty.database.transaction() as tx:
        tx.market.add_instrument(NQ)
        found_cohort(tx, COHORT_RULES, 1, 7, T0)
    return empty


def at(minute: int) -> int:
    """Return the instant of a minute."""
    return T0 + minute * MINUTE_NS


def hold_nq(desk: Desk, number: int) -> None:
    """Buy NQ at 16000, without a fee."""
    fill = a_report(
        "Q1",
        symbol="NQ",
        side=Side.BUY,
        last_qty=Quantity(Decimal(number)),
        last_px=Price(Decimal(16000)),
        fee=Money(Decimal(0)),
    )
    with desk.database.transaction() as tx:
        postings, position = book_fill(tx.ledger.position("NQ"), fill, NQ)
        tx.ledger.post(postings)
        tx.ledger.save_position(position)


def marks(desk: Desk, minute: int) -> dict[str, tuple[Decimal, Decimal]]:
    """Return the equity and the price that each symbol was marked at."""
    with desk.database.snapshot() as unit:
        rows = unit.session.rows(
            sa.select(t.equity.c.symbol, t.equity.c.equity, t.equity.c.price).where(t.equity.c.at_ns == at(minute))
        )
    return {symbol: (equity, price) for symbol, equity, price in rows}


def test_a_minute_of_two_symbols_is_stored_at_once_and_announced_to_both(both: Desk) -> None:
    """A message that comes twice changes nothing and announces both again."""
    steps = read_steps(write_steps([a_step(at(1)), a_step(at(1), "16000", "NQ")]))
    for _ in range(2):
        assert ingest(both.database, steps) == Outcome("stored", ("ES", "NQ"))
    assert both.rows(t.market_step.c.symbol, t.market_step.c.at_ns) == [("ES", at(1)), ("NQ", at(1))]


def test_a_minute_that_cannot_be_stored_whole_is_not_stored(both: Desk) -> None:
    """Of two steps the second fails: nothing is seen of the first."""
    broken = replace(a_step(at(1), "16000", "NQ"), last=Price(Decimal("1e40")))
    before = both.everything()
    with pytest.raises(DataError):
        ingest(both.database, [a_step(at(1)), broken])
    assert both.everything() == before


def test_the_cohort_is_rung_when_the_last_symbol_of_a_minute_has_its_features(both: Desk) -> None:
    """Whoever comes first knows of the other; a minute of one symbol alone waits for nobody."""
    ingest(both.database, [a_step(at(1)), a_step(at(1), "16000", "NQ")])
    assert words(detect(both.database, "NQ", at(1))) == ["nothing"]
    assert words(detect(both.database, "ES", at(1))) == ["ready", "priced"]
    ingest(both.database, [a_step(at(2))])
    assert words(detect(both.database, "ES", at(2))) == ["ready", "priced"]


def _of(*steps: MarketStep) -> str:
    return write_steps(steps)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_of(), "found none"),
        (_of(a_step(at(1)), a_step(at(1))), "each symbol once, found ES at"),
        (_of(a_step(at(1)), a_step(at(2), symbol="NQ")), "steps of one minute"),
        (json.dumps([*json.loads(_of(a_step(at(1)))), 7]), "expected market steps as JSON"),
    ],
)
def test_a_message_of_several_steps_that_are_no_minute_is_refused(text: str, told: str) -> None:
    """One instant, each symbol once, each step sound."""
    with pytest.raises(DataError, match=told):
        read_steps(text)


def test_all_instruments_are_marked_at_once_each_at_its_own_price(both: Desk) -> None:
    """One equity for all; a symbol without a step keeps its last price; again changes nothing."""
    ingest(both.database, [a_step(at(1)), a_step(at(1), "16000", "NQ")])
    hold_nq(both, 3)
    watch(both.database, RULES, at(1))
    assert marks(both, 1) == {"ES": (CAPITAL, Decimal(4000)), "NQ": (CAPITAL, Decimal(16000))}
    ingest(both.database, [a_step(at(2), "16010", "NQ")])
    before = CAPITAL + 3 * 10 * 20
    for _ in range(2):
        watch(both.database, RULES, at(2))
        assert marks(both, 2) == {"ES": (before, Decimal(4000)), "NQ": (before, Decimal(16010))}


def test_an_instrument_that_begins_later_stops_nothing(both: Desk) -> None:
    """Though its flat position is on record, the account is marked without it."""
    ingest(both.database, [a_step(at(1))])
    with both.database.transaction() as tx:
        tx.ledger.save_position(replace(tx.ledger.position("NQ"), confirmed_ns=at(1)))
    watch(both.database, RULES, at(1))
    assert marks(both, 1) == {"ES": (CAPITAL, Decimal(4000))}


def test_an_account_that_holds_what_has_no_price_is_not_marked(both: Desk) -> None:
    """Equity is known when every held symbol has a price, and not before."""
    ingest(both.database, [a_step(at(1))])
    hold_nq(both, 3)
    assert words(watch(both.database, RULES, at(1))) == ["nothing"]
    assert marks(both, 1) == {}
