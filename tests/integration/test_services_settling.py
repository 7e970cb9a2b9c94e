"""After a logon: the venue's books are held against ours before anything new is sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from tests.builders import BOOK_RULES, ES, TUESDAY_NS, Desk, a_report, an_intended_order, qty, said, words
from tests.fakes import FakeSession
from trisagion.adapters.db import SqlDatabase, Unit
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.gateway.pace import TokenBucket
from trisagion.gateway.settling import SETTLE_S_MAX
from trisagion.ids import ClOrdId
from trisagion.market.types import Tape
from trisagion.orders.evidence import NEVER_RECEIVED
from trisagion.orders.state import AT_VENUE, OrderState
from trisagion.orders.types import ExecType, Order, Side
from trisagion.services.book_fills import book
from trisagion.services.drive_session import SessionDriver
from trisagion.services.outcome import Outcome
from trisagion.simulate.venue import SimulatedVenue

_S, _X = OrderState, ExecType


def an_owner(desk: Desk, **changes: Any) -> tuple[SessionDriver, FakeSession]:
    """Return a driver that holds the lease and has not logged on, and its session."""
    session = FakeSession(**changes)
    driver = SessionDriver(desk.database, session, "SIM", "one")
    driver.lease()
    return driver, session


def some(number: int, state: OrderState, **changes: Any) -> Order:
    """Return one of several orders to buy three."""
    return an_intended_order(TUESDAY_NS + number, state, **{"side": Side.BUY, **changes})


def hear(desk: Desk, driver: SessionDriver, session: FakeSession) -> None:
    """Book what the venue has said, and count what it answers."""
    while session.heard:
        report = session.heard.pop(0)
        if "foreign" in words(book(desk.database, BOOK_RULES, report)):
            driver.orphan(report)
        driver.heard(report, TUESDAY_NS)
    while session.complete:
        driver.heard_all(session.complete.pop(0), TUESDAY_NS)
        hear(desk, driver, session)


def a_venue(*orders: Order) -> FakeSession:
    """Return a session to a bundled venue that knows how to be asked about all orders, and works some."""
    begin = TUESDAY_NS - MINUTE_NS
    rows = [(begin, 16001, 5), (TUESDAY_NS + SECOND_NS, 15990, 2)]
    columns = np.array(rows, dtype=np.int64).T.copy()
    session = FakeSession(
        venue=SimulatedVenue([Tape(ES, columns[0].copy(), columns[1].copy(), columns[2].copy())]), mass_status=True
    )
    assert session.venue is not None
    session.venue.play(TUESDAY_NS)
    for order in orders:
        session.send_new(order, TUESDAY_NS)
    session.heard.clear()
    session.asked.clear()
    return session


def test_until_the_venue_has_spoken_of_every_order_only_cancels_leave(desk: Desk) -> None:
    """Each order that it may hold is asked about, and one answer is missing until the last; then the rest goes out."""
    working, leaving, doubtful = some(1, _S.NEW), some(2, _S.NEW, cancel_reason="x"), some(3, _S.PENDING_NEW)
    replacing = some(4, _S.NEW, wanted_qty=qty(4), wanted_price=Decimal("4000.25"))
    fresh = some(5, _S.ROUTED)
    desk.put(working, leaving, doubtful, replacing, fresh)
    driver, session = an_owner(desk)
    assert driver.drain(TUESDAY_NS) == Outcome("settling")
    assert session.asked == [("cancel", leaving.cl_ord_id)]
    session.asked.clear()

    assert driver.settle(TUESDAY_NS) == Outcome("settling")
    held = [working, leaving, doubtful, replacing]
    assert session.asked == [("status", order.cl_ord_id) for order in held]
    outcomes = []
    for order in held:
        assert not driver.settled
        assert driver.drain(TUESDAY_NS) == Outcome("settling")
        report = said(desk.order(order.cl_ord_id), _X.ORDER_STATUS)
        book(desk.database, BOOK_RULES, report)
        outcomes.append(driver.heard(report, TUESDAY_NS))
    assert outcomes == [Outcome("settling")] * 3 + [Outcome("settled", ("SIM",))]
    [event] = desk.events("session.settled SIM")
    assert json.loads(event.split(" ", 2)[2])["orders"] == "4"
    session.asked.clear()
    driver.pump(TUESDAY_NS)
    assert session.asked == [("replace", replacing.cl_ord_id), ("new", fresh.cl_ord_id)]


@pytest.mark.parametrize("state", sorted(set(OrderState)))
def test_what_the_venue_may_hold_is_asked_about_and_nothing_else(desk: Desk, state: OrderState) -> None:
    """An order that it cannot hold delays nobody."""
    desk.put(some(1, state))
    driver, session = an_owner(desk)
    driver.settle(TUESDAY_NS)
    assert len(session.asked) == (state in AT_VENUE)
    assert driver.settled == (state not in AT_VENUE)


def test_one_question_serves_for_all_and_those_not_named_are_asked_about(desk: Desk) -> None:
    """What works there is confirmed by the one answer; what does not is asked about, and the truth is taken."""
    working, lost, gone = some(1, _S.NEW), some(2, _S.PENDING_NEW), some(3, _S.NEW)
    session = a_venue(working, gone)
    session.send_cancel(gone, TUESDAY_NS)
    session.heard.clear()
    session.asked.clear()
    desk.put(working, lost, gone)
    driver = SessionDriver(desk.database, session, "SIM", "one")
    driver.lease()
    driver.settle(TUESDAY_NS)
    hear(desk, driver, session)
    first, *rest = session.asked
    assert first[0] == "all"
    assert rest == [("status", lost.cl_ord_id), ("status", gone.cl_ord_id)]
    assert driver.settled
    assert [desk.order(order.cl_ord_id).state for order in (working, lost, gone)] == [_S.NEW, _S.REJECTED, _S.CANCELED]
    assert desk.order(lost.cl_ord_id).reason == NEVER_RECEIVED
    assert desk.events("order.alarm") == []


def test_a_fill_that_nobody_told_us_of_is_found(desk: Desk) -> None:
    """The venue's count is not ours: the order is in doubt, a person hears of it, and the session is settled."""
    order = some(1, _S.NEW)
    session = a_venue(order)
    desk.put(order)
    assert session.venue is not None
    assert session.venue.play(TUESDAY_NS + MINUTE_NS)
    driver = SessionDriver(desk.database, session, "SIM", "one")
    driver.lease()
    driver.settle(TUESDAY_NS)
    hear(desk, driver, session)
    assert driver.settled
    assert desk.order(order.cl_ord_id).state is _S.UNKNOWN
    assert "CUM_QTY_GAP: ours=0 venue=2" in desk.events("order.alarm")[0]


