"""What we say to a venue. Identity and instants come in with the order; nothing is made up here."""

from trisagion.errors import OurMistake
from trisagion.gateway.words import (
    ALL_ORDERS,
    DAY,
    IMMEDIATE_OR_CANCEL,
    LIMIT,
    NEW_ORDER_SINGLE,
    ORDER_CANCEL_REPLACE_REQUEST,
    ORDER_CANCEL_REQUEST,
    ORDER_MASS_STATUS_REQUEST,
    ORDER_STATUS_REQUEST,
    PARTICIPATE_DONT_INITIATE,
    REQUEST_FOR_POSITIONS,
    SIDES,
    Fields,
    Tag,
    business_date,
    code,
    timestamp,
)
from trisagion.ids import ClOrdId, cancel_cl_ord_id
from trisagion.orders.types import Order, Side
from trisagion.units import plain


def new_order(order: Order, *, account: str, now_ns: int) -> Fields:
    """Write a NewOrderSingle: a post-only day order, or immediate-or-cancel when `order.taker`."""
    if order.price is None or order.qty <= 0:
        raise OurMistake(f"order {order.cl_ord_id}: expected price and quantity, found {order.price}, {order.qty}")
    manner: Fields = (
        {Tag.TIME_IN_FORCE: IMMEDIATE_OR_CANCEL}
        if order.taker
        else {Tag.TIME_IN_FORCE: DAY, Tag.EXEC_INST: PARTICIPATE_DONT_INITIATE}
    )
    return {
        Tag.MSG_TYPE: NEW_ORDER_SINGLE,
        Tag.CL_ORD_ID: order.cl_ord_id,
        Tag.ACCOUNT: account,
        **_which(order),
        Tag.ORDER_QTY: plain(order.qty),
        Tag.ORD_TYPE: LIMIT,
        Tag.PRICE: plain(order.price),
        **manner,
        Tag.TRANSACT_TIME: timestamp(now_ns),
    }


def cancel_request(order: Order, *, account: str, now_ns: int) -> Fields:
    """Write an OrderCancelRequest; asked again it is the same request, with the same ClOrdID."""
    return {
        Tag.MSG_TYPE: ORDER_CANCEL_REQUEST,
        Tag.CL_ORD_ID: cancel_cl_ord_id(order.venue_id),
        Tag.ORIG_CL_ORD_ID: order.venue_id,
        Tag.ACCOUNT: account,
        **_which(order),
        Tag.ORDER_QTY: plain(order.qty),
        Tag.TRANSACT_TIME: timestamp(now_ns),
    }


def replace_request(order: Order, *, account: str, now_ns: int) -> Fields:
    """Write an OrderCancelReplaceRequest for what the order is to become; it stays a post-only day order."""
    wanted_qty, wanted_price, asked = order.wanted_qty, order.wanted_price, order.asked_id
    if asked is None or wanted_qty is None or wanted_price is None or wanted_qty <= order.cum_qty or order.taker:
        raise OurMistake(
            f"order {order.cl_ord_id}: expected a maker's replace above {order.cum_qty} filled, found {wanted_qty} at "
            f"{wanted_price} as {asked}"
        )
    return {
        Tag.MSG_TYPE: ORDER_CANCEL_REPLACE_REQUEST,
        Tag.CL_ORD_ID: asked,
        Tag.ORIG_CL_ORD_ID: order.venue_id,
        Tag.ACCOUNT: account,
        **_which(order),
        Tag.ORDER_QTY: plain(wanted_qty),
        Tag.ORD_TYPE: LIMIT,
        Tag.PRICE: plain(wanted_price),
        Tag.TIME_IN_FORCE: DAY,
        Tag.EXEC_INST: PARTICIPATE_DONT_INITIATE,
        Tag.TRANSACT_TIME: timestamp(now_ns),
    }


def status_request(order: Order, *, account: str, name: ClOrdId | None = None) -> Fields:
    """Write an OrderStatusRequest, for the ClOrdID in force unless another is named."""
    return {
        Tag.MSG_TYPE: ORDER_STATUS_REQUEST,
        Tag.CL_ORD_ID: name or order.venue_id,
        Tag.ACCOUNT: account,
        **_which(order),
    }


def status_requests(order: Order, *, account: str) -> tuple[Fields, ...]:
    """Write an OrderStatusRequest for each ClOrdID under which the venue may hold the order.

    That of an unanswered replace comes first: once it is known whether there is such an order, the answer about the
    other one says where things stand.
    """
    names = (order.venue_id,) if order.asked_id is None else (order.asked_id, order.venue_id)
    return tuple(status_request(order, account=account, name=name) for name in names)


def unknown_request(name: ClOrdId, *, account: str) -> Fields:
    """Write an OrderStatusRequest for an order that never was; FIX has "[N/A]" stand where there is no symbol."""
    return {
        Tag.MSG_TYPE: ORDER_STATUS_REQUEST,
        Tag.CL_ORD_ID: name,
        Tag.ACCOUNT: account,
        Tag.SYMBOL: "[N/A]",
        Tag.SIDE: code(SIDES, Side.BUY),
    }


def mass_status_request(request_id: str, *, account: str) -> Fields:
    """Write an OrderMassStatusRequest for all working orders of the account."""
    return {
        Tag.MSG_TYPE: ORDER_MASS_STATUS_REQUEST,
        Tag.MASS_STATUS_REQ_ID: request_id,
        Tag.MASS_STATUS_REQ_TYPE: ALL_ORDERS,
        Tag.ACCOUNT: account,
    }


def positions_request(request_id: str, *, account: str, now_ns: int) -> Fields:
    """Write a RequestForPositions for everything in the account."""
    return {
        Tag.MSG_TYPE: REQUEST_FOR_POSITIONS,
        Tag.POS_REQ_ID: request_id,
        Tag.POS_REQ_TYPE: "0",
        **party(account),
        Tag.CLEARING_BUSINESS_DATE: business_date(now_ns),
        Tag.TRANSACT_TIME: timestamp(now_ns),
    }


def party(account: str) -> Fields:
    """Write whose positions are meant: the customer account, by the venue's own name for it."""
    return {
        Tag.NO_PARTY_IDS: "1",
        Tag.PARTY_ID: account,
        Tag.PARTY_ID_SOURCE: "D",
        Tag.PARTY_ROLE: "24",
        Tag.ACCOUNT: account,
        Tag.ACCOUNT_TYPE: "1",
    }


def _which(order: Order) -> Fields:
    return {Tag.SYMBOL: order.symbol, Tag.SIDE: code(SIDES, order.side)}
