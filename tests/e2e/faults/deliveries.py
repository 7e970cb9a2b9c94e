"""Rows 10 to 13: tasks that come twice, late, out of order, or to somebody who stood still; and two of each process."""

import random
import signal
import time
from decimal import Decimal
from typing import Final

from tests.e2e.faults.lane import Lane
from tests.e2e.faults.rows import STORED, LaneRow
from tests.e2e.faults.servers import SUCCEEDED
from trisagion.ids import ClOrdId

ORDERS: Final = 10
COPIES: Final = {"twice": 2, "ten times": 10}

FROZEN_S: Final = 8.0
"""Longer than a session's lease, and than a broker waits that redelivers after 5 s."""
RECOVERY_S_MAX: Final = 30.0


def doubled(lane: Lane, case: str, draw: random.Random) -> float:
    """Ring for ten orders, each so many times, in any order, to two workers; drain and sweep as often."""
    names = [lane.intend(draw, quiet=True) for _ in range(ORDERS)]
    bells: list[tuple[str, str]] = [("gateway.route", name) for name in names]
    bells += [("session.drain", lane.settings.fix.target), ("sweep.run", "")]
    bells *= COPIES[case]
    draw.shuffle(bells)
    begun_s = time.monotonic()
    for task, subject in bells:
        lane.ring(task, subject)
    return _settled(lane, begun_s, *names)


def frozen(lane: Lane, case: str, draw: random.Random) -> float:
    """Stop whoever is at a point for longer than his lease, have the task come to another, and let him go on."""
    others = lane.work(draw, draw.randint(0, 2))
    who = "gateway" if case in {"K2", "K3"} else lane.owner()
    idle = "gateway2" if who == "gateway" else None
    if idle is not None:
        lane.signal(idle, signal.SIGSTOP)  # or he would take the task
    lane.arm(who, STORED.get(case, case))
    try:
        if case in STORED:
            lane.proxy.half_open()
        name = lane.intend(draw)
        lane.until(lambda: lane.stopped(who) is not None, f"{who} comes to {case}")
    finally:
        lane.disarm(who)
        if idle is not None:
            lane.signal(idle, signal.SIGCONT)
    lane.ring("gateway.route", name)
    lane.ring("session.drain", lane.settings.fix.target)
    frozen_s = time.monotonic()
    lane.until(lambda: time.monotonic() - frozen_s > FROZEN_S, "the lease has run out")
    lane.proxy.heal()
    lane.signal(who, signal.SIGCONT)
    return _settled(lane, time.monotonic(), name, lane.intend(draw), *others)


def two_of_each(lane: Lane, case: str, draw: random.Random) -> float:
    """Ring twice for a slot, as two beats do; or end the owner of the session, and the second one takes over."""
    begun_s = time.monotonic()
    if case == "beats":
        names = [lane.intend(draw, quiet=True) for _ in range(ORDERS)]
        for _ in range(2):
            lane.ring("sweep.run")
            lane.ring("reconcile.cycle")
        return _settled(lane, begun_s, *names)
    names = lane.work(draw, 2)
    assert lane.proxy.connections == 1, f"expected one owner on the line, found {lane.proxy.connections}"
    owner = lane.owner()
    lane.held.add(owner)
    try:
        lane.kill(owner)
        begun_s = time.monotonic()
        seconds = _settled(lane, begun_s, *names, lane.intend(draw))
        assert lane.owner() != owner
    finally:
        lane.held.discard(owner)
    return seconds


def reordered(lane: Lane, case: str, draw: random.Random) -> float:
    """Have the cancel, the replace or the drain of an order come before its routing."""
    name = lane.intend(draw, quiet=True)
    begun_s = time.monotonic()
    if case == "cancel first":
        lane.withdraw(name)
    elif case == "replace first":
        lane.amend(name, lane.order(name).qty, Decimal("99.50"))
    else:
        lane.ring("session.drain", lane.settings.fix.target)
    if draw.random() < 0.5:
        time.sleep(draw.uniform(0.0, 0.1))
    lane.ring("gateway.route", name)
    return _settled(lane, begun_s, name)


def _settled(lane: Lane, begun_s: float, *names: ClOrdId) -> float:
    lane.until(lambda: lane.confirmed(*names), "the orders concerned are confirmed")
    return time.monotonic() - begun_s


ROWS: Final = (
    LaneRow(
        number=10,
        what="each task comes twice, or ten times, in any order, to two workers at once",
        must="I1 I2 I3 I8",
        cases={"twice": 10, "ten times": 10},
        short=("ten times",),
        play=doubled,
        recovery_s_max=RECOVERY_S_MAX,
        paired=True,
    ),
    LaneRow(
        number=11,
        what="SIGSTOP at a point for longer than the lease, the task comes to another, SIGCONT",
        must="I1 I2 I3 I8; who stood still sends nothing",
        cases={"K2": 10, "K3": 10, "K4": 10, "K5": 10, "K6": 10},
        short=("K3", "K5"),
        play=frozen,
        recovery_s_max=RECOVERY_S_MAX,
        raised=SUCCEEDED,
        paired=True,
    ),
    LaneRow(
        number=12,
        what="a slot is rung twice, as by two beats; of two owners of a session the first dies; two workers throughout",
        must="I1 I2 I3 I8; one owner on the line, and the second takes over",
        cases={"beats": 20, "owners": 20},
        short=("beats", "owners"),
        play=two_of_each,
        recovery_s_max=RECOVERY_S_MAX,
        paired=True,
    ),
    LaneRow(
        number=13,
        what="an order's cancel, replace or drain comes before its routing",
        must="I1 I2 I3 I8",
        cases={"cancel first": 70, "replace first": 70, "drain first": 60},
        short=("cancel first", "replace first", "drain first"),
        play=reordered,
        recovery_s_max=RECOVERY_S_MAX,
        paired=True,
    ),
)
