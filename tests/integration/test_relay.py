"""`adapters.relay`: a line that carries, one that goes silent, one that is gone."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from trisagion.adapters.relay import ASKED_BYTES_MAX, Relay

WAIT_S = 20.0
SILENCE_S = 0.2
"""How long nothing must come; what is to come takes less than a millisecond."""


@contextmanager
def echo() -> Iterator[int]:
    """Run a venue that says back what it hears, on every connection; give its port."""

    def serve() -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                threading.Thread(target=answer, args=(venue.accept()[0],), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while said := connection.recv(100):
                connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as venue:
        threading.Thread(target=serve, daemon=True).start()
        yield venue.getsockname()[1]
        venue.shutdown(socket.SHUT_RDWR)


@contextmanager
def relayed(*, tunnel: bool = False) -> Iterator[Relay]:
    """Run a relay before such a venue."""
    with echo() as port:
        relay = Relay(port, tunnel=tunnel)
        try:
            yield relay
        finally:
            relay.close()


def connected(relay: Relay) -> socket.socket:
    """Connect to a relay."""
    return socket.create_connection(("127.0.0.1", relay.port), WAIT_S)


def heard(end: socket.socket, said: bytes) -> bytes:
    """Say something and return what comes back."""
    end.sendall(said)
    return end.recv(100)


def test_a_frozen_line_delivers_nothing_and_the_next_one_is_well() -> None:
    """Neither end is told; who gives up on it connects again and is forwarded."""
    with relayed() as relay, connected(relay) as near:
        assert heard(near, b"logon") == b"logon"
        relay.freeze()
        near.settimeout(SILENCE_S)
        with pytest.raises(TimeoutError):
            heard(near, b"order")
        with connected(relay) as again:
            assert heard(again, b"logon") == b"logon"
        with pytest.raises(TimeoutError):
            heard(near, b"order")


def test_a_tunnel_carries_what_has_asked_for_one_until_it_is_gone() -> None:
    """As an HTTP proxy answers CONNECT; when it is closed, its connections end and no other comes."""
    with relayed(tunnel=True) as relay, connected(relay) as near:
        asked = b"CONNECT venue.example:1 HTTP/1.1\r\nHost: venue.example:1\r\n\r\n"
        assert heard(near, asked) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert heard(near, b"logon") == b"logon"
        relay.close()
        assert near.recv(100) == b""
        with pytest.raises(ConnectionRefusedError):
            connected(relay)


def test_what_asks_for_no_tunnel_is_turned_away() -> None:
    """It says too much, and no end of it."""
    with relayed(tunnel=True) as relay, connected(relay) as near:
        with suppress(ConnectionResetError):
            assert heard(near, b"x" * (ASKED_BYTES_MAX + 1)) == b""
        assert relay.connections == 0
