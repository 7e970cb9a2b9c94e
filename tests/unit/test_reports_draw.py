"""Axes, thinning and paths of the charts."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.market.types import Int64Array
from trisagion.reports.draw import GAP_SHARE, GRID, TimeAxis, ValueAxis, line, ribbon, thin

START = 1_378_072_800 * 1_000_000_000


def two_sessions() -> Int64Array:
    """Return the minutes of two hours with six hours of nothing between them."""
    first = START + MINUTE_NS * np.arange(61, dtype=np.int64)
    return np.concatenate((first, first + 7 * HOUR_NS))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20_000))
def test_thinning_keeps_every_columns_first_last_lowest_and_highest(seed: int, count: int) -> None:
    """The thinned line spans in each pixel column the same range as the whole one, with at most four points."""
    y = np.random.default_rng(seed).standard_normal(count)
    x = np.linspace(0, 1, count)
    kept_x, kept_y = thin(x, y)
    assert len(kept_x) <= 4 * GRID
    assert (kept_x[0], kept_y[0], kept_x[-1], kept_y[-1]) == (x[0], y[0], x[-1], y[-1])
    whole, kept = np.minimum((x * GRID).astype(int), GRID - 1), np.minimum((kept_x * GRID).astype(int), GRID - 1)
    for column in np.unique(whole)[::97]:
        assert kept_y[kept == column].min() == y[whole == column].min()
        assert kept_y[kept == column].max() == y[whole == column].max()


def test_a_pause_is_narrow_and_the_rest_is_in_proportion() -> None:
    """Six hours of nothing take `GAP_SHARE` of the width, and the two hours around it share the rest equally."""
    at_ns = two_sessions()
    time = TimeAxis.of(at_ns, int(at_ns[0]), int(at_ns[-1]))
    assert time.gaps == ((int(at_ns[60]), int(at_ns[61])),)
    half = (1 - GAP_SHARE) / 2
    assert time.place(at_ns[[0, 30, 60, 61, -1]]).tolist() == pytest.approx([0, half / 2, half, half + GAP_SHARE, 1])


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_places_rise_with_time(count: int) -> None:
    """Whatever the data, later is never further left, and both ends are on the page."""
    random = np.random.default_rng(count)
    at_ns = START + np.sort(random.integers(0, 90 * 24 * HOUR_NS, count))
    time = TimeAxis.of(at_ns, START, START + 90 * 24 * HOUR_NS)
    places = time.place(np.concatenate(([START], at_ns, [START + 90 * 24 * HOUR_NS])))
    assert np.all(np.diff(places) >= 0)
    assert (places[0], places[-1]) == (0, pytest.approx(1))


@pytest.mark.parametrize("hours", [0.1, 1, 5, 44, 400, 5_000, 100_000])
def test_time_labels_are_few_and_inside(hours: float) -> None:
    """From six minutes to eleven years the labels fit beside each other."""
    time = TimeAxis.of(np.empty(0, dtype=np.int64), START, START + int(hours * HOUR_NS))
    ticks = time.ticks(8)
    assert 1 <= len(ticks) <= 9
    assert all(0 <= place <= 1 for place, _ in ticks)
    assert len({place for place, _ in ticks}) == len(ticks)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.integers(2, 8))
def test_value_axes_hold_their_range_and_few_round_ticks(low: float, width: float, count: int) -> None:
    """The range lies inside the axis, the ticks inside the axis, and a larger value is never drawn lower."""
    axis = ValueAxis.of(low, low + width, 200, count)
    assert axis.low <= low <= low + width <= axis.high
    assert len(axis.ticks) <= 2 * count + 2
    assert all(axis.low <= tick <= axis.high or tick == pytest.approx(axis.low) for tick in axis.ticks)
    assert 0 <= axis.at(low + width) <= axis.at(low) <= 200


def test_an_axis_that_begins_at_zero_keeps_beginning_there() -> None:
    """Bars must stand on zero: no room is added below it."""
    assert ValueAxis.of(0.0, 10.0, 100, 4).low == 0.0
    assert ValueAxis.of(-10.0, 0.0, 100, 4).high == 0.0


def test_a_curve_is_broken_at_a_pause_and_nowhere_else() -> None:
    """No line is drawn over hours in which nothing was known."""
    at_ns = two_sessions()
    time = TimeAxis.of(at_ns, int(at_ns[0]), int(at_ns[-1]))
    path = line(time, ValueAxis.of(0.0, 1.0, 100, 4), at_ns, np.linspace(0, 1, len(at_ns)))
    assert path.count("M") == 2
    assert path.count("L") == len(at_ns) - 2


def test_a_ribbon_covers_each_minute_with_its_word() -> None:
    """Equal words side by side are one bar; the bars of all words fill the page without overlap."""
    at_ns = START + MINUTE_NS * np.arange(1, 101, dtype=np.int64)
    time = TimeAxis.of(at_ns, START, int(at_ns[-1]))
    paths = ribbon(time, at_ns, ["a"] * 50 + ["b"] * 25 + ["a"] * 25, 20, MINUTE_NS)
    bars = {
        word: [(int(x), int(end)) for x, end in re.findall(r"M(\d+) 0H(\d+)V20H\d+Z", path)]
        for word, path in paths.items()
    }
    assert bars == {"a": [(0, 500), (750, 1000)], "b": [(500, 750)]}


def test_a_ribbon_of_nothing_is_nothing() -> None:
    """No samples, no bars."""
    time = TimeAxis.of(np.empty(0, dtype=np.int64), START, START + HOUR_NS)
    assert ribbon(time, np.empty(0, dtype=np.int64), [], 20, MINUTE_NS) == {}
