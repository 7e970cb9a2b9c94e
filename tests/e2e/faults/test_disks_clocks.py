"""The short form of full disks and of a wrong clock, each on a lane of its own."""

from pathlib import Path

import pytest

from tests.e2e.faults.table import ROWS

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.redis, pytest.mark.timeout(240)]


@pytest.mark.parametrize(("number", "cases"), [(14, ("-300 s", "+3 s")), (15, ("FIX store", "logs"))])
def test_a_fault_of_the_machine_leaves_our_books_as_the_venues(
    number: int, cases: tuple[str, ...], tmp_path: Path
) -> None:
    """Nothing leaves that may not, and all goes on when the clock is right or there is room again."""
    row = ROWS[number]
    if lacks := row.lacks():
        pytest.skip(lacks)
    with row.stage(tmp_path) as play:
        for case in cases:
            run = play(case, 0)
            assert run.violations == ()
            assert run.recovery_s is not None
