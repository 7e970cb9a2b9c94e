"""The history of bars and quotes: what may enter it, what a later word changes in it, and longer bars of shorter ones.

All of it is by UTC. A bar of five minutes begins at a multiple of five minutes since 1970, and a day is a day of UTC:
so each bar lies within one bar of every longer interval, within one day and one month, and neither a change of clocks
nor an exchange's session moves it. Who wants the day of an exchange has it in the hours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS, iso
from trisagion.errors import DataError
from trisagion.market.types import Bars, Float64Array, Int64Array, Quotes

DAY_NS: Final = 24 * HOUR_NS

INTERVALS: Final = {"1m": MINUTE_NS, "5m": 5 * MINUTE_NS, "15m": 15 * MINUTE_NS, "1h": HOUR_NS, "1d": DAY_NS}
"""Name → nanoseconds of the intervals that are kept; each is made of the one before it."""

assert all(longer % shorter == 0 for shorter, longer in pairwise(INTERVALS.values()))

INSTANT_MAX_NS: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * SECOND_NS
"""Instants from 1970 up to here are taken for real."""

NOISE: Final = 1e-9
"""Numbers nearer than this share of themselves are one number: no venue quotes ten digits, while arithmetic on prices
(adjustment, 32-bit storage printed in full) leaves noise below them. Grids and a bar's extremes are met within it."""

NUMBER_MAX: Final = 2.0**53
"""Above it a float64 counts neither points nor lots one by one."""

BAR_NUMBERS: Final = ("open", "high", "low", "close", "volume")
QUOTE_NUMBERS: Final = ("bid", "ask", "bid_size", "ask_size")


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of some instants, and since when.

    `at_ns` int64 (n,) rises: where a bar opened, or when a quote was made. `numbers` float64 (5, n) in the order of
    `BAR_NUMBERS`, or (4, n) in that of `QUOTE_NUMBERS`. `learned_ns` int64 (n,): when the numbers were learned.
    """

    at_ns: Int64Array
    numbers: Float64Array
    learned_ns: Int64Array

    def __len__(self) -> int:
        return len(self.at_ns)

    def blocks(self, block_ns: int) -> Iterator[tuple[int, "Known"]]:
        """Give the parts that lie in one multiple of `block_ns`, each with the instant at which that begins."""
        begins = self.at_ns // block_ns * block_ns
        edges = [0, *(np.flatnonzero(np.diff(begins)) + 1).tolist(), len(self)] if len(self) else [0]
        for start, end in pairwise(edges):
            yield int(begins[start]), self._part(slice(start, end))

    def within(self, from_ns: int, until_ns: int) -> "Known":
        """Return the part with `from_ns <= at_ns < until_ns`."""
        start, end = np.searchsorted(self.at_ns, (from_ns, until_ns))
        return self._part(slice(int(start), int(end)))

    def _part(self, part: slice) -> "Known":
        return Known(self.at_ns[part], self.numbers[:, part], self.learned_ns[part])


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of what was told: new, corrected, the same as before, or older than what is known (and not taken)."""

    new: int = 0
    corrected: int = 0
    same: int = 0
    older: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        """Count both."""
        return Changes(
            self.new + other.new, self.corrected + other.corrected, self.same + other.same, self.older + other.older
        )

    @property
    def written(self) -> int:
        """How many of them changed the history."""
        return self.new + self.corrected


def known_bars(bars: Bars, learned_ns: int) -> Known:
    """Return bars as something learned at an instant.

    Raises
    ------
    DataError
        For an interval that is not kept, and for the first bar that cannot be one: NaN or infinite, a price of 0 or
        below, a volume below 0, more than `NUMBER_MAX`, extremes that do not hold open and close, an opening that is no
        multiple of the interval, is not after the one before, or lies outside 1970 to 2100.
    """
    open_ns = bars.close_ns - bars.interval_ns
    if bars.interval_ns not in INTERVALS.values():
        found = f"{bars.interval_ns / SECOND_NS:g} s"
        raise DataError(f"{bars.symbol}: expected bars of {', '.join(INTERVALS)}, found {found}")
    door = _Door(f"{bars.symbol}: bar of", open_ns)
    for name in BAR_NUMBERS:
        door.number(name, getattr(bars, name), may_be_zero=name == "volume")
    low, high = bars.low * (1 - NOISE), bars.high * (1 + NOISE)
    door.refuse(
        (np.minimum(bars.open, bars.close) < low) | (np.maximum(bars.open, bars.close) > high) | (bars.low > high),
        lambda i: (
            f"expected open and close within low and high, found {bars.open[i]:g} and {bars.close[i]:g} "
            f"in {bars.low[i]:g} to {bars.high[i]:g}"
        ),
    )
    every = next(name for name, interval_ns in INTERVALS.items() if interval_ns == bars.interval_ns)
    door.refuse(
        open_ns % bars.interval_ns != 0,
        lambda i: f"expected an opening at a multiple of {every} of UTC, found {iso(int(open_ns[i]))}",
    )
    return _known(open_ns, [getattr(bars, name) for name in BAR_NUMBERS], learned_ns)


