"""A drop copy: a FIX session on which the venue repeats every execution of the account, and on which we only listen.

No application message ever leaves: there is nothing here to send one with, and the engine is forbidden to
(`DoNotSend`). The one question is a TestRequest, which is the session's own: its answer comes after everything that the
venue has told before, gaps of a logon included, so it says that all of that has been heard. A question that falls into
a gap of our own numbers is never answered; whoever asks must ask again.

A report counts as heard when the sink is done with it; if the sink raises, the process ends, and the venue tells it to
the next one again. What cannot be read is handed up as such: the session that trades is another, and must not stop for
it.
"""

from collections.abc import Mapping
from typing import Any, Final

import quickfix as fix

from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.fix.dictionary import BEGIN_STRINGS
from trisagion.adapters.venues.fix.engine import (
    Connection,
    Store,
    decode,
    kind_of,
    log_out,
    raw_text,
)
from trisagion.adapters.venues.fix.initiator import FixConfig
from trisagion.adapters.venues.messages import MessageFiles, masked
from trisagion.errors import OurMistake, VenueMistake
from trisagion.gateway.dialect import from_wire
from trisagion.gateway.reports import read_report
from trisagion.gateway.words import EXECUTION_REPORT, HEARTBEAT, LOGON, REJECT, TEST_REQUEST, Tag, word
from trisagion.session_ports import CopySink

ASKED_MAX: Final = 16
"""Questions of a connection that may wait for their answers; of more than these the oldest are given up."""


class DropCopySession:
    """A FIX initiator that listens. One process, one drop copy, one of these."""

    def __init__(self, config: FixConfig, sink: CopySink, venue: str) -> None:
        self.config = config
        self._sink = sink
        self._venue = venue
        self._id = fix.SessionID(BEGIN_STRINGS[config.profile.version], config.sender, config.target)
        self._asked: dict[str, None] = {}
        self._store: Store | None = None
        self._connection: Connection | None = None

    def start(self, messages_after: int = 0) -> None:
        """Open the store and connect, again and again until `stop`; returns at once.

        `messages_after` is the number of the last of the session's messages that is kept elsewhere.
        """
        if self._store is not None:
            raise OurMistake("the drop copy was started twice")
        config = self.config
        self._store = Store(config.store_dir, config.profile, after=messages_after)
        settings = self._store.settings(
            config.sender,
            config.target,
            {
                "ConnectionType": "initiator",
                "SocketConnectHost": config.host,
                "SocketConnectPort": str(config.port),
                "HeartBtInt": str(config.heartbeat_s),
                "ReconnectInterval": str(config.reconnect_s),
            },
        )
        # As in `FixSession`: the plain initiator never connects again after a disconnection of its own making.
        self._connection = Connection(fix.ThreadedSocketInitiator, _Application(self), settings, self._store)
        self._connection.start()

    def stop(self) -> None:
        """Log out and disconnect. Not to be called from within the sink."""
        if self._connection is not None:
            log_out(self._id)
            self._connection.stop()
            self._connection = None
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def messages(self) -> MessageFiles:
        """All that was said on the session; there from `start` to `stop`."""
        if self._store is None:
            raise OurMistake("the messages of a drop copy are asked for before its start")
        return self._store.messages

    def ask(self, request_id: str) -> bool:
        """Send a TestRequest; False while logged off."""
        session = fix.Session.lookupSession(self._id)
        if session is None or not session.isLoggedOn():
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

    def on_admin(self, fields: Mapping[int, str]) -> None:
        """Hand up the answer to a question of ours; the engine asks some of its own."""
        request_id = fields.get(Tag.TEST_REQ_ID, "")
        if fields.get(Tag.MSG_TYPE) == HEARTBEAT and request_id in self._asked:
            self._asked.pop(request_id)
            self._sink.on_answer(request_id)

    def on_message(self, message: Any) -> None:
        """Hand up an execution report, or a message that is none."""
        try:
            fields = from_wire(decode(message, groups=True), self.config.profile)
            word(fields, Tag.MSG_TYPE, {EXECUTION_REPORT: None})
            report = read_report(fields, venue=self._venue, post_only_code=self.config.profile.post_only_code)
        except VenueMistake as mistake:
            self._sink.on_unreadable(masked(raw_text(message)), masked(str(mistake)))
        else:
            self._sink.on_copy(report)

    def on_refusing(self, message: Any) -> None:
        """Hand up the Reject by which the engine refuses a message; the message itself it gives to nobody."""
        self._sink.on_unreadable(masked(raw_text(message)), "the engine refuses a message")


class _Application(fix.Application):  # type: ignore[misc]
    """The engine's callbacks; it runs them on its own thread, one at a time for a session."""

    def __init__(self, session: DropCopySession) -> None:
        super().__init__()
        self._session = session

    def onCreate(self, session_id: Any) -> None:  # noqa: N802
        """Nothing to prepare."""

    def onLogon(self, _: Any) -> None:  # noqa: N802
        """Tell the session."""
        with edge():
            self._session.on_logon()

    def onLogout(self, _: Any) -> None:  # noqa: N802
        """Nothing waits for it: what is told meanwhile comes at the next logon."""

    def toAdmin(self, message: Any, _: Any) -> None:  # noqa: N802
        """Put the credentials into a Logon; hand up what the engine refuses."""
        with edge():
            kind = kind_of(message)
            if kind == LOGON:
                for tag, value in self._session.config.credentials.items():
                    message.setField(int(tag), value)
            elif kind == REJECT:
                self._session.on_refusing(message)

    def fromAdmin(self, message: Any, _: Any) -> None:  # noqa: N802
        """Hand up the answer to a question."""
        with edge():
            if kind_of(message) == HEARTBEAT:
                self._session.on_admin(decode(message))

    def toApp(self, message: Any, _: Any) -> None:  # noqa: N802
        """Let nothing out, whoever made it."""
        raise fix.DoNotSend

    def fromApp(self, message: Any, _: Any) -> None:  # noqa: N802
        """Hand up a message."""
        with edge():
            self._session.on_message(message)