def test_an_order_at_the_venue_that_we_do_not_know_shuts_the_gate(desk: Desk) -> None:
    """Somebody else trades our account, or our database was restored from a backup."""
    session = a_venue(some(1, _S.NEW))
    fresh = some(2, _S.ROUTED)
    desk.put(fresh)
    driver = SessionDriver(desk.database, session, "SIM", "one")
    driver.lease()
    driver.settle(TUESDAY_NS)
    hear(desk, driver, session)
    assert driver.settled
    assert len(desk.events("order.foreign")) == 1
    driver.drain(TUESDAY_NS)
    assert (desk.order(fresh.cl_ord_id).state, ("new", fresh.cl_ord_id) in session.asked) == (_S.DENIED, False)
    assert (desk.order(fresh.cl_ord_id).reason or "").startswith("GATE_SHUT: FOREIGN_ORDER")


def test_an_order_that_we_do_not_know_is_cancelled_and_the_gate_says_so(desk: Desk) -> None:
    """Asked once by its own name; the gate stays shut, for a person has to find out whose it was."""
    orphan = some(1, _S.NEW)
    session = a_venue(orphan)
    driver = SessionDriver(desk.database, session, "SIM", "one")
    driver.lease()
    driver.settle(TUESDAY_NS)
    hear(desk, driver, session)
    for _ in range(2):
        driver.pump(TUESDAY_NS)
        hear(desk, driver, session)
    assert [name for what, name in session.asked if what == "cancel"] == [orphan.cl_ord_id]
    assert session.venue is not None
    assert session.venue.snapshot()["working"] == []
    assert [text.partition("ORPHAN: ")[2].rstrip('"}') for text in desk.events("order.orphan")] == [
        "its cancel is asked for",
        "the venue has cancelled it",
    ]
    with desk.database.snapshot() as tx:
        gate = tx.control.gate("SIM")
    assert (gate.shut, gate.reason) == (True, f"FOREIGN_ORDER: {orphan.cl_ord_id}; the venue has cancelled it")
    assert desk.orders() == []


