"""Entries that no fill makes: transfers, fees and financing told apart from a fill, adjustments, splits.

Each needs a voucher. Its name is a digest of what it says and by what evidence, so that the same again is the same
entry: one fact is booked once, however often it is entered.
"""

import hashlib
from decimal import Decimal, localcontext
from typing import Final

from trisagion.errors import DataError
from trisagion.ledger.postings import Line, entry_made, moved
from trisagion.ledger.types import Account, Entry, Kind, Position, Strategy, Voucher
from trisagion.market.types import Instrument
from trisagion.units import EXACT, SCALE, WIDE, Money, Price, Quantity, on_grid, plain, round_money

_ZERO: Final = Decimal(0)
_DIGITS: Final = 24
"""Hexadecimal digits of a digest in a name: 96 bits."""


def transfer(
    amount: Money, currency: str, now_ns: int, voucher: Voucher, *, book: str | None = None, counter: str | None = None
) -> tuple[Entry, ...]:
    """Return the entries of a deposit, a withdrawal where `amount` is negative; the other side's too, if it is named.

    Capital moves with cash: a transfer is no profit.
    """
    _expect(amount)
    named = (amount, currency, book, counter)
    name = _name(Kind.TRANSFER, voucher, *named)

    def side(name: str, amount: Decimal, book: str | None) -> Entry:
        lines: list[Line] = [(Account.CASH, None, amount, _ZERO), (Account.CAPITAL, None, amount.copy_negate(), _ZERO)]
        return entry_made(name, Kind.TRANSFER, Strategy.HOUSE, currency, now_ns, lines, book=book, voucher=voucher)

    if counter is None:
        return (side(name, amount, book),)
    if counter == book:
        raise DataError(f"transfer: expected two accounts, found {counter} twice")
    return side(name, amount, book), side(f"{name}/counter", amount.copy_negate(), counter)


def charge(
    kind: Kind,
    amount: Money,
    currency: str,
    now_ns: int,
    voucher: Voucher,
    *,
    home: str,
    fx_rate: Decimal | None = None,
    symbol: str | None = None,
    book: str | None = None,
) -> tuple[Entry, ...]:
    """Return the entries of a fee or of financing that is no part of a fill; a negative amount is paid to us.

    In another currency than the account's own (`home`): with a rate the charge is booked at what it is worth, and the
    foreign money owed for it stands against EXCHANGE in both currencies; without one it stays in its own currency, and
    nothing is converted by guess.
    """
    _expect(amount)
    account = {Kind.FEE: Account.REBATES if amount < 0 else Account.FEES, Kind.FINANCING: Account.FINANCING}[kind]
    if currency == home and fx_rate is not None:
        raise DataError(f"{kind}: expected no rate of {currency} in itself, found {plain(fx_rate)}")
    if fx_rate is not None and fx_rate <= 0:
        raise DataError(f"{kind}: expected a rate above 0, found {plain(fx_rate)}")
    name = _name(kind, voucher, amount, currency, fx_rate, symbol, book)

    def entry(name: str, currency: str, account: Account, amount: Decimal, against: Account) -> Entry:
        lines: list[Line] = [(account, symbol, amount, _ZERO), (against, symbol, amount.copy_negate(), _ZERO)]
        return entry_made(
            name, kind, Strategy.HOUSE, currency, now_ns, lines, book=book, fx_rate=fx_rate, voucher=voucher
        )

    if fx_rate is None:
        return (entry(name, currency, account, amount, Account.CASH),)
    worth = round_money(EXACT.multiply(amount, fx_rate))
    return (
        entry(name, currency, Account.EXCHANGE, amount, Account.CASH),
        entry(f"{name}/worth", home, account, worth, Account.EXCHANGE),
    )


def adjust_money(amount: Money, currency: str, now_ns: int, voucher: Voucher, *, book: str | None = None) -> Entry:
    """Return the entry that corrects cash; the other side is ADJUSTMENT, for a person to explain."""
    _expect(amount)
    name = _name(Kind.ADJUSTMENT, voucher, amount, currency, book)
    lines: list[Line] = [(Account.CASH, None, amount, _ZERO), (Account.ADJUSTMENT, None, amount.copy_negate(), _ZERO)]
    return entry_made(name, Kind.ADJUSTMENT, Strategy.HOUSE, currency, now_ns, lines, book=book, voucher=voucher)


def adjust_position(
    position: Position,
    qty: Quantity,
    px: Price,
    instrument: Instrument,
    now_ns: int,
    voucher: Voucher,
    *,
    book: str | None = None,
) -> tuple[Entry, Position]:
    """Return the entry that corrects a position by a signed quantity at a price, and the position after it.

    It closes and opens like a fill, with ADJUSTMENT in the place of cash: no money moved.
    """
    _expect(qty)
    if not on_grid(qty, instrument.lot_size):
        raise DataError(f"adjustment: expected whole lots of {plain(instrument.lot_size)}, found {plain(qty)}")
    name = _name(Kind.ADJUSTMENT, voucher, instrument.symbol, qty, px, book)
    lines, value, after = moved(position, qty, px, instrument.multiplier)
    lines.append((Account.ADJUSTMENT, position.symbol, value.copy_negate(), _ZERO))
    return (
        entry_made(
            name, Kind.ADJUSTMENT, Strategy.HOUSE, instrument.currency, now_ns, lines, book=book, voucher=voucher
        ),
        after,
    )


def split(
    position: Position,
    new: int,
    old: int,
    instrument: Instrument,
    now_ns: int,
    voucher: Voucher,
    *,
    book: str | None = None,
) -> tuple[Entry, Position]:
    """Return the entry of a split, `new` units for every `old`, and the position after it: cost does not change.

    `DataError` when there is nothing to split, or a fraction of a lot would be left: that is settled in money first.
    """
    symbol = instrument.symbol
    if new <= 0 or old <= 0 or new == old:
        raise DataError(f"split: expected two different whole numbers above 0, found {new}:{old}")
    if position.qty == 0:
        raise DataError(f"split: expected a position in {symbol}, found none")
    with localcontext(WIDE):
        after = (position.qty * new / old).quantize(Decimal(1).scaleb(-SCALE))
        if after * old != position.qty * new or not on_grid(after, instrument.lot_size):
            raise DataError(
                f"split: expected whole lots of {symbol} after {new}:{old}, found {plain(position.qty * new / old)}; "
                "settle the fraction by an adjustment first"
            )
        lines: list[Line] = [(Account.INVENTORY, symbol, _ZERO, after - position.qty)]
    name = _name(Kind.SPLIT, voucher, symbol, Decimal(new), Decimal(old), book)
    entry = entry_made(name, Kind.SPLIT, Strategy.HOUSE, instrument.currency, now_ns, lines, book=book, voucher=voucher)
    return entry, Position(
        symbol, Quantity(after), position.cost, position.realised, position.fees, position.confirmed_ns
    )


def _expect(amount: Decimal) -> None:
    if amount == 0:
        raise DataError("an entry by hand: expected an amount or a quantity other than 0, found 0")


def _name(kind: Kind, voucher: Voucher, *facts: Decimal | str | None) -> str:
    said = [plain(fact) if isinstance(fact, Decimal) else fact or "" for fact in facts]
    digest = hashlib.sha256("\0".join([kind, *said, voucher.evidence]).encode()).hexdigest()
    return f"{kind}/{digest[:_DIGITS]}"
