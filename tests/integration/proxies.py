"""Proxies for tests: the real ones as processes of their own, and one of ours that breaks on command."""

import asyncio
import base64
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, Self, TypeAlias

Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LOOPBACK: Final = "127.0.0.1"
START_S_MAX: Final = 20.0
POLL_S: Final = 0.02
CHUNK: Final = 65_536


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def microsocks(port: int, user: str = "", password: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """Run microsocks, a SOCKS5 server."""
    known = ["-u", user, "-P", password] if user else []
    yield from _running(["microsocks", "-i", LOOPBACK, "-p", str(port), *known], port)


@contextmanager
def tinyproxy(port: int, directory: Path, user: str = "", password: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """Run tinyproxy, an HTTP proxy that lets CONNECT through to every port."""
    lines = [f"Port {port}", f"Listen {LOOPBACK}", "Timeout 600", "LogLevel Error"]
    lines += [f"BasicAuth {user} {password}"] if user else []
    config = directory / f"tinyproxy-{port}.conf"
    config.write_text("\n".join([*lines, ""]), encoding="ascii")
    yield from _running(["tinyproxy", "-d", "-c", str(config)], port)


def _running(argv: list[str], port: int) -> Iterator["subprocess.Popen[bytes]"]:
    program = shutil.which(argv[0])
    assert program is not None, argv[0]
    process = subprocess.Popen([program, *argv[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        yield process
    finally:
        process.kill()
        process.wait()


def await_port(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), 1.0):
            return
        assert time.monotonic() < deadline, f"nobody listens on {port}"
        time.sleep(POLL_S)


@asynccontextmanager
async def served(handler: Handler, port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Serve on loopback, and leave no connection open at the end."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other end broke off, or the test is over
        finally:
            running.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, LOOPBACK, port, ssl=context)
    try:
        yield
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running)
        await asyncio.sleep(0)  # what was aborted is closed in the next round


class FaultyProxy:
    """Speaks SOCKS5 and HTTP CONNECT on one port, on a thread of its own, and breaks in the way that `mode` says.

    Asked for a tunnel it will `serve`, `stall` without an answer, answer `garbage`, `hang up` at once, answer in
    `pieces`, or be `mute`: open the tunnel and let nothing through. `hole` swallows everything of the tunnels that are
    open and tells neither end; `reset_after` resets all of them after so many bytes towards the venue, once.
    """

    def __init__(self, user: str = "", password: str = "") -> None:
        self.port = free_port()
        self.mode = "serve"
        self.hole = False
        self.reset_after: int | None = None
        self._carried = 0
        self.asked: list[tuple[str, int]] = []
        self._user = user
        self._password = password
        self._open: set[asyncio.StreamWriter] = set()
        self._server: AbstractAsyncContextManager[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty proxy", daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def listen(self) -> None:
        """Take connections."""
        self._server = served(self._tunnel, self.port)
        self._run(self._server.__aenter__())

    def refuse(self) -> None:
        """Take no more connections, and reset those that are open."""
        self.reset()
        if self._server is not None:
            self._run(self._server.__aexit__(None, None, None))
            self._server = None

    def reset(self) -> None:
        """Reset the connections that are open, on both sides."""

        async def reset() -> None:
            self._reset()

        self._run(reset())

    def swallow(self) -> None:
        """Let nothing through any more, in tunnels that are open and in those that will be; tell neither end."""
        self.mode, self.hole = "mute", True

    def cut(self, after: int) -> None:
        """Reset every tunnel once so many more bytes have gone towards the venue; the next ones are whole."""
        self._carried, self.reset_after = 0, after

    def heal(self) -> None:
        """Serve, whatever was wrong; what is left of broken tunnels is reset."""
        was_broken = self.hole
        self.mode, self.hole, self.reset_after = "serve", False, None
        if was_broken:
            self.reset()
        if self._server is None:
            self.listen()

    def _run(self, work: Coroutine[object, object, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S_MAX)

    def _reset(self) -> None:
        for writer in self._open:
            # SO_LINGER with a time of 0: the close is a reset (socket(7)). One that was closed since is of no interest.
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._open.clear()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mode = self.mode
        self._open.add(writer)
        if mode == "stall":
            await asyncio.Event().wait()
        first = await reader.readexactly(1)
        if mode == "garbage":
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            await _ended(writer)
            return
        target = await (self._socks5(reader, writer) if first == b"\x05" else self._connect(reader, writer))
        if target is None or mode == "hang up":
            await _ended(writer)
            return
        self.asked.append(target)
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, target[1])
        self._open.add(far_writer)
        try:
            if mode == "mute":
                await asyncio.Event().wait()
            await asyncio.gather(self._pump(reader, far_writer, outward=True), self._pump(far_reader, writer))
            await _ended(writer)
        finally:
            self._open -= {writer, far_writer}
            far_writer.transport.abort()

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        """Answer as a SOCKS5 server (RFC 1928, RFC 1929)."""
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x02" if self._user else b"\x05\x00")
        if self._user:
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user.decode(), password.decode()) == (self._user, self._password)
            writer.write(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return None
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET, await reader.readexactly(4))
        port = int.from_bytes(await reader.readexactly(2), "big")
        await self._say(writer, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        return host, port

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        words = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        if self._user and f"Proxy-Authorization: Basic {words}" not in request:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return None
        host, _, port = request.split()[1].rpartition(":")
        await self._say(writer, b"HTTP/1.1 200 Connection established\r\nProxy-agent: ours\r\n\r\n")
        return host, int(port)

    async def _say(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        for piece in (answer[i : i + 1] for i in range(len(answer))) if self.mode == "pieces" else (answer,):
            writer.write(piece)
            await writer.drain()
            if self.mode == "pieces":
                await asyncio.sleep(0.002)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, outward: bool = False) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                if self.hole:
                    continue
                if outward and self.reset_after is not None and self._carried + len(chunk) > self.reset_after:
                    writer.write(chunk[: self.reset_after - self._carried])
                    self.reset_after = None
                    await asyncio.sleep(POLL_S)
                    self._reset()
                    return
                self._carried += len(chunk) if outward else 0
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            # A reset of one end is swallowed like all else.
            if not self.hole:
                raise
        if self.hole:
            await asyncio.Event().wait()
        writer.write_eof()


async def _ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()
