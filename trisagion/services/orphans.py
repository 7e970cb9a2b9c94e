"""Orders at the venue that we do not know: they are asked to be cancelled, and the gate's reason says what came of it.

Somebody else trades our account, or our database is older than what we have done: in both cases an order works there
that nothing here counts. Nobody here knows its owner, so nothing but its end is asked for; what the venue does not end
for us stays an alarm.
"""

from typing import Final

from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.orders.state import WORKING, OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order
from trisagion.ports import Transaction
from trisagion.safety.gates import Gate
from trisagion.services.control import PLATFORM, shut_gate
from trisagion.units import Quantity

FOREIGN: Final = "FOREIGN_ORDER"
_ENDED: Final = {
    ExecType.CANCELED: "the venue has cancelled it",
    ExecType.EXPIRED: "it has expired",
    ExecType.REJECTED: "the venue has rejected it",
    ExecType.CANCEL_REJECTED: "the venue does not cancel it for us",
}


def found(tx: Transaction, report: ExecutionReport) -> None:
    """Shut the venue's gate for an order that we do not know, with an event each time that it is told."""
    shut_gate(tx, report.venue, f"{FOREIGN}: {report.cl_ord_id}", report.happened_ns)
    told = {"text": f"{FOREIGN}: the venue has an order that we do not know, {report.ord_status}"}
    tx.control.add_event("order.foreign", report.cl_ord_id, told, report.happened_ns)


def ended(tx: Transaction, report: ExecutionReport) -> None:
    """Note what became of an order for which the gate was shut; the gate stays shut, for a person has to know why."""
    gate = tx.control.gate(report.venue)
    became = _ENDED.get(report.exec_type)
    names = {f"{FOREIGN}: {name}" for name in (report.cl_ord_id, report.request_id) if name is not None}
    if became is None or not gate.shut or gate.reason.partition(";")[0] not in names or gate.reason.endswith(became):
        return
    refused = report.exec_type is ExecType.CANCEL_REJECTED
    tx.control.set_gate(Gate(gate.session, True, PLATFORM, f"{gate.reason}; {became}", report.happened_ns))
    kind = "order.alarm" if refused else "order.orphan"
    tx.control.add_event(kind, report.cl_ord_id, {"text": f"ORPHAN: {became}"}, report.happened_ns)


def works(report: ExecutionReport) -> bool:
    """Tell whether there is something left at the venue to be cancelled."""
    return report.ord_status in WORKING and report.leaves_qty > 0 and bool(report.symbol)


def as_order(report: ExecutionReport) -> Order:
    """Return an order that is not ours as one that a session can ask to cancel; it is recorded nowhere."""
    return Order(
        cl_ord_id=ClOrdId(report.cl_ord_id),
        intent=IntentKey(""),
        cycle=CycleId(""),
        attempt=0,
        symbol=report.symbol,
        side=report.side,
        qty=Quantity(report.cum_qty + report.leaves_qty),
        taker=False,
        state=OrderState.PENDING_CANCEL,
        created_ns=report.happened_ns,
        updated_ns=report.happened_ns,
        order_id=report.order_id,
    )


def told(tx: Transaction, order: Order, text: str, now_ns: int, *, alarm: bool) -> None:
    """Record what was done about an order that is not ours."""
    tx.control.add_event("order.alarm" if alarm else "order.orphan", order.cl_ord_id, {"text": text}, now_ns)
