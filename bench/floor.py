"""What orders are measured on: a private MariaDB, the bundled venue, and a session between them.

All servers are processes of their own on this machine; MariaDB commits with `innodb_flush_log_at_trx_commit=1`. The
platform's clock stands still at a Tuesday noon, so that nothing rests and no quote grows old.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from bench.measure import ROOT
from init import create
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.db.engine import SqlDatabase, open_database, retrying
from trisagion.adapters.servers import mariadb
from trisagion.adapters.venues.control import VenueControl
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.gateway.pace import TokenBucket
from trisagion.ids import CycleId, cl_ord_id, intent_key
from trisagion.ledger.postings import opening
from trisagion.market.instruments import ES
from trisagion.market.types import Bar, MarketStep, Quote
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport, Order, PositionReport, Side, Unreadable
from trisagion.risk.limits import Limits
from trisagion.safety.modes import Control, Mode
from trisagion.services import limits
from trisagion.services.book_fills import BookRules, book
from trisagion.services.drive_session import SessionDriver
from trisagion.units import Money, Price, Quantity

TUESDAY_NS: Final = int(datetime(2024, 6, 11, 12, tzinfo=UTC).timestamp()) * SECOND_NS
ACCOUNT: Final = "BENCH"
VENUE: Final = "SIM"
LIMITS: Final = Limits(
    ACCOUNT,
    Decimal(5_000_000),
    Decimal(10) ** 12,
    100_000,
    open_notional_max=Decimal(10) ** 12,
    gross_leverage_max=Decimal(10) ** 5,
    alike_orders_max=100_000,
    order_trade_ratio_max=Decimal(10) ** 9,
    same_side_fills_max=100_000,
)
MESSAGES_PER_S: Final = 100_000
"""No limit of the venue's: what is measured is ours."""
RULES: Final = BookRules(ACCOUNT, LIMITS, reprices_max=0)
GUARD_S: Final = 0.1
WAIT_S_MAX: Final = 120.0


BID, ASK = Price(Decimal("1639.75")), Price(Decimal("1640.25"))
QUOTE: Final = Quote(ES.symbol, BID, ASK, last=BID, happened_ns=TUESDAY_NS, learned_ns=TUESDAY_NS)


def orders(count: int, state: OrderState, first: int = 0) -> list[Order]:
    """Make orders to buy one far below the market."""
    made = []
    for number in range(first, first + count):
        cycle = CycleId(f"B{number}")
        key = intent_key(cycle, ES.symbol)
        name = cl_ord_id(ACCOUNT, key, 0)
        order = Order(
            name, key, cycle, 0, ES.symbol, Side.BUY, Quantity(Decimal(1)), False, state, TUESDAY_NS, TUESDAY_NS
        )
        made.append(replace(order, price=Price(Decimal(1500)), session=VENUE))
    return made


@dataclass(slots=True)
class Owner:
    """Books what it hears, as the session's owner does."""

    database: SqlDatabase
    driver: SessionDriver = field(init=False)
    booked: int = 0

    def guard(self, done: threading.Event) -> None:
        """Keep the lease, and send what had to wait."""
        while not done.wait(GUARD_S):
            self.driver.lease()
            self.driver.pump(TUESDAY_NS)

    def on_logon(self) -> None:
        """Settle."""
        self.driver.settle(TUESDAY_NS)

    def on_logout(self) -> None:
        """Shut."""
        self.driver.unsettle()

    def on_report(self, report: ExecutionReport) -> None:
        """Book."""
        retrying(lambda: book(self.database, RULES, report))
        self.driver.heard(report, TUESDAY_NS)
        self.booked += 1

    def on_all_statuses(self, request_id: str) -> None:
        """Ask about what was not named."""
        self.driver.heard_all(request_id, TUESDAY_NS)

    def on_unreadable(self, word: Unreadable) -> None:
        """The bundled venue can be read."""
        raise AssertionError(word)

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Not asked here."""


def wait(until: Callable[[], bool], what: str, look_s: float = 0.002) -> None:
    """Wait for something, not for ever; each `look_s` it is looked for."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not until():
        assert time.monotonic() < deadline, f"waited {WAIT_S_MAX:g} s for {what}"
        time.sleep(look_s)


