"""What a venue says to us. Everything here raises `VenueMistake` when a field is missing, garbled or impossible.

Two things only look like news. A report with ExecType=I answers a question: its ExecID is not an execution's and is
dropped, so that it can never be taken for one already booked. And "rejected" is about the message, not always about the
order: a duplicate ClOrdID is rejected (150=8, 103=6) while the first order lives on, and `ord_status` tells its state.
"""

import re
from decimal import Decimal
from typing import Final

from trisagion.errors import VenueMistake
from trisagion.gateway.words import (
    ABSOLUTE,
    BUSINESS_MESSAGE_REJECT,
    BUSINESS_REJECT_REASONS,
    CXL_REJ_REASONS,
    CXL_RESPONSES,
    EXEC_TYPES,
    EXECUTION_REPORT,
    LIQUIDITIES,
    ORD_REJ_REASONS,
    ORD_STATUSES,
    ORDER_CANCEL_REJECT,
    POSITION_REPORT,
    POST_ONLY_CODE,
    SESSION_REJECT_REASONS,
    SIDES,
    UNKNOWN_ORDER,
    Fields,
    Tag,
    amount,
    currency,
    instant,
    number,
    text,
    word,
)
from trisagion.ids import ClOrdId
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, PositionReport, Side, Unreadable
from trisagion.units import Money, Price, Quantity

INSTANT_MAX: Final = 2**63 - 1
"""In nanoseconds since 1970: what 64 bits hold, in April 2262."""

TEXT_MAX: Final = 2000
"""Characters kept of a message that was put aside."""

_ZERO: Final = Decimal(0)
_FILLS: Final = frozenset({ExecType.TRADE, ExecType.TRADE_CORRECT})
_OF_TRADES: Final = frozenset({ExecType.TRADE_CORRECT, ExecType.TRADE_CANCEL})
_NOT_OF_ORDERS: Final = frozenset({"0", "1", "2", "4", "5", "A", POSITION_REPORT})
"""Messages that tell nothing of an order. One of a kind that there is not may be any."""
_SECRETS: Final = re.compile(r"(?<![^\x01|])(554|925|96|1402|1404)=[^\x01]*")
"""Password, NewPassword, RawData, EncryptedPassword, EncryptedNewPassword."""


def read_report(fields: Fields, *, venue: str, post_only_code: str = POST_ONLY_CODE) -> ExecutionReport:
    """Read an ExecutionReport (35=8) or an OrderCancelReject (35=9).

    `post_only_code` is the OrdRejReason by which this venue refuses a post-only order that would have crossed.
    """
    if word(fields, Tag.MSG_TYPE, {EXECUTION_REPORT: True, ORDER_CANCEL_REJECT: False}):
        return _execution(fields, venue, post_only_code)
    return _cancel_reject(fields, venue)


def doubt(
    cl_ord_id: ClOrdId, *, venue: str, reason: str, happened_ns: int, reject: Reject | None = None
) -> ExecutionReport:
    """Say that nobody knows what became of an order; without symbol and quantities, as a cancel reject is."""
    return _bare(
        cl_ord_id,
        OrderState.UNKNOWN,
        venue=venue,
        order_id="NONE",
        reason=reason,
        reject=reject,
        happened_ns=happened_ns,
    )


def read_reject(fields: Fields) -> Reject:
    """Read why a message of ours was refused as a message (35=3 or 35=j)."""
    if fields.get(Tag.MSG_TYPE) == BUSINESS_MESSAGE_REJECT:
        return BUSINESS_REJECT_REASONS.get(fields.get(Tag.BUSINESS_REJECT_REASON, ""), Reject.MESSAGE_REFUSED)
    return SESSION_REJECT_REASONS.get(fields.get(Tag.SESSION_REJECT_REASON, ""), Reject.MESSAGE_REFUSED)


def unreadable(kind: str, text: str, *, venue: str, why: str, fields: Fields | None = None) -> Unreadable:
    """Say that a message of a kind could not be read, by its text; `fields` are those that could."""
    named = fields or {}
    masked = _SECRETS.sub(r"\1=***", text).replace("\x01", "|")
    return Unreadable(
        venue=venue,
        of_orders=kind not in _NOT_OF_ORDERS,
        names=tuple(ClOrdId(named[tag]) for tag in (Tag.ORIG_CL_ORD_ID, Tag.CL_ORD_ID) if named.get(tag)),
        text=masked[:TEXT_MAX],
        why=why[:TEXT_MAX],
    )


