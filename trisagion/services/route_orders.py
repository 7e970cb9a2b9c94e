"""The order gateway: approved orders are checked once more, priced as makers, and given to their session."""

from collections.abc import Sequence
from typing import Final

from trisagion.errors import DataError
from trisagion.gateway.decide import decide, intent_of
from trisagion.ids import ClOrdId
from trisagion.market.types import Quote
from trisagion.orders.state import OrderState
from trisagion.orders.types import Order
from trisagion.ports import Database, Transaction
from trisagion.risk.limits import Limits
from trisagion.risk.load import Load
from trisagion.services.fingerprint import expect_current
from trisagion.services.lately import Lately
from trisagion.services.outcome import Outcome
from trisagion.services.stakes import LimitsNow, Stakes
from trisagion.units import Price

ROUTE_MAX: Final = 64
"""Orders that are routed in one transaction beside the one that is named: as many as a session claims in one."""


def route(
    database: Database, limits: Limits, session: str, order_id: ClOrdId, now_ns: int, *, fingerprint: str = ""
) -> Outcome:
    """Move an order from RISK_CHECKED to ROUTED, or deny it; an order that is further on is only announced again.

    So it goes with others that a cycle has decided and that wait, for one commit costs as much as one order. Whoever
    rings for them later finds them done. A new attempt at a refused intent is not among them: it has its own time.
    """
    with database.transaction() as tx:
        expect_current(tx, fingerprint)
        named = tx.orders.order(order_id)
        waiting = {order.cl_ord_id: order for order in tx.orders.waiting(ROUTE_MAX)}
        if named is not None and named.state is OrderState.RISK_CHECKED:
            waiting[order_id] = named
        oldest_first = sorted(waiting.values(), key=lambda order: (order.created_ns, order.cl_ord_id))
        decided = _decided(tx, limits, session, oldest_first, order_id, now_ns) if waiting else []
        alike: dict[tuple[Price, int], list[ClOrdId]] = {}
        for order in decided:
            if order.state is OrderState.DENIED:
                tx.orders.save(order)
                tx.control.add_event("order.denied", order.cl_ord_id, {"reason": order.reason or ""}, order.updated_ns)
            else:
                assert order.price is not None, order.cl_ord_id
                alike.setdefault((order.price, order.updated_ns), []).append(order.cl_ord_id)
        for (price, at_ns), names in alike.items():
            tx.orders.route(names, session, price, at_ns)
        if alike or (named is not None and named.state is OrderState.ROUTED):
            return Outcome("routed", (session,))
        return Outcome("denied" if decided else "nothing")


def _decided(
    tx: Transaction, limits: Limits, session: str, orders: Sequence[Order], named: ClOrdId, now_ns: int
) -> list[Order]:
    """Return the orders as they are to be saved: each judged beside all others, and beside what was denied before it.

    One other than the named that cannot be judged is left as it is: whoever rings for it is told why.
    """
    instruments = {instrument.symbol: instrument for instrument in tx.market.instruments()}
    positions = {symbol: tx.ledger.position(symbol).qty for symbol in sorted({order.symbol for order in orders})}
    # Read after the positions are locked: no other gateway decides on these symbols meanwhile.
    total, own = tx.orders.loads([order.intent for order in orders])
    standing, gate = tx.control.in_force(session)
    in_force = LimitsNow(tx, limits)
    stakes = Stakes.read(tx, instruments.keys() & {symbol for symbol, _ in total.leaves}, now_ns)
    lately = Lately(tx, sorted(positions), min(order.created_ns for order in orders), now_ns)
    quotes: dict[tuple[str, int], Quote | None] = {}
    decided = []
    for order in orders:
        # A sweep may be of an instant before the order's own: no order meets a market older than its decision.
        which = (order.symbol, max(now_ns, order.updated_ns))
        if which not in quotes:
            quotes[which] = tx.market.quote(*which)
        load = total.less(own[order.intent])
        try:
            after = decide(
                order,
                instrument=instruments.get(order.symbol),
                quote=quotes[which],
                position=positions[order.symbol],
                load=load,
                account=stakes.beside(load),
                mode=standing.over(account=limits.account, venue=session, symbol=order.symbol, now_ns=which[1]).mode,
                gate=gate,
                limits=in_force.of(order.symbol, session, taker=order.taker),
                now_ns=which[1],
                history=lately.of(intent_of(order), order),
            )
        except DataError:
            if order.cl_ord_id == named:
                raise
            continue
        if after.state is OrderState.DENIED:
            freed = Load(1, {(order.symbol, order.side): order.leaves_qty})
            lately.deny(order.cl_ord_id)
            total, own[order.intent] = total.less(freed), own[order.intent].less(freed)
        decided.append(after)
    return decided
