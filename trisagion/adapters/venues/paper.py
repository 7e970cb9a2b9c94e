"""The paper venue: a session whose venue is in the same process, as a value. No socket lies between, and no process.

Orders become the same FIX messages and the answers are read by the same rules as on a line; only the line is not
there. What holds of one holds here too:

* The venue's commands are in a journal before they are applied, so whoever owns the session after a crash has the same
  books and the same ExecIDs.
* A report counts as heard when the sink is done with it, and the number of the last one is in a file of its own. If
  the sink raises, the process ends at once, and what was not heard is told to the next process before its logon: at
  least once, and the inbox books an ExecID once.
* What is sent while the line is down is refused. Reports that are made then wait for the next logon; answers to
  questions do not, for whoever asked asks again.

The control socket is that of the other bundled venues: `play` moves time, `fault` takes the kinds of
`SimulatedVenue.fail` and `disconnect`, after which the line is down for `reconnect_s`.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.adapters.venues.books import Books
from trisagion.adapters.venues.control_server import check_path, controlled
from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.journal import Journal, owned
from trisagion.adapters.venues.messages import MessageFiles
from trisagion.errors import OurMistake, StateError, VenueMistake
from trisagion.gateway.reports import doubt, read_positions, read_reject, read_report, unreadable
from trisagion.gateway.requests import (
    cancel_request,
    mass_status_request,
    new_order,
    positions_request,
    replace_request,
    status_requests,
)
from trisagion.gateway.words import (
    BUSINESS_MESSAGE_REJECT,
    POSITION_REPORT,
    REJECTED,
    Fields,
    Tag,
    instant,
    text,
)
from trisagion.ids import ClOrdId
from trisagion.orders.types import ExecutionReport, Order
from trisagion.session_ports import ReportSink
from trisagion.simulate.faults import value_of
from trisagion.simulate.venue import SimulatedVenue

STOP_S_MAX: Final = 5.0
"""How long a stop waits for the report that is being booked."""

LOOK_S: Final = 0.25
"""How soon the session ends when the control socket is told to stop, which wakes nobody."""

_SOH: Final = "\x01"
_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """What is traded, one spec for each instrument, and where the venue keeps its memory and is driven from."""

    specs: tuple[DataSpec, ...]
    account: str
    store_dir: Path
    control: Path
    reconnect_s: float = 1.0


@dataclass(frozen=True, slots=True)
class _Word:
    """Something to be told; `number` counts what commands were told, and is 0 of an answer to a question."""

    number: int
    tell: Callable[[], None]


class PaperSession:
    """Implements `session_ports.OwnedSession`. One process, one session, one of these."""

    def __init__(self, config: PaperConfig, sink: ReportSink, venue: str) -> None:
        check_path(config.control)
        self.config = config
        self._sink = sink
        self._venue = venue
        self._books: Books | None = None
        self._messages: MessageFiles | None = None
        self._words: deque[_Word] = deque()
        self._told = 0
        self._up = False
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="paper venue", daemon=True)
        self._held = ExitStack()

    def start(self, messages_after: int = 0) -> None:
        """Take the store and begin; the venue is there when its control socket answers.

        `messages_after` is the number of the last of the session's messages that is kept elsewhere.
        """
        if self._messages is not None:
            raise OurMistake("the session was started twice")
        directory = self.config.store_dir
        self._held.enter_context(owned(directory))
        self._messages = MessageFiles(directory / "messages", after=messages_after)
        self._held.callback(self._messages.close)
        self._thread.start()

    def stop(self) -> None:
        """End the session and the venue with it. Not to be called from within the sink."""
        with self._changed:
            self._stopping.set()
            self._up = False
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(STOP_S_MAX)
        self._held.close()

    @property
    def messages(self) -> MessageFiles:
        """All that was said on the session; there from `start` to `stop`."""
        if self._messages is None:
            raise OurMistake("the messages of a session are asked for before its start")
        return self._messages

    def offset_ns(self) -> int | None:
        """Return 0: the venue's clock is ours."""
        return 0 if self._up else None

    def logged_on(self) -> bool:
        """Tell whether the line is up."""
        return self._up

    def send_new(self, order: Order, now_ns: int) -> bool:
        """Send a NewOrderSingle."""
        return self._send(new_order(order, account=self.config.account, now_ns=now_ns))

    def send_cancel(self, order: Order, now_ns: int) -> bool:
        """Send an OrderCancelRequest."""
        return self._send(cancel_request(order, account=self.config.account, now_ns=now_ns))

    def send_replace(self, order: Order, now_ns: int) -> bool:
        """Send an OrderCancelReplaceRequest."""
        return self._send(replace_request(order, account=self.config.account, now_ns=now_ns))

    def ask_status(self, order: Order, now_ns: int) -> bool:
        """Send an OrderStatusRequest for each ClOrdID that may be in force."""
        sent = [self._send(fields) for fields in status_requests(order, account=self.config.account)]
        return all(sent)

    def ask_all_statuses(self, request_id: str) -> bool:
        """Send an OrderMassStatusRequest."""

        def complete(replies: Sequence[Fields]) -> None:
            if not _refused(replies):
                self._tell(0, partial(self._sink.on_all_statuses, request_id))

        return self._send(mass_status_request(request_id, account=self.config.account), complete)

    def ask_positions(self, request_id: str, now_ns: int) -> bool:
        """Send a RequestForPositions."""

        def complete(replies: Sequence[Fields]) -> None:
            if not _refused(replies):
                reports = tuple(read_positions(one, venue=self._venue, asked_ns=now_ns) for one in replies)
                self._tell(0, partial(self._sink.on_positions, reports))

        return self._send(positions_request(request_id, account=self.config.account, now_ns=now_ns), complete)

    def play(self, until_ns: int) -> Mapping[str, object]:
        """Move time forward, and say how far it came."""
        with self._changed:
            books = self._opened()
            self._hear(None, books.play(until_ns))
            return books.standing

    def fail(self, fault: Mapping[str, Any]) -> Mapping[str, object]:
        """Make a mistake; the reports that belong to it are on their way when this returns."""
        with self._changed:
            books = self._opened()
            if value_of(fault, "kind", str) != "disconnect":
                self._hear(None, books.fail(fault))
            elif not self._up:
                raise VenueMistake("fault 'disconnect': expected a session that is logged on")
            else:
                self._up = False
                self._changed.notify_all()
            return books.standing

    def status(self) -> Mapping[str, object]:
        """Return the venue's books."""
        with self._changed:
            return self._opened().venue.snapshot()

    def _opened(self) -> Books:
        assert self._books is not None, "the control socket is made when the venue is there"
        return self._books

    def _send(self, fields: Fields, complete: Callable[[Sequence[Fields]], None] | None = None) -> bool:
        """Have the venue answer a message, unless the line is down."""
        # The venue would end if it could not write its journal: so does its process.
        with edge(), self._changed:
            if not self._up:
                return False
            self.messages.write("out", _text(fields))
            books = self._opened()
            replies = books.answer(fields)
            self._hear(fields, replies, numbered=books.venue.changes(fields))
            if complete is not None:
                complete(replies)
        return True

    def _hear(self, request: Fields | None, replies: Sequence[Fields], *, numbered: bool = True) -> None:
        """Put what the venue says in line; only of what may change it can a refusal leave a doubt."""
        for reply in replies:
            self._told += numbered
            self._tell(self._told if numbered else 0, partial(self._hand_up, reply, request if numbered else None))

    def _tell(self, number: int, tell: Callable[[], None]) -> None:
        self._words.append(_Word(number, tell))
        self._changed.notify_all()

    def _run(self) -> None:
        """Be the venue, and tell the sink what it says."""
        with edge(), ExitStack() as stack:
            config = self.config
            specs = [spec.to_json() for spec in config.specs]
            journal = Journal(config.store_dir / "journal.jsonl", f"{' '.join(specs)} {config.account}")
            stack.callback(journal.close)
            books = Books(SimulatedVenue([load(spec) for spec in config.specs]), journal)
            heard = _Mark(config.store_dir / "heard")
            stack.callback(heard.close)
            with self._changed:
                for request, replies in books.restored():
                    self._hear(request, replies)
            # After the machine's death the journal may be the shorter one.
            heard.number = min(heard.number, self._told)
            while self._words and self._words[0].number <= heard.number:
                self._words.popleft()
            self._books = books
            stack.enter_context(controlled(config.control, self, self._stopping))
            while not self._stopping.is_set():
                self._live(heard)
                with self._changed:
                    self._changed.wait_for(self._stopping.is_set, config.reconnect_s)

    def _live(self, heard: "_Mark") -> None:
        """Tell what was missed, log on, tell what comes until the line is cut, log out."""
        while self._words and not self._stopping.is_set():
            self._tell_next(heard)
        with self._changed:
            self._up = not self._stopping.is_set()
        if not self._up:
            return
        self._sink.on_logon()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._words or not self._up or self._stopping.is_set(), LOOK_S)
                if self._stopping.is_set():
                    self._up = False
                if not self._up:
                    self._words = deque(word for word in self._words if word.number)
                    break
            if self._words:
                self._tell_next(heard)
        self._sink.on_logout()

    def _tell_next(self, heard: "_Mark") -> None:
        word = self._words[0]
        word.tell()
        # Not before: if the process ends in between, it is told again.
        if word.number:
            heard.number = word.number
        self._words.popleft()

    def _hand_up(self, reply: Fields, request: Fields | None) -> None:
        """Read one message of the venue and hand it to the sink."""
        said = _text(reply)
        self.messages.write("in", said)
        try:
            report = self._report(reply, request)
        except VenueMistake as mistake:
            kind = reply.get(Tag.MSG_TYPE, "")
            self._sink.on_unreadable(unreadable(kind, said, venue=self._venue, why=str(mistake), fields=reply))
        else:
            if report is not None:
                self._sink.on_report(report)

    def _report(self, reply: Fields, request: Fields | None) -> ExecutionReport | None:
        """Read what is told of an order; a refusal of the message itself leaves that order in doubt."""
        kind = text(reply, Tag.MSG_TYPE)
        if kind == BUSINESS_MESSAGE_REJECT:
            if request is None:
                return None
            order = ClOrdId(request.get(Tag.ORIG_CL_ORD_ID, request[Tag.CL_ORD_ID]))
            reason = f"REJECTED_MESSAGE: 35={kind} {reply.get(Tag.TEXT, '')}".rstrip()
            happened_ns = instant(request, Tag.TRANSACT_TIME)
            return doubt(order, venue=self._venue, reason=reason, reject=read_reject(reply), happened_ns=happened_ns)
        # "Rejected" of no order answers a question about all orders: there are none. Positions go up together.
        none = Tag.CL_ORD_ID not in reply and reply.get(Tag.ORD_STATUS) == REJECTED
        return None if none or kind == POSITION_REPORT else read_report(reply, venue=self._venue)


class _Mark:
    """A number in a file; one write each, so that it outlives the process."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._number = int(os.pread(self._handle, _DIGITS, 0) or 0)

    @property
    def number(self) -> int:
        """The number."""
        return self._number

    @number.setter
    def number(self, number: int) -> None:
        written = os.pwrite(self._handle, b"%0*d" % (_DIGITS, number), 0)
        if written != _DIGITS:
            raise StateError(f"the number of the last report was not kept: {written} of {_DIGITS} bytes were written")
        self._number = number

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def _refused(replies: Sequence[Fields]) -> bool:
    return any(reply[Tag.MSG_TYPE] == BUSINESS_MESSAGE_REJECT for reply in replies)


def _text(fields: Fields) -> str:
    """Write a message as it would stand on a line, without the header and trailer of one."""
    pairs = {8: "FIX.4.4", **fields}
    return "".join(f"{int(tag)}={value}{_SOH}" for tag, value in pairs.items())
