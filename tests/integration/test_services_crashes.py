"""The chain from votes to fills with a process that dies at each of its transactions, and with every message lost.

The services run as they do in the workers, one task after the other by the flow table, on a real database and against
the bundled venue's own messages; only Celery and the wire are left out.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import BOOK_RULES, COHORT_RULES, CYCLE_RULES, ES, LIMITS, TUESDAY_NS, Desk, voting
from tests.fakes import Died, FakeSession
from tests.integration.killed import Counted
from trisagion.adapters.db import open_database, tables
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.ids import ClOrdId
from trisagion.market.types import Tape
from trisagion.orders.evidence import NEVER_RECEIVED
from trisagion.orders.state import TERMINAL, OrderState
from trisagion.ports import Database
from trisagion.services.advance_cohort import supervise_cohort
from trisagion.services.book_fills import book, observe
from trisagion.services.drive_session import SessionDriver
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import cycle
from trisagion.services.replay import unsettled
from trisagion.services.route_orders import route
from trisagion.services.sweep import sweep
from trisagion.simulate.venue import SimulatedVenue
from workers.flow import FLOW

FIRST, SECOND = TUESDAY_NS, TUESDAY_NS + 10 * MINUTE_NS
LEASED = 3
"""Transactions before there is any work."""
STEPS_MAX = 5000
"""A step needs about twenty tasks; where each is delivered twice, a thousand."""


def die() -> None:
    """End as a process does, within this one."""
    raise Died


@dataclass(slots=True)
class House:
    """The workers' choreography in one thread: each task calls its service, and the flow table says what follows."""

    database: Database
    session: FakeSession
    repeats: int = 1
    queue: deque[tuple[str, int, str]] = field(default_factory=deque)
    driver: SessionDriver = field(init=False)

    def __post_init__(self) -> None:
        self.driver = SessionDriver(self.database, self.session, "SIM", "owner")

    def ring(self, task: str, now_ns: int, subject: str = "") -> None:
        """Send a task."""
        self.queue += [(task, now_ns, subject)] * self.repeats

    def work(self) -> None:
        """Do what is rung for, book what is heard, until it is quiet."""
        for _ in range(STEPS_MAX):
            if self.session.heard:
                report = self.session.heard[0]
                for _ in range(self.repeats):
                    self._follow("session.report", book(self.database, BOOK_RULES, report), report.happened_ns)
                    self._follow("session.report", self.driver.heard(report, report.happened_ns), report.happened_ns)
                # The engine counts a message as received only now: what was not booked is delivered again.
                self.session.heard.pop(0)
            elif self.session.complete:
                request = self.session.complete.pop(0)
                self._follow("session.report", self.driver.heard_all(request, TUESDAY_NS), TUESDAY_NS)
            elif self.session.seen:
                seen = tuple(self.session.seen)
                self._follow("session.report", observe(self.database, seen, seen[0].happened_ns), seen[0].happened_ns)
                self.session.seen.clear()
            elif self.queue:
                task, now_ns, subject = self.queue.popleft()
                self._follow(task, self._task(task, now_ns, subject), now_ns)
            else:
                return
        raise AssertionError(f"not quiet after {STEPS_MAX} tasks: {self.queue}")

    def _follow(self, task: str, outcomes: Outcome | tuple[Outcome, ...], now_ns: int) -> None:
        for outcome in [outcomes] if isinstance(outcomes, Outcome) else outcomes:
            following = FLOW.get((task, outcome.word))
            for subject in outcome.subjects if following else ():
                self.ring(str(following), now_ns, subject)

    def _task(self, task: str, now_ns: int, subject: str) -> Outcome | tuple[Outcome, ...]:
        tasks: dict[str, Callable[[], Outcome | tuple[Outcome, ...]]] = {
            "reconcile.cycle": lambda: cycle(self.database, CYCLE_RULES, "desk", int(subject or now_ns)),
            "gateway.route": lambda: route(self.database, LIMITS, "SIM", ClOrdId(subject), now_ns),
            "session.drain": lambda: self.driver.drain(now_ns),
            "session.observe": lambda: self.driver.observe(now_ns),
            "session.resolve": lambda: self.driver.resolve(now_ns),
            "cohort.supervise": lambda: supervise_cohort(self.database, COHORT_RULES, 7, int(subject)),
            "sweep.run": lambda: sweep(self.database),
        }
        return tasks[task]()


def tape() -> Tape:
    """Trades at 4000, then below the bid after the first cycle and after the second."""
    begin, after_first, after_second = FIRST - MINUTE_NS, FIRST + 5 * SECOND_NS, SECOND + 5 * SECOND_NS
    rows = [(begin, 16000, 1), (after_first, 15998, 1), (SECOND - 1, 16000, 1), (after_second, 15990, 50)]
    columns = np.array(rows, dtype=np.int64).T.copy()
    return Tape(ES, columns[0].copy(), columns[1].copy(), columns[2].copy())


