"""The short form of the protective exits: a lane of its own, for in no other are positions protected."""

import pytest

from tests.e2e.faults.lane import opened
from tests.e2e.faults.rows import play
from tests.e2e.faults.table import LANE_ROWS

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.redis, pytest.mark.timeout(240)]


def test_exits_outlive_every_process_and_take_what_is_left_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Killed with a scale-out half done, and again at the stop: the state is the same, and nothing is sold twice."""
    row = LANE_ROWS[28]
    with opened(tmp_path_factory.mktemp("exits"), sets=row.sets) as lane:
        for case in row.short:
            run = play(lane, row, case, seed=0)
            assert run.violations == ()
            assert run.recovery_s is not None
