"""A TCP proxy of ours between session and venue: it forwards, and fails or makes up messages as told.

Threads, two for each connection. What it was told holds for the connections that are and for those that come, until
`heal`. Directions are named after who speaks: "session" or "venue".
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from tests.e2e.faults.peer import FRAME

Speaker = Literal["session", "venue"]
Mangle: TypeAlias = Callable[[Speaker, bytes], bytes]
"""What becomes of a whole FIX message; it is asked about one at a time."""

CHUNK_BYTES: Final = 65_536
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, with no time: closing sends RST."""


@dataclass(slots=True)
class Faults:
    """What is wrong with the line. Bytes are counted from the moment that the fault was made, for each speaker."""

    stalled: bool = False
    swallowing: bool = False
    refusing: bool = False
    delay_s: float = 0.0
    cut_at: dict[Speaker, int] = field(default_factory=dict)
    flip_at: dict[Speaker, int] = field(default_factory=dict)
    mangle: Mangle | None = None


class Proxy:
    """Listens on a loopback port of its own and forwards to another one."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._faults = Faults()
        self._changed = threading.Condition()
        self._lines: dict[threading.Thread, tuple[socket.socket, socket.socket]] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connected_s = 0.0
        """When somebody connected last and the venue took it, by the monotonic clock."""
        self._acceptor = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._acceptor.start()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        with self._changed:
            return len(self._lines)

    def stall(self) -> None:
        """Hold back what comes from now on; it goes out when healed."""
        self._fail(Faults(stalled=True))

    def half_open(self) -> None:
        """Take all and deliver nothing, without a word to either side: neither can tell that the other is gone."""
        self._fail(Faults(swallowing=True))

    def delay(self, seconds: float) -> None:
        """Deliver each piece later."""
        self._fail(Faults(delay_s=seconds))

    def cut(self, speaker: Speaker, after_bytes: int) -> None:
        """Close the connection once a speaker's next so many bytes were delivered."""
        self._fail(Faults(cut_at={speaker: after_bytes}))

    def flip(self, speaker: Speaker, after_bytes: int) -> None:
        """Flip the lowest bit of the byte that follows a speaker's next so many, once."""
        self._fail(Faults(flip_at={speaker: after_bytes}))

    def mangle(self, change: Mangle) -> None:
        """Deliver what becomes of each message; bytes before one that are none go with it."""
        self._fail(Faults(mangle=change))

    def heal(self) -> None:
        """Forward again."""
        self._fail(Faults())

    def refuse(self) -> None:
        """End every connection, whatever is on its way, and each that comes as soon as it is there, until healed."""
        self._fail(Faults(refusing=True))
        self._end(hard=False)

    def drop(self) -> None:
        """End every connection without RST; the next ones are forwarded."""
        self.refuse()
        self.heal()

    def reset(self) -> None:
        """End every connection with RST to both sides; the next ones are forwarded."""
        # What a stalled line holds back goes with it.
        self._fail(Faults(swallowing=True))
        self._end(hard=True)
        self.heal()

    def close(self) -> None:
        """End every connection and listen no more."""
        # Closing alone would leave the thread in its wait.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.heal()
        self._end(hard=False)

    def _fail(self, faults: Faults) -> None:
        with self._changed:
            self._faults = faults
            self._changed.notify_all()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                if self._faults.refusing:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._target_port))
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
        begun = b""  # of a message, where messages are mangled
        with suppress(OSError):  # the other side is gone
            while data := source.recv(CHUNK_BYTES):
                passed, goes_on, begun = self._passed(speaker, begun + data)
                drain.sendall(passed)
                if not goes_on:
                    break
        # It wakes the other pump and tells the peers nothing: whether they see FIN or RST is decided at the close.
        for end in (source, drain):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)

    def _passed(self, speaker: Speaker, data: bytes) -> tuple[bytes, bool, bytes]:
        """Return what of a piece is delivered, whether the connection goes on, and what is kept for the next piece."""
        with self._changed:
            self._changed.wait_for(lambda: not self._faults.stalled)
            faults = self._faults
            if faults.swallowing or faults.refusing:
                return b"", True, b""
            if faults.mangle is not None:
                return _mangled(faults.mangle, speaker, data)
            if (left := faults.cut_at.get(speaker)) is not None:
                faults.cut_at[speaker] = left - len(data)
                if left <= len(data):
                    del faults.cut_at[speaker]
                    return data[:left], False, b""
            if (left := faults.flip_at.get(speaker)) is not None:
                faults.flip_at[speaker] = left - len(data)
                if left < len(data):
                    del faults.flip_at[speaker]
                    data = data[:left] + bytes([data[left] ^ 1]) + data[left + 1 :]
        time.sleep(faults.delay_s)
        return data, True, b""

    def _end(self, *, hard: bool) -> None:
        with self._changed:
            lines = dict(self._lines)
            for end in (end for pair in lines.values() for end in pair):
                with suppress(OSError):
                    if hard:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.shutdown(socket.SHUT_RD)
        for line in lines:
            line.join()


def _mangled(mangle: Mangle, speaker: Speaker, data: bytes) -> tuple[bytes, bool, bytes]:
    told, at = [], 0
    while (found := FRAME.search(data, at)) is not None:
        told += [data[at : found.start()], mangle(speaker, found[0])]
        at = found.end()
    return b"".join(told), True, data[at:]
