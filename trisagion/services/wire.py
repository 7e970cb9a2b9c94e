"""What a session's owner lets leave, and what it remembers of it: the part of a stop that needs no database.

The last look at mode and gate is in the transaction that claims an order. Between its commit and the socket there is
only this. While the wire is shut no new order and no replace passes, be it claimed already; cancels and questions do,
and so does what flattens, which another word than the one that shut it has asked for.

Where the database does not answer, nobody can read which orders work. So the owner remembers those that the venue may
hold, and can ask for the cancel of each. Such a cancel bears the ClOrdID that it would have borne in any case: asked
for again, it is the same request. Nothing is claimed for it, because nothing can be; the order stays what the database
says until the venue's answer is booked.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from trisagion.ids import ClOrdId
from trisagion.orders.state import TERMINAL
from trisagion.orders.types import ExecType, ExecutionReport, Order
from trisagion.session_ports import VenueSession

FLAGGED_S: Final = 1.0
"""How long the database may say nothing while the flag is up. Our choice: ten looks of the owner, and with the cancels
of two hundred orders, a second of a usual share of messages, less than half of what a stop may take."""

UNREAD_S: Final = 10.0
"""And while nothing demands a stop: as long as a report waits to be booked. Beyond that nobody watches what works."""


@dataclass(slots=True)
class Wire:
    """The way to the socket; called on several threads. What is held is known by its ClOrdID at the venue."""

    session: VenueSession
    shut: bool = False
    _passing: Lock = field(default_factory=Lock, init=False)
    # Held for a moment only, never while something is sent.
    _counting: Lock = field(default_factory=Lock, init=False)
    _held: dict[ClOrdId, Order] = field(default_factory=dict, init=False)
    _asked: set[ClOrdId] = field(default_factory=set, init=False)

    def send_new(self, order: Order) -> bool:
        """Send a new order; False where the wire is shut."""
        with self._passing:
            if self.shut and not order.taker:
                return False
            self._hold(order)
            self.session.send_new(order, order.updated_ns)
            return True

    def send_replace(self, order: Order) -> bool:
        """Send a replace; False where the wire is shut. Until it is answered the order may have either name."""
        with self._passing:
            if self.shut:
                return False
            self._hold(_replaced(order))
            self.session.send_replace(order, order.updated_ns)
            return True

    def send_cancel(self, order: Order) -> None:
        """Ask for the cancel of an order."""
        if self.session.send_cancel(order, order.updated_ns):
            with self._counting:
                self._asked.add(order.venue_id)

    def found(self, orders: Iterable[Order]) -> None:
        """After a logon: the venue may hold these, and no others; what was asked before may have been lost."""
        orders = list(orders)
        with self._counting:
            self._held.clear()
            self._asked.clear()
        for order in orders:
            self._hold(order)
            if order.asked_id is not None:
                self._hold(_replaced(order))

    def heard(self, report: ExecutionReport) -> None:
        """Forget the names under which the venue holds nothing any more."""
        ended: tuple[ClOrdId | None, ...] = ()
        if report.ord_status in TERMINAL:
            ended = (report.cl_ord_id, report.request_id)
        elif report.exec_type is ExecType.REPLACED:
            ended = (report.cl_ord_id,)
        elif report.exec_type is ExecType.REPLACE_REJECTED:
            ended = (report.request_id,)
        with self._counting:
            for name in ended:
                if name is not None:
                    self._held.pop(name, None)
                    self._asked.discard(name)

    def cancel_all(self, take: Callable[[], bool], now_ns: int) -> int:
        """Shut the wire and ask for the cancel of all that is held, each once; return how many were asked for now.

        `take` takes a share of messages for one, and says False where there is none: the next call goes on.
        """
        self.shut = True
        # Whoever was past the look has sent its order by then, and it is among these.
        with self._passing, self._counting:
            left = [order for name, order in self._held.items() if name not in self._asked]
        count = 0
        for order in left:
            if not take() or not self.session.send_cancel(order, max(now_ns, order.updated_ns)):
                break
            with self._counting:
                self._asked.add(order.venue_id)
            count += 1
        return count

    def _hold(self, order: Order) -> None:
        # What takes liquidity never rests.
        if not order.taker:
            with self._counting:
                self._held[order.venue_id] = order


def _replaced(order: Order) -> Order:
    """Return an order as it is when the replace that is asked for has been accepted."""
    return replace(order, link=order.links, wanted_qty=None, wanted_price=None)
