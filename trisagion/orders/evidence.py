"""What a venue's word proves about an order. Evidence moves it; what cannot follow from where it stands is doubt.

Theory of operation. FIX delivers in order and, after a gap, again; a venue may all the same repeat itself under new
numbers, answer late, or lose reports. So a report is never believed against our own count: every report that counts
fills must count those that we have booked. Where it does not, the order is UNKNOWN and its state is asked for; the fill
itself is booked all the same, once, for it is money.

The races of a replace are resolved by the ClOrdID that the venue names. Only one replace is asked for at a time. Until
it is answered, the order may be filled under its old name, even completely; that is no end while more is wanted of it.
A report under the new name proves that the replace was accepted, also when the word that said so was lost. After a
restart both names are asked for, the new one first. "Never heard of it" and then a plain answer about the old name give
the replace up; the old name alone does not, for its answer may be one to an earlier question.

A status report is heard of every order that may be at the venue, not only of those in doubt: after a logon all are
asked about. What it proves is taken, an end with the fills that we have booked. Whatever else it says that our books do
not is a gap between the two: the order is UNKNOWN, and a person hears of it.
"""

from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import Final

from trisagion.orders.rejects import REMEDIES, Remedy
from trisagion.orders.state import AT_VENUE, IN_DOUBT, LIVE, TERMINAL, TRANSITIONS, WORKING, OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order, OrderLink
from trisagion.units import WIDE, Quantity

NEVER_RECEIVED: Final = "NEVER_RECEIVED"

_TELLS_NO_NAME: Final = frozenset(
    {ExecType.PENDING_REPLACE, ExecType.REPLACE_REJECTED, ExecType.CANCEL_REJECTED, ExecType.PENDING_CANCEL}
)
"""What names a request does not thereby say that it was accepted."""

_UNKNOWN_AT_VENUE: Final = "UNKNOWN_AT_VENUE: an order that worked there is not known at the venue"


@dataclass(frozen=True, slots=True)
class Word:
    """A report and what the books know of what it names.

    `links` are the replaces of the order that its ClOrdIDs name, `undone` the booked fill that a bust or correction is
    about, `tick` the instrument's tick size where something is filled or taken back.
    """

    report: ExecutionReport
    tick: Decimal | None
    links: tuple[OrderLink, ...] = ()
    undone: ExecutionReport | None = None


def weigh(order: Order, word: Word) -> tuple[Order, list[str]]:
    """Return the order after a report, and what a person must hear."""
    report = word.report
    alarms: list[str] = []
    after = _said(order, word, alarms)
    impossible = after.state is not order.state and after.state not in TRANSITIONS[order.state]
    if impossible or order.state in LIVE - AT_VENUE:
        alarms.append(
            f"IMPOSSIBLE: the order is {order.state}, the venue says {report.exec_type} and {report.ord_status}"
        )
        after = replace(after, state=OrderState.UNKNOWN, session=order.session or report.venue)
    if after.state in TERMINAL:
        after = _gives_up(after)
    return after, alarms


def _said(order: Order, word: Word, alarms: list[str]) -> Order:
    report = word.report
    if order.state in TERMINAL and not report.fills and report.exec_type is not ExecType.TRADE_CANCEL:
        _hear_of_ended(order, report, alarms)
        return order
    if report.exec_type is not ExecType.REPLACED:
        order = _named(order, word)
    match report.exec_type:
        case ExecType.NEW:
            waiting = order.state in {OrderState.PENDING_NEW, OrderState.UNKNOWN} and order.cum_qty == 0
            state = OrderState.NEW if waiting and order.asked_id is None else order.state
            return replace(order, state=state, order_id=report.order_id)
        case ExecType.TRADE:
            return _filled(order, word, alarms)
        case ExecType.TRADE_CANCEL | ExecType.TRADE_CORRECT:
            return _restated(order, word, alarms)
        case ExecType.REPLACED:
            return _replaced(order, word, alarms)
        case ExecType.REPLACE_REJECTED:
            return _replace_refused(order, report)
        case ExecType.ORDER_STATUS | ExecType.CANCEL_REJECTED:
            return _resolve(order, word, alarms)
        case ExecType.PENDING_NEW | ExecType.PENDING_CANCEL | ExecType.PENDING_REPLACE:
            return order
        case ExecType.REJECTED | ExecType.CANCELED | ExecType.EXPIRED | ExecType.DONE_FOR_DAY:
            return _ended(order, report, alarms)


