"""One order as TWS has it, and the reports that are made of it: what is known, what waits, in what order it goes up.

TWS tells of one thing in pieces: an execution and what it cost come apart, in any order, and an order's status counts
fills that are still to come. Each report of ours counts the fills that were reported before. So of each order fills go
up in the order in which they were made, each with its fee; and what counts fills waits for them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from trisagion.gateway.ib_words import Commission, Executed, former
from trisagion.ids import ClOrdId
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order, Side
from trisagion.units import Money, Price, Quantity

_ZERO: Final = Decimal(0)
OVER: Final = frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED})
"""Nothing of the order works any more."""
AT_WORK: Final = frozenset({OrderState.NEW, OrderState.PARTIALLY_FILLED})


@dataclass(frozen=True, slots=True)
class Change:
    """A replace without an answer: the names before and after it, and what the order is to become."""

    before: ClOrdId
    name: ClOrdId
    qty: Decimal
    price: Decimal

    @staticmethod
    def of(order: Order) -> "Change | None":
        """Return the replace of an order that has no answer, None where there is none."""
        name, qty, price = order.asked_id, order.wanted_qty, order.wanted_price
        return None if name is None or qty is None or price is None else Change(order.venue_id, name, qty, price)


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution that waits for its fee, or for one before it; heard at `heard_s` of a steady clock."""

    number: int
    heard_s: float
    told: Executed


@dataclass(frozen=True, slots=True)
class Saying:
    """A report that waits until `need` is filled by those before it; `write` makes it with what is filled by then.

    `sure` says that TWS has told all executions that there are: what it counts beyond them is older than its memory.
    """

    number: int
    since_s: float
    need: Decimal
    write: Callable[[Decimal], ExecutionReport]
    sure: bool = False


@dataclass(slots=True, eq=False)
class Line:
    """An order at TWS. `ref` is its name in force, `qty` None where only executions told of it.

    `cum` counts what was reported up, `filled` what TWS says since the `filled_at`-th thing that was heard. `sent_s` is
    when this process last sent something that TWS may not have taken in yet, `asked_s` since when an answer is waited
    for. `mine` says that this client id may cancel or modify it.
    """

    ref: ClOrdId
    symbol: str
    side: Side
    qty: Decimal | None
    price: Decimal | None
    order_id: int = 0
    perm_id: int = 0
    mine: bool = False
    state: OrderState = OrderState.PENDING_NEW
    filled: Decimal = _ZERO
    filled_at: int = 0
    avg_px: Decimal = _ZERO
    cum: Decimal = _ZERO
    acked: bool = False
    ended: bool = False
    change: Change | None = None
    reason: str | None = None
    at_ns: int = 0
    sent_s: float | None = None
    asked_s: float | None = None
    names: set[ClOrdId] = field(default_factory=set)
    fills: deque[Fill] = field(default_factory=deque)
    sayings: deque[Saying] = field(default_factory=deque)

    @property
    def waits(self) -> bool:
        """Tell whether something has not gone up yet."""
        return bool(self.fills or self.sayings)

    @property
    def oldest(self) -> int:
        """The number of the first thing that waits."""
        heads = [queue[0].number for queue in (self.fills, self.sayings) if queue]
        return min(heads)

    def total(self) -> Decimal:
        """Return the order's quantity; as much as is known to be filled where nobody has told it."""
        if self.qty is not None:
            return self.qty
        return max([self.cum, self.filled, *(fill.told.cum_qty for fill in self.fills)])

    def counts(self, filled: Decimal, number: int) -> None:
        """Note what TWS says is filled."""
        if filled != self.filled:
            self.filled, self.filled_at = filled, number

    def vouched(self, number: int) -> None:
        """Take it that all executions of which was said before the `number`-th thing have been told."""
        self.sayings = deque(replace(each, sure=each.sure or each.number < number) for each in self.sayings)

    def next_saying(self) -> ExecutionReport | None:
        """Return the report that may go up now."""
        if not self.sayings:
            return None
        head = self.sayings[0]
        if head.need > self.cum and (self.fills or not head.sure):
            return None
        self.sayings.popleft()
        return head.write(max(head.need, self.cum))


