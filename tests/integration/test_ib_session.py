"""Our session with Interactive Brokers, against the bundled TWS simulator in its own process."""

import sys
import time
from collections.abc import Iterator
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.fix_market import WAIT_S, Sink, at, order
from tests.integration.ib_market import (
    ACCOUNT,
    CLIENT,
    Numbers,
    TwsMarket,
    changed,
    eventually,
    fills,
    judge,
    name_of,
)
from trisagion.adapters.venues.ib import session as ib_session
from trisagion.adapters.venues.ib.session import IbSession
from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError
from trisagion.gateway import ib_book
from trisagion.gateway.ib_guard import ResetWindow
from trisagion.gateway.ib_state import Phase
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Liquidity

_S, _E = OrderState, ExecType


@pytest.fixture
def market(tmp_path: Path) -> Iterator[TwsMarket]:
    """A simulator that runs, at the first second of its tape."""
    market = TwsMarket(tmp_path)
    market.start()
    market.control.play(at(1))
    yield market
    market.close()


def working(session: IbSession, sink: Sink, name: str = "A", px: str = "99.75", qty: int = 5) -> None:
    """Let an order work."""
    count = len(sink.reports)
    assert session.send_new(order(name, px, qty), at(1))
    assert sink.after(count + 1).exec_type is _E.NEW


def test_an_order_works_and_is_filled_with_its_fees(market: TwsMarket) -> None:
    """Each execution goes up with the commission that TWS tells apart from it, and counts those before it."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        for second in (11, 12, 13):
            market.control.play(at(second))
        sink.after(4)
        judge(market, sink)
    told = [(int(each.last_qty), each.last_px, int(each.cum_qty), int(each.leaves_qty)) for each in fills(sink)]
    assert told == [(2, Decimal("99.75"), 2, 3), (2, Decimal("99.75"), 4, 1), (1, Decimal("99.75"), 5, 0)]
    assert [each.fee for each in fills(sink)] == [Decimal("3.99"), Decimal("3.99"), Decimal("1.995")]
    assert {each.liquidity for each in fills(sink)} == {Liquidity.MAKER}
    assert fills(sink)[-1].ord_status is _S.FILLED
    assert not sink.unreadable


def test_an_order_that_crosses_takes_and_says_so(market: TwsMarket) -> None:
    """There is no post-only: what the guard lets through comes back as the taker's fill that shuts the gate."""
    sink = Sink()
    with market.session(sink) as session:
        assert session.send_new(order("T", "101", 3, taker=True), at(1))
        sink.wait(lambda: len(fills(sink)) == 1)
        judge(market, sink)
    assert fills(sink)[0].liquidity is Liquidity.TAKER


def test_a_cancel_ends_an_order_once_and_a_second_is_refused(market: TwsMarket) -> None:
    """The refusal proves nothing, so it comes as doubt with its reason; asked about, the order is over."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        assert session.send_cancel(order("A"), at(2))
        assert (sink.after(2).exec_type, sink.reports[1].ord_status) == (_E.CANCELED, _S.CANCELED)
        assert session.send_cancel(order("A"), at(3))
        refused = sink.after(3)
        assert (refused.exec_type, refused.ord_status) == (_E.CANCEL_REJECTED, _S.UNKNOWN)
        assert refused.reject in {Reject.CANCEL_TOO_LATE, Reject.UNKNOWN_ORDER}
        assert session.ask_status(order("A"), at(3))
        assert (sink.after(4).exec_type, sink.reports[3].ord_status) == (_E.ORDER_STATUS, _S.CANCELED)
        assert not session.send_cancel(order("B"), at(3)), "an order that TWS has never named has no id there"


def test_a_replace_keeps_the_order_and_gives_it_its_next_name(market: TwsMarket) -> None:
    """One order at TWS, whatever orderRef it keeps; both names are of ours, and a status answers for both."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        market.control.play(at(11))
        sink.after(2)
        after = changed(order("A"), "99.50", 7)
        assert session.send_replace(after, at(10))
        told = sink.after(3)
        assert (told.exec_type, told.ord_status) == (_E.REPLACED, _S.PARTIALLY_FILLED)
        assert (told.cl_ord_id, told.request_id) == ("A", name_of(after))
        assert (int(told.cum_qty), int(told.leaves_qty), told.price) == (2, 5, Decimal("99.50"))
        assert len(market.orders()) == 1
        judge(market, sink)


