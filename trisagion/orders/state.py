"""The order state machine: every transition of the platform is a row of `TRANSITIONS`, and nowhere else.

States follow FIX OrdStatus(39). `UNKNOWN` means that we asked something of the venue and do not know what came of it:
the order counts as live, and only evidence from the venue (an execution report, an answer to a status request) leads
out.
"""

from enum import StrEnum
from typing import Final

from trisagion.errors import OurMistake


class OrderState(StrEnum):
    """Where an order stands."""

    RISK_CHECKED = "risk_checked"
    ROUTED = "routed"
    PENDING_NEW = "pending_new"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DENIED = "denied"


_S = OrderState

TERMINAL: Final = frozenset({_S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.DENIED})
"""No order leaves these. A fill that arrives all the same is real: it is booked with an alarm, and the state stays."""

AT_VENUE: Final = frozenset({_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.UNKNOWN})
"""The venue may know the order: it counts in full against every limit."""

LIVE: Final = AT_VENUE | {_S.RISK_CHECKED, _S.ROUTED}

IN_DOUBT: Final = frozenset({_S.PENDING_NEW, _S.PENDING_CANCEL, _S.UNKNOWN})
"""Asked, not answered: resolved by a status request after each logon."""

TRANSITIONS: Final[dict[OrderState, frozenset[OrderState]]] = {
    # To UNKNOWN: the venue speaks of an order that we have not sent, as after a database was restored from a backup.
    _S.RISK_CHECKED: frozenset({_S.ROUTED, _S.DENIED, _S.UNKNOWN}),
    _S.ROUTED: frozenset({_S.PENDING_NEW, _S.DENIED, _S.UNKNOWN}),
    _S.PENDING_NEW: frozenset(
        {_S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.UNKNOWN}
    ),
    # To REJECTED: "an order may be rejected subsequent to order acknowledgment" (FIX 4.4, OrdStatus 8).
    _S.NEW: frozenset(
        {_S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.PARTIALLY_FILLED: frozenset(
        {_S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.PENDING_CANCEL: frozenset(
        {_S.PENDING_CANCEL, _S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.UNKNOWN: frozenset(
        {_S.NEW, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.PENDING_CANCEL, _S.UNKNOWN}
    ),
    _S.CANCELED: frozenset(),
    _S.FILLED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.DENIED: frozenset(),
}


def check_transition(before: OrderState, after: OrderState, *, cl_ord_id: str) -> None:
    """Raise `OurMistake` unless the table has the transition."""
    if after not in TRANSITIONS[before]:
        raise OurMistake(f"order {cl_ord_id}: no transition {before} → {after} in the table")
