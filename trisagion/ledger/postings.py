"""Fills become postings, postings make the position. Nothing here forgets or rounds away a cent.

Signs: an amount is money into (+) or out of (−) an account, so cash and inventory stand positive, and capital and
realised profit, whence the money came, negative. Every entry sums to zero; so does the whole ledger.

Money has `units.SCALE` places. Two things may have more: a fill's notional, and the share of the cost that leaves with
a part of the position. Each is rounded once, here, and the rounded amount is used on both sides of the entry; what
rounding kept back stays in the position's cost and leaves with its last lot. So a flat position costs exactly nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Final

from trisagion.errors import DataError, VenueMistake
from trisagion.ledger.types import Account, Position, Posting
from trisagion.market.types import Instrument
from trisagion.orders.types import ExecutionReport, Side
from trisagion.units import WIDE, Money, Price, Quantity, notional, round_money

_ZERO: Final = Decimal(0)

OPENING: Final = "opening"


def opening(capital: Money, now_ns: int) -> tuple[Posting, ...]:
    """Return the entry that founds the account with its capital."""
    return _entry(OPENING, now_ns, [(Account.CASH, None, capital, _ZERO), (Account.CAPITAL, None, -capital, _ZERO)])


def book_fill(
    position: Position, report: ExecutionReport, instrument: Instrument
) -> tuple[tuple[Posting, ...], Position]:
    """Return the entry of a fill, and the position after it, at average cost.

    A fill against the position closes first and realises; what is left of it opens the other way at its own price.

    Parameters
    ----------
    position : Position
        Before the fill.
    report : ExecutionReport
        Of type TRADE or TRADE_CORRECT; `fee` is what we pay, negative when the venue pays us.
    instrument : Instrument
        Its `multiplier` is money per point and unit.

    Returns
    -------
    tuple of Posting
        One entry "venue/exec_id" that sums to zero: a line of INVENTORY for each leg, with its quantity, and one line
        each of REALISED, FEES and CASH unless its amount is zero.
    Position
        `confirmed_ns` is not touched.

    Raises
    ------
    VenueMistake
        When a trade has no `exec_id` or price, or no quantity above zero.

    Notes
    -----
    Cost removed on closing c of q: ``round_money(cost · c / q)``, all of it when c = q; realised is what the closing
    leg brought in less the cost removed.
    """
    assert report.fills, f"{report.exec_id}: booked a {report.exec_type} as a trade"
    assert report.symbol == position.symbol == instrument.symbol, f"{report.symbol} booked to {position.symbol}"
    if report.exec_id is None or report.last_px is None or report.last_qty <= 0:
        raise VenueMistake(
            f"order {report.cl_ord_id}: expected a trade with exec_id, price and quantity, found {report.exec_id}, "
            f"{report.last_px}, {report.last_qty}"
        )
    symbol = position.symbol
    with localcontext(WIDE):
        filled = report.side.sign * report.last_qty
        closing = _closing(position.qty, filled)
        closing_value = round_money(notional(report.last_px, Quantity(closing), instrument.multiplier))
        opening_value = round_money(notional(report.last_px, Quantity(filled - closing), instrument.multiplier))
        removed = _cost_removed(position, closing)
        realised = -closing_value - removed
        lines = [
            (Account.INVENTORY, symbol, -removed, closing),
            (Account.INVENTORY, symbol, opening_value, filled - closing),
            (Account.REALISED, symbol, -realised, _ZERO),
            (Account.FEES, symbol, report.fee, _ZERO),
            (Account.CASH, symbol, -closing_value - opening_value - report.fee, _ZERO),
        ]
        after = replace(
            position,
            qty=Quantity(position.qty + filled),
            cost=Money(position.cost - removed + opening_value),
            realised=Money(position.realised + realised),
            fees=Money(position.fees + report.fee),
        )
    assert after.qty != 0 or after.cost == 0, f"{symbol}: flat at a cost of {after.cost}"
    return _entry(entry_of(report.venue, report.exec_id), report.happened_ns, lines), after


def entry_of(venue: str, exec_id: str) -> str:
    """Name the entry of a fill."""
    return f"{venue}/{exec_id}"


def undoing(venue: str, exec_id: str) -> str:
    """Name the entry that takes a fill back: there can be but one."""
    return f"{venue}/{exec_id}/undo"


def reverse_fill(
    position: Position, fill: ExecutionReport, instrument: Instrument, happened_ns: int
) -> tuple[tuple[Posting, ...], Position]:
    """Return the entry that takes a booked fill back, and the position after it.

    The opposite fill at the same price, with the fee returned: cash and quantity are to the last digit what they would
    be had the fill never been, and so is the equity at any price. At average cost the split of the profit into realised
    and unrealised may differ from that of a ledger without the fill when others were booked since: they stand.
    """
    opposite = Side.SELL if fill.side is Side.BUY else Side.BUY
    assert fill.exec_id is not None, f"order {fill.cl_ord_id}: a fill without exec_id was never booked"
    mirrored = replace(fill, side=opposite, fee=Money(-fill.fee), happened_ns=happened_ns)
    postings, after = book_fill(position, mirrored, instrument)
    name = undoing(fill.venue, fill.exec_id)
    return tuple(replace(posting, entry=name) for posting in postings), after


def rebuild(symbol: str, postings: Iterable[Posting]) -> Position:
    """Return the position that a ledger's postings make; it is confirmed by nobody (`confirmed_ns` 0)."""
    sums = dict.fromkeys(Account, _ZERO)
    qty = _ZERO
    with localcontext(WIDE):
        for posting in postings:
            if posting.symbol == symbol:
                sums[posting.account] += posting.amount
                qty += posting.qty
        realised = -sums[Account.REALISED]
    return Position(
        symbol, Quantity(qty), Money(sums[Account.INVENTORY]), Money(realised), Money(sums[Account.FEES]), 0
    )


