"""What TWS says, as plain values, and what its codes and words mean: two tables, and nowhere else.

The text of an error is kept for people and never read. A code that is not in the table and names an order proves
nothing about it: the order is asked about.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from trisagion.errors import VenueMistake
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import Liquidity, Side
from trisagion.units import parse_decimal, plain

UNSET_MIN: Final = Decimal("1e300")
"""TWS writes the greatest double, 1.797e308, for "no value"."""


class Does(StrEnum):
    """What a code leads to."""

    LOSE_SERVERS = "the gate is shut until TWS has its servers back"
    REGAIN_SERVERS = "everything is asked for again, executions too; then the gate opens"
    RECONNECT = "the connection is given up and made anew"
    FENCE = "another owner lives: the id is tried again later, and no other"
    REJECT = "the order is rejected; where a replace was asked for, that is refused and the order lives on"
    REFUSE_REPLACE = "the replace is refused; what became of the order is asked for"
    REFUSE_CANCEL = "the cancel is refused; what became of the order is asked for"
    CANCELLED = "the text is kept; the order has ended once its status says so and its fills are here"
    DOUBT = "what became of the order is asked for"
    PACED = "every order that has no answer yet is asked about"
    TELL = "the order lives; the text is kept in the messages"
    DATA = "the question has no answer; no order is touched"
    NOTE = "kept in the messages"


@dataclass(frozen=True, slots=True)
class Code:
    """A row: codes from `first` to `last`, what they mean, what is done, and the refusal that an order is given."""

    first: int
    last: int
    meaning: str
    does: Does
    reject: Reject | None = None


def _code(code: int, meaning: str, does: Does, reject: Reject | None = None, *, last: int | None = None) -> Code:
    return Code(code, code if last is None else last, meaning, does, reject)


CODES: Final = (
    _code(100, "more messages a second than allowed", Does.PACED),
    _code(101, "more tickers than allowed", Does.DATA),
    _code(102, "duplicate ticker id", Does.DATA),
    # The first order of that id may live; the libraries call it cancelled.
    _code(103, "duplicate order id", Does.DOUBT, Reject.DUPLICATE_ORDER),
    _code(104, "a filled order cannot be modified", Does.REFUSE_REPLACE, Reject.CANCEL_TOO_LATE),
    _code(105, "the modification does not match the order", Does.REFUSE_REPLACE, Reject.CANCEL_REFUSED),
    _code(106, "the order cannot be transmitted", Does.REJECT, Reject.OTHER),
    _code(107, "the order is incomplete", Does.REJECT, Reject.OTHER),
    _code(109, "the price is out of range", Does.REJECT, Reject.EXCEEDS_LIMIT),
    _code(110, "the price is off the tick", Does.REJECT, Reject.OTHER),
    _code(111, "time in force and order type do not go together", Does.REJECT, Reject.UNSUPPORTED_CHARACTERISTIC),
    _code(116, "the exchange is closed to orders", Does.REJECT, Reject.EXCHANGE_CLOSED),
    _code(133, "the new order was not submitted", Does.REJECT, Reject.OTHER),
    _code(134, "the modification was not submitted", Does.REFUSE_REPLACE, Reject.CANCEL_REFUSED),
    _code(135, "no order of that id", Does.REFUSE_CANCEL, Reject.UNKNOWN_ORDER),
    _code(136, "the order cannot be cancelled", Does.REFUSE_CANCEL, Reject.CANCEL_TOO_LATE),
    _code(161, "the order is in no state to be cancelled", Does.REFUSE_CANCEL, Reject.CANCEL_TOO_LATE),
    _code(162, "historical data", Does.DATA),
    _code(165, "historical data", Does.DATA),
    _code(200, "no such contract", Does.REJECT, Reject.UNKNOWN_SYMBOL),
    _code(201, "rejected; the text says why", Does.REJECT, Reject.OTHER),
    _code(202, "cancelled", Does.CANCELLED),
    _code(203, "the contract is not for this account", Does.REJECT, Reject.UNKNOWN_SYMBOL),
    _code(300, "no such ticker id", Does.DATA),
    _code(321, "the request is not valid", Does.REJECT, Reject.OTHER),
    _code(322, "the request could not be processed", Does.REJECT, Reject.OTHER),
    _code(326, "the client id is in use", Does.FENCE),
    _code(354, "no subscription to market data", Does.DATA),
    _code(355, "the size is against the market's rule", Does.REJECT, Reject.INCORRECT_QUANTITY),
    _code(366, "historical data", Does.DATA),
    _code(383, "the size exceeds the limit set in TWS", Does.REJECT, Reject.EXCEEDS_LIMIT),
    _code(387, "the order type is not for this exchange", Does.REJECT, Reject.UNSUPPORTED_CHARACTERISTIC),
    _code(388, "the size is below the least", Does.REJECT, Reject.INCORRECT_QUANTITY),
    # Held until the market opens, as it may be; the libraries call it a validation error.
    _code(399, "a word about an order, as that it is held until 09:30", Does.TELL),
    _code(404, "held until shares are found", Does.TELL),
    _code(434, "the size is zero", Does.REJECT, Reject.INCORRECT_QUANTITY),
    _code(463, "the price is not valid", Does.REJECT, Reject.OTHER),
    _code(502, "no connection to TWS", Does.RECONNECT),
    _code(504, "not connected", Does.RECONNECT),
    _code(507, "a bad length; often two clients of one id", Does.RECONNECT),
    _code(1100, "TWS has lost the servers", Does.LOSE_SERVERS),
    _code(1101, "TWS has the servers back, data subscriptions are lost", Does.REGAIN_SERVERS),
    _code(1102, "TWS has the servers back, data subscriptions are kept", Does.REGAIN_SERVERS),
    _code(1300, "TWS' port was reset; ours stays as configured", Does.RECONNECT),
    _code(2100, "notices, above all of market data farms", Does.NOTE, last=2109),
    # Told to whoever connects while they are lost.
    _code(2110, "TWS has no servers; it will have them back", Does.LOSE_SERVERS),
    _code(2111, "notices", Does.NOTE, last=2169),
    _code(10089, "market data need a subscription", Does.DATA, last=10090),
    _code(10147, "no order of that id to cancel", Does.REFUSE_CANCEL, Reject.UNKNOWN_ORDER),
    _code(10148, "the order cannot be cancelled, it is over", Does.REFUSE_CANCEL, Reject.CANCEL_TOO_LATE),
    _code(10167, "delayed market data", Does.DATA, last=10168),
    _code(10186, "market data are not subscribed", Does.DATA),
    _code(10197, "no market data during a competing session", Does.DATA),
)
"""After IBKR, TWS API, "Message codes", and reliability 2.2."""

_BY_CODE: Final = {number: row for row in CODES for number in range(row.first, row.last + 1)}


def meaning(code: int, *, of_order: bool) -> Code:
    """Return the row of a code; one that is not in the table is a doubt about its order, else a note."""
    return _BY_CODE.get(code, _code(code, "not in the table", Does.DOUBT if of_order else Does.NOTE))


STATUSES: Final[dict[str, OrderState]] = {
    "ApiPending": OrderState.PENDING_NEW,
    "PendingSubmit": OrderState.PENDING_NEW,
    "PreSubmitted": OrderState.NEW,
    "Submitted": OrderState.NEW,
    "PendingCancel": OrderState.PENDING_CANCEL,
    "ApiCancelled": OrderState.CANCELED,
    "Cancelled": OrderState.CANCELED,
    "Filled": OrderState.FILLED,
    # Refused or cancelled, says IBKR's manual; others have seen it come to life again.
    "Inactive": OrderState.UNKNOWN,
}
"""Statuses as they are on the wire. What the libraries add to them (ValidationError …) was never said by TWS."""

_COMPLETED: Final[dict[str, OrderState]] = {**STATUSES, "Inactive": OrderState.REJECTED}
"""Among completed orders "Inactive" is an end, for there it stands beside no order that works."""
_ENDS: Final = frozenset({OrderState.CANCELED, OrderState.FILLED, OrderState.REJECTED})


def read_status(text: str, filled: Decimal) -> OrderState:
    """Read where an order stands; one that works with fills is partially filled. `VenueMistake` for another word."""
    state = STATUSES.get(text)
    if state is None:
        raise VenueMistake(f"order status: expected one of {', '.join(STATUSES)}, found {text[:40]!r}")
    return OrderState.PARTIALLY_FILLED if state is OrderState.NEW and filled > 0 else state


def read_completed(text: str) -> OrderState:
    """Read how a completed order has ended; `VenueMistake` for a word that is no end."""
    state = _COMPLETED.get(text)
    if state not in _ENDS:
        raise VenueMistake(f"completed order: expected Filled, Cancelled or Inactive, found {text[:40]!r}")
    return state


def read_liquidity(found: int) -> Liquidity:
    """Read Execution.lastLiquidity; only 1, "added liquidity", proves a maker.

    2 removed it. 3 was routed out and 0 is not known: neither proves anything, and what is not proved has taken.
    """
    return Liquidity.MAKER if found == 1 else Liquidity.TAKER


SIDES: Final[dict[str, Side]] = {"BUY": Side.BUY, "SELL": Side.SELL, "BOT": Side.BUY, "SLD": Side.SELL}
"""An order's action, and an execution's side."""


def read_side(text: str) -> Side:
    """Read which way an order or an execution goes; `VenueMistake` for another word."""
    side = SIDES.get(text)
    if side is None:
        raise VenueMistake(f"side: expected one of {', '.join(SIDES)}, found {text[:40]!r}")
    return side


def exact(value: object, *, what: str) -> Decimal:
    """Return the decimal that TWS wrote, from the double that the libraries make of it.

    A double's shortest text is what was written, up to 15 significant digits. `VenueMistake` for NaN, an infinity, or
    TWS' "no value".
    """
    found = Decimal(repr(value)) if isinstance(value, float) else parse_decimal(str(value), what=what)
    if not found.is_finite() or abs(found) >= UNSET_MIN:
        raise VenueMistake(f"{what}: expected a number, found {value!r}")
    return Decimal(plain(found))


def former(exec_id: str) -> str | None:
    """Return the execution that this one corrects: ids are alike but for the number after the last point, from 01."""
    stem, _, number = exec_id.rpartition(".")
    if not stem or not number.isdigit() or int(number) <= 1:
        return None
    return f"{stem}.{int(number) - 1:0{len(number)}d}"


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """TWS' openOrder, or with `completed` its completedOrder, which has no `order_id`; `filled` only there.

    `symbol` is ours. `ref` is the order's orderRef; of one that was given none a question mark and its permId.
    """

    order_id: int
    client_id: int
    perm_id: int
    ref: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal | None
    state: OrderState
    completed: bool = False
    filled: Decimal = Decimal(0)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StatusTold:
    """TWS' orderStatus."""

    perm_id: int
    status: str
    filled: Decimal
    avg_px: Decimal


@dataclass(frozen=True, slots=True)
class Executed:
    """TWS' execDetails; `at_ns` is the second of the trade, `cum_qty` and `avg_px` are the order's with it."""

    exec_id: str
    at_ns: int
    order_id: int
    client_id: int
    perm_id: int
    ref: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    cum_qty: Decimal
    avg_px: Decimal
    liquidity: Liquidity
    currency: str


@dataclass(frozen=True, slots=True)
class Commission:
    """TWS' commissionReport: what an execution cost, above zero for us to pay."""

    exec_id: str
    fee: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Problem:
    """TWS' error about an order of this client."""

    order_id: int
    code: int
    text: str
