"""What is asked of the outside about the history of bars and quotes: a part of the unit of work of `ports`."""

from collections.abc import Sequence
from typing import Protocol

from trisagion.market.history import Changes, Known
from trisagion.market.types import Bars, Quotes


class SeriesStore(Protocol):
    """Tables bar_day, quote_hour: history by symbol, in blocks of a UTC day and of a UTC hour."""

    def put_bars(self, symbol: str, interval_ns: int, told: Known) -> Changes:
        """Take in bars that opened on one UTC day, as `history.merged` does; until the end nobody else changes them."""
        ...

    def put_quotes(self, symbol: str, told: Known) -> Changes:
        """Take in quotes of one UTC hour, as `history.merged` does; until the end nobody else changes them."""
        ...

    def known_bars(self, symbol: str, interval_ns: int, day_ns: int) -> Known:
        """Return the bars that opened on a day; in a transaction nobody else changes them until its end."""
        ...

    def bars(self, symbol: str, interval_ns: int, from_ns: int, until_ns: int) -> Bars:
        """Return the bars that lie within [from_ns, until_ns): what was closed by the present, if that is the end."""
        ...

    def quotes(self, symbol: str, from_ns: int, until_ns: int) -> Quotes:
        """Return the quotes of [from_ns, until_ns)."""
        ...

    def bar_days(self) -> Sequence[tuple[str, int]]:
        """Return each symbol with each day on which bars of it opened, in order."""
        ...

    def span(self, symbol: str, interval_ns: int | None) -> tuple[int, int] | None:
        """Return the first block's instant and the end of the last, None where there is none.

        Of the symbol's bars of an interval; None: of its quotes.
        """
        ...
