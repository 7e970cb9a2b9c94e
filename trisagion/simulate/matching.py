"""A matching engine with price-time priority that plays a tape of real trades against the orders resting with it.

Theory. The tape says what traded, not what was quoted. So the market is taken to stand one tick around the last trade,
and the engine errs against us where the tape is silent:

* A post-only order that would execute at once is refused.
* A resting order has a queue of strangers before it: the volume that traded at its price in the 60 s before it arrived;
  if none did, the mean volume per price of those 60 s, rounded up; at least one lot; and never fewer than still stand
  before an earlier order of ours at that price. Later prints at its price meet that queue first. No stranger cancels.
* A print through its price (a buyer bidding 100 sees a trade at 99.75) fills it up to the size of the print: whoever
  sold at 99.75 had to pass 100. The queue is then gone.
* Each lot of a print fills one lot of ours at most, best price first, then first come first served.
* A taker gets the opposite quote, up to the volume of the last 60 s less what our orders took of it already, but one
  lot at least.

Orders of different owners that cross are matched with each other; an owner never trades with itself. All numbers are
integers of ticks, lots and nanoseconds; money is exact. The same commands give the same events, identifiers included.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

import numpy as np

from trisagion.clock import MINUTE_NS
from trisagion.errors import OurMistake
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


IOC_REMAINDER: Final = "IOC_REMAINDER"

_NO_MONEY: Final = Money(Decimal(0))


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

    @property
    def rank(self) -> tuple[int, int]:
        """Price-time priority on its side: the smaller goes first."""
        return -self.side.sign * self.price_ticks, self.number


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to an order: `order` is its state after it; `last_*`, `fee` and `liquidity` are a trade's."""

    exec_id: str
    exec_type: ExecType
    order: VenueOrder
    happened_ns: int
    last_lots: int = 0
    last_ticks: int = 0
    fee: Money = _NO_MONEY
    liquidity: Liquidity | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Resting:
    """A place in the book: the order, and how many lots of strangers stand before it at its price."""

    order: VenueOrder
    ahead_lots: int

    @property
    def rank(self) -> tuple[int, int]:
        return self.order.rank


