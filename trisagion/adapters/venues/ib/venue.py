"""The bundled TWS simulator as a process: clients' connections before the matching engine, with a journal behind it.

    python -m trisagion.adapters.venues.ib.venue --data-spec JSON --port N --control SOCKET --store DIR

One `--data-spec` for each instrument. It listens on loopback only, to several clients at once. It speaks what a TWS or
an IB Gateway speaks to server versions 157 to 178, so that `ib_async` and `ib_insync` take it for one.

Time does not pass here by itself: the control socket's `play` moves it, and what happens has the tape's time. Only
reqCurrentTime tells the machine's.

Every command that changes the books is in the journal before it is applied, and the books are a function of the
journal: killed at any moment, it comes back with the same orders, permIds and execIds, and with nobody connected.

Faults come through the control socket, too (`fault`): those of `SimulatedTws.fail`, which are in the journal, and these
of a client's connection, which are not, and end with it:

* `drop`: `client`, `messages` or `bytes`, `reset`. What the client says after so many more of them is lost, and from
  there on nothing is told: the connection is dead and stays open until the client ends it (`reset` 0), or is cut (1).
* `pacing`: `client`, `per_second`; how many messages a second are taken, 50 at first, 0 for any number. One too many is
  answered with error 100 and not heard; in the third such second the client is disconnected.

`--faults JSON`, a list of `SimulatedTws.fail`'s commands, is applied once, before anything else happens.
"""

import argparse
import json
import os
import signal
import socketserver
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import monotonic_ns, time_ns
from typing import Any, Final

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.adapters.venues.control_server import check_path, controlled
from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.ib.line import Line
from trisagion.adapters.venues.journal import Journal, owned
from trisagion.errors import ConfigError, StateError, TrisagionError, VenueMistake
from trisagion.simulate.faults import value_of
from trisagion.simulate.tws import CLIENT_IN_USE, CLIENTS_MAX, SimulatedTws
from trisagion.simulate.tws_desk import Answers
from trisagion.simulate.tws_words import NO_ID, START_API, Message, error, whole
from trisagion.simulate.venue import INSTANT_MAX_NS
from trisagion.units import parse_decimal

SESSION_FAULTS: Final = frozenset({"drop", "pacing"})

TOO_FAST: Final = 100
CANNOT_CONNECT: Final = 501
"""Codes of the API's list."""


