"""`services.drive_session`: commit first, send after, never send again; and only the owner of the lease sends."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import SATURDAY_NS, TUESDAY_NS, Desk, qty
from tests.fakes import Died, FakeSession
from tests.integration.owned import owner, routed
from trisagion.adapters.db import SqlDatabase, Unit, open_database
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner
from trisagion.gateway.settling import SETTLED
from trisagion.ids import ClOrdId
from trisagion.orders.state import IN_DOUBT, OrderState
from trisagion.orders.types import ExecutionReport, Order, PositionReport, Unreadable
from trisagion.safety.modes import Mode
from trisagion.services import drive_session
from trisagion.services.drive_session import LEASE_S, SessionDriver, asked_ns
from trisagion.services.outcome import Outcome
from trisagion.session_ports import VenueSession
from trisagion.units import Price

_S = OrderState


class Deaf:
    """A sink for a session that is never started."""

    def on_logon(self) -> None:
        """Not expected."""

    def on_logout(self) -> None:
        """Not expected."""

    def on_report(self, report: ExecutionReport) -> None:
        """Not expected."""

    def on_all_statuses(self, request_id: str) -> None:
        """Not expected."""

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Not expected."""

    def on_unreadable(self, word: Unreadable) -> None:
        """Not expected."""


@pytest.mark.parametrize("kind", ["fake", "fix"])
def test_a_session_that_is_down_sends_nothing_and_says_so(kind: str, tmp_path: Path) -> None:
    """The contract of `session_ports.VenueSession` that the services rely on."""
    config = FixConfig("127.0.0.1", 1, "US", "SIM", "ACC", tmp_path)
    session: VenueSession = FakeSession(up=False) if kind == "fake" else FixSession(config, Deaf(), "SIM")
    assert not session.logged_on()
    assert not session.send_new(routed(), TUESDAY_NS)
    assert not session.send_cancel(routed(), TUESDAY_NS)
    assert not session.ask_status(routed(), TUESDAY_NS)
    assert not session.ask_positions("P1", TUESDAY_NS)


@pytest.mark.parametrize(
    ("order", "asked", "state"),
    [
        (routed(), "new", _S.PENDING_NEW),
        (routed(state=_S.NEW, cancel_reason="x"), "cancel", _S.PENDING_CANCEL),
        (routed(state=_S.PARTIALLY_FILLED, cum_qty=qty(1), cancel_reason="x"), "cancel", _S.PENDING_CANCEL),
    ],
)
def test_the_state_that_says_asked_is_committed_before_the_message_exists(
    shared: Desk, colleague: Desk, order: Order, asked: str, state: OrderState
) -> None:
    """Another connection sees it at the moment of sending; the message goes out once, however often it is drained."""
    seen: list[tuple[str, OrderState]] = []
    shared.put(order)
    driver, session = owner(shared, look=lambda what, sent: seen.append((what, colleague.order(sent.cl_ord_id).state)))
    for _ in range(3):
        assert driver.drain(TUESDAY_NS) == Outcome("drained")
    assert seen == [(asked, state)]
    assert session.asked == [(asked, "T1")]


def test_cancels_go_before_new_orders(desk: Desk) -> None:
    """What takes risk away is not behind what adds it; each in order of creation."""
    desk.put(routed("Tb"), routed("Ta"), routed("Tz", state=_S.NEW, cancel_reason="x"), routed("Ty", state=_S.NEW))
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("cancel", "Tz"), ("new", "Ta"), ("new", "Tb")]


def test_an_order_of_another_session_is_left_alone(desk: Desk) -> None:
    """By drain, resolve and enforce."""
    desk.put(routed(session="OTHER"), routed("T2", session="OTHER", state=_S.UNKNOWN))
    desk.put(
        routed("T3", session="OTHER", state=_S.NEW), routed("T4", session="OTHER", state=_S.NEW, cancel_reason="x")
    )
    driver, session = owner(desk)
    desk.switch(Mode.PAUSE)
    before = desk.everything()
    driver.drain(TUESDAY_NS)
    driver.resolve(TUESDAY_NS)
    assert not driver.enforce(TUESDAY_NS)
    assert session.asked == []
    assert desk.everything() == before


