"""Column types. Each refuses what either server would change silently, so that both hold the same values.

MySQL rounds a decimal with too many places, pads a text with spaces when it compares it, and takes no NaN; SQLite takes
a text of any length and stores a numpy integer as bytes. All of that stops here, before it is sent.
"""

import math
import operator
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from trisagion.errors import DataError, UnreadableRow, quoted
from trisagion.units import SCALE, plain

DIGITS: Final = 38
"""Of `DECIMAL(38,12)`: far more than accepted numbers have (`units.DIGITS_MAX`), so that sums and products fit too."""

NOTE_BYTES_MAX: Final = 65_535
"""MySQL's limit of a TEXT column."""


class Exact(TypeDecorator[Decimal]):
    """Money, prices and quantities: `DECIMAL(38,12)`; on SQLite its plain text, for SQLite has no decimals."""

    impl = sa.Numeric(DIGITS, SCALE)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return TEXT on SQLite."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.Numeric(DIGITS, SCALE))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Write the plain text, which both servers read exactly."""
        if value is None:
            return None
        if not isinstance(value, Decimal):
            raise DataError(f"expected an exact decimal, found {type(value).__name__} {value!r}")
        if not value.is_finite() or value.adjusted() >= DIGITS - SCALE:
            raise DataError(f"{value} does not fit DECIMAL({DIGITS},{SCALE}): too large")
        text = plain(value)
        if len(text.partition(".")[2]) > SCALE:
            raise DataError(f"{value} does not fit DECIMAL({DIGITS},{SCALE}): more than {SCALE} places; round it first")
        return text

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Read the decimal in its plain form, so that both servers return the same exponent.

        SQLite keeps any text in any column: `UnreadableRow` when it is no number, or one that nobody wrote.
        """
        if value is None:
            return None
        try:
            number = Decimal(value if isinstance(value, str) else plain(value))
        except (InvalidOperation, TypeError, ValueError):
            raise UnreadableRow(f"expected a decimal in the database, found {quoted(value)}") from None
        if not number.is_finite() or number.adjusted() >= DIGITS - SCALE:
            raise UnreadableRow(f"expected a finite DECIMAL({DIGITS},{SCALE}) in the database, found {quoted(value)}")
        return number


class Id(TypeDecorator[str]):
    """An identifier or a code word: bounded, compared byte by byte, without a space at its end."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Refuse what MySQL would cut or take for another."""
        if value is None:
            return None
        if len(value) > self._length:
            raise DataError(f"expected at most {self._length} characters, found {len(value)}: {value[:80]!r}…")
        if value.endswith(" ") or "\0" in value:
            raise DataError(f"expected no space at the end and no NUL, found {value!r}")
        _encoded(value)
        return str(value)


class Note(TypeDecorator[str]):
    """Text for people, or JSON."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Refuse what MySQL would not hold."""
        size = len(_encoded(value)) if value is not None else 0
        if size > NOTE_BYTES_MAX:
            raise DataError(f"expected at most {NOTE_BYTES_MAX} bytes of text, found {size}: {str(value)[:80]!r}…")
        return value


class Real(TypeDecorator[float]):
    """A float64. NaN is kept as NULL (MySQL has none); an infinity is refused."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> Any:
        """Write a plain float, also from a numpy one."""
        if value is None or math.isnan(value):
            return None
        if math.isinf(value):
            raise DataError("expected a finite number, found an infinity")
        return float(value)


class Whole(TypeDecorator[int]):
    """A 64-bit integer: a count, a version, an instant in nanoseconds."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        """Write a plain integer, also from a numpy one."""
        if value is None:
            return None
        number = operator.index(value)
        if not -(2**63) <= number < 2**63:
            raise DataError(f"expected a whole number of 64 bits, found {quoted(number)}")
        return number


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise DataError(f"expected text that UTF-8 can hold, found {quoted(text)}") from None


BLOB: Final = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
"""Bytes: a little-endian array, or a shard's checkpoint."""
