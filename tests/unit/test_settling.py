"""`gateway.settling`: what a logon waits for."""

from dataclasses import replace

from tests.builders import an_order, qty, said
from trisagion.gateway.settling import Settling
from trisagion.ids import link_cl_ord_id
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType
from trisagion.units import Price


def test_an_order_that_was_replaced_while_it_was_asked_about_is_waited_for_by_its_new_name_alone() -> None:
    """Nobody asks by the name that it had before, so nobody would ever answer."""
    price = Price(qty(4000))
    pending = an_order(state=OrderState.UNKNOWN, links=1, wanted_qty=qty(2), wanted_price=price)
    settling = Settling.of([pending], "", 0.0)
    assert settling.waiting == {"T1", link_cl_ord_id(pending.cl_ord_id, 1)}
    replaced = replace(pending, state=OrderState.NEW, link=1, wanted_qty=None, wanted_price=None)
    settling = settling.asked(replaced, 1.0)
    assert settling.left == ["T1"]
    answer = said(replaced, ExecType.ORDER_STATUS, cl_ord_id=replaced.venue_id)
    assert settling.heard(answer, 2.0).done
