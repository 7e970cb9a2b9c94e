"""What our envelope adds to a Celery task: the outcome table, the wiring and the retry around a use case.

A private Redis is filled with blocks of both kinds, taking turns; then one worker, a process of its own, works them
off. Each task stamps its turn, so a block's time is the worker's alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Final

from bench.measure import REPEATS, ROOT, Figure, benchmark
from init import create
from trisagion.adapters.db import open_database
from trisagion.adapters.servers import redis
from trisagion.ports import Replay

BLOCK: Final = 200
QUEUE: Final = "bench"
STAMPS_FILE: Final = "TRISAGION_BENCH_STAMPS"
WAIT_S_MAX: Final = 60.0


@benchmark("fleet.envelope", "s/task", 0.87)
def envelope() -> Figure:
    """A task of ours that does nothing, against a bare one: not above 1.15 of it."""
    with tempfile.TemporaryDirectory(prefix="trisagion-") as folder, redis(Path(folder), Path(folder)) as url:
        stamps = Path(folder) / "stamps.json"
        database = f"sqlite:///{folder}/trisagion.sqlite3"
        _found_replay(database)
        servers = {"TRISAGION__BROKER__URL": url, "TRISAGION__DATABASE__URL": database}
        environment = {**os.environ, **servers, STAMPS_FILE: str(stamps)}
        run = [sys.executable, "-m"]
        subprocess.run([*run, "bench.fleet_worker"], cwd=ROOT, env=environment, check=True)
        worker = [*run, "celery", "-A", "bench.fleet_worker", "worker", "-P", "solo", "-Q", QUEUE, "-l", "ERROR"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with subprocess.Popen([*worker, *quiet], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                turns = _wait_for(stamps)
            finally:
                process.terminate()
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for kind, block in turns[2:]:
        times[kind].append(_seconds_each(block))
    return Figure(times["ours"], times["bare"], "a bare no-op")


def _found_replay(url: str) -> None:
    """Make the database of a replay, to whose end each task's instant is held."""
    create(url)
    with closing(open_database(url)) as opened, opened.transaction() as tx:
        tx.control.put_replay(
            Replay("none", "", 1, "", start_ns=0, end_ns=1, now_ns=0, speed=0.0, origin_ns=0, finished=False)
        )


def _wait_for(stamps: Path) -> list[tuple[str, list[float]]]:
    deadline = time.monotonic() + WAIT_S_MAX
    while not stamps.exists():
        assert time.monotonic() < deadline, f"the worker did not finish within {WAIT_S_MAX:.0f} s"
        time.sleep(0.05)
    turns: list[tuple[str, list[float]]] = json.loads(stamps.read_text(encoding="utf-8"))
    assert len(turns) == 2 * (REPEATS + 1), [kind for kind, _ in turns]
    return turns


def _seconds_each(block: list[float]) -> float:
    """Return the median distance of two tasks: a block holds one or two polls of the broker that are nobody's."""
    distances = sorted(after - before for before, after in pairwise(block))
    return distances[len(distances) // 2]
