"""The proxy between session and venue: what each of its faults looks like from both ends."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.faults.proxy import Proxy

WAIT_S = 20.0
SILENCE_S = 0.2
"""How long nothing must come; what is to come takes less than a millisecond."""


@contextmanager
def line() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """Give a proxy, the session's end of a connection through it, and the venue's."""
    with socket.create_server(("127.0.0.1", 0)) as venue:
        venue.settimeout(WAIT_S)
        proxy = Proxy(venue.getsockname()[1])
        try:
            with socket.create_connection(("127.0.0.1", proxy.port), WAIT_S) as near, venue.accept()[0] as far:
                far.settimeout(WAIT_S)
                near.sendall(b"logon")
                assert far.recv(100) == b"logon"
                yield proxy, near, far
        finally:
            proxy.close()


def silent(end: socket.socket) -> bool:
    """Tell whether nothing comes."""
    end.settimeout(SILENCE_S)
    try:
        end.recv(100)
    except TimeoutError:
        return True
    finally:
        end.settimeout(WAIT_S)
    return False


def test_a_stalled_line_delivers_when_it_is_healed() -> None:
    """Nothing is lost."""
    with line() as (proxy, near, far):
        proxy.stall()
        near.sendall(b"order")
        assert silent(far)
        proxy.heal()
        assert far.recv(100) == b"order"


def test_a_half_open_line_swallows_both_ways_and_stays_open() -> None:
    """Nobody is told; after healing what was said meanwhile stays lost."""
    with line() as (proxy, near, far):
        proxy.half_open()
        near.sendall(b"order")
        far.sendall(b"report")
        assert silent(far)
        assert silent(near)
        proxy.heal()
        far.sendall(b"later")
        assert near.recv(100) == b"later"


def test_a_reset_line_ends_with_rst_at_both_ends() -> None:
    """An orderly end would read as an empty message."""
    with line() as (proxy, near, far):
        proxy.reset()
        for end in (near, far):
            with pytest.raises(ConnectionResetError):
                end.recv(100)


@pytest.mark.parametrize(("after", "delivered"), [(0, b""), (3, b"ord"), (5, b"order")])
def test_a_line_is_cut_after_so_many_bytes_of_a_speaker(after: int, delivered: bytes) -> None:
    """What came before is delivered, then both ends see the end."""
    with line() as (proxy, near, far):
        proxy.cut("session", after)
        near.sendall(b"order")
        got = b""
        while piece := far.recv(100):
            got += piece
        assert got == delivered
        assert near.recv(100) == b""


def test_one_bit_of_one_byte_is_flipped() -> None:
    """The byte after so many of a speaker; the next piece is whole again."""
    with line() as (proxy, near, far):
        proxy.flip("venue", 2)
        for expected in (b"abb", b"abc"):
            far.sendall(b"abc")
            assert near.recv(100) == expected


def test_whole_messages_are_mangled_however_they_come_in_pieces() -> None:
    """Each once, told who speaks; what is no message is delivered as it is."""
    said: list[tuple[str, bytes]] = []

    def twice(speaker: str, message: bytes) -> bytes:
        said.append((speaker, message))
        return message * 2

    first, second = (b"8=FIX.4.4\x019=5\x0135=%d\x0110=000\x01" % number for number in (0, 1))
    with line() as (proxy, near, far):
        proxy.mangle(twice)
        near.sendall(b"?" + first + second[:9])
        assert far.recv(200) == b"?" + first * 2
        near.sendall(second[9:])
        assert far.recv(200) == second * 2
        proxy.heal()
        far.sendall(first)
        assert near.recv(200) == first
    assert said == [("session", first), ("session", second)]


def test_a_delayed_line_delivers_later() -> None:
    """Not before its time."""
    with line() as (proxy, near, far):
        proxy.delay(2 * SILENCE_S)
        near.sendall(b"order")
        assert silent(far)
        assert far.recv(100) == b"order"
