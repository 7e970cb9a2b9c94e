"""A drop copy over loopback: the bundled venue's second session, our ear on it, and a ledger that both feed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import quickfix as fix

from tests.builders import BOOK_RULES, TUESDAY_NS, Desk, qty
from tests.integration.fix_market import WAIT_S, Market, Sink, at, order
from trisagion.adapters.db.engine import retrying
from trisagion.adapters.venues.fix.drop_copy import DropCopySession
from trisagion.adapters.venues.fix.engine import encode
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import Application
from trisagion.clock import SECOND_NS
from trisagion.gateway.requests import new_order, status_request
from trisagion.observer_ports import Observation
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport
from trisagion.services import compare_copies
from trisagion.services.book_fills import book

LATER_NS = 11 * SECOND_NS


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """A venue that has played one second."""
    made = Market(tmp_path)
    made.start()
    made.control.play(at(1))
    yield made
    made.close()


class Booking(Sink):
    """Books what the session tells, as the session's owner does."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def on_report(self, report: ExecutionReport) -> None:
        """Book, then keep."""
        retrying(lambda: book(self.desk.database, BOOK_RULES, report))
        super().on_report(report)


class Copying:
    """Records what the drop copy tells, as its owner does."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.copies: list[str | None] = []
        self.unreadable: list[str] = []
        self.answers: dict[str, int] = {}

    def on_copy(self, report: ExecutionReport) -> None:
        """Record, then keep."""
        retrying(lambda: compare_copies.record(self.desk.database, report, time.time_ns()))
        self.copies.append(report.exec_id)

    def on_unreadable(self, text: str, why: str) -> None:
        """Keep."""
        self.unreadable.append(text)

    def on_answer(self, request_id: str) -> None:
        """Keep how much had been heard by then."""
        self.answers[request_id] = len(self.copies)

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something heard."""
        deadline = time.monotonic() + WAIT_S
        while not happened():
            assert time.monotonic() < deadline, (self.copies, self.answers, self.unreadable)
            time.sleep(0.005)

    def answered(self, session: DropCopySession, name: str) -> int:
        """Ask until there is an answer, as the owner does; return how much had been heard by then."""
        deadline = time.monotonic() + WAIT_S
        turn = 0
        while not any(asked.startswith(name) for asked in self.answers):
            assert time.monotonic() < deadline, self.answers
            session.ask(f"{name}.{turn}")
            turn += 1
            time.sleep(0.1)
        return next(count for asked, count in self.answers.items() if asked.startswith(name))


@contextmanager
def listening(market: Market, sink: Copying) -> Iterator[DropCopySession]:
    """A drop copy that is told things."""
    config = market.config(sender=market.copied, store_dir=market.directory / "dc")
    session = DropCopySession(config, sink, "SIM")
    session.start()
    try:
        yield session
    finally:
        session.stop()


def compared(desk: Desk) -> list[str]:
    """Compare as if the grace were over; return the words."""
    wall_ns = time.time_ns() + LATER_NS
    return [outcome.word for outcome in compare_copies.compare(desk.database, BOOK_RULES, "SIM", wall_ns, TUESDAY_NS)]


def sent(desk: Desk, session: FixSession, name: str = "a") -> None:
    """Send an order that is in the database as its owner would have it."""
    made = replace(order(name), state=OrderState.PENDING_NEW, session="SIM")
    desk.put(made)
    assert session.send_new(made, at(1))


def test_a_fill_swallowed_on_the_session_is_booked_from_the_copy_and_its_order_resolved(
    market: Market, shared: Desk
) -> None:
    """Unknown for a gap in its count, and so for ever, but for the copy; repeated or late, it is booked once."""
    sink, ear = Booking(shared), Copying(shared)
    with market.session(sink) as session, listening(market, ear) as copy:
        sent(shared, session)
        sink.after(1)
        market.control.fault("swallow", trades=1)
        market.control.play(at(15))
        sink.after(3)
        ear.until(lambda: len(ear.copies) == 4)
        assert [report.exec_id for report in sink.reports] == ["E1", "E3", "E4"]
        assert ear.copies == ["E1", "E2", "E3", "E4"]
        session.ask_status(shared.order("a"), at(15))
        sink.after(4)
        assert shared.order("a").state is OrderState.UNKNOWN
        assert shared.position.qty == 3
        assert shared.events('order.alarm a {"text": "CUM_QTY_GAP')
        assert "doubtful" in compared(shared)
        assert shared.position.qty == 5
        assert [event.split(" ", 2)[:2] for event in shared.events("execution")] == [["execution.recovered", "E2"]]
        session.ask_status(shared.order("a"), at(15))
        sink.wait(lambda: shared.order("a").state is OrderState.FILLED)
        market.control.fault("repeat", exec_id="E2")
        sink.wait(lambda: sink.reports[-1].exec_id == "E2")
        assert ear.answered(copy, "C") == 4
        assert compared(shared) == ["compared"]
        assert shared.position.qty == 5
        compare_copies.observe(shared.database, "SIM", at(15))
        with shared.database.snapshot() as tx:
            (seen,) = tx.ledger.observations("ES")
        assert seen == Observation("drop_copy", "ES", qty(5), at(15))


