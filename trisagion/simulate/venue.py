"""The bundled venue as a value: FIX messages in, FIX messages out; `play` moves time. No sockets, no clock, no files.

The same messages and plays in the same order give the same answers to the last ExecID: whoever keeps a list of them can
rebuild the venue. Only what `changes` it need be kept; questions change nothing.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from trisagion.errors import VenueMistake
from trisagion.gateway.requests import party
from trisagion.gateway.words import (
    ABSOLUTE,
    BUSINESS_MESSAGE_REJECT,
    CANCEL_TOO_LATE,
    CANCEL_UNKNOWN_ORDER,
    DUPLICATE_ORDER,
    EXEC_TYPES,
    EXECUTION_REPORT,
    IMMEDIATE_OR_CANCEL,
    LIMIT,
    LIQUIDITIES,
    NEW_ORDER_SINGLE,
    ORD_STATUSES,
    ORDER_CANCEL_REJECT,
    ORDER_CANCEL_REQUEST,
    ORDER_STATUS_REQUEST,
    PARTICIPATE_DONT_INITIATE,
    POSITION_REPORT,
    REQUEST_FOR_POSITIONS,
    SIDES,
    UNKNOWN_ORDER,
    Fields,
    Tag,
    business_date,
    code,
    instant,
    number,
    text,
    timestamp,
    word,
)
from trisagion.market.types import Instrument, Tape
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType
from trisagion.simulate.matching import Event, MatchingEngine, Refusal, VenueOrder
from trisagion.units import plain

_DIGITS_18: Final = Context(prec=18, rounding=ROUND_HALF_EVEN)
"""AvgPx has no exact decimal; 18 significant digits are what our own side accepts."""

_ORD_REJ_REASONS: Final[Mapping[str | None, str]] = {
    Refusal.DUPLICATE: DUPLICATE_ORDER,
    Refusal.UNKNOWN_SYMBOL: "1",
    Refusal.BAD_QUANTITY: "13",
}
_OTHER: Final = "99"
_CONDITIONALLY_REQUIRED_FIELD_MISSING: Final = "5"


class SimulatedVenue:
    """One venue with one tape for each instrument; accounts are told apart by Account(1)."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self._engine = MatchingEngine(tapes)
        self._now_ns = 0

    @property
    def played_ns(self) -> int:
        """The instant up to which the tapes were played."""
        return self._engine.played_ns

    @property
    def executions(self) -> int:
        """How many reports with an ExecID of their own were ever made."""
        return len(self._engine.events)

    @property
    def working(self) -> int:
        """How many orders rest."""
        return len(self._engine.working())

    def changes(self, fields: Fields) -> bool:
        """Tell whether a message may change the venue."""
        return fields[Tag.MSG_TYPE] in {NEW_ORDER_SINGLE, ORDER_CANCEL_REQUEST}

    def play(self, until_ns: int) -> tuple[Fields, ...]:
        """Play the tapes up to, not including, an instant; return the reports of the fills."""
        reports = tuple(self._report(event) for event in self._engine.play(until_ns))
        self._now_ns = max(self._now_ns, until_ns)
        return reports

    def answer(self, fields: Fields) -> tuple[Fields, ...]:
        """Answer a message; one that lacks what it needs gets a BusinessMessageReject."""
        answers = {
            NEW_ORDER_SINGLE: self._new_order,
            ORDER_CANCEL_REQUEST: self._cancel,
            ORDER_STATUS_REQUEST: self._status,
            REQUEST_FOR_POSITIONS: self._positions,
        }
        try:
            return word(fields, Tag.MSG_TYPE, answers)(fields)
        except VenueMistake as mistake:
            return (_business_reject(fields, str(mistake)),)

    def snapshot(self) -> Mapping[str, object]:
        """Return the venue's own books as JSON values, decimals as text: what a test holds against the other side's."""
        orders = [self._order_row(order) for order in self._engine.orders()]
        owners = {order.owner for order in self._engine.orders()}
        net = {
            symbol: sum(self._engine.positions(owner)[symbol] for owner in owners) * instrument.lot_size
            for symbol, instrument in self._engine.instruments.items()
        }
        return {
            "played_ns": self.played_ns,
            "executions": self.executions,
            "positions": {symbol: plain(Decimal(qty)) for symbol, qty in net.items()},
            "orders": orders,
            "working": [self._order_row(order) for order in self._engine.working()],
            "fills": [self._fill_row(event) for event in self._engine.events if event.exec_type is ExecType.TRADE],
        }

    def _new_order(self, fields: Fields) -> tuple[Fields, ...]:
        cl_ord_id, symbol = text(fields, Tag.CL_ORD_ID), text(fields, Tag.SYMBOL)
        owner, side = text(fields, Tag.ACCOUNT), word(fields, Tag.SIDE, SIDES)
        word(fields, Tag.ORD_TYPE, {LIMIT: None})
        qty, px, now_ns = number(fields, Tag.ORDER_QTY), number(fields, Tag.PRICE), instant(fields, Tag.TRANSACT_TIME)
        self._now_ns = max(self._now_ns, now_ns)
        instrument = self._engine.instruments.get(symbol)
        if refusal := _no_form(instrument, qty, px):
            events = self._engine.refuse(
                cl_ord_id=cl_ord_id, owner=owner, symbol=symbol, side=side, reason=refusal, now_ns=now_ns
            )
        else:
            assert instrument is not None
            events = self._engine.submit(
                cl_ord_id=cl_ord_id,
                owner=owner,
                symbol=symbol,
                side=side,
                price_ticks=int(px / instrument.tick_size),
                lots=int(qty / instrument.lot_size),
                post_only=PARTICIPATE_DONT_INITIATE in fields.get(Tag.EXEC_INST, "").split(),
                immediate_or_cancel=fields.get(Tag.TIME_IN_FORCE) == IMMEDIATE_OR_CANCEL,
                now_ns=now_ns,
            )
        return tuple(self._report(event) for event in events)

    def _cancel(self, fields: Fields) -> tuple[Fields, ...]:
        request, target = text(fields, Tag.CL_ORD_ID), text(fields, Tag.ORIG_CL_ORD_ID)
        now_ns = instant(fields, Tag.TRANSACT_TIME)
        self._now_ns = max(self._now_ns, now_ns)
        names: Fields = {Tag.CL_ORD_ID: request, Tag.ORIG_CL_ORD_ID: target}
        if events := self._engine.cancel(target, now_ns):
            return tuple({**self._report(event), **names} for event in events)
        order = self._engine.status(target)
        return (
            {
                Tag.MSG_TYPE: ORDER_CANCEL_REJECT,
                **names,
                Tag.ORDER_ID: order.order_id if order else "NONE",
                Tag.ORD_STATUS: code(ORD_STATUSES, order.state if order else OrderState.REJECTED),
                Tag.CXL_REJ_RESPONSE_TO: "1",
                Tag.CXL_REJ_REASON: CANCEL_TOO_LATE if order else CANCEL_UNKNOWN_ORDER,
                Tag.TEXT: "TOO_LATE" if order else "UNKNOWN_ORDER",
                Tag.TRANSACT_TIME: timestamp(self._now_ns),
            },
        )

    def _status(self, fields: Fields) -> tuple[Fields, ...]:
        answer: Fields = {
            Tag.MSG_TYPE: EXECUTION_REPORT,
            Tag.EXEC_ID: "0",
            Tag.EXEC_TYPE: code(EXEC_TYPES, ExecType.ORDER_STATUS),
            Tag.TRANSACT_TIME: timestamp(self._now_ns),
        }
        order = self._engine.status(text(fields, Tag.CL_ORD_ID))
        if order is not None:
            return ({**answer, **self._order(order)},)
        unknown: Fields = {
            Tag.CL_ORD_ID: text(fields, Tag.CL_ORD_ID),
            Tag.ORDER_ID: "NONE",
            Tag.ORD_STATUS: code(ORD_STATUSES, OrderState.REJECTED),
            Tag.ORD_REJ_REASON: UNKNOWN_ORDER,
            Tag.SYMBOL: text(fields, Tag.SYMBOL),
            Tag.SIDE: text(fields, Tag.SIDE),
            Tag.CUM_QTY: "0",
            Tag.LEAVES_QTY: "0",
            Tag.AVG_PX: "0",
            Tag.TEXT: "UNKNOWN_ORDER",
        }
        return ({**answer, **unknown},)

    def _positions(self, fields: Fields) -> tuple[Fields, ...]:
        request, account = text(fields, Tag.POS_REQ_ID), text(fields, Tag.ACCOUNT)
        positions = self._engine.positions(account)
        answers = []
        for count, (symbol, lots) in enumerate(positions.items(), start=1):
            instrument = self._engine.instruments[symbol]
            qty = lots * instrument.lot_size
            settlement = plain((self._engine.last_ticks(symbol) or 0) * instrument.tick_size)
            answers.append(
                {
                    Tag.MSG_TYPE: POSITION_REPORT,
                    Tag.POS_MAINT_RPT_ID: f"{request}-{count}",
                    Tag.POS_REQ_ID: request,
                    Tag.TOTAL_NUM_POS_REPORTS: str(len(positions)),
                    Tag.POS_REQ_RESULT: "0",
                    Tag.CLEARING_BUSINESS_DATE: business_date(self._now_ns),
                    **party(account),
                    Tag.SYMBOL: symbol,
                    Tag.SETTL_PRICE: settlement,
                    Tag.SETTL_PRICE_TYPE: "2",
                    Tag.PRIOR_SETTL_PRICE: settlement,
                    Tag.NO_POSITIONS: "1",
                    Tag.POS_TYPE: "TQ",
                    Tag.LONG_QTY: plain(max(qty, Decimal(0))),
                    Tag.SHORT_QTY: plain(max(-qty, Decimal(0))),
                }
            )
        return tuple(answers)

    def _report(self, event: Event) -> Fields:
        trade: Fields = {}
        if event.liquidity is not None:
            instrument = self._engine.instruments[event.order.symbol]
            trade = {
                Tag.LAST_QTY: plain(event.last_lots * instrument.lot_size),
                Tag.LAST_PX: plain(event.last_ticks * instrument.tick_size),
                Tag.COMMISSION: plain(event.fee),
                Tag.COMM_TYPE: ABSOLUTE,
                Tag.LAST_LIQUIDITY_IND: code(LIQUIDITIES, event.liquidity),
            }
        why: Fields = {}
        if event.reason is not None:
            why = {Tag.TEXT: event.reason}
        if event.exec_type is ExecType.REJECTED:
            why = {**why, Tag.ORD_REJ_REASON: _ORD_REJ_REASONS.get(event.reason, _OTHER)}
        return {
            Tag.MSG_TYPE: EXECUTION_REPORT,
            Tag.EXEC_ID: event.exec_id,
            Tag.EXEC_TYPE: code(EXEC_TYPES, event.exec_type),
            **self._order(event.order),
            **trade,
            **why,
            Tag.TRANSACT_TIME: timestamp(event.happened_ns),
        }

    def _order(self, order: VenueOrder) -> Fields:
        shared: Fields = {
            Tag.ORDER_ID: order.order_id,
            Tag.CL_ORD_ID: order.cl_ord_id,
            Tag.ACCOUNT: order.owner,
            Tag.SYMBOL: order.symbol,
            Tag.SIDE: code(SIDES, order.side),
            Tag.ORD_STATUS: code(ORD_STATUSES, order.state),
        }
        instrument = self._engine.instruments.get(order.symbol)
        if instrument is None or not order.lots:
            return {**shared, Tag.CUM_QTY: "0", Tag.LEAVES_QTY: "0", Tag.AVG_PX: "0"}
        return {
            **shared,
            Tag.ORDER_QTY: plain(order.lots * instrument.lot_size),
            Tag.ORD_TYPE: LIMIT,
            Tag.PRICE: plain(order.price_ticks * instrument.tick_size),
            Tag.CUM_QTY: plain(order.cum_lots * instrument.lot_size),
            Tag.LEAVES_QTY: plain(order.leaves_lots * instrument.lot_size),
            Tag.AVG_PX: plain(_average_price(order, instrument)),
        }

    def _order_row(self, order: VenueOrder) -> Mapping[str, str]:
        fields = self._order(order)
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

    def _fill_row(self, event: Event) -> Mapping[str, str | int]:
        fields = self._report(event)
        assert event.liquidity is not None
        return {
            "exec_id": event.exec_id,
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


def _no_form(instrument: Instrument | None, qty: Decimal, px: Decimal) -> Refusal | None:
    if instrument is None:
        return Refusal.UNKNOWN_SYMBOL
    if qty % instrument.lot_size:
        return Refusal.BAD_QUANTITY
    return Refusal.BAD_PRICE if px % instrument.tick_size else None


def _average_price(order: VenueOrder, instrument: Instrument) -> Decimal:
    if not order.cum_lots:
        return Decimal(0)
    return _DIGITS_18.divide(order.value * instrument.tick_size, Decimal(order.cum_lots))


def _business_reject(fields: Fields, why: str) -> Fields:
    return {
        Tag.MSG_TYPE: BUSINESS_MESSAGE_REJECT,
        Tag.REF_SEQ_NUM: fields.get(Tag.MSG_SEQ_NUM, "0"),
        Tag.REF_MSG_TYPE: fields[Tag.MSG_TYPE],
        Tag.BUSINESS_REJECT_REASON: _CONDITIONALLY_REQUIRED_FIELD_MISSING,
        Tag.TEXT: why,
    }