def refused(fields: Fields, *, venue: str) -> Unreadable:
    """Say that the engine refused a message of the venue, by the Reject (35=3) or Logout (35=5) with which it did.

    It may count as received and was never handed up. Its text is in the raw log.
    """
    why = f"the engine answered 35={fields.get(Tag.MSG_TYPE)}: {fields.get(Tag.TEXT, '')}"
    text = "|".join(f"{tag}={value}" for tag, value in fields.items())
    return unreadable(fields.get(Tag.REF_MSG_TYPE, ""), text, venue=venue, why=why)


def read_positions(fields: Fields, *, venue: str, asked_ns: int) -> PositionReport:
    """Read a PositionReport (35=AP) of one symbol.

    FIX 4.4 gives it no TransactTime: `happened_ns` is the instant at which we asked, and the venue's word is no older.
    """
    word(fields, Tag.MSG_TYPE, {POSITION_REPORT: None})
    word(fields, Tag.POS_REQ_RESULT, {"0": None})
    word(fields, Tag.NO_POSITIONS, {"1": None})
    word(fields, Tag.POS_TYPE, {"TQ": None})
    return PositionReport(
        venue=venue,
        request_id=text(fields, Tag.POS_REQ_ID),
        symbol=text(fields, Tag.SYMBOL),
        qty=Quantity(amount(fields, Tag.LONG_QTY) - amount(fields, Tag.SHORT_QTY)),
        happened_ns=asked_ns,
    )


def positions_expected(fields: Fields) -> int:
    """Read how many PositionReports the answer has that this one belongs to."""
    count = number(fields, Tag.TOTAL_NUM_POS_REPORTS)
    if count < 1 or count != int(count):
        raise VenueMistake(f"FIX message 35=AP, tag 727: expected a whole number above 0, found {count}")
    return int(count)


def _execution(fields: Fields, venue: str, post_only_code: str) -> ExecutionReport:
    exec_type = word(fields, Tag.EXEC_TYPE, EXEC_TYPES)
    exec_id = text(fields, Tag.EXEC_ID)
    order = text(fields, Tag.ORIG_CL_ORD_ID if Tag.ORIG_CL_ORD_ID in fields else Tag.CL_ORD_ID)
    request = text(fields, Tag.CL_ORD_ID) if Tag.ORIG_CL_ORD_ID in fields else None
    last_qty, last_px, fee, liquidity = _trade(fields) if exec_type in _FILLS else (_ZERO, None, _ZERO, None)
    cum_qty = amount(fields, Tag.CUM_QTY)
    if cum_qty < last_qty:
        raise VenueMistake(f"FIX message 35=8 11={order}, tag 14: expected LastQty {last_qty} or more, found {cum_qty}")
    return ExecutionReport(
        venue=venue,
        exec_id=None if exec_type is ExecType.ORDER_STATUS else exec_id,
        cl_ord_id=ClOrdId(order),
        order_id=text(fields, Tag.ORDER_ID),
        exec_type=exec_type,
        ord_status=word(fields, Tag.ORD_STATUS, ORD_STATUSES),
        symbol=text(fields, Tag.SYMBOL),
        side=word(fields, Tag.SIDE, SIDES),
        last_qty=Quantity(last_qty),
        last_px=last_px,
        cum_qty=Quantity(cum_qty),
        leaves_qty=Quantity(amount(fields, Tag.LEAVES_QTY)),
        avg_px=amount(fields, Tag.AVG_PX),
        fee=Money(fee),
        liquidity=liquidity,
        reason=_reason(fields, Tag.ORD_REJ_REASON),
        unknown_order=exec_type is ExecType.ORDER_STATUS and fields.get(Tag.ORD_REJ_REASON) == UNKNOWN_ORDER,
        happened_ns=_happened(fields),
        request_id=None if request is None else ClOrdId(request),
        ref_exec_id=text(fields, Tag.EXEC_REF_ID) if exec_type in _OF_TRADES else None,
        reject=_order_reject(fields, post_only_code) if exec_type is ExecType.REJECTED else None,
        price=Price(number(fields, Tag.PRICE)) if Tag.PRICE in fields else None,
        fee_currency=currency(fields, Tag.COMM_CURRENCY) if exec_type in _FILLS else None,
    )


