"""A line between our session and the venue that cuts, mangles and makes up bytes."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from tests.e2e.faults.peer import FRAME, WAIT_S

Mangle: TypeAlias = Callable[[bytes, bool], bytes]
"""What becomes of a message, by its bytes and whether it is ours."""

_READ: Final = 65536


class Line:
    """Takes connections on a port of its own and carries whole messages between them and the venue's port."""

    def __init__(self, venue_port: int) -> None:
        self.mangle: Mangle = lambda frame, _: frame
        self._venue_port = venue_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="line", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the present connection."""
        for one in list(self._pairs):
            _shut(one)

    def close(self) -> None:
        """Take no more connections, and end the present one."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end()
        self._thread.join(WAIT_S)

    def _serve(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            try:
                theirs = socket.create_connection(("127.0.0.1", self._venue_port), WAIT_S)
            except OSError:
                ours.close()
                continue
            theirs.settimeout(None)
            for one in (ours, theirs):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs = [ours, theirs]
            for source, sink, outbound in ((ours, theirs, True), (theirs, ours, False)):
                threading.Thread(target=self._carry, args=(source, sink, outbound), name="carry", daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, outbound: bool) -> None:
        buffer = b""
        with suppress(OSError):
            while piece := source.recv(_READ):
                buffer += piece
                while (found := FRAME.search(buffer)) is not None:
                    buffer = buffer[found.end() :]
                    sink.sendall(self.mangle(found[0], outbound))
        _shut(source)
        _shut(sink)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        one.close()
