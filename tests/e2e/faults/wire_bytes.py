"""Rows 9 and 20: the line itself fails, in the middle of a message or of a byte.

Row 9 is played against the bundled venue, row 20 against one of plain sockets: QuickFIX's own acceptor does not outlive
garbage where it expects a Logon (measured). The venue's ledger is the judge. What the line makes of a message never has
a true checksum: what TCP and FIX cannot tell from the truth, nobody can.
"""

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.builders import LIMITS, TUESDAY_NS, qty
from tests.e2e.faults.peer import Wrong
from tests.e2e.faults.wire import Bench, Wire
from tests.e2e.faults.wire_proxy import Line
from tests.integration.fix_market import Market
from trisagion.clock import SECOND_NS
from trisagion.orders.state import LIVE, TERMINAL, OrderState
from trisagion.orders.types import Order, Side
from trisagion.services.amend_orders import amend
from trisagion.units import Price

_BID: Final = Price(Decimal("3999.75"))
_LOWER: Final = Price(Decimal("3999.50"))

MANGLED_MAX: Final = 400
"""Made up messages that go before a true one."""
_NOISY: Final = 0.5
"""The share of true messages that any go before."""
_LOST: Final = 0.02
"""The share of true messages that are garbled themselves."""
_QUIET_LOGONS: Final = 0.9
"""The share of Logons that nothing goes before: both ends close on whatever else comes first."""
_STALLING: Final = 1 / 10_000
"""The share of made up messages that announce thousands of bytes: whoever believes it is deaf until heartbeats fail. As
many have a field of a megabyte."""
_SHORT: Final = 0.15
_ZERO: Final = 0.3
"""Below this share of the rest they have a tag 0, below that one they are cut short."""
NOISE_S_MAX: Final = 90.0
"""The longest that an order takes to settle under noise: a few heartbeats that time out, a few logons that fail."""
_SETTLED: Final = (OrderState.NEW, OrderState.REJECTED)
_BEGIN: Final = re.compile(rb"8=")
_END: Final = re.compile(rb"\x0110=(\d{3})\x01")


class Track(Wire):
    """Our session, a line, and the bundled venue."""

    def __init__(self, directory: Path, url: str = "") -> None:
        self.market = Market(directory)
        rows = [f"{TUESDAY_NS},4000,1", f"{TUESDAY_NS + 86_400 * SECOND_NS},4000,1"]
        (directory / "tape.csv").write_text("\n".join(["ts_event,price,size", *rows, ""]))
        self.market.start()
        self.market.control.play(TUESDAY_NS + SECOND_NS)
        self.line = Line(self.market.port)
        super().__init__(directory, self.line.port, name=self.market.sender, url=url)

    def close(self) -> None:
        """End what is left."""
        super().close()
        self.line.close()
        self.market.close()

    def bid(self) -> Order:
        """Put an order into the outbox that rests at the venue."""
        return self.put(side=Side.BUY, price=_BID)

    def settled(self, name: str) -> Order:
        """Wait until nothing is asked about an order."""
        rest = TERMINAL | {OrderState.NEW, OrderState.PARTIALLY_FILLED}

        def at_rest() -> bool:
            order = self.desk.order(name)
            waits = order.state not in TERMINAL and (order.cancel_reason is not None or order.wanted_qty is not None)
            return order.state in rest and not waits

        self.until(at_rest, f"{name} to be settled", 60)
        return self.desk.order(name)

    def fill(self, order: Order) -> None:
        """Have the venue fill what is left of an order."""
        self.market.control.fault("fill", cl_ord_id=order.venue_id, qty=str(int(order.leaves_qty)), liquidity="maker")

    def agree(self) -> None:
        """Fill what works, and hold our books against the venue's: I1, I3, I8."""
        for order in self.desk.orders():
            if order.state in LIVE:
                self.fill(self.settled(order.cl_ord_id))
        self.until(lambda: not [o for o in self.desk.orders() if o.state in LIVE], "all orders to be filled", 60)
        status = self.market.control.status()
        theirs = {row["cl_ord_id"]: row for row in status["orders"]}
        found = _odd(self.desk.orders(), theirs)
        held, booked = Decimal(status["positions"]["ES"]), self.desk.position.qty
        if held != booked:
            found.append(f"position: ours {booked}, theirs {held}")
        total = sum(Decimal(row["qty"]) for row in status["fills"])
        ours = sum(order.cum_qty for order in self.desk.orders())
        if total != ours:
            found.append(f"filled: ours {ours}, theirs {total}")
        if found:
            raise Wrong("; ".join(found))


