"""What a session waits for after a logon: the venue's word on every order of ours that it may hold.

Sequence numbers and resends say that we have heard what the venue said, not that it said all: it may have reset its
numbers, lost its store, or filled a gap. So nothing new leaves before its books have been held against ours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from trisagion.ids import ClOrdId
from trisagion.orders.types import ExecType, ExecutionReport, Order

SETTLE_S_MAX: Final = 15.0
"""After so much silence the questions are asked again, and a person hears of it. Reliability, 5.2 and 5.3: what is in
doubt is resolved, and two hundred orders are reconciled, within 15 s of a logon."""


@dataclass(frozen=True, slots=True)
class Settling:
    """The questions of one logon.

    `names` are the ClOrdIDs under which the venue may hold each order; `waiting` are those without an answer; `request`
    is the question about all orders as long as its answer is not complete.

    Instants are seconds of a clock that never goes back: `begun_s`, and `moved_s` of the last question or answer.
    """

    names: Mapping[ClOrdId, frozenset[ClOrdId]]
    waiting: frozenset[ClOrdId]
    request: str
    begun_s: float
    moved_s: float

    @staticmethod
    def of(orders: Iterable[Order], request: str, now_s: float) -> "Settling":
        """Begin: nothing is answered yet."""
        names = {order.cl_ord_id: _names(order) for order in orders}
        return Settling(names, frozenset[ClOrdId]().union(*names.values()), request, now_s, now_s)

    @property
    def done(self) -> bool:
        """Tell whether new orders may leave."""
        return not self.waiting and not self.request

    @property
    def left(self) -> list[ClOrdId]:
        """The orders of which the venue has still to speak, by their first ClOrdID."""
        return [first for first, names in self.names.items() if names & self.waiting]

    def heard(self, report: ExecutionReport, now_s: float) -> "Settling":
        """Count a report where it is an answer: a status of an order, be it that nobody has heard of it."""
        if report.exec_type is not ExecType.ORDER_STATUS or not report.symbol:
            return self
        answered = self.waiting & {report.cl_ord_id, report.request_id}
        return replace(self, waiting=self.waiting - answered, moved_s=now_s) if answered or self.request else self

    def asked(self, order: Order, now_s: float) -> "Settling":
        """Wait for an answer about each name of an order, for it was asked by each, and by no earlier one."""
        names = _names(order)
        waiting = (self.waiting - self.names.get(order.cl_ord_id, frozenset())) | names
        return replace(self, names={**self.names, order.cl_ord_id: names}, waiting=waiting, moved_s=now_s)

    def ended(self, order: ClOrdId) -> "Settling":
        """Wait no more for an order that has ended meanwhile."""
        return replace(self, waiting=self.waiting - self.names.get(order, frozenset()))

    def complete(self, request: str, now_s: float) -> "Settling":
        """Count the answer about all orders as complete."""
        return replace(self, request="", moved_s=now_s) if request == self.request else self

    def repeated(self, now_s: float) -> "Settling":
        """Give up on the answer about all orders; each is asked about by itself."""
        return replace(self, request="", moved_s=now_s)

    def overdue(self, now_s: float) -> bool:
        """Tell whether the venue has been silent for too long."""
        return not self.done and now_s - self.moved_s > SETTLE_S_MAX


SETTLED: Final = Settling({}, frozenset(), "", 0.0, 0.0)
"""Nothing is waited for."""


def _names(order: Order) -> frozenset[ClOrdId]:
    return frozenset(name for name in (order.venue_id, order.asked_id) if name is not None)
