"""The venue's end of its one FIX session: what is said on it, and how it fails on command."""

import socket
from collections.abc import Mapping
from typing import Any, Final

import quickfix as fix

from trisagion.adapters.venues.fix.engine import Store, connections, encode
from trisagion.errors import VenueMistake
from trisagion.gateway.dialect import Profile, to_wire
from trisagion.gateway.words import SEQUENCE_RESET, Fields, Tag
from trisagion.simulate.faults import value_of

SESSION_FAULTS: Final = frozenset({"disconnect", "gap", "reset"})

GAP_MAX: Final = 10_000
"""Messages that may go missing at once."""


class Line:
    """A session that may be cut, may skip sequence numbers, and may reset them."""

    def __init__(self, session_id: Any, store: Store, profile: Profile, port: int) -> None:
        self._session_id = session_id
        self._store = store
        self._profile = profile
        self._port = port

    def send(self, fields: Fields) -> None:
        """Send a message, now or after the next logon."""
        wire = to_wire(fields, self._profile)
        fix.Session.sendToTarget(encode(wire, self._store.dictionary), self._session_id)

    def fail(self, fault: Mapping[str, Any]) -> None:
        """Make one of `SESSION_FAULTS`.

        Raises
        ------
        VenueMistake
            The fault lacks what it needs, or nobody is logged on.
        """
        session = fix.Session.lookupSession(self._session_id)
        if session is None or not session.isLoggedOn():
            raise VenueMistake(f"fault {fault['kind']!r}: expected a session that is logged on")
        if fault["kind"] == "disconnect":
            self._cut()
            return
        messages = value_of(fault, "messages", int)
        if not 0 < messages <= GAP_MAX:
            raise VenueMistake(f"fault {fault['kind']!r}: expected messages of 1 to {GAP_MAX}, found {messages}")
        fresh = session.getExpectedSenderNum() + messages
        if fault["kind"] == "gap":
            session.setNextSenderMsgSeqNum(fresh)
            return
        # The reset itself takes the last of the numbers that it skips: a heartbeat that comes between is then too high
        # and asked about, never too low, which would end the session.
        session.setNextSenderMsgSeqNum(fresh - 1)
        self.send({Tag.MSG_TYPE: SEQUENCE_RESET, Tag.GAP_FILL_FLAG: "N", Tag.NEW_SEQ_NO: str(fresh)})

    def _cut(self) -> None:
        """Shut the connection down under the engine, which then finds it closed, on its own thread.

        The engine's own `disconnect` closes the socket from the caller's thread, while its own may be reading from it.
        """
        for connection in connections(self._port):
            connection.shutdown(socket.SHUT_RDWR)