def _named(order: Order, word: Word) -> Order:
    """Return the order under the name that the venue uses for it, where that proves an unheard-of acceptance."""
    report = word.report
    newest = max(word.links, key=lambda link: link.link, default=None)
    silent = report.exec_type in _TELLS_NO_NAME or report.unknown_order or not report.symbol
    if newest is None or silent or report.ord_status in {OrderState.REJECTED, *IN_DOUBT}:
        return order
    return _adopt(order, newest) if newest.link > order.link else order


def _adopt(order: Order, link: OrderLink) -> Order:
    """Return the order as a replace makes it. A venue does not go below what is filled."""
    after = replace(order, link=link.link, qty=Quantity(max(link.qty, order.cum_qty)), price=link.price)
    return _gives_up(after) if link.link == order.links else after


def _gives_up(order: Order) -> Order:
    """Return the order with nothing wanted of it any more."""
    return replace(order, wanted_qty=None, wanted_price=None, replace_unknown=False)


def _filled(order: Order, word: Word, alarms: list[str]) -> Order:
    report = word.report
    cum = Quantity(order.cum_qty + report.last_qty)
    state = _filled_state(order, cum, report)
    avg_px = _average(order.avg_px * order.cum_qty, report, cum)
    doubtful = False
    if order.state in TERMINAL:
        alarms.append(f"LATE_FILL: the order is {order.state}, filled {report.last_qty} more")
    if cum > order.qty:
        alarms.append(f"OVER_FILL: cum={cum} qty={order.qty}")
    if cum != report.cum_qty or (report.leaves_qty == 0 and cum < order.qty):
        alarms.append(f"CUM_QTY_GAP: ours={cum} venue={report.cum_qty} leaves={report.leaves_qty}")
        doubtful = True
    elif not _plausible(order, report, word.tick):
        alarms.append(f"AVG_PX_IMPLAUSIBLE: ours={avg_px} venue={report.avg_px}")
        doubtful = True
    else:
        avg_px = report.avg_px
    if doubtful:
        state = order.state if order.state in TERMINAL else OrderState.UNKNOWN
    return replace(order, cum_qty=cum, avg_px=avg_px, order_id=report.order_id, state=state)


def _filled_state(order: Order, cum: Quantity, report: ExecutionReport) -> OrderState:
    if order.state in TERMINAL:
        return order.state
    if order.asked_id is not None and (report.leaves_qty > 0 or cum < (order.wanted_qty or cum)):
        return order.state
    if report.leaves_qty == 0:
        return OrderState.FILLED
    return order.state if order.state is OrderState.PENDING_CANCEL else OrderState.PARTIALLY_FILLED


def _average(value: Decimal, report: ExecutionReport, cum: Quantity) -> Decimal:
    """Return our own average price: the value of the fills so far and of this one, over their quantity."""
    if cum <= 0 or report.last_px is None:
        return Decimal(0)
    with localcontext(WIDE):
        return (value + report.last_px * report.last_qty) / cum


def _plausible(order: Order, report: ExecutionReport, tick: Decimal | None) -> bool:
    """Tell whether the venue's AvgPx can be the average of the one before and this fill's price.

    It lies between the two. A tick to either side is for venues that round it.
    """
    assert report.last_px is not None and tick is not None, report.exec_id
    before = order.avg_px if order.cum_qty > 0 else report.last_px
    if before <= 0:
        return True
    return min(before, report.last_px) - tick <= report.avg_px <= max(before, report.last_px) + tick


