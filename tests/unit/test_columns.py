"""Records as a structure of arrays: fields are views, everything else is a copy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ext.cohort import PARAMS_DTYPE, STATE_DTYPE, Columns

LAYOUT = np.dtype([("a", "<i8"), ("x", "<f8"), ("b", "<i8"), ("y", "<f8"), ("z", "<f8")])


def records(count: int = 4) -> np.ndarray:
    """Return records in which every value is another."""
    made = np.zeros(count, dtype=LAYOUT)
    for place, name in enumerate(LAYOUT.names or ()):
        made[name] = np.arange(count) * 10 + place
    return made


def values(columns: Columns) -> list[list[float]]:
    """Return the records, field by field in the order of the layout."""
    return [[columns[name][row].item() for name in LAYOUT.names or ()] for row in range(len(columns))]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_records_come_in_and_go_out_as_they_are(count: int) -> None:
    """Each field in its own row, whole numbers before the others, all of it C-contiguous."""
    columns = Columns.of(records(count))
    assert len(columns) == count
    assert (columns.whole.shape, columns.real.shape) == ((2, count), (3, count))
    assert (columns.whole.dtype.str, columns.real.dtype.str) == ("<i8", "<f8")
    assert columns.whole.flags.c_contiguous and columns.real.flags.c_contiguous
    assert [columns.record(row).tobytes() for row in range(count)] == [one.tobytes() for one in records(count)]
    assert columns.nbytes == count * LAYOUT.itemsize
    assert columns.tobytes() == columns.whole.tobytes() + columns.real.tobytes()


@pytest.mark.parametrize("layout", [PARAMS_DTYPE, STATE_DTYPE, LAYOUT])
def test_every_field_of_a_layout_has_a_row_of_its_own(layout: np.dtype[np.void]) -> None:
    """What is written to one is found in it and in no other; fresh records are zeros."""
    columns = Columns.zeros(layout, 3)
    assert not any(columns.tobytes())
    for place, name in enumerate(layout.names or ()):
        columns[name] = place + 1
    for place, name in enumerate(layout.names or ()):
        assert columns[name].tolist() == [place + 1] * 3
        assert columns[name].dtype == layout[name]


def test_a_field_is_a_view_through_which_it_changes() -> None:
    """All of it, some of it, and by arithmetic in place; the other fields stay."""
    columns = Columns.of(records())
    columns["a"][columns["x"] > 15] = -1
    columns["y"] = [1.5, 2.5, 3.5, 4.5]
    columns["z"] += 0.25
    columns["b"] = 7
    assert values(columns) == [
        [0, 1, 7, 1.5, 4.25],
        [10, 11, 7, 2.5, 14.25],
        [-1, 21, 7, 3.5, 24.25],
        [-1, 31, 7, 4.5, 34.25],
    ]
    assert np.shares_memory(columns["z"], columns.real)


@pytest.mark.parametrize("name", ["c", "", "A"])
def test_a_field_that_is_not_there_is_refused(name: str) -> None:
    """To read and to write."""
    columns = Columns.zeros(LAYOUT, 2)
    with pytest.raises(KeyError):
        columns[name]
    with pytest.raises(KeyError):
        columns[name] = 1


def test_a_field_takes_one_value_or_as_many_as_there_are_records() -> None:
    """Another number of them is refused, and nothing was written."""
    columns = Columns.of(records())
    before = columns.tobytes()
    with pytest.raises(ValueError, match="broadcast"):
        columns["x"] = [1.0, 2.0]
    assert columns.tobytes() == before


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        (np.array([True, False, False, True]), [0, 3]),
        (slice(1, 3), [1, 2]),
        (slice(None), [0, 1, 2, 3]),
        (slice(0, 0), []),
        (np.array([3, 0, 0]), [3, 0, 0]),
        (np.zeros(4, dtype=bool), []),
    ],
    ids=["mask", "slice", "all", "none", "indices, one twice", "empty mask"],
)
def test_taking_records_copies_them(rows: Any, taken: list[int]) -> None:
    """In the order asked for, C-contiguous; what is done to them is not done to where they came from."""
    columns = Columns.of(records())
    before = columns.tobytes()
    some = columns.take(rows)
    assert values(some) == [values(columns)[row] for row in taken]
    assert some.layout == LAYOUT
    assert some.whole.flags.c_contiguous and some.real.flags.c_contiguous
    some["a"], some["y"] = -5, -5.0
    assert columns.tobytes() == before


def test_joined_records_lie_behind_one_another() -> None:
    """A copy of both, in order; joining nobody changes nothing."""
    columns, more = Columns.of(records(2)), Columns.of(records(3)).take(slice(2, 3))
    both = columns.joined(more)
    assert values(both) == values(columns) + values(more)
    assert both.whole.flags.c_contiguous and both.real.flags.c_contiguous
    both["x"] = -1.0
    assert values(columns) == values(Columns.of(records(2)))
    nobody = Columns.zeros(LAYOUT, 0)
    assert columns.joined(nobody).tobytes() == nobody.joined(columns).tobytes() == columns.tobytes()


def test_records_of_another_layout_are_not_joined() -> None:
    """The order of the fields is part of a layout."""
    turned = np.dtype([(name, LAYOUT[name]) for name in reversed(LAYOUT.names or ())])
    with pytest.raises(AssertionError):
        Columns.zeros(LAYOUT, 1).joined(Columns.zeros(turned, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: columns["a"].fill(9),
        lambda columns: columns["z"].fill(9.0),
        lambda columns: columns.whole.fill(9),
        lambda columns: columns.real.fill(9.0),
    ],
)
def test_a_copy_is_independent(change: Callable[[Columns], None]) -> None:
    """Of both blocks, in both directions; and a record is nobody's view either."""
    columns = Columns.of(records())
    record = columns.record(1)
    copy = columns.copy()
    before = columns.tobytes()
    change(copy)
    assert columns.tobytes() == before
    copy = columns.copy()
    change(columns)
    assert copy.tobytes() == before
    assert record.tobytes() == records()[1].tobytes()
    record["a"] = 77
    assert 77 not in columns["a"]
