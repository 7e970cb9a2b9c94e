"""Orders and what is said about them, as plain frozen values."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.orders.state import OrderState
from trisagion.units import Money, Price, Quantity


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, −1 for a sell."""
        return 1 if self is Side.BUY else -1


class ExecType(StrEnum):
    """What an execution report reports, after FIX ExecType(150)."""

    NEW = "new"
    TRADE = "trade"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    PENDING_CANCEL = "pending_cancel"
    ORDER_STATUS = "order_status"


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
    """One attempt at an intent, as the database holds it. `price` is unknown until the gateway has routed it."""

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

    @property
    def leaves_qty(self) -> Quantity:
        """What is still to be filled; nothing of an order that the venue has over-filled."""
        return Quantity(max(self.qty - self.cum_qty, Decimal(0)))


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """FIX ExecutionReport (35=8) or OrderCancelReject (35=9) as a plain value; `happened_ns` is TransactTime(60).

    `exec_id` is the venue's and unique there; an OrderCancelReject has none and comes as ORDER_STATUS with the order's
    true `ord_status` (tag 39) and the text as `reason`. `cl_ord_id` is the order's own (tag 41 on cancels).
    `unknown_order` says that the venue answered a status request with "never heard of it".
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


@dataclass(frozen=True, slots=True)
class PositionReport:
    """The venue's own word on a position (FIX 35=AP), in answer to the request `request_id`; `qty` is signed."""

    venue: str
    request_id: str
    symbol: str
    qty: Quantity
    happened_ns: int
