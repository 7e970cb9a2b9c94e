"""Rows that another program wrote: refused where they are read, and no honest order is kept from its way."""

import pytest
import sqlalchemy as sa

from tests.builders import CYCLE_RULES, LIMITS, SESSION, TUESDAY_NS, Desk, an_intended_order, words
from tests.fakes import FakeSession
from trisagion.adapters.db import tables
from trisagion.clock import SECOND_NS
from trisagion.errors import DataError, StaleOwner, StateError, UnreadableRow
from trisagion.gateway.settling import SETTLED
from trisagion.ids import CycleId, IntentKey
from trisagion.orders.state import OrderState
from trisagion.orders.types import Order
from trisagion.safety.modes import Mode
from trisagion.services.drive_session import SessionDriver
from trisagion.services.incidents import LEASE
from trisagion.services.reconcile import cycle
from trisagion.services.route_orders import route
from trisagion.services.sweep import set_aside, sweep

ANYWHERE: list[tuple[str, object]] = [
    ("symbol", "E\x01S"), ("symbol", "ES\n"), ("symbol", ""), ("symbol", "\u202eSE"), ("symbol", "\uff25\uff33"),
    ("side", "hold"), ("side", ""), ("qty", "-3"), ("qty", "0"), ("price", "-1"), ("price", "0"), ("price", None),
    ("session", "SIM\x01"), ("cum_qty", "-1"), ("wanted_qty", "-1"), ("attempt", -1), ("version", -1),
    ("created_ns", -1), ("links", -1),
]  # fmt: skip
ON_SQLITE: list[tuple[str, object]] = [
    ("qty", "NaN"), ("qty", "Infinity"), ("qty", "1e308"), ("qty", "five"), ("qty", ""), ("qty", "9" * 100),
    ("qty", b"\xff"), ("price", "sNaN"), ("attempt", "x"), ("version", 1.5), ("updated_ns", "X'; DROP TABLE o;--"),
    ("symbol", b"ES"), ("symbol", "X" * 10_000),
]  # fmt: skip
"""MariaDB refuses these by the types of its columns."""


def two(desk: Desk, state: OrderState = OrderState.ROUTED) -> tuple[Order, Order]:
    """Put two orders there, the first of which is to be spoilt."""
    bad, good = (
        an_intended_order(TUESDAY_NS, state, intent=IntentKey(f"I{number}"), cl_ord_id=name, cycle=CycleId("C1"))
        for number, name in enumerate(("BAD", "GOOD"))
    )
    desk.put(bad, good)
    return bad, good


def written(desk: Desk, table: str, column: str, value: object, **key: str) -> int:
    """Write a value past all that our own program would refuse; return how many rows have it."""
    rows = sa.table(table, sa.column(column), *map(sa.column, key))
    with desk.database.transaction() as tx:
        done = tx.session.connection.execute(sa.update(rows).filter_by(**key).values({column: value}))
        return done.rowcount


def spoil(desk: Desk, column: str, value: object) -> None:
    """Write a value into the first order's row, as another program would."""
    assert written(desk, "orders", column, value, cl_ord_id="BAD") == 1


def drained(desk: Desk) -> FakeSession:
    """Return a session that was told to send what there is."""
    session = FakeSession()
    driver = SessionDriver(desk.database, session, SESSION, "one", settling=SETTLED)
    driver.lease()
    driver.drain(TUESDAY_NS + SECOND_NS)
    return session


def put_aside(desk: Desk, column: str, value: object) -> None:
    """Hold that a spoilt order in the outbox is denied with its reason, and that the good one is sent alone."""
    two(desk)
    spoil(desk, column, value)
    assert drained(desk).asked == [("new", "GOOD")]
    set_aside(desk.database, TUESDAY_NS)
    rows = desk.rows(tables.orders.c.cl_ord_id, tables.orders.c.state, tables.orders.c.reason)
    assert rows[0][:2] == ("BAD", "denied")
    assert rows[0][2].startswith(f"orders 'BAD': {column}: expected ") or "in the database, found" in rows[0][2]
    assert [event.split()[:2] for event in desk.events("order.unreadable")] == [["order.unreadable", "'BAD'"]]
    set_aside(desk.database, TUESDAY_NS)
    assert len(desk.events("order.unreadable")) == 1
    assert ("gateway.route", "BAD") not in {(o.word, s) for o in sweep(desk.database) for s in o.subjects}


@pytest.mark.parametrize(("column", "value"), ANYWHERE)
def test_an_order_that_cannot_be_read_and_was_never_sent_is_put_aside(shared: Desk, column: str, value: object) -> None:
    """The session sends the honest one; the other is denied, once, with row and column in the event."""
    put_aside(shared, column, value)


