"""`services.wire`, `services.watch_unread`: a stop that needs no database, by what the session's owner remembers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

from tests.builders import ACCOUNT, TUESDAY_NS, Desk, a_report, an_order, qty
from tests.fakes import FakeSession
from tests.integration.owned import owner, routed
from trisagion.adapters.db import SqlDatabase, tables
from trisagion.adapters.db.engine import Unit
from trisagion.adapters.db.faults import Unreachable
from trisagion.errors import UnreadableRow
from trisagion.gateway.pace import TokenBucket
from trisagion.gateway.settling import SETTLED
from trisagion.ids import ClOrdId, cancel_cl_ord_id, link_cl_ord_id
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Order
from trisagion.safety.modes import Mode
from trisagion.services.deny_unsent import deny_unsent
from trisagion.services.drive_session import PRESENT_S, SessionDriver
from trisagion.services.watch_unread import Watchman
from trisagion.services.wire import FLAGGED_S, UNREAD_S, Wire
from trisagion.session_ports import OwnedSession, ReportSink
from trisagion.units import Price
from workers.sessions.venue import VenueOwner

_S = OrderState


class Away:
    """A database that must not be asked: nobody would ever answer."""

    def transaction(self) -> NoReturn:
        """Fail."""
        raise AssertionError("the database was asked for a transaction")

    def snapshot(self) -> NoReturn:
        """Fail."""
        raise AssertionError("the database was asked for a snapshot")


@dataclass
class Owned:
    """An owner with its watchman on a clock of the test; `up` is whether the flag is."""

    driver: SessionDriver
    session: FakeSession
    now_s: float = 100.0
    up: bool = False

    def watch(self, seconds: float) -> Watchman:
        """Have the watchman look ten times a second for so long; nothing of it may ask the database."""
        watchman, database = Watchman(self.driver), self.driver.database
        self.driver.database = Away()  # type: ignore[assignment]
        try:
            for _ in range(round(seconds * 10) + 1):
                watchman.look()
                self.now_s += 0.1
        finally:
            self.driver.database = database
        return watchman


def owned(desk: Desk) -> Owned:
    """Return an owner that holds the lease, has settled, and looks at a clock of ours."""
    session = FakeSession()
    driver = SessionDriver(desk.database, session, "SIM", "one", settling=SETTLED, account=ACCOUNT)
    found = Owned(driver, session)
    driver.clock = lambda: found.now_s
    driver.bucket = replace(driver.bucket, at_s=found.now_s)
    driver.flag = lambda: "a test" if found.up else None
    driver.lease()
    driver.read_s = found.now_s
    return found


def a_replace(order: Order) -> Order:
    """Return an order of which a replace is asked."""
    return replace(order, state=_S.PENDING_REPLACE, links=1, wanted_qty=qty(2), wanted_price=Price(qty("4001")))


def asked(wire: Wire) -> list[str]:
    """Return of which ClOrdIDs a stop without the database asks the cancel."""
    session = wire.session
    assert isinstance(session, FakeSession)
    names: list[str] = []
    session.look = lambda _, order: names.append(order.venue_id)
    wire.cancel_all(lambda: True, TUESDAY_NS)
    return names


def test_a_flag_stops_what_is_claimed_already_and_cancels_follow_when_nobody_reads(desk: Desk) -> None:
    """Nothing new passes from the first look on; what works is cancelled, once, after a second without the database."""
    desk.put(routed("T1"), routed("T2", intent="I2"))
    found = owned(desk)
    found.driver.drain(TUESDAY_NS)
    found.up = True
    found.watch(FLAGGED_S - 0.2)
    assert found.driver.wire.shut
    assert found.session.asked == [("new", "T1"), ("new", "T2")]
    found.driver.wire.send_new(routed("T3"))
    found.driver.wire.send_replace(a_replace(routed("T1")))
    assert len(found.session.asked) == 2
    watchman = found.watch(3.0)
    assert found.session.asked[2:] == [("cancel", "T1"), ("cancel", "T2")]
    assert watchman.untold == 2


def test_without_a_flag_what_works_is_cancelled_when_the_database_has_been_silent_for_long(desk: Desk) -> None:
    """Unreadable means Pause; a server that is started again is not yet one that is lost."""
    desk.put(routed("T1"))
    found = owned(desk)
    found.driver.drain(TUESDAY_NS)
    found.watch(UNREAD_S - 1)
    assert found.session.asked == [("new", "T1")]
    assert not found.driver.wire.shut
    found.watch(UNREAD_S + 1)
    assert found.session.asked == [("new", "T1"), ("cancel", "T1")]


def test_a_stop_that_cannot_be_read_to_its_end_cancels_what_is_remembered(desk: Desk) -> None:
    """One spoilt row of an order, and a lease that is renewed meanwhile, do not keep the others working."""
    desk.put(routed("T1"), routed("BAD", intent="I2"))
    found = owned(desk)
    found.driver.drain(TUESDAY_NS)
    with desk.database.transaction() as tx:
        tx.session.write(sa.update(tables.orders).values(state=_S.NEW), {})
        spoilt = "UPDATE orders SET qty = '-1' WHERE cl_ord_id = 'BAD'"
        tx.session.write(sa.text(spoilt), {})
    desk.switch(Mode.PAUSE)
    watchman = Watchman(found.driver)
    for _ in range(round(UNREAD_S) + 2):
        found.now_s += 1.0
        watchman.look()
        found.driver.lease()
        with pytest.raises(UnreadableRow, match="orders 'BAD': qty"):
            found.driver.enforce(TUESDAY_NS)
    assert found.session.asked[2:] == [("cancel", "BAD"), ("cancel", "T1")]
    assert found.driver.wire.shut


def test_what_was_done_without_the_database_is_told_once_and_the_wire_opens_again(desk: Desk) -> None:
    """An event with the number of orders; then the database's word counts alone."""
    desk.put(routed("T1"))
    found = owned(desk)
    found.driver.drain(TUESDAY_NS)
    found.up = True
    watchman = found.watch(FLAGGED_S + 0.5)
    found.up = False
    found.driver.enforce(TUESDAY_NS)
    watchman.look()
    for _ in range(2):
        watchman.tell(TUESDAY_NS)
    [event] = desk.events("session.alarm")
    assert "UNREAD" in event
    assert "the cancel of 1 orders" in event
    assert not found.driver.wire.shut
    desk.put(routed("T2", intent="I2"))
    found.driver.drain(TUESDAY_NS)
    assert found.session.asked[-1] == ("new", "T2")


