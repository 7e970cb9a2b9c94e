"""What is asked of the outside about sessions: a venue's own, what was said, by which path, what a drop copy told.

Like `ports`, of which the stores here are a part: they belong to its unit of work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from trisagion.gateway.egress import EgressCount, EgressEvent
from trisagion.gateway.ib_words import Commission, Executed, OpenOrder
from trisagion.market.types import Bar, Quote
from trisagion.orders.types import ExecutionReport, Order, PositionReport, Unreadable
from trisagion.safety.beats import Beat, BeatMark
from trisagion.safety.commands import Command, Taken
from trisagion.safety.release import Proposal


@dataclass(frozen=True, slots=True)
class MessageLine:
    """A message of a FIX session, or an event of its engine; `direction` is "in", "out" or "event", secrets are masked.

    `number` counts the lines of a session without a hole; `at_ns` is the machine's time.
    """

    number: int
    at_ns: int
    direction: str
    text: str


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """A line as the database keeps it: with its session, MsgType(35) and MsgSeqNum(34), None where it has none."""

    session: str
    number: int
    direction: str
    msg_type: str | None
    seq_num: int | None
    at_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class Copy:
    """An execution report as a drop copy told it: the `seq`-th, at `learned_ns` of the machine's time.

    `verdict` is "open", "agreed", "recovering", "recovered" or "quarantined".
    """

    seq: int
    report: ExecutionReport
    learned_ns: int
    verdict: str


@dataclass(frozen=True, slots=True)
class CopyMark:
    """At `heard_ns` of the machine's time the drop copy had told all executions up to the `upto_seq`-th.

    Those up to `checked_seq` were looked for there.
    """

    venue: str
    upto_seq: int
    heard_ns: int
    checked_seq: int


class MessageStore(Protocol):
    """Table fix_message."""

    def add(self, messages: Sequence[SessionMessage]) -> None:
        """Record messages; those that are there already change nothing."""
        ...

    def last_number(self, session: str) -> int:
        """Return the number of a session's newest message, 0 when there is none."""
        ...

    def messages(
        self, session: str | None, names: Sequence[str], since_ns: int, after: tuple[int, str, int], count: int
    ) -> Sequence[SessionMessage]:
        """Return messages of a session, or of all, not older than an instant, in order of time.

        With `names` only those that hold one of them as ClOrdID(11) or OrigClOrdID(41). `after` is (instant, session,
        number) of the last one that was returned before, and at most `count` follow it.
        """
        ...


class EgressStore(Protocol):
    """Table egress_event."""

    def add(self, event: EgressEvent) -> None:
        """Record an event; the same again changes nothing."""
        ...

    def sessions(self) -> Sequence[str]:
        """Return the sessions of which there is a record, in order."""
        ...

    def counts(self, session: str) -> Sequence[EgressCount]:
        """Return the newest event of each kind on each path, oldest first, and how many there were."""
        ...

    def events(self, session: str, count: int) -> Sequence[EgressEvent]:
        """Return the newest `count` events of a session, oldest first."""
        ...


class CopyStore(Protocol):
    """Tables drop_copy and copy_mark, and what they are compared with."""

    def add(self, report: ExecutionReport, learned_ns: int) -> bool:
        """Record a report of a drop copy by (venue, exec_id); False when it is there already."""
        ...

    def undecided(self, venue: str, count: int) -> Sequence[Copy]:
        """Return the oldest `count` copies whose verdict is "open" or "recovering", in order of hearing."""
        ...

    def judge(self, verdicts: Mapping[int, str]) -> None:
        """Record verdicts on copies by their `seq`."""
        ...

    def fills(self, venue: str) -> Sequence[ExecutionReport]:
        """Return all trades, corrections and busts that the drop copy told, in order of hearing."""
        ...

    def booked_seq(self, venue: str) -> int:
        """Return the number of the last execution that is booked, 0 when none is."""
        ...

    def uncopied(self, venue: str, after_seq: int, upto_seq: int) -> Sequence[ExecutionReport]:
        """Return the executions with ``after_seq < seq <= upto_seq`` that have no copy."""
        ...

    def mark(self, venue: str) -> CopyMark | None:
        """Return how far the drop copy is known to be complete, None before it ever was."""
        ...

    def put_mark(self, mark: CopyMark) -> None:
        """Insert or replace the mark of a venue."""
        ...


class OrderIdStore(Protocol):
    """Table ib_order_id."""

    def reserve(self, session: str, floor: int, count: int) -> int:
        """Return the first of `count` order ids that were never given before; it is `floor` at least."""
        ...


class SwitchStore(Protocol):
    """Tables killswitch_beat and killswitch_mark."""

    def beat(self, name: str) -> Beat | None:
        """Return the heart-beat of a switch; one that cannot be read has no signature."""
        ...

    def put_beat(self, beat: Beat) -> None:
        """Insert or replace the heart-beat of a switch."""
        ...

    def mark(self, name: str) -> BeatMark | None:
        """Return what was taken last of a switch, None before the first look."""
        ...

    def put_mark(self, mark: BeatMark) -> None:
        """Insert or replace the mark of a switch; one with a higher number stays."""
        ...


