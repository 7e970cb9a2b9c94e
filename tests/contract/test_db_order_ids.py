"""Order ids, on both servers."""

import threading

from trisagion.adapters.db import SqlDatabase
from trisagion.services.reserve_ids import ReservedIds


def test_no_number_is_given_twice_nor_below_its_floor(database: SqlDatabase) -> None:
    """A floor that rolls back, as IB's does at night, changes nothing; one that is ahead is kept to."""
    ids = ReservedIds(database)
    asked = [(1, 64), (1, 64), (500, 64), (38, 1), (565, 1)]
    assert [ids.reserve("IB", floor, count) for floor, count in asked] == [1, 65, 500, 564, 565]
    assert ids.reserve("OTHER", 7, 1) == 7


def test_two_owners_are_never_given_the_same_number(database: SqlDatabase) -> None:
    """The lease forbids two; should there be two all the same, their blocks do not meet."""
    ids = ReservedIds(database)
    given: list[int] = []

    def take() -> None:
        for _ in range(20):
            first = ids.reserve("IB", 1, 8)
            given.extend(range(first, first + 8))

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == len(set(given)) == 320
