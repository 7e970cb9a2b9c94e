"""A venue of plain sockets that says whatever it is told to say, byte by byte, and keeps honest books of its own.

What it is not told otherwise it does as FIX 4.4 asks: it acknowledges, cancels, replaces, fills, answers questions,
fills gaps and resends. Its books are the truth that ours are held against, whatever it has said of them.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

Message: TypeAlias = dict[int, str]

WAIT_S: Final = 15.0
"""The longest that anything is waited for."""
_TICK_S: Final = 0.05
FRAME: Final = re.compile(rb"8=FIX[^\x01]*\x01.*?\x0110=\d{3}\x01", re.DOTALL)
_LENGTH: Final = re.compile(rb"8=FIX[^\x01]*\x019=(\d{1,6})\x01")
_TRAILER: Final = len(b"10=000\x01")
_ADMIN: Final = frozenset("A012345")
_HEAD: Final = (35, 34, 49, 52, 56, 43, 97, 115, 116, 122, 144)
"""Tags of the header, which come first."""


def stamp(offset_s: float = 0.0) -> str:
    """Return the present instant, or one beside it, as SendingTime."""
    return f"{datetime.now(UTC) + timedelta(seconds=offset_s):%Y%m%d-%H:%M:%S.%f}"[:-3]


def framed(body: bytes, begin: str = "FIX.4.4", length: int | None = None, checksum: int | None = None) -> bytes:
    """Put begin string, length and checksum around a body, the true ones unless told otherwise."""
    head = f"8={begin}\x019={len(body) if length is None else length}\x01".encode() + body
    return head + b"10=%03d\x01" % (sum(head) % 256 if checksum is None else checksum)


def body_of(fields: Mapping[int, str]) -> bytes:
    """Write fields in their order, as bytes of Latin-1, so that a test can say any byte."""
    return "".join(f"{tag}={value}\x01" for tag, value in fields.items()).encode("latin-1")


def parsed(frame: bytes) -> Message:
    """Read a message; the first of each tag counts."""
    fields: Message = {}
    for pair in frame.decode("latin-1").split("\x01")[:-1]:
        tag, _, value = pair.partition("=")
        fields.setdefault(int(tag), value)
    return fields


def true(frame: bytes) -> bool:
    """Tell whether length and checksum of a message are right."""
    head = _LENGTH.match(frame)
    return (
        head is not None
        and len(frame) - head.end() - _TRAILER == int(head[1])
        and sum(frame[:-_TRAILER]) % 256 == int(frame[-4:-1])
    )


class Wrong(AssertionError):
    """What was to happen did not."""


@dataclass(slots=True)
class Held:
    """An order in the venue's books."""

    name: str
    first: str
    side: str
    qty: Decimal
    px: str
    status: str = "0"
    cum: Decimal = Decimal(0)

    @property
    def leaves(self) -> Decimal:
        """What may still be filled."""
        return self.qty - self.cum if self.status in "01" else Decimal(0)


@dataclass(slots=True)
class Books:
    """What is true at the venue: orders by each of their ClOrdIDs, trades by ExecID (order, signed quantity)."""

    orders: dict[str, Held] = field(default_factory=dict)
    trades: dict[str, tuple[str, Decimal]] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
    numbers: int = 0

    def next_id(self) -> str:
        """Return a fresh ExecID."""
        self.numbers += 1
        return f"E{self.numbers}"

    @property
    def position(self) -> Decimal:
        """What we hold there."""
        return sum((qty for _, qty in self.trades.values()), Decimal(0))

    def report(self, order: Held, exec_type: str, **changes: str) -> Message:
        """Return an ExecutionReport as an honest venue would make it; `changes` by name, `t31="…"`, "" to leave out."""
        fields = {
            35: "8",
            37: f"V{order.first}",
            11: order.name,
            17: "STATUS" if exec_type == "I" else self.next_id(),
            150: exec_type,
            39: order.status,
            55: "ES",
            54: order.side,
            38: str(order.qty),
            44: order.px,
            151: str(order.leaves),
            14: str(order.cum),
            6: order.px if order.cum else "0",
            60: "20240611-12:00:00.000",
        }
        return altered(fields, changes)

    def trade(self, order: Held, qty: Decimal, **changes: str) -> Message:
        """Book a fill at the order's price and return its report."""
        order.cum += qty
        if order.status in "01":
            order.status = "2" if order.cum >= order.qty else "1"
        fields = self.report(order, "F")
        self.trades[fields[17]] = (order.first, qty if order.side == "1" else -qty)
        paid = {31: order.px, 32: str(qty), 851: "1", 12: "1.50", 13: "3"}
        return altered({**fields, **paid}, changes)


