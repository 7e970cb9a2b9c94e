"""Price-time priority against a tape, fast; the rules and the docstrings are in the plain twin, `_reference`.

Orders lie in one table by number. A side of a book is an array of (key, priority, number), the best last: most of what
comes and goes is near the best, and little has to move. The key is the price, negated for offers.

The window of the tape that an order sees is kept and moved from order to order: the volume and the count of prints at
each price of the tape, the volume of all, the number of prices. A window that shares nothing with the last is begun
anew.
"""

import numpy as np

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport int64_t
from libc.stdlib cimport llabs
from libc.string cimport memcpy, memmove, memset

from ext.matching import _reference
from ext.matching._columns import Column, Happening, Kind, Manner, Message, Reason, State

cdef enum:
    # Messages.
    KIND, NUMBER, BOOK, OWNER, SIDE, PRICE, LOTS, MANNER, EXPIRE, AT, MESSAGE_COLUMNS
cdef enum:
    ASK_NEW, ASK_CANCEL, ASK_REPLACE, ASK_PLAY, ASK_AMEND, KINDS
cdef enum:
    POST_ONLY = 1
    IMMEDIATE_OR_CANCEL = 2
    FILL_OR_KILL = 4
cdef enum:
    TOLD_NEW, TOLD_REJECTED, TOLD_TRADE, TOLD_CANCELED, TOLD_EXPIRED, TOLD_REPLACED, TOLD_REPLACE_REFUSED, TOLD_AMENDED
cdef enum:
    NONE, BAD_QUANTITY, BAD_PRICE, BAD_INSTRUCTIONS, POST_ONLY_WOULD_CROSS, IOC_REMAINDER, FOK_UNFILLED
cdef enum:
    UNHEARD_OF, IS_NEW, IS_PARTIALLY_FILLED, IS_FILLED, IS_CANCELED, IS_REJECTED, IS_EXPIRED
cdef enum:
    EVENT_COLUMNS = 12
    ENTRIES_A_STEP = 64  # that move in the time of one step

cdef int64_t VALUE_MAX = 2147483647
cdef int64_t NUMBER_STEP_MAX = _reference.NUMBER_STEP_MAX
cdef int64_t NEVER = 9223372036854775807

assert len(Message) == MESSAGE_COLUMNS and len(Column) == EVENT_COLUMNS and len(Kind) == KINDS
assert [*Manner] == [POST_ONLY, IMMEDIATE_OR_CANCEL, FILL_OR_KILL]
assert max(Happening) == TOLD_AMENDED and max(Reason) == FOK_UNFILLED and max(State) == IS_EXPIRED
assert _reference.VALUE_MAX == VALUE_MAX

cdef struct Order:
    int64_t book, owner, side, price, lots, manner, expire, arrived, state, cum_lots, value, ahead, priority

cdef struct Entry:
    int64_t key, priority, number

cdef struct Side:
    Entry *entries  # the best last
    Py_ssize_t count, room

cdef struct Taken:
    int64_t at_ns, lots

cdef struct Book:
    # The tape, and for each print the rank of its price among the tape's prices.
    const int64_t *ts_ns
    const int64_t *ticks
    const int64_t *sizes
    const int64_t *ranks
    const int64_t *prices
    Py_ssize_t prints, levels, index
    Side sides[2]  # bids, offers
    int64_t next_expiry  # nothing expires before it
    # The window, prints [low, high), and what is in it.
    Py_ssize_t low, high
    int64_t seen_ns
    int64_t *volumes
    int64_t *counts
    int64_t volume, distinct
    Taken *taken
    Py_ssize_t taken_first, taken_count, taken_room


cdef inline Py_ssize_t lower_bound(const int64_t *values, Py_ssize_t count, int64_t value) noexcept nogil:
    """How many of rising values are below one."""
    cdef Py_ssize_t low = 0, middle
    while low < count:
        middle = (low + count) // 2
        if values[middle] < value:
            low = middle + 1
        else:
            count = middle
    return low


cdef inline Side *side_of(Book *book, int64_t side) noexcept nogil:
    return &book.sides[0 if side > 0 else 1]


cdef inline bint reaches(int64_t side, int64_t price, int64_t ticks) noexcept nogil:
    return side * (price - ticks) >= 0


