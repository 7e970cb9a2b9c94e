"""Each worker process says once a second that it lives, how much it has done, and how much memory it holds."""

import logging
import os
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

from celery.signals import task_postrun, worker_ready

from trisagion.errors import StateError
from trisagion.ports import ProcessBeat
from workers.app import house

PULSE_S: Final = 1.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

log = logging.getLogger(__name__)
_done = count()
_seen = [0]


def install() -> None:
    """Count tasks and start the pulse when the worker is ready."""
    task_postrun.connect(_count, weak=False)
    worker_ready.connect(_start, weak=False)


def rss_bytes() -> int:
    """Return this process' resident memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def _count(**_: Any) -> None:
    _seen[0] = next(_done) + 1


def _start(sender: Any, **_: Any) -> None:
    name = str(sender.hostname)
    threading.Thread(target=_beat, args=(name,), name="pulse", daemon=True).start()


def _beat(name: str) -> None:
    while True:
        try:
            with house().database.transaction() as tx:
                tx.control.beat(ProcessBeat(name, os.getpid(), time.time_ns(), _seen[0], rss_bytes()))
        except StateError as error:
            log.warning("pulse not recorded: %s", error)
        time.sleep(PULSE_S)
