"""The short form of the faults of a TWS: a lane of its own, for the others' venue is one by FIX."""

from collections.abc import Iterator

import pytest

from tests.e2e.faults.lane import Lane, opened
from tests.e2e.faults.rows import play
from tests.e2e.faults.table import LANE_ROWS

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.redis, pytest.mark.timeout(240)]

ROW = LANE_ROWS[18]


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """Run one lane for all cases."""
    with opened(tmp_path_factory.mktemp("tws"), venue=ROW.venue) as lane:
        yield lane


@pytest.mark.parametrize("case", ROW.short)
def test_a_fault_of_a_tws_leaves_our_books_as_its_own(lane: Lane, case: str) -> None:
    """Nothing is doubled, nothing lost, each fill is booked once, whatever ids TWS gives out again."""
    run = play(lane, ROW, case, seed=0)
    assert run.violations == ()
    assert run.recovery_s is not None
