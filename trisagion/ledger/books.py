"""All entries added up again, one after the other: what is stored beside them must equal it to the last digit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Final

from trisagion.errors import OurMistake
from trisagion.ledger.lots import matched
from trisagion.ledger.postings import OPENING, with_posting
from trisagion.ledger.types import Account, Booked, Entry, Lot, Position, Posting, Strategy
from trisagion.units import WIDE, plain

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, order=True)
class Balance:
    """Whose balance, of what: `book` is empty for the platform's own account, `symbol` where it is of none."""

    book: str
    account: Account
    currency: str
    strategy: Strategy
    symbol: str


@dataclass(slots=True)
class Books:
    """The sums of all entries so far, or since those that the open lots of `resting_on` come from.

    `book` None is the platform's own account, `home` its currency.
    """

    home: str | None = None
    balances: dict[Balance, Decimal] = field(default_factory=dict)
    positions: dict[tuple[str | None, str], Position] = field(default_factory=dict)
    open_lots: dict[tuple[str | None, str], dict[str, Lot]] = field(default_factory=dict)
    changed_lots: dict[tuple[str | None, str], Lot] = field(default_factory=dict)
    entries: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def resting_on(cls, lots: Iterable[Lot]) -> "Books":
        """Return books that begin with the open lots of the platform's own account."""
        books = cls()
        for lot in lots:
            books.open_lots.setdefault((None, lot.symbol), {})[lot.entry] = lot
        return books

    def add(self, booked: Booked) -> None:
        """Add the next entry in order of booking; one that contradicts itself is a problem and still counts."""
        entry = booked.entry
        self.entries += 1
        self.problems += [(entry.name, flaw) for flaw in flaws(booked)]
        if entry.name == OPENING:
            self.home = entry.currency
        for posting in entry.postings:
            self._add(entry, posting)
        for symbol in dict.fromkeys(p.symbol for p in entry.postings if p.account is Account.INVENTORY and p.symbol):
            self._match(entry, symbol)

    def _add(self, entry: Entry, posting: Posting) -> None:
        key = Balance(entry.book or "", posting.account, entry.currency, entry.strategy, posting.symbol or "")
        with localcontext(WIDE):
            self.balances[key] = self.balances.get(key, _ZERO) + posting.amount
        # A fee in another currency is no part of a position, whose money is all of one.
        if posting.symbol is not None and entry.currency == self.home:
            at = (entry.book, posting.symbol)
            self.positions[at] = with_posting(self.positions.get(at, Position.flat(posting.symbol)), posting)

    def _match(self, entry: Entry, symbol: str) -> None:
        still_open = self.open_lots.setdefault((entry.book, symbol), {})
        try:
            changed = matched(tuple(still_open.values()), entry, symbol)
        except OurMistake as error:
            self.problems.append((entry.name, str(error)))
            return
        for lot in changed:
            self.changed_lots[entry.book, lot.entry] = lot
            if lot.closed_ns is None:
                still_open[lot.entry] = lot
            else:
                del still_open[lot.entry]

    def position(self, symbol: str, book: str | None = None) -> Position:
        """Return a position, flat where nothing was ever booked."""
        return self.positions.get((book, symbol), Position.flat(symbol))

    def own_lots(self) -> tuple[Lot, ...]:
        """Return the lots of our own account that entries changed or opened, in order of the first change."""
        return tuple(lot for (book, _), lot in self.changed_lots.items() if book is None)

    def own_symbols(self) -> tuple[str, ...]:
        """Return the symbols of the platform's own account in order."""
        return tuple(sorted(symbol for book, symbol in self.positions if book is None))


def flaws(booked: Booked) -> list[str]:
    """Return what is wrong with an entry by itself: lines that are missing or too many, a sum that is not zero."""
    entry = booked.entry
    found = []
    if [posting.line for posting in entry.postings] != list(range(booked.lines)):
        numbers = ", ".join(str(posting.line) for posting in entry.postings) or "none"
        found.append(f"entry {entry.name}: expected {booked.lines} lines, numbered from 0, found {numbers}")
    with localcontext(WIDE):
        total = sum((posting.amount for posting in entry.postings), _ZERO)
    if total != 0:
        found.append(f"entry {entry.name}: expected amounts that sum to 0 {entry.currency}, found {plain(total)}")
    return found


def position_differences(books: Books, positions: Iterable[Position]) -> list[str]:
    """Return how stored positions of the platform's own account differ from what all entries and their lots make.

    `confirmed_ns` is no matter of entries and is not compared.
    """
    stored = {position.symbol: replace(position, confirmed_ns=0) for position in positions}
    found = []
    for symbol in sorted({*stored, *books.own_symbols()}):
        made, kept = books.position(symbol), stored.get(symbol, Position.flat(symbol))
        found += [
            f"position {symbol}: expected {name} {plain(getattr(made, name))}, found {plain(getattr(kept, name))}"
            for name in ("qty", "cost", "realised", "fees")
            if plain(getattr(made, name)) != plain(getattr(kept, name))
        ]
        with localcontext(WIDE):
            held = sum((lot.qty for lot in books.open_lots.get((None, symbol), {}).values()), _ZERO)
        if held != made.qty:
            found.append(f"lots of {symbol}: expected {plain(made.qty)} in all, found {plain(held)}")
    return found


def lot_differences(made: Sequence[Lot], kept: Sequence[Lot]) -> list[str]:
    """Return how stored lots differ from those that the entries make, both in order of opening."""
    ours, theirs = {lot.entry: lot for lot in made}, {lot.entry: lot for lot in kept}
    found = [
        f"lot {name}: expected {_told(ours.get(name))}, found {_told(theirs.get(name))}"
        for name in {**ours, **theirs}
        if _told(ours.get(name)) != _told(theirs.get(name))
    ]
    if not found and list(ours) != list(theirs):
        found = ["lots: expected the order of their opening, found another"]
    return found


def _told(lot: Lot | None) -> str:
    if lot is None:
        return "none"
    exact = (lot.opened_qty, lot.opened_cost, lot.qty, lot.cost, lot.realised)
    return f"{lot.symbol} {' '.join(plain(number) for number in exact)} {lot.opened_ns} {lot.closed_ns}"
