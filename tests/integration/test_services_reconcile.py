"""`services.reconcile`: one cycle from the votes to the outbox, through every stage, and every repeat harmless."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import (
    BOOK_RULES,
    CYCLE_RULES,
    LIMITS,
    SATURDAY_NS,
    TUESDAY_NS,
    Desk,
    an_intended_order,
    qty,
    said,
    voting,
    words,
)
from tests.integration.beside import meanwhile
from trisagion.adapters.db import retrying
from trisagion.adapters.db.orders import Orders
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.cohort.types import Epoch, ExitReason, RunEnd, RunRecord
from trisagion.ids import cl_ord_id, cycle_id, intent_key, run_id
from trisagion.orders.intents import ReconcileRules
from trisagion.orders.rejects import Reject
from trisagion.orders.state import AT_VENUE, LIVE, OrderState
from trisagion.orders.types import ExecType, Order, Side
from trisagion.ports import Cycle, Decision, TakeProfitStep
from trisagion.safety.modes import Mode
from trisagion.services.book_fills import book
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import CycleRules, cycle

_S = OrderState
DUE = TUESDAY_NS
LOOKED_AT = ["JUDGED_UNDER", "QUOTE", "VOTES_LEFT_OUT", "WITNESSES", "ACCOUNT"]
"""What a decision is made on, before what follows from it."""
TWENTY = (20,)
"""Twenty votes to buy want 20 · 100,000,000 · 0.0016180339887 / 4 / 200,000 = 4.04 contracts."""


def prepared(desk: Desk, *directions: int, due_ns: int = DUE, pnl: float = 1.0, seen: int | None = None) -> Desk:
    """Bring price, cohort, account and the venue's word to an instant."""
    desk.quote(due_ns)
    desk.enter(voting(due_ns, *directions, pnl=pnl), at_ns=due_ns)
    desk.mark(due_ns)
    desk.observe(due_ns, seen=seen)
    return desk


def run(desk: Desk, due_ns: int = DUE, rules: CycleRules = CYCLE_RULES) -> tuple[Outcome, ...]:
    """Move the cycle, then once more: the second time nothing moves, and the same is said."""
    outcomes = cycle(desk.database, rules, "tester", due_ns)
    before = desk.everything()
    assert cycle(desk.database, rules, "tester", due_ns) == outcomes
    assert desk.everything() == before
    return outcomes


def stage(desk: Desk, due_ns: int = DUE) -> str | None:
    """Return the stage of a cycle."""
    with desk.database.snapshot() as tx:
        found = tx.cycles.cycle(cycle_id(due_ns))
    return found.stage if found else None


def decision(desk: Desk) -> Decision:
    """Return the newest decision."""
    with desk.database.snapshot() as tx:
        [newest] = tx.cycles.last_decisions("ES", 1)
    return newest


def codes(desk: Desk) -> list[str]:
    """Return the codes of the newest decision's reasons."""
    return [reason.partition(":")[0] for reason in decision(desk).reasons]


def test_a_cycle_turns_votes_into_one_approved_order(desk: Desk) -> None:
    """With its decision, its reasons and a name that a replay makes again."""
    prepared(desk, *TWENTY)
    name = cl_ord_id("SIM-1", intent_key(cycle_id(DUE), "ES"), 0)
    assert run(desk) == (Outcome("decided", (name,)), Outcome("closing", (str(DUE),)))
    [order] = desk.orders()
    assert order == replace(an_intended_order(DUE, _S.RISK_CHECKED), side=Side.BUY, qty=qty(4))
    assert (decision(desk).direction, decision(desk).delta, decision(desk).actual) == (20, qty(4), qty(0))
    assert codes(desk) == [*LOOKED_AT, "VOTES_COUNTED", "KELLY_PROBATION"]
    assert decision(desk).reasons[1:5] == (
        f"QUOTE: bid=3999.75 ask=4000.25 last=4000 happened_ns={DUE - 1} learned_ns={DUE}",
        "VOTES_LEFT_OUT: exiting=0 stale=0 flat=0 poor=0",
        "WITNESSES: ledger=0 venue=0",
        "ACCOUNT: equity=100000000 margin_share=1",
    )


