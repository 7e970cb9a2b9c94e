"""Nothing shortens the rest: no mode, no limit, no quote and no setting, in any year."""

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import ES, SATURDAY_NS, TUESDAY_NS
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.ids import CycleId, IntentKey
from trisagion.market.calendar import CLOSING_NS, closing_reason, next_rest_ns, rest_reason
from trisagion.market.types import Quote
from trisagion.orders.types import Intent, Side
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.limits import Limits
from trisagion.risk.load import Account, Load
from trisagion.safety.modes import Mode
from trisagion.settings import flatten, load
from trisagion.units import Money, Price, Quantity

LAST_NS = 4_102_444_800 * SECOND_NS
"""The end of the year 2099."""


@given(
    now_ns=st.integers(0, LAST_NS),
    before_ns=st.integers(-MINUTE_NS, CLOSING_NS),
    side=st.sampled_from(Side),
    held=st.integers(-9, 9),
    taker=st.booleans(),
    mode=st.sampled_from(Mode),
    worth=st.integers(0, 10**12),
    orders=st.integers(0, 10**6),
)
@example(now_ns=SATURDAY_NS, before_ns=0, side=Side.BUY, held=0, taker=False, mode=Mode.NORMAL, worth=10**12, orders=9)
@example(
    now_ns=TUESDAY_NS,
    before_ns=CLOSING_NS,
    side=Side.SELL,
    held=9,
    taker=True,
    mode=Mode.EMERGENCY,
    worth=10**12,
    orders=9,
)
def test_no_order_is_approved_in_a_rest_nor_in_the_minute_before_it(
    *, now_ns: int, before_ns: int, side: Side, held: int, taker: bool, mode: Mode, worth: int, orders: int
) -> None:
    """Around the next rest after any instant, whatever the limits allow and whoever wants to flatten."""
    at_ns = next_rest_ns(now_ns) - before_ns
    if closing_reason(at_ns) is None:
        return
    intent = Intent(IntentKey("C:ES"), CycleId("C"), "ES", side, Quantity(Decimal(1)), taker)
    limits = Limits("SIM-1", Decimal(worth), Decimal(worth), orders, quote_age_ns_max=LAST_NS)
    price = Price(Decimal(4000))
    quote = Quote("ES", price, price, price, at_ns, at_ns)
    facts = Facts(intent, ES, quote, Quantity(Decimal(held)), mode, limits, at_ns)
    verdict = judge(facts, Load(), Account(Money(Decimal(10**9)), Decimal(0), Decimal(0)))
    assert not isinstance(verdict, Approved)


@given(st.integers(0, LAST_NS))
@example(SATURDAY_NS)
def test_the_closing_is_the_rest_and_the_minute_before_it(now_ns: int) -> None:
    """A nanosecond earlier there is trade."""
    begins_ns = next_rest_ns(now_ns)
    assert closing_reason(begins_ns) == rest_reason(begins_ns)
    if begins_ns > now_ns and begins_ns - CLOSING_NS > 0 and rest_reason(begins_ns - 1) is None:
        assert closing_reason(begins_ns - CLOSING_NS) == rest_reason(begins_ns)
        assert closing_reason(begins_ns - CLOSING_NS - 1) is None


def test_no_setting_speaks_of_rest() -> None:
    """There is nothing that could shorten it."""
    assert [key for key in flatten(load(None, {}, {})) if "rest" in key.split(".")[-1].split("_")] == []
