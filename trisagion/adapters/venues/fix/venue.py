"""The bundled venue as a process: a FIX acceptor before the matching engine, with a journal behind it.

    python -m trisagion.adapters.venues.fix.venue --data-spec JSON --port N --control SOCKET --store DIR

One `--data-spec` for each instrument. `--profile JSON` says how it speaks: `{"version": "4.2"}` and more of
`gateway.dialect.Profile`; FIX 4.4 without. Its books and its journal are FIX 4.4's whatever is spoken.

Time does not pass here by itself: the control socket's `play` moves it. Orders arrive at their TransactTime.

Every command that changes the venue is in the journal before it is applied, and the venue is a function of its journal:
killed at any moment, it comes back with the same book and the same ExecIDs. The reports of the last command are sent
again at each start, for the end may have come between journal and socket; a counterparty knows an ExecID it has seen.
Reports made while nobody is logged on wait in the FIX store and go out at the next logon.

Faults come through the control socket, too (`fault`). Those of the books and of what is told of them are in the
journal, so that a restart goes on as if nothing had happened; those of the session are not, for the FIX store keeps
what became of it: `disconnect` cuts the line without a word, `gap` lets sequence numbers go missing, `reset` moves them
on with a SequenceReset.

With `--cancel-on-disconnect` the end of the session cancels its working orders, and so does a restart of the venue; the
reports wait in the FIX store.

With `--drop-copy` a second session is told every execution report that has an ExecID, marked as a copy, and nothing
else; whatever it asks is refused as not authorised. What becomes of a report on the first session does not matter to
it: fault `swallow` loses trades there alone.

QuickFIX acceptors listen on all interfaces and have no setting for it: firewall the port on a machine that others
reach. Other CompIDs are turned away by the engine.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import quickfix as fix

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.adapters.venues.books import Books
from trisagion.adapters.venues.control_server import check_path, controlled
from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.fix.dictionary import BEGIN_STRINGS
from trisagion.adapters.venues.fix.engine import LATENCY_S_MAX, Connection, Store, bound_sending, decode, log_out
from trisagion.adapters.venues.fix.line import SESSION_FAULTS, Line
from trisagion.adapters.venues.journal import Journal
from trisagion.errors import ConfigError, StateError, TrisagionError, VenueMistake
from trisagion.gateway.dialect import FIX_44, Profile, from_wire
from trisagion.gateway.words import Fields, Tag
from trisagion.simulate.faults import value_of
from trisagion.simulate.venue import NOT_AUTHORISED, SimulatedVenue, business_reject

HEARTBEAT_S: Final = 10
"""What bounds our sends, whatever interval the other side has asked for."""

MESSAGE_FILES_MAX: Final = 4
"""The venue's log of messages is for people: no more than these files of it are kept."""


class Host:
    """The venue, its journal and its FIX session; one command at a time."""

    def __init__(self, books: Books, line: Line, copies: Line | None, *, cancel_on_disconnect: bool) -> None:
        self._books = books
        self._line = line
        self._copies = copies
        self._cancel_on_disconnect = cancel_on_disconnect
        self._lock = threading.Lock()

    def restore(self) -> None:
        """Apply the journal, and send the reports of its last command again; then there is no session yet."""
        replies: Sequence[Fields] = ()
        copies: Sequence[Fields] = ()
        for _, replies in self._books.restored():  # noqa: B007 - the last one's are sent
            copies = self._books.venue.copies()
        self._copy(copies)
        self._send(replies)
        self.disconnected()

    def disconnected(self) -> None:
        """Do what the end of a session asks for."""
        with self._lock:
            self._send(self._books.end_session(cancel=self._cancel_on_disconnect))

    def refuse(self, message: Any, why: str) -> None:
        """Answer a message that cannot be read."""
        header = message.getHeader()
        fields = {int(tag): str(header.getField(tag)) for tag in (Tag.MSG_TYPE, Tag.MSG_SEQ_NUM)}
        with self._lock:
            self._send((business_reject(fields, why, "0"),))

    def refuse_copy(self, message: Any) -> None:
        """Refuse whatever a drop copy is asked: it only tells."""
        header = message.getHeader()
        fields = {int(tag): str(header.getField(tag)) for tag in (Tag.MSG_TYPE, Tag.MSG_SEQ_NUM)}
        with self._lock:
            assert self._copies is not None
            self._copies.send(business_reject(fields, "DROP_COPY_ONLY_TELLS", NOT_AUTHORISED))

    def receive(self, fields: Fields) -> None:
        """Answer a message of the session."""
        with self._lock:
            self._send(self._books.answer(fields))

    def play(self, until_ns: int) -> Mapping[str, object]:
        """Move time forward, and say how far it came."""
        with self._lock:
            self._send(self._books.play(until_ns))
            return self._books.standing

    def fail(self, fault: Mapping[str, Any]) -> Mapping[str, object]:
        """Make a mistake; the reports that belong to it have been sent when this returns."""
        with self._lock:
            if value_of(fault, "kind", str) in SESSION_FAULTS:
                self._line.fail(fault)
            else:
                self._send(self._books.fail(fault))
            return self._books.standing

    def status(self) -> Mapping[str, object]:
        """Return the venue's books."""
        with self._lock:
            return self._books.venue.snapshot()

    def _send(self, replies: Sequence[Fields]) -> None:
        # The copy goes first: whoever has heard a report on the session, and then an answer on the drop copy, has heard
        # its copy.
        self._copy(self._books.venue.copies())
        for reply in replies:
            self._line.send(reply)

    def _copy(self, reports: Sequence[Fields]) -> None:
        if self._copies is not None:
            for report in reports:
                self._copies.send(report)


