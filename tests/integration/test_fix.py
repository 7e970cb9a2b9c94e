"""Our FIX session and the bundled venue, each a process of its own where it may be killed, over loopback."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO

import pytest
import quickfix as fix

from tests.integration.fix_market import WAIT_S, Market, Sink, at, every_version, kill, made, order, with_positions
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.password import Password
from trisagion.adapters.venues.control import VenueControl
from trisagion.adapters.venues.edge import EXIT_UNPROCESSED
from trisagion.adapters.venues.fix.engine import encode
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.clock import SECOND_NS
from trisagion.errors import StateError, StepTimeout, VenueMistake
from trisagion.gateway.requests import new_order, positions_request
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Liquidity, PositionReport, Side
from trisagion.units import Quantity


def heard(process: "subprocess.Popen[str]", until: list[str | None]) -> list[list[str | None]]:
    """Read a reporter's lines up to one."""
    assert process.stdout is not None
    lines: list[list[str | None]] = []
    while not lines or lines[-1] != until:
        lines.append(json.loads(read_line(process.stdout)))
    return lines


def read_line(stream: IO[str]) -> str:
    """Read a line; its absence is told by the test's own timeout."""
    line = stream.readline()
    assert line, "the process ended"
    return line


@pytest.fixture
def market(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Market]:
    """A venue not yet started."""
    yield from made(request, tmp_path)


@pytest.fixture
def opened(market: Market) -> Market:
    """A venue that has played one second."""
    market.start()
    market.control.play(at(1))
    return market


@every_version
def test_orders_live_from_acknowledgement_to_fill(opened: Market) -> None:
    """Accepted, filled in three parts by the tape, each with its fee, as a maker."""
    sink = Sink()
    with opened.session(sink) as session:
        assert session.send_new(order("a"), at(1))
        assert sink.after(1).ord_status is OrderState.NEW
        played = opened.control.play(at(15))
        sink.after(4)
    assert (played.executions, played.working) == (4, 0)
    fills = [(str(report.last_qty), str(report.cum_qty), report.liquidity) for report in sink.reports[1:]]
    maker = Liquidity.MAKER
    assert fills == [("2", "2", maker), ("2", "4", maker), ("1", "5", maker)]
    assert [report.happened_ns for report in sink.reports] == [at(1), at(10), at(11), at(12)]
    assert sink.reports[-1].ord_status is OrderState.FILLED
    assert sink.reports[1].fee == Decimal("99.75") * 2 * 50 * Decimal("0.0004")


@every_version
def test_orders_are_refused_cancelled_and_asked_about(opened: Market) -> None:
    """Every answer of the venue that is not a fill, in one conversation."""
    sink = Sink()
    with opened.session(sink) as session:
        conversation: list[tuple[Callable[[], bool], tuple[str | None, ExecType, OrderState], str | None]] = [
            (
                lambda: session.send_new(order("a", px="100.25"), at(1)),
                ("E1", ExecType.REJECTED, OrderState.REJECTED),
                "POST_ONLY_WOULD_CROSS",
            ),
            (lambda: session.send_new(order("b"), at(1)), ("E2", ExecType.NEW, OrderState.NEW), None),
            (
                lambda: session.send_new(order("b", px="98"), at(1)),
                ("E3", ExecType.REJECTED, OrderState.NEW),
                "DUPLICATE",
            ),
            (lambda: session.ask_status(order("b"), at(1)), (None, ExecType.ORDER_STATUS, OrderState.NEW), None),
            (lambda: session.send_cancel(order("b"), at(1)), ("E4", ExecType.CANCELED, OrderState.CANCELED), None),
            (
                lambda: session.send_cancel(order("b"), at(1)),
                (None, ExecType.CANCEL_REJECTED, OrderState.CANCELED),
                "TOO_LATE",
            ),
            (
                lambda: session.send_cancel(order("c"), at(1)),
                (None, ExecType.CANCEL_REJECTED, OrderState.UNKNOWN),
                "UNKNOWN_ORDER",
            ),
            (
                lambda: session.ask_status(order("c"), at(1)),
                (None, ExecType.ORDER_STATUS, OrderState.REJECTED),
                "UNKNOWN_ORDER",
            ),
        ]
        for number, (say, expected, reason) in enumerate(conversation, start=1):
            assert say()
            report = sink.after(number)
            assert (sink.told()[-1], report.reason) == (expected, reason)
        assert [report.unknown_order for report in sink.reports] == [False] * 7 + [True]


