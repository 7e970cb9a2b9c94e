"""`services.take_profit`: the watch over profit and draw-down, step by step, whoever takes the next one."""

import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import (
    CAPITAL,
    COHORT_RULES,
    ES,
    PATIENT,
    TUESDAY_NS,
    Desk,
    a_report,
    an_intended_order,
    states,
    words,
)
from tests.fakes import Died
from tests.integration.beside import meanwhile
from trisagion.adapters.db import open_database, tables
from trisagion.adapters.db.ledger import Ledger
from trisagion.clock import MINUTE_NS
from trisagion.cohort.state import from_bytes
from trisagion.cohort.types import Epoch
from trisagion.ledger.postings import book_fill
from trisagion.ledger.take_profit import LAST_STEP, STEPS, TakeProfitRules
from trisagion.ledger.types import Account, Voucher
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side
from trisagion.risk.losses import LossRules
from trisagion.safety.modes import Mode
from trisagion.services import take_profit
from trisagion.services.advance_cohort import found_cohort
from trisagion.services.control import PLATFORM, release
from trisagion.services.ledger_enter import adjust_money, adjust_position, transfer
from trisagion.services.outcome import Outcome
from trisagion.services.replay import flattening
from trisagion.services.stakes import marked_equity
from trisagion.services.take_profit import WatchRules, watch
from trisagion.units import Money, Price, Quantity

T0 = TUESDAY_NS
RULES = WatchRules(
    TakeProfitRules(threshold=Decimal("0.01"), reward_multiple=Decimal(2)), COHORT_RULES, seed=7, losses=PATIENT
)
"""Take 1 % of 100,000,000, give up after a loss of half that; 100 contracts make 5,000 a point."""


def at(minute: int) -> int:
    """Return the instant of a minute."""
    return T0 + minute * MINUTE_NS


def trade(desk: Desk, number: int, price: str) -> None:
    """Book a fill: buy a positive number, sell a negative one."""
    side = Side.BUY if number > 0 else Side.SELL
    fill = a_report(
        f"{price}/{number}",
        side=side,
        last_qty=Quantity(Decimal(abs(number))),
        last_px=Price(Decimal(price)),
        fee=Money(Decimal(0)),
    )
    with desk.database.transaction() as tx:
        postings, position = book_fill(tx.ledger.position("ES"), fill, ES)
        tx.ledger.post(postings)
        tx.ledger.save_position(position)


def invested(desk: Desk) -> Desk:
    """Found a cohort at noon and buy a hundred contracts at 4000."""
    with desk.database.transaction() as tx:
        found_cohort(tx, COHORT_RULES, 1, 7, T0)
        for state in states(20, T0):
            tx.market.put_state(state)
    trade(desk, 100, "4000")
    return desk


def look(desk: Desk, minute: int, price: str) -> list[str]:
    """Publish a minute and watch it; return the words said."""
    desk.quote(at(minute), price)
    return words(watch(desk.database, RULES, at(minute)))


def steps(desk: Desk, epoch: int = 1) -> list[str]:
    """Return the steps recorded of an epoch."""
    with desk.database.snapshot() as tx:
        return [step.step for step in tx.ledger.steps(epoch)]


def epochs(desk: Desk) -> list[Epoch]:
    """Return all epochs."""
    with desk.database.snapshot() as tx:
        return list(tx.cohort.epochs())


def based(desk: Desk) -> Desk:
    """Let the first five minutes set the baseline of 100,000,000."""
    invested(desk)
    for minute, price in enumerate(("4000", "4001", "3999", "4000", "4050"), start=1):
        look(desk, minute, price)
    return desk


def test_the_baseline_is_the_median_of_the_first_five_samples(desk: Desk) -> None:
    """Before there are five nothing can cross, however far the price; one bad mark does not set it."""
    invested(desk)
    for minute, price in enumerate(("9000", "4001", "3999", "1000"), start=1):
        assert look(desk, minute, price) == ["watched"]
        assert epochs(desk)[0].baseline is None
    assert look(desk, 5, "4000") == ["watched"]
    assert epochs(desk)[0].baseline == str(CAPITAL)
    assert steps(desk) == []


