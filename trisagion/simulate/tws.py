"""The simulated TWS as a value: clients' messages in, messages to clients out; `play` moves time. No sockets or clock.

The same messages, plays and faults in the same order give the same books to the last permId and execId: whoever keeps a
list of them can rebuild it. Only what `changes` it need be kept. Who is connected is not in that list: a restart of the
simulator is the end of all connections.

An order arrives at the instant that the tape has reached. TWS has no post-only in this protocol, so a limit order that
crosses takes (lastLiquidity 2), one that rested makes (1). A market order takes what the tape's market offers, and what
is left of it takes on at each play. DAY orders stay, as at the FIX venue: a tape knows no sessions.

Statuses are told as a TWS tells them: PreSubmitted, then Submitted, each with an openOrder; no orderStatus at all for a
market order that was filled at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trisagion.clock import SECOND_NS
from trisagion.errors import VenueMistake
from trisagion.orders.types import Liquidity
from trisagion.simulate import tws_words as words
from trisagion.simulate.faults import Fate, steps_of, value_of
from trisagion.simulate.tws_books import Change, TwsOrder
from trisagion.simulate.tws_desk import Answers, Desk, Said, Session
from trisagion.simulate.tws_faults import COUNTED, SWITCHES, flag
from trisagion.simulate.tws_market import TICKERS_MAX, TOO_MANY_TICKERS, Ticker
from trisagion.simulate.tws_orders import (
    CANCEL_TOO_LATE,
    CANCEL_UNKNOWN,
    DOES_NOT_MATCH,
    DUPLICATE_ID,
    INVALID,
    MESSAGE,
    NO_DEFINITION,
    NO_DEFINITION_TEXT,
    NOT_CANCELLABLE,
    UNREADABLE,
    Refused,
    Wanted,
    read_order,
)
from trisagion.simulate.tws_teller import answers_request, filled_at_once
from trisagion.simulate.tws_words import NO_ID, Message, at, whole
from trisagion.units import plain

CLIENT_IN_USE: Final = 326
UNKNOWN_MESSAGE: Final = 505
CLIENTS_MAX: Final = 32
"""API clients of one TWS, after IB's documentation."""

ACTIVE_MAX: Final = 20
"""Active orders per contract, side and account: IB's order limitations."""

MANUAL: Final = 0
"""The client id to which orders made in the TWS itself belong."""

FARMS: Final = ((2104, "Market data farm connection is OK:usfarm"), (2106, "HMDS data farm connection is OK:ushmds"))
DEFINITIONS: Final = (2158, "Sec-def data farm connection is OK:secdefnj")
FARM_BROKEN: Final = (2103, "Market data farm connection is broken:usfarm")
SERVERS_LOST: Final = (1100, "Connectivity between IB and Trader Workstation has been lost.")
SERVERS_BACK: Final = {
    "lost": (1101, "Connectivity between IB and Trader Workstation has been restored- data lost."),
    "kept": (1102, "Connectivity between IB and Trader Workstation has been restored- data maintained."),
}
STILL_LOST: Final = (
    2110,
    "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
)

IDS_MAX: Final = 10_000
"""The most orderIds that can be asked to be given again."""

_CHANGING: Final = frozenset({words.PLACE_ORDER, words.CANCEL_ORDER, words.REQ_GLOBAL_CANCEL})
_LOCAL: Final = frozenset({words.REQ_IDS, words.REQ_MANAGED_ACCOUNTS, words.REQ_CURRENT_TIME})
"""What a TWS answers by itself while its servers are lost; everything else has no answer then."""


