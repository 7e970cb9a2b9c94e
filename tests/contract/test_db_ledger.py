"""The store of the books: entries in order of booking, exact balances, lots and the sweep's mark."""

from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import insert_new, params
from trisagion.errors import OurMistake, UnreadableRow
from trisagion.ledger import by_hand
from trisagion.ledger.postings import opening
from trisagion.ledger.types import Account, Booked, Entry, Kind, Lot, Strategy, SweepMark, Voucher
from trisagion.units import Money, Quantity

NOW = 1_700_000_000_000_000_000
BIG = Decimal("99999999999999999999999999.999999999999")
"""The largest of 38 digits."""


def a_voucher(case: object) -> Voucher:
    """Return evidence, with what SQL might mistake."""
    return Voucher("anna", 'why\'s "that"? Ω 😀', f"page {case};--")


def transfer(amount: object, case: object = 1, currency: str = "USD", book: str | None = None) -> Entry:
    """Return a deposit."""
    [entry] = by_hand.transfer(Money(Decimal(str(amount))), currency, NOW, a_voucher(case), book=book)
    return entry


def a_lot(name: str, qty: object, closed_ns: int | None = None) -> Lot:
    """Return a lot of ten."""
    ten, left, zero = Quantity(Decimal(10)), Quantity(Decimal(str(qty))), Money(Decimal(0))
    return Lot(name, "ES", ten, Money(BIG), left, Money(Decimal("0.000000000001")), zero, NOW, closed_ns)


def test_entries_come_back_in_order_of_booking_as_they_were(database: SqlDatabase) -> None:
    """Head, lines, voucher and rate; page by page and up to a number."""
    voucher = a_voucher(2)
    rate = Decimal("0.123456789012")
    charged = by_hand.charge(
        Kind.FEE, Money(Decimal("1.25")), "EUR", NOW, voucher, home="USD", fx_rate=rate, symbol="ES"
    )
    posted = [opening(Money(BIG), 1, "USD"), transfer("0.000000000001", book="BANK"), *charged]
    with database.transaction() as tx:
        assert tx.ledger.last_seq() == 0
        assert all(tx.ledger.post(entry) for entry in posted)
    with database.snapshot() as tx:
        found = tx.ledger.entries(0, 9)
        assert [booked.entry for booked in found] == posted
        assert all(booked.lines == len(booked.entry.postings) for booked in found)
        assert tx.ledger.entries(0, 2) == found[:2]
        assert tx.ledger.entries(found[1].seq, 9) == found[2:]
        assert tx.ledger.entries(found[0].seq, 9, found[2].seq) == found[1:3]
        assert tx.ledger.entries(found[-1].seq, 9) == []
        assert tx.ledger.last_seq() == found[-1].seq
        assert isinstance(found[0], Booked)


def test_a_balance_is_of_our_own_account_in_its_own_currency_to_the_last_digit(database: SqlDatabase) -> None:
    """Not of another account's books, nor of another currency; several accounts at once."""
    with database.transaction() as tx:
        assert tx.ledger.home() is None
        assert tx.ledger.balance(Account.CASH) == 0
        tx.ledger.post(opening(Money(BIG), 1, "USD"))
        for number in range(9):
            tx.ledger.post(transfer(BIG, number))
        tx.ledger.post(transfer("0.1", "a"))
        tx.ledger.post(transfer("0.2", "b"))
        tx.ledger.post(transfer(7, "c", currency="EUR"))
        tx.ledger.post(transfer(7, "d", book="BANK"))
        assert tx.ledger.home() == "USD"
        assert tx.ledger.balance(Account.CASH) == Decimal("1000000000000000000000000000.299999999990")
        assert tx.ledger.balance(Account.CASH, Account.CAPITAL) == 0
        assert tx.ledger.balance(Account.FEES) == 0


def test_lots_are_kept_by_the_entry_that_opened_them(database: SqlDatabase) -> None:
    """In order of opening, whatever becomes of them later; the open ones alone, if asked for."""
    with database.transaction() as tx:
        tx.ledger.save_lots([])
        tx.ledger.save_lots([a_lot("B", 10), a_lot("A", 10)])
        tx.ledger.save_lots([a_lot("C", 5), a_lot("B", 0, closed_ns=NOW)])
        assert tx.ledger.lots() == [a_lot("B", 0, closed_ns=NOW), a_lot("A", 10), a_lot("C", 5)]
        assert tx.ledger.open_lots() == [a_lot("A", 10), a_lot("C", 5)]
        tx.ledger.clear_lots()
        assert tx.ledger.lots() == []


