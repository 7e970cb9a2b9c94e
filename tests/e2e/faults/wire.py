"""One session of ours in a process of its own against a venue that misbehaves, and the judge between their books."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from init import create
from tests.builders import SESSION, TUESDAY_NS, Desk, an_order, qty
from tests.e2e.faults.peer import WAIT_S, Held, Message, Peer, Wrong
from tests.e2e.faults.peer_owner import HEARTBEAT_S
from tests.e2e.faults.wire_proxy import Line
from trisagion.adapters.db import open_database, tables
from trisagion.gateway.words import ORD_STATUSES
from trisagion.orders.state import TERMINAL, OrderState
from trisagion.orders.types import ExecType, Order, Side
from trisagion.safety.modes import Mode
from trisagion.services.control import open_gate
from trisagion.units import Price

ROOT: Final = Path(__file__).resolve().parents[3]
POLL_S: Final = 0.01
_TARGET: Final = "US"


class Wire:
    """The desk's database, the owner's process and what it is connected to."""

    def __init__(self, directory: Path, port: int, name: str = _TARGET, url: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.port, self.name = directory, port, name
        self.url = url or f"sqlite:///{directory / 'trisagion.sqlite3'}"
        create(self.url)
        self.desk = Desk(open_database(self.url)).found()
        self.origin_ns = time.time_ns()
        self.owner: subprocess.Popen[bytes] | None = None
        self.count = 0

    @property
    def store(self) -> Path:
        """Where the session keeps its numbers."""
        return self.directory / "session"

    def start(self) -> None:
        """Start the owner."""
        given = {
            "url": self.url,
            "port": self.port,
            "store": str(self.store),
            "target": self.name,
            "origin_ns": self.origin_ns,
        }
        with (self.directory / "owner.txt").open("ab") as log:
            self.owner = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.faults.peer_owner", json.dumps(given)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def stop(self) -> None:
        """Kill the owner."""
        if self.owner is not None:
            self.owner.kill()
            self.owner.wait(WAIT_S)
            self.owner = None

    def close(self) -> None:
        """End what is left."""
        self.stop()
        self.desk.database.close()

    def lives(self) -> None:
        """Fail when the owner has died."""
        if self.owner is not None and self.owner.poll() is not None:
            said = (self.directory / "owner.txt").read_text(encoding="utf-8", errors="replace")[-2000:]
            raise Wrong(f"the owner of the session died with {self.owner.returncode}: {said}")

    def until(self, true: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
        """Wait until something is true; fail when the owner dies or it takes too long."""
        deadline = time.monotonic() + seconds
        while not true():
            self.lives()
            if time.monotonic() > deadline:
                raise Wrong(f"waited {seconds:g} s for {what}; orders: {self.desk.orders()[-2:]}")
            time.sleep(POLL_S)

    def put(self, number: int = 4, side: Side | None = None, **changes: Any) -> Order:
        """Put an order into the outbox; sides take turns, so that the position stays small."""
        self.count += 1
        now_ns = TUESDAY_NS + time.time_ns() - self.origin_ns
        plain = {
            "intent": f"C{self.count}:ES",
            "side": side or (Side.BUY, Side.SELL)[self.count % 2],
            "qty": qty(number),
            "state": OrderState.ROUTED,
            "price": Price(Decimal("4000.25")),
            "session": SESSION,
            "created_ns": now_ns,
            "updated_ns": now_ns,
        }
        order = an_order(f"{self.name}-{self.count}", **{**plain, **changes})
        self.desk.put(order)
        return order

    def comes_to(self, name: str, *states: OrderState, cum: Decimal | None = None, seconds: float = WAIT_S) -> Order:
        """Wait until an order is in one of the states, with so much filled, and return it."""

        def there() -> bool:
            order = self.desk.order(name)
            return order.state in states and (cum is None or order.cum_qty == cum)

        self.until(there, f"{name} to be {', '.join(states)} with {cum} filled", seconds)
        return self.desk.order(name)

    def reopen(self) -> None:
        """Do what an operator does when he has looked: open the gate, return to NORMAL."""
        with self.desk.database.snapshot() as tx:
            shut = tx.control.gate(SESSION).shut
        if shut:
            open_gate(self.desk.database, SESSION, "tester", "looked at it", TUESDAY_NS)
        if self.desk.mode() is not Mode.NORMAL:
            self.desk.switch(Mode.NORMAL)


class Bench(Wire):
    """A wire whose other end is a `Peer`."""

    def __init__(self, directory: Path, url: str = "") -> None:
        self.peer = Peer(_TARGET, HEARTBEAT_S)
        self.line = Line(self.peer.port)
        super().__init__(directory, self.line.port, url=url)

    def close(self) -> None:
        """End what is left."""
        super().close()
        self.line.close()
        self.peer.close()

    def await_logon(self, after: int) -> None:
        """Wait for a logon beyond so many, and until the session may send."""
        self.until(lambda: self.peer.logons > after, "a logon")

    def work(self, number: int = 4, side: Side | None = None) -> Held:
        """Bring an order to work at the venue."""
        order = self.put(number, side)
        self.comes_to(order.cl_ord_id, OrderState.NEW)
        return self.peer.books.orders[order.cl_ord_id]

    def alive(self) -> None:
        """Ask for a sign of life and get it."""
        mark, word = len(self.peer.heard), f"T{time.monotonic_ns()}"
        self.peer.say({35: "1", 112: word})
        self.hears(mark, {35: "0", 112: word})

    def hears(self, after: int, wanted: Mapping[int, str], seconds: float = WAIT_S) -> Message:
        """Wait until the venue hears a message."""
        try:
            return self.peer.hears(after, wanted, seconds)
        except Wrong:
            self.lives()
            raise

    def fill(self, order: Held, number: int, **changes: str) -> Message:
        """Fill a part, honestly unless changed."""
        fields = self.peer.books.trade(order, Decimal(number), **changes)
        self.peer.say(fields)
        return fields

    def complete(self, order: Held) -> None:
        """Fill what is left, honestly, and wait until both sides agree about everything."""
        if order.leaves:
            self.fill(order, int(order.leaves))
        state = ORD_STATUSES[order.status]
        self.comes_to(order.first, state, cum=order.cum)
        self.agree()

    def agree(self, *, but: frozenset[str] = frozenset()) -> None:
        """Hold our books against the venue's, to the last fill; orders of `but` are judged by the caller."""
        found = disagreements(self.desk, self.peer.books, but)
        if found:
            raise Wrong("; ".join(found))