def unrealised(position: Position, price: Price, multiplier: Decimal) -> Money:
    """Return what closing the position at a price would realise, before fees."""
    with localcontext(WIDE):
        return Money(round_money(notional(price, position.qty, multiplier)) - position.cost)


def cash(capital: Money, positions: Sequence[Position]) -> Money:
    """Return what the postings to CASH sum to, without reading them: ``capital + Σ (realised − fees − cost)``.

    The double entry makes it so: all accounts sum to zero, and a position holds the sums of its symbol's other three.
    """
    total: Decimal = capital
    with localcontext(WIDE):
        for position in positions:
            total += position.realised - position.fees - position.cost
    return Money(total)


def equity(
    cash: Money, positions: Sequence[Position], prices: Mapping[str, Price], multipliers: Mapping[str, Decimal]
) -> Money:
    """Return cash and all positions marked: ``cash + Σ round_money(qty · price · multiplier)``.

    It equals capital + realised − fees + unrealised to the last digit. `DataError` when a position that is not flat has
    no price or multiplier: an account that cannot be marked has no equity.
    """
    total: Decimal = cash
    for position in positions:
        if position.qty == 0:
            continue
        if position.symbol not in prices or position.symbol not in multipliers:
            raise DataError(f"equity: expected a price and multiplier of {position.symbol}, found none")
        with localcontext(WIDE):
            total += round_money(notional(prices[position.symbol], position.qty, multipliers[position.symbol]))
    return Money(total)


def _closing(held: Quantity, filled: Decimal) -> Decimal:
    """Return the signed part of a fill that closes what is held."""
    if held * filled >= 0:
        return _ZERO
    return max(filled, -held) if filled < 0 else min(filled, -held)


def _cost_removed(position: Position, closing: Decimal) -> Decimal:
    if closing == 0:
        return _ZERO
    if closing == -position.qty:
        return position.cost
    return round_money(position.cost * -closing / position.qty)


def _entry(
    name: str, now_ns: int, lines: Sequence[tuple[Account, str | None, Decimal, Decimal]]
) -> tuple[Posting, ...]:
    kept = [line for line in lines if line[2] != 0 or line[3] != 0]
    with localcontext(WIDE):
        assert sum((amount for _, _, amount, _ in kept), _ZERO) == 0, f"entry {name} does not sum to zero"
    return tuple(
        Posting(name, number, account, symbol, Money(amount), Quantity(qty), now_ns)
        for number, (account, symbol, amount, qty) in enumerate(kept)
    )
