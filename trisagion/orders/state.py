"""The order state machine: every transition of the platform is a row of `TRANSITIONS`, and nowhere else.

States follow FIX OrdStatus(39). `UNKNOWN` means that we asked something of the venue and do not know what came of it:
the order counts as live, and only evidence from the venue (an execution report, an answer to a status request) leads
out, or that of a person who has looked there (`services.resolve_orders`).

Replaced is no state. After FIX 4.4 it is an event (ExecType 5; OrdStatus has no such value): the order lives on under
its next ClOrdID, with its fills, as New or PartiallyFilled. So an order is one row for all its ClOrdIDs, and whatever
is said of any of them is said of it. While a replace is asked for, a cancel is not: the venue would have two requests
that name the same OrigClOrdID, and the second one's fate would hang on the first one's.

Stopped, Suspended, Calculated and AcceptedForBidding are not spoken here: no venue of ours may answer a day order so,
and the gateway refuses them as unknown words. An order is good for the day, so DoneForDay is an end.
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
    PENDING_REPLACE = "pending_replace"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DONE_FOR_DAY = "done_for_day"
    DENIED = "denied"

    # As of any text that is equal to it; and at a tenth of what an enumeration's own costs, in every set below.
    __hash__ = str.__hash__


_S = OrderState

TERMINAL: Final = frozenset({_S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.DONE_FOR_DAY, _S.DENIED})
"""No order leaves these. A fill that arrives all the same is real: it is booked with an alarm, and the state stays."""

AT_VENUE: Final = frozenset(
    {_S.PENDING_NEW, _S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.PENDING_REPLACE, _S.UNKNOWN}
)
"""The venue may know the order: it counts in full against every limit."""

WORKING: Final = frozenset({_S.NEW, _S.PARTIALLY_FILLED})
"""At the venue with nothing asked: it may be asked to cancel or to replace these."""

UNSENT: Final = frozenset({_S.RISK_CHECKED, _S.ROUTED})
"""In the outbox only: the venue has never heard of these."""

LIVE: Final = AT_VENUE | UNSENT

IN_DOUBT: Final = frozenset({_S.PENDING_NEW, _S.PENDING_CANCEL, _S.PENDING_REPLACE, _S.UNKNOWN})
"""Asked, not answered: resolved by a status request after each logon."""

_OVER: Final = frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.DONE_FOR_DAY})
"""How the venue may end an order that it has accepted."""

TRANSITIONS: Final[dict[OrderState, frozenset[OrderState]]] = {
    # To UNKNOWN: the venue speaks of an order that we have not sent, as after a database was restored from a backup.
    _S.RISK_CHECKED: frozenset({_S.ROUTED, _S.DENIED, _S.UNKNOWN}),
    _S.ROUTED: frozenset({_S.PENDING_NEW, _S.DENIED, _S.UNKNOWN}),
    _S.PENDING_NEW: _OVER | {_S.NEW, _S.PARTIALLY_FILLED, _S.REJECTED, _S.UNKNOWN},
    # To REJECTED: "an order may be rejected subsequent to order acknowledgment" (FIX 4.4, OrdStatus 8).
    _S.NEW: _OVER | {_S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.PENDING_REPLACE, _S.REJECTED, _S.UNKNOWN},
    # To NEW: the venue took back the only fill (ExecType H).
    _S.PARTIALLY_FILLED: _OVER | {_S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.PENDING_REPLACE, _S.UNKNOWN},
    _S.PENDING_CANCEL: _OVER | {_S.PENDING_CANCEL, _S.NEW, _S.PARTIALLY_FILLED, _S.UNKNOWN},
    # To NEW and PARTIALLY_FILLED: replaced. To FILLED: filled meanwhile, or replaced down to what was filled.
    _S.PENDING_REPLACE: _OVER | {_S.PENDING_REPLACE, _S.NEW, _S.PARTIALLY_FILLED, _S.UNKNOWN},
    _S.UNKNOWN: _OVER | {_S.NEW, _S.PARTIALLY_FILLED, _S.REJECTED, _S.PENDING_CANCEL, _S.PENDING_REPLACE, _S.UNKNOWN},
    _S.CANCELED: frozenset(),
    _S.FILLED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.DONE_FOR_DAY: frozenset(),
    _S.DENIED: frozenset(),
}


def check_transition(before: OrderState, after: OrderState, *, cl_ord_id: str) -> None:
    """Raise `OurMistake` unless the table has the transition."""
    if after not in TRANSITIONS[before]:
        raise OurMistake(f"order {cl_ord_id}: no transition {before} → {after} in the table")
