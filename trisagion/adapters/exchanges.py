"""When exchanges are closed, as the library `exchange_calendars` knows it (the extra `calendars` of the install).

Read once, when a run is founded; from then on the database has it, so that no two processes can differ.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

from trisagion.clock import HOUR_NS
from trisagion.errors import ConfigError, quoted
from trisagion.market.closures import Closures, Span
from trisagion.market.types import Instrument

DAY_NS: Final = 24 * HOUR_NS

BEYOND_NS: Final = 31 * DAY_NS
"""So far before and after a run its closures are known, for whoever asks about the days around it."""

TEXT_MAX: Final = 200
"""Characters of the library's own words in ours."""

PAD_DAYS: Final = 15
"""The longest closure that exchanges plan, a new year's week with two weekends, with room to spare."""


def with_closures(
    instruments: Sequence[Instrument], exchanges: Mapping[str, str], start_ns: int, end_ns: int
) -> list[Instrument]:
    """Give each instrument the closures of its exchange around a run; `exchanges` are named by symbol.

    Raises
    ------
    ConfigError
        The library is not installed, or knows no such exchange, or there is no such instrument.
    """
    expect_exchanges(exchanges, {each.symbol for each in instruments})
    known = {
        name: closures_of(name, start_ns - BEYOND_NS, end_ns + BEYOND_NS) for name in sorted({*exchanges.values()})
    }
    return [
        replace(each, closures=known[exchanges[each.symbol]]) if each.symbol in exchanges else each
        for each in instruments
    ]


def expect_exchanges(exchanges: Mapping[str, str], symbols: set[str]) -> None:
    """Raise `ConfigError` unless each symbol is an instrument, and its exchange one that the library knows."""
    if not exchanges:
        return
    strange = sorted(exchanges.keys() - symbols)
    if strange:
        raise ConfigError(
            f"calendar.exchanges: expected instruments of the run ({', '.join(sorted(symbols))}), "
            f"found {', '.join(strange)}"
        )
    library = _library()
    known = set(library.get_calendar_names())
    for symbol, name in sorted(exchanges.items()):
        if name not in known:
            raise ConfigError(
                f"calendar.exchanges.{symbol}: expected an exchange that exchange_calendars knows, such as XNYS or "
                f"CMES, found {quoted(name)}"
            )
        with _told(library, name):
            _kind(library, name)


def closures_of(exchange: str, from_ns: int, until_ns: int) -> Closures:
    """Return the closures of an exchange between two instants, as far as the library knows them.

    Raises
    ------
    ConfigError
        The library is not installed, or knows nothing of that exchange or time.
    """
    library = _library()
    with _told(library, exchange):
        calendar = _calendar(library, exchange, from_ns, until_ns)
        sessions = [_instants(row) for row in calendar.schedule.itertuples()]
        spans = list(_spans(calendar, sessions))
    begins_ns, ends_ns = max(from_ns, sessions[0][0]), min(until_ns, sessions[-1][-1])
    within = ((max(begin, begins_ns), min(end, ends_ns), why) for begin, end, why in spans)
    return Closures(calendar.name, begins_ns, ends_ns, tuple(each for each in within if each[0] < each[1]))


def _library() -> ModuleType:
    try:
        # It brings pandas, a second of import: only whoever founds a run reads it.
        import exchange_calendars  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"calendar.exchanges: expected the library exchange_calendars, found: {error}; "
            "install it with `pip install 'trisagion[calendars]'`"
        ) from None
    library: ModuleType = exchange_calendars
    return library


@contextmanager
def _told(library: ModuleType, exchange: str) -> Iterator[None]:
    """Raise what the library cannot do as a `ConfigError`, and keep to itself what pandas will do to it one day."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    # The last three: some of its calendars do not work with each pandas.
    except (library.errors.CalendarError, ValueError, NotImplementedError, TypeError, LookupError) as error:
        text = " ".join(str(error).split())[:TEXT_MAX] or type(error).__name__
        raise ConfigError(f"calendar.exchanges: expected hours of {exchange} for these days, found: {text}") from None


def _kind(library: ModuleType, exchange: str) -> Any:
    """Return a calendar of the exchange of which nothing is wanted but its kind: of a year that each of them knows."""
    return library.get_calendar(exchange, start="2024-01-01", end="2024-12-31")


def _calendar(library: ModuleType, exchange: str, from_ns: int, until_ns: int) -> Any:
    """Return the calendar of the sessions around two instants, or up to where the library's knowledge ends."""
    import pandas as pd  # noqa: PLC0415

    kind = _kind(library, exchange)
    start, end = (pd.Timestamp(instant_ns).normalize() for instant_ns in (from_ns, until_ns))
    start, end = start - pd.Timedelta(days=PAD_DAYS), end + pd.Timedelta(days=PAD_DAYS)
    first, last = kind.bound_min(), kind.bound_max()
    start, end = start if first is None else max(start, first), end if last is None else min(end, last)
    return library.get_calendar(exchange, start=start, end=end)


def _instants(row: Any) -> tuple[int, ...]:
    """Return a session's day, open, begin and end of its break where it has one, and close, in nanoseconds."""
    instants = (row.open, row.break_start, row.break_end, row.close)
    return tuple(int(each.value) for each in instants if each == each)  # noqa: PLR0124 # NaT is not itself


def _spans(calendar: Any, sessions: Sequence[tuple[int, ...]]) -> Iterator[Span]:
    days = list(calendar.sessions)
    early, late, named = set(calendar.early_closes), set(calendar.late_opens), _holidays(calendar)
    for (day, now), (next_day, then) in pairwise([*zip(days, sessions, strict=True), (None, ())]):
        if len(now) > 2:
            yield now[1], now[2], "break"
        if next_day is None or now[-1] >= then[0]:
            continue
        between = [day + timedelta(days=step) for step in range(1, (next_day - day).days)]
        why = ["early close"] if day in early else []
        why += [named.get(each, "holiday") for each in between if calendar.weekmask[each.weekday()] == "1"]
        why += ["late open"] if next_day in late else []
        yield now[-1], then[0], ", ".join(dict.fromkeys(why)) or "outside its hours"


def _holidays(calendar: Any) -> dict[Any, str]:
    """Return the names of the holidays that come each year; a closure for one day of history has none."""
    yearly = calendar.regular_holidays
    if yearly is None:
        return {}
    return dict(yearly.holidays(calendar.first_session, calendar.last_session, return_name=True).items())
