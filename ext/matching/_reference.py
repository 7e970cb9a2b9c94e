"""Price-time priority against a tape of real trades: the plain twin, written to be read.

Theory. The tape says what traded, not what was quoted. So the market is taken to stand one tick around the last trade,
and the rules err against the orders where the tape is silent:

* A post-only order that would execute at once is refused; a replacement that would, too, and the old order stays.
* A resting order has a queue of strangers before it: the volume that traded at its price in the window before it
  arrived; if none did, the mean volume per price of that window, rounded up; at least one lot; and never fewer than
  still stand before an earlier order at that price. Later prints at its price meet that queue first. No stranger
  cancels.
* A print through its price (a buyer bidding 100 sees a trade at 99) fills it up to the size of the print: whoever sold
  at 99 had to pass 100. The queue is then gone.
* Each lot of a print fills one lot of ours at most, best price first, then first come first served.
* A taker gets the opposite quote, up to the volume of the last window less what orders took of it already, but one lot
  at least. At one price resting orders go before the tape's market.
* Fill-or-kill counts what a taker would get, and takes all it wants or nothing.
* A replacement that keeps the price and does not raise the quantity keeps its place; any other goes in as if new.
* An order is no longer good from its EXPIRE on: prints of that instant come too late. It leaves the book when the tape
  is played that far; an order stamped later than that does not meet it.

Self-match prevention: an owner's orders never trade with each other. A newcomer passes its owner's resting orders by as
if they were not there, and both stay; the same holds for what post-only and fill-or-kill see.

All is integers; the same messages give the same events, however they are cut into calls.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ext.matching._columns import (
    NUMBER_STEP_MAX,
    STEPS_MAX,
    VALUE_MAX,
    Column,
    Happening,
    Kind,
    Manner,
    Message,
    Reason,
    State,
)

Int64Array: TypeAlias = NDArray[np.int64]

MESSAGE_COLUMNS: Final = len(Message)
EVENT_COLUMNS: Final = len(Column)
_INT64_MAX: Final = 2**63 - 1


@dataclass(slots=True, eq=False)
class _Order:
    number: int
    book: int
    owner: int
    side: int
    price: int
    lots: int
    manner: int
    expire: int
    arrived: int
    state: State = State.NEW
    cum_lots: int = 0
    value: int = 0
    ahead: int = 0
    """Lots of strangers before it at its price."""
    priority: int = 0

    @property
    def leaves(self) -> int:
        return self.lots - self.cum_lots

    @property
    def rank(self) -> tuple[int, int]:
        """The smaller goes first on its side."""
        return -self.side * self.price, self.priority

    def reaches(self, ticks: int) -> bool:
        return self.side * (self.price - ticks) >= 0


@dataclass(slots=True)
class _Book:
    ts_ns: Int64Array
    price_ticks: Int64Array
    size_lots: Int64Array
    index: int = 0
    resting: dict[int, list[_Order]] = field(default_factory=lambda: {1: [], -1: []})
    taken: deque[tuple[int, int]] = field(default_factory=deque)

    def before(self, instant_ns: int) -> int:
        """Return how many prints happened before an instant."""
        return int(np.searchsorted(self.ts_ns, instant_ns, side="left"))

    def orders(self) -> Iterator[_Order]:
        for side in self.resting.values():
            yield from side


class Matcher:
    """The books of a venue, one for each tape.

    Parameters
    ----------
    tapes : sequence of (ts_ns, price_ticks, size_lots)
        For each book int64 arrays of shape (n,): instants that never fall, prices and sizes from 1 to `VALUE_MAX`.
    window_ns : int
        How far back the tape is read for queue and depth, above 0.

    Raises
    ------
    ValueError
        For arrays that are no such tape.
    """

    def __init__(self, tapes: Sequence[tuple[Int64Array, Int64Array, Int64Array]], window_ns: int) -> None:
        if not 0 < window_ns <= _INT64_MAX // 4:
            raise ValueError(f"window_ns: expected 1 to {_INT64_MAX // 4}, found {window_ns}")
        self._books = [_Book(*checked_tape(book, *tape)) for book, tape in enumerate(tapes)]
        self._window_ns = window_ns
        self._orders: dict[int, _Order] = {}
        self._events: list[tuple[int, ...]] = []
        self._priority = 0
        self._steps_left = 0
        self._played_ns = 0

    @property
    def played_ns(self) -> int:
        """The instant up to which the tapes were played."""
        return self._played_ns

    def last_before(self, book: int, instant_ns: int) -> int:
        """Return the price in ticks of the last print before an instant, 0 if there is none."""
        count = self._books[book].before(instant_ns)
        return int(self._books[book].price_ticks[count - 1]) if count else 0

    def run(self, messages: Int64Array, steps_max: int = STEPS_MAX) -> tuple[Int64Array, int]:
        """Handle messages in order, as many as one call may.

        Parameters
        ----------
        messages : int64 array, shape (n, 10)
            The columns are those of `Message`.
        steps_max : int
            After so many steps the call ends at the next message or print; at least one is handled. A step is a message
            or a print; the fast twin also counts the orders that these meet.

        Returns
        -------
        events : int64 array, shape (m, 12)
            The columns are those of `Column`; for each match the resting order's trade before the taker's.
        done : int
            How many messages are done with. Hand in the others again: a PLAY goes on where it stopped.

        Raises
        ------
        ValueError
            When a message has no meaning: a kind, book or side that does not exist, a NEW whose number is not above all
            before it, an amendment out of range. Then none was handled.
        """
        checked_messages(messages, max(self._orders, default=0), len(self._books))
        self._events = []
        self._steps_left = steps_max
        done = 0
        for row in messages.tolist():
            if done and self._steps_left <= 0:
                break
            self._steps_left -= 1
            if row[Message.KIND] == Kind.PLAY:
                if not self._play(row[Message.AT]):
                    break
            elif row[Message.KIND] == Kind.NEW:
                self._new(row)
            elif row[Message.NUMBER] in self._orders:
                order, at_ns = self._orders[row[Message.NUMBER]], max(row[Message.AT], self._played_ns)
                if row[Message.KIND] == Kind.AMEND:
                    self._amend(order, row, at_ns)
                elif order.state > State.PARTIALLY_FILLED:
                    pass
                elif row[Message.KIND] == Kind.CANCEL:
                    self._remove(order, State.CANCELED, Happening.CANCELED, at_ns)
                else:
                    self._replace(order, row, at_ns)
            done += 1
        return np.array(self._events, dtype=np.int64).reshape(-1, EVENT_COLUMNS), done

    def _new(self, row: Sequence[int]) -> None:
        at_ns = max(row[Message.AT], self._played_ns)
        order = _order(row, at_ns)
        self._orders[order.number] = order
        if reason := self._refusal(order):
            order.state = State.REJECTED
            self._tell(order, Happening.REJECTED, at_ns, reason=reason)
            return
        self._tell(order, Happening.NEW, at_ns)
        self._enter(order)

    def _refusal(self, order: _Order) -> Reason:
        post_only, takes = order.manner & Manner.POST_ONLY, order.manner & ~Manner.POST_ONLY
        if not 0 < order.lots <= VALUE_MAX or order.lots <= order.cum_lots:
            return Reason.BAD_QUANTITY
        if not 0 < order.price <= VALUE_MAX:
            return Reason.BAD_PRICE
        both = Manner.IMMEDIATE_OR_CANCEL | Manner.FILL_OR_KILL
        if (post_only and takes) or takes == both or (order.expire and (takes or order.expire <= order.arrived)):
            return Reason.BAD_INSTRUCTIONS
        if post_only and self._would_cross(order):
            return Reason.POST_ONLY_WOULD_CROSS
        return Reason.NONE

    def _enter(self, order: _Order) -> None:
        """Match what crosses, then rest what is left or cancel it."""
        if order.manner & Manner.FILL_OR_KILL and self._fillable(order) < order.leaves:
            order.state = State.CANCELED
            self._tell(order, Happening.CANCELED, order.arrived, reason=Reason.FOK_UNFILLED)
            return
        self._match(order)
        if not order.leaves:
            return
        if order.manner & Manner.IMMEDIATE_OR_CANCEL:
            order.state = State.CANCELED
            self._tell(order, Happening.CANCELED, order.arrived, reason=Reason.IOC_REMAINDER)
        else:
            self._rest(order)

    def _replace(self, order: _Order, row: Sequence[int], at_ns: int) -> None:
        fresh = _order(row, at_ns)
        fresh.owner, fresh.side, fresh.manner, fresh.book = order.owner, order.side, order.manner, order.book
        fresh.cum_lots = order.cum_lots
        stays = fresh.price == order.price and fresh.lots <= order.lots
        reason = self._refusal(fresh)
        if reason and not (stays and reason is Reason.POST_ONLY_WOULD_CROSS):
            self._tell(order, Happening.REPLACE_REFUSED, at_ns, reason=reason)
            return
        if not stays:
            self._books[order.book].resting[order.side].remove(order)
        order.price, order.lots, order.expire = fresh.price, fresh.lots, fresh.expire
        self._tell(order, Happening.REPLACED, at_ns)
        if not stays:
            order.arrived = at_ns
            self._enter(order)

    def _amend(self, order: _Order, row: Sequence[int], at_ns: int) -> None:
        if not 0 <= order.cum_lots + row[Message.LOTS] <= VALUE_MAX:
            return
        order.cum_lots += row[Message.LOTS]
        order.value += row[Message.PRICE]
        if order.state <= State.PARTIALLY_FILLED:
            if order.leaves <= 0:
                self._remove(order, State.FILLED, Happening.AMENDED, at_ns)
                return
            order.state = State.PARTIALLY_FILLED if order.cum_lots else State.NEW
        self._tell(order, Happening.AMENDED, at_ns)

    def _remove(self, order: _Order, state: State, happening: Happening, at_ns: int) -> None:
        self._books[order.book].resting[order.side].remove(order)
        order.state = state
        self._tell(order, happening, at_ns)

    def _quote(self, order: _Order) -> int:
        """Return the price in ticks at which the tape's market meets an order; 0 before the first print."""
        last = self.last_before(order.book, order.arrived)
        return last + order.side if last else 0

    def _opposite(self, order: _Order) -> list[_Order]:
        resting = self._books[order.book].resting[-order.side]
        return [other for other in resting if other.owner != order.owner and not 0 < other.expire <= order.arrived]

    def _would_cross(self, order: _Order) -> bool:
        quote = self._quote(order)
        return bool(quote and order.reaches(quote)) or any(
            order.reaches(other.price) for other in self._opposite(order)
        )

    def _fillable(self, order: _Order) -> int:
        lots = sum(other.leaves for other in self._opposite(order) if order.reaches(other.price))
        quote = self._quote(order)
        return lots + (self._depth(order) if quote and order.reaches(quote) else 0)

    def _match(self, order: _Order) -> None:
        quote = self._quote(order)
        if quote and order.reaches(quote):
            self._match_orders(order, quote)
            if lots := min(order.leaves, self._depth(order)):
                self._take(self._books[order.book], order.arrived, lots)
                self._fill(order, lots, quote, order.arrived, maker=False)
        self._match_orders(order, order.price)

    def _match_orders(self, order: _Order, limit_ticks: int) -> None:
        for other in self._opposite(order):
            if not order.leaves or order.side * (limit_ticks - other.price) < 0:
                break
            lots = min(order.leaves, other.leaves)
            self._fill(other, lots, other.price, order.arrived, maker=True)
            self._fill(order, lots, other.price, order.arrived, maker=False)

    def _rest(self, order: _Order) -> None:
        side = self._books[order.book].resting[order.side]
        level = (other.ahead for other in side if other.price == order.price)
        order.ahead = max(self._queue(order), *level, 0)
        self._priority += 1
        order.priority = self._priority
        insort(side, order, key=lambda other: other.rank)

    def _queue(self, order: _Order) -> int:
        """Estimate the lots of strangers at a price (see the theory above)."""
        book = self._books[order.book]
        window = slice(book.before(order.arrived - self._window_ns), book.before(order.arrived))
        prices, sizes = book.price_ticks[window], book.size_lots[window]
        if here := int(sizes[prices == order.price].sum()):
            return here
        return -(-int(sizes.sum()) // len(np.unique(prices))) if len(prices) else 1

    def _depth(self, order: _Order) -> int:
        """Estimate the lots that a taker finds (see the theory above)."""
        book, since_ns = self._books[order.book], order.arrived - self._window_ns
        traded = int(book.size_lots[book.before(since_ns) : book.before(order.arrived)].sum())
        return max(1, traded - sum(lots for at_ns, lots in book.taken if since_ns <= at_ns <= order.arrived))

    def _take(self, book: _Book, at_ns: int, lots: int) -> None:
        """Remember that lots of the tape are ours, for as long as a taker could count them."""
        book.taken.append((at_ns, lots))
        while book.taken[0][0] < at_ns - 2 * self._window_ns:
            book.taken.popleft()

    def _play(self, until_ns: int) -> bool:
        """Play book after book; say whether all are done."""
        for book in self._books:
            stop = max(book.index, book.before(until_ns))
            while book.index < stop:
                self._print(book)
                book.index += 1
                self._steps_left -= 1
                if self._steps_left <= 0:
                    return False
            self._expire(book, until_ns)
        self._played_ns = max(self._played_ns, until_ns)
        return True

    def _print(self, book: _Book) -> None:
        """Let one print of the tape meet the resting orders; `left` is what of it is not spoken for.

        Each side is walked in order of rank: orders that the print goes through, then those at its price. `passed`
        counts the strangers at that price who were filled: they stood before every later order of the level too.
        """
        at_ns, ticks = int(book.ts_ns[book.index]), int(book.price_ticks[book.index])
        left = int(book.size_lots[book.index])
        self._expire(book, at_ns)
        for side in (1, -1):
            passed = 0
            for order in tuple(book.resting[side]):
                through = side * (order.price - ticks)
                if through < 0:
                    break
                if order.arrived > at_ns:
                    continue
                if through:
                    order.ahead = 0
                strangers = max(0, min(left, order.ahead - passed))
                passed += strangers
                left -= strangers
                order.ahead = max(0, order.ahead - passed)
                if lots := min(left, order.leaves):
                    self._take(book, at_ns, lots)
                    self._fill(order, lots, order.price, at_ns, maker=True)
                    left -= lots

    def _expire(self, book: _Book, instant_ns: int) -> None:
        """Take out what is no longer good at an instant, in the order of its end."""
        due = [order for order in book.orders() if 0 < order.expire <= instant_ns]
        for order in sorted(due, key=lambda order: (order.expire, order.number)):
            self._remove(order, State.EXPIRED, Happening.EXPIRED, order.expire)

    def _fill(self, order: _Order, lots: int, ticks: int, at_ns: int, *, maker: bool) -> None:
        order.cum_lots += lots
        order.value += lots * ticks
        order.state = State.PARTIALLY_FILLED if order.leaves else State.FILLED
        if maker and not order.leaves:
            self._books[order.book].resting[order.side].remove(order)
        self._tell(order, Happening.TRADE, at_ns, last=(lots, ticks, int(maker)))

    def _tell(
        self,
        order: _Order,
        happening: Happening,
        at_ns: int,
        *,
        last: tuple[int, int, int] = (0, 0, 0),
        reason: Reason = Reason.NONE,
    ) -> None:
        sums = order.price, order.lots, order.cum_lots, order.value
        self._events.append((happening, order.number, order.state, *sums, *last, reason, at_ns))


def _order(row: Sequence[int], arrived: int) -> _Order:
    number, book, owner, side, price, lots, manner, expire = row[Message.NUMBER : Message.EXPIRE + 1]
    return _Order(number, book, owner, side, price, lots, manner, expire, arrived)


def checked_tape(
    book: int, ts_ns: Int64Array, price_ticks: Int64Array, size_lots: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return a tape's arrays, contiguous; raise ValueError when they are none."""
    arrays = ts_ns, price_ticks, size_lots
    if any(array.dtype != np.int64 or array.ndim != 1 or len(array) != len(ts_ns) for array in arrays):
        shapes = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise ValueError(f"tape {book}: expected three int64 arrays of one length, found {shapes}")
    if len(ts_ns) and (np.any(np.diff(ts_ns) < 0) or ts_ns[0] < 0):
        raise ValueError(f"tape {book}: expected instants from 0 on that never fall")
    for name, array in (("price_ticks", price_ticks), ("size_lots", size_lots)):
        if len(array) and not (array.min() > 0 and array.max() <= VALUE_MAX):
            raise ValueError(f"tape {book}, {name}: expected 1 to {VALUE_MAX}, found {array.min()} to {array.max()}")
    return np.ascontiguousarray(ts_ns), np.ascontiguousarray(price_ticks), np.ascontiguousarray(size_lots)


def checked_messages(messages: Int64Array, number_max: int, books: int) -> Int64Array:
    """Return messages, contiguous; raise ValueError at the first that has no meaning.

    `number_max` is the highest number of an order so far.
    """
    if messages.dtype != np.int64 or messages.ndim != 2 or messages.shape[1] != MESSAGE_COLUMNS:
        raise ValueError(
            f"messages: expected int64 of shape (n, {MESSAGE_COLUMNS}), found {messages.dtype} {messages.shape}"
        )
    kinds, new = messages[:, Message.KIND], messages[:, Message.KIND] == Kind.NEW
    numbers = np.concatenate([[number_max], messages[new, Message.NUMBER]])
    sides, of_book = messages[new, Message.SIDE], messages[new, Message.BOOK]
    amounts = messages[kinds == Kind.AMEND]
    limits = np.array([VALUE_MAX, VALUE_MAX**2])
    for what, good in (
        (f"kinds of 0 to {max(Kind)}", (kinds >= 0) & (kinds <= max(Kind))),
        ("instants from 0 on", messages[:, Message.AT] >= 0),
        (f"numbers of new orders that rise, by at most {NUMBER_STEP_MAX}", _rise(numbers)),
        (f"books of 0 to {books - 1}", (of_book >= 0) & (of_book < books)),
        ("sides of 1 or -1", np.abs(sides) == 1),
        ("known manners", messages[new, Message.MANNER] & ~np.int64(sum(Manner)) == 0),
        ("ends from 0 on", messages[kinds != Kind.PLAY, Message.EXPIRE] >= 0),
        ("amendments in range", (np.abs(amounts[:, [Message.LOTS, Message.PRICE]]) <= limits).all(axis=1)),
    ):
        if not good.all():
            raise ValueError(f"messages: expected {what}, the {int(np.argmin(good)) + 1}. of these is not")
    return np.ascontiguousarray(messages)


def _rise(numbers: Int64Array) -> NDArray[np.bool_]:
    steps = np.diff(numbers.astype(np.float64))
    return (steps > 0) & (steps <= NUMBER_STEP_MAX)
