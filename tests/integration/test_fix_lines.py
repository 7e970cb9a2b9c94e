"""A session on a line that takes nothing any more, and under a clock that is put forward and back."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    """Ours stands still amid a flood of orders, then owes a heartbeat; the line is left, and what was missed is told."""
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
