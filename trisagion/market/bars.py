"""Trades to bars and live ticks, and bars to trades. Pure array work: one pass over a tape, then plain values.

All intervals are half-open: a trade at exactly a boundary belongs to the interval that begins there, so a bar never
holds what was not yet known at its close.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Final

import numpy as np

from trisagion.clock import MINUTE_NS
from trisagion.market.types import TICK_NS, Bar, Bars, Float64Array, Instrument, Int64Array, MarketStep, Tape
from trisagion.units import Price

assert MINUTE_NS % TICK_NS == 0, "a ten-second slot must not straddle two minutes"

PATH_POINTS: Final = 4
"""Trades that stand for one bar: open, both extremes, close."""

STEPS_AT_ONCE: Final = 4096
"""Steps turned into Python numbers together, so that years of minutes are not in memory as objects."""


def prices(tape: Tape) -> Float64Array:
    """Return the prices of a tape in points.

    Returns
    -------
    Float64Array
        Shape (n,). Each is the float nearest to the exact decimal `price_ticks · tick_size`: the tick is taken as a
        fraction and divided once, because `ticks * 0.01` would already be off in the last digit.
    """
    numerator, denominator = tape.instrument.tick_size.as_integer_ratio()
    return tape.price_ticks.astype(np.float64) * numerator / denominator


def market_steps(tape: Tape) -> Iterator[MarketStep]:
    """Give what the feed publishes: for each UTC minute that had trades its bar and its ten-second ticks.

    Parameters
    ----------
    tape : Tape
        Trades in order of time; an empty tape has no steps.

    Yields
    ------
    MarketStep
        In order of time; minutes without trades are left out. The bar covers [open_ns, open_ns + 60 s). A tick is the
        last price of each slot [k·TICK_NS, (k + 1)·TICK_NS) that had a trade, stamped (k + 1)·TICK_NS.
    """
    ts, symbol, tick_size = tape.ts_ns, tape.instrument.symbol, tape.instrument.tick_size
    assert bool(np.all(ts[1:] >= ts[:-1])), "the instants of a tape never fall"
    if len(tape) == 0:
        return
    px = prices(tape)
    minute, slot = ts // MINUTE_NS, ts // TICK_NS
    starts = np.concatenate(([0], np.flatnonzero(np.diff(minute)) + 1))
    ends = np.append(starts[1:], len(ts))
    slot_lasts = np.append(np.flatnonzero(np.diff(slot)), len(ts) - 1)
    stamps, tick_px = (slot[slot_lasts] + 1) * TICK_NS, px[slot_lasts]
    tick_starts = np.searchsorted(slot_lasts, starts)

    # Volumes are summed as floats: exact below 2**53 lots, and no wrap-around beyond.
    columns = (
        minute[starts] * MINUTE_NS,
        px[starts],
        np.maximum.reduceat(px, starts),
        np.minimum.reduceat(px, starts),
        px[ends - 1],
        np.add.reduceat(tape.size_lots.astype(np.float64), starts),
        ends - starts,
        tape.price_ticks[ends - 1],
        ts[ends - 1],
        tick_starts,
        np.append(tick_starts[1:], len(slot_lasts)),
    )
    for block in range(0, len(starts), STEPS_AT_ONCE):
        rows = zip(*(column[block : block + STEPS_AT_ONCE].tolist() for column in columns), strict=True)
        for open_ns, first, high, low, last, volume, trades, last_ticks, last_ns, tick_from, tick_to in rows:
            ticks = zip(stamps[tick_from:tick_to].tolist(), tick_px[tick_from:tick_to].tolist(), strict=True)
            yield MarketStep(
                symbol=symbol,
                at_ns=open_ns + MINUTE_NS,
                bar=Bar(symbol, open_ns, MINUTE_NS, first, high, low, last, volume, trades),
                ticks=tuple(ticks),
                last=Price(Decimal(last_ticks) * tick_size),
                last_ns=last_ns,
            )


def minutes(tapes: Sequence[Tape]) -> Iterator[tuple[int, tuple[MarketStep, ...]]]:
    """Give the minutes of several tapes on one clock: each instant with the steps of all that traded in it.

    In order of time; the steps of a minute are in the order of their tapes.
    """
    instant = attrgetter("at_ns")
    for at_ns, steps in groupby(merge(*map(market_steps, tapes), key=instant), key=instant):
        yield at_ns, tuple(steps)


def columns(symbol: str, bars: Sequence[Bar]) -> Bars:
    """Return bars of one instrument, oldest first, as columns; without any they are of a minute."""

    def column(name: str) -> Float64Array:
        return np.array([getattr(bar, name) for bar in bars], dtype=np.float64)

    return Bars(
        symbol=symbol,
        interval_ns=bars[0].interval_ns if bars else MINUTE_NS,
        close_ns=np.array([bar.close_ns for bar in bars], dtype=np.int64),
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=column("volume"),
    )


def tape_from_bars(
    instrument: Instrument,
    open_ns: Int64Array,
    interval_ns: int,
    *,
    o: Int64Array,
    h: Int64Array,
    l: Int64Array,  # noqa: E741  the L of OHLC
    c: Int64Array,
    volume: Int64Array,
) -> Tape:
    """Make a tape of four synthetic trades per bar: an assumption about the path, which a bar does not tell.

    Parameters
    ----------
    open_ns : Int64Array
        Shape (n,), starts of the bars, rising by at least `interval_ns`.
    interval_ns : int
        Length of every bar.
    o, h, l, c : Int64Array
        Shape (n,), prices in ticks of the instrument, `l <= min(o, c)` and `h >= max(o, c)`.
    volume : Int64Array
        Shape (n,), lots, not negative.

    Returns
    -------
    Tape
        The path is open, low, high, close when the bar did not fall (`c >= o`), else open, high, low, close; the
        instants are 1/8, 3/8, 5/8 and 7/8 of the interval, so nothing happens on a boundary.

    Notes
    -----
    The path is the usual one of bar back-tests: the nearer extreme is not known, the way that turns twice is taken. The
    volume is split evenly and its sum is exact. A bar without volume had no trades and gets none. A bar of one to
    three lots cannot have four trades of a lot: its lots go to the close, then the open, then the first turn that left
    the open, so that whatever as many trades of one lot can have made is kept.
    """
    assert o.shape == h.shape == l.shape == c.shape == volume.shape == open_ns.shape
    assert bool(np.all(volume >= 0)), "volumes are counts"
    assert bool(np.all((l <= np.minimum(o, c)) & (h >= np.maximum(o, c)))), "extremes hold the open and the close"
    assert bool(np.all(np.diff(open_ns) >= interval_ns)), "bars must not overlap"
    rising = c >= o
    first_turn, second_turn = np.where(rising, l, h), np.where(rising, h, l)
    price_ticks = np.stack((o, first_turn, second_turn, c), axis=1)

    size_lots = np.repeat(volume[:, np.newaxis] // PATH_POINTS, PATH_POINTS, axis=1)
    left_over = volume % PATH_POINTS
    size_lots[:, 3] += left_over >= 1
    size_lots[:, 0] += left_over >= 2
    size_lots[:, 1] += (left_over == 3) & (first_turn != o)
    size_lots[:, 2] += (left_over == 3) & (first_turn == o)

    offsets = interval_ns * (2 * np.arange(PATH_POINTS, dtype=np.int64) + 1) // (2 * PATH_POINTS)
    ts_ns = open_ns[:, np.newaxis] + offsets
    traded = size_lots > 0
    return Tape(instrument, ts_ns[traded], price_ticks[traded], size_lots[traded])
