"""When nothing is traded: the platform's rest rule. It is not a setting; a configuration may add rest, never remove it.

Trading is from Monday 00:00 to Friday 23:00 on the clocks of Europe/Vatican, and never on 1 January, Good Friday (of
the Gregorian Easter) and 25 December by their local dates. Positions rest too: they are not flattened.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.market.types import Instrument

ZONE: Final = ZoneInfo("Europe/Vatican")
FRIDAY: Final = 4
FRIDAY_END_HOUR: Final = 23

CLOSING_NS: Final = 60 * SECOND_NS
"""So long before a rest nothing new is ordered, and what works is cancelled: nothing is to work into the rest."""
assert CLOSING_NS % MINUTE_NS == 0, "a closing begins with a minute"

REST_MIDNIGHTS_MAX: Final = 4
"""The longest rest begins on a Friday at 23:00 and meets a holiday on Monday: it ends at the fourth midnight."""

TRADE_TURNS_MAX: Final = 5
"""The longest trade begins with a Monday: the rule may turn at four midnights before it does on Friday at 23:00."""


def easter_sunday(year: int) -> date:
    """Return the date of Easter in the Gregorian calendar.

    Parameters
    ----------
    year : int
        1583 or later.

    Notes
    -----
    The algorithm of the anonymous correspondent in Nature 13 (1876), p. 487, in the form of Meeus, Astronomical
    Algorithms (1991), chapter 8; it has no exceptions. Where we differ: nothing; only the letters have names.
    """
    golden = year % 19
    century, year_of_century = divmod(year, 100)
    leap_centuries, century_rest = divmod(century, 4)
    moon_correction = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leap_centuries - moon_correction + 15) % 30
    leap_years, year_rest = divmod(year_of_century, 4)
    to_sunday = (32 + 2 * century_rest + 2 * leap_years - epact - year_rest) % 7
    late = (golden + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def rest_reason(now_ns: int) -> str | None:
    """Say why nothing is traded at an instant: "1 January", "Good Friday", "25 December" or "weekend"; None: trade."""
    return _rest_of_hour(now_ns // HOUR_NS)


def closing_reason(now_ns: int) -> str | None:
    """Say why nothing new is ordered at an instant: for the rest that it lies in, or that begins within a minute."""
    return _closing_of_minute(now_ns // MINUTE_NS)


@lru_cache(maxsize=1024)
def _closing_of_minute(minute: int) -> str | None:
    """Answer for a minute since 1970: an hour's end is a minute's, and so is the instant a minute before it."""
    return rest_reason(minute * MINUTE_NS) or rest_reason(minute * MINUTE_NS + CLOSING_NS)


def rest_of(instrument: Instrument, now_ns: int) -> str | None:
    """Say why an instrument is not traded at an instant: for the platform's rest, else for its exchange's closure."""
    closures = instrument.closures
    return rest_reason(now_ns) or (None if closures is None else closures.reason(now_ns))


def closing_of(instrument: Instrument | None, now_ns: int) -> str | None:
    """Say why nothing new is ordered in an instrument: for a rest of the platform, else for its exchange's closure.

    For the one that an instant lies in, or that begins within a minute. One that is not known has the platform's rest.
    """
    reason = _closing_of_minute(now_ns // MINUTE_NS)
    if reason is None and instrument is not None and instrument.closures is not None:
        return instrument.closures.reason(now_ns, CLOSING_NS)
    return reason


@lru_cache(maxsize=1024)
def _rest_of_hour(hour: int) -> str | None:
    """Answer for an hour since 1970: rest begins and ends with one, for the zone is whole hours from UTC since 1894."""
    now = _local(hour * HOUR_NS)
    today = now.date()
    if (today.month, today.day) == (1, 1):
        return "1 January"
    if today == easter_sunday(today.year) - timedelta(days=2):
        return "Good Friday"
    if (today.month, today.day) == (12, 25):
        return "25 December"
    if today.weekday() > FRIDAY or (today.weekday() == FRIDAY and now.hour >= FRIDAY_END_HOUR):
        return "weekend"
    return None


def rest_ends_ns(now_ns: int) -> int:
    """Return the first instant from `now_ns` on at which trading is allowed: `now_ns` itself when there is no rest."""
    instant_ns = now_ns
    for _ in range(REST_MIDNIGHTS_MAX + 1):
        if rest_reason(instant_ns) is None:
            return instant_ns
        instant_ns = _midnight_ns(_local(instant_ns).date() + timedelta(days=1))
    raise AssertionError(f"a rest of more than {REST_MIDNIGHTS_MAX} midnights from {now_ns}")


def rest_parts(now_ns: int) -> tuple[tuple[str, int, int], ...]:
    """Return the rest that an instant lies in, rule by rule: (why, begin, end); nothing when there is trade."""
    if rest_reason(now_ns) is None:
        return ()
    ends_ns = rest_ends_ns(now_ns)
    instant_ns = _midnight_ns(_local(now_ns).date() - timedelta(days=REST_MIDNIGHTS_MAX))
    parts: list[tuple[str, int, int]] = []
    while instant_ns < ends_ns:
        why, turn_ns = rest_reason(instant_ns), _next_turn_ns(instant_ns)
        if why is None:
            parts.clear()
        elif parts and parts[-1][0] == why:
            parts[-1] = (why, parts[-1][1], turn_ns)
        else:
            parts.append((why, instant_ns, turn_ns))
        instant_ns = turn_ns
    return tuple(parts)


def next_rest_ns(now_ns: int) -> int:
    """Return the first instant from `now_ns` on at which nothing is traded: `now_ns` itself within a rest."""
    instant_ns = now_ns
    for _ in range(TRADE_TURNS_MAX + 1):
        if rest_reason(instant_ns) is not None:
            return instant_ns
        instant_ns = _next_turn_ns(instant_ns)
    raise AssertionError(f"trade beyond {TRADE_TURNS_MAX} turns from {now_ns}")


def local_time(instant_ns: int) -> str:
    """Write an instant as the clocks of Europe/Vatican show it, with their distance from UTC."""
    return f"{_local(instant_ns):%a %Y-%m-%d %H:%M:%S %z}"


def _next_turn_ns(instant_ns: int) -> int:
    """Return the next instant at which the rule may turn: a Friday's 23:00, else the next midnight."""
    now = _local(instant_ns)
    if now.weekday() == FRIDAY and now.hour < FRIDAY_END_HOUR:
        return int(datetime(now.year, now.month, now.day, FRIDAY_END_HOUR, tzinfo=ZONE).timestamp()) * SECOND_NS
    return _midnight_ns(now.date() + timedelta(days=1))


def _midnight_ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp()) * SECOND_NS


def _local(instant_ns: int) -> datetime:
    # Whole seconds decide: every boundary of the rule is on one, and a float of nanoseconds could round across it.
    return datetime.fromtimestamp(instant_ns // SECOND_NS, UTC).astimezone(ZONE)
