"""The connection to TWS: one thread that reads and writes, connects again, and hands on what it hears.

The library's own promises are not ours, and are taken back where they differ:

* It throttles by a queue in memory that is cleared when the connection goes: of 120 orders 82 never left (reliability
  0.8). Here each message goes to the socket at once or not at all, and only while nothing before it still waits there.
* It logs what it cannot decode, and goes on. Here that is handed on like any other message.

Every message is kept as text before it is on the socket, or before it is processed. A line that cannot be kept ends the
process, like an exception in whatever hears.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from trisagion.adapters.venues.edge import edge
from trisagion.adapters.venues.ib.ears import Ears, IbContract
from trisagion.adapters.venues.ib.library import Client, Decoder
from trisagion.errors import TrisagionError

CONNECT_S: Final = 10.0
"""The library's handshake, from the first byte to the first order id."""
CALL_S: Final = 5.0
"""The longest that a message waits for the thread; after that it is not sent any more."""
GOODBYE_S: Final = 1.0
RETRY_S_MAX: Final = 30.0
NAMES_MAX: Final = 4096
TEXT_MAX: Final = 2000
"""Characters kept of a message that cannot be read."""

_SOH: Final = "\x01"
_REF_IN: Final = {"5": 23, "11": 26, "101": 22}
_REF_OUT: Final = {"3": 26}
_ID_IN: Final = {"3": 1, "4": 2}
_ID_OUT: Final = {"4": 2}
"""Where a message has its orderRef, or else an order id."""
OF_ORDERS: Final = frozenset({"3", "5", "11", "59", "101"})
"""Messages that tell something of an order: orderStatus, openOrder, execDetails, commissionReport, completedOrder."""
_SWALLOWED: Final = frozenset({"3"})
"""Those of them that the library decodes in a place where it swallows its own exceptions."""
_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, NameError, ArithmeticError, TrisagionError)
"""What decoding raises on a message that is not as the library expects it."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connection is tried."""


@dataclass(frozen=True, slots=True)
class Connected:
    """TWS takes messages; accounts and the next order id were told."""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no connection any more, or none came about."""

    why: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """A message that cannot be read; `name` is the orderRef where that could be."""

    kind: str
    name: str | None
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Where:
    """Which TWS, as which client, and whose orders: `zone` is that of TWS' instants where it names none."""

    host: str
    port: int
    client_id: int
    account: str
    contracts: Mapping[str, IbContract]
    zone: str


