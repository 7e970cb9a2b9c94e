"""Identifiers are pure functions of what they identify: a replay makes the same ones, a repeat no new ones."""

import base64
import hashlib
from typing import Final, NewType

CycleId = NewType("CycleId", str)
IntentKey = NewType("IntentKey", str)
ClOrdId = NewType("ClOrdId", str)
RunId = NewType("RunId", str)

CL_ORD_ID_LENGTH: Final = 20
"""One letter and 19 base-32 characters (95 bits): venues allow 20 to 36."""


def cycle_id(due_ns: int) -> CycleId:
    """Name the reconciliation cycle due at an instant."""
    return CycleId(f"C{due_ns}")


def intent_key(cycle: CycleId, symbol: str) -> IntentKey:
    """Name the one intent that a cycle may have for a symbol."""
    return IntentKey(f"{cycle}:{symbol}")


def cl_ord_id(account: str, intent: IntentKey, attempt: int) -> ClOrdId:
    """Make the client order id of one attempt at an intent; unique for ever, the same whenever it is made again."""
    return ClOrdId("T" + _digest(f"{account}|{intent}|{attempt}"))


def cancel_cl_ord_id(order: ClOrdId) -> ClOrdId:
    """Make the client order id of the request that cancels an order (FIX wants one of its own)."""
    return ClOrdId("X" + _digest(f"cancel|{order}"))


def link_cl_ord_id(order: ClOrdId, link: int) -> ClOrdId:
    """Make the client order id under which an order goes on after its `link`-th replace; 0 is the order's own."""
    assert link >= 0, link
    return order if link == 0 else ClOrdId("R" + _digest(f"replace|{order}|{link}"))


def run_id(epoch: int, number: int) -> RunId:
    """Name a virtual run: the epoch of its birth and its number in the order of draws."""
    return RunId(f"R{epoch}-{number}")


def run_number(run: RunId) -> int:
    """Return a run's number in the order of draws, which no other run of any epoch has."""
    return int(run.rpartition("-")[2])


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return base64.b32encode(raw).decode()[: CL_ORD_ID_LENGTH - 1]
