"""Fault points: a worker's module with its boundaries wrapped. `workers.serve tests.e2e.faults.points` serves it.

Theory of operation. TRISAGION_FAULT_MODULE names the worker's own module. The text of the file that
TRISAGION_FAULT_PLACE names, with `.armed`, is the point at which the process, when it next comes there, writes its
process id and the order concerned to `.stopped` and stops itself; whoever armed it kills it there. A point is armed
once. The platform's code knows nothing of it: wrapped are a transaction that moves an order, the session's handing over
to the engine, and the sink of reports.

The points are those of an order's life (K), its cancel (C), its replace (R), a take-profit (T) and a cycle (S):

    the gateway's task begun K1, the order locked K2, ROUTED to be committed K3, committed K4; a replace wished for R1
    a drain begun C1; "asked" to be committed K4 C2 R2, committed K5 C3 R3; written to the socket K7 C5 R5; the answer
    heard K8 C6 R6, a fill heard K10; booked, but the engine has not counted the message yet, K9 C7 R7, the fill K11

    the crossing detected T1, the runs exited T2, the working orders withdrawn T3, the orders that flatten decided T4,
    found flat T5, a new cohort founded T6, each before its commit (T1<) and after it (T1>)

    a cycle opened, and older orders to be withdrawn S1, these gone and the observers asked S2, one symbol decided and
    another one not yet S3, all decided S4, the cohort supervised and the cycle done S5, before (S1<) and after (S1>)

Between the engine's store and the socket (K6 C4 R4) there is no boundary of ours: whoever plays these has the line
swallow what is written, and the process stop after it.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from trisagion.adapters.db.cycles import Cycles
from trisagion.adapters.db.engine import SqlDatabase, Unit
from trisagion.adapters.db.ledger import Ledger
from trisagion.adapters.db.orders import Orders
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.gateway.decide import decide
from trisagion.gateway.words import (
    NEW_ORDER_SINGLE,
    ORDER_CANCEL_REPLACE_REQUEST,
    ORDER_CANCEL_REQUEST,
    Fields,
    Tag,
)
from trisagion.ids import ClOrdId
from trisagion.orders.state import WORKING, OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order
from trisagion.ports import Cycle, Decision, TakeProfitStep
from trisagion.services import reconcile, route_orders
from trisagion.services.drive_session import SessionDriver
from trisagion.units import Price

PLACE: Final = Path(os.environ["TRISAGION_FAULT_PLACE"])
ARMED: Final = PLACE.with_suffix(".armed")
MODULE: Final = os.environ["TRISAGION_FAULT_MODULE"]

SAVED: Final = {
    OrderState.ROUTED: ("K3", "K4"),
    OrderState.PENDING_NEW: ("K4", "K5"),
    OrderState.PENDING_CANCEL: ("C2", "C3"),
    OrderState.PENDING_REPLACE: ("R2", "R3"),
}
"""Before and after the commit that moves an order to a state."""

TAKEN: Final = {
    "Detected": "T1",
    "RunsExited": "T2",
    "cancelling": "T3",
    "decided": "T4",
    "Reconciled": "T5",
    "Rebased": "T6",
}
"""Steps of a take-profit and stages of the cycle that flattens: before the commit `<`, after it `>`."""

CYCLED: Final = {"opened": "S1", "observing": "S2", "decided": "S4", "done": "S5"}
"""Stages of a cycle: before the commit `<`, after it `>`."""
SPLIT: Final = "S3"
"""A symbol is decided, and the cycle is not: another one waits. So until one of these stages is of the same commit."""
WHOLE: Final = frozenset({"decided", "done"})

WIRED: Final = {
    NEW_ORDER_SINGLE: "K7",
    ORDER_CANCEL_REQUEST: "C5",
    ORDER_CANCEL_REPLACE_REQUEST: "R5",
}
"""Once the engine has stored and written it."""

HEARD: Final = {
    ExecType.NEW: ("K8", "K9"),
    ExecType.TRADE: ("K10", "K11"),
    ExecType.CANCELED: ("C6", "C7"),
    ExecType.REPLACED: ("R6", "R7"),
}
"""Before and after a report is booked; the engine counts it as received later than both."""


def reach(point: str, about: str) -> None:
    """Stop here, where this point is armed."""
    try:
        if ARMED.read_text(encoding="ascii") != point:
            return
        ARMED.unlink()
    except FileNotFoundError:
        return
    said = json.dumps({"pid": os.getpid(), "point": point, "about": about})
    fresh = PLACE.with_suffix(".new")
    fresh.write_text(said, encoding="utf-8")
    fresh.replace(PLACE.with_suffix(".stopped"))
    os.kill(os.getpid(), signal.SIGSTOP)


class _Moves(threading.local):
    """The points before and after the commit of this thread's present transaction, and whom each is about."""

    def __init__(self) -> None:
        self.before: list[tuple[str, str]] = []
        self.after: list[tuple[str, str]] = []


