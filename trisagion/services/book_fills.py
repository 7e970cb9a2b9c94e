"""Apply what the venue says: one report, one transaction, once per (venue, exec_id)."""

from dataclasses import dataclass, replace
from decimal import Decimal

from trisagion.errors import DataError, quoted
from trisagion.ledger.postings import book_fill
from trisagion.orders.state import AT_VENUE, IN_DOUBT, LIVE, TERMINAL, TRANSITIONS, OrderState, check_transition
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, PositionReport
from trisagion.ports import Database, Observation, Transaction
from trisagion.risk.check import Approved, Limits, check
from trisagion.safety.modes import Control, Mode, stricter
from trisagion.services.drive_session import WORKING
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import VENUE, new_attempt
from trisagion.services.route_orders import intent_of
from trisagion.units import Quantity

POST_ONLY_WOULD_CROSS = "POST_ONLY_WOULD_CROSS"
NEVER_RECEIVED = "NEVER_RECEIVED"
TEXT_MAX = 2000
"""Characters kept of a report that was put aside."""


@dataclass(frozen=True, slots=True)
class BookRules:
    """How reports are answered: `reprices_max` new attempts at an intent within its cycle."""

    account: str
    limits: Limits
    reprices_max: int


def book(database: Database, rules: BookRules, report: ExecutionReport) -> tuple[Outcome, ...]:
    """Apply an execution report to its order and the ledger; one that the database cannot hold is put aside.

    A fill that was put aside leaves ledger and venue at odds, so its symbol is not traded until a person has looked.
    """
    try:
        return _book(database, rules, report)
    except DataError as error:
        # Raised on, the session would end, and the venue would say the same to the next owner, for ever.
        with database.transaction() as tx:
            text = f"{error}: {report!r}"[:TEXT_MAX]
            tx.control.add_event("execution.quarantined", quoted(report.cl_ord_id), {"text": text}, report.happened_ns)
        return (Outcome("quarantined"),)


def _book(database: Database, rules: BookRules, report: ExecutionReport) -> tuple[Outcome, ...]:
    now_ns = report.happened_ns
    with database.transaction() as tx:
        if report.exec_id is not None and not tx.orders.add_execution(report, now_ns):
            return (Outcome("duplicate"),)
        order = tx.orders.order(report.cl_ord_id)
        if order is None or _of_another(order, report):
            tx.control.add_event("execution.quarantined", report.cl_ord_id, {"text": repr(report)}, now_ns)
            return (Outcome("quarantined"),)
        after, alarms = _apply(order, report)
        if report.exec_type is ExecType.TRADE:
            instrument = tx.market.instrument(order.symbol)
            postings, position = book_fill(tx.ledger.position(order.symbol), report, instrument)
            tx.ledger.post(postings)
            tx.ledger.save_position(position)
            if report.liquidity is Liquidity.TAKER and not order.taker:
                alarms.append("TAKER_FILL: a maker-only order removed liquidity")
                if not stricter(tx.control.control().mode, Mode.PAUSE):
                    tx.control.set_mode(Control(Mode.PAUSE, "platform", alarms[-1], now_ns))
        if after != order:
            if after.state is not order.state:
                check_transition(order.state, after.state, cl_ord_id=order.cl_ord_id)
            tx.orders.save(replace(after, updated_ns=max(now_ns, order.updated_ns), version=order.version + 1))
        for alarm in alarms:
            tx.control.add_event("order.alarm", order.cl_ord_id, {"text": alarm}, now_ns)
        return (*_follow(tx, rules, order, after, now_ns),)


def _of_another(order: Order, report: ExecutionReport) -> bool:
    """Tell whether a report names our order and yet is none of its: another symbol or side."""
    return bool(report.symbol) and (report.symbol, report.side) != (order.symbol, order.side)