@pytest.mark.parametrize(
    ("directions", "pnl", "held", "side", "number", "code"),
    [
        ((20,), 1.0, 0, Side.BUY, 4, "VOTES_COUNTED"),
        ((-20,), 1.0, 0, Side.SELL, 4, "VOTES_COUNTED"),
        ((15, 5), 1.0, 1, Side.BUY, 3, "VOTES_COUNTED"),
        ((20,), 1.0, 9, Side.SELL, 4, "VOTES_COUNTED"),
        ((20,), 1.0, -9, Side.BUY, 13, "VOTES_COUNTED"),
        ((20,), 1.0, 4, None, 0, "DELTA_BELOW_LOT"),
        ((1,), 1.0, 0, None, 0, "DELTA_BELOW_LOT"),
        ((20,), 0.1, 5, Side.SELL, 5, "VOTES_NO_WINNERS"),
        ((20,), 0.1, 0, None, 0, "VOTES_NO_WINNERS"),
        ((20, -20), 1.0, 5, Side.SELL, 5, "VOTES_UNDECIDED"),
        ((400,), 1.0, 0, Side.BUY, 49, "VOTES_COUNTED"),
        ((600,), 1.0, 70, Side.BUY, 29, "VOTES_COUNTED"),
        ((-400,), 1.0, 70, Side.SELL, 49, "VOTES_COUNTED"),
    ],
)
def test_the_order_moves_the_position_to_what_is_desired(
    *, desk: Desk, directions: tuple[int, ...], pnl: float, held: int, side: Side | None, number: int, code: str
) -> None:
    """No winners: flat. No difference: no order. A large change goes in stages, within order and position limits."""
    if held:
        desk.hold(held)
    prepared(desk, *directions, pnl=pnl)
    run(desk)
    assert [(order.side, order.qty) for order in desk.orders()] == ([(side, qty(number))] if side else [])
    assert code in codes(desk)
    assert ("STAGED" in codes(desk)) == (number in {49, 29})


def test_stale_votes_ask_for_nothing(desk: Desk) -> None:
    """Runs that were not updated lately know nothing: the position stays, that is not "be flat"."""
    desk.hold(5)
    prepared(desk)
    desk.enter(voting(DUE, 20, updated_ns=DUE - 601 * SECOND_NS), at_ns=DUE)
    run(desk)
    assert desk.orders() == []
    assert codes(desk) == [*LOOKED_AT, "VOTES_STALE", "DESIRED_UNKNOWN"]


@pytest.mark.parametrize(
    ("equity_ns", "shards_ns"),
    [(None, [DUE, DUE]), (DUE - MINUTE_NS, [DUE, DUE]), (DUE + MINUTE_NS, [DUE, DUE]), (DUE, [DUE, DUE - MINUTE_NS])],
)
def test_a_cycle_waits_until_account_and_cohort_are_as_of_its_instant(
    desk: Desk, equity_ns: int | None, shards_ns: list[int]
) -> None:
    """It opens nothing before, and never when its minute is over."""
    desk.quote(DUE - MINUTE_NS)
    desk.quote(DUE + MINUTE_NS)
    desk.observe(DUE)
    for number, at_ns in enumerate(shards_ns):
        desk.enter(replace(voting(DUE, *TWENTY), number=number), at_ns=at_ns)
    if equity_ns is not None:
        desk.mark(equity_ns)
    assert run(desk) == (Outcome("waiting"),)
    assert stage(desk) is None
    assert desk.orders() == []


def test_a_cycle_at_rest_is_closed_without_a_decision(desk: Desk) -> None:
    """Positions rest too, even when everything is to be flattened; working orders are withdrawn before."""
    at_ns = SATURDAY_NS
    desk.hold(5)
    desk.switch(Mode.EMERGENCY)
    desk.put(an_intended_order(at_ns - MINUTE_NS, _S.NEW))
    prepared(desk, *TWENTY, due_ns=at_ns)
    assert words(run(desk, at_ns)) == ["cancelling"]
    [working] = desk.orders()
    with desk.database.transaction() as tx:
        tx.orders.save(replace(working, state=_S.CANCELED, version=working.version + 1))
    assert words(run(desk, at_ns)) == ["decided", "closing"]
    with desk.database.snapshot() as tx:
        found = tx.cycles.cycle(cycle_id(at_ns))
        assert found is not None and found.outcome == "rest: weekend"
        assert tx.cycles.last_decisions("ES", 1) == []


def test_the_last_minute_before_a_rest_withdraws_without_waiting_for_the_cohort(desk: Desk) -> None:
    """It lies between two slots, the only checkpoints of the cohort; the minute before it has to wait."""
    rest_ns, rules = SATURDAY_NS - 15 * HOUR_NS, replace(CYCLE_RULES, interval_ns=10 * MINUTE_NS)
    slot_ns = rest_ns - rules.interval_ns
    desk.put(an_intended_order(slot_ns, _S.NEW))
    desk.enter(voting(slot_ns, *TWENTY), at_ns=slot_ns)
    for minutes_left, expected in ((2, ["waiting"]), (1, ["cancelling"])):
        due_ns = rest_ns - minutes_left * MINUTE_NS
        desk.quote(due_ns)
        desk.mark(due_ns)
        assert words(run(desk, due_ns, rules)) == expected


