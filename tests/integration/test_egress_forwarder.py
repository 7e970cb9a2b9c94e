"""The forwarder: bytes unchanged, one connection of a session, and what it says when a path breaks."""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.proxies import LOOPBACK, FaultyProxy, free_port, served
from trisagion.adapters.egress.forwarder import CLIENTS_MAX, Forwarder, serve
from trisagion.adapters.egress.paths import Tls, Way, tls
from trisagion.adapters.egress.record import WAITING_MAX, Recorder
from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError, StateError, TrisagionError
from trisagion.gateway.egress import EgressEvent, Rules, What
from trisagion.settings import load

WAIT_S = 20.0
RULES = Rules(heartbeat_ns=10 * SECOND_NS, probe_ns=0, quiet_ns=SECOND_NS, healthy_ns=SECOND_NS)
DIRECT = Way("direct", "direct")


async def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something that takes milliseconds."""
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


@dataclass
class Venue:
    """Keeps what it hears on each connection, and says what `answer` makes of it."""

    answer: Callable[[bytes], bytes] = bytes
    heard: list[bytearray] = field(default_factory=list)
    live: int = 0
    most: int = 0
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    last_word: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client."""
        heard = bytearray()
        self.heard.append(heard)
        self.live += 1
        self.most = max(self.most, self.live)
        try:
            await self.reading.wait()
            while chunk := await reader.read(65_536):
                heard += chunk
                writer.write(self.answer(chunk))
                await writer.drain()
            writer.write(self.last_word)
            writer.close()
            await writer.wait_closed()
        finally:
            self.live -= 1


@dataclass
class Lane:
    """A forwarder before a venue, and what it recorded."""

    port: int
    venue: Venue
    events: list[EgressEvent]

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as a session does."""
        return await asyncio.open_connection(LOOPBACK, self.port)

    def told(self, *kinds: What) -> list[tuple[str, What]]:
        """What was recorded, of some kinds."""
        return [(event.path, event.what) for event in self.events if not kinds or event.what in kinds]


@asynccontextmanager
async def lane(
    venue: Venue,
    *ways: Way,
    rules: Rules = RULES,
    connect_s: float = WAIT_S,
    shown: ssl.SSLContext | None = None,
    secured: Tls | None = None,
) -> AsyncIterator[Lane]:
    """Run a forwarder in this process."""
    events: list[EgressEvent] = []
    port, venue_port = free_port(), free_port()
    made = Forwarder(
        "SIM",
        ways or (DIRECT,),
        (LOOPBACK, venue_port),
        rules=rules,
        connect_s=connect_s,
        record=events.append,
        secured=secured,
        draw=random.Random(1).random,
    )
    venue.reading.set()
    async with served(venue.serve, venue_port, shown):
        ready = asyncio.Event()
        running = asyncio.create_task(made.run(port, ready.set))
        await asyncio.wait_for(ready.wait(), WAIT_S)
        try:
            yield Lane(port, venue, events)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def run(work: Coroutine[object, object, None]) -> None:
    """Run a test's coroutine, not for ever."""

    async def bounded() -> None:
        await asyncio.wait_for(work, 3 * WAIT_S)

    asyncio.run(bounded())


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close a client."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize("seed", [1, 2])
def test_bytes_pass_unchanged_both_ways_at_once(seed: int) -> None:
    """Megabytes in pieces of all sizes, larger than any buffer on the way."""
    draw = random.Random(seed)
    sent = draw.randbytes(3_000_000 + draw.randrange(1000))

    async def go() -> None:
        async with lane(Venue(lambda chunk: chunk[::-1])) as found:
            reader, writer = await found.client()

            async def say() -> None:
                left = memoryview(sent)
                while left:
                    size = min(len(left), draw.choice([1, 7, 1400, 65_536, 200_000]))
                    writer.write(left[:size])
                    left = left[size:]
                    await writer.drain()

            saying = asyncio.create_task(say())
            back = await reader.readexactly(len(sent))
            await saying
            assert found.venue.heard == [bytearray(sent)]
            assert sum(back) == sum(sent)
            await gone(writer)

    run(go())


def test_a_venue_that_does_not_read_slows_its_client_down() -> None:
    """What the forwarder holds is bounded: the client's writes wait."""

    async def go() -> None:
        venue = Venue(lambda _: b"")
        async with lane(venue) as found:
            venue.reading.clear()
            _, writer = await found.client()
            block, sent = b"x" * 1_000_000, 0
            with suppress(TimeoutError):
                while sent < 50:
                    sent += 1
                    writer.write(block)
                    await asyncio.wait_for(writer.drain(), 1.0)
            assert sent < 50
            venue.reading.set()
            await asyncio.wait_for(writer.drain(), WAIT_S)
            await until(lambda: len(venue.heard[0]) == sent * len(block), "all that was sent")
            await gone(writer)

    run(go())


