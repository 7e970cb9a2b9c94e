"""Fills become entries, entries make the position. Nothing here forgets or rounds away a cent.

Signs: an amount is money into (+) or out of (−) an account, so cash and inventory stand positive, and capital and
realised profit, whence the money came, negative. Every entry sums to zero; so does the whole ledger.

Money has `units.SCALE` places. Two things may have more: a fill's notional, and the share of the cost that leaves with
a part of the position. Each is rounded once, here, and the rounded amount is used on both sides of the entry; what
rounding kept back stays in the position's cost and leaves with its last lot. So a flat position costs exactly nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Final, TypeAlias

from trisagion.errors import DataError, VenueMistake
from trisagion.ledger.types import Account, Entry, Kind, Position, Posting, Strategy, Voucher
from trisagion.market.types import Instrument
from trisagion.orders.types import ExecutionReport, Side
from trisagion.units import WIDE, Money, Price, Quantity, notional, round_money

_ZERO: Final = Decimal(0)

OPENING: Final = "opening"
_UNDO: Final = "/undo"
_FEE: Final = "/fee"
_REFUND: Final = "/refund"

OUTSIDE: Final = (Account.CAPITAL, Account.FINANCING, Account.ADJUSTMENT)
"""The accounts whence money comes that no position holds."""


Line: TypeAlias = tuple[Account, str | None, Decimal, Decimal]
"""Account, symbol, amount, quantity."""


def opening(capital: Money, now_ns: int, currency: str) -> Entry:
    """Return the entry that founds the account with its capital; its currency is the account's own from then on."""
    lines: list[Line] = [(Account.CASH, None, capital, _ZERO), (Account.CAPITAL, None, capital.copy_negate(), _ZERO)]
    return entry_made(OPENING, Kind.OPENING, Strategy.HOUSE, currency, now_ns, lines)


def book_fill(
    position: Position, report: ExecutionReport, instrument: Instrument, strategy: Strategy = Strategy.COHORT
) -> tuple[Entry, Position]:
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
    strategy : Strategy
        Who decided to trade.

    Returns
    -------
    Entry
        "venue/exec_id", which sums to zero: a line of INVENTORY for each leg, with its quantity, and one line each of
        REALISED, FEES or REBATES, and CASH unless its amount is zero. A fee in another currency than the instrument's
        is no part of it: see `fee_abroad`.
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
    fees = Account.REBATES if report.fee < 0 else Account.FEES
    lines, after = _filled(position, report, instrument, fees)
    name = entry_of(report.venue, str(report.exec_id))
    return entry_made(name, Kind.TRADE, strategy, instrument.currency, report.happened_ns, lines), after


def _filled(
    position: Position, report: ExecutionReport, instrument: Instrument, fees: Account
) -> tuple[list[Line], Position]:
    assert report.fills, f"{report.exec_id}: booked a {report.exec_type} as a trade"
    assert report.symbol == position.symbol == instrument.symbol, f"{report.symbol} booked to {position.symbol}"
    if report.exec_id is None or report.last_px is None or report.last_qty <= 0:
        raise VenueMistake(
            f"order {report.cl_ord_id}: expected a trade with exec_id, price and quantity, found {report.exec_id}, "
            f"{report.last_px}, {report.last_qty}"
        )
    with localcontext(WIDE):
        filled = Quantity(report.side.sign * report.last_qty)
        fee = _ZERO if charged_abroad(report, instrument) else report.fee
        lines, value, after = moved(position, filled, report.last_px, instrument.multiplier)
        lines += [
            (fees, position.symbol, fee, _ZERO),
            (Account.CASH, position.symbol, -value - fee, _ZERO),
        ]
        return lines, replace(after, fees=Money(after.fees + fee))


def charged_abroad(report: ExecutionReport, instrument: Instrument) -> bool:
    """Tell whether the fee of a fill is in another currency than the instrument's."""
    return report.fee_currency not in {None, instrument.currency}


def fee_abroad(fill: ExecutionReport, strategy: Strategy = Strategy.COHORT) -> Entry:
    """Return the entry of a fee that is in a currency of its own; it is no part of a position.

    Nobody told a rate, so nothing is converted: the money is owed in that currency.
    """
    name = fee_entry_of(fill.venue, str(fill.exec_id))
    return _fee_entry(name, Kind.FEE, fill, fill.fee, fill.happened_ns, strategy)


def refund(fill: ExecutionReport, happened_ns: int, strategy: Strategy = Strategy.COHORT) -> Entry:
    """Return the entry that takes such a fee back, with the fill that it was of."""
    name = refunding(fill.venue, str(fill.exec_id))
    return _fee_entry(name, Kind.UNDO, fill, fill.fee.copy_negate(), happened_ns, strategy)


def _fee_entry(
    name: str, kind: Kind, fill: ExecutionReport, amount: Decimal, happened_ns: int, strategy: Strategy
) -> Entry:
    assert fill.fee_currency is not None, name
    account = Account.REBATES if fill.fee < 0 else Account.FEES
    lines: list[Line] = [
        (account, fill.symbol, amount, _ZERO),
        (Account.CASH, fill.symbol, amount.copy_negate(), _ZERO),
    ]
    return entry_made(name, kind, strategy, fill.fee_currency, happened_ns, lines)


