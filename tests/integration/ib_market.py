"""The bundled TWS simulator as a process of its own on loopback, and our sessions to it."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.integration.fix_market import PRINTS, T0, WAIT_S, Sink
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.venues.control import VenueControl
from trisagion.adapters.venues.ib.ears import IbContract
from trisagion.adapters.venues.ib.session import IbConfig, IbSession
from trisagion.clock import SECOND_NS
from trisagion.ids import ClOrdId
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport, Order
from trisagion.units import Price, Quantity

ACCOUNT = "DU1000001"
ES = IbContract("ES", "FUT", "SIM", "USD", multiplier=Decimal(50), tick=Decimal("0.25"))
CLIENT = 7


class Numbers:
    """Order ids as the database gives them, for a process that does not end."""

    def __init__(self) -> None:
        self.next = 1
        self.asked: list[tuple[int, int]] = []

    def reserve(self, session: str, floor: int, count: int) -> int:
        """Give a block."""
        self.asked.append((floor, count))
        first = max(self.next, floor)
        self.next = first + count
        return first


class TwsMarket:
    """A simulator on a free port with a directory of its own, and sessions to it."""

    def __init__(self, directory: Path, begin_ns: int = T0) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.control = VenueControl(directory / "c", timeout_s=WAIT_S)
        tape = directory / "tape.csv"
        rows = [f"{begin_ns + seconds * SECOND_NS},{px},{lots}" for seconds, px, lots in PRINTS]
        tape.write_text("\n".join(["ts_event,price,size", *rows, ""]))
        self.spec = DataSpec(str(tape), symbol="ES", tick_size=Decimal("0.25"), multiplier=Decimal(50))
        self.numbers = Numbers()
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> "subprocess.Popen[str]":
        """Start the simulator and wait for its control socket."""
        where = ["--port", str(self.port), "--control", str(self.directory / "c"), "--store", str(self.directory / "v")]
        process = self.run("-m", "trisagion.adapters.venues.ib.venue", "--data-spec", self.spec.to_json(), *where)
        self.control.status()
        return process

    def run(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a Python of ours."""
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def config(self, **changes: Any) -> IbConfig:
        """How our session reaches TWS; there is no reset on any day of a test."""
        where = {"host": "127.0.0.1", "port": self.port, "client_id": CLIENT, "account": ACCOUNT}
        speaks = {"environment": "paper", "contracts": {"ES": ES}, "store_dir": self.directory / "s"}
        return IbConfig(**{**where, **speaks, "reset_windows": (), "exec_wait_s": 0.5, **changes})

    @contextmanager
    def session(self, sink: Sink, **changes: Any) -> Iterator[IbSession]:
        """A session that has logged on."""
        session = IbSession(self.config(**changes), sink, "IB", self.numbers)
        logons = sink.logons
        session.start()
        try:
            sink.wait(lambda: sink.logons > logons)
            yield session
        finally:
            session.stop()

    def orders(self) -> Mapping[str, Any]:
        """The simulator's orders by orderRef."""
        found = self.control.status()["orders"]
        assert isinstance(found, list)
        names = [str(order["cl_ord_id"]) for order in found]
        assert len(set(names)) == len(names), names
        return {str(order["cl_ord_id"]): order for order in found}

    def fault(self, kind: str, **values: Any) -> None:
        """Make the simulator make a mistake."""
        self.control.fault(kind, **values)

    def close(self) -> None:
        """End what is left."""
        for process in self.processes:
            process.kill()
            process.communicate()


def eventually(found: Callable[[], bool], what: object = None) -> None:
    """Wait for something that nobody tells."""
    deadline = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def fills(sink: Sink) -> list[ExecutionReport]:
    """The fills that went up."""
    return [report for report in sink.reports if report.fills]


def judge(market: TwsMarket, sink: Sink) -> None:
    """Hold the venue's books against what went up: one order for each name, each fill once, none missing."""
    once = Counter(report.exec_id for report in fills(sink))
    assert not [name for name, count in once.items() if count > 1], once
    told: Counter[str] = Counter()
    for report in fills(sink):
        told[report.cl_ord_id] += int(report.last_qty)
    books = market.orders()
    theirs = {name: int(Decimal(str(order["cum_qty"]))) for name, order in books.items()}
    assert {name: qty for name, qty in theirs.items() if qty} == dict(told), books


def became(order: Order, **changes: Any) -> Order:
    """An order further on."""
    return replace(order, **changes)


def changed(order: Order, px: str, qty: int) -> Order:
    """An order with a replace asked for."""
    return replace(
        order,
        state=OrderState.PENDING_REPLACE,
        links=order.links + 1,
        wanted_qty=Quantity(Decimal(qty)),
        wanted_price=Price(Decimal(px)),
    )


def name_of(order: Order) -> ClOrdId:
    """The name of the replace that is asked for."""
    asked = order.asked_id
    assert asked is not None
    return asked
