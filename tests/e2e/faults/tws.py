"""Row 18: a TWS that goes, forgets, is silent, repeats and refuses, while orders are on their way to it.

Some orders work before the fault, others are on their way when it falls or are wanted in it. Recovery is the time from
the end of the fault until TWS confirms where all of them are, one that was put in last of all among them; for what goes
by itself it is counted from its beginning.
"""

import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import sqlalchemy as sa

from tests.e2e.faults.lane import FILLS_END_NS, Lane, Late
from tests.e2e.faults.rows import LaneRow
from trisagion.adapters.db import tables
from trisagion.ids import ClOrdId
from trisagion.orders.state import LIVE, OrderState
from trisagion.settings import IB_SIM
from trisagion.simulate.tws import CLIENT_IN_USE
from trisagion.simulate.tws_words import START_API, VERSION_MAX

BURST: Final = 5
QUEUED: Final = 120
BLOCK: Final = 64
"""Order ids that a session reserves at once."""
ROUTED_S_MAX: Final = 50.0
"""What was routed longer ago than a minute is not sent any more."""
OVERDUE_S: Final = 7.0
"""Two seconds between questions for the time, and five without an answer."""
RECOVERY_S_MAX: Final = 45.0
"""Of which a client id that was in use takes 30 s: the longest pause between two attempts."""


@dataclass(slots=True)
class Scene:
    """A lane and the orders of this run; `ended_s` is when the fault was over, by the monotonic clock."""

    lane: Lane
    draw: random.Random
    names: list[ClOrdId] = field(default_factory=list)
    ended_s: float = 0.0

    def fault(self, kind: str, **arguments: str | float) -> None:
        """Have the TWS make a mistake."""
        self.lane.venue.fault(kind, **arguments)

    def burst(self, count: int = BURST) -> None:
        """Put orders in, of which some may be on their way for a while yet when this returns."""
        self.names += [self.lane.intend(self.draw) for _ in range(count)]
        time.sleep(self.draw.uniform(0.0, 0.3))

    def withdraw_one(self) -> None:
        """Want an order that works cancelled, or none."""
        if self.draw.random() < 0.5:
            self.lane.withdraw(self.names[0])

    def wait(self, least_s: float, most_s: float) -> None:
        """Let some time pass in which the lane goes on."""
        until_s = time.monotonic() + self.draw.uniform(least_s, most_s)
        self.lane.until(lambda: time.monotonic() > until_s, "some time has passed")

    def confirmed(self) -> None:
        """Wait until all orders are where TWS says they are."""
        self.lane.until(lambda: self.lane.confirmed(*self.names), "the orders concerned are confirmed")

    def over(self) -> None:
        """Count the recovery from now."""
        self.ended_s = time.monotonic()

    @property
    def client(self) -> int:
        """Return the session's client id."""
        return self.lane.settings.ib.client_id


Case: TypeAlias = Callable[[Scene], None]


def play(lane: Lane, case: str, draw: random.Random) -> float:
    """Play a case, put one more order in, and wait until TWS confirms where all of them are."""
    scene = Scene(lane, draw, lane.work(draw, draw.randint(1, 2)))
    scene.over()
    CASES[case](scene)
    scene.names.append(lane.intend(draw))
    scene.confirmed()
    return time.monotonic() - scene.ended_s


def restarted(scene: Scene) -> None:
    """The nightly restart: all connections end, order ids are rolled back; TWS may be away for a while."""
    scene.burst()
    scene.withdraw_one()
    scene.fault("restart", ids=scene.draw.randint(1, BLOCK))
    if scene.draw.random() < 0.5:
        scene.lane.proxy.refuse()
        try:
            scene.wait(0.5, 3.0)
        finally:
            scene.lane.proxy.heal()
    scene.over()


def servers(scene: Scene, data: str) -> None:
    """1100: what is on its way to TWS vanishes there, what happens at the exchange goes unseen; then they are back."""
    # So long after it happened we hear of it; what we send meanwhile is taken, and vanishes.
    scene.lane.proxy.delay(scene.draw.uniform(0.1, 0.4))
    try:
        scene.burst()
        scene.fault("servers_lost")
        scene.burst()
        scene.withdraw_one()
        scene.wait(0.2, 2.0)
    finally:
        scene.lane.proxy.heal()
    if scene.draw.random() < 0.5:
        scene.lane.play(FILLS_END_NS)
    scene.fault("servers_back", data=data)
    scene.over()


