"""The ledger through its services: every kind of event, what verification finds, and what the sweep does."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import BOOK_RULES, CAPITAL, TUESDAY_NS, Desk, a_report, an_order, qty, words
from trisagion.adapters.db import open_database, reading
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import retrying
from trisagion.clock import SECOND_NS
from trisagion.cohort.types import Epoch
from trisagion.errors import DataError, StateError
from trisagion.ledger.books import Books
from trisagion.ledger.types import Account, Kind, Lot, Voucher
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Side
from trisagion.risk.losses import LossMark
from trisagion.services import ledger_check, ledger_enter
from trisagion.services.book_fills import book
from trisagion.services.ledger_check import SETTLED_NS, check_new, present_lots, read_books, rebuild, verify
from trisagion.services.stakes import booked_cash
from trisagion.units import Money, Price

NOW = TUESDAY_NS


def voucher(case: int = 1) -> Voucher:
    """Return evidence."""
    return Voucher("anna", "statement differs", f"statement {case}")


def trade(desk: Desk, number: int, signed: int, px: str = "4000", **changes: Any) -> ExecutionReport:
    """Put an order there and have it filled; return the report."""
    side, size = (Side.BUY if signed > 0 else Side.SELL), qty(abs(signed))
    order = an_order(f"T{number}", state=OrderState.NEW, session="SIM", price=Price(Decimal(px)), side=side, qty=size)
    desk.put(order)
    facts = {"cum_qty": size, "leaves_qty": qty(0), "ord_status": OrderState.FILLED, "avg_px": Decimal(px), **changes}
    report = a_report(
        f"E{number}", cl_ord_id=order.cl_ord_id, side=side, last_qty=size, last_px=Price(Decimal(px)), **facts
    )
    assert words(book(desk.database, BOOK_RULES, report))[0] == "booked"
    return report


def restate(desk: Desk, report: ExecutionReport, kind: ExecType, exec_id: str, **changes: Any) -> list[str]:
    """Have the venue bust or correct a fill."""
    gone: dict[str, Any] = (
        {"last_qty": qty(0), "last_px": None, "fee": Money(Decimal(0))} if kind is ExecType.TRADE_CANCEL else {}
    )
    told = replace(report, exec_id=exec_id, exec_type=kind, ref_exec_id=report.exec_id, **{**gone, **changes})
    return words(book(desk.database, BOOK_RULES, told))


def sweep(desk: Desk) -> None:
    """Sweep when what was seen before has settled."""
    with desk.database.transaction() as tx:
        mark = tx.ledger.sweep_mark()
        tx.ledger.put_sweep_mark(replace(mark, seen_ns=mark.seen_ns - SETTLED_NS))
    check_new(desk.database, NOW)


def lots(desk: Desk) -> list[Lot]:
    """Return all lots as they are now."""
    with desk.database.snapshot() as tx:
        return list(present_lots(tx))


def money(desk: Desk) -> Money:
    """Return the account's money by its books."""
    with desk.database.snapshot() as tx:
        return booked_cash(tx)


