"""Rows 1, 2 and 3: whoever holds an order is killed at every point of its way, its cancel's, its replace's.

Others are at work before the blow, and one more order is put in right after it: who recovers must do it for both.
"""

import random
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Final

from tests.e2e.faults.lane import FILLS_END_NS, PARTLY_NS, Lane
from tests.e2e.faults.rows import Blow, LaneRow, die
from trisagion.ids import ClOrdId
from trisagion.orders.types import Side

GATEWAY_S_MAX: Final = 30.0
SESSION_S_MAX: Final = 30.0
RESOLVED_S_MAX: Final = 15.0
"""From the relogon until nothing is in doubt."""

IN_GATEWAY: Final = ("K1", "K2", "K3", "K4")
FILLS: Final = ("K10", "K11")


def gateway(lane: Lane, case: str, draw: random.Random) -> float:
    """Kill the gateway worker while an order is at a point, be it here or with the session's owner."""
    return _new(lane, case, draw, stops="gateway" if case in IN_GATEWAY else "session", victim="gateway")


def session(lane: Lane, case: str, draw: random.Random) -> float:
    """Kill the session's owner while an order is at a point."""
    return _new(lane, case, draw, stops="session", victim="session")


def change(lane: Lane, case: str, draw: random.Random) -> float:
    """Kill who holds the wish of a cancel or a replace at a point."""
    [target, *_] = lane.work(draw, 1 + draw.randint(0, 2))
    if draw.random() < 0.5:
        lane.play(PARTLY_NS)
        lane.publish(lane.now_ns)
        lane.until(lambda: lane.confirmed(target), "the first fills are booked")
    order = lane.order(target)
    if order.leaves_qty == 0:
        [target] = lane.work(draw, 1)
        order = lane.order(target)
    who = "gateway" if case == "R1" else "session"
    act: Callable[[], None] = partial(lane.withdraw, target)
    if case.startswith("R"):
        assert order.price is not None
        act = partial(lane.amend, target, _less(order.qty, order.cum_qty), order.price)
    blow = die(lane, who, who, case, act)
    return _recovered(lane, blow, target, lane.intend(draw), resolved=who == "session")


def _less(qty: Decimal, filled: Decimal) -> Decimal:
    """Return a smaller quantity that still leaves some, where there is one: an order stays within its intent."""
    return max(qty - 1, filled + 1)


def _new(lane: Lane, case: str, draw: random.Random, *, stops: str, victim: str) -> float:
    others = lane.work(draw, draw.randint(1, 2) if case in FILLS else draw.randint(0, 2))
    if case in FILLS:
        bought = any(lane.order(name).side is Side.BUY for name in others)
        until_ns = draw.choice((PARTLY_NS, FILLS_END_NS)) if bought else FILLS_END_NS
        blow = die(lane, stops, victim, case, lambda: lane.play(until_ns))
        target = ClOrdId(blow.about)
        lane.publish(lane.now_ns)
    else:
        names: list[ClOrdId] = []
        blow = die(lane, stops, victim, case, lambda: names.append(lane.intend(draw)))
        [target] = names
    return _recovered(lane, blow, target, lane.intend(draw), resolved=victim == "session")


def _recovered(lane: Lane, blow: Blow, *names: ClOrdId, resolved: bool) -> float:
    """Wait until the venue confirms where the orders are; return the seconds since the blow."""
    lane.until(lambda: lane.confirmed(*names), "the orders concerned are confirmed")
    now_s = time.monotonic()
    if resolved:
        since_s = now_s - lane.proxy.connected_s
        assert since_s <= RESOLVED_S_MAX, f"expected nothing in doubt {RESOLVED_S_MAX} s after logon, found {since_s}"
    return now_s - blow.at_s


ROWS: Final = (
    LaneRow(
        number=1,
        what="`kill -9` of the gateway worker at K1 to K11",
        must="I1 I2 I3 I8; recovery within 30 s",
        # K6 is K7 to who does not own the socket.
        cases={f"K{point}": 50 for point in range(1, 12) if point != 6},
        short=("K2", "K5"),
        play=gateway,
        recovery_s_max=GATEWAY_S_MAX,
    ),
    LaneRow(
        number=2,
        what="`kill -9` of the session's owner at K4 to K11",
        must="I1 I3 I8; nothing in doubt 15 s after the relogon",
        cases={"K4": 30, "K5": 100, "K6": 100, "K7": 100, "K8": 30, "K9": 100, "K10": 30, "K11": 30},
        short=("K5", "K7", "K9"),
        play=session,
        recovery_s_max=SESSION_S_MAX,
    ),
    LaneRow(
        number=3,
        what="`kill -9` at each step of a cancel (C1 to C7) and of a replace (R1 to R7)",
        must="I1 I2 I3 I8; each comes to its end, once",
        cases={f"{kind}{step}": 50 for kind in "CR" for step in range(1, 8)},
        short=("C3", "R5"),
        play=change,
        recovery_s_max=SESSION_S_MAX,
    ),
)
