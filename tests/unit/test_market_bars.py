"""Bars and live ticks from trades, and trades from bars, against a slow aggregator that anyone can read."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from time import perf_counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.market.bars import market_steps, minutes, prices, tape_from_bars
from trisagion.market.instruments import AAPL, ES
from trisagion.market.types import TICK_NS, Bar, Instrument, MarketStep, Tape

START_NS = 1_378_072_800 * SECOND_NS

Trade = tuple[int, int, int]
"""Instant, price in ticks, size in lots."""


def tape(trades: Sequence[Trade], instrument: Instrument = ES) -> Tape:
    """Make a tape of trades."""
    columns = np.array(trades, dtype=np.int64).reshape(-1, 3)
    return Tape(instrument, columns[:, 0], columns[:, 1], columns[:, 2])


def slow_steps(trades: Sequence[Trade], instrument: Instrument) -> list[MarketStep]:
    """Aggregate trade by trade, in exact decimals: the meaning of `market_steps`."""
    steps = []
    for minute, group in groupby(trades, key=lambda trade: trade[0] // MINUTE_NS):
        members = list(group)
        points = [float(ticks * instrument.tick_size) for _, ticks, _ in members]
        slots = {instant // TICK_NS: point for (instant, _, _), point in zip(members, points, strict=True)}
        volume = float(sum(size for _, _, size in members))
        open_ns = minute * MINUTE_NS
        bar = Bar(
            instrument.symbol, open_ns, MINUTE_NS, points[0], max(points), min(points), points[-1], volume, len(members)
        )
        ticks = tuple(((slot + 1) * TICK_NS, point) for slot, point in sorted(slots.items()))
        last = members[-1][1] * instrument.tick_size
        steps.append(MarketStep(instrument.symbol, bar.close_ns, bar, ticks, last, members[-1][0]))  # type: ignore[arg-type]
    return steps


@st.composite
def trades_in_order(draw: st.DrawFn) -> list[Trade]:
    """Draw trades whose instants like to fall on boundaries of slots and minutes, a nanosecond before, or together."""
    near = st.builds(
        lambda slot, off: slot * TICK_NS + off, st.integers(0, 40), st.sampled_from([-1, 0, 0, 1, 4 * SECOND_NS])
    )
    instants = sorted(draw(st.lists(near, max_size=40)))
    return [(START_NS + at, draw(st.integers(1, 10**7)), draw(st.integers(1, 10**6))) for at in instants]


@given(trades_in_order(), st.sampled_from([ES, AAPL]))
@example([(START_NS, 1, 1), (START_NS + MINUTE_NS - 1, 2, 1), (START_NS + MINUTE_NS, 3, 1)], AAPL)
@example([(0, 3, 1), (0, 1, 2)], AAPL)
def test_steps_equal_those_of_the_slow_aggregator(trades: list[Trade], instrument: Instrument) -> None:
    """Every field of every step is what trade-by-trade aggregation in decimals gives, to the last bit."""
    assert list(market_steps(tape(trades, instrument))) == slow_steps(trades, instrument)


@given(trades_in_order())
def test_no_trade_and_no_lot_is_lost(trades: list[Trade]) -> None:
    """Over all bars the trades and volumes sum to those of the tape."""
    bars = [step.bar for step in market_steps(tape(trades))]
    assert sum(bar.trades for bar in bars) == len(trades)
    assert sum(bar.volume for bar in bars) == sum(size for _, _, size in trades)


def test_a_trade_on_a_boundary_belongs_to_the_interval_that_begins() -> None:
    """A nanosecond before the minute is in it, the minute itself is in the next; the same for slots."""
    slot = START_NS + TICK_NS
    first, second = market_steps(
        tape([(slot - 1, 10, 1), (slot, 11, 2), (START_NS + MINUTE_NS - 1, 12, 4), (START_NS + MINUTE_NS, 13, 8)])
    )
    assert first.ticks == ((slot, 2.5), (slot + TICK_NS, 2.75), (START_NS + MINUTE_NS, 3.0))
    assert (first.at_ns, first.bar.volume, first.bar.close) == (START_NS + MINUTE_NS, 7.0, 3.0)
    assert (second.at_ns, second.bar.volume, second.bar.open) == (START_NS + 2 * MINUTE_NS, 8.0, 3.25)


def test_prices_are_the_floats_nearest_to_the_exact_decimals() -> None:
    """Three ticks of a cent are 0.03, where 3 * 0.01 is not, up to counts of seven digits."""
    cents = np.arange(1, 2_000_000, 7, dtype=np.int64)
    found = prices(Tape(AAPL, cents, cents, cents))
    assert found.tolist() == [float(Decimal(int(count)).scaleb(-2)) for count in cents]


def test_an_empty_tape_has_no_steps() -> None:
    """Nothing in, nothing out."""
    assert list(market_steps(tape([]))) == []


def test_a_tape_that_runs_backwards_is_our_mistake() -> None:
    """Instants that fall are caught before the first step."""
    with pytest.raises(AssertionError, match="never fall"):
        next(market_steps(tape([(START_NS, 1, 1), (START_NS - 1, 1, 1)])))


def test_half_a_million_trades_become_steps_in_well_under_a_second() -> None:
    """The bundled tape of 500,000 trades takes less than a second (about 0.03 s measured)."""
    trades = load(DataSpec("es"))
    began = perf_counter()
    steps = list(market_steps(trades))
    assert perf_counter() - began < 1
    assert sum(step.bar.trades for step in steps) == len(trades) == 500_000
    assert {step.at_ns % MINUTE_NS for step in steps} == {0}


OHLCV = tuple[int, int, int, int, int]


@st.composite
def bar_rows(draw: st.DrawFn) -> list[OHLCV]:
    """Draw bars: open, high, low, close in ticks and a volume that is often too small for four trades."""
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        low, a, b, high = sorted(draw(st.lists(st.integers(1, 30), min_size=4, max_size=4)))
        first, last = draw(st.permutations([a, b]))
        rows.append((first, high, low, last, draw(st.one_of(st.integers(0, 7), st.integers(0, 10**12)))))
    return rows


def tape_of(rows: Sequence[OHLCV], interval_ns: int = MINUTE_NS) -> Tape:
    """Make the synthetic tape of consecutive bars."""
    o, h, l, c, volume = np.array(rows, dtype=np.int64).T  # noqa: E741
    open_ns = START_NS + interval_ns * np.arange(len(rows), dtype=np.int64)
    return tape_from_bars(ES, open_ns, interval_ns, o=o, h=h, l=l, c=c, volume=volume)


def possible_trades(row: OHLCV) -> bool:
    """Tell whether as many trades of one lot as the bar has lots can have made it."""
    o, h, l, c, volume = row  # noqa: E741
    return volume >= (1 if h == l else 2 + len({h, l} - {o, c}))


@given(bar_rows())
@example([(5, 9, 5, 9, 2), (9, 9, 5, 5, 3), (5, 9, 5, 5, 3), (5, 5, 2, 5, 3), (7, 7, 7, 7, 1), (1, 2, 1, 1, 0)])
def test_the_bars_of_a_synthetic_tape_are_the_bars_it_was_made_of(rows: list[OHLCV]) -> None:
    """Prices come back exactly for every bar that its lots allow, volumes for every bar, and no bar from no volume."""
    found = {step.bar.open_ns: step.bar for step in market_steps(tape_of(rows))}
    expected = {START_NS + i * MINUTE_NS: row for i, row in enumerate(rows) if row[-1] > 0}
    assert {at: bar.volume for at, bar in found.items()} == {at: row[-1] for at, row in expected.items()}
    for at, row in expected.items():
        if possible_trades(row):
            bar = found[at]
            assert (bar.open, bar.high, bar.low, bar.close) == tuple(ticks * 0.25 for ticks in row[:4])


@given(bar_rows(), st.integers(8, 10**11))
def test_a_synthetic_tape_keeps_every_lot_and_its_order(rows: list[OHLCV], interval_ns: int) -> None:
    """Sizes are above zero and sum to the volume; instants rise and stay inside their bars, off the boundaries."""
    made = tape_of(rows, interval_ns)
    assert int(made.size_lots.sum()) == sum(row[-1] for row in rows)
    assert bool(np.all(made.size_lots > 0))
    assert bool(np.all(np.diff(made.ts_ns) > 0))
    assert bool(np.all((made.ts_ns - START_NS) % interval_ns > 0))


def test_a_rising_bar_falls_first_and_a_falling_bar_rises_first() -> None:
    """The path is open, low, high, close when the close is not below the open; the remainder starts at the close."""
    made = tape_of([(4, 9, 1, 6, 11), (6, 9, 1, 4, 8)])
    assert made.price_ticks.tolist() == [4, 1, 9, 6, 6, 9, 1, 4]
    assert made.size_lots.tolist() == [3, 3, 2, 3, 2, 2, 2, 2]
    assert ((made.ts_ns - START_NS) / SECOND_NS).tolist() == [7.5, 22.5, 37.5, 52.5, 67.5, 82.5, 97.5, 112.5]


@pytest.mark.parametrize(
    ("lots", "path"),
    [(0, []), (1, [6]), (2, [4, 6]), (3, [4, 1, 6]), (4, [4, 1, 9, 6])],
)
def test_a_bar_of_few_lots_keeps_its_close_then_its_open_then_its_first_turn(lots: int, path: list[int]) -> None:
    """There is never a trade without a lot."""
    assert tape_of([(4, 9, 1, 6, lots)]).price_ticks.tolist() == path


def test_bars_that_overlap_or_contradict_themselves_are_our_mistake() -> None:
    """Readers refuse such data with its row; here it is a bug."""
    one = np.ones(2, dtype=np.int64)
    with pytest.raises(AssertionError, match="overlap"):
        tape_from_bars(ES, one * START_NS, MINUTE_NS, o=one, h=one, l=one, c=one, volume=one)
    with pytest.raises(AssertionError, match="extremes"):
        tape_from_bars(ES, np.arange(2) * MINUTE_NS, MINUTE_NS, o=one, h=one, l=one * 2, c=one, volume=one)


@pytest.mark.parametrize("instrument", [ES, AAPL])
def test_the_bundled_instruments_are_possible(instrument: Instrument) -> None:
    """Steps, multiplier and leverage are above zero; a fee is a small share of the notional."""
    assert min(instrument.tick_size, instrument.lot_size, instrument.multiplier, instrument.leverage_max) > 0
    assert 0 < instrument.fee_rate < Decimal("0.001")


@given(st.tuples(trades_in_order(), trades_in_order(), trades_in_order()))
@example(([], [], []))
def test_the_minutes_of_several_tapes_are_theirs_on_one_clock(
    drawn: tuple[list[Trade], list[Trade], list[Trade]],
) -> None:
    """Each instant once, in order, with the step of every tape that has one, in the order of the tapes."""
    tapes = [tape(trades, replace(ES, symbol=name)) for trades, name in zip(drawn, "ABC", strict=True)]
    found = list(minutes(tapes))
    instants = [at_ns for at_ns, _ in found]
    assert instants == sorted(set(instants))
    assert all(step.at_ns == at_ns for at_ns, steps in found for step in steps)
    assert [[s.symbol for s in steps] for _, steps in found] == [sorted(s.symbol for s in steps) for _, steps in found]
    for one in tapes:
        own = [step for _, steps in found for step in steps if step.symbol == one.instrument.symbol]
        assert own == list(market_steps(one))
