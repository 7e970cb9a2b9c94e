"""An order's whole life: outbox, our session, the wire, the bundled venue, and back into the ledger."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from tests.builders import BOOK_RULES, ES, LIMITS, SESSION, TUESDAY_NS, Desk, an_order, qty
from tests.integration.fix_market import PROFILES, WAIT_S, Market, Sink, kill
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.clock import SECOND_NS
from trisagion.gateway.dialect import Profile
from trisagion.gateway.settling import SETTLED
from trisagion.ids import link_cl_ord_id
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order, Side
from trisagion.services.amend_orders import amend
from trisagion.services.book_fills import book
from trisagion.services.drive_session import SessionDriver
from trisagion.services.outcome import Outcome
from trisagion.units import Price

every_profile = pytest.mark.parametrize(
    "profile",
    [*PROFILES, Profile.of("4.2", post_only="59=P", liquidity_tag=1057)],
    ids=["4.2", "4.4", "5.0SP2", "Coinbase"],
)

PRINTS = [(0, "4000", 1), (30, "3999.50", 2), (31, "3999.25", 1), (40, "3999.25", 9)]
"""Seconds after the noon, price, lots: a bid at 3999.75 is passed by the second, one at 3999.50 by the third."""


def at(seconds: float) -> int:
    """An instant."""
    return TUESDAY_NS + int(seconds * SECOND_NS)


def take_lease(driver: SessionDriver) -> None:
    """Take the lease, anew if it has lapsed: here no guard renews it, and a logon may take longer than its term."""
    driver.token = None
    driver.lease()


class Booking(Sink):
    """Books what it hears, as the session's owner does."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.outcomes: list[str] = []
        self.driver: SessionDriver | None = None

    def on_logon(self) -> None:
        """Settle."""
        if self.driver is not None:
            take_lease(self.driver)
            self.driver.settle(at(2))
        super().on_logon()

    def on_all_statuses(self, request_id: str) -> None:
        """Ask about what was not named."""
        if self.driver is not None:
            self.driver.heard_all(request_id, at(2))
        super().on_all_statuses(request_id)

    def on_report(self, report: ExecutionReport) -> None:
        """Book."""
        self.outcomes += [outcome.word for outcome in book(self.desk.database, BOOK_RULES, report)]
        if self.driver is not None:
            self.driver.heard(report, report.happened_ns)
        super().on_report(report)


class Life:
    """One order between the desk and the venue."""

    def __init__(self, desk: Desk, market: Market, sink: Booking, driver: SessionDriver, session: FixSession) -> None:
        self.desk, self.market, self.sink, self.driver, self.session = desk, market, sink, driver, session

    def order(self) -> Order:
        """Return the order as the desk knows it."""
        with self.desk.database.snapshot() as tx:
            found = tx.orders.in_states(frozenset(OrderState))
        assert len(found) == 1
        return found[0]

    def until(self, true: Callable[[Order], bool]) -> Order:
        """Wait until something is true of the order."""
        deadline = time.monotonic() + WAIT_S
        while not true(order := self.order()):
            assert time.monotonic() < deadline, (order, self.sink.told(), self.sink.outcomes)
            time.sleep(0.01)
        return order

    def held(self) -> Decimal:
        """Wait until our position is the venue's, whose reports may still be on their way, and return it."""
        theirs = Decimal(self.market.control.status()["positions"]["ES"])
        self.until(lambda _: self._position() == theirs)
        return theirs

    def _position(self) -> Decimal:
        with self.desk.database.snapshot() as tx:
            return tx.ledger.position("ES").qty

    def amend(self, number: int, price: str, seconds: float) -> None:
        """Ask for another quantity and price, and send it."""
        order_id, px = self.order().cl_ord_id, Price(Decimal(price))
        asked = amend(self.desk.database, LIMITS, order_id, qty=qty(number), price=px, now_ns=at(seconds))
        assert asked == Outcome("amended", (SESSION,))
        assert self.driver.drain(at(seconds)).word == "drained"


@contextmanager
def living(desk: Desk, directory: Path, profile: Profile) -> Iterator[Life]:
    """Start venue and session, and put an order of five at 3999.75 to work."""
    market = Market(directory, profile)
    rows = [f"{at(seconds)},{px},{lots}" for seconds, px, lots in PRINTS]
    (directory / "tape.csv").write_text("\n".join(["ts_event,price,size", *rows, ""]))
    try:
        market.start()
        market.control.play(at(1))
        sink = Booking(desk)
        with market.session(sink) as session:
            driver = SessionDriver(desk.database, session, SESSION, "one", settling=SETTLED)
            driver.lease()
            px = Price(Decimal("3999.75"))
            desk.put(an_order(side=Side.BUY, qty=qty(5), state=OrderState.ROUTED, price=px, session=SESSION))
            driver.drain(at(2))
            life = Life(desk, market, sink, driver, session)
            life.until(lambda order: order.state is OrderState.NEW)
            yield life
    finally:
        market.close()


