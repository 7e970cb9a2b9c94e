"""The bundled venue as a process of its own on loopback, and our sessions to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.venues.control import VenueControl
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.clock import SECOND_NS
from trisagion.gateway.dialect import Profile
from trisagion.ids import ClOrdId, CycleId, IntentKey
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Order, PositionReport, Side, Unreadable
from trisagion.units import Price, Quantity

PROFILES = (Profile.of("4.2"), Profile(), Profile.of("5.0SP2", post_only="9303=P", liquidity_tag=1057))
every_version = pytest.mark.parametrize("market", PROFILES, indirect=True, ids=[each.version for each in PROFILES])
"""For a test that takes the fixture `market`, which its file makes by `made`."""
with_positions = pytest.mark.parametrize("market", PROFILES[1:], indirect=True, ids=["4.4", "5.0SP2"])

T0 = 1_378_000_000 * SECOND_NS
WAIT_S = 20.0
"""The longest that a test waits for something that takes milliseconds."""

PRINTS = [(0, "100", 1), (10, "99.75", 3), (11, "99.50", 2), (12, "99.50", 9), (20, "101", 50)]
"""Seconds after T0, price, lots. A bid of five at 99.75 that arrives at 1 s: one lot before it, so 2, 2 and 1."""

REPORTER = """
import json, sys, threading
from pathlib import Path
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.gateway.dialect import Profile

port, store, sender, deadly = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
profile = Profile(**json.loads(sys.argv[5]))

class Sink:
    def on_logon(self):
        print(json.dumps(["logon"]), flush=True)
    def on_logout(self):
        pass
    def on_positions(self, reports):
        pass
    def on_unreadable(self, word):
        pass
    def on_report(self, report):
        if report.exec_id == deadly:
            raise OSError("the database is gone")
        print(json.dumps([report.exec_id, report.ord_status]), flush=True)

FixSession(FixConfig("127.0.0.1", port, sender, "SIM", "ACC", store, profile=profile), Sink(), "SIM").start()
threading.Event().wait()
"""

FATAL_SEND = """
import os, signal, sys
from trisagion.adapters.venues.fix import venue

def die(self, replies):
    if any(reply.get(150) == sys.argv[1] for reply in replies):
        os.kill(os.getpid(), signal.SIGKILL)
    send(self, replies)

