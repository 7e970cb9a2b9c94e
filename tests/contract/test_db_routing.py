"""What the order gateway asks of `ports.OrderStore`: one suite, on SQLite and on MariaDB."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import an_order
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.orders.state import OrderState
from trisagion.orders.types import Intent, Side
from trisagion.risk.load import Load
from trisagion.units import Price, Quantity

NOW = 1_700_000_000_000_000_000


def test_the_load_is_what_the_live_orders_amount_to(database: SqlDatabase) -> None:
    """Exactly, on both servers, as the sum over the orders themselves; less an intent's part, what is beside it."""
    third = Quantity(Decimal("0.333333333333"))
    states = [state for state in OrderState for _ in range(2)]
    orders = [
        an_order(
            f"T{number}",
            state=state,
            intent=IntentKey(f"I{number % 5}"),
            side=Side.BUY if number % 3 else Side.SELL,
            symbol="NQ" if number % 7 == 0 else "ES",
            qty=Quantity(Decimal(3) + third),
            cum_qty=Quantity(Decimal(number % 5)),
            wanted_qty=Quantity(Decimal(7)) if number % 4 == 0 else None,
        )
        for number, state in enumerate(states)
    ]
    with database.transaction() as tx:
        for order in orders:
            assert tx.orders.add(order)
    with database.snapshot() as tx:
        keys = [IntentKey("I0"), IntentKey("I1"), IntentKey("stranger")]
        total, own = tx.orders.loads(keys)
        assert list(own) == keys
        assert own[keys[2]] == Load()
        assert 0 < own[keys[0]].orders < total.orders
        for key in keys:
            intent = Intent(key, CycleId("C1"), "ES", Side.BUY, third)
            beside, expected = total.less(own[key]), Load.of(orders, intent)
            assert beside.orders == expected.orders
            assert {which: qty for which, qty in beside.leaves.items() if qty} == expected.leaves


def test_what_waits_for_the_gateway_comes_oldest_first_and_is_moved_in_one_write(database: SqlDatabase) -> None:
    """First attempts only, as many as are asked for; price, session, instant and the next version."""
    waiting = [an_order(f"T{number}", created_ns=NOW - number) for number in range(4)]
    others = [an_order("A", attempt=1), an_order("B", state=OrderState.UNKNOWN), an_order("C", state=OrderState.DENIED)]
    with database.transaction() as tx:
        for order in (*waiting, *others):
            tx.orders.add(order)
    with database.transaction() as tx:
        assert tx.orders.waiting(3) == waiting[:0:-1]
        tx.orders.route([ClOrdId("T3"), ClOrdId("T1")], "SIM", Price(Decimal("1.25")), NOW + 1)
        assert tx.orders.waiting(9) == [waiting[2], waiting[0]]
        moved = {"state": OrderState.ROUTED, "price": Price(Decimal("1.25")), "session": "SIM", "updated_ns": NOW + 1}
        assert tx.orders.order(ClOrdId("T3")) == replace(waiting[3], **moved, version=1)  # type: ignore[arg-type]
        assert tx.orders.order(ClOrdId("T2")) == waiting[2]


@pytest.mark.mariadb
def test_what_another_gateway_holds_is_not_waited_for(on_mariadb: SqlDatabase) -> None:
    """Each takes what is free; on SQLite one waits for the other's whole transaction."""
    other = open_database(on_mariadb.engine.url.render_as_string(hide_password=False))
    first, second, third = (an_order(f"T{number}", created_ns=NOW + number) for number in range(3))
    with on_mariadb.transaction() as tx:
        for order in (first, second, third):
            tx.orders.add(order)
    with on_mariadb.transaction() as tx:
        assert tx.orders.waiting(1) == [first]
        assert tx.orders.order(ClOrdId("T2")) == third
        with other.transaction() as beside:
            assert beside.orders.waiting(9) == [second]
    other.close()
