"""Postings: fills by hand, and what holds for every history of fills."""

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import ES
from trisagion.errors import DataError, VenueMistake
from trisagion.ids import ClOrdId
from trisagion.ledger.postings import book_fill, cash, equity, opening, rebuild, unrealised
from trisagion.ledger.types import Account, Position, Posting
from trisagion.market.types import Instrument
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Side
from trisagion.units import Money, Price, Quantity

CAPITAL = Money(Decimal(100000))
Fill = tuple[Side, str, str, str]
"""Side, quantity, price, fee."""


def report(number: int, fill: Fill, symbol: str = "ES") -> ExecutionReport:
    """Make the execution report of a fill."""
    side, qty, px, fee = fill
    return ExecutionReport(
        venue="SIM",
        exec_id=f"E{number}",
        cl_ord_id=ClOrdId("T1"),
        order_id="O1",
        exec_type=ExecType.TRADE,
        ord_status=OrderState.FILLED,
        symbol=symbol,
        side=side,
        last_qty=Quantity(Decimal(qty)),
        last_px=Price(Decimal(px)),
        cum_qty=Quantity(Decimal(qty)),
        leaves_qty=Quantity(Decimal(0)),
        avg_px=Decimal(px),
        fee=Money(Decimal(fee)),
        liquidity=Liquidity.MAKER,
        reason=None,
        unknown_order=False,
        happened_ns=1000 + number,
    )


def book(fills: list[Fill], instrument: Instrument = ES) -> tuple[list[tuple[Posting, ...]], list[Position]]:
    """Book fills one after the other; return each entry, the opening first, and each position, the flat one first."""
    entries = [opening(CAPITAL, 1, "USD").postings]
    positions = [Position.flat(instrument.symbol)]
    for number, fill in enumerate(fills):
        entry, after = book_fill(positions[-1], report(number, fill, instrument.symbol), instrument)
        entries.append(entry.postings)
        positions.append(after)
    return entries, positions


def total(entries: list[tuple[Posting, ...]], account: Account) -> Decimal:
    """Sum an account exactly."""
    with localcontext(prec=60):
        return sum((line.amount for entry in entries for line in entry if line.account is account), Decimal(0))


BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    ("fills", "qty", "cost", "realised", "fees", "cash"),
    [
        ([(BUY, "2", "5000", "4")], "2", "500000", "0", "4", "-400004"),
        ([(SELL, "2", "5000", "4")], "-2", "-500000", "0", "4", "599996"),
        ([(BUY, "1", "5000", "2"), (BUY, "1", "5010", "2")], "2", "500500", "0", "4", "-400504"),
        ([(BUY, "2", "5000", "4"), (SELL, "1", "5010", "2")], "1", "250000", "500", "6", "-149506"),
        ([(BUY, "2", "5000", "4"), (SELL, "2", "4990", "4")], "0", "0", "-1000", "8", "98992"),
        ([(SELL, "2", "5000", "4"), (BUY, "1", "4990", "2")], "-1", "-250000", "500", "6", "350494"),
        ([(BUY, "2", "5000", "0"), (SELL, "5", "5010", "0")], "-3", "-751500", "1000", "0", "852500"),
        ([(SELL, "2", "5000", "0"), (BUY, "5", "5010", "0")], "3", "751500", "-1000", "0", "-652500"),
        ([(BUY, "1", "5000", "-1.5")], "1", "250000", "0", "-1.5", "-149998.5"),
    ],
)
def test_fills_by_hand(*, fills: list[Fill], qty: str, cost: str, realised: str, fees: str, cash: str) -> None:
    """Opening, adding, reducing, closing and turning round, long and short, with fees and rebates."""
    entries, positions = book(fills)
    after = positions[-1]
    found = (after.qty, after.cost, after.realised, after.fees, total(entries, Account.CASH))
    assert found == tuple(Decimal(number) for number in (qty, cost, realised, fees, cash))


def test_the_lines_of_a_turn_say_what_moved() -> None:
    """A fill through zero: the old position out at cost, the new one in at its price, profit, fee, and cash."""
    entries, _ = book([(BUY, "2", "5000", "0"), (SELL, "5", "5010", "3")])
    assert [(line.line, line.account, int(line.amount), int(line.qty)) for line in entries[-1]] == [
        (0, Account.INVENTORY, -500000, -2),
        (1, Account.INVENTORY, -751500, -3),
        (2, Account.REALISED, -1000, 0),
        (3, Account.FEES, 3, 0),
        (4, Account.CASH, 1252497, 0),
    ]
    assert {(line.entry, line.symbol, line.happened_ns) for line in entries[-1]} == {("SIM/E1", "ES", 1001)}


def test_the_account_opens_with_its_capital() -> None:
    """Two lines: cash in, capital out."""
    assert opening(CAPITAL, 7, "USD").postings == (
        Posting("opening", 0, Account.CASH, None, CAPITAL, Quantity(Decimal(0)), 7),
        Posting("opening", 1, Account.CAPITAL, None, Money(-CAPITAL), Quantity(Decimal(0)), 7),
    )