def test_the_mark_is_the_last_one_put(database: SqlDatabase) -> None:
    """Nothing was swept before the first."""
    with database.transaction() as tx:
        assert tx.ledger.sweep_mark() == SweepMark()
        for mark in (SweepMark(0, 5, NOW), SweepMark(5, 9, NOW + 1)):
            tx.ledger.put_sweep_mark(mark)
            assert tx.ledger.sweep_mark() == mark


def test_a_split_is_known_to_what_was_booked_before_it(database: SqlDatabase) -> None:
    """Of its symbol, in our own account."""
    before, after = transfer(1, "before"), transfer(1, "after")
    lot = opening(Money(Decimal(1)), 1, "USD").postings[0]
    line = replace(lot, entry="split/1", account=Account.INVENTORY, symbol="ES", amount=Money(Decimal(0)))
    split = Entry("split/1", Kind.SPLIT, Strategy.HOUSE, "USD", NOW, (replace(line, qty=Quantity(Decimal(3))),))
    other = replace(split, name="split/2", book="BANK", postings=(replace(split.postings[0], entry="split/2"),))
    with database.transaction() as tx:
        for entry in (before, split, after, other):
            tx.ledger.post(entry)
        assert tx.ledger.split_after(before.name, "ES")
        assert not tx.ledger.split_after(before.name, "NQ")
        assert not tx.ledger.split_after(after.name, "ES")
        assert not tx.ledger.split_after("nobody's", "ES")


def test_the_database_itself_gives_no_head_to_lines_that_do_not_sum_to_zero(database: SqlDatabase) -> None:
    """A balanced entry of ours beside a line that was there already is not balanced: nothing of it is kept."""
    good = transfer("0.1")
    beside = replace(good.postings[0], line=2, amount=Money(Decimal("1E-12")))
    for stray in (beside, good.postings[1]):
        told = pytest.raises(OurMistake, match=rf"{good.name}: expected 2 new lines.*these sum to 0")
        with told, database.transaction() as tx:
            tx.session.write(sa.insert(t.posting), params(stray))
            tx.ledger.post(good)
    with database.transaction() as tx:
        assert tx.ledger.strays(9) == []
        assert tx.ledger.post(good)


def test_an_insert_of_what_must_be_new_tells_a_taken_key_from_other_mistakes(database: SqlDatabase) -> None:
    """0 for the one, raised for the others; the transaction goes on."""
    first, second = transfer(1, "a"), transfer(2, "b")
    with database.transaction() as tx:
        assert tx.ledger.post(first)
        with pytest.raises(sa.exc.IntegrityError):
            tx.session.add(insert_new(t.posting), {**params(second.postings[0]), "qty": None})
        assert not tx.ledger.post(first)
        assert tx.ledger.post(second)
    with database.snapshot() as tx:
        assert [booked.entry for booked in tx.ledger.entries(0, 9)] == [first, second]


def test_postings_without_a_head_are_found(database: SqlDatabase) -> None:
    """By the names of their entries, so many at most."""
    entries = [transfer(1, case) for case in ("a", "b", "c")]
    names = sorted(entry.name for entry in entries)
    with database.transaction() as tx:
        tx.ledger.post(transfer(1, "d"))
        assert tx.ledger.strays(9) == []
        for posting in (posting for entry in entries for posting in entry.postings):
            tx.session.write(sa.insert(t.posting), params(posting))
        assert tx.ledger.strays(9) == names
        assert tx.ledger.strays(2) == names[:2]


@pytest.mark.parametrize(
    "damage",
    [
        sa.update(t.ledger_entry).values(kind="gift"),
        sa.update(t.ledger_entry).values(strategy="luck"),
        sa.update(t.posting).values(account="mattress"),
    ],
    ids=["kind", "strategy", "account"],
)
def test_a_word_that_is_none_of_ours_is_told(owned_url: str, damage: sa.Update) -> None:
    """Row and word, never a guess."""
    entry = transfer(1)
    with closing(open_database(owned_url)) as database:
        with database.transaction() as tx:
            tx.ledger.post(entry)
            tx.session.write(damage, {})
        with pytest.raises(UnreadableRow, match=f"{entry.name}.*expected a word of ours"), database.snapshot() as tx:
            tx.ledger.entries(0, 9)


def test_an_entry_of_two_bookings_at_once_is_booked_by_one(database: SqlDatabase, other: SqlDatabase) -> None:
    """The second is told that it is there, and adds no line."""
    for desk, first in ((database, True), (other, False)):
        with desk.transaction() as tx:
            assert tx.ledger.post(transfer(1)) is first
    with database.snapshot() as tx:
        assert [booked.lines for booked in tx.ledger.entries(0, 9)] == [2]
        assert len(tx.session.rows(sa.select(t.posting))) == 2
