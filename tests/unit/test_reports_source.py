"""The report as read from a real database, and `trisagion report` on a run's directory."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from init import create
from tests.databases import lay_out_run
from trisagion.adapters.db.engine import SqlDatabase, Unit, open_database
from trisagion.adapters.db.report_source import collect
from trisagion.cli.report import command
from trisagion.clock import MINUTE_NS
from trisagion.cohort.state import to_bytes
from trisagion.cohort.supervise import CohortRules, first_shards
from trisagion.cohort.types import Epoch, ExitReason, RunEnd, ShardMark, ShardRow
from trisagion.errors import StateError
from trisagion.ids import CycleId, IntentKey, cl_ord_id, cycle_id, intent_key
from trisagion.ledger.postings import book_fill, opening
from trisagion.ledger.types import Account, EquitySample
from trisagion.market.instruments import ES
from trisagion.market.types import Bar, MarketState, MarketStep
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side
from trisagion.ports import Cycle, Decision, ProcessBeat, Replay
from trisagion.reports.checks import check
from trisagion.reports.metrics import measure
from trisagion.units import Money, Price, Quantity

START_NS = 1_378_072_800 * 1_000_000_000
MINUTES = 40
RUNS = 12
CAPITAL = Money(Decimal(1_000_000))
RULES = CohortRules(desired_runs=RUNS, shards=2)
REPLAY = Replay("es", "ab" * 32, 3, "cd" * 32, START_NS, START_NS + 60 * MINUTE_NS, START_NS, 0.0, 0, finished=False)


def price_at(minute: int) -> Price:
    """Return the price at the end of a minute: a saw that climbs a tick a minute and falls back each ten."""
    return Price(Decimal(1640) + Decimal("0.25") * (minute % 10))


def add_minute(tx: Unit, minute: int) -> None:
    """Record one minute of market, and the account marked at its end."""
    at_ns, px = START_NS + minute * MINUTE_NS, price_at(minute)
    bar = Bar("ES", at_ns - MINUTE_NS, MINUTE_NS, float(px), float(px) + 0.5, float(px) - 0.5, float(px), 10.0, 5)
    tx.market.add_step(MarketStep("ES", at_ns, bar, ((at_ns, float(px)),), px, at_ns - 1))
    one = np.ones(1)
    tx.market.put_state(
        MarketState(
            "ES",
            at_ns,
            np.array([at_ns]),
            one,
            one,
            one,
            np.ones((1, 15, 3, 3)),
            np.ones((1, 15), dtype=np.int64),
            *(np.ones((1, 51)),) * 3,
            "trending" if minute > 20 else "noisy",
        )
    )
    position = tx.ledger.position("ES")
    cash = Money(tx.ledger.balance(Account.CASH))
    worth = Money(cash + position.qty * px * ES.multiplier)
    tx.ledger.add_equity(EquitySample(at_ns, worth, cash, "ES", position.qty, px))


def add_trade(tx: Unit, minute: int, side: Side, qty: int, number: int) -> None:
    """Record an order of a cycle at a minute, filled within it at its close by a maker's fill."""
    due_ns, at_ns, px = START_NS + (minute - 1) * MINUTE_NS, START_NS + minute * MINUTE_NS - 1_000, price_at(minute)
    cycle = cycle_id(due_ns)
    key = intent_key(cycle, "ES")
    lots = Quantity(Decimal(qty))
    add_cycle(tx, cycle, due_ns, "intents: 1", key)
    order = Order(
        cl_ord_id("A", key, 0),
        key,
        cycle,
        0,
        "ES",
        side,
        lots,
        False,
        OrderState.FILLED,
        due_ns,
        at_ns,
        price=px,
        cum_qty=lots,
        avg_px=px,
    )
    tx.orders.add(order)
    fee = Money(px * lots * ES.multiplier * ES.fee_rate)
    report = ExecutionReport(
        "SIM",
        f"E{number}",
        order.cl_ord_id,
        f"O{number}",
        ExecType.TRADE,
        OrderState.FILLED,
        "ES",
        side,
        lots,
        px,
        lots,
        Quantity(Decimal(0)),
        px,
        fee,
        Liquidity.MAKER,
        None,
        False,
        at_ns,
    )
    tx.orders.add_execution(report, at_ns)
    postings, position = book_fill(tx.ledger.position("ES"), report, ES)
    tx.ledger.post(postings)
    tx.ledger.save_position(position)


