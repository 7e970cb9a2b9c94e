"""What happened lately, on both servers: orders that repeat others, and messages of which too few trades come."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import BOOK_RULES, LIMITS, SESSION, TUESDAY_NS, Desk, an_intended_order, qty, said, words
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Order, Side
from trisagion.risk.limits import Limits
from trisagion.services.book_fills import book
from trisagion.services.route_orders import route

_S = OrderState
T0 = TUESDAY_NS
ONCE = replace(LIMITS, alike_orders_max=1)
TEN = replace(LIMITS, order_trade_ratio_max=Decimal(10))


def routed(desk: Desk, *orders: Order, limits: Limits = ONCE) -> list[str]:
    """Put orders there, route the first, and return what became of each in a word."""
    desk.put(*orders)
    route(desk.database, limits, SESSION, orders[0].cl_ord_id, T0)
    after = [desk.order(order.cl_ord_id) for order in orders]
    return [(order.reason or order.state).partition(":")[0] for order in after]


def wanted(seconds: float, state: OrderState = _S.RISK_CHECKED, **changes: Any) -> Order:
    """Return an order of an intent of its own, made some seconds after noon, and seen by the gateway at noon."""
    at_ns = T0 + int(seconds * SECOND_NS)
    return an_intended_order(at_ns, state, **{"price": None, "updated_ns": T0, **changes})


def test_two_intents_that_want_the_same_at_once_get_one_order(shared: Desk) -> None:
    """Judged in one transaction or one after the other: the first goes, the second is denied, by its own reason."""
    assert routed(shared, wanted(0), wanted(1)) == ["routed", "DUPLICATE"]
    assert routed(shared, wanted(2)) == ["DUPLICATE"]
    third = shared.order(wanted(2).cl_ord_id)
    assert third.reason == "DUPLICATE: price=4000.25 qty=3 alike=1 max=1"
    assert len(shared.events("order.denied")) == 2


@pytest.mark.parametrize(
    "other",
    [
        wanted(5.001),
        wanted(1, side=Side.BUY),
        wanted(1, qty=qty(4)),
        wanted(1, state=_S.DENIED, reason="withdrawn"),
    ],
    ids=["later", "another side", "another quantity", "denied"],
)
def test_what_differs_or_comes_later_is_no_repetition(desk: Desk, other: Order) -> None:
    """Five seconds on it is a wish of its own; what was denied was never one."""
    first = wanted(0) if other.state is not _S.DENIED else wanted(1.5)
    desk.put(other)
    assert routed(desk, first)[0] == "routed"
    if other.state is not _S.DENIED:
        route(desk.database, ONCE, SESSION, other.cl_ord_id, T0)
        assert desk.order(other.cl_ord_id).state is _S.ROUTED


def test_another_attempt_at_the_same_intent_is_no_repetition(desk: Desk) -> None:
    """It is the same wish again, after the venue has refused the first attempt."""
    refused = an_intended_order(T0, _S.REJECTED)
    desk.put(refused)
    again = an_intended_order(T0, _S.RISK_CHECKED, attempt=1)
    assert routed(desk, again) == ["routed"]


def test_an_order_that_repeats_one_at_another_price_goes(desk: Desk) -> None:
    """It stands apart from it."""
    desk.put(an_intended_order(T0, _S.NEW, price=Decimal(4001)))
    assert routed(desk, wanted(1)) == ["routed"]


def test_messages_without_trades_end_in_no_further_order(shared: Desk) -> None:
    """Over fifteen minutes, on all sessions together; each fill that is booked earns as many again."""
    with shared.database.transaction() as tx:
        tx.lately.count("OTHER", T0 - 15 * MINUTE_NS, messages=500)
        tx.lately.count("OTHER", T0 - 14 * MINUTE_NS, messages=4)
        tx.lately.count(SESSION, T0, messages=4)
        tx.lately.count(SESSION, T0 + 7 * SECOND_NS, messages=2)
        assert tx.lately.counted(T0 - 14 * MINUTE_NS) == (10, 0)
    assert routed(shared, wanted(0), limits=TEN) == ["routed"]
    with shared.database.transaction() as tx:
        tx.lately.count(SESSION, T0, messages=1)
    assert routed(shared, wanted(60), limits=TEN) == ["ORDER_TO_TRADE"]
    for number in (1, 2):
        filled = an_intended_order(T0 + (number + 1) * MINUTE_NS, _S.NEW)
        shared.put(filled)
        assert words(book(shared.database, BOOK_RULES, said(filled, ExecType.TRADE, f"F{number}", happened_ns=T0)))
    assert routed(shared, wanted(300), limits=TEN) == ["routed"]


def test_orders_made_lately_are_told_in_their_order_and_without_denied_ones(shared: Desk) -> None:
    """Of the symbols that are asked for, whatever became of them since."""
    made = [wanted(2), wanted(0, state=_S.FILLED), wanted(1, state=_S.DENIED), wanted(-1), wanted(3, symbol="NQ")]
    shared.put(*made)
    with shared.database.snapshot() as tx:
        found = tx.lately.made(["ES"], T0)
    assert [(each.cl_ord_id, each.side, each.qty, each.price) for each in found] == [
        (order.cl_ord_id, Side.SELL, qty(3), None) for order in (made[1], made[0])
    ]
