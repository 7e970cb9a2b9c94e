"""The order gateway: an approved order is checked once more, priced as a maker, and given to its session."""

from trisagion.gateway.decide import decide
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState
from trisagion.ports import Database
from trisagion.risk.check import Limits
from trisagion.services.outcome import Outcome


def route(database: Database, limits: Limits, session: str, order_id: ClOrdId, now_ns: int) -> Outcome:
    """Move an order from RISK_CHECKED to ROUTED, or deny it; an order that is further on is only announced again."""
    with database.transaction() as tx:
        order = tx.orders.order(order_id)
        if order is None:
            return Outcome("nothing")
        if order.state is OrderState.ROUTED:
            return Outcome("routed", (session,))
        if order.state is not OrderState.RISK_CHECKED:
            return Outcome("nothing")
        # A sweep may be of an instant before the order's own: no order meets a market older than its decision.
        now_ns = max(now_ns, order.updated_ns)
        after = decide(
            order,
            instrument=tx.market.instrument(order.symbol),
            quote=tx.market.quote(order.symbol, now_ns),
            position=tx.ledger.position(order.symbol).qty,
            load=tx.orders.load(order.intent),
            mode=tx.control.control().mode,
            gate=tx.control.gate(session),
            limits=limits,
            now_ns=now_ns,
        )
        tx.orders.save(after)
        if after.state is OrderState.DENIED:
            tx.control.add_event("order.denied", order_id, {"reason": after.reason or ""}, now_ns)
            return Outcome("denied")
        return Outcome("routed", (session,))
