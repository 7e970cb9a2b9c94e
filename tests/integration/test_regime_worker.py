"""The queue of fits on a real worker with a pool of processes and a real Redis."""

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from celery import Celery

from tests.builders import Desk
from tests.integration.test_services_judge import SLOT_NS, with_bars
from trisagion.adapters import servers
from trisagion.adapters.db import open_database
from trisagion.adapters.processes import Children
from trisagion.regime.types import Fit
from trisagion.settings import load
from trisagion.wiring import House
from workers.flow import FINGERPRINT

pytestmark = pytest.mark.redis

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 2
WAIT_S_MAX = 60.0


def test_a_fit_is_stopped_at_its_time_limit_and_the_next_one_is_done(
    tmp_path: Path, short_directory: Path, sqlite_url: str
) -> None:
    """Deep inside the compiled kernel the word arrives: recorded with its reason, and the same process goes on."""
    with closing(open_database(sqlite_url)) as database:
        Desk(database).found()
        with_bars(database)

        def fit(model: str) -> Fit | None:
            with database.snapshot() as tx:
                return tx.regime.fit("ES", model, SLOT_NS)

        argv = [
            *(sys.executable, "-m", "workers.serve", "tests.integration.endless_fits"),
            *("--queues", "regime", "--name", "fits", "--pool", "prefork"),
        ]
        with servers.redis(tmp_path / "redis", short_directory, Children()) as url:
            environment = {
                **os.environ,
                "TRISAGION__BROKER__URL": url,
                "TRISAGION__DATABASE__URL": sqlite_url,
                "TRISAGION__REGIME__GATE": "state",
                "TRISAGION__REGIME__FIT_S_MAX": str(LIMIT_S),
            }
            with (
                (tmp_path / "log").open("wb") as log,
                subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=log) as worker,
            ):
                try:
                    client = Celery("client", broker=url)
                    headers = {FINGERPRINT: House(load(None, environment, {})).fingerprint}
                    for model in ("garch", "six_states"):
                        asked = {"now_ns": SLOT_NS, "subject": f"ES {model}"}
                        client.send_task("regime.refit", kwargs=asked, queue="regime", headers=headers)
                    deadline = time.monotonic() + WAIT_S_MAX
                    while fit("six_states") is None:
                        assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-800:]
                        time.sleep(0.05)
                finally:
                    worker.terminate()
        stopped, done = fit("garch"), fit("six_states")
    assert stopped == Fit(None, f"stopped at its time limit of {LIMIT_S} s")
    assert done is not None
    assert done.text is not None
