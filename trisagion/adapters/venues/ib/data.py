"""Questions to TWS about account and market, by a client of its own: nothing that could change an order is ever said.

A session that sends orders has no market data on its line (reliability 2.4); whoever only looks has another client id.
"""

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from trisagion.adapters.venues.ib.connection import Connected, Lost, TwsLine, Where
from trisagion.adapters.venues.ib.ears import REQUESTS_FROM, Accounts, Ended, Error, Held, Row
from trisagion.adapters.venues.ib.library import Contract, ExecutionFilter, contract_of
from trisagion.clock import HOUR_NS, SECOND_NS
from trisagion.errors import ConfigError, DataError, StateError, StepTimeout, quoted
from trisagion.gateway.ib_census import held
from trisagion.gateway.ib_guard import check_environment
from trisagion.gateway.ib_words import Commission, Does, Executed, OpenOrder, StatusTold, exact, meaning
from trisagion.market.types import Bar, Quote
from trisagion.session_ports import AccountValue, VenueExecution
from trisagion.units import Price

ANSWER_S: Final = 20.0
TAGS: Final = (
    *("NetLiquidation", "TotalCashValue", "AvailableFunds", "BuyingPower", "GrossPositionValue"),
    *("InitMarginReq", "MaintMarginReq", "ExcessLiquidity"),
)
BAR_SIZES: Final[Mapping[str, int]] = {
    "1 min": 60 * SECOND_NS,
    "5 mins": 300 * SECOND_NS,
    "15 mins": 900 * SECOND_NS,
    "30 mins": 1800 * SECOND_NS,
    "1 hour": HOUR_NS,
    "1 day": 24 * HOUR_NS,
}
"""IBKR, TWS API, "Historical bar data": some of the valid bar sizes, and how long each is."""
_BID, _ASK, _LAST = frozenset({1, 66}), frozenset({2, 67}), frozenset({4, 68})
"""Tick types, live and delayed."""