def dropped(scene: Scene, reset: int) -> None:
    """120 orders waited for the servers; so many of them leave, what follows is lost unheard, or the line is cut."""
    lane = scene.lane
    scene.fault("servers_lost")
    scene.names += [lane.intend(scene.draw) for _ in range(QUEUED)]
    lane.until(lambda: all_routed(lane), "the orders wait for the session", ROUTED_S_MAX)
    scene.fault("drop", client=scene.client, messages=scene.draw.randint(1, QUEUED), reset=reset)
    scene.fault("servers_back", data="kept")
    scene.over()


def all_routed(lane: Lane) -> bool:
    """Tell whether the gateway has nothing to do."""
    return not lane.in_states(frozenset({OrderState.RISK_CHECKED}))


def unacknowledged(scene: Scene) -> None:
    """A share of the answers to orders and cancels is lost, another comes at the end of the round."""
    scene.fault("acknowledgements", lost=0.5, late=0.25, late_s=60.0, seed=scene.draw.randint(0, 1_000))
    try:
        scene.burst()
        scene.over()
        scene.lane.withdraw(scene.names[0])
        scene.confirmed()
    finally:
        scene.fault("acknowledgements", lost=0.0, late=0.0, late_s=0.0, seed=0)


def repeated(scene: Scene) -> None:
    """Each status comes twice: of orders that are taken, filled, cancelled."""
    with switched(scene, "duplicate_status"):
        scene.burst()
        scene.over()
        scene.confirmed()
        scene.lane.withdraw(scene.names[0])
        scene.confirmed()
        scene.lane.play(FILLS_END_NS)
        scene.confirmed()


def corrected(scene: Scene) -> None:
    """An execution is put right at another price, after it was booked or before it was ever told."""
    lane, unseen = scene.lane, scene.draw.random() < 0.5
    if unseen:
        scene.fault("servers_lost")
    lane.play(FILLS_END_NS)
    if not unseen:
        lane.until(lane.settled, "every fill is booked")
    mine = set(scene.names)
    for fill in [fill for fill in lane.venue.status()["fills"] if fill["cl_ord_id"] in mine]:
        scene.fault("correct", exec_id=fill["exec_id"], px=scene.draw.choice(("99.25", "100.75")), qty=fill["qty"])
    if unseen:
        scene.fault("servers_back", data=scene.draw.choice(("lost", "kept")))
    scene.over()
    lane.until(lane.settled, "every correction is booked")


def silent(scene: Scene) -> None:
    """Executions are asked for after a restart, and there is no answer for a while."""
    with switched(scene, "execution_silence"):
        scene.burst()
        scene.fault("restart", ids=0)
        scene.wait(1.0, 4.0)
        scene.lane.play(FILLS_END_NS)
        scene.wait(0.0, 2.0)
    scene.over()


def paced(scene: Scene) -> None:
    """TWS takes few messages a second: 100, of which nothing is heard, and in the third such second the end."""
    begun_s = time.monotonic()
    scene.fault("pacing", client=scene.client, per_second=scene.draw.randint(1, 6))
    scene.burst(3 * BURST)
    scene.over()
    scene.confirmed()
    if scene.lane.proxy.connected_s < begun_s:
        scene.fault("pacing", client=scene.client, per_second=50)


def deaf(scene: Scene) -> None:
    """TWS hears all but the question for the time: the connection is given up, and the next one."""
    with switched(scene, "deaf"):
        begun_s = time.monotonic()
        scene.burst()
        scene.withdraw_one()
        scene.lane.until(lambda: scene.lane.proxy.connected_s > begun_s, "the session connects again", 2 * OVERDUE_S)
    scene.over()