@pytest.mark.parametrize(
    ("price", "kind"),
    [("4199.75", None), ("4200", "take_profit"), ("4900", "take_profit"), ("3900", None), ("3899.75", "draw_down")],
)
def test_the_watch_fires_at_the_threshold(desk: Desk, price: str, kind: str | None) -> None:
    """At 1 % gained, at more than half a per cent lost; it says why, closes the epoch and asks to be flat."""
    based(desk)
    said = look(desk, 6, price)
    assert said == (["watched"] if kind is None else ["flattening"])
    assert steps(desk) == ([] if kind is None else list(STEPS[:4]))
    [epoch] = epochs(desk)
    assert (epoch.reason, epoch.closed_ns) == (kind, None if kind is None else at(6))
    assert len(desk.events(f"{kind} 1")) == int(kind is not None)
    assert flattening(desk.database, "main", "SIM", TUESDAY_NS) == (kind is not None)
    ends = {reason for (reason,) in desk.rows(tables.run.c.reason)}
    assert {"take_profit": "epoch", "draw_down": "draw_down", None: None}[kind] in ends


def test_a_sequence_waits_until_we_are_flat_and_fires_once(desk: Desk) -> None:
    """Each minute rings a cycle until then, though the price fell back; then a new cohort begins."""
    based(desk)
    assert look(desk, 6, "4300") == ["flattening"]
    for minute in (7, 8):
        assert watch_subjects(desk, minute, "4000") == (Outcome("flattening", (str(at(minute)),)),)
    trade(desk, -100, "4000")
    assert look(desk, 9, "4000") == ["watched"]
    assert steps(desk) == list(STEPS)
    first, second = epochs(desk)
    assert (first.reason, second.number, second.opened_ns, second.baseline) == ("take_profit", 2, at(9), None)
    with desk.database.snapshot() as tx:
        shards = [from_bytes(row.state) for row in tx.cohort.shards()]
        assert tx.cohort.run_count() == 2 * COHORT_RULES.desired_runs
    assert {(shard.epoch, shard.at_ns) for shard in shards} == {(2, at(9))}
    assert not flattening(desk.database, "main", "SIM", TUESDAY_NS)
    for minute in range(10, 20):
        assert look(desk, minute, "9000") == ["watched"]
    assert len(desk.events("take_profit")) == 1


def watch_subjects(desk: Desk, minute: int, price: str) -> tuple[Outcome, ...]:
    """Publish a minute and watch it."""
    desk.quote(at(minute), price)
    return watch(desk.database, RULES, at(minute))


def test_watching_a_minute_again_changes_nothing(desk: Desk) -> None:
    """Before, during and after a sequence; and a minute of the past is nothing, for the account has gone on."""
    based(desk)
    for minute, price in ((6, "4000"), (7, "4300"), (8, "4000")):
        said = look(desk, minute, price)
        before = desk.everything()
        assert words(watch(desk.database, RULES, at(minute))) == said
        assert watch(desk.database, RULES, at(2)) == (Outcome("nothing"),)
        assert desk.everything() == before
    trade(desk, -100, "4000")
    look(desk, 9, "4000")
    before = desk.everything()
    assert words(watch(desk.database, RULES, at(9))) == ["watched"]
    assert desk.everything() == before


def test_a_minute_watched_again_is_not_marked_with_what_came_after(desk: Desk) -> None:
    """A fill since then, good enough for a take-profit, counts from the next minute on."""
    based(desk)
    assert look(desk, 6, "4000") == ["watched"]
    trade(desk, -100, "4300")
    assert words(watch(desk.database, RULES, at(6))) == ["watched"]
    assert steps(desk) == []
    look(desk, 7, "4000")
    assert steps(desk) == list(STEPS)


@pytest.mark.parametrize("amount", [-50_000_000, 50_000_000], ids=["a withdrawal", "a deposit"])
def test_a_minute_watched_again_is_not_judged_by_a_baseline_that_was_moved_since(desk: Desk, amount: int) -> None:
    """Its equity is of before the transfer: held against half the capital, or twice, it would gain or lose half."""
    based(desk)
    assert judged(desk, 6, "4100") is Mode.NORMAL
    transfer(desk.database, Money(Decimal(amount)), at(6), Voucher("tester", "moved", "statement 1"))
    before = desk.everything()
    assert words(watch(desk.database, STRICT, at(6))) == words(watch(desk.database, RULES, at(6))) == ["watched"]
    assert desk.everything() == before
    assert judged(desk, 7, "4100") is Mode.NORMAL
    assert steps(desk) == []


