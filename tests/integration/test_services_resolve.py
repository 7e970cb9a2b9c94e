"""`services.resolve_orders`: a person ends an order in doubt, and touches no fill."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import BOOK_RULES, TUESDAY_NS, Desk, a_report, an_order, qty
from trisagion.adapters.db import SqlDatabase
from trisagion.clock import SECOND_NS
from trisagion.errors import TrisagionError
from trisagion.ids import ClOrdId
from trisagion.orders.state import TERMINAL, OrderState
from trisagion.orders.types import Order
from trisagion.services.book_fills import book
from trisagion.services.resolve_orders import ENDS, RESOLVED, resolve
from trisagion.units import Price

_S = OrderState
NAME = ClOrdId("T1")


@pytest.fixture
def desk(database: SqlDatabase) -> Desk:
    """An account with its instrument and its capital."""
    return Desk(database).found()


def in_doubt(desk: Desk, filled: int) -> None:
    """Leave an order to sell three in doubt, with so many filled and booked."""
    desk.put(an_order(NAME, state=_S.NEW, session="IB", price=Price(Decimal("4000.25"))))
    if filled:
        facts: dict[str, Any] = {"last_qty": qty(filled), "cum_qty": qty(filled), "leaves_qty": qty(3 - filled)}
        # The venue counts one more than it told: the order is in doubt, and what it told is booked.
        gap = {"cum_qty": qty(filled + 1), "ord_status": _S.PARTIALLY_FILLED}
        px = Price(Decimal("4000.25"))
        told = a_report("E1", cl_ord_id=NAME, venue="IB", last_px=px, avg_px=px, **{**facts, **gap})
        book(desk.database, BOOK_RULES, told)
    else:
        order = desk.order(NAME)
        with desk.database.transaction() as tx:
            tx.orders.save(_unknown(order))
    assert desk.order(NAME).state is _S.UNKNOWN


def _unknown(order: Order) -> Order:
    return replace(order, state=_S.UNKNOWN, reason="NO_EVIDENCE", version=order.version + 1)


def resolved(desk: Desk, end: OrderState, **changes: Any) -> Order:
    """End the order as a person does."""
    words = {"operator": "anna", "reason": "told no more", "evidence": "statement 3"}
    return resolve(desk.database, changes.pop("name", NAME), end, now_ns=TUESDAY_NS + SECOND_NS, **{**words, **changes})


@pytest.mark.parametrize(
    ("end", "filled"),
    [(_S.CANCELED, 0), (_S.EXPIRED, 0), (_S.REJECTED, 0), (_S.CANCELED, 1), (_S.EXPIRED, 2), (_S.FILLED, 3)],
)
def test_a_person_ends_an_order_in_doubt_and_every_fill_stays(desk: Desk, end: OrderState, filled: int) -> None:
    """The event says who, why and by what; position and fills are as before. The same again changes nothing."""
    in_doubt(desk, filled)
    before, position = desk.everything(), desk.position
    ended = resolved(desk, end)
    assert desk.order(NAME) == ended
    assert (ended.state, ended.reason) == (end, RESOLVED)
    assert ended.cum_qty == filled
    assert ended.state in TERMINAL
    [event] = desk.events("order.resolved T1")
    assert all(word in event for word in ("anna", "told no more", "statement 3", f'"cum_qty": "{filled}"'))
    assert desk.position == position
    after = desk.everything()
    assert {name for name in before if before[name] != after[name]} == {"orders", "event"}
    assert resolved(desk, end) == ended
    assert desk.everything() == after


@pytest.mark.parametrize(
    ("end", "filled", "changes", "says"),
    [
        (_S.NEW, 0, {}, "expected an end of filled"),
        (_S.CANCELED, 0, {"operator": " "}, "named operator"),
        (_S.CANCELED, 0, {"reason": ""}, "a reason and evidence"),
        (_S.CANCELED, 0, {"evidence": ""}, "a reason and evidence"),
        (_S.CANCELED, 0, {"name": ClOrdId("T9")}, "expected the ClOrdID of an order, found 'T9'"),
        (_S.FILLED, 0, {}, "goes with 0 of 3 filled, found filled"),
        (_S.FILLED, 2, {}, "goes with 2 of 3 filled, found filled"),
        (_S.CANCELED, 3, {}, "goes with 3 of 3 filled, found canceled"),
        (_S.REJECTED, 1, {}, "goes with 1 of 3 filled, found rejected"),
    ],
)
def test_an_end_that_is_not_shown_is_refused(
    desk: Desk, end: OrderState, filled: int, changes: dict[str, Any], says: str
) -> None:
    """And nothing changes."""
    in_doubt(desk, filled)
    before = desk.everything()
    with pytest.raises(TrisagionError, match=says):
        resolved(desk, end, **changes)
    assert desk.everything() == before


@pytest.mark.parametrize("state", sorted(set(OrderState) - {_S.UNKNOWN}))
def test_an_order_that_is_not_in_doubt_is_the_venues_to_end(desk: Desk, state: OrderState) -> None:
    """Neither one that works or was never sent, nor one that has ended."""
    desk.put(an_order(NAME, state=state, session="IB", price=Price(Decimal("4000.25"))))
    for end in ENDS:
        with pytest.raises(TrisagionError, match=f"expected one that is unknown, found {state}"):
            resolved(desk, end)


def test_a_fill_that_is_told_after_all_is_booked_with_an_alarm(desk: Desk) -> None:
    """A person may be wrong; the venue's word stands."""
    in_doubt(desk, 0)
    resolved(desk, _S.CANCELED)
    px = Price(Decimal("4000.25"))
    late = {"last_qty": qty(3), "cum_qty": qty(3), "leaves_qty": qty(0), "ord_status": _S.FILLED}
    book(desk.database, BOOK_RULES, a_report("E1", cl_ord_id=NAME, venue="IB", last_px=px, avg_px=px, **late))
    assert desk.position.qty == -3
    assert "LATE_FILL" in desk.events("order.alarm T1")[0]
