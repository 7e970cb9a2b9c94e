"""Row 28: a position with protective exits outlives every process, and then the worker that sees its exit.

A cycle has opened the position. It gains, the stop follows, a share is to be taken out, and a lot of that is filled:
then everybody is killed. Whoever comes back has the state that was, to the last digit; the stop goes on from there.
The price comes back to it, and the worker that sees it dies at a stage of the exit's cycle: what goes is what is left
of the position, once, and the rest of the scale-out is withdrawn before.
"""

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from tests.e2e.faults.cycles import Slot, done, marked, orders_of, vote
from tests.e2e.faults.epochs import position
from tests.e2e.faults.lane import FILLS_END_NS, LAST, MONDAY_NS, PARTLY_NS, PARTLY_SOLD_NS, ROUND_NS, SYMBOL, Lane, Late
from tests.e2e.faults.rows import LaneRow
from tests.e2e.faults.servers import AWAY, SUCCEEDED
from trisagion.adapters.db import tables
from trisagion.clock import MINUTE_NS, SECOND_NS, floor_ns
from trisagion.ledger.types import Strategy
from trisagion.orders.state import LIVE, OrderState
from trisagion.portfolio.exits import Cause, ExitState
from trisagion.units import Price

WHO: Final = "gateway"
EVERYBODY: Final = (WHO, "session", "venue", "redis", "mariadb")
VOTES: Final = 4
SHARE: Final = Decimal("0.25")
INTERVAL_S: Final = 100
"""A round has two slots of the schedule, none of them at a minute of its own: those minutes' cycles are of exits."""
NEAR: Final = Decimal("0.25")
FAR: Final = Decimal(1)
"""How far the price is from the last one: where the position is opened, and where it is worth most."""

SETS: Final = {
    "reconcile.interval_s": INTERVAL_S,
    "exits.strategies": "cohort",
    "exits.trail_atr": 1,
    "exits.break_even_atr": 0,
    "exits.scale_out_atr": [1],
    "exits.scale_out_share": SHARE,
    "exits.atr_bars": 2,
    "exits.bar_min": 1,
    "take_profit.threshold": "0.5",
}
"""A stop one range behind, one scale-out, and no crossing of profit in between."""

UNMARKED: Final = "S1<"
"""Nothing is recorded of the minute: its message comes again."""
RECOVERY_S_MAX: Final = 90.0
RING_AGAIN_S: Final = 4.0
RINGS_MAX: Final = 15
"""A minute that is not marked by then had its message lost with the broker; a replay's driver rings again, too."""


def protected(lane: Lane, case: str, draw: random.Random) -> float:
    """Kill everybody, then the worker at a stage of the exit's cycle; return the longer recovery in seconds."""
    side = _enter(lane, draw)
    since_ns = lane.now_ns
    held = position(lane)
    leg = _scale_out(lane, side, held)
    ended_s = _everybody_ends(lane, leg, draw)
    before = _state(lane)
    after = _mark(lane, lane.now_ns + SECOND_NS, LAST + side * FAR)
    assert _is_ahead(after.stop, before.stop, side), f"expected a stop beyond {before.stop}, found {after.stop}"
    assert after.cause is None, f"expected the position to stay, found {after.cause}"
    died_s = _stop_out(lane, case, leg, held)
    told = tables.event.c.kind.like("exit.%"), tables.event.c.at_ns > since_ns
    kinds = [row.kind for row in _rows(lane, sa.select(tables.event).where(*told).order_by(tables.event.c.seq))]
    assert kinds == ["exit.scale_out", "exit.trailing_stop"], f"expected each exit to be told once, found {kinds}"
    return max(ended_s, died_s)


def _enter(lane: Lane, draw: random.Random) -> int:
    """Have the votes open a position, and a round begin after it; return its side.

    It is not the side that is held, nor that which was stopped out last: it is barred until the votes want the other.
    """
    held = position(lane)
    side = -(_state(lane).side or (held > 0) - (held < 0)) or draw.choice((1, -1))
    slot = Slot(_next(lane, INTERVAL_S * SECOND_NS), {SYMBOL: side * VOTES})
    lane.go_to(slot.due_ns)
    lane.publish(slot.due_ns)
    vote(lane, slot)
    lane.ring_at("take_profit.watch", slot.due_ns)
    lane.until(partial(marked, lane, slot.due_ns), "the account is marked")
    lane.ring_at("reconcile.cycle", slot.due_ns)
    lane.until(lambda: done(lane, slot), "the cycle is done")
    lane.end_round()
    assert position(lane) * side > 0, f"expected a position on side {side}, found {position(lane)}"
    lane.begin_round()
    return side


def _scale_out(lane: Lane, side: int, held: Decimal) -> Any:
    """Have a scale-out come due, be decided, and a lot of it be filled; return its order."""
    near = LAST - side * NEAR
    anchored = _mark(lane, _next(lane, MINUTE_NS), near)
    _mark(lane, _next(lane, MINUTE_NS), near)
    slot = Slot(_next(lane, MINUTE_NS), {})
    after = _mark(lane, slot.due_ns, LAST)
    assert after.legs == 1, f"expected a scale-out, found {after}"
    assert _is_ahead(after.stop, anchored.stop, side), f"expected a stop beyond {anchored.stop}, found {after.stop}"
    lane.until(lambda: done(lane, slot), "the scale-out is decided")
    order = _only_order(lane, slot)
    assert order.qty == int(abs(held) * SHARE), f"expected a share of {held} to go, found {order.qty}"
    lane.play(PARTLY_SOLD_NS if side > 0 else PARTLY_NS)
    lane.until(lane.settled, "every report is booked")
    assert abs(position(lane)) == abs(held) - 1, f"expected a lot of {held} to have gone, found {position(lane)}"
    return order