def test_a_cycle_cancels_then_looks_then_decides(desk: Desk) -> None:
    """Three stages, each left only when what it waits for is there; a repeat in each changes nothing."""
    prepared(desk, *TWENTY)
    desk.put(an_intended_order(DUE - MINUTE_NS, _S.NEW, side=Side.BUY))
    with desk.database.transaction() as tx:
        tx.session.connection.exec_driver_sql("DELETE FROM observation")
    assert run(desk) == (Outcome("cancelling", ("SIM",)),)
    assert stage(desk) == "cancelling"
    [older] = desk.orders()
    assert older.cancel_reason == "superseded"
    with desk.database.transaction() as tx:
        tx.orders.save(replace(older, state=_S.CANCELED, version=older.version + 1))
    assert run(desk) == (Outcome("observing", ("SIM",)),)
    desk.observe(DUE - 1)
    assert words(run(desk)) == ["observing"]
    desk.observe(DUE)
    assert words(run(desk)) == ["decided", "closing"]
    assert len(desk.orders()) == 2
    with desk.database.transaction() as tx:
        now = tx.cycles.cycle(cycle_id(DUE))
        assert now is not None
        tx.cycles.save_cycle(replace(now, stage="done", version=now.version + 1))
    assert words(run(desk)) == ["decided", "done"]


@pytest.mark.parametrize("state", sorted(set(OrderState)))
def test_orders_of_an_earlier_cycle_are_withdrawn_first(desk: Desk, state: OrderState) -> None:
    """What the venue may know is cancelled and waited for; what it cannot know is denied; what has ended stays."""
    prepared(desk, *TWENTY)
    earlier = an_intended_order(DUE - MINUTE_NS, state, side=Side.BUY)
    desk.put(earlier)
    outcomes = run(desk)
    after = desk.order(earlier.cl_ord_id)
    if state in AT_VENUE:
        assert words(outcomes) == ["cancelling"]
        assert (after.state, after.cancel_reason) == (state, "superseded")
    else:
        assert words(outcomes) == ["decided", "closing"]
        assert after.state is (_S.DENIED if state in LIVE else state)
        assert after.reason == ("superseded" if state in LIVE else None)


def test_an_earlier_reason_to_cancel_stays(desk: Desk) -> None:
    """Who withdrew it first is who withdrew it."""
    prepared(desk, *TWENTY)
    desk.put(an_intended_order(DUE - MINUTE_NS, _S.NEW, cancel_reason="mode pause"))
    run(desk)
    assert desk.orders()[0].cancel_reason == "mode pause"


def test_a_later_cycle_abandons_the_unfinished_one_before(desk: Desk) -> None:
    """It is done with a reason and an event; one that has decided is left to be closed, a later one is left alone."""
    with desk.database.transaction() as tx:
        for minutes, begun in ((-3, "cancelling"), (-2, "observing"), (-1, "decided"), (1, "observing")):
            due = DUE + minutes * MINUTE_NS
            tx.cycles.open_cycle(Cycle(cycle_id(due), due, begun, None, 0))
    prepared(desk, *TWENTY)
    run(desk)
    stages = [stage(desk, DUE + minutes * MINUTE_NS) for minutes in (-3, -2, -1, 0, 1)]
    assert stages == ["done", "done", "decided", "decided", "observing"]
    assert len(desk.events("cycle.abandoned")) == 2


def test_without_consensus_nothing_is_ordered_and_the_third_time_is_an_alert(desk: Desk) -> None:
    """Each cycle says so in the log; a cycle with consensus begins the count anew."""
    kinds: list[list[str]] = []
    heard = 0
    for turn, seen in enumerate((3, 3, None, 3, 3, 3, 3)):
        due_ns = DUE + turn * 10 * MINUTE_NS
        prepared(desk, 1, due_ns=due_ns, seen=seen)
        cycle(desk.database, CYCLE_RULES, "tester", due_ns)
        events = [event.split()[0] for event in desk.events("consensus")]
        kinds.append(events[heard:])
        heard = len(events)
        assert (decision(desk).actual is None) == (seen is not None)
        assert "OBSERVER_DISAGREES" in codes(desk) or seen is None
    missing, alert = ["consensus.missing"], ["consensus.alert"]
    assert kinds == [missing, missing, [], missing, missing, alert, alert]
    assert desk.orders() == []


