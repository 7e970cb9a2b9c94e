"""The words of a TWS: its messages as tuples of text fields, after the socket protocol of server versions 157 to 178.

A field's place in a message is its meaning. Sources: the decoders of `ib_async` 2.1.0 and `ib_insync` 0.9.86, which
read these messages, and their clients, which write what `tws_orders` reads. What a version has more or fewer is said
where it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, TypeAlias

from trisagion.clock import SECOND_NS
from trisagion.errors import VenueMistake
from trisagion.orders.types import Liquidity, Side
from trisagion.units import plain

Message: TypeAlias = tuple[str, ...]

VERSION_MIN: Final = 157
VERSION_MAX: Final = 178
"""Server versions that can be spoken: above 178 come messages that neither library knows."""

# Requests, by their number.
REQ_MKT_DATA: Final = "1"
CANCEL_MKT_DATA: Final = "2"
PLACE_ORDER: Final = "3"
CANCEL_ORDER: Final = "4"
REQ_OPEN_ORDERS: Final = "5"
REQ_ACCOUNT_UPDATES: Final = "6"
REQ_EXECUTIONS: Final = "7"
REQ_IDS: Final = "8"
REQ_CONTRACT_DETAILS: Final = "9"
REQ_AUTO_OPEN_ORDERS: Final = "15"
REQ_ALL_OPEN_ORDERS: Final = "16"
REQ_MANAGED_ACCOUNTS: Final = "17"
REQ_HISTORICAL_DATA: Final = "20"
CANCEL_HISTORICAL_DATA: Final = "25"
REQ_CURRENT_TIME: Final = "49"
REQ_GLOBAL_CANCEL: Final = "58"
REQ_MARKET_DATA_TYPE: Final = "59"
REQ_POSITIONS: Final = "61"
REQ_ACCOUNT_SUMMARY: Final = "62"
CANCEL_ACCOUNT_SUMMARY: Final = "63"
CANCEL_POSITIONS: Final = "64"
START_API: Final = "71"
REQ_ACCOUNT_UPDATES_MULTI: Final = "76"
CANCEL_ACCOUNT_UPDATES_MULTI: Final = "77"
REQ_COMPLETED_ORDERS: Final = "99"

UNANSWERED: Final = frozenset(
    {CANCEL_HISTORICAL_DATA, CANCEL_ACCOUNT_SUMMARY, CANCEL_ACCOUNT_UPDATES_MULTI, REQ_MARKET_DATA_TYPE}
)
"""What may be asked and changes nothing here: the data are live, and each of these questions has one answer."""

UNSUPPORTED: Final = {
    **dict.fromkeys(("10", "50", "52", "54", "55", "74"), 2),
    **dict.fromkeys(("22", "78", "79", "81", "83", "86", "87", "88", "92", "94", "96", "97"), 1),
}
"""Requests of the protocol that this simulator refuses, and the place of the id by which it says so."""

ORDER_STATUS: Final = "3"

NO_ID: Final = -1
"""Of an error that is about no order and no request, and of an execution that nobody asked for."""

UNSET: Final = "1.7976931348623157E308"
"""The largest double: how a TWS says that there is no such number."""

STATUS_PRE_SUBMITTED: Final = "PreSubmitted"
STATUS_SUBMITTED: Final = "Submitted"
STATUS_PENDING_CANCEL: Final = "PendingCancel"
STATUS_CANCELLED: Final = "Cancelled"
STATUS_FILLED: Final = "Filled"
STATUS_INACTIVE: Final = "Inactive"

ACTIONS: Final[Mapping[str, Side]] = {"BUY": Side.BUY, "SELL": Side.SELL}
_EXECUTED: Final = {Side.BUY: "BOT", Side.SELL: "SLD"}
_LIQUIDITY: Final = {Liquidity.MAKER: "1", Liquidity.TAKER: "2"}

_VERSION_ADVANCED_REJECT: Final = 166
_VERSION_NO_FA_PROFILE: Final = 177
_VERSION_PENDING_PRICE_REVISION: Final = 178


@dataclass(frozen=True, slots=True)
class Contract:
    """An instrument as a TWS names it; the currency is the instrument's."""

    con_id: int
    symbol: str
    sec_type: str
    multiplier: str
    exchange: str
    currency: str

    @property
    def fields(self) -> Message:
        """conId, symbol, secType, expiry, strike, right, multiplier, exchange, currency, localSymbol, tradingClass."""
        head = (str(self.con_id), self.symbol, self.sec_type, "", "0", "", self.multiplier)
        return (*head, self.exchange, self.currency, self.symbol, self.symbol)


