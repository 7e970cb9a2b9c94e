"""Change a working order's price or quantity without giving up its place in the books of the platform.

The wish is written into the outbox; the session's owner asks the venue for it (FIX 35=G) and, when asked, commits the
order's next ClOrdID first. Until the venue has answered, the greater of both quantities counts against every limit.
"""

from dataclasses import replace

from trisagion.errors import OurMistake
from trisagion.ids import ClOrdId
from trisagion.orders.pricing import is_maker
from trisagion.orders.state import LIVE, WORKING
from trisagion.orders.types import Intent
from trisagion.ports import Database
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.limits import Limits
from trisagion.risk.load import Load
from trisagion.services.fingerprint import expect_current
from trisagion.services.lately import Lately
from trisagion.services.outcome import Outcome
from trisagion.services.stakes import LimitsNow, Stakes
from trisagion.units import Price, Quantity, on_grid, plain


def amend(
    database: Database,
    limits: Limits,
    order_id: ClOrdId,
    *,
    qty: Quantity,
    price: Price,
    now_ns: int,
    fingerprint: str = "",
) -> Outcome:
    """Ask that a working maker order become one of `qty` in all, what is filled included, at `price`.

    "amended" when the wish stands, "nothing" for an order that is not working, is withdrawn, takes liquidity, or is
    being replaced already, "denied" when risk, the gate or the quote forbid it; the order then stays as it is.
    `OurMistake` when quantity or price are off the instrument's grid.
    """
    with database.transaction() as tx:
        expect_current(tx, fingerprint)
        order = tx.orders.order(order_id)
        if order is None or order.state not in WORKING or order.taker:
            return Outcome("nothing")
        if order.cancel_reason is not None or order.wanted_qty is not None or qty <= order.cum_qty:
            return Outcome("nothing")
        instrument = tx.market.instrument(order.symbol)
        if not on_grid(qty, instrument.lot_size) or not on_grid(price, instrument.tick_size) or price <= 0:
            raise OurMistake(
                f"order {order_id}: expected a quantity of lots of {instrument.lot_size} at a price of ticks of "
                f"{instrument.tick_size}, found {plain(qty)} at {plain(price)}"
            )
        now_ns = max(now_ns, order.updated_ns)
        quote = tx.market.quote(order.symbol, now_ns)
        left = Intent(order.intent, order.cycle, order.symbol, order.side, Quantity(qty - order.cum_qty))
        load = Load.of([other for other in tx.orders.in_states(LIVE) if other.cl_ord_id != order_id], left)
        stakes = Stakes.read(tx, {order.symbol, *(symbol for symbol, _ in load.leaves)}, now_ns)
        standing = tx.control.standing().over(
            account=limits.account, venue=order.session or "", symbol=order.symbol, now_ns=now_ns
        )
        facts = Facts(
            left,
            instrument,
            quote,
            tx.ledger.position(order.symbol).qty,
            standing.mode,
            LimitsNow(tx, limits).of(order.symbol, order.session or "", taker=False),
            now_ns,
            price,
            Lately(tx, [order.symbol], now_ns, now_ns).of(left),
        )
        verdict = judge(facts, load, stakes.beside(load))
        why = None if isinstance(verdict, Approved) else verdict.text
        why = why or tx.control.gate(order.session or "").forbids(taker=False)
        if why is None and (quote is None or not is_maker(order.side, price, quote, instrument)):
            why = f"WOULD_CROSS: price={plain(price)}"
        if why is not None:
            tx.control.add_event("order.amend_denied", order_id, {"reason": why}, now_ns)
            return Outcome("denied")
        wish = replace(order, wanted_qty=qty, wanted_price=price, updated_ns=now_ns, version=order.version + 1)
        tx.orders.save(wish)
        return Outcome("amended", (order.session or "",))
