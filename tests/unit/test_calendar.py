"""The rest rule: zones, leap days, Easter, and every boundary to the nanosecond."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil.easter import easter
from hypothesis import example, given
from hypothesis import strategies as st

from trisagion.clock import HOUR_NS, SECOND_NS
from trisagion.market.calendar import (
    easter_sunday,
    local_time,
    next_rest_ns,
    rest_ends_ns,
    rest_parts,
    rest_reason,
)

ROME = ZoneInfo("Europe/Rome")
"""The same clock under another name, so that the tests do not borrow the module's own constant."""

YEARS = range(1970, 2101)
DAY_NS = 24 * HOUR_NS


def at(text: str) -> int:
    """Return the instant of a local time in Rome."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ROME).timestamp()) * SECOND_NS


def test_easter_is_the_one_that_dateutil_computes_from_1583_to_2999() -> None:
    """Two independent algorithms agree on every year of the Gregorian calendar that matters."""
    assert [easter_sunday(year) for year in range(1583, 3000)] == [easter(year) for year in range(1583, 3000)]


@pytest.mark.parametrize(
    ("year", "sunday"),
    [(1970, "1970-03-29"), (1981, "1981-04-19"), (2000, "2000-04-23"), (2008, "2008-03-23"), (2011, "2011-04-24"),
     (2024, "2024-03-31"), (2026, "2026-04-05"), (2038, "2038-04-25"), (2049, "2049-04-18"), (2100, "2100-03-28")],
)  # fmt: skip
def test_easter_is_the_published_one(year: int, sunday: str) -> None:
    """Known dates hold, among them the earliest and latest near us and the two years of the old rule's exceptions."""
    assert easter_sunday(year) == date.fromisoformat(sunday)