def _order_reject(fields: Fields, post_only_code: str) -> Reject:
    """Read why an order was refused; a code that nobody agreed on with us says no more than "other"."""
    found = fields.get(Tag.ORD_REJ_REASON, "")
    return Reject.POST_ONLY_WOULD_CROSS if found == post_only_code else ORD_REJ_REASONS.get(found, Reject.OTHER)


def _trade(fields: Fields) -> tuple[Decimal, Price, Decimal, Liquidity]:
    qty, px = number(fields, Tag.LAST_QTY), number(fields, Tag.LAST_PX)
    if qty <= 0 or px <= 0:
        which = fields.get(Tag.EXEC_ID)
        raise VenueMistake(f"FIX message 35=8 17={which}, tags 31, 32: expected values above 0, found {px}, {qty}")
    word(fields, Tag.COMM_TYPE, {ABSOLUTE: None})
    return qty, Price(px), number(fields, Tag.COMMISSION), word(fields, Tag.LAST_LIQUIDITY_IND, LIQUIDITIES)


def _cancel_reject(fields: Fields, venue: str) -> ExecutionReport:
    """Read a cancel reject; the message has no symbol, side or quantities, and none are invented.

    `symbol` is empty and the quantities are zero: only identity, `ord_status` and `reason` may be used. FIX has the
    venue write "rejected" for an order it does not know, which may be one long filled and forgotten: that comes as
    UNKNOWN, to be asked about.
    """
    reject = CXL_REJ_REASONS.get(fields.get(Tag.CXL_REJ_REASON, ""), Reject.CANCEL_REFUSED)
    status = word(fields, Tag.ORD_STATUS, ORD_STATUSES)
    return _bare(
        ClOrdId(text(fields, Tag.ORIG_CL_ORD_ID)),
        OrderState.UNKNOWN if reject is Reject.UNKNOWN_ORDER else status,
        venue=venue,
        order_id=text(fields, Tag.ORDER_ID),
        reason=_reason(fields, Tag.CXL_REJ_REASON),
        reject=reject,
        happened_ns=_happened(fields),
        exec_type=word(fields, Tag.CXL_REJ_RESPONSE_TO, CXL_RESPONSES),
        request_id=ClOrdId(text(fields, Tag.CL_ORD_ID)),
    )


def _bare(
    order: ClOrdId,
    status: OrderState,
    *,
    venue: str,
    order_id: str,
    reason: str | None,
    reject: Reject | None,
    happened_ns: int,
    exec_type: ExecType = ExecType.ORDER_STATUS,
    request_id: ClOrdId | None = None,
) -> ExecutionReport:
    return ExecutionReport(
        venue=venue,
        exec_id=None,
        cl_ord_id=order,
        order_id=order_id,
        exec_type=exec_type,
        ord_status=status,
        symbol="",
        side=Side.BUY,
        last_qty=Quantity(_ZERO),
        last_px=None,
        cum_qty=Quantity(_ZERO),
        leaves_qty=Quantity(_ZERO),
        avg_px=_ZERO,
        fee=Money(_ZERO),
        liquidity=None,
        reason=reason,
        unknown_order=False,
        happened_ns=happened_ns,
        request_id=request_id,
        reject=reject,
    )


def _happened(fields: Fields) -> int:
    """Read TransactTime as an instant of 64 bits: a report that could not be kept would come again for ever."""
    happened_ns = instant(fields, Tag.TRANSACT_TIME)
    if not 0 <= happened_ns <= INSTANT_MAX:
        found = fields[Tag.TRANSACT_TIME]
        raise VenueMistake(f"FIX message 35={fields[35]}, tag 60: expected the years 1970 to 2262, found {found!r}")
    return happened_ns


def _reason(fields: Fields, tag: Tag) -> str | None:
    value = fields.get(tag)
    return fields.get(Tag.TEXT) or (f"{tag.name}={value}" if value else None)
