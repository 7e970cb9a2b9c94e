"""Rows 8 and 23: the line between session and venue fails in every way, or all processes are ended, in any order."""

import random
import time
from contextlib import suppress
from functools import partial
from typing import Final

from tests.e2e.faults.lane import Lane
from tests.e2e.faults.rows import Row
from tests.e2e.faults.servers import AWAY, SUCCEEDED
from trisagion.errors import StateError
from trisagion.ids import ClOrdId

BURST: Final = 5
HELD_S_MAX: Final = 3.0
NOTICED_S_MAX: Final = 2.4 * 2 + 1.5
"""2.4 heartbeats of 2 s after QuickFIX, and a try to connect again."""
LINE_S_MAX: Final = 30.0
ALL_S_MAX: Final = 90.0

EVERYBODY: Final = ("gateway", "gateway2", "session", "session2", "venue", "redis", "mariadb")


def line_fails(lane: Lane, case: str, draw: random.Random) -> float:
    """Break the line while a burst is on its way, and mend it a while later."""
    names = lane.work(draw, draw.randint(1, 2))
    names += [lane.intend(draw) for _ in range(BURST)]
    time.sleep(draw.uniform(0.0, 0.3))
    begun_s = time.monotonic()
    if case == "replaced":
        lane.proxy.drop()
    elif case == "reset":
        lane.proxy.reset()
    else:
        {"killed": lane.proxy.refuse, "stalls": lane.proxy.stall, "half-open": lane.proxy.half_open}[case]()
        if case == "half-open":
            lane.until(lambda: lane.proxy.connected_s > begun_s, "the session connects again", NOTICED_S_MAX)
        else:
            mended_s = begun_s + draw.uniform(0.5, HELD_S_MAX)
            lane.until(lambda: time.monotonic() > mended_s, "the line is mended")
        lane.proxy.heal()
        begun_s = time.monotonic()
    names.append(lane.intend(draw))
    lane.until(lambda: lane.confirmed(*names), "the orders concerned are confirmed")
    return time.monotonic() - begun_s


def all_end(lane: Lane, case: str, draw: random.Random) -> float:
    """End every process, in an order of the seed, while orders go on being decided."""
    names = lane.work(draw, 2)
    names += [lane.intend(draw) for _ in range(BURST)]
    begun_s = time.monotonic()
    for name in draw.sample(EVERYBODY, len(EVERYBODY)):
        lane.until(partial(_lives, lane, name), f"{name} lives")
        lane.kill(name)
        time.sleep(draw.uniform(0.0, 0.4))
        with suppress(StateError):  # the database is away: nothing is decided
            names.append(lane.intend(draw))
    lane.until(lambda: bool(lane.order(names[0])), "the database answers", ALL_S_MAX)
    known = [*_known(lane, names), lane.intend(draw)]
    lane.until(lambda: lane.confirmed(*known), "the orders concerned are confirmed", ALL_S_MAX)
    return time.monotonic() - begun_s


def _lives(lane: Lane, name: str) -> bool:
    return lane.child(name).pid is not None


def _known(lane: Lane, names: list[ClOrdId]) -> list[ClOrdId]:
    """Return the orders that the database has: of a decision whose commit failed, nothing came."""
    with lane.database.snapshot() as tx:
        return [name for name in names if tx.orders.order(name) is not None]


ROWS: Final = (
    Row(
        number=8,
        what="the line to the venue is cut for a while, cut, reset, stalls, or is half open",
        must="I1 I2 I3 I8; a dead line is left after 2.4 heartbeats",
        cases={"killed": 30, "replaced": 30, "reset": 30, "stalls": 30, "half-open": 30},
        short=("reset", "half-open"),
        play=line_fails,
        recovery_s_max=LINE_S_MAX,
        paired=True,
    ),
    Row(
        number=23,
        what="every process is killed, in any order, under load",
        must="I1 I2 I3 I8; recovery within 90 s",
        cases={"all": 20},
        short=("all",),
        play=all_end,
        recovery_s_max=ALL_S_MAX,
        raised=AWAY + SUCCEEDED,
        paired=True,
    ),
)