def test_a_client_that_has_said_all_still_hears_the_answer() -> None:
    """A half-closed connection carries the other direction to its end."""

    async def go() -> None:
        async with lane(Venue(last_word=b"goodbye")) as found:
            reader, writer = await found.client()
            writer.write(b"hello")
            assert await asyncio.wait_for(reader.readexactly(5), WAIT_S) == b"hello"
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), WAIT_S) == b"goodbye"
            await gone(writer)
            await until(lambda: found.told()[-1] == ("direct", What.LEFT), "the end")
            assert found.venue.heard == [bytearray(b"hello")]

    run(go())


def test_the_newest_connection_has_the_session_and_there_are_never_two() -> None:
    """The earlier one is closed on both sides before the venue sees the new one."""

    async def go() -> None:
        async with lane(Venue()) as found:
            earlier = None
            for number in range(5):
                reader, writer = await found.client()
                writer.write(b"%d" % number)
                assert await asyncio.wait_for(reader.readexactly(1), WAIT_S) == b"%d" % number
                if earlier is not None:
                    assert await asyncio.wait_for(earlier[0].read(), WAIT_S) == b""
                    await gone(earlier[1])
                earlier = reader, writer
            assert (found.venue.most, len(found.venue.heard)) == (1, 5)
            assert earlier is not None
            await gone(earlier[1])

    run(go())


def test_whoever_says_nothing_takes_nothing() -> None:
    """A port scanner disturbs nobody, and too many of them are let go at once."""

    async def go() -> None:
        async with lane(Venue()) as found:
            reader, writer = await found.client()
            writer.write(b"a")
            await asyncio.wait_for(reader.readexactly(1), WAIT_S)
            silent = [await found.client() for _ in range(CLIENTS_MAX)]
            with suppress(ConnectionError):
                assert await asyncio.wait_for(silent[-1][0].read(), WAIT_S) == b""
            writer.write(b"b")
            assert await asyncio.wait_for(reader.readexactly(1), WAIT_S) == b"b"
            assert len(found.venue.heard) == 1
            for _, other in (*silent, (reader, writer)):
                await gone(other)

    run(go())


async def say(found: Lane, word: bytes = b"logon") -> bytes:
    """Connect, say a word, and return the answer; nothing when the connection is closed instead."""
    reader, writer = await found.client()
    writer.write(word)
    try:
        return await asyncio.wait_for(reader.read(len(word)), WAIT_S)
    except ConnectionError:
        return b""
    finally:
        await gone(writer)


async def say_until_heard(found: Lane) -> int:
    """Do it again like an engine until the venue answers; return how often nobody did."""
    for times in range(50):
        if await say(found):
            return times
        await asyncio.sleep(0.05)
    raise AssertionError("nobody answers")


@pytest.mark.parametrize(("mode", "connections"), [("refuse", 1), ("stall", 1), ("garbage", 1), ("hang up", 3)])
def test_a_path_that_does_not_lead_to_the_venue_costs_a_connection(mode: str, connections: int) -> None:
    """Or three, when it says that it does, and then hangs up as a venue may.

    The client is let go, never moved: its next connection takes the other path, and so do those after it.
    """

    async def go(proxy: FaultyProxy) -> None:
        way = Way("proxy", "socks5", LOOPBACK, proxy.port)
        # Only who stalls is waited for; a slow machine must not look like him.
        async with lane(Venue(), way, DIRECT, connect_s=0.3 if mode == "stall" else WAIT_S) as found:
            assert await say_until_heard(found) == connections
            assert await say(found) == b"logon"
            told = found.told(What.CONNECTED, What.DOWN)
            assert told[-3:] == [("proxy", What.DOWN), ("direct", What.CONNECTED), ("direct", What.CONNECTED)]
            assert [bytes(heard) for heard in found.venue.heard] == [b"logon", b"logon"]

    with FaultyProxy() as proxy:
        proxy.mode = mode
        if mode == "refuse":
            proxy.refuse()
        run(go(proxy))


def test_a_reset_in_the_middle_of_a_message_is_a_disconnect() -> None:
    """The venue has what came through, once; nothing of it is ever said again on the other path."""

    async def go(proxy: FaultyProxy) -> None:
        proxy.reset_after = 10
        async with lane(Venue(lambda _: b""), Way("proxy", "socks5", LOOPBACK, proxy.port), DIRECT) as found:
            reader, writer = await found.client()
            writer.write(b"0123456789ABCDEF")
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
            await gone(writer)
            await until(lambda: ("proxy", What.DOWN) in found.told(), "the verdict")
            reader, writer = await found.client()
            writer.write(b"again")
            await until(lambda: found.venue.heard[-1] == b"again", "the other path")
            assert [bytes(heard) for heard in found.venue.heard] == [b"0123456789", b"again"]
            await gone(writer)

    with FaultyProxy() as proxy:
        run(go(proxy))


