"""`ports.MarketStore` and `ports.CohortStore`: one suite, on SQLite and on MariaDB."""

import math
import threading
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from tests import builders
from trisagion.adapters.db import SqlDatabase, market, tables
from trisagion.cohort.types import Epoch, ExitReason, Progress, RunEnd, RunRecord, ShardMark, ShardRow
from trisagion.errors import DataError, StateError, UnreadableRow
from trisagion.ids import RunId
from trisagion.market.closures import Closures
from trisagion.market.types import Bar, MarketState, MarketStep, Quote
from trisagion.regime.classify import Reading
from trisagion.regime.types import Fit
from trisagion.units import Price

MINUTE = 60_000_000_000
START = 1_700_000_000_000_000_000 - 1_700_000_000_000_000_000 % MINUTE

ES = replace(builders.ES, symbol="ESZ4")


def a_step(minute: int, last: str = "4500.25", symbol: str = "ESZ4", ticks: int = 6) -> MarketStep:
    """Return the step that closes at the end of a minute."""
    at_ns = START + (minute + 1) * MINUTE
    price = float(last)
    bar = Bar(symbol, at_ns - MINUTE, MINUTE, price - 0.1, price + 1 / 3, price - 1, price, 17.0, 5)
    stamps = tuple((at_ns - MINUTE + (slot + 1) * MINUTE // 6, price + slot / 7) for slot in range(ticks))
    return MarketStep(symbol, at_ns, bar, stamps, Price(Decimal(last)), at_ns - 5)


def a_state(minute: int, n: int = 6, seed: int = 1) -> MarketState:
    """Return features with every kind of float that there is in them."""
    draw = np.random.default_rng(seed)
    entropy = draw.random((n, 15, 3, 3))
    entropy[:, 3] = np.nan
    hard = np.array([0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, np.nan, np.inf])
    return MarketState(
        symbol="ESZ4",
        at_ns=START + minute * MINUTE,
        ts_ns=np.arange(n, dtype=np.int64) + 2**62,
        price=np.resize(hard, n),
        weight=draw.random(n),
        volatility=-draw.random(n),
        entropy=entropy,
        samples=draw.integers(0, 2**40, (n, 15)),
        channel_high=draw.random((n, 51)),
        channel_low=np.resize(hard[::-1], (n, 51)),
        z=-draw.random((n, 51)),
        regime="trending",
    )


def same_state(a: MarketState, b: MarketState) -> bool:
    """Tell whether two states are equal to the bit."""

    def bits(value: Any) -> Any:
        return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    return all(bits(getattr(a, field.name)) == bits(getattr(b, field.name)) for field in fields(a))


def test_an_instrument_comes_back_as_it_was(database: SqlDatabase) -> None:
    """Equal and with the same digits; the same again changes nothing; the unknown is a `StateError`."""
    with database.transaction() as tx:
        tx.market.add_instrument(ES)
        tx.market.add_instrument(replace(ES, symbol="AAPL"))
        tx.market.add_instrument(replace(ES, tick_size=Decimal(9)))
    with database.snapshot() as tx:
        assert tx.market.instrument("ESZ4") == ES
        assert [instrument.symbol for instrument in tx.market.instruments()] == ["AAPL", "ESZ4"]
        assert str(tx.market.instrument("ESZ4").tick_size) == "0.25"
        for unknown in ("esz4", "ESZ", "", "X'; DROP TABLE instrument;--"):
            with pytest.raises(StateError, match="is not in the database"):
                tx.market.instrument(unknown)


def test_an_instrument_has_the_closures_that_it_was_recorded_with(database: SqlDatabase) -> None:
    """A second and another record of it change nothing; a row that somebody changed is an `UnreadableRow`."""
    spans = tuple((number * 10, number * 10 + 5, f"night {number}") for number in range(1, 2000))
    closures = Closures("XNYS", 0, 20_000, spans)
    with database.transaction() as tx:
        tx.market.add_instrument(replace(ES, closures=closures))
        tx.market.add_instrument(replace(ES, closures=replace(closures, spans=())))
        tx.market.add_instrument(replace(ES, symbol="AAPL"))
    with database.snapshot() as tx:
        assert [each.closures for each in tx.market.instruments()] == [None, closures]
        assert tx.market.instrument("ESZ4").closures == closures
    for damage in ({"until_ns": 19_999}, {"closed": b"[]"}, {"closed": b"[[1, 2"}):
        with database.transaction() as tx:
            tx.session.write(sa.update(tables.trading_hours).values(digest="0" * 64, **damage), {})
        with pytest.raises(UnreadableRow, match="trading hours"), database.snapshot() as tx:
            tx.market.instruments()


def test_a_step_comes_back_as_it_was(database: SqlDatabase) -> None:
    """Floats to the bit, ticks in order, also none; the second time it is there already."""
    for step in (a_step(0), a_step(1, ticks=0)):
        with database.transaction() as tx:
            assert tx.market.add_step(step)
            assert not tx.market.add_step(replace(step, last=Price(Decimal(1))))
        with database.snapshot() as tx:
            assert tx.market.step("ESZ4", step.at_ns) == step
            assert tx.market.step("ESZ4", step.at_ns + 1) is None
            assert tx.market.step("AAPL", step.at_ns) is None


def test_bars_are_the_last_ones_closed_by_then(database: SqlDatabase) -> None:
    """Oldest first, of the one symbol, a bar being usable from the instant of its close."""
    with database.transaction() as tx:
        for minute in range(5):
            tx.market.add_step(a_step(minute))
            tx.market.add_step(a_step(minute, symbol="AAPL"))
    with database.snapshot() as tx:
        close_of_3 = START + 4 * MINUTE
        bars = tx.market.bars("ESZ4", close_of_3, 3)
        assert list(bars) == [a_step(minute).bar for minute in (1, 2, 3)]
        assert [bar.close_ns for bar in tx.market.bars("ESZ4", close_of_3 - 1, 1)] == [close_of_3 - MINUTE]
        assert len(tx.market.bars("ESZ4", close_of_3, 99)) == 4
        assert tx.market.bars("ESZ4", START, 9) == []


def test_closes_are_those_of_the_bars_of_many_symbols(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each symbol's own last ones, in several statements; of one without bars there are none."""
    monkeypatch.setattr(market, "CLOSES_SYMBOLS_MAX", 2)
    symbols = ["A", "B", "C", "D", "E"]
    with database.transaction() as tx:
        for number, symbol in enumerate(symbols[:4]):
            for minute in range(number + 2):
                tx.market.add_step(a_step(minute, str(4500 + number + minute), symbol=symbol))
    with database.snapshot() as tx:
        found = tx.market.closes(symbols, START + 4 * MINUTE, 3)
        assert list(found) == symbols
        for symbol, (close_ns, close) in found.items():
            bars = tx.market.bars(symbol, START + 4 * MINUTE, 3)
            assert close_ns.tolist() == [bar.close_ns for bar in bars]
            assert close.tolist() == [bar.close for bar in bars]
            assert (close_ns.dtype.str, close.dtype.str) == ("<i8", "<f8")
        assert len(found["D"][0]) == 3
        assert tx.market.closes([], START, 3) == {}


def test_a_quote_is_one_tick_around_the_last_trade_known(database: SqlDatabase) -> None:
    """Only what was learned by then: a step that closes later is not seen."""
    with database.transaction() as tx:
        tx.market.add_instrument(ES)
        tx.market.add_step(a_step(0, "4500.25"))
        tx.market.add_step(a_step(1, "4501.5"))
    first, second = START + MINUTE, START + 2 * MINUTE
    with database.snapshot() as tx:
        assert tx.market.quote("ESZ4", first - 1) is None
        assert tx.market.quote("ESZ4", second - 1) == Quote(
            "ESZ4",
            Price(Decimal("4500.00")),
            Price(Decimal("4500.5")),
            Price(Decimal("4500.25")),
            happened_ns=first - 5,
            learned_ns=first,
        )
        later = tx.market.quote("ESZ4", second + MINUTE)
        assert later is not None
        assert (later.bid, later.ask) == (Decimal("4501.25"), Decimal("4501.75"))


def test_quotes_of_many_symbols_are_those_of_each(database: SqlDatabase) -> None:
    """The last one known of each by then, however many came before; who is no instrument or never traded has none."""
    symbols = ["A", "B", "C", "D", "E"]
    with database.transaction() as tx:
        for number, symbol in enumerate(symbols[:4]):
            tx.market.add_instrument(replace(ES, symbol=symbol, tick_size=Decimal(number + 1)))
            for minute in range(3 * number):
                tx.market.add_step(a_step(minute, str(4500 + number + minute), symbol=symbol))
    with database.snapshot() as tx:
        for now_ns in (START, START + 2 * MINUTE - 1, START + 2 * MINUTE, START + 99 * MINUTE):
            each = {symbol: tx.market.quote(symbol, now_ns) for symbol in symbols}
            assert tx.market.quotes(symbols, now_ns) == {symbol: quote for symbol, quote in each.items() if quote}
        assert sorted(tx.market.quotes(symbols, now_ns)) == ["B", "C", "D"]
        assert tx.market.quotes([], now_ns) == {}


def test_a_market_state_comes_back_to_the_bit(database: SqlDatabase) -> None:
    """NaN, infinities, negative zero and denormals included, also with no tick; the arrays are the reader's own."""
    first, second, empty = a_state(1), a_state(2, n=3, seed=2), a_state(3, n=0)
    with database.transaction() as tx:
        for state in (second, first, empty):
            tx.market.put_state(state)
        tx.market.put_state(replace(first, regime="noisy"))
    with database.snapshot() as tx:
        back = tx.market.states("ESZ4", 0, empty.at_ns)
        assert all(same_state(a, b) for a, b in zip(back, (first, second, empty), strict=True))
        assert [state.at_ns for state in tx.market.states("ESZ4", first.at_ns, second.at_ns)] == [second.at_ns]
        assert tx.market.heads("ESZ4") == (0, empty.at_ns)
        assert tx.market.heads("AAPL") == (0, 0)
    back[0].price[0] = 1.0


def test_new_states_are_those_that_each_symbol_has_after_what_was_seen_of_it(database: SqlDatabase) -> None:
    """Up to an instant, oldest first within a symbol; a symbol that was not asked for stays out."""
    with database.transaction() as tx:
        for minute in (3, 1, 2, 4):
            for symbol in ("ESZ4", "NQZ4", "ZNZ4"):
                tx.market.put_state(replace(a_state(minute), symbol=symbol))
    at_ns = {minute: a_state(minute).at_ns for minute in (1, 2, 3, 4)}
    with database.snapshot() as tx:
        found = tx.market.new_states({"NQZ4": at_ns[2], "ESZ4": 0, "AAPL": 0}, at_ns[3])
        assert [(state.symbol, state.at_ns) for state in found] == [
            ("NQZ4", at_ns[3]),
            ("ESZ4", at_ns[1]),
            ("ESZ4", at_ns[2]),
            ("ESZ4", at_ns[3]),
        ]
        assert list(tx.market.new_states({}, at_ns[4])) == []
        assert list(tx.market.new_states({"ESZ4": at_ns[4]}, at_ns[4])) == []


def test_a_fit_that_is_there_stays_and_each_model_of_each_symbol_has_its_own(database: SqlDatabase) -> None:
    """Also the note that there is none; who asks for other bars is told that nobody has tried."""
    with database.transaction() as tx:
        tx.regime.put_fit("ESZ4", "hmm", 10, Fit('{"mean": 0.1}', ""))
        tx.regime.put_fit("ESZ4", "hmm", 10, Fit("later", "x"))
        tx.regime.put_fit("ESZ4", "garch", 10, Fit(None, "too few bars"))
        tx.regime.put_fit("NQZ4", "hmm", 10, Fit("another", ""))
    with database.snapshot() as tx:
        assert tx.regime.fit("ESZ4", "hmm", 10) == Fit('{"mean": 0.1}', "")
        assert tx.regime.fit("ESZ4", "garch", 10) == Fit(None, "too few bars")
        assert tx.regime.fit("NQZ4", "hmm", 10) == Fit("another", "")
        assert tx.regime.fit("ESZ4", "hmm", 11) is None


def test_the_newest_reading_by_an_instant_is_given(database: SqlDatabase) -> None:
    """To the bit, with its reasons; of its own symbol, and the first that was recorded of an instant."""
    first = Reading(10, "trending", (0.1 + 0.2, 0.3, 0.4 - 0.3, 1 / 3), ("HURST 0.6: trending", "HMM …"))
    second = Reading(20, "unknown", (0.25, 0.25, 0.25, 0.25), ())
    with database.transaction() as tx:
        for reading in (second, first, replace(first, state="crisis")):
            tx.regime.put_reading("ESZ4", reading)
    with database.snapshot() as tx:
        asked = [tx.regime.reading("ESZ4", at_ns) for at_ns in (9, 10, 19, 20, 99)]
        assert asked == [None, first, first, second, second]
        assert tx.regime.reading("NQZ4", 99) is None


def test_a_shard_is_replaced_by_the_first_writer_only(database: SqlDatabase, other: SqlDatabase) -> None:
    """Compare-and-set on the version; the state comes back byte by byte."""
    row = ShardRow(3, 1, START, 0, bytes(range(256)) * 40)
    with database.transaction() as tx:
        tx.cohort.add_shard(row)
        tx.cohort.add_shard(replace(row, state=b"again"))
        tx.cohort.add_shard(ShardRow(1, 1, START, 0, b""))
    after = replace(row, at_ns=START + 1, version=1, state=b"\0after")
    with other.transaction() as tx:
        assert tx.cohort.shard_head(3) == (START, 0)
        assert tx.cohort.save_shard(after)
    with database.transaction() as tx:
        assert not tx.cohort.save_shard(replace(row, version=1, state=b"late"))
        assert not tx.cohort.save_shard(replace(row, number=9, version=1))
    with database.snapshot() as tx:
        assert tx.cohort.shard(3) == after
        assert [shard.number for shard in tx.cohort.shards()] == [1, 3]
        assert tx.cohort.shard_numbers() == [1, 3]
        assert tx.cohort.shard_head(9) is None
        with pytest.raises(StateError, match="shard 9 is not in the database"):
            tx.cohort.shard(9)


def test_a_shard_that_is_held_is_written_by_nobody_else(database: SqlDatabase, other: SqlDatabase) -> None:
    """Until the holder's transaction ends another writer waits, and then finds the version gone."""
    row = ShardRow(3, 1, START, 0, b"before")
    with database.transaction() as tx:
        tx.cohort.add_shard(row)
    waiting = threading.Event()
    said: list[bool] = []

    def rival() -> None:
        waiting.set()
        with other.transaction() as tx:
            said.append(tx.cohort.save_shard(replace(row, version=1, state=b"rival")))

    with database.transaction() as tx:
        assert tx.cohort.hold_shard(9) is None
        assert tx.cohort.hold_shard(3) == (START, 0)
        thread = threading.Thread(target=rival)
        thread.start()
        assert waiting.wait(5)
        thread.join(0.2)
        assert said == []
        assert tx.cohort.save_shard(replace(row, version=1, state=b"ours"))
    thread.join()
    assert said == [False]
    with database.snapshot() as tx:
        assert tx.cohort.shard(3).state == b"ours"


def test_of_two_changes_of_the_open_epoch_none_is_lost(database: SqlDatabase, other: SqlDatabase) -> None:
    """Who reads it in a transaction holds it: a transfer that moves the baseline does not take back a crossing."""
    with database.transaction() as tx:
        tx.cohort.put_epoch(Epoch(1, START, None, None, "100"))
    waiting = threading.Event()

    def rival() -> None:
        waiting.set()
        with other.transaction() as tx:
            epoch = tx.cohort.epoch()
            assert epoch is not None
            tx.cohort.put_epoch(replace(epoch, baseline="150"))

    with database.transaction() as tx:
        epoch = tx.cohort.epoch()
        assert epoch is not None
        thread = threading.Thread(target=rival)
        thread.start()
        assert waiting.wait(60)
        thread.join(0.2)
        assert thread.is_alive()
        tx.cohort.put_epoch(replace(epoch, reason="take_profit"))
    thread.join()
    with database.snapshot() as tx:
        assert tx.cohort.epoch() == Epoch(1, START, None, "take_profit", "150")


def test_a_shard_has_come_to_every_instant_up_to_its_last_progress(database: SqlDatabase) -> None:
    """Of its own; another shard's progress says nothing."""
    with database.transaction() as tx:
        for number, at_ns in ((1, START), (1, START + 20), (2, START + 30)):
            tx.cohort.put_progress(Progress(number, at_ns, 1, 0, 0.0, 0.0))
    with database.snapshot() as tx:
        come = [tx.cohort.has_come_to(1, START + after) for after in (-1, 0, 10, 20, 21)]
        assert come == [True, True, True, True, False]
        assert tx.cohort.has_come_to(2, START + 30)
        assert not tx.cohort.has_come_to(3, START)


def test_progress_keeps_nan_and_refuses_an_infinity(database: SqlDatabase) -> None:
    """NaN where no run is alive; the first word on an instant stays; an infinite APR is a mistake, not a number."""
    with database.transaction() as tx:
        tx.cohort.put_progress(Progress(2, START, 0, 0, math.nan, math.nan))
        tx.cohort.put_progress(Progress(1, START, 7, np.int64(3), np.float64(1 / 3), -0.5))  # type: ignore[arg-type]
        tx.cohort.put_progress(Progress(1, START, 8, 0, 0.0, 0.0))
    with database.snapshot() as tx:
        one, two = tx.cohort.progress(START)
        assert one == Progress(1, START, 7, 3, 1 / 3, -0.5)
        assert (two.shard, math.isnan(two.best_apr), math.isnan(two.median_apr)) == (2, True, True)
        assert tx.cohort.progress(START + 1) == []
    with pytest.raises(DataError, match="infinity"), database.transaction() as tx:
        tx.cohort.put_progress(Progress(3, START, 1, 1, math.inf, 0.0))


def test_marks_are_read_in_order_with_the_precision_of_float32(database: SqlDatabase) -> None:
    """By instant, then shard, also of no run; the first word on a shard and instant stays."""
    numbers, worth = np.array([0, 7, 2**32 - 1], dtype=np.int64), np.array([1 / 3, -12345.678, 0.0])
    nobody = ShardMark(START, 2, np.zeros(0, dtype=np.int64), np.zeros(0))
    with database.transaction() as tx:
        tx.cohort.add_mark(ShardMark(START + MINUTE, 1, numbers, worth))
        tx.cohort.add_mark(nobody)
        tx.cohort.add_mark(ShardMark(START, 1, numbers, worth))
        tx.cohort.add_mark(ShardMark(START, 1, numbers[:1], worth[:1]))
    with database.snapshot() as tx:
        back = tx.cohort.marks()
    assert [(mark.at_ns, mark.shard, len(mark.runs)) for mark in back] == [
        (START, 1, 3),
        (START, 2, 0),
        (START + MINUTE, 1, 3),
    ]
    assert back[0].runs.tolist() == numbers.tolist()
    assert (back[0].runs.dtype.str, back[0].pnl.dtype.str) == ("<i8", "<f8")
    assert back[0].pnl.tolist() == worth.astype(np.float32).tolist()


def a_run(epoch: int, number: int, symbol: str = "ESZ4", parent: str | None = None) -> RunRecord:
    """Return a birth."""
    parent_id = None if parent is None else RunId(parent)
    return RunRecord(RunId(f"R{epoch}-{number}"), epoch, 0, symbol, parent_id, START, '{"goal": 0.1}')


def an_end(run: RunRecord, pnl: float) -> RunEnd:
    """Return an end."""
    return RunEnd(run.run_id, START + 9, ExitReason.EPOCH, pnl, 10, 2)


def test_runs_are_born_once_and_end_once(database: SqlDatabase) -> None:
    """A repeated birth counts once; the first end stays."""
    runs = [a_run(1, number) for number in range(3)]
    with database.transaction() as tx:
        tx.cohort.put_epoch(Epoch(1, START, None, None, None))
        assert tx.cohort.run_count() == 0
        tx.cohort.add_runs(runs)
        tx.cohort.add_runs([*runs, a_run(1, 3, parent="R1-0")])
        tx.cohort.add_runs([])
        tx.cohort.end_runs([an_end(runs[0], 1.5)])
        tx.cohort.end_runs([an_end(runs[0], -9.0), an_end(runs[1], 0.25)])
        tx.cohort.end_runs([])
        tx.cohort.put_epoch(Epoch(1, START, START + 9, "take_profit", "100000"))
    with database.snapshot() as tx:
        assert tx.cohort.run_count() == 4
        assert tx.cohort.births(1) == (4, 3)
        assert tx.cohort.births(2) == (0, 0)
        assert tx.cohort.past_pnls("ESZ4") == [1.5, 0.25]


def test_past_pnls_are_of_profitable_take_profit_epochs(database: SqlDatabase) -> None:
    """Of the symbol, closed by a take-profit, with a positive total; in order of draw, 9 before 10."""
    epochs = {1: "take_profit", 2: "draw_down", 3: "take_profit", 4: "take_profit"}
    pnls = {1: [(10, 3.0), (9, -1.0)], 2: [(11, 5.0)], 3: [(12, -4.0), (13, 1.0)], 4: [(14, 7.0)]}
    with database.transaction() as tx:
        for number, reason in epochs.items():
            closed_ns = None if number == 4 else START + number
            tx.cohort.put_epoch(Epoch(number, START, closed_ns, reason, None))
            for draw, pnl in pnls[number]:
                run = a_run(number, draw)
                tx.cohort.add_runs([run])
                tx.cohort.end_runs([an_end(run, pnl)])
        stranger = a_run(1, 99, symbol="AAPL")
        tx.cohort.add_runs([stranger, a_run(1, 100)])
        tx.cohort.end_runs([an_end(stranger, 50.0)])
    with database.snapshot() as tx:
        assert tx.cohort.past_pnls("ESZ4") == [-1.0, 3.0]
        assert tx.cohort.past_pnls("AAPL") == [50.0]
        assert tx.cohort.past_pnls("MSFT") == []


def test_the_open_epoch_is_the_one_that_is_not_closed(database: SqlDatabase) -> None:
    """Insert, update by number, and read back all of them in order."""
    opened, second = Epoch(1, START, None, None, "100000.5"), Epoch(2, START + 5, None, None, None)
    closed = replace(opened, closed_ns=START + 5, reason="take_profit")
    with database.transaction() as tx:
        assert tx.cohort.epoch() is None
        tx.cohort.put_epoch(opened)
        assert tx.cohort.epoch() == opened
        tx.cohort.put_epoch(closed)
        assert tx.cohort.epoch() is None
        tx.cohort.put_epoch(second)
    with database.snapshot() as tx:
        assert tx.cohort.epoch() == second
        assert tx.cohort.epochs() == [closed, second]