def add_cycle(tx: Unit, cycle: CycleId, due_ns: int, outcome: str, intent: IntentKey | None) -> None:
    """Record a finished cycle and its decision."""
    tx.cycles.open_cycle(Cycle(cycle, due_ns, "done", outcome, 0))
    zero = Quantity(Decimal(0))
    reasons = ("SELECTION_KELLY: now=0.5", f"INTENT_MADE: due={due_ns}")
    tx.cycles.add_decision(Decision(cycle, "ES", 1, 2.0, None, None, zero, zero, zero, intent, reasons))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqlDatabase]:
    """Open a database in which a cohort was founded, forty minutes went by, and two orders were filled."""
    url = f"sqlite:///{tmp_path / 'trisagion.sqlite3'}"
    create(url)
    opened = open_database(url)
    founded = first_shards(RULES, [ES], epoch=1, seed=3, next_number=0, now_ns=START_NS)
    with opened.transaction() as tx:
        tx.market.add_instrument(ES)
        tx.ledger.post(opening(CAPITAL, START_NS, "USD"))
        tx.cohort.put_epoch(Epoch(1, START_NS, None, None, "1000000"))
        tx.cohort.add_runs(founded.born)
        for shard in founded.shards:
            state = shard.state.copy()
            state["live_pnl"], state["trades"] = 0.5, 4
            moved = replace(shard, state=state)
            tx.cohort.add_shard(ShardRow(shard.number, 1, START_NS, 0, to_bytes(moved)))
        tx.cohort.end_runs([RunEnd(founded.born[0].run_id, START_NS + MINUTE_NS, ExitReason.APR_TARGET, 7.5, 9, 2)])
        add_cycle(tx, cycle_id(START_NS), START_NS, "rest: weekend", None)
        for minute in range(1, MINUTES + 1):
            if minute == 12:
                add_trade(tx, minute, Side.BUY, 3, 1)
            if minute == 28:
                add_trade(tx, minute, Side.SELL, 1, 2)
            add_minute(tx, minute)
        tx.control.add_event("order.denied", "T1", {"reason": "QUOTE_STALE"}, START_NS)
        tx.control.beat(ProcessBeat("desk", 1, 0, 300, 1))
        tx.control.beat(ProcessBeat("cohort1", 2, 0, 40, 1))
        tx.control.put_replay(replace(REPLAY, now_ns=START_NS + MINUTES * MINUTE_NS))
    yield opened
    opened.close()


def test_the_report_is_what_the_database_holds(database: SqlDatabase) -> None:
    """Account, curves, fills, cycles, orders, reasons, events and work come back as they were written."""
    report = collect(database, wall_s=2.5)
    assert report.account.start_equity == CAPITAL
    (market,) = report.markets
    assert market.qty == 2
    assert len(report.equity.at_ns) == len(market.prices.at_ns) == len(market.regimes.at_ns) == MINUTES
    assert [(fill.side, Decimal(fill.qty), fill.px) for fill in report.fills] == [
        (Side.BUY, Decimal(3), price_at(12)),
        (Side.SELL, Decimal(1), price_at(28)),
    ]
    assert [cycle.kind for cycle in report.cycles] == ["rest", "orders", "orders"]
    assert report.orders == {"filled": 2}
    assert report.reasons == {"INTENT_MADE": 3, "SELECTION_KELLY": 3}
    assert report.event_counts == {"order.denied": 1}
    assert (report.tasks, report.wall_s) == (340, 2.5)
    assert not report.provenance.finished


