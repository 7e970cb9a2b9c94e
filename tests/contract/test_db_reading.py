"""What people read of a database, and the history by which two replays are compared."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from init import create
from trisagion.adapters.db import SqlDatabase, open_database, reading
from trisagion.cohort.types import Epoch, ExitReason, RunEnd, RunRecord
from trisagion.ids import ClOrdId, CycleId, IntentKey, RunId
from trisagion.ledger.types import Account, Entry, EquitySample, Kind, Position, Posting, Strategy
from trisagion.market.types import Bar, MarketState, MarketStep
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side
from trisagion.ports import Cycle, Decision, ProcessBeat, Transaction
from trisagion.units import Money, Price, Quantity

MINUTE = 60_000_000_000
ZERO = Quantity(Decimal(0))


def an_order(name: str, cycle: str, state: OrderState, reason: str | None = None) -> Order:
    """Return an order of a cycle in a state."""
    intent = IntentKey(f"{cycle}:{name}")
    qty = Quantity(Decimal(3))
    return Order(ClOrdId(name), intent, CycleId(cycle), 0, "ESZ4", Side.BUY, qty, False, state, 1, 1, reason=reason)


def a_fill(exec_id: str, qty: int, liquidity: Liquidity, at_ns: int) -> ExecutionReport:
    """Return a fill of order T1."""
    return ExecutionReport(
        venue="SIM",
        exec_id=exec_id,
        cl_ord_id=ClOrdId("T1"),
        order_id="V1",
        exec_type=ExecType.TRADE,
        ord_status=OrderState.PARTIALLY_FILLED,
        symbol="ESZ4",
        side=Side.BUY,
        last_qty=Quantity(Decimal(qty)),
        last_px=Price(Decimal("4500.25")),
        cum_qty=Quantity(Decimal(qty)),
        leaves_qty=ZERO,
        avg_px=Decimal("4500.25"),
        fee=Money(Decimal("0.1")),
        liquidity=liquidity,
        reason=None,
        unknown_order=False,
        happened_ns=at_ns,
    )


def fill_in(tx: Transaction, *, wall_ns: int) -> None:
    """Write a small day; `wall_ns` is what differs from replay to replay."""
    for minute, close in ((1, 4500.25), (2, 4501.0)):
        bar = Bar("ESZ4", (minute - 1) * MINUTE, MINUTE, close, close + 1, close - 1, close, 9.0, 3)
        tx.market.add_step(
            MarketStep("ESZ4", minute * MINUTE, bar, (), Price(Decimal(str(close))), minute * MINUTE - 1)
        )
        floats, none = np.zeros(0), np.zeros((0, 15), dtype=np.int64)
        stamps = np.zeros(0, dtype=np.int64)
        regime = ("noisy", "trending")[minute - 1]
        tx.market.put_state(
            MarketState(
                "ESZ4",
                minute * MINUTE,
                stamps,
                floats,
                floats,
                floats,
                np.zeros((0, 15, 3, 3)),
                none,
                *(np.zeros((0, 51)),) * 3,
                regime,
            )
        )
        tx.ledger.add_equity(
            EquitySample(
                minute * MINUTE, Money(Decimal(100_000 + minute)), Money(ZERO), "ESZ4", ZERO, Price(Decimal(1))
            )
        )
    for due, outcome in ((1, "rest: weekend"), (2, "intents: 1"), (3, None)):
        tx.cycles.open_cycle(Cycle(CycleId(f"C{due}"), due, "done" if outcome else "opened", outcome, 0))
        tx.cycles.add_decision(
            Decision(CycleId(f"C{due}"), "ESZ4", 1, 0.1, None, None, ZERO, None, ZERO, None, ("CODE: why",))
        )
    tx.orders.add(an_order("T1", "C2", OrderState.NEW))
    tx.orders.add(an_order("T2", "C2", OrderState.REJECTED, "POST_ONLY_WOULD_CROSS"))
    tx.orders.add(an_order("T3", "C2", OrderState.DENIED))
    tx.orders.save(replace(an_order("T1", "C2", OrderState.PARTIALLY_FILLED), updated_ns=wall_ns, version=1))
    tx.orders.add_execution(a_fill("E2", 1, Liquidity.TAKER, 20), wall_ns)
    tx.orders.add_execution(a_fill("E1", 3, Liquidity.MAKER, 10), wall_ns)
    tx.orders.add_execution(replace(a_fill("E0", 0, Liquidity.MAKER, 5), exec_type=ExecType.NEW), wall_ns)
    postings = (
        Posting("SIM/E1", 0, Account.CASH, None, Money(Decimal("-0.30")), ZERO, 10),
        Posting("SIM/E1", 1, Account.FEES, "ESZ4", Money(Decimal("0.3")), ZERO, 10),
    )
    tx.ledger.post(Entry("SIM/E1", Kind.TRADE, Strategy.COHORT, "USD", 10, postings))
    fee = Money(Decimal("0.1"))
    for symbol in ("ESZ4", "AAPL"):
        tx.ledger.save_position(Position(symbol, Quantity(Decimal(4)), Money(ZERO), Money(ZERO), fee, wall_ns))
    tx.cohort.put_epoch(Epoch(1, 1, 9, "take_profit", "100000"))
    tx.cohort.put_epoch(Epoch(2, 9, None, None, None))
    for number in (10, 9, 8):
        parent = RunId("R1-8") if number == 10 else None
        tx.cohort.add_runs([RunRecord(RunId(f"R1-{number}"), 1, 0, "ESZ4", parent, 1, "{}")])
    tx.cohort.end_runs([RunEnd(RunId(f"R1-{n}"), 9, ExitReason.EPOCH, n / 4, 5, 1) for n in (9, 10)])
    for number in range(3):
        tx.control.add_event("alarm" if number else "start", str(number), {"b": "2", "a": "1"}, number)
    tx.control.beat(ProcessBeat("w1", 1, wall_ns, 40, 1))
    tx.control.beat(ProcessBeat("w2", 2, wall_ns, 2, 1))


@pytest.fixture
def day(database: SqlDatabase) -> SqlDatabase:
    """Give a database with a small day in it."""
    with database.transaction() as tx:
        fill_in(tx, wall_ns=77)
    return database


def test_a_symbol_that_begins_later_holds_nothing_before(day: SqlDatabase) -> None:
    """The curve has each instant once; a position stands beside it, and the mark is the symbol's own last price."""
    zero = Money(ZERO)
    with day.transaction() as tx:
        tx.ledger.add_equity(
            EquitySample(2 * MINUTE, Money(Decimal(100_002)), zero, "AAPL", Quantity(Decimal(3)), Price(Decimal(7)))
        )
    with day.snapshot() as unit:
        curve = reading.equity_curve(unit)
        assert curve.equity.tolist() == [100_001.0, 100_002.0]
        assert reading.held(unit, "AAPL", curve.at_ns).tolist() == [0.0, 3.0]
        assert reading.held(unit, "MSFT", curve.at_ns).tolist() == [0.0, 0.0]
        assert (reading.mark(unit, "AAPL"), reading.mark(unit, "MSFT")) == (Decimal(7), None)


