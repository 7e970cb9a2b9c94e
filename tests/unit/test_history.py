"""What may enter the history, what a later word changes in it, and longer bars of shorter ones."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.errors import DataError
from trisagion.market import history, months
from trisagion.market.history import BAR_NUMBERS, DAY_NS, INTERVALS, Changes, Known
from trisagion.market.types import Bars, Int64Array, Quotes

START = 1_700_000_000 // 86_400 * DAY_NS


def ns(year: int, month: int, day: int = 1) -> int:
    """Return the first instant of a day of UTC."""
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000_000


def drawn(seed: int, at_ns: Int64Array) -> Known:
    """Return minute bars with whole volumes, whose sums are exact in any order."""
    draw = np.random.default_rng(seed)
    corners = np.sort(draw.integers(1, 5000, (4, len(at_ns))) / 4, axis=0)
    open_, close = np.where(draw.random(len(at_ns)) < 0.5, corners[1:3], corners[2:0:-1])
    volume = draw.integers(0, 1000, len(at_ns)).astype(np.float64)
    return Known(at_ns, np.stack((open_, corners[3], corners[0], close, volume)), draw.integers(1, 9, len(at_ns)))


def some_minutes(seed: int, days: int = 3) -> Known:
    """Return the bars of some of the minutes of some days, with gaps of all lengths."""
    draw = np.random.default_rng(seed)
    busy = np.repeat(draw.random(days * 12) < 0.7, 120) & (draw.random(days * 1440) < draw.random())
    busy[draw.integers(days * 1440)] = True
    return drawn(seed, START + np.flatnonzero(busy) * MINUTE_NS)


def by_polars(known: Known, every: str) -> pl.DataFrame:
    """Roll up by another implementation."""
    frame = pl.DataFrame({"at": known.at_ns, **dict(zip(BAR_NUMBERS, known.numbers, strict=True))})
    return (
        frame.with_columns(pl.col("at").cast(pl.Datetime("ns", "UTC")))
        .group_by_dynamic("at", every=every, closed="left", label="left", start_by="window")
        .agg(
            *(pl.col("open").first(), pl.col("high").max(), pl.col("low").min()),
            *(pl.col("close").last(), pl.col("volume").sum()),
        )
    )


@pytest.mark.parametrize("every", ["5m", "15m", "1h", "1d"])
@pytest.mark.parametrize("seed", range(8))
def test_longer_bars_are_those_of_polars(every: str, seed: int) -> None:
    """Each number of each bar, straight from the minutes and step by step through all shorter intervals."""
    minutes = some_minutes(seed)
    theirs = by_polars(minutes, every)
    stepwise = minutes
    for name, interval_ns in INTERVALS.items():
        stepwise = history.rolled_up(stepwise, interval_ns)
        if name == every:
            break
    for ours in (stepwise, history.rolled_up(minutes, INTERVALS[every])):
        assert ours.at_ns.tolist() == theirs["at"].dt.epoch("ns").to_list()
        for name, values in zip(BAR_NUMBERS, ours.numbers, strict=True):
            assert values.tolist() == theirs[name].to_list(), name


def test_a_longer_bar_is_learned_when_the_latest_of_its_shorter_ones_was() -> None:
    """Before that instant its numbers were others."""
    minutes = Known(START + np.arange(10) * MINUTE_NS, np.ones((5, 10)), np.array([3, 9, 1, 1, 1, 2, 2, 2, 2, 7]))
    assert history.rolled_up(minutes, 5 * MINUTE_NS).learned_ns.tolist() == [9, 7]


def test_nothing_rolls_up_to_nothing() -> None:
    """No bar comes of no bars."""
    none = np.zeros(0, dtype=np.int64)
    assert len(history.rolled_up(Known(none, np.zeros((5, 0)), none), HOUR_NS)) == 0


def bars(interval_ns: int = MINUTE_NS, **changed: Any) -> Bars:
    """Return three good bars, some columns or numbers changed."""
    columns: dict[str, Any] = {
        "open": [10.0, 11.0, 12.0],
        "high": [12.0, 12.0, 13.0],
        "low": [9.0, 10.0, 11.0],
        "close": [11.0, 12.0, 11.5],
        "volume": [5.0, 0.0, 7.5],
    }
    close_ns = changed.pop("close_ns", START + np.arange(1, 4) * interval_ns)
    return Bars(
        "ES", interval_ns, close_ns, **{name: np.array(changed.get(name, each)) for name, each in columns.items()}
    )


NAN, INF = float("nan"), float("inf")

REFUSED_BARS: Mapping[str, tuple[Bars, str]] = {
    "an interval": (bars(30_000_000_000), "ES: expected bars of 1m, 5m, 15m, 1h, 1d, found 30 s"),
    "before 1970": (bars(close_ns=np.array([0, 1, 2]) * MINUTE_NS), "bar of -60000000000 ns: expected an instant from"),
    "after 2100": (bars(close_ns=START + np.array([1, 2, 10**8]) * MINUTE_NS), "expected an instant from 1970 to 2100"),
    "twice": (bars(close_ns=START + np.array([1, 2, 2]) * MINUTE_NS), "00:01:00.000Z: expected each after the one"),
    "NaN": (bars(open=[10, NAN, 12]), "00:01:00.000Z: open: expected a number above 0, up to 2..53, found nan"),
    "infinity": (bars(high=[12, 12, INF]), "00:02:00.000Z: high: expected a number above 0, up to 2..53, found inf"),
    "a price of 0": (bars(low=[0, 10, 11]), "low: expected a number above 0, up to 2..53, found 0"),
    "a price below 0": (bars(close=[11, -12, 11]), "close: expected a number above 0, up to 2..53, found -12"),
    "too much": (bars(high=[12, 1e17, 13]), "high: expected a number above 0, up to 2..53, found 1e"),
    "a volume below 0": (bars(volume=[5, 0, -1]), "volume: expected a number 0 or more, up to 2..53, found -1"),
    "extremes": (
        bars(high=[10.5, 12, 13]),
        "expected open and close within low and high, found 10 and 11 in 9 to 10.5",
    ),
    "off the minute": (
        bars(close_ns=START + np.arange(1, 4) * MINUTE_NS + 1),
        "expected an opening at a multiple of 1m",
    ),
}


@pytest.mark.parametrize(("told", "why"), REFUSED_BARS.values(), ids=REFUSED_BARS)
def test_what_cannot_be_a_bar_is_refused(told: Bars, why: str) -> None:
    """The error names the symbol, the first bad bar and what is wrong with it."""
    with pytest.raises(DataError, match=f"^ES: .*{why}" if not why.startswith("ES") else why):
        history.known_bars(told, 1)


def test_good_bars_are_taken_as_they_are() -> None:
    """With an extreme that the noise of arithmetic left a little inside, and back again."""
    told = bars(high=[12.0, 12.0 * (1 - 1e-12), 13.0])
    known = history.known_bars(told, 7)
    assert known.learned_ns.tolist() == [7, 7, 7]
    back = history.as_bars("ES", MINUTE_NS, known)
    for name in ("close_ns", *BAR_NUMBERS):
        assert getattr(back, name).tolist() == getattr(told, name).tolist()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"bid": [1.0, NAN]}, "bid: expected a number above 0, up to 2..53, found nan"),
        ({"ask": [-2.0, 2.0]}, "ask: expected a number above 0"),
        ({"bid_size": [1.0, -1.0]}, "bid_size: expected a number 0 or more"),
        ({"bid": [1.0, 3.0]}, "expected a bid up to the ask 2, found 3"),
        ({"at_ns": [START, START]}, "expected each after the one before"),
    ],
)
def test_what_cannot_be_a_quote_is_refused(changed: Mapping[str, list[float]], why: str) -> None:
    """NaN, a price or size below its bound, a bid above the ask, two at one instant."""
    good = {"at_ns": [START, START + 1], "bid": [1.0, 2.0], "ask": [2.0, 2.0], "bid_size": [0.0, 1.0]}
    columns = {name: np.array(each) for name, each in {**good, "ask_size": [1.0, 0.0]}.items()}
    known = history.known_quotes(Quotes("ES", **columns), 1)
    assert history.as_quotes("ES", known).bid_size.tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match=f"ES: quote of 2023-11-14.*{why}"):
        history.known_quotes(Quotes("ES", **columns | {name: np.array(each) for name, each in changed.items()}), 1)


def known(at: list[int], value: list[float], learned: list[int]) -> Known:
    """Return something known, of one number."""
    return Known(np.array(at, dtype=np.int64), np.array([value], dtype=np.float64), np.array(learned, dtype=np.int64))


@pytest.mark.parametrize(
    ("told", "after", "changes"),
    [
        (known([10], [1.0], [5]), ([10, 20], [1.0, 2.0], [3, 3]), Changes(same=1)),
        (known([10], [9.0], [5]), ([10, 20], [9.0, 2.0], [5, 3]), Changes(corrected=1)),
        (known([10], [9.0], [3]), ([10, 20], [9.0, 2.0], [3, 3]), Changes(corrected=1)),
        (known([10], [9.0], [2]), ([10, 20], [1.0, 2.0], [3, 3]), Changes(older=1)),
        (known([15], [9.0], [2]), ([10, 15, 20], [1.0, 9.0, 2.0], [3, 2, 3]), Changes(new=1)),
        (
            known([5, 10, 20, 30], [7.0, 8.0, 2.0, 9.0], [4, 4, 4, 4]),
            ([5, 10, 20, 30], [7.0, 8.0, 2.0, 9.0], [4, 4, 3, 4]),
            Changes(new=2, corrected=1, same=1),
        ),
    ],
)
def test_a_later_word_replaces_and_the_same_changes_nothing(told: Known, after: Any, changes: Changes) -> None:
    """Row by row: the same, a correction, one of the same instant of learning, an older word, something new, all."""
    taken, told_changes = history.merged(known([10, 20], [1.0, 2.0], [3, 3]), told)
    assert (taken.at_ns.tolist(), taken.numbers[0].tolist(), taken.learned_ns.tolist()) == after
    assert told_changes == changes


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 9)), max_size=30),
    st.lists(st.integers(0, 29), max_size=30),
)
def test_an_old_word_told_again_changes_nothing(words: list[tuple[int, int, int]], again: list[int]) -> None:
    """Told in order of learning, with any that were told already in between, the newest numbers stand."""
    said = {(learned, at): float(value) for at, value, learned in words}
    told = sorted(said)
    now = known([], [], [])
    for number, (learned, at) in enumerate(told):
        repeats = [told[other] for other in again if other < number]
        for when, what in ((learned, at), *repeats):
            now, _ = history.merged(now, known([what], [said[when, what]], [when]))
    newest = {at: said[learned, at] for learned, at in told}
    assert dict(zip(now.at_ns.tolist(), now.numbers[0].tolist(), strict=True)) == newest


def test_blocks_are_the_parts_of_a_day() -> None:
    """In order, none empty, and together the whole."""
    whole = some_minutes(4)
    blocks = list(whole.blocks(DAY_NS))
    assert [begin for begin, _ in blocks] == sorted({int(at) // DAY_NS * DAY_NS for at in whole.at_ns})
    assert np.concatenate([part.at_ns for _, part in blocks]).tolist() == whole.at_ns.tolist()
    assert all(begin <= part.at_ns[0] and part.at_ns[-1] < begin + DAY_NS for begin, part in blocks)
    assert list(whole.within(0, 1).blocks(DAY_NS)) == []


def test_months_are_those_of_the_calendar() -> None:
    """Leap years, ends of years, and none before 1970."""
    assert months.month_of(ns(2024, 2, 29) + DAY_NS - 1) == ns(2024, 2)
    assert months.month_of(ns(2024, 3)) == ns(2024, 3)
    assert [months.shifted(ns(2024, 1), by) for by in (-13, -1, 0, 12)] == [
        ns(2022, 12),
        ns(2023, 12),
        ns(2024, 1),
        ns(2025, 1),
    ]
    assert months.shifted(ns(1970, 2), -5) == 0
    assert months.months(ns(2023, 12, 31), ns(2024, 2)) == (ns(2023, 12), ns(2024, 1))
    assert months.months(ns(2023, 12), ns(2023, 12)) == ()
    assert months.named(ns(2024, 11)) == "2024-11"
