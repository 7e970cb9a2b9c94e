"""The verdict on one intent."""

from decimal import Decimal

from bench.floor import QUOTE, TUESDAY_NS, orders
from bench.measure import Figure, benchmark, interleaved, tail_of
from trisagion.ids import CycleId, intent_key
from trisagion.market.instruments import ES
from trisagion.orders.state import OrderState
from trisagion.orders.types import Intent, Side
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.limits import Limits
from trisagion.risk.load import Account, Load
from trisagion.safety.modes import Mode
from trisagion.units import Money, Quantity

CALLS = 5_000
LIVE_ORDERS = 5


@benchmark("risk.check", "s p99", "value <= 10e-6")
def risk_check() -> Figure:
    """The 99th percentile of single calls that pass every control, with five other live orders."""
    limits = Limits("A", Decimal(5_000_000), Decimal(20_000_000), 50)
    cycle, one = CycleId("C1"), Quantity(Decimal(1))
    intent = Intent(intent_key(cycle, ES.symbol), cycle, ES.symbol, Side.BUY, one)
    others = orders(LIVE_ORDERS, OrderState.NEW)
    account = Account(Money(Decimal(10_000_000)), Decimal(82_000), Decimal(410_000))

    def work() -> None:
        facts = Facts(intent, ES, QUOTE, one, Mode.NORMAL, limits, TUESDAY_NS)
        assert isinstance(judge(facts, Load.of(others, intent), account), Approved)

    return interleaved(tail_of(work, CALLS))