_moves = _Moves()
_save, _route, _ask = Orders.save, Orders.route, Orders.ask
_add_step, _save_cycle = Ledger.add_step, Cycles.save_cycle
_open_cycle, _add_decision = Cycles.open_cycle, Cycles.add_decision
_transaction = SqlDatabase.transaction


def _noting_save(self: Orders, order: Order) -> None:
    _save(self, order)
    _note_state(order.state, order.cl_ord_id)
    if order.state in WORKING and order.wanted_qty is not None:
        _moves.after.append(("R1", order.cl_ord_id))


def _noting_route(self: Orders, names: Sequence[ClOrdId], session: str, price: Price, now_ns: int) -> None:
    _route(self, names, session, price, now_ns)
    for name in names:
        _note_state(OrderState.ROUTED, name)


def _noting_ask(self: Orders, names: Sequence[ClOrdId], state: OrderState, now_ns: int) -> None:
    _ask(self, names, state, now_ns)
    for name in names:
        _note_state(state, name)


def _note_state(state: OrderState, about: str) -> None:
    if state in SAVED:
        before, after = SAVED[state]
        _moves.before.append((before, about))
        _moves.after.append((after, about))


def _noting_step(self: Ledger, step: TakeProfitStep) -> bool:
    _note_step(TAKEN.get(step.step), str(step.epoch))
    return _add_step(self, step)


def _noting_cycle(self: Cycles, cycle: Cycle) -> bool:
    _note_step(TAKEN.get(cycle.stage), cycle.cycle_id)
    _note_step(CYCLED.get(cycle.stage), cycle.cycle_id)
    if cycle.stage in WHOLE:
        _moves.before = [note for note in _moves.before if not note[0].startswith(SPLIT)]
        _moves.after = [note for note in _moves.after if not note[0].startswith(SPLIT)]
    return _save_cycle(self, cycle)


def _noting_opening(self: Cycles, cycle: Cycle) -> bool:
    _note_step(CYCLED.get(cycle.stage), cycle.cycle_id)
    return _open_cycle(self, cycle)


def _noting_decision(self: Cycles, decision: Decision) -> None:
    _add_decision(self, decision)
    _note_step(SPLIT, decision.cycle_id)


def _note_step(point: str | None, about: str) -> None:
    if point is not None:
        _moves.before.append((f"{point}<", about))
        _moves.after.append((f"{point}>", about))


@contextmanager
def _watched_transaction(self: SqlDatabase) -> Iterator[Unit]:
    _moves.before, _moves.after = [], []
    with _transaction(self) as tx:
        yield tx
        for point, about in _moves.before:
            reach(point, about)
    for point, about in _moves.after:
        reach(point, about)


_hand_over = FixSession._hand_over


def _watched_hand_over(self: FixSession, fields: Fields) -> bool:
    sent = _hand_over(self, fields)
    if fields[Tag.MSG_TYPE] in WIRED:
        reach(WIRED[fields[Tag.MSG_TYPE]], fields.get(Tag.ORIG_CL_ORD_ID, fields[Tag.CL_ORD_ID]))
    return sent


def _begun(point: str, work: Callable[..., Any], about: Callable[..., str]) -> Callable[..., Any]:
    def begun(*arguments: Any, **named: Any) -> Any:
        reach(point, about(*arguments, **named))
        return work(*arguments, **named)

    return begun


def _wrap(owner: object, name: str, made: object) -> None:
    patch.object(owner, name, made).start()


def _wrap_sink(sink: Any) -> None:
    on_report = sink.on_report

    def heard(self: Any, report: ExecutionReport) -> None:
        before, after = HEARD.get(report.exec_type, ("", ""))
        reach(before, report.cl_ord_id)
        on_report(self, report)
        reach(after, report.cl_ord_id)

    _wrap(sink, "on_report", heard)


_wrap(Orders, "save", _noting_save)
_wrap(Orders, "route", _noting_route)
_wrap(Orders, "ask", _noting_ask)
_wrap(Ledger, "add_step", _noting_step)
_wrap(Cycles, "save_cycle", _noting_cycle)
_wrap(Cycles, "open_cycle", _noting_opening)
_wrap(Cycles, "add_decision", _noting_decision)
# Two symbols are as many as there are transactions of a cycle, as it is with some hundreds of them.
_wrap(reconcile, "SYMBOLS_MAX", 1)
_wrap(SqlDatabase, "transaction", _watched_transaction)
_wrap(FixSession, "_hand_over", _watched_hand_over)
_wrap(SessionDriver, "drain", _begun("C1", SessionDriver.drain, lambda *_, **__: ""))
_wrap(route_orders, "route", _begun("K1", route_orders.route, lambda *arguments, **_: str(arguments[3])))
_wrap(route_orders, "decide", _begun("K2", decide, lambda order, **_: str(order.cl_ord_id)))

import_module(MODULE)
if "workers.sessions.venue" in sys.modules:
    _wrap_sink(sys.modules["workers.sessions.venue"].Sink)