class TwsLine:
    """A connection to TWS under one client id, made again and again until `stop`.

    `hear` is called on the line's thread with each thing that is heard, in order; it must not wait. `keep` is given
    "in", "out" or "event" and a text for each message.
    """

    def __init__(
        self,
        where: Where,
        hear: Callable[[object], None],
        *,
        keep: Callable[[str, str], None],
        retry_s: float,
    ) -> None:
        self._where = where
        self._ears = Ears(where.account, where.contracts, where.zone, self.on_heard)
        self._hear = hear
        self._keep = keep
        self._retry_s = retry_s
        self._names: dict[str, str] = {}
        self._heard = 0
        self._client: _Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tws-line", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()
        self._begun.wait()

    def stop(self) -> None:
        """Disconnect for good."""
        assert self._loop is not None and self._stopping is not None
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(CONNECT_S)

    def speak(self, write: Callable[[Any], None]) -> bool:
        """Let the library write a message; True: it was handed to the socket. False: nothing was, nor will be."""
        loop = self._loop
        if loop is None:
            return False
        answer: Future[bool] = Future()

        def run() -> None:
            if answer.set_running_or_notify_cancel():
                answer.set_result(self._write(write))

        try:
            loop.call_soon_threadsafe(run)
        except RuntimeError:
            return False
        try:
            return answer.result(CALL_S)
        except TimeoutError:
            # Whoever cancels first has decided it.
            return not answer.cancel() and answer.result()

    def drop(self, why: str) -> None:
        """Give the connection up, at once and whatever waits on it; the next one follows."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._abort, why)

    def on_message(self, fields: list[str], handlers: dict[int, Callable[[list[str]], None]]) -> None:
        """Keep a message and have it decoded; what cannot be read is handed on as that."""
        kind = fields[0] if fields else ""
        with edge():
            self._keep("in", self._text(fields, _REF_IN, _ID_IN))
            before, why = self._heard, "the library could not decode it"
            try:
                handlers[int(kind)](list(fields))
            except _UNREADABLE as error:
                why = f"{type(error).__name__}: {error}"
            else:
                if kind not in _SWALLOWED or self._heard > before:
                    return
            self._hear(Garbled(kind, self._name(fields, _REF_IN, _ID_IN), "|".join(fields)[:TEXT_MAX], why))

    def on_heard(self, what: object) -> None:
        """Hand on what the ears made of a message."""
        self._heard += 1
        self._hear(what)

    def on_sending(self, message: str) -> None:
        """Keep a message that is about to leave."""
        with edge():
            self._keep("out", self._text(message.split("\0")[:-1], _REF_OUT, _ID_OUT))

    def _run(self) -> None:
        with edge():
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        pause_s = self._retry_s
        while not self._stopping.is_set():
            self._hear(Dialled())
            connected, why = await self._connection(self._stopping)
            self._keep("event", f"no connection: {why}")
            self._hear(Lost(why))
            pause_s = self._retry_s if connected else min(pause_s * 2, max(RETRY_S_MAX, self._retry_s))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _connection(self, stopping: asyncio.Event) -> tuple[bool, str]:
        """Connect, and stay until the connection ends; return whether it came about, and why it ended."""
        client = _Client(self, self._ears)
        told: list[str] = []
        gone = asyncio.Event()

        def ended(message: str) -> None:
            told.append(message)
            gone.set()

        client.conn.disconnected += ended
        where = self._where
        connecting = asyncio.ensure_future(
            client.connectAsync(where.host, where.port, where.client_id, CONNECT_S)  # type: ignore[no-untyped-call]
        )
        ends = [asyncio.ensure_future(gone.wait()), asyncio.ensure_future(stopping.wait())]
        try:
            await asyncio.wait([connecting, *ends], return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                return False, (told or ["stopped"])[-1] or "the peer has closed it"
            if (failed := connecting.exception()) is not None:
                return False, f"{type(failed).__name__}: {failed}"
            self._client = client
            self._keep("event", f"connected to {where.host}:{where.port} as client {where.client_id}")
            self._hear(Connected())
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return True, (told or ["stopped"])[-1] or "the peer has closed it"
        finally:
            self._client = None
            for task in (connecting, *ends):
                task.cancel()
            # Whatever they end with has been seen, or does not matter any more.
            await asyncio.gather(connecting, *ends, return_exceptions=True)
            if client.conn.transport is not None:
                client.disconnect()  # type: ignore[no-untyped-call]
                with suppress(TimeoutError):
                    await asyncio.wait_for(gone.wait(), GOODBYE_S)
            if client.conn.transport is not None:
                client.conn.transport.abort()

    def _write(self, write: Callable[[Any], None]) -> bool:
        client = self._client
        transport = None if client is None else client.conn.transport
        if client is None or transport is None or transport.is_closing() or transport.get_write_buffer_size() > 0:
            return False
        try:
            write(client)
        except ConnectionError:
            return False
        return True

    def _abort(self, why: str) -> None:
        client = self._client
        if client is not None and client.conn.transport is not None:
            self._keep("event", f"given up: {why}")
            client.conn.transport.abort()

    def _text(self, fields: list[str], refs: dict[str, int], ids: dict[str, int]) -> str:
        """Write a message with its kind (35) and the order that it is about (11) where messages of FIX have them."""
        name = self._name(fields, refs, ids)
        about = "" if name is None else f"11={name}{_SOH}"
        return f"{_SOH}35={fields[0] if fields else ''}{_SOH}{about}{'|'.join(fields)}"

    def _name(self, fields: list[str], refs: dict[str, int], ids: dict[str, int]) -> str | None:
        """Return the orderRef of a message, or the last one that was said of its order id."""
        kind = fields[0] if fields else ""
        place = refs.get(kind)
        if place is not None and len(fields) > place:
            name = fields[place]
            if kind in {"3", "5"} and name:
                self._names[fields[1]] = name
                while len(self._names) > NAMES_MAX:
                    del self._names[next(iter(self._names))]
            return name or None
        place = ids.get(kind)
        return self._names.get(fields[place]) if place is not None and len(fields) > place else None


class _Client(Client):
    """The library's client without its queue; what it decodes goes through the line."""

    def __init__(self, line: TwsLine, ears: Ears) -> None:
        super().__init__(ears)  # type: ignore[no-untyped-call]
        self._line = line
        self.decoder = _Decoder(ears, line)

    def sendMsg(self, msg: str) -> None:  # noqa: N802
        """Keep a message and hand it to the socket."""
        self._line.on_sending(msg)
        self.conn.sendMsg(self._prefix(msg.encode()))  # type: ignore[no-untyped-call]


class _Decoder(Decoder):
    def __init__(self, ears: Ears, line: TwsLine) -> None:
        super().__init__(ears, 0)  # type: ignore[arg-type]
        self._line = line

    def interpret(self, fields: Any) -> None:
        """Decode a message."""
        self._line.on_message(fields, self.handlers)
