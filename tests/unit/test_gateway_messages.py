"""FIX messages as plain values: what we write, and how strictly we read."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.errors import OurMistake, VenueMistake
from trisagion.gateway.reports import doubt, positions_expected, read_positions, read_report
from trisagion.gateway.requests import cancel_request, new_order, positions_request, status_request
from trisagion.gateway.words import EXEC_TYPES, ORD_STATUSES, Fields, Tag, code, instant, number, timestamp
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, PositionReport, Side
from trisagion.units import Money, Price, Quantity

NOW_NS = 1_378_072_800_083_000_000

ORDER = Order(
    cl_ord_id=ClOrdId("TABC"),
    intent=IntentKey("C1:ES"),
    cycle=CycleId("C1"),
    attempt=1,
    symbol="ES",
    side=Side.SELL,
    qty=Quantity(Decimal("3.0")),
    taker=False,
    state=OrderState.ROUTED,
    created_ns=1,
    updated_ns=2,
    price=Price(Decimal("1640.250")),
)

TRADE: Fields = {
    35: "8",
    11: "TABC",
    17: "E7",
    37: "O3",
    39: "1",
    54: "2",
    55: "ES",
    6: "1640.25",
    12: "2.0503125",
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


def test_an_order_is_written_as_a_post_only_day_limit_order() -> None:
    """Every field but the session's own."""
    assert new_order(ORDER, account="ACC", now_ns=NOW_NS) == {
        35: "D",
        11: "TABC",
        1: "ACC",
        55: "ES",
        54: "2",
        38: "3",
        40: "2",
        44: "1640.25",
        59: "0",
        18: "6",
        60: "20130901-22:00:00.083",
    }


def test_a_taker_is_immediate_or_cancel_and_not_post_only() -> None:
    """The exemption of Emergency mode."""
    fields = new_order(replace(ORDER, taker=True), account="ACC", now_ns=NOW_NS)
    assert (fields[59], 18 in fields) == ("3", False)


@pytest.mark.parametrize("broken", [replace(ORDER, price=None), replace(ORDER, qty=Quantity(Decimal(0)))])
def test_an_order_without_price_or_quantity_is_our_mistake(broken: Order) -> None:
    """It must not reach the wire."""
    with pytest.raises(OurMistake, match="expected price and quantity"):
        new_order(broken, account="ACC", now_ns=NOW_NS)


def test_a_cancel_names_the_order_and_itself_and_is_the_same_when_repeated() -> None:
    """Its own ClOrdID is made from the order's."""
    fields = cancel_request(ORDER, account="ACC", now_ns=NOW_NS)
    assert fields == cancel_request(ORDER, account="ACC", now_ns=NOW_NS)
    assert (fields[35], fields[41], fields[54], fields[55], fields[38]) == ("F", "TABC", "2", "ES", "3")
    assert fields[11].startswith("X")
    assert len(fields[11]) == 20


def test_questions_name_what_they_ask_about() -> None:
    """Status of an order; positions of an account."""
    assert status_request(ORDER, account="ACC") == {35: "H", 11: "TABC", 1: "ACC", 55: "ES", 54: "2"}
    asked = positions_request("R1", account="ACC", now_ns=NOW_NS)
    assert (asked[35], asked[710], asked[448], asked[1], asked[715]) == ("AN", "R1", "ACC", "ACC", "20130901")


def test_a_trade_is_read_exactly() -> None:
    """Decimals stay decimals, the instant keeps its nanoseconds."""
    assert read_report({**TRADE, 60: "20130901-22:00:00.083000001"}, venue="SIM") == ExecutionReport(
        venue="SIM",
        exec_id="E7",
        cl_ord_id=ClOrdId("TABC"),
        order_id="O3",
        exec_type=ExecType.TRADE,
        ord_status=OrderState.PARTIALLY_FILLED,
        symbol="ES",
        side=Side.SELL,
        last_qty=Quantity(Decimal(1)),
        last_px=Price(Decimal("1640.25")),
        cum_qty=Quantity(Decimal(2)),
        leaves_qty=Quantity(Decimal(1)),
        avg_px=Decimal("1640.25"),
        fee=Money(Decimal("2.0503125")),
        liquidity=Liquidity.MAKER,
        reason=None,
        unknown_order=False,
        happened_ns=NOW_NS + 1,
    )