def test_after_every_kind_of_event_the_books_are_those_that_the_entries_make(shared: Desk) -> None:
    """Partial closings, a flip through zero, bust, correction, fees in two currencies, split: swept or not."""
    desk, database = shared, shared.database
    fills: dict[int, ExecutionReport] = {}

    def fill(number: int, signed: int, px: str, **changes: Any) -> None:
        fills[number] = trade(desk, number, signed, px, **changes)

    events: list[Callable[[], object]] = [
        lambda: fill(1, 3, "4000.25"),
        lambda: fill(2, 2, "4001"),
        lambda: fill(3, -4, "4003.5"),
        lambda: fill(4, -5, "4002"),
        lambda: restate(desk, fills[4], ExecType.TRADE_CANCEL, "B4", ord_status=OrderState.NEW, leaves_qty=qty(5)),
        lambda: restate(desk, fills[2], ExecType.TRADE_CORRECT, "G2", last_px=Price(Decimal("4000.75"))),
        lambda: fill(7, 2, "4001.5", fee=Money(Decimal("0.3")), fee_currency="EUR"),
        lambda: fill(8, -2, "4002.5", fee=Money(Decimal("-0.1")), fee_currency="EUR"),
        lambda: restate(desk, fills[7], ExecType.TRADE_CORRECT, "G7", fee=Money(Decimal("0.4"))),
        lambda: ledger_enter.charge(database, Kind.FEE, Money(Decimal("2.5")), NOW, voucher(1), symbol="ES"),
        lambda: ledger_enter.charge(
            database, Kind.FEE, Money(Decimal(3)), NOW, voucher(2), currency="EUR", symbol="ES"
        ),
        lambda: ledger_enter.charge(
            database, Kind.FEE, Money(Decimal(3)), NOW, voucher(3), currency="EUR", fx_rate=Decimal("1.1"), symbol="ES"
        ),
        lambda: ledger_enter.charge(database, Kind.FINANCING, Money(Decimal("-0.7")), NOW, voucher(4), symbol="ES"),
        lambda: ledger_enter.transfer(database, Money(Decimal(1000)), NOW, voucher(5), counter="BANK"),
        lambda: ledger_enter.adjust_money(database, Money(Decimal("-0.01")), NOW, voucher(6)),
        lambda: ledger_enter.adjust_position(database, "ES", qty(2), Price(Decimal(4000)), NOW, voucher(7)),
        lambda: fill(5, -1, "4010"),
        lambda: ledger_enter.split(database, "ES", 3, 1, NOW, voucher(8)),
        lambda: fill(6, -7, "1340.5"),
        lambda: ledger_enter.adjust_position(
            database, "ES", qty(9), Price(Decimal(1300)), NOW, voucher(9), book="OTHER"
        ),
    ]
    for number, happen in enumerate(events):
        happen()
        if number % 3 == 0:
            sweep(desk)
        assert verify(database).problems == (), number
        with database.snapshot() as tx:
            held = sum((lot.qty for lot in present_lots(tx)), Decimal(0))
            assert tx.ledger.position("ES").qty == held, number
            assert booked_cash(tx) == tx.ledger.balance(Account.CASH, Account.EXCHANGE), number
    assert int(desk.position.qty) == (3 + 2 - 4 + 2 - 1) * 3 - 7
    assert desk.events("ledger.alarm") == []
    with database.snapshot() as tx:
        assert int(read_books(tx).position("ES", "OTHER").qty) == 9
        assert str(tx.ledger.home()) == "USD"


def test_foreign_money_is_worth_what_it_was_booked_at_and_without_a_rate_nothing_is_guessed(desk: Desk) -> None:
    """A converted fee lowers the account by its worth; one without a rate stands in its own currency alone."""
    trade(desk, 1, 1, fee=Money(Decimal(0)))
    before, position = money(desk), desk.position
    charge = ledger_enter.charge
    charge(desk.database, Kind.FEE, Money(Decimal(3)), NOW, voucher(1), currency="EUR", symbol="ES")
    assert (money(desk), desk.position) == (before, position)
    charge(
        desk.database, Kind.FEE, Money(Decimal(3)), NOW, voucher(2), currency="EUR", symbol="ES", fx_rate=Decimal("1.1")
    )
    assert money(desk) == before - Decimal("3.3")
    assert desk.position == replace(position, fees=Money(Decimal("3.3")))
    with desk.database.snapshot() as tx:
        found = {(key.account, key.currency): amount for key, amount in read_books(tx).balances.items()}
    assert found[Account.CASH, "EUR"] == -6
    assert found[Account.FEES, "EUR"] == 3
    assert found[Account.EXCHANGE, "EUR"] == 3
    assert found[Account.EXCHANGE, "USD"] == Decimal("-3.3")


