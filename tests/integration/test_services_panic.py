"""`services.watch_panic` through what calls it: each condition pauses its own part, until people release it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from tests.builders import (
    CAPITAL,
    COHORT_RULES,
    LIMITS,
    PATIENT,
    SESSION,
    TUESDAY_NS,
    Desk,
    an_intended_order,
    said,
    voting,
    words,
)
from trisagion.adapters.db.why_source import halt_story
from trisagion.clock import HOUR_NS, MILLISECOND_NS, MINUTE_NS, SECOND_NS
from trisagion.ledger.take_profit import TakeProfitRules
from trisagion.market.history import Known
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Order
from trisagion.ports import Replay
from trisagion.reports.why import as_text
from trisagion.reports.why_halt import explain_halt
from trisagion.risk.panic import LOSS_RECORD_MIN, Condition, LossRecord, PanicRules
from trisagion.safety.modes import Control, Level, Mode
from trisagion.services.book_fills import BookRules, book
from trisagion.services.control import in_force, open_gate, release
from trisagion.services.route_orders import route
from trisagion.services.take_profit import WatchRules, watch
from trisagion.services.watch_panic import Panic, between_marks
from trisagion.settings import Settings
from trisagion.units import Price

_S = OrderState
T0 = TUESDAY_NS
PANIC = Panic(PanicRules(), LIMITS.account, SESSION)
TIGHT = replace(LIMITS, same_side_fills_max=3, rejects_max=3)
BOOK = BookRules(LIMITS.account, TIGHT, reprices_max=2, panic=PANIC)
WATCH = WatchRules(TakeProfitRules(), COHORT_RULES, seed=7, losses=PATIENT, panic=PANIC)


def at(minute: float) -> int:
    """Return the instant of a minute."""
    return T0 + int(minute * MINUTE_NS)


def control(desk: Desk, level: Level = Level.SYMBOL, name: str = "ES") -> Control:
    """Return what is in force of one part."""
    with desk.database.snapshot() as tx:
        return in_force(tx, level, name, at(600))


def working(desk: Desk, number: int = 0, state: OrderState = _S.NEW, **changes: Any) -> Order:
    """Put an order to sell three there that works, of an intent of its own."""
    order = an_intended_order(at(10 + number), state, created_ns=T0, updated_ns=T0, **changes)
    desk.put(order)
    return order


def fill(desk: Desk, number: int, price: str = "4000.25", second: float = 0, rules: BookRules = BOOK) -> None:
    """Fill one of an order of its own."""
    order = working(desk, number)
    told = {"last_px": Price(Decimal(price)), "avg_px": Decimal(price), "happened_ns": at(second / 60)}
    assert "booked" in words(book(desk.database, rules, said(order, ExecType.TRADE, f"E{number}", **told)))


def refuse(desk: Desk, number: int, second: float, reject: Reject = Reject.OTHER, rules: BookRules = BOOK) -> None:
    """Refuse an order of its own."""
    order = working(desk, number, _S.PENDING_NEW)
    told = {"happened_ns": at(second / 60), "reject": reject}
    book(desk.database, rules, said(order, ExecType.REJECTED, f"R{number}", **told))


def denied(desk: Desk) -> str:
    """Return why a further order is denied, empty where it is routed."""
    name = an_intended_order(at(500), _S.RISK_CHECKED, created_ns=T0, updated_ns=T0)
    desk.put(name)
    route(desk.database, LIMITS, SESSION, name.cl_ord_id, T0)
    return (desk.order(name.cl_ord_id).reason or "").partition(":")[0]


def test_a_side_that_is_filled_too_often_pauses_its_symbol_until_people_release_it(shared: Desk) -> None:
    """By orders, not by fills, and within a minute; a release counts anew."""
    fill(shared, 1, second=0)
    fill(shared, 2, second=70)
    fill(shared, 3, second=80)
    again = said(shared.order(working(shared, 4).cl_ord_id), ExecType.TRADE, "E4", happened_ns=at(1.4))
    assert control(shared).mode is Mode.NORMAL
    book(shared.database, BOOK, again)
    assert control(shared).reason == "REPEATED: side=sell orders=3 in_s=60"
    assert (control(shared).mode, control(shared).operator) == (Mode.PAUSE, "platform")
    assert len(shared.events("panic.repeated ES")) == 1
    assert denied(shared) == "MODE_FORBIDS"
    release(shared.database, "ann", "the tape is wild, and we are right", at(1.5), Level.SYMBOL, "ES")
    fill(shared, 5, second=95)
    fill(shared, 6, second=96)
    assert control(shared).mode is Mode.NORMAL
    fill(shared, 7, second=97)
    assert control(shared).mode is Mode.PAUSE


def test_many_fills_of_one_order_are_one_order(desk: Desk) -> None:
    """What it may do at most was decided once."""
    order = working(desk, 1, qty=Decimal(9))
    for number in range(5):
        book(desk.database, BOOK, said(desk.order(order.cl_ord_id), ExecType.TRADE, f"P{number}", happened_ns=at(0)))
    assert desk.order(order.cl_ord_id).cum_qty == 5
    assert control(desk).mode is Mode.NORMAL


def test_refusals_in_a_row_shut_the_gate_and_an_opened_one_counts_anew(shared: Desk) -> None:
    """An order that is taken in between ends the row, and so does a minute."""
    refuse(shared, 1, 0)
    refuse(shared, 2, 1)
    taken = working(shared, 3, _S.PENDING_NEW)
    book(shared.database, BOOK, said(taken, ExecType.NEW, "N3", happened_ns=at(0.02)))
    refuse(shared, 4, 2)
    refuse(shared, 5, 3)
    refuse(shared, 6, 63)
    with shared.database.snapshot() as tx:
        assert not tx.control.gate(SESSION).shut
    refuse(shared, 7, 63)
    refuse(shared, 8, 64)
    with shared.database.snapshot() as tx:
        assert tx.control.gate(SESSION).reason == "REJECTS: in_a_row=3 in_s=60"
    open_gate(shared.database, SESSION, "ann", "the venue is itself again", at(1.1))
    refuse(shared, 9, 67)
    refuse(shared, 10, 68)
    with shared.database.snapshot() as tx:
        assert not tx.control.gate(SESSION).shut


def test_refusals_that_a_new_attempt_may_follow_are_not_counted(desk: Desk) -> None:
    """A maker's price that would cross is repriced, within the bounds of its cycle."""
    for number in range(5):
        refuse(desk, number, number, Reject.POST_ONLY_WOULD_CROSS)
    with desk.database.snapshot() as tx:
        assert not tx.control.gate(SESSION).shut


