"""A private slice of the platform for a drill: real servers and processes in a folder of their own, and orders on it.

A MariaDB, a Redis, the bundled venue behind a line that can fail, the session's owner, and one worker for all else,
called the gateway. The drill stands in for what is before the gateway: it approves intents into the outbox as a cycle
does. From there they go as in a run: the owner's logon rings the sweep, the gateway prices and routes, the owner sends.

Time stands still at an instant of a trading day: the row of a replay is every process' clock. So a drill may be held at
any hour, and nothing in it grows old. Of the configuration it takes what a stop depends on: how many messages a second
the session may send, what of them is kept for cancels, and its heart-beat.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.db import tables
from trisagion.adapters.killfile import KillFile
from trisagion.adapters.processes import Child, Children
from trisagion.adapters.relay import LOOPBACK, Relay
from trisagion.adapters.servers import mariadb, redis
from trisagion.adapters.venues.control import VenueControl
from trisagion.cli.run import create_tables, free_port
from trisagion.cli.rundir import short_directory
from trisagion.cli.worker import worker_argv
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.errors import OurMistake, StepTimeout
from trisagion.ids import cycle_id, intent_key
from trisagion.ledger.postings import opening
from trisagion.market.types import Bar, MarketStep
from trisagion.orders.state import LIVE
from trisagion.orders.types import Intent, Side
from trisagion.ports import Replay
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.limits import founding_rows
from trisagion.risk.load import Load
from trisagion.safety.modes import Control, Mode
from trisagion.services.fingerprint import register
from trisagion.services.reconcile import new_attempt
from trisagion.services.stakes import Stakes
from trisagion.settings import Settings, load, to_environment
from trisagion.units import Money, Price, Quantity

if TYPE_CHECKING:
    from trisagion.wiring import House

NOON_NS: Final = 1_718_107_200 * SECOND_NS
"""Tuesday, 11 June 2024, 12:00 UTC."""

SYMBOL: Final = "DRILL"
LAST: Final = Price(Decimal(100))
CAPITAL: Final = Money(Decimal(100_000_000))
DRILL: Final = "drill"

READY_S_MAX: Final = 120.0
"""Until all that a slice needs has been started and the orders work."""
POLL_S: Final = 0.01

_LIVE: Final = sa.select(sa.func.count()).where(tables.orders.c.state.in_(sorted(LIVE)))

FORWARDER: Final = (sys.executable, "-m", "trisagion.adapters.egress.forwarder")
PROXIES: Final = ("first", "second")


@dataclass(slots=True)
class Rehearsal:
    """A slice that runs; `line` is the one before the venue, `proxies` are the paths to it where there are any."""

    directory: Path
    settings: Settings
    house: "House"
    venue: VenueControl
    children: Children
    line: Relay
    proxies: Mapping[str, Relay]
    dead: set[str] = field(default_factory=set)
    """Who was killed, and is not started again."""
    notes: list[str] = field(default_factory=list)
    """Who ended by itself, and was."""

    @property
    def session_store(self) -> Path:
        """Where the session's owner keeps what was said."""
        return self.directory / "session"

    @property
    def kill_file(self) -> KillFile:
        """The file that stops the slice."""
        return KillFile(Path(self.settings.safety.kill_file))

    def working(self) -> int:
        """Return how many orders work by the venue's own books."""
        return self.venue.play(NOON_NS).working

    def signal(self, name: str, number: int) -> None:
        """Signal a process, and see it end where it is killed."""
        child = next(child for child in self.children.kept if child.name == name)
        if child.popen is None or child.pid is None:
            raise OurMistake(f"expected {name} to live, found that it has ended; see {child.log}")
        os.kill(child.pid, number)
        if number == signal.SIGKILL:
            self.dead.add(name)
            child.popen.wait()

    def tend(self) -> None:
        """Start again whoever has ended and was not killed, as `trisagion run` does."""
        kept = self.children.kept
        try:
            self.children.kept = [child for child in kept if child.name not in self.dead]
            self.notes += self.children.watch()
        finally:
            self.children.kept = kept