def test_a_replace_whose_answer_was_lost_is_proved_by_the_order(market: TwsMarket) -> None:
    """A new process, which knows nothing, asks by both names; price and quantity say that it was accepted."""
    first, second = Sink(), Sink()
    after = changed(order("A"), "99.50", 7)
    with market.session(first) as session:
        working(session, first)
        market.fault("acknowledgements", lost=1.0, late=0.0, late_s=0.0, seed=1)
        assert session.send_replace(after, at(2))
        eventually(lambda: market.control.status()["orders"][0]["qty"] == "7")
        market.fault("acknowledgements", lost=0.0, late=0.0, late_s=0.0, seed=1)
    with market.session(second) as session:
        assert session.ask_status(after, at(3))
        told = second.after(1)
        assert {told.cl_ord_id, told.request_id} == {"A", name_of(after)}
        assert (told.ord_status, told.price, int(told.leaves_qty)) == (_S.NEW, Decimal("99.50"), 7)


def test_a_replace_of_a_filled_order_is_refused(market: TwsMarket) -> None:
    """The fills stay, and the refusal names the request."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        market.control.play(at(13))
        sink.wait(lambda: len(fills(sink)) == 3)
        after = changed(order("A"), "99.50", 7)
        count = len(sink.reports)
        assert session.send_replace(after, at(12))
        refused = sink.after(count + 1)
        assert refused.exec_type in {_E.REPLACE_REJECTED, _E.ORDER_STATUS}
        judge(market, sink)


def test_an_order_that_none_of_the_answers_names_is_unknown(market: TwsMarket) -> None:
    """Never sent: open orders, completed orders and executions have all been told, on its day."""
    sink = Sink()
    with market.session(sink) as session:
        assert session.ask_status(order("NEVER"), at(2))
        told = sink.after(1)
        assert told.unknown_order
        assert (told.symbol, told.exec_type) == ("ES", _E.ORDER_STATUS)
        assert session.ask_status(order("NEVER"), at(2) + 86_400 * SECOND_NS)
        late = sink.after(2)
        assert not late.unknown_order, "yesterday's executions are not told: absence proves nothing"
        assert late.ord_status is _S.UNKNOWN


def test_all_orders_are_named_and_then_the_answer_ends(market: TwsMarket) -> None:
    """Those of ours by their names, others by a name that no order of ours has."""
    sink = Sink()
    with market.session(sink) as session:
        assert session.ask_all_statuses("NONE")
        sink.wait(lambda: sink.complete == ["NONE"])
        assert not sink.reports
        working(session, sink)
        market.fault("manual", symbol="ES", side="BUY", qty="1", px="90", account=ACCOUNT)
        assert session.ask_all_statuses("TWO")
        sink.wait(lambda: sink.complete == ["NONE", "TWO"])
        named = [each.cl_ord_id for each in sink.reports if each.exec_type is _E.ORDER_STATUS]
        assert sorted(name[0] for name in named) == ["?", "A"]


def test_positions_are_told_after_the_fills_that_they_count(market: TwsMarket) -> None:
    """Flat is told, too."""
    sink = Sink()
    with market.session(sink) as session:
        assert session.ask_positions("P1", at(1))
        sink.wait(lambda: len(sink.positions) == 1)
        working(session, sink)
        market.control.play(at(11))
        assert session.ask_positions("P2", at(10))
        sink.wait(lambda: len(sink.positions) == 2)
        assert len(fills(sink)) == 1
    assert [[(each.symbol, int(each.qty)) for each in told] for told in sink.positions] == [[("ES", 0)], [("ES", 2)]]


def test_lost_acknowledgements_leave_a_doubt_and_no_second_order(
    market: TwsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word within the time is doubt; asked about, TWS has the order."""
    monkeypatch.setattr(ib_book, "UNHEARD_S", 0.5)
    sink = Sink()
    with market.session(sink) as session:
        market.fault("acknowledgements", lost=1.0, late=0.0, late_s=0.0, seed=1)
        assert session.send_new(order("A"), at(1))
        doubt = sink.after(1)
        assert (doubt.cl_ord_id, doubt.ord_status, doubt.symbol) == ("A", _S.UNKNOWN, "")
        assert session.ask_status(order("A"), at(2))
        sink.wait(lambda: sink.reports[-1].symbol == "ES" and sink.reports[-1].exec_type is _E.ORDER_STATUS)
        assert sink.reports[-1].ord_status is _S.NEW
        assert list(market.orders()) == ["A"]