def report(
    line: Line,
    venue: str,
    exec_type: ExecType,
    state: OrderState,
    cum: Decimal,
    *,
    name: ClOrdId | None = None,
    request: ClOrdId | None = None,
    reject: Reject | None = None,
    reason: str | None = None,
    unknown: bool = False,
) -> ExecutionReport:
    """Write a report that fills nothing; nothing is left of an order that is over."""
    total = line.total()
    over = state in OVER or unknown
    return ExecutionReport(
        venue=venue,
        exec_id=None,
        cl_ord_id=line.ref if name is None else name,
        order_id=str(line.perm_id) if line.perm_id else "NONE",
        exec_type=exec_type,
        ord_status=state,
        symbol=line.symbol,
        side=line.side,
        last_qty=Quantity(_ZERO),
        last_px=None,
        cum_qty=Quantity(cum),
        leaves_qty=Quantity(_ZERO if over else max(total - cum, _ZERO)),
        avg_px=line.avg_px if cum > 0 else _ZERO,
        fee=Money(_ZERO),
        liquidity=None,
        reason=reason,
        unknown_order=unknown,
        happened_ns=line.at_ns,
        request_id=request,
        reject=reject,
        price=None if line.price is None or over else Price(line.price),
    )


def standing(
    line: Line,
    venue: str,
    state: OrderState,
    name: ClOrdId,
    *,
    request: ClOrdId | None = None,
    reason: str | None = None,
) -> Callable[[Decimal], ExecutionReport]:
    """Write where an order stands; fills that came since TWS told have been reported, and count."""

    def write(cum: Decimal) -> ExecutionReport:
        stands = state
        if state in AT_WORK:
            works = OrderState.PARTIALLY_FILLED if cum > 0 else OrderState.NEW
            stands = works if cum < line.total() else OrderState.FILLED
        why = reason or line.reason
        return report(line, venue, ExecType.ORDER_STATUS, stands, cum, name=name, request=request, reason=why)

    return write


def refusal(
    line: Line, venue: str, exec_type: ExecType, *, request: ClOrdId | None, reject: Reject | None, reason: str
) -> ExecutionReport:
    """Write that a request was refused, or with ORDER_STATUS that nobody knows what became of the order.

    Like a cancel reject it has no symbol and no quantities, and says of the order that it is in doubt.
    """
    told = report(line, venue, exec_type, OrderState.UNKNOWN, _ZERO, request=request, reject=reject, reason=reason)
    return replace(told, symbol="", leaves_qty=Quantity(_ZERO), price=None)


def trades(
    line: Line, venue: str, told: Executed, cost: Commission | None, known: dict[str, Decimal]
) -> list[ExecutionReport]:
    """Write an execution with what it cost, None where it was taken back.

    `known` gives the quantities of those that were reported.

    A correction names the execution that it corrects. Where that was not told to this process, it may have been booked
    by an earlier one or by none, so it is reported first, as the correction has it: booked already, it is a duplicate
    and changes nothing; never booked, it is what the correction then corrects. One corrected to nothing is a bust.
    """
    before = former(told.exec_id)
    found = []
    if before is not None and before not in known and told.qty > 0:
        found = trades(line, venue, replace(told, exec_id=before), cost, known)
    known[told.exec_id] = told.qty
    if before is None:
        exec_type, cum = ExecType.TRADE, told.cum_qty
    else:
        exec_type = ExecType.TRADE_CORRECT if told.qty > 0 else ExecType.TRADE_CANCEL
        # A correction repeats the count of its time, which later fills have passed.
        cum = line.cum - known[before] + told.qty if before in known else told.cum_qty
    change = line.change
    proves = change is not None and (told.ref == change.name or told.cum_qty > line.total())
    total = change.qty if change is not None and proves else line.total()
    ended = before is not None and line.state in OVER
    leaves = _ZERO if ended else max(total - cum, _ZERO)
    line.cum, line.avg_px = cum, told.avg_px
    if not leaves and change is None:
        # TWS says nothing else of an order that is filled at once.
        line.asked_s = None
    if told.qty == 0:
        cost = None
    found.append(
        ExecutionReport(
            venue=venue,
            exec_id=told.exec_id,
            cl_ord_id=ClOrdId(told.ref),
            order_id=str(told.perm_id),
            exec_type=exec_type,
            ord_status=OrderState.PARTIALLY_FILLED if leaves else OrderState.FILLED,
            symbol=told.symbol,
            side=told.side,
            last_qty=Quantity(told.qty),
            last_px=Price(told.price) if told.qty > 0 else None,
            cum_qty=Quantity(cum),
            leaves_qty=Quantity(leaves),
            avg_px=told.avg_px,
            fee=Money(_ZERO if cost is None else cost.fee),
            liquidity=told.liquidity if told.qty > 0 else None,
            reason=None,
            unknown_order=False,
            happened_ns=told.at_ns,
            request_id=change.name if change is not None and proves and told.ref != change.name else None,
            ref_exec_id=before,
            fee_currency=None if cost is None or cost.currency == told.currency else cost.currency,
        )
    )
    return found