@dataclass(frozen=True, slots=True)
class OrderWords:
    """What a TWS says of an order whatever becomes of it: the request's own words, and the names that it got.

    `qty` and `limit` are text as they are told; `limit` is "" for a market order.
    """

    client: int
    order_id: int
    perm_id: int
    contract: Contract
    action: str
    qty: str
    order_type: str
    limit: str
    tif: str
    good_till: str
    account: str
    ref: str
    outside_rth: str
    hidden: str


def error(about: int, number: int, text: str, version: int) -> Message:
    """Write an error or a notice, of which only the number tells which it is."""
    head = ("4", "2", str(about), str(number), text)
    return (*head, "") if version >= _VERSION_ADVANCED_REJECT else head


def order_status(
    order: OrderWords, status: str, *, filled: Decimal, left: Decimal, average: Decimal, last: Decimal
) -> Message:
    """Write orderStatus; `average` and `last` are prices, 0 before the first fill."""
    names = (str(order.perm_id), "0", plain(last), str(order.client), "", "0")
    return (ORDER_STATUS, str(order.order_id), status, plain(filled), plain(left), plain(average), *names)


def open_order(order: OrderWords, status: str, version: int, margin: Sequence[str] | None = None) -> Message:
    """Write openOrder; with `margin` (initial, maintenance, equity; before, change, after) it answers a what-if."""
    head = ("5", str(order.order_id), *order.contract.fields, *_terms(order), str(order.client), str(order.perm_id))
    flags = (order.outside_rth, order.hidden, "0", "", "", "", "", "")
    profile = ("",) if version < _VERSION_NO_FA_PROFILE else ()
    # modelCode … displaySize, then blockOrder … triggerMethod, then volatility … basisPoints.
    first = ("", order.good_till, "", "", "", "0", "", "-1", "0", "", "", "", "", "", "0")
    second = ("0", "0", "0", "", "0", "0", "0", "", "0", "0")
    third = ("", "", "", "", "0", "", "", "", "", "", "")
    nothing = ("0", "0", "0", "", "", "", "")  # legs of three kinds, scale, hedge
    clearing = ("0", "", "", "0", "0", "", "0")  # … notHeld, no delta-neutral contract, no algorithm, solicited
    sums = tuple(margin) if margin is not None else (UNSET,) * 9
    state = ("1" if margin is not None else "0", status, *sums, "", "", "", order.contract.currency, "")
    rest = ("0", "0", "0", "None", "", "", "", "", "", "", "0", "", "", "", "0", "0", "0", "", "0")
    since = ((159, ("",)), (160, ("",)), (162, ("0",)), (170, ("", "", "", "", "")))
    more = tuple(field for least, fields in since if version >= least for field in fields)
    return (*head, *flags, *profile, *first, *second, *third, *nothing, *clearing, *state, *rest, *more)


def completed_order(order: OrderWords, status: str, *, filled: Decimal, when: str, version: int) -> Message:
    """Write completedOrder, which tells neither client nor orderId."""
    head = ("101", *order.contract.fields, *_terms(order), str(order.perm_id))
    flags = (order.outside_rth, order.hidden, "0", "", "", "", "")
    profile = ("",) if version < _VERSION_NO_FA_PROFILE else ()
    first = ("", order.good_till, "", "", "", "0", "", "-1", "", "", "", "", "", "")
    second = ("0", "0", "", "0", "0", "", "", "", "")
    third = ("0", "", "", "", "", "0", "0", "0", "", "", "", "")  # … legs of three kinds, scale, hedge
    clearing = ("", "", "0", "0", "", "0")  # … notHeld, no delta-neutral contract, no algorithm, solicited
    state = (status, "0", "0", "0", "", "", "", "0", "0", "", plain(filled), "0", "0", "", "0", "0", "0")
    ended = (when, f"{status}: {plain(filled)}")
    more = ("", "", "", "", "") if version >= 170 else ()
    return (*head, *flags, *profile, *first, *second, *third, *clearing, *state, *ended, *more)