@pytest.mark.parametrize("reset", [0, 1])
def test_a_line_that_dies_with_orders_in_it_loses_and_doubles_none(market: TwsMarket, reset: int) -> None:
    """Half open or cut: of 15 sent, TWS has some; each is found by its name or proved unknown, none is sent again."""
    sink = Sink()
    sent = [order(f"A{number}", "99.25", 1) for number in range(15)]
    with market.session(sink, heartbeat_s=1) as session:
        market.fault("drop", client=CLIENT, messages=6, reset=reset)
        handed = [each for each in sent if session.send_new(each, at(1))]
        assert len(handed) >= 6
        sink.wait(lambda: sink.logons == 2)
        count = len(sink.reports)
        for each in sent:
            assert session.ask_status(each, at(2))

        def answers() -> dict[str, bool]:
            found = [each for each in sink.reports[count:] if each.exec_type is _E.ORDER_STATUS and each.symbol]
            return {each.cl_ord_id: each.unknown_order for each in found}

        sink.wait(lambda: len(answers()) == len(sent))
        there = set(market.orders())
        assert {name for name, unknown in answers().items() if not unknown} == there
        assert len(there) < len(sent)
        judge(market, sink)


@pytest.mark.parametrize("data", ["lost", "kept"])
def test_orders_that_vanish_while_the_servers_are_lost_are_asked_about(market: TwsMarket, data: str) -> None:
    """1100: nothing leaves. What was filled meanwhile, unseen, is told after 1101 or 1102, before the logon."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        market.fault("servers_lost")
        assert session.send_new(order("B"), at(1)) in {True, False}, "the word may not have come yet"
        sink.wait(lambda: sink.logouts == 1)
        assert not session.logged_on()
        assert not session.send_new(order("C"), at(1))
        market.control.play(at(11))
        market.fault("servers_back", data=data)
        sink.wait(lambda: sink.logons == 2)
        sink.wait(lambda: len(fills(sink)) == 1)
        assert set(market.orders()) == {"A"}
        judge(market, sink)


def test_rolled_back_ids_are_not_used_again(market: TwsMarket) -> None:
    """Nor after a restart of the night, with an order of before that still works."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        working(session, sink, "B", "99.50", 1)
        market.fault("restart", ids=2)
        sink.wait(lambda: sink.logons == 2)
        working(session, sink, "C", "99.50", 1)
        assert set(market.orders()) == {"A", "B", "C"}
        assert session.send_cancel(order("A"), at(2))
        sink.wait(lambda: sink.reports[-1].exec_type is _E.CANCELED)
        assert sink.reports[-1].cl_ord_id == "A"
    # A process that has lost its numbers, too: TWS' open orders are above what TWS offers.
    market.numbers = Numbers()
    market.fault("roll_back_ids", client=CLIENT, ids=2)
    with market.session(sink) as session:
        working(session, sink, "D", "99.50", 1)
        judge(market, sink)
    assert market.numbers.asked[0][0] > 2