class ReleaseStore(Protocol):
    """Tables control_release, command_nonce and signed_command."""

    def add(self, proposal: Proposal) -> int:
        """Record a proposal; return its number."""
        ...

    def proposal(self, number: int) -> Proposal | None:
        """Return a proposal."""
        ...

    def confirm(self, number: int, person: str, now_ns: int) -> bool:
        """Record who confirmed a proposal; False when somebody has already."""
        ...

    def spend(self, nonce: str, person: str, expires_ns: int) -> bool:
        """Use a command's number up; False when it was used before."""
        ...

    def keep(self, command: Command, taken_ns: int) -> None:
        """Keep a signed command that was taken, for whoever obeys it."""
        ...

    def taken(self) -> Sequence[Taken]:
        """Return every signed command that was taken, in order."""
        ...


class OrderIds(Protocol):
    """Where a venue session that must number its orders gets its numbers, also after a crash."""

    def reserve(self, session: str, floor: int, count: int) -> int:
        """Return the first of `count` fresh numbers: durable, `floor` at least, above each that was given before."""
        ...


class MessageOutbox(Protocol):
    """The lines of a session that wait to be kept in the database."""

    @property
    def last(self) -> int:
        """The number of the newest line."""
        ...

    def after(self, number: int, count: int) -> Sequence[MessageLine]:
        """Return the lines that follow a number, in order, at most `count`."""
        ...

    def forget(self, number: int) -> None:
        """Let go of the lines up to a number: they are kept."""
        ...


class CopySink(Protocol):
    """Where a drop copy delivers what it hears, on its own thread; an exception means: not processed, deliver again."""

    def on_copy(self, report: ExecutionReport) -> None:
        """Run for each execution report."""
        ...

    def on_unreadable(self, text: str, why: str) -> None:
        """Run for each message that is no execution report, or one that cannot be read."""
        ...

    def on_answer(self, request_id: str) -> None:
        """Run for the answer to a question of this connection: all that the venue told before it has been heard."""
        ...


class VenueSession(Protocol):
    """A venue connection as its owner uses it.

    None of these waits for the answer. False means: not logged on, nothing was sent.
    """

    def send_new(self, order: Order, now_ns: int) -> bool:
        """Send a post-only limit order (a crossing IOC when `order.taker`); TransactTime is `now_ns`."""
        ...

    def send_cancel(self, order: Order, now_ns: int) -> bool:
        """Ask for the cancel of an order."""
        ...

    def send_replace(self, order: Order, now_ns: int) -> bool:
        """Ask for an order to become what is wanted of it."""
        ...

    def ask_status(self, order: Order, now_ns: int) -> bool:
        """Ask what became of an order: one question for each ClOrdID under which the venue may hold it."""
        ...

    def ask_all_statuses(self, request_id: str) -> bool:
        """Ask what stands of every working order of the account; False too where the venue does not know the question.

        Each order comes as a report, then the end of the answer as `ReportSink.on_all_statuses`.
        """
        ...

    def ask_positions(self, request_id: str, now_ns: int) -> bool:
        """Ask for the venue's own view of our positions."""
        ...

    def offset_ns(self) -> int | None:
        """Return our wall clock less the venue's, as its messages of the last while tell; None when there was none.

        The least of them: the skew, and the least time that one took.
        """
        ...

    def logged_on(self) -> bool:
        """Tell whether the session is up."""
        ...


class OwnedSession(VenueSession, Protocol):
    """A venue connection as the process that holds it uses it: from `start` to `stop`."""

    def start(self, messages_after: int = 0) -> None:
        """Connect, again and again until `stop`; returns at once.

        `messages_after` is the number of the last of the session's messages that is kept elsewhere.
        """
        ...

    def stop(self) -> None:
        """Log out and disconnect. Not to be called from within the sink."""
        ...

    @property
    def messages(self) -> MessageOutbox:
        """All that was said on the session; there from `start` to `stop`."""
        ...


@dataclass(frozen=True, slots=True)
class AccountValue:
    """One of the numbers that a venue keeps of an account, as it wrote it."""

    name: str
    value: str
    currency: str


@dataclass(frozen=True, slots=True)
class VenueExecution:
    """An execution as Interactive Brokers tells it; `cost` is None as long as that was not told."""

    told: Executed
    cost: Commission | None


class VenueData(Protocol):
    """Questions to a venue that change nothing there. Each waits for its answer."""

    def account_values(self) -> Sequence[AccountValue]:
        """Return what the venue counts of the account."""
        ...

    def positions(self) -> Mapping[str, Decimal]:
        """Return the positions by symbol."""
        ...

    def open_orders(self) -> Sequence[tuple[OpenOrder, Decimal]]:
        """Return the open orders, whoever sent them, each with what is filled of it."""
        ...

    def executions(self) -> Sequence[VenueExecution]:
        """Return the executions of the account that the venue remembers."""
        ...

    def quote(self, symbol: str) -> Quote:
        """Return the present quote; `DataError` where there is none."""
        ...

    def bars(self, symbol: str, size: str, duration: str, until_ns: int | None = None) -> Sequence[Bar]:
        """Return bars of trades, oldest first; `DataError` where there are none."""
        ...


class ReportSink(Protocol):
    """Where a venue connection delivers what it hears, on its own thread.

    An exception means: not processed, deliver again.
    """

    def on_logon(self) -> None:
        """Run when the session is up: settle what the venue may hold before anything new is sent."""
        ...

    def on_logout(self) -> None:
        """Run when the session went down."""
        ...

    def on_report(self, report: ExecutionReport) -> None:
        """Run for each execution report or cancel reject."""
        ...

    def on_all_statuses(self, request_id: str) -> None:
        """Run when the answer to a question about all orders is complete: it has named every one that works."""
        ...

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Run for each complete answer to a request for positions."""
        ...

    def on_unreadable(self, word: Unreadable) -> None:
        """Run for each message that says something which cannot be read."""
        ...