@dataclass(slots=True)
class World:
    """A desk, a venue, and a house that is built again whenever its process died."""

    desk: Desk
    dies_at: int = 0
    kept: bool = False
    repeats: int = 1
    venue: SimulatedVenue = field(init=False)
    session: FakeSession = field(init=False)
    database: Counted = field(init=False)
    house: House = field(init=False)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.venue = SimulatedVenue([tape()])
        self.session = FakeSession(venue=self.venue, mass_status=True)
        self.database = Counted(self.desk.database, self.dies_at, self.kept, die=die)
        self._begin()

    def _begin(self) -> None:
        self.house = House(self.database, self.session, self.repeats)
        self.house.driver.lease()
        self.house.driver.settle(FIRST)

    def live_through(self) -> "World":
        """Place an order, have it filled in part, replace it in a second cycle, have that one filled."""
        self._minute(FIRST)
        self._cycle(FIRST)
        self._play(FIRST + MINUTE_NS)
        self._minute(SECOND)
        self._cycle(SECOND)
        self._play(SECOND + MINUTE_NS)
        return self

    def _minute(self, at_ns: int) -> None:
        self._play(at_ns)
        self.desk.quote(at_ns)
        self.desk.enter(voting(at_ns, 20 if at_ns == FIRST else 40), at_ns=at_ns)
        self.desk.mark(at_ns)

    def _play(self, until_ns: int) -> None:
        self.session.tell(self.venue.play(until_ns))
        self._work(until_ns)

    def _cycle(self, due_ns: int) -> None:
        self.house.ring("reconcile.cycle", due_ns)
        self._work(due_ns)

    def _work(self, now_ns: int) -> None:
        """Work until it is quiet; after a death build the house anew, log on, and ring for the cycle once more."""
        try:
            self.house.work()
        except Died:
            self.deaths += 1
            self._begin()
            self.house.ring("sweep.run", now_ns)
            self.house.work()
            self.house.ring("reconcile.cycle", now_ns)
            self.house.work()

    def judge(self) -> list[OrderState]:
        """Hold our books against the venue's; return how our orders ended."""
        venue = self.venue.snapshot()
        theirs: Any = venue["orders"]
        ours = {order.cl_ord_id: order for order in self.desk.orders()}
        at_venue = {order["cl_ord_id"]: order for order in theirs}
        assert len(at_venue) == len(theirs)
        for name, order in ours.items():
            if name in at_venue:
                assert (order.state, order.cum_qty) == (at_venue[name]["state"], Decimal(at_venue[name]["cum_qty"]))
            else:
                assert (order.state, order.reason) == (OrderState.REJECTED, NEVER_RECEIVED)
        assert set(at_venue) <= set(ours)
        assert set(Counter(order.intent for order in ours.values()).values()) == {1}, "one order an intent"
        assert len(ours) == 2
        positions: Any = venue["positions"]
        assert self.desk.position.qty == Decimal(positions["ES"])
        fills: Any = venue["fills"]
        entries = {row[0] for row in self.desk.rows(tables.posting.c.entry)}
        assert entries == {"opening", *(f"SIM/{fill['exec_id']}" for fill in fills)}
        executions: Any = venue["executions"]
        assert unsettled(self.desk.database, "SIM", executions, cycle_ns=SECOND) is None
        assert all(order.state in TERMINAL for order in ours.values())
        return [order.state for order in ours.values()]


@pytest.fixture
def world(desk: Desk) -> World:
    """Give a world in which nobody dies."""
    return World(desk).live_through()


def test_undisturbed_the_chain_cancels_replaces_and_fills(world: World) -> None:
    """Both orders got to the venue: one filled in part and cancelled, one filled."""
    assert world.judge() == [OrderState.CANCELED, OrderState.FILLED]
    assert world.desk.position.qty == 8
    assert [what for what, _ in world.session.asked].count("new") == 2
    assert world.database.begun >= 20


@pytest.mark.parametrize("kept", [False, True], ids=["before the commit", "after the commit"])
def test_a_process_that_dies_at_any_transaction_doubles_and_loses_nothing(
    world: World, kept: bool, sqlite_template: Path, tmp_path: Path
) -> None:
    """At each transaction of the chain: repeating finishes with one order an intent, and the venue's books are ours."""
    ends = Counter[tuple[OrderState, ...]]()
    for number in range(LEASED + 1, world.database.begun + 1):
        path = tmp_path / f"{number}.sqlite3"
        path.write_bytes(sqlite_template.read_bytes())
        database = open_database(f"sqlite:///{path}")
        again = World(Desk(database).found(), number, kept).live_through()
        ends[tuple(again.judge())] += again.deaths
        database.close()
    assert sum(ends.values()) == world.database.begun - LEASED
    # An order whose process died between the commit and the send is known to have never been sent.
    assert len(ends) == (3 if kept else 1), ends


def test_every_repeat_of_every_task_is_harmless(desk: Desk) -> None:
    """Each task delivered twice, and each report heard twice, ends as if it came once."""
    world = World(desk, repeats=2)
    assert world.live_through().judge() == [OrderState.CANCELED, OrderState.FILLED]
    assert [what for what, _ in world.session.asked].count("new") == 2
