"""The bundled venue as a value: what it answers to each message, read back by our own gateway."""

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from trisagion.clock import SECOND_NS
from trisagion.gateway.reports import positions_expected, read_positions, read_report
from trisagion.gateway.requests import cancel_request, new_order, positions_request, status_request
from trisagion.gateway.words import Fields
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.market.types import Instrument, Tape
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side
from trisagion.simulate.venue import SimulatedVenue
from trisagion.units import Money, Price, Quantity

T0 = 1_378_000_000 * SECOND_NS
_S = OrderState


def venue() -> SimulatedVenue:
    """Trades in points: 25.00 at once, then 24.50 for two lots of 0.1 at 5 s, then 24.50 for nine at 6 s."""
    d = Decimal
    coin = Instrument("COIN", "SIM", "USD", d("0.25"), d("0.1"), d(10), d(20), d("0.001"))
    columns = np.array([(0, 100, 3), (5, 98, 2), (6, 98, 9)], dtype=np.int64).T
    made = SimulatedVenue([Tape(coin, T0 + columns[0] * SECOND_NS, columns[1].copy(), columns[2].copy())])
    made.play(T0 + SECOND_NS)
    return made


def order(name: str, px: str = "24.75", qty: str = "0.3", side: Side = Side.BUY) -> Order:
    """A post-only order."""
    key, cycle = IntentKey(name), CycleId("C1")
    amount, limit = Quantity(Decimal(qty)), Price(Decimal(px))
    return Order(ClOrdId(name), key, cycle, 1, "COIN", side, amount, False, _S.ROUTED, T0, T0, price=limit)


def send(to: SimulatedVenue, *orders: Order) -> list[ExecutionReport]:
    """Submit orders; all reports."""
    messages = (new_order(one, account="ACC", now_ns=T0 + SECOND_NS) for one in orders)
    return [read_report(fields, venue="SIM") for message in messages for fields in to.answer(message)]


def states(reports: list[ExecutionReport]) -> list[tuple[str | None, ExecType, OrderState, str | None]]:
    """What matters of each report."""
    return [(report.exec_id, report.exec_type, report.ord_status, report.reason) for report in reports]


NEW_ORDERS = [
    (order("a"), (ExecType.NEW, _S.NEW, None)),
    (order("a", px="25.25"), (ExecType.REJECTED, _S.REJECTED, "POST_ONLY_WOULD_CROSS")),
    (order("a", px="24.80"), (ExecType.REJECTED, _S.REJECTED, "BAD_PRICE")),
    (order("a", qty="0.35"), (ExecType.REJECTED, _S.REJECTED, "BAD_QUANTITY")),
    (replace(order("a"), symbol="ES"), (ExecType.REJECTED, _S.REJECTED, "UNKNOWN_SYMBOL")),
]


@pytest.mark.parametrize(("sent", "expected"), NEW_ORDERS)
def test_a_new_order_is_answered_and_its_status_says_the_same(
    sent: Order, expected: tuple[ExecType, OrderState, str | None]
) -> None:
    """Refused orders are on record too."""
    sim = venue()
    assert states(send(sim, sent)) == [("E1", *expected)]
    (answer,) = sim.answer(status_request(sent, account="ACC"))
    report = read_report(answer, venue="SIM")
    assert (report.exec_type, report.ord_status, report.unknown_order) == (ExecType.ORDER_STATUS, expected[1], False)


def test_fills_carry_exact_quantities_prices_fees_and_the_instant_of_the_print() -> None:
    """Two partial fills complete the order; the fee is 0.001 of price · quantity · 10."""
    sim = venue()
    send(sim, order("a"))
    first, second = (read_report(fields, venue="SIM") for fields in sim.play(T0 + 10 * SECOND_NS))
    assert (first.last_qty, first.last_px, first.cum_qty, first.leaves_qty) == tuple(
        map(Decimal, ("0.2", "24.75", "0.2", "0.1"))
    )
    assert (first.ord_status, first.liquidity, first.happened_ns) == (
        _S.PARTIALLY_FILLED,
        Liquidity.MAKER,
        T0 + 5 * SECOND_NS,
    )
    assert first.fee == Money(Decimal("0.0495"))
    assert (second.ord_status, second.cum_qty, second.leaves_qty, second.avg_px) == (
        _S.FILLED,
        Decimal("0.3"),
        Decimal(0),
        Decimal("24.75"),
    )


def test_a_cancel_is_confirmed_under_both_names() -> None:
    """The request's own id and the order's."""
    sim = venue()
    send(sim, order("a"))
    (fields,) = sim.answer(cancel_request(order("a"), account="ACC", now_ns=T0 + 2 * SECOND_NS))
    report = read_report(fields, venue="SIM")
    assert (fields[41], report.cl_ord_id, report.ord_status) == ("a", "a", _S.CANCELED)
    assert report.leaves_qty == Decimal(0)
    assert fields[11].startswith("X")


