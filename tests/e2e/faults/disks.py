"""Row 15: a disk is full while orders are on their way, and some seconds later there is room again.

Each of three places is a small disk of its own: the log that MariaDB writes each commit to before it answers, the FIX
session's directory, and the processes' logs. While one is full, whatever has left for the venue must be in the database
as asked for, and somebody must say what is wrong.
"""

import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.e2e.faults.lane import Lane
from tests.e2e.faults.rows import LaneRow, Stage
from tests.e2e.faults.servers import AWAY
from trisagion.errors import StateError
from trisagion.gateway.words import NEW_ORDER_SINGLE, Tag
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState

PLACES: Final = {"binlog": "binlog", "FIX store": "session", "logs": "log"}
DISK_BYTES: Final = 64 << 20
BURST: Final = 15
"""More than what is left of the last page of a file has room for."""
FULL_S: Final = 8.0
"""Longer than the session's lease."""
RECOVERY_S_MAX: Final = 90.0
"""MariaDB looks every 60 s whether there is room."""
FILL: Final = "fill"
NOT_ASKED: Final = frozenset({OrderState.RISK_CHECKED, OrderState.ROUTED})
SAID: Final = {
    "binlog": ("mariadb/mariadb.log", "Disk is full writing"),
    "FIX store": ("log/session.log", "is the disk full?"),
}
"""Who says what is wrong, and how. Where the logs themselves are full nobody can, and nothing else may suffer: who dies
then is started again, and trading goes on."""


def fill(place: Path) -> None:
    """Leave no byte of a disk."""
    with (place / FILL).open("wb") as file:
        while (free := shutil.disk_usage(place).free) > 0:
            with suppress(OSError):  # somebody else took of what was free
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)


def full(lane: Lane, case: str, draw: random.Random) -> float:
    """Fill a disk, ring for orders that are decided, see what leaves, and make room."""
    names = lane.work(draw, draw.randint(1, 2))
    names += [lane.intend(draw, quiet=True) for _ in range(BURST)]
    if draw.random() < 0.5:
        lane.withdraw(names[0])
    place = lane.directory / PLACES[case]
    told = _told(lane, case)
    try:
        fill(place)
        for name in names:
            lane.ring("gateway.route", name)
        lane.ring("session.drain", lane.settings.fix.target)
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < FULL_S:  # the lane's clock is in the database, which may not answer
            time.sleep(0.1)
            with suppress(StateError):  # a database that waits for room may take no connection either
                _is_durable(lane)
        if case == "logs":
            lane.kill("session")
            lane.until(lambda: lane.confirmed(*names), "the orders concerned are confirmed without logs")
    finally:
        (place / FILL).unlink()
    begun_s = time.monotonic()
    more: list[ClOrdId] = []

    def taken() -> bool:
        more.append(lane.intend(draw))
        return True

    lane.until(taken, "the database takes an order", RECOVERY_S_MAX)
    _is_durable(lane)
    assert case not in SAID or _told(lane, case) > told, f"expected {SAID[case][0]} to say {SAID[case][1]!r}"
    names += more
    lane.until(lambda: lane.confirmed(*names), "the orders concerned are confirmed", RECOVERY_S_MAX)
    return time.monotonic() - begun_s


def _is_durable(lane: Lane) -> None:
    """Every order that the venue has heard of is in the database as one that was asked for."""
    *lines, _ = (
        (lane.directory / "venue" / "journal.jsonl").read_text(encoding="utf-8").split("\n")
    )  # all but a begun one
    heard = [json.loads(line).get("message", {}) for line in lines]
    with lane.database.snapshot() as tx:
        waiting = {order.cl_ord_id for order in tx.orders.in_states(NOT_ASKED)}
    tag = str(int(Tag.CL_ORD_ID))
    early = waiting & {message[tag] for message in heard if message.get(str(int(Tag.MSG_TYPE))) == NEW_ORDER_SINGLE}
    assert not early, f"expected nothing at the venue that is not durably asked for, found {sorted(early)}"


def _told(lane: Lane, case: str) -> int:
    if case not in SAID:
        return 0
    path, words = SAID[case]
    return (lane.directory / path).read_text(encoding="utf-8", errors="replace").count(words)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Mount a small disk; what is on it stays behind."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StateError(f"a small disk cannot be mounted, which takes root: {done.stderr.strip()}")
    try:
        yield
    finally:
        shutil.copytree(folder, folder.with_name(f"{folder.name}.kept"))
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class DiskRow(LaneRow):
    """A row on a lane whose places are small disks, and whose MariaDB keeps a binary log."""

    @contextmanager
    def stage(self, directory: Path) -> Iterator[Stage]:
        """Mount the disks and open a lane on them."""
        with ExitStack() as stack:
            for name in PLACES.values():
                stack.enter_context(_disk(directory / name))
            yield stack.enter_context(super().stage(directory))

    def lacks(self) -> str:
        """Disks can be mounted by root, and not everywhere."""
        with tempfile.TemporaryDirectory() as name:
            try:
                with _disk(Path(name) / "disk"):
                    return ""
            except StateError as error:
                return str(error)


def with_binlog(lane: Lane, case: str, draw: random.Random) -> float:
    """Play with a MariaDB that keeps a binary log; the first run starts it anew so."""
    child = lane.child("mariadb")
    option = f"--log-bin={lane.directory / PLACES['binlog'] / 'bin'}"
    if option not in child.argv:
        child.argv = [*child.argv, option, "--server-id=1", "--sync-binlog=1"]
        lane.kill("mariadb")
        lane.until(lambda: lane.child("mariadb").pid is not None and bool(lane.settled()), "the database is back")
    return full(lane, case, draw)


ROWS: Final = (
    DiskRow(
        number=15,
        what="the disk of MariaDB's binary log, of the FIX session's directory, of the logs is full for 8 s",
        must="I1 I2 I3 I8; nothing is at the venue that is not durably asked for; a sentence says what is wrong",
        cases=dict.fromkeys(PLACES, 5),
        short=(),
        play=with_binlog,
        recovery_s_max=RECOVERY_S_MAX,
        raised=AWAY,
    ),
)