def test_logged_off_nothing_is_sent_and_nothing_moves(desk: Desk) -> None:
    """Neither new orders nor cancels: they wait."""
    desk.put(routed(), routed("T2", state=_S.NEW, cancel_reason="x"))
    driver, session = owner(desk, up=False)
    before = desk.everything()
    assert driver.drain(TUESDAY_NS) == Outcome("logged_off")
    assert driver.observe(TUESDAY_NS) == Outcome("logged_off")
    assert desk.everything() == before
    assert session.asked == []


def test_a_line_that_breaks_after_the_commit_leaves_a_question_not_an_order(desk: Desk) -> None:
    """The message was not sent and is not sent later; the venue is asked instead."""

    def cut(_what: str, _order: Order) -> None:
        session.up = False

    desk.put(routed())
    driver, session = owner(desk)
    session.look = cut
    driver.drain(TUESDAY_NS)
    assert desk.order().state is _S.PENDING_NEW
    session.look, session.up = (lambda what, order: None), True
    driver.drain(TUESDAY_NS)
    assert session.asked == []
    driver.resolve(TUESDAY_NS)
    assert session.asked == [("status", "T1")]


@pytest.mark.parametrize("order", [routed(), routed(state=_S.NEW, cancel_reason="x")])
def test_an_owner_that_dies_while_sending_is_followed_by_a_question(desk: Desk, order: Order) -> None:
    """Whatever became of the message: the next owner asks, and sends nothing."""

    def die(_what: str, _order: Order) -> None:
        raise Died

    desk.put(order)
    driver, _ = owner(desk, look=die)
    with pytest.raises(Died):
        driver.drain(TUESDAY_NS)
    successor, session = owner(desk)
    successor.resolve(TUESDAY_NS)
    successor.drain(TUESDAY_NS)
    assert session.asked == [("status", "T1")]
    assert desk.order().state is _S.UNKNOWN


def test_an_owner_that_stood_still_after_its_claim_sends_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease ran out by its own clock, and a successor may have asked already; it ends."""
    now_s = 100.0
    desk.put(routed())
    driver, session = owner(desk)
    driver.clock = lambda: now_s
    driver.lease()
    claim = SessionDriver._claim

    def claim_and_stand_still(*arguments: Any) -> Any:
        nonlocal now_s
        claimed = claim(*arguments)
        now_s += LEASE_S
        return claimed

    monkeypatch.setattr(SessionDriver, "_claim", claim_and_stand_still)
    with pytest.raises(StaleOwner, match="ran out"):
        driver.drain(TUESDAY_NS)
    assert session.asked == []
    assert desk.order().state is _S.PENDING_NEW


@dataclass
class Sluggish:
    """A database whose process is stopped for a while at the end of each transaction."""

    inner: SqlDatabase
    held_s: float = 0.0
    now_s: float = 0.0

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Open a unit of work."""
        with self.inner.transaction() as tx:
            yield tx
        self.now_s += self.held_s

    def snapshot(self) -> AbstractContextManager[Unit]:
        """Open a unit of work that only reads."""
        return self.inner.snapshot()

    def version(self) -> int | None:
        """Return what the database says."""
        return self.inner.version()


def stopped(desk: Desk, *orders: Order) -> tuple[SessionDriver, FakeSession, Sluggish]:
    """Return a driver with a fresh lease, which its database holds up from now on."""
    desk.put(*orders)
    database, session = Sluggish(desk.database), FakeSession()
    driver = SessionDriver(database, session, "SIM", "one", clock=lambda: database.now_s, settling=SETTLED)
    driver.lease()
    return driver, session, database


@pytest.mark.parametrize(
    ("order", "asked"),
    [
        (routed(), "new"),
        (routed(state=_S.NEW, cancel_reason="x"), "cancel"),
        (routed(state=_S.NEW, wanted_qty=qty(2), wanted_price=Price(qty("4000.25"))), "replace"),
    ],
)
@pytest.mark.parametrize(("held_s", "goes"), [(1.9, True), (2.1, False)])
def test_what_was_claimed_before_the_process_was_stopped_is_not_sent_after_it(
    desk: Desk, order: Order, asked: str, held_s: float, goes: bool
) -> None:
    """Somebody may have killed, or taken the lease, meanwhile: it is asked about, as if the line had broken."""
    driver, session, database = stopped(desk, order)
    database.held_s = held_s
    driver.drain(TUESDAY_NS)
    assert session.asked == ([(asked, "T1")] if goes else [])
    assert desk.order().state in IN_DOUBT
    session.asked.clear()
    driver.drain(TUESDAY_NS)
    driver.resolve(TUESDAY_NS)
    assert session.asked == [("status", "T1")]