def test_an_id_that_was_used_is_a_doubt_and_not_an_end(market: TwsMarket) -> None:
    """103 says nothing of the order that has the id; ours was not taken, and that is found out by its name."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        assert session.send_new(order("T", "101", 1, taker=True), at(1))
        sink.wait(lambda: len(fills(sink)) == 1)
        count = len(sink.reports)
        session._free_ids = range(2, 3)
        assert session.send_new(order("B", "99.50", 1), at(2))
        doubt = sink.after(count + 1)
        assert (doubt.cl_ord_id, doubt.reject, doubt.ord_status) == ("B", Reject.DUPLICATE_ORDER, _S.UNKNOWN)
        market.control.play(at(11))
        sink.wait(lambda: len(fills(sink)) == 2)
        assert [each.cl_ord_id for each in fills(sink)] == ["T", "A"]
        judge(market, sink)


def test_repeated_words_change_nothing(market: TwsMarket) -> None:
    """Statuses come twice, and an execution is told again by whoever is asked."""
    sink = Sink()
    with market.session(sink) as session:
        market.fault("duplicate_status", on=1)
        working(session, sink)
        market.control.play(at(11))
        sink.after(2)
        market.fault("repeat", exec_id=fills(sink)[0].exec_id)
        assert session.ask_all_statuses("M")
        sink.wait(lambda: sink.complete == ["M"])
        kinds = [each.exec_type for each in sink.reports]
        assert kinds == [_E.NEW, _E.TRADE, _E.ORDER_STATUS]


def test_a_correction_names_the_execution_that_it_corrects(market: TwsMarket) -> None:
    """`….02` after `….01`; corrected to nothing it is a bust. A new process reports both: either can be booked."""
    first, second = Sink(), Sink()
    with market.session(first) as session:
        working(session, first)
        market.control.play(at(12))
        first.after(3)
        one, two = (str(each.exec_id) for each in fills(first))
        market.fault("correct", exec_id=one, px="99.50", qty="1")
        told = first.after(4)
        assert (told.exec_type, told.ref_exec_id) == (_E.TRADE_CORRECT, one)
        assert (told.last_px, int(told.last_qty), int(told.cum_qty)) == (Decimal("99.50"), 1, 3)
        market.fault("bust", exec_id=two)
        gone = first.after(5)
        assert (gone.exec_type, gone.ref_exec_id, int(gone.cum_qty)) == (_E.TRADE_CANCEL, two, 1)
    with market.session(second) as session:
        assert session.ask_all_statuses("M")
        second.wait(lambda: second.complete == ["M"])
        ids = [str(each.exec_id) for each in second.reports if each.exec_id]
        assert ids.index(one) < ids.index(str(told.exec_id))


def test_a_fill_that_nobody_told_is_learned_at_the_next_logon(market: TwsMarket) -> None:
    """Swallowed by the line: the library raises no event for it. It goes up once, before the logon."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)
        market.fault("swallow", trades=1)
        market.control.play(at(11))
        market.fault("drop", client=CLIENT, messages=0, reset=1)
        session.ask_all_statuses("CUT")
        sink.wait(lambda: sink.logons == 2)
        sink.wait(lambda: len(fills(sink)) == 1)
        judge(market, sink)


