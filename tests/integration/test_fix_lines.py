"""A session on a line that takes nothing any more, and under a clock that is put forward and back."""

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from tests.e2e.faults.clocks import told_by
from tests.integration.fix_market import WAIT_S, Market, Sink, at, made, order
from trisagion.adapters.venues.fix.engine import connections
from trisagion.orders.types import ExecType, ExecutionReport

pytestmark = pytest.mark.timeout(180)

ORDERS_MAX = 20_000
SMALL = 4096


@pytest.fixture
def market(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Market]:
    """A venue that has played one second."""
    for market in made(request, tmp_path):
        market.start()
        market.control.play(at(1))
        yield market


class Stalled(Sink):
    """Stands still at the first report."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def on_report(self, report: ExecutionReport) -> None:
        """Wait to be let go on."""
        assert self.go_on.wait(10 * WAIT_S)
        super().on_report(report)


def test_two_ends_that_wait_for_each_other_to_read_do_not_wait_for_ever(market: Market) -> None:
    """Ours stands still amid a flood of orders, then owes a heartbeat; the line is left, what was missed is told."""
    sink, heartbeat_s, sent = Stalled(), 2, 0
    with market.session(sink, heartbeat_s=heartbeat_s) as session:
        for connection in connections(market.port):
            # What the kernel would take in our stead is megabytes.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        since = [0.0]

        def flood() -> None:
            nonlocal sent
            for number in range(ORDERS_MAX):
                since[0] = time.monotonic()
                if not session.send_new(order(f"o{number}", px="90"), at(1)):
                    return
                sent += 1

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() - since[0] < heartbeat_s / 2:
            assert time.monotonic() < deadline, f"{sent} orders, and the line takes more"
            time.sleep(0.01)
        # A heartbeat is due, and the reader is to send it.
        time.sleep(heartbeat_s)
        sink.go_on.set()
        sink.wait(lambda: sink.logons == 2)
        thread.join(WAIT_S)
        assert not thread.is_alive()
        status = market.control.status()
        sink.wait(lambda: len(sink.reports) >= len(status["orders"]))
        taken = [report.cl_ord_id for report in sink.reports if report.exec_type is ExecType.NEW]
    assert sorted(taken) == sorted(each["cl_ord_id"] for each in status["orders"])
    assert 0 < len(taken) < sent, "expected some orders to have been lost on the line"


class Afar:
    """A session in a process whose clock can be put forward and back."""

    def __init__(self, market: Market) -> None:
        self._offset = market.directory / "clock.offset"
        self._process = market.reporter(**told_by(self._offset))
        self._lines: SimpleQueue[list[str | None]] = SimpleQueue()
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(json.loads(line))

    def put(self, seconds: int) -> None:
        """Put its clock off by so much."""
        self._offset.write_text(f"{seconds:+d}\n", encoding="ascii")

    def hears(self, *wanted: list[str | None]) -> None:
        """Wait until it has heard some things, in whatever order."""
        deadline, missing = time.monotonic() + 2 * WAIT_S, list(wanted)
        while missing:
            try:
                heard = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                pytest.fail(f"waited for {missing}; exit code {self._process.poll()}")
            if heard in missing:
                missing.remove(heard)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
@pytest.mark.parametrize("off_s", [-300, 300])
def test_no_report_from_a_moment_when_our_clock_was_off_is_lost_and_the_session_comes_back(
    market: Market, off_s: int
) -> None:
    """The connection ends, for neither side believes in such leaps; with our clock right again there is a session."""
    with market.session(Sink()) as session:
        session.send_new(order("a"), at(1))
    afar = Afar(market)
    afar.hears(["logon"])
    afar.put(off_s)
    market.control.play(at(30))
    time.sleep(3.0)  # what can be heard is heard, and it tries to connect, in the wrong time
    afar.put(0)
    afar.hears(["E4", "filled"], ["logon"])
