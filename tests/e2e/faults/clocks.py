"""Row 14: the clock of the session's owner jumps, and some seconds later is right again.

The database, the venue and the other processes keep their time. A second makes an alarm and no more, five shut the
gate; the lease is by the database's time, and its owner keeps it. By more than 120 s venue and session do not even let
each other log on.
"""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from tests.e2e.faults.lane import Lane
from tests.e2e.faults.rows import LaneRow
from tests.e2e.faults.servers import AWAY, UNDER_WAY_S_MAX, asked
from trisagion.adapters.db import tables
from trisagion.services.control import open_gate

OFF_S: Final = {"-300 s": -300, "+300 s": 300, "+3 s": 3}
SHUT_S_MIN: Final = 5
BURST: Final = 3
TOLD_S_MAX: Final = 15.0
OFF_FOR_S: Final = 8.0
"""Longer than the session's lease."""
RECOVERY_S_MAX: Final = 90.0
"""A clock that was slow is seen to be right once what was heard meanwhile is 30 s old."""
SOURCE: Final = Path(__file__).with_name("offset.c")
"""Not libfaketime: with 0.9.10 a process either cannot sleep (Python 3.11) or has its monotonic clock jump, too."""


def jump(lane: Lane, case: str, draw: random.Random) -> float:
    """Put the owner's clock forward or back while orders work, others are sent and others decided, and right again."""
    _under_library(lane)
    names = lane.work(draw, draw.randint(1, 2) + BURST)
    pid, alarms, off_s = lane.child("session").pid, _alarms(lane), OFF_S[case]
    shuts = abs(off_s) >= SHUT_S_MIN
    names += [lane.intend(draw) for _ in range(BURST)]
    time.sleep(draw.uniform(0.0, UNDER_WAY_S_MAX))
    with _off(lane, off_s):
        lane.until(lambda: _alarms(lane) > alarms, "an alarm", TOLD_S_MAX)
        assert _shut(lane) is shuts, f"expected the gate {'shut' if shuts else 'open'}, found it otherwise"
        before, off_since_s = asked(lane), time.monotonic()
        late = [lane.intend(draw) for _ in range(BURST)]
        lane.until(lambda: time.monotonic() - off_since_s > OFF_FOR_S, "the lease would have run out")
        left = asked(lane) - before
    assert left == 0 or not shuts, f"expected nothing new with a shut gate, found {left} messages"
    assert lane.child("session").pid == pid, "expected the owner to live on and keep its lease"
    begun_s = time.monotonic()
    if shuts:
        open_gate(lane.database, lane.settings.fix.target, "faults", "the clock is right", lane.now_ns)
    names += [*late, lane.intend(draw)]
    lane.until(lambda: lane.confirmed(*names), "the orders concerned are confirmed", RECOVERY_S_MAX)
    return time.monotonic() - begun_s


@contextmanager
def _off(lane: Lane, seconds: int) -> Iterator[None]:
    """Have the owner's clock be off by so much."""
    _place(lane).write_text(f"{seconds:+d}\n", encoding="ascii")
    try:
        yield
    finally:
        _place(lane).write_text("+0\n", encoding="ascii")


def _place(lane: Lane) -> Path:
    return lane.directory / "session.offset"


def told_by(place: Path) -> dict[str, str]:
    """Return what in its environment has a process read from a file by how many seconds its clock is off."""
    library = place.with_suffix(".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    place.write_text("+0\n", encoding="ascii")
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(place)}


def _under_library(lane: Lane) -> None:
    """Start the owner anew so that its clock can be told; once in a lane."""
    child = lane.child("session")
    if "LD_PRELOAD" in child.env:
        return
    child.env = {**child.env, **told_by(_place(lane))}
    lane.kill("session")


def _alarms(lane: Lane) -> int:
    query = sa.select(sa.func.count()).where(tables.event.c.kind == "clock.alarm")
    with lane.database.snapshot() as unit:
        return int(str(unit.session.scalar(query)))


def _shut(lane: Lane) -> bool:
    with lane.database.snapshot() as tx:
        return tx.control.gate(lane.settings.fix.target).shut


class ClockRow(LaneRow):
    """A row that needs a compiler, for a library that tells one process another time."""

    def lacks(self) -> str:
        """A compiler may not be installed."""
        return "" if shutil.which("cc") else "no C compiler is installed"


ROWS: Final = (
    ClockRow(
        number=14,
        what="the clock of the session's owner is 300 s slow, 300 s fast, or 3 s fast, for 8 s and more",
        must="I1 I2 I3 I8; an alarm; from 5 s on the gate is shut and nothing new leaves; the lease is kept",
        cases=dict.fromkeys(OFF_S, 10),
        short=(),
        play=jump,
        recovery_s_max=RECOVERY_S_MAX,
        raised=AWAY,
    ),
)
