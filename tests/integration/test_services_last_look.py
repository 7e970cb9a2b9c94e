"""The last look of `services.drive_session` at what is claimed: mode, gate, rest, age, grid, the venue's own rule."""

from typing import Any

import pytest

from tests.builders import SATURDAY_NS, TUESDAY_NS, Desk, qty
from tests.integration.owned import owner, routed
from trisagion.clock import SECOND_NS
from trisagion.gateway.ib_guard import QUOTE_NS_MAX, Making, VenueRule
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState
from trisagion.orders.types import Order
from trisagion.safety.modes import Mode
from trisagion.units import Price

_S = OrderState


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"price": Price(qty("4000.10"))}, "OFF_GRID: price=4000.1 tick_size=0.25"),
        ({"price": Price(qty("123456789012345678.000000000001"))}, "OFF_GRID: price="),
        ({"qty": qty("1.5")}, "OFF_GRID: qty=1.5 lot_size=1"),
        ({"symbol": "NQ"}, "OFF_GRID: symbol=NQ"),
    ],
)
def test_what_another_program_wrote_beside_the_grid_is_denied_at_the_claim(
    shared: Desk, changes: dict[str, Any], why: str
) -> None:
    """On both databases; the good one behind it goes out."""
    shared.put(routed("T1", **changes), routed("T2"))
    driver, session = owner(shared)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("new", "T2")]
    assert shared.order().state is _S.DENIED
    assert (shared.order().reason or "").startswith(why)
    assert len(shared.events("order.denied T1")) == 1


def test_a_replace_beside_the_grid_is_not_asked_for(desk: Desk) -> None:
    """The order works on as it is."""
    desk.put(routed(state=_S.NEW, wanted_qty=qty(2), wanted_price=Price(qty("4000.10"))))
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == []
    assert (desk.order().state, desk.order().wanted_qty) == (_S.NEW, None)
    assert len(desk.events("order.amend_denied T1")) == 1


LATE_NS = TUESDAY_NS + 60 * SECOND_NS


@pytest.mark.parametrize(
    ("mode", "order", "now_ns", "why"),
    [
        (Mode.NORMAL, routed(), TUESDAY_NS, None),
        (Mode.NORMAL, routed(), LATE_NS, None),
        (Mode.NORMAL, routed(), LATE_NS + 1, "TOO_LATE"),
        (Mode.NORMAL, routed(created_ns=SATURDAY_NS, updated_ns=SATURDAY_NS), SATURDAY_NS, "REST: weekend"),
        (Mode.PAUSE, routed(), TUESDAY_NS, "MODE_FORBIDS: mode=pause"),
        (Mode.PAUSE, routed(taker=True), TUESDAY_NS, "MODE_FORBIDS: mode=pause"),
        (Mode.EMERGENCY, routed(), TUESDAY_NS, "MODE_FORBIDS: mode=emergency"),
        (Mode.EMERGENCY, routed(taker=True), TUESDAY_NS, None),
        (Mode.NORMAL, routed(taker=True), TUESDAY_NS, "MODE_FORBIDS: mode=normal"),
        (Mode.REDUCE, routed(taker=True), TUESDAY_NS, "MODE_FORBIDS: mode=reduce"),
        (Mode.REDUCE, routed(), TUESDAY_NS, "MODE_FORBIDS: mode=reduce"),
    ],
)
def test_the_last_look_denies_what_must_not_go_out_now(
    desk: Desk, mode: Mode, order: Order, now_ns: int, why: str | None
) -> None:
    """Rest, mode and age are looked at in the transaction before the send; a denial is recorded with its reason."""
    desk.switch(mode)
    desk.put(order)
    driver, session = owner(desk)
    driver.drain(now_ns)
    assert session.asked == ([] if why else [("new", "T1")])
    after = desk.order()
    assert after.state is (_S.DENIED if why else _S.PENDING_NEW)
    assert (after.reason or "").startswith(why or "")
    assert len(desk.events("order.denied T1")) == bool(why)


@pytest.mark.parametrize(("held", "goes"), [(3, True), (5, True), (2, False), (0, False), (-3, False)])
def test_in_reduce_only_what_reduces_goes_out(desk: Desk, held: int, goes: bool) -> None:
    """Also when the mode came after the order was routed: a sale of three goes out while three or more are held."""
    if held:
        desk.hold(held)
    desk.switch(Mode.REDUCE)
    desk.put(routed())
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == ([("new", "T1")] if goes else [])


def test_in_reduce_what_was_denied_before_counts_no_more(desk: Desk) -> None:
    """Three are held: the sale of five is denied, and the sale of two behind it goes out."""
    desk.hold(3)
    desk.switch(Mode.REDUCE)
    desk.put(routed("Ta", intent="I1", qty=qty(5)), routed("Tb", intent="I2", qty=qty(2), created_ns=TUESDAY_NS + 1))
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("new", "Tb")]


@pytest.mark.parametrize(
    ("making", "exchange", "age_ns", "why"),
    [
        (Making.GUARDED, "CME", 0, None),
        (Making.GUARDED, "CME", QUOTE_NS_MAX + 1, "QUOTE_STALE"),
        (Making.GUARDED, "SMART", 0, "NOT_DIRECT"),
        (Making.REFUSE, "CME", 0, "NO_POST_ONLY"),
    ],
)
def test_a_venue_without_post_only_is_guarded_at_the_last_look(
    desk: Desk, making: Making, exchange: str, age_ns: int, why: str | None
) -> None:
    """With the quote of that moment; a cancel passes, whatever the rule says."""
    desk.put(routed(), routed("T2", state=_S.NEW, cancel_reason="x"))
    driver, session = owner(desk)
    driver.rule = VenueRule(making, {"ES": exchange}, windows=())
    driver.drain(TUESDAY_NS + age_ns)
    assert session.asked == [("cancel", "T2"), *([("new", "T1")] if why is None else [])]
    after = desk.order(ClOrdId("T1"))
    assert after.state is (_S.PENDING_NEW if why is None else _S.DENIED)
    assert (after.reason or "").startswith(why or "")
