"""The forwarder of one session: listens on loopback and carries its bytes to the venue through one of its paths.

    python -m trisagion.adapters.egress.forwarder

It takes its settings as a worker does. Bytes pass unchanged; `gateway.egress` decides which path is taken and when it
is left; what became of the paths goes to table `egress_event`.

A session has one connection, never two. Whoever connects while one is up, and says something, gets the session: the
earlier connection is closed on both sides first. FIX closes the newcomer instead (session test case 1b), for a venue
cannot know which of two is right; here the lease has decided that already, before anybody connects, and what is left of
an earlier owner would otherwise keep its successor out. A port scanner says nothing and is let go.

A change of path is a disconnect of the client: what it had sent and not heard of is in doubt, and asked about after its
next logon. No byte is ever carried a second time.
"""

import asyncio
import os
import random
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from trisagion.adapters.db.engine import open_database, retrying
from trisagion.adapters.egress.paths import Tls, Unreached, Way, probe, reach, tls
from trisagion.adapters.egress.record import Recorder
from trisagion.adapters.password import Password
from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError, TrisagionError
from trisagion.gateway.egress import (
    Asked,
    Connected,
    EgressEvent,
    End,
    Ended,
    Event,
    Failed,
    Looked,
    Probed,
    Rules,
    Step,
    Traffic,
    What,
    begin,
    only_heartbeats,
    step,
)
from trisagion.ports import Database
from trisagion.settings import DIRECT, LINES, Fix, Ib, Settings, load, resolve

LOOPBACK: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536
LOOK_S: Final = 0.25
FIRST_WORD_S_MAX: Final = 5.0
"""How long a client may be connected before it says something: an engine's Logon comes at once."""

HALF_CLOSED_S_MAX: Final = 2.0
"""How long the other direction may go on when one has ended."""

CLOSE_S_MAX: Final = 1.0
CLIENTS_MAX: Final = 16
"""Of which one has the session, and the others have not said anything yet."""


