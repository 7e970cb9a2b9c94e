"""Our session against a wire and a venue that misbehave: every case once. In full: tests/e2e/faults/wire_rows.py."""

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
import quickfix as fix
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.faults.peer import Books, Held, Message, body_of, framed
from tests.e2e.faults.wire import Bench, benched
from tests.e2e.faults.wire_bytes import cut_at, noisy, tracked
from tests.e2e.faults.wire_cases import CASES, Case, run_case
from tests.e2e.faults.wire_hostile import MISTAKES, Mistake, run_mistake
from trisagion.adapters.venues.fix.engine import Store, decode
from trisagion.errors import VenueMistake
from trisagion.gateway.dialect import Profile
from trisagion.gateway.reports import positions_expected, read_positions, read_reject, read_report

pytestmark = pytest.mark.timeout(120)

SLOW: Final = frozenset({"6_SendTestRequest", "our store lost", "4a_NoDataSentDuringHeartBtInt"})
"""Cases that wait for heartbeats or two starts: in the long form."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Give one session and one venue for all cases; a case leaves both as it found them."""
    with benched(tmp_path_factory.mktemp("bench")) as bench:
        yield bench


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in SLOW], ids=lambda case: case.name)
def test_a_session_holds_or_ends_as_the_case_says_and_nothing_is_lost(bench: Bench, case: Case) -> None:
    """The answer is the case's, the session lives or comes back, both books are equal, and another order trades."""
    run_case(bench, case)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_venue_that_errs_is_believed_no_further_than_our_own_count(bench: Bench, mistake: Mistake) -> None:
    """With the alarms that were promised, the gate shut where that was promised, and both books equal in the end."""
    run_mistake(bench, mistake)


def test_an_order_whose_message_was_cut_is_at_the_venue_once_or_never(tmp_path: Path) -> None:
    """A new order, a cancel and a replace, cut within and behind."""
    with tracked(tmp_path) as track:
        for kind, number in (("D", 90), ("D", 999), ("F", 90), ("G", 90), ("G", 999)):
            cut_at(track, kind, number)
        track.agree()


def test_corrupted_bytes_are_no_messages(tmp_path: Path) -> None:
    """Between the true ones, in both directions: the session survives or ends, and nothing is booked of them."""
    with benched(tmp_path) as bench:
        assert noisy(bench, seed=3, messages=500) >= 500


# ---- our parsers under mutations


def _said() -> list[Message]:
    books = Books()
    order = Held("T1", "T1", "1", Decimal(4), "4000.25")
    fill = books.trade(order, Decimal(1))
    reject = {35: "9", 11: "X", 41: "T1", 37: "V", 39: "1", 434: "1", 102: "0", 60: fill[60]}
    positions = {35: "AP", 710: "P1", 728: "0", 727: "1", 702: "1", 703: "TQ", 704: "1", 705: "0", 55: "ES"}
    bust = books.report(order, "H", t19=fill[17])
    return [books.report(order, "0"), fill, bust, books.report(order, "I"), reject, positions, {35: "3", 45: "7"}]


SAID: Final = _said()
ODD: Final = [
    "",
    "0",
    "-1",
    "1e308",
    "NaN",
    "٣",
    "9" * 40,
    "0." + "0" * 40 + "1",
    "\x00",
    "é",
    "20240230-25:61:61",
    " ",
]


def mutated(fields: Message, draw: random.Random) -> Message:
    """Change, drop, add or swap some fields."""
    changed = dict(fields)
    for _ in range(draw.randint(1, 4)):
        tag = draw.choice(list(changed) or [35])
        match draw.randrange(4):
            case 0:
                changed.pop(tag, None)
            case 1:
                changed[tag] = draw.choice(ODD)
            case 2:
                value = changed.get(tag, "")
                at = draw.randrange(len(value) + 1)
                changed[tag] = value[:at] + chr(draw.randrange(1, 0x250)) + value[at + 1 :]
            case _:
                changed[draw.randrange(1, 1000)] = draw.choice(ODD)
    return changed


def read(fields: Message) -> None:
    """Read a message with every parser that there is for it; a venue's mistake is what may come of it."""
    for parse in (
        lambda: read_report(fields, venue="SIM"),
        lambda: read_positions(fields, venue="SIM", asked_ns=1),
        lambda: positions_expected(fields),
        lambda: read_reject(fields),
    ):
        try:
            parse()
        except VenueMistake:
            continue


@given(seed=st.integers(0, 2**32), which=st.sampled_from(SAID))
def test_our_parsers_know_no_other_error_than_the_venues(seed: int, which: Message) -> None:
    """A message with mistakes in it is read, or it is a `VenueMistake`."""
    draw = random.Random(seed)
    for _ in range(20):
        read(mutated(which, draw))


def test_what_the_engine_hands_up_is_decoded_or_the_venues_mistake(tmp_path: Path) -> None:
    """Mutations that the engine's own parser lets through, with any byte in them."""
    store, draw, decoded = Store(tmp_path, Profile()), random.Random(5), 0
    dictionary = fix.DataDictionary(str(next(tmp_path.glob("FIX44.xml"))))
    for number in range(2000):
        body = bytearray(body_of(SAID[number % len(SAID)]))
        for _ in range(draw.randint(1, 3)):
            body[draw.randrange(len(body))] = draw.randrange(256)
        message = fix.Message()
        try:
            message.setString(framed(bytes(body)).decode(errors="surrogateescape"), True, dictionary)
        except (fix.FIXException, TypeError):
            continue
        try:
            read(decode(message, groups=True))
        except VenueMistake:
            continue
        decoded += 1
    store.close()
    assert decoded > 100