@pytest.mark.parametrize(
    ("told", "expected"), [({}, None), ({479: "USD"}, "USD"), ({479: "EUR"}, "EUR"), ({479: "USDT"}, "USDT")]
)
def test_a_fee_is_in_the_currency_that_the_venue_says(told: Fields, expected: str | None) -> None:
    """CommCurrency (479); without one it is the instrument's own."""
    assert read_report({**TRADE, **told}, venue="SIM").fee_currency == expected


@pytest.mark.parametrize("told", ["", "eur", "E", "EU", "EUROPEANS", "EU R", "€UR", "1NCH", "USD\n"])
def test_a_fee_in_no_currency_is_not_read(told: str) -> None:
    """It is put aside like whatever cannot be read: booked as the instrument's it would be wrong money."""
    with pytest.raises(VenueMistake, match=r"tag 479 \(COMM_CURRENCY\): expected a currency's code, found"):
        read_report({**TRADE, 479: told}, venue="SIM")


READINGS = [
    ({150: "4", 39: "4", 11: "X1", 41: "TABC"}, ("E7", ExecType.CANCELED, OrderState.CANCELED, None, False)),
    ({150: "8", 39: "8", 103: "99", 58: "WHY"}, ("E7", ExecType.REJECTED, OrderState.REJECTED, "WHY", False)),
    ({150: "8", 39: "0", 103: "6"}, ("E7", ExecType.REJECTED, OrderState.NEW, "ORD_REJ_REASON=6", False)),
    ({150: "I", 39: "1", 17: "0"}, (None, ExecType.ORDER_STATUS, OrderState.PARTIALLY_FILLED, None, False)),
    (
        {150: "I", 39: "8", 17: "0", 103: "5"},
        (None, ExecType.ORDER_STATUS, OrderState.REJECTED, "ORD_REJ_REASON=5", True),
    ),
]


@pytest.mark.parametrize(("change", "expected"), READINGS)
def test_reports_other_than_trades_are_read_without_a_trade(
    change: Fields, expected: tuple[str | None, ExecType, OrderState, str | None, bool]
) -> None:
    """The order's own id, the reason, and no ExecID where the report answers a question."""
    fields = {tag: value for tag, value in TRADE.items() if tag not in {12, 13, 31, 32, 851}}
    report = read_report({**fields, **change}, venue="SIM")
    read = (report.exec_id, report.exec_type, report.ord_status, report.reason, report.unknown_order)
    assert (read, report.cl_ord_id) == (expected, "TABC")
    assert (report.last_px, report.liquidity) == (None, None)
    assert report.last_qty == report.fee == Decimal(0)


@pytest.mark.parametrize(("liquidity", "expected"), [("1", "maker"), ("2", "taker"), ("3", "taker")])
def test_only_liquidity_added_counts_as_maker(liquidity: str, expected: str) -> None:
    """Routed out is no proof."""
    assert read_report({**TRADE, 851: liquidity}, venue="SIM").liquidity == expected


