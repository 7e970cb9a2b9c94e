"""What the venue says of an order: its execution reports as FIX messages, and as the rows of its snapshot."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from trisagion.gateway.words import (
    ABSOLUTE,
    DUPLICATE_ORDER,
    EXEC_TYPES,
    EXECUTION_REPORT,
    LIMIT,
    LIQUIDITIES,
    ORD_STATUSES,
    SIDES,
    UNKNOWN_ORDER,
    Fields,
    Tag,
    code,
    timestamp,
)
from trisagion.market.types import Instrument
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType
from trisagion.simulate.matching import Event, Refusal, Restatement, VenueOrder
from trisagion.units import plain

_DIGITS_18: Final = Context(prec=18, rounding=ROUND_HALF_EVEN)
"""AvgPx has no exact decimal; 18 significant digits are what our own side accepts."""

_ORD_REJ_REASONS: Final[Mapping[str | None, str]] = {
    Refusal.DUPLICATE: DUPLICATE_ORDER,
    Refusal.UNKNOWN_SYMBOL: "1",
    Refusal.BAD_QUANTITY: "13",
}
_RESTATEMENTS: Final = {
    Restatement.REPLACED: "5",
    Restatement.TRADE_CORRECT: "G",
    Restatement.TRADE_CANCEL: "H",
}
OTHER: Final = "99"
"""OrdRejReason(103), CxlRejReason(102)."""

SIDE_UNDISCLOSED: Final = "7"


def exec_type_code(exec_type: ExecType | Restatement) -> str:
    """Return the ExecType(150) of a word."""
    return _RESTATEMENTS[exec_type] if isinstance(exec_type, Restatement) else code(EXEC_TYPES, exec_type)


def report(event: Event, instrument: Instrument | None) -> Fields:
    """Write the ExecutionReport of an event."""
    trade: dict[int, str] = {}
    if event.liquidity is not None:
        assert instrument is not None
        trade = {
            Tag.LAST_QTY: plain(event.last_lots * instrument.lot_size),
            Tag.LAST_PX: plain(event.last_ticks * instrument.tick_size),
            Tag.COMMISSION: plain(event.fee),
            Tag.COMM_TYPE: ABSOLUTE,
            Tag.LAST_LIQUIDITY_IND: code(LIQUIDITIES, event.liquidity),
        }
    about: dict[int, str] = {}
    if event.exec_ref is not None:
        about[Tag.EXEC_REF_ID] = event.exec_ref
    if event.orig_cl_ord_id is not None:
        about[Tag.ORIG_CL_ORD_ID] = event.orig_cl_ord_id
    if event.reason is not None:
        about[Tag.TEXT] = event.reason
    if event.exec_type is ExecType.REJECTED:
        about[Tag.ORD_REJ_REASON] = _ORD_REJ_REASONS.get(event.reason, OTHER)
    return {
        Tag.MSG_TYPE: EXECUTION_REPORT,
        Tag.EXEC_ID: event.exec_id,
        Tag.EXEC_TYPE: exec_type_code(event.exec_type),
        **order_fields(event.order, instrument),
        **trade,
        **about,
        Tag.TRANSACT_TIME: timestamp(event.happened_ns),
    }


def status_report(order: VenueOrder, instrument: Instrument | None, now_ns: int) -> Fields:
    """Write the answer to a question about an order; its ExecID is no execution's."""
    return {**_answer(now_ns), **order_fields(order, instrument)}


def unknown_report(cl_ord_id: str, symbol: str, side: str, now_ns: int) -> Fields:
    """Write the answer to a question about an order that was never heard of."""
    return {
        **_answer(now_ns),
        Tag.CL_ORD_ID: cl_ord_id,
        **_nothing(symbol, side),
        Tag.ORD_REJ_REASON: UNKNOWN_ORDER,
        Tag.TEXT: "UNKNOWN_ORDER",
    }


