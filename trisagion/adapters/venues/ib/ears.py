"""What the library's decoder calls for each message: it becomes a plain value, and is handed on.

Numbers are made exact again, contracts become our symbols, and what belongs to another account is left out.
"""

# ruff: noqa: N802 - the names are IB's EWrapper's

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final

from trisagion.clock import SECOND_NS
from trisagion.gateway.ib_words import (
    UNSET_MIN,
    Commission,
    Executed,
    OpenOrder,
    StatusTold,
    exact,
    read_completed,
    read_liquidity,
    read_side,
    read_status,
)
from trisagion.units import plain

REQUESTS_FROM: Final = 2**30
"""Our questions are numbered from here, our orders below: an error says only a number."""


@dataclass(frozen=True, slots=True)
class IbContract:
    """What a symbol of ours is at Interactive Brokers; what is empty is not asked for.

    `exchange` is where orders are routed: never SMART for one that is to make. `last_trade_date` is YYYYMM or YYYYMMDD.
    `tick` is the least price step, None where the venue's is taken on trust.
    """

    symbol: str
    sec_type: str
    exchange: str
    currency: str
    local_symbol: str = ""
    last_trade_date: str = ""
    multiplier: Decimal = Decimal(1)
    tick: Decimal | None = None

    def is_told(self, contract: Any) -> bool:
        """Tell whether TWS speaks of this contract."""
        return (
            self.symbol in {"", contract.symbol}
            and self.sec_type in {"", contract.secType}
            and self.currency in {"", contract.currency}
            and self.local_symbol in {"", contract.localSymbol}
            and contract.lastTradeDateOrContractMonth.startswith(self.last_trade_date)
        )

    @property
    def multiplier_text(self) -> str:
        """The multiplier as TWS names it: none where it is one."""
        return "" if self.multiplier == 1 else plain(self.multiplier)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that TWS manages."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NextId:
    """The least order id that TWS takes now; it rolls back at night."""

    order_id: int