def test_what_rounding_keeps_back_leaves_with_the_last_lot() -> None:
    """Three at a cost of 100 sold one by one: the halves of a tie go to even, and nothing remains."""
    one = replace(ES, multiplier=Decimal(1))
    fills: list[Fill] = [(BUY, "2", "30", "0"), (BUY, "1", "40", "0"), *[(SELL, "1", "50", "0")] * 3]
    _, positions = book(fills, one)
    costs = [str(position.cost) for position in positions[-3:]]
    assert costs[:2] == ["66.666666666667", "33.333333333333"]
    assert Decimal(costs[2]) == 0
    assert positions[-1].realised == 50


def test_booking_leaves_the_confirmation_alone() -> None:
    """A fill is not a word on whether anything is in doubt."""
    held = replace(Position.flat("ES"), confirmed_ns=77)
    _, after = book_fill(held, report(0, (BUY, "1", "5000", "0")), ES)
    assert after.confirmed_ns == 77


@pytest.mark.parametrize(
    "broken",
    [{"exec_id": None}, {"last_px": None}, {"last_qty": Quantity(Decimal(0))}, {"last_qty": Quantity(Decimal(-1))}],
)
def test_a_trade_without_its_facts_is_the_venues_mistake(broken: dict[str, object]) -> None:
    """No id, no price or no quantity: nothing is booked."""
    with pytest.raises(VenueMistake, match="order T1"):
        book_fill(Position.flat("ES"), replace(report(0, (BUY, "1", "5000", "0")), **broken), ES)  # type: ignore[arg-type]


def test_an_account_that_cannot_be_marked_has_no_equity() -> None:
    """A held symbol without price is an error; a flat one needs none."""
    _, positions = book([(BUY, "1", "5000", "0")])
    with pytest.raises(DataError, match="ES"):
        equity(CAPITAL, [positions[-1]], {}, {"ES": Decimal(50)})
    assert equity(CAPITAL, [Position.flat("ES")], {}, {}) == CAPITAL


MULTIPLIERS = st.sampled_from([Decimal(1), Decimal(5), Decimal(50), Decimal("0.1"), Decimal("0.000333")])
NUMBERS = st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal(10**7), places=8).map(str)
WHOLE = st.integers(1, 20).map(str)
FEES = st.decimals(min_value=-10, max_value=10**4, places=12).map(str)
FILLS = st.lists(st.tuples(st.sampled_from(Side), st.one_of(WHOLE, NUMBERS), NUMBERS, FEES), max_size=12)


@settings(max_examples=200)
@given(FILLS, MULTIPLIERS, NUMBERS)
@example([(BUY, "3", "0.1", "0"), (SELL, "1", "0.1", "0"), (SELL, "2", "0.1", "0")], Decimal("0.000333"), "0.1")
@example([(BUY, "3", "10000000", "0"), (SELL, "7", "0.00000001", "0"), (BUY, "4", "1", "0")], Decimal(50), "1")
def test_every_history_of_fills_keeps_the_books(fills: list[Fill], multiplier: Decimal, mark: str) -> None:
    """Entries sum to zero; postings rebuild the position; equity is capital, profit and fees, to the digit."""
    instrument = replace(ES, multiplier=multiplier)
    entries, positions = book(fills, instrument)
    after = positions[-1]
    px = Price(Decimal(mark))
    with localcontext(prec=60):
        assert all(sum(line.amount for line in entry) == 0 for entry in entries)
        assert [line.line for entry in entries for line in entry] == [n for entry in entries for n in range(len(entry))]
        assert rebuild("ES", [line for entry in entries for line in entry]) == after
        assert cash(Money(CAPITAL.copy_negate()), [after]) == total(entries, Account.CASH)
        worth = equity(Money(total(entries, Account.CASH)), [after], {"ES": px}, {"ES": multiplier})
        assert worth == CAPITAL + after.realised - after.fees + unrealised(after, px, multiplier)
        assert all(position.cost == 0 for position in positions if position.qty == 0)
        assert all(position.cost * position.qty >= 0 for position in positions)
        assert all(line.amount == line.amount.quantize(Decimal("1e-12")) for entry in entries for line in entry)


@given(FILLS, MULTIPLIERS)
def test_the_average_cost_is_that_of_rational_arithmetic(fills: list[Fill], multiplier: Decimal) -> None:
    """Cost differs from the exact average cost by no more than the roundings on the way."""
    _, positions = book(fills, replace(ES, multiplier=multiplier))
    qty, cost = Fraction(0), Fraction(0)
    for number, ((side, size, px, _), (before, after)) in enumerate(zip(fills, pairwise(positions), strict=True), 1):
        filled = side.sign * Fraction(size)
        if qty * filled >= 0:
            cost += filled * Fraction(px) * Fraction(multiplier)
        elif abs(filled) <= abs(qty):
            cost *= 1 + filled / qty
        else:
            cost = (qty + filled) * Fraction(px) * Fraction(multiplier)
        qty += filled
        assert Fraction(after.qty) == qty
        assert abs(Fraction(after.cost) - cost) <= Fraction(number, 10**12)
        adds = before.qty * after.qty >= 0 and abs(after.qty) > abs(before.qty)
        assert (after.realised == before.realised) or not adds
