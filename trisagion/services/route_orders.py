"""The order gateway: an approved order is checked once more, priced as a maker, and given to its session."""

from dataclasses import replace
from decimal import Decimal

from trisagion.ids import ClOrdId
from trisagion.orders.pricing import maker_price, taker_price
from trisagion.orders.state import LIVE, OrderState, check_transition
from trisagion.orders.types import Intent, Order
from trisagion.ports import Database
from trisagion.risk.check import Approved, Limits, check
from trisagion.services.outcome import Outcome
from trisagion.units import Price


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
        instrument = tx.market.instrument(order.symbol)
        quote = tx.market.quote(order.symbol, now_ns)
        others = [other for other in tx.orders.in_states(LIVE) if other.cl_ord_id != order_id]
        verdict = check(
            intent_of(order),
            instrument=instrument,
            quote=quote,
            position=tx.ledger.position(order.symbol).qty,
            live_orders=others,
            mode=tx.control.control().mode,
            limits=limits,
            now_ns=now_ns,
        )
        shut = tx.control.gate(session).forbids(taker=order.taker)
        if not isinstance(verdict, Approved) or quote is None or shut is not None:
            text = verdict.text if not isinstance(verdict, Approved) else shut or "QUOTE_MISSING"
            tx.orders.save(_moved(order, OrderState.DENIED, now_ns, reason=text))
            tx.control.add_event("order.denied", order_id, {"reason": text}, now_ns)
            return Outcome("denied")
        pricing = taker_price if order.taker else maker_price
        priced: Price = pricing(order.side, quote, instrument)
        tx.orders.save(replace(_moved(order, OrderState.ROUTED, now_ns), price=priced, session=session))
        return Outcome("routed", (session,))


def intent_of(order: Order) -> Intent:
    """Return what is left of the intent that an order carries."""
    assert order.leaves_qty > Decimal(0), f"order {order.cl_ord_id} has nothing left to do"
    return Intent(order.intent, order.cycle, order.symbol, order.side, order.leaves_qty, order.taker)


def _moved(order: Order, state: OrderState, now_ns: int, reason: str | None = None) -> Order:
    check_transition(order.state, state, cl_ord_id=order.cl_ord_id)
    return replace(order, state=state, reason=reason or order.reason, updated_ns=now_ns, version=order.version + 1)