def found(database: SqlDatabase) -> None:
    """Found an account with an instrument and its price."""
    bar = Bar(ES.symbol, TUESDAY_NS - MINUTE_NS, MINUTE_NS, 1640.0, 1640.0, 1640.0, 1640.0, 9.0, 1)
    with database.transaction() as tx:
        tx.market.add_instrument(ES)
        tx.ledger.post(opening(Money(Decimal(10**8)), 0, "USD"))
        limits.found(tx, LIMITS, "bench", 0)
        tx.control.set_mode(Control(Mode.NORMAL, "bench", "bench", 0))
        ticks = tuple((bar.open_ns + number * 10 * SECOND_NS, 1640.0) for number in range(1, 7))
        tx.market.add_step(MarketStep(ES.symbol, TUESDAY_NS, bar, ticks, Price(Decimal(1640)), TUESDAY_NS))


@contextmanager
def venue(folder: Path) -> Iterator[tuple[int, VenueControl]]:
    """Run the bundled venue on a tape of one print; give its port and its control."""
    tape = folder / "tape.csv"
    tape.write_text(f"ts_event,price,size\n{TUESDAY_NS - MINUTE_NS},1640,1\n{TUESDAY_NS + MINUTE_NS},1640,1\n")
    spec = DataSpec(str(tape), symbol=ES.symbol, tick_size=ES.tick_size, multiplier=ES.multiplier)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-m", "trisagion.adapters.venues.fix.venue", "--data-spec", spec.to_json()]
    where = ["--port", str(port), "--control", str(folder / "c"), "--store", str(folder / "v")]
    with subprocess.Popen([*argv, *where], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        try:
            control = VenueControl(folder / "c")
            control.play(TUESDAY_NS)
            yield port, control
        finally:
            process.terminate()


@dataclass(slots=True)
class Floor:
    """A database, a venue and the session between them."""

    database: SqlDatabase
    url: str
    port: int
    control: VenueControl
    folder: Path

    @contextmanager
    def owned(self, messages_per_s: int = MESSAGES_PER_S) -> Iterator[Owner]:
        """Run a session that logs on, settles and keeps its lease."""
        owner = Owner(self.database)
        session = FixSession(self.config(), owner, VENUE)
        bucket = TokenBucket.empty(messages_per_s, Decimal("0.2"), time.monotonic())
        owner.driver = SessionDriver(self.database, session, VENUE, "bench", bucket=bucket)
        owner.driver.lease()
        done = threading.Event()
        guard = threading.Thread(target=owner.guard, args=(done,), daemon=True)
        guard.start()
        session.start()
        try:
            wait(lambda: owner.driver.settled, "the session to settle")
            yield owner
        finally:
            done.set()
            guard.join()
            session.stop()
            with self.database.transaction() as tx:
                tx.control.release(f"session:{VENUE}", owner.driver.token or 0)

    def config(self) -> FixConfig:
        """Return how the venue is reached."""
        return FixConfig("127.0.0.1", self.port, "TRISAGION", VENUE, ACCOUNT, self.folder / "s")

    def put(self, made: Sequence[Order]) -> None:
        """Put orders into the outbox."""
        with self.database.transaction() as tx:
            for order in made:
                assert tx.orders.add(order), order.cl_ord_id

    def executions(self) -> int:
        """Return how many reports the venue has made."""
        return self.control.play(TUESDAY_NS).executions


@contextmanager
def floor() -> Iterator[Floor]:
    """Set it up, and take it down again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trisagion-")))
        url = stack.enter_context(mariadb(folder / "db", folder))
        create(url)
        database = open_database(url)
        database.keep()  # as the worker of a session does; nor is the bench to take more of the machine than it must
        stack.callback(database.close)
        found(database)
        port, control = stack.enter_context(venue(folder))
        yield Floor(database, url, port, control, folder)
