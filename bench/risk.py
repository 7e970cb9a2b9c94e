"""The verdict on one intent."""

import time
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from bench.measure import Figure, benchmark, interleaved
from trisagion.clock import SECOND_NS
from trisagion.ids import CycleId, cl_ord_id, intent_key
from trisagion.market.instruments import ES
from trisagion.market.types import Quote
from trisagion.orders.state import OrderState
from trisagion.orders.types import Intent, Order, Side
from trisagion.risk.check import Approved, Limits, check
from trisagion.safety.modes import Mode
from trisagion.units import Price, Quantity

CALLS = 5_000
LIVE_ORDERS = 5
TUESDAY_NS = int(datetime(2024, 6, 11, 12, tzinfo=UTC).timestamp()) * SECOND_NS


@benchmark("risk.check", "s p99", "value <= 10e-6")
def risk_check() -> Figure:
    """The 99th percentile of single calls that pass every control, with five other live orders."""
    limits = Limits("A", Decimal(5_000_000), Decimal(20_000_000), 50)
    bid, ask = Price(Decimal("1639.75")), Price(Decimal(1640))
    quote = Quote(ES.symbol, bid, ask, last=bid, happened_ns=TUESDAY_NS, learned_ns=TUESDAY_NS)
    cycle, one = CycleId("C1"), Quantity(Decimal(1))
    intent = Intent(intent_key(cycle, ES.symbol), cycle, ES.symbol, Side.BUY, one)
    others = []
    for number in range(LIVE_ORDERS):
        key = intent_key(CycleId(f"C{number + 2}"), ES.symbol)
        name = cl_ord_id("A", key, 0)
        others.append(Order(name, key, cycle, 0, ES.symbol, Side.BUY, one, False, OrderState.NEW, 0, 0))

    def sample() -> float:
        took = np.empty(CALLS)
        for call in range(CALLS):
            begun = time.perf_counter()
            verdict = check(
                intent,
                instrument=ES,
                quote=quote,
                position=one,
                live_orders=others,
                mode=Mode.NORMAL,
                limits=limits,
                now_ns=TUESDAY_NS,
            )
            took[call] = time.perf_counter() - begun
            assert isinstance(verdict, Approved)
        return float(np.quantile(took, 0.99))

    return interleaved(sample)