@pytest.mark.parametrize("number", [10, -10])
def test_what_is_found_or_missed_is_no_gain_and_no_loss(desk: Desk, number: int) -> None:
    """Ten contracts without their money are worth two per cent of the account; so is the money when it is booked."""
    based(desk)
    assert judged(desk, 6, "4000") is Mode.NORMAL
    by_hand = Voucher("tester", "found", "statement 1")
    adjust_position(desk.database, "ES", Quantity(Decimal(number)), Price(Decimal(4000)), at(6), by_hand)
    assert judged(desk, 7, "4000") is Mode.NORMAL
    assert look(desk, 8, "4000") == ["watched"]
    adjust_money(desk.database, Money(Decimal(number * -200_000)), at(8), by_hand)
    assert judged(desk, 9, "4000") is Mode.NORMAL
    assert look(desk, 10, "4000") == ["watched"]
    assert epochs(desk)[0].baseline == str(CAPITAL)


@pytest.mark.parametrize("state", [OrderState.ROUTED, OrderState.NEW, OrderState.UNKNOWN])
def test_nobody_is_flat_while_an_order_lives(desk: Desk, state: OrderState) -> None:
    """Nothing is held at the crossing, but what an order of the old cohort fills would be the new one's."""
    based(desk)
    trade(desk, -100, "4300")
    order = an_intended_order(at(5), state, side=Side.BUY)
    desk.put(order)
    assert look(desk, 6, "4300") == ["flattening"]
    assert steps(desk) == list(STEPS[:4])
    with desk.database.transaction() as tx:
        tx.orders.save(replace(order, state=OrderState.CANCELED, version=order.version + 1))
    assert look(desk, 7, "4300") == ["watched"]
    assert steps(desk) == list(STEPS)