@contextmanager
def rehearsal(asked: Settings, orders: int, *, proxied: bool) -> Iterator[Rehearsal]:
    """Start a slice with so many approved orders on their way; everything of it ends with it.

    `asked` is the configuration whose session is rehearsed. A `proxied` session goes to its venue by one proxy of two.

    Raises
    ------
    ConfigError
        A server that it needs is not installed.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        children = Children()
        stack.callback(_end, children)
        url = stack.enter_context(mariadb(directory / "mariadb", directory, children))
        broker = stack.enter_context(redis(directory / "redis", directory, children))
        create_tables(url)
        secret = directory / "database.url"
        secret.touch(mode=0o600)
        secret.write_text(url, encoding="utf-8")
        venue_port = free_port()
        line = Relay(venue_port)
        stack.callback(line.close)
        ways = {name: Relay(line.port, tunnel=True) for name in PROXIES} if proxied else {}
        for way in ways.values():
            stack.callback(way.close)
        settings = load(
            None,
            {},
            {
                "database.url": f"file:{secret}",
                "broker.url": broker,
                "fix.port": line.port,
                "fix.messages_per_s": asked.fix.messages_per_s,
                "fix.cancel_reserve": str(asked.fix.cancel_reserve),
                "fix.heartbeat_s": asked.fix.heartbeat_s,
                "risk.orders_max": orders,
                # They are alike, and none is to trade.
                "risk.alike_orders_max": orders,
                "risk.order_trade_ratio_max": 10 * orders,
                "safety.kill_file": str(directory / "KILL"),
                **_by_proxies(ways),
            },
        )
        spec = _tape(directory / "tape.csv")
        env = _environment(settings, directory)
        log, control = directory / "log", directory / "venue.sock"
        venue = [
            *(sys.executable, "-m", "trisagion.adapters.venues.fix.venue", "--data-spec", spec.to_json()),
            *("--port", str(venue_port), "--control", str(control), "--store", str(directory / "venue")),
            *("--sender", settings.fix.target, "--target", settings.fix.sender),
        ]
        children.start(Child("venue", venue, env, log / "venue.log"))
        if proxied:
            children.start(Child("egress", FORWARDER, env, log / "egress.log"))
        for name, role in (("session", "session"), ("gateway", "all")):
            children.start(Child(name, worker_argv(role, name, settings), env, log / f"{name}.log"))
        yield _founded(directory, settings, spec, orders, VenueControl(control), children, line, ways)


def _founded(
    directory: Path,
    settings: Settings,
    spec: DataSpec,
    orders: int,
    venue: VenueControl,
    children: Children,
    line: Relay,
    ways: Mapping[str, Relay],
) -> Rehearsal:
    from trisagion.adapters.files import load as load_tape  # a second of imports, while the processes do theirs
    from trisagion.wiring import House

    house = House(settings)
    instrument = load_tape(spec).instrument
    with house.database.transaction() as tx:
        tx.market.add_instrument(instrument)
        tx.ledger.post(opening(CAPITAL, NOON_NS - HOUR_NS, settings.account.currency))
        for row in founding_rows(house.limits, DRILL, NOON_NS):
            tx.limits.add(row)
        tx.control.set_mode(Control(Mode.NORMAL, DRILL, "begun", NOON_NS))
        tx.control.put_replay(
            Replay(DRILL, "", 0, "", NOON_NS - HOUR_NS, NOON_NS + HOUR_NS, NOON_NS, 0.0, 0, finished=False)
        )
        px = float(LAST)
        bar = Bar(SYMBOL, NOON_NS - MINUTE_NS, MINUTE_NS, px, px, px, px, 1.0, 1)
        tx.market.add_step(MarketStep(SYMBOL, NOON_NS, bar, (), LAST, NOON_NS - 1))
    register(house.database, house.fingerprint, DRILL, NOON_NS)
    slice_ = Rehearsal(directory, settings, house, venue, children, line, ways)
    slice_.venue.play(NOON_NS)
    _approve(house, orders)
    return slice_


def _approve(house: "House", count: int) -> None:
    """Approve so many orders of a lot, bids and offers in turn, into the outbox."""
    with house.database.transaction() as tx:
        instrument, quote = tx.market.instrument(SYMBOL), tx.market.quote(SYMBOL, NOON_NS)
        account, flat = Stakes.read(tx, (), NOON_NS).beside(Load()), tx.ledger.position(SYMBOL).qty
        for number in range(count):
            cycle = cycle_id(NOON_NS + number)
            side = Side.SELL if number % 2 else Side.BUY
            intent = Intent(intent_key(cycle, SYMBOL), cycle, SYMBOL, side, Quantity(Decimal(1)))
            facts = Facts(intent, instrument, quote, flat, Mode.NORMAL, house.limits, NOON_NS)
            verdict = judge(facts, Load(), account)
            if not isinstance(verdict, Approved):
                raise OurMistake(f"expected the drill's orders to be approved, found {verdict.text}")
            tx.orders.add(new_attempt(house.limits.account, verdict, 0, NOON_NS))


def until(true: Callable[[], bool], what: str, seconds: float = READY_S_MAX, poll_s: float = POLL_S) -> None:
    """Wait for something; `StepTimeout` when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise StepTimeout(f"expected that {what} within {seconds:g} s, and it is not so")
        time.sleep(poll_s)


