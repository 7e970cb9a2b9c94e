"""Closures of exchanges: each edge, that they only add rest, and the library against what exchanges have published."""

import sys
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import ES, NQ, SATURDAY_NS, TUESDAY_NS
from trisagion.adapters.exchanges import BEYOND_NS, closures_of, expect_exchanges, with_closures
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.errors import ConfigError, DataError
from trisagion.market.calendar import CLOSING_NS, closing_of, closing_reason, rest_of, rest_reason
from trisagion.market.closures import Closures, Span

NOON = TUESDAY_NS
LUNCH = Closures("XNEW", NOON - HOUR_NS, NOON + HOUR_NS, ((NOON, NOON + 30 * MINUTE_NS, "break"),))


def at(zone: str, text: str) -> int:
    """Return the instant of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("now_ns", "within", "closing"),
    [
        (LUNCH.from_ns - 1, "its hours are not known", "its hours are not known"),
        (LUNCH.from_ns, None, None),
        (NOON - CLOSING_NS - 1, None, None),
        (NOON - CLOSING_NS, None, "break"),
        (NOON - 1, None, "break"),
        (NOON, "break", "break"),
        (NOON + 30 * MINUTE_NS - 1, "break", "break"),
        (NOON + 30 * MINUTE_NS, None, None),
        (LUNCH.until_ns - CLOSING_NS - 1, None, None),
        (LUNCH.until_ns - CLOSING_NS, None, "its hours are not known"),
        (LUNCH.until_ns, "its hours are not known", "its hours are not known"),
    ],
)
def test_a_closure_begins_a_minute_early_and_ends_when_it_ends(
    now_ns: int, within: str | None, closing: str | None
) -> None:
    """To the nanosecond; outside of what is known of an exchange it counts as closed."""
    instrument = replace(ES, closures=LUNCH)
    assert rest_of(instrument, now_ns) == (within and f"XNEW: {within}")
    assert closing_of(instrument, now_ns) == (closing and f"XNEW: {closing}")
    assert (rest_of(NQ, now_ns), closing_of(NQ, now_ns), closing_of(None, now_ns)) == (None, None, None)


LAST_NS = 4_102_444_800 * SECOND_NS
"""The end of the year 2099."""


@st.composite
def exchanges(draw: st.DrawFn) -> Closures:
    """Draw the closures of an exchange that keeps any hours, of which something is known or next to nothing."""
    edges = sorted(draw(st.sets(st.integers(0, LAST_NS), min_size=2, max_size=40)))
    spans = tuple((begin_ns, end_ns, "shut") for begin_ns, end_ns in pairwise(edges[1:-1]))[::2]
    return Closures("XANY", edges[0], edges[-1], spans)


@given(now_ns=st.integers(0, LAST_NS), closures=exchanges())
@example(now_ns=SATURDAY_NS, closures=Closures("XOPEN", 0, LAST_NS, ()))
def test_no_exchange_opens_what_the_rest_closes(now_ns: int, closures: Closures) -> None:
    """Where the platform rests, the reason is its own; elsewhere there may be one more."""
    traded = replace(ES, closures=closures)
    for own, found in (
        (rest_reason(now_ns), rest_of(traded, now_ns)),
        (closing_reason(now_ns), closing_of(traded, now_ns)),
    ):
        assert found == own if own is not None else found is None or found.startswith("X")


@pytest.mark.parametrize(
    "spans",
    [
        ((NOON, NOON, "nothing"),),
        ((NOON + 1, NOON, "backwards"),),
        ((NOON, NOON + 2, "one"), (NOON + 1, NOON + 3, "another")),
        ((NOON - 2 * HOUR_NS, NOON, "before what is known"),),
        ((NOON, NOON + 2 * HOUR_NS, "after it"),),
    ],
)
def test_closures_are_in_order_and_within_their_bounds(spans: tuple[Span, ...]) -> None:
    """Anything else would be searched wrongly."""
    with pytest.raises(DataError, match="closures of XNEW: expected spans in order"):
        replace(LUNCH, spans=spans)


def test_the_digest_tells_any_two_closures_apart() -> None:
    """By exchange, bounds, spans and words."""
    others = [
        LUNCH,
        replace(LUNCH, exchange="XOLD"),
        replace(LUNCH, from_ns=LUNCH.from_ns + 1),
        replace(LUNCH, until_ns=LUNCH.until_ns + 1),
        replace(LUNCH, spans=()),
        replace(LUNCH, spans=((NOON, NOON + 30 * MINUTE_NS, "lunch"),)),
    ]
    assert len({each.digest for each in others}) == len(others)
    assert replace(LUNCH).digest == LUNCH.digest


NEW_YORK = "America/New_York"
NYSE_2024 = {
    # Holidays and early closings of 2024 as the exchange published them (nyse.com/markets/hours-calendars).
    "2024-01-01": None,
    "2024-01-15": None,
    "2024-02-19": None,
    "2024-03-29": None,
    "2024-05-27": None,
    "2024-06-19": None,
    "2024-07-03": time(13),
    "2024-07-04": None,
    "2024-09-02": None,
    "2024-11-28": None,
    "2024-11-29": time(13),
    "2024-12-24": time(13),
    "2024-12-25": None,
}


def test_new_york_is_closed_in_2024_as_it_published() -> None:
    """Each of its nights, week-ends, holidays and half-days, through both changes of the clocks."""
    hours = []
    for number in range(366):
        day = date(2024, 1, 1) + timedelta(days=number)
        close = NYSE_2024.get(f"{day}", time(16))
        if day.weekday() < 5 and close is not None:
            hours.append((at(NEW_YORK, f"{day}T09:30"), at(NEW_YORK, f"{day}T{close}")))
    begin_ns, end_ns = at(NEW_YORK, "2024-01-01T00:00"), at(NEW_YORK, "2025-01-01T00:00")
    found = closures_of("XNYS", begin_ns, end_ns)
    edges = [begin_ns, *(edge for session in hours for edge in session), end_ns]
    assert [span[:2] for span in found.spans] == list(zip(edges[::2], edges[1::2], strict=True))
    assert (found.exchange, found.from_ns, found.until_ns) == ("XNYS", begin_ns, end_ns)


@pytest.mark.parametrize(
    ("exchange", "instant", "reason"),
    [
        # By hand in UTC: the clocks of New York went forward on 10 March and back on 3 November 2024, Europe's on
        # 31 March and 27 October.
        ("XNYS", "2024-03-08T14:29:59", "outside its hours"),
        ("XNYS", "2024-03-08T14:30:00", None),
        ("XNYS", "2024-03-11T13:29:59", "outside its hours"),
        ("XNYS", "2024-03-11T13:30:00", None),
        ("XNYS", "2024-11-01T19:59:59", None),
        ("XNYS", "2024-11-04T20:30:00", None),
        ("XNYS", "2024-11-04T21:00:00", "outside its hours"),
        ("XNYS", "2024-07-03T16:59:59", None),
        ("XNYS", "2024-07-03T17:00:00", "early close, July 4th"),
        ("XNYS", "2024-11-29T18:00:00", "early close"),
        ("XNYS", "2025-01-09T16:00:00", "holiday"),
        ("XLON", "2024-03-28T08:00:00", None),
        ("XLON", "2024-04-02T07:00:00", None),
        ("XLON", "2024-04-01T12:00:00", "Good Friday, Easter Monday"),
        # Futures in Chicago: to 16:00 or 17:00 local on Thursday, and nothing before Sunday's evening.
        ("CMES", "2024-03-28T20:59:59", None),
        ("CMES", "2024-03-29T12:00:00", "Good Friday"),
        ("CMES", "2024-03-31T21:59:59", "Good Friday"),
        ("CMES", "2024-03-31T22:00:00", None),
        ("CMES", "2024-07-04T17:00:00", "early close"),
        # Hong Kong's lunch is from 12:00 to 13:00 local, eight hours before UTC.
        ("XHKG", "2024-06-11T03:59:59", None),
        ("XHKG", "2024-06-11T04:00:00", "break"),
        ("XHKG", "2024-06-11T05:00:00", None),
        ("24/7", "2024-06-15T12:00:00", None),
    ],
)
def test_the_library_says_what_is_known_of_an_instant(exchange: str, instant: str, reason: str | None) -> None:
    """Half-days, holidays, breaks, and the weeks in which only one side of the sea has changed its clocks."""
    now_ns = at("UTC", instant)
    found = closures_of(exchange, now_ns - 24 * HOUR_NS, now_ns + 24 * HOUR_NS)
    assert found.reason(now_ns) == (reason and f"{exchange}: {reason}")


def test_each_instrument_is_given_the_closures_of_its_exchange() -> None:
    """For a month around the run; who has none stays as he is."""
    traded = with_closures([ES, NQ], {"NQ": "CMES"}, NOON, NOON + HOUR_NS)
    assert traded[0] == ES
    assert replace(traded[1], closures=None) == NQ
    closures = traded[1].closures
    assert closures is not None
    assert (closures.from_ns, closures.until_ns) == (NOON - BEYOND_NS, NOON + HOUR_NS + BEYOND_NS)


@pytest.mark.parametrize(
    ("exchanges", "message"),
    [
        ({"ZZ": "CMES"}, r"calendar\.exchanges: expected instruments of the run \(ES, NQ\), found ZZ"),
        ({"ES": "CME!"}, r"calendar\.exchanges\.ES: expected an exchange that exchange_calendars knows.*found 'CME!'"),
    ],
)
def test_what_is_unknown_is_refused_by_name(exchanges: dict[str, str], message: str) -> None:
    """A closure that is quietly not kept would be worse than none."""
    with pytest.raises(ConfigError, match=message):
        expect_exchanges(exchanges, {"ES", "NQ"})


def test_days_of_which_the_library_knows_nothing_are_refused() -> None:
    """A lifetime ahead nobody knows its holidays."""
    with pytest.raises(ConfigError, match=r"expected hours of XBOM for these days, found: "):
        closures_of("XBOM", at("UTC", "2090-01-01T00:00"), at("UTC", "2090-02-01T00:00"))


def test_a_calendar_that_fails_is_refused_before_a_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some calendars of the library do not work with each pandas, and say so by any error."""
    import exchange_calendars

    def broken(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(exchange_calendars, "get_calendar", broken)
    with pytest.raises(ConfigError, match="expected hours of CMES for these days, found: NotImplementedError"):
        expect_exchanges({"ES": "CMES"}, {"ES"})


def test_a_machine_without_the_library_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where an exchange is named: nobody else needs it."""
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    expect_exchanges({}, {"ES"})
    with pytest.raises(ConfigError, match=r"pip install 'trisagion\[calendars\]'"):
        expect_exchanges({"ES": "CMES"}, {"ES"})