def test_a_fee_that_the_venue_charges_in_another_currency_is_owed_in_that_one(shared: Desk) -> None:
    """The account in its own currency is as if the fill had been free; a bust gives the fee back, an event tells it."""
    desk = shared
    free = trade(desk, 1, 1, fee=Money(Decimal(0)))
    position, before = desk.position, money(desk)
    restate(desk, free, ExecType.TRADE_CANCEL, "B1", ord_status=OrderState.NEW, leaves_qty=qty(1))
    report = trade(desk, 2, 1, fee=Money(Decimal("0.75")), fee_currency="EUR")
    assert words(book(desk.database, BOOK_RULES, report)) == ["duplicate"]
    assert (desk.position, money(desk)) == (position, before)
    with desk.database.snapshot() as tx:
        assert tx.orders.execution("SIM", "E2") == report
        lines = [
            (each.entry.kind, each.entry.currency, line.account, line.amount, line.symbol)
            for each in tx.ledger.entries(0, 99)
            if each.entry.name == "SIM/E2/fee"
            for line in each.entry.postings
        ]
        assert [(str(fill.cl_ord_id), str(fill.fee)) for fill in reading.fills(tx)] == [("T2", "0")]
    assert lines == [
        (Kind.FEE, "EUR", Account.FEES, Decimal("0.75"), "ES"),
        (Kind.FEE, "EUR", Account.CASH, Decimal("-0.75"), "ES"),
    ]
    assert desk.events("ledger.fee_abroad") == ['ledger.fee_abroad SIM/E2 {"currency": "EUR", "fee": "0.75"}']
    restate(desk, report, ExecType.TRADE_CANCEL, "B2", ord_status=OrderState.NEW, leaves_qty=qty(1))
    with desk.database.snapshot() as tx:
        balances = read_books(tx).balances
    assert [amount for key, amount in balances.items() if key.currency == "EUR"] == [0, 0]
    assert verify(desk.database).problems == ()


@pytest.mark.parametrize("told", [None, "USD"])
def test_a_fee_in_the_instruments_currency_is_part_of_its_fill(desk: Desk, told: str | None) -> None:
    """Whether the venue names it or not."""
    trade(desk, 1, 1, fee=Money(Decimal("0.75")), fee_currency=told)
    assert desk.position.fees == Decimal("0.75")
    assert [entry for (entry,) in desk.rows(t.ledger_entry.c.entry)] == ["SIM/E1", "opening"]
    with desk.database.snapshot() as tx:
        assert [fill.fee for fill in reading.fills(tx)] == [Decimal("0.75")]


def test_a_rebate_has_its_own_account_and_returns_to_it(desk: Desk) -> None:
    """Paid by the venue, taken back with the fill."""
    report = trade(desk, 1, 1, fee=Money(Decimal("-0.5")))
    with desk.database.snapshot() as tx:
        assert tx.ledger.balance(Account.REBATES) == Decimal("-0.5")
        assert tx.ledger.balance(Account.FEES) == 0
    assert desk.position.fees == Decimal("-0.5")
    restate(desk, report, ExecType.TRADE_CANCEL, "B1")
    with desk.database.snapshot() as tx:
        assert tx.ledger.balance(Account.REBATES) == tx.ledger.balance(Account.FEES) == 0


def test_what_emergency_took_is_told_apart_from_what_the_cohort_did(desk: Desk) -> None:
    """By the strategy of the entry."""
    trade(desk, 1, 1)
    taking = an_order("T2", state=OrderState.NEW, session="SIM", price=Price(Decimal(4000)), taker=True, qty=qty(1))
    desk.put(taking)
    book(desk.database, BOOK_RULES, a_report("E2", cl_ord_id=taking.cl_ord_id, cum_qty=qty(1), leaves_qty=qty(0)))
    assert desk.rows(t.ledger_entry.c.entry, t.ledger_entry.c.strategy) == [
        *(("SIM/E1", "cohort"), ("SIM/E2", "flatten"), ("opening", "house")),
    ]