def _restated(order: Order, word: Word, alarms: list[str]) -> Order:
    """Take a fill back, or put another in its place; what is left decides where the order stands."""
    report, undone = word.report, word.undone
    assert undone is not None, f"{report.exec_id}: the fill that it is about is looked up before"
    assert undone.last_px is not None, undone.exec_id
    left = order.cum_qty - undone.last_qty
    cum = Quantity(left + report.last_qty)
    with localcontext(WIDE):
        value = max(order.avg_px * order.cum_qty - undone.last_px * undone.last_qty, Decimal(0))
        avg_px = _average(value, report, cum) if report.fills else value / cum if cum > 0 else Decimal(0)
    code = "TRADE_CORRECTED" if report.fills else "TRADE_BUSTED"
    alarms.append(f"{code}: {undone.exec_id}, {undone.last_qty} at {undone.last_px}, now filled {cum}")
    after = replace(order, cum_qty=cum, avg_px=avg_px)
    if order.state in TERMINAL:
        if report.leaves_qty > 0:
            alarms.append(f"REINSTATED: the order is {order.state}, and {report.leaves_qty} of it work again")
        return after
    ended = order.state in WORKING and report.leaves_qty != order.qty - cum
    if cum != report.cum_qty or ended:
        alarms.append(f"CUM_QTY_GAP: ours={cum} venue={report.cum_qty} leaves={report.leaves_qty}")
        return replace(after, state=OrderState.UNKNOWN)
    if order.state not in WORKING:
        return after
    if cum >= order.qty:
        return replace(after, state=OrderState.FILLED)
    return replace(after, state=OrderState.PARTIALLY_FILLED if cum > 0 else OrderState.NEW)


def _replaced(order: Order, word: Word, alarms: list[str]) -> Order:
    report = word.report
    link = next((link for link in word.links if link.cl_ord_id == report.request_id), None)
    if link is None:
        alarms.append(f"REPLACED_UNASKED: nobody asked for {report.request_id}")
        return replace(order, state=OrderState.UNKNOWN)
    if link.link <= order.link:
        return order
    after = replace(_adopt(order, link), order_id=report.order_id)
    if report.cum_qty != order.cum_qty or report.leaves_qty != after.qty - order.cum_qty:
        alarms.append(f"CUM_QTY_GAP: ours={order.cum_qty} venue={report.cum_qty} leaves={report.leaves_qty}")
        return replace(after, state=OrderState.UNKNOWN)
    if after.asked_id is not None or report.ord_status in TERMINAL - {OrderState.FILLED}:
        alarms.append(f"CONTRADICTION: {link.cl_ord_id} is replaced, and yet {report.ord_status}")
        return replace(after, state=OrderState.UNKNOWN)
    if after.cum_qty >= after.qty:
        return replace(after, state=OrderState.FILLED)
    return replace(after, state=OrderState.PARTIALLY_FILLED if after.cum_qty > 0 else OrderState.NEW)


def _replace_refused(order: Order, report: ExecutionReport) -> Order:
    """Give the replace up that was refused; a cancel reject has no quantities, so where the order stands is asked."""
    if order.asked_id is None or report.request_id != order.asked_id:
        return order
    reason = report.reason or order.reason
    return replace(_gives_up(order), state=OrderState.UNKNOWN, reason=reason)


def _ended(order: Order, report: ExecutionReport, alarms: list[str]) -> Order:
    """Take the venue's word that an order is over, unless it contradicts itself or counts fills unknown to us."""
    refused = report.exec_type is ExecType.REJECTED
    repeated = refused and report.reject is not None and REMEDIES[report.reject] is Remedy.RESOLVE
    if repeated or report.ord_status.value != report.exec_type.value:
        # Above all a refused duplicate: the first order of this id lives on, and only a status request tells how.
        code = "DUPLICATE_REJECTED" if refused else "CONTRADICTION"
        alarms.append(f"{code}: {report.exec_type}, and yet {report.ord_status}: {report.reason}")
        return replace(order, state=OrderState.UNKNOWN)
    if report.cum_qty != order.cum_qty:
        alarms.append(f"CUM_QTY_GAP: ours={order.cum_qty} venue={report.cum_qty}")
        return replace(order, state=OrderState.UNKNOWN)
    return replace(order, state=report.ord_status, reason=report.reason or order.cancel_reason)


