"""Limits are changed by two people while the platform trades; whatever is checked from then on meets the new ones."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from tests.builders import LIMITS, SESSION, TUESDAY_NS, Desk, an_intended_order, qty, words
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import retrying
from trisagion.adapters.db.why_source import halt_story
from trisagion.clock import MINUTE_NS
from trisagion.errors import DataError, StateError, TrisagionError
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side
from trisagion.reports.why import as_text
from trisagion.reports.why_halt import explain_halt
from trisagion.risk.limits import LimitRow
from trisagion.services.limits import approve, propose
from trisagion.services.route_orders import route
from trisagion.services.stakes import Stakes
from trisagion.settings import Settings

T0 = TUESDAY_NS


def wish(value: str, person: str = "ann", **changes: object) -> LimitRow:
    """Return what a person wants the notional of one order to be."""
    made = LimitRow(0, "order_notional_max", "account", "", Decimal(value), person, "a wild market", T0)
    return replace(made, **changes)  # type: ignore[arg-type]


def behind(desk: Desk, statement: sa.Delete | sa.Update) -> None:
    """Change rows behind the platform's back."""
    with desk.database.transaction() as tx:
        tx.session.write(statement, {})


def waiting(desk: Desk, number: int = 0) -> ClOrdId:
    """Put an order of three into the outbox, worth 600,000."""
    order = an_intended_order(T0 + number * MINUTE_NS, OrderState.RISK_CHECKED, updated_ns=T0)
    desk.put(order)
    return order.cl_ord_id


def test_a_change_holds_from_the_next_check_on(desk: Desk) -> None:
    """Proposed it changes nothing; approved it denies the next order, with the limit in the reason."""
    assert words(route(desk.database, LIMITS, SESSION, waiting(desk, 1), T0)) == ["routed"]
    row = propose(desk.database, LIMITS, wish("500000"))
    assert words(route(desk.database, LIMITS, SESSION, waiting(desk, 2), T0)) == ["routed"]
    assert approve(desk.database, LIMITS, row.version, "bob", T0).holds
    name = waiting(desk, 3)
    assert words(route(desk.database, LIMITS, SESSION, name, T0)) == ["denied"]
    assert desk.order(name).reason == "ORDER_NOTIONAL: notional=600037.5 max=500000"
    assert len(desk.events("limit.proposed")) == len(desk.events("limit.approved")) == 1


def test_what_was_decided_under_the_old_limits_is_withdrawn(desk: Desk) -> None:
    """What was not sent is denied, what works is to be cancelled."""
    unsent = an_intended_order(T0, OrderState.ROUTED)
    working = an_intended_order(T0 + MINUTE_NS, OrderState.NEW)
    desk.put(unsent, working)
    row = propose(desk.database, LIMITS, wish("500000"))
    approve(desk.database, LIMITS, row.version, "bob", T0)
    assert (desk.order(unsent.cl_ord_id).state, desk.order(working.cl_ord_id).cancel_reason) == (
        OrderState.DENIED,
        f"LIMITS_CHANGED: version {row.version}",
    )


@pytest.mark.parametrize("person", ["ann", "ANN", " ann  ", "configuration", "configuration abc", " "])
def test_nobody_approves_alone(desk: Desk, person: str) -> None:
    """Nor under another spelling of the name, nor as the configuration, nor as nobody."""
    row = propose(desk.database, LIMITS, wish("500000"))
    with pytest.raises(TrisagionError):
        approve(desk.database, LIMITS, row.version, person, T0)
    assert words(route(desk.database, LIMITS, SESSION, waiting(desk), T0)) == ["routed"]
    assert len(desk.events("limit.refused")) == int(person.strip().lower() == "ann")


def test_a_number_is_given_once(shared: Desk) -> None:
    """Whoever comes second is told so, on both servers, and nothing that is there changes."""
    row = propose(shared.database, LIMITS, wish("500000"))
    with shared.database.transaction() as tx:
        assert not tx.limits.add(replace(row, value=Decimal(7)))
        assert tx.limits.approve(row.version, "bob", T0)
        assert not tx.limits.approve(row.version, "eve", T0)
    with shared.database.snapshot() as tx:
        assert tx.limits.rows()[-1] == replace(row, approved_by="bob", approved_ns=T0)