@every_profile
@pytest.mark.timeout(60)
def test_a_replaced_order_is_filled_under_its_new_name_and_its_fills_are_taken_back_and_put_right(
    desk: Desk, tmp_path: Path, profile: Profile
) -> None:
    """Our books are the venue's after the replace, the fills, a bust and a correction."""
    assert ES.tick_size == Decimal("0.25")
    with living(desk, tmp_path, profile) as life:
        life.amend(4, "3999.50", 3)
        replaced = life.until(lambda order: order.price == Decimal("3999.50"))
        assert (replaced.state, replaced.qty, replaced.link) == (OrderState.NEW, qty(4), 1)
        assert replaced.venue_id == link_cl_ord_id(replaced.cl_ord_id, 1)

        life.market.control.play(at(35))
        held = life.held()
        assert held > 0
        partly = life.order()
        assert (partly.state, partly.cum_qty) == (OrderState.PARTIALLY_FILLED, held)

        fill = next(report for report in reversed(life.sink.reports) if report.last_qty > 0)
        assert fill.exec_id is not None
        life.market.control.fault("bust", exec_id=fill.exec_id)
        life.until(lambda order: order.cum_qty < held)
        assert life.held() == held - fill.last_qty

        life.market.control.play(at(50))
        done = life.until(lambda order: order.state is OrderState.FILLED)
        assert done.cum_qty == life.held() == 4


@every_profile
@pytest.mark.timeout(60)
def test_a_replace_that_would_cross_is_refused_and_the_order_works_on_as_it_was(
    desk: Desk, tmp_path: Path, profile: Profile
) -> None:
    """The desk's own look at the quote is older than the venue's; nothing is lost, and the fill is booked once."""
    with living(desk, tmp_path, profile) as life:
        life.market.control.play(at(30.5))
        assert life.held() > 0
        # The venue's market stands at 3999.50 now; the desk still believes in 4000.
        life.amend(5, "4000.00", 31)
        refused = life.until(lambda order: order.wanted_qty is None and "doubtful" in life.sink.outcomes)
        assert (refused.state, refused.reason) == (OrderState.UNKNOWN, "POST_ONLY_WOULD_CROSS")
        # A cancel reject has no quantities, so where the order stands is asked for.
        life.driver.resolve(at(31))
        kept = life.until(lambda order: order.state is OrderState.PARTIALLY_FILLED)
        assert kept.price == Decimal("3999.75")
        life.market.control.play(at(50))
        assert life.until(lambda order: order.state is OrderState.FILLED).cum_qty == life.held() == 5


@every_profile
@pytest.mark.timeout(60)
def test_a_fill_that_both_sides_have_lost_the_number_of_is_found_by_asking(
    desk: Desk, tmp_path: Path, profile: Profile
) -> None:
    """As after a venue's forced reset: it fills while we are away, its store and ours are gone, no resend tells of it.

    The order is in doubt with an alarm, and until the venue has spoken of it nothing new leaves.
    """
    with living(desk, tmp_path, profile) as life:
        life.session.stop()
        market = life.market
        market.control.play(at(30.5))
        market.control.play(at(30.6))
        kill(market.processes[0])
        for path in [*(tmp_path / "v").glob("FIX*"), *(tmp_path / "s").glob("FIX*")]:
            path.unlink()
        market.start()
        sink = Booking(desk)
        session = FixSession(market.config(), sink, SESSION)
        sink.driver = driver = SessionDriver(desk.database, session, SESSION, "one")
        driver.lease()
        px = Price(Decimal("3999.75"))
        desk.put(an_order("T2", side=Side.BUY, qty=qty(1), state=OrderState.ROUTED, price=px, session=SESSION))
        assert driver.drain(at(31)).word == "logged_off"
        session.start()
        try:
            sink.wait(lambda: driver.settled)
            assert life.sink.reports[-1].exec_type is ExecType.NEW
            lost = desk.order("T1")
            assert (lost.state, int(lost.cum_qty)) == (OrderState.UNKNOWN, 0)
            [alarm] = desk.events("order.alarm T1")
            assert "CUM_QTY_GAP: ours=0" in alarm
            assert desk.order("T2").state is OrderState.ROUTED
            take_lease(driver)
            assert driver.drain(at(31)).word == "drained"
            assert desk.order("T2").state is OrderState.PENDING_NEW
        finally:
            session.stop()