def _resolve(order: Order, word: Word, alarms: list[str]) -> Order:
    """Take the venue's word on where an order stands, unless it knows of fills that we have not booked."""
    report = word.report
    if order.state not in IN_DOUBT:
        return _confirm(order, report, alarms) if report.exec_type is ExecType.ORDER_STATUS else order
    unknown = report.unknown_order or (report.exec_type is ExecType.ORDER_STATUS and not _accepted(report))
    about = next((link.link for link in word.links if link.cl_ord_id == report.cl_ord_id), 0)
    if about > order.link and unknown and report.symbol:
        # It may only be pending there: the answer about the other name says whether it is.
        return replace(order, state=OrderState.UNKNOWN, replace_unknown=order.asked_id is not None)
    if about < order.link and report.symbol and not any(link.link == order.link for link in word.links):
        return order
    if order.replace_unknown and report.symbol:
        # A venue that holds a replace would say "pending" now: this one never was, or was refused.
        pending = report.ord_status in IN_DOUBT
        order = replace(order, replace_unknown=False) if pending else _gives_up(order)
    if report.unknown_order:
        if _has_worked(order):
            alarms.append(_UNKNOWN_AT_VENUE)
            return order
        if order.asked_id is None:
            return replace(order, state=OrderState.REJECTED, reason=NEVER_RECEIVED)
    if not report.symbol or report.ord_status in IN_DOUBT or order.asked_id is not None:
        # A cancel reject has no quantities, and "pending" is no answer: only a status report settles it.
        return replace(order, state=OrderState.UNKNOWN, reason=report.reason or order.reason)
    gap = _gap(order, report)
    if gap is not None:
        alarms.append(gap)
        return replace(order, state=OrderState.UNKNOWN)
    return replace(order, state=report.ord_status, order_id=report.order_id, reason=report.reason or order.reason)


def _confirm(order: Order, report: ExecutionReport, alarms: list[str]) -> Order:
    """Hold the venue's word against an order that works, as we think, with nothing asked of it."""
    if not report.symbol or order.venue_id not in {report.cl_ord_id, report.request_id}:
        # No quantities, or a name that a replace has done away with: an answer to an earlier question.
        return order
    if report.unknown_order:
        alarms.append(_UNKNOWN_AT_VENUE)
        return replace(order, state=OrderState.UNKNOWN)
    if report.ord_status in IN_DOUBT:
        alarms.append(f"CONTRADICTION: nothing is asked of the order, and the venue says {report.ord_status}")
        return replace(order, state=OrderState.UNKNOWN)
    gap = _gap(order, report)
    if gap is not None:
        alarms.append(gap)
        return replace(order, state=OrderState.UNKNOWN)
    if report.ord_status in WORKING:
        return order
    return replace(order, state=report.ord_status, reason=report.reason or order.cancel_reason)


def _gap(order: Order, report: ExecutionReport) -> str | None:
    """Say how a status report differs from our books in what is filled, what is left to fill, or the price."""
    filled = report.ord_status is OrderState.FILLED
    if report.cum_qty != order.cum_qty or (filled and order.qty > order.cum_qty):
        return f"CUM_QTY_GAP: ours={order.cum_qty} venue={report.cum_qty}"
    if report.ord_status in WORKING:
        if report.leaves_qty != order.qty - order.cum_qty:
            return f"QTY_GAP: ours={order.qty} venue={report.cum_qty + report.leaves_qty}"
        if report.price is not None and report.price != order.price:
            return f"PRICE_GAP: ours={order.price} venue={report.price}"
    return None


def _hear_of_ended(order: Order, report: ExecutionReport, alarms: list[str]) -> None:
    """Say where a report contradicts an end. An order that works all the same is counted against no limit any more."""
    if report.exec_type is not ExecType.ORDER_STATUS:
        if report.exec_id is not None and report.ord_status is not order.state:
            alarms.append(f"REPORT_AFTER_END: the order is {order.state}, the venue says {report.ord_status}")
    elif not report.symbol or report.unknown_order:
        return
    elif report.leaves_qty > 0:
        alarms.append(f"REINSTATED: the order is {order.state}, and {report.leaves_qty} of it work")
    elif report.cum_qty != order.cum_qty:
        alarms.append(f"CUM_QTY_GAP: ours={order.cum_qty} venue={report.cum_qty}")


def _has_worked(order: Order) -> bool:
    """Tell whether the venue ever spoke of an order as one that it has."""
    return order.order_id is not None or order.cum_qty > 0 or order.link > 0


def _accepted(report: ExecutionReport) -> bool:
    """Tell whether the status of an order says that the venue ever took it."""
    return report.ord_status is not OrderState.REJECTED