def moved(position: Position, qty: Quantity, px: Price, multiplier: Decimal) -> tuple[list[Line], Decimal, Position]:
    """Let a signed quantity come at a price: return lines of INVENTORY and REALISED, its worth, the position after."""
    symbol = position.symbol
    with localcontext(WIDE):
        closing = _closing(position.qty, qty)
        closing_value = round_money(notional(px, Quantity(closing), multiplier))
        opening_value = round_money(notional(px, Quantity(qty - closing), multiplier))
        removed = _cost_removed(position, closing)
        realised = -closing_value - removed
        lines: list[Line] = [
            (Account.INVENTORY, symbol, -removed, closing),
            (Account.INVENTORY, symbol, opening_value, qty - closing),
            (Account.REALISED, symbol, -realised, _ZERO),
        ]
        after = replace(
            position,
            qty=Quantity(position.qty + qty),
            cost=Money(position.cost - removed + opening_value),
            realised=Money(position.realised + realised),
        )
    assert after.qty != 0 or after.cost == 0, f"{symbol}: flat at a cost of {after.cost}"
    return lines, closing_value + opening_value, after


def entry_of(venue: str, exec_id: str) -> str:
    """Name the entry of a fill."""
    return f"{venue}/{exec_id}"


def undoing(venue: str, exec_id: str) -> str:
    """Name the entry that takes a fill back: there can be but one."""
    return f"{venue}/{exec_id}{_UNDO}"


def fee_entry_of(venue: str, exec_id: str) -> str:
    """Name the entry of the fee of a fill that is in another currency."""
    return f"{venue}/{exec_id}{_FEE}"


def refunding(venue: str, exec_id: str) -> str:
    """Name the entry that takes such a fee back: there can be but one."""
    return f"{venue}/{exec_id}{_REFUND}"


def undone_by(entry: str) -> str | None:
    """Return the name of the entry that an entry takes back, None where it takes none."""
    return entry.removesuffix(_UNDO) if entry.endswith(_UNDO) else None


def reverse_fill(
    position: Position,
    fill: ExecutionReport,
    instrument: Instrument,
    happened_ns: int,
    strategy: Strategy = Strategy.COHORT,
) -> tuple[Entry, Position]:
    """Return the entry that takes a booked fill back, and the position after it.

    The opposite fill at the same price, with the fee returned to the account whence it came: cash and quantity are to
    the last digit what they would be had the fill never been, and so is the equity at any price. At average cost the
    split of the profit into realised and unrealised may differ from that of a ledger without the fill when others were
    booked since: they stand.
    """
    opposite = Side.SELL if fill.side is Side.BUY else Side.BUY
    assert fill.exec_id is not None, f"order {fill.cl_ord_id}: a fill without exec_id was never booked"
    mirrored = replace(fill, side=opposite, fee=Money(fill.fee.copy_negate()))
    fees = Account.REBATES if fill.fee < 0 else Account.FEES
    lines, after = _filled(position, mirrored, instrument, fees)
    name = undoing(fill.venue, fill.exec_id)
    return entry_made(name, Kind.UNDO, strategy, instrument.currency, happened_ns, lines), after


def rebuild(symbol: str, postings: Iterable[Posting]) -> Position:
    """Return the position that postings in the instrument's currency make; confirmed by nobody (`confirmed_ns` 0)."""
    after = Position.flat(symbol)
    for posting in postings:
        after = with_posting(after, posting)
    return after


def with_posting(position: Position, posting: Posting) -> Position:
    """Return a position with one more posting; it need not be of its symbol."""
    if posting.symbol != position.symbol:
        return position
    with localcontext(WIDE):
        match posting.account:
            case Account.INVENTORY:
                qty, cost = Quantity(position.qty + posting.qty), Money(position.cost + posting.amount)
                return replace(position, qty=qty, cost=cost)
            case Account.REALISED:
                return replace(position, realised=Money(position.realised - posting.amount))
            case Account.FEES | Account.REBATES:
                return replace(position, fees=Money(position.fees + posting.amount))
            case _:
                return position


def unrealised(position: Position, price: Price, multiplier: Decimal) -> Money:
    """Return what closing the position at a price would realise, before fees."""
    with localcontext(WIDE):
        return Money(round_money(notional(price, position.qty, multiplier)) - position.cost)


def cash(outside: Money, positions: Sequence[Position]) -> Money:
    """Return the money of the account without reading its postings: ``Σ (realised − fees − cost) − outside``.

    `outside` is the sum of the accounts of `OUTSIDE`. The double entry makes it so: all accounts in the account's own
    currency sum to zero, and a position holds the sums of its symbol's others. What is left is CASH, and EXCHANGE: what
    foreign money was worth when it was booked.
    """
    total: Decimal = outside.copy_negate()
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


def entry_made(
    name: str,
    kind: Kind,
    strategy: Strategy,
    currency: str,
    now_ns: int,
    lines: Sequence[Line],
    *,
    book: str | None = None,
    fx_rate: Decimal | None = None,
    voucher: Voucher | None = None,
) -> Entry:
    """Return an entry of the lines that move anything."""
    kept = [line for line in lines if line[2] != 0 or line[3] != 0]
    with localcontext(WIDE):
        assert sum((amount for _, _, amount, _ in kept), _ZERO) == 0, f"entry {name} does not sum to zero"
    postings = tuple(
        Posting(name, number, account, symbol, Money(amount), Quantity(qty), now_ns)
        for number, (account, symbol, amount, qty) in enumerate(kept)
    )
    return Entry(name, kind, strategy, currency, now_ns, postings, book, fx_rate, voucher)
