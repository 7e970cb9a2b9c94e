"""What a single setting can be: its kinds, with their bounds and what is said of a value that is none of them."""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field

from trisagion.errors import DataError
from trisagion.units import parse_decimal

SHOWN_MAX: Final = 80
"""Characters of a refused value that are repeated in the message."""


def shown(value: object) -> str:
    """Write a refused value for a message, cut where it is long."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def _decimal(value: Any) -> Decimal:
    try:
        return parse_decimal(value, what="value")
    except DataError as error:
        raise ValueError(str(error).removeprefix("value: ")) from None


def empty_is_none(value: object) -> object:
    """Take an empty text for nothing given: TOML has no word for it."""
    return None if value == "" else value


def one_is_a_list(value: object) -> object:
    """Take a text for the list of it alone."""
    return (value,) if isinstance(value, str) else value


def _number(value: object) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float | Decimal) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError(f"expected a finite number, found {shown(value)}")


def speed(value: object) -> float | Literal["max"]:
    """Accept "max", or how many times faster than the clock."""
    if value == "max":
        return "max"
    if isinstance(value, str) or (times := _number(value)) <= 0:
        raise ValueError(f'expected "max" or a number above 0, found {shown(value)}')
    return times


def zone(value: str) -> str:
    """Accept the name of a time zone, or nothing."""
    try:
        return value and ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        raise ValueError(f'expected a time zone such as "America/New_York", found {shown(value)}') from None


def _is_reference(value: str) -> bool:
    return value.startswith(("env:", "file:", "vault:"))


def secret(value: str) -> str:
    """Accept a reference to a secret, never the secret."""
    if value and not _is_reference(value):
        raise ValueError(
            'expected a reference to the secret, "env:NAME", "file:PATH" or "vault:NAME", found the secret itself'
        )
    return value


def fingerprint(value: str) -> str:
    """Accept a SHA-256 fingerprint as `openssl x509 -fingerprint -sha256` writes it; return its hexadecimal digits."""
    digits = value.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(f"expected the 64 hexadecimal digits of a SHA-256 fingerprint, found {shown(value)}")
    return digits


def url(schemes: tuple[str, ...]) -> Callable[[str], str]:
    """Return what accepts a URL of these schemes without a password, or a reference to one."""

    def check(value: str) -> str:
        if not value or _is_reference(value):
            return value
        try:
            parts = urlsplit(value)
            hidden = parts.password is not None or any("pass" in key.lower() for key, _ in parse_qsl(parts.query))
        except ValueError:
            raise ValueError("expected a URL, found something else") from None
        if hidden:
            raise ValueError(
                'expected no password: give the whole URL as "env:NAME", "file:PATH" or "vault:NAME", found a password'
            )
        if parts.scheme not in schemes:
            raise ValueError(f"expected a URL of {', '.join(schemes)}, found {shown(value)}")
        return value

    return check


Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Number = Annotated[float, BeforeValidator(_number)]
Exact = Annotated[Decimal, BeforeValidator(_decimal)]
Amount = Annotated[Exact, Field(gt=0, le=10**15)]
Fraction = Annotated[Exact, Field(gt=0, le=1)]
Seconds = Annotated[int, Field(strict=True, ge=1, le=86_400)]
Name = Annotated[Text, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")]