class _Application(fix.Application):  # type: ignore[misc]
    """The engine's callbacks."""

    def __init__(self, host: Host, profile: Profile, target: str, port: int) -> None:
        super().__init__()
        self._host = host
        self._profile = profile
        self._target = target
        self._port = port

    def _is_copy(self, session_id: Any) -> bool:
        return str(session_id.getTargetCompID().getString()) != self._target

    def onCreate(self, session_id: Any) -> None:  # noqa: N802
        """Nothing to prepare."""

    def onLogon(self, session_id: Any) -> None:  # noqa: N802
        """Nothing to say first; who does not listen must not hold up the other session for ever."""
        with edge():
            bound_sending(self._port, HEARTBEAT_S)

    def onLogout(self, session_id: Any) -> None:  # noqa: N802
        """Orders stay when the session goes, unless they shall not.

        On a thread of its own: the engine calls with its session locked, which whoever has our lock may be waiting for.
        """
        if not self._is_copy(session_id):
            threading.Thread(target=self._end_session, name="end of session", daemon=True).start()

    def _end_session(self) -> None:
        with edge():
            self._host.disconnected()

    def toAdmin(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """The engine keeps the session."""

    def fromAdmin(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """The engine keeps the session."""

    def toApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """Reports go out as often as they are asked for."""

    def fromApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """Answer; a failure ends the process with the message unprocessed."""
        with edge():
            if self._is_copy(session_id):
                self._host.refuse_copy(message)
                return
            try:
                fields = from_wire(decode(message), self._profile)
            except VenueMistake as mistake:
                self._host.refuse(message, str(mistake))
            else:
                self._host.receive(fields)


def run(arguments: argparse.Namespace, stop: threading.Event) -> NoReturn:
    """Serve until `stop` is set, and end the process.

    From within and not by `sys.exit`: an interpreter on its way down takes the engine apart in an order that the engine
    does not survive.
    """
    check_path(arguments.control)
    profile = _profile(arguments.profile)
    store = Store(arguments.store, profile, files_max=MESSAGE_FILES_MAX)
    subject = f"{' '.join(arguments.data_spec)} {arguments.sender} {arguments.target}"
    journal = Journal(arguments.store / "journal.jsonl", subject)
    venue = SimulatedVenue([load(DataSpec.from_json(text)) for text in arguments.data_spec])
    settings = store.settings(
        arguments.sender,
        arguments.target,
        {
            "ConnectionType": "acceptor",
            "SocketAcceptPort": str(arguments.port),
            "CheckLatency": "Y",
            "MaxLatency": str(LATENCY_S_MAX),
        },
        also=arguments.drop_copy,
    )
    begin_string = BEGIN_STRINGS[profile.version]
    session_id = fix.SessionID(begin_string, arguments.sender, arguments.target)
    line = Line(session_id, store, profile, arguments.port)
    copies = None
    if arguments.drop_copy:
        copied_id = fix.SessionID(begin_string, arguments.sender, arguments.drop_copy)
        copies = Line(copied_id, store, profile, arguments.port)
    host = Host(Books(venue, journal), line, copies, cancel_on_disconnect=arguments.cancel_on_disconnect)
    # Not `SocketAcceptor`: in 1.16.0 it turns everybody away after a disconnection of its own making, as when the other
    # side is silent (measured; the same mistake as quickfix#739).
    application = _Application(host, profile, arguments.target, arguments.port)
    acceptor = Connection(fix.ThreadedSocketAcceptor, application, settings, store)
    try:
        host.restore()
        acceptor.start()
        with controlled(arguments.control, host, stop):
            stop.wait()
    except fix.RuntimeError as error:
        raise StateError(f"port {arguments.port} cannot be listened to; is it in use? ({error})") from None
    if arguments.drop_copy:
        log_out(fix.SessionID(begin_string, arguments.sender, arguments.drop_copy))
    log_out(session_id)
    os._exit(0)


def _profile(text: str) -> Profile:
    try:
        return Profile.of(**{"version": FIX_44, **json.loads(text)})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--profile {text}: expected a JSON object of a profile ({error})") from None


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the venue until it is told to stop, and end the process."""
    parser = argparse.ArgumentParser(
        prog="python -m trisagion.adapters.venues.fix.venue", description="The bundled venue."
    )
    parser.add_argument(
        "--data-spec", action="append", required=True, help="a tape, as DataSpec JSON; once for each instrument"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control", type=Path, required=True, help="path of the control socket to make")
    parser.add_argument("--store", type=Path, required=True, help="directory of journal and session")
    parser.add_argument(
        "--cancel-on-disconnect", action="store_true", help="cancel the working orders when the session ends"
    )
    parser.add_argument(
        "--profile", default="{}", help="how to speak, as JSON of `Profile`; FIX 4.4 if nothing is said"
    )
    parser.add_argument("--sender", default="SIM", help="our CompID")
    parser.add_argument("--target", default="TRISAGION", help="the CompID that may log on")
    parser.add_argument("--drop-copy", help="the CompID that may log on to hear copies of all execution reports")
    arguments = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(arguments, stop)
    except TrisagionError as error:
        print(f"venue: {error}", file=sys.stderr, flush=True)
        os._exit(error.exit_code)


if __name__ == "__main__":
    main()
