"""The venue's books and its memory: who sent which order, what became of it, and what everybody owns.

The rules are those of the kernel, `ext.matching`, whose plain twin tells them in words: price-time priority between the
orders, queues and depth estimated from a tape of real trades, an owner never trades with itself. Here they get names:
ClOrdIDs, accounts, symbols, money. All numbers are integers of ticks, lots and nanoseconds; money is exact. The same
commands give the same events, identifiers included.

A replaced order has the name of the replacement; by its old names it can be asked about, and nothing else.

Venues make mistakes, and this one makes them on command: a trade is busted or corrected, or happens where none may.
A bust puts its lots back to work if the order still works; an order that is done stays as it is, whatever its sums say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np

from ext.matching import VALUE_MAX, Column, Happening, Kind, Manner, Matcher, Message, Reason, State
from trisagion.clock import MINUTE_NS
from trisagion.errors import DataError, OurMistake, VenueMistake
from trisagion.market.types import Instrument, Tape
from trisagion.orders.state import TERMINAL, OrderState
from trisagion.orders.types import ExecType, Liquidity, Side
from trisagion.units import Money, Price, Quantity, notional, round_money

QUEUE_WINDOW_NS: Final = MINUTE_NS
"""How far back the tape is read for queue and depth. Our choice: the interval of the strategy's bars."""


class Refusal(StrEnum):
    """Why an order is not accepted, in descending precedence."""

    DUPLICATE = "DUPLICATE"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    BAD_QUANTITY = "BAD_QUANTITY"
    BAD_PRICE = "BAD_PRICE"
    BAD_INSTRUCTIONS = "BAD_INSTRUCTIONS"
    POST_ONLY_WOULD_CROSS = "POST_ONLY_WOULD_CROSS"


class ChangeRefusal(StrEnum):
    """Why an order is not cancelled or replaced, in descending precedence; a replacement may have a `Refusal` too."""

    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    TOO_LATE = "TOO_LATE"
    DUPLICATE = "DUPLICATE"


class Restatement(StrEnum):
    """What an execution report may report beyond `ExecType`; a bust or correction names the trade it is about."""

    REPLACED = "replaced"
    TRADE_CANCEL = "trade_cancel"
    TRADE_CORRECT = "trade_correct"


IOC_REMAINDER: Final = "IOC_REMAINDER"
FOK_UNFILLED: Final = "FOK_UNFILLED"

_NO_MONEY: Final = Money(Decimal(0))
_STATES: Final = {
    State.NEW: OrderState.NEW,
    State.PARTIALLY_FILLED: OrderState.PARTIALLY_FILLED,
    State.FILLED: OrderState.FILLED,
    State.CANCELED: OrderState.CANCELED,
    State.REJECTED: OrderState.REJECTED,
    State.EXPIRED: OrderState.EXPIRED,
}
_EXEC_TYPES: Final[dict[int, "ExecType | Restatement"]] = {
    Happening.NEW: ExecType.NEW,
    Happening.REJECTED: ExecType.REJECTED,
    Happening.TRADE: ExecType.TRADE,
    Happening.CANCELED: ExecType.CANCELED,
    Happening.EXPIRED: ExecType.EXPIRED,
    Happening.REPLACED: Restatement.REPLACED,
}
_REASONS: Final[dict[int, str]] = {
    Reason.BAD_QUANTITY: Refusal.BAD_QUANTITY,
    Reason.BAD_PRICE: Refusal.BAD_PRICE,
    Reason.BAD_INSTRUCTIONS: Refusal.BAD_INSTRUCTIONS,
    Reason.POST_ONLY_WOULD_CROSS: Refusal.POST_ONLY_WOULD_CROSS,
    Reason.IOC_REMAINDER: IOC_REMAINDER,
    Reason.FOK_UNFILLED: FOK_UNFILLED,
}