def test_the_same_by_the_same_evidence_is_entered_once(shared: Desk) -> None:
    """A command that is given again after a doubt changes nothing and says so; by other evidence it is another fact."""
    database = shared.database
    acts: list[Callable[[Voucher], object]] = [
        lambda by: ledger_enter.transfer(database, Money(Decimal(5)), NOW, by),
        lambda by: ledger_enter.charge(database, Kind.FINANCING, Money(Decimal(5)), NOW, by),
        lambda by: ledger_enter.adjust_money(database, Money(Decimal(5)), NOW, by),
        lambda by: ledger_enter.adjust_position(database, "ES", qty(5), Price(Decimal(4000)), NOW, by),
    ]
    for act in acts:
        act(voucher(1))
        before = shared.everything()
        with pytest.raises(StateError, match=r"by the same evidence \(statement 1\) is booked already"):
            act(voucher(1))
        assert shared.everything() == before
        act(voucher(2))
    assert int(shared.position.qty) == 10
    assert len(shared.events("ledger.")) == 8


def test_a_transfer_is_no_profit(shared: Desk) -> None:
    """The baseline of the take-profit moves with the capital; while there is none yet the transfer has to wait."""
    with shared.database.transaction() as tx:
        tx.cohort.put_epoch(Epoch(1, 1, None, None, None))
    with pytest.raises(StateError, match="no baseline yet"):
        ledger_enter.transfer(shared.database, Money(Decimal(500)), NOW, voucher())
    with shared.database.transaction() as tx:
        tx.cohort.put_epoch(Epoch(1, 1, None, None, "100000000"))
    ledger_enter.transfer(shared.database, Money(Decimal("-500.5")), NOW, voucher())
    ledger_enter.transfer(shared.database, Money(Decimal(7)), NOW, voucher(), book="BANK")
    ledger_enter.transfer(shared.database, Money(Decimal(9)), NOW, voucher(), currency="EUR")
    with shared.database.snapshot() as tx:
        epoch = tx.cohort.epoch()
        assert epoch is not None
        assert epoch.baseline == "99999499.5"
        assert tx.ledger.balance(Account.CASH) == CAPITAL - Decimal("500.5")


def test_a_transfer_leaves_what_was_lost_the_part_that_it_was(shared: Desk) -> None:
    """Half of what there is is withdrawn at a loss of 12 %: that stops nothing."""
    mark = LossMark(Money(Decimal(112000000)), 0, Money(Decimal(104000000)), 0)
    with shared.database.transaction() as tx:
        tx.cohort.put_epoch(Epoch(1, 1, None, None, "100000000"))
        tx.limits.put_mark(mark)
    ledger_enter.transfer(shared.database, Money(Decimal(-50000000)), NOW, voucher())
    with shared.database.snapshot() as tx:
        assert tx.limits.mark() == replace(mark, peak=Money(Decimal(56000000)), day_equity=Money(Decimal(52000000)))


def test_a_split_waits_for_live_orders_and_what_was_before_it_is_not_taken_back(desk: Desk) -> None:
    """Their quantities are of the old units: an order must be cancelled, a bust is for a person."""
    report = trade(desk, 1, 3)
    live = an_order("T9", state=OrderState.NEW, session="SIM", price=Price(Decimal(4000)))
    desk.put(live)
    with pytest.raises(StateError, match="no live orders at a split, found T9"):
        ledger_enter.split(desk.database, "ES", 2, 1, NOW, voucher())
    with desk.database.transaction() as tx:
        tx.orders.save(replace(live, state=OrderState.CANCELED, version=1))
    ledger_enter.split(desk.database, "ES", 2, 1, NOW, voucher())
    assert (int(desk.position.qty), int(desk.position.cost)) == (6, 600_000)
    assert restate(desk, report, ExecType.TRADE_CANCEL, "B1") == ["quarantined"]
    assert int(desk.position.qty) == 6
    later = trade(desk, 2, 1, "2000")
    assert restate(desk, later, ExecType.TRADE_CANCEL, "B2")[0] == "booked"
    assert verify(desk.database).problems == ()


