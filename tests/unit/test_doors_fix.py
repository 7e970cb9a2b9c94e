"""FIX fields, both ways: no value of ours makes a field of its own, no field of the venue's is taken on trust."""

import os
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import a_report, an_order
from trisagion.adapters.venues.fix.engine import Store, decode, encode
from trisagion.errors import OurMistake, VenueMistake
from trisagion.gateway.dialect import Profile
from trisagion.gateway.reports import read_positions, read_report
from trisagion.gateway.requests import cancel_request, new_order, positions_request, status_request
from trisagion.gateway.words import Fields
from trisagion.ids import ClOrdId
from trisagion.orders.types import ExecutionReport
from trisagion.units import Price

EXAMPLES = int(os.environ.get("DOORS_EXAMPLES", "300"))
"""The long form is of 10,000."""

TRADE: Fields = {
    35: "8",
    11: "TABC",
    17: "E7",
    37: "O3",
    39: "1",
    54: "2",
    55: "ES",
    6: "1640.25",
    12: "2.05",
    13: "3",
    14: "2",
    31: "1640.25",
    32: "1",
    60: "20130901-22:00:00.083",
    150: "F",
    151: "1",
    851: "1",
}
CANCEL_REJECT: Fields = {35: "9", 11: "X1", 41: "TABC", 37: "O3", 39: "2", 102: "0", 60: TRADE[60], 434: "1"}
POSITION: Fields = {35: "AP", 55: "ES", 702: "1", 703: "TQ", 704: "0", 705: "4", 710: "R1", 727: "2", 728: "0"}

VALUES = (
    *("", " ", "-", "+1", "-0", "-1", "NaN", "Infinity", "inf", "sNaN", "1e308", "1E5", "1e-30", "1_000", "0x1", "1,5"),
    *(
        "0.1+0.2",
        "true",
        "null",
        "None",
        "9" * 100,
        "0." + "0" * 30 + "1",
        str(2**63),
        "\u0665",
        "\uff15",
        "1\u202e",
        "1\n",
    ),
    *("1\0", "1\x01", "1\x01150=F", "X'; DROP TABLE o;--", "Z", "00010101-00:00:00", "99991231-23:59:59.999999999"),
    *("20130901-24:00:00", "20130230-00:00:00", "20130901-22:00:60", "x" * 10_000, "\udcff", "1 ", " 1", "1."),
)
TEXTS = st.one_of(st.text(min_size=1), st.sampled_from([value for value in VALUES if value]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Give a session's directory, for its dictionary."""
    made = Store(tmp_path_factory.mktemp("fix"), Profile())
    yield made
    made.close()


@settings(max_examples=EXAMPLES)
@given(symbol=TEXTS, account=TEXTS, name=TEXTS.filter(lambda text: text.encode(errors="ignore").decode() == text))
@example("E\x01150=F\x01", "A", "T")
@example("ES", "A\x01", "T")
@example("ES", "A", "T\x0144=1")
@example("E\0S", "A", "T")
@example("\ud800", "A", "T")
@example("x" * 10_000, "A", "T")
def test_no_value_becomes_a_field(store: Store, symbol: str, account: str, name: str) -> None:
    """A message has the fields that were written, each with its value, or it is refused as a mistake of ours."""
    order = an_order(name, symbol=symbol, price=Price(Decimal(4000)))
    for written in (
        new_order(order, account=account, now_ns=1),
        cancel_request(order, account=account, now_ns=1),
        status_request(order, account=account),
        positions_request(name, account=account, now_ns=1),
    ):
        try:
            message = encode(written, store.dictionary)
        except OurMistake:
            assert not (symbol + account + name).isprintable()
            continue
        read = decode(message)
        assert {tag: value for tag, value in read.items() if tag not in {8, 9, 10}} == dict(written)


@pytest.mark.parametrize("tag", sorted(TRADE.keys() | CANCEL_REJECT.keys() | {19, 41, 58, 103}))
@pytest.mark.parametrize("message", [TRADE, CANCEL_REJECT, {**TRADE, 150: "G", 19: "E1"}, {**TRADE, 150: "8", 39: "8"}])
def test_a_report_with_any_value_in_any_field_is_read_soundly_or_refused(message: Fields, tag: int) -> None:
    """The refusal names message and tag; what is read has finite numbers and 64-bit instants."""
    told = []
    for value in VALUES:
        try:
            sound(read_report({**message, tag: value}, venue="SIM"))
        except VenueMistake as error:
            told.append(str(error))
    assert all(text.startswith("FIX message 35=") for text in told)


@settings(max_examples=EXAMPLES)
@given(
    message=st.sampled_from([TRADE, CANCEL_REJECT]),
    changes=st.dictionaries(st.sampled_from([*TRADE, 19, 41, 58, 102, 103, 434]), TEXTS | st.none(), max_size=6),
)
def test_a_report_of_any_fields_is_read_soundly_or_refused(message: Fields, changes: dict[int, str | None]) -> None:
    """Fields changed and left out, several at a time."""
    fields = {tag: value for tag, value in {**message, **changes}.items() if value is not None}
    try:
        sound(read_report(fields, venue="SIM"))
    except VenueMistake:
        return


@settings(max_examples=EXAMPLES)
@given(changes=st.dictionaries(st.sampled_from([*POSITION]), TEXTS | st.none(), max_size=4))
def test_a_position_of_any_fields_is_read_soundly_or_refused(changes: dict[int, str | None]) -> None:
    """A position that is no number is no position."""
    fields = {tag: value for tag, value in {**POSITION, **changes}.items() if value is not None}
    try:
        found = read_positions(fields, venue="SIM", asked_ns=1)
    except VenueMistake:
        return
    assert found.qty.is_finite()
    assert found.symbol


def sound(report: ExecutionReport) -> None:
    """Hold that a report can be booked without a look at its numbers."""
    for number in (report.last_qty, report.cum_qty, report.leaves_qty, report.avg_px, report.fee):
        assert number.is_finite()
    assert min(report.last_qty, report.cum_qty, report.leaves_qty, report.avg_px) >= 0
    assert not report.fills or (report.last_qty > 0 and report.last_px is not None and report.last_px > 0)
    assert 0 <= report.happened_ns < 2**63


def test_the_tables_messages_are_sound() -> None:
    """Unchanged, they are read."""
    sound(read_report(TRADE, venue="SIM"))
    sound(read_report(CANCEL_REJECT, venue="SIM"))
    assert read_positions(POSITION, venue="SIM", asked_ns=1).qty == -4
    assert replace(a_report(), cl_ord_id=ClOrdId("TABC")).fills