def test_a_path_that_swallows_everything_is_left_after_two_heartbeats() -> None:
    """With nothing of it coming out later; a slow heartbeat of a second may take four."""
    rules = Rules(heartbeat_ns=SECOND_NS // 2, probe_ns=0, quiet_ns=SECOND_NS, healthy_ns=SECOND_NS)

    async def go(proxy: FaultyProxy) -> None:
        async with lane(Venue(), Way("proxy", "socks5", LOOPBACK, proxy.port), DIRECT, rules=rules) as found:
            reader, writer = await found.client()
            writer.write(b"a")
            assert await asyncio.wait_for(reader.readexactly(1), WAIT_S) == b"a"
            proxy.hole = True
            begun = time.monotonic()
            writer.write(b"b")
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
            assert time.monotonic() - begun > 3.0
            await gone(writer)
            assert await say_until_heard(found) == 0
            assert found.told(What.DOWN, What.LEFT)[:2] == [("proxy", What.LEFT), ("proxy", What.DOWN)]
            assert bytes(found.venue.heard[0]) == b"a"

    with FaultyProxy() as proxy:
        run(go(proxy))


def test_a_session_goes_back_to_the_better_path_when_that_is_well() -> None:
    """A probe finds it; while the session is quiet its connection is closed, and the next one is there."""
    rules = Rules(heartbeat_ns=10 * SECOND_NS, probe_ns=SECOND_NS // 5, quiet_ns=SECOND_NS, healthy_ns=SECOND_NS)

    async def go(proxy: FaultyProxy) -> None:
        async with lane(Venue(), Way("proxy", "socks5", LOOPBACK, proxy.port), DIRECT, rules=rules) as found:
            assert await say_until_heard(found) == 1
            reader, writer = await found.client()
            writer.write(b"a")
            await asyncio.wait_for(reader.readexactly(1), WAIT_S)
            proxy.listen()
            assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
            await gone(writer)
            assert await say(found) == b"logon"
            whys = [event.why for event in found.events if event.what is What.LEFT]
            assert "proxy is well again" in whys
            assert found.told(What.CONNECTED)[-1] == ("proxy", What.CONNECTED)
            assert found.told(What.UP) == [("proxy", What.UP)]

    with FaultyProxy() as proxy:
        proxy.refuse()
        run(go(proxy))


@pytest.mark.parametrize("name", ["venue.example", "other.example"])
def test_a_session_without_tls_speaks_tls_to_its_venue(papers: Path, name: str) -> None:
    """And its end is the venue's; a certificate of another name takes the path down, and nothing is said."""
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(papers / "venue.pem", papers / "venue.key")
    secured = tls(name, str(papers / "ca.pem"), (), "", "")

    async def go() -> None:
        async with lane(Venue(), shown=shown, secured=secured) as found:
            if name == "venue.example":
                assert await say(found) == b"logon"
                await until(lambda: found.venue.live == 0, "the end")
                assert found.told(What.DOWN) == []
            else:
                assert await say(found) == b""
                assert found.told(What.DOWN) == [("direct", What.DOWN)]
                assert found.venue.heard == []

    run(go())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "egress.use: expected the paths of the session, found none"),
        ({"egress.use": ["direct"], "fix.port": 1}, "egress.port: expected a port"),
        ({"egress.use": ["direct"], "egress.port": 1}, "fix.port: expected a port"),
        (
            {
                "egress.use": ["p"],
                "egress.port": 1,
                "fix.port": 1,
                "egress.paths.p": {"kind": "http", "host": "h", "port": 1, "password": "env:NOBODY_SET_THIS"},
            },
            "env:NOBODY_SET_THIS: expected the environment variable",
        ),
    ],
)
def test_a_forwarder_that_cannot_serve_says_why(given: dict[str, object], told: str, sqlite_url: str) -> None:
    """Before it listens."""
    with pytest.raises(ConfigError, match=f"^{told}"):
        serve(load(None, {}, {"database.url": sqlite_url, **given}))


def test_a_port_that_is_taken_is_told(sqlite_url: str) -> None:
    """A supervisor tries again."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        given = {"egress.use": ["direct"], "egress.port": port, "fix.port": 1, "database.url": sqlite_url}
        with pytest.raises(TrisagionError, match=f"^egress.port: {port} cannot be listened on") as caught:
            serve(load(None, {}, given))
    assert caught.value.exit_code == 1


def an_event(number: int) -> EgressEvent:
    """An event."""
    return EgressEvent("SIM", number, "a", What.UP, "")


def test_what_happens_while_the_database_is_away_is_recorded_when_it_is_back() -> None:
    """In order; beyond a bound the oldest are lost, and that is recorded too."""
    written: list[EgressEvent] = []
    away = True

    def write(event: EgressEvent) -> None:
        if away:
            raise StateError("away")
        written.append(event)

    recorder = Recorder(write)
    for number in range(WAITING_MAX + 5):
        recorder.add(an_event(number))
    away = False
    deadline = time.monotonic() + WAIT_S
    while not written or written[-1] != an_event(WAITING_MAX + 4):
        assert time.monotonic() < deadline, written[-3:]
        time.sleep(0.01)
    recorder.close()
    lost = [event for event in written if event.what is What.LOST]
    kept = [event for event in written if event.what is not What.LOST]
    assert [event.at_ns for event in kept] == sorted(event.at_ns for event in kept)
    assert len(lost) == 1
    assert len(kept) == WAITING_MAX + 5 - int(lost[0].why.split()[0])
