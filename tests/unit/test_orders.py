"""Consensus on the position, intents for the difference, and maker prices."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ES
from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError, DataError
from trisagion.ids import cycle_id, intent_key
from trisagion.ledger.types import Position
from trisagion.market.types import Instrument, Quote
from trisagion.orders.intents import ReconcileRules, consensus, make_intent
from trisagion.orders.pricing import maker_price, taker_price
from trisagion.orders.types import Intent, Side
from trisagion.units import Price, Quantity, notional, on_grid

NOW_NS = 1_750_000_000 * SECOND_NS
CYCLE = cycle_id(NOW_NS)
BTC = replace(ES, symbol="BTC", tick_size=Decimal("0.1"), lot_size=Decimal("0.001"), multiplier=Decimal(1))
TWO = ReconcileRules(observers=("venue", "drop_copy"), quorum=2)
ONE_OF_TWO = ReconcileRules(observers=("venue", "drop_copy"), quorum=1)
PRICES = st.integers(1, 10**7)


def held(qty: str, age_s: int = 0) -> Position:
    """Make a ledger position confirmed some seconds ago."""
    return replace(Position.flat("ES"), qty=Quantity(Decimal(qty)), confirmed_ns=NOW_NS - age_s * SECOND_NS)


def quoted(bid: Decimal | str, ask: Decimal | str) -> Quote:
    """Make a quote."""
    return Quote("ES", Price(Decimal(bid)), Price(Decimal(ask)), Price(Decimal(bid)), NOW_NS, NOW_NS)


@pytest.mark.parametrize(
    ("ledger", "seen", "rules", "qty", "codes"),
    [
        (held("3"), [("venue", "3", 0)], ReconcileRules(), "3", []),
        (held("-3", 60), [("venue", "-3", 300)], ReconcileRules(), "-3", []),
        (held("3"), [("venue", "3.9", 0)], ReconcileRules(), "3", []),
        (held("3", -90), [("venue", "3", 0)], ReconcileRules(), None, ["LEDGER_STALE"]),
        (held("3", -30), [("venue", "3", -30)], ReconcileRules(), "3", []),
        (held("3", 61), [("venue", "3", 0)], ReconcileRules(), None, ["LEDGER_STALE"]),
        (held("3"), [("venue", "4", 0)], ReconcileRules(), None, ["OBSERVER_DISAGREES", "QUORUM_MISSED"]),
        (held("3"), [("venue", "-3", 0)], ReconcileRules(), None, ["OBSERVER_DISAGREES", "QUORUM_MISSED"]),
        (held("3"), [("venue", "3", 301)], ReconcileRules(), None, ["OBSERVER_STALE", "QUORUM_MISSED"]),
        (held("3"), [("venue", "3", -301)], ReconcileRules(), None, ["OBSERVER_STALE", "QUORUM_MISSED"]),
        (held("3"), [], ReconcileRules(), None, ["OBSERVER_SILENT", "QUORUM_MISSED"]),
        (held("3"), [("stranger", "3", 0)], ReconcileRules(), None, ["OBSERVER_SILENT", "QUORUM_MISSED"]),
        (held("3"), [("venue", "3", 0), ("stranger", "9", 0)], ReconcileRules(), "3", []),
        (held("3"), [("venue", "3", 0), ("drop_copy", "3", 0)], TWO, "3", []),
        (held("3"), [("venue", "3", 0)], TWO, None, ["OBSERVER_SILENT", "QUORUM_MISSED"]),
        (held("3"), [("venue", "3", 0)], ONE_OF_TWO, "3", ["OBSERVER_SILENT"]),
        (held("3"), [("venue", "3", 0), ("drop_copy", "9", 301)], ONE_OF_TWO, "3", ["OBSERVER_STALE"]),
        (held("3"), [("venue", "3", 0), ("drop_copy", "9", 0)], ONE_OF_TWO, None, ["OBSERVER_DISAGREES"]),
        (
            held("3", 61),
            [("venue", "4", 0)],
            TWO,
            None,
            ["LEDGER_STALE", "OBSERVER_DISAGREES", "OBSERVER_SILENT", "QUORUM_MISSED"],
        ),
    ],
)
def test_a_position_is_believed_when_ledger_and_observers_agree(
    ledger: Position, seen: Sequence[tuple[str, str, int]], rules: ReconcileRules, qty: str | None, codes: list[str]
) -> None:
    """Stale ledger, missed quorum, or one fresh witness against us: no position, and every reason is given."""
    told = [(observer, Quantity(Decimal(number)), NOW_NS - age_s * SECOND_NS) for observer, number, age_s in seen]
    agreed = consensus("ES", ledger, told, rules, ES, NOW_NS)
    assert agreed.qty == (None if qty is None else Decimal(qty))
    assert [reason.split(":")[0] for reason in agreed.reasons] == codes


@pytest.mark.parametrize(("observers", "quorum"), [((), 0), (("a",), 0), (("a",), 2), (("a", "a"), 1), ((), 1)])
def test_a_quorum_is_between_one_and_all_observers(observers: tuple[str, ...], quorum: int) -> None:
    """The ledger is no witness of itself, and a quorum that can never be met is a mistake in the configuration."""
    with pytest.raises(ConfigError, match="quorum"):
        ReconcileRules(observers=observers, quorum=quorum)


@pytest.mark.parametrize(
    ("instrument", "price", "desired", "actual", "delta", "side", "code"),
    [
        (ES, "5000", "3", "1", "2", Side.BUY, None),
        (ES, "5000", "-3", "1", "-4", Side.SELL, None),
        (ES, "5000", "0", "-2", "2", Side.BUY, None),
        (ES, "5000", "2.999999999999", "0", "2", Side.BUY, None),
        (ES, "5000", "-2.999999999999", "0", "-2", Side.SELL, None),
        (ES, "5000", "0.999999999999", "0", "0", None, "DELTA_BELOW_LOT"),
        (ES, "5000", "1", "1", "0", None, "DELTA_BELOW_LOT"),
        (BTC, "10000", "0.002", "0", "0.002", Side.BUY, None),
        (BTC, "10000", "0.0019999", "0", "0.001", None, "NOTIONAL_BELOW_MIN"),
        (BTC, "19999.9", "0.001", "0", "0.001", None, "NOTIONAL_BELOW_MIN"),
        (BTC, "20000", "0.001", "0", "0.001", Side.BUY, None),
        (BTC, "20000", "0", "0.001", "-0.001", Side.SELL, None),
    ],
)
def test_the_difference_in_whole_lots_becomes_one_intent(
    *, instrument: Instrument, price: str, desired: str, actual: str, delta: str, side: Side | None, code: str | None
) -> None:
    """Rounded toward zero to the lot; less than a lot or than the least notional is left alone, with the reason."""
    intent, got, reasons = make_intent(
        CYCLE,
        instrument.symbol,
        Decimal(desired),
        Quantity(Decimal(actual)),
        Price(Decimal(price)),
        instrument,
        ReconcileRules(),
    )
    assert got == Decimal(delta)
    assert [reason.split(":")[0] for reason in reasons] == ([] if code is None else [code])
    key = intent_key(CYCLE, instrument.symbol)
    wanted = None if side is None else Intent(key, CYCLE, instrument.symbol, side, Quantity(abs(Decimal(delta))))
    assert intent == wanted


def test_only_on_request_an_intent_may_take() -> None:
    """The taker flag is off unless it is asked for."""
    arguments = (CYCLE, "ES", Decimal(0), Quantity(Decimal(2)), Price(Decimal(5000)), ES, ReconcileRules())
    patient, _, _ = make_intent(*arguments)
    urgent, _, _ = make_intent(*arguments, True)
    assert patient is not None
    assert urgent is not None
    assert (patient.taker, urgent.taker) == (False, True)


@given(
    st.decimals(min_value=-1000, max_value=1000, places=12),
    st.integers(-(10**6), 10**6),
    st.integers(1, 10**6),
)
def test_an_intent_never_passes_the_desired_position(desired: Decimal, lots: int, ticks: int) -> None:
    """After the fill the position lies between actual and desired, less than a lot from the latter."""
    actual = Quantity(lots * BTC.lot_size)
    price = Price(ticks * BTC.tick_size)
    rules = ReconcileRules()
    intent, delta, reasons = make_intent(CYCLE, "BTC", desired, actual, price, BTC, rules)
    after = actual + delta
    assert min(actual, desired) <= after <= max(actual, desired)
    assert abs(desired - after) < BTC.lot_size
    assert (intent is None) == bool(reasons)
    assert (intent is None) == (abs(notional(price, delta, BTC.multiplier)) < rules.min_trade_notional)
    if intent is not None:
        assert intent.side.sign * intent.qty == delta


@pytest.mark.parametrize(
    ("bid", "ask", "buy", "sell"),
    [
        ("5000.00", "5000.25", "5000.00", "5000.25"),
        ("5000.00", "5001.00", "5000.00", "5001.00"),
        ("5000.10", "5000.90", "5000.00", "5001.00"),
        ("5000.00", "5000.00", "4999.75", "5000.25"),
        ("5001.00", "5000.00", "4999.75", "5001.25"),
    ],
)
def test_a_maker_joins_its_side(bid: str, ask: str, buy: str, sell: str) -> None:
    """The best bid or offer on the tick; behind the other side when the quote is locked or crossed."""
    assert maker_price(Side.BUY, quoted(bid, ask), ES) == Decimal(buy)
    assert maker_price(Side.SELL, quoted(bid, ask), ES) == Decimal(sell)


@given(PRICES, PRICES, st.sampled_from(Side))
def test_a_maker_never_crosses_and_a_taker_always_reaches(bid: int, ask: int, side: Side) -> None:
    """Whatever the quote, on or off the tick: a maker keeps a tick's distance, a taker meets the other side."""
    quote = quoted(Decimal(bid) / 100 + 1, Decimal(ask) / 100 + 1)
    made, taken = maker_price(side, quote, ES), taker_price(side, quote, ES)
    assert on_grid(made, ES.tick_size)
    assert on_grid(taken, ES.tick_size)
    if side is Side.BUY:
        assert made <= quote.ask - ES.tick_size
        assert made <= quote.bid
        assert quote.ask <= taken < quote.ask + ES.tick_size
    else:
        assert made >= quote.bid + ES.tick_size
        assert made >= quote.ask
        assert quote.bid - ES.tick_size < taken <= quote.bid


def test_no_price_above_zero_is_an_error_not_a_price() -> None:
    """A buy below an offer of one tick, and a sale into a bid below one, have no price."""
    with pytest.raises(DataError, match="buy at bid"):
        maker_price(Side.BUY, quoted("0.25", "0.25"), ES)
    with pytest.raises(DataError, match="sell at bid"):
        taker_price(Side.SELL, quoted("0.10", "0.25"), ES)