def _odd(ours: list[Order], theirs: dict[str, Any]) -> list[str]:
    found = [f"the venue has {name}, which we do not" for name in theirs.keys() - {o.venue_id for o in ours}]
    for order in ours:
        row = theirs.get(order.venue_id)
        if row is None:
            if order.cum_qty or order.state is not OrderState.REJECTED:
                found.append(f"{order.cl_ord_id} is {order.state} with us and not at the venue")
        elif (row["state"], Decimal(row["cum_qty"])) != (order.state, order.cum_qty):
            found.append(f"{order.cl_ord_id}: ours {order.state} {order.cum_qty}, theirs {row}")
    return found


@contextmanager
def tracked(directory: Path, url: str = "") -> Iterator[Track]:
    """Start venue, line and session, and wait until an order works."""
    track = Track(directory, url)
    try:
        track.start()
        track.settled(track.bid().cl_ord_id)
        yield track
    finally:
        track.close()


# ---- row 9


def cut_at(track: Track, kind: str, number: int) -> int:
    """Cut the line after so many bytes of the next message of a kind; return the length of that message."""
    order = track.bid()
    if kind != "D":
        track.settled(order.cl_ord_id)
    cut: list[int] = []
    wanted = b"\x0135=%s\x01" % kind.encode()

    def cutting(frame: bytes, outbound: bool) -> bytes:
        """Let a part through; whatever follows it, in either direction, is lost."""
        if cut:
            return b""
        if not outbound or wanted not in frame:
            return frame
        cut.append(len(frame))
        return frame[:number]

    track.line.mangle = cutting
    if kind == "F":
        withdraw(track, order)
    elif kind == "G":
        amend(track.desk.database, LIMITS, order.cl_ord_id, qty=qty(5), price=_LOWER, now_ns=order.updated_ns)
    track.until(lambda: bool(cut), f"35={kind}")
    track.line.end()
    track.line.mangle = lambda frame, _: frame
    track.settled(order.cl_ord_id)
    return cut[0]


def withdraw(track: Track, order: Order) -> None:
    """Ask for an order's cancel, as a cycle does."""
    with track.desk.database.transaction() as tx:
        present = tx.orders.order(order.cl_ord_id)
        assert present is not None
        tx.orders.save(replace(present, cancel_reason="superseded", version=present.version + 1))


# ---- row 20


class Noise:
    """Messages that the line makes up from true ones: flips, truncation, false lengths, tag 0, fields of a megabyte."""

    def __init__(self, seed: int) -> None:
        self.made = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, frame: bytes, _: bool) -> bytes:
        """Put made up messages before a true one, and now and then lose that, too."""
        with self._lock:
            draw = self._random
            if b"\x0135=A\x01" in frame and draw.random() < _QUIET_LOGONS:
                return frame
            many = draw.randint(1, MANGLED_MAX) if draw.random() < _NOISY else 0
            made = [self._made_up(frame) for _ in range(many)]
            kept = self._made_up(frame) if draw.random() < _LOST else frame
            self.made += many + (kept is not frame)
            return b"".join([*made, kept])

    def _made_up(self, frame: bytes) -> bytes:
        draw = self._random
        body = frame.index(b"\x0135=")
        while True:
            bad = bytearray(frame)
            kind = draw.random()
            if kind < _STALLING:
                bad[body:body] = b"99"
            elif kind < 2 * _STALLING:
                bad[body + 5 : body + 5] = b"\x0158=" + b"x" * 2**20
            elif kind < _SHORT:
                del bad[draw.randrange(1, len(bad)) :]
            elif kind < _ZERO:
                bad[body:body] = b"\x010=0"
            else:
                for _ in range(draw.randint(1, 4)):
                    at = draw.choice((*range(8), *range(body, len(bad))))
                    bad[at] ^= 1 << draw.randrange(8)
            if not whole(bytes(bad)):
                return bytes(bad)


def whole(data: bytes) -> bool:
    """Tell whether there is a message with a true checksum in some bytes, wherever an engine may take it to begin."""
    ends = list(_END.finditer(data))
    begins = [found.start() for found in _BEGIN.finditer(data)]
    sums = {at: sum(data[:at]) for at in (*begins, *(end.start() + 1 for end in ends))}
    return any(
        (sums[end.start() + 1] - sums[begin]) % 256 == int(end[1])
        for begin in begins
        for end in ends
        if begin < end.start()
    )


def noisy(bench: Bench, seed: int, messages: int) -> int:
    """Trade while the line makes up so many messages; return how many it was. Both books are equal at the end."""
    noise = Noise(seed)
    bench.line.mangle = noise
    try:
        while noise.made < messages:
            order = bench.put()
            bench.comes_to(order.cl_ord_id, *_SETTLED, seconds=NOISE_S_MAX)
            held = bench.peer.books.orders.get(order.cl_ord_id)
            if held is not None:
                bench.fill(held, int(held.leaves))
                bench.comes_to(order.cl_ord_id, OrderState.FILLED, seconds=NOISE_S_MAX)
    finally:
        bench.line.mangle = lambda frame, _: frame
    bench.agree()
    return noise.made
