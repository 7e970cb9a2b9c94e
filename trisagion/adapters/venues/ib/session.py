"""Our side of a session with TWS or IB Gateway: sends what it is told to, once, and hands up what it hears, in order.

Theory of operation. Two threads: the line's reads and writes and never waits (`connection.TwsLine`); the session's
takes what was heard, makes reports of it (`gateway.ib_book`), and hands these up. If the sink raises, the process ends:
TWS does not say again what it has said, but tells all executions of the day and all orders to whoever asks, and the
next process does, before it sends anything.

What is sent is sent now or not at all; there is no queue. Between TWS and the servers of IB there may be none either
(1100), so after each loss of either line, and after the nightly reset, the session synchronises: open orders, completed
orders and executions are told first, and then the sink hears of the logon and asks about each order that it may hold.

An order id is from a block that is reserved in the database, above every one that was ever used, that TWS offers or
that an open order has: TWS rolls its own back at night.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.ib.connection import OF_ORDERS, Connected, Dialled, Garbled, Lost, TwsLine, Where
from trisagion.adapters.venues.ib.ears import (
    REQUESTS_FROM,
    Accounts,
    Ended,
    Error,
    Held,
    IbContract,
    NextId,
    ServerTime,
)
from trisagion.adapters.venues.ib.library import Contract, ExecutionFilter, contract_of
from trisagion.adapters.venues.ib.library import Order as IbOrder
from trisagion.adapters.venues.messages import MessageFiles
from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError, OurMistake
from trisagion.gateway.ib_book import Book, Output
from trisagion.gateway.ib_census import (
    COMPLETED,
    EXECUTIONS,
    OPEN,
    POSITIONS,
    AllTold,
    PositionsTold,
    Synchronised,
)
from trisagion.gateway.ib_guard import RESET_WINDOWS, ResetWindow, check_environment, disagreements, resetting
from trisagion.gateway.ib_state import UP, Happening, Phase, passage
from trisagion.gateway.ib_words import Commission, Does, Executed, OpenOrder, Problem, StatusTold, meaning
from trisagion.gateway.pace import RollingSecond
from trisagion.ids import ClOrdId
from trisagion.orders.types import ExecutionReport, Order, Side, Unreadable
from trisagion.safety.skew import Window, offset_between
from trisagion.session_ports import OrderIds, ReportSink
from trisagion.units import plain

log = logging.getLogger(__name__)

TICK_S: Final = 0.05
"""How often is looked for what is overdue."""
PULSE_S_MAX: Final = 5.0
"""Without an answer to the question for the time for so long the connection is given up (reliability 2.4)."""
ANSWER_S_MAX: Final = 10.0
"""Without the end of an answer for so long it is asked for again."""
BLOCK: Final = 64
"""Order ids that are reserved in one commit; a crash skips what is left of them."""
ORDER_ID_MAX: Final = REQUESTS_FROM - BLOCK
MAKER: Final = "DAY"
TAKER: Final = "IOC"
ASKED_IN_ORDER: Final = (POSITIONS, OPEN, COMPLETED)
CENSUS: Final = 5
"""The most messages of a census: its questions, the one for executions, and the end of the positions."""
KEPT: Final = CENSUS + 3
"""Messages of each second that orders leave to questions: those of a census, the time, two that were not answered."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The session, which was up, is not any more."""


Outputs = Sequence[Output | LoggedOut]


@dataclass(frozen=True, slots=True)
class IbConfig:
    """Where TWS is, who we are there, what our symbols are, and where the session keeps what was said.

    `environment` is "paper" or "live". An execution whose fee is not told within `exec_wait_s` is asked for again. TWS'
    midnight, before which it tells no execution, is that of the first window's zone. Of `messages_per_s` TWS counts
    all that is said, questions, too, and loses what is more.
    """

    host: str
    port: int
    client_id: int
    account: str
    environment: str
    contracts: Mapping[str, IbContract]
    store_dir: Path
    heartbeat_s: int = 10
    reconnect_s: int = 1
    messages_per_s: int = 40
    reset_windows: tuple[ResetWindow, ...] = RESET_WINDOWS
    exec_wait_s: float = 5.0

    @property
    def zone(self) -> str:
        """The zone of TWS' midnight, and of its instants where it names none."""
        return self.reset_windows[0].zone if self.reset_windows else ResetWindow().zone


