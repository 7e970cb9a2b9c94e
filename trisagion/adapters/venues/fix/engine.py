"""What both ends of a session share: the directory they keep, messages as plain values.

The QuickFIX file store is flushed at each message but never synced: it survives the death of the process, not of the
machine. After a power loss treat it as suspect and reconcile before trading.
"""

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import quickfix as fix

from trisagion.adapters.password import Password
from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.fix.dictionary import RAW_LENGTHS, Dictionary
from trisagion.adapters.venues.fix.messages import MessageLogFactory, scrub
from trisagion.adapters.venues.messages import MessageFiles
from trisagion.errors import OurMistake, StateError, VenueMistake, quoted
from trisagion.gateway.dialect import Profile
from trisagion.gateway.words import Fields

SOH: Final = "\x01"

LOGOUT_S_MAX: Final = 2.0
LOGOUT_POLL_S: Final = 0.002

LATENCY_S_MAX: Final = 120
"""How far a SendingTime(52) may be off: FIX leaves it to agreement, QuickFIX's default is this."""

SILENT_HEARTBEATS: Final = 2.4
"""After so many the engine leaves a line on which nothing is heard (its TestRequest included); so is one left on which
nothing can be said."""

FAIL_CLOSED: Final = {
    # A reset would drop what the venue did while we were away: measured, two of two fills lost.
    "ResetOnLogon": "N",
    "ResetOnLogout": "N",
    "ResetOnDisconnect": "N",
    "PersistMessages": "Y",
    "NonStopSession": "Y",
    "UseDataDictionary": "Y",
    "ValidateFieldsOutOfOrder": "Y",
    "ValidateFieldsHaveValues": "Y",
    "ValidateUserDefinedFields": "Y",
    "SocketNodelay": "Y",
}
"""Settings of every session; none is the user's to choose."""


