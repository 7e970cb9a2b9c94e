"""Stand-ins for what is outside; each runs through the same contract tests as the adapter that it stands for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from trisagion.gateway.reports import read_positions, read_report
from trisagion.gateway.requests import (
    cancel_request,
    mass_status_request,
    new_order,
    positions_request,
    replace_request,
    status_requests,
)
from trisagion.gateway.words import Fields, Tag
from trisagion.orders.types import ExecutionReport, Order, PositionReport
from trisagion.simulate.venue import SimulatedVenue


class Died(BaseException):
    """The process ended here: nothing that runs in it may catch this."""


@dataclass(slots=True)
class FakeSession:
    """A `session_ports.VenueSession` without a wire.

    It remembers what it was asked as (what, name), in order, and lets `look` see each order at the moment of sending.
    A cancel of what it `refuses` is not sent. With a venue, which is the bundled one, it writes and reads real
    messages; the answers wait in `heard` and `seen`, the ends of answers about all orders in `complete`.
    """

    up: bool = True
    venue: SimulatedVenue | None = None
    account: str = "SIM-1"
    mass_status: bool = False
    offset: int | None = None
    look: Callable[[str, Order], None] = lambda what, order: None
    refuses: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    heard: list[ExecutionReport] = field(default_factory=list)
    seen: list[PositionReport] = field(default_factory=list)
    complete: list[str] = field(default_factory=list)

    def send_new(self, order: Order, now_ns: int) -> bool:
        """Send a new order."""
        return self._ask("new", order, new_order(order, account=self.account, now_ns=now_ns))

    def send_cancel(self, order: Order, now_ns: int) -> bool:
        """Ask for the cancel of an order."""
        return self._ask("cancel", order, cancel_request(order, account=self.account, now_ns=now_ns))

    def send_replace(self, order: Order, now_ns: int) -> bool:
        """Ask for an order to become what is wanted of it."""
        return self._ask("replace", order, replace_request(order, account=self.account, now_ns=now_ns))

    def ask_status(self, order: Order, now_ns: int) -> bool:
        """Ask what became of an order."""
        return self._ask("status", order, *status_requests(order, account=self.account))

    def ask_all_statuses(self, request_id: str) -> bool:
        """Ask about all working orders."""
        if not (self.up and self.mass_status):
            return False
        self.asked.append(("all", request_id))
        if self.venue is not None:
            answers = self.venue.answer(mass_status_request(request_id, account=self.account))
            self.tell(fields for fields in answers if Tag.CL_ORD_ID in fields)
            self.complete.append(request_id)
        return True

    def ask_positions(self, request_id: str, now_ns: int) -> bool:
        """Ask for the venue's view of our positions."""
        if not self.up:
            return False
        self.asked.append(("positions", request_id))
        if self.venue is not None:
            answers = self.venue.answer(positions_request(request_id, account=self.account, now_ns=now_ns))
            self.seen += [read_positions(fields, venue="SIM", asked_ns=now_ns) for fields in answers]
        return True

    def tell(self, messages: Iterable[Fields]) -> None:
        """Hear what the venue says unasked."""
        self.heard += [read_report(fields, venue="SIM") for fields in messages]

    def offset_ns(self) -> int | None:
        """Return what the test says."""
        return self.offset

    def logged_on(self) -> bool:
        """Tell whether the session is up."""
        return self.up

    def _ask(self, what: str, order: Order, *messages: Fields) -> bool:
        self.look(what, order)
        if not self.up or (what == "cancel" and order.cl_ord_id in self.refuses):
            return False
        self.asked.append((what, order.cl_ord_id))
        if self.venue is not None:
            for message in messages:
                self.tell(self.venue.answer(message))
        return True
