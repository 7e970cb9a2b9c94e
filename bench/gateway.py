"""The path of an order: the decision, the wire, and what follows a logon.

An intent's way to the wire is measured from before its transaction, which commits it as a cycle does, to the
SendingTime(52) that the venue has written into its journal: to the millisecond, cut. Gateway worker, session owner and
venue are processes, between them a Redis and a MariaDB of their own. Every second the orders that are two seconds old
are withdrawn, as later cycles do; so as many cancels as orders go out.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import quickfix as fix
import sqlalchemy as sa
from celery import Celery

from bench.floor import ACCOUNT, LIMITS, MESSAGES_PER_S, QUOTE, TUESDAY_NS, VENUE, Floor, floor, orders, wait
from bench.measure import ROOT, Figure, benchmark, interleaved, tail_of
from trisagion.adapters.db import tables
from trisagion.adapters.db.engine import SqlDatabase
from trisagion.adapters.servers import redis
from trisagion.adapters.venues.fix.engine import Connection, Store, encode, log_out
from trisagion.clock import SECOND_NS
from trisagion.gateway.decide import decide
from trisagion.gateway.dialect import Profile
from trisagion.gateway.requests import new_order
from trisagion.gateway.words import NEW_ORDER_SINGLE, Tag, instant
from trisagion.ids import ClOrdId
from trisagion.market.instruments import ES
from trisagion.orders.state import WORKING, OrderState
from trisagion.orders.types import Side
from trisagion.ports import Replay
from trisagion.risk.load import Account, Load
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Mode
from trisagion.settings import load
from trisagion.units import Money, Quantity
from trisagion.wiring import House
from workers.flow import FINGERPRINT, headers

DECISIONS: Final = 5_000
ORDERS: Final = 2_000
ROUNDS: Final = 3
OPEN_ORDERS: Final = 1_000
DEFAULT_MESSAGES_PER_S: Final = 200
BURST: Final = 500
PER_S: Final = 50
STEADY_S: Final = int(os.environ.get("TRISAGION_BENCH_STEADY_S", "600"))
"""How long 50 orders a second go out: ten minutes, unless somebody tries it."""
WITHDRAWN_AFTER_S: Final = 2


@benchmark("gateway.decide", "s p99", "value <= 100e-6")
def decision() -> Figure:
    """The 99th percentile of single decisions that route an order, beside five others."""
    order = replace(orders(1, OrderState.RISK_CHECKED)[0], price=None, session=None)
    one = Quantity(Decimal(1))
    load = Load(5, {(ES.symbol, Side.BUY): Quantity(Decimal(5))})
    gate = Gate.untouched(VENUE)
    account = Account(Money(Decimal(10_000_000)), Decimal(82_000), Decimal(410_000))

    def work() -> None:
        after = decide(
            order,
            instrument=ES,
            quote=QUOTE,
            position=one,
            load=load,
            account=account,
            mode=Mode.NORMAL,
            gate=gate,
            limits=LIMITS,
            now_ns=TUESDAY_NS,
        )
        assert after.state is OrderState.ROUTED

    return interleaved(tail_of(work, DECISIONS))


@benchmark("gateway.session_rate", "orders/s", "value >= 1000")
def session_rate() -> Figure:
    """A session's owner empties its outbox: until the venue has taken the last order.

    Acknowledgements are booked meanwhile, one transaction each. The peer is the engine alone, which sends messages made
    before to the same venue, and books nothing; it comes after, for a session has one owner.
    """
    with floor() as rig:
        with rig.owned() as owner:
            ours = [_drained(rig, owner, turn * ORDERS) for turn in range(ROUNDS)]
        theirs = list(_bare(rig))
    return Figure(ours, theirs, "limit: bare quickfix")


UNANSWERED_MAX: Final = 500
"""Measured: of 2,000 at once the sockets of both sides fill up, and each waits for the other to read."""


def _drained(rig: Floor, owner: Any, first: int) -> float:
    rig.put(orders(ORDERS, OrderState.ROUTED, first))
    booked, wanted = owner.booked, rig.executions() + ORDERS
    begun = time.perf_counter()
    while owner.driver.drain(TUESDAY_NS) and not _has(rig, wanted):
        pass
    rate = ORDERS / (time.perf_counter() - begun)
    wait(lambda: owner.booked >= booked + ORDERS, "every acknowledgement to be booked")
    return rate


def _has(rig: Floor, executions: int) -> bool:
    return rig.executions() >= executions


def _bare(rig: Floor) -> Iterator[float]:
    store = Store(rig.folder / "s", Profile())
    own = {
        "ConnectionType": "initiator",
        "SocketConnectHost": "127.0.0.1",
        "SocketConnectPort": str(rig.port),
        "HeartBtInt": "10",
        "ReconnectInterval": "1",
    }
    session_id = fix.SessionID(store.dictionary.begin_string, "TRISAGION", VENUE)
    connection = Connection(fix.ThreadedSocketInitiator, _Silent(), store.settings("TRISAGION", VENUE, own), store)
    connection.start()
    session = fix.Session.lookupSession(session_id)
    wait(session.isLoggedOn, "the bare session to log on")
    for turn in range(ROUNDS):
        made = [
            encode(new_order(order, account=ACCOUNT, now_ns=TUESDAY_NS), store.dictionary)
            for order in orders(ORDERS, OrderState.ROUTED, 10**6 + turn * ORDERS)
        ]
        begun, before = time.perf_counter(), rig.executions()
        for first in range(0, ORDERS, UNANSWERED_MAX):
            for message in made[first : first + UNANSWERED_MAX]:
                fix.Session.sendToTarget(message, session_id)
            wait(partial(_has, rig, before + min(first + UNANSWERED_MAX, ORDERS)), "the venue to have these orders")
        yield ORDERS / (time.perf_counter() - begun)
    log_out(session_id)
    connection.stop()
    store.close()


class _Silent(fix.Application):  # type: ignore[misc]
    """Takes what comes and does nothing."""

    def onCreate(self, session_id: Any) -> None:  # noqa: N802
        """Nothing."""

    def onLogon(self, session_id: Any) -> None:  # noqa: N802
        """Nothing."""

    def onLogout(self, session_id: Any) -> None:  # noqa: N802
        """Nothing."""

    def toAdmin(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """Nothing."""

    def fromAdmin(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """Nothing."""

    def toApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """Nothing."""

    def fromApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        """Nothing."""


@benchmark("gateway.reconcile_1000", "s", "value <= 10")
def reconcile() -> Figure:
    """A session with 1,000 open orders starts: until the venue has confirmed the last, at the default message rate."""
    with floor() as rig:
        with rig.owned() as owner:
            rig.put(orders(OPEN_ORDERS, OrderState.ROUTED))
            owner.driver.drain(TUESDAY_NS)
            wait(lambda: owner.booked >= OPEN_ORDERS, "every acknowledgement to be booked")
        took = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            with rig.owned(DEFAULT_MESSAGES_PER_S) as owner:
                took.append(time.perf_counter() - begun)
                assert owner.booked == OPEN_ORDERS, owner.booked
    return Figure(took)


@contextmanager
def _fleet() -> Iterator[tuple[Floor, Celery, Path]]:
    """Run a gateway worker and a session's owner beside venue, database and broker."""
    with ExitStack() as stack:
        rig = stack.enter_context(floor())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trisagion-")))
        broker = stack.enter_context(redis(folder / "redis", folder))
        now = {"start_ns": TUESDAY_NS, "end_ns": TUESDAY_NS + SECOND_NS, "now_ns": TUESDAY_NS}
        replay = Replay("bench", "", 1, "", speed=1.0, origin_ns=0, finished=False, **now)
        with rig.database.transaction() as tx:
            tx.control.put_replay(replay)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TRISAGION__DATABASE__URL": "env:TRISAGION_BENCH_DATABASE",
            "TRISAGION_BENCH_DATABASE": rig.url,
            "TRISAGION__BROKER__URL": broker,
            "TRISAGION__PLATFORM__ACCOUNT": ACCOUNT,
            "TRISAGION__FIX__PORT": str(rig.port),
            "TRISAGION__FIX__MESSAGES_PER_S": str(MESSAGES_PER_S),
            "TRISAGION__RISK__ORDERS_MAX": "10000",
            "TRISAGION__RISK__POSITION_NOTIONAL_MAX": str(10**12),
            "TRISAGION__RISK__ALIKE_ORDERS_MAX": "10000",
            "TRISAGION__RISK__ORDER_TRADE_RATIO_MAX": str(10**9),
            "TRISAGION_SESSION_STORE": str(rig.folder / "s"),
        }
        for module, queues, name in (
            ("workers.worker", "orders,control", "desk"),
            ("workers.sessions.fix", f"session.{VENUE}", "session"),
        ):
            argv = [sys.executable, "-m", "workers.serve", module, "--queues", queues, "--name", name]
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = stack.enter_context(subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=log, stderr=log))
            stack.callback(process.terminate)
        wait(lambda: _count(rig.database, tables.event, tables.event.c.kind == "session.settled") > 0, "the session")
        bell = Celery("bench", broker=broker)
        bell.conf.update({FINGERPRINT: House(load(None, environment, {})).fingerprint})
        yield rig, bell, rig.folder / "v" / "journal.jsonl"