def _apply(order: Order, report: ExecutionReport) -> tuple[Order, list[str]]:
    """Return the order after the report, and what a person must hear.

    What cannot follow from where the order stands, or speaks of an order that was not sent, is doubt: we ask.
    """
    after, alarms = _said(order, report)
    impossible = after.state is not order.state and after.state not in TRANSITIONS[order.state]
    if impossible or order.state in LIVE - AT_VENUE:
        alarms.append(
            f"IMPOSSIBLE: the order is {order.state}, the venue says {report.exec_type} and {report.ord_status}"
        )
        after = replace(after, state=OrderState.UNKNOWN, session=order.session or report.venue)
    return after, alarms


def _said(order: Order, report: ExecutionReport) -> tuple[Order, list[str]]:
    """Return the order as the report has it, and what a person must hear."""
    alarms: list[str] = []
    if order.state in TERMINAL and report.exec_type is not ExecType.TRADE:
        if report.exec_id is not None and report.ord_status is not order.state:
            alarms.append(f"REPORT_AFTER_END: the order is {order.state}, the venue says {report.ord_status}")
        return order, alarms
    match report.exec_type:
        case ExecType.NEW:
            waiting = order.state in {OrderState.PENDING_NEW, OrderState.UNKNOWN} and order.cum_qty == 0
            state = OrderState.NEW if waiting else order.state
            return replace(order, state=state, order_id=report.order_id), alarms
        case ExecType.TRADE:
            return _filled(order, report, alarms), alarms
        case ExecType.ORDER_STATUS:
            return _resolve(order, report, alarms), alarms
        case ExecType.PENDING_CANCEL:
            return order, alarms
        case ExecType.REJECTED | ExecType.CANCELED | ExecType.EXPIRED:
            return _ended(order, report, alarms), alarms


def _filled(order: Order, report: ExecutionReport, alarms: list[str]) -> Order:
    cum = Quantity(order.cum_qty + report.last_qty)
    state = _filled_state(order, report)
    if order.state in TERMINAL:
        alarms.append(f"LATE_FILL: the order is {order.state}, filled {report.last_qty} more")
    if cum > order.qty:
        alarms.append(f"OVER_FILL: cum={cum} qty={order.qty}")
    if cum != report.cum_qty or (report.leaves_qty == 0 and cum < order.qty):
        alarms.append(f"CUM_QTY_GAP: ours={cum} venue={report.cum_qty} leaves={report.leaves_qty}")
        state = order.state if order.state in TERMINAL else OrderState.UNKNOWN
    return replace(order, cum_qty=cum, avg_px=report.avg_px, order_id=report.order_id, state=state)


def _ended(order: Order, report: ExecutionReport, alarms: list[str]) -> Order:
    """Take the venue's word that an order is over, unless it contradicts itself or counts fills unknown to us."""
    if report.ord_status.value != report.exec_type.value:
        # Above all a refused duplicate: the first order of this id lives on, and only a status request tells how.
        code = "DUPLICATE_REJECTED" if report.exec_type is ExecType.REJECTED else "CONTRADICTION"
        alarms.append(f"{code}: {report.exec_type}, and yet {report.ord_status}: {report.reason}")
        return replace(order, state=OrderState.UNKNOWN)
    if report.cum_qty != order.cum_qty:
        alarms.append(f"CUM_QTY_GAP: ours={order.cum_qty} venue={report.cum_qty}")
        return replace(order, state=OrderState.UNKNOWN)
    return replace(order, state=report.ord_status, reason=report.reason or order.cancel_reason)


def _filled_state(order: Order, report: ExecutionReport) -> OrderState:
    if order.state in TERMINAL:
        return order.state
    if report.leaves_qty == Decimal(0):
        return OrderState.FILLED
    if order.state is OrderState.PENDING_CANCEL:
        return order.state
    return OrderState.PARTIALLY_FILLED