def test_a_fill_far_worse_than_its_decision_pauses_its_symbol(shared: Desk) -> None:
    """Three half-spreads are borne, more are not; a taker of an emergency is."""
    fill(shared, 1, "3999.5")
    shared.hold(-9)
    order = working(shared, 2, taker=True)
    told = {"last_px": Price(Decimal(3900)), "avg_px": Decimal(3900), "happened_ns": T0}
    book(shared.database, BOOK, said(order, ExecType.TRADE, "T2", **told))
    assert control(shared).mode is Mode.NORMAL
    fill(shared, 3, "3999.25")
    assert control(shared).reason.startswith("SLIPPAGE: price=3999.25 decided=4000.25 slip=1 expected=0.25")
    assert len(shared.events("panic.slippage ES")) == 1
    assert control(shared, Level.SYMBOL, "NQ").mode is Mode.NORMAL


def mark(desk: Desk, minute: int, rules: WatchRules = WATCH) -> None:
    """Publish a minute and mark the account."""
    desk.quote(at(minute))
    watch(desk.database, rules, at(minute))


def spreads(desk: Desk, minute: int, *points: float) -> None:
    """Record quotes as observed: one of each spread a second, the last one at a minute."""
    n = len(points)
    at_ns = at(minute) - np.arange(n - 1, -1, -1, dtype=np.int64) * SECOND_NS
    numbers = np.array([[4000.0] * n, [4000.0 + each for each in points], [1.0] * n, [1.0] * n])
    with desk.database.transaction() as tx:
        for _, part in Known(at_ns, numbers, at_ns).blocks(HOUR_NS):
            tx.series.put_quotes("ES", part)


def test_a_spread_far_wider_than_normal_pauses_its_symbol_while_orders_work(shared: Desk) -> None:
    """By the quotes that were observed; without an order nothing can come to harm."""
    shared.enter(voting(T0, 1), at_ns=T0)
    spreads(shared, 1, *[0.5] * 40, 1.75)
    mark(shared, 1)
    assert control(shared).mode is Mode.NORMAL
    working(shared)
    mark(shared, 2)
    assert control(shared).reason == "SPREAD: spread=1.75 normal=0.5 max=3"
    assert len(shared.events("panic.spread ES")) == 1


def test_errors_of_a_venue_pause_it_until_people_release_it(shared: Desk) -> None:
    """Those of a minute, and after a release only those that come then."""
    shared.enter(voting(T0, 1), at_ns=T0)
    working(shared)
    kinds = ("session.alarm", "message.quarantined", "order.refused", "execution.quarantined", "consensus.missing")

    def errors(count: int, minute: float) -> None:
        with shared.database.transaction() as tx:
            for number in range(count):
                tx.control.add_event(kinds[number % 4], "X", {"text": "no"}, at(minute))
            tx.control.add_event(kinds[-1], "ES", {"text": "no"}, at(minute))

    errors(9, 0.5)
    mark(shared, 1)
    assert control(shared, Level.VENUE, SESSION).mode is Mode.NORMAL
    errors(9, 2.5)
    mark(shared, 3)
    assert control(shared, Level.VENUE, SESSION).mode is Mode.NORMAL
    errors(1, 3.5)
    between_marks(shared.database, PANIC, at(3.5))
    assert control(shared, Level.VENUE, SESSION).reason == "ERRORS: errors=10 max=10"
    assert len(shared.events(f"panic.errors {SESSION}")) == 1
    release(shared.database, "ann", "the venue is itself again", at(3.6), Level.VENUE, SESSION)
    between_marks(shared.database, PANIC, at(3.6))
    assert control(shared, Level.VENUE, SESSION).mode is Mode.NORMAL


