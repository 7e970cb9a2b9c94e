"""How numbers are written for people: always with a sign where direction matters, never more digits than are meant."""

import math
from decimal import Decimal

from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS, iso
from trisagion.units import plain

UNKNOWN = "–"


def amount(value: Decimal | float) -> str:
    """Write money with two places; the exact value is in the JSON summary."""
    return _minus(f"{value:,.2f}")


def gain(value: Decimal | float) -> str:
    """Write money won (+) or lost (−)."""
    return _minus(f"{value:+,.2f}")


def quantity(value: Decimal) -> str:
    """Write a position with every digit."""
    return _minus(plain(value))


def percent(fraction: float | None, places: int = 1, *, signed: bool = False) -> str:
    """Write a fraction as per cent."""
    if fraction is None or not math.isfinite(fraction):
        return UNKNOWN
    return _minus(f"{fraction * 100:{'+' if signed else ''},.{places}f} %")


def share(fraction: float | None) -> str:
    """Write a share, rounded down: what is not all must never read as 100 %."""
    return UNKNOWN if fraction is None else f"{math.floor(fraction * 1000) / 10:.1f} %"


def number(value: float | None, places: int = 2, *, signed: bool = False) -> str:
    """Write a plain number."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return _minus(f"{value:{'+' if signed else ''},.{places}f}")


def duration(span_ns: int | None) -> str:
    """Write a time span in its two largest units; in one, from a hundred of it on."""
    if span_ns is None:
        return UNKNOWN
    days, rest = divmod(span_ns, 24 * HOUR_NS)
    hours, rest = divmod(rest, HOUR_NS)
    minutes, rest = divmod(rest, MINUTE_NS)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest // SECOND_NS, "s"))
    first = next((index for index, (value, _) in enumerate(parts) if value), len(parts) - 1)
    if parts[first][0] >= 100:
        return f"{parts[first][0]:,} {parts[first][1]}"
    return " ".join(f"{value} {unit}" for value, unit in parts[first : first + 2] if value or first == len(parts) - 1)


def minute(instant_ns: int) -> str:
    """Write an instant as UTC date and minute."""
    return iso(instant_ns)[:16].replace("T", " ")


def _minus(text: str) -> str:
    """Put the true minus sign, which is as wide as the plus; a rounded zero has no sign."""
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "−")
