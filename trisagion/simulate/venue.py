"""The bundled venue as a value: FIX messages in, FIX messages out; `play` moves time. No sockets, no clock, no files.

The same messages, plays and faults in the same order give the same answers to the last ExecID: whoever keeps a list of
them can rebuild the venue. Only what `changes` it need be kept; questions change nothing.

An order wants to trade as its ExecInst and TimeLimitsNow say: post-only, day or good till cancel (both stay), good till
date, immediate or cancel, fill or kill. A replacement changes price, quantity and end; how the order wants to trade it
keeps, whatever the request repeats.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

from trisagion.errors import VenueMistake
from trisagion.gateway.requests import party
from trisagion.gateway.words import (
    BUSINESS_MESSAGE_REJECT,
    CANCEL_DUPLICATE,
    CANCEL_TOO_LATE,
    CANCEL_UNKNOWN_ORDER,
    DAY,
    FILL_OR_KILL,
    GOOD_TILL_DATE,
    IMMEDIATE_OR_CANCEL,
    LIMIT,
    MARKET_DATA_REQUEST,
    NEW_ORDER_SINGLE,
    ORD_STATUSES,
    ORDER_CANCEL_REJECT,
    ORDER_CANCEL_REPLACE_REQUEST,
    ORDER_CANCEL_REQUEST,
    ORDER_MASS_CANCEL_REPORT,
    ORDER_MASS_CANCEL_REQUEST,
    ORDER_MASS_STATUS_REQUEST,
    ORDER_STATUS_REQUEST,
    PARTICIPATE_DONT_INITIATE,
    POSITION_REPORT,
    REQUEST_FOR_POSITIONS,
    SIDES,
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
from trisagion.orders.types import ExecType, Liquidity
from trisagion.simulate.faults import Faults, steps_of, value_of
from trisagion.simulate.matching import ChangeRefusal, Event, MatchingEngine, Refusal, Restatement
from trisagion.simulate.quotes import SNAPSHOT, Quotes
from trisagion.simulate.reports import (
    OTHER,
    fill_row,
    no_orders_report,
    order_row,
    report,
    status_report,
    unknown_report,
)
from trisagion.units import plain, whole_steps

_CXL_REJ_REASONS: Final[Mapping[str, str]] = {
    ChangeRefusal.UNKNOWN_ORDER: CANCEL_UNKNOWN_ORDER,
    ChangeRefusal.TOO_LATE: CANCEL_TOO_LATE,
    ChangeRefusal.DUPLICATE: CANCEL_DUPLICATE,
}
_GOOD_TILL_CANCEL: Final = "1"
_TIMES_IN_FORCE: Final = {
    kind: kind for kind in (DAY, _GOOD_TILL_CANCEL, IMMEDIATE_OR_CANCEL, FILL_OR_KILL, GOOD_TILL_DATE)
}
_OF_ONE_SYMBOL: Final = "1"
_ALL: Final = "7"
"""MassCancelRequestType(530), MassStatusReqType(585)."""

INSTANT_MAX_NS: Final = 2**62
"""Some time in 2116."""

_REASON_OTHER: Final = "0"
"""BusinessRejectReason(380)."""
_NOT_AVAILABLE: Final = "4"
NOT_AUTHORISED: Final = "6"
_CONDITIONALLY_REQUIRED_FIELD_MISSING: Final = "5"

_ORDERS_AND_CHANGES: Final = frozenset(
    {NEW_ORDER_SINGLE, ORDER_CANCEL_REQUEST, ORDER_CANCEL_REPLACE_REQUEST, ORDER_MASS_CANCEL_REQUEST}
)
_FILLS: Final = frozenset({ExecType.TRADE, Restatement.TRADE_CANCEL, Restatement.TRADE_CORRECT})

Answers: TypeAlias = tuple[Fields, ...]


class SimulatedVenue:
    """One venue with one tape for each instrument; accounts are told apart by Account(1)."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self._engine = MatchingEngine(tapes)
        self._instruments = self._engine.instruments
        self._faults = Faults()
        self._quotes = Quotes(self._instruments)
        self._now_ns = 0
        self._copied = 0

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
        kind = fields[Tag.MSG_TYPE]
        if kind == MARKET_DATA_REQUEST:
            return fields.get(Tag.SUBSCRIPTION_REQUEST_TYPE) != SNAPSHOT
        return kind in _ORDERS_AND_CHANGES

    def play(self, until_ns: int) -> Answers:
        """Play the tapes up to, not including, an instant; return the reports of what happened, then new prices."""
        reports = tuple(self._report(event) for event in self._engine.play(until_ns))
        self._now_ns = max(self._now_ns, until_ns)
        reports = self._faults.played(reports, self.played_ns)
        if self._faults.out(self.played_ns) or not len(self._quotes):
            return reports
        return (*reports, *self._quotes.moved(self._last()))

    def answer(self, fields: Fields) -> Answers:
        """Answer a message; one that lacks what it needs gets a BusinessMessageReject."""
        answers: dict[str, Callable[[Fields], Answers]] = {
            NEW_ORDER_SINGLE: self._new_order,
            ORDER_CANCEL_REQUEST: self._cancel,
            ORDER_CANCEL_REPLACE_REQUEST: self._replace,
            ORDER_MASS_CANCEL_REQUEST: self._mass_cancel,
            ORDER_STATUS_REQUEST: self._status,
            ORDER_MASS_STATUS_REQUEST: self._mass_status,
            REQUEST_FOR_POSITIONS: self._positions,
            MARKET_DATA_REQUEST: lambda asked: self._quotes.answer(asked, self._last(), self._now_ns),
        }
        if self._faults.out(self.played_ns):
            return (business_reject(fields, "OUTAGE", _NOT_AVAILABLE),)
        try:
            answer = word(fields, Tag.MSG_TYPE, answers)
            if fields[Tag.MSG_TYPE] not in _ORDERS_AND_CHANGES:
                return answer(fields)
            now_ns = _moment(fields, Tag.TRANSACT_TIME)
            if self._faults.too_fast(now_ns):
                return (business_reject(fields, "RATE_LIMIT", _REASON_OTHER),)
            reports = answer(fields)
        except VenueMistake as mistake:
            return (business_reject(fields, str(mistake)),)
        self._now_ns = max(self._now_ns, now_ns)
        return self._faults.answered(reports, self._now_ns)

    def fail(self, command: Mapping[str, Any]) -> Answers:
        """Make a mistake on command; return what is said about it.

        Parameters
        ----------
        command : dict
            `kind` and its arguments, quantities and prices as text:

            * `acknowledgements`: `lost`, `late` (shares), `late_s` (seconds of the tape), `seed`; trades are not lost.
            * `rate_limit`: `per_second`, messages in a second of TransactTime; 0 for none.
            * `outage`: `seconds` of the tape without answers or reports; what was to be told then is told after it.
            * `swallow`: `trades`; the reports of so many trades to come are lost on the session, never told again.
            * `repeat`: `exec_id`; the same report once more.
            * `bust`: `exec_id`. `correct`: `exec_id`, `px`, `qty`.
            * `fill`: `cl_ord_id`, `qty`, `liquidity` ("maker", "taker"); at the order's price, whatever its state and
              quantity: an over-fill, a fill after the cancel, a post-only order that took.

        Raises
        ------
        VenueMistake
            The command has no meaning here. Then nothing has changed.
        """
        kind = value_of(command, "kind", str)
        if kind == "acknowledgements":
            shares = {name: value_of(command, name, float) for name in ("lost", "late", "late_s")}
            self._faults.acknowledgements.share(**shares, seed=value_of(command, "seed", int))
        elif kind == "rate_limit":
            self._faults.rate_limit(value_of(command, "per_second", int))
        elif kind == "outage":
            self._faults.outage(value_of(command, "seconds", float), self.played_ns)
        elif kind == "swallow":
            self._faults.swallow(value_of(command, "trades", int))
        elif kind in {"repeat", "bust", "correct", "fill"}:
            return (self._report(self._wrong(kind, command)),)
        else:
            raise VenueMistake(f"expected a kind of fault that there is, found {kind!r}")
        return ()

    def copies(self) -> Answers:
        """Return the report of every event since the last call, as a drop copy tells it.

        They are the books', not the session's: no fault of the session loses, delays or repeats one.
        """
        events = self._engine.events[self._copied :]
        self._copied += len(events)
        return tuple({**self._report(event), Tag.COPY_MSG_INDICATOR: "Y"} for event in events)

    def disconnected(self, *, cancel: bool) -> Answers:
        """End the session's subscriptions and, if so wanted, cancel its orders."""
        self._quotes.clear()
        orders = self._engine.working() if cancel else ()
        return tuple(self._report(event) for order in orders for event in self._cancelled(order.cl_ord_id))

    def disconnection_changes(self, *, cancel: bool) -> bool:
        """Tell whether the end of the session would change the venue."""
        return bool(len(self._quotes) or (cancel and self.working))

    def snapshot(self) -> Mapping[str, object]:
        """Return the venue's own books as JSON values, decimals as text: what a test holds against the other side's."""
        orders = self._engine.orders()
        owners = {order.owner for order in orders}
        net = {
            symbol: sum(self._engine.positions(owner)[symbol] for owner in owners) * instrument.lot_size
            for symbol, instrument in self._instruments.items()
        }
        return {
            "played_ns": self.played_ns,
            "executions": self.executions,
            "positions": {symbol: plain(Decimal(qty)) for symbol, qty in net.items()},
            "orders": [order_row(order, self._instruments.get(order.symbol)) for order in orders],
            "working": [order_row(order, self._instruments[order.symbol]) for order in self._engine.working()],
            "fills": [
                fill_row(event, self._instruments[event.order.symbol])
                for event in self._engine.events
                if event.exec_type in _FILLS
            ],
        }

    def _wrong(self, kind: str, command: Mapping[str, Any]) -> Event:
        if kind == "fill":
            order = self._engine.status(value_of(command, "cl_ord_id", str))
            if order is None or order.symbol not in self._instruments:
                raise VenueMistake(f"expected an order that was accepted, found {command['cl_ord_id']!r}")
            lots = steps_of(command, "qty", self._instruments[order.symbol].lot_size)
            liquidity = {str(kind): kind for kind in Liquidity}.get(value_of(command, "liquidity", str))
            if liquidity is None:
                raise VenueMistake(f"expected liquidity as maker or taker, found {command['liquidity']!r}")
            return self._engine.fill_anyway(order.cl_ord_id, lots=lots, liquidity=liquidity, now_ns=self._now_ns)
        exec_id = value_of(command, "exec_id", str)
        if kind == "bust":
            return self._engine.bust(exec_id, self._now_ns)
        events = {event.exec_id: event for event in self._engine.events}
        if exec_id not in events:
            raise VenueMistake(f"expected an ExecID of ours, found {exec_id!r}")
        if kind == "repeat":
            return events[exec_id]
        if events[exec_id].liquidity is None:
            raise VenueMistake(f"expected a trade that stands, found {exec_id!r}")
        instrument = self._instruments[events[exec_id].order.symbol]
        price_ticks, lots = steps_of(command, "px", instrument.tick_size), steps_of(command, "qty", instrument.lot_size)
        return self._engine.correct(exec_id, price_ticks=price_ticks, lots=lots, now_ns=self._now_ns)

    def _new_order(self, fields: Fields) -> Answers:
        cl_ord_id, symbol = text(fields, Tag.CL_ORD_ID), text(fields, Tag.SYMBOL)
        owner, side = text(fields, Tag.ACCOUNT), word(fields, Tag.SIDE, SIDES)
        word(fields, Tag.ORD_TYPE, {LIMIT: None})
        qty, px, now_ns = number(fields, Tag.ORDER_QTY), number(fields, Tag.PRICE), _moment(fields, Tag.TRANSACT_TIME)
        time_in_force, expire_ns = _time_in_force(fields)
        form = _form(self._instruments.get(symbol), qty, px)
        if isinstance(form, Refusal):
            events = self._engine.refuse(
                cl_ord_id=cl_ord_id, owner=owner, symbol=symbol, side=side, reason=form, now_ns=now_ns
            )
        else:
            price_ticks, lots = form
            events = self._engine.submit(
                cl_ord_id=cl_ord_id,
                owner=owner,
                symbol=symbol,
                side=side,
                price_ticks=price_ticks,
                lots=lots,
                post_only=PARTICIPATE_DONT_INITIATE in fields.get(Tag.EXEC_INST, "").split(),
                immediate_or_cancel=time_in_force == IMMEDIATE_OR_CANCEL,
                fill_or_kill=time_in_force == FILL_OR_KILL,
                expire_ns=expire_ns,
                now_ns=now_ns,
            )
        return tuple(self._report(event) for event in events)

    def _cancel(self, fields: Fields) -> Answers:
        request, target = text(fields, Tag.CL_ORD_ID), text(fields, Tag.ORIG_CL_ORD_ID)
        now_ns = _moment(fields, Tag.TRANSACT_TIME)
        if (refusal := self._engine.change_refusal(target)) is not None:
            return (self._cancel_reject(fields, refusal, "1"),)
        names: Fields = {Tag.CL_ORD_ID: request, Tag.ORIG_CL_ORD_ID: target}
        return tuple({**self._report(event), **names} for event in self._engine.cancel(target, now_ns))

    def _replace(self, fields: Fields) -> Answers:
        request, target = text(fields, Tag.CL_ORD_ID), text(fields, Tag.ORIG_CL_ORD_ID)
        word(fields, Tag.ORD_TYPE, {LIMIT: None})
        symbol, side = text(fields, Tag.SYMBOL), word(fields, Tag.SIDE, SIDES)
        qty, px, now_ns = number(fields, Tag.ORDER_QTY), number(fields, Tag.PRICE), _moment(fields, Tag.TRANSACT_TIME)
        _, expire_ns = _time_in_force(fields)
        result: tuple[Event, ...] | ChangeRefusal | Refusal | None = self._engine.change_refusal(target, request)
        order = self._engine.status(target)
        if order is None or (order.symbol, order.side) != (symbol, side):
            result = ChangeRefusal.UNKNOWN_ORDER
        elif result is None:
            form = _form(self._instruments[symbol], qty, px)
            result = (
                form
                if isinstance(form, Refusal)
                else self._engine.replace(
                    cl_ord_id=request,
                    orig_cl_ord_id=target,
                    price_ticks=form[0],
                    lots=form[1],
                    expire_ns=expire_ns,
                    now_ns=now_ns,
                )
            )
        if not isinstance(result, tuple):
            return (self._cancel_reject(fields, result, "2"),)
        return tuple(self._report(event) for event in result)

    def _cancel_reject(self, fields: Fields, refusal: ChangeRefusal | Refusal, response_to: str) -> Fields:
        target = fields[Tag.ORIG_CL_ORD_ID]
        order = None if refusal is ChangeRefusal.UNKNOWN_ORDER else self._engine.status(target)
        return {
            Tag.MSG_TYPE: ORDER_CANCEL_REJECT,
            Tag.CL_ORD_ID: fields[Tag.CL_ORD_ID],
            Tag.ORIG_CL_ORD_ID: target,
            Tag.ORDER_ID: order.order_id if order else "NONE",
            Tag.ORD_STATUS: code(ORD_STATUSES, order.state if order else OrderState.REJECTED),
            Tag.CXL_REJ_RESPONSE_TO: response_to,
            Tag.CXL_REJ_REASON: _CXL_REJ_REASONS.get(refusal, OTHER),
            Tag.TEXT: refusal,
            Tag.TRANSACT_TIME: timestamp(max(self._now_ns, _moment(fields, Tag.TRANSACT_TIME))),
        }

    def _mass_cancel(self, fields: Fields) -> Answers:
        """Cancel all working orders of the session, or of one symbol; FIX 4.4 gives the request no account."""
        request, now_ns = text(fields, Tag.CL_ORD_ID), _moment(fields, Tag.TRANSACT_TIME)
        kind = word(fields, Tag.MASS_CANCEL_REQUEST_TYPE, {_OF_ONE_SYMBOL: _OF_ONE_SYMBOL, _ALL: _ALL})
        symbols = {text(fields, Tag.SYMBOL)} if kind == _OF_ONE_SYMBOL else set(self._instruments)
        self._now_ns = max(self._now_ns, now_ns)
        orders = [order for order in self._engine.working() if order.symbol in symbols]
        reports = [
            {**self._report(event), Tag.CL_ORD_ID: request, Tag.ORIG_CL_ORD_ID: order.cl_ord_id}
            for order in orders
            for event in self._cancelled(order.cl_ord_id)
        ]
        answer: Fields = {
            Tag.MSG_TYPE: ORDER_MASS_CANCEL_REPORT,
            Tag.CL_ORD_ID: request,
            Tag.ORDER_ID: "NONE",
            Tag.MASS_CANCEL_REQUEST_TYPE: kind,
            Tag.MASS_CANCEL_RESPONSE: kind,
            Tag.TOTAL_AFFECTED_ORDERS: str(len(reports)),
            Tag.TRANSACT_TIME: timestamp(self._now_ns),
        }
        return (answer, *reports)

    def _cancelled(self, cl_ord_id: str) -> tuple[Event, ...]:
        return self._engine.cancel(cl_ord_id, self._now_ns)

    def _status(self, fields: Fields) -> Answers:
        order = self._engine.status(text(fields, Tag.CL_ORD_ID))
        if order is not None:
            return (status_report(order, self._instruments.get(order.symbol), self._now_ns),)
        asked, symbol, side = (text(fields, tag) for tag in (Tag.CL_ORD_ID, Tag.SYMBOL, Tag.SIDE))
        return (unknown_report(asked, symbol, side, self._now_ns),)

    def _mass_status(self, fields: Fields) -> Answers:
        """Report all working orders, of one symbol or account if the question says so."""
        request = text(fields, Tag.MASS_STATUS_REQ_ID)
        kind = word(fields, Tag.MASS_STATUS_REQ_TYPE, {_OF_ONE_SYMBOL: _OF_ONE_SYMBOL, _ALL: _ALL})
        symbol = text(fields, Tag.SYMBOL) if kind == _OF_ONE_SYMBOL else None
        account = fields.get(Tag.ACCOUNT)
        orders = [
            order
            for order in self._engine.working()
            if symbol in {None, order.symbol} and account in {None, order.owner}
        ]
        reports = [status_report(order, self._instruments[order.symbol], self._now_ns) for order in orders]
        return tuple(
            {
                **one,
                Tag.MASS_STATUS_REQ_ID: request,
                Tag.TOT_NUM_REPORTS: str(len(orders)),
                Tag.LAST_RPT_REQUESTED: "Y" if count >= len(orders) else "N",
            }
            for count, one in enumerate(reports or [no_orders_report(self._now_ns)], start=1)
        )

    def _positions(self, fields: Fields) -> Answers:
        request, account = text(fields, Tag.POS_REQ_ID), text(fields, Tag.ACCOUNT)
        positions = self._engine.positions(account)
        answers = []
        for count, (symbol, lots) in enumerate(positions.items(), start=1):
            instrument = self._instruments[symbol]
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

    def _last(self) -> Mapping[str, int | None]:
        return {symbol: self._engine.last_ticks(symbol) for symbol in self._instruments}

    def _report(self, event: Event) -> Fields:
        return report(event, self._instruments.get(event.order.symbol))