def test_a_fill_while_the_account_is_marked_is_in_it_or_is_not(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its money without its contracts would be a loss of all that was paid for them."""
    invested(shared)
    shared.quote(at(1))
    balance = Ledger.balance
    others: list[threading.Thread] = []

    def filled(ledger: Ledger, *accounts: Account) -> Decimal:
        if not others:
            others.append(meanwhile(lambda: trade(colleague, 50, "4000")))
        return balance(ledger, *accounts)

    monkeypatch.setattr(Ledger, "balance", filled)
    watch(shared.database, RULES, at(1))
    others[0].join()
    assert shared.rows(tables.equity.c.at_ns, tables.equity.c.equity) == [(at(1), CAPITAL)]
    assert shared.position.qty == 150


def test_a_transfer_between_two_epochs_waits_for_the_mark_too(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No epoch is open whose baseline it would move; but the peak moves, and without the money it would be a loss."""
    based(shared)
    assert look(shared, 6, "4300") == ["flattening"]
    balance = Ledger.balance
    others: list[threading.Thread] = []

    def paid(ledger: Ledger, *accounts: Account) -> Decimal:
        found = balance(ledger, *accounts)
        if not others:
            deposit = Voucher("tester", "more", "statement 1")
            others.append(meanwhile(lambda: transfer(colleague.database, CAPITAL, at(7), deposit)))
        return found

    monkeypatch.setattr(Ledger, "balance", paid)
    assert judged(shared, 7, "4300") is Mode.NORMAL
    others[0].join()
    assert judged(shared, 8, "4300") is Mode.NORMAL


def test_equity_is_of_one_look_at_the_positions(shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody locks them, as in a cycle that sizes by it while another symbol's order fills."""
    invested(shared)
    shared.quote(at(1))
    balance = Ledger.balance
    others: list[threading.Thread] = []

    def filled(ledger: Ledger, *accounts: Account) -> Decimal:
        others.append(meanwhile(lambda: trade(colleague, 50, "4000")))
        return balance(ledger, *accounts)

    monkeypatch.setattr(Ledger, "balance", filled)
    with shared.database.transaction() as tx:
        assert marked_equity(tx, at(1)) == CAPITAL
    others[0].join()


@pytest.mark.parametrize("step", ["RunsExited", "Rebased"])
def test_two_workers_at_one_sequence_take_each_step_once(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Between two epochs, too, when none is open: a cohort that was founded twice would leave lost runs."""
    based(shared)
    take: Callable[..., None] = take_profit._take
    others: list[threading.Thread] = []
    taken: list[str] = []

    def together(tx: object, rules: object, epoch: object, taking: str, now_ns: int) -> None:
        taken.append(taking)
        if taking == step and not others:
            others.append(meanwhile(lambda: watch(colleague.database, RULES, at(7))))
        take(tx, rules, epoch, taking, now_ns)

    look(shared, 6, "4000")
    trade(shared, -100, "4300")
    shared.quote(at(7), "4300")
    monkeypatch.setattr(take_profit, "_take", together)
    watch(shared.database, RULES, at(7))
    others[0].join()
    assert [each for each in taken if each != LAST_STEP] == list(STEPS[1:-1])
    assert steps(shared) == list(STEPS)
    with shared.database.snapshot() as tx:
        assert tx.cohort.run_count() == 2 * COHORT_RULES.desired_runs


@pytest.mark.parametrize("stop", STEPS[1:])
@pytest.mark.parametrize("later", [0, 1], ids=["the same minute again", "the next minute"])
def test_whoever_comes_up_next_goes_on_from_the_last_step_recorded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, stop: str, later: int
) -> None:
    """A process that dies in any step leaves what was recorded; the next watch ends as if nothing had happened."""
    based(desk)
    take: Callable[..., None] = take_profit._take

    def mortal(tx: object, rules: object, epoch: object, step: str, now_ns: int) -> None:
        take(tx, rules, epoch, step, now_ns)
        if step == stop:
            raise Died

    monkeypatch.setattr(take_profit, "_take", mortal)
    died = 0
    for minute, flat in ((6, False), (8, True)):
        if flat:
            trade(desk, -100, "4300")
        try:
            look(desk, minute, "4300")
        except Died:
            died += 1
            assert steps(desk) == list(STEPS[: STEPS.index(stop)])
            monkeypatch.setattr(take_profit, "_take", take)
            look(desk, minute + later, "4300")
    assert died == 1
    assert steps(desk) == list(STEPS)
    assert [epoch.number for epoch in epochs(desk)] == [1, 2]
    with desk.database.snapshot() as tx:
        assert tx.cohort.run_count() == 2 * COHORT_RULES.desired_runs
    ended = desk.rows(tables.run.c.epoch, tables.run.c.reason)
    assert [row[1] is not None for row in ended] == [row[0] == 1 for row in ended]
    assert len(desk.events("take_profit")) == 1


def test_without_a_price_there_is_nothing_to_watch(sqlite_url: str) -> None:
    """Nor without an epoch."""
    desk = Desk(open_database(sqlite_url)).found(quoted_ns=None)
    assert watch(desk.database, RULES, T0) == (Outcome("nothing"),)
    desk.quote(T0)
    assert watch(desk.database, RULES, T0) == (Outcome("nothing"),)
    desk.database.close()


STRICT = replace(RULES, take_profit=TakeProfitRules(), losses=LossRules())
"""A loss of 1 % in a day pauses: 100 contracts lose it in 200 points."""


def judged(desk: Desk, minute: int, price: str) -> Mode:
    """Publish a minute and watch it with the usual losses; return the mode that is in force then."""
    desk.quote(at(minute), price)
    watch(desk.database, STRICT, at(minute))
    return desk.mode()


def test_a_days_loss_pauses_the_platform_and_a_release_counts_anew(desk: Desk) -> None:
    """Once for each loss: an operator who has seen it is not stopped again by the same one."""
    invested(desk)
    assert judged(desk, 1, "4000") is Mode.NORMAL
    assert judged(desk, 2, "3800") is Mode.NORMAL
    assert judged(desk, 3, "3799.75") is Mode.PAUSE
    with desk.database.snapshot() as tx:
        present = tx.control.control()
    assert (present.operator, present.reason) == (PLATFORM, "DAILY_LOSS: from=100000000 equity=98998750 max=0.01")
    assert len(desk.events("control.engaged")) == 1
    release(desk.database, "tester", "seen", at(3))
    assert judged(desk, 4, "3799.75") is Mode.NORMAL
    assert judged(desk, 5, "3650") is Mode.NORMAL
    assert judged(desk, 6, "3600") is Mode.PAUSE


def test_a_hard_draw_down_is_an_emergency_and_a_mode_is_never_loosened(desk: Desk) -> None:
    """What a later mark finds less bad changes nothing: only an operator loosens."""
    trade(invested(desk), 900, "4000")
    assert judged(desk, 1, "4000") is Mode.NORMAL
    assert judged(desk, 2, "3590") is Mode.EMERGENCY
    assert judged(desk, 3, "3800") is Mode.EMERGENCY
    assert judged(desk, 4, "4000") is Mode.EMERGENCY


def test_a_withdrawal_is_no_loss(desk: Desk) -> None:
    """Half of the capital leaves, and the losses are counted from what is left."""
    invested(desk)
    for minute in range(1, 7):
        assert judged(desk, minute, "4000") is Mode.NORMAL
    transfer(desk.database, Money(Decimal(-50_000_000)), at(6), Voucher("tester", "home", "statement 1"))
    assert judged(desk, 7, "4000") is Mode.NORMAL
    assert judged(desk, 8, "3899") is Mode.PAUSE