# Each row: the last second of trade before a rest, the rest's first second, why, the first second of trade after it.
RESTS = [
    ("summer week-end", "2013-09-06T22:59:59", "2013-09-06T23:00:00", "weekend", "2013-09-09T00:00:00"),
    ("winter week-end", "2024-02-02T22:59:59", "2024-02-02T23:00:00", "weekend", "2024-02-05T00:00:00"),
    ("clocks go forward", "2023-03-24T22:59:59", "2023-03-24T23:00:00", "weekend", "2023-03-27T00:00:00"),
    ("clocks go forward on Easter", "2024-03-28T23:59:59", "2024-03-29T00:00:00", "Good Friday", "2024-04-01T00:00:00"),
    ("clocks go back", "2024-10-25T22:59:59", "2024-10-25T23:00:00", "weekend", "2024-10-28T00:00:00"),
    ("Good Friday in winter time", "2008-03-20T23:59:59", "2008-03-21T00:00:00", "Good Friday", "2008-03-24T00:00:00"),
    ("Good Friday in summer time", "2026-04-02T23:59:59", "2026-04-03T00:00:00", "Good Friday", "2026-04-06T00:00:00"),
    ("Christmas on a Wednesday", "2024-12-24T23:59:59", "2024-12-25T00:00:00", "25 December", "2024-12-26T00:00:00"),
    ("Christmas on a Friday", "2020-12-24T23:59:59", "2020-12-25T00:00:00", "25 December", "2020-12-28T00:00:00"),
    ("week-end before a Monday's Christmas", "2023-12-22T22:59:59", "2023-12-22T23:00:00", "weekend",
     "2023-12-26T00:00:00"),
    ("week-end before a Monday's New Year", "2023-12-29T22:59:59", "2023-12-29T23:00:00", "weekend",
     "2024-01-02T00:00:00"),
    ("New Year on a Wednesday", "2024-12-31T23:59:59", "2025-01-01T00:00:00", "1 January", "2025-01-02T00:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("trade", "rest", "reason", "again"), [row[1:] for row in RESTS], ids=[row[0] for row in RESTS]
)
def test_a_rest_begins_and_ends_at_its_nanosecond(trade: str, rest: str, reason: str, again: str) -> None:
    """The nanosecond before a boundary belongs to what was, the boundary to what comes."""
    begins, ends = at(rest), at(again)
    assert begins == at(trade) + SECOND_NS
    assert rest_reason(begins - 1) is None
    assert rest_reason(begins) == reason
    assert rest_reason(ends - 1) is not None
    assert rest_reason(ends) is None
    assert [rest_ends_ns(instant) for instant in (begins - 1, begins, ends - 1, ends)] == [begins - 1, ends, ends, ends]


def test_a_week_end_is_an_hour_shorter_or_longer_when_the_clock_changes() -> None:
    """The rule follows the local clock and not a fixed offset: 49 hours become 48 in spring and 50 in autumn."""
    hours = [
        (rest_ends_ns(at(friday)) - at(friday)) // HOUR_NS
        for friday in ("2024-02-02T23:00:00", "2023-03-24T23:00:00", "2024-10-25T23:00:00")
    ]
    assert hours == [49, 48, 50]


def test_a_holiday_is_named_before_the_week_end_that_it_falls_on() -> None:
    """A Saturday that is Christmas is told as Christmas."""
    assert rest_reason(at("2021-12-25T12:00:00")) == "25 December"
    assert rest_reason(at("2022-01-01T12:00:00")) == "1 January"
    assert rest_reason(at("2021-12-26T12:00:00")) == "weekend"


@pytest.mark.parametrize(
    "noon", ["2024-02-29T12:00:00", "2000-02-29T12:00:00", "2024-04-01T12:00:00", "2024-12-26T12:00:00"]
)
def test_other_days_are_days_of_trade(noon: str) -> None:
    """Leap days, Easter Monday and St Stephen's are no rest."""
    assert rest_reason(at(noon)) is None


def test_holidays_are_rest_in_every_year() -> None:
    """From 1970 to 2100 the three holidays are rest all day and never more than three days of a year are holidays."""
    for year in YEARS:
        friday = easter(year) - timedelta(days=2)
        for day, reason in (
            (date(year, 1, 1), "1 January"),
            (friday, "Good Friday"),
            (date(year, 12, 25), "25 December"),
        ):
            begins = at(f"{day}T00:00:00")
            ends = at(f"{day + timedelta(days=1)}T00:00:00")
            assert rest_reason(begins) == rest_reason(ends - 1) == reason
            assert rest_reason(ends) != reason


def test_the_first_trade_of_the_bundled_tape_is_just_after_the_rest() -> None:
    """Sunday 22:00:00.083 UTC in summer is Monday 00:00:00.083 in the Vatican."""
    midnight = at("2013-09-02T00:00:00")
    assert midnight == 1_378_072_800 * SECOND_NS
    assert rest_reason(midnight - 1) == "weekend"
    assert rest_reason(midnight + 83_000_000) is None


@given(st.integers(0, int(datetime(2100, 12, 31, tzinfo=ROME).timestamp()) * SECOND_NS))
@example(at("1973-06-03T00:30:00"))
@example(at("2023-12-30T12:00:00"))
def test_the_end_of_a_rest_is_its_end(now_ns: int) -> None:
    """At any instant: trading is allowed at the end and not a nanosecond before, and no rest takes four days."""
    ends_ns = rest_ends_ns(now_ns)
    assert rest_reason(ends_ns) is None
    assert now_ns <= ends_ns < now_ns + 4 * DAY_NS
    if ends_ns > now_ns:
        assert rest_reason(now_ns) is not None
        assert rest_reason(ends_ns - 1) is not None


def rested(local: datetime) -> str | None:
    """Say why nothing is traded at a local time, from the rule's words and dateutil's Easter; written for this test."""
    day = local.date()
    holidays = {
        date(day.year, 1, 1): "1 January",
        easter(day.year) - timedelta(days=2): "Good Friday",
        date(day.year, 12, 25): "25 December",
    }
    if day in holidays:
        return holidays[day]
    week_end = day.isoweekday() in {6, 7} or (day.isoweekday() == 5 and local.hour == 23)
    return "weekend" if week_end else None


def local_of(instant_ns: int) -> datetime:
    """Return the local time in Rome of an instant."""
    return datetime.fromtimestamp(instant_ns // SECOND_NS, ROME)


def turning_points() -> list[int]:
    """Return the instants of 1970 to 2100 at which the rule, the zone or the year may turn, by day.

    Every Friday's 23:00 and every Saturday's and Monday's midnight, both ends of the holidays and of leap days, and
    every change of the clocks.
    """
    found = set()
    day = date(1970, 1, 2)
    while day < date(2101, 1, 1):
        easters_friday = easter(day.year) - timedelta(days=2)
        special = (day.month, day.day) in {(1, 1), (12, 25), (2, 29)} or day == easters_friday
        if day.isoweekday() in {6, 1} or special:
            found |= {at(f"{day}T00:00:00"), at(f"{day + timedelta(days=1)}T00:00:00")}
        if day.isoweekday() == 5:
            found.add(at(f"{day}T23:00:00"))
        noon, next_noon = (datetime(each.year, each.month, each.day, 12, tzinfo=ROME)
                           for each in (day, day + timedelta(days=1)))  # fmt: skip
        if noon.utcoffset() != next_noon.utcoffset():
            first = int(noon.timestamp())
            turn = next(s for s in range(first, first + 86_400 + 3_600, 3_600)
                        if datetime.fromtimestamp(s, ROME).utcoffset() == next_noon.utcoffset())  # fmt: skip
            found.add(turn * SECOND_NS)
        day += timedelta(days=1)
    return sorted(found)


POINTS = turning_points()


def test_the_rule_is_the_independent_one_minute_by_minute_around_every_turning_point() -> None:
    """In 1970 to 2100, in each minute from two before to two after, and one nanosecond to either side.

    What lies between two turning points is one and the same, which the middle of each stands for.
    """
    assert len(POINTS) > 131 * 52 * 4
    assert sum(local_of(point).utcoffset() != local_of(point - 1).utcoffset() for point in POINTS) > 2 * 120
    wrong = []
    for index, point in enumerate(POINTS):
        near = [point + minute * 60 * SECOND_NS for minute in (-2, -1, 0, 1, 2)]
        middle = [(point + POINTS[index - 1]) // 2] if index else []
        wrong += [
            instant_ns
            for instant_ns in (*near, point - 1, point + 1, *middle)
            if rest_reason(instant_ns) != rested(local_of(instant_ns))
        ]
    assert wrong == []


def test_every_rest_of_131_years_begins_and_ends_where_the_independent_rule_turns() -> None:
    """The end, the begin, the parts and the next rest are the turns of a rule that knows nothing of ours."""
    turns = [
        (point, here)
        for point in POINTS
        if (here := rested(local_of(point))) != rested(local_of(point - 1)) and point > POINTS[0]
    ]
    spans: list[list[tuple[str, int, int]]] = []
    for (begin, why), (end, _) in pairwise(turns[1:]):
        if why is not None and spans and spans[-1][-1][2] == begin:
            spans[-1].append((why, begin, end))
        elif why is not None:
            spans.append([(why, begin, end)])
    assert len(spans) > 131 * 52
    for parts, after in pairwise(spans):
        begin, end = parts[0][1], parts[-1][2]
        assert rest_parts(begin) == rest_parts(end - 1) == tuple(parts)
        assert (rest_parts(begin - 1), rest_parts(end)) == ((), ())
        assert [rest_ends_ns(instant) for instant in (begin - 1, begin, end - 1, end)] == [begin - 1, end, end, end]
        assert [next_rest_ns(instant) for instant in (begin, end - 1, end)] == [begin, end - 1, after[0][1]]


def test_the_longest_rest_and_the_longest_trade_have_their_hours() -> None:
    """Seventy-three hours from a Friday over a Monday's holiday, a hundred and nineteen from Monday to Friday."""
    friday, monday = at("2023-12-22T23:00:00"), at("2024-01-08T00:00:00")
    assert (rest_ends_ns(friday) - friday) // HOUR_NS == 73
    assert [part[0] for part in rest_parts(friday)] == ["weekend", "25 December"]
    assert (next_rest_ns(monday) - monday) // HOUR_NS == 119


@pytest.mark.parametrize(
    ("instant", "local"),
    [
        ("2024-03-31T00:59:59+00:00", "Sun 2024-03-31 01:59:59 +0100"),
        ("2024-03-31T01:00:00+00:00", "Sun 2024-03-31 03:00:00 +0200"),
        ("2024-10-27T01:00:00+00:00", "Sun 2024-10-27 02:00:00 +0100"),
    ],
)
def test_local_time_is_written_with_its_distance_from_utc(instant: str, local: str) -> None:
    """So the hour that comes twice in autumn is told apart."""
    assert local_time(int(datetime.fromisoformat(instant).timestamp()) * SECOND_NS) == local
