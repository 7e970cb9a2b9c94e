"""What our two sessions with a venue share: where they go, who we are there, and the engine's life from start to stop.

The engine calls `Application` on its own threads, for a session one call at a time; what is to be done about a call is
each session's own.
"""

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import quickfix as fix

from trisagion.adapters.password import Password
from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.fix.dictionary import BEGIN_STRINGS
from trisagion.adapters.venues.fix.engine import LATENCY_S_MAX, Connection, Store, bound_sending, kind_of, log_out
from trisagion.adapters.venues.messages import MessageFiles
from trisagion.clock import SECOND_NS
from trisagion.errors import OurMistake, VenueMistake
from trisagion.gateway.dialect import Profile
from trisagion.gateway.words import LOGON, Fields, Tag, instant

RECONNECT_S: Final = 1
LOOK_S: Final = 1.0
BACK_S_MAX: Final = 2.0
"""How far the wall clock may go back before the engine is started anew; the engine counts in seconds."""


@dataclass(frozen=True, slots=True)
class FixConfig:
    """Where a session goes, who we are there, how the venue speaks, and where the session keeps its numbers.

    `account` goes into Account(1), `username` and `password`, where there are any, into the Logon (553, 554).
    """

    host: str
    port: int
    sender: str
    target: str
    account: str
    store_dir: Path
    heartbeat_s: int = 10
    profile: Profile = field(default_factory=Profile)
    username: str = ""
    password: Password = field(default_factory=Password, repr=False)

    def credentials(self) -> Fields:
        """Return what goes into a Logon besides the engine's own, as it stands now."""
        told = {Tag.USERNAME: self.username, Tag.PASSWORD: self.password()}
        return {tag: value for tag, value in told.items() if value}


class Initiator(ABC):
    """A FIX session that we begin. One process has one with the same store."""

    def __init__(self, config: FixConfig, venue: str) -> None:
        self.config = config
        self._venue = venue
        self._id = fix.SessionID(BEGIN_STRINGS[config.profile.version], config.sender, config.target)
        self._store: Store | None = None
        self._connection: Connection | None = None
        self._stopping = threading.Event()

    def start(self, messages_after: int = 0) -> None:
        """Open the store and connect, again and again until `stop`; returns at once.

        `messages_after` is the number of the last of the session's messages that is kept elsewhere.
        """
        if self._store is not None:
            raise OurMistake(f"session {self.config.sender}: it was started twice")
        config = self.config
        config.password()  # one that cannot be read is an error of the start; later there is an older one
        self._store = Store(config.store_dir, config.profile, after=messages_after, password=config.password)
        settings = self._store.settings(
            config.sender,
            config.target,
            {
                "ConnectionType": "initiator",
                "SocketConnectHost": config.host,
                "SocketConnectPort": str(config.port),
                "HeartBtInt": str(config.heartbeat_s),
                "ReconnectInterval": str(RECONNECT_S),
                # It would answer a report from when our clock was off by a Reject, and the venue would not tell it
                # again. How far it is off is looked at beside the engine: `safety.skew`.
                "CheckLatency": "N",
            },
        )
        self._connect(settings, self._store)
        self._stopping.clear()
        self._watch = threading.Thread(target=self._watch_clock, args=(settings, self._store), daemon=True)
        self._watch.start()

    def _connect(self, settings: Any, store: Store) -> None:
        # Not `SocketInitiator`: in 1.16.0 it never connects again after a disconnection of its own making, as after a
        # Logout or when the venue is silent (quickfix#739; measured).
        self._connection = Connection(fix.ThreadedSocketInitiator, Application(self), settings, store)
        self._connection.start()

    def _watch_clock(self, settings: Any, store: Store) -> None:
        """Start the engine anew when it waits for a second that the wall clock will not see again for long.

        It counts the seconds until its next attempt to connect from the last one, by the wall clock: after a clock that
        was fast has been put right it tries no more for as long as that was off (ThreadedSocketInitiator::onStart;
        measured).
        """
        latest_s = time.time()
        while not self._stopping.wait(LOOK_S):
            present_s = time.time()
            if latest_s - present_s > BACK_S_MAX and not self._logged_on:
                self._disconnect()
                self._connect(settings, store)
                latest_s = present_s
            latest_s = max(latest_s, present_s)

    def _disconnect(self) -> None:
        # Whoever asks for the session from now on is told that there is none, before the engine takes it away.
        connection, self._connection = self._connection, None
        if connection is not None:
            log_out(self._id)
            connection.stop()

    def stop(self) -> None:
        """Log out and disconnect. Not to be called from within the sink."""
        if self._store is not None:
            self._stopping.set()
            self._watch.join()
            self._disconnect()
            self._store.close()
            self._store = None

    @property
    def messages(self) -> MessageFiles:
        """All that was said on the session; there from `start` to `stop`."""
        if self._store is None:
            raise OurMistake(f"session {self.config.sender}: its messages are asked for before its start")
        return self._store.messages

    @property
    def _logged_on(self) -> bool:
        session = fix.Session.lookupSession(self._id) if self._connection is not None else None
        return session is not None and bool(session.isLoggedOn())

    @abstractmethod
    def on_logon(self) -> None:
        """Begin with a connection."""

    @abstractmethod
    def on_logout(self) -> None:
        """End with it."""

    @abstractmethod
    def to_admin(self, kind: str, message: Any) -> None:
        """See a message of the engine's own before it leaves."""

    @abstractmethod
    def from_admin(self, kind: str, message: Any) -> None:
        """Hear a message of the venue's engine."""

    @abstractmethod
    def to_app(self, message: Any) -> bool:
        """Tell whether a message of ours may leave; where not, the engine fills the gap."""

    @abstractmethod
    def from_app(self, message: Any) -> bool:
        """Hear a message of the venue's; False when it is of no kind that we know."""


