"""Orders and what is said about them, as plain frozen values."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from trisagion.ids import ClOrdId, CycleId, IntentKey, link_cl_ord_id
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.units import Money, Price, Quantity, minus

_NOTHING: Final = Decimal(0)


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    # As of any text that is equal to it; and at a tenth of what an enumeration's own costs, in every limit's sum.
    __hash__ = str.__hash__

    @property
    def sign(self) -> int:
        """+1 for a buy, −1 for a sell."""
        return 1 if self is Side.BUY else -1


class ExecType(StrEnum):
    """What an execution report reports, after FIX ExecType(150).

    CANCEL_REJECTED and REPLACE_REJECTED are the two an OrderCancelReject (35=9) answers, by CxlRejResponseTo(434).
    """

    PENDING_NEW = "pending_new"
    NEW = "new"
    TRADE = "trade"
    TRADE_CORRECT = "trade_correct"
    TRADE_CANCEL = "trade_cancel"
    PENDING_REPLACE = "pending_replace"
    REPLACED = "replaced"
    PENDING_CANCEL = "pending_cancel"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DONE_FOR_DAY = "done_for_day"
    ORDER_STATUS = "order_status"
    CANCEL_REJECTED = "cancel_rejected"
    REPLACE_REJECTED = "replace_rejected"


class Liquidity(StrEnum):
    """FIX LastLiquidityInd(851)."""

    MAKER = "maker"
    TAKER = "taker"


@dataclass(frozen=True, slots=True)
class Intent:
    """What reconciliation wants done for one symbol in one cycle. `qty` is above zero; `taker` only in Emergency."""

    key: IntentKey
    cycle: CycleId
    symbol: str
    side: Side
    qty: Quantity
    taker: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt at an intent, as the database holds it. `price` is unknown until the gateway has routed it.

    `cl_ord_id` is its name with us for ever. At the venue it is the first of a chain, for a replace gives it the next:
    `link` is the number of the one in force, `links` that of the last one ever asked for. `wanted_qty` and
    `wanted_price` are what a replace is to make of it, from the wish until the venue's answer: asked while
    ``links > link``, and `replace_unknown` when the venue has said that it knows no such ClOrdID. Quantities are the
    order's whole: a replace keeps what was filled.
    """

    cl_ord_id: ClOrdId
    intent: IntentKey
    cycle: CycleId
    attempt: int
    symbol: str
    side: Side
    qty: Quantity
    taker: bool
    state: OrderState
    created_ns: int
    updated_ns: int
    version: int = 0
    price: Price | None = None
    session: str | None = None
    order_id: str | None = None
    cum_qty: Quantity = Quantity(Decimal(0))
    avg_px: Decimal = Decimal(0)
    cancel_reason: str | None = None
    reason: str | None = None
    link: int = 0
    links: int = 0
    wanted_qty: Quantity | None = None
    wanted_price: Price | None = None
    replace_unknown: bool = False

    @property
    def leaves_qty(self) -> Quantity:
        """The most that may still be filled, by the greater of the present quantity and the one that is asked for.

        Nothing of an order that the venue has over-filled.
        """
        return leaves_of(self.qty, self.cum_qty, self.wanted_qty)

    @property
    def venue_id(self) -> ClOrdId:
        """The ClOrdID in force at the venue, as far as it has told us."""
        return link_cl_ord_id(self.cl_ord_id, self.link)

    @property
    def asked_id(self) -> ClOrdId | None:
        """The ClOrdID of a replace that has no answer yet."""
        return link_cl_ord_id(self.cl_ord_id, self.links) if self.links > self.link and self.wanted_qty else None


def leaves_of(qty: Quantity, cum_qty: Quantity, wanted_qty: Quantity | None) -> Quantity:
    """Return the most that may still be filled of an order; see `Order.leaves_qty`."""
    whole = qty if wanted_qty is None or wanted_qty < qty else wanted_qty
    left = minus(whole, cum_qty)
    return Quantity(left if left > _NOTHING else _NOTHING)  # noqa: FURB136 (called for each live order at each verdict)


@dataclass(frozen=True, slots=True)
class OrderLink:
    """A ClOrdID that a replace gave to the order `first_id`: the `link`-th after its own, and what it asked for."""

    cl_ord_id: ClOrdId
    first_id: ClOrdId
    link: int
    qty: Quantity
    price: Price
    asked_ns: int


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """FIX ExecutionReport (35=8) or OrderCancelReject (35=9) as a plain value; `happened_ns` is TransactTime(60).

    `exec_id` is the venue's and unique there; an OrderCancelReject has none, and of the quantities and the symbol only
    the order's true `ord_status` (tag 39). `cl_ord_id` is one of the order's own (tag 41 where there is one), and
    `request_id` that of the request that is answered (tag 11 beside a tag 41). `ref_exec_id` (tag 19) is the trade that
    a TRADE_CANCEL or TRADE_CORRECT is about. `reject` is why something was refused; `reason` is text for people.
    `unknown_order` says that the venue answered a status request with "never heard of it". `price` (tag 44) is the
    order's limit where the report names it; it is compared with ours and not recorded. `fee` is in `fee_currency`, None
    where it is the instrument's own.
    """

    venue: str
    exec_id: str | None
    cl_ord_id: ClOrdId
    order_id: str
    exec_type: ExecType
    ord_status: OrderState
    symbol: str
    side: Side
    last_qty: Quantity
    last_px: Price | None
    cum_qty: Quantity
    leaves_qty: Quantity
    avg_px: Decimal
    fee: Money
    liquidity: Liquidity | None
    reason: str | None
    unknown_order: bool
    happened_ns: int
    request_id: ClOrdId | None = None
    ref_exec_id: str | None = None
    reject: Reject | None = None
    price: Price | None = None
    fee_currency: str | None = None

    @property
    def fills(self) -> bool:
        """Tell whether the report books a fill: a trade, or the corrected form of one."""
        return self.exec_type in {ExecType.TRADE, ExecType.TRADE_CORRECT}

    @property
    def terms(self) -> tuple[object, ...]:
        """What an execution is, whoever tells it and however often; the rest is told of the order."""
        what = (self.exec_type, self.last_qty, self.last_px, self.ref_exec_id)
        return (self.cl_ord_id, self.symbol, self.side, *what)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message of a venue that was received and cannot be read; so it is put aside, and never asked for again.

    `of_orders` says that it may have told something of an order of ours: of one that bears a name of `names`, or of any
    if there is none. `text` is the message without its secrets, `why` what is wrong with it.
    """

    venue: str
    of_orders: bool
    names: tuple[ClOrdId, ...]
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class PositionReport:
    """The venue's own word on a position (FIX 35=AP), in answer to the request `request_id`; `qty` is signed."""

    venue: str
    request_id: str
    symbol: str
    qty: Quantity
    happened_ns: int
