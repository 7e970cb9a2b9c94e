"""The short form of full disks: a lane of its own, whose directories are disks of their own."""

from pathlib import Path

import pytest

from tests.e2e.faults.table import LANE_ROWS

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.redis, pytest.mark.timeout(240)]


def test_a_full_disk_under_load_leaves_our_books_as_the_venues(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The session's own, then that of the logs: nothing leaves that is not durable, and all goes on with room again."""
    row = LANE_ROWS[15]
    if lacks := row.lacks():
        pytest.skip(lacks)
    directory: Path = tmp_path_factory.mktemp("disks")
    with row.stage(directory) as play:
        for case in ("FIX store", "logs"):
            run = play(case, 0)
            assert run.violations == ()
            assert run.recovery_s is not None
