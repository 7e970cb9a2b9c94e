"""Our side of a FIX session: sends what it is told to, once, and hands up what it hears, in order.

The engine's promises are not ours, and are taken back where they differ:

* `sendToTarget` says True while the session is down and sends the message at the next logon, be it hours later. Here a
  send while logged off is refused, and an order or cancel that did not get through is never sent again (`DoNotSend`):
  what became of it is asked after logon by whoever sent it.
* A logon is not yet a session. Until both sides have filled their gaps, what is sent may be swallowed by the filling
  (measured), and reports that were missed are still to come. So after each logon a question is asked, for positions, or
  for an order that never was where the venue knows no such question; the sink hears of the logon, and may send, when
  that has been answered: then all that was missed has been heard. A venue that does not know the question says so,
  which serves as well; one that is silent leaves the session shut.
* A report counts as heard only when the sink is done with it. If the sink raises, the process ends at once, the
  sequence number stays, and the venue sends the report again to the next process.
* A session reject (35=3) or business reject (35=j) of an order or cancel comes up as doubt about that order, and so
  does the wish to have it again on the connection that has carried it.
* What cannot be read counts as heard all the same, and comes up as unreadable: otherwise the venue would say it again
  to every process to come. So does what the engine refuses by its dictionary, which it hands to nobody.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import quickfix as fix

from trisagion.adapters.venues.fix.engine import SOH, decode, encode, kind_of, raw_text
from trisagion.adapters.venues.fix.session import FixConfig, Initiator, off_ns
from trisagion.adapters.venues.messages import masked
from trisagion.errors import OurMistake, VenueMistake
from trisagion.gateway.dialect import from_wire, to_wire
from trisagion.gateway.reports import (
    doubt,
    positions_expected,
    read_positions,
    read_reject,
    read_report,
    refused,
    unreadable,
)
from trisagion.gateway.requests import (
    cancel_request,
    mass_status_request,
    new_order,
    positions_request,
    replace_request,
    status_requests,
    unknown_request,
)
from trisagion.gateway.words import (
    BUSINESS_MESSAGE_REJECT,
    EXECUTION_REPORT,
    LOGOUT,
    NEW_ORDER_SINGLE,
    ORDER_CANCEL_REJECT,
    ORDER_CANCEL_REPLACE_REQUEST,
    ORDER_CANCEL_REQUEST,
    POSITION_REPORT,
    REJECT,
    REJECTED,
    Fields,
    Tag,
    instant,
    number,
    text,
)
from trisagion.ids import ClOrdId
from trisagion.orders.rejects import Reject
from trisagion.orders.types import Order, PositionReport
from trisagion.safety.skew import Window
from trisagion.session_ports import ReportSink

NEVER_REPEATED: Final = frozenset({NEW_ORDER_SINGLE, ORDER_CANCEL_REQUEST, ORDER_CANCEL_REPLACE_REQUEST})
"""Messages that do something. Questions may be repeated."""

GAP: Final = "GAP-"
"""What the question begins with whose answer means that all gaps are filled; no ClOrdID of ours has a hyphen."""

REMEMBERED_MAX: Final = 1024
"""Messages that a reject can be traced back to; questions for positions that wait for the rest of their answer."""


class FixSession(Initiator):
    """The session that trades; implements `session_ports.VenueSession`. One process, one session, one of these."""

    def __init__(self, config: FixConfig, sink: ReportSink, venue: str) -> None:
        super().__init__(config, venue)
        self._sink = sink
        self._in_sequence = False
        self._gap_question = self._gap_number = ""
        self._sent: dict[str, tuple[ClOrdId, int]] = {}
        self._asked: dict[str, tuple[int, list[PositionReport]]] = {}
        self._mass_request, self._mass_told = "", 0
        self._heard_at = Window()

    def offset_ns(self) -> int | None:
        """Return our wall clock less the SendingTime of the venue's messages, the least of the last while."""
        return self._heard_at.offset_ns(time.monotonic())

    def logged_on(self) -> bool:
        """Tell whether a message would be sent now: logged on, and in sequence on both sides."""
        return self._in_sequence and self._logged_on

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
        """Send an OrderMassStatusRequest, if the venue knows it; only the answer to the last one is waited for."""
        if not self.config.profile.mass_status:
            return False
        self._mass_request, self._mass_told = request_id, 0
        return self._send(mass_status_request(request_id, account=self.config.account))

    def ask_positions(self, request_id: str, now_ns: int) -> bool:
        """Send a RequestForPositions; only answers to questions of this process are handed up.

        Raises
        ------
        OurMistake
            This venue cannot be asked: nobody may count on it as an observer.
        """
        if not self.config.profile.positions:
            raise OurMistake(
                f"venue {self._venue}: expected one that can be asked for positions, found one that cannot"
            )
        _remember(self._asked, request_id, (now_ns, []))
        return self._send(positions_request(request_id, account=self.config.account, now_ns=now_ns))

    def _send(self, fields: Fields) -> bool:
        return self.logged_on() and self._hand_over(fields)

    def _hand_over(self, fields: Fields) -> bool:
        if self._store is None:
            return False
        wire = to_wire(fields, self.config.profile)
        return bool(fix.Session.sendToTarget(encode(wire, self._store.dictionary), self._id))

    def on_sending(self, fields: Fields) -> bool:
        """Remember which order a message is about before it leaves; False when it must not leave."""
        number = fields[Tag.MSG_SEQ_NUM]
        if self._gap_question in {fields.get(Tag.POS_REQ_ID), fields.get(Tag.CL_ORD_ID)}:
            self._gap_number = number
        if fields[Tag.MSG_TYPE] not in NEVER_REPEATED:
            return True
        if fields.get(Tag.POSS_DUP_FLAG) == "Y":
            if number in self._sent:
                # It was lost on a line that loses nothing.
                self._doubt(number, "ASKED_FOR_AGAIN: the connection has carried it", Reject.MESSAGE_REFUSED)()
            return False
        order = fields.get(Tag.ORIG_CL_ORD_ID, fields[Tag.CL_ORD_ID])
        _remember(self._sent, number, (ClOrdId(order), instant(fields, Tag.TRANSACT_TIME)))
        return True

    def on_message(self, fields: Fields) -> bool:
        """Hand a message up; False when it is of no kind that we know."""
        readers: dict[str, Callable[[Fields], Callable[[], None]]] = {
            EXECUTION_REPORT: self._report,
            ORDER_CANCEL_REJECT: self._report,
            POSITION_REPORT: self._position,
            BUSINESS_MESSAGE_REJECT: self._rejected,
            REJECT: self._rejected,
        }
        kind = text(fields, Tag.MSG_TYPE)
        reader = readers.get(kind)
        if reader is None:
            return False
        # Reading comes first: a mistake in it is the venue's, one in what the sink does is not.
        try:
            hand_up = reader(fields)
        except VenueMistake as mistake:
            said = SOH.join(f"{tag}={value}" for tag, value in fields.items())
            self.on_unreadable(kind, said, str(mistake), fields)
        else:
            hand_up()
        return True

    def on_logon(self) -> None:
        """Ask the question whose answer means that all gaps are filled.

        The engine repeats it when it falls into one; that is why it is no TestRequest, which it would not.
        """
        # What the engine took while logged off belongs to no connection, and its numbers may be asked for.
        self._sent.clear()
        now_ns = time.time_ns()
        self._gap_question = f"{GAP}{now_ns}"
        config = self.config
        self._hand_over(
            positions_request(self._gap_question, account=config.account, now_ns=now_ns)
            if config.profile.positions
            else unknown_request(ClOrdId(self._gap_question), account=config.account)
        )

    def on_logout(self) -> None:
        """Say that the session is down, if it was up."""
        if self._in_sequence:
            self._in_sequence = False
            self._sink.on_logout()

    def on_unreadable(self, kind: str, said: str, why: str, fields: Fields | None = None) -> None:
        """Hand up that a message cannot be read."""
        said, why = masked(said, self.config.password), masked(why, self.config.password)
        self._sink.on_unreadable(unreadable(kind, said, venue=self._venue, why=why, fields=fields))

    def on_refusing(self, fields: Fields) -> None:
        """Hand up that the engine refuses a message, by its Reject or Logout; the message itself it gives to nobody."""
        if fields[Tag.MSG_TYPE] == LOGOUT and Tag.TEXT not in fields:
            # Our own goodbye, or the answer to the venue's: the engine gives a reason only where it ends the session.
            return
        shown = {tag: masked(value, self.config.password) for tag, value in fields.items()}
        self._sink.on_unreadable(refused(shown, venue=self._venue))

    def to_admin(self, kind: str, message: Any) -> None:
        """Hand up what the engine refuses."""
        if kind in {REJECT, LOGOUT}:
            self.on_refusing(decode(message, groups=True))

    def from_admin(self, kind: str, message: Any) -> None:
        """Look at the clock; hand up a session reject."""
        self._on_time(message)
        if kind == REJECT:
            self._heard(message)

    def to_app(self, message: Any) -> bool:
        """Stop an order that would go out a second time."""
        return self.on_sending(decode(message))

    def from_app(self, message: Any) -> bool:
        """Look at the clock; hand a message up."""
        self._on_time(message)
        return self._heard(message)

    def _on_time(self, message: Any) -> None:
        if (offset_ns := off_ns(message)) is not None:
            self._heard_at = self._heard_at.seen(time.monotonic(), offset_ns)

    def _heard(self, message: Any) -> bool:
        wire: Fields | None = None
        try:
            wire = decode(message, groups=True)
            fields = from_wire(wire, self.config.profile)
        except VenueMistake as mistake:
            self.on_unreadable(kind_of(message), raw_text(message), str(mistake), wire)
            return True
        return self.on_message(fields)

    def _report(self, fields: Fields) -> Callable[[], None]:
        """Read a report; one that belongs to an answer about all orders may complete it."""
        name = fields.get(Tag.CL_ORD_ID, "")
        if name.startswith(GAP):
            # An answer to a former process' question comes to this one.
            return self._open if name == self._gap_question else _nothing
        if Tag.MASS_STATUS_REQ_ID not in fields:
            return self._of_one(fields)
        # "Rejected" of no order says: none at all. An order that was not sent by a FIX session has no ClOrdID; that it
        # is there is what matters.
        none = Tag.CL_ORD_ID not in fields and fields.get(Tag.ORD_STATUS) == REJECTED
        hand_up = _nothing if none else self._of_one({Tag.CL_ORD_ID: f"?{text(fields, Tag.ORDER_ID)}", **fields})
        complete = self._completes(fields)

        def hand_up_all() -> None:
            hand_up()
            if complete:
                self._sink.on_all_statuses(fields[Tag.MASS_STATUS_REQ_ID])

        return hand_up_all

    def _completes(self, fields: Fields) -> bool:
        if fields[Tag.MASS_STATUS_REQ_ID] != self._mass_request:
            return False
        self._mass_told += 1
        total = number(fields, Tag.TOT_NUM_REPORTS) if Tag.TOT_NUM_REPORTS in fields else None
        if fields.get(Tag.LAST_RPT_REQUESTED) != "Y" and (total is None or self._mass_told < total):
            return False
        self._mass_request = ""
        return True

    def _of_one(self, fields: Fields) -> Callable[[], None]:
        report = read_report(fields, venue=self._venue, post_only_code=self.config.profile.post_only_code)
        return lambda: self._sink.on_report(report)

    def _position(self, fields: Fields) -> Callable[[], None]:
        request_id = text(fields, Tag.POS_REQ_ID)
        if request_id == self._gap_question:
            self._open()
        if request_id not in self._asked:
            return _nothing
        asked_ns, reports = self._asked[request_id]
        report, expected = read_positions(fields, venue=self._venue, asked_ns=asked_ns), positions_expected(fields)
        if report.symbol in {other.symbol for other in reports}:
            raise VenueMistake(f"positions {request_id}: expected each symbol once, found {report.symbol!r} again")
        reports.append(report)
        if len(reports) < expected:
            return _nothing
        del self._asked[request_id]
        return lambda: self._sink.on_positions(tuple(reports))

    def _open(self) -> None:
        if not self._in_sequence:
            self._in_sequence = True
            self._sink.on_logon()

    def _rejected(self, fields: Fields) -> Callable[[], None]:
        number = fields.get(Tag.REF_SEQ_NUM, "")
        if number == self._gap_number:
            self._open()
        reason = f"REJECTED_MESSAGE: 35={fields[Tag.MSG_TYPE]} {fields.get(Tag.TEXT, '')}".rstrip()
        return self._doubt(number, reason, read_reject(fields))

    def _doubt(self, number: str, reason: str, reject: Reject) -> Callable[[], None]:
        if number not in self._sent:
            return _nothing
        order, happened_ns = self._sent[number]
        report = doubt(order, venue=self._venue, reason=reason, reject=reject, happened_ns=happened_ns)
        return lambda: self._sink.on_report(report)


def _nothing() -> None:
    """Hand nothing up."""


def _remember(memory: dict[str, Any], key: str, value: object) -> None:
    memory[key] = value
    while len(memory) > REMEMBERED_MAX:
        memory.pop(next(iter(memory)), None)