@with_positions
def test_a_taker_trades_at_once_and_the_positions_say_so(opened: Market) -> None:
    """Emergency's order; then the venue's own word on the position, dated by the question."""
    sink = Sink()
    with opened.session(sink) as session:
        session.send_new(order("a", px="99", qty=3, side=Side.SELL, taker=True), at(1))
        assert sink.after(3).ord_status is OrderState.CANCELED
        assert session.ask_positions("R1", at(1))
        sink.wait(lambda: bool(sink.positions))
    assert sink.reports[1].liquidity is Liquidity.TAKER
    assert sink.positions == [(PositionReport("SIM", "R1", "ES", Quantity(Decimal(-1)), at(1)),)]


def test_the_venues_clock_is_compared_with_ours(opened: Market) -> None:
    """From the first message on, by the wall, although the venue's tape is of another year."""
    sink = Sink()
    with opened.session(sink) as session:
        offset_ns = session.offset_ns()
    assert offset_ns is not None
    assert -SECOND_NS < offset_ns < WAIT_S * SECOND_NS


def test_nothing_is_sent_while_logged_off(opened: Market) -> None:
    """Before the logon, and after the venue is gone: False, and the venue never hears of it."""
    sink = Sink()
    session = FixSession(opened.config(), sink, "SIM")
    assert not session.send_new(order("a"), at(1))
    with opened.session(sink) as session:
        kill(opened.processes[0])
        sink.wait(lambda: sink.logouts == 1)
        assert not session.send_new(order("b"), at(1))
        assert not session.ask_status(order("b"), at(1))
        opened.start()
        sink.wait(lambda: sink.logons == 2)
        assert session.ask_status(order("b"), at(1))
        assert sink.after(1).unknown_order
    assert not session.send_new(order("c"), at(1))
    assert opened.control.status()["orders"] == []


def test_an_order_that_the_engine_took_while_the_session_was_down_is_not_sent_later(opened: Market) -> None:
    """The engine says True and would repeat it at logon; it must fill the gap instead."""
    sink = Sink()
    with opened.session(sink) as session:
        kill(opened.processes[0])
        sink.wait(lambda: sink.logouts == 1)
        assert session._store is not None
        late = encode(new_order(order("late"), account="ACC", now_ns=at(1)), session._store.dictionary)
        assert fix.Session.sendToTarget(late, session._id)
        opened.start()
        sink.wait(lambda: sink.logons == 2)
        assert session.ask_status(order("late"), at(1))
        assert sink.after(1).unknown_order


@every_version
def test_fills_while_we_were_away_are_heard_at_the_next_logon(opened: Market) -> None:
    """By the same session object, started again: sequence numbers go on."""
    sink = Sink()
    with opened.session(sink) as session:
        session.send_new(order("a"), at(1))
        sink.after(1)
    assert opened.control.play(at(15)).executions == 4
    with opened.session(sink):
        sink.after(4)
    assert [report.exec_id for report in sink.reports] == ["E1", "E2", "E3", "E4"]


@every_version
@pytest.mark.parametrize("exec_type", ["0", "F"])
def test_a_venue_killed_between_journal_and_socket_comes_back_with_the_same_book(
    market: Market, exec_type: str
) -> None:
    """At an acknowledgement, at a fill: nothing is lost, ids are the same, the session recovers by itself."""
    venue = market.start_fatal(exec_type)
    market.control.play(at(1))
    sink = Sink()
    with market.session(sink) as session:
        session.send_new(order("a"), at(1))
        if exec_type == "F":
            sink.after(1)
            quick = VenueControl(market.directory / "c", timeout_s=0.2)
            with pytest.raises(StepTimeout, match="no answer to play"):
                quick.play(at(15))
        assert venue.wait(WAIT_S) == -signal.SIGKILL
        market.start()
        played = market.control.play(at(15))
        sink.wait(lambda: sink.logons == 2 and bool(sink.reports) and sink.reports[-1].ord_status is OrderState.FILLED)
        assert session.ask_status(order("a"), at(15))
        sink.wait(lambda: sink.reports[-1].exec_type is ExecType.ORDER_STATUS)
    assert (played.executions, played.working) == (4, 0)
    seen = [exec_id for exec_id, _, _ in sink.told() if exec_id is not None]
    assert list(dict.fromkeys(seen)) == ["E1", "E2", "E3", "E4"]
    assert sink.reports[-1].cum_qty == Decimal(5)


