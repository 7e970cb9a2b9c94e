"""Lots by hand, and what holds for every history of entries of every kind."""

from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.builders import CAPITAL, ES, a_report, qty
from trisagion.errors import DataError, OurMistake
from trisagion.ledger import by_hand
from trisagion.ledger.books import Books, flaws, lot_differences, position_differences
from trisagion.ledger.lots import matched
from trisagion.ledger.postings import OUTSIDE, book_fill, cash, opening, reverse_fill, with_posting
from trisagion.ledger.types import Account, Booked, Entry, Kind, Lot, Position, Voucher
from trisagion.orders.types import ExecutionReport, Side
from trisagion.units import Money, Price, Quantity

ONE = replace(ES, multiplier=Decimal(1))
VOUCHER = Voucher("anna", "tested", "case 1")


def fill(number: int, signed: object, px: object, fee: object = 0) -> ExecutionReport:
    """Make a fill of a signed quantity."""
    amount = Decimal(str(signed))
    side = Side.BUY if amount > 0 else Side.SELL
    price, paid = Price(Decimal(str(px))), Money(Decimal(str(fee)))
    return a_report(f"E{number}", side=side, last_qty=qty(abs(amount)), last_px=price, fee=paid, happened_ns=number)


def lots_of(*fills: tuple[object, object]) -> list[Lot]:
    """Book fills one after the other; return all lots in order of opening."""
    books, position = Books(home="USD"), Position.flat("ES")
    for number, (signed, px) in enumerate(fills):
        entry, position = book_fill(position, fill(number, signed, px), ONE)
        books.add(Booked(number + 1, len(entry.postings), entry))
    return list(books.own_lots())


@pytest.mark.parametrize(
    ("fills", "expected"),
    [
        ([(2, 10)], [("2", "20", "0")]),
        ([(2, 10), (1, 20)], [("2", "20", "0"), ("1", "20", "0")]),
        ([(2, 10), (1, 20), (-1, 30)], [("1", "10", "20"), ("1", "20", "0")]),
        ([(2, 10), (1, 20), (-3, 30)], [("0", "0", "40"), ("0", "0", "10")]),
        ([(2, 10), (-5, 30)], [("0", "0", "40"), ("-3", "-90", "0")]),
        ([(-2, 30), (1, 10), (1, 20)], [("0", "0", "30")]),
        ([(-2, 30), (3, 10)], [("0", "0", "40"), ("1", "10", "0")]),
    ],
)
def test_the_oldest_lot_is_closed_first(
    fills: list[tuple[object, object]], expected: list[tuple[str, str, str]]
) -> None:
    """Opening, adding, reducing, closing and turning round, long and short: what is left, its cost, its profit."""
    found = [(lot.qty, lot.cost, lot.realised) for lot in lots_of(*fills)]
    assert found == [tuple(Decimal(number) for number in row) for row in expected]


def test_a_lot_knows_what_opened_it_and_when_it_was_closed() -> None:
    """By the entry of the fill; an open lot has no end."""
    first, second = lots_of((2, 10), (1, 20), (-2, 30))
    assert (first.entry, int(first.opened_qty), int(first.opened_cost), first.opened_ns) == ("SIM/E0", 2, 20, 0)
    assert (first.closed_ns, second.closed_ns) == (2, None)


def test_a_bust_closes_its_own_lot_before_others() -> None:
    """The lot of the fill that never was goes, at what it cost; the older one stays."""
    older, after = book_fill(Position.flat("ES"), fill(0, 2, 10), ONE)
    newer, after = book_fill(after, fill(1, 1, 50), ONE)
    undo, _ = reverse_fill(after, fill(1, 1, 50), ONE, 9)
    lots = [*matched((), older, "ES"), *matched((), newer, "ES")]
    [gone] = matched(lots, undo, "ES")
    assert (gone.entry, int(gone.qty), int(gone.realised), gone.closed_ns) == ("SIM/E1", 0, 0, 9)