def off_ns(message: Any) -> int | None:
    """Return our wall clock less a message's SendingTime; None where that is no instant, as in a leap second.

    It is wall time, also in a replay.
    """
    header = message.getHeader()
    fields: Fields = {tag: str(header.getField(int(tag))) for tag in (Tag.MSG_TYPE, Tag.SENDING_TIME)}
    try:
        return time.time_ns() - instant(fields, Tag.SENDING_TIME)
    except VenueMistake:
        return None


class Application(fix.Application):  # type: ignore[misc]
    """The engine's callbacks; it runs them on its own thread, one at a time for a session."""

    def __init__(self, session: Initiator) -> None:
        super().__init__()
        self._session = session

    def onCreate(self, session_id: Any) -> None:  # noqa: N802
        """Nothing to prepare."""

    def onLogon(self, _: Any) -> None:  # noqa: N802
        """Tell the session."""
        with edge():
            config = self._session.config
            bound_sending(config.port, config.heartbeat_s)
            self._session.on_logon()

    def onLogout(self, _: Any) -> None:  # noqa: N802
        """Tell the session."""
        with edge():
            self._session.on_logout()

    def toAdmin(self, message: Any, _: Any) -> None:  # noqa: N802
        """Put the credentials into a Logon; show what else the engine says."""
        with edge():
            kind = kind_of(message)
            if kind == LOGON:
                for tag, value in self._session.config.credentials().items():
                    message.setField(int(tag), value)
            self._session.to_admin(kind, message)

    def fromAdmin(self, message: Any, _: Any) -> None:  # noqa: N802
        """Hand up what the venue's engine says; no session begins with a Logon from another time."""
        with edge():
            kind = kind_of(message)
            self._session.from_admin(kind, message)
            timely = kind != LOGON or abs(off_ns(message) or 0) <= LATENCY_S_MAX * SECOND_NS
        if not timely:
            raise fix.RejectLogon

    def toApp(self, message: Any, _: Any) -> None:  # noqa: N802
        """Stop what must not leave; the engine fills the gap."""
        with edge():
            wanted = self._session.to_app(message)
        if not wanted:
            raise fix.DoNotSend

    def fromApp(self, message: Any, _: Any) -> None:  # noqa: N802
        """Hand up a message; the engine tells the peer about one that we do not know."""
        with edge():
            known = self._session.from_app(message)
        if not known:
            raise fix.UnsupportedMessageType