def duplicate(scene: Scene) -> None:
    """103: the table of order ids was lost, ids of this connection are taken again; none takes another's place."""
    lane, draw = scene.lane, scene.draw
    lane.withdraw(*scene.names)
    lane.until(lambda: not lane.in_states(LIVE), "no order is live")
    lane.kill("session")  # the next one begins with a whole block
    used: list[ClOrdId] = []
    while len(used) < BLOCK:
        put_in = lane.work(draw, BLOCK - len(used))
        scene.names += put_in
        used += [name for name in put_in if lane.order(name).state is not OrderState.DENIED]
    lane.withdraw(*scene.names)
    lane.until(lambda: not lane.in_states(LIVE), "no order is live")
    with lane.database.transaction() as unit:
        unit.session.write(sa.update(tables.ib_order_id).values(next_id=1), {})
    again = [lane.intend(draw) for _ in range(draw.randint(1, 3))]
    scene.names += again
    scene.over()
    scene.confirmed()
    refused = {name: lane.order(name).state for name in again}
    assert set(refused.values()) == {OrderState.REJECTED}, f"expected all ids to be refused, found {refused}"
    lane.proxy.reset()


def in_use(scene: Scene) -> None:
    """The owner dies, and TWS believes for a while that its client is still there."""
    lane = scene.lane
    scene.burst()
    lane.held.add("session")
    lane.kill("session")
    with held_id(lane, scene.client):
        lane.held.discard("session")
        told = len(lane.notes)
        scene.wait(4.0, 12.0)
    scene.over()
    ended = [note for note in lane.notes[told:] if note.startswith("session ended (exit code")]
    assert not ended, f"expected the session's owner to wait, found that it ended {len(ended)} times"


@contextmanager
def switched(scene: Scene, kind: str) -> Iterator[None]:
    """Have a switch of the TWS on."""
    scene.fault(kind, on=1)
    try:
        yield
    finally:
        scene.fault(kind, on=0)


@contextmanager
def held_id(lane: Lane, client: int) -> Iterator[None]:
    """Be a client of the TWS, under an id, as soon as nobody else is."""
    found: list[socket.socket] = []

    def taken() -> bool:
        line = socket.create_connection(("127.0.0.1", lane.proxy.port), timeout=2.0)
        _say(line, f"v{VERSION_MAX}..{VERSION_MAX}".encode(), prefix=b"API\0")
        _heard(line)
        _say(line, f"{START_API}\x002\x00{client}\x00\x00".encode())
        if str(CLIENT_IN_USE) in _heard(line):
            line.close()
            return False
        found.append(line)
        return True

    try:
        lane.until(taken, "the client id is free")
        yield
    finally:
        for line in found:
            line.close()


def _say(line: socket.socket, body: bytes, prefix: bytes = b"") -> None:
    line.sendall(prefix + struct.pack(">I", len(body)) + body)


def _heard(line: socket.socket) -> list[str]:
    """Return the fields of one message."""
    [size] = struct.unpack(">I", _exactly(line, 4))
    return _exactly(line, size).decode().split("\0")


def _exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = line.recv(size - len(data))
        if not more:
            raise Late("expected a TWS to answer, found the connection ended")
        data += more
    return data


CASES: Final[dict[str, Case]] = {
    "restart": restarted,
    "1100 1101": lambda scene: servers(scene, "lost"),
    "1100 1102": lambda scene: servers(scene, "kept"),
    "120 unheard": lambda scene: dropped(scene, 0),
    "120 reset": lambda scene: dropped(scene, 1),
    "unacknowledged": unacknowledged,
    "status twice": repeated,
    "corrected": corrected,
    "no executions": silent,
    "pacing": paced,
    "deaf": deaf,
    "103": duplicate,
    "326": in_use,
}

ROWS: Final = (
    LaneRow(
        number=18,
        what="a TWS restarts with its ids rolled back, loses its servers or a line with 120 orders waiting, is silent, "
        "deaf, paced, tells twice, corrects, refuses an id of an order or of a client",
        must="I1 I2 I3 I8; no order takes another's place, and the session waits for its client id",
        cases=dict.fromkeys(CASES, 20),
        short=("restart", "1100 1102"),
        play=play,
        recovery_s_max=RECOVERY_S_MAX,
        venue=IB_SIM,
    ),
)
