"""The paper venue where it is not like a line: the end of its process is the end of both sides."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fix_market import WAIT_S, Market, Sink, at, kill, order
from trisagion.adapters.venues.edge import EXIT_UNPROCESSED
from trisagion.adapters.venues.messages import MessageFiles
from trisagion.adapters.venues.paper import PaperConfig, PaperSession
from trisagion.errors import ConfigError, OurMistake, StateError, VenueMistake
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport
from trisagion.session_ports import MessageLine

OWNER = """
import json, os, sys, threading
from pathlib import Path
from tests.integration.fix_market import Sink, at, order
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.venues.paper import PaperConfig, PaperSession

where, spec, deadly = Path(sys.argv[1]), DataSpec.from_json(sys.argv[2]), sys.argv[3]

class Telling(Sink):
    def on_logon(self):
        print(json.dumps("logon"), flush=True)
        super().on_logon()
    def on_report(self, report):
        if report.exec_id == deadly:
            raise OSError("the database is gone")
        print(json.dumps([report.exec_id, report.ord_status]), flush=True)
        super().on_report(report)

sink = Telling()
session = PaperSession(PaperConfig((spec,), "ACC", where / "s", where / "c"), sink, "SIM")
session.start()
sink.wait(lambda: sink.logons == 1)
for line in sys.stdin:
    assert session.send_new(order(line.strip()), at(1))
"""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """A tape, and the control of a venue that is not yet there."""
    made = Market(tmp_path)
    yield made
    made.close()


def config(market: Market) -> PaperConfig:
    """How the paper venue is made."""
    return PaperConfig((market.spec,), "ACC", market.directory / "s", market.directory / "c", reconnect_s=0.1)


def owner(market: Market, deadly: str = "never") -> "subprocess.Popen[str]":
    """Start a process that owns the session and tells what it hears; each line that it is told is sent as an order."""
    return market.run("-c", OWNER, str(market.directory), market.spec.to_json(), deadly, stdin=subprocess.PIPE)


def heard(process: "subprocess.Popen[str]", until: object) -> list[object]:
    """Read what an owner tells up to something."""
    assert process.stdout is not None
    said: list[object] = []
    while not said or said[-1] != until:
        line = process.stdout.readline()
        assert line, process.communicate()
        said.append(json.loads(line))
    return said


def send(process: "subprocess.Popen[str]", name: str) -> None:
    """Have an owner send an order."""
    assert process.stdin is not None
    process.stdin.write(f"{name}\n")
    process.stdin.flush()


def test_a_killed_owner_comes_back_with_the_same_book(market: Market) -> None:
    """No order, no fill and no ExecID is another one than before; what was heard is not told again."""
    first = owner(market)
    heard(first, "logon")
    market.control.play(at(1))
    send(first, "a")
    heard(first, ["E1", OrderState.NEW])
    market.control.play(at(10.5))
    heard(first, ["E2", OrderState.PARTIALLY_FILLED])
    books = market.control.status()
    kill(first)
    second = owner(market)
    assert heard(second, "logon") in (["logon"], [["E2", OrderState.PARTIALLY_FILLED], "logon"])
    assert market.control.status() == books
    market.control.play(at(15))
    assert heard(second, ["E4", OrderState.FILLED])[-2:] == [
        ["E3", OrderState.PARTIALLY_FILLED],
        ["E4", OrderState.FILLED],
    ]


def test_a_report_that_could_not_be_booked_ends_the_process_and_is_told_to_the_next_one_first(market: Market) -> None:
    """With all that came after it, before the logon; what was booked before it is not repeated."""
    first = owner(market, deadly="E2")
    heard(first, "logon")
    market.control.play(at(1))
    send(first, "a")
    heard(first, ["E1", OrderState.NEW])
    market.control.play(at(15))
    assert first.wait(WAIT_S) == EXIT_UNPROCESSED
    second = owner(market)
    assert heard(second, "logon") == [
        ["E2", OrderState.PARTIALLY_FILLED],
        ["E3", OrderState.PARTIALLY_FILLED],
        ["E4", OrderState.FILLED],
        "logon",
    ]
    second.send_signal(signal.SIGKILL)


def test_a_message_that_the_venue_refuses_leaves_its_order_in_doubt(market: Market) -> None:
    """As on a line; a question that is refused has no answer, and the answer about all orders is never complete."""
    sink = Sink()
    session = PaperSession(config(market), sink, "SIM")
    session.start()
    try:
        sink.wait(lambda: sink.logons == 1)
        market.control.play(at(1))
        market.control.fault("outage", seconds=60)
        assert session.ask_all_statuses("M1")
        assert session.ask_positions("P1", at(1))
        assert session.send_new(order("a"), at(1))
        doubt: ExecutionReport = sink.after(1)
        assert (doubt.exec_type, doubt.ord_status) == (ExecType.ORDER_STATUS, OrderState.UNKNOWN)
        assert (doubt.reject, doubt.unknown_order) == (Reject.APPLICATION_AWAY, False)
        assert (sink.complete, sink.positions) == ([], [])
    finally:
        session.stop()
    said = [(line.direction, line.text.split("\x01")[1]) for line in _messages(market)]
    # Two threads write: each in its order.
    assert [kind for direction, kind in said if direction == "out"] == ["35=AF", "35=AN", "35=D"]
    assert [kind for direction, kind in said if direction == "in"] == ["35=j", "35=j", "35=j"]


def test_a_store_has_one_owner_and_a_session_one_start(market: Market) -> None:
    """A second one would write into the first one's journal."""
    sink = Sink()
    session = PaperSession(config(market), sink, "SIM")
    with pytest.raises(OurMistake, match="before its start"):
        _ = session.messages
    session.start()
    try:
        sink.wait(lambda: sink.logons == 1)
        with pytest.raises(OurMistake, match="started twice"):
            session.start()
        with pytest.raises(StateError, match="another process has this"):
            PaperSession(config(market), Sink(), "SIM").start()
        with pytest.raises(VenueMistake, match="expected a kind of fault that there is, found 'gap'"):
            market.control.fault("gap", messages=1)
        market.control.stop()
        sink.wait(lambda: sink.logouts == 1)
        assert not session.send_new(order("a"), at(1))
    finally:
        session.stop()


def test_a_control_socket_with_too_long_a_path_is_refused(market: Market) -> None:
    """Before anything is made."""
    far = market.directory / ("x" * 120)
    with pytest.raises(ConfigError, match="a socket's path has at most 107 bytes"):
        PaperSession(PaperConfig((market.spec,), "ACC", far, far), Sink(), "SIM")


def _messages(market: Market) -> list[MessageLine]:
    files = MessageFiles(market.directory / "s" / "messages")
    try:
        return list(files.after(0, 100))
    finally:
        files.close()