def test_a_drain_that_lasts_too_long_leaves_the_rest_to_a_later_instant(desk: Desk) -> None:
    """What it was told is the present is not the present any more; nothing is lost, and the order stays."""
    driver, session, database = stopped(
        desk,
        routed("T1", state=_S.NEW, cancel_reason="x"),
        routed("T2", state=_S.NEW, wanted_qty=qty(2), wanted_price=Price(qty("4000.25"))),
        routed("T3"),
    )
    database.held_s = 1.2
    assert driver.drain(TUESDAY_NS) == Outcome("throttled")
    assert [name for _, name in session.asked] == ["T1", "T2"]
    assert desk.order("T3").state is _S.ROUTED
    driver.pump(TUESDAY_NS + 3 * SECOND_NS)
    assert [name for _, name in session.asked] == ["T1", "T2", "T3"]
    assert desk.order("T3").updated_ns == TUESDAY_NS + 3 * SECOND_NS


def test_a_message_that_comes_late_does_not_date_what_was_decided_since(desk: Desk) -> None:
    """An order routed after the message's instant is sent with its own."""
    desk.put(routed(updated_ns=TUESDAY_NS + 5))
    driver, _ = owner(desk)
    driver.drain(TUESDAY_NS)
    assert desk.order().updated_ns == TUESDAY_NS + 5


@pytest.mark.parametrize("state", sorted(set(OrderState)))
def test_resolve_asks_about_every_order_in_doubt_and_no_other(desk: Desk, state: OrderState) -> None:
    """It becomes UNKNOWN, and the venue is asked each time until it answers."""
    desk.put(routed(state=state))
    driver, session = owner(desk)
    for _ in range(2):
        assert driver.resolve(TUESDAY_NS) == Outcome("asked")
    doubted = state in IN_DOUBT
    assert session.asked == [("status", "T1")] * (2 if doubted else 0)
    assert desk.order().state is (_S.UNKNOWN if doubted else state)


def test_a_request_for_positions_carries_its_instant(desk: Desk) -> None:
    """So that the answer says as of when it is true."""
    driver, session = owner(desk)
    assert driver.observe(TUESDAY_NS) == Outcome("asked")
    [(what, request)] = session.asked
    assert (what, asked_ns(request)) == ("positions", TUESDAY_NS)


@pytest.mark.parametrize(
    ("mode", "state", "taker", "withdrawn"),
    [
        (Mode.PAUSE, _S.NEW, False, True),
        (Mode.PAUSE, _S.PARTIALLY_FILLED, False, True),
        (Mode.EMERGENCY, _S.NEW, False, True),
        (Mode.EMERGENCY, _S.NEW, True, False),
        (Mode.PAUSE, _S.PENDING_NEW, False, False),
        (Mode.NORMAL, _S.NEW, False, False),
        (Mode.REDUCE, _S.NEW, False, False),
    ],
)
def test_a_mode_that_cancels_withdraws_what_works(
    *, desk: Desk, mode: Mode, state: OrderState, taker: bool, withdrawn: bool
) -> None:
    """Without the broker: what is working is cancelled by the very look at the mode, and once."""
    desk.switch(mode)
    desk.put(routed(state=state, taker=taker))
    driver, session = owner(desk)
    assert driver.enforce(TUESDAY_NS) == withdrawn
    driver.enforce(TUESDAY_NS)
    assert session.asked == ([("cancel", "T1")] if withdrawn else [])
    assert desk.order().cancel_reason == (f"mode {mode}" if withdrawn else None)