def test_a_process_that_stood_still_does_not_take_that_for_a_silent_database(desk: Desk) -> None:
    """The watchman stood still as well: he counts from where he goes on."""
    desk.put(routed("T1"))
    found = owned(desk)
    found.driver.drain(TUESDAY_NS)
    watchman = Watchman(found.driver)
    watchman.look()
    found.now_s += 10 * UNREAD_S + PRESENT_S
    found.up = True
    watchman.look()
    assert found.session.asked == [("new", "T1")]
    assert found.driver.wire.shut


def test_cancels_without_the_database_keep_to_the_sessions_share_of_messages(desk: Desk) -> None:
    """What has no share at one look has it at a later one."""
    desk.put(*(routed(f"T{number}", intent=f"I{number}") for number in range(5)))
    found = owned(desk)
    found.driver.drain(TUESDAY_NS)
    found.up = True
    found.driver.bucket = TokenBucket(2, Decimal(0), 2.0, found.now_s)
    found.watch(FLAGGED_S + 0.1)
    first = len(found.session.asked) - 5
    assert 0 < first < 5
    found.watch(5.0)
    assert sorted(found.session.asked[5:]) == [("cancel", f"T{number}") for number in range(5)]


@pytest.mark.parametrize(
    ("exec_type", "names", "state", "left"),
    [
        (ExecType.CANCELED, ("T1", None), _S.CANCELED, []),
        (ExecType.CANCELED, ("T1", cancel_cl_ord_id(ClOrdId("T1"))), _S.CANCELED, []),
        (ExecType.TRADE, ("T1", None), _S.FILLED, []),
        (ExecType.TRADE, ("T1", None), _S.PARTIALLY_FILLED, ["T1"]),
        (ExecType.REJECTED, ("T1", None), _S.REJECTED, []),
        (ExecType.CANCEL_REJECTED, ("T1", cancel_cl_ord_id(ClOrdId("T1"))), _S.NEW, ["T1"]),
        (ExecType.CANCELED, ("T9", None), _S.CANCELED, ["T1"]),
    ],
)
def test_what_the_venue_has_ended_is_remembered_no_more(
    exec_type: ExecType, names: tuple[str, str | None], state: OrderState, left: list[str]
) -> None:
    """By any of the names that a report bears; what still works is remembered."""
    wire = Wire(FakeSession())
    wire.send_new(routed("T1"))
    name, request = names
    request_id = None if request is None else ClOrdId(request)
    wire.heard(
        a_report(cl_ord_id=ClOrdId(name), request_id=request_id, exec_type=exec_type, ord_status=state, cum_qty=qty(0))
    )
    assert asked(wire) == left


