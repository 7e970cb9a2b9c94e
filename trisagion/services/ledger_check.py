"""Does the ledger balance: the whole of it when asked, what is new at each sweep.

The sweep looks at each new entry: its lines are all there and sum to zero, and the lots it closes exist. It also writes
those lots, so that a fill is booked without them. That costs as much as there is new. A whole verification adds up
every entry ever made and compares positions and lots with what comes out; it only reads.
"""

from dataclasses import dataclass, replace
from typing import Final

from trisagion.clock import SECOND_NS
from trisagion.errors import StateError
from trisagion.ledger.books import Books, lot_differences, position_differences
from trisagion.ledger.types import Lot, SweepMark, Voucher
from trisagion.ports import Database, Transaction

PAGE: Final = 1000
"""Entries that are read at a time."""

STRAYS_SHOWN: Final = 10

TEXT_MAX: Final = 2000
"""Characters of what was wrong that an event keeps."""

SETTLED_NS: Final = 10 * SECOND_NS
"""How long after an entry was numbered its transaction has ended: its reads, writes and waits have 5 s at most."""

SWEPT_MAX: Final = 5000
"""Entries that one sweep verifies; the others wait for the next."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found: how many entries there are, and a sentence for each thing that is wrong."""

    entries: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Whole:
    books: Books
    marked_lots: tuple[Lot, ...]
    flaws: tuple[str, ...]
    found: Verified


def read_books(tx: Transaction) -> Books:
    """Add up all entries of the database."""
    books = Books()
    _add(tx, books, 0, tx.ledger.last_seq())
    return books


def present_lots(tx: Transaction) -> tuple[Lot, ...]:
    """Return all lots in order of opening: the stored ones, and what the entries since have made of them."""
    stored = tx.ledger.lots()
    books = Books.resting_on(lot for lot in stored if lot.closed_ns is None)
    _add(tx, books, tx.ledger.sweep_mark().upto_seq, tx.ledger.last_seq())
    return tuple(({lot.entry: lot for lot in stored} | {lot.entry: lot for lot in books.own_lots()}).values())


def _add(tx: Transaction, books: Books, after_seq: int, upto_seq: int) -> None:
    while page := tx.ledger.entries(after_seq, PAGE, upto_seq):
        for booked in page:
            books.add(booked)
        after_seq = page[-1].seq


def verify(database: Database) -> Verified:
    """Hold the whole ledger, and the stored positions and lots, against the entries."""
    with database.snapshot() as tx:
        return _whole(tx).found


def _whole(tx: Transaction) -> _Whole:
    books, upto_seq = Books(), tx.ledger.sweep_mark().upto_seq
    _add(tx, books, 0, upto_seq)
    marked = books.own_lots()
    _add(tx, books, upto_seq, tx.ledger.last_seq())
    flaws = [text for _, text in books.problems]
    flaws += [f"entry {name}: expected a head, found postings alone" for name in tx.ledger.strays(STRAYS_SHOWN)]
    differences = position_differences(books, tx.ledger.positions()) + lot_differences(marked, tx.ledger.lots())
    return _Whole(books, marked, tuple(flaws), Verified(books.entries, (*flaws, *differences)))


def rebuild(database: Database, voucher: Voucher, now_ns: int) -> Verified:
    """Make positions and lots anew from the entries; return what was wrong before.

    Entries are never touched, and where one contradicts itself nothing is made of any (`StateError`). A quantity that
    changes is confirmed by nobody, and its symbol is not traded until the venue agrees.
    """
    with database.transaction() as tx:
        # Locked in one order before anything is added up, so that nobody books meanwhile.
        symbols = {instrument.symbol for instrument in tx.market.instruments()}
        symbols |= {position.symbol for position in tx.ledger.positions()}
        known = {symbol: tx.ledger.position(symbol) for symbol in sorted(symbols)}
        whole = _whole(tx)
        if whole.flaws:
            raise StateError("expected entries that hold, to make positions of them, found " + "; ".join(whole.flaws))
        if not whole.found.problems:
            return whole.found
        for symbol, before in known.items():
            made = whole.books.position(symbol)
            tx.ledger.save_position(replace(made, confirmed_ns=before.confirmed_ns if made.qty == before.qty else 0))
        tx.ledger.clear_lots()
        tx.ledger.save_lots(whole.marked_lots)
        told = {"operator": voucher.operator, "reason": voucher.reason, "evidence": voucher.evidence}
        was = "; ".join(whole.found.problems)[:TEXT_MAX]
        tx.control.add_event("ledger.rebuilt", "positions and lots", {**told, "was": was}, now_ns)
        return whole.found


def check_new(database: Database, now_ns: int) -> None:
    """Verify the entries that an earlier sweep saw and did not verify, and make lots of them; alarm about wrong ones.

    Entries are numbered before they are committed, so that a number may be seen before a smaller one: only what was
    numbered some seconds ago is complete.
    """
    with database.snapshot() as tx:
        mark, last_seq, wall_ns = tx.ledger.sweep_mark(), tx.ledger.last_seq(), tx.control.wall_ns()
        if last_seq == mark.seen_seq == mark.upto_seq or 0 <= wall_ns - mark.seen_ns < SETTLED_NS:
            return
        # Seen later than now: the database's clock was set back, and what was seen is to settle by the one there is.
        set_back = wall_ns < mark.seen_ns
        due = [] if set_back else tx.ledger.entries(mark.upto_seq, SWEPT_MAX, mark.seen_seq)
        books = Books.resting_on(tx.ledger.open_lots())
    for booked in due:
        books.add(booked)
    upto_seq = due[-1].seq if len(due) == SWEPT_MAX else mark.upto_seq if set_back else mark.seen_seq
    with database.transaction() as tx:
        if tx.ledger.sweep_mark() != mark:
            return  # another sweep was quicker
        tx.ledger.save_lots(books.own_lots())
        for name, problem in books.problems:
            tx.control.add_event("ledger.alarm", name, {"text": problem}, now_ns)
        tx.ledger.put_sweep_mark(SweepMark(upto_seq, last_seq, wall_ns))