def test_a_ledger_that_nobody_confirmed_lately_is_not_traded_on(desk: Desk) -> None:
    """The venue's word is fresh, but something was in doubt when it came."""
    prepared(desk, *TWENTY)
    with desk.database.transaction() as tx:
        tx.ledger.save_position(replace(tx.ledger.position("ES"), confirmed_ns=DUE - 61 * SECOND_NS))
    run(desk)
    assert desk.orders() == []
    assert "LEDGER_STALE" in codes(desk)


@pytest.mark.parametrize("observers", [("drop_copy",), ("venue", "drop_copy")])
def test_a_silent_observer_costs_the_quorum(desk: Desk, observers: tuple[str, ...]) -> None:
    """Only the venue can be asked and waited for; the others' silence is no consensus."""
    prepared(desk, *TWENTY)
    witnesses = ReconcileRules(observers=observers, quorum=len(observers))
    assert words(run(desk, rules=replace(CYCLE_RULES, reconcile=witnesses))) == ["decided", "closing"]
    assert desk.orders() == []
    assert {"OBSERVER_SILENT", "QUORUM_MISSED"} <= set(codes(desk))


@pytest.mark.parametrize(
    ("mode", "held", "orders"),
    [
        (Mode.NORMAL, 0, [(Side.BUY, 4, False)]),
        (Mode.REDUCE, 0, []),
        (Mode.REDUCE, 3, []),
        (Mode.REDUCE, 9, [(Side.SELL, 2, False)]),
        (Mode.REDUCE, 6, [(Side.SELL, 1, False)]),
        (Mode.REDUCE, -1, [(Side.BUY, 1, False)]),
        (Mode.REDUCE, -9, [(Side.BUY, 2, False)]),
        (Mode.PAUSE, 0, []),
        (Mode.PAUSE, 9, []),
        (Mode.EMERGENCY, 0, []),
        (Mode.EMERGENCY, 9, [(Side.SELL, 9, True)]),
        (Mode.EMERGENCY, -9, [(Side.BUY, 9, True)]),
        (Mode.EMERGENCY, 60, [(Side.SELL, 49, True)]),
    ],
)
def test_a_cycle_obeys_the_control_mode(desk: Desk, mode: Mode, held: int, orders: list[Any]) -> None:
    """PAUSE orders nothing, REDUCE a quarter less at most; EMERGENCY flattens by taking, in stages, each an event."""
    if held:
        desk.hold(held)
    desk.switch(mode)
    prepared(desk, *TWENTY)
    run(desk)
    assert [(order.side, order.qty, order.taker) for order in desk.orders()] == orders
    assert len(desk.events("order.taker")) == sum(taker for *_, taker in orders)
    assert ("MODE_FORBIDS" in codes(desk)) == (mode is Mode.PAUSE)
    assert ("REDUCED" in codes(desk)) == (mode is Mode.REDUCE)


@pytest.mark.parametrize("mode", [Mode.NORMAL, Mode.EMERGENCY])
def test_flattening_knows_no_churn(desk: Desk, mode: Mode) -> None:
    """A residue worth less than the least notional is sold too, and the cohort need not have come to this minute."""
    desk.hold(1)
    desk.switch(mode)
    desk.quote(DUE)
    desk.enter(voting(DUE - MINUTE_NS, *TWENTY), at_ns=DUE - MINUTE_NS)
    desk.mark(DUE)
    desk.observe(DUE)
    with desk.database.transaction() as tx:
        tx.ledger.add_step(TakeProfitStep(1, "Detected", DUE - 1))
    churn = replace(CYCLE_RULES.reconcile, min_trade_notional=Decimal(1_000_000))
    run(desk, rules=replace(CYCLE_RULES, reconcile=churn))
    assert [(order.side, order.qty, order.taker) for order in desk.orders()] == [
        (Side.SELL, qty(1), mode is Mode.EMERGENCY)
    ]
    assert codes(desk)[-1] == "FLATTEN"


def test_churn_is_left_alone(desk: Desk) -> None:
    """A change worth less than the least notional is no order."""
    prepared(desk, *TWENTY)
    churn = replace(CYCLE_RULES.reconcile, min_trade_notional=Decimal(1_000_000))
    run(desk, rules=replace(CYCLE_RULES, reconcile=churn))
    assert desk.orders() == []
    assert "NOTIONAL_BELOW_MIN" in codes(desk)


def test_a_refusal_of_the_risk_controls_is_a_reason_and_no_order(desk: Desk) -> None:
    """Limits that forbid everything, say."""
    prepared(desk, *TWENTY)
    run(desk, rules=replace(CYCLE_RULES, limits=replace(LIMITS, orders_max=0)))
    assert desk.orders() == []
    assert codes(desk)[-1] == "TOO_MANY_ORDERS"