def test_an_order_that_is_being_replaced_is_cancelled_under_either_name() -> None:
    """Until the venue has answered nobody knows which one is in force."""
    order = routed("T1")
    link = link_cl_ord_id(order.cl_ord_id, 1)
    for exec_type, left in ((None, ["T1", link]), (ExecType.REPLACED, [link]), (ExecType.REPLACE_REJECTED, ["T1"])):
        wire = Wire(FakeSession())
        wire.send_new(order)
        wire.send_replace(a_replace(order))
        if exec_type is not None:
            wire.heard(a_report(cl_ord_id=order.cl_ord_id, request_id=link, exec_type=exec_type, ord_status=_S.NEW))
        assert asked(wire) == left


def test_what_a_logon_finds_replaces_what_was_remembered() -> None:
    """The orders that the venue may hold, a replace of theirs under both names; what takes liquidity never rests."""
    wire = Wire(FakeSession())
    wire.send_new(routed("T1"))
    assert asked(wire) == ["T1"]
    wire.found([routed("T2"), a_replace(routed("T3")), an_order("T4", taker=True)])
    assert asked(wire) == ["T2", "T3", link_cl_ord_id(ClOrdId("T3"), 1)]
    assert asked(wire) == []


def test_what_flattens_passes_a_wire_that_is_shut() -> None:
    """It is Emergency's own, which is stricter than what shuts the wire."""
    wire = Wire(FakeSession(), shut=True)
    wire.send_new(routed("T1", taker=True))
    wire.send_new(routed("T2"))
    assert isinstance(wire.session, FakeSession)
    assert wire.session.asked == [("new", "T1")]


def test_a_line_that_is_down_leaves_the_cancels_for_when_it_is_up(desk: Desk) -> None:
    """Nothing counts as asked that was not sent."""
    desk.put(routed("T1"))
    found = owned(desk)
    found.driver.drain(TUESDAY_NS)
    found.up, found.session.up = True, False
    assert found.watch(FLAGGED_S + 0.5).untold == 0
    found.session.up = True
    assert found.watch(FLAGGED_S + 0.5).untold == 1


def test_a_settled_logon_remembers_what_the_database_says_that_the_venue_may_hold(desk: Desk) -> None:
    """An owner that takes over knows the orders of the one before it."""
    desk.put(routed("T1", state=_S.NEW), routed("T2", intent="I2", state=_S.PENDING_CANCEL), routed("T3", intent="I3"))
    driver, session = owner(desk)
    driver.settle(TUESDAY_NS)
    session.asked.clear()
    assert asked(driver.wire) == ["T1", "T2"]
    assert session.asked == [("cancel", "T1"), ("cancel", "T2")]


@pytest.mark.parametrize(
    ("mode", "changes", "state"),
    [
        (Mode.PAUSE, {"state": _S.RISK_CHECKED, "session": None}, _S.DENIED),
        (Mode.PAUSE, {"state": _S.ROUTED}, _S.DENIED),
        (Mode.PAUSE, {"state": _S.ROUTED, "session": "OTHER"}, _S.ROUTED),
        (Mode.EMERGENCY, {"state": _S.RISK_CHECKED, "session": None}, _S.DENIED),
        (Mode.EMERGENCY, {"state": _S.RISK_CHECKED, "session": None, "taker": True}, _S.RISK_CHECKED),
        (Mode.REDUCE, {"state": _S.RISK_CHECKED, "session": None}, _S.RISK_CHECKED),
        (Mode.NORMAL, {"state": _S.ROUTED}, _S.ROUTED),
    ],
)
def test_a_stop_denies_what_waits_for_a_gateway_or_a_session(
    desk: Desk, mode: Mode, changes: dict[str, Any], state: OrderState
) -> None:
    """Neither broker nor gateway need live for it: `trisagion kill` would wait for them for ever."""
    desk.put(routed(**changes))
    driver, session = owner(desk)
    desk.switch(mode)
    for _ in range(2):
        driver.enforce(TUESDAY_NS)
    order = desk.order()
    assert order.state is state
    assert session.asked == []
    denied = state is _S.DENIED
    assert (order.reason == f"MODE_FORBIDS: mode={mode}") is denied
    assert len(desk.events("order.denied")) == int(denied)