def _count(database: SqlDatabase, table: sa.Table, which: Any) -> int:
    with database.snapshot() as unit:
        found: int = unit.session.scalar(sa.select(sa.func.count()).select_from(table).where(which))
    return found


def _ring(app: Celery, task: str, subject: str, queue: str) -> None:
    named = {"now_ns": TUESDAY_NS, "subject": subject}
    app.send_task(task, kwargs=named, queue=queue, headers=headers(app))


@benchmark("gateway.burst_500", "s", "value <= 10")
def burst() -> Figure:
    """500 intents of one transaction: until all are on the wire and all acknowledgements booked."""
    took = []
    with _fleet() as (rig, app, _):
        for turn in range(ROUNDS):
            made = _intents(turn * BURST, BURST)
            begun = time.perf_counter()
            rig.put(made)
            for order in made:
                _ring(app, "gateway.route", order.cl_ord_id, "orders")
            # Looking counts all orders: more often, and it would take a core from those who work.
            done = partial(_working, rig.database, (turn + 1) * BURST)
            wait(done, "every acknowledgement to be booked", look_s=0.1)
            took.append(time.perf_counter() - begun)
    return Figure(took)


def _working(database: SqlDatabase, count: int) -> bool:
    return _count(database, tables.orders, tables.orders.c.state == OrderState.NEW) >= count