def test_a_drop_copy_that_was_away_hears_all_of_it_before_it_is_complete(market: Market, desk: Desk) -> None:
    """Reports wait in the venue's store; the answer to a question comes after them; nothing is booked twice."""
    sink, ear = Booking(desk), Copying(desk)
    with market.session(sink) as session:
        with listening(market, ear) as copy:
            assert ear.answered(copy, "first") == 0
        sent(desk, session)
        sink.after(1)
        market.control.play(at(15))
        sink.after(4)
        assert compared(desk) == ["compared"]
        with listening(market, ear) as copy:
            assert ear.answered(copy, "second") == 4
            assert not copy.ask("") or "" not in ear.answers
        assert ear.copies == ["E1", "E2", "E3", "E4"]
    assert compared(desk) == ["compared"]
    with desk.database.snapshot() as tx:
        assert tx.copies.undecided("SIM", 9) == []
    assert desk.events("execution") == []
    assert desk.position.qty == 5


def test_a_bust_told_on_the_copy_alone_is_booked_and_heard_again_later(market: Market, desk: Desk) -> None:
    """The session is away when the trade is busted; when it is back, the bust is a duplicate."""
    sink, ear = Booking(desk), Copying(desk)
    with listening(market, ear) as copy:
        with market.session(sink) as session:
            sent(desk, session)
            sink.after(1)
            market.control.play(at(15))
            sink.after(4)
        market.control.fault("bust", exec_id="E3")
        ear.until(lambda: "E5" in ear.copies)
        compared(desk)
        assert (desk.position.qty, desk.order("a").cum_qty) == (qty(3), qty(3))
        with market.session(sink):
            sink.wait(lambda: sink.reports[-1].exec_id == "E5")
        assert desk.position.qty == 3
        assert copy.messages.last > 0
    compare_copies.observe(desk.database, "SIM", at(15))
    with desk.database.snapshot() as tx:
        assert [seen.qty for seen in tx.ledger.observations("ES")] == [Decimal(3)]


def test_no_application_message_leaves_a_drop_copy(market: Market, desk: Desk) -> None:
    """Not even one that is given to the engine directly; the session goes on."""
    ear = Copying(desk)
    with listening(market, ear) as copy:
        ear.answered(copy, "first")
        assert copy._store is not None
        smuggled = encode(new_order(order("a"), account="ACC", now_ns=at(1)), copy._store.dictionary)
        fix.Session.sendToTarget(smuggled, fix.SessionID("FIX.4.4", market.copied, "SIM"))
        ear.answered(copy, "second")
        lines = copy.messages.after(0, 1000)
    assert not [line.text for line in lines if line.direction == "out" and "\x0135=D" in line.text]
    assert market.control.status()["orders"] == []


def test_the_venue_refuses_what_a_drop_copy_asks(market: Market) -> None:
    """35=j, 380=6, whatever it is; the books do not change, and the session that trades hears nothing of it."""
    sink, stranger = Sink(), Sink()
    with (
        market.session(sink),
        market.session(stranger, sender=market.copied, store_dir=market.directory / "dc") as session,
    ):
        fields: list[dict[int, Any]] = [
            dict(new_order(order("a"), account="ACC", now_ns=at(1))),
            dict(status_request(order("a"), account="ACC")),
        ]
        for message in fields:
            assert session._send(message)
        stranger.after(1)
        assert stranger.reports[0].reject is not None
        deadline = time.monotonic() + WAIT_S
        while True:
            lines = [line.text for line in session.messages.after(0, 1000) if line.direction == "in"]
            refused = [text for text in lines if "\x0135=j\x01" in text and "\x01380=6\x01" in text]
            if len(refused) == 3:
                break
            assert time.monotonic() < deadline, lines
            time.sleep(0.01)
    assert stranger.reports[0].reject.value == "not_authorised"
    assert market.control.status()["orders"] == []
    assert sink.reports == []


def test_what_the_copy_says_that_is_no_report_is_handed_up_as_unreadable(market: Market, desk: Desk) -> None:
    """And a report that lacks what it needs; the ear stays."""
    ear = Copying(desk)
    session = DropCopySession(market.config(), ear, "SIM")
    broken = {35: "8", 17: "E1", 150: "F", 11: "a", 37: "O1", 39: "1", 55: "ES", 54: "1", 14: "1", 151: "1", 6: "1"}
    for fields in (broken, {35: "j", 45: "1", 372: "D", 380: "0"}):
        text = "".join(f"{tag}={value}\x01" for tag, value in {8: "FIX.4.4", **fields, 10: "000"}.items())
        assert session.from_app(fix.Message(text, False))
    assert len(ear.unreadable) == 2
    assert ear.copies == []
    refusal = fix.Message("8=FIX.4.4\x019=5\x0135=3\x0145=7\x01373=5\x0110=000\x01", False)
    Application(session).toAdmin(refusal, None)
    assert "\x0145=7\x01" in ear.unreadable[2], "what the engine refuses nobody else hears of"