TAMPERING = {
    "an amount": (sa.update(t.posting).where(t.posting.c.line == 0).values(amount=Decimal(1)), "sum to 0 USD, found"),
    "a line too few": (sa.delete(t.posting).where(t.posting.c.account == "fees"), "expected 3 lines, numbered from 0"),
    "a head too few": (sa.delete(t.ledger_entry).where(t.ledger_entry.c.kind == "trade"), "found postings alone"),
    "a position": (
        sa.update(t.ledger_position).values(cost=Decimal("0.000000000001")),
        "position ES: expected cost 600000, found 0.000000000001",
    ),
    "a position too few": (sa.delete(t.ledger_position), "position ES: expected qty 3, found 0"),
    "a lot": (sa.update(t.ledger_lot).values(cost=Decimal(5)), "lot SIM/E1: expected ES 3 600000 3 600000 0"),
    "a lot too few": (sa.delete(t.ledger_lot), "found none"),
}


@pytest.fixture
def shared_with_its_owner(owned_url: str) -> Iterator[Desk]:
    """Give a founded account on each server, to somebody who may do anything to its tables."""
    with closing(open_database(owned_url)) as database:
        yield Desk(database).found()


@pytest.mark.parametrize("what", TAMPERING)
def test_verification_finds_what_another_hand_has_changed(shared_with_its_owner: Desk, what: str) -> None:
    """In entries, positions and lots, writing nothing. Positions and lots are made anew, not of broken entries."""
    shared = shared_with_its_owner
    statement, told = TAMPERING[what]
    trade(shared, 1, 3)
    sweep(shared)
    sweep(shared)
    assert len(shared.rows(t.ledger_lot.c.entry)) == 1
    with shared.database.transaction() as tx:
        tx.session.write(statement, {})
    before = shared.everything()
    problems = verify(shared.database).problems
    assert any(told in problem for problem in problems), problems
    assert shared.everything() == before
    if not what.startswith(("a position", "a lot")):
        with pytest.raises(StateError, match="expected entries that hold"):
            rebuild(shared.database, voucher(), NOW)
        assert shared.everything() == before
        return
    rebuild(shared.database, voucher(), NOW)
    assert verify(shared.database).problems == ()
    assert len(shared.events("ledger.rebuilt")) == 1
    after = shared.everything()
    assert (after["posting"], after["ledger_entry"]) == (before["posting"], before["ledger_entry"])


def test_a_rebuilt_ledger_that_was_right_stays_as_it_is(shared: Desk) -> None:
    """Nothing is written, and the confirmation stays; a quantity that changes is confirmed by nobody."""
    trade(shared, 1, 3)
    shared.observe(NOW)
    before = shared.everything()
    assert rebuild(shared.database, voucher(), NOW).problems == ()
    assert shared.everything() == before
    with shared.database.transaction() as tx:
        tx.ledger.save_position(replace(tx.ledger.position("ES"), cost=Money(Decimal(1))))
    rebuild(shared.database, voucher(), NOW)
    assert shared.position.confirmed_ns == NOW
    with shared.database.transaction() as tx:
        tx.ledger.save_position(replace(tx.ledger.position("ES"), qty=qty(4)))
    rebuild(shared.database, voucher(), NOW)
    assert (int(shared.position.qty), shared.position.confirmed_ns) == (3, 0)


def test_a_sweep_goes_on_when_the_databases_clock_was_set_back(desk: Desk) -> None:
    """What it saw in an hour that has not come settles within ten seconds of the clock that there is."""
    trade(desk, 1, 3)
    check_new(desk.database, NOW)
    with desk.database.transaction() as tx:
        mark = tx.ledger.sweep_mark()
        tx.ledger.put_sweep_mark(replace(mark, seen_ns=mark.seen_ns + 3600 * SECOND_NS))
    check_new(desk.database, NOW)
    with desk.database.snapshot() as tx:
        again = tx.ledger.sweep_mark()
    assert (again.upto_seq, again.seen_seq) == (mark.upto_seq, mark.seen_seq)
    assert mark.seen_ns <= again.seen_ns < mark.seen_ns + 3600 * SECOND_NS
    sweep(desk)
    assert len(desk.rows(t.ledger_lot.c.entry)) == 1