def _intents(first: int, count: int) -> list[Any]:
    """Make intents at the pace of the steady figure: a verdict looks five seconds back."""
    made = enumerate(orders(count, OrderState.RISK_CHECKED, first), start=first)
    return [
        replace(order, price=None, session=None, created_ns=TUESDAY_NS + number * SECOND_NS // PER_S)
        for number, order in made
    ]


@cache
def _steady() -> tuple[float, ...]:
    """Send 50 intents a second; return the seconds that each took to the wire."""
    begun_ns: dict[str, int] = {}
    with _fleet() as (rig, app, journal):
        start = time.monotonic()
        for number in range(STEADY_S * PER_S):
            time.sleep(max(0.0, start + number / PER_S - time.monotonic()))
            [order] = _intents(number, 1)
            begun_ns[order.cl_ord_id] = time.time_ns()
            rig.put([order])
            _ring(app, "gateway.route", order.cl_ord_id, "orders")
            old = number - WITHDRAWN_AFTER_S * PER_S
            if old >= 0 and number % PER_S == 0:
                _withdraw(rig.database, [order.cl_ord_id for order in _intents(old, PER_S)])
                _ring(app, "session.drain", VENUE, f"session.{VENUE}")
        late = time.monotonic() - start - STEADY_S
        assert late < 1.0, f"the bench could not keep its pace: {late:.1f} s behind"
        wait(lambda: len(_sent(journal)) >= len(begun_ns), "every intent to be on the wire")
        return tuple((at_ns - begun_ns[name]) / 1e9 for name, at_ns in _sent(journal).items())


def _withdraw(database: SqlDatabase, names: list[ClOrdId]) -> None:
    with database.transaction() as tx:
        for order in tx.orders.locked(names):
            if order.state in WORKING:
                tx.orders.save(replace(order, cancel_reason="bench", version=order.version + 1))


def _sent(journal: Path) -> dict[str, int]:
    """Return when each order left, as the venue has it; a line that is being written is left out."""
    sent = {}
    for line in journal.read_text(encoding="utf-8").split("\n")[:-1]:
        message = json.loads(line).get("message")
        if message is not None and message["35"] == NEW_ORDER_SINGLE:
            fields = {int(tag): value for tag, value in message.items()}
            sent[fields[Tag.CL_ORD_ID]] = instant(fields, Tag.SENDING_TIME)
    return sent


@benchmark("gateway.intent_to_wire", "s p99", "value <= 0.25")
def intent_to_wire() -> Figure:
    """The 99th percentile at 50 orders a second for ten minutes."""
    return Figure([float(np.quantile(_steady(), 0.99))])


@benchmark("gateway.intent_to_wire_p50", "s", "value <= 0.06")
def intent_to_wire_median() -> Figure:
    """The median of the same."""
    return Figure([float(np.median(_steady()))])
