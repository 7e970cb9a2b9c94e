"""Row 24: one worker of another build or configuration serves the same queues, and then all are of another one.

The other build is a copy of the code with one line more; the other configuration has another limit.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.e2e.faults.lane import ROOT, Lane, environment
from tests.e2e.faults.rows import LaneRow
from trisagion.adapters.build import PACKAGES
from trisagion.cli.worker import worker_argv
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState
from trisagion.services.fingerprint import register
from trisagion.wiring import House
from workers.flow import EXIT_STALE_BUILD

RECOVERY_S_MAX: Final = 30.0
ENDS_S_MAX: Final = 60.0
RINGS_S: Final = 0.5
REFUSED_S: Final = 1.0
"""So long nothing moves while no worker may: a routing takes a hundredth of it."""


def mixed(lane: Lane, case: str, draw: random.Random) -> float:
    """Have a stale worker take its share until it ends; then register another build, and at last ours again."""
    ours = House(lane.settings).fingerprint
    others = lane.work(draw, draw.randint(0, 2))
    with subprocess.Popen(
        worker_argv("all", f"stale{draw.randint(0, 10**9)}", lane.settings),
        env=_another(lane, case),
        cwd=lane.directory / "other" if case == "build" else ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as stale:
        try:
            names = _rung_until_it_ends(lane, draw, stale)
        finally:
            stale.kill()
    assert stale.returncode == EXIT_STALE_BUILD, f"expected exit {EXIT_STALE_BUILD}, found {stale.returncode}"
    lane.until(lambda: lane.confirmed(*others, *names), "what the stale worker gave back is done by the other")
    register(lane.database, "another.one", "faults", lane.now_ns)
    refused = lane.intend(draw)
    lane.until(lambda: bool(lane.in_states(frozenset({OrderState.RISK_CHECKED}))), "an order waits")
    until_s = time.monotonic() + REFUSED_S
    lane.until(lambda: time.monotonic() > until_s, "a while passes")
    found = lane.order(refused).state
    assert found is OrderState.RISK_CHECKED, f"expected an order that nobody may route to wait, found it {found}"
    register(lane.database, ours, "faults", lane.now_ns)
    begun_s = time.monotonic()
    lane.until(lambda: lane.confirmed(refused), "the order that waited is confirmed")
    return time.monotonic() - begun_s


def _rung_until_it_ends(lane: Lane, draw: random.Random, stale: "subprocess.Popen[bytes]") -> list[ClOrdId]:
    """Put an order in, and ring the sweep until the stale worker has taken a message of ours."""
    names = [lane.intend(draw)]
    rung_s = 0.0

    def ended() -> bool:
        nonlocal rung_s
        if time.monotonic() - rung_s > RINGS_S:
            rung_s = time.monotonic()
            lane.ring("sweep.run")
        return stale.poll() is not None

    lane.until(ended, "the stale worker ends", ENDS_S_MAX)
    return names


def _another(lane: Lane, case: str) -> Mapping[str, str]:
    """Return the environment of a worker of another configuration, or that of a copy of the code."""
    env = environment(lane.settings, lane.directory)
    if case == "settings":
        return {**env, "TRISAGION__RISK__ORDERS_MAX": str(lane.settings.risk.orders_max + 1)}
    return {**env, "PYTHONPATH": os.fspath(_copied(lane.directory / "other"))}


def _copied(where: Path) -> Path:
    if not where.exists():
        for package in PACKAGES:
            shutil.copytree(ROOT / package, where / package, ignore=shutil.ignore_patterns("__pycache__"))
        with (where / "trisagion" / "units.py").open("a", encoding="utf-8") as file:
            file.write("# another build\n")
    return where


ROWS: Final = (
    LaneRow(
        number=24,
        what="a worker of another build or configuration serves the same queues; then another one is registered",
        must="I1 I2 I3 I8; it is refused and ends, nothing moves while none may, and nothing is lost",
        cases={"build": 5, "settings": 5},
        short=("build",),
        play=mixed,
        recovery_s_max=RECOVERY_S_MAX,
    ),
)