def test_an_old_quote_pauses_its_symbol_while_orders_work_and_there_is_no_replay(shared: Desk) -> None:
    """A replay's clock stands at its newest minute: who did not trade in it is silent, and the feed is not."""
    only = Panic(PanicRules(conditions=frozenset({Condition.QUOTE_AGE})), LIMITS.account, SESSION)
    between_marks(shared.database, only, T0 + HOUR_NS)
    working(shared)
    between_marks(shared.database, only, T0 + 500 * MILLISECOND_NS)
    assert control(shared).mode is Mode.NORMAL
    with shared.database.transaction() as tx:
        tx.control.put_replay(Replay("x", "", 1, "", T0, T0 + HOUR_NS, T0, 0.0, 0, finished=False))
    between_marks(shared.database, only, T0 + HOUR_NS)
    shared.enter(voting(T0, 1), at_ns=T0)
    watch(shared.database, replace(WATCH, panic=only), T0 + HOUR_NS)
    assert control(shared).mode is Mode.NORMAL


def test_without_a_replay_an_old_quote_is_found_within_a_look(desk: Desk) -> None:
    """And `why halt` says what stands in the way, who said so and how it is lifted."""
    working(desk)
    late_ns = T0 + 501 * MILLISECOND_NS
    between_marks(desk.database, PANIC, late_ns)
    assert control(desk).reason == "QUOTE_AGE: age_ns=501000000 max_ns=500000000"
    before = desk.everything()
    between_marks(desk.database, PANIC, late_ns)
    assert desk.everything() == before
    with desk.database.snapshot() as unit:
        text = as_text(explain_halt(halt_story(unit, Settings(), late_ns, people=1)))
    assert "control mode pause of symbol ES" in text
    assert "set by platform: QUOTE_AGE: age_ns=501000000" in text
    assert "trisagion release --symbol ES" in text
    assert "panic.quote_age ES" in text


def test_a_cluster_of_losses_pauses_the_account_and_is_told_once(shared: Desk) -> None:
    """After a record of hundreds of marks that lost half the time: the thirtieth loss in a row, and no mark twice."""
    shared.enter(voting(T0, 1), at_ns=T0)
    with shared.database.transaction() as tx:
        tx.lately.put_losses(LossRecord(T0, CAPITAL, LOSS_RECORD_MIN, LOSS_RECORD_MIN // 2, "L" * 29))
    shared.hold(-1, price="4000")
    shared.quote(at(1), "4001")
    watch(shared.database, WATCH, at(1))
    found = control(shared, Level.ACCOUNT, LIMITS.account)
    assert (found.mode, found.operator) == (Mode.PAUSE, "platform")
    assert found.reason.startswith("LOSSES: losing=30 of=30 record=0.5000 chance=9.31e-10")
    before = shared.everything()
    watch(shared.database, WATCH, at(1))
    assert shared.everything() == before
    release(shared.database, "ann", "a trend, and we hold on", at(1), Level.ACCOUNT, LIMITS.account)
    shared.quote(at(2), "4002")
    watch(shared.database, WATCH, at(2))
    assert control(shared, Level.ACCOUNT, LIMITS.account).mode is Mode.NORMAL
    with shared.database.snapshot() as tx:
        record = tx.lately.losses()
    assert record is not None
    assert (record.marks, record.losses, record.recent) == (LOSS_RECORD_MIN + 30, LOSS_RECORD_MIN // 2 + 30, "L")


def test_a_condition_that_is_not_looked_for_pauses_nothing(desk: Desk) -> None:
    """Each can be switched off by itself; a limit of the account is none of them."""
    quiet = Panic(PanicRules(conditions=frozenset()), LIMITS.account, SESSION)
    fill(desk, 1, "3000", rules=replace(BOOK, panic=quiet))
    fill(desk, 2, "3000", rules=replace(BOOK, panic=None))
    between_marks(desk.database, quiet, T0 + HOUR_NS)
    desk.enter(voting(T0, 1), at_ns=T0)
    mark(desk, 1, replace(WATCH, panic=quiet))
    with desk.database.snapshot() as tx:
        assert tx.control.standing().others == ()
        assert tx.lately.losses() is None
