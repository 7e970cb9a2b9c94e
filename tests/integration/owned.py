"""The owner of a session as the tests of services have it: a driver with the lease, and a session that is a fake."""

from typing import Any

from tests.builders import ACCOUNT, Desk, an_order, qty
from tests.fakes import FakeSession
from trisagion.gateway.settling import SETTLED
from trisagion.orders.state import OrderState
from trisagion.orders.types import Order
from trisagion.services.drive_session import SessionDriver
from trisagion.units import Price


def routed(name: str = "T1", **changes: Any) -> Order:
    """Return an order that waits for its session."""
    at_the_ask = {"session": "SIM", "price": Price(qty("4000.25"))}
    return an_order(name, **{"state": OrderState.ROUTED, **at_the_ask, **changes})


def owner(desk: Desk, name: str = "one", **changes: Any) -> tuple[SessionDriver, FakeSession]:
    """Return a driver that holds the lease, and its session."""
    session = FakeSession(**changes)
    driver = SessionDriver(desk.database, session, "SIM", name, settling=SETTLED, account=ACCOUNT)
    driver.lease()
    return driver, session