class Host:
    """The simulator, its journal and its clients' connections; one command at a time."""

    def __init__(self, tws: SimulatedTws, journal: Journal) -> None:
        self._tws = tws
        self._journal = journal
        self._lines: dict[int, Line] = {}
        self._lock = threading.Lock()

    def restore(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Apply the journal, as if everybody were connected who once was; then nobody is. A new one begins with faults.

        Raises
        ------
        VenueMistake
            One of the faults has no meaning.
        """
        commands = self._journal.commands
        if not commands and faults:
            command = {"faults": list(faults)}
            self._apply(command)
            self._journal.append(command)
        for command in commands:
            # What was refused then is refused now.
            with suppress(VenueMistake):
                self._apply(command)
        for client in {command["client"] for command in commands if "client" in command}:
            self._tws.disconnected(client)

    def begin(self, line: Line, message: Message) -> bool:
        """Let a client in by its first message; tell whether it is in."""
        with self._lock:
            try:
                client = whole(message, 2) if message[0] == START_API else -1
            except VenueMistake:
                client = -1
            if not 0 <= client < 2**31 or len(self._lines) >= CLIENTS_MAX:
                line.send(error(NO_ID, CANNOT_CONNECT, "Unable to connect.", line.version))
                return False
            if self._tws.is_connected(client):
                text = "Unable to connect as the client id is already in use. Retry with a unique client id."
                line.send(error(NO_ID, CLIENT_IN_USE, text, line.version))
                return False
            line.client = client
            self._lines[client] = line
            self._send(self._tws.connect(client, line.version))
            return True

    def end(self, line: Line) -> None:
        """Forget a connection."""
        with self._lock:
            if line.client is not None and self._lines.get(line.client) is line:
                del self._lines[line.client]
                self._tws.disconnected(line.client)

    def receive(self, line: Line, message: Message) -> None:
        """Answer a message of a client that is in."""
        with self._lock:
            assert line.client is not None
            if not line.passes() or self._lines.get(line.client) is not line:
                return
            if line.too_fast(monotonic_ns()):
                text = f"Max rate of messages per second has been exceeded:max={line.per_second}"
                line.send(error(NO_ID, TOO_FAST, text, line.version))
                if line.struck_out:
                    line.close()
                return
            if self._tws.changes(message):
                command = {"client": line.client, "version": line.version, "message": message}
                self._journal.append(command)
            self._send(self._tws.answer(line.client, message, time_ns()))

    def play(self, until_ns: int) -> Mapping[str, object]:
        """Move time forward, and say how far it came."""
        with self._lock:
            if not until_ns <= INSTANT_MAX_NS:
                raise VenueMistake(f"expected until_ns of at most {INSTANT_MAX_NS}, found {until_ns}")
            if until_ns > self._tws.played_ns:
                self._change({"play": until_ns})
            return {
                "played_ns": self._tws.played_ns,
                "executions": self._tws.executions,
                "working": self._tws.working,
            }

    def fail(self, fault: Mapping[str, Any]) -> Mapping[str, object]:
        """Make a mistake; what belongs to it has been told when this returns."""
        with self._lock:
            if value_of(fault, "kind", str) in SESSION_FAULTS:
                client = value_of(fault, "client", int)
                if client not in self._lines:
                    raise VenueMistake(f"fault {fault['kind']!r}: expected a client that is connected, found {client}")
                self._lines[client].fail(fault)
            else:
                self._change({"fault": fault})
            return {"executions": self._tws.executions}

    def status(self) -> Mapping[str, object]:
        """Return the books."""
        with self._lock:
            return self._tws.snapshot()

    def _change(self, command: Mapping[str, Any]) -> None:
        self._journal.append(command)
        self._send(self._apply(command))

    def _apply(self, command: Mapping[str, Any]) -> Answers:
        if "play" in command:
            return self._tws.play(command["play"])
        if "fault" in command:
            return self._tws.fail(command["fault"])
        if "faults" in command:
            return tuple(said for fault in command["faults"] for said in self._tws.fail(fault))
        client, version = command["client"], command["version"]
        self._tws.disconnected(client)
        self._tws.connect(client, version)
        return self._tws.answer(client, tuple(command["message"]), 0)

    def _send(self, answers: Answers) -> None:
        for said in answers:
            if said.message:
                self._lines[said.client].send(said.message)
            else:
                self._lines.pop(said.client).close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, host: Host) -> None:
        self.host = host
        super().__init__(("127.0.0.1", port), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    """One client, on a thread of its own."""

    server: _Server

    def handle(self) -> None:
        """Answer until the client goes or is sent away."""
        with edge():
            line = Line(self.request)
            if not line.greet(f"{datetime.now(UTC):%Y%m%d %H:%M:%S} UTC"):
                return
            messages = line.messages()
            first = next(messages, None)
            if first is None or not self.server.host.begin(line, first):
                return
            try:
                for message in messages:
                    self.server.host.receive(line, message)
            finally:
                self.server.host.end(line)


def run(arguments: argparse.Namespace, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    check_path(arguments.control)
    faults = _faults(arguments.faults)
    accounts, cash = arguments.account or ["DU1000001"], parse_decimal(arguments.cash, what="--cash")
    with owned(arguments.store):
        subject = f"{' '.join(arguments.data_spec)} {','.join(accounts)} {cash}"
        journal = Journal(arguments.store / "journal.jsonl", subject)
        tapes = [load(DataSpec.from_json(text)) for text in arguments.data_spec]
        host = Host(SimulatedTws(tapes, accounts, Decimal(cash)), journal)
        host.restore(faults)
        try:
            server = _Server(arguments.port, host)
        except OSError as error:
            raise StateError(f"port {arguments.port} cannot be listened to; is it in use? ({error})") from None
        with server, controlled(arguments.control, host, stop):
            threading.Thread(target=server.serve_forever, name="clients", daemon=True).start()
            stop.wait()
            server.shutdown()


def _faults(text: str) -> list[dict[str, Any]]:
    try:
        faults = json.loads(text)
    except ValueError:
        faults = None
    if not isinstance(faults, list) or not all(isinstance(fault, dict) for fault in faults):
        raise ConfigError(f"--faults {text}: expected a JSON list of faults, each an object with its kind")
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until it is told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m trisagion.adapters.venues.ib.venue", description="The bundled TWS simulator."
    )
    parser.add_argument(
        "--data-spec", action="append", required=True, help="a tape, as DataSpec JSON; once for each instrument"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control", type=Path, required=True, help="path of the control socket to make")
    parser.add_argument("--store", type=Path, required=True, help="directory of the journal")
    parser.add_argument("--account", action="append", help="an account; may be given several times (DU1000001)")
    parser.add_argument("--cash", default="1000000", help="what each account begins with (1000000)")
    parser.add_argument("--faults", default="[]", help="faults to begin with, as a JSON list")
    arguments = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(arguments, stop)
    except TrisagionError as mistake:
        print(f"TWS simulator: {mistake}", file=sys.stderr, flush=True)
        return mistake.exit_code
    return 0


if __name__ == "__main__":
    # Clients' threads may be in the middle of something that nobody waits for any more.
    os._exit(main())