def test_without_executions_there_is_no_logon(market: TwsMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question without an answer is no evidence: it is asked again, and the session stays shut until then."""
    monkeypatch.setattr(ib_session, "ANSWER_S_MAX", 0.5)
    market.fault("execution_silence", on=1)
    sink = Sink()
    session = IbSession(market.config(), sink, "IB", market.numbers)
    session.start()
    try:
        eventually(lambda: session.phase is Phase.SYNCHRONISING)
        time.sleep(1.5)
        assert not session.logged_on()
        assert not session.send_new(order("A"), at(1))
        market.fault("execution_silence", on=0)
        sink.wait(lambda: sink.logons == 1)
    finally:
        session.stop()


def test_a_tws_that_does_not_tell_the_time_is_left_and_tried_again(
    market: TwsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is up and the line is open; that proves nothing."""
    monkeypatch.setattr(ib_session, "PULSE_S_MAX", 0.5)
    sink = Sink()
    with market.session(sink, heartbeat_s=1) as session:
        eventually(lambda: session.offset_ns() is not None)
        assert abs(session.offset_ns() or 0) < SECOND_NS
        market.fault("deaf", on=1)
        sink.wait(lambda: sink.logouts == 1)
        market.fault("deaf", on=0)
        sink.wait(lambda: sink.logons == 2)


def test_an_order_that_is_held_lives(market: TwsMarket) -> None:
    """399 is a word about an order, not its end."""
    sink = Sink()
    with market.session(sink) as session:
        market.fault("held", orders=1)
        working(session, sink)
        assert session.ask_status(order("A"), at(2))
        assert sink.after(2).ord_status is _S.NEW


@pytest.mark.parametrize(
    ("px", "qty", "reject"), [("99.75", 5, Reject.OTHER), ("99.80", 5, Reject.OTHER)], ids=["201", "110"]
)
def test_a_refused_order_is_rejected(market: TwsMarket, px: str, qty: int, reject: Reject) -> None:
    """By its code; the text is for people."""
    sink = Sink()
    with market.session(sink) as session:
        if px == "99.75":
            market.fault("reject", orders=1, text="no margin")
        assert session.send_new(order("A", px, qty), at(1))
        told = sink.after(1)
        assert (told.exec_type, told.ord_status, told.reject) == (_E.REJECTED, _S.REJECTED, reject)
        assert not [each for each in market.orders().values() if each["state"] in {"new", "partially_filled"}]


def test_orders_that_pacing_has_swallowed_are_in_doubt(market: TwsMarket) -> None:
    """Error 100 names no order; each without an answer is asked about, and TWS has those that it took."""
    sink = Sink()
    with market.session(sink) as session:
        market.fault("pacing", client=CLIENT, per_second=5)
        sent = [order(f"A{number}", "99.25", 1) for number in range(8)]
        assert all(session.send_new(each, at(1)) for each in sent)
        sink.wait(lambda: any(each.reason == "PACED" for each in sink.reports))
        market.fault("pacing", client=CLIENT, per_second=0)
        acked = {each.cl_ord_id for each in sink.reports if each.exec_type is _E.NEW}
        assert acked <= set(market.orders())


def test_questions_and_orders_together_keep_within_what_tws_takes(market: TwsMarket) -> None:
    """A question for the positions is five messages: TWS counts them, and would lose an order that is one too many."""
    sink = Sink()
    with market.session(sink) as session:
        for turn in range(8):
            assert all(session.send_new(order(f"A{turn}-{each}", "99.25", 1), at(1)) for each in range(5))
            assert session.ask_positions(f"P{turn}", at(1))
            sink.wait(lambda: len(sink.positions) == turn + 1)  # noqa: B023
        assert len(market.orders()) == 40
        assert not [each for each in sink.reports if each.reason == "PACED"]


def test_nothing_new_leaves_in_a_reset_window_and_cancels_do(market: TwsMarket) -> None:
    """By the instant of the order, which is the platform's."""
    window = ResetWindow.parse("00:00-12:00 UTC")
    sink = Sink()
    now_ns = int(time.time()) * SECOND_NS
    midnight_ns = now_ns - now_ns % (86_400 * SECOND_NS)
    with market.session(sink, reset_windows=(window,)) as session:
        assert not session.send_new(order("B"), midnight_ns + 6 * 3600 * SECOND_NS)
        assert session.logged_on()
        assert session.ask_all_statuses("M")
        sink.wait(lambda: sink.complete == ["M"])


def test_what_was_said_is_kept_by_the_names_of_orders(market: TwsMarket) -> None:
    """Statuses name no order; the line knows which one has the id."""
    sink = Sink()
    with market.session(sink) as session:
        working(session, sink)

        def kinds() -> set[tuple[str, str]]:
            about = [line for line in session.messages.after(0, 1000) if "\x0111=A\x01" in line.text]
            return {(line.direction, line.text.split("\x01")[1]) for line in about}

        eventually(lambda: {("out", "35=3"), ("in", "35=5"), ("in", "35=3")} <= kinds())


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"account": "U1234567"}, "ib.account"),
        ({"account": "NOBODY"}, "ib.account"),
        ({"environment": "live"}, "ib.account"),
        ({"environment": "test"}, "ib.environment"),
        ({"port": 7496}, "ib.port"),
        ({"client_id": 0}, "ib.client_id"),
    ],
)
def test_paper_and_live_do_not_mix(tmp_path: Path, changes: dict[str, object], found: str) -> None:
    """Refused before anything is connected."""
    market = TwsMarket(tmp_path)
    with pytest.raises(ConfigError, match=found):
        IbSession(market.config(**changes), Sink(), "IB", Numbers())


OWNER = """
import sys, threading
from pathlib import Path
from decimal import Decimal
from tests.integration.fix_market import Sink, order, at
from tests.integration.ib_market import ES, Numbers
from trisagion.adapters.venues.ib.session import IbConfig, IbSession

class Deadly(Sink):
    def on_logon(self):
        print("logon", flush=True)
        if sys.argv[4] == "sends":
            assert session.send_new(order("K"), at(1))
    def on_report(self, report):
        print(report.exec_type, flush=True)
        if report.fills:
            raise OSError("the database is gone")

config = IbConfig("127.0.0.1", int(sys.argv[1]), 7, sys.argv[3], "paper", {"ES": ES}, Path(sys.argv[2]),
                  reset_windows=())
session = IbSession(config, Deadly(), "IB", Numbers())
session.start()
threading.Event().wait()
"""