def known_quotes(quotes: Quotes, learned_ns: int) -> Known:
    """Return quotes as something learned at an instant.

    Raises
    ------
    DataError
        For the first quote that cannot be one: NaN or infinite, a price of 0 or below, a size below 0, more than
        `NUMBER_MAX`, a bid above the ask, an instant that is not after the one before, or lies outside 1970 to 2100.
    """
    door = _Door(f"{quotes.symbol}: quote of", quotes.at_ns)
    for name in QUOTE_NUMBERS:
        door.number(name, getattr(quotes, name), may_be_zero=name.endswith("size"))
    door.refuse(
        quotes.bid > quotes.ask, lambda i: f"expected a bid up to the ask {quotes.ask[i]:g}, found {quotes.bid[i]:g}"
    )
    return _known(quotes.at_ns, [getattr(quotes, name) for name in QUOTE_NUMBERS], learned_ns)


def _known(at_ns: Int64Array, numbers: list[Float64Array], learned_ns: int) -> Known:
    return Known(at_ns, np.stack(numbers), np.full(len(at_ns), learned_ns, dtype=np.int64))


class _Door:
    """Refuses the first of some instants' numbers that cannot be real."""

    def __init__(self, what: str, at_ns: Int64Array) -> None:
        self._what, self._at_ns = what, at_ns
        self.refuse((at_ns < 0) | (at_ns >= INSTANT_MAX_NS), lambda _: "expected an instant from 1970 to 2100")
        self.refuse(np.diff(at_ns, prepend=np.int64(-1)) <= 0, lambda _: "expected each after the one before")

    def number(self, name: str, values: Float64Array, *, may_be_zero: bool) -> None:
        """Refuse what is no number, or one beyond the bounds."""
        least = "0 or more" if may_be_zero else "above 0"
        bad = ~np.isfinite(values) | (values < 0) | (values > NUMBER_MAX) | ((values == 0) & (not may_be_zero))
        self.refuse(bad, lambda i: f"{name}: expected a number {least}, up to 2**53, found {values[i]:g}")

    def refuse(self, bad: NDArray[np.bool_], why: Callable[[int], str]) -> None:
        """Raise `DataError` for the first that is bad."""
        if bad.any():
            first = int(np.argmax(bad))
            at_ns = int(self._at_ns[first])
            when = iso(at_ns) if 0 <= at_ns < INSTANT_MAX_NS else f"{at_ns} ns"
            raise DataError(f"{self._what} {when}: {why(first)}")


def as_bars(symbol: str, interval_ns: int, known: Known) -> Bars:
    """Return what is known as bars."""
    return Bars(symbol, interval_ns, known.at_ns + interval_ns, *known.numbers)


def as_quotes(symbol: str, known: Known) -> Quotes:
    """Return what is known as quotes."""
    return Quotes(symbol, known.at_ns, *known.numbers)


def merged(known: Known, told: Known) -> tuple[Known, Changes]:
    """Take in what was told: what was not known is added, other numbers replace those that were not learned later.

    The same numbers again change nothing, not even when they were learned: so whatever was told in order of learning,
    and any of it again at any time, comes to the newest word.
    """
    at_ns = np.union1d(known.at_ns, told.at_ns)
    numbers = np.empty((len(told.numbers), len(at_ns)), dtype=np.float64)
    learned_ns = np.empty(len(at_ns), dtype=np.int64)
    before, place = np.searchsorted(at_ns, known.at_ns), np.searchsorted(at_ns, told.at_ns)
    is_new = ~np.isin(told.at_ns, known.at_ns)
    numbers[:, place], learned_ns[place] = told.numbers, told.learned_ns
    numbers[:, before], learned_ns[before] = known.numbers, known.learned_ns
    differs = (numbers[:, place] != told.numbers).any(axis=0)
    is_older = differs & (told.learned_ns < learned_ns[place])
    corrects = differs & ~is_older
    numbers[:, place[corrects]] = told.numbers[:, corrects]
    learned_ns[place[corrects]] = told.learned_ns[corrects]
    changes = Changes(
        new=int(is_new.sum()),
        corrected=int(corrects.sum()),
        same=int((~differs & ~is_new).sum()),
        older=int(is_older.sum()),
    )
    return Known(at_ns, numbers, learned_ns), changes


def rolled_up(known: Known, interval_ns: int) -> Known:
    """Return the bars of a longer interval that bars of a shorter one make.

    Parameters
    ----------
    known : Known
        Bars of an interval that divides `interval_ns`.
    interval_ns : int
        Of the bars to make.

    Returns
    -------
    Known
        For each interval with a bar at least: the first open, the highest high, the lowest low, the last close, the sum
        of the volumes, learned when the latest of them was. A bar whose interval is not over is made of what there is;
        it is closed, and may be used, from its close on, as every bar.
    """
    if len(known) == 0:
        return known
    begins = known.at_ns // interval_ns * interval_ns
    first = np.concatenate(([0], np.flatnonzero(np.diff(begins)) + 1))
    last = np.append(first[1:], len(known)) - 1
    open_, high, low, close, volume = known.numbers
    numbers = (
        open_[first],
        np.maximum.reduceat(high, first),
        np.minimum.reduceat(low, first),
        close[last],
        np.add.reduceat(volume, first),
    )
    return Known(begins[first], np.stack(numbers), np.maximum.reduceat(known.learned_ns, first))