class Forwarder:
    """One session's way out. `draw` gives the shares of back-offs, `record` takes what is to be remembered."""

    def __init__(
        self,
        session: str,
        ways: Sequence[Way],
        venue: tuple[str, int],
        *,
        rules: Rules,
        connect_s: float,
        record: Callable[[EgressEvent], None],
        secured: Tls | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._ways = {way.name: way for way in ways}
        self._venue = venue
        self._rules = rules
        self._connect_s = connect_s
        self._record = record
        self._secured = secured
        self._draw = draw
        # Instants that never go back, or a clock that is set would end a session.
        self._origin_ns = time.time_ns() - time.monotonic_ns()
        self._state = begin(list(self._ways), self._now_ns())
        self._traffic: Traffic | None = None
        self._leave: asyncio.Future[str] | None = None
        self._owner: asyncio.Task[None] | None = None
        self._line = asyncio.Lock()
        self._clients: set[asyncio.Task[None]] = set()
        self._probes: set[asyncio.Task[None]] = set()

    async def run(self, port: int, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until cancelled; then everything is closed and recorded."""
        server = await asyncio.start_server(self._accept, LOOPBACK, port, limit=CHUNK_BYTES)
        self._tell("", What.STARTED, f"paths {', '.join(self._ways)}")
        ready()
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                self._look()
        finally:
            server.close()
            tasks = self._clients | self._probes
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _now_ns(self) -> int:
        return self._origin_ns + time.monotonic_ns()

    def _do(self, event: Event) -> Step:
        done = step(self._state, event, self._rules)
        self._state = done.state
        for note in done.notes:
            self._tell(note.path, note.what, note.why)
        return done

    def _tell(self, path: str, what: What, why: str) -> None:
        self._record(EgressEvent(self._session, self._now_ns(), path, what, why))

    def _look(self) -> None:
        done = self._do(Looked(self._now_ns(), self._traffic))
        if done.leave is not None and self._leave is not None and not self._leave.done():
            self._leave.set_result(done.leave)
        for name in done.probe:
            task = asyncio.create_task(self._probe(name))
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)

    async def _probe(self, name: str) -> None:
        fault, why = None, ""
        try:
            await probe(self._ways[name], *self._venue, self._connect_s)
        except Unreached as error:
            fault, why = error.fault, str(error)
        self._do(Probed(self._now_ns(), name, fault, why, self._draw()))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= CLIENTS_MAX:
            writer.transport.abort()
            return
        self._clients.add(task)
        try:
            await self._welcome(task, reader, writer)
        except asyncio.CancelledError:
            pass  # a newer connection has the session, or the forwarder stops
        finally:
            self._clients.discard(task)
            await _closed(writer)

    async def _welcome(
        self, task: "asyncio.Task[None]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            first = await asyncio.wait_for(reader.read(CHUNK_BYTES), FIRST_WORD_S_MAX)
        except OSError:  # a TimeoutError is one
            return
        if not first:
            return
        earlier, self._owner = self._owner, task
        if earlier is not None:
            earlier.cancel()
        # Held by the earlier one until it is closed on both sides.
        async with self._line:
            await self._carry(first, reader, writer)

    async def _carry(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a path and carry one connection from its beginning to its end."""
        name = self._do(Asked(self._now_ns())).take
        if name is None:
            return
        try:
            far_reader, far_writer = await reach(self._ways[name], *self._venue, self._secured, self._connect_s)
        except Unreached as error:
            self._do(Failed(self._now_ns(), error.fault, str(error), self._draw()))
            return
        except asyncio.CancelledError:
            self._do(Failed(self._now_ns(), None, "", self._draw()))
            raise
        if reader.at_eof():
            self._do(Failed(self._now_ns(), None, "", self._draw()))
            await _closed(far_writer)
            return
        now_ns = self._now_ns()
        self._do(Connected(now_ns))
        self._traffic = Traffic(now_ns, active_ns=now_ns)
        self._leave = asyncio.get_running_loop().create_future()
        end, why = End.LEFT, "a newer connection has the session, or the forwarder stops"
        try:
            end, why = await self._exchange(first, (reader, writer), (far_reader, far_writer))
        finally:
            at_ns, traffic = self._now_ns(), self._traffic
            self._traffic = self._leave = None
            # What a path has swallowed must not come out of it later.
            await _closed(far_writer, at_once=traffic.silent_ns(at_ns) >= self._rules.silence_ns)
            self._do(Ended(at_ns, end, traffic, why, self._draw()))

    async def _exchange(
        self,
        first: bytes,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> tuple[End, str]:
        """Carry bytes both ways until one side is done or the path is to be left; say how it ended."""
        for writer in (near[1], far[1]):
            assert writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "an order waits"
        assert self._leave is not None
        outward = asyncio.create_task(self._pump(near[0], far[1], first, outward=True))
        inward = asyncio.create_task(self._pump(far[0], near[1], b"", outward=False))
        try:
            waited: set[asyncio.Future[Any]] = {outward, inward, self._leave}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._leave.done():
                return End.LEFT, self._leave.result()
            # The first end is what happened; the other direction may still have something to say.
            end, why = inward.result() if inward.done() else outward.result()
            told = near[1] if inward.done() else far[1]
            if not why and told.can_write_eof():
                await asyncio.wait({outward, inward}, timeout=HALF_CLOSED_S_MAX)
            return end, why
        finally:
            for task in (outward, inward):
                task.cancel()
            await asyncio.gather(outward, inward, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunk: bytes, *, outward: bool
    ) -> tuple[End, str]:
        """Carry one direction until its end, which is passed on; a slow reader slows the writer down."""
        while True:
            if chunk:
                self._note(chunk, outward=outward)
                try:
                    writer.write(chunk)
                    await writer.drain()
                except OSError as error:
                    return _broken(error, far=outward)
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError as error:
                return _broken(error, far=not outward)
            if not chunk:
                if writer.can_write_eof():
                    with suppress(OSError):
                        writer.write_eof()
                return (End.CLIENT if outward else End.FAR), ""

    def _note(self, chunk: bytes, *, outward: bool) -> None:
        assert self._traffic is not None
        now_ns = self._now_ns()
        known = self._traffic
        active_ns = known.active_ns if only_heartbeats(chunk) else now_ns
        if outward:
            self._traffic = replace(known, written_ns=now_ns, active_ns=active_ns)
        else:
            self._traffic = replace(known, read_ns=now_ns, active_ns=active_ns)


def _broken(error: OSError, *, far: bool) -> tuple[End, str]:
    why = str(error) or type(error).__name__
    if not far:
        return End.CLIENT, why
    return (End.TLS if isinstance(error, ssl.SSLError) else End.RESET), why


async def _closed(writer: asyncio.StreamWriter, *, at_once: bool = False) -> None:
    """Close a connection and wait until it is closed; `at_once` what was not sent yet is thrown away."""
    if at_once:
        writer.transport.abort()
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), CLOSE_S_MAX)
    except OSError:
        writer.transport.abort()


def forwarder(settings: Settings, record: Callable[[EgressEvent], None]) -> Forwarder:
    """Make the forwarder that the settings ask for, its secrets looked up."""
    given, line = settings.egress, _line(settings)
    name = given.tls_name or line.host
    files = (given.tls_ca, given.tls_pins, given.tls_certificate, given.tls_key)
    return Forwarder(
        settings.session,
        [_way(settings, name) for name in given.use],
        (line.host, line.port),
        rules=Rules(
            heartbeat_ns=line.heartbeat_s * SECOND_NS,
            probe_ns=given.probe_s * SECOND_NS,
            quiet_ns=given.quiet_s * SECOND_NS,
            healthy_ns=given.healthy_s * SECOND_NS,
        ),
        connect_s=given.connect_s,
        record=record,
        secured=tls(name, *files) if given.tls else None,
    )


def _line(settings: Settings) -> Fix | Ib:
    if settings.line is None:
        raise ConfigError(f"platform.venue: expected one that a line leads to, found {settings.platform.venue!r}")
    return settings.line


def _way(settings: Settings, name: str) -> Way:
    if name == DIRECT:
        return Way(name, "direct")
    proxy = settings.egress.paths[name]
    password = Password(partial(resolve, proxy.password, os.environ))
    password()  # one that cannot be read is an error of the start; later there is an older one
    return Way(name, proxy.kind, proxy.host, proxy.port, proxy.user, password)


def _writer(database: Database) -> Callable[[EgressEvent], None]:
    def write(event: EgressEvent) -> None:
        def work() -> None:
            with database.transaction() as tx:
                tx.egress.add(event)

        retrying(work)

    return write


async def _until_stopped(served: Forwarder, port: int) -> None:
    running = asyncio.ensure_future(served.run(port))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


def main() -> int:
    """Run the command; return its exit code."""
    try:
        settings = load(None, os.environ, {})
        serve(settings)
    except TrisagionError as error:
        print(f"egress: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def serve(settings: Settings) -> None:
    """Serve until a signal asks to stop."""
    given = settings.egress
    if not given.use:
        raise ConfigError("egress.use: expected the paths of the session, found none: it needs no forwarder")
    venue_port = f"{LINES.get(settings.platform.venue)}.port"
    for key, known in (("egress.port", given.port), (venue_port, _line(settings).port)):
        if not known:
            raise ConfigError(f"{key}: expected a port; `trisagion run` chooses one for its own processes")
    url = partial(resolve, settings.database.url, os.environ)
    recorder = Recorder(_writer(open_database(url(), renewed=url)))
    try:
        asyncio.run(_until_stopped(forwarder(settings, recorder.add), given.port))
    except OSError as error:
        raise TrisagionError(f"egress.port: {given.port} cannot be listened on: {error.strerror}") from None
    finally:
        recorder.close()


if __name__ == "__main__":
    sys.exit(main())