def test_what_no_lot_holds_cannot_be_closed() -> None:
    """An entry that closes more than the lots have is refused: something is missing."""
    entry, _ = book_fill(Position.flat("ES"), fill(0, 2, 10), ONE)
    lots = matched((), entry, "ES")
    sold, _ = book_fill(replace(Position.flat("ES"), qty=qty(3), cost=Money(Decimal(30))), fill(1, -3, 10), ONE)
    with pytest.raises(OurMistake, match="found 1 too few"):
        matched(lots, sold, "ES")


def test_what_a_split_makes_too_small_for_a_lot_leaves_its_cost_behind() -> None:
    """A lot of the last place, split one for ten, is nothing; what it cost is the other's."""
    tiny = Quantity(Decimal("0.000000000001"))
    lots = [
        Lot("A", "ES", tiny, Money(Decimal(3)), tiny, Money(Decimal(3)), Money(Decimal(0)), 1, None),
        Lot("B", "ES", qty(10), Money(Decimal(5)), qty(10), Money(Decimal(5)), Money(Decimal(0)), 2, None),
    ]
    held = replace(Position.flat("ES"), qty=Quantity(10 + tiny), cost=Money(Decimal(8)))
    entry, _ = by_hand.split(held, 2, 1, replace(ONE, lot_size=tiny), 9, VOUCHER)
    merged = replace(entry, postings=(replace(entry.postings[0], qty=Quantity(-9 - tiny)),))
    gone, kept = matched(lots, merged, "ES")
    assert (int(gone.qty), int(gone.cost), gone.closed_ns) == (0, 0, 9)
    assert (int(kept.qty), int(kept.cost)) == (1, 8)


SIGNED = st.integers(-9, 9).filter(bool)
PRICES = st.decimals(min_value=Decimal("0.01"), max_value=Decimal(10**6), places=8)
AMOUNTS = st.decimals(min_value=-(10**5), max_value=10**5, places=6).filter(bool)
FEES = st.decimals(min_value=-10, max_value=100, places=12)