@dataclass(frozen=True, slots=True)
class Held:
    """A position of the account in one contract: several may go by one of our symbols, as two months of a future do."""

    symbol: str
    con_id: int
    qty: Decimal


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an answer; `request` is 0 where TWS gives none."""

    what: str
    request: int = 0


@dataclass(frozen=True, slots=True)
class ServerTime:
    """TWS' clock, in whole seconds since 1970."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Error:
    """An error or a notice; `about` is an order's or a question's number, -1 for neither."""

    about: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the answer to a question for data, as the library has it."""

    request: int
    what: str
    values: tuple[Any, ...]


class Ears:
    """Stands where the library's `Wrapper` stands; it keeps nothing."""

    def __init__(
        self, account: str, contracts: Mapping[str, IbContract], zone: str, hear: Callable[[object], None]
    ) -> None:
        self._account = account
        self._contracts = contracts
        self._hear = hear
        self.ib = SimpleNamespace(TimezoneTWS=zone)
        self.defaultTimezone = UTC

    def symbol_of(self, contract: Any) -> str:
        """Return our symbol of a contract; one that is none of ours gets a name that no symbol has.

        Without the spaces that stand in the names of options.
        """
        ours = (symbol for symbol, known in self._contracts.items() if known.is_told(contract))
        theirs = "_".join((contract.localSymbol or contract.symbol).split())
        return next(ours, None) or f"{theirs}@{contract.conId}"

    def _mine(self, account: str) -> bool:
        return account in {"", self._account}

    # What the library calls, by the names of IB's EWrapper.

    def connectAck(self) -> None:
        """Nothing to do: the library has said hello."""

    def setEventsDone(self) -> None:
        """Nothing to do: there are no subscribers."""

    def connectionClosed(self) -> None:
        """Nothing to do: the connection itself is watched."""

    def managedAccounts(self, accounts: str) -> None:
        """Hand on."""
        self._hear(Accounts(tuple(name for name in accounts.split(",") if name)))

    def nextValidId(self, order_id: int) -> None:
        """Hand on."""
        self._hear(NextId(order_id))

    def currentTime(self, seconds: int) -> None:
        """Hand on."""
        self._hear(ServerTime(seconds))

    def error(self, about: int, code: int, text: str, _: str = "") -> None:
        """Hand on."""
        self._hear(Error(about, code, text))

    def openOrder(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        """Hand on an order that is not a mere question for its margin."""
        if order.whatIf or not self._mine(order.account):
            return
        self._hear(
            OpenOrder(
                order_id=order_id,
                client_id=order.clientId,
                perm_id=order.permId,
                ref=_named(order),
                symbol=self.symbol_of(contract),
                side=read_side(order.action),
                qty=exact(order.totalQuantity, what="openOrder totalQuantity"),
                price=_limit(order),
                state=read_status(state.status, Decimal(0)),
            )
        )

    def openOrderEnd(self) -> None:
        """Hand on."""
        self._hear(Ended("open"))

    def completedOrder(self, contract: Any, order: Any, state: Any) -> None:
        """Hand on. IB gives a filled order a quantity of nothing here, and what is filled beside it."""
        if not self._mine(order.account):
            return
        ended = read_completed(state.status)
        told = Decimal(repr(order.filledQuantity))
        filled = Decimal(0) if told >= UNSET_MIN else exact(order.filledQuantity, what="completedOrder filledQuantity")
        qty = exact(order.totalQuantity, what="completedOrder totalQuantity")
        self._hear(
            OpenOrder(
                order_id=0,
                client_id=-1,
                perm_id=order.permId,
                ref=_named(order),
                symbol=self.symbol_of(contract),
                side=read_side(order.action),
                qty=max(qty, filled),
                price=_limit(order),
                state=ended,
                completed=True,
                filled=filled,
                reason=state.completedStatus,
            )
        )

    def completedOrdersEnd(self) -> None:
        """Hand on."""
        self._hear(Ended("completed"))

    def orderStatus(
        self, _: int, status: str, filled: float, __: float, average: float, perm_id: int, *___: Any
    ) -> None:
        """Hand on. Which order it is about, permId alone says."""
        read_status(status, Decimal(0))
        self._hear(
            StatusTold(
                perm_id=perm_id,
                status=status,
                filled=exact(filled, what="orderStatus filled"),
                avg_px=exact(average, what="orderStatus avgFillPrice"),
            )
        )

    def execDetails(self, _: int, contract: Any, execution: Any) -> None:
        """Hand on."""
        if not self._mine(execution.acctNumber):
            return
        when: datetime = execution.time
        self._hear(
            Executed(
                exec_id=execution.execId,
                at_ns=int(when.timestamp()) * SECOND_NS,
                order_id=execution.orderId,
                client_id=execution.clientId,
                perm_id=execution.permId,
                ref=execution.orderRef or f"?{execution.permId}",
                symbol=self.symbol_of(contract),
                side=read_side(execution.side),
                qty=exact(execution.shares, what="execDetails shares"),
                price=exact(execution.price, what="execDetails price"),
                cum_qty=exact(execution.cumQty, what="execDetails cumQty"),
                avg_px=exact(execution.avgPrice, what="execDetails avgPrice"),
                liquidity=read_liquidity(execution.lastLiquidity),
                currency=contract.currency,
            )
        )

    def execDetailsEnd(self, request: int) -> None:
        """Hand on."""
        self._hear(Ended("executions", request))

    def commissionReport(self, told: Any) -> None:
        """Hand on; "no value" is not yet a fee."""
        if abs(Decimal(repr(told.commission))) < UNSET_MIN:
            fee = exact(told.commission, what="commissionReport commission")
            self._hear(Commission(told.execId, fee, told.currency))

    def position(self, account: str, contract: Any, qty: float, _: float) -> None:
        """Hand on."""
        if account == self._account:
            self._hear(Held(self.symbol_of(contract), contract.conId, exact(qty, what="position")))

    def positionEnd(self) -> None:
        """Hand on."""
        self._hear(Ended("positions"))

    # Answers to questions for data.

    def accountSummary(self, request: int, account: str, tag: str, value: str, currency: str) -> None:
        """Hand on."""
        if account == self._account:
            self._hear(Row(request, "account", (tag, value, currency)))

    def accountSummaryEnd(self, request: int) -> None:
        """Hand on."""
        self._hear(Ended("data", request))

    def contractDetails(self, request: int, details: Any) -> None:
        """Hand on."""
        self._hear(Row(request, "contract", (details,)))

    def contractDetailsEnd(self, request: int) -> None:
        """Hand on."""
        self._hear(Ended("data", request))

    def priceSizeTick(self, request: int, kind: int, price: float, size: float) -> None:
        """Hand on."""
        self._hear(Row(request, "tick", (kind, price, size)))

    def tickSnapshotEnd(self, request: int) -> None:
        """Hand on."""
        self._hear(Ended("data", request))

    def historicalData(self, request: int, bar: Any) -> None:
        """Hand on."""
        self._hear(Row(request, "bar", (bar,)))

    def historicalDataEnd(self, request: int, _: str, __: str) -> None:
        """Hand on."""
        self._hear(Ended("data", request))


def _named(order: Any) -> str:
    """Return an order's orderRef; of one that was given none a name that no order of ours has."""
    return str(order.orderRef) or f"?{order.permId}"


def _limit(order: Any) -> Decimal | None:
    return exact(order.lmtPrice, what="lmtPrice") if order.orderType == "LMT" else None
