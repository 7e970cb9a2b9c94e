"""Price, Quantity and Money, and the only rounding of the platform.

All three are exact decimals; they are distinct types to the type checker, so that a price cannot stand where money is
meant. Nothing here accepts a float: a float on the order path is a mistake of ours, not a number.
"""

import re
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_CEILING,
    ROUND_FLOOR,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    localcontext,
)
from typing import Final, NewType

from trisagion.errors import DataError

Price = NewType("Price", Decimal)
Quantity = NewType("Quantity", Decimal)
Money = NewType("Money", Decimal)

DIGITS_MAX: Final = 18
"""More significant digits than this are refused (reliability: number sanity)."""

SCALE: Final = 12
"""Decimal places that the database keeps (`DECIMAL(38,12)`)."""

PLACES_MAX: Final = 26
"""Digits before the point that the database keeps."""

EXACT: Final = Context(prec=60, traps=[InvalidOperation, Inexact])
"""Arithmetic that may not lose a digit: wide enough for a product of three of our numbers; rounding raises."""

WIDE: Final = Context(prec=60)
"""The same width where a division must round; whoever uses it says how the result is quantised."""

plus: Final = WIDE.add
minus: Final = WIDE.subtract
times: Final = WIDE.multiply
exact_times: Final = EXACT.multiply
_remainder: Final = WIDE.remainder
"""The contexts' own, looked up once: a verdict is two dozen of them, and looking one up costs as much as the sum."""

_DIGITS: Final = Context(prec=DIGITS_MAX, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""What has more digits than this keeps is another number after it; zeros at either end do not count."""

_STORED: Final = Context(prec=DIGITS_MAX, Emax=PLACES_MAX - 1, Emin=-SCALE, traps=[])
"""The same, and what is too large or too small for the database is another number after it, too."""

_stored_as: Final = _STORED.plus

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def parse_decimal(text: str | int | Decimal, *, what: str) -> Decimal:
    """Read an exact, finite decimal of at most `DIGITS_MAX` significant digits.

    Raises
    ------
    DataError
        For a float, NaN, an infinity, non-ASCII digits, or too many digits; the text names `what`.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
        raise DataError(f"{what}: expected a decimal number, found {type(text).__name__} {text!r}")
    if isinstance(text, str) and not _NUMBER.fullmatch(text.strip(" ")):
        raise DataError(f"{what}: expected a decimal number in ASCII digits, found {text[:80]!r}")
    value = Decimal(text)
    if not value.is_finite():
        raise DataError(f"{what}: expected a finite number, found {text!r}")
    if _DIGITS.plus(value) != value:
        raise DataError(f"{what}: more than {DIGITS_MAX} significant digits in {str(text)[:80]!r}")
    return value


def fits(value: object) -> bool:
    """Tell whether a value is a finite decimal of at most `DIGITS_MAX` significant digits, of a size that we keep."""
    return isinstance(value, Decimal) and value.is_finite() and _stored_as(value) == value


def _stored(text: str | int | Decimal, what: str) -> Decimal:
    """Read a decimal that the database can keep without loss."""
    value = parse_decimal(text, what=what)
    exponent = value.normalize(WIDE).as_tuple().exponent
    if value and (value.adjusted() >= PLACES_MAX or not isinstance(exponent, int) or exponent < -SCALE):
        raise DataError(
            f"{what}: expected at most {PLACES_MAX} digits before the point and {SCALE} after it, found {text!r}"
        )
    return value


def price(text: str | int | Decimal) -> Price:
    """Read a price; it must be above zero."""
    value = _stored(text, "price")
    if value <= 0:
        raise DataError(f"price: expected above 0, found {value}")
    return Price(value)


def quantity(text: str | int | Decimal) -> Quantity:
    """Read a quantity; zero and negative (short) are allowed."""
    return Quantity(_stored(text, "quantity"))


def money(text: str | int | Decimal) -> Money:
    """Read an amount of money."""
    return Money(_stored(text, "money"))


def notional(px: Price, qty: Quantity, multiplier: Decimal) -> Money:
    """Return `px · qty · multiplier`, exactly; the sign is the quantity's."""
    return Money(EXACT.multiply(EXACT.multiply(px, qty), multiplier))


def round_money(amount: Decimal) -> Money:
    """Round an amount half-even to the database's `SCALE` places: the one place where money loses digits."""
    with localcontext(WIDE):
        return Money(amount.quantize(Decimal(1).scaleb(-SCALE)).normalize() + 0)


def lots_toward_zero(qty: Decimal, lot: Decimal) -> Quantity:
    """Round a quantity toward zero to whole lots: rounding never increases exposure."""
    with localcontext(WIDE):
        whole = abs(qty) // lot
        return Quantity(whole * lot if qty >= 0 else -whole * lot)


def tick_down(px: Decimal, tick: Decimal) -> Price:
    """Round a price down to its tick (a buyer's side: never pays more)."""
    return Price((px / tick).to_integral_value(rounding=ROUND_FLOOR) * tick)


def tick_up(px: Decimal, tick: Decimal) -> Price:
    """Round a price up to its tick (a seller's side: never takes less)."""
    return Price((px / tick).to_integral_value(rounding=ROUND_CEILING) * tick)


def on_grid(value: Decimal, step: Decimal) -> bool:
    """Tell whether `value` is a whole multiple of `step`."""
    return not _remainder(value, step)


def whole_steps(value: Decimal, step: Decimal) -> int | None:
    """Return a value in whole steps; None if it is between two, or too large to be meant."""
    if value.adjusted() >= PLACES_MAX:
        return None
    with localcontext(WIDE):
        steps, rest = divmod(value, step)
    return None if rest else int(steps)


def plain(value: Decimal) -> str:
    """Write a decimal without exponent or trailing zeros: the one text form of messages, keys and reports."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
