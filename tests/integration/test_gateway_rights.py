"""What stands at a venue does with the few rights of its own database user, from the route to the last fill."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.builders import BOOK_RULES, LIMITS, SESSION, TUESDAY_NS, Desk, an_intended_order, said, words
from tests.fakes import FakeSession
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.clock import SECOND_NS
from trisagion.gateway.settling import SETTLED
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Liquidity
from trisagion.ports import ProcessBeat
from trisagion.safety.commands import Signers
from trisagion.safety.modes import Control, Mode
from trisagion.services import sweep, watch_words
from trisagion.services.book_fills import book
from trisagion.services.control import open_gate
from trisagion.services.drive_session import SessionDriver
from trisagion.services.route_orders import route

pytestmark = pytest.mark.mariadb


@pytest.fixture
def gateway(on_mariadb: SqlDatabase, mariadb_users: dict[str, str]) -> Iterator[Desk]:
    """Give a founded account as the gateway's user sees it."""
    Desk(on_mariadb).found()
    with closing(open_database(mariadb_users["gateway"])) as database:
        yield Desk(database)


def test_an_order_is_routed_sent_filled_and_booked(on_mariadb: SqlDatabase, gateway: Desk) -> None:
    """And asked about, observed, swept; a taker fill shuts the gate, and the mode becomes pause."""
    first = an_intended_order(TUESDAY_NS, OrderState.RISK_CHECKED)
    Desk(on_mariadb).put(first)
    database = gateway.database
    assert words(route(database, LIMITS, SESSION, first.cl_ord_id, TUESDAY_NS)) == ["routed"]
    session = FakeSession()
    driver = SessionDriver(database, session, SESSION, "one", settling=SETTLED)
    driver.lease()
    driver.drain(TUESDAY_NS)
    assert session.asked == [("new", first.cl_ord_id)]
    order = gateway.order(first.cl_ord_id)
    book(database, BOOK_RULES, said(order, ExecType.NEW, "E1"))
    book(database, BOOK_RULES, said(order, ExecType.TRADE, "E2", liquidity=Liquidity.TAKER))
    driver.observe(TUESDAY_NS)
    driver.resolve(TUESDAY_NS)
    driver.enforce(TUESDAY_NS + SECOND_NS)
    sweep.set_aside(database, TUESDAY_NS)
    sweep.sweep(database)
    with database.transaction() as tx:
        assert tx.control.control().mode is Mode.PAUSE
        assert tx.control.gate(SESSION).shut
        assert tx.ledger.position("ES").qty == -1
        tx.control.beat(ProcessBeat("session", 1, TUESDAY_NS, 0, 0))
    open_gate(database, SESSION, "tester", "seen", TUESDAY_NS)


def test_a_forged_release_is_seen_through_and_told(on_mariadb: SqlDatabase, mariadb_users: dict[str, str]) -> None:
    """It may read what people have signed; what it may add to the modes itself loosens nothing."""
    Desk(on_mariadb).found(Mode.PAUSE)
    with closing(open_database(mariadb_users["gateway"], Signers({}, people=2))) as database:
        with database.transaction() as tx:
            tx.control.set_mode(Control(Mode.NORMAL, "ann, bob", "all is well", TUESDAY_NS))
        watch_words.watch(database, TUESDAY_NS)
        assert Desk(database).mode() is Mode.PAUSE
    assert Desk(on_mariadb).mode() is Mode.PAUSE
    assert len(Desk(on_mariadb).events("control.unsigned all")) == 1
