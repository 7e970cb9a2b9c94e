"""The worker of `bench.fleet`: two tasks that do nothing. As a program it fills the queue."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from bench.fleet import BLOCK, QUEUE, STAMPS_FILE
from bench.measure import REPEATS
from trisagion.services.outcome import Outcome
from workers.app import app, stage

# The platform's routes know the platform's tasks only.
app.conf.task_routes = {}

_TURNS: list[tuple[str, list[float]]] = []


def _stamp(kind: str) -> None:
    if not _TURNS or _TURNS[-1][0] != kind:
        _TURNS.append((kind, []))
    _TURNS[-1][1].append(time.perf_counter())


@stage("bench.ours")
def ours(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Do nothing, in our envelope."""
    _stamp("ours")
    return (Outcome("nothing"),)


@app.task(name="bench.bare")
def bare(now_ns: int, subject: str) -> None:
    """Do nothing."""
    _stamp("bare")


@app.task(name="bench.done")
def done() -> None:
    """Write the stamps down; the file appears when it is complete."""
    path = Path(os.environ[STAMPS_FILE])
    path.with_suffix(".new").write_text(json.dumps(_TURNS), encoding="utf-8")
    path.with_suffix(".new").rename(path)


if __name__ == "__main__":
    for _turn in range(REPEATS + 1):
        for name in ("bench.ours", "bench.bare"):
            for number in range(BLOCK):
                app.send_task(name, kwargs={"now_ns": number, "subject": ""}, queue=QUEUE)
    app.send_task("bench.done", queue=QUEUE)