class Ledger(RuleBasedStateMachine):
    """Entries of every kind in any order: what the platform keeps beside them, and what they add up to."""

    @initialize(multiplier=st.sampled_from([Decimal(1), Decimal(50), Decimal("0.000333")]))
    def open_it(self, multiplier: Decimal) -> None:
        """Found the account."""
        # Fractions of a lot may remain after a split.
        self.instrument = replace(ES, multiplier=multiplier, lot_size=Decimal("0.000000000001"))
        self.position = Position.flat("ES")
        self.entries: list[Booked] = []
        self.fills: dict[int, ExecutionReport] = {}
        self.swept = 0
        self.stored: dict[str, Lot] = {}
        self.enter(opening(CAPITAL, 0, "USD"))

    def enter(self, entry: Entry, after: Position | None = None) -> None:
        """Book an entry, and the position after it."""
        assert entry.name not in {booked.entry.name for booked in self.entries}
        self.entries.append(Booked(len(self.entries) + 1, len(entry.postings), entry))
        self.position = after or self.position

    def voucher(self) -> Voucher:
        """Return evidence of its own for each entry."""
        return Voucher("anna", "tested", f"case {len(self.entries)}")

    @rule(signed=SIGNED, px=PRICES, fee=FEES)
    def trade(self, signed: int, px: Decimal, fee: Decimal) -> None:
        """Fill."""
        report = fill(len(self.entries), signed, px, fee)
        self.fills[len(self.entries)] = report
        self.enter(*book_fill(self.position, report, self.instrument))

    @precondition(lambda self: self.fills)
    @rule(data=st.data(), corrected=st.booleans(), px=PRICES)
    def bust(self, data: st.DataObject, corrected: bool, px: Decimal) -> None:
        """Take a fill back; a correction puts another in its place."""
        report = self.fills.pop(data.draw(st.sampled_from(sorted(self.fills))))
        self.enter(*reverse_fill(self.position, report, self.instrument, len(self.entries)))
        if corrected:
            self.trade(report.side.sign * int(report.last_qty), px, report.fee)

    @rule(
        kind=st.sampled_from([Kind.FEE, Kind.FINANCING]),
        amount=AMOUNTS,
        foreign=st.sampled_from([None, Decimal(0), Decimal("1.0837")]),
    )
    def charge(self, kind: Kind, amount: Decimal, foreign: Decimal | None) -> None:
        """Charge or pay something, in the own currency or another one, with a rate or without."""
        currency, rate = ("USD", None) if foreign is None else ("EUR", foreign or None)
        entries = by_hand.charge(
            kind,
            Money(amount),
            currency,
            len(self.entries),
            self.voucher(),
            home="USD",
            fx_rate=rate,
            symbol="ES",
        )
        for entry in entries:
            after = self.position
            for posting in entry.postings if entry.currency == "USD" else ():
                after = with_posting(after, posting)
            self.enter(entry, after)

    @rule(amount=AMOUNTS, counter=st.sampled_from([None, "BANK"]))
    def transfer(self, amount: Decimal, counter: str | None) -> None:
        """Deposit or withdraw."""
        for entry in by_hand.transfer(Money(amount), "USD", len(self.entries), self.voucher(), counter=counter):
            self.enter(entry)

    @rule(amount=AMOUNTS)
    def adjust_money(self, amount: Decimal) -> None:
        """Correct cash."""
        self.enter(by_hand.adjust_money(Money(amount), "USD", len(self.entries), self.voucher()))

    @rule(signed=SIGNED, px=PRICES)
    def adjust_position(self, signed: int, px: Decimal) -> None:
        """Correct the position."""
        entry, after = by_hand.adjust_position(
            self.position, qty(signed), Price(px), self.instrument, len(self.entries), self.voucher()
        )
        self.enter(entry, after)

    @precondition(lambda self: self.position.qty)
    @rule(ratio=st.sampled_from([(2, 1), (3, 2), (1, 2), (1, 10), (7, 4)]))
    def split(self, ratio: tuple[int, int]) -> None:
        """Split; what was filled before is in other units from now on."""
        try:
            entry, after = by_hand.split(self.position, *ratio, self.instrument, len(self.entries), self.voucher())
        except DataError:
            return  # more places than the database keeps
        self.fills.clear()
        self.enter(entry, after)

    @precondition(lambda self: self.position.qty)
    @rule(px=PRICES)
    def close(self, px: Decimal) -> None:
        """Sell or buy all of it: then both ways of counting profit agree."""
        self.enter(*book_fill(self.position, fill(len(self.entries), -self.position.qty, px), self.instrument))

    @rule()
    def sweep(self) -> None:
        """Store the lots as of now, resting on those that were open."""
        books = Books.resting_on(lot for lot in self.stored.values() if lot.closed_ns is None)
        for booked in self.entries[self.swept :]:
            books.add(booked)
        assert not books.problems
        self.stored |= {lot.entry: lot for lot in books.own_lots()}
        self.swept = len(self.entries)
        whole = Books()
        for booked in self.entries:
            whole.add(booked)
        assert lot_differences(whole.own_lots(), tuple(self.stored.values())) == []

    @invariant()
    def the_books_hold(self) -> None:
        """Entries sum to zero; adding them up makes position and cash to the last digit; flat is flat both ways."""
        books = Books()
        for booked in self.entries:
            assert flaws(booked) == []
            books.add(booked)
        assert books.problems == []
        assert position_differences(books, [self.position]) == []
        with localcontext(prec=60):
            sums = dict.fromkeys(Account, Decimal(0))
            total: dict[str, Decimal] = {}
            for key, amount in books.balances.items():
                total[key.currency] = total.get(key.currency, Decimal(0)) + amount
                if not key.book and key.currency == "USD":
                    sums[key.account] += amount
            assert set(total.values()) == {Decimal(0)}
            outside = Money(sum((sums[account] for account in OUTSIDE), Decimal(0)))
            assert cash(outside, [self.position]) == sums[Account.CASH] + sums[Account.EXCHANGE]
            if self.position.qty == 0:
                profits = sum((lot.realised for lot in books.own_lots()), Decimal(0))
                assert profits == self.position.realised
                assert all(lot.closed_ns is not None and lot.cost == 0 for lot in books.own_lots())


Ledger.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestEveryHistoryOfEntries = Ledger.TestCase