class IbSession:
    """A client of TWS; implements `session_ports.OwnedSession`. One process, one client id, one of these."""

    def __init__(self, config: IbConfig, sink: ReportSink, venue: str, ids: OrderIds) -> None:
        check_environment(config.environment, config.account, config.port)
        if config.client_id < 1:
            raise ConfigError(
                f"ib.client_id: expected 1 or more, found {config.client_id}: 0 moves orders made by hand"
            )
        self.config = config
        self._sink = sink
        self._venue = venue
        self._ids = ids
        self._book = Book(venue, config.client_id, tuple(config.contracts), config.exec_wait_s, config.zone)
        self._phase = Phase.DOWN
        self._servers_lost = self._id_in_use = False
        self._offered_id = 1
        self._free_ids = range(0)
        self._asked_s = self._executions_s = 0.0
        self._request = REQUESTS_FROM
        self._pulse_s = 0.0
        self._pulse_ns: int | None = None
        self._offsets = Window()
        self._pace = RollingSecond(config.messages_per_s)
        self._lock = threading.RLock()
        self._heard: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._files: MessageFiles | None = None
        self._line: TwsLine | None = None
        self._thread = threading.Thread(target=self._run, name="ib-session", daemon=True)

    def start(self, messages_after: int = 0) -> None:
        """Connect, again and again until `stop`; returns at once."""
        if self._line is not None:
            raise OurMistake("the session was started twice")
        config = self.config
        self._files = MessageFiles(config.store_dir / "messages", after=messages_after)
        where = Where(config.host, config.port, config.client_id, config.account, config.contracts, config.zone)
        self._line = TwsLine(where, self._heard.put, keep=self._files.write, retry_s=config.reconnect_s)
        self._thread.start()
        self._line.start()

    def stop(self) -> None:
        """Disconnect. Not to be called from within the sink."""
        if self._line is None or self._stopping.is_set():
            return
        self._line.stop()
        self._stopping.set()
        self._thread.join()
        # The thread may have ended before it heard that the line had.
        with self._lock:
            outputs = self._down(Happening.LOST)
        self._hand_up(outputs)
        assert self._files is not None
        self._files.close()

    @property
    def messages(self) -> MessageFiles:
        """All that was said on the session; there from `start` to `stop`."""
        if self._files is None:
            raise OurMistake("the messages of a session are asked for before its start")
        return self._files

    @property
    def phase(self) -> Phase:
        """Where the session stands."""
        return self._phase

    def offset_ns(self) -> int | None:
        """Return our wall clock less TWS', the least of the last while.

        TWS tells whole seconds, cut off. So an answer proves a skew only where our clock was not within that second
        from the question to the answer, and then the least that it can be.
        """
        return self._offsets.offset_ns(time.monotonic())

    def logged_on(self) -> bool:
        """Tell whether a message would be sent now; nothing new is while the servers are being reset."""
        return self._phase in UP

    def send_new(self, order: Order, now_ns: int) -> bool:
        """Place a limit order for the day, or immediate-or-cancel when `order.taker`.

        Whoever calls has made sure that the price makes (`gateway.ib_guard.maker_refusal`): there is no post-only here.
        Nothing new leaves in a reset window of `now_ns`, which is the platform's clock: a replay has no other.
        """
        if order.price is None or order.qty <= 0:
            raise OurMistake(f"order {order.cl_ord_id}: expected price and quantity, found {order.price}, {order.qty}")
        contract = self._contract(order.symbol)
        with self._turn(keep=KEPT):
            if self._phase not in UP or resetting(self.config.reset_windows, now_ns):
                return False
            order_id = self._next_id()
            line = self._book.placing(order, order_id, now_ns, time.monotonic())
            terms = self._terms(order, order.cl_ord_id, plain(order.qty), plain(order.price))
            sent = self._speak(lambda client: client.placeOrder(order_id, contract, terms))
            if not sent:
                self._book.not_placed(line)
            return sent

    def send_replace(self, order: Order, now_ns: int) -> bool:
        """Place the order again under its own order id, with a new name, quantity and price."""
        name, qty, price = order.asked_id, order.wanted_qty, order.wanted_price
        if name is None or qty is None or price is None or qty <= order.cum_qty or order.taker:
            raise OurMistake(
                f"order {order.cl_ord_id}: expected a maker's replace above {order.cum_qty} filled, found {qty} at "
                f"{price} as {name}"
            )
        contract = self._contract(order.symbol)
        with self._turn(keep=KEPT):
            line = self._book.line_of(order)
            if self._phase not in UP or line is None or resetting(self.config.reset_windows, now_ns):
                return False
            order_id, before = line.order_id, line.change
            terms = self._terms(order, name, plain(qty), plain(price))
            self._book.changing(line, order, now_ns, time.monotonic())
            sent = self._speak(lambda client: client.placeOrder(order_id, contract, terms))
            if not sent:
                line.change = before
            return sent

    def send_cancel(self, order: Order, now_ns: int) -> bool:
        """Cancel an order; False too where TWS has not told under which id."""
        with self._turn(keep=0):
            line = self._book.line_of(order)
            if self._phase not in UP or line is None:
                return False
            order_id = line.order_id
            sent = self._speak(lambda client: client.cancelOrder(order_id))
            if sent:
                self._book.cancelling(line, now_ns, time.monotonic())
            return sent

    def ask_status(self, order: Order, now_ns: int) -> bool:
        """Look for an order among open ones, completed ones and executions; it is unknown only if all have told."""
        with self._lock:
            if self._phase not in UP:
                return False
            self._book.ask(order, now_ns)
            return True

    def ask_all_statuses(self, request_id: str) -> bool:
        """Ask for all open orders, completed orders and executions."""
        with self._lock:
            if self._phase not in UP:
                return False
            self._book.ask_all(request_id)
            return True

    def ask_positions(self, request_id: str, now_ns: int) -> bool:
        """Ask for the positions; they are handed up after all executions that they may count."""
        with self._lock:
            if self._phase not in UP:
                return False
            self._book.ask_positions(request_id, now_ns)
            return True

    # What goes out.

    def _contract(self, symbol: str) -> Contract:
        known = self.config.contracts.get(symbol)
        if known is None:
            raise OurMistake(f"IB session: expected one of {', '.join(self.config.contracts)}, found {symbol!r}")
        return contract_of(known)

    def _terms(self, order: Order, name: ClOrdId, qty: str, price: str) -> IbOrder:
        """Write an order; numbers as text, which both libraries pass on as it is."""
        terms = IbOrder(
            action="BUY" if order.side is Side.BUY else "SELL",
            orderType="LMT",
            tif=TAKER if order.taker else MAKER,
            account=self.config.account,
            orderRef=name,
            transmit=True,
            # The platform's calendar says when is traded, and a future's night is not held until the morning.
            outsideRth=True,
        )
        terms.totalQuantity, terms.lmtPrice = qty, price  # type: ignore[assignment]
        return terms

    def _next_id(self) -> int:
        if not self._free_ids:
            first = self._ids.reserve(self._venue, self._offered_id, BLOCK)
            if first > ORDER_ID_MAX:
                raise OurMistake(f"IB session: expected order ids up to {ORDER_ID_MAX}, found {first}")
            self._free_ids = range(first, first + BLOCK)
        found, self._free_ids = self._free_ids[0], self._free_ids[1:]
        return found

    @contextmanager
    def _turn(self, *, keep: int) -> Iterator[None]:
        """Hold the session's lock when a message of an order may leave: at most about a second from now."""
        while True:
            with self._lock:
                wait_s = self._pace.wait_s(time.monotonic(), keep=keep)
                if not wait_s:
                    yield
                    return
            time.sleep(wait_s)

    def _speak(self, write: Callable[[Any], None]) -> bool:
        assert self._line is not None
        self._pace.say(time.monotonic())
        return self._line.speak(write)

    def _ask(self, what: str) -> None:
        asks: dict[str, Callable[[Any], None]] = {
            POSITIONS: lambda client: client.reqPositions(),
            OPEN: lambda client: client.reqAllOpenOrders(),
            COMPLETED: lambda client: client.reqCompletedOrders(False),
        }
        self._speak(asks[what])

    def _ask_executions(self, now_s: float) -> None:
        self._request += 1
        request, account = self._request, self.config.account
        self._asked_s = self._executions_s = now_s
        self._book.asking_executions()
        self._speak(lambda client: client.reqExecutions(request, ExecutionFilter(acctCode=account)))

    # What comes in.

    def _run(self) -> None:
        with edge():
            looked_s = 0.0
            while not self._stopping.is_set():
                try:
                    heard = self._heard.get(timeout=TICK_S)
                except queue.Empty:
                    heard = None
                if heard is not None:
                    self._hear(heard)
                now_s = time.monotonic()
                if heard is None or now_s - looked_s >= TICK_S:
                    looked_s = now_s
                    self._look(now_s)

    def _hear(self, heard: object) -> None:
        now_s = time.monotonic()
        with self._lock:
            outputs = self._outputs(heard, now_s)
        self._hand_up(outputs)

    def _outputs(self, heard: object, now_s: float) -> Outputs:
        match heard:
            case Ended():
                return self._ended(heard, now_s)
            case Error():
                return self._error(heard, now_s)
            case ServerTime():
                self._on_time(heard.seconds)
            case Accounts():
                self._check_accounts(heard.names)
            case NextId():
                self._offered_id = heard.order_id
            case Dialled():
                self._servers_lost = False
                self._pass(Happening.DIALLED)
            case Connected():
                return self._connected(now_s)
            case Lost():
                return self._down(Happening.LOST)
            case _:
                return self._told(heard, now_s)
        return []

    def _told(self, heard: object, now_s: float) -> Outputs:
        """Hear what is said of orders and positions."""
        book = self._book
        match heard:
            case OpenOrder():
                return book.completed_order(heard) if heard.completed else book.open_order(heard, now_s)
            case StatusTold():
                return book.status(heard, now_s)
            case Executed():
                return book.executed(heard, now_s)
            case Commission():
                return book.commission(heard)
            case Held():
                book.position(heard.symbol, heard.con_id, heard.qty)
            case Garbled():
                of_orders = heard.kind in OF_ORDERS
                names = (ClOrdId(heard.name),) if of_orders and heard.name is not None else ()
                return [Unreadable(self._venue, of_orders, names, heard.text, heard.why)]
        return []

    def _hand_up(self, outputs: Outputs) -> None:
        for each in outputs:
            match each:
                case ExecutionReport():
                    self._sink.on_report(each)
                case Unreadable():
                    self._sink.on_unreadable(each)
                case AllTold():
                    self._sink.on_all_statuses(each.request_id)
                case PositionsTold():
                    if each.reports:
                        self._sink.on_positions(each.reports)
                case LoggedOut():
                    self._sink.on_logout()
                case Synchronised():
                    self._open(each.order_id_max)

    def _open(self, order_id_max: int) -> None:
        """All that was missed has been told: say that the session is up."""
        with self._lock:
            if self._phase is not Phase.SYNCHRONISING:
                return
            floor = max(self._offered_id, order_id_max + 1)
            if self._free_ids and self._free_ids[0] < floor:
                self._free_ids = range(0)
            self._offered_id = floor
            self._pass(Happening.SYNCHRONISED)
            if resetting(self.config.reset_windows, time.time_ns()):
                self._pass(Happening.RESET_BEGAN)
        self._sink.on_logon()

    def _pass(self, happening: Happening) -> None:
        before, self._phase = self._phase, passage(self._phase, happening)
        if self._phase is before:
            return
        assert self._files is not None
        self._files.write("event", f"{before} → {self._phase}: {happening}")
        if self._phase is Phase.SYNCHRONISING:
            self._book.synchronise()

    def _down(self, happening: Happening) -> Outputs:
        """Give up all questions; the sink is to hear of it where the session was up."""
        was_up = self._phase in UP
        self._pass(happening)
        self._book.lost()
        if self._phase is Phase.SYNCHRONISING:
            self._book.synchronise()
        self._pulse_ns = None
        return [LoggedOut()] if was_up else []

    def _connected(self, now_s: float) -> Outputs:
        self._pulse_s, self._pulse_ns = now_s - self.config.heartbeat_s, None
        self._id_in_use = False
        self._pass(Happening.CONNECTED)
        return self._down(Happening.SERVERS_LOST) if self._servers_lost else []

    def _check_accounts(self, names: tuple[str, ...]) -> None:
        config = self.config
        found = [wrong for name in names for wrong in disagreements(config.environment, name)]
        if config.account not in names:
            found.append(f"ib.account: expected one of {', '.join(names)}, which TWS manages, found {config.account}")
        if found:
            self._pass(Happening.REFUSED)
            raise ConfigError("\n".join(found))

    def _ended(self, end: Ended, now_s: float) -> Outputs:
        if end.what == EXECUTIONS and end.request != self._request:
            return []
        outputs, executions = self._book.answered(end.what, now_s)
        if end.what == POSITIONS:
            self._speak(lambda client: client.cancelPositions())
        if executions:
            self._ask_executions(now_s)
        return outputs

    def _error(self, error: Error, now_s: float) -> Outputs:
        of_order = 0 < error.about < REQUESTS_FROM
        row = meaning(error.code, of_order=of_order)
        match row.does:
            case Does.LOSE_SERVERS:
                self._servers_lost = True
                return self._down(Happening.SERVERS_LOST)
            case Does.REGAIN_SERVERS:
                self._servers_lost = False
                return self._down(Happening.SERVERS_BACK)
            case Does.FENCE:
                self._wait_for_id()
            case Does.RECONNECT if not of_order:
                assert self._line is not None
                self._line.drop(f"{error.code}: {error.text}")
            case _ if of_order or row.does is Does.PACED:
                return self._book.problem(Problem(error.about, error.code, error.text), now_s)
        return []

    def _wait_for_id(self) -> None:
        """Try again later under the same id, and say so once: TWS may hold our own last line for one that lives.

        Of ours nobody else does: the session's lease says so.
        """
        if not self._id_in_use:
            log.warning("waiting as a standby: client id %s is in use at TWS", self.config.client_id)
        self._id_in_use = True
        assert self._line is not None
        self._line.drop(f"client id {self.config.client_id} is in use")

    def _on_time(self, seconds: int) -> None:
        asked_ns, self._pulse_ns = self._pulse_ns, None
        if asked_ns is not None:
            # The second that TWS names may be about to end.
            offset_ns = offset_between(asked_ns - SECOND_NS, seconds * SECOND_NS, time.time_ns())
            self._offsets = self._offsets.seen(time.monotonic(), offset_ns)

    # What is overdue.

    def _look(self, now_s: float) -> None:
        with self._lock:
            if self._phase in {Phase.DOWN, Phase.CONNECTING, Phase.ENDED}:
                return
            outputs = self._overdue(now_s)
        self._hand_up(outputs)

    def _overdue(self, now_s: float) -> Outputs:
        assert self._line is not None
        self._beat(now_s)
        if self._phase is Phase.SERVERS_LOST:
            return []
        reset = resetting(self.config.reset_windows, time.time_ns())
        if self._phase is Phase.READY and reset:
            self._pass(Happening.RESET_BEGAN)
        elif self._phase is Phase.RESETTING and not reset:
            return self._down(Happening.RESET_OVER)
        outputs, hungry = self._book.overdue(now_s)
        sources = self._book.begin(now_s) if not self._pace.wait_s(now_s, count=CENSUS) else frozenset()
        if sources:
            self._asked_s, self._executions_s = now_s, 0.0
            for source in ASKED_IN_ORDER:
                if source in sources:
                    self._ask(source)
        elif self._book.asking and now_s - self._asked_s >= ANSWER_S_MAX:
            if self._executions_s:
                self._ask_executions(now_s)
            else:
                # The ends of these answers have no number: a late one would be taken for the next one's.
                self._line.drop(f"no answer for {ANSWER_S_MAX:g} s")
        elif hungry and not self._book.asking and now_s - self._executions_s >= self.config.exec_wait_s:
            self._ask_executions(now_s)
        return outputs

    def _beat(self, now_s: float) -> None:
        assert self._line is not None
        if self._pulse_ns is not None and now_s - self._pulse_s > PULSE_S_MAX:
            self._pulse_s, self._pulse_ns = now_s, None
            self._line.drop(f"no answer to the question for the time for {PULSE_S_MAX:g} s")
        elif self._pulse_ns is None and now_s - self._pulse_s >= self.config.heartbeat_s:
            self._pulse_s, self._pulse_ns = now_s, time.time_ns()
            self._speak(lambda client: client.reqCurrentTime())
