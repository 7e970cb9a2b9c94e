"""A line through this process that can fail: what a drill, and the tests, put between a session and its venue.

It listens on a loopback port of its own and forwards to another one, two threads for each connection. Directions are
named after who speaks: "session" or "venue". As a `tunnel` it asks first to be asked for one, as an HTTP proxy is
(RFC 9110, section 9.3.6), and goes to its one target whatever it is asked for.
"""

import socket
import threading
import time
from contextlib import suppress
from typing import Final, Literal

Speaker = Literal["session", "venue"]

LOOPBACK: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536
ASKED_BYTES_MAX: Final = 4_096
ASKED_S_MAX: Final = 5.0
_END: Final = b"\r\n\r\n"


class Relay:
    """Forwards, until it is told to fail."""

    def __init__(self, target_port: int, *, tunnel: bool = False) -> None:
        self._target_port = target_port
        self._tunnel = tunnel
        self._changed = threading.Condition()
        self._lines: dict[threading.Thread, tuple[socket.socket, socket.socket]] = {}
        self._frozen: set[socket.socket] = set()
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connected_s = 0.0
        """When somebody connected last and the venue took it, by the monotonic clock."""
        self._acceptor = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._acceptor.start()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        with self._changed:
            return len(self._lines)

    def freeze(self) -> None:
        """Deliver nothing more on the connections that are, without a word to either side; later ones are forwarded."""
        with self._changed:
            self._frozen = {end for pair in self._lines.values() for end in pair}

    def close(self) -> None:
        """End every connection and listen no more."""
        # Closing alone would leave the thread in its wait.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self._end()

    def _admits(self) -> bool:
        """Tell whether a connection that comes is taken."""
        return True

    def _passed(self, speaker: Speaker, data: bytes) -> tuple[bytes, bool, bytes]:
        """Return what of a piece is delivered, whether the connection goes on, and what is kept for the next piece."""
        return data, True, b""

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                if not self._admits():
                    near.close()
                    continue
                try:
                    if self._tunnel:
                        _open_tunnel(near)
                    far = socket.create_connection((LOOPBACK, self._target_port))
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                line = threading.Thread(target=self._serve, args=(near, far), daemon=True)
                with self._changed:
                    self._lines[line] = (near, far)
                    self.connected_s = time.monotonic()
                line.start()

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._pump, args=("venue", far, near), daemon=True)
        back.start()
        self._pump("session", near, far)
        back.join()
        with self._changed:
            del self._lines[threading.current_thread()]
            near.close()
            far.close()

    def _pump(self, speaker: Speaker, source: socket.socket, drain: socket.socket) -> None:
        begun = b""  # of a message, where messages are looked at
        with suppress(OSError):  # the other side is gone
            while data := source.recv(CHUNK_BYTES):
                if source in self._frozen:
                    continue
                passed, goes_on, begun = self._passed(speaker, begun + data)
                drain.sendall(passed)
                if not goes_on:
                    break
        # It wakes the other pump and tells the peers nothing: whether they see FIN or RST is decided at the close.
        for end in (source, drain):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)

    def _end(self, *options: bytes) -> None:
        """End every connection, each of its ends with these values of SO_LINGER."""
        with self._changed:
            lines = dict(self._lines)
            for end in (end for pair in lines.values() for end in pair):
                with suppress(OSError):
                    for linger in options:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    end.shutdown(socket.SHUT_RD)
        for line in lines:
            line.join()


def _open_tunnel(near: socket.socket) -> None:
    """Read what asks for a tunnel and say yes; `OSError` for what asks for none."""
    asked = b""
    near.settimeout(ASKED_S_MAX)
    while not asked.endswith(_END):
        piece = near.recv(1)
        asked += piece
        if not piece or len(asked) > ASKED_BYTES_MAX:
            raise OSError("expected a request for a tunnel")
    near.sendall(b"HTTP/1.1 200 Connection established" + _END)
    near.settimeout(None)
