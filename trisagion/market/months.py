"""Calendar months of UTC: the pieces in which history is kept, and dropped. A month is named by its first instant."""

from datetime import UTC, datetime
from typing import Final

from trisagion.clock import SECOND_NS

_YEAR_ONE: Final = 1970


def month_of(instant_ns: int) -> int:
    """Return the first instant of the month that holds an instant from 1970 on."""
    found = datetime.fromtimestamp(instant_ns // SECOND_NS, UTC)
    return _first_ns(found.year * 12 + found.month - 1)


def shifted(month_ns: int, count: int) -> int:
    """Return the first instant of the month that is `count` months later, earlier when negative; 1970 is the first."""
    found = datetime.fromtimestamp(month_ns // SECOND_NS, UTC)
    return _first_ns(max(found.year * 12 + found.month - 1 + count, _YEAR_ONE * 12))


def months(from_ns: int, until_ns: int) -> tuple[int, ...]:
    """Return the months that share an instant with [from_ns, until_ns), in order."""
    found = []
    month_ns = month_of(from_ns)
    while month_ns < until_ns:
        found.append(month_ns)
        month_ns = shifted(month_ns, 1)
    return tuple(found)


def named(month_ns: int) -> str:
    """Write a month as people do: 2026-11."""
    return f"{datetime.fromtimestamp(month_ns // SECOND_NS, UTC):%Y-%m}"


def _first_ns(number: int) -> int:
    """Return the first instant of a month that is counted from the year 0."""
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * SECOND_NS
