"""A lane: one slice of the platform in a directory of its own, on real servers, whose processes a fault may hit.

A MariaDB, a Redis, the bundled venue behind a proxy of ours, the session's owner and one worker for all else, called
the gateway, each a process that is started again when it ends, as `trisagion run` does it. The lane stands in for what
is before the gateway: it puts approved intents into the outbox as a reconciliation cycle does, wants cancels and
replaces, and sends what beat would send.

Time. The platform's clock is the lane's replay row. A round begins at an instant of its own on a trading day; from
there the clock goes as fast as the machine's, whatever happens, until it is moved on to where the tape has its prints.
`until` is the lane's heart: whatever is waited for, the clock is kept, the sweep is rung, the dead are replaced.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from celery import Celery
from sqlalchemy.engine import make_url

from init import create
from tests.builders import AMPLE
from tests.e2e.faults import venues
from tests.e2e.faults.proxy import Proxy
from tests.integration.proxies import LOOPBACK, FaultyProxy
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.db import Conflict, SqlDatabase, open_database, tables
from trisagion.adapters.processes import Child, Children
from trisagion.adapters.servers import mariadb, redis
from trisagion.adapters.venues.control import VenueControl
from trisagion.cli.run import free_port
from trisagion.cli.worker import worker_argv
from trisagion.clock import MILLISECOND_NS, MINUTE_NS, SECOND_NS
from trisagion.cohort.supervise import CohortRules
from trisagion.errors import StateError, StepTimeout
from trisagion.ids import ClOrdId, cycle_id, intent_key
from trisagion.ledger.postings import opening
from trisagion.market.calendar import rest_reason
from trisagion.market.types import Bar, Instrument, MarketStep
from trisagion.orders.state import IN_DOUBT, LIVE, TERMINAL, WORKING, OrderState
from trisagion.orders.types import Intent, Order, Side
from trisagion.ports import Replay
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.load import Load
from trisagion.safety.modes import Control, Mode
from trisagion.services.advance_cohort import found_cohort
from trisagion.services.fingerprint import register
from trisagion.services.reconcile import new_attempt
from trisagion.services.stakes import Stakes
from trisagion.settings import FIX_SIM, IB_SIM, Settings, load, to_environment
from trisagion.units import Money, Price, Quantity
from trisagion.wiring import House
from workers.flow import FINGERPRINT, ring
from workers.queues import route

ROOT: Final = Path(__file__).resolve().parents[3]

MONDAY_NS: Final = 1_718_000_000 * SECOND_NS - 1_718_000_000 * SECOND_NS % (5 * MINUTE_NS)
"""Monday, 10 June 2024, about 06:13 UTC: from here on the rounds begin, rests left out."""
ROUND_NS: Final = 5 * MINUTE_NS
ROUNDS: Final = 2_000

PRINTS: Final = [
    *((0, "100.00", 1), (240, "99.50", 1), (241, "99.50", 1), (242, "99.50", 90)),
    *((250, "100.50", 1), (251, "100.50", 1), (252, "100.50", 90), (260, "100.00", 1)),
]
"""Seconds in a round, price, lots: what rests a tick beside 100 is passed, a lot at first, then all; first the buys.

