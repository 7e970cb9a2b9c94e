"""The verdict: on one intent, and on many of an account that stand beside each other."""

import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from bench.floor import QUOTE, TUESDAY_NS, orders
from bench.measure import Figure, benchmark, idle, interleaved, tail_of
from trisagion.ids import CycleId, intent_key
from trisagion.market.instruments import ES
from trisagion.orders.state import OrderState
from trisagion.orders.types import Intent, Order, Side
from trisagion.risk.check import Approved, judge, judge_all
from trisagion.risk.controls import Facts
from trisagion.risk.limits import Limits
from trisagion.risk.load import Account, Load
from trisagion.safety.modes import Mode
from trisagion.units import Money, Quantity, plus

CALLS: Final = 5_000
LIVE_ORDERS: Final = 5
BATCH: Final = 1_000

ONE: Final = Quantity(Decimal(1))
LIMITS: Final = Limits("A", Decimal(5_000_000), Decimal(20_000_000), 50)
ACCOUNT: Final = Account(Money(Decimal(10_000_000)), Decimal(82_000), Decimal(410_000))
AMPLE: Final = replace(LIMITS, orders_max=2 * BATCH, open_notional_max=Decimal(10) ** 12)
RICH: Final = Account(Money(Decimal(10) ** 12), Decimal(0), Decimal(0))


@benchmark("risk.check", "s p99", "value <= 10e-6")
def risk_check() -> Figure:
    """The 99th percentile of single verdicts that pass every control, with five other live orders to add up."""
    cycle = CycleId("C1")
    intent = Intent(intent_key(cycle, ES.symbol), cycle, ES.symbol, Side.BUY, ONE)
    others = orders(LIVE_ORDERS, OrderState.NEW)

    def work() -> None:
        facts = Facts(intent, ES, QUOTE, ONE, Mode.NORMAL, LIMITS, TUESDAY_NS)
        assert isinstance(judge(facts, Load.of(others, intent), ACCOUNT), Approved)

    return interleaved(
        tail_of(work, CALLS), tail_of(idle(work, CALLS), CALLS), "limit: an empty loop as long as its median"
    )


@benchmark("risk.check_batch", "checks/s", "value >= 100e3")
def risk_check_batch() -> Figure:
    """A thousand intents in a thousand symbols, as a cycle has them; all pass, and each counts for those behind it."""
    cycle = CycleId("C1")
    markets = [(replace(ES, symbol=f"S{number:04}"), replace(QUOTE, symbol=f"S{number:04}")) for number in range(BATCH)]
    intents = [
        Intent(intent_key(cycle, each.symbol), cycle, each.symbol, (Side.BUY, Side.SELL)[number % 2], ONE)
        for number, (each, _) in enumerate(markets)
    ]

    def facts(number: int) -> Facts:
        return Facts(intents[number], *markets[number], ONE, Mode.NORMAL, AMPLE, TUESDAY_NS)

    def batch() -> int:
        return sum(isinstance(each, Approved) for each in judge_all(map(facts, range(BATCH)), Load(), RICH))

    def one_by_one() -> int:
        waiting = orders(BATCH, OrderState.RISK_CHECKED)
        live: list[Order] = []
        account = RICH
        for number, order in enumerate(waiting):
            one = facts(number)
            if isinstance(judge(one, Load.of(live, one.intent), account), Approved):
                live.append(replace(order, symbol=one.intent.symbol, side=one.intent.side, price=one.touch))
                account = replace(account, open=plus(account.open, one.worth))
        return len(live)

    return interleaved(_rate(batch), _rate(one_by_one), "one by one, the orders added up for each")


def _rate(work: Callable[[], int]) -> Callable[[], float]:
    """Return a sampler: how many checks a second; all of them pass."""

    def sample() -> float:
        begun = time.perf_counter()
        assert work() == BATCH
        return BATCH / (time.perf_counter() - begun)

    return sample