def _resolve(order: Order, report: ExecutionReport, alarms: list[str]) -> Order:
    """Take the venue's word on where an order stands, unless it knows of fills that we have not booked."""
    if order.state not in IN_DOUBT:
        return order
    if report.unknown_order:
        if order.cum_qty > 0:
            alarms.append("UNKNOWN_AT_VENUE: an order with fills is not known at the venue")
            return order
        return replace(order, state=OrderState.REJECTED, reason=NEVER_RECEIVED)
    if not report.symbol or report.ord_status in IN_DOUBT:
        # A cancel reject has no quantities, and "pending" is no answer: only a status report settles it.
        return replace(order, state=OrderState.UNKNOWN, reason=report.reason or order.reason)
    filled = report.ord_status is OrderState.FILLED
    if report.cum_qty != order.cum_qty or (filled and order.leaves_qty > 0):
        alarms.append(f"CUM_QTY_GAP: ours={order.cum_qty} venue={report.cum_qty}")
        return replace(order, state=OrderState.UNKNOWN)
    return replace(order, state=report.ord_status, order_id=report.order_id, reason=report.reason or order.reason)


def _follow(tx: Transaction, rules: BookRules, order: Order, after: Order, now_ns: int) -> list[Outcome]:
    """Say what the change means for others: a price to be made anew, a cycle that waited for it, a state to ask for."""
    outcomes = [Outcome("booked")]
    if after.state is OrderState.UNKNOWN and order.state is not OrderState.UNKNOWN:
        outcomes.append(Outcome("doubtful", (after.session or "",)))
    if after.state in WORKING and order.state in IN_DOUBT and after.cancel_reason is not None:
        outcomes.append(Outcome("undone", (after.session or "",)))
    if after.state in TERMINAL and order.state not in TERMINAL:
        due = [cycle for cycle in tx.cycles.unfinished() if cycle.stage == "cancelling"]
        outcomes += [Outcome("cycle", (str(cycle.due_ns),)) for cycle in due]
        repriced = _reprice(tx, rules, after, now_ns)
        if repriced is not None:
            outcomes.append(Outcome("repriced", (repriced,)))
    return outcomes


def _reprice(tx: Transaction, rules: BookRules, order: Order, now_ns: int) -> str | None:
    """Put a new attempt at a refused post-only intent into the outbox, within the budget of its cycle."""
    if order.state is not OrderState.REJECTED or POST_ONLY_WOULD_CROSS not in (order.reason or ""):
        return None
    if order.cancel_reason is not None or order.leaves_qty == 0:
        return None
    if order.attempt >= rules.reprices_max:
        tx.control.add_event("order.reprices_spent", order.cl_ord_id, {"intent": order.intent}, now_ns)
        return None
    verdict = check(
        intent_of(order),
        instrument=tx.market.instrument(order.symbol),
        quote=tx.market.quote(order.symbol, now_ns),
        position=tx.ledger.position(order.symbol).qty,
        live_orders=tx.orders.in_states(AT_VENUE),
        mode=tx.control.control().mode,
        limits=rules.limits,
        now_ns=now_ns,
    )
    if not isinstance(verdict, Approved):
        return None
    again = new_attempt(rules.account, verdict, order.attempt + 1, now_ns)
    tx.orders.add(again)
    return again.cl_ord_id


def observe(database: Database, reports: tuple[PositionReport, ...], asked_ns: int) -> tuple[Outcome, ...]:
    """Record the venue's view of our positions at `asked_ns`; confirm the ledger where nothing is in doubt.

    FIX delivers in order: when the answer is here, every report that the venue made before it is here and booked.
    """
    with database.transaction() as tx:
        doubtful = {order.symbol for order in tx.orders.in_states(IN_DOUBT)}
        ours = {instrument.symbol for instrument in tx.market.instruments()}
        for report in reports:
            tx.ledger.observe(Observation(VENUE, report.symbol, report.qty, asked_ns))
            if report.symbol not in ours:
                # A position in the ledger that has no price would leave the account without an equity.
                text = f"FOREIGN_POSITION: the venue holds {report.qty} {report.symbol} for us"
                tx.control.add_event("position.alarm", report.symbol, {"text": text}, asked_ns)
            elif report.symbol not in doubtful:
                position = tx.ledger.position(report.symbol)
                tx.ledger.save_position(replace(position, confirmed_ns=max(position.confirmed_ns, asked_ns)))
        waiting = [cycle for cycle in tx.cycles.unfinished() if cycle.stage == "observing"]
    return tuple(Outcome("cycle", (str(cycle.due_ns),)) for cycle in waiting)