_Row: TypeAlias = Sequence[int]


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue knows it after the last event; `value` is Σ ticks·lots over its fills."""

    number: int
    cl_ord_id: str
    owner: str
    symbol: str
    side: Side
    price_ticks: int
    lots: int
    arrived_ns: int
    state: OrderState
    cum_lots: int = 0
    value: int = 0

    @property
    def order_id(self) -> str:
        """The venue's name for it."""
        return f"O{self.number}"

    @property
    def leaves_lots(self) -> int:
        """What may still be filled; nothing once the order is done."""
        return 0 if self.state in TERMINAL else self.lots - self.cum_lots


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to an order: `order` is its state after it; `last_*`, `fee` and `liquidity` are a trade's.

    `exec_ref` is the ExecID of the trade that a bust takes back or a correction replaces; `orig_cl_ord_id` is the name
    that a replaced order had before.
    """

    exec_id: str
    exec_type: ExecType | Restatement
    order: VenueOrder
    happened_ns: int
    last_lots: int = 0
    last_ticks: int = 0
    fee: Money = _NO_MONEY
    liquidity: Liquidity | None = None
    reason: str | None = None
    exec_ref: str | None = None
    orig_cl_ord_id: str | None = None


class MatchingEngine:
    """The venue's books. Orders arrive at their own instant, but never before the time that `play` has reached."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        tapes = sorted(tapes, key=lambda tape: tape.instrument.symbol)
        self._instruments = {tape.instrument.symbol: tape.instrument for tape in tapes}
        if len(self._instruments) != len(tapes):
            raise OurMistake("expected one tape for each symbol")
        self._book_of = {symbol: book for book, symbol in enumerate(self._instruments)}
        columns = [(tape.ts_ns, tape.price_ticks, tape.size_lots) for tape in tapes]
        try:
            self._matcher = Matcher(columns, QUEUE_WINDOW_NS)
        except ValueError as error:
            raise DataError(f"tapes of {', '.join(self._instruments)}: {error}") from None
        self._numbers: dict[str, int] = {}
        self._orders: dict[int, VenueOrder] = {}
        self._owners: dict[str, int] = {}
        self._working: dict[int, None] = {}
        self._positions: dict[tuple[str, str], int] = {}
        self._events: list[Event] = []
        self._trades: dict[str, Event] = {}

    @property
    def instruments(self) -> dict[str, Instrument]:
        """What is traded here, by symbol in order."""
        return dict(self._instruments)

    @property
    def events(self) -> Sequence[Event]:
        """Everything that ever happened, in order; the n-th has the ExecID `E{n}`."""
        return self._events

    @property
    def played_ns(self) -> int:
        """The instant up to which the tapes were played."""
        return self._matcher.played_ns

    def status(self, cl_ord_id: str) -> VenueOrder | None:
        """Return an order by any name it ever had, None when it was never heard of."""
        return self._orders.get(self._numbers.get(cl_ord_id, 0))

    def orders(self) -> Sequence[VenueOrder]:
        """Return all orders ever heard of, in order of arrival."""
        return tuple(self._orders.values())

    def working(self) -> Sequence[VenueOrder]:
        """Return the resting orders, in order of arrival."""
        return [self._orders[number] for number in sorted(self._working)]

    def positions(self, owner: str) -> dict[str, int]:
        """Return an owner's signed position in lots for each symbol, flat ones too."""
        return {symbol: self._positions.get((owner, symbol), 0) for symbol in self._instruments}

    def last_ticks(self, symbol: str) -> int | None:
        """Return the price of the last print played, None before the first."""
        return self._matcher.last_before(self._book_of[symbol], self.played_ns) or None

    def submit(
        self,
        *,
        cl_ord_id: str,
        owner: str,
        symbol: str,
        side: Side,
        price_ticks: int,
        lots: int,
        post_only: bool,
        immediate_or_cancel: bool,
        now_ns: int,
        fill_or_kill: bool = False,
        expire_ns: int = 0,
    ) -> tuple[Event, ...]:
        """Take an order in: refuse it, match what crosses, then rest what is left or cancel it.

        It is good until `expire_ns`, 0 for ever: what the tape prints from then on does not meet it.

        Returns
        -------
        tuple of Event
            NEW or REJECTED first; for each match the resting order's trade before the taker's.
        """
        arrived_ns = max(now_ns, self.played_ns)
        number = len(self._orders) + 1
        order = VenueOrder(number, cl_ord_id, owner, symbol, side, price_ticks, lots, arrived_ns, OrderState.NEW)
        if cl_ord_id in self._numbers or symbol not in self._book_of:
            known = cl_ord_id in self._numbers
            return (self._refuse(order, Refusal.DUPLICATE if known else Refusal.UNKNOWN_SYMBOL),)
        self._enrol(order)
        manner = post_only * Manner.POST_ONLY | immediate_or_cancel * Manner.IMMEDIATE_OR_CANCEL
        return self._ask(
            Kind.NEW,
            number,
            book=self._book_of[symbol],
            owner=self._owners.setdefault(owner, len(self._owners)),
            side=side.sign,
            price=_within(price_ticks),
            lots=_within(lots),
            manner=manner | fill_or_kill * Manner.FILL_OR_KILL,
            expire=expire_ns,
            at_ns=now_ns,
        )

    def refuse(
        self, *, cl_ord_id: str, owner: str, symbol: str, side: Side, reason: str, now_ns: int
    ) -> tuple[Event, ...]:
        """Put on record an order that never gets to the books, as one whose price has no form in ticks, and why.

        DUPLICATE still goes first.
        """
        arrived_ns = max(now_ns, self.played_ns)
        order = VenueOrder(len(self._orders) + 1, cl_ord_id, owner, symbol, side, 0, 0, arrived_ns, OrderState.NEW)
        return (self._refuse(order, Refusal.DUPLICATE if cl_ord_id in self._numbers else reason),)

    def cancel(self, cl_ord_id: str, now_ns: int) -> tuple[Event, ...]:
        """Cancel a working order; nothing happens to one that is unknown or done (`change_refusal` tells which)."""
        if self.change_refusal(cl_ord_id) is not None:
            return ()
        return self._ask(Kind.CANCEL, self._numbers[cl_ord_id], at_ns=now_ns)

    def change_refusal(self, cl_ord_id: str, fresh: str | None = None) -> ChangeRefusal | None:
        """Tell why an order cannot be changed by this name, or get a fresh one; None when it can."""
        order = self.status(cl_ord_id)
        if order is None or order.cl_ord_id != cl_ord_id:
            return ChangeRefusal.UNKNOWN_ORDER
        if order.state in TERMINAL:
            return ChangeRefusal.TOO_LATE
        return ChangeRefusal.DUPLICATE if fresh in self._numbers else None

    def replace(
        self, *, cl_ord_id: str, orig_cl_ord_id: str, price_ticks: int, lots: int, now_ns: int, expire_ns: int = 0
    ) -> tuple[Event, ...] | ChangeRefusal | Refusal:
        """Give a working order a new name, price, quantity and end; how it wants to trade stays.

        `lots` counts what is filled, too. At the same price with no more lots the order keeps its place, else it goes
        in as if new, REPLACED first. Refused, it is what it was, and the new name is free.
        """
        if (refusal := self.change_refusal(orig_cl_ord_id, cl_ord_id)) is not None:
            return refusal
        number = self._numbers[orig_cl_ord_id]
        before = self._orders[number]
        self._enrol(replace(before, cl_ord_id=cl_ord_id))
        price, wanted = _within(price_ticks), _within(lots)
        rows = self._run(Kind.REPLACE, number, price=price, lots=wanted, expire=expire_ns, at_ns=now_ns)
        if rows[0][Column.HAPPENING] == Happening.REPLACE_REFUSED:
            self._orders[number] = before
            del self._numbers[cl_ord_id]
            return Refusal(_REASONS[rows[0][Column.REASON]])
        return tuple(self._tell(row, orig_cl_ord_id if row is rows[0] else None) for row in rows)

    def play(self, until_ns: int) -> tuple[Event, ...]:
        """Play the tapes up to, not including, an instant; playing to the past changes nothing.

        Symbols are played one after the other in order of name, each in order of time. Orders that are no longer good
        at the instant have left when this returns.
        """
        return self._ask(Kind.PLAY, 0, at_ns=until_ns)

    def bust(self, exec_id: str, now_ns: int) -> Event:
        """Take a trade back.

        Raises
        ------
        VenueMistake
            There is no such trade, or it was busted or corrected before.
        """
        trade = self._trade(exec_id)
        return self._restate(Restatement.TRADE_CANCEL, trade, 0, 0, now_ns)

    def correct(self, exec_id: str, *, price_ticks: int, lots: int, now_ns: int) -> Event:
        """Put a trade right; the correction has an ExecID of its own, by which it may be corrected again.

        Raises
        ------
        VenueMistake
            As for `bust`; or price or quantity are no trade's.
        """
        _check_trade(price_ticks, lots)
        trade = self._trade(exec_id)
        event = self._restate(Restatement.TRADE_CORRECT, trade, price_ticks, lots, now_ns)
        self._trades[event.exec_id] = event
        return event

    def fill_anyway(self, cl_ord_id: str, *, lots: int, liquidity: Liquidity, now_ns: int) -> Event:
        """Trade at an order's price whatever the book says: too much, after its end, or as a taker.

        Raises
        ------
        VenueMistake
            The order is unknown or was refused, or the quantity is no trade's.
        """
        order = self.status(cl_ord_id)
        if order is None or order.state is OrderState.REJECTED:
            raise VenueMistake(f"expected an order that was accepted, found {cl_ord_id!r}")
        _check_trade(order.price_ticks, lots)
        event = self._amend(order, lots, order.price_ticks * lots, now_ns)
        return self._record(
            replace(event, exec_type=ExecType.TRADE, liquidity=liquidity), lots=lots, ticks=order.price_ticks
        )

    def _trade(self, exec_id: str) -> Event:
        if exec_id not in self._trades:
            raise VenueMistake(f"expected a trade that stands, found {exec_id!r}")
        return self._trades[exec_id]

    def _restate(self, kind: Restatement, trade: Event, ticks: int, lots: int, now_ns: int) -> Event:
        order = self._orders[trade.order.number]
        value = lots * ticks - trade.last_lots * trade.last_ticks
        event = self._amend(order, lots - trade.last_lots, value, now_ns)
        del self._trades[trade.exec_id]
        event = replace(event, exec_type=kind, exec_ref=trade.exec_id, liquidity=trade.liquidity)
        return self._record(event, lots=lots, ticks=ticks)

    def _amend(self, order: VenueOrder, lots: int, value: int, now_ns: int) -> Event:
        """Change an order's sums and its owner's position; the event is still to be given its words."""
        rows = self._run(Kind.AMEND, order.number, lots=lots, price=value, at_ns=now_ns)
        if not rows:
            raise VenueMistake(f"expected at most {VALUE_MAX} lots of {order.cl_ord_id}, found {order.cum_lots + lots}")
        self._move(order, lots)
        return Event("", ExecType.TRADE, self._after(rows[0]), rows[0][Column.AT])

    def _ask(self, kind: Kind, number: int, **columns: int) -> tuple[Event, ...]:
        return tuple(self._tell(row) for row in self._run(kind, number, **columns))

    def _run(
        self,
        kind: Kind,
        number: int,
        *,
        at_ns: int,
        book: int = 0,
        owner: int = 0,
        side: int = 0,
        price: int = 0,
        lots: int = 0,
        manner: int = 0,
        expire: int = 0,
    ) -> list[_Row]:
        """Hand one message to the kernel, as often as it takes."""
        message = np.array([(kind, number, book, owner, side, price, lots, manner, expire, at_ns)], dtype=np.int64)
        assert message.shape == (1, len(Message))
        rows: list[_Row] = []
        done = 0
        while not done:
            events, done = self._matcher.run(message)
            rows += events.tolist()
        return rows

    def _tell(self, row: _Row, orig_cl_ord_id: str | None = None) -> Event:
        """Put an event of the kernel on record."""
        order = self._after(row)
        lots, ticks = row[Column.LAST_LOTS], row[Column.LAST_TICKS]
        liquidity = None
        if lots:
            liquidity = Liquidity.MAKER if row[Column.MAKER] else Liquidity.TAKER
            self._move(order, lots)
        event = Event(
            "",
            _EXEC_TYPES[row[Column.HAPPENING]],
            order,
            row[Column.AT],
            liquidity=liquidity,
            reason=_REASONS.get(row[Column.REASON]),
            orig_cl_ord_id=orig_cl_ord_id,
        )
        return self._record(event, lots=lots, ticks=ticks)

    def _after(self, row: _Row) -> VenueOrder:
        """Return an order as an event leaves it, and remember it so."""
        order = self._orders[row[Column.NUMBER]]
        state = _STATES[State(row[Column.STATE])]
        if state is OrderState.REJECTED:
            order = replace(order, state=state)
        else:
            order = replace(
                order,
                state=state,
                price_ticks=row[Column.PRICE],
                lots=row[Column.LOTS],
                cum_lots=row[Column.CUM_LOTS],
                value=row[Column.VALUE],
            )
        self._orders[order.number] = order
        if state in TERMINAL:
            self._working.pop(order.number, None)
        else:
            self._working[order.number] = None
        return order

    def _enrol(self, order: VenueOrder) -> None:
        self._orders[order.number] = order
        self._numbers[order.cl_ord_id] = order.number

    def _refuse(self, order: VenueOrder, refusal: str) -> Event:
        """Reject an order; a duplicate is answered with the state of the first, which lives on."""
        known = self.status(order.cl_ord_id)
        after = known if known is not None else replace(order, state=OrderState.REJECTED)
        if known is None:
            self._enrol(after)
        return self._record(Event("", ExecType.REJECTED, after, order.arrived_ns, reason=refusal))

    def _move(self, order: VenueOrder, lots: int) -> None:
        key = order.owner, order.symbol
        self._positions[key] = self._positions.get(key, 0) + order.side.sign * lots

    def _record(self, event: Event, *, lots: int = 0, ticks: int = 0) -> Event:
        """Give an event its identifier, a trade its fee, and keep it."""
        fee = _NO_MONEY
        if lots:
            instrument = self._instruments[event.order.symbol]
            px, qty = Price(ticks * instrument.tick_size), Quantity(lots * instrument.lot_size)
            fee = round_money(notional(px, qty, instrument.multiplier) * instrument.fee_rate)
        exec_id = f"E{len(self._events) + 1}"
        event = replace(event, exec_id=exec_id, last_lots=lots, last_ticks=ticks, fee=fee)
        self._events.append(event)
        if event.exec_type is ExecType.TRADE:
            self._trades[exec_id] = event
        return event


def _within(value: int) -> int:
    """Bring what the kernel refuses anyway into its integers."""
    return max(-1, min(value, VALUE_MAX + 1))


def _check_trade(price_ticks: int, lots: int) -> None:
    if not (0 < lots <= VALUE_MAX and 0 < price_ticks <= VALUE_MAX):
        raise VenueMistake(f"expected a trade of 1 to {VALUE_MAX} ticks and lots, found {price_ticks}, {lots}")