def _terms(order: OrderWords) -> Message:
    """Action … orderRef, as openOrder and completedOrder have them both."""
    price = order.limit or "0"
    return (order.action, order.qty, order.order_type, price, "0", order.tif, "", order.account, "", "0", order.ref)


@dataclass(frozen=True, slots=True)
class ExecutionWords:
    """What a TWS says of an execution; `average` and `cum_qty` are the order's after it."""

    exec_id: str
    happened_ns: int
    side: Side
    qty: Decimal
    price: Decimal
    cum_qty: Decimal
    average: Decimal
    liquidity: Liquidity
    fee: Decimal
    realised: Decimal | None


def exec_details(order: OrderWords, execution: ExecutionWords, request: int, version: int) -> Message:
    """Write execDetails; an account's own executions that nobody asked for have the request `NO_ID`."""
    names = (execution.exec_id, moment(execution.happened_ns), order.account, order.contract.exchange)
    trade = (_EXECUTED[execution.side], plain(execution.qty), plain(execution.price), str(order.perm_id))
    sums = (str(order.client), "0", plain(execution.cum_qty), plain(execution.average), order.ref)
    rest = ("", "", "", _LIQUIDITY[execution.liquidity])
    more = ("0",) if version >= _VERSION_PENDING_PRICE_REVISION else ()
    return ("11", str(request), str(order.order_id), *order.contract.fields, *names, *trade, *sums, *rest, *more)


def commission_report(execution: ExecutionWords, currency: str) -> Message:
    """Write commissionReport; the profit is of what the execution closed, and unset if that was nothing."""
    profit = UNSET if execution.realised is None else plain(execution.realised)
    return ("59", "1", execution.exec_id, plain(execution.fee), currency, profit, "", "")


def moment(instant_ns: int) -> str:
    """Write an instant in whole seconds, as a TWS does: what is below is lost."""
    return f"{datetime.fromtimestamp(instant_ns // SECOND_NS, UTC):%Y%m%d %H:%M:%S} UTC"


def read_moment(text: str) -> int:
    """Read an instant as `moment` writes it, or with a dash between day and time; without a zone it is UTC's.

    Raises
    ------
    VenueMistake
        It is in another form or zone.
    """
    day, _, rest = text.replace("-", " ", 1).partition(" ")
    time, _, zone = rest.strip().partition(" ")
    if zone not in {"", "UTC", "GMT"}:
        raise VenueMistake(f"expected an instant in UTC, found {text[:40]!r}")
    try:
        when = datetime.strptime(f"{day} {time}", "%Y%m%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise VenueMistake(f"expected an instant as yyyymmdd hh:mm:ss UTC, found {text[:40]!r}") from None
    return int(when.timestamp()) * SECOND_NS


def whole(message: Sequence[str], place: int) -> int:
    """Read a whole number of a request.

    Raises
    ------
    VenueMistake
        It is not there, or none, or more than 32 bits hold.
    """
    text = message[place] if place < len(message) else ""
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 11 and -(2**31) <= int(text) < 2**31):
        raise VenueMistake(f"field {place}: expected a whole number of 32 bits, found {text[:40]!r}")
    return int(text)


def at(message: Sequence[str], place: int) -> str:
    """Return a field of a request.

    Raises
    ------
    VenueMistake
        The message ends before it.
    """
    if place >= len(message):
        raise VenueMistake(f"message {message[0][:8]!r}: expected a field {place}, found {len(message)} fields")
    return message[place]