class IbData:
    """A client of TWS that only asks; implements `session_ports.VenueData`. For one thread."""

    def __init__(self, where: Where, environment: str) -> None:
        check_environment(environment, where.account, where.port)
        self._where = where
        self._environment = environment
        self._heard: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._line = TwsLine(where, self._heard.put, keep=lambda *_: None, retry_s=1.0)
        self._request = REQUESTS_FROM

    @contextmanager
    def opened(self) -> Iterator["IbData"]:
        """Connect for the length of a block.

        Raises
        ------
        StateError, ConfigError, StepTimeout
            TWS does not take us, has another account, or does not answer.
        """
        self._line.start()
        try:
            for heard in self._until(lambda heard: isinstance(heard, Connected)):
                if isinstance(heard, Accounts):
                    self._check(heard.names)
            yield self
        finally:
            self._line.stop()

    def account_values(self) -> Sequence[AccountValue]:
        """Return what TWS counts of the account."""
        rows = self._rows(lambda client, request: client.reqAccountSummary(request, "All", ",".join(TAGS)))
        return [AccountValue(tag, value, currency) for tag, value, currency in (row.values for row in rows)]

    def positions(self) -> Mapping[str, Decimal]:
        """Return the positions by our symbols; a contract that is none of ours has a name of its own."""
        self._say(lambda client: client.reqPositions())
        heard = self._until(lambda heard: heard == Ended("positions"))
        return held({(each.symbol, each.con_id): each.qty for each in heard if isinstance(each, Held)})

    def open_orders(self) -> Sequence[tuple[OpenOrder, Decimal]]:
        """Return the open orders of all clients, each with what is filled of it."""
        self._say(lambda client: client.reqAllOpenOrders())
        heard = self._until(lambda heard: heard == Ended("open"))
        filled = {each.perm_id: each for each in heard if isinstance(each, StatusTold)}
        found = []
        for order in (each for each in heard if isinstance(each, OpenOrder)):
            told = filled.get(order.perm_id)
            found.append((order, Decimal(0) if told is None else told.filled))
        return found

    def executions(self) -> Sequence[VenueExecution]:
        """Return the executions of the account since midnight; the fee is None where TWS has not told it."""
        self._request += 1
        request, account = self._request, self._where.account
        self._say(lambda client: client.reqExecutions(request, ExecutionFilter(acctCode=account)))
        heard = self._until(lambda heard: heard == Ended("executions", request))
        fees = {each.exec_id: each for each in heard if isinstance(each, Commission)}
        return [VenueExecution(each, fees.get(each.exec_id)) for each in heard if isinstance(each, Executed)]

    def quote(self, symbol: str) -> Quote:
        """Return the present bid, ask and last; `DataError` where TWS has no data, or not all three."""
        contract = self._contract(symbol)
        rows = self._rows(lambda client, request: client.reqMktData(request, contract, "", True, False, []))
        found = {kind: exact(price, what="tick") for kind, price, _ in (row.values for row in rows)}
        told = [next((found[kind] for kind in kinds if found.get(kind, 0) > 0), None) for kinds in (_BID, _ASK, _LAST)]
        bid, ask, last = told
        if bid is None or ask is None or last is None:
            raise DataError(f"{symbol}: expected bid, ask and last, found ticks of kinds {sorted(found)}")
        now_ns = time.time_ns()
        return Quote(symbol, Price(bid), Price(ask), Price(last), happened_ns=now_ns, learned_ns=now_ns)

    def bars(self, symbol: str, size: str, duration: str, until_ns: int | None = None) -> Sequence[Bar]:
        """Return bars of trades, oldest first; `duration` as TWS names it ("2 D"), up to an instant or to now.

        Raises
        ------
        ConfigError, DataError
            The size is not of `BAR_SIZES`; TWS has no such bars.
        """
        interval_ns = BAR_SIZES.get(size)
        if interval_ns is None:
            raise ConfigError(f"bars: expected a size of {', '.join(BAR_SIZES)}, found {quoted(size)}")
        contract = self._contract(symbol)
        until = "" if until_ns is None else f"{datetime.fromtimestamp(until_ns // SECOND_NS, UTC):%Y%m%d %H:%M:%S} UTC"
        rows = self._rows(
            lambda client, request: client.reqHistoricalData(
                request, contract, until, duration, size, "TRADES", False, 2, False, []
            )
        )
        return [_bar(symbol, interval_ns, row.values[0]) for row in rows]

    def _contract(self, symbol: str) -> Contract:
        known = self._where.contracts.get(symbol)
        if known is None:
            raise ConfigError(f"{quoted(symbol)}: expected a symbol with a table [ib.contracts.SYMBOL], found none")
        return contract_of(known)

    def _rows(self, ask: Callable[[Any, int], None]) -> list[Row]:
        """Ask a question with a number, and return its answer's lines."""
        self._request += 1
        request = self._request
        self._say(lambda client: ask(client, request))
        heard = self._until(lambda heard: heard == Ended("data", request), request)
        return [each for each in heard if isinstance(each, Row) and each.request == request]

    def _say(self, write: Callable[[Any], None]) -> None:
        if not self._line.speak(write):
            raise StateError(f"TWS at {self._where.host}:{self._where.port} is not connected")

    def _until(self, last: Callable[[object], bool], request: int = 0) -> list[object]:
        """Return what is heard up to the end of an answer."""
        found: list[object] = []
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                heard = self._heard.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                where = f"{self._where.host}:{self._where.port}"
                raise StepTimeout(f"TWS at {where} gave no answer within {ANSWER_S:g} s") from None
            if isinstance(heard, Error):
                self._refuse(heard, request)
            if isinstance(heard, Lost):
                raise StateError(f"TWS at {self._where.host}:{self._where.port}: no connection ({heard.why})")
            found.append(heard)
            if last(heard):
                return found

    def _refuse(self, error: Error, request: int) -> None:
        if meaning(error.code, of_order=False).does is Does.FENCE:
            raise StateError(f"client id {self._where.client_id} is in use at TWS; name another one")
        if request and error.about == request:
            raise DataError(f"TWS says {error.code}: {error.text}")

    def _check(self, names: Sequence[str]) -> None:
        if self._where.account not in names:
            told = ", ".join(names)
            raise ConfigError(f"ib.account: expected one of {told}, which TWS manages, found {self._where.account}")
        for name in names:
            check_environment(self._environment, name)


def _bar(symbol: str, interval_ns: int, told: Any) -> Bar:
    text = str(told.date)
    if len(text) == len("YYYYMMDD"):
        open_ns = int(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * SECOND_NS
    else:
        open_ns = int(text) * SECOND_NS
    return Bar(
        symbol, open_ns, interval_ns, told.open, told.high, told.low, told.close, float(told.volume), told.barCount
    )