@pytest.mark.parametrize("tag", [tag for tag in TRADE if tag != 35])
@pytest.mark.parametrize("value", [None, "", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_trade_with_a_field_missing_or_garbled_is_refused_with_its_tag(tag: int, value: str | None) -> None:
    """What cannot be read may be a fill: it is never guessed at. Identifiers may be any text."""
    fields = {key: text for key, text in {**TRADE, tag: value}.items() if text is not None}
    if value and tag in {11, 17, 37, 55}:
        assert read_report(fields, venue="SIM").last_qty == 1
        return
    with pytest.raises(VenueMistake, match=rf"tag {tag} .*expected .*found {re.escape(repr(value))}"):
        read_report(fields, venue="SIM")


def read_position(fields: Fields) -> tuple[int, PositionReport]:
    """All that is read of a position report."""
    return positions_expected(fields), read_positions(fields, venue="SIM", asked_ns=77)


BROKEN = [
    (TRADE, 35, "D", "tag 35"),
    (TRADE, 150, "D", "tag 150"),
    (TRADE, 39, "5", "tag 39"),
    (TRADE, 39, "7", "tag 39"),
    (TRADE, 39, "9", "tag 39"),
    (TRADE, 39, "B", "tag 39"),
    (TRADE, 150, "7", "tag 150"),
    (TRADE, 150, "9", "tag 150"),
    (TRADE, 150, "B", "tag 150"),
    (TRADE, 150, "G", "tag 19"),
    (TRADE, 150, "H", "tag 19"),
    (CANCEL_REJECT, 434, "3", "tag 434"),
    (TRADE, 54, "5", "tag 54"),
    (TRADE, 13, "1", "tag 13"),
    (TRADE, 32, "0", "expected values above 0"),
    (TRADE, 31, "-1", "expected values above 0"),
    (TRADE, 14, "0.5", "expected LastQty 1 or more"),
    (TRADE, 151, "-1", "expected at least 0"),
    (TRADE, 31, "1e3", "expected a decimal number"),
    (TRADE, 31, "+1", "expected a decimal number"),
    (TRADE, 31, "NaN", "expected a decimal number"),
    (TRADE, 31, "1_0", "expected a decimal number"),
    (TRADE, 31, "1.0000000000000000001", "significant digits"),
    (TRADE, 60, "20130901-22:00:00.", "expected a UTC timestamp"),
    (TRADE, 60, "20130931-22:00:00", "expected a UTC timestamp"),
    (TRADE, 60, "2013-09-01T22:00:00", "expected a UTC timestamp"),
    (CANCEL_REJECT, 41, "", "tag 41"),
    (CANCEL_REJECT, 39, "", "tag 39"),
    (POSITION, 728, "2", "tag 728"),
    (POSITION, 702, "2", "tag 702"),
    (POSITION, 703, "SOD", "tag 703"),
    (POSITION, 704, "-1", "tag 704"),
    (POSITION, 727, "0", "tag 727|whole number"),
    (POSITION, 727, "1.5", "tag 727|whole number"),
]


@pytest.mark.parametrize(("fields", "tag", "value", "said"), BROKEN)
def test_an_impossible_value_is_refused(fields: Fields, tag: int, value: str, said: str) -> None:
    """The error says which tag, what was expected and what was found."""
    broken = {**fields, tag: value}
    with pytest.raises(VenueMistake, match=said):
        read_position(broken) if fields is POSITION else read_report(broken, venue="SIM")


def test_a_cancel_reject_tells_the_orders_state_and_invents_no_quantities() -> None:
    """The message has none."""
    report = read_report(CANCEL_REJECT, venue="SIM")
    read = (report.cl_ord_id, report.request_id, report.exec_type, report.ord_status, report.reject)
    assert read == ("TABC", "X1", ExecType.CANCEL_REJECTED, OrderState.FILLED, Reject.CANCEL_TOO_LATE)
    assert (report.exec_id, report.symbol, report.reason) == (None, "", "CXL_REJ_REASON=0")
    assert report.cum_qty == report.leaves_qty == Decimal(0)


def test_a_cancel_reject_for_an_unknown_order_leaves_the_order_in_doubt() -> None:
    """FIX has the venue write "rejected", but an order long done may be unknown too."""
    report = read_report({**CANCEL_REJECT, 39: "8", 102: "1"}, venue="SIM")
    assert (report.ord_status, report.unknown_order) == (OrderState.UNKNOWN, False)


def test_doubt_names_the_order_and_says_nothing_else() -> None:
    """For messages of ours that the venue refused as such."""
    report = doubt(ClOrdId("TABC"), venue="SIM", reason="why", happened_ns=5)
    assert (report.cl_ord_id, report.ord_status, report.exec_id, report.reason, report.happened_ns) == (
        "TABC",
        OrderState.UNKNOWN,
        None,
        "why",
        5,
    )


def test_a_position_is_signed_and_as_old_as_the_question() -> None:
    """FIX 4.4 gives a position report no time of its own."""
    expected = PositionReport("SIM", "R1", "ES", Quantity(Decimal(-4)), 77)
    assert read_position(POSITION) == (2, expected)


@given(st.integers(0, 4_102_444_800_000_000_000))
def test_instants_survive_the_wire_to_the_nanosecond(instant_ns: int) -> None:
    """From 1970 to 2100."""
    assert instant({60: timestamp(instant_ns)}, Tag.TRANSACT_TIME) == instant_ns


def test_whole_milliseconds_are_written_in_the_form_of_fix_44() -> None:
    """Three places where they suffice, else nine."""
    assert [timestamp(NOW_NS), timestamp(NOW_NS + 1)] == ["20130901-22:00:00.083", "20130901-22:00:00.083000001"]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**11), max_value=10**11))
def test_numbers_survive_the_wire_exactly(value: Decimal) -> None:
    """Up to the digits that the platform accepts."""
    assert number({44: format(value, "f")}, Tag.PRICE) == value


@pytest.mark.parametrize("table", [EXEC_TYPES, ORD_STATUSES])
def test_each_word_has_one_code(table: dict[str, ExecType] | dict[str, OrderState]) -> None:
    """Writing and reading a code gives the code."""
    for fix, ours in table.items():
        assert code(table, ours) == fix