send, venue.Host._send = venue.Host._send, die
venue.main(sys.argv[2:])
"""


def at(seconds: float) -> int:
    """An instant."""
    return T0 + int(seconds * SECOND_NS)


def order(name: str, px: str = "99.75", qty: int = 5, side: Side = Side.BUY, *, taker: bool = False) -> Order:
    """An order for the future."""
    amount, limit = Quantity(Decimal(qty)), Price(Decimal(px))
    key, cycle = IntentKey(name), CycleId("C1")
    return Order(ClOrdId(name), key, cycle, 1, "ES", side, amount, taker, OrderState.ROUTED, T0, T0, price=limit)


class Sink:
    """Keeps what it hears; a test waits for it."""

    def __init__(self) -> None:
        self.reports: list[ExecutionReport] = []
        self.positions: list[Sequence[PositionReport]] = []
        self.unreadable: list[Unreadable] = []
        self.complete: list[str] = []
        self.logons = 0
        self.logouts = 0
        self._heard = threading.Condition()

    def on_logon(self) -> None:
        """Count."""
        with self._heard:
            self.logons += 1
            self._heard.notify_all()

    def on_logout(self) -> None:
        """Count."""
        with self._heard:
            self.logouts += 1
            self._heard.notify_all()

    def on_report(self, report: ExecutionReport) -> None:
        """Keep."""
        with self._heard:
            self.reports.append(report)
            self._heard.notify_all()

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Keep."""
        with self._heard:
            self.positions.append(reports)
            self._heard.notify_all()

    def on_all_statuses(self, request_id: str) -> None:
        """Keep."""
        with self._heard:
            self.complete.append(request_id)
            self._heard.notify_all()

    def on_unreadable(self, word: Unreadable) -> None:
        """Keep."""
        with self._heard:
            self.unreadable.append(word)
            self._heard.notify_all()

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait for something heard."""
        with self._heard:
            assert self._heard.wait_for(until, WAIT_S), self.reports

    def after(self, count: int) -> ExecutionReport:
        """Wait for that many reports and return the last of them."""
        self.wait(lambda: len(self.reports) >= count)
        return self.reports[count - 1]

    def told(self) -> list[tuple[str | None, ExecType, OrderState]]:
        """What was heard, in short."""
        return [(report.exec_id, report.exec_type, report.ord_status) for report in self.reports]


class Market:
    """A venue on a free port with a directory of its own, and sessions to it."""

    def __init__(self, directory: Path, profile: Profile | None = None) -> None:
        self.directory = directory
        self.profile = profile or Profile()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.sender = f"US{self.port}"
        self.copied = f"{self.sender}-DC"
        self.control = VenueControl(directory / "c", timeout_s=WAIT_S)
        tape = directory / "tape.csv"
        rows = [f"{at(seconds)},{px},{lots}" for seconds, px, lots in PRINTS]
        tape.write_text("\n".join(["ts_event,price,size", *rows, ""]))
        self.spec = DataSpec(str(tape), symbol="ES", tick_size=Decimal("0.25"), multiplier=Decimal(50))
        self.processes: list[subprocess.Popen[str]] = []

    def arguments(self) -> list[str]:
        """The venue's command line."""
        where = ["--port", str(self.port), "--control", str(self.directory / "c"), "--store", str(self.directory / "v")]
        speaks = ["--profile", json.dumps(asdict(self.profile))]
        who = ["--target", self.sender, "--drop-copy", self.copied]
        return ["--data-spec", self.spec.to_json(), *where, *who, *speaks]

    def start(self) -> "subprocess.Popen[str]":
        """Start the venue; its control socket is waited for by whoever asks."""
        return self.run("-m", "trisagion.adapters.venues.fix.venue", *self.arguments())

    def start_fatal(self, exec_type: str) -> "subprocess.Popen[str]":
        """Start a venue that is killed between journal and socket at the first report of a kind."""
        return self.run("-c", FATAL_SEND, exec_type, *self.arguments())

    def reporter(self, deadly: str = "never", **env: str) -> "subprocess.Popen[str]":
        """Start a session in its own process that prints what it hears and fails at one ExecID."""
        speaks = json.dumps(asdict(self.profile))
        return self.run("-c", REPORTER, str(self.port), str(self.directory / "s"), self.sender, deadly, speaks, env=env)

    def run(
        self, *arguments: str, stdin: int | None = None, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start a Python of ours."""
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def config(self, **changes: Any) -> FixConfig:
        """How our session reaches the venue."""
        plain = {"host": "127.0.0.1", "port": self.port, "sender": self.sender, "target": "SIM", "account": "ACC"}
        speaks = {"store_dir": self.directory / "s", "profile": self.profile}
        return FixConfig(**{**plain, **speaks, **changes})

    @contextmanager
    def session(self, sink: Sink, **changes: Any) -> Iterator[FixSession]:
        """A session that has logged on."""
        session = FixSession(self.config(**changes), sink, "SIM")
        logons = sink.logons
        session.start()
        try:
            sink.wait(lambda: sink.logons > logons)
            yield session
        finally:
            session.stop()

    def close(self) -> None:
        """End what is left."""
        for process in self.processes:
            process.kill()
            process.communicate()


def made(request: pytest.FixtureRequest, directory: Path) -> Iterator[Market]:
    """Make a venue not yet started, of the profile that the test asks for."""
    market = Market(directory, getattr(request, "param", None))
    yield market
    market.close()


def kill(process: "subprocess.Popen[str]") -> None:
    """End a process as a machine would, and wait for its end."""
    process.kill()
    assert process.wait(WAIT_S) == -signal.SIGKILL
