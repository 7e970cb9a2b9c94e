"""A drop copy: a FIX session on which the venue repeats every execution of the account, and on which we only listen.

No application message ever leaves: there is nothing here to send one with, and the engine is forbidden to
(`DoNotSend`). The one question is a TestRequest, which is the session's own: its answer comes after everything that the
venue has told before, gaps of a logon included, so it says that all of that has been heard. A question that falls into
a gap of our own numbers is never answered; whoever asks must ask again.

A report counts as heard when the sink is done with it; if the sink raises, the process ends, and the venue tells it to
the next one again. What cannot be read is handed up as such: the session that trades is another, and must not stop for
it.
"""

from typing import Any, Final

import quickfix as fix

from trisagion.adapters.venues.fix.engine import decode, raw_text
from trisagion.adapters.venues.fix.session import FixConfig, Initiator
from trisagion.adapters.venues.messages import masked
from trisagion.errors import VenueMistake
from trisagion.gateway.dialect import from_wire
from trisagion.gateway.reports import read_report
from trisagion.gateway.words import EXECUTION_REPORT, HEARTBEAT, REJECT, TEST_REQUEST, Tag, word
from trisagion.session_ports import CopySink

ASKED_MAX: Final = 16
"""Questions of a connection that may wait for their answers; of more than these the oldest are given up."""


class DropCopySession(Initiator):
    """The session that listens. One process, one drop copy, one of these."""

    def __init__(self, config: FixConfig, sink: CopySink, venue: str) -> None:
        super().__init__(config, venue)
        self._sink = sink
        self._asked: dict[str, None] = {}

    def ask(self, request_id: str) -> bool:
        """Send a TestRequest; False while logged off."""
        if not self._logged_on:
            return False
        self._asked[request_id] = None
        while len(self._asked) > ASKED_MAX:
            self._asked.pop(next(iter(self._asked)), None)
        message = fix.Message()
        message.getHeader().setField(fix.StringField(int(Tag.MSG_TYPE), TEST_REQUEST))
        message.setField(fix.StringField(int(Tag.TEST_REQ_ID), request_id))
        return bool(fix.Session.sendToTarget(message, self._id))

    def on_logon(self) -> None:
        """Forget what was asked on another connection."""
        self._asked.clear()

    def on_logout(self) -> None:
        """Nothing waits for it: what is told meanwhile comes at the next logon."""

    def to_admin(self, kind: str, message: Any) -> None:
        """Hand up the Reject by which the engine refuses a message; the message itself it gives to nobody."""
        if kind == REJECT:
            self._sink.on_unreadable(self._shown(raw_text(message)), "the engine refuses a message")

    def from_admin(self, kind: str, message: Any) -> None:
        """Hand up the answer to a question of ours; the engine asks some of its own."""
        if kind != HEARTBEAT:
            return
        request_id = decode(message).get(Tag.TEST_REQ_ID, "")
        if request_id in self._asked:
            self._asked.pop(request_id)
            self._sink.on_answer(request_id)

    def to_app(self, message: Any) -> bool:
        """Let nothing out, whoever made it."""
        return False

    def from_app(self, message: Any) -> bool:
        """Hand up an execution report, or a message that is none."""
        try:
            fields = from_wire(decode(message, groups=True), self.config.profile)
            word(fields, Tag.MSG_TYPE, {EXECUTION_REPORT: None})
            report = read_report(fields, venue=self._venue, post_only_code=self.config.profile.post_only_code)
        except VenueMistake as mistake:
            self._sink.on_unreadable(self._shown(raw_text(message)), self._shown(str(mistake)))
        else:
            self._sink.on_copy(report)
        return True

    def _shown(self, text: str) -> str:
        return masked(text, self.config.password)
