"""What waits to go up, of all orders: fills for their fees, reports for the fills that they count, ends for all of it.

Everything that is heard has a number. An end of an answer goes up when nothing with a lesser number waits any more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

from trisagion.errors import quoted
from trisagion.gateway.ib_lines import Fill, Line, Saying, trades
from trisagion.gateway.ib_words import Commission, Executed
from trisagion.gateway.words import is_currency
from trisagion.ids import ClOrdId
from trisagion.orders.types import ExecutionReport, Unreadable

End = TypeVar("End")

TOLD_MAX: Final = 200_000
"""Executions that are remembered; a forgotten one costs a look at the database, where it is a duplicate."""
_NOTHING: Final = Decimal(0)


@dataclass(slots=True, eq=False)
class Outgoing(Generic[End]):
    """The queue before the sink. Seconds are of a steady clock."""

    venue: str
    exec_wait_s: float
    _number: int = field(default=0, init=False)
    _busy: dict[int, Line] = field(default_factory=dict, init=False)
    _known: dict[str, Decimal] = field(default_factory=dict, init=False)
    _heard: dict[str, None] = field(default_factory=dict, init=False)
    _fees: dict[str, Commission] = field(default_factory=dict, init=False)
    _alarmed: dict[str, None] = field(default_factory=dict, init=False)
    _ends: list[tuple[int, End]] = field(default_factory=list, init=False)

    def count(self) -> int:
        """Return the next number."""
        self._number += 1
        return self._number

    def heard(self, exec_id: str) -> bool:
        """Tell whether an execution was heard before; from now on it was."""
        found = exec_id in self._heard
        self._heard[exec_id] = None
        bound(self._heard, TOLD_MAX)
        return found

    def fill(self, line: Line, told: Executed, now_s: float) -> None:
        """Let an execution wait for its fee."""
        line.fills.append(Fill(self.count(), now_s, told))
        self._busy[id(line)] = line

    def fee(self, told: Commission) -> None:
        """Note what an execution cost; it may be told before the execution is."""
        if told.exec_id not in self._known:
            self._fees[told.exec_id] = told
            bound(self._fees, TOLD_MAX)

    def say(
        self,
        line: Line,
        now_s: float,
        write: Callable[[Decimal], ExecutionReport],
        *,
        need: Decimal = _NOTHING,
        sure: bool = False,
    ) -> None:
        """Let a report wait until `need` is filled."""
        line.sayings.append(Saying(self.count(), now_s, need, write, sure))
        self._busy[id(line)] = line

    def end(self, what: End) -> None:
        """Let the end of an answer wait for all that waits now."""
        self._ends.append((self.count(), what))

    def give_up_ends(self) -> None:
        """Forget the ends of answers that wait: the connection on which was asked is gone."""
        self._ends.clear()

    def vouched(self, number: int) -> None:
        """Take it that all executions of which was said before the `number`-th thing have been told."""
        for line in self._busy.values():
            line.vouched(number)

    def drained(self) -> list[ExecutionReport | End]:
        """Return what may go up, in order."""
        found: list[ExecutionReport | End] = []
        for key, line in list(self._busy.items()):
            found += self._drain(line)
            if not line.waits:
                del self._busy[key]
        while self._ends and all(line.oldest > self._ends[0][0] for line in self._busy.values()):
            found.append(self._ends.pop(0)[1])
        return found

    def overdue(self, now_s: float) -> tuple[list[Unreadable], bool]:
        """Return an alarm for each fill that has waited too long, once, and whether anything waits for executions."""
        alarms, hungry = [], False
        for line in self._busy.values():
            for fill in line.fills:
                waited_s = now_s - fill.heard_s
                hungry = hungry or waited_s >= self.exec_wait_s
                if waited_s >= 2 * self.exec_wait_s and fill.told.exec_id not in self._alarmed:
                    self._alarmed[fill.told.exec_id] = None
                    alarms.append(self._without_fee(fill.told))
            hungry = hungry or any(now_s - each.since_s >= self.exec_wait_s for each in line.sayings)
        return alarms, hungry

    def _drain(self, line: Line) -> Iterable[ExecutionReport]:
        while True:
            while line.fills and self._priced(line.fills[0].told):
                told = line.fills.popleft().told
                self._alarmed.pop(told.exec_id, None)
                fee = self._fees.pop(told.exec_id, None)
                reports = trades(line, self.venue, told, fee, self._known)
                bound(self._known, TOLD_MAX)
                yield from reports
            saying = line.next_saying()
            if saying is None:
                return
            yield saying

    def _priced(self, told: Executed) -> bool:
        """Tell whether it is known what an execution cost; one that was taken back costs nothing."""
        fee = self._fees.get(told.exec_id)
        return told.qty == 0 or (fee is not None and is_currency(fee.currency))

    def _without_fee(self, told: Executed) -> Unreadable:
        fee = self._fees.get(told.exec_id)
        found = "nothing" if fee is None else f"{fee.fee} {quoted(fee.currency)}"
        why = f"execution {told.exec_id}: expected what it cost and in which currency, found {found}; it is not booked"
        return Unreadable(self.venue, of_orders=True, names=(ClOrdId(told.ref),), text=repr(told), why=why)


def bound(memory: dict[Any, Any], count: int) -> None:
    """Forget the oldest entries beyond a number."""
    while len(memory) > count:
        del memory[next(iter(memory))]
