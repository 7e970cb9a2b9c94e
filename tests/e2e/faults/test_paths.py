"""The short form of the session's paths: a lane of its own, for no other has a forwarder."""

import pytest

from tests.e2e.faults.lane import opened
from tests.e2e.faults.rows import play
from tests.e2e.faults.table import ROWS

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.redis, pytest.mark.timeout(240)]


def test_a_change_of_path_under_load_leaves_our_books_as_the_venues(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Reset, then cut in the middle of a message: nothing is doubled, nothing lost."""
    row = ROWS[80]
    with opened(tmp_path_factory.mktemp("paths"), paths=row.paths) as lane:
        for case in ("reset", "cut"):
            run = play(lane, row, case, seed=0)
            assert run.violations == ()
            assert run.recovery_s is not None