def test_an_order_that_cannot_be_cancelled_from_here_stays_an_alarm(desk: Desk) -> None:
    """As one of another client at Interactive Brokers; and as one that the venue does not end."""
    report = a_report(None, cl_ord_id=ClOrdId("stranger"), exec_type=_X.ORDER_STATUS)
    driver, session = an_owner(desk)
    session.refuses = {"stranger"}
    book(desk.database, BOOK_RULES, report)
    driver.orphan(report)
    driver.pump(TUESDAY_NS)
    assert "cancel it at the venue" in desk.events("order.alarm stranger")[0]
    book(desk.database, BOOK_RULES, replace(report, exec_type=_X.CANCEL_REJECTED, symbol=""))
    assert "the venue does not cancel it for us" in desk.events("order.alarm stranger")[1]
    with desk.database.snapshot() as tx:
        assert tx.control.gate("SIM").reason == "FOREIGN_ORDER: stranger; the venue does not cancel it for us"


def test_while_the_session_is_down_no_cancel_is_asked_for(desk: Desk) -> None:
    """It is kept for the next time."""
    report = a_report(None, cl_ord_id=ClOrdId("stranger"), exec_type=_X.ORDER_STATUS)
    driver, session = an_owner(desk, up=False)
    driver.orphan(report)
    driver.pump(TUESDAY_NS)
    assert session.asked == [] and desk.events("order.orphan") == []
    session.up = True
    driver.pump(TUESDAY_NS)
    assert session.asked == [("cancel", "stranger")]


@pytest.mark.parametrize("mass_status", [False, True])
def test_a_silent_venue_is_asked_again_with_an_alarm_and_nothing_new_leaves(desk: Desk, *, mass_status: bool) -> None:
    """Also one that never answers the question about all orders: then each is asked about by itself."""
    desk.put(some(1, _S.NEW), some(2, _S.ROUTED))
    driver, session = an_owner(desk, mass_status=mass_status)
    clock = [0.0]
    driver.clock = lambda: clock[0]
    driver.bucket = TokenBucket(10, Decimal(0), 10.0, 0.0)
    driver.settle(TUESDAY_NS)
    asked = len(session.asked)
    clock[0] = SETTLE_S_MAX
    driver.pump(TUESDAY_NS)
    assert (len(session.asked), desk.events("session.alarm")) == (asked, [])
    for turn in (1, 2):
        clock[0] = turn * (SETTLE_S_MAX + 0.1)
        driver.pump(TUESDAY_NS)
        driver.pump(TUESDAY_NS)
        assert len(desk.events("session.alarm SIM")) == turn
        assert session.asked[asked:] == [("status", some(1, _S.NEW).cl_ord_id)] * turn
        assert driver.drain(TUESDAY_NS) == Outcome("settling")


