"""What a venue may refuse, by its code, and what we do about it: one table, and nowhere else.

The gateway reads the codes of FIX (OrdRejReason 103, CxlRejReason 102, BusinessRejectReason 380, SessionRejectReason
373) as words of `Reject`. Text(58) is kept for people and never read: a venue may change it on any day.
"""

from enum import StrEnum
from typing import Final


class Remedy(StrEnum):
    """What is done about a refusal."""

    REPRICE = "reprice"
    """A new attempt at once, at the price of the present quote."""
    WAIT = "wait"
    """A new attempt when the sweeper comes by, within the cycle."""
    NEVER = "never"
    """No new attempt at this intent; a person hears of it."""
    RESOLVE = "resolve"
    """The refusal says nothing certain about the order: its state is asked for."""
    HALT = "halt"
    """The next order would fare no better: the venue's gate is shut until an operator opens it."""


class Reject(StrEnum):
    """Why something was refused."""

    POST_ONLY_WOULD_CROSS = "post_only_would_cross"
    BROKER_OPTION = "broker_option"
    UNKNOWN_SYMBOL = "unknown_symbol"
    EXCHANGE_CLOSED = "exchange_closed"
    EXCEEDS_LIMIT = "exceeds_limit"
    TOO_LATE = "too_late"
    UNKNOWN_ORDER = "unknown_order"
    DUPLICATE_ORDER = "duplicate_order"
    STALE_ORDER = "stale_order"
    TRADE_ALONG = "trade_along"
    INVALID_INVESTOR = "invalid_investor"
    UNSUPPORTED_CHARACTERISTIC = "unsupported_characteristic"
    INCORRECT_QUANTITY = "incorrect_quantity"
    UNKNOWN_ACCOUNT = "unknown_account"
    CANCEL_TOO_LATE = "cancel_too_late"
    CANCEL_PENDING = "cancel_pending"
    CANCEL_REFUSED = "cancel_refused"
    UNSUPPORTED_MESSAGE = "unsupported_message"
    APPLICATION_AWAY = "application_away"
    FIELD_MISSING = "field_missing"
    NOT_AUTHORISED = "not_authorised"
    MALFORMED = "malformed"
    IDENTITY = "identity"
    CLOCK = "clock"
    MESSAGE_REFUSED = "message_refused"
    OTHER = "other"


_R, _D = Reject, Remedy

REMEDIES: Final[dict[Reject, Remedy]] = {
    _R.POST_ONLY_WOULD_CROSS: _D.REPRICE,
    _R.STALE_ORDER: _D.REPRICE,
    _R.EXCHANGE_CLOSED: _D.WAIT,
    _R.TOO_LATE: _D.NEVER,
    _R.BROKER_OPTION: _D.NEVER,
    _R.UNKNOWN_SYMBOL: _D.NEVER,
    _R.EXCEEDS_LIMIT: _D.NEVER,
    _R.TRADE_ALONG: _D.NEVER,
    _R.UNSUPPORTED_CHARACTERISTIC: _D.NEVER,
    _R.INCORRECT_QUANTITY: _D.NEVER,
    _R.OTHER: _D.NEVER,
    # The first order of that id may live; what we hold of it is asked for, never guessed.
    _R.UNKNOWN_ORDER: _D.RESOLVE,
    _R.DUPLICATE_ORDER: _D.RESOLVE,
    _R.CANCEL_TOO_LATE: _D.RESOLVE,
    _R.CANCEL_PENDING: _D.RESOLVE,
    _R.CANCEL_REFUSED: _D.RESOLVE,
    # The message was not taken as one: whether the order exists is asked for.
    _R.APPLICATION_AWAY: _D.RESOLVE,
    _R.FIELD_MISSING: _D.RESOLVE,
    _R.UNSUPPORTED_MESSAGE: _D.RESOLVE,
    _R.MESSAGE_REFUSED: _D.RESOLVE,
    # Who we are, what we may and how we speak are the same for the next order.
    _R.INVALID_INVESTOR: _D.HALT,
    _R.UNKNOWN_ACCOUNT: _D.HALT,
    _R.NOT_AUTHORISED: _D.HALT,
    _R.MALFORMED: _D.HALT,
    _R.IDENTITY: _D.HALT,
    _R.CLOCK: _D.HALT,
}
"""Every reason's remedy."""