@pytest.mark.parametrize(("known", "codes"), [(True, ("0", "2")), (False, ("1", "8"))])
def test_a_cancel_of_a_done_or_unknown_order_is_rejected_with_the_truth(known: bool, codes: tuple[str, str]) -> None:
    """CxlRejReason and OrdStatus."""
    sim = venue()
    if known:
        send(sim, order("a"))
        sim.play(T0 + 10 * SECOND_NS)
    (fields,) = sim.answer(cancel_request(order("a"), account="ACC", now_ns=T0))
    assert (fields[35], fields[102], fields[39]) == ("9", *codes)
    assert read_report(fields, venue="SIM").ord_status is (_S.FILLED if known else _S.UNKNOWN)


def test_an_unknown_order_is_said_to_be_unknown() -> None:
    """ExecType=I, OrdStatus=8, OrdRejReason=5."""
    (fields,) = venue().answer(status_request(order("never"), account="ACC"))
    assert (fields[150], fields[39], fields[103]) == ("I", "8", "5")
    assert read_report(fields, venue="SIM").unknown_order


def test_a_duplicate_is_rejected_with_the_first_orders_state() -> None:
    """OrdRejReason=6 and OrdStatus of the order that lives on."""
    sim = venue()
    assert states(send(sim, order("a"), order("a", px="24"))) == [
        ("E1", ExecType.NEW, _S.NEW, None),
        ("E2", ExecType.REJECTED, _S.NEW, "DUPLICATE"),
    ]
    assert sim.working == 1


def test_positions_are_told_flat_too_and_of_the_account_only() -> None:
    """One report for each symbol."""
    sim = venue()

    def told(account: str) -> list[Decimal]:
        answers = sim.answer(positions_request("R", account=account, now_ns=T0))
        assert [positions_expected(fields) for fields in answers] == [1]
        return [read_positions(fields, venue="SIM", asked_ns=T0).qty for fields in answers]

    assert told("ACC") == [Decimal(0)]
    send(sim, order("a", side=Side.SELL, px="25"), order("b"))
    sim.play(T0 + 10 * SECOND_NS)
    assert (told("ACC"), told("OTHER")) == ([Decimal("0.3")], [Decimal(0)])


@pytest.mark.parametrize("missing", [1, 11, 38, 44, 54, 55, 60])
def test_an_order_that_lacks_a_field_gets_a_business_reject(missing: int) -> None:
    """Nothing of it is kept."""
    sim = venue()
    fields: Fields = {**new_order(order("a"), account="ACC", now_ns=T0), 34: "5"}
    (answer,) = sim.answer({tag: value for tag, value in fields.items() if tag != missing})
    assert (answer[35], answer[45], answer[372], answer[380]) == ("j", "5", "D", "5")
    assert f"tag {missing} " in answer[58]
    assert sim.executions == 0


def test_only_orders_changes_and_subscriptions_change_the_venue() -> None:
    """Questions need not be journaled."""
    sim = venue()
    messages: list[tuple[Fields, bool]] = [
        (new_order(order("a"), account="ACC", now_ns=T0), True),
        (cancel_request(order("a"), account="ACC", now_ns=T0), True),
        ({35: "G"}, True),
        ({35: "q"}, True),
        ({35: "V", 263: "1"}, True),
        ({35: "V", 263: "2"}, True),
        ({35: "V", 263: "0"}, False),
        (status_request(order("a"), account="ACC"), False),
        ({35: "AF"}, False),
        (positions_request("R", account="ACC", now_ns=T0), False),
    ]
    assert [sim.changes(message) for message, _ in messages] == [changes for _, changes in messages]


def test_the_snapshot_is_json_and_agrees_with_the_reports() -> None:
    """The venue's own books, for whoever checks ours against them."""
    sim = venue()
    send(sim, order("a"), order("b", px="24"), order("c", px="26"))
    fills = [read_report(fields, venue="SIM") for fields in sim.play(T0 + 10 * SECOND_NS)]
    books = json.loads(json.dumps(sim.snapshot()))
    assert [(row["exec_id"], row["qty"], row["fee"]) for row in books["fills"]] == [
        (fill.exec_id, str(fill.last_qty), str(fill.fee)) for fill in fills
    ]
    assert (books["positions"], books["executions"]) == ({"COIN": "0.3"}, 5)
    assert [row["state"] for row in books["orders"]] == ["filled", "new", "rejected"]
    assert [row["cl_ord_id"] for row in books["working"]] == ["b"]
