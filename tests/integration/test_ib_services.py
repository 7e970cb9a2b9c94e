"""The session's driver and the books over Interactive Brokers, on a real database, judged by TWS' own ledger."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.builders import BOOK_RULES, TUESDAY_NS, Desk, an_order, qty
from tests.integration.ib_market import CLIENT, TwsMarket, eventually
from trisagion.adapters.db import tables as t
from trisagion.adapters.venues.ib.session import IbSession
from trisagion.clock import SECOND_NS
from trisagion.gateway import ib_book
from trisagion.orders.state import IN_DOUBT, TERMINAL, OrderState
from trisagion.orders.types import ExecutionReport, Order, PositionReport, Side, Unreadable
from trisagion.services.book_fills import book, observe, put_aside
from trisagion.services.drive_session import SessionDriver, asked_ns
from trisagion.services.reserve_ids import ReservedIds
from trisagion.units import Price

ORDERS = 12


class Owner:
    """What the worker's sink does, without tasks: books, settles, and asks again about what is in doubt."""

    def __init__(self, desk: Desk, market: TwsMarket) -> None:
        self.desk = desk
        self.now_ns = TUESDAY_NS
        self.session = IbSession(market.config(heartbeat_s=1), self, "SIM", ReservedIds(desk.database))
        self.driver = SessionDriver(desk.database, self.session, "SIM", "one")
        self.driver.lease()
        self.stopping = threading.Event()
        self.guard = threading.Thread(target=self._guard, daemon=True)

    def on_logon(self) -> None:
        """Settle."""
        self.driver.settle(self.now_ns)

    def on_logout(self) -> None:
        """Unsettle."""
        self.driver.unsettle()

    def on_report(self, report: ExecutionReport) -> None:
        """Book, and count it as an answer."""
        book(self.desk.database, BOOK_RULES, report)
        self.driver.heard(report, self.now_ns)

    def on_all_statuses(self, request_id: str) -> None:
        """Ask about those that were not named."""
        self.driver.heard_all(request_id, self.now_ns)

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Observe."""
        observe(self.desk.database, tuple(reports), asked_ns(reports[0].request_id))

    def on_unreadable(self, word: Unreadable) -> None:
        """Put aside."""
        put_aside(self.desk.database, word, self.now_ns)

    def start(self) -> "Owner":
        """Begin."""
        self.session.start()
        self.guard.start()
        return self

    def stop(self) -> None:
        """End in good order."""
        self.stopping.set()
        self.guard.join()
        self.session.stop()

    def _guard(self) -> None:
        while not self.stopping.wait(0.2):
            self.driver.lease()
            self.driver.pump(self.now_ns)
            self.driver.drain(self.now_ns)
            doubtful = [order for order in self.desk.orders() if order.state is OrderState.UNKNOWN]
            if doubtful and self.session.logged_on() and self.driver.settled:
                self.driver.resolve(self.now_ns)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[TwsMarket]:
    """A simulator whose tape is of a Tuesday."""
    market = TwsMarket(tmp_path, TUESDAY_NS)
    market.start()
    market.control.play(TUESDAY_NS + SECOND_NS)
    yield market
    market.close()


def bids() -> list[Order]:
    """Orders that wait for their session, for one lot each; no two in one instant."""
    order = replace(an_order("A"), side=Side.BUY, qty=qty(1), price=Price(qty("99.75")), session="SIM")
    made = (
        replace(order, cl_ord_id=an_order(f"A{number}").cl_ord_id, created_ns=TUESDAY_NS + number)
        for number in range(ORDERS)
    )
    return [replace(each, state=OrderState.ROUTED) for each in made]


def nothing(_: TwsMarket) -> None:
    """No fault."""


def cut(market: TwsMarket) -> None:
    """The line is cut after some of the orders."""
    market.fault("drop", client=CLIENT, messages=5, reset=1)


def half_open(market: TwsMarket) -> None:
    """The line dies after some of the orders, and stays open."""
    market.fault("drop", client=CLIENT, messages=5, reset=0)


def servers_lost(market: TwsMarket) -> None:
    """TWS takes orders, and they vanish."""
    market.fault("servers_lost")
    threading.Timer(1.0, lambda: market.fault("servers_back", data="kept")).start()


def silent(market: TwsMarket) -> None:
    """A third of all answers is lost."""
    market.fault("acknowledgements", lost=0.34, late=0.0, late_s=0.0, seed=7)


def restart(market: TwsMarket) -> None:
    """The nightly one, with ids that roll back."""
    market.fault("restart", ids=3)


def swallowed(market: TwsMarket) -> None:
    """Fills of which nobody is told."""
    market.fault("swallow", trades=3)


def twice(market: TwsMarket) -> None:
    """Every status is told twice."""
    market.fault("duplicate_status", on=1)


@pytest.mark.parametrize("fault", [nothing, cut, half_open, servers_lost, silent, restart, swallowed, twice])
def test_books_and_tws_agree_whatever_the_line_does(
    desk: Desk, market: TwsMarket, fault: Callable[[TwsMarket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One order at TWS at most for each of ours, each fill booked once, and in the end no doubt."""
    monkeypatch.setattr(ib_book, "UNHEARD_S", 1.0)
    owner = Owner(desk, market).start()
    try:
        eventually(lambda: owner.driver.settled)
        fault(market)
        desk.put(*bids())
        known = frozenset({OrderState.NEW, *TERMINAL})
        eventually(lambda: owner.driver.settled and all(each.state in known for each in desk.orders()), desk.events())
        for second in (11, 12, 13, 30):
            market.control.play(TUESDAY_NS + second * SECOND_NS)
        market.fault("restart", ids=0)
        eventually(lambda: market.control.status()["positions"] == {"ES": str(int(desk.position.qty))}, desk.events())
        eventually(lambda: owner.driver.settled and not [each for each in desk.orders() if each.state in IN_DOUBT])
    finally:
        owner.stop()
    theirs = dict(market.orders())
    for order in desk.orders():
        there = theirs.pop(order.cl_ord_id, None)
        assert order.cum_qty == Decimal(str(there["cum_qty"]) if there else 0), order
        assert there is not None or order.state is OrderState.REJECTED, order
    assert not theirs
    booked = Counter(
        name for name, kind in desk.rows(t.execution.c.exec_id, t.execution.c.exec_type) if kind == "trade"
    )
    fills = market.control.status()["fills"]
    assert isinstance(fills, list)
    assert fills
    assert booked == Counter(str(fill["exec_id"]) for fill in fills)
    assert not desk.events("execution.quarantined")