def test_a_restarted_venue_repeats_its_last_reports_under_the_same_ids_and_forgets_a_torn_line(opened: Market) -> None:
    """A half-written command was never applied."""
    sink = Sink()
    with opened.session(sink) as session:
        session.send_new(order("a"), at(1))
        sink.after(1)
        before = opened.control.status()
        kill(opened.processes[0])
        with (opened.directory / "v" / "journal.jsonl").open("a") as journal:
            journal.write('{"play": 13780000')
        opened.start()
        sink.after(2)
        sink.wait(lambda: sink.logons == 2)
        assert opened.control.status() == before
    assert sink.told() == [("E1", ExecType.NEW, OrderState.NEW)] * 2


@every_version
def test_a_session_killed_and_started_again_hears_the_fills_it_missed_before_its_logon(opened: Market) -> None:
    """Two fills while nobody listened: when the sink may act, it knows them."""
    reporter = opened.reporter()
    heard(reporter, ["logon"])
    kill(reporter)
    sink = Sink()
    with opened.session(sink) as session:
        session.send_new(order("a"), at(1))
        sink.after(1)
    reporter = opened.reporter()
    heard(reporter, ["logon"])
    kill(reporter)
    opened.control.play(at(11.5))
    reporter = opened.reporter()
    assert heard(reporter, ["logon"]) == [["E2", "partially_filled"], ["E3", "partially_filled"], ["logon"]]
    opened.control.play(at(15))
    assert heard(reporter, ["E4", "filled"]) == [["E4", "filled"]]


def test_a_report_that_the_sink_could_not_process_ends_the_process_and_is_heard_again(opened: Market) -> None:
    """The traceback is on stderr, the sequence number stays, the next process gets the report and what came after."""
    sink = Sink()
    with opened.session(sink) as session:
        session.send_new(order("a"), at(1))
        sink.after(1)
    reporter = opened.reporter(deadly="E3")
    heard(reporter, ["logon"])
    opened.control.play(at(15))
    assert reporter.wait(WAIT_S) == EXIT_UNPROCESSED
    assert reporter.stderr is not None
    assert "OSError: the database is gone" in reporter.stderr.read()
    assert heard(opened.reporter(), ["logon"]) == [["E3", "partially_filled"], ["E4", "filled"], ["logon"]]


@pytest.mark.parametrize(("broken", "kind"), [({54: "Z"}, "35=3"), ({44: None}, "35=j")])
def test_an_order_refused_as_a_message_comes_up_as_doubt_about_it(
    opened: Market, broken: dict[int, str | None], kind: str
) -> None:
    """A session reject and a business reject; the status request then clears the doubt."""
    sink = Sink()
    with opened.session(sink) as session:
        fields = {**new_order(order("a"), account="ACC", now_ns=at(1)), **broken}
        assert session._send({tag: value for tag, value in fields.items() if value is not None})
        report = sink.after(1)
        assert (report.cl_ord_id, report.ord_status, report.happened_ns) == ("a", OrderState.UNKNOWN, at(1))
        assert (report.reason or "").startswith(f"REJECTED_MESSAGE: {kind} ")
        session.ask_status(order("a"), at(1))
        assert sink.after(2).unknown_order


def test_answers_to_questions_of_an_earlier_process_are_not_handed_up(opened: Market) -> None:
    """A position learned before the restart says nothing about now."""
    sink = Sink()
    with opened.session(sink) as session:
        assert session._send(positions_request("theirs", account="ACC", now_ns=at(1)))
        assert session.ask_positions("ours", at(2))
        sink.wait(lambda: bool(sink.positions))
    assert [answer[0].request_id for answer in sink.positions] == ["ours"]


def test_the_venue_turns_other_comp_ids_away(opened: Market) -> None:
    """The engine closes the connection without a word; the right one still gets in."""
    sink, stranger = Sink(), Sink()
    session = FixSession(opened.config(sender="THEM", store_dir=opened.directory / "x"), stranger, "SIM")
    session.start()
    with opened.session(sink):
        log = opened.directory / "v" / "messages"
        deadline = time.monotonic() + WAIT_S
        while not any("THEM" in path.read_text(errors="replace") for path in log.glob("*.log")):
            assert time.monotonic() < deadline
        assert not session.logged_on()
    session.stop()
    assert stranger.logons == 0


