"""What a person enters: lines by hand, names by evidence, and refusals."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import ES, qty
from trisagion.errors import DataError
from trisagion.ledger import by_hand
from trisagion.ledger.types import Entry, Kind, Position, Voucher
from trisagion.units import Money, Price

VOUCHER = Voucher("anna", "statement differs", "statement 2024-06, page 3")
LONG = Position("ES", qty(3), Money(Decimal(600)), Money(Decimal(7)), Money(Decimal(1)), 5)


def told(entry: Entry) -> list[tuple[str, int, int]]:
    """Return account, amount and quantity of each line."""
    return [(line.account.value, int(line.amount), int(line.qty)) for line in entry.postings]


def eur(**changes: object) -> tuple[Entry, ...]:
    """Return a fee of ten euros."""
    given: dict[str, object] = {"home": "USD", **changes}
    return by_hand.charge(Kind.FEE, Money(Decimal(10)), "EUR", 9, VOUCHER, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entries", "lines"),
    [
        (
            by_hand.transfer(Money(Decimal(500)), "USD", 9, VOUCHER),
            [[("cash", 500, 0), ("capital", -500, 0)]],
        ),
        (
            by_hand.transfer(Money(Decimal(-500)), "USD", 9, VOUCHER, counter="BANK"),
            [[("cash", -500, 0), ("capital", 500, 0)], [("cash", 500, 0), ("capital", -500, 0)]],
        ),
        (
            by_hand.charge(Kind.FINANCING, Money(Decimal(12)), "USD", 9, VOUCHER, home="USD"),
            [[("financing", 12, 0), ("cash", -12, 0)]],
        ),
        (
            by_hand.charge(Kind.FEE, Money(Decimal(-2)), "USD", 9, VOUCHER, home="USD"),
            [[("rebates", -2, 0), ("cash", 2, 0)]],
        ),
        (eur(), [[("fees", 10, 0), ("cash", -10, 0)]]),
        (
            eur(fx_rate=Decimal("1.1")),
            [[("exchange", 10, 0), ("cash", -10, 0)], [("fees", 11, 0), ("exchange", -11, 0)]],
        ),
        (
            (by_hand.adjust_money(Money(Decimal(-4)), "USD", 9, VOUCHER),),
            [[("cash", -4, 0), ("adjustment", 4, 0)]],
        ),
        (
            by_hand.adjust_position(LONG, qty(-4), Price(Decimal(5)), ES, 9, VOUCHER)[:1],
            [[("inventory", -600, -3), ("inventory", -250, -1), ("realised", -150, 0), ("adjustment", 1000, 0)]],
        ),
        (by_hand.split(LONG, 4, 1, ES, 9, VOUCHER)[:1], [[("inventory", 0, 9)]]),
    ],
)
def test_each_kind_is_posted_as_the_manual_says(
    entries: tuple[Entry, ...], lines: list[list[tuple[str, int, int]]]
) -> None:
    """Account by account; every entry says who entered it and is in one currency."""
    assert [told(entry) for entry in entries] == lines
    assert {entry.voucher for entry in entries} == {VOUCHER}
    assert all(sum(line.amount for line in entry.postings) == 0 for entry in entries)


def test_a_rate_is_kept_and_what_has_none_stays_foreign() -> None:
    """The two entries of a converted charge are in two currencies, each with the rate; an unconverted one has none."""
    assert [(entry.currency, entry.fx_rate) for entry in eur(fx_rate=Decimal("1.1"))] == [
        ("EUR", Decimal("1.1")),
        ("USD", Decimal("1.1")),
    ]
    assert [(entry.currency, entry.fx_rate) for entry in eur()] == [("EUR", None)]


def test_an_adjusted_or_split_position_is_what_its_lines_make() -> None:
    """A turn at a price realises; a split moves quantity alone."""
    _, turned = by_hand.adjust_position(LONG, qty(-4), Price(Decimal(5)), ES, 9, VOUCHER)
    assert [int(number) for number in (turned.qty, turned.cost, turned.realised, turned.fees)] == [-1, -250, 157, 1]
    _, quadrupled = by_hand.split(LONG, 4, 1, ES, 9, VOUCHER)
    assert quadrupled == replace(LONG, qty=qty(12))


def test_one_fact_has_one_name_and_another_fact_another() -> None:
    """The name depends on what is entered and by what evidence, not on when, who or why."""

    def name(amount: int = 5, now_ns: int = 9, book: str | None = None, **changes: str) -> str:
        voucher = replace(VOUCHER, **changes)
        return by_hand.adjust_money(Money(Decimal(amount)), "USD", now_ns, voucher, book=book).name

    assert name() == name(now_ns=10) == name(operator="bob") == name(reason="again")
    assert len({name(), name(6), name(book="BANK"), name(evidence="page 4")}) == 4


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: Voucher("anna", " ", "page 3"), "an operator, a reason and evidence.*found ' ' as reason"),
        (lambda: Voucher("", "why", "page 3"), "as operator"),
        (lambda: Voucher("anna", "why", ""), "as evidence"),
        (lambda: Voucher("anna", "why", "x" * 129), "as evidence"),
        (lambda: by_hand.transfer(Money(Decimal(0)), "USD", 9, VOUCHER), "other than 0"),
        (lambda: by_hand.transfer(Money(Decimal(1)), "USD", 9, VOUCHER, book="A", counter="A"), "two accounts"),
        (lambda: eur(fx_rate=Decimal(0)), "a rate above 0, found 0"),
        (lambda: eur(home="EUR", fx_rate=Decimal(2)), "no rate of EUR in itself"),
        (
            lambda: by_hand.adjust_position(LONG, qty("0.5"), Price(Decimal(5)), ES, 9, VOUCHER),
            "whole lots of 1, found 0.5",
        ),
        (lambda: by_hand.split(LONG, 1, 2, ES, 9, VOUCHER), "whole lots of ES after 1:2, found 1.5"),
        (lambda: by_hand.split(LONG, 1, 7, replace(ES, lot_size=Decimal("1E-12")), 9, VOUCHER), "whole lots"),
        (lambda: by_hand.split(LONG, 2, 2, ES, 9, VOUCHER), "two different whole numbers"),
        (lambda: by_hand.split(LONG, 2, 0, ES, 9, VOUCHER), "two different whole numbers"),
        (lambda: by_hand.split(Position.flat("ES"), 2, 1, ES, 9, VOUCHER), "expected a position in ES"),
    ],
)
def test_what_cannot_be_booked_is_refused_with_a_sentence(act: Callable[[], object], text: str) -> None:
    """Nothing by nobody, without evidence, of nothing, at no rate, or in fractions of a lot."""
    with pytest.raises(DataError, match=text):
        act()