def business_reject(fields: Fields, why: str, reason: str = _CONDITIONALLY_REQUIRED_FIELD_MISSING) -> Fields:
    """Write the BusinessMessageReject of a message."""
    return {
        Tag.MSG_TYPE: BUSINESS_MESSAGE_REJECT,
        Tag.REF_SEQ_NUM: fields.get(Tag.MSG_SEQ_NUM, "0"),
        Tag.REF_MSG_TYPE: fields[Tag.MSG_TYPE],
        Tag.BUSINESS_REJECT_REASON: reason,
        Tag.TEXT: why,
    }


def _time_in_force(fields: Fields) -> tuple[str, int]:
    """Return TimeLimitsNow, a day if there is none, and the end of the order in ns, 0 for never."""
    kind = word(fields, Tag.TIME_IN_FORCE, _TIMES_IN_FORCE) if Tag.TIME_IN_FORCE in fields else DAY
    return kind, _moment(fields, Tag.EXPIRE_TIME) if kind == GOOD_TILL_DATE else 0


def _moment(fields: Fields, tag: Tag) -> int:
    """Read an instant that the venue's 64 bits can hold, with room for what is reckoned from it."""
    value = instant(fields, tag)
    if not 0 < value <= INSTANT_MAX_NS:
        raise VenueMistake(f"tag {tag}: expected an instant from 1970 to {timestamp(INSTANT_MAX_NS)}, found {value} ns")
    return value


def _form(instrument: Instrument | None, qty: Decimal, px: Decimal) -> tuple[int, int] | Refusal:
    """Return price and quantity in ticks and lots, or why they have no such form."""
    if instrument is None:
        return Refusal.UNKNOWN_SYMBOL
    lots, price_ticks = whole_steps(qty, instrument.lot_size), whole_steps(px, instrument.tick_size)
    if lots is None:
        return Refusal.BAD_QUANTITY
    return Refusal.BAD_PRICE if price_ticks is None else (price_ticks, lots)