def test_after_a_logout_the_next_logon_is_settled_anew(desk: Desk) -> None:
    """What was true before it says nothing."""
    driver, session = an_owner(desk)
    assert driver.settle(TUESDAY_NS) == Outcome("settled", ("SIM",))
    driver.unsettle()
    desk.put(some(1, _S.ROUTED))
    assert driver.drain(TUESDAY_NS) == Outcome("settling")
    assert session.asked == []


def test_both_names_of_an_order_with_an_unanswered_replace_are_waited_for(desk: Desk) -> None:
    """The answer under one says nothing of the other."""
    order = some(1, _S.PENDING_REPLACE, links=1, wanted_qty=qty(4), wanted_price=Decimal("4000.25"))
    desk.put(order)
    driver, _ = an_owner(desk)
    driver.settle(TUESDAY_NS)
    name = order.asked_id
    assert name is not None
    driver.heard(said(order, _X.ORDER_STATUS, cl_ord_id=name), TUESDAY_NS)
    assert not driver.settled
    driver.heard(said(order, _X.ORDER_STATUS), TUESDAY_NS)
    assert driver.settled


def test_questions_beyond_the_share_of_messages_are_asked_later(desk: Desk) -> None:
    """One after the other; an order that ends meanwhile is not asked about and not waited for."""
    orders = [some(number, _S.NEW) for number in range(4)]
    desk.put(*orders)
    driver, session = an_owner(desk)
    clock = [0.0]
    driver.clock = lambda: clock[0]
    driver.bucket = TokenBucket(2, Decimal(0), 2.0, 0.0)
    driver.settle(TUESDAY_NS)
    assert len(session.asked) == 2
    book(desk.database, BOOK_RULES, said(orders[3], _X.CANCELED))
    clock[0] = 5.0
    driver.pump(TUESDAY_NS)
    assert [name for _, name in session.asked] == [order.cl_ord_id for order in orders[:3]]
    for order in orders[:3]:
        driver.heard(said(order, _X.ORDER_STATUS), TUESDAY_NS)
    assert driver.settled


@dataclass(slots=True)
class Cutting:
    """A database whose line to the venue is cut right after the n-th commit."""

    inner: SqlDatabase
    driver: SessionDriver | None = None

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Open a unit of work."""
        with self.inner.transaction() as tx:
            yield tx
        if self.driver is not None:
            self.driver.unsettle()

    def snapshot(self) -> Any:
        """Open a unit of work that only reads."""
        return self.inner.snapshot()

    def version(self) -> int | None:
        """Return what the database says."""
        return self.inner.version()


def test_an_order_that_was_claimed_before_a_logout_is_not_sent_after_the_next_logon(desk: Desk) -> None:
    """The venue is asked about it; it has never heard of it."""
    fresh = some(1, _S.ROUTED)
    desk.put(fresh)
    cutting, session = Cutting(desk.database), FakeSession()
    driver = SessionDriver(cutting, session, "SIM", "one")
    driver.lease()
    driver.settle(TUESDAY_NS)
    cutting.driver = driver
    driver.drain(TUESDAY_NS)
    cutting.driver = None
    assert session.asked == []
    assert desk.order(ClOrdId(fresh.cl_ord_id)).state is _S.PENDING_NEW
    driver.settle(TUESDAY_NS)
    assert session.asked == [("status", fresh.cl_ord_id)]


def test_an_acknowledged_order_that_the_venue_does_not_know_stays_in_doubt(desk: Desk) -> None:
    """It was there: what became of it, and of its fills, only a person can find out."""
    order = some(1, _S.NEW, order_id="V1")
    desk.put(order)
    for _ in range(2):
        report = said(order, _X.ORDER_STATUS, unknown_order=True, ord_status=_S.REJECTED)
        book(desk.database, BOOK_RULES, report)
        assert desk.order(order.cl_ord_id).state is _S.UNKNOWN
    assert "UNKNOWN_AT_VENUE" in desk.events("order.alarm")[0]
