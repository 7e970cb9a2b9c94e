"""Who is connected to the simulated TWS, what each has subscribed to, and who is told of what happens to an order.

An order's events go to the client that made it, if it is there; to nobody else, and never later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from trisagion.errors import OurMistake
from trisagion.market.types import Tape
from trisagion.orders.types import ExecType
from trisagion.simulate import tws_words as words
from trisagion.simulate.tws_account import portfolio, position
from trisagion.simulate.tws_books import Books, Change, TwsOrder
from trisagion.simulate.tws_faults import TwsFaults
from trisagion.simulate.tws_market import MarketData, Ticker
from trisagion.simulate.tws_orders import CANCELLED, REJECTED, Contracts
from trisagion.simulate.tws_teller import Teller
from trisagion.simulate.tws_words import Message


@dataclass(frozen=True, slots=True)
class Said:
    """A message to a client; an empty one is the end of its connection."""

    client: int
    message: Message


Answers: TypeAlias = tuple[Said, ...]


@dataclass(slots=True)
class Session:
    """A connected client and what it has subscribed to."""

    version: int
    positions: bool = False
    account: str | None = None
    manual: bool = False
    tickers: dict[int, Ticker] = field(default_factory=dict)


class Desk:
    """The clients of one TWS, and its books, contracts, market data and faults."""

    def __init__(self, tapes: Sequence[Tape], accounts: Sequence[str], cash: Decimal) -> None:
        currencies = {tape.instrument.currency for tape in tapes}
        if len(currencies) != 1 or not accounts:
            raise OurMistake(f"expected instruments of one currency and an account, found {sorted(currencies)}")
        self._books = Books(tapes)
        self._contracts = Contracts(self._books.instruments)
        self._teller = Teller(self._books, self._contracts, cash, currencies.pop())
        self._market = MarketData({tape.instrument.symbol: tape for tape in tapes}, self._contracts)
        self._accounts = tuple(accounts)
        self._faults = TwsFaults()
        self._sessions: dict[int, Session] = {}
        self._late: list[tuple[int, Said]] = []

    # What is told ----------------------------------------------------------------------------------------------------

    def _told(self, changes: Sequence[Change], *, silent: bool = False) -> Answers:
        """Tell what happened at the exchange to whom it concerns."""
        answers: list[Said] = []
        touched: set[tuple[str, str]] = set()
        for change in changes:
            swallowed = change.kind is ExecType.TRADE and self._faults.befalls("swallow")
            if change.execution is not None:
                touched.add((change.order.words.account, change.order.words.contract.symbol))
            if not swallowed:
                answers += self._change(change, silent=silent)
        return (*answers, *self._moved(touched))

    def _change(self, change: Change, *, silent: bool = False) -> list[Said]:
        order = change.order
        session = self._sessions.get(order.words.client)
        if session is None:
            return []
        said = self._tell(order, self._teller.change(change, session.version, silent=silent))
        reasons = {
            ExecType.REJECTED: (REJECTED, f"Order rejected - reason:{change.reason}"),
            ExecType.CANCELED: (CANCELLED, f"Order Canceled - reason:{change.reason}"),
            ExecType.EXPIRED: (CANCELLED, "Order Canceled - reason:its time is over"),
        }
        if change.kind in reasons and said:
            said.insert(0, self._error(order.words.client, order.words.order_id, *reasons[ExecType(change.kind)]))
        return said

    def _tell(self, order: TwsOrder, messages: Sequence[Message]) -> list[Said]:
        """Tell an order's client; a manual order's is the one that asked for such orders."""
        client = order.words.client
        session = self._sessions.get(client)
        if session is None or (order.words.order_id <= 0 and not session.manual):
            return []
        twice = self._faults.on("duplicate_status")
        return [
            Said(client, each) for each in messages for _ in range(2 if twice and each[0] == words.ORDER_STATUS else 1)
        ]

    def _moved(self, touched: set[tuple[str, str]]) -> list[Said]:
        """Tell subscribers of positions and of accounts what executions made of these."""
        answers: list[Said] = []
        for account, symbol in sorted(touched):
            now = self._teller.owned(account)[symbol]
            for client, session in self._sessions.items():
                if session.positions:
                    answers.append(Said(client, position(account, now)))
                if session.account == account:
                    values = [each for each in self._teller.account(account) if each[0] not in {"7", "54"}]
                    answers += [Said(client, each) for each in (*values, portfolio(account, now))]
        return answers

    def _ticks(self) -> list[Said]:
        return [
            Said(client, tick)
            for client, session in self._sessions.items()
            for request, ticker in session.tickers.items()
            for tick in self._market.ticks(request, ticker, self._books.played_ns)
        ]

    def _error(self, client: int, about: int, number: int, text: str) -> Said:
        return Said(client, words.error(about, number, text, self._version(client)))

    def _version(self, client: int) -> int:
        return self._sessions[client].version

    def _said(self, client: int, messages: Sequence[Message]) -> Answers:
        return tuple(Said(client, message) for message in messages)