def test_a_proposal_is_approved_once_and_not_after_a_newer_one(desk: Desk) -> None:
    """What is overtaken must be proposed anew; what the run was founded with needs nobody."""
    first = propose(desk.database, LIMITS, wish("500000"))
    second = propose(desk.database, LIMITS, wish("700000"))
    approve(desk.database, LIMITS, second.version, "bob", T0)
    for version in (first.version, second.version):
        with pytest.raises(StateError, match="in force"):
            approve(desk.database, LIMITS, version, "bob", T0)
    for version in (1, 999):
        with pytest.raises(TrisagionError):
            approve(desk.database, LIMITS, version, "bob", T0)


@pytest.mark.parametrize(
    "wrong", [wish("10000001"), wish("-1"), wish("1", name="x"), wish("1", reason=" "), wish("1", "configuration x")]
)
def test_what_may_not_be_proposed_leaves_no_row(desk: Desk, wrong: LimitRow) -> None:
    """A value above the ceiling, an unknown limit, no reason, no person."""
    with desk.database.snapshot() as tx:
        before = tx.limits.rows()
    with pytest.raises(DataError, match=r"expected|needs"):
        propose(desk.database, LIMITS, wrong)
    with desk.database.snapshot() as tx:
        assert tx.limits.rows() == before


def test_without_a_version_in_force_only_what_reduces_is_routed(empty: Desk) -> None:
    """Default deny: an account whose limits nobody has recorded."""
    desk = empty.found()
    desk.hold(3)
    behind(desk, sa.delete(t.risk_limit).where(t.risk_limit.c.name == "orders_max"))
    less, more = waiting(desk, 1), an_intended_order(T0 + 2 * MINUTE_NS, OrderState.RISK_CHECKED, side=Side.BUY)
    more = replace(more, updated_ns=T0)
    desk.put(more)
    route(desk.database, LIMITS, SESSION, less, T0)
    assert desk.order(less).state is OrderState.ROUTED
    assert desk.order(more.cl_ord_id).reason == "LIMITS_UNKNOWN: limits=no version of orders_max"


def test_two_gateways_never_fit_under_one_limit_together(shared: Desk) -> None:
    """Each order fits alone and not both: whichever is judged second finds the first one's reservation."""
    # Forty at 4000 are 8,000,000: one fits under 10,000,000, two do not.
    tight = replace(LIMITS, position_notional_max=Decimal(10_000_000), orders_max=1000)

    def work(database: SqlDatabase, name: ClOrdId) -> None:
        retrying(lambda: route(database, tight, SESSION, name, T0))

    for turn in range(10):
        names = []
        for each in range(2):
            due_ns = T0 + (2 * turn + each) * MINUTE_NS
            # No first attempts, which a gateway would take together.
            order = an_intended_order(due_ns, OrderState.RISK_CHECKED, attempt=1, updated_ns=T0, qty=qty(40))
            shared.put(order)
            names.append(order.cl_ord_id)
        others = [open_database(shared.database.engine.url.render_as_string(hide_password=False)) for _ in names]
        threads = [threading.Thread(target=work, args=pair) for pair in zip(others, names, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for other in others:
            other.close()
        states = sorted(shared.order(name).state for name in names)
        assert states == [OrderState.DENIED, OrderState.ROUTED], turn
        behind(shared, sa.update(t.orders).values(state=OrderState.CANCELED))


def test_why_halt_tells_that_limits_are_not_known(empty: Desk) -> None:
    """With what is missing; and nothing of it where all are known."""
    desk = empty.found()
    settings = Settings()

    def obstacles() -> str:
        with desk.database.snapshot() as tx:
            return as_text(explain_halt(halt_story(tx, settings, T0, people=1)))

    assert "limits are not known" not in obstacles()
    behind(desk, sa.delete(t.risk_limit).where(t.risk_limit.c.name == "orders_max"))
    assert "nothing but what reduces is approved: no version of orders_max" in obstacles()


def test_capital_is_held_against_what_the_account_is_worth_now(desk: Desk) -> None:
    """A mark of a minute ago serves; when nobody has marked the account since, its worth is computed."""
    desk.hold(100)
    desk.quote(T0)
    desk.mark(T0)
    desk.quote(T0 + MINUTE_NS, "3000")
    equities = []
    for now_ns in (T0, T0 + MINUTE_NS, T0 + MINUTE_NS + 1):
        with desk.database.snapshot() as tx:
            equities.append(Stakes.read(tx, (), now_ns).equity)
    assert equities[0] == equities[1] is not None
    assert equities[2] == equities[1] - 1000 * 50 * 100