def no_orders_report(now_ns: int) -> Fields:
    """Write the answer to a question about all orders where there are none."""
    return {**_answer(now_ns), **_nothing("[N/A]", SIDE_UNDISCLOSED), Tag.TEXT: "NO_ORDERS"}


def order_fields(order: VenueOrder, instrument: Instrument | None) -> Fields:
    """Write the fields of an order that all its reports have."""
    shared: Fields = {
        Tag.ORDER_ID: order.order_id,
        Tag.CL_ORD_ID: order.cl_ord_id,
        Tag.ACCOUNT: order.owner,
        Tag.SYMBOL: order.symbol,
        Tag.SIDE: code(SIDES, order.side),
        Tag.ORD_STATUS: code(ORD_STATUSES, order.state),
    }
    if instrument is None or not order.lots:
        return {**shared, Tag.CUM_QTY: "0", Tag.LEAVES_QTY: "0", Tag.AVG_PX: "0"}
    return {
        **shared,
        Tag.ORDER_QTY: plain(order.lots * instrument.lot_size),
        Tag.ORD_TYPE: LIMIT,
        Tag.PRICE: plain(order.price_ticks * instrument.tick_size),
        Tag.CUM_QTY: plain(order.cum_lots * instrument.lot_size),
        Tag.LEAVES_QTY: plain(order.leaves_lots * instrument.lot_size),
        Tag.AVG_PX: plain(average_price(order, instrument)),
    }


def order_row(order: VenueOrder, instrument: Instrument | None) -> Mapping[str, str]:
    """Write an order for the snapshot."""
    fields = order_fields(order, instrument)
    return {
        "order_id": order.order_id,
        "cl_ord_id": order.cl_ord_id,
        "account": order.owner,
        "symbol": order.symbol,
        "side": order.side,
        "state": order.state,
        "qty": fields.get(Tag.ORDER_QTY, "0"),
        "price": fields.get(Tag.PRICE, "0"),
        "cum_qty": fields[Tag.CUM_QTY],
        "leaves_qty": fields[Tag.LEAVES_QTY],
    }


def fill_row(event: Event, instrument: Instrument) -> Mapping[str, str | int]:
    """Write a trade, a bust or a correction for the snapshot."""
    fields = report(event, instrument)
    assert event.liquidity is not None
    ref = {} if event.exec_ref is None else {"exec_ref": event.exec_ref, "exec_type": event.exec_type}
    return {
        "exec_id": event.exec_id,
        **ref,
        "cl_ord_id": event.order.cl_ord_id,
        "account": event.order.owner,
        "symbol": event.order.symbol,
        "side": event.order.side,
        "qty": fields[Tag.LAST_QTY],
        "price": fields[Tag.LAST_PX],
        "fee": fields[Tag.COMMISSION],
        "liquidity": event.liquidity,
        "happened_ns": event.happened_ns,
    }


def _answer(now_ns: int) -> Fields:
    return {
        Tag.MSG_TYPE: EXECUTION_REPORT,
        Tag.EXEC_ID: "0",
        Tag.EXEC_TYPE: code(EXEC_TYPES, ExecType.ORDER_STATUS),
        Tag.TRANSACT_TIME: timestamp(now_ns),
    }


def _nothing(symbol: str, side: str) -> Fields:
    return {
        Tag.ORDER_ID: "NONE",
        Tag.ORD_STATUS: code(ORD_STATUSES, OrderState.REJECTED),
        Tag.SYMBOL: symbol,
        Tag.SIDE: side,
        Tag.CUM_QTY: "0",
        Tag.LEAVES_QTY: "0",
        Tag.AVG_PX: "0",
    }


def average_price(order: VenueOrder, instrument: Instrument) -> Decimal:
    """Return the mean price of an order's fills, 0 before the first."""
    if not order.cum_lots:
        return Decimal(0)
    return _DIGITS_18.divide(order.value * instrument.tick_size, Decimal(order.cum_lots))