@pytest.mark.parametrize(
    ("before_s", "withdrawn"), [(61, False), (60, True), (1, True), (0, True), (-3600, True), (-49 * 3600, False)]
)
def test_what_works_is_withdrawn_a_minute_before_the_rest(desk: Desk, before_s: int, *, withdrawn: bool) -> None:
    """By the guard, whoever sleeps: Friday 23:00 on the clocks of the rest is 21:00 UTC. Nothing new leaves either."""
    rest_ns = SATURDAY_NS - 15 * 3600 * SECOND_NS
    now_ns = rest_ns - before_s * SECOND_NS
    desk.put(routed(state=_S.NEW), routed("T2", created_ns=now_ns, updated_ns=now_ns))
    driver, session = owner(desk)
    assert driver.enforce(now_ns) == withdrawn
    assert desk.order().cancel_reason == ("rest: weekend" if withdrawn else None)
    driver.drain(now_ns)
    assert session.asked == ([("cancel", "T1")] if withdrawn else [("new", "T2")])
    assert desk.order("T2").reason == ("REST: weekend" if withdrawn else None)


def test_what_is_in_doubt_is_asked_to_cancel_once(desk: Desk) -> None:
    """It may work at the venue; when the answer leaves it in doubt it is not asked again and again."""
    desk.put(routed(state=_S.UNKNOWN), routed("T2", state=_S.UNKNOWN, taker=True))
    driver, session = owner(desk, up=False)
    desk.switch(Mode.PAUSE)
    assert driver.enforce(TUESDAY_NS)
    assert session.asked == []
    session.up = True
    driver.enforce(TUESDAY_NS)
    assert session.asked == [("cancel", "T1")]
    assert (desk.order().state, desk.order().cancel_reason) == (_S.PENDING_CANCEL, "mode pause")
    driver.resolve(TUESDAY_NS)
    assert desk.order().state is _S.UNKNOWN
    assert not driver.enforce(TUESDAY_NS)
    assert session.asked == [("cancel", "T1"), ("status", "T1"), ("status", "T2")]


def test_what_a_mode_withdraws_while_logged_off_is_cancelled_after_logon(desk: Desk) -> None:
    """Each look tries again, and the first reason stays."""
    desk.put(routed(state=_S.NEW, cancel_reason="superseded"))
    desk.switch(Mode.PAUSE)
    driver, session = owner(desk, up=False)
    assert driver.enforce(TUESDAY_NS)
    session.up = True
    assert driver.enforce(TUESDAY_NS)
    assert session.asked == [("cancel", "T1")]
    assert desk.order().cancel_reason == "superseded"


def test_an_unset_mode_is_pause(sqlite_url: str) -> None:
    """A store that was never told a mode sends nothing."""
    desk = Desk(open_database(sqlite_url))
    desk.put(routed())
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert session.asked == []
    assert desk.order().reason == "MODE_FORBIDS: mode=pause"
    desk.database.close()


def test_a_session_has_one_owner(shared: Desk, colleague: Desk) -> None:
    """While the lease holds, a second process gets none and sends nothing, whatever it is asked."""
    first, sent = owner(shared)
    second = SessionDriver(colleague.database, FakeSession(), "SIM", "two", settling=SETTLED)
    shared.put(routed(), routed("T2", state=_S.UNKNOWN))
    for use in (second.lease, lambda: second.drain(TUESDAY_NS), lambda: second.resolve(TUESDAY_NS)):
        with pytest.raises(StaleOwner):
            use()
    assert isinstance(second.session, FakeSession)
    assert second.session.asked == []
    assert shared.order().state is _S.ROUTED
    first.lease()
    first.drain(TUESDAY_NS)
    assert sent.asked == [("new", "T1")]


