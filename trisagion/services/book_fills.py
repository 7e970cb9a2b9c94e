"""Apply what the venue says: one report, one transaction, once per (venue, exec_id)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from trisagion.errors import DataError, quoted
from trisagion.gateway.decide import intent_of
from trisagion.ids import ClOrdId
from trisagion.ledger.postings import book_fill, charged_abroad, entry_of, fee_abroad, refund, reverse_fill, undoing
from trisagion.ledger.types import Strategy
from trisagion.orders.evidence import Word, weigh
from trisagion.orders.rejects import REMEDIES, Reject, Remedy
from trisagion.orders.state import AT_VENUE, IN_DOUBT, LIVE, TERMINAL, WORKING, OrderState, check_transition
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, OrderLink, PositionReport, Unreadable
from trisagion.ports import Database, Transaction
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.limits import Limits
from trisagion.risk.load import Load
from trisagion.safety.modes import Control, Mode, stricter
from trisagion.services import orphans
from trisagion.services.control import PLATFORM, shut_gate
from trisagion.services.hear_observers import hear
from trisagion.services.lately import Lately
from trisagion.services.ledger_enter import enter
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import VENUE, new_attempt
from trisagion.services.stakes import LimitsNow, Stakes
from trisagion.services.watch_panic import Panic, at_fill, at_refusal
from trisagion.units import plain

RESTATING: Final = frozenset({ExecType.TRADE_CORRECT, ExecType.TRADE_CANCEL})
"""What speaks of a fill that was told before."""
TEXT_MAX: Final = 2000
"""Characters kept of a report that was put aside."""
_UNREADABLE: Final = "UNREADABLE: the venue said something of it"


@dataclass(frozen=True, slots=True)
class BookRules:
    """How reports are answered: `reprices_max` new attempts at an intent within its cycle.

    Without `panic` no fill is held against the quote of its decision.
    """

    account: str
    limits: Limits
    reprices_max: int
    panic: Panic | None = None


def book(database: Database, rules: BookRules, report: ExecutionReport) -> tuple[Outcome, ...]:
    """Apply an execution report to its order and the ledger; one that the database cannot hold is put aside.

    A fill that was put aside leaves ledger and venue at odds, so its symbol is not traded until a person has looked.
    """
    try:
        return _book(database, rules, report)
    except DataError as error:
        # Raised on, the session would end, and the venue would say the same to the next owner, for ever.
        names = (report.cl_ord_id,) if report.request_id is None else (report.cl_ord_id, report.request_id)
        text = f"{error}: {report!r}"[:TEXT_MAX]
        with database.transaction() as tx:
            tx.control.add_event("execution.quarantined", quoted(report.cl_ord_id), {"text": text}, report.happened_ns)
            concerned = _named(tx, names) or _held(tx, report.venue)
            doubted = _doubt(tx, concerned, report.venue, report.happened_ns, _UNREADABLE)
        return (Outcome("quarantined"), *doubted)


def put_aside(database: Database, word: Unreadable, now_ns: int) -> tuple[Outcome, ...]:
    """Record a message that could not be read, and doubt every order of which it may have told something."""
    with database.transaction() as tx:
        told = {"why": word.why, "text": word.text}
        tx.control.add_event("message.quarantined", quoted(word.venue), told, now_ns)
        concerned = (_named(tx, word.names) or _held(tx, word.venue)) if word.of_orders else []
        return (Outcome("quarantined"), *_doubt(tx, concerned, word.venue, now_ns, _UNREADABLE))


def _named(tx: Transaction, names: Sequence[ClOrdId]) -> list[Order]:
    """Return the orders that bear one of the names, each once."""
    try:
        firsts = [link.first_id if (link := tx.orders.link(name)) else name for name in names]
        return [order for first in dict.fromkeys(firsts) if (order := tx.orders.order(first)) is not None]
    except DataError:
        # No name of ours is such that the database could not hold it.
        return []


def _held(tx: Transaction, venue: str) -> list[Order]:
    """Return the orders that a venue may hold."""
    # Read again one by one, locked: another report may be booking one of them at this moment.
    names = [order.cl_ord_id for order in tx.orders.in_states(AT_VENUE) if order.session == venue]
    locked = [tx.orders.order(name) for name in names]
    return [order for order in locked if order is not None and order.state in AT_VENUE]


def _doubt(tx: Transaction, orders: Sequence[Order], venue: str, now_ns: int, why: str) -> list[Outcome]:
    """Alarm about orders of which something was said that is not known, and doubt those that live."""
    sessions = []
    for order in orders:
        text = f"{why} when it was {order.state}"
        tx.control.add_event("order.alarm", order.cl_ord_id, {"text": text}, now_ns)
        if order.state not in LIVE or order.state is OrderState.UNKNOWN:
            continue
        check_transition(order.state, OrderState.UNKNOWN, cl_ord_id=order.cl_ord_id)
        at_ns, session = max(now_ns, order.updated_ns), order.session or venue
        after = replace(order, state=OrderState.UNKNOWN, session=session, updated_ns=at_ns, version=order.version + 1)
        tx.orders.save(after)
        sessions.append(session)
    return [Outcome("doubtful", (session,)) for session in dict.fromkeys(sessions)]


def _book(database: Database, rules: BookRules, report: ExecutionReport) -> tuple[Outcome, ...]:
    now_ns = report.happened_ns
    with database.transaction() as tx:
        if report.exec_id is not None and not tx.orders.add_execution(report, now_ns):
            recorded = tx.orders.execution(report.venue, report.exec_id)
            if recorded is None or recorded.terms == report.terms:
                return (Outcome("duplicate"),)
            return _contradicted(tx, recorded, report)
        order, links = _order_of(tx, report)
        undone = _undone(tx, order, report)
        lost = report.exec_type in RESTATING and undone is None
        if order is None and _lives(report):
            orphans.found(tx, report)
        elif order is None:
            orphans.ended(tx, report)
        if order is None or _of_another(order, report) or lost:
            tx.control.add_event("execution.quarantined", report.cl_ord_id, {"text": repr(report)[:TEXT_MAX]}, now_ns)
            orphaned = order is None and orphans.works(report)
            return (Outcome("quarantined"), *([Outcome("foreign", (report.cl_ord_id,))] if orphaned else []))
        after, alarms = weigh(order, Word(report, _post(tx, order, report, undone), links, undone))
        if after != order:
            if after.state is not order.state:
                check_transition(order.state, after.state, cl_ord_id=order.cl_ord_id)
            tx.orders.save(replace(after, updated_ns=max(now_ns, order.updated_ns), version=order.version + 1))
        alarms += _guard(tx, order, report, alarms)
        for alarm in alarms:
            tx.control.add_event("order.alarm", order.cl_ord_id, {"text": alarm}, now_ns)
        outcomes = _follow(tx, rules, order, after, report)
        session = order.session or report.venue
        if report.fills:
            in_force = LimitsNow(tx, rules.limits).of(order.symbol, session, taker=order.taker)
            at_fill(tx, rules.panic, in_force, order, report)
            tx.lately.count(report.venue, now_ns, trades=1)
        elif report.exec_type is ExecType.REJECTED and not _ordinary(report):
            in_force = LimitsNow(tx, rules.limits).of(order.symbol, session, taker=order.taker)
            at_refusal(tx, in_force, session, now_ns)
        return tuple(outcomes)


def _contradicted(tx: Transaction, recorded: ExecutionReport, report: ExecutionReport) -> tuple[Outcome, ...]:
    """Put aside what the venue tells under an ExecID of which it told something else; nobody knows which is true.

    Nothing new goes where ExecIDs are no identity: the next fill may be taken for one that is booked.
    """
    exec_id, now_ns = recorded.exec_id or "", report.happened_ns
    text = f"EXEC_ID_AGAIN: recorded {recorded.terms}, now told {report!r}"
    tx.control.add_event("execution.contradicted", exec_id, {"text": text[:TEXT_MAX]}, now_ns)
    shut_gate(tx, report.venue, f"EXEC_ID_AGAIN: execution {exec_id} on other terms", now_ns)
    names = [name for each in (recorded, report) for name in (each.cl_ord_id, each.request_id) if name is not None]
    why = f"EXEC_ID_AGAIN: the venue told execution {exec_id} on two terms"
    return (Outcome("quarantined"), *_doubt(tx, _named(tx, names), report.venue, now_ns, why))


def _order_of(tx: Transaction, report: ExecutionReport) -> tuple[Order | None, tuple[OrderLink, ...]]:
    """Return the order that a report names by any of its ClOrdIDs, and the replaces that the report names."""
    order = tx.orders.order(report.cl_ord_id)
    names = (report.cl_ord_id,) if report.request_id is None else (report.cl_ord_id, report.request_id)
    # Most reports name an order by its own first id, which is no link: they cost one read.
    further = [name for name in names if order is None or name != order.cl_ord_id]
    found = [link for link in map(tx.orders.link, further) if link is not None]
    if order is None and found:
        order = tx.orders.order(found[0].first_id)
    return order, tuple(link for link in found if order is not None and link.first_id == order.cl_ord_id)


def _undone(tx: Transaction, order: Order | None, report: ExecutionReport) -> ExecutionReport | None:
    """Return the fill that a bust or correction is about: one that is booked to this order, and not undone yet.

    Nor one from before a split, whose quantity and price are of other units: what is left of it a person must find.
    """
    if order is None or report.ref_exec_id is None:
        return None
    fill = tx.orders.execution(report.venue, report.ref_exec_id)
    if fill is None or not fill.fills or _order_of(tx, fill)[0] != order:
        return None
    entry = entry_of(fill.venue, report.ref_exec_id)
    if not tx.ledger.booked(entry) or tx.ledger.split_after(entry, order.symbol):
        return None
    return None if tx.ledger.booked(undoing(fill.venue, report.ref_exec_id)) else fill


def _lives(report: ExecutionReport) -> bool:
    """Tell whether a report speaks of an order that works at the venue or trades."""
    return report.fills or (bool(report.symbol) and not report.unknown_order and report.ord_status in AT_VENUE)


def _of_another(order: Order, report: ExecutionReport) -> bool:
    """Tell whether a report names our order and yet is none of its: another symbol or side."""
    return bool(report.symbol) and (report.symbol, report.side) != (order.symbol, order.side)


def _post(tx: Transaction, order: Order, report: ExecutionReport, undone: ExecutionReport | None) -> Decimal | None:
    """Enter into the ledger what the report takes back, then what it fills; return the tick, None where it did neither.

    Most reports do neither, and cost no look at the instrument.
    """
    if undone is None and not report.fills:
        return None
    instrument = tx.market.instrument(order.symbol)
    # Only Emergency takes: to flatten, which no run decided.
    strategy = Strategy.FLATTEN if order.taker else Strategy.COHORT
    position = tx.ledger.position(order.symbol)
    if undone is not None:
        entry, after = reverse_fill(position, undone, instrument, report.happened_ns, strategy)
        enter(tx, entry, after)
        if undone.fee and charged_abroad(undone, instrument):
            tx.ledger.post(refund(undone, report.happened_ns, strategy))
        position = after
    if report.fills:
        entry, after = book_fill(position, report, instrument, strategy)
        enter(tx, entry, after)
        if report.fee and charged_abroad(report, instrument):
            tx.ledger.post(fee_abroad(report, strategy))
            # No equity shows it, and nobody looks for what he does not know of.
            told = {"fee": plain(report.fee), "currency": str(report.fee_currency)}
            tx.control.add_event("ledger.fee_abroad", entry.name, told, report.happened_ns)
    return instrument.tick_size


def _guard(tx: Transaction, order: Order, report: ExecutionReport, alarms: Sequence[str]) -> list[str]:
    """Shut the venue's gate where the next order would fare no better; return what a person must hear beside it.

    An order that took liquidity against our word also pauses the platform: what works elsewhere was made alike.
    """
    session, now_ns = order.session or report.venue, report.happened_ns
    if report.fills and report.liquidity is Liquidity.TAKER and not order.taker:
        alarm = "TAKER_FILL: a maker-only order removed liquidity"
        shut_gate(tx, session, f"{alarm}: {order.cl_ord_id}", now_ns)
        if not stricter(tx.control.control().mode, Mode.PAUSE):
            tx.control.set_mode(Control(Mode.PAUSE, PLATFORM, alarm, now_ns))
        return [alarm]
    for alarm in alarms:
        if alarm.startswith("REINSTATED"):
            shut_gate(tx, session, f"{alarm}: {order.cl_ord_id}", now_ns)
    if report.reject is not None and REMEDIES[report.reject] is Remedy.HALT:
        shut_gate(tx, session, f"{report.reject}: {report.reason}", now_ns)
    return []


def _ordinary(report: ExecutionReport) -> bool:
    """Tell whether a refusal is one that a new attempt may follow; those are bounded by their cycle."""
    return report.reject is not None and REMEDIES[report.reject] in {Remedy.REPRICE, Remedy.WAIT}


def _follow(tx: Transaction, rules: BookRules, order: Order, after: Order, report: ExecutionReport) -> list[Outcome]:
    """Say what the change means for others: a price to be made anew, a cycle that waited for it, a state to ask for."""
    outcomes = [Outcome("booked")]
    if after.state is OrderState.UNKNOWN and order.state is not OrderState.UNKNOWN:
        outcomes.append(Outcome("doubtful", (after.session or "",)))
    if after.state in WORKING and order.state in IN_DOUBT and after.cancel_reason is not None:
        outcomes.append(Outcome("undone", (after.session or "",)))
    if after.state in TERMINAL and order.state not in TERMINAL:
        due = [cycle for cycle in tx.cycles.unfinished() if cycle.stage == "cancelling"]
        outcomes += [Outcome("cycle", (str(cycle.due_ns),)) for cycle in due]
        if after.state is OrderState.REJECTED and report.exec_type is ExecType.REJECTED:
            outcomes += _remedy(tx, rules, after, report)
    return outcomes


def _remedy(tx: Transaction, rules: BookRules, order: Order, report: ExecutionReport) -> list[Outcome]:
    """Do about a refusal what the table says; a new attempt stays within the budget of its cycle."""
    reject, now_ns = report.reject or Reject.OTHER, report.happened_ns
    remedy = REMEDIES[reject]
    if remedy not in {Remedy.REPRICE, Remedy.WAIT} or order.taker:
        told = {"reject": reject.value, "remedy": remedy.value, "reason": report.reason or ""}
        tx.control.add_event("order.refused", order.cl_ord_id, told, now_ns)
        return []
    again = _again(tx, rules, order, report, now_ns)
    if again is None:
        return []
    # Whoever is to wait is not rung: the sweeper finds it in the outbox.
    return [Outcome("repriced", (again,)) if remedy is Remedy.REPRICE else Outcome("postponed")]


def _again(tx: Transaction, rules: BookRules, order: Order, report: ExecutionReport, now_ns: int) -> str | None:
    """Put a new attempt at a refused intent into the outbox; None where there must be none."""
    if order.cancel_reason is not None or order.leaves_qty == 0:
        return None
    if order.attempt >= rules.reprices_max:
        tx.control.add_event("order.reprices_spent", order.cl_ord_id, {"intent": order.intent}, now_ns)
        return None
    left = intent_of(order)
    load = Load.of(tx.orders.in_states(AT_VENUE), left)
    stakes = Stakes.read(tx, {order.symbol, *(symbol for symbol, _ in load.leaves)}, now_ns)
    standing = tx.control.standing().over(
        account=rules.account, venue=order.session or "", symbol=order.symbol, now_ns=now_ns
    )
    facts = Facts(
        left,
        tx.market.instrument(order.symbol),
        tx.market.quote(order.symbol, now_ns),
        tx.ledger.position(order.symbol).qty,
        standing.mode,
        LimitsNow(tx, rules.limits).of(order.symbol, order.session or report.venue, taker=order.taker),
        now_ns,
        history=Lately(tx, [order.symbol], now_ns, now_ns).of(left),
    )
    verdict = judge(facts, load, stakes.beside(load))
    if not isinstance(verdict, Approved):
        return None
    again = new_attempt(rules.account, verdict, order.attempt + 1, now_ns)
    tx.orders.add(again)
    return again.cl_ord_id


def observe(database: Database, reports: tuple[PositionReport, ...], asked_ns: int) -> tuple[Outcome, ...]:
    """Record the venue's view of our positions at `asked_ns`; confirm the ledger where nothing is in doubt.

    What the answer does not name is flat.

    FIX delivers in order: when the answer is here, every report that the venue made before it is here and booked.
    """
    with database.transaction() as tx:
        doubtful = {order.symbol for order in tx.orders.in_states(IN_DOUBT)}
        ours = {instrument.symbol for instrument in tx.market.instruments()}
        told = {report.symbol: report.qty for report in reports}
        said = hear(tx, VENUE, told, asked_ns, leave=withdrawn(tx))
        for symbol, qty in said.items():
            if symbol not in ours:
                # A position in the ledger that has no price would leave the account without an equity.
                text = f"FOREIGN_POSITION: the venue holds {qty} {symbol} for us"
                if qty:
                    tx.control.add_event("position.alarm", symbol, {"text": text}, asked_ns)
            elif symbol not in doubtful:
                position = tx.ledger.position(symbol)
                tx.ledger.save_position(replace(position, confirmed_ns=max(position.confirmed_ns, asked_ns)))
        return waiting_cycles(tx)


def withdrawn(tx: Transaction) -> set[str]:
    """Return the symbols whose orders are being cancelled: a position that is told meanwhile may be another at once.

    Their cycle asks again when the cancels are confirmed; that of the other symbols does not wait for it.
    """
    return {order.symbol for order in tx.orders.in_states(AT_VENUE) if order.cancel_reason is not None}


def waiting_cycles(tx: Transaction) -> tuple[Outcome, ...]:
    """Return the cycles that wait for observers, if only for some symbols."""
    waiting = [cycle for cycle in tx.cycles.unfinished() if cycle.stage in {"cancelling", "observing"}]
    return tuple(Outcome("cycle", (str(cycle.due_ns),)) for cycle in waiting)