def test_the_sweep_alarms_about_an_entry_that_does_not_balance_once(shared_with_its_owner: Desk) -> None:
    """Each entry is looked at once, after it has settled; the lots are made on the way."""
    shared = shared_with_its_owner
    trade(shared, 1, 3)
    trade(shared, 2, -1)
    with shared.database.transaction() as tx:
        cash = (t.posting.c.entry == "SIM/E2", t.posting.c.account == "cash")
        tx.session.write(sa.update(t.posting).where(*cash).values(amount=Decimal(1)), {})
    check_new(shared.database, NOW)
    check_new(shared.database, NOW)
    assert shared.events("ledger.alarm") == []
    for _ in range(3):
        sweep(shared)
    [alarm] = shared.events("ledger.alarm")
    assert "SIM/E2" in alarm
    assert "expected amounts that sum to 0 USD" in alarm
    assert [int(number) for (number,) in shared.rows(t.ledger_lot.c.qty)] == [2]


def test_fills_adjustments_and_sweeps_at_once_lose_nothing(shared: Desk, colleague: Desk) -> None:
    """Whoever moves a position holds it: every quantity is there in the end, and the books hold."""
    rounds = 8

    def adjust() -> None:
        for number in range(rounds):
            move = (colleague.database, "ES", qty(10), Price(Decimal(4000)), NOW, voucher(number))
            retrying(partial(ledger_enter.adjust_position, *move))
            sweep(colleague)

    with ThreadPoolExecutor() as pool:
        adjusted = pool.submit(adjust)
        for number in range(rounds):
            retrying(partial(trade_again, shared, number))
        adjusted.result()
    assert int(shared.position.qty) == rounds * 11
    assert verify(shared.database).problems == ()


def trade_again(desk: Desk, number: int) -> None:
    """Have one filled, again where another writer was in the way."""
    name = an_order(f"T{number}").cl_ord_id
    with desk.database.snapshot() as tx:
        known = tx.orders.order(name) is not None
    if known:
        facts: dict[str, Any] = {"cum_qty": qty(1), "leaves_qty": qty(0), "side": Side.BUY}
        book(desk.database, BOOK_RULES, a_report(f"E{number}", cl_ord_id=name, last_qty=qty(1), **facts))
    else:
        trade(desk, number, 1)


def test_two_sweeps_at_once_do_the_work_of_one(shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second finds another mark, and leaves lots and mark alone."""
    trade(shared, 1, 3)
    sweep(shared)
    whole = Books.resting_on
    quick = iter([colleague])

    def while_another_sweeps(found: object) -> object:
        for other in quick:
            sweep(other)
        return whole(found)  # type: ignore[arg-type]

    with shared.database.transaction() as tx:
        mark = tx.ledger.sweep_mark()
        tx.ledger.put_sweep_mark(replace(mark, seen_ns=mark.seen_ns - SETTLED_NS))
    monkeypatch.setattr(Books, "resting_on", while_another_sweeps)
    check_new(shared.database, NOW)
    assert [int(number) for (number,) in shared.rows(t.ledger_lot.c.qty)] == [3]
    assert verify(shared.database).problems == ()


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda desk: ledger_enter.adjust_position(desk, "NQ", qty(1), Price(Decimal(1)), NOW, voucher()),
            "'NQ' is not",
        ),
        (
            lambda desk: ledger_enter.charge(desk, Kind.FEE, Money(Decimal(1)), NOW, voucher(), symbol="NQ"),
            "'NQ' is not",
        ),
        (lambda desk: ledger_enter.split(desk, "ES", 2, 1, NOW, voucher()), "expected a position in ES, found none"),
    ],
)
def test_what_is_refused_leaves_no_trace(desk: Desk, act: Callable[[Any], object], text: str) -> None:
    """No entry, no position, no event."""
    before = desk.everything()
    with pytest.raises((DataError, StateError), match=text):
        act(desk.database)
    assert desk.everything() == before


def test_an_account_that_was_never_opened_takes_nothing(empty: Desk) -> None:
    """It has no currency of its own."""
    with pytest.raises(StateError, match="no opening yet"):
        ledger_enter.adjust_money(empty.database, Money(Decimal(1)), NOW, voucher())
    assert verify(empty.database) == ledger_check.Verified(0, ())