class Store:
    """A session's directory: sequence numbers and messages, the dictionary, the log. One process may have it.

    The log's lines are numbered on from `after` at least; `files_max` bounds what is kept of them and `password` stands
    in none, see `MessageFiles`.
    """

    def __init__(
        self,
        directory: Path,
        profile: Profile,
        *,
        after: int = 0,
        files_max: int | None = None,
        password: Password | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._lock = (directory / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise StateError(f"{directory}: another process has this session; one session has one owner") from None
        self.dictionary = Dictionary(directory, profile)
        scrub(directory)
        self.messages = MessageFiles(
            directory / "messages", after=after, files_max=files_max, password=password or Password()
        )

    def settings(self, sender: str, target: str, own: Mapping[str, str], *, also: str | None = None) -> Any:
        """Write the engine's settings file and read it; `also` is the CompID of a second counterparty."""
        default = {
            **FAIL_CLOSED,
            **self.dictionary.settings,
            "FileStorePath": str(self.directory),
            **own,
        }
        lines = ["[DEFAULT]", *_assignments(default)]
        for peer in (target, *([also] if also else [])):
            session = {"BeginString": self.dictionary.begin_string, "SenderCompID": sender, "TargetCompID": peer}
            lines += ["[SESSION]", *_assignments(session)]
        path = self.directory / "session.cfg"
        path.write_text("\n".join([*lines, ""]))
        return fix.SessionSettings(str(path))

    def close(self) -> None:
        """Give the directory back."""
        self.messages.close()
        self._lock.close()


class Connection:
    """A QuickFIX initiator or acceptor with all that it points to.

    The engine keeps bare pointers and its objects may not outlive each other at will: a second one of the same
    session while the first still exists, or a store factory gone before its engine, ends in a segmentation fault. An
    acceptor is not stopped at all: its `stop` takes the sockets from under its own thread (quickfix#740; measured: one
    of six stops was a segmentation fault). It ends with its process, after `log_out`.
    """

    def __init__(self, kind: Any, application: Any, settings: Any, store: Store) -> None:
        self._application = application
        self._settings = settings
        self._stores = fix.FileStoreFactory(settings)
        self._logs = MessageLogFactory(store.messages, store.directory, edge)
        self._engine = kind(application, self._stores, settings, self._logs)

    def start(self) -> None:
        """Start the engine's thread."""
        self._engine.start()

    def stop(self) -> None:
        """Wait for the engine's thread to end and let the engine go before what it points to."""
        self._engine.stop()
        del self._engine


def connections(port: int) -> Iterator[socket.socket]:
    """Yield this process' TCP connections with a port at either end; the engine shows its sockets to nobody."""
    for path in Path("/proc/self/fd").iterdir():
        # One that was closed in the meantime, the listing's own among them, is of no interest, nor is a listener, which
        # has no peer.
        with suppress(OSError):
            if stat.S_ISSOCK(path.stat().st_mode):
                with socket.socket(fileno=os.dup(int(path.name))) as connection:
                    ends = (connection.getsockname(), connection.getpeername())
                    if connection.family == socket.AF_INET and port in {end[1] for end in ends}:
                        yield connection


def bound_sending(port: int, heartbeat_s: float) -> None:
    """Have the kernel end a connection whose peer takes nothing for `SILENT_HEARTBEATS`.

    The engine sends with its session locked and without a bound. Its reader, when it has a heartbeat to send meanwhile,
    waits for that lock and reads no more; if the peer does likewise, neither ever reads again and nobody notices, for
    the timers are the readers'. Measured: a sink that stood still for 25 s amid 25,000 orders left both ends so for
    good.
    """
    bound_ms = int(SILENT_HEARTBEATS * heartbeat_s * 1000)
    for connection in connections(port):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, bound_ms)


def log_out(session_id: Any) -> None:
    """Say goodbye and wait, not for ever, until the peer has."""
    session = fix.Session.lookupSession(session_id)
    deadline = time.monotonic() + LOGOUT_S_MAX
    if session is not None and session.isLoggedOn():
        session.logout()
        while session.isLoggedOn() and time.monotonic() < deadline:
            time.sleep(LOGOUT_POLL_S)


def encode(fields: Fields, dictionary: Dictionary) -> Any:
    """Make the engine's message."""
    for tag, value in fields.items():
        # The separator would begin a field of its own, and no sign that cannot be shown is part of a name or a number.
        if not value.isprintable():
            where = f"FIX message 35={fields.get(35)}, tag {int(tag)}"
            raise OurMistake(f"{where}: expected text without a field separator or the like, found {quoted(value)}")
    # The parser drops a group that no field follows: a trailer ends it; the engine writes the true checksum.
    pairs = {8: dictionary.begin_string, **fields, 10: "000"}
    text = "".join(f"{int(tag)}={value}{SOH}" for tag, value in pairs.items())
    return dictionary.message(text)


def raw_text(message: Any) -> str:
    """Return the engine's message as text; bytes that are no UTF-8 stand in hexadecimal, so no two texts collide."""
    text: str = message.toString()
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def kind_of(message: Any) -> str:
    """Return the MsgType of the engine's message."""
    return str(message.getHeader().getField(35))


def decode(message: Any, *, groups: bool = False) -> dict[int, str]:
    """Read the engine's message as tags and texts.

    With `groups` the first of each tag counts: a tag that the engine's dictionary lets through twice is a group's, and
    of the groups that we read the first entry is all there is. Without, a repeated tag has no place in the message.

    Raises
    ------
    VenueMistake
        A tag is repeated, or a value is of raw data, in which a separator would be no separator.
    """
    pairs = [pair.partition("=") for pair in raw_text(message).split(SOH)[:-1]]
    fields: dict[int, str] = {}
    for tag, _, value in pairs:
        if tag.isdecimal():
            fields.setdefault(int(tag), value)
    raw = RAW_LENGTHS & fields.keys()
    if raw:
        raise VenueMistake(f"FIX message 35={fields.get(35)}: expected no raw data, found tag {min(raw)}")
    if not groups and len(fields) != len(pairs):
        raise VenueMistake(f"FIX message 35={fields.get(35)}: expected each tag once")
    return fields


def _assignments(pairs: Mapping[str, str]) -> list[str]:
    for name, value in pairs.items():
        if not value or not value.isprintable():
            raise StateError(f"FIX setting {name}: expected printable text, found {value!r}")
    return [f"{name}={value}" for name, value in pairs.items()]
