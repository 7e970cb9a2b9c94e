"""The venue's end of the control socket (see `control`): play, fault, status, stop, a line of JSON each way."""

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from trisagion.adapters.venues.edge import edge
from trisagion.errors import ConfigError, VenueMistake

LINE_BYTES_MAX: Final = 4096
"""The longest request on the control socket."""

SOCKET_PATH_MAX: Final = 107
"""Bytes of a unix socket's path, after Linux sockaddr_un."""


class Controlled(Protocol):
    """What a venue does on command; each may raise VenueMistake."""

    def play(self, until_ns: int) -> Mapping[str, object]:
        """Move time forward, and say how far it came."""
        ...

    def fail(self, fault: Mapping[str, Any]) -> Mapping[str, object]:
        """Make a mistake."""
        ...

    def status(self) -> Mapping[str, object]:
        """Return the venue's books."""
        ...


@contextmanager
def controlled(path: Path, venue: Controlled, stop: threading.Event) -> Iterator[None]:
    """Answer on a socket that only its maker's user may open; `stop` is set by the op of that name.

    Whoever made the socket that may lie there is gone: the caller holds the store's lock.
    """
    path.unlink(missing_ok=True)
    with _Server(path, venue, stop) as server:
        threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
    path.unlink(missing_ok=True)


def check_path(path: Path) -> None:
    """Refuse a path that no socket can have."""
    if len(str(path).encode()) > SOCKET_PATH_MAX:
        raise ConfigError(f"--control {path}: a socket's path has at most {SOCKET_PATH_MAX} bytes")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, venue: Controlled, stop: threading.Event) -> None:
        self.venue = venue
        self.stop = stop
        super().__init__(str(path), _Request)
        path.chmod(0o600)


class _Request(socketserver.StreamRequestHandler):
    """Requests of one connection, a line each."""

    server: _Server

    def handle(self) -> None:
        """Answer until the other side has had enough."""
        while line := self.rfile.readline(LINE_BYTES_MAX):
            with edge():
                answer = self._answer(line)
            self.wfile.write(json.dumps(answer).encode() + b"\n")
            if answer.get("stopping"):
                self.server.stop.set()

    def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            request = json.loads(line)
            match request:
                case {"op": "play", "until_ns": int(until_ns)}:
                    return {"ok": True, **self.server.venue.play(until_ns)}
                case {"op": "fault", "fault": dict(fault)}:
                    return {"ok": True, **self.server.venue.fail(fault)}
                case {"op": "status"}:
                    return {"ok": True, **self.server.venue.status()}
                case {"op": "stop"}:
                    return {"ok": True, "stopping": True}
        except VenueMistake as mistake:
            return {"ok": False, "error": str(mistake)}
        except ValueError as error:
            return {"ok": False, "error": f"expected a line of JSON: {error}"}
        return {"ok": False, "error": f"expected play with until_ns, fault, status or stop, found {request!r}"}
