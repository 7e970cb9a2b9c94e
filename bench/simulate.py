"""The matching core on the bundled tape, and the engine that gives its numbers names."""

import time

import numpy as np

from bench.measure import Figure, benchmark, interleaved
from ext.matching import COMPILED, Kind, Manner, Matcher, Message, _reference
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.clock import SECOND_NS
from trisagion.market.types import Int64Array, Tape
from trisagion.orders.types import Side
from trisagion.simulate.matching import QUEUE_WINDOW_NS, MatchingEngine

SLOTS = 300
SLOTS_LONG = 15_000
ORDERS_A_SLOT = 20
SLOT_NS = 10 * SECOND_NS
SLOT_ROWS = 2 * ORDERS_A_SLOT + 1


@benchmark("simulate.match", "messages/s", "value >= 5e5")
def match() -> Figure:
    """Each ten seconds twenty post-only orders around the market, the twenty before cancelled, the tape played.

    Six hundred thousand messages in one batch; the plays between are in the time, but not counted as messages.
    """
    assert COMPILED
    tape = load(DataSpec("es"))
    columns = tape.ts_ns, tape.price_ticks, tape.size_lots
    messages = _messages(tape, SLOTS_LONG)
    few = messages[: 60 * SLOT_ROWS]
    events, _ = _reference.Matcher([columns], QUEUE_WINDOW_NS).run(few, 2**40)
    assert np.array_equal(Matcher([columns], QUEUE_WINDOW_NS).run(few, 2**40)[0], events)
    counted = int((messages[:, Message.KIND] != Kind.PLAY).sum())

    def rate() -> float:
        matcher = Matcher([columns], QUEUE_WINDOW_NS)
        done = 0
        begun = time.perf_counter()
        while done < len(messages):
            done += matcher.run(messages[done:])[1]
        return counted / (time.perf_counter() - begun)

    return interleaved(rate, repeats=5)


def _messages(tape: Tape, slots: int) -> Int64Array:
    """Write the batch: for each slot the cancels, the new orders and the play that ends it."""
    begin_ns = int(tape.ts_ns[len(tape) // 10])
    starts = begin_ns + SLOT_NS * np.arange(slots)
    mids = tape.price_ticks[np.searchsorted(tape.ts_ns, starts, side="left") - 1]
    rows = np.zeros((slots, SLOT_ROWS, len(Message)), dtype=np.int64)
    place = np.arange(ORDERS_A_SLOT)
    side = np.where(place % 2, 1, -1)
    new, cancel, play = rows[:, ORDERS_A_SLOT : 2 * ORDERS_A_SLOT], rows[:, :ORDERS_A_SLOT], rows[:, -1]
    new[..., Message.NUMBER] = 1 + ORDERS_A_SLOT * np.arange(slots)[:, None] + place
    new[..., Message.SIDE] = side
    new[..., Message.PRICE] = mids[:, None] - side * (place // 2)
    new[..., Message.LOTS] = 1
    new[..., Message.MANNER] = Manner.POST_ONLY
    rows[..., Message.AT] = starts[:, None]
    cancel[..., Message.KIND] = Kind.CANCEL
    cancel[1:, :, Message.NUMBER] = new[:-1, :, Message.NUMBER]
    play[:, Message.KIND] = Kind.PLAY
    play[:, Message.AT] = starts + SLOT_NS
    return rows.reshape(-1, len(Message))


@benchmark("simulate.engine", "messages/s", "value >= 3e4")
def engine() -> Figure:
    """The same through the venue's engine, one message at a time, with names, fees and events as values."""
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