def test_a_client_id_in_use_is_waited_for(market: TwsMarket, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has it trades on; no other id is tried, and a person reads of it once. Free, it is taken."""
    first, second = Sink(), Sink()
    standby = IbSession(market.config(store_dir=market.directory / "t"), second, "IB", market.numbers)
    with market.session(first) as session:
        standby.start()
        refused = "Unable to connect as the client id is already in use"
        eventually(lambda: sum(refused in line.text for line in standby.messages.after(0, 100)) > 1)
        assert standby.phase in {Phase.DOWN, Phase.CONNECTING}
        assert not standby.send_new(order("B"), at(1))
        working(session, first)
    try:
        second.wait(lambda: second.logons == 1)
        assert standby.send_new(order("B"), at(1))
        assert second.after(1).exec_type is _E.NEW
    finally:
        standby.stop()
    assert set(market.orders()) == {"A", "B"}
    told = [record.message for record in caplog.records if record.name == ib_session.__name__]
    assert told == [f"waiting as a standby: client id {CLIENT} is in use at TWS"]


def test_an_account_that_tws_does_not_manage_ends_the_process(market: TwsMarket) -> None:
    """Before any order."""
    second = market.run("-c", OWNER, str(market.port), str(market.directory / "t"), "DU7654321", "sends")
    assert second.wait(WAIT_S) != 0
    assert "ConfigError" in second.communicate()[1]
    assert not market.orders()


def test_a_fill_that_could_not_be_booked_is_told_to_the_next_process(market: TwsMarket) -> None:
    """The process ends with the sink's exception; whoever comes asks for the day's executions."""
    first = market.run("-c", OWNER, str(market.port), str(market.directory / "t"), ACCOUNT, "sends")
    assert first.stdout is not None
    assert [first.stdout.readline().strip() for _ in range(2)] == ["logon", "new"]
    market.control.play(at(11))
    assert first.wait(WAIT_S) != 0
    sink = Sink()
    with market.session(sink):
        sink.wait(lambda: len(fills(sink)) == 1)
        judge(market, sink)


INSYNC = """
import sys
sys.modules["ib_async"] = None
sys.path.insert(0, sys.argv.pop())
import ib_insync
sys.path.pop(0)
"""
"""What makes `ib_insync` the installed one; its folder has a package `tests` of its own."""


def test_the_predecessor_of_the_library_does_as_well(market: TwsMarket) -> None:
    """One order's life on ib_insync, in a process that cannot import ib_async."""
    insync = Path(sys.prefix) / "share" / "insync"
    script = INSYNC + OWNER.replace(
        '            raise OSError("the database is gone")',
        "            client = type(session._line._client)\n"
        "            print(report.fee, client.__mro__[1].__module__, flush=True)",
    )
    process = market.run("-c", script, str(market.port), str(market.directory / "t"), ACCOUNT, "sends", str(insync))
    assert process.stdout is not None and process.stderr is not None
    told = [process.stdout.readline().strip() for _ in range(2)]
    assert told == ["logon", "new"], process.stderr.read()
    market.control.play(at(11))
    assert [process.stdout.readline().strip() for _ in range(2)] == ["trade", "3.99 ib_insync.client"]


def test_a_reset_by_the_machines_clock_does_not_hold_a_replay_up(market: TwsMarket) -> None:
    """Its orders are of the tape's time; and what works is asked about again when the machine's window is over."""
    # All of a day but the second of the order.
    window = ResetWindow(clock_time(1, 46, 42), clock_time(1, 46, 41), "UTC")
    assert not window.holds(at(1))
    sink = Sink()
    with market.session(sink, reset_windows=(window,)) as session:
        eventually(lambda: session.phase is Phase.RESETTING)
        working(session, sink)
        assert not session.send_new(order("B"), at(2))
        assert session.send_cancel(order("A"), at(2))
        assert sink.after(2).exec_type is _E.CANCELED
