"""End an order in doubt by what a person has seen at the venue, which itself does not say what became of it."""

from dataclasses import replace
from typing import Final

from trisagion.errors import TrisagionError, quoted
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState, check_transition
from trisagion.orders.types import Order
from trisagion.ports import Database
from trisagion.units import plain

ENDS: Final = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)
"""How an order may be said to have ended."""
RESOLVED: Final = "RESOLVED"


def resolve(
    database: Database, name: ClOrdId, end: OrderState, operator: str, reason: str, evidence: str, now_ns: int
) -> Order:
    """End an order that is UNKNOWN, once; no fill is booked and none is taken back.

    A fill that is told later is booked with an alarm, as of any order that has ended.

    Raises
    ------
    TrisagionError
        Somebody is not named or says not why; there is no such order; it is not in doubt; its fills say otherwise.
    """
    if end not in ENDS:
        raise TrisagionError(f"expected an end of {', '.join(ENDS)}, found {quoted(end)}")
    if not (operator.strip() and reason.strip() and evidence.strip()):
        raise TrisagionError("ending an order by hand needs a named operator, a reason and evidence")
    with database.transaction() as tx:
        order = tx.orders.order(name)
        if order is None:
            raise TrisagionError(f"expected the ClOrdID of an order, found {quoted(name)}")
        if (order.state, order.reason) == (end, RESOLVED):
            return order
        if order.state is not OrderState.UNKNOWN:
            raise TrisagionError(f"order {name}: expected one that is {OrderState.UNKNOWN}, found {order.state}")
        _check_fills(order, end)
        check_transition(order.state, end, cl_ord_id=name)
        ended = replace(
            order,
            state=end,
            reason=RESOLVED,
            wanted_qty=None,
            wanted_price=None,
            replace_unknown=False,
            updated_ns=max(now_ns, order.updated_ns),
            version=order.version + 1,
        )
        tx.orders.save(ended)
        told = {"as": end.value, "cum_qty": plain(order.cum_qty), "was": order.reason or ""}
        told |= {"operator": operator, "reason": reason, "evidence": evidence}
        tx.control.add_event("order.resolved", name, told, now_ns)
    return ended


def _check_fills(order: Order, end: OrderState) -> None:
    """Refuse an end that the fills contradict which are booked: only the venue's own reports book any."""
    filled = order.cum_qty >= order.qty
    if filled is not (end is OrderState.FILLED) or (end is OrderState.REJECTED and order.cum_qty):
        fills = f"{plain(order.cum_qty)} of {plain(order.qty)} filled"
        raise TrisagionError(f"order {order.cl_ord_id}: expected an end that goes with {fills}, found {end}")