class SimulatedTws(Desk):
    """One TWS with one tape for each instrument, several accounts and several clients."""

    @property
    def played_ns(self) -> int:
        """The instant up to which the tapes were played."""
        return self._books.played_ns

    @property
    def executions(self) -> int:
        """How many executions, corrections and busts there ever were."""
        return len(self._books.executions)

    @property
    def working(self) -> int:
        """How many orders are live."""
        return len(self._books.live())

    def snapshot(self) -> Mapping[str, object]:
        """Return the books; see `SimulatedVenue.snapshot`, whose shape they have."""
        return self._books.snapshot()

    def changes(self, message: Message) -> bool:
        """Tell whether a message may change the books."""
        return message[0] in _CHANGING

    # Connections -----------------------------------------------------------------------------------------------------

    def connect(self, client: int, version: int) -> Answers:
        """Let a client in that speaks a version; the caller turns away one that `is_connected`."""
        assert client not in self._sessions, client
        self._sessions[client] = Session(version)
        notices = (FARM_BROKEN, FARMS[1]) if self._faults.farm_broken else FARMS
        also = (STILL_LOST,) if self._faults.servers_lost else ()
        return (
            Said(client, ("15", "1", ",".join(self._accounts))),
            Said(client, ("9", "1", str(self._books.next_id(client)))),
            *(self._error(client, NO_ID, *notice) for notice in (*notices, DEFINITIONS, *also)),
        )

    def is_connected(self, client: int) -> bool:
        """Tell whether a client id is in use."""
        return client in self._sessions

    def disconnected(self, client: int) -> None:
        """Forget a connection, its subscriptions and what was to be told late on it. Orders stay."""
        self._sessions.pop(client, None)
        self._late = [late for late in self._late if late[1].client != client]

    # Messages --------------------------------------------------------------------------------------------------------

    def play(self, until_ns: int) -> Answers:
        """Play the tapes up to, not including, an instant; return what is told of it, then new prices."""
        answers = list(self._told(self._books.play(until_ns)))
        due = [late for late in self._late if late[0] <= self.played_ns]
        self._late = [late for late in self._late if late[0] > self.played_ns]
        if self._faults.servers_lost:
            return ()
        answers = [*(said for _, said in sorted(due, key=lambda late: late[0])), *answers]
        if not self._faults.farm_broken:
            answers += self._ticks()
        return tuple(answers)

    def answer(self, client: int, message: Message, clock_ns: int) -> Answers:
        """Answer a message of a client; `clock_ns` is the machine's time, which is told and changes nothing."""
        teller, version = self._teller, self._version(client)
        ids = (Said(client, ("9", "1", str(self._books.next_id(client)))),)
        requests: dict[str, Callable[[], Answers]] = {
            words.PLACE_ORDER: lambda: self._place(client, message),
            words.CANCEL_ORDER: lambda: self._cancel(client, message),
            words.REQ_GLOBAL_CANCEL: self._global_cancel,
            words.REQ_IDS: lambda: ids,
            words.REQ_MANAGED_ACCOUNTS: lambda: (Said(client, ("15", "1", ",".join(self._accounts))),),
            words.REQ_CURRENT_TIME: lambda: self._current_time(client, clock_ns),
            words.REQ_OPEN_ORDERS: lambda: self._open_orders(client, everyone=False),
            words.REQ_ALL_OPEN_ORDERS: lambda: self._open_orders(client, everyone=True),
            words.REQ_AUTO_OPEN_ORDERS: lambda: self._auto_open(client, message),
            words.REQ_COMPLETED_ORDERS: lambda: self._said(client, teller.completed(version)),
            words.REQ_EXECUTIONS: lambda: self._executions(client, message),
            words.REQ_POSITIONS: lambda: self._positions(client, on=True),
            words.CANCEL_POSITIONS: lambda: self._positions(client, on=False),
            words.REQ_ACCOUNT_UPDATES: lambda: self._account_updates(client, message),
            words.REQ_ACCOUNT_UPDATES_MULTI: lambda: self._asked(
                client, whole(message, 2), lambda: teller.account_multi(message, self._accounts)
            ),
            words.REQ_ACCOUNT_SUMMARY: lambda: self._said(client, teller.summary(message, self._accounts)),
            words.REQ_CONTRACT_DETAILS: lambda: self._asked(
                client, whole(message, 2), lambda: self._market.details(message, version)
            ),
            words.REQ_MKT_DATA: lambda: self._market_data(client, message),
            words.CANCEL_MKT_DATA: lambda: self._cancel_market_data(client, message),
            words.REQ_HISTORICAL_DATA: lambda: self._asked(
                client, whole(message, 1), lambda: [self._market.bars(message, self.played_ns)]
            ),
            **dict.fromkeys(words.UNANSWERED, lambda: ()),
        }
        if self._faults.servers_lost and message[0] not in _LOCAL:
            return ()
        try:
            if message[0] in words.UNSUPPORTED:
                text = "Error validating request.-'bR' : cause - not simulated"
                return (self._error(client, whole(message, words.UNSUPPORTED[message[0]]), INVALID, text),)
            if message[0] not in requests:
                return (self._error(client, NO_ID, UNKNOWN_MESSAGE, "Fatal Error: Unknown message id."),)
            return requests[message[0]]()
        except VenueMistake as mistake:
            return (self._error(client, NO_ID, UNREADABLE, f"Error reading request. {mistake}"),)

    def fail(self, command: Mapping[str, Any]) -> Answers:
        """Make a mistake on command; return what is said about it.

        Parameters
        ----------
        command : dict
            `kind` and its arguments, quantities and prices as text, names of orders by their orderRef:

            * `roll_back_ids`: `client`, `ids`; so many of its last orderIds are given again.
            * `acknowledgements`: `lost`, `late` (shares), `late_s` (seconds of the tape), `seed`; what answers a place,
              a change or a cancel is lost or late. Executions are not.
            * `servers_lost`: 1100. From now on nothing is answered or told but ids and time, orders and cancels vanish,
              and what happens at the exchange goes unseen.
            * `servers_back`: `data` ("lost": 1101, and no market data until it is asked for; "kept": 1102).
            * `duplicate_status`: `on`; each orderStatus comes twice.
            * `execution_silence`: `on`; reqExecutions has no answer.
            * `deaf`: `on`; reqCurrentTime has no answer.
            * `market_data_farm`: `broken`; 2103 and no ticks, 2104 and ticks again.
            * `held`: `orders`; so many to come are answered with 399 and wait as PreSubmitted. `release`: they all go.
            * `reject`: `orders`, `text`; so many to come are rejected with 201.
            * `swallow`: `trades`; of so many executions to come nothing is told, ever; they can be asked for.
            * `repeat`: `exec_id`; the same execDetails once more.
            * `bust`: `exec_id`; a correction to a quantity of 0, for the protocol has no word for it.
              `correct`: `exec_id`, `px`, `qty`; execId ….01 becomes ….02.
            * `fill`: `cl_ord_id`, `qty`, `liquidity` ("maker", "taker"); at the order's price, whatever its state and
              quantity.
            * `cancel`: `cl_ord_id`; by nobody who is connected.
            * `manual`: `symbol`, `side` ("BUY", "SELL"), `qty`, `px`, `account`; an order made in the TWS itself.
            * `restart`: `ids`; the nightly one: all connections end, and every client's orderIds roll back by so many.

        Raises
        ------
        VenueMistake
            The command has no meaning here. Then nothing has changed.
        """
        kind = value_of(command, "kind", str)
        if kind in SWITCHES:
            self._faults.switch(command, kind)
            return ()
        if kind in COUNTED:
            self._faults.count(command, kind)
            return ()
        kinds: dict[str, Callable[[Mapping[str, Any]], Answers]] = {
            "roll_back_ids": self._fail_ids,
            "acknowledgements": self._fail_acknowledgements,
            "servers_lost": self._lose_servers,
            "servers_back": self._find_servers,
            "market_data_farm": self._fail_farm,
            "release": lambda _: self._told(self._books.release()),
            "repeat": self._repeat,
            "bust": lambda asked: self._told([self._books.bust(value_of(asked, "exec_id", str))]),
            "correct": self._correct,
            "fill": self._fill,
            "cancel": self._cancel_unasked,
            "manual": self._manual,
            "restart": self._restart,
        }
        if kind not in kinds:
            raise VenueMistake(f"expected a kind of fault that there is, found {kind!r}")
        answers = kinds[kind](command)
        return () if self._faults.servers_lost and kind != "servers_lost" else answers

    # Orders ----------------------------------------------------------------------------------------------------------

    def _place(self, client: int, message: Message) -> Answers:
        order_id = whole(message, 1)
        known = self._books.find(client, order_id)
        done = known is not None and not known.live
        if done or (known is None and order_id < self._books.next_id(client)):
            return (self._error(client, order_id, DUPLICATE_ID, "Duplicate order id"),)
        try:
            wanted = read_order(message, self._version(client), self._contracts, self._accounts)
            return self._new(client, order_id, wanted) if known is None else self._modify(known, wanted)
        except Refused as refused:
            self._books.used(client, order_id)
            return (self._error(client, order_id, refused.number, refused.text),)

    def _new(self, client: int, order_id: int, wanted: Wanted) -> Answers:
        if wanted.what_if:
            return (Said(client, self._teller.margin(client, order_id, wanted, self._version(client))),)
        refused = None
        if self._faults.befalls("reject"):
            refused = self._faults.reject_text
        elif self._books.active(wanted) >= ACTIVE_MAX:
            refused = f"The limit of {ACTIVE_MAX} active orders per contract, side and account is reached"
        held = refused is None and self._faults.befalls("held")
        changes = self._books.place(client, order_id, wanted, refused=refused, held=held)
        answers = self._acknowledged(changes)
        if held:
            text = "Order Message:\nWarning: your order will not be placed at the exchange until it opens."
            answers = (*answers, self._error(client, order_id, MESSAGE, text))
        return answers

    def _modify(self, order: TwsOrder, wanted: Wanted) -> Answers:
        names, was = order.words, order.wanted
        same = (was.contract.con_id, was.side, was.account) == (wanted.contract.con_id, wanted.side, wanted.account)
        if not same:
            raise Refused(DOES_NOT_MATCH, "Order being modified does not match original order")
        changes = self._books.modify(order, wanted)
        if isinstance(changes, str):
            text = f"Error validating request.-'bE' : cause - {changes}"
            return (self._error(names.client, names.order_id, INVALID, text),)
        return self._acknowledged(changes)

    def _cancel(self, client: int, message: Message) -> Answers:
        order_id = whole(message, 2)
        order = self._books.find(client, order_id)
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            return (self._error(client, order_id, CANCEL_UNKNOWN, text),)
        if order.status == words.STATUS_FILLED:
            text = "Cancel attempted when order is not in a cancellable state.  Order permId ="
            return (self._error(client, order_id, NOT_CANCELLABLE, f"{text}{order.words.perm_id}"),)
        if not order.live:
            text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
            return (self._error(client, order_id, CANCEL_TOO_LATE, text),)
        return self._acknowledged(self._books.cancel(order), pending=order)

    def _global_cancel(self) -> Answers:
        """Cancel the live orders of all clients, and those of nobody: reqGlobalCancel knows no client."""
        return tuple(said for order in self._books.live() for said in self._told(self._books.cancel(order)))

    def _acknowledged(self, changes: Sequence[Change], pending: TwsOrder | None = None) -> Answers:
        """Tell what a request did: its acknowledgement, if fate lets it, and executions, which it does not touch."""
        silent = filled_at_once(changes)
        answers: list[Said] = []
        if pending is not None:
            answers = self._tell(pending, [self._teller.status(pending, words.STATUS_PENDING_CANCEL)])
        # What an immediate-or-cancel order leaves is cancelled by nobody's request, and told after its executions.
        own = [change for change in changes if pending is not None or answers_request(change)]
        for change in own:
            answers += self._change(change, silent=silent)
        rest = [change for change in changes if change not in own]
        return (*self._fated(answers), *self._told(rest, silent=silent))

    def _fated(self, answers: list[Said]) -> list[Said]:
        """Let an acknowledgement go out, lose it, or keep it for later."""
        fate = self._faults.acknowledgements.draw()
        if fate is Fate.LATE:
            due_ns = self.played_ns + self._faults.acknowledgements.late_ns
            self._late += [(due_ns, said) for said in answers]
        return answers if fate is Fate.NOW else []

    # Questions -------------------------------------------------------------------------------------------------------

    def _current_time(self, client: int, clock_ns: int) -> Answers:
        return () if self._faults.on("deaf") else (Said(client, ("49", "1", str(clock_ns // SECOND_NS))),)

    def _open_orders(self, client: int, *, everyone: bool) -> Answers:
        """Tell the client's live orders, or those of everyone; client 0 has those made in the TWS itself."""
        mine = [order for order in self._books.live() if everyone or order.words.client == client]
        told = [message for order in mine for message in self._teller.order(order, self._version(client))]
        return (*self._said(client, told), Said(client, ("53", "1")))

    def _auto_open(self, client: int, message: Message) -> Answers:
        self._sessions[client].manual = client == MANUAL and at(message, 2) == "1"
        return ()

    def _executions(self, client: int, message: Message) -> Answers:
        if self._faults.on("execution_silence"):
            return ()
        return self._said(client, self._teller.executions(message, self._version(client)))

    def _positions(self, client: int, *, on: bool) -> Answers:
        self._sessions[client].positions = on
        if not on:
            return ()
        rows = [row for account in self._accounts for row in self._teller.positions(account)]
        return self._said(client, [*rows, ("62", "1")])

    def _account_updates(self, client: int, message: Message) -> Answers:
        account = at(message, 3) or self._accounts[0]
        on = at(message, 2) == "1" and account in self._accounts
        self._sessions[client].account = account if on else None
        return self._said(client, self._teller.account(account)) if on else ()

    def _market_data(self, client: int, message: Message) -> Answers:
        """Begin to tell of an instrument, or tell what is known of it once."""
        request, session = whole(message, 2), self._sessions[client]
        contract = self._contracts.find(message, 3)
        if contract is None:
            return (self._error(client, request, NO_DEFINITION, NO_DEFINITION_TEXT),)
        if len(session.tickers) >= TICKERS_MAX:
            return (self._error(client, request, TOO_MANY_TICKERS, "Max number of tickers has been reached."),)
        tick = plain(self._books.instruments[contract.symbol].tick_size)
        head = [("81", str(request), tick, "", "3"), ("58", "1", str(request), "1")]
        ticker = Ticker(contract.symbol)
        ticks = [] if self._faults.farm_broken else self._market.ticks(request, ticker, self.played_ns)
        if at(message, 17) == "1":
            return self._said(client, [*head, *ticks, ("57", "1", str(request))])
        session.tickers[request] = ticker
        return self._said(client, [*head, *ticks])

    def _cancel_market_data(self, client: int, message: Message) -> Answers:
        self._sessions[client].tickers.pop(whole(message, 2), None)
        return ()

    def _asked(self, client: int, request: int, answer: Callable[[], Sequence[Message]]) -> Answers:
        """Answer a question, or tell why there is no answer."""
        try:
            return self._said(client, answer())
        except Refused as refused:
            return (self._error(client, request, refused.number, refused.text),)

    # Faults ----------------------------------------------------------------------------------------------------------

    def _everyone(self, notice: tuple[int, str]) -> Answers:
        return tuple(self._error(client, NO_ID, *notice) for client in self._sessions)

    def _fail_ids(self, command: Mapping[str, Any]) -> Answers:
        client, ids = value_of(command, "client", int), value_of(command, "ids", int)
        _within(command, "ids", ids)
        self._books.roll_back(client, ids)
        return ()

    def _fail_acknowledgements(self, command: Mapping[str, Any]) -> Answers:
        shares = {name: value_of(command, name, float) for name in ("lost", "late", "late_s")}
        self._faults.acknowledgements.share(**shares, seed=value_of(command, "seed", int))
        return ()

    def _lose_servers(self, _: Mapping[str, Any]) -> Answers:
        self._faults.servers_lost = True
        return self._everyone(SERVERS_LOST)

    def _find_servers(self, command: Mapping[str, Any]) -> Answers:
        data = value_of(command, "data", str)
        if data not in SERVERS_BACK or not self._faults.servers_lost:
            raise VenueMistake(f"expected data as lost or kept, and lost servers, found {data!r}")
        self._faults.servers_lost = False
        if data == "lost":
            for session in self._sessions.values():
                session.tickers.clear()
        return self._everyone(SERVERS_BACK[data])

    def _fail_farm(self, command: Mapping[str, Any]) -> Answers:
        self._faults.farm_broken = flag(command, "broken")
        return self._everyone(FARM_BROKEN if self._faults.farm_broken else FARMS[0])

    def _repeat(self, command: Mapping[str, Any]) -> Answers:
        execution = self._books.execution(value_of(command, "exec_id", str))
        order = self._books.order(execution.perm_id)
        session = self._sessions.get(order.words.client)
        if session is None:
            return ()
        return tuple(self._tell(order, self._teller.execution(execution, session.version, NO_ID)[:1]))

    def _correct(self, command: Mapping[str, Any]) -> Answers:
        exec_id = value_of(command, "exec_id", str)
        instrument = self._books.order(self._books.execution(exec_id).perm_id).wanted.instrument
        ticks, lots = steps_of(command, "px", instrument.tick_size), steps_of(command, "qty", instrument.lot_size)
        return self._told([self._books.correct(exec_id, price_ticks=ticks, lots=lots)])

    def _fill(self, command: Mapping[str, Any]) -> Answers:
        order = self._books.by_ref(value_of(command, "cl_ord_id", str))
        lots = steps_of(command, "qty", order.wanted.instrument.lot_size)
        liquidity = {str(kind): kind for kind in Liquidity}.get(value_of(command, "liquidity", str))
        if liquidity is None:
            raise VenueMistake(f"expected liquidity as maker or taker, found {command['liquidity']!r}")
        return self._told([self._books.fill_anyway(order, lots=lots, liquidity=liquidity)])

    def _cancel_unasked(self, command: Mapping[str, Any]) -> Answers:
        order = self._books.by_ref(value_of(command, "cl_ord_id", str))
        if not order.live:
            raise VenueMistake(f"expected a live order, found {order.words.ref!r}, which is {order.status}")
        return self._told(self._books.cancel(order))

    def _manual(self, command: Mapping[str, Any]) -> Answers:
        """Make an order in the TWS itself: of client 0, with an orderId below 0 and no orderRef."""
        symbol, action, account = (value_of(command, name, str) for name in ("symbol", "side", "account"))
        if symbol not in self._books.instruments or action not in words.ACTIONS or account not in self._accounts:
            raise VenueMistake(f"expected symbol, side and account that there are, found {symbol}, {action}, {account}")
        instrument = self._books.instruments[symbol]
        wanted = Wanted(
            contract=self._contracts[symbol],
            instrument=instrument,
            side=words.ACTIONS[action],
            lots=steps_of(command, "qty", instrument.lot_size),
            limit_ticks=steps_of(command, "px", instrument.tick_size),
            tif="GTC",
            expire_ns=0,
            account=account,
            ref="",
            what_if=False,
            good_till="",
            outside_rth="0",
            hidden="0",
        )
        return self._told(self._books.place(MANUAL, -1 - len(self._books.orders()), wanted))

    def _restart(self, command: Mapping[str, Any]) -> Answers:
        ids = value_of(command, "ids", int)
        _within(command, "ids", ids)
        for client in self._books.clients():
            self._books.roll_back(client, ids)
        self._faults.servers_lost = False
        ended = tuple(Said(client, ()) for client in self._sessions)
        for said in ended:
            self.disconnected(said.client)
        return ended


def _within(command: Mapping[str, Any], name: str, value: int) -> None:
    if not 0 <= value <= IDS_MAX:
        raise VenueMistake(f"fault {command['kind']!r}: expected {name} of 0 to {IDS_MAX}, found {value}")