def test_an_order_that_left_the_outbox_meanwhile_is_not_denied(desk: Desk) -> None:
    """Between the look and the lock it was claimed."""
    desk.put(routed(state=_S.PENDING_NEW))
    deny_unsent(desk.database, {ClOrdId("T1"): "MODE_FORBIDS: mode=pause"}, TUESDAY_NS)
    assert desk.order().state is _S.PENDING_NEW


@dataclass
class Deaf:
    """A database whose next commit ends in an error, `kept` or not; then it is as it was."""

    database: SqlDatabase
    kept: bool
    heard: bool = True

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Work, and do not hear what became of it."""
        with suppress(Undone), self.database.transaction() as tx:
            yield tx
            self.heard = False
            if not self.kept:
                raise Undone
        raise Unreachable("the server went away")

    def snapshot(self) -> AbstractContextManager[Unit]:
        """Read."""
        return self.database.snapshot()


class Undone(Exception):
    """Nothing of the work is kept."""


@pytest.mark.parametrize("kept", [True, False])
def test_what_may_have_been_claimed_and_was_not_sent_is_asked_about_at_once(desk: Desk, *, kept: bool) -> None:
    """Where the commit was kept; where it was not, the order leaves at the next drain."""
    desk.put(routed("T1"))
    found = owned(desk)
    deaf = found.driver.database = Deaf(desk.database, kept)  # type: ignore[assignment]
    with pytest.raises(Unreachable):
        found.driver.drain(TUESDAY_NS)
    assert not deaf.heard
    assert found.session.asked == []
    found.driver.database = desk.database
    found.driver.pump(TUESDAY_NS)
    assert desk.order("T1").state is (_S.UNKNOWN if kept else _S.ROUTED)
    found.driver.drain(TUESDAY_NS)
    assert found.session.asked == [("status" if kept else "new", "T1")]
    found.driver.pump(TUESDAY_NS)
    assert len(found.session.asked) == 1


def test_what_was_claimed_and_met_a_shut_wire_is_asked_about_at_once(desk: Desk) -> None:
    """It waits for no sweep, which whoever reads the mode may not live to ring."""
    desk.put(routed("T1"))
    found = owned(desk)
    found.driver.wire.shut = True
    found.driver.drain(TUESDAY_NS)
    assert desk.order("T1").state is _S.PENDING_NEW
    found.driver.pump(TUESDAY_NS)
    assert (desk.order("T1").state, found.session.asked) == (_S.UNKNOWN, [("status", "T1")])


class Odd(VenueOwner):
    """An owner whose guard alone is of interest."""

    def session(self, sink: ReportSink) -> OwnedSession:
        """There is none to make."""
        raise NotImplementedError


def test_a_guard_outlives_what_nobody_expected(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever error a look raises, the next look is taken: a guard that has ended enforces nothing any more."""
    looks = iter([TypeError("a row of bytes"), None])
    guarding = Odd(None)

    def watch_switch(_: int) -> None:
        found = next(looks)
        if found is not None:
            raise found
        guarding.stopping.set()

    house = SimpleNamespace(now_ns=lambda: TUESDAY_NS, watch_switch=watch_switch, watch_panic=lambda _: None)
    monkeypatch.setattr("workers.sessions.venue.house", lambda: house)
    monkeypatch.setattr("workers.sessions.venue.GUARD_S", 0.001)
    desk.put(routed("T1"))
    desk.switch(Mode.PAUSE)
    found = owned(desk)
    guarding._guard(Watchman(found.driver))
    assert desk.order("T1").state is _S.DENIED
