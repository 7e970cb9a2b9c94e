"""Row 80, the second half of row 8: the session's own path dies under it, and the forwarder changes to the other one.

Orders are on their way when it happens, and more come while the session is down. The other path died itself a round
before; a probe has found it again.
"""

import random
import time
from typing import Final

from tests.e2e.faults.lane import Lane
from tests.e2e.faults.rows import Row
from trisagion.gateway.egress import Standing, standings

RECOVERY_S_MAX: Final = 30.0
"""Of which a silence takes 2.4 heartbeats on the venue's side, and a sweep 15 s."""

ORDER_BYTES: Final = 250
"""More than a NewOrderSingle has: a cut falls into any part of one, or into the second one."""


def failover(lane: Lane, case: str, draw: random.Random) -> float:
    """Break the path that carries, with orders on it, and wait until all of them are where the venue says."""
    lane.until(lambda: all(path.up for path in paths(lane)), "both paths are up")
    others = lane.work(draw, draw.randint(0, 2))
    name = carrier(lane)
    path = lane.paths[name]
    if case == "cut":
        path.cut(draw.randint(1, ORDER_BYTES))
    on_their_way = [lane.intend(draw) for _ in range(draw.randint(1, 3))]
    if case != "cut":
        time.sleep(draw.uniform(0.0, 0.15))
    broken_s = time.monotonic()
    match case:
        case "refuse":
            path.refuse()
        case "reset":
            path.reset()
        case "hole":
            path.swallow()
    if others and draw.random() < 0.5:
        lane.withdraw(others[0])
    late = lane.intend(draw)
    try:
        lane.until(lambda: carrier(lane) not in {name, ""}, "the other path carries the session")
        lane.until(lambda: lane.confirmed(*others, *on_their_way, late), "the orders concerned are confirmed")
        return time.monotonic() - broken_s
    finally:
        path.heal()


def paths(lane: Lane) -> list[Standing]:
    """Return how each path stands."""
    with lane.database.snapshot() as tx:
        return standings(tx.egress.counts(lane.settings.fix.target), tuple(lane.paths))


def carrier(lane: Lane) -> str:
    """Return the path that carries the session, empty when none does."""
    return next((path.path for path in paths(lane) if path.carrying), "")


ROWS: Final = (
    Row(
        number=80,
        what="the session's path refuses, resets, cuts a message or swallows everything; the other one takes over",
        must="I1 I2 I3 I8; the session goes on by the other path",
        cases={"refuse": 60, "reset": 60, "cut": 60, "hole": 20},
        short=(),
        play=failover,
        recovery_s_max=RECOVERY_S_MAX,
        paths=("first", "second"),
    ),
)