def altered(fields: Message, changes: Mapping[str, str]) -> Message:
    """Return a message with some fields changed or, where "", left out."""
    named = {int(tag.removeprefix("t")): value for tag, value in changes.items()}
    return {tag: value for tag, value in {**fields, **named}.items() if value != ""}


class Peer:
    """The acceptor's end of one session, on a thread of its own; a test speaks through it and sees what it heard."""

    def __init__(self, target: str, heartbeat_s: float) -> None:
        self.target, self.heartbeat_s = target, heartbeat_s
        self.books = Books()
        self.out = self.expected = 1
        self.stored: dict[int, tuple[str, Message]] = {}
        self.heard: list[Message] = []
        self.logons = self.ends = 0
        self.mute = self.swallows = False
        self.at_logon: Callable[[Message], bool] | None = None
        self.instead: dict[str, Callable[[Message], None]] = {}
        self._changed = threading.Condition(threading.RLock())
        self._connection: socket.socket | None = None
        self._last_sent = 0.0
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="peer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._closed = True
        # A listener that is closed while its thread accepts goes on accepting.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join(WAIT_S)

    # ---- what a test does

    def say(self, fields: Message, number: int | None = None) -> int:
        """Send a message under the next number, or another; it is kept to be sent again. Return its number."""
        with self._changed:
            used = self.out if number is None else number
            if number is None:
                self.out += 1
            self.stored[used] = (stamp(), fields)
            self.raw(self.frame(fields, used))
            return used

    def frame(self, fields: Message, number: int, **framing: object) -> bytes:
        """Return a message as bytes; fields of its header may be given among the others."""
        return framed(body_of(self.whole(fields, number)), **framing)  # type: ignore[arg-type]

    def whole(self, fields: Message, number: int) -> Message:
        """Return a message with its header."""
        every = {35: fields[35], 34: str(number), 49: "SIM", 52: stamp(), 56: self.target, **fields}
        return {tag: every[tag] for tag in (*(tag for tag in _HEAD if tag in every), *every)}

    def skip(self, fields: Message) -> int:
        """Take the next number for a message that does not reach the other side as it should."""
        with self._changed:
            self.stored[self.out] = (stamp(), fields)
            self.out += 1
            return self.out - 1

    def raw(self, frame: bytes) -> None:
        """Send bytes; nothing while there is no connection."""
        with self._changed:
            self._last_sent = time.monotonic()
            if self._connection is not None:
                with suppress(OSError):
                    self._connection.sendall(frame)

    def cut(self) -> None:
        """Close the connection without a word."""
        with self._changed:
            if self._connection is not None:
                with suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)

    def await_that(self, true: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
        """Wait until something is true of what was heard."""
        with self._changed:
            if not self._changed.wait_for(true, seconds):
                raise Wrong(f"waited {seconds:g} s for {what}; the last heard: {self.heard[-3:]}")

    def hears(self, after: int, wanted: Mapping[int, str], seconds: float = WAIT_S) -> Message:
        """Wait for a message beyond the first `after` with these fields."""

        def found() -> Message | None:
            return next((one for one in self.heard[after:] if wanted.items() <= one.items()), None)

        self.await_that(lambda: found() is not None, f"{dict(wanted)}", seconds)
        message = found()
        assert message is not None
        return message

    # ---- what it does by itself

    def _serve(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(_TICK_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._connection = connection
            self._read(connection)
            with self._changed:
                self._connection = None
                connection.close()
                self.ends += 1
                self._changed.notify_all()

    def _read(self, connection: socket.socket) -> None:
        buffer = b""
        while True:
            try:
                if not (piece := connection.recv(65536)):
                    return
            except TimeoutError:
                piece = b""
            except OSError:
                return
            buffer += piece
            while (frame := FRAME.search(buffer)) is not None:
                if true(frame[0]):
                    buffer = buffer[frame.end() :]
                    self._take(parsed(frame[0]))
                else:
                    # Garbled: the next message may begin within.
                    buffer = buffer[frame.start() + 1 :]
            with self._changed:
                idle = time.monotonic() - self._last_sent > self.heartbeat_s
                if idle and not self.mute and self.logons > self.ends:
                    self.say({35: "0"})

    def _take(self, message: Message) -> None:
        with self._changed:
            number = int(message[34])
            if message[35] == "A":
                self._logon(message, number)
            elif number == self.expected:
                self.expected += 1
                self._act(message)
            elif number > self.expected:
                if message[35] == "2":
                    self._resend(message)
                self.say({35: "2", 7: str(self.expected), 16: "0"})
            elif message.get(43) == "Y" and message[35] != "4":
                pass
            elif message[35] == "4":
                self._act(message)
            self.heard.append(message)
            self._changed.notify_all()

    def _logon(self, message: Message, number: int) -> None:
        if self.at_logon is not None and self.at_logon(message):
            return
        self.say({35: "A", 98: "0", 108: message[108]})
        if number > self.expected:
            self.say({35: "2", 7: str(self.expected), 16: "0"})
        else:
            self.expected = number + 1
        self.logons = self.ends + 1

    def _act(self, message: Message) -> None:
        actions = {
            "1": lambda m: self.say({35: "0", 112: m[112]}),
            "2": self._resend,
            "4": self._reset,
            "5": self._logout,
            "AN": self._positions,
            "D": self._new,
            "F": self._cancel,
            "G": self._replace,
            "H": self._status,
            "AF": self._mass_status,
        }
        action = self.instead.get(message[35]) or actions.get(message[35])
        if action is not None and not (self.swallows and message[35] in "DFG"):
            action(message)

    def _reset(self, message: Message) -> None:
        self.expected = max(self.expected, int(message[36]))

    def _logout(self, _: Message) -> None:
        self.say({35: "5"})
        self.cut()

    def _resend(self, message: Message) -> None:
        """Send again what is stored of a range: reports as possible duplicates, the rest as gaps."""
        end = self.out - 1 if message[16] == "0" else min(int(message[16]), self.out - 1)
        number = int(message[7])
        while number <= end:
            sent, fields = self.stored.get(number, ("", {35: "0"}))
            if fields[35] in _ADMIN:
                begin = number
                while number <= end and self.stored.get(number, ("", {35: "0"}))[1][35] in _ADMIN:
                    number += 1
                gap = {35: "4", 43: "Y", 122: stamp(), 123: "Y", 36: str(number)}
                self.raw(self.frame(gap, begin))
            else:
                self.raw(self.frame({35: fields[35], 43: "Y", 122: sent, **fields}, number))
                number += 1

    def gaps_only(self) -> None:
        """Forget what was said, so that a resend has nothing but gaps."""
        with self._changed:
            self.stored.clear()

    def _positions(self, message: Message) -> None:
        held = self.books.position
        long, short = (held, Decimal(0)) if held > 0 else (Decimal(0), -held)
        self.say(
            {
                35: "AP",
                721: f"P{self.out}",
                710: message[710],
                728: "0",
                715: "20240611",
                727: "1",
                453: "1",
                448: "SIM-1",
                447: "D",
                452: "24",
                1: "SIM-1",
                581: "1",
                55: "ES",
                730: "4000",
                731: "1",
                734: "4000",
                702: "1",
                703: "TQ",
                704: str(long),
                705: str(short),
            }
        )

    def _new(self, message: Message) -> None:
        self.books.news.append(message[11])
        order = Held(message[11], message[11], message[54], Decimal(message[38]), message[44])
        self.books.orders[order.name] = order
        self.say(self.books.report(order, "0"))

    def _cancel(self, message: Message) -> None:
        order = self.books.orders.get(message[41])
        if order is None or not order.leaves:
            self.say(self._cancel_reject(message, order, "1"))
            return
        order.status = "4"
        self.say({**self.books.report(order, "4"), 11: message[11], 41: message[41]})

    def _replace(self, message: Message) -> None:
        order = self.books.orders.get(message[41])
        if order is None or not order.leaves or Decimal(message[38]) <= order.cum:
            self.say(self._cancel_reject(message, order, "2"))
            return
        order.name, order.qty, order.px = message[11], Decimal(message[38]), message[44]
        self.books.orders[order.name] = order
        self.say({**self.books.report(order, "5"), 41: message[41]})

    def _cancel_reject(self, message: Message, order: Held | None, to: str) -> Message:
        fields = {35: "9", 11: message[11], 41: message[41], 434: to, 60: "20240611-12:00:00.000"}
        known = {37: f"V{order.first}", 39: order.status, 102: "0"} if order else {37: "NONE", 39: "8", 102: "1"}
        return {**fields, **known}

    def _status(self, message: Message) -> None:
        order = self.books.orders.get(message[11])
        if order is None:
            nobody = Held(message[11], "NONE", message[54], Decimal(0), "0", "8")
            self.say({**self.books.report(nobody, "I"), 103: "5", 37: "NONE"})
            return
        self.say({**self.books.report(order, "I"), 11: message[11]})

    def _mass_status(self, message: Message) -> None:
        working = list({order.first: order for order in self.books.orders.values() if order.leaves}.values())
        for number, order in enumerate(working, start=1):
            last = {912: "Y" if number == len(working) else "N"}
            self.say({**self.books.report(order, "I"), 584: message[584], 911: str(len(working)), **last})
        if not working:
            none = Held("", "NONE", "1", Decimal(0), "0", "8")
            fields = {**self.books.report(none, "I", t11=""), 37: "NONE", 103: "99"}
            self.say({**fields, 584: message[584], 911: "0", 912: "Y"})