def test_an_old_quote_is_not_traded_on(desk: Desk) -> None:
    """Everything else is as of the cycle's instant, but nothing traded for two minutes."""
    with desk.database.transaction() as tx:
        tx.session.connection.exec_driver_sql("DELETE FROM market_step")
    desk.quote(DUE - 2 * MINUTE_NS)
    desk.enter(voting(DUE, *TWENTY), at_ns=DUE)
    desk.mark(DUE)
    desk.observe(DUE)
    run(desk)
    assert desk.orders() == []
    assert codes(desk)[-1] == "QUOTE_STALE"


def test_a_record_on_both_sides_lifts_probation(desk: Desk) -> None:
    """With the Kelly percentages of the cohort and of a past epoch that ended well, the factor is theirs."""
    with desk.database.transaction() as tx:
        tx.cohort.put_epoch(Epoch(0, 1, 2, "take_profit", "1"))
        pnls = [2.0] * 6 + [-1.0] * 4
        runs = [RunRecord(run_id(0, n), 0, 0, "ES", None, 1, "{}") for n in range(10)]
        tx.cohort.add_runs(runs)
        tx.cohort.end_runs(
            [RunEnd(run.run_id, 2, ExitReason.EPOCH, pnl, 1, 1) for run, pnl in zip(runs, pnls, strict=True)]
        )
    shard = voting(DUE, *[4] * 10)
    shard.state["live_pnl"] = [4.0] * 6 + [-1.0] * 4
    prepared(desk, 1)
    desk.enter(shard, at_ns=DUE)
    run(desk)
    assert decision(desk).kelly_past == pytest.approx(0.6 - 0.4 / 2)
    assert decision(desk).kelly_now == pytest.approx(0.6 - 0.4 / 4)
    assert codes(desk)[-1] == "KELLY_FACTOR"
    # 24 votes · 100,000,000 · 0.0016180339887 · (1 + (0.5 − 0.4)/0.4) / 200,000
    assert [order.qty for order in desk.orders()] == [qty(24)]


def test_a_cycle_is_moved_by_one_worker_at_a_time(shared: Desk, colleague: Desk) -> None:
    """While somebody holds the lease, the others are busy, and change nothing."""
    prepared(shared, *TWENTY)
    with colleague.database.transaction() as tx:
        token = tx.control.acquire("reconcile", "colleague", 60.0)
    before = shared.everything()
    assert cycle(shared.database, CYCLE_RULES, "tester", DUE) == (Outcome("busy"),)
    assert shared.everything() == before
    assert token is not None
    with colleague.database.transaction() as tx:
        tx.control.release("reconcile", token)
    assert words(cycle(shared.database, CYCLE_RULES, "tester", DUE)) == ["decided", "closing"]


def test_many_workers_moving_one_cycle_at_once_make_one_order(shared: Desk) -> None:
    """On either server: one decides, the others hear of the same or are busy."""
    prepared(shared, *TWENTY)
    together = threading.Barrier(4)
    said: list[tuple[Outcome, ...]] = []

    def work(number: int) -> None:
        together.wait()
        said.append(retrying(lambda: cycle(shared.database, CYCLE_RULES, f"worker {number}", DUE)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {tuple(words(outcomes)) for outcomes in said} <= {("decided", "closing"), ("busy",)}
    assert len(said) == 4
    assert len(shared.orders()) == 1


def test_a_refusal_that_is_booked_meanwhile_leaves_no_attempt_beside_the_new_order(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session answers it with another attempt at the older intent, just when the older orders are withdrawn."""
    prepared(shared, *TWENTY)
    earlier = an_intended_order(DUE - MINUTE_NS, _S.PENDING_NEW, side=Side.BUY)
    shared.put(earlier)
    refusal = said(earlier, ExecType.REJECTED, reject=Reject.POST_ONLY_WOULD_CROSS, happened_ns=DUE)
    in_states = Orders.in_states
    others: list[threading.Thread] = []

    def refused(orders: Orders, states: frozenset[OrderState]) -> Sequence[Order]:
        found = in_states(orders, states)
        if states is LIVE and not others:
            others.append(meanwhile(lambda: book(colleague.database, BOOK_RULES, refusal)))
        return found

    monkeypatch.setattr(Orders, "in_states", refused)
    cycle(shared.database, CYCLE_RULES, "tester", DUE)
    others[0].join()
    cycle(shared.database, CYCLE_RULES, "tester", DUE)
    assert [order.cycle for order in shared.orders() if order.state in LIVE] == [cycle_id(DUE)]