def test_the_books_of_the_database_pass_every_check(database: SqlDatabase) -> None:
    """Postings, executions and the position row are three sources, and they agree to the last digit."""
    report = collect(database)
    assert [item.claim for item in check(report, measure(report)) if not item.ok] == []


def test_ended_and_living_runs_are_told_on_one_scale(database: SqlDatabase) -> None:
    """An ended run is told by its end, a living one by its checkpoint; both as multiples of the start balance."""
    cohort = collect(database).cohort
    assert len(cohort.profit) == RUNS
    assert cohort.alive.tolist() == [False] + [True] * (RUNS - 1)
    assert np.allclose(cohort.fees, cohort.turnover * 2 * RULES.fee_rate, rtol=1e-12)
    assert cohort.profit.tolist() == [7.5 / RULES.start_balance] + [0.5 / RULES.start_balance] * (RUNS - 1)
    # 0.032732855/3 · (1.618 … 3.236)/1000 / 5 of the start balance is traded each time (domain, section 3).
    per_trade = cohort.turnover / np.array([2] + [4] * (RUNS - 1))
    assert np.all((per_trade >= 0.032732855 / 3 * 1.618e-3 / 5) & (per_trade <= 0.032732855 / 3 * 3.236e-3 / 5))


def test_runs_are_told_with_their_epoch_their_birth_and_their_marks(database: SqlDatabase) -> None:
    """What the evidence is computed from comes as it was written."""
    with database.transaction() as tx:
        tx.cohort.add_mark(ShardMark(START_NS, 0, np.array([0, 2]), np.array([0.5, -0.25])))
    report = collect(database)
    assert report.cohort.epoch.tolist() == [1] * RUNS
    assert report.cohort.born_ns.tolist() == [START_NS] * RUNS
    assert [(mark.runs.tolist(), mark.pnl.tolist()) for mark in report.marks] == [([0, 2], [0.5, -0.25])]


def test_a_fill_after_the_last_mark_is_in_the_account(database: SqlDatabase) -> None:
    """The account is the ledger's now, at the latest sampled price, so that a running replay does not look wrong."""
    with database.transaction() as tx:
        add_trade(tx, MINUTES, Side.SELL, 2, 3)
    report = collect(database)
    assert report.markets[0].qty == 0
    assert report.markets[0].held[-1] == 2
    assert [item.claim for item in check(report, measure(report)) if not item.ok] == []


def test_a_database_without_a_replay_is_a_sentence(tmp_path: Path) -> None:
    """It says what is missing and which command makes it."""
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    create(url)
    database = open_database(url)
    with pytest.raises(StateError, match="trisagion run"):
        collect(database)
    database.close()


@pytest.fixture
def state(database: SqlDatabase, tmp_path: Path) -> Path:
    """Lay the database out as the newest run of a state directory."""
    lay_out_run(tmp_path, str(database.engine.url))
    return tmp_path


def test_the_command_writes_the_page_and_prints_the_summary(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page lies in the run's directory, and the summary's last line says where."""
    command(state=state)
    page = state / "runs" / "one" / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out.splitlines()[-1] == f"report    {page.resolve()}"


def test_the_command_for_machines_prints_one_object(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON has the summary's keys, and where the page is."""
    out = state / "elsewhere.html"
    command(state=state, run="one", out=out, as_json=True)
    value = json.loads(capsys.readouterr().out)
    assert value["report"] == str(out.resolve())
    assert value["account"]["qty"] == "2"
    assert out.exists()


@pytest.mark.parametrize(("run", "out", "said"), [("two", None, "one"), (None, "no/such/x.html", "--out")])
def test_a_wrong_run_or_place_is_a_sentence_with_what_to_do(
    state: Path, run: str | None, out: str | None, said: str
) -> None:
    """An unknown run names those there are; an impossible place names the option."""
    with pytest.raises(StateError, match=said):
        command(state=state, run=run, out=None if out is None else state / out)
