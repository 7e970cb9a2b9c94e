"""A real worker on a real Redis that dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from trisagion.adapters import servers
from trisagion.adapters.processes import Children

pytestmark = pytest.mark.redis

ROOT = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 40.0


def _await(happened: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not happened():
        assert time.monotonic() < deadline, f"waited {WAIT_S_MAX:.0f} s for {what}"
        time.sleep(0.01)


def test_a_worker_that_cannot_acknowledge_connects_anew_and_serves_on(tmp_path: Path, short_directory: Path) -> None:
    """The broker dies while a task runs and comes back: the acknowledgement fails, and the next task is done."""
    children = Children()
    argv = [
        *(sys.executable, "-m", "workers.serve", "tests.integration.held_tasks"),
        *("--queues", "market", "--name", "held"),
    ]
    with servers.redis(tmp_path / "redis", short_directory, children) as url:
        environment = {**os.environ, "TRISAGION__BROKER__URL": url}
        client = Celery("client", broker=url)
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=log) as worker,
        ):
            try:
                client.send_task("test.hold", kwargs={"now_ns": 0, "subject": str(tmp_path)}, queue="market")
                _await((tmp_path / "begun").exists, "the task to begin")
                broker = children.kept[0].pid
                assert broker is not None
                os.kill(broker, signal.SIGKILL)
                (tmp_path / "go").touch()
                time.sleep(0.5)
                _await(
                    lambda: children.watch() is not None and children.kept[0].pid not in {None, broker}, "a new broker"
                )
                again = Celery("again", broker=url, broker_connection_retry=True)
                again.connection_for_write().ensure_connection(max_retries=50, interval_start=0.1, interval_step=0)
                again.send_task("test.mark", kwargs={"now_ns": 0, "subject": str(tmp_path / "mark")}, queue="market")
                _await((tmp_path / "mark").exists, f"a task: {(tmp_path / 'log').read_text()[-500:]}")
            finally:
                worker.terminate()