def test_a_fill_that_was_taken_back_is_none_and_a_corrected_one_is_what_it_was_corrected_to(day: SqlDatabase) -> None:
    """Of three and one, the three become two and the one is busted; the same ExecID at another venue is another's."""
    undo = replace(a_fill("E3", 2, Liquidity.MAKER, 30), exec_type=ExecType.TRADE_CORRECT, ref_exec_id="E1")
    bust = replace(a_fill("E4", 0, Liquidity.MAKER, 40), exec_type=ExecType.TRADE_CANCEL, ref_exec_id="E2")
    with day.transaction() as tx:
        for report in (replace(bust, venue="OTHER"), undo):
            tx.orders.add_execution(report, 77)
        assert [fill.qty for fill in reading.fills(tx)] == [1, 2]
        tx.orders.add_execution(bust, 77)
        assert [fill.qty for fill in reading.fills(tx)] == [2]
        assert reading.maker_share(tx) == 1


def test_the_tracks_are_arrays_in_order_of_time(day: SqlDatabase) -> None:
    """Equity, prices and regimes, each with its instants."""
    with day.snapshot() as unit:
        equity = reading.equity_curve(unit)
        prices = reading.price_track(unit, "ESZ4")
        regimes = reading.regime_track(unit, "ESZ4")
        assert len(reading.price_track(unit, "AAPL").at_ns) == 0
    assert equity.at_ns.tolist() == prices.at_ns.tolist() == regimes.at_ns.tolist() == [MINUTE, 2 * MINUTE]
    assert equity.at_ns.dtype == np.int64
    assert equity.equity.dtype == np.float64
    assert equity.equity.tolist() == [100_001.0, 100_002.0]
    assert (prices.low[0], prices.high[0], prices.close[0]) == (4499.25, 4501.25, 4500.25)
    assert regimes.regime == ("noisy", "trending")


