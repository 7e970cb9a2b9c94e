"""What TWS tells, made into reports: in order, each fill once in a process, nothing that was not on the wire.

Theory of operation. An order is known by its orderRef, which is our ClOrdID, and from then on by its permId; order ids
are only how it is spoken of on this connection, for TWS gives them out again. A status with a permId that no open order
was told with is nobody's. A replace is a placeOrder with the id of the order and a new orderRef; it is accepted when an
open order is told with the quantity and price that were asked for, whatever orderRef TWS keeps.

A question is answered by a census: positions, where they were asked for, open orders and completed orders, and after
all of these the executions. So whatever those counted as filled has been told when the answer goes up, and an order
that is in none of them, though TWS had the time to take it in, is one that it has never heard of. One census runs at a
time: the ends of the answers have no names. Executions are told since midnight only; of an order that is older than
that, absence proves nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from trisagion.gateway.ib_census import (
    COMPLETED,
    EXECUTIONS,
    OPEN,
    POSITIONS,
    AllTold,
    Census,
    PositionsTold,
    Questions,
    Synchronised,
    conclude,
)
from trisagion.gateway.ib_lines import AT_WORK, OVER, Change, Line, refusal, report, standing
from trisagion.gateway.ib_outgoing import Outgoing, bound
from trisagion.gateway.ib_words import (
    Code,
    Commission,
    Does,
    Executed,
    OpenOrder,
    Problem,
    StatusTold,
    meaning,
    read_status,
)
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order, Unreadable

UNHEARD_S: Final = 5.0
"""Without a word for so long an order is in doubt (reliability 2.4); before that its absence proves nothing."""
LINES_MAX: Final = 20_000
"""Orders that are remembered; one that is over and forgotten is learned again from what TWS tells of it."""
DUPLICATE_ID: Final = 103

Ended = Synchronised | AllTold | PositionsTold
Output = ExecutionReport | Unreadable | Ended


@dataclass(slots=True, eq=False)
class Book:
    """Orders of one account by what TWS says of them. Seconds are of a steady clock, instants the platform's.

    `symbols` are those whose position is reported even where there is none. `zone` is that of TWS' midnight.
    """

    venue: str
    client_id: int
    symbols: tuple[str, ...]
    exec_wait_s: float
    zone: str
    now_ns: int = field(default=0, init=False)
    _by_ref: dict[ClOrdId, Line] = field(default_factory=dict, init=False)
    _by_perm: dict[int, Line] = field(default_factory=dict, init=False)
    _by_id: dict[int, Line] = field(default_factory=dict, init=False)
    _lines: dict[int, Line] = field(default_factory=dict, init=False)
    _asked: dict[int, Line] = field(default_factory=dict, init=False)
    _early: dict[int, StatusTold] = field(default_factory=dict, init=False)
    _waiting: Questions = field(default_factory=Questions, init=False)
    _census: Census | None = field(default=None, init=False)
    _asked_number: int = field(default=0, init=False)
    _order_id_max: int = field(default=0, init=False)
    _out: Outgoing[Ended] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._out = Outgoing(self.venue, self.exec_wait_s)

    # What we send.

    def placing(self, order: Order, order_id: int, now_ns: int, now_s: float) -> Line:
        """Note a new order before it is sent."""
        self._date(now_ns)
        line = Line(order.cl_ord_id, order.symbol, order.side, order.qty, order.price, order_id=order_id, mine=True)
        line.at_ns, line.sent_s, line.asked_s = now_ns, now_s, now_s
        self._enter(line)
        self._asked[id(line)] = line
        self._by_id[order_id] = line
        return line

    def not_placed(self, line: Line) -> None:
        """Take it back: nothing was sent."""
        self._forget(line)

    def line_of(self, order: Order) -> Line | None:
        """Return an order as TWS has it, by any of its names, where this client id may speak of it."""
        line = self._named(order)
        return line if line is not None and line.mine and line.order_id else None

    def changing(self, line: Line, order: Order, now_ns: int, now_s: float) -> None:
        """Note a replace before it is sent."""
        self._date(now_ns)
        change = Change.of(order)
        assert change is not None, order.cl_ord_id
        line.change, line.at_ns, line.sent_s, line.asked_s = change, now_ns, now_s, now_s
        self._name(line, change.name)
        self._asked[id(line)] = line

    def cancelling(self, line: Line, now_ns: int, now_s: float) -> None:
        """Note a cancel before it is sent."""
        self._date(now_ns)
        line.at_ns, line.asked_s = now_ns, now_s
        self._asked[id(line)] = line

    # What we ask.

    def ask(self, order: Order, now_ns: int) -> None:
        """Let the next census say what became of an order."""
        self._date(now_ns)
        self._waiting.orders[order.cl_ord_id] = (order, now_ns)

    def ask_all(self, request_id: str) -> None:
        """Let the next census name every order; only the answer to the last such question is waited for."""
        self._waiting.all_orders = request_id

    def ask_positions(self, request_id: str, now_ns: int) -> None:
        """Let the next census count the positions; an earlier question without an answer is given up."""
        self._date(now_ns)
        self._waiting.positions = (request_id, now_ns)

    def synchronise(self) -> None:
        """Let the next census be the one after a connection."""
        self._waiting.synchronise = True

    def begin(self, now_s: float) -> frozenset[str]:
        """Begin a census where one is due; return what TWS is to be asked for now."""
        if self._census is not None or not self._waiting.any:
            return frozenset()
        orders = self._waiting.orders
        early = {first for first, (order, _) in orders.items() if self._too_early(order, now_s)}
        now, self._waiting = self._waiting.split(early)
        if not now.any:
            return frozenset()
        left = {OPEN, COMPLETED} | ({POSITIONS} if now.positions else set())
        self._census = Census(now, left)
        return frozenset(left)

    def asking_executions(self) -> None:
        """Note that executions are asked for now."""
        self._asked_number = self._out.count()

    def answered(self, source: str, now_s: float) -> tuple[list[Output], bool]:
        """Note the end of an answer; return what goes up, and whether executions are to be asked for now."""
        census = self._census
        if source != EXECUTIONS:
            if census is None or source not in census.left:
                return [], False
            census.left.discard(source)
            return [], not census.left
        self._out.vouched(self._asked_number)
        if census is not None and not census.left:
            self._census = None
            conclude(census, self, self._out, self._asked_number, now_s)
        return [*self._out.drained()], False

    @property
    def asking(self) -> bool:
        """Tell whether an answer is waited for."""
        return self._census is not None

    def lost(self) -> None:
        """Give up all questions: the connection is gone. What was told stays, and what waits for its fee."""
        self._census, self._waiting, self._order_id_max = None, Questions(), 0
        self._out.give_up_ends()
        self._by_id.clear()
        for line in self._lines.values():
            line.asked_s, line.order_id = None, 0

    # What we hear.

    def open_order(self, told: OpenOrder, now_s: float) -> list[Output]:
        """Hear of an open order, in an answer or because it changed. Only a status says that one is over."""
        line, alarms = self._line(told)
        census = self._census
        if told.client_id == self.client_id and told.order_id > 0:
            line.order_id, line.mine = told.order_id, True
            self._by_id[told.order_id] = line
            self._order_id_max = max(self._order_id_max, told.order_id)
        before, change = (line.qty, line.price), line.change
        line.qty, line.price = told.qty, told.price
        if census is not None and OPEN in census.left:
            census.open[told.perm_id] = line
        if told.state not in OVER:
            self._moved(line, told.state, now_s)
            known = line.acked and change is None and before[0] is not None
            if known and before != (told.qty, told.price):
                self._altered(line, ClOrdId(told.ref), now_s)
        early = self._early.pop(told.perm_id, None)
        if early is not None:
            self._status(line, early, now_s)
        return [*alarms, *self._out.drained()]

    def completed_order(self, told: OpenOrder) -> list[Output]:
        """Hear of an order that is over; what it says goes up with the answer that it belongs to."""
        line, alarms = self._line(told)
        line.qty = told.qty if line.qty is None else line.qty
        line.reason = line.reason or told.reason
        line.counts(max(line.filled, told.filled), self._out.count())
        if self._census is not None:
            self._census.completed[told.perm_id] = told
        return [*alarms, *self._out.drained()]

    def status(self, told: StatusTold, now_s: float) -> list[Output]:
        """Hear where an order stands; what comes before TWS has named the order waits for that."""
        line = self._by_perm.get(told.perm_id)
        if line is None:
            self._early[told.perm_id] = told
            bound(self._early, LINES_MAX)
            return []
        self._status(line, told, now_s)
        return [*self._out.drained()]

    def executed(self, told: Executed, now_s: float) -> list[Output]:
        """Hear of an execution: it goes up with its fee, once."""
        self._date(told.at_ns)
        if self._out.heard(told.exec_id):
            return []
        line, alarms = self._line(told)
        # Whatever became of the message that said so: TWS has taken the order.
        line.acked = True
        self._out.fill(line, told, now_s)
        return [*alarms, *self._out.drained()]

    def commission(self, told: Commission) -> list[Output]:
        """Hear what an execution cost."""
        self._out.fee(told)
        return [*self._out.drained()]

    def position(self, symbol: str, con_id: int, qty: Decimal) -> None:
        """Hear of a position in a contract, in an answer."""
        if self._census is not None and POSITIONS in self._census.left:
            self._census.held[symbol, con_id] = qty

    def problem(self, told: Problem, now_s: float) -> list[Output]:
        """Hear an error about an order id of this connection; about one that is not ours it says nothing."""
        row = meaning(told.code, of_order=True)
        if row.does is Does.PACED:
            return self._doubt(self._unanswered(), "PACED", now_s)
        line = self._by_id.get(told.order_id)
        if line is None or row.does in {Does.NOTE, Does.DATA}:
            return []
        text = f"{told.code}: {told.text}"
        if row.does in {Does.CANCELLED, Does.TELL}:
            line.reason = text
            return []
        line.asked_s = None
        if told.code == DUPLICATE_ID:
            # The id is another order's: what is said of it from now on is not about this one.
            del self._by_id[told.order_id]
            line.order_id = 0
        self._refused(line, row, text, now_s)
        return [*self._out.drained()]

    def overdue(self, now_s: float) -> tuple[list[Output], bool]:
        """Doubt what has no answer; return what goes up, and whether executions are to be asked for again.

        An execution whose fee does not come is never booked with a guessed one: a person hears of it.
        """
        unheard = [line for line in self._unanswered() if now_s - (line.asked_s or 0.0) >= UNHEARD_S]
        alarms, hungry = self._out.overdue(now_s)
        doubts = self._doubt(unheard, f"UNHEARD: no answer for {UNHEARD_S:g} s", now_s)
        return [*doubts, *alarms], hungry

    def named(self, order: Order) -> Line | None:
        """Return an order as TWS has it, by any of its names."""
        return self._named(order)

    def by_perm(self, perm_id: int) -> Line:
        """Return an order of which TWS has told."""
        return self._by_perm[perm_id]

    def stand_in(self, order: Order) -> Line:
        """Return a line for an order of which nothing is known."""
        line = Line(order.venue_id, order.symbol, order.side, order.qty, order.price)
        self._enter(line)
        return line

    @property
    def order_id_max(self) -> int:
        """The greatest own order id of which TWS spoke on this connection."""
        return self._order_id_max

    # What follows from it.

    def _line(self, told: OpenOrder | Executed) -> tuple[Line, list[Unreadable]]:
        """Return the order that TWS speaks of; one that it names like another is a line of its own, and an alarm."""
        line = self._by_perm.get(told.perm_id)
        if line is not None:
            return line, []
        name, alarms = ClOrdId(told.ref), []
        line = self._by_ref.get(name)
        if line is not None and line.perm_id:
            why = f"expected one order of this name, found permId {line.perm_id} and {told.perm_id}"
            alarms.append(Unreadable(self.venue, of_orders=True, names=(name,), text=repr(told), why=why))
            line = None
        if line is None:
            line = Line(name, told.symbol, told.side, None, None, mine=told.client_id == self.client_id, acked=True)
            line.at_ns = self.now_ns
            self._enter(line, named=not alarms)
        line.perm_id = told.perm_id
        self._by_perm[told.perm_id] = line
        return line, alarms

    def _enter(self, line: Line, *, named: bool = True) -> None:
        if named:
            self._name(line, line.ref)
        self._lines[id(line)] = line
        if len(self._lines) > LINES_MAX:
            over = (each for each in self._lines.values() if each.state in OVER and not each.waits)
            for each in list(over)[: LINES_MAX // 10]:
                self._forget(each)

    def _name(self, line: Line, name: ClOrdId) -> None:
        line.names.add(name)
        self._by_ref[name] = line

    def _forget(self, line: Line) -> None:
        self._lines.pop(id(line), None)
        self._asked.pop(id(line), None)
        for name in line.names:
            if self._by_ref.get(name) is line:
                del self._by_ref[name]
        if self._by_perm.get(line.perm_id) is line:
            del self._by_perm[line.perm_id]
        if self._by_id.get(line.order_id) is line:
            del self._by_id[line.order_id]

    def _named(self, order: Order) -> Line | None:
        names = [link_cl_ord_id(order.cl_ord_id, link) for link in range(order.links, -1, -1)]
        return next((line for name in names if (line := self._by_ref.get(name)) is not None), None)

    def _too_early(self, order: Order, now_s: float) -> bool:
        """Tell whether TWS may not have taken in yet what was sent last about an order."""
        line = self._named(order)
        if line is None or line.sent_s is None or (line.acked and line.change is None):
            return False
        return now_s - line.sent_s < UNHEARD_S

    def _status(self, line: Line, told: StatusTold, now_s: float) -> None:
        line.avg_px = told.avg_px
        line.counts(told.filled, self._out.count())
        self._moved(line, read_status(told.status, told.filled), now_s)

    def _moved(self, line: Line, state: OrderState, now_s: float) -> None:
        """Say what an order's status means, once: TWS repeats itself."""
        was, line.state, venue = line.state, state, self.venue
        if state in AT_WORK:
            self._works(line, now_s)
        elif state is OrderState.UNKNOWN and was is not state and not line.ended:
            line.asked_s = None
            self._out.say(line, now_s, self._in_doubt(line, "INACTIVE"))
        elif state in OVER and not line.ended:
            line.ended, line.change, line.asked_s = True, None, None
            exec_type = ExecType.CANCELED if state is OrderState.CANCELED else ExecType.ORDER_STATUS

            def write(cum: Decimal) -> ExecutionReport:
                return report(line, venue, exec_type, state, cum, reason=line.reason)

            if state is not OrderState.FILLED or line.cum < line.filled:
                self._out.say(line, now_s, write, need=line.filled)

    def _works(self, line: Line, now_s: float) -> None:
        venue, change = self.venue, line.change
        if line.ended:
            # It was said to be over.
            line.ended = False
            self._out.say(line, now_s, standing(line, venue, line.state, line.ref), need=line.filled)
        if change is not None and (line.qty, line.price) == (change.qty, change.price):
            line.change, line.ref, line.asked_s, line.acked = None, change.name, None, True

            def replaced(cum: Decimal) -> ExecutionReport:
                state = OrderState.PARTIALLY_FILLED if cum > 0 else OrderState.NEW
                return report(line, venue, ExecType.REPLACED, state, cum, name=change.before, request=change.name)

            self._out.say(line, now_s, replaced, need=line.filled)
        elif not line.acked:
            line.acked, line.asked_s = True, None
            self._out.say(line, now_s, lambda cum: report(line, venue, ExecType.NEW, OrderState.NEW, cum))

    def _altered(self, line: Line, name: ClOrdId, now_s: float) -> None:
        """Say where an order stands that became another, when nobody waits for that any more or nobody asked."""
        line.ref = name
        self._name(line, name)
        self._out.say(line, now_s, standing(line, self.venue, line.state, name), need=line.filled)

    def _refused(self, line: Line, row: Code, text: str, now_s: float) -> None:
        venue, change = self.venue, line.change
        exec_type = ExecType.ORDER_STATUS
        request: ClOrdId | None = None
        if row.does in {Does.REJECT, Does.REFUSE_REPLACE} and change is not None:
            line.change, exec_type, request = None, ExecType.REPLACE_REJECTED, change.name
        elif row.does is Does.REJECT:
            if line.state in OVER:
                return
            line.ended, line.state = True, OrderState.REJECTED

            def rejected(cum: Decimal) -> ExecutionReport:
                state = OrderState.REJECTED
                return report(line, venue, ExecType.REJECTED, state, cum, reject=row.reject, reason=text)

            self._out.say(line, now_s, rejected, need=line.filled)
            return
        elif row.does is Does.REFUSE_CANCEL:
            exec_type = ExecType.CANCEL_REJECTED
        self._out.say(
            line, now_s, lambda _: refusal(line, venue, exec_type, request=request, reject=row.reject, reason=text)
        )

    def _doubt(self, lines: Sequence[Line], reason: str, now_s: float) -> list[Output]:
        for line in lines:
            line.asked_s = None
            self._out.say(line, now_s, self._in_doubt(line, reason))
        return [*self._out.drained()] if lines else []

    def _in_doubt(self, line: Line, reason: str) -> Callable[[Decimal], ExecutionReport]:
        return lambda _: refusal(line, self.venue, ExecType.ORDER_STATUS, request=None, reject=None, reason=reason)

    def _unanswered(self) -> list[Line]:
        self._asked = {key: line for key, line in self._asked.items() if line.asked_s is not None}
        return list(self._asked.values())

    def _date(self, now_ns: int) -> None:
        self.now_ns = max(self.now_ns, now_ns)
