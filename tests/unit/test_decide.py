"""The order gateway's decision, as values."""

from decimal import Decimal
from typing import Any

import pytest

from tests.builders import ES, LIMITS, TUESDAY_NS, an_order, qty
from trisagion.errors import OurMistake
from trisagion.gateway.decide import decide
from trisagion.market.types import Quote
from trisagion.orders.state import OrderState
from trisagion.orders.types import Order, Side
from trisagion.risk.load import Account, Load
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Mode
from trisagion.units import Money, Price, Quantity

NONE = Load()
OPEN = Gate.untouched("SIM")
SHUT = Gate("SIM", True, "platform", "test", TUESDAY_NS)
QUOTE = Quote("ES", Price(Decimal("3999.75")), Price(Decimal("4000.25")), Price(Decimal(4000)), TUESDAY_NS, TUESDAY_NS)


def decided(order: Order, **changes: Any) -> Order:
    """Decide on an order in a market at 4000 on a Tuesday noon, flat, with nothing else at work."""
    given: dict[str, Any] = {
        "instrument": ES,
        "quote": QUOTE,
        "position": Quantity(Decimal(0)),
        "load": NONE,
        "account": Account(Money(Decimal(100_000_000)), Decimal(0), Decimal(0)),
        "mode": Mode.NORMAL,
        "gate": OPEN,
        "limits": LIMITS,
        "now_ns": TUESDAY_NS,
    }
    return decide(order, **{**given, **changes})


@pytest.mark.parametrize(
    ("side", "mode", "taker", "held", "price"),
    [
        (Side.SELL, Mode.NORMAL, False, 0, "4000.25"),
        (Side.BUY, Mode.NORMAL, False, 0, "3999.75"),
        (Side.SELL, Mode.EMERGENCY, True, 3, "3999.75"),
        (Side.BUY, Mode.EMERGENCY, True, -3, "4000.25"),
    ],
)
def test_what_may_go_is_priced_and_routed(side: Side, mode: Mode, taker: bool, held: int, price: str) -> None:
    """At the best quote of its own side; only an Emergency's at the other one's."""
    order = an_order(side=side, taker=taker)
    after = decided(order, mode=mode, position=qty(held))
    assert (after.state, after.price, after.session) == (OrderState.ROUTED, Price(Decimal(price)), "SIM")
    assert (after.version, after.updated_ns, after.reason) == (order.version + 1, TUESDAY_NS, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mode": Mode.PAUSE, "gate": SHUT}, "MODE_FORBIDS"),
        ({"quote": None}, "QUOTE_STALE"),
        ({"load": Load(LIMITS.orders_max, {})}, "TOO_MANY_ORDERS"),
        ({"load": Load(1, {("ES", Side.SELL): qty(99)})}, "POSITION_LIMIT"),
        ({"gate": SHUT}, "GATE_SHUT: test"),
    ],
)
def test_what_may_not_go_is_denied_with_the_first_reason(changes: dict[str, Any], reason: str) -> None:
    """The verdict's before the gate's; it gets neither price nor session."""
    after = decided(an_order(), **changes)
    assert after.state is OrderState.DENIED
    assert (after.reason or "").startswith(reason)
    assert (after.price, after.session) == (None, None)


def test_an_emergency_passes_a_shut_gate() -> None:
    """A gate that keeps us from being flat would be worse than what shut it."""
    after = decided(an_order(taker=True), mode=Mode.EMERGENCY, position=qty(3), gate=SHUT)
    assert after.state is OrderState.ROUTED


def test_an_order_that_is_further_on_is_not_decided_again() -> None:
    """The state machine says so."""
    with pytest.raises(OurMistake, match="no transition"):
        decided(an_order(state=OrderState.NEW))