def test_an_owner_whose_lease_was_taken_over_sends_nothing(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept too long: its token is old, it hears `StaleOwner`, and the successor's word holds."""
    monkeypatch.setattr(drive_session, "LEASE_S", 0.001)
    first, sent = owner(shared)
    time.sleep(0.05)
    monkeypatch.setattr(drive_session, "LEASE_S", 60.0)
    second, also_sent = owner(colleague, "two")
    shared.put(routed(), routed("T2", state=_S.NEW, cancel_reason="x"), routed("T3", state=_S.UNKNOWN))
    for use in (lambda: first.drain(TUESDAY_NS), lambda: first.resolve(TUESDAY_NS), first.lease):
        with pytest.raises(StaleOwner):
            use()
    assert sent.asked == []
    second.drain(TUESDAY_NS)
    assert also_sent.asked == [("cancel", "T2"), ("new", "T1")]


def test_two_threads_that_drain_at_once_send_each_order_once(shared: Desk) -> None:
    """The task and the guard both drain: the database gives an order to one of them."""
    names = [f"T{number:02}" for number in range(12)]
    shared.put(*(routed(name, intent=f"I{name}") for name in names))
    driver, session = owner(shared)
    together = threading.Barrier(3)
    failed: list[BaseException] = []

    def drain() -> None:
        together.wait()
        try:
            driver.drain(TUESDAY_NS)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failed.append(error)

    threads = [threading.Thread(target=drain) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(name for _, name in session.asked) == names


def test_an_order_filled_between_the_look_and_the_lock_is_cancelled_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fill in between is no reason to let the rest work on."""
    monkeypatch.setattr(drive_session, "CLAIM_MAX", 1)
    desk.put(routed("Ta", state=_S.NEW, cancel_reason="x"), routed("Tb", state=_S.NEW, cancel_reason="x"))

    def fill(_what: str, order: Order) -> None:
        if order.cl_ord_id == "Ta":
            other = desk.order("Tb")
            with desk.database.transaction() as tx:
                tx.orders.save(replace(other, state=_S.PARTIALLY_FILLED, cum_qty=qty(1), version=other.version + 1))

    driver, session = owner(desk, look=fill)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("cancel", "Ta"), ("cancel", "Tb")]


def test_an_order_that_ended_between_the_look_and_the_lock_is_not_asked_about(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor sent: somebody else denied it."""
    monkeypatch.setattr(drive_session, "CLAIM_MAX", 1)
    desk.put(routed("Ta"), routed("Tb"))

    def deny(_what: str, order: Order) -> None:
        other = desk.order("Tb")
        with desk.database.transaction() as tx:
            tx.orders.save(replace(other, state=_S.DENIED, version=other.version + 1))

    driver, session = owner(desk, look=deny)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("new", "Ta")]
    assert desk.order(ClOrdId("Tb")).state is _S.DENIED


def test_many_orders_are_claimed_in_one_transaction_before_the_first_is_sent(shared: Desk, colleague: Desk) -> None:
    """As the database has them: state, instant and version are those of the orders that go out."""
    names = [f"T{number:03}" for number in range(drive_session.CLAIM_MAX + 3)]
    shared.put(*(routed(name, intent=f"I{name}", created_ns=TUESDAY_NS + int(name[1:])) for name in names))
    seen: list[list[OrderState]] = []

    def look(_what: str, order: Order) -> None:
        assert colleague.order(order.cl_ord_id) == order
        seen.append([other.state for other in colleague.orders()])

    driver, session = owner(shared, look=look)
    driver.drain(TUESDAY_NS)
    assert [name for _, name in session.asked] == names
    first, last = seen[0], seen[-1]
    assert first.count(_S.PENDING_NEW) == drive_session.CLAIM_MAX
    assert last.count(_S.PENDING_NEW) == len(names)


def test_an_owner_that_dies_with_many_claimed_leaves_questions_and_sends_none_again(desk: Desk) -> None:
    """One was sent, the others may have been: all are asked about."""
    names = [f"T{number}" for number in range(5)]
    desk.put(*(routed(name, intent=f"I{name}") for name in names))

    def die(_what: str, order: Order) -> None:
        if order.cl_ord_id == "T1":
            raise Died

    driver, session = owner(desk, look=die)
    with pytest.raises(Died):
        driver.drain(TUESDAY_NS)
    assert session.asked == [("new", "T0")]
    successor, session = owner(desk)
    successor.drain(TUESDAY_NS)
    assert session.asked == []
    successor.resolve(TUESDAY_NS)
    assert session.asked == [("status", name) for name in names]


def test_a_drain_that_meets_its_bound_goes_on_with_the_guard(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a long outbox is not left to the sweeper."""
    monkeypatch.setattr(drive_session, "OUTBOX_MAX", 2)
    desk.put(*(routed(f"T{number}", intent=f"I{number}") for number in range(3)))
    driver, session = owner(desk)
    driver.drain(TUESDAY_NS)
    assert [name for _, name in session.asked] == ["T0", "T1"]
    driver.pump(TUESDAY_NS)
    assert [name for _, name in session.asked] == ["T0", "T1", "T2"]