def live(house: "House") -> int:
    """Return how many orders may work, by our own ledger: a count, for whoever looks often must not be felt."""
    with house.database.snapshot() as unit:
        return int(unit.session.scalar(_LIVE))


def _by_proxies(ways: Mapping[str, Relay]) -> Mapping[str, object]:
    if not ways:
        return {}
    return {
        "egress.use": list(ways),
        "egress.port": free_port(),
        "egress.paths": {name: {"kind": "http", "host": LOOPBACK, "port": way.port} for name, way in ways.items()},
    }


def _tape(path: Path) -> DataSpec:
    """Write the market of a drill: a price, and nothing that would fill an order."""
    seconds = (NOON_NS - MINUTE_NS) // SECOND_NS, (NOON_NS + HOUR_NS) // SECOND_NS
    lines = [f"{at * SECOND_NS},{LAST},1\n" for at in seconds]
    path.write_text("".join(["ts_event,price,size\n", *lines]), encoding="ascii")
    return DataSpec(str(path), symbol=SYMBOL, tick_size=Decimal("0.25"), multiplier=Decimal(1))


def _environment(settings: Settings, directory: Path) -> dict[str, str]:
    """Return what the processes are told: nothing of the configuration but what the drill has taken of it."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TRISAGION")}
    return {
        **mine,
        **to_environment(settings),
        "TRISAGION_SESSION_STORE": str(directory / "session"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }


def _end(children: Children) -> None:
    """End all processes, those too that stand still."""
    for child in children.kept:
        if child.pid is not None:
            os.kill(child.pid, signal.SIGCONT)
    children.stop()


def said_new(store: Path, since_ns: int) -> list[int]:
    """Return the machine's instants at which the session wrote a new order on the wire since one, in order."""
    found = []
    for path in sorted((store / "messages").glob("*.log")):
        # Line by line as they are kept (adapters/venues/messages.py), for their owner may be writing the next one.
        for line in path.read_bytes().splitlines():
            number, at_ns, direction, text = (*line.split(b"\t", 3), b"", b"", b"", b"")[:4]
            if number and direction == b"out" and b"\x0135=D\x01" in text and int(at_ns) >= since_ns:
                found.append(int(at_ns))
    return found