@pytest.mark.parametrize(("column", "value"), ON_SQLITE)
def test_sqlite_keeps_any_value_in_any_column_and_it_is_put_aside_too(desk: Desk, column: str, value: object) -> None:
    """Text, bytes and numbers that are none."""
    put_aside(desk, column, value)


@pytest.mark.parametrize("value", ["-1", "0"])
def test_an_order_that_the_venue_may_know_is_never_left_out(shared: Desk, value: str) -> None:
    """What it counts against the limits is not known, so nothing is traded beside it, and the error names the row."""
    two(shared, OrderState.NEW)
    shared.put(an_intended_order(TUESDAY_NS, OrderState.RISK_CHECKED, cl_ord_id="NEXT", intent=IntentKey("I3")))
    spoil(shared, "qty", value)
    with pytest.raises(StateError, match="orders 'BAD': qty: expected above 0, found"):
        route(shared.database, LIMITS, SESSION, shared.order("NEXT").cl_ord_id, TUESDAY_NS)
    assert drained(shared).asked == []
    assert shared.order("NEXT").state is OrderState.RISK_CHECKED


@pytest.mark.parametrize("word", ["", "NEW", "sent", "X'; DROP TABLE o;--"])
def test_an_order_in_no_state_of_ours_is_asked_about(shared: Desk, word: str) -> None:
    """Nobody knows whether it was sent: that is what UNKNOWN means."""
    two(shared)
    spoil(shared, "state", word)
    assert drained(shared).asked == [("new", "GOOD")]
    set_aside(shared.database, TUESDAY_NS)
    assert shared.order("BAD").state is OrderState.UNKNOWN
    session = FakeSession()
    driver = SessionDriver(shared.database, session, SESSION, "one")
    driver.lease()
    driver.resolve(TUESDAY_NS)
    assert ("status", "BAD") in session.asked


@pytest.mark.parametrize(
    ("column", "value"),
    [("tick_size", "0"), ("lot_size", "-1"), ("multiplier", "0"), ("leverage_max", "0"), ("fee_rate", "-1")],
)
def test_nothing_is_decided_by_the_terms_of_a_spoilt_instrument(shared: Desk, column: str, value: str) -> None:
    """Neither an order nor a cycle; the error names table, row and column."""
    order = an_intended_order(TUESDAY_NS, OrderState.RISK_CHECKED)
    shared.put(order)
    assert written(shared, "instrument", column, value) == 1
    with pytest.raises(UnreadableRow, match=f"instrument 'ES': {column}: expected "):
        route(shared.database, LIMITS, SESSION, order.cl_ord_id, TUESDAY_NS)
    assert shared.order(order.cl_ord_id).state is OrderState.RISK_CHECKED


@pytest.mark.parametrize("mode", ["", "NORMAL", "normal ", "go", "null", "'; DROP TABLE"])
def test_a_mode_that_is_no_word_of_ours_is_a_pause(shared: Desk, mode: str) -> None:
    """And nothing new goes out."""
    two(shared)
    with shared.database.transaction() as tx:
        statement = "INSERT INTO control (mode, operator, reason, set_ns) VALUES (:mode, 'x', 'x', 1)"
        tx.session.write(sa.text(statement), {"mode": mode})
    assert shared.mode() is Mode.PAUSE
    assert drained(shared).asked == []


def test_a_lease_of_another_program_is_its_own(shared: Desk) -> None:
    """An owner that nobody knows holds the session; no cycle moves on a lease from the far future."""
    until_ms = 2**62
    with shared.database.transaction() as tx:
        for name in (f"session:{SESSION}", LEASE):
            tx.session.write(tables.lease.insert(), {"name": name, "owner": "x", "token": 7, "until_ms": until_ms})
    driver = SessionDriver(shared.database, FakeSession(), SESSION, "one")
    with pytest.raises(StaleOwner, match="held by another process"):
        driver.lease()
    assert words(cycle(shared.database, CYCLE_RULES, "one", TUESDAY_NS)) == ["busy"]


@pytest.mark.parametrize(
    ("kind", "subject", "at_ns"),
    [
        ("k", "\ud800", 1),
        ("k", "a\0b", 1),
        ("k", "x" * 201, 1),
        ("\udcff", "s", 1),
        ("k", "s", 2**63),
        ("k", "s", -(2**63) - 1),
        ("k", "s", 10**100),
    ],
)
def test_what_a_column_cannot_hold_is_refused_before_it_is_sent(
    shared: Desk, kind: str, subject: str, at_ns: int
) -> None:
    """As an error of ours on either server, and nothing is kept."""
    before = shared.everything()
    with pytest.raises(DataError, match="expected"), shared.database.transaction() as tx:
        tx.control.add_event(kind, subject, {}, at_ns)
    with pytest.raises(DataError, match="UTF-8"), shared.database.transaction() as tx:
        tx.control.add_event("k", "s", {"text": "\ud800"}, 1)
    assert shared.everything() == before
