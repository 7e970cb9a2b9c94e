"""Change the control mode or a venue's gate, and say whether the platform has come to rest."""

from decimal import Decimal
from typing import Final

from trisagion.errors import TrisagionError, quoted
from trisagion.orders.state import LIVE
from trisagion.ports import Database, Transaction
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Mode, stricter

REPLAY: Final = "replay"
"""The operator of what a replay does to itself; it neither takes back nor takes over another's word."""


PLATFORM: Final = "platform"
"""The operator of what the platform does by itself."""


def engage(database: Database, mode: Mode, operator: str, reason: str, now_ns: int) -> None:
    """Set a mode that is at least as strict as the one in force; one person, one step."""
    with database.transaction() as tx:
        present = tx.control.control()
        if stricter(present.mode, mode) or (operator == REPLAY and present.mode is mode):
            return
        _set(tx, mode, operator, reason, now_ns)


def stop(tx: Transaction, mode: Mode, reason: str, now_ns: int) -> None:
    """Set a mode that is stricter than the one in force, as the platform itself; the first reason stays."""
    if stricter(mode, tx.control.control().mode):
        _set(tx, mode, PLATFORM, reason, now_ns)


def _set(tx: Transaction, mode: Mode, operator: str, reason: str, now_ns: int) -> None:
    tx.control.set_mode(Control(mode, operator, reason, now_ns))
    tx.control.add_event("control.engaged", mode.value, {"operator": operator, "reason": reason}, now_ns)


def release(database: Database, operator: str, reason: str, now_ns: int) -> None:
    """Return to NORMAL; only a named operator with a reason may."""
    if not operator.strip() or not reason.strip():
        raise TrisagionError("a looser control mode needs a named operator and a reason")
    with database.transaction() as tx:
        tx.control.set_mode(Control(Mode.NORMAL, operator, reason, now_ns))
        tx.control.add_event("control.released", Mode.NORMAL.value, {"operator": operator, "reason": reason}, now_ns)


def shut_gate(tx: Transaction, session: str, reason: str, now_ns: int) -> None:
    """Let no new order pass to a session, until an operator opens it; the first reason stays."""
    if not tx.control.gate(session).shut:
        tx.control.set_gate(Gate(session, True, PLATFORM, reason, now_ns))
        tx.control.add_event("gate.shut", session, {"reason": reason}, now_ns)


def open_gate(database: Database, session: str, operator: str, reason: str, now_ns: int) -> None:
    """Let new orders pass to a session again; only a named operator with a reason may, and only what is shut."""
    if not operator.strip() or operator == PLATFORM or not reason.strip():
        raise TrisagionError("opening a venue's gate needs a named operator and a reason")
    with database.transaction() as tx:
        gate = tx.control.gate(session)
        if not gate.shut:
            known = ", ".join(gate.session for gate in tx.control.gates() if gate.shut) or "none"
            raise TrisagionError(f"the gate of {quoted(session)} is not shut; shut are: {known}")
        tx.control.set_gate(Gate(session, False, operator, reason, now_ns))
        said = {"operator": operator, "reason": reason, "was": gate.reason}
        tx.control.add_event("gate.opened", session, said, now_ns)


def working(database: Database) -> int:
    """Return how many orders the venue may still be working, or may still get from us."""
    with database.snapshot() as tx:
        return len(tx.orders.in_states(LIVE))


def held(database: Database) -> dict[str, Decimal]:
    """Return the positions of the ledger that are not flat, by symbol."""
    with database.snapshot() as tx:
        return {position.symbol: position.qty for position in tx.ledger.positions() if position.qty}
