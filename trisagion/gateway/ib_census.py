"""A census: what was asked of TWS together, what its answers named, and what that proves about each order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, Protocol

from trisagion.gateway.ib_guard import same_day
from trisagion.gateway.ib_lines import OVER, Change, Line, report, standing
from trisagion.gateway.ib_outgoing import Outgoing
from trisagion.gateway.ib_words import OpenOrder
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order, PositionReport
from trisagion.units import Quantity, plus

OPEN, COMPLETED, EXECUTIONS, POSITIONS = "open", "completed", "executions", "positions"
"""What TWS is asked for."""
NO_EVIDENCE: Final = "NO_EVIDENCE"


@dataclass(frozen=True, slots=True)
class Synchronised:
    """The census after a connection is complete; own order ids of which TWS spoke are at most `order_id_max`."""

    order_id_max: int


@dataclass(frozen=True, slots=True)
class AllTold:
    """The answer to a question about all orders is complete."""

    request_id: str


@dataclass(frozen=True, slots=True)
class PositionsTold:
    """The answer to a question about positions."""

    reports: tuple[PositionReport, ...]


@dataclass(slots=True)
class Questions:
    """What one census is to answer; orders and positions each with the instant of the question."""

    orders: dict[ClOrdId, tuple[Order, int]] = field(default_factory=dict)
    all_orders: str | None = None
    positions: tuple[str, int] | None = None
    synchronise: bool = False

    @property
    def any(self) -> bool:
        """Tell whether anything is asked."""
        return bool(self.orders or self.all_orders or self.positions or self.synchronise)

    def split(self, later: set[ClOrdId]) -> "tuple[Questions, Questions]":
        """Return what is asked now, and the orders that are asked about later."""
        now = {first: asked for first, asked in self.orders.items() if first not in later}
        return replace(self, orders=now), Questions({first: self.orders[first] for first in later})


@dataclass(slots=True)
class Census:
    """Questions on their way: `left` are the answers without an end, the rest is what they named, by permId."""

    questions: Questions
    left: set[str]
    open: dict[int, Line] = field(default_factory=dict)
    completed: dict[int, OpenOrder] = field(default_factory=dict)
    held: dict[tuple[str, int], Decimal] = field(default_factory=dict)


def held(told: Mapping[tuple[str, int], Decimal]) -> dict[str, Decimal]:
    """Return what is held by symbol, of what TWS told by symbol and contract: of several contracts the sum."""
    sums: dict[str, Decimal] = {}
    for (symbol, _), qty in told.items():
        sums[symbol] = plus(sums.get(symbol, Decimal(0)), qty)
    return sums


class Lines(Protocol):
    """What is known of orders; `ib_book.Book`."""

    venue: str
    symbols: tuple[str, ...]
    zone: str

    def named(self, order: Order) -> Line | None:
        """Return an order as TWS has it, by any of its names."""
        ...

    def by_perm(self, perm_id: int) -> Line:
        """Return an order of which TWS has told."""
        ...

    def stand_in(self, order: Order) -> Line:
        """Return a line for an order of which nothing is known."""
        ...

    @property
    def order_id_max(self) -> int:
        """The greatest own order id of which TWS spoke on this connection."""
        ...


def conclude(
    census: Census,
    lines: Lines,
    out: "Outgoing[Synchronised | AllTold | PositionsTold]",
    number: int,
    now_s: float,
) -> None:
    """Say what a census has found, and after all of it that it is complete. Executions were asked for at `number`."""
    asked = census.questions
    found = _Findings(census, lines, out, number, now_s)
    if asked.all_orders is not None:
        found.tell_all()
    for order, now_ns in asked.orders.values():
        found.answer(order, now_ns)
    if asked.synchronise:
        out.end(Synchronised(lines.order_id_max))
    if asked.all_orders is not None:
        out.end(AllTold(asked.all_orders))
    if asked.positions is not None:
        request, asked_ns = asked.positions
        told = {symbol: Decimal(0) for symbol in lines.symbols} | held(census.held)
        reports = (PositionReport(lines.venue, request, each, Quantity(qty), asked_ns) for each, qty in told.items())
        out.end(PositionsTold(tuple(reports)))


@dataclass(frozen=True, slots=True)
class _Findings:
    census: Census
    lines: Lines
    out: "Outgoing[Synchronised | AllTold | PositionsTold]"
    number: int
    now_s: float

    def tell_all(self) -> None:
        """Name every open order, and each completed one with a name that was not known to be over."""
        for perm_id, line in self.census.open.items():
            if perm_id not in self.census.completed:
                self._say(line, standing(line, self.lines.venue, line.state, line.ref))
        for perm_id, told in self.census.completed.items():
            line = self.lines.by_perm(perm_id)
            if not line.ended and not told.ref.startswith("?"):
                line.ended, line.state = True, told.state
                self._say(line, standing(line, self.lines.venue, told.state, line.ref))

    def answer(self, order: Order, now_ns: int) -> None:
        """Say what became of an order, by each name under which it may be held."""
        line, census = self.lines.named(order), self.census
        if line is None or not line.perm_id:
            self._absent(order, line, now_ns)
            return
        line.at_ns = max(line.at_ns, now_ns)
        request = self._became(line, order)
        done, reason = census.completed.get(line.perm_id), None
        if done is not None:
            line.ended, line.state = True, done.state
        state = line.state
        if done is None and line.perm_id not in census.open and state not in OVER:
            seen = max([line.cum, *(fill.told.cum_qty for fill in line.fills)])
            state = OrderState.FILLED if seen >= order.qty else OrderState.UNKNOWN
            if state is OrderState.UNKNOWN:
                reason = f"{NO_EVIDENCE}: {seen} filled, and neither open nor completed"
        self._say(line, standing(line, self.lines.venue, state, order.venue_id, request=request, reason=reason))

    def _became(self, line: Line, order: Order) -> ClOrdId | None:
        """Return the name of a replace without an answer, where the order is what that asked for; else give it up."""
        change = Change.of(order)
        line.change = None
        if change is None:
            return None
        if line.ref == change.name or (line.qty, line.price) == (change.qty, change.price):
            line.ref = change.name
            return change.name
        self._unknown(line, change.name)
        return None

    def _absent(self, order: Order, line: Line | None, now_ns: int) -> None:
        """Say of an order that no answer named that TWS never heard of it, where that is proved."""
        if line is None:
            line = self.lines.stand_in(order)
        line.at_ns = max(line.at_ns, now_ns)
        self._became(line, order)
        if same_day(order.created_ns, now_ns, self.lines.zone):
            self._unknown(line, order.venue_id)
            line.state, line.ended = OrderState.REJECTED, True
            return
        reason = f"{NO_EVIDENCE}: executions before midnight are not told any more"
        self._say(line, standing(line, self.lines.venue, OrderState.UNKNOWN, order.venue_id, reason=reason))

    def _unknown(self, line: Line, name: ClOrdId) -> None:
        venue, kind, state = self.lines.venue, ExecType.ORDER_STATUS, OrderState.REJECTED
        self._say(line, lambda cum: report(line, venue, kind, state, cum, name=name, unknown=True))

    def _say(self, line: Line, write: Callable[[Decimal], ExecutionReport]) -> None:
        # What was counted after executions were asked for may be an execution that is still to come.
        sure = line.filled_at < self.number
        self.out.say(line, self.now_s, write, need=line.filled, sure=sure)
