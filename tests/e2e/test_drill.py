"""`trisagion drill`: the kill switch on real servers and processes, with something of them dead."""

import json
from pathlib import Path

import pytest

from tests.e2e.platforms import trisagion
from trisagion.cli.drill import BLOCKED_MS_MAX
from trisagion.cli.drills import HISTORY

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.redis, pytest.mark.timeout(150)]

ORDERS = 40
ZERO_S_MAX = 30.0
"""A test may share its machine; the target is measured by a drill that has it alone."""


@pytest.mark.parametrize(("failure", "door"), [("broker", "kill"), ("worker", "kill"), ("database", "file")])
def test_a_stop_takes_effect_while_a_part_of_the_platform_is_dead(tmp_path: Path, failure: str, door: str) -> None:
    """No new order leaves, all that works is cancelled and booked, and the history says so.

    With the database standing still the cancels are asked for without it.
    """
    arguments = ("--failure", failure, "--orders", str(ORDERS), "--state", str(tmp_path), "--json")
    done = trisagion("drill", *arguments)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert (told["failure"], told["door"]) == (failure, door)
    assert told["working"] >= ORDERS
    assert told["blocked_ms"] <= 4 * BLOCKED_MS_MAX
    assert 0 < told["zero_s"] <= ZERO_S_MAX
    assert (told["booked_s"] is not None) == (failure == "database")
    assert not [sentence for sentence in told["missed"] if sentence.startswith("mode")]
    assert done.returncode == (0 if told["passed"] else 1)
    assert json.loads((tmp_path / HISTORY).read_text(encoding="utf-8")) == told
    shown = trisagion("drill", "--history", "--state", str(tmp_path))
    assert failure in shown.stdout
