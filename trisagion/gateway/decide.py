"""The order gateway's decision: an approved order is judged once more, priced, and routed, or denied with a reason."""

from dataclasses import replace

from trisagion.market.types import Instrument, Quote
from trisagion.orders.pricing import maker_price, taker_price
from trisagion.orders.state import OrderState, check_transition
from trisagion.orders.types import Intent, Order
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.history import NOTHING, History
from trisagion.risk.limits import Limits
from trisagion.risk.load import Account, Load
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Mode
from trisagion.units import Price, Quantity


def decide(
    order: Order,
    *,
    instrument: Instrument | None,
    quote: Quote | None,
    position: Quantity,
    load: Load,
    account: Account,
    mode: Mode,
    gate: Gate,
    limits: Limits,
    now_ns: int,
    history: History = NOTHING,
) -> Order:
    """Return an order as it is to be saved: ROUTED to the gate's session at its price, or DENIED.

    The order is RISK_CHECKED; `load` is what the account's other live orders amount to, `account` what it
    is worth beside them, `history` what happened lately. Raises `OurMistake` when the
    order is further on, `DataError` when the quote leaves no price above zero.
    """
    facts = Facts(intent_of(order), instrument, quote, position, mode, limits, now_ns, history=history)
    verdict = judge(facts, load, account)
    if not isinstance(verdict, Approved):
        return _moved(order, OrderState.DENIED, now_ns, reason=verdict.text)
    shut = gate.forbids(taker=order.taker)
    if shut is not None:
        return _moved(order, OrderState.DENIED, now_ns, reason=shut)
    assert instrument is not None, "no intent is approved without its instrument"
    assert quote is not None, "no intent is approved without a quote"
    price = (taker_price if order.taker else maker_price)(order.side, quote, instrument)
    return _moved(order, OrderState.ROUTED, now_ns, reason=order.reason, price=price, session=gate.session)


def intent_of(order: Order) -> Intent:
    """Return what is left of the intent that an order carries."""
    left = order.leaves_qty
    assert left > 0, f"order {order.cl_ord_id} has nothing left to do"
    return Intent(order.intent, order.cycle, order.symbol, order.side, left, order.taker)


def _moved(
    order: Order,
    state: OrderState,
    now_ns: int,
    *,
    reason: str | None,
    price: Price | None = None,
    session: str | None = None,
) -> Order:
    check_transition(order.state, state, cl_ord_id=order.cl_ord_id)
    return replace(
        order,
        state=state,
        reason=reason,
        price=price or order.price,
        session=session or order.session,
        updated_ns=now_ns,
        version=order.version + 1,
    )
