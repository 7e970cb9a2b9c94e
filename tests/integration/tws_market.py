"""The TWS simulator as a process of its own on loopback, and what real clients do with it."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.venues.control import VenueControl
from trisagion.clock import SECOND_NS

T0 = 1_378_000_000 * SECOND_NS
WAIT_S = 20.0
"""The longest that a test waits for something that takes milliseconds."""

PRINTS = [(0, "100", 1), (10, "99.75", 3), (11, "99.50", 2), (12, "99.50", 9), (20, "101", 50)]
"""Seconds after T0, price, lots. A bid of five at 99.75 that arrives at 1 s: one lot before it, so 2, 2 and 1."""


def at(seconds: float) -> int:
    """An instant."""
    return T0 + int(seconds * SECOND_NS)


class TwsMarket:
    """A simulator on a free port with a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.control = VenueControl(directory / "c", timeout_s=WAIT_S)
        tape = directory / "tape.csv"
        tape.write_text("\n".join(["ts_event,price,size", *(f"{at(s)},{px},{lots}" for s, px, lots in PRINTS), ""]))
        self.spec = DataSpec(str(tape), symbol="ES", tick_size=Decimal("0.25"), multiplier=Decimal(50))
        self.processes: list[subprocess.Popen[str]] = []

    def arguments(self) -> list[str]:
        """The simulator's command line."""
        where = ["--port", str(self.port), "--control", str(self.directory / "c"), "--store", str(self.directory / "v")]
        return ["--data-spec", self.spec.to_json(), *where, "--account", "DU1", "--cash", "100000"]

    def start(self, *extra: str) -> "subprocess.Popen[str]":
        """Start the simulator; its control socket is waited for by whoever asks."""
        return self.run("-m", "trisagion.adapters.venues.ib.venue", *self.arguments(), *extra)

    def run(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a Python of ours."""
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), *filter(None, [environment.pop("PYTHONPATH", "")])])
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=root,
            env={**os.environ, **environment, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    async def play(self, seconds: float) -> None:
        """Play, while the clients listen."""
        await asyncio.to_thread(self.control.play, at(seconds))

    async def fail(self, kind: str, **arguments: str | float) -> None:
        """Make a mistake, while the clients listen."""
        await asyncio.to_thread(lambda: self.control.fault(kind, **arguments))

    async def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of the books under a name."""
        rows: list[dict[str, Any]] = (await asyncio.to_thread(self.control.status))[name]
        return rows

    @asynccontextmanager
    async def client(self, library: Any, client_id: int = 1, **more: Any) -> AsyncIterator[Any]:
        """A client that has connected and synchronised without a timeout."""
        ib = library.IB()
        ib.codes = []
        ib.errorEvent += lambda _, code, *__: ib.codes.append(code)
        await ib.connectAsync("127.0.0.1", self.port, client_id, timeout=WAIT_S, **more)
        try:
            yield ib
        finally:
            ib.disconnect()

    def close(self) -> None:
        """End what is left."""
        for process in self.processes:
            process.kill()
            process.communicate()


async def until(true: Callable[[], object]) -> None:
    """Wait for something that a client hears."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.005)


async def core(market: TwsMarket, library: Any, **more: Any) -> dict[str, Any]:
    """Do what every client does: find a contract, place, change, be filled, cancel, ask; tell what was seen."""
    async with market.client(library, **more) as ib:
        [details] = await ib.reqContractDetailsAsync(library.Contract(symbol="ES"))
        trade = ib.placeOrder(details.contract, library.LimitOrder("BUY", 4, 99.75, orderRef="one", tif="GTC"))
        await until(lambda: trade.orderStatus.status == "Submitted")
        trade.order.totalQuantity = 5
        ib.placeOrder(details.contract, trade.order)
        await until(lambda: trade.orderStatus.remaining == 5)
        await market.play(11)
        await until(lambda: trade.fills and trade.fills[0].commissionReport.execId and trade.orderStatus.filled)
        ib.cancelOrder(trade.order)
        await until(lambda: trade.orderStatus.status == "Cancelled")
        executions = await ib.reqExecutionsAsync()
        completed = await ib.reqCompletedOrdersAsync(False)
        bars_end = await ib.reqCurrentTimeAsync()
        await until(ib.positions)
        return {
            "version": ib.client.serverVersion(),
            "accounts": ib.managedAccounts(),
            "minTick": details.minTick,
            "statuses": list(dict.fromkeys(entry.status for entry in trade.log)),
            "fills": [
                [fill.execution.shares, fill.execution.price, fill.execution.lastLiquidity] for fill in trade.fills
            ],
            "commission": trade.fills[0].commissionReport.commission,
            "executions": [fill.execution.orderRef for fill in executions],
            "completed": [done.orderStatus.status for done in completed],
            "positions": [each.position for each in ib.positions()],
            "now": abs(bars_end.timestamp() - time.time()) < WAIT_S,
        }


EXPECTED = {
    "accounts": ["DU1"],
    "minTick": 0.25,
    "statuses": ["PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel", "Cancelled"],
    "fills": [[2.0, 99.75, 1]],
    "commission": 3.99,
    "executions": ["one"],
    "completed": ["Cancelled"],
    "positions": [2.0],
    "now": True,
}
"""What `core` sees, whatever the library; the version is the library's."""