def _everybody_ends(lane: Lane, leg: Any, draw: random.Random) -> float:
    """Kill everybody, in any order; what is protected is the same after it, and the order is where the venue says."""
    before = _rows(lane, sa.select(tables.exit_state))
    begun_s = time.monotonic()
    for name in draw.sample(EVERYBODY, len(EVERYBODY)):
        lane.kill(name)
    lane.until(lambda: lane.confirmed(leg.cl_ord_id), "the order is confirmed", RECOVERY_S_MAX)
    recovery_s = time.monotonic() - begun_s
    after = _rows(lane, sa.select(tables.exit_state))
    assert after == before, f"expected the exits to be {before}, found {after}"
    assert lane.order(leg.cl_ord_id).state is OrderState.PARTIALLY_FILLED, lane.order(leg.cl_ord_id)
    return recovery_s


def _stop_out(lane: Lane, case: str, leg: Any, held: Decimal) -> float:
    """Let the price come back to the stop, and the worker die; see that what is left goes, once."""
    # The venue's own price is back where ours is once the prints of the round are over: what joins ours is no taker.
    over_ns = lane.now_ns - (lane.now_ns - MONDAY_NS) % ROUND_NS + FILLS_END_NS
    slot = Slot(max(lane.now_ns, over_ns) + SECOND_NS, {})
    lane.arm(WHO, case)
    try:
        _publish(lane, slot.due_ns, LAST)
        lane.ring_at("take_profit.watch", slot.due_ns)
        lane.until(lambda: lane.stopped(WHO) is not None, f"{WHO} comes to {case}")
        lane.kill(WHO)
        begun_s = time.monotonic()
    finally:
        lane.disarm(WHO)
    lane.sweep_now()
    if case == UNMARKED:
        lane.ring_at("take_profit.watch", slot.due_ns)
    lane.until(lambda: done(lane, slot), "the exit is decided")
    recovery_s = time.monotonic() - begun_s
    assert _state(lane).cause is Cause.TRAIL, f"expected the stop to be crossed, found {_state(lane)}"
    left = abs(held) - 1
    order = _only_order(lane, slot)
    assert order.qty == left, f"expected what is left to go, {left}, found {order.qty}"
    assert lane.order(leg.cl_ord_id).state is OrderState.CANCELED, lane.order(leg.cl_ord_id)
    live = [each.cl_ord_id for each in lane.in_states(LIVE)]
    assert live == [order.cl_ord_id], f"expected the exit alone to work, found {live}"
    lane.begin_round()
    lane.play(FILLS_END_NS)
    lane.until(lane.settled, "every report is booked")
    assert position(lane) == 0, f"expected nothing to be left, found {position(lane)}"
    return recovery_s


def _only_order(lane: Lane, slot: Slot) -> Any:
    orders = orders_of(lane, slot)
    assert len(orders) == 1, f"expected one order of {slot.name}, found {orders}"
    return orders[0]


def _next(lane: Lane, period_ns: int) -> int:
    """Return the next multiple of a period."""
    return floor_ns(lane.now_ns, period_ns) + period_ns


def _mark(lane: Lane, at_ns: int, price: Decimal) -> ExitState:
    """Let a minute end at an instant, with a price of its own, and be marked; return what is remembered then."""
    _publish(lane, at_ns, price)
    for _ in range(RINGS_MAX):
        lane.ring_at("take_profit.watch", at_ns)
        with suppress(Late):
            lane.until(partial(marked, lane, at_ns), "the account is marked", RING_AGAIN_S)
            return _state(lane)
    raise Late(f"expected the account to be marked by one of {RINGS_MAX} messages")


def _publish(lane: Lane, at_ns: int, price: Decimal) -> None:
    lane.go_to(at_ns)
    lane.publish(at_ns, Price(price))


def _state(lane: Lane) -> ExitState:
    with lane.database.snapshot() as tx:
        return tx.exits.state(Strategy.COHORT, SYMBOL)


def _is_ahead(stop: Decimal | None, before: Decimal | None, side: int) -> bool:
    """Tell whether a stop is nearer to the price than it was."""
    assert stop is not None and before is not None, f"expected two stops, found {before} and {stop}"
    return (stop - before) * side > 0


def _rows(lane: Lane, statement: "sa.Select[Any]") -> Sequence[Any]:
    with lane.database.snapshot() as unit:
        return unit.session.rows(statement)


ROWS: Final = (
    LaneRow(
        number=28,
        what="every process is killed while a scale-out is partly filled, then the worker before and after each stage "
        "of the cycle that takes the rest (S1, S2, S5)",
        must="I1 I2 I3 I8; the exits' state is the same, the stop only comes nearer, what is left goes, once",
        cases={f"S{stage}{side}": 50 for stage in (1, 2, 5) for side in "<>"},
        short=("S5<",),
        play=protected,
        recovery_s_max=RECOVERY_S_MAX,
        sets=SETS,
        raised=AWAY + SUCCEEDED,
    ),
)
