"""The clock is watched by the owner of a session: what the venue and the database say of the time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.builders import TUESDAY_NS, Desk, an_intended_order
from tests.fakes import FakeSession
from trisagion.adapters.db import SqlDatabase, Unit
from trisagion.clock import SECOND_NS
from trisagion.errors import StateError
from trisagion.gateway.settling import SETTLED
from trisagion.orders.state import OrderState
from trisagion.safety.skew import WINDOW_S
from trisagion.services.drive_session import LOGON_S_MAX, PRESENT_S, SessionDriver
from trisagion.services.outcome import Outcome

_S = OrderState
HALF_NS = SECOND_NS // 2


@dataclass(slots=True)
class Failing:
    """A database that writes no more after a while."""

    inner: SqlDatabase
    fails: bool = False
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Open a unit of work."""
        with self.inner.transaction() as tx:
            if self.fails:
                raise StateError("the disk is full")
            yield tx

    def snapshot(self) -> Any:
        """Open a unit of work that only reads."""
        return self.inner.snapshot()

    def version(self) -> int | None:
        """Return what the database says."""
        return self.inner.version()


def an_owner(desk: Desk, **changes: Any) -> tuple[SessionDriver, FakeSession]:
    """Return a driver that holds the lease of a session that has settled."""
    session = FakeSession()
    driver = SessionDriver(desk.database, session, "SIM", "one", settling=SETTLED, **changes)
    driver.lease()
    return driver, session


def test_an_excursion_is_told_once_and_the_next_one_again(desk: Desk) -> None:
    """From one second; it ends below half of one."""
    driver, session = an_owner(desk)
    told = []
    for offset_ns in (None, 0, SECOND_NS - 1, SECOND_NS, 2 * SECOND_NS, None, HALF_NS, SECOND_NS, 0, -SECOND_NS):
        session.offset = offset_ns
        driver.watch(TUESDAY_NS)
        told.append(len(desk.events("clock.alarm SIM")))
    assert told == [0, 0, 0, 1, 1, 1, 1, 1, 1, 2]
    assert "CLOCK: ours less the venue's is 1.000 s" in desk.events("clock.alarm")[0]
    assert not driver.skewed


@pytest.mark.parametrize("offset_ns", [5 * SECOND_NS, -5 * SECOND_NS])
def test_a_clock_that_is_five_seconds_off_shuts_the_gate(desk: Desk, offset_ns: int) -> None:
    """It stays shut when the clock is right again: an operator opens it."""
    driver, session = an_owner(desk)
    desk.put(an_intended_order(TUESDAY_NS, _S.ROUTED))
    session.offset = offset_ns
    driver.watch(TUESDAY_NS)
    assert len(desk.events("clock.alarm SIM")) == len(desk.events("gate.shut SIM")) == 1
    assert driver.drain(TUESDAY_NS) == Outcome("settling")
    session.offset = 0
    driver.watch(TUESDAY_NS)
    assert driver.drain(TUESDAY_NS) == Outcome("drained")
    assert session.asked == []
    [order] = desk.orders()
    assert (order.reason or "").startswith("GATE_SHUT: CLOCK: ours less the venue's is ")


def test_nothing_new_leaves_although_the_gate_could_not_be_shut(desk: Desk) -> None:
    """The owner knows by itself; cancels leave, and as soon as the database writes again the gate is shut."""
    failing = Failing(desk.database)
    session = FakeSession(offset=5 * SECOND_NS)
    driver = SessionDriver(failing, session, "SIM", "one", settling=SETTLED)
    driver.lease()
    failing.fails = True
    with pytest.raises(StateError):
        driver.watch(TUESDAY_NS)
    failing.fails = False
    fresh, leaving = (
        an_intended_order(TUESDAY_NS, _S.ROUTED),
        an_intended_order(TUESDAY_NS + 1, _S.NEW, cancel_reason="x"),
    )
    desk.put(fresh, leaving)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("cancel", leaving.cl_ord_id)]
    driver.watch(TUESDAY_NS)
    assert len(desk.events("gate.shut SIM")) == 1


def test_what_waited_for_a_process_that_stood_still_is_no_skew(desk: Desk) -> None:
    """Its messages are old and its clock is right; whatever is still late a window later is told."""
    driver, session = an_owner(desk)
    now_s = 100.0
    driver.clock = lambda: now_s
    driver.watch(TUESDAY_NS)
    now_s += PRESENT_S + 0.1
    session.offset = 60 * SECOND_NS
    for _ in range(WINDOW_S):
        driver.watch(TUESDAY_NS)
        assert not driver.skewed
        now_s += 1.0
    driver.watch(TUESDAY_NS)
    assert driver.skewed
    assert len(desk.events("gate.shut SIM")) == 1


@pytest.mark.parametrize(("off_s", "alarms", "shut"), [(0, 0, 0), (0.9, 0, 0), (1.1, 1, 0), (-1.1, 1, 0), (5.1, 1, 1)])
def test_the_databases_clock_is_looked_at_with_each_renewal_of_the_lease(
    shared: Desk, off_s: float, alarms: int, shut: int
) -> None:
    """By our clock as the test sets it, against the server's own."""
    driver, _ = an_owner(shared)
    right = driver.wall
    driver.wall = lambda: right() + int(off_s * SECOND_NS)
    driver.lease()
    driver.watch(TUESDAY_NS)
    assert len(shared.events("clock.alarm SIM")) == alarms
    assert len(shared.events("gate.shut SIM")) == shut


def test_a_session_that_cannot_log_on_is_told_of_once_and_again_after_it_was_up(desk: Desk) -> None:
    """With the word that a wrong clock looks so."""
    driver, session = an_owner(desk)
    now_s = [0.0]
    driver.clock = lambda: now_s[0]
    told = []
    for at_s, up in ((0, False), (59, False), (60, False), (300, False), (301, True), (302, False), (362, False)):
        now_s[0], session.up = float(at_s), up
        driver.watch(TUESDAY_NS)
        told.append(len(desk.events("session.alarm SIM")))
    assert told == [0, 0, 1, 1, 1, 1, 2]
    assert "more than 120 s looks exactly so" in desk.events("session.alarm")[0]
    assert LOGON_S_MAX == 60
