"""The matching engine on the bundled tape."""

import time

from bench.measure import Figure, benchmark, interleaved
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.clock import SECOND_NS
from trisagion.market.types import Tape
from trisagion.orders.types import Side
from trisagion.simulate.matching import MatchingEngine

SLOTS = 300
ORDERS_A_SLOT = 20
SLOT_NS = 10 * SECOND_NS


@benchmark("simulate.match", "messages/s", "value >= 5e5")
def match() -> Figure:
    """Each ten seconds twenty post-only orders around the market, the twenty before cancelled, the tape played."""
    tape = load(DataSpec("es"))
    return interleaved(lambda: _rate(tape), repeats=5)


def _rate(tape: Tape) -> float:
    engine = MatchingEngine([tape])
    now_ns = int(tape.ts_ns[len(tape) // 2])
    engine.play(now_ns)
    messages = 0
    begun = time.perf_counter()
    for slot in range(SLOTS):
        mid = engine.last_ticks(tape.instrument.symbol)
        assert mid is not None
        for number in range(ORDERS_A_SLOT):
            if slot:
                engine.cancel(f"T{slot - 1}-{number}", now_ns)
            side = Side.BUY if number % 2 else Side.SELL
            engine.submit(
                cl_ord_id=f"T{slot}-{number}",
                owner="A",
                symbol=tape.instrument.symbol,
                side=side,
                price_ticks=mid - side.sign * (number // 2),
                lots=1,
                post_only=True,
                immediate_or_cancel=False,
                now_ns=now_ns,
            )
            messages += 2 if slot else 1
        now_ns += SLOT_NS
        engine.play(now_ns)
    return messages / (time.perf_counter() - begun)
