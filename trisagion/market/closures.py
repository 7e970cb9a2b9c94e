"""When an exchange is closed, as one value: it can add rest to the platform's own, and take none away."""

import hashlib
import json
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Final, TypeAlias

from trisagion.errors import DataError

Span: TypeAlias = tuple[int, int, str]
"""Begin, end (not of it) and why."""

UNKNOWN: Final = "its hours are not known"

_END: Final = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Closures:
    """The spans of an exchange's closures between `from_ns` and `until_ns`; outside of these it counts as closed.

    Spans are in order and apart from each other. Raises `DataError` unless they are, and within the bounds.
    """

    exchange: str
    from_ns: int
    until_ns: int
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        edges = [self.from_ns, *(edge for begin_ns, end_ns, _ in self.spans for edge in (begin_ns, end_ns))]
        falls = any(low > high for low, high in pairwise([*edges, self.until_ns]))
        if falls or any(begin_ns == end_ns for begin_ns, end_ns, _ in self.spans):
            raise DataError(f"closures of {self.exchange}: expected spans in order between their bounds, found others")

    def reason(self, now_ns: int, ahead_ns: int = 0) -> str | None:
        """Say for which closure the exchange is closed at an instant, or will be within `ahead_ns`; None: open."""
        if not self.from_ns <= now_ns < self.until_ns - ahead_ns:
            return f"{self.exchange}: {UNKNOWN}"
        span = self.next_span(now_ns)
        return f"{self.exchange}: {span[2]}" if span is not None and span[0] <= now_ns + ahead_ns else None

    def next_span(self, now_ns: int) -> Span | None:
        """Return the closure that an instant lies in, or the next one; None when no later one is known."""
        found = bisect_right(self.spans, now_ns, key=_END)
        return self.spans[found] if found < len(self.spans) else None

    @property
    def digest(self) -> str:
        """The SHA-256 of all of it, in hexadecimal."""
        told = [self.exchange, self.from_ns, self.until_ns, self.spans]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()