All of it is later in a round than anything that is waited for.
"""
PARTLY_NS: Final = 240 * SECOND_NS + SECOND_NS // 2
PARTLY_SOLD_NS: Final = 250 * SECOND_NS + SECOND_NS // 2
FILLS_END_NS: Final = 262 * SECOND_NS
LAST: Final = Decimal(100)

CAPITAL: Final = Money(Decimal(100_000_000))
SYMBOL: Final = "ES"
ASIDE: Final = "CL"
"""Traded beside it where the venue speaks FIX, and never filled: its price stands still. Cycles come to it first."""
SWEEP_S: Final = 15.0
"""The period of `sweep.run` in workers/schedule.py; its import would configure a worker in this process."""
CLOCK_S: Final = 0.1
POLL_S: Final = 0.02
SETTLED_S_MAX: Final = 60.0
ANSWER_S_MAX: Final = 2.0
"""How long the venue is waited for at one look; meanwhile nobody tends the lane."""

FORWARDER: Final = (sys.executable, "-m", "trisagion.adapters.egress.forwarder")

CONFLICTS_MAX: Final = 10

T = TypeVar("T")

UNSETTLED: Final = IN_DOUBT | {OrderState.RISK_CHECKED, OrderState.ROUTED}


class Late(Exception):
    """What was waited for did not come within its bound."""


@dataclass(slots=True)
class Lane:
    """A slice of the platform and the load on it."""

    directory: Path
    settings: Settings
    database: SqlDatabase
    venue: VenueControl
    proxy: Proxy
    children: Children
    broker: Celery
    instrument: Instrument
    symbols: tuple[str, ...]
    instants: Iterator[int]
    broker_socket: Path
    database_proxy: Proxy | None = None
    now_ns: int = 0
    notes: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    """Who is not started again for now."""
    raised: set[str] = field(default_factory=set)
    """Patterns of what the faults so far may have left in the logs."""
    paths: Mapping[str, FaultyProxy] = field(default_factory=dict)
    """The session's own proxies, where it has a forwarder."""
    quotes: bool = False
    """Whether the price is told again with each look at the clock: a TWS is sent no order on an old one."""
    _from_s: float = 0.0
    _from_ns: int = 0
    _written_s: float = 0.0
    _swept_s: float = 0.0
    _cycle: int = 0

    # Time

    def begin_round(self) -> None:
        """Go to the next round's first second: a price is there, nothing has happened yet."""
        begin_ns = next(at_ns for at_ns in self.instants if at_ns + SECOND_NS >= self.now_ns)
        at_ns = begin_ns + SECOND_NS
        self.go_to(at_ns)
        self.publish(begin_ns)
        self.until(lambda: self.venue.play(at_ns).played_ns >= at_ns, "the venue plays")

    def go_to(self, at_ns: int) -> None:
        """Move the platform's clock to an instant; from there it goes on by itself."""
        assert at_ns >= self.now_ns, (at_ns, self.now_ns)
        self._from_s, self._from_ns, self._written_s = time.monotonic(), at_ns, 0.0
        self._keep_clock()

    def play(self, since_round_ns: int) -> None:
        """Let the tape come to an instant of this round."""
        at_ns = self.now_ns - (self.now_ns - MONDAY_NS) % ROUND_NS + since_round_ns
        if at_ns > self.now_ns:
            self.go_to(at_ns)
        self.until(lambda: self.venue.play(at_ns).played_ns >= at_ns, "the venue plays")

    def publish(self, at_ns: int, price: Price = Price(LAST)) -> None:
        """Tell the platform a price, as ingesting a minute does; that of the symbol aside stands still."""
        with self.database.transaction() as tx:
            for symbol in self.symbols:
                tx.market.add_step(a_step(at_ns, price if symbol == SYMBOL else Price(LAST), symbol))

    def _keep_clock(self) -> None:
        present_s = time.monotonic()
        self.now_ns = self._from_ns + int((present_s - self._from_s) * SECOND_NS)
        if present_s - self._written_s < CLOCK_S:
            return
        self._written_s = present_s
        try:
            with self.database.transaction() as tx:
                tx.control.put_replay(a_replay(self.now_ns))
                if self.quotes:
                    tx.market.add_step(a_step(self.now_ns, Price(LAST)))
        except StateError:
            self.notes.append("the clock was not written: the database is away")

    # Processes

    def until(self, true: Callable[[], bool], what: str, seconds: float = SETTLED_S_MAX) -> None:
        """Wait for something while the lane goes on; `Late` when it does not come.

        A look that the database does not allow is looked at again.
        """
        deadline = time.monotonic() + seconds
        while True:
            self.tend()
            try:
                if true():
                    return
            except (StateError, StepTimeout):
                self.notes.append(f"{what}: not seen, database or venue are away")
            if time.monotonic() > deadline:
                raise Late(f"expected that {what} within {seconds:.0f} s")
            time.sleep(POLL_S)

    def tend(self) -> None:
        """Do what is due: write the clock, ring the sweep, start the dead again."""
        self._keep_clock()
        if time.monotonic() - self._swept_s > SWEEP_S:
            self._swept_s = time.monotonic()
            self.ring("sweep.run")
        kept = self.children.kept
        try:
            self.children.kept = [child for child in kept if child.name not in self.held]
            self.notes += self.children.watch()
        finally:
            self.children.kept = kept
        for child in kept:
            child.restarts = 0  # here they die on purpose, and more often than bad luck would have it

    def child(self, name: str) -> Child:
        """Return a process by its name."""
        return next(child for child in self.children.kept if child.name == name)

    def signal(self, name: str, number: int) -> None:
        """Signal a process that lives."""
        pid = self.child(name).pid
        assert pid is not None, f"{name} does not live"
        os.kill(pid, number)

    def kill(self, name: str) -> None:
        """End a process as a machine would, and see it end."""
        self.signal(name, signal.SIGKILL)
        popen = self.child(name).popen
        assert popen is not None
        popen.wait(SETTLED_S_MAX)

    def forgetful_broker(self) -> None:
        """Have the broker write nothing down any more: what comes from now on is gone when it is killed."""
        with self.broker.connection() as connection:
            connection.default_channel.client.config_set("appendonly", "no")

    def owner(self) -> str:
        """Return the name of the process that holds the session's lease."""
        mine = tables.lease.c.name == f"session:{self.settings.session}"
        with self.database.snapshot() as unit:
            pid = int(str(unit.session.scalar(sa.select(tables.lease.c.owner).where(mine))).rpartition(":")[2])
        return next(child.name for child in self.children.kept if child.pid == pid)

    def arm(self, name: str, point: str) -> None:
        """Have a process stop itself when it comes to a fault point."""
        fresh = self._armed(name).with_suffix(".fresh")
        fresh.write_text(point, encoding="ascii")
        fresh.replace(self._armed(name))

    def disarm(self, name: str) -> None:
        """Forget a point, whether it was come to or not."""
        self._armed(name).unlink(missing_ok=True)
        self._stopped(name).unlink(missing_ok=True)

    def stopped(self, name: str) -> Mapping[str, Any] | None:
        """Return what a process said that stands at its point, None while it does not."""
        path = self._stopped(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _armed(self, name: str) -> Path:
        return self.directory / f"{name}.armed"

    def _stopped(self, name: str) -> Path:
        return self.directory / f"{name}.stopped"

    def sweep_now(self) -> None:
        """Have a slot of the sweep begin at this moment."""
        self._swept_s = 0.0

    # Load

    def ring(self, task: str, subject: str = "") -> None:
        """Send a task as the platform does."""
        ring(self.broker, task, self.now_ns, subject)

    def ring_at(self, task: str, at_ns: int) -> None:
        """Send a task that belongs to an instant."""
        ring(self.broker, task, at_ns)

    def intend(self, draw: random.Random, *, quiet: bool = False) -> ClOrdId:
        """Put an approved intent into the outbox and ring for it, unless `quiet`."""
        now_ns = self.now_ns
        self._cycle += 1
        name = cycle_id(now_ns - now_ns % ROUND_NS + self._cycle)
        side, qty = draw.choice((Side.BUY, Side.SELL)), Quantity(Decimal(draw.randint(2, 6)))
        intent = Intent(intent_key(name, SYMBOL), name, SYMBOL, side, qty)
        order_id = _unhindered(partial(self._approve, intent, now_ns))
        if not quiet:
            self.ring("gateway.route", order_id)
        return order_id

    def _approve(self, intent: Intent, now_ns: int) -> ClOrdId:
        limits = House(self.settings).limits
        with self.database.transaction() as tx:
            quote, position = tx.market.quote(SYMBOL, now_ns), tx.ledger.position(SYMBOL).qty
            facts = Facts(intent, self.instrument, quote, position, tx.control.control().mode, limits, now_ns)
            load = Load.of(tx.orders.in_states(LIVE), intent)
            verdict = judge(facts, load, Stakes.read(tx, (), now_ns).beside(Load()))
            assert isinstance(verdict, Approved), verdict
            order = new_attempt(limits.account, verdict, 0, now_ns)
            assert tx.orders.add(order), order
        return order.cl_ord_id

    def withdraw(self, *names: ClOrdId) -> None:
        """Want orders cancelled, as a later cycle does, and ring for it."""
        for name in names:
            _unhindered(partial(self._withdraw, name))
        self.ring("session.drain", self.settings.session)

    def _withdraw(self, name: ClOrdId) -> None:
        with self.database.transaction() as tx:
            order = tx.orders.order(name)
            if order is not None and order.state in LIVE and order.cancel_reason is None:
                at_ns = max(self.now_ns, order.updated_ns)
                tx.orders.save(replace(order, cancel_reason="superseded", updated_ns=at_ns, version=order.version + 1))

    def amend(self, name: ClOrdId, qty: Decimal, price: Decimal) -> None:
        """Want an order replaced, and ring for it."""
        self.ring("gateway.amend", f"{name} {qty} {price}")

    def order(self, name: ClOrdId) -> Order:
        """Return an order as the database has it."""
        with self.database.snapshot() as tx:
            order = tx.orders.order(name)
        assert order is not None, name
        return order

    def in_states(self, states: frozenset[OrderState]) -> Sequence[Order]:
        """Return the orders in some states."""
        with self.database.snapshot() as tx:
            return tx.orders.in_states(states)

    def confirmed(self, *names: ClOrdId) -> bool:
        """Tell whether orders are where the venue says they are, with nothing asked or wished of them."""
        orders = [self.order(name) for name in names]
        if any(order.state in UNSETTLED or _wished(order) for order in orders):
            return False
        theirs = {row["cl_ord_id"]: row for row in self.venue.status()["orders"]}
        return all(
            (row["state"], Decimal(row["cum_qty"])) == (order.state, order.cum_qty)
            if (row := theirs.get(order.venue_id)) is not None
            else order.state in TERMINAL and not order.cum_qty
            for order in orders
        )

    def work(self, draw: random.Random, count: int) -> list[ClOrdId]:
        """Put so many orders to work and wait until they are."""
        names = [self.intend(draw) for _ in range(count)]
        self.until(lambda: self.confirmed(*names), f"{count} orders work")
        return names

    def end_round(self) -> None:
        """Let the tape fill what it reaches, withdraw the rest, and wait until nothing is live or unheard."""
        self.play(ROUND_NS - 2 * SECOND_NS)
        self.until(self.settled, "every report is booked")
        self.withdraw(*(order.cl_ord_id for order in self.in_states(LIVE)))
        self.until(lambda: not self.in_states(LIVE), "no order is live")
        self.until(self.settled, "every report is booked")

    def fills_over(self) -> bool:
        """Tell whether the tape has passed this round's prints."""
        return (self.now_ns - MONDAY_NS) % ROUND_NS >= FILLS_END_NS

    def settled(self) -> bool:
        """Tell whether every report of the venue is booked and no order is on its way."""
        with self.database.snapshot() as tx:
            booked = tx.orders.execution_count(self.settings.session)
            settled = not tx.orders.in_states(UNSETTLED)
        return settled and booked >= int(self.venue.status()["executions"])


def _unhindered(work: Callable[[], T]) -> T:
    """Do something again while another writer is in the way; a database that is away is the lane's to bear."""
    for _ in range(CONFLICTS_MAX):
        try:
            return work()
        except Conflict:
            continue
    return work()


def _wished(order: Order) -> bool:
    return order.state in WORKING and (order.cancel_reason is not None or order.wanted_qty is not None)


def a_replay(now_ns: int) -> Replay:
    """Return the row by which the lane is its processes' clock."""
    return Replay("faults", "", 0, "", MONDAY_NS, MONDAY_NS + ROUNDS * ROUND_NS, now_ns, 0.0, 0, False)


def a_step(at_ns: int, price: Price, symbol: str = SYMBOL) -> MarketStep:
    """Return what ingesting a minute writes of one that had a single price."""
    px = float(price)
    bar = Bar(symbol, at_ns - MINUTE_NS, MINUTE_NS, px, px, px, px, 1.0, 1)
    return MarketStep(symbol, at_ns, bar, (), price, at_ns - 1)


def rounds() -> list[int]:
    """Return the instants at which rounds begin: trading is allowed from there to the round's end."""
    instants = (MONDAY_NS + number * ROUND_NS for number in range(ROUNDS))
    return [at_ns for at_ns in instants if not (rest_reason(at_ns) or rest_reason(at_ns + ROUND_NS))]


def _tape(directory: Path, symbol: str) -> DataSpec:
    """Write a tape: all prints of each round, or of the symbol aside the first alone."""
    path = directory / f"{symbol}.csv"
    prints = PRINTS if symbol == SYMBOL else PRINTS[:1]
    lines = [f"{at_ns + seconds * SECOND_NS},{px},{lots}\n" for at_ns in rounds() for seconds, px, lots in prints]
    path.write_text("".join(["ts_event,price,size\n", *lines]), encoding="ascii")
    return DataSpec(str(path), symbol=symbol, tick_size=Decimal("0.25"), multiplier=Decimal(1))


SETS: Final = {
    "cohort.runs": 10,
    "take_profit.threshold": "0.0000001",
    "sizing.risk_fraction": "0.00001",
    "risk.quote_age_ms": ROUND_NS // MILLISECOND_NS,
    "risk.alike_orders_max": 100_000,
    "risk.order_trade_ratio_max": 1_000_000,
    "risk.same_side_fills_max": 1_000,
    "risk.rejects_max": 1_000,
    "panic.conditions": [],
}
"""A small cohort, a take-profit at ten dollars of gain, two and a half lots to a vote: what votes or crosses is what a
row makes. The one price of a round stands for all of it, and an order of a row may be as the one before."""
PAIRED_SETS: Final = {"fix.heartbeat_s": 2}
PATHS_SETS: Final = {"fix.heartbeat_s": 3, "egress.probe_s": 1, "egress.healthy_s": 1, "egress.quiet_s": 86_400}
"""A path that is well again is found at once, and gone back to only when the other one fails."""


def environment(settings: Settings, directory: Path) -> dict[str, str]:
    """Return what a lane's processes are told, as `trisagion run` tells its own."""
    return {
        **os.environ,
        **to_environment(settings),
        "PYTHONPATH": str(ROOT),
        "TRISAGION_SESSION_STORE": str(directory / "session"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }


@contextmanager
def opened(
    directory: Path,
    *,
    paired: bool = False,
    paths: Sequence[str] = (),
    venue: str = FIX_SIM,
    sets: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[Lane]:
    """Start a lane in a directory, with `sets` beside its settings; its processes end with it.

    In a `paired` one a second owner waits for the session's lease, a second worker serves the same queues, heartbeats
    come every two seconds, and the processes, but not the lane itself, reach the database through a proxy of ours. With
    names of `paths` a forwarder takes the session through proxies of theirs to the one before the venue.

    `venue` is the bundled one by FIX or as a TWS.
    """
    specs = [_tape(directory, symbol) for symbol in ((ASIDE, SYMBOL) if venue == FIX_SIM else (SYMBOL,))]
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trisagion-")))
        children = Children()
        stack.callback(children.stop)
        url = stack.enter_context(mariadb(directory / "mariadb", sockets, children))
        broker = stack.enter_context(redis(directory / "redis", sockets, children))
        create(url)
        venue_port = free_port()
        proxy = Proxy(venue_port)
        stack.callback(proxy.close)
        secret = directory / "database.url"
        secret.touch(mode=0o600)
        direct = make_url(url)
        assert direct.port is not None, url
        database_proxy = Proxy(direct.port) if paired else None
        if database_proxy is not None:
            stack.callback(database_proxy.close)
            direct = direct.set(port=database_proxy.port)
        secret.write_text(direct.render_as_string(hide_password=False), encoding="utf-8")
        placed = {"database.url": f"file:{secret}", "broker.url": broker, **venues.sets(venue, proxy.port)}
        ways = {name: stack.enter_context(FaultyProxy()) for name in paths}
        settings = load(None, {}, {**placed, **SETS, **(PAIRED_SETS if paired else {}), **_through(ways), **sets})
        control = sockets / "venue"
        log = directory / "log"
        env = environment(settings, directory)
        there = [
            *(part for spec in specs for part in ("--data-spec", spec.to_json())),
            *("--port", str(venue_port)),
            *("--control", str(control), "--store", str(directory / "venue")),
        ]
        argv = (sys.executable, "-m", *venues.module(settings), *there)
        children.start(Child("venue", argv, env, log / "venue.log"))
        _start_workers(children, directory, env, settings, paired=paired)
        database = open_database(url)
        stack.callback(database.close)
        bell = Celery("lane", broker=broker)
        ours = House(settings).fingerprint
        bell.conf.update({"task_routes": (route,), "task_create_missing_queues": True, FINGERPRINT: ours})
        stack.callback(bell.close)
        instruments = _found(database, specs, House(settings).cohort_rules)
        register(database, ours, "faults", MONDAY_NS)
        lane = Lane(
            directory,
            settings,
            database,
            VenueControl(control, timeout_s=ANSWER_S_MAX),
            proxy,
            children,
            bell,
            instruments[SYMBOL],
            tuple(instruments),
            iter(rounds()),
            sockets / "redis.sock",
            database_proxy,
            paths=ways,
            quotes=venue == IB_SIM,
        )
        lane.begin_round()
        first = lane.work(random.Random(0), 1)
        lane.withdraw(*first)
        lane.end_round()
        yield lane


def _through(ways: Mapping[str, FaultyProxy]) -> dict[str, object]:
    """Return the settings of a session that goes through proxies."""
    if not ways:
        return {}
    return {
        **PATHS_SETS,
        "egress.use": list(ways),
        "egress.port": free_port(),
        "egress.paths": {name: {"kind": "socks5", "host": LOOPBACK, "port": way.port} for name, way in ways.items()},
    }


def _start_workers(
    children: Children, directory: Path, env: Mapping[str, str], settings: Settings, *, paired: bool
) -> None:
    """Start the forwarder, where the session has paths, and the workers."""
    log = directory / "log"
    if settings.egress.use:
        children.start(Child("egress", FORWARDER, env, log / "egress.log"))
    roles = {"session": "session", "gateway": "all"}
    for name, role in (roles | {"session2": "session", "gateway2": "all"} if paired else roles).items():
        argv = worker_argv(role, name, settings)
        module = argv.index("workers.serve") + 1
        points = {"TRISAGION_FAULT_MODULE": argv[module], "TRISAGION_FAULT_PLACE": str(directory / name)}
        argv[module] = "tests.e2e.faults.points"
        children.start(Child(name, argv, {**env, **points}, log / f"{name}.log"))


def _found(database: SqlDatabase, specs: Sequence[DataSpec], rules: CohortRules) -> dict[str, Instrument]:
    """Found the account: instruments, capital, cohort, mode, clock."""
    from trisagion.adapters.files import load as load_tape  # a second of imports that only this needs

    instruments = {spec.name: load_tape(spec).instrument for spec in specs}
    with database.transaction() as tx:
        for instrument in instruments.values():
            tx.market.add_instrument(instrument)
        tx.ledger.post(opening(CAPITAL, MONDAY_NS, "USD"))
        found_cohort(tx, rules, 1, 1, MONDAY_NS)
        for row in AMPLE:
            tx.limits.add(row)
        tx.control.set_mode(Control(Mode.NORMAL, "faults", "begun", MONDAY_NS))
        tx.control.put_replay(a_replay(MONDAY_NS))
    return instruments