def test_fills_are_trades_in_order_of_time(day: SqlDatabase) -> None:
    """Acknowledgements are none; the maker's share is by quantity, and nothing filled has no share."""
    with day.snapshot() as unit:
        fills = reading.fills(unit)
        assert [(fill.at_ns, fill.qty, fill.liquidity) for fill in fills] == [
            (10, Decimal(3), Liquidity.MAKER),
            (20, Decimal(1), Liquidity.TAKER),
        ]
        assert reading.maker_share(unit) == Decimal("0.75")
        assert reading.fees(unit) == Decimal("0.2")


def test_cycles_orders_and_rejects_are_counted(day: SqlDatabase) -> None:
    """Each cycle with its outcome and its orders; each reason once."""
    with day.snapshot() as unit:
        assert [(row.at_ns, row.kind, row.orders) for row in reading.cycle_rows(unit)] == [
            (1, "rest", 0),
            (2, "orders", 3),
            (3, "unfinished", 0),
        ]
        assert reading.orders_by_state(unit) == {
            OrderState.PARTIALLY_FILLED: 1,
            OrderState.REJECTED: 1,
            OrderState.DENIED: 1,
        }
        assert reading.rejects(unit) == {"POST_ONLY_WOULD_CROSS": 1, "no reason given": 1}
        assert [order.cl_ord_id for order in reading.working_orders(unit)] == ["T1"]
        assert [decision.cycle_id for decision in reading.decisions(unit)] == ["C1", "C2", "C3"]


def test_runs_and_epochs_tell_what_was_earned(day: SqlDatabase) -> None:
    """Runs in order of draw, those alive without an end; epochs with the P&L of their own runs."""
    with day.snapshot() as unit:
        runs = reading.runs(unit)
        first, second = reading.epoch_rows(unit)
    assert [(run.run_id, run.parent, run.pnl) for run in runs] == [
        ("R1-8", None, None),
        ("R1-9", None, 2.25),
        ("R1-10", "R1-8", 2.5),
    ]
    assert (first.born, first.ended, first.best_pnl, first.median_pnl) == (3, 2, 2.5, 2.375)
    assert first.baseline == Decimal(100_000)
    assert (second.born, second.ended, second.best_pnl, second.closed_ns) == (0, 0, None, None)


def test_events_are_the_newest_oldest_first(day: SqlDatabase) -> None:
    """With their details as one line; kinds and tasks are counted over all."""
    with day.snapshot() as unit:
        assert [(row.subject, row.text) for row in reading.events(unit, 2)] == [("1", "a=1 b=2"), ("2", "a=1 b=2")]
        assert reading.event_counts(unit) == {"alarm": 2, "start": 1}
        assert reading.tasks_done(unit) == 42


def test_an_empty_database_can_be_read(database: SqlDatabase) -> None:
    """Nothing has happened yet is not an error."""
    with database.snapshot() as unit:
        assert len(reading.equity_curve(unit).at_ns) == 0
        assert reading.maker_share(unit) is None
        assert reading.fees(unit) == 0
        assert reading.tasks_done(unit) == 0
        assert [len(rows(unit)) for rows in (reading.epoch_rows, reading.cycle_rows, reading.fills)] == [0, 0, 0]
    assert set(reading.history(database)) == {"decisions", "orders", "executions", "postings", "positions"}


def test_two_replays_have_one_history(tmp_path: Path, day: SqlDatabase) -> None:
    """Wall-clock instants, pids and versions do not count, nor which server held the rows; one other digit does."""
    url = f"sqlite:///{tmp_path / 'again.sqlite3'}"
    create(url)
    again = open_database(url)
    with again.transaction() as tx:
        fill_in(tx, wall_ns=99)
    first = reading.history(day)
    assert {name: len(rows) for name, rows in first.items()} == {
        "decisions": 3,
        "orders": 3,
        "executions": 3,
        "postings": 2,
        "positions": 2,
    }
    assert first == reading.history(again)
    assert all(isinstance(value, str) for rows in first.values() for row in rows for value in row)
    with again.transaction() as tx:
        tx.ledger.save_position(replace(Position.flat("ESZ4"), qty=Quantity(Decimal("4.000000000001"))))
    assert first != reading.history(again)
    again.close()