def disagreements(desk: Desk, books: Any, but: frozenset[str] = frozenset()) -> list[str]:
    """Return where our books and the venue's differ: I1, I3 and I8 of the plan."""
    found = [f"{name} is twice at the venue" for name, times in Counter(books.news).items() if times > 1]
    for order in desk.orders():
        theirs = books.orders.get(order.cl_ord_id)
        if order.cl_ord_id in but:
            continue
        if theirs is None:
            if order.state not in TERMINAL or order.cum_qty:
                found.append(f"{order.cl_ord_id} is {order.state} with us and not at the venue")
        elif (order.state, order.cum_qty) != (ORD_STATUSES[theirs.status], theirs.cum):
            found.append(f"{order.cl_ord_id}: ours {order.state} {order.cum_qty}, theirs {theirs.status} {theirs.cum}")
    columns = tables.execution.c
    rows = desk.rows(columns.exec_id, columns.cl_ord_id, columns.exec_type, columns.side, columns.last_qty)
    booked_entries = {entry for (entry,) in desk.rows(tables.posting.c.entry)}
    ours = {
        name: last if side == Side.BUY else -last
        for name, _, kind, side, last in rows
        if kind in {ExecType.TRADE, ExecType.TRADE_CORRECT}
        and f"SIM/{name}" in booked_entries
        and f"SIM/{name}/undo" not in booked_entries
    }
    theirs_booked = {name: amount for name, (_, amount) in books.trades.items()}
    if ours != theirs_booked:
        odd = {name: (ours.get(name), theirs_booked.get(name)) for name in ours.keys() | theirs_booked.keys()}
        found.append(f"fills (ours, theirs): { {name: pair for name, pair in odd.items() if pair[0] != pair[1]} }")
    if desk.position.qty != books.position:
        found.append(f"position: ours {desk.position.qty}, theirs {books.position}")
    sums: Counter[str] = Counter()
    for entry, amount in desk.rows(tables.posting.c.entry, tables.posting.c.amount):
        sums[entry] += amount
    found += [f"the postings of {entry} sum to {total}" for entry, total in sums.items() if total]
    return found


@contextmanager
def benched(directory: Path, url: str = "") -> Iterator[Bench]:
    """Start a venue of plain sockets and our session with it, and wait for the logon."""
    bench = Bench(directory, url)
    try:
        bench.start()
        bench.await_logon(0)
        yield bench
    finally:
        bench.close()