class _Book:
    """The resting orders of one instrument, best first, and how far its tape has been played."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.index = 0
        self.resting: dict[Side, list[_Resting]] = {Side.BUY: [], Side.SELL: []}
        self.taken: deque[tuple[int, int]] = deque()

    @property
    def instrument(self) -> Instrument:
        return self.tape.instrument

    def before(self, instant_ns: int) -> int:
        """Return how many prints happened before an instant."""
        return int(np.searchsorted(self.tape.ts_ns, instant_ns, side="left"))

    def quote(self, side: Side, instant_ns: int) -> int | None:
        """Return the price in ticks at which the tape's market meets an order; None before the first print."""
        count = self.before(instant_ns)
        return int(self.tape.price_ticks[count - 1]) + side.sign if count else None

    def queue_lots(self, price_ticks: int, instant_ns: int) -> int:
        """Estimate the lots of strangers at a price (see the theory above)."""
        window = slice(self.before(instant_ns - QUEUE_WINDOW_NS), self.before(instant_ns))
        prices, sizes = self.tape.price_ticks[window], self.tape.size_lots[window]
        if here := int(sizes[prices == price_ticks].sum()):
            return here
        return max(1, -(-int(sizes.sum()) // len(np.unique(prices)))) if len(prices) else 1

    def depth_lots(self, instant_ns: int) -> int:
        """Estimate the lots that a taker finds (see the theory above)."""
        since_ns = instant_ns - QUEUE_WINDOW_NS
        traded = int(self.tape.size_lots[self.before(since_ns) : self.before(instant_ns)].sum())
        return max(1, traded - sum(lots for at_ns, lots in self.taken if since_ns <= at_ns <= instant_ns))

    def take(self, instant_ns: int, lots: int) -> None:
        """Remember that lots of the tape are ours, for as long as a taker could count them."""
        self.taken.append((instant_ns, lots))
        while self.taken[0][0] < instant_ns - 2 * QUEUE_WINDOW_NS:
            self.taken.popleft()

    def touching(self, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (instant, price, lots) of the prints up to `stop` that can reach the best resting orders."""
        bids, asks = self.resting[Side.BUY], self.resting[Side.SELL]
        prices = self.tape.price_ticks[self.index : stop]
        reach = np.zeros(len(prices), dtype=np.bool_)
        if bids:
            reach |= prices <= bids[0].order.price_ticks
        if asks:
            reach |= prices >= asks[0].order.price_ticks
        hits = self.index + np.flatnonzero(reach)
        for hit in hits:
            if not bids and not asks:
                return
            yield int(self.tape.ts_ns[hit]), int(self.tape.price_ticks[hit]), int(self.tape.size_lots[hit])


class MatchingEngine:
    """The venue's books. Orders arrive at their own instant, but never before the time that `play` has reached."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self._books = {tape.instrument.symbol: _Book(tape) for tape in sorted(tapes, key=lambda t: t.instrument.symbol)}
        if len(self._books) != len(tapes):
            raise OurMistake("expected one tape for each symbol")
        self._orders: dict[str, VenueOrder] = {}
        self._positions: dict[tuple[str, str], int] = {}
        self._events: list[Event] = []
        self.played_ns = 0

    @property
    def instruments(self) -> dict[str, Instrument]:
        """What is traded here, by symbol in order."""
        return {symbol: book.instrument for symbol, book in self._books.items()}

    @property
    def events(self) -> Sequence[Event]:
        """Everything that ever happened, in order; the n-th has the ExecID `E{n}`."""
        return self._events

    def status(self, cl_ord_id: str) -> VenueOrder | None:
        """Return an order, None when it was never heard of."""
        return self._orders.get(cl_ord_id)

    def orders(self) -> Sequence[VenueOrder]:
        """Return all orders ever heard of, in order of arrival."""
        return tuple(self._orders.values())

    def working(self) -> Sequence[VenueOrder]:
        """Return the resting orders, in order of arrival."""
        places = (place for book in self._books.values() for side in book.resting.values() for place in side)
        return sorted((place.order for place in places), key=lambda order: order.number)

    def positions(self, owner: str) -> dict[str, int]:
        """Return an owner's signed position in lots for each symbol, flat ones too."""
        return {symbol: self._positions.get((owner, symbol), 0) for symbol in self._books}

    def last_ticks(self, symbol: str) -> int | None:
        """Return the price of the last print played, None before the first."""
        book = self._books[symbol]
        return int(book.tape.price_ticks[book.index - 1]) if book.index else None

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
    ) -> tuple[Event, ...]:
        """Take an order in: refuse it, match what crosses, then rest what is left or cancel it.

        Returns
        -------
        tuple of Event
            NEW or REJECTED first; for each match the resting order's trade before the taker's.
        """
        first = len(self._events)
        arrived_ns = max(now_ns, self.played_ns)
        order = VenueOrder(
            len(self._orders) + 1, cl_ord_id, owner, symbol, side, price_ticks, lots, arrived_ns, OrderState.NEW
        )
        if refusal := self._refusal(order, post_only, immediate_or_cancel):
            return (self._refuse(order, refusal),)
        self._record(ExecType.NEW, order, arrived_ns)
        book = self._books[symbol]
        order = self._match(book, order)
        if order.leaves_lots and immediate_or_cancel:
            self._record(ExecType.CANCELED, replace(order, state=OrderState.CANCELED), arrived_ns, reason=IOC_REMAINDER)
        elif order.leaves_lots:
            self._rest(book, order)
        return tuple(self._events[first:])

    def refuse(
        self, *, cl_ord_id: str, owner: str, symbol: str, side: Side, reason: Refusal, now_ns: int
    ) -> tuple[Event, ...]:
        """Put on record an order whose price or quantity has no form in ticks and lots; DUPLICATE still goes first."""
        arrived_ns = max(now_ns, self.played_ns)
        order = VenueOrder(len(self._orders) + 1, cl_ord_id, owner, symbol, side, 0, 0, arrived_ns, OrderState.NEW)
        return (self._refuse(order, Refusal.DUPLICATE if cl_ord_id in self._orders else reason),)

    def cancel(self, cl_ord_id: str, now_ns: int) -> tuple[Event, ...]:
        """Cancel a working order; nothing happens to one that is unknown or done (`status` tells which)."""
        order = self._orders.get(cl_ord_id)
        if order is None or order.state in TERMINAL:
            return ()
        side = self._books[order.symbol].resting[order.side]
        side[:] = [place for place in side if place.order.number != order.number]
        return (
            self._record(ExecType.CANCELED, replace(order, state=OrderState.CANCELED), max(now_ns, self.played_ns)),
        )

    def play(self, until_ns: int) -> tuple[Event, ...]:
        """Play the tapes up to, not including, an instant; playing to the past changes nothing.

        Symbols are played one after the other in order of name, each in order of time. Where nothing rests, the tape is
        skipped.
        """
        first = len(self._events)
        for book in self._books.values():
            stop = max(book.index, book.before(until_ns))
            for at_ns, price_ticks, lots in book.touching(stop):
                self._print(book, at_ns, price_ticks, lots)
            book.index = stop
        self.played_ns = max(self.played_ns, until_ns)
        return tuple(self._events[first:])

    def _refusal(self, order: VenueOrder, post_only: bool, immediate_or_cancel: bool) -> Refusal | None:
        if order.cl_ord_id in self._orders:
            return Refusal.DUPLICATE
        if order.symbol not in self._books:
            return Refusal.UNKNOWN_SYMBOL
        if order.lots <= 0:
            return Refusal.BAD_QUANTITY
        if order.price_ticks <= 0:
            return Refusal.BAD_PRICE
        if post_only and immediate_or_cancel:
            return Refusal.BAD_INSTRUCTIONS
        if post_only and self._would_cross(self._books[order.symbol], order):
            return Refusal.POST_ONLY_WOULD_CROSS
        return None

    def _would_cross(self, book: _Book, order: VenueOrder) -> bool:
        quote = book.quote(order.side, order.arrived_ns)
        if quote is not None and _reaches(order, quote):
            return True
        return any(_reaches(order, place.order.price_ticks) for place in self._opposite(book, order))

    def _opposite(self, book: _Book, order: VenueOrder) -> list[_Resting]:
        side = Side.SELL if order.side is Side.BUY else Side.BUY
        return [place for place in book.resting[side] if place.order.owner != order.owner]

    def _match(self, book: _Book, order: VenueOrder) -> VenueOrder:
        """Let an order take what it reaches, best price first, at one price resting orders before the tape's market."""
        quote = book.quote(order.side, order.arrived_ns)
        if quote is None or not _reaches(order, quote):
            return self._match_orders(book, order, order.price_ticks)
        order = self._match_orders(book, order, quote)
        if lots := min(order.leaves_lots, book.depth_lots(order.arrived_ns)):
            book.take(order.arrived_ns, lots)
            order = self._fill(order, lots, quote, order.arrived_ns, Liquidity.TAKER)
        return self._match_orders(book, order, order.price_ticks)

    def _match_orders(self, book: _Book, order: VenueOrder, limit_ticks: int) -> VenueOrder:
        for place in self._opposite(book, order):
            price_ticks = place.order.price_ticks
            if not order.leaves_lots or order.side.sign * (limit_ticks - price_ticks) < 0:
                break
            lots = min(order.leaves_lots, place.order.leaves_lots)
            self._fill_resting(book, place, lots, order.arrived_ns)
            order = self._fill(order, lots, price_ticks, order.arrived_ns, Liquidity.TAKER)
        return order

    def _rest(self, book: _Book, order: VenueOrder) -> None:
        side = book.resting[order.side]
        ours = (place.ahead_lots for place in side if place.order.price_ticks == order.price_ticks)
        ahead_lots = max(book.queue_lots(order.price_ticks, order.arrived_ns), *ours, 0)
        insort(side, _Resting(order, ahead_lots), key=lambda place: place.rank)

    def _print(self, book: _Book, at_ns: int, price_ticks: int, lots: int) -> None:
        """Let one print of the tape meet the resting orders; `left` is what of it is not spoken for.

        Each side is walked in order of rank: orders that the print goes through, then those at its price. `passed`
        counts the strangers at that price who were filled: they stood before every later order of the level too.
        """
        left = lots
        for side in book.resting.values():
            passed = 0
            for place in tuple(side):
                through = place.order.side.sign * (place.order.price_ticks - price_ticks)
                if through < 0:
                    break
                if place.order.arrived_ns > at_ns:
                    continue
                if through:
                    place.ahead_lots = 0
                strangers = max(0, min(left, place.ahead_lots - passed))
                passed += strangers
                left -= strangers
                place.ahead_lots = max(0, place.ahead_lots - passed)
                left -= self._fill_from_tape(book, place, left, at_ns)

    def _fill_from_tape(self, book: _Book, place: _Resting, left: int, at_ns: int) -> int:
        lots = min(left, place.order.leaves_lots)
        if lots:
            book.take(at_ns, lots)
            self._fill_resting(book, place, lots, at_ns)
        return lots

    def _fill_resting(self, book: _Book, place: _Resting, lots: int, at_ns: int) -> None:
        place.order = self._fill(place.order, lots, place.order.price_ticks, at_ns, Liquidity.MAKER)
        if not place.order.leaves_lots:
            book.resting[place.order.side].remove(place)

    def _fill(self, order: VenueOrder, lots: int, price_ticks: int, at_ns: int, liquidity: Liquidity) -> VenueOrder:
        instrument = self._books[order.symbol].instrument
        cum_lots = order.cum_lots + lots
        assert 0 < lots <= order.leaves_lots, f"order {order.cl_ord_id}: {lots} of {order.leaves_lots} lots"
        order = replace(
            order,
            state=OrderState.FILLED if cum_lots == order.lots else OrderState.PARTIALLY_FILLED,
            cum_lots=cum_lots,
            value=order.value + lots * price_ticks,
        )
        px, qty = Price(price_ticks * instrument.tick_size), Quantity(lots * instrument.lot_size)
        fee = round_money(notional(px, qty, instrument.multiplier) * instrument.fee_rate)
        key = order.owner, order.symbol
        self._positions[key] = self._positions.get(key, 0) + order.side.sign * lots
        self._record(ExecType.TRADE, order, at_ns, last_lots=lots, last_ticks=price_ticks, fee=fee, liquidity=liquidity)
        return order

    def _refuse(self, order: VenueOrder, refusal: Refusal) -> Event:
        """Reject an order; a duplicate is answered with the state of the first, which lives on."""
        known = self._orders.get(order.cl_ord_id)
        after = known if known is not None else replace(order, state=OrderState.REJECTED)
        return self._record(ExecType.REJECTED, after, order.arrived_ns, reason=refusal)

    def _record(
        self,
        exec_type: ExecType,
        order: VenueOrder,
        happened_ns: int,
        *,
        last_lots: int = 0,
        last_ticks: int = 0,
        fee: Money = _NO_MONEY,
        liquidity: Liquidity | None = None,
        reason: str | None = None,
    ) -> Event:
        self._orders[order.cl_ord_id] = order
        exec_id = f"E{len(self._events) + 1}"
        event = Event(exec_id, exec_type, order, happened_ns, last_lots, last_ticks, fee, liquidity, reason)
        self._events.append(event)
        return event


def _reaches(order: VenueOrder, price_ticks: int) -> bool:
    """Tell whether an order's limit allows a trade at a price."""
    return order.side.sign * (order.price_ticks - price_ticks) >= 0
