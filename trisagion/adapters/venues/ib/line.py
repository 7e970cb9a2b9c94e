"""The simulated TWS's end of one client's connection: frames, the pace that is allowed, and how it fails on command.

A frame is a length of four bytes, big end first, and fields that end with a zero byte each. Before the first one a
client says `API` and which versions it speaks; the answer names the one that is spoken from then on.
"""

import re
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from trisagion.clock import SECOND_NS
from trisagion.errors import VenueMistake
from trisagion.simulate.faults import value_of
from trisagion.simulate.tws_faults import flag
from trisagion.simulate.tws_words import VERSION_MAX, VERSION_MIN, Message

HELLO: Final = b"API\0"
_VERSIONS: Final = re.compile(rb"v(\d{1,4})(?:\.\.(\d{1,4}))?(?: .*)?", re.DOTALL)

FRAME_BYTES_MAX: Final = 65_536
"""The longest message that is read; an order is of some six hundred bytes."""

SEND_S_MAX: Final = 2
"""Who reads nothing for so long, with his buffers full, is let go."""

PER_SECOND: Final = 50
"""Messages a second that a TWS takes of one client, after IB's documentation."""

STRIKES_MAX: Final = 3
"""Seconds with more than that after which the client is disconnected."""

MESSAGES_MAX: Final = 1_000_000
"""The most messages or bytes after which a connection can be asked to fail."""


class Line:
    """One client's connection. Whoever calls holds the simulator's lock, but for `receive`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._messages_left: int | None = None
        self._bytes_left: int | None = None
        self._ends_by_reset = False
        self._dropped = False
        self._per_second = PER_SECOND
        self._second = self._in_second = self._strikes = 0
        self.version = 0
        self.client: int | None = None
        timeout = struct.pack("ll", SEND_S_MAX, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def greet(self, now: str) -> bool:
        """Read the greeting and answer it; tell whether there is a version that both speak."""
        while len(self._buffer) < len(HELLO):
            if not self._read():
                return False
        if not self._buffer.startswith(HELLO):
            return False
        self._buffer = self._buffer[len(HELLO) :]
        frame = self._frame()
        found = _VERSIONS.fullmatch(frame or b"")
        if found is None:
            return False
        least, most = int(found[1]), int(found[2] or found[1])
        self.version = min(most, VERSION_MAX)
        if self.version < max(least, VERSION_MIN):
            return False
        self.send((str(self.version), now))
        return True

    def messages(self) -> Iterator[Message]:
        """Give the client's messages until it goes, or says what is no message."""
        while (frame := self._frame()) is not None:
            *fields, rest = frame.decode(errors="replace").split("\0")
            if not fields or rest:
                return
            yield tuple(fields)

    def passes(self) -> bool:
        """Count a message, and tell whether it is heard at all."""
        if self._messages_left is not None:
            if not self._messages_left:
                self._drop()
            else:
                self._messages_left -= 1
        return not self._dropped

    def too_fast(self, monotonic_ns: int) -> bool:
        """Count a message, and tell whether it is one too many in its second."""
        second = monotonic_ns // SECOND_NS
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        over = 0 < self._per_second < self._in_second
        self._strikes += over and self._in_second == self._per_second + 1
        return over

    @property
    def struck_out(self) -> bool:
        """Whether it was too fast too often."""
        return self._strikes >= STRIKES_MAX

    @property
    def per_second(self) -> int:
        """How many messages a second are taken; 0 for any number."""
        return self._per_second

    def send(self, message: Message) -> None:
        """Write a message, unless the connection is dead without anybody knowing."""
        if self._dropped:
            return
        body = "".join(f"{field}\0" for field in message).encode()
        try:
            self._connection.sendall(struct.pack(">I", len(body)) + body)
        except OSError:
            # Gone, or deaf: its reader finds out.
            self.close()

    def close(self) -> None:
        """End the connection; what was written still arrives."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def fail(self, fault: Mapping[str, Any]) -> None:
        """Make one of `SESSION_FAULTS`; see `venue`.

        Raises
        ------
        VenueMistake
            The fault lacks what it needs.
        """
        if fault["kind"] == "pacing":
            self._per_second = _count(fault, "per_second")
            return
        messages, size = ("messages" in fault), ("bytes" in fault)
        if messages == size:
            raise VenueMistake("fault 'drop': expected messages or bytes after which the rest is lost")
        self._ends_by_reset = flag(fault, "reset")
        if messages:
            self._messages_left = _count(fault, "messages")
        else:
            self._bytes_left = _count(fault, "bytes")
        if not (self._messages_left if messages else self._bytes_left):
            self._drop()

    def _drop(self) -> None:
        self._dropped = True
        if self._ends_by_reset:
            with suppress(OSError):
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def _frame(self) -> bytes | None:
        """Return the next frame, None when there will be none."""
        while True:
            if len(self._buffer) >= 4:
                size = struct.unpack(">I", self._buffer[:4])[0]
                if size > FRAME_BYTES_MAX:
                    return None
                if len(self._buffer) >= 4 + size:
                    frame, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
                    return frame
            if not self._read():
                return None

    def _read(self) -> bool:
        """Read on, and tell whether the client is still there; what a dropped connection says is thrown away."""
        try:
            data = self._connection.recv(FRAME_BYTES_MAX)
        except OSError:
            return False
        if self._bytes_left is not None:
            heard, self._bytes_left = data[: self._bytes_left], max(0, self._bytes_left - len(data))
            if len(heard) < len(data) or not self._bytes_left:
                self._drop()
            self._buffer += heard
        elif not self._dropped:
            self._buffer += data
        return bool(data)


def _count(fault: Mapping[str, Any], name: str) -> int:
    value: int = value_of(fault, name, int)
    if not 0 <= value <= MESSAGES_MAX:
        raise VenueMistake(f"fault {fault['kind']!r}: expected {name} of 0 to {MESSAGES_MAX}, found {value}")
    return value