cdef inline Py_ssize_t place_of(Side *side, int64_t key, int64_t priority) noexcept nogil:
    """How many entries stand behind a key and priority."""
    cdef Py_ssize_t low = 0, high = side.count, middle
    cdef Entry *entry
    while low < high:
        middle = (low + high) // 2
        entry = &side.entries[middle]
        if entry.key < key or (entry.key == key and entry.priority > priority):
            low = middle + 1
        else:
            high = middle
    return low


cdef void move_window(Book *book, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    cdef Py_ssize_t i
    if low >= book.high or high <= book.low:
        for i in range(book.low, book.high):
            count_print(book, i, -1)
        book.low = book.high = low
    for i in range(book.high, high):
        count_print(book, i, 1)
    for i in range(high, book.high):
        count_print(book, i, -1)
    for i in range(low, book.low):
        count_print(book, i, 1)
    for i in range(book.low, low):
        count_print(book, i, -1)
    book.low, book.high = low, high


cdef inline void count_print(Book *book, Py_ssize_t i, int64_t sign) noexcept nogil:
    cdef int64_t rank = book.ranks[i]
    book.volumes[rank] += sign * book.sizes[i]
    book.volume += sign * book.sizes[i]
    if sign > 0:
        book.distinct += book.counts[rank] == 0
        book.counts[rank] += 1
    else:
        book.counts[rank] -= 1
        book.distinct -= book.counts[rank] == 0


@cython.auto_pickle(False)
cdef class Matcher:
    cdef Book *books
    cdef Py_ssize_t book_count
    cdef Order *orders
    cdef Py_ssize_t order_room
    cdef int64_t number_max, priority, reached_ns, window_ns, steps_left
    cdef int64_t *events
    cdef Py_ssize_t event_count, event_room
    cdef bint out_of_memory
    cdef list kept  # what the books point into

    def __cinit__(self, tapes, int64_t window_ns):
        cdef Py_ssize_t i
        cdef const int64_t[::1] ts_ns, ticks, sizes, ranks, prices
        cdef int64_t[::1] volumes, counts
        if not 0 < window_ns <= NEVER // 4:
            raise ValueError(f"window_ns: expected 1 to {NEVER // 4}, found {window_ns}")
        self.window_ns = window_ns
        self.kept = []
        checked = [_reference.checked_tape(i, *tape) for i, tape in enumerate(tapes)]
        self.books = <Book *>PyMem_RawRealloc(NULL, max(1, len(checked)) * sizeof(Book))
        if self.books == NULL:
            raise MemoryError
        memset(self.books, 0, len(checked) * sizeof(Book))
        self.book_count = len(checked)
        for i, tape in enumerate(checked):
            levels, of_print = np.unique(tape[1], return_inverse=True)
            arrays = (*tape, of_print.astype(np.int64), levels, np.zeros(len(levels) + 1, np.int64),
                      np.zeros(len(levels) + 1, np.int64))
            self.kept.append(arrays)
            ts_ns, ticks, sizes, ranks, prices, volumes, counts = arrays
            self.books[i].prints = len(ts_ns)
            self.books[i].levels = len(prices)
            self.books[i].next_expiry = NEVER
            self.books[i].seen_ns = -1
            self.books[i].volumes = &volumes[0]
            self.books[i].counts = &counts[0]
            if len(ts_ns):
                self.books[i].ts_ns = &ts_ns[0]
                self.books[i].ticks = &ticks[0]
                self.books[i].sizes = &sizes[0]
                self.books[i].ranks = &ranks[0]
                self.books[i].prices = &prices[0]

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.book_count):
            PyMem_RawFree(self.books[i].sides[0].entries)
            PyMem_RawFree(self.books[i].sides[1].entries)
            PyMem_RawFree(self.books[i].taken)
        PyMem_RawFree(self.books)
        PyMem_RawFree(self.orders)
        PyMem_RawFree(self.events)

    @property
    def played_ns(self):
        return self.reached_ns

    def last_before(self, Py_ssize_t book, int64_t instant_ns):
        if not 0 <= book < self.book_count:
            raise IndexError("list index out of range")
        return self.last(&self.books[book], instant_ns)

    def run(self, messages, int64_t steps_max=_reference.STEPS_MAX):
        cdef const int64_t[:, ::1] rows
        cdef Py_ssize_t count, done
        cdef int64_t[:, ::1] told
        if type(messages) is not np.ndarray or messages.dtype != np.int64 or messages.ndim != 2 \
                or messages.shape[1] != MESSAGE_COLUMNS or not messages.flags.c_contiguous:
            messages = _reference.checked_messages(messages, self.number_max, self.book_count)
        rows = messages
        count = rows.shape[0]
        if count == 0:
            return np.empty((0, EVENT_COLUMNS), dtype=np.int64), 0
        if not self.meaningful(&rows[0, 0], count):
            _reference.checked_messages(messages, self.number_max, self.book_count)
            raise AssertionError("the twins disagree on what a message means")
        self.make_room(&rows[0, 0], count)
        self.steps_left = steps_max
        with nogil:
            done = self.handle(&rows[0, 0], count)
        if self.out_of_memory:
            raise MemoryError("the books are no longer to be relied on")
        events = np.empty((self.event_count, EVENT_COLUMNS), dtype=np.int64)
        if self.event_count:
            told = events
            memcpy(&told[0, 0], self.events, self.event_count * EVENT_COLUMNS * sizeof(int64_t))
        return events, done

    cdef bint meaningful(self, const int64_t *row, Py_ssize_t count) noexcept nogil:
        cdef int64_t highest = self.number_max
        cdef Py_ssize_t _i
        for _i in range(count):
            if not 0 <= row[KIND] < KINDS or row[AT] < 0 or (row[KIND] != ASK_PLAY and row[EXPIRE] < 0):
                return False
            if row[KIND] == ASK_NEW:
                if not highest < row[NUMBER] <= highest + NUMBER_STEP_MAX or not 0 <= row[BOOK] < self.book_count:
                    return False
                if (row[SIDE] != 1 and row[SIDE] != -1) or not 0 <= row[MANNER] < 8:
                    return False
                highest = row[NUMBER]
            elif row[KIND] == ASK_AMEND:
                if not -VALUE_MAX <= row[LOTS] <= VALUE_MAX:
                    return False
                if not -VALUE_MAX * VALUE_MAX <= row[PRICE] <= VALUE_MAX * VALUE_MAX:
                    return False
            row += MESSAGE_COLUMNS
        return True

    cdef int make_room(self, const int64_t *row, Py_ssize_t count) except -1:
        """Make the table long enough for the new orders of a batch."""
        cdef int64_t highest = self.number_max
        cdef Py_ssize_t _i, room
        cdef Order *grown
        for _i in range(count):
            if row[KIND] == ASK_NEW:
                highest = row[NUMBER]
            row += MESSAGE_COLUMNS
        if highest < self.order_room:
            return 0
        room = highest + highest // 2 + 64
        grown = <Order *>PyMem_RawRealloc(self.orders, room * sizeof(Order))
        if grown == NULL:
            raise MemoryError
        memset(&grown[self.order_room], 0, (room - self.order_room) * sizeof(Order))
        self.orders, self.order_room = grown, room
        return 0

    cdef Py_ssize_t handle(self, const int64_t *row, Py_ssize_t count) noexcept nogil:
        cdef Py_ssize_t done = 0
        cdef int64_t at_ns, kind
        cdef Order *order
        self.event_count = 0
        while done < count and not self.out_of_memory:
            if done and self.steps_left <= 0:
                break
            self.steps_left -= 1
            kind = row[KIND]
            if kind == ASK_PLAY:
                if not self.play(row[AT]):
                    break
            elif kind == ASK_NEW:
                self.submit(row)
            elif 0 < row[NUMBER] <= self.number_max and self.orders[row[NUMBER]].state != UNHEARD_OF:
                order = &self.orders[row[NUMBER]]
                at_ns = max(row[AT], self.reached_ns)
                if kind == ASK_AMEND:
                    self.amend(order, row, at_ns)
                elif order.state > IS_PARTIALLY_FILLED:
                    pass
                elif kind == ASK_CANCEL:
                    self.remove(order, row[NUMBER], IS_CANCELED, TOLD_CANCELED, at_ns)
                else:
                    self.replace(order, row, at_ns)
            row += MESSAGE_COLUMNS
            done += 1
        return done

    cdef void submit(self, const int64_t *row) noexcept nogil:
        cdef int64_t number = row[NUMBER], reason
        cdef Order *order = &self.orders[number]
        self.number_max = number
        order.book, order.owner, order.side, order.price = row[BOOK], row[OWNER], row[SIDE], row[PRICE]
        order.lots, order.manner, order.expire = row[LOTS], row[MANNER], row[EXPIRE]
        order.arrived = max(row[AT], self.reached_ns)
        order.state = IS_NEW
        reason = self.refusal(order)
        if reason != NONE:
            order.state = IS_REJECTED
            self.tell(order, number, TOLD_REJECTED, order.arrived, reason)
            return
        self.tell(order, number, TOLD_NEW, order.arrived, NONE)
        self.enter(order, number)

    cdef int64_t refusal(self, Order *order) noexcept nogil:
        cdef int64_t takes = order.manner & (IMMEDIATE_OR_CANCEL | FILL_OR_KILL)
        cdef bint post_only = order.manner & POST_ONLY
        if not 0 < order.lots <= VALUE_MAX or order.lots <= order.cum_lots:
            return BAD_QUANTITY
        if not 0 < order.price <= VALUE_MAX:
            return BAD_PRICE
        if (post_only and takes) or takes == IMMEDIATE_OR_CANCEL | FILL_OR_KILL:
            return BAD_INSTRUCTIONS
        if order.expire and (takes or order.expire <= order.arrived):
            return BAD_INSTRUCTIONS
        if post_only and self.would_cross(order):
            return POST_ONLY_WOULD_CROSS
        return NONE

    cdef void enter(self, Order *order, int64_t number) noexcept nogil:
        if order.manner & FILL_OR_KILL and self.fillable(order) < order.lots - order.cum_lots:
            order.state = IS_CANCELED
            self.tell(order, number, TOLD_CANCELED, order.arrived, FOK_UNFILLED)
            return
        self.match(order, number)
        if order.lots == order.cum_lots:
            return
        if order.manner & IMMEDIATE_OR_CANCEL:
            order.state = IS_CANCELED
            self.tell(order, number, TOLD_CANCELED, order.arrived, IOC_REMAINDER)
        else:
            self.rest(order, number)

    cdef void replace(self, Order *order, const int64_t *row, int64_t at_ns) noexcept nogil:
        cdef Order fresh = order[0]
        cdef bint stays
        cdef int64_t reason
        fresh.price, fresh.lots, fresh.expire, fresh.arrived = row[PRICE], row[LOTS], row[EXPIRE], at_ns
        stays = fresh.price == order.price and fresh.lots <= order.lots
        reason = self.refusal(&fresh)
        if reason != NONE and not (stays and reason == POST_ONLY_WOULD_CROSS):
            self.tell(order, row[NUMBER], TOLD_REPLACE_REFUSED, at_ns, reason)
            return
        if not stays:
            self.drop(order)
        order.price, order.lots, order.expire = fresh.price, fresh.lots, fresh.expire
        if order.expire:
            self.books[order.book].next_expiry = min(self.books[order.book].next_expiry, order.expire)
        self.tell(order, row[NUMBER], TOLD_REPLACED, at_ns, NONE)
        if not stays:
            order.arrived = at_ns
            self.enter(order, row[NUMBER])

    cdef void amend(self, Order *order, const int64_t *row, int64_t at_ns) noexcept nogil:
        if not 0 <= order.cum_lots + row[LOTS] <= VALUE_MAX:
            return
        order.cum_lots += row[LOTS]
        order.value += row[PRICE]
        if order.state <= IS_PARTIALLY_FILLED:
            if order.lots <= order.cum_lots:
                self.remove(order, row[NUMBER], IS_FILLED, TOLD_AMENDED, at_ns)
                return
            order.state = IS_PARTIALLY_FILLED if order.cum_lots else IS_NEW
        self.tell(order, row[NUMBER], TOLD_AMENDED, at_ns, NONE)

    cdef void remove(
        self, Order *order, int64_t number, int64_t state, int64_t happening, int64_t at_ns
    ) noexcept nogil:
        self.drop(order)
        order.state = state
        self.tell(order, number, happening, at_ns, NONE)

    cdef int64_t last(self, Book *book, int64_t instant_ns) noexcept nogil:
        cdef Py_ssize_t count
        if instant_ns == book.seen_ns:
            count = book.high
        else:
            count = lower_bound(book.ts_ns, book.prints, instant_ns)
        return book.ticks[count - 1] if count else 0

    cdef void look(self, Book *book, int64_t instant_ns) noexcept nogil:
        """Move the window to where an order arrives."""
        cdef Py_ssize_t low, high
        if instant_ns != book.seen_ns:
            low = lower_bound(book.ts_ns, book.prints, instant_ns - self.window_ns)
            high = lower_bound(book.ts_ns, book.prints, instant_ns)
            self.steps_left -= llabs(low - book.low) + llabs(high - book.high)
            move_window(book, low, high)
            book.seen_ns = instant_ns

    cdef void drop(self, Order *order) noexcept nogil:
        cdef Side *side = side_of(&self.books[order.book], order.side)
        cdef Py_ssize_t place = place_of(side, order.side * order.price, order.priority)
        side.count -= 1
        self.steps_left -= (side.count - place) // ENTRIES_A_STEP
        memmove(&side.entries[place], &side.entries[place + 1], (side.count - place) * sizeof(Entry))

    cdef inline bint meets(self, Order *order, Order *other) noexcept nogil:
        return other.owner != order.owner and not 0 < other.expire <= order.arrived

    cdef bint would_cross(self, Order *order) noexcept nogil:
        cdef Book *book = &self.books[order.book]
        cdef Side *opposite = side_of(book, -order.side)
        cdef Py_ssize_t i
        self.look(book, order.arrived)
        cdef int64_t last = self.last(book, order.arrived)
        if last and reaches(order.side, order.price, last + order.side):
            return True
        for i in range(opposite.count - 1, -1, -1):
            self.steps_left -= 1
            # The key of the other side has the opposite sign.
            if not reaches(order.side, order.price, -order.side * opposite.entries[i].key):
                return False
            if self.meets(order, &self.orders[opposite.entries[i].number]):
                return True
        return False

    cdef int64_t fillable(self, Order *order) noexcept nogil:
        cdef Book *book = &self.books[order.book]
        cdef Side *opposite = side_of(book, -order.side)
        cdef Order *other
        cdef int64_t lots = 0
        cdef Py_ssize_t i
        for i in range(opposite.count - 1, -1, -1):
            if not reaches(order.side, order.price, -order.side * opposite.entries[i].key):
                break
            self.steps_left -= 1
            other = &self.orders[opposite.entries[i].number]
            if self.meets(order, other):
                lots += other.lots - other.cum_lots
        cdef int64_t last = self.last(book, order.arrived)
        if last and reaches(order.side, order.price, last + order.side):
            lots += self.depth(order)
        return lots

    cdef void match(self, Order *order, int64_t number) noexcept nogil:
        cdef Book *book = &self.books[order.book]
        cdef int64_t last = self.last(book, order.arrived), quote = last + order.side, lots
        if last and reaches(order.side, order.price, quote):
            self.match_orders(order, number, quote)
            lots = min(order.lots - order.cum_lots, self.depth(order) if order.lots > order.cum_lots else 0)
            if lots:
                self.take(book, order.arrived, lots)
                self.fill(order, number, lots, quote, order.arrived, False)
        self.match_orders(order, number, order.price)

    cdef void match_orders(self, Order *order, int64_t number, int64_t limit_ticks) noexcept nogil:
        cdef Side *opposite = side_of(&self.books[order.book], -order.side)
        cdef Py_ssize_t i = opposite.count - 1
        cdef int64_t price, lots, matched
        cdef Order *other
        while i >= 0 and order.lots > order.cum_lots:
            price, matched = -order.side * opposite.entries[i].key, opposite.entries[i].number
            if order.side * (limit_ticks - price) < 0:
                return
            self.steps_left -= 1
            other = &self.orders[matched]
            if self.meets(order, other):
                lots = min(order.lots - order.cum_lots, other.lots - other.cum_lots)
                self.fill(other, matched, lots, price, order.arrived, True)
                self.fill(order, number, lots, price, order.arrived, False)
            # Had the other gone, those behind it, towards the best, have moved down: the next is still i - 1.
            i -= 1

    cdef void rest(self, Order *order, int64_t number) noexcept nogil:
        cdef Book *book = &self.books[order.book]
        cdef Side *side = side_of(book, order.side)
        cdef int64_t key = order.side * order.price, ahead = self.queue(order)
        cdef Py_ssize_t place, i
        cdef Entry *grown
        if side.count == side.room:
            grown = <Entry *>PyMem_RawRealloc(side.entries, (2 * side.room + 64) * sizeof(Entry))
            if grown == NULL:
                self.out_of_memory = True
                return
            side.entries, side.room = grown, 2 * side.room + 64
        self.priority += 1
        order.priority = self.priority
        place = place_of(side, key, order.priority)
        i = place
        while i < side.count and side.entries[i].key == key:
            ahead = max(ahead, self.orders[side.entries[i].number].ahead)
            i += 1
        self.steps_left -= i - place + (side.count - place) // ENTRIES_A_STEP
        order.ahead = ahead
        memmove(&side.entries[place + 1], &side.entries[place], (side.count - place) * sizeof(Entry))
        side.entries[place] = Entry(key, order.priority, number)
        side.count += 1
        if order.expire:
            book.next_expiry = min(book.next_expiry, order.expire)

    cdef int64_t queue(self, Order *order) noexcept nogil:
        cdef Book *book = &self.books[order.book]
        cdef Py_ssize_t rank = lower_bound(book.prices, book.levels, order.price)
        self.look(book, order.arrived)
        if rank < book.levels and book.prices[rank] == order.price and book.volumes[rank]:
            return book.volumes[rank]
        return (book.volume + book.distinct - 1) // book.distinct if book.distinct else 1

    cdef int64_t depth(self, Order *order) noexcept nogil:
        cdef Book *book = &self.books[order.book]
        cdef int64_t since_ns = order.arrived - self.window_ns, lots
        cdef Taken *taken
        cdef Py_ssize_t i
        self.look(book, order.arrived)
        lots = book.volume
        self.steps_left -= book.taken_count - book.taken_first
        for i in range(book.taken_first, book.taken_count):
            taken = &book.taken[i]
            if since_ns <= taken.at_ns <= order.arrived:
                lots -= taken.lots
        return max(1, lots)

    cdef void take(self, Book *book, int64_t at_ns, int64_t lots) noexcept nogil:
        cdef Taken *grown
        if book.taken_count == book.taken_room:
            book.taken_count -= book.taken_first
            memmove(book.taken, &book.taken[book.taken_first], book.taken_count * sizeof(Taken))
            book.taken_first = 0
            if 2 * book.taken_count >= book.taken_room:
                grown = <Taken *>PyMem_RawRealloc(book.taken, (2 * book.taken_room + 64) * sizeof(Taken))
                if grown == NULL:
                    self.out_of_memory = True
                    return
                book.taken, book.taken_room = grown, 2 * book.taken_room + 64
        book.taken[book.taken_count] = Taken(at_ns, lots)
        book.taken_count += 1
        while book.taken[book.taken_first].at_ns < at_ns - 2 * self.window_ns:
            book.taken_first += 1

    cdef bint play(self, int64_t until_ns) noexcept nogil:
        cdef Py_ssize_t b, stop
        cdef Book *book
        for b in range(self.book_count):
            book = &self.books[b]
            stop = max(book.index, lower_bound(book.ts_ns, book.prints, until_ns))
            while book.index < stop:
                self.skip(book, min(stop, book.index + max(1, self.steps_left)))
                if book.index < stop and book.ts_ns[book.index] >= book.next_expiry:
                    self.expire_one(book, book.ts_ns[book.index])
                elif book.index < stop and self.touched(book):
                    self.meet_print(book)
                    book.index += 1
                if self.steps_left <= 0:
                    return False
            while book.next_expiry <= until_ns:
                self.expire_one(book, until_ns)
                if self.steps_left <= 0:
                    return False
        self.reached_ns = max(self.reached_ns, until_ns)
        return True

    cdef inline bint touched(self, Book *book) noexcept nogil:
        """Tell whether the next print reaches an order, or comes when one is no longer good."""
        cdef int64_t ticks = book.ticks[book.index]
        cdef Side *bids = &book.sides[0]
        cdef Side *asks = &book.sides[1]
        if book.ts_ns[book.index] >= book.next_expiry:
            return True
        if bids.count and ticks <= bids.entries[bids.count - 1].key:
            return True
        return asks.count and ticks >= -asks.entries[asks.count - 1].key

    cdef void skip(self, Book *book, Py_ssize_t stop) noexcept nogil:
        """Pass the prints that mean nothing to any order."""
        cdef Py_ssize_t first = book.index
        if not book.sides[0].count and not book.sides[1].count:
            book.index = stop
            self.steps_left -= 1
            return
        while book.index < stop and not self.touched(book):
            book.index += 1
        self.steps_left -= book.index - first

    cdef void meet_print(self, Book *book) noexcept nogil:
        cdef int64_t at_ns = book.ts_ns[book.index], ticks = book.ticks[book.index], left = book.sizes[book.index]
        cdef int64_t through, passed, strangers, lots, number
        cdef Py_ssize_t s, i
        cdef Side *side
        cdef Order *order
        for s in range(2):
            side = &book.sides[s]
            passed = 0
            i = side.count - 1
            while i >= 0:
                through = side.entries[i].key - (ticks if s == 0 else -ticks)
                if through < 0:
                    break
                number = side.entries[i].number
                order = &self.orders[number]
                i -= 1
                self.steps_left -= 1
                if order.arrived > at_ns:
                    continue
                if through:
                    order.ahead = 0
                strangers = max(0, min(left, order.ahead - passed))
                passed += strangers
                left -= strangers
                order.ahead = max(0, order.ahead - passed)
                lots = min(left, order.lots - order.cum_lots)
                if lots:
                    self.take(book, at_ns, lots)
                    self.fill(order, number, lots, order.price, at_ns, True)
                    left -= lots

    cdef void expire_one(self, Book *book, int64_t instant_ns) noexcept nogil:
        """Take out the first order that is no longer good at an instant, and learn when to look again."""
        cdef Py_ssize_t s, i
        cdef int64_t number, first = 0, end = NEVER
        cdef Order *order
        self.steps_left -= book.sides[0].count + book.sides[1].count + 1
        for s in range(2):
            for i in range(book.sides[s].count):
                number = book.sides[s].entries[i].number
                order = &self.orders[number]
                if order.expire and (order.expire < end or (order.expire == end and number < first)):
                    first, end = number, order.expire
        book.next_expiry = end
        if first and end <= instant_ns:
            self.remove(&self.orders[first], first, IS_EXPIRED, TOLD_EXPIRED, end)

    cdef void fill(
        self, Order *order, int64_t number, int64_t lots, int64_t ticks, int64_t at_ns, bint maker
    ) noexcept nogil:
        cdef int64_t *row
        order.cum_lots += lots
        order.value += lots * ticks
        order.state = IS_PARTIALLY_FILLED if order.cum_lots < order.lots else IS_FILLED
        if maker and order.state == IS_FILLED:
            self.drop(order)
        row = self.tell(order, number, TOLD_TRADE, at_ns, NONE)
        if row != NULL:
            row[7], row[8], row[9] = lots, ticks, maker

    cdef int64_t *tell(
        self, Order *order, int64_t number, int64_t happening, int64_t at_ns, int64_t reason
    ) noexcept nogil:
        cdef int64_t *row
        cdef Py_ssize_t room
        if self.event_count == self.event_room:
            room = 2 * self.event_room + 256
            row = <int64_t *>PyMem_RawRealloc(self.events, room * EVENT_COLUMNS * sizeof(int64_t))
            if row == NULL:
                self.out_of_memory = True
                return NULL
            self.events, self.event_room = row, room
        row = &self.events[self.event_count * EVENT_COLUMNS]
        self.event_count += 1
        row[0], row[1], row[2], row[3], row[4] = happening, number, order.state, order.price, order.lots
        row[5], row[6], row[7], row[8], row[9] = order.cum_lots, order.value, 0, 0, 0
        row[10], row[11] = reason, at_ns
        return row