@every_version
def test_a_password_is_in_nothing_that_the_engine_keeps_of_its_logons(opened: Market) -> None:
    """Nor does the engine stumble over what was taken out, when the venue asks for it all again."""
    sink, secret = Sink(), "correct-horse"
    with opened.session(sink, username="us", password=Password(lambda: secret)) as session:
        session.send_new(order("a"), at(1))
        sink.after(1)
        kill(opened.processes[0])
        sink.wait(lambda: sink.logouts == 1)
        (numbers,) = (opened.directory / "v").glob(f"*-{opened.sender}.seqnums")
        ours, _, _ = numbers.read_text().partition(":")
        numbers.write_text(f"{ours}: 0000000001")
        opened.start()
        sink.wait(lambda: sink.logons == 2)
        assert session.ask_status(order("a"), at(1))
        sink.wait(lambda: sink.reports[-1].exec_type is ExecType.ORDER_STATUS)
    (body,) = (opened.directory / "s").glob("*.body")
    assert body.read_bytes().count(b"\x01554=" + b"*" * len(secret) + b"\x01") >= 2
    kept = [path for path in (opened.directory / "s").iterdir() if path.is_file()]
    assert not [path for path in kept if secret.encode() in path.read_bytes()]
    assert secret not in repr(session.config)


def test_many_orders_are_each_answered_once_and_in_order_while_the_tape_plays(opened: Market) -> None:
    """Commands and questions come from two threads; neither end stops the other."""
    sink, count = Sink(), 300
    with opened.session(sink) as session:
        for number in range(count):
            assert session.send_new(order(f"n{number}", px="90"), at(1))
            if number % 10 == 0:
                opened.control.play(at(1) + number)
        sink.after(count)
    assert [report.cl_ord_id for report in sink.reports] == [f"n{number}" for number in range(count)]
    assert [report.exec_id for report in sink.reports] == [f"E{number + 1}" for number in range(count)]


def test_a_port_in_use_is_one_sentence_and_exit_code_4(opened: Market, tmp_path: Path) -> None:
    """The venue that was there goes on."""
    arguments = [argument.replace(str(tmp_path / "v"), str(tmp_path / "w")) for argument in opened.arguments()]
    arguments[arguments.index("--control") + 1] = str(tmp_path / "d")
    second = opened.run("-m", "trisagion.adapters.venues.fix.venue", *arguments)
    _, error = second.communicate(timeout=WAIT_S)
    assert second.returncode == StateError.exit_code == 4
    assert error.startswith(f"venue: port {opened.port} cannot be listened to; is it in use?")
    assert len(error.splitlines()) == 1
    assert opened.control.play(at(2)).played_ns == at(2)


def test_a_venue_keeps_to_one_owner_and_one_tape(opened: Market) -> None:
    """A second process on the store, and the store's journal with other data, are refused."""
    second = opened.start()
    _, error = second.communicate(timeout=WAIT_S)
    assert (second.returncode, "one session has one owner" in error) == (4, True)
    opened.control.stop()
    assert opened.processes[0].wait(WAIT_S) == 0
    opened.spec = DataSpec("es")
    other = opened.start()
    _, error = other.communicate(timeout=WAIT_S)
    assert (other.returncode, "the journal is about" in error) == (4, True)


@pytest.mark.parametrize("by", ["SIGTERM", "control"])
def test_the_venue_stops_clean(opened: Market, by: str) -> None:
    """Exit code 0, nothing on stderr, the socket is gone."""
    venue = opened.processes[0]
    opened.control.stop() if by == "control" else venue.terminate()
    _, error = venue.communicate(timeout=WAIT_S)
    assert (venue.returncode, error) == (0, "")
    assert not (opened.directory / "c").exists()


def test_the_control_socket_refuses_what_it_does_not_know(opened: Market) -> None:
    """With a reason; and it goes on."""
    with pytest.raises(VenueMistake, match="expected play with until_ns, fault, status or stop, found"):
        opened.control._ask({"op": "dance"})
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_S)
        connection.connect(str(opened.directory / "c"))
        connection.sendall(b"not json\n")
        assert json.loads(connection.makefile("rb").readline())["ok"] is False
    assert opened.control.play(at(2)).played_ns == at(2)
