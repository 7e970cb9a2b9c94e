"""What `session_ports.VenueSession` promises, held against every venue: a real session of ours, a venue, one tape."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.contract.venues import STAGES, VENUE, Stage, about, at, at_venue, booked, order, these, wanting
from trisagion.clock import SECOND_NS
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, PositionReport, Side
from trisagion.units import Quantity

FEE = Decimal("99.75") * 50 * Decimal("0.0004")
"""Of one lot, at the rate of the tape's instrument."""

REFUSED = frozenset({ExecType.CANCEL_REJECTED, ExecType.REPLACE_REJECTED})


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A venue that has played one second, and a session that is logged on to it."""
    made = STAGES[request.param](tmp_path)
    try:
        made.open()
        yield made
    finally:
        made.close()


def working(report: ExecutionReport) -> bool:
    """Tell whether a report says that an order works."""
    return report.ord_status is OrderState.NEW


def filled(stage: Stage, name: str, qty: int) -> ExecutionReport:
    """Wait for the fill with which so much of an order is done."""
    return about(stage.sink, name, lambda report: report.fills and report.cum_qty == qty)


def test_an_accepted_order_is_reported_working(stage: Stage) -> None:
    """With nothing filled and everything left, at its limit."""
    assert stage.session.send_new(order("a"), at(1))
    report = about(stage.sink, "a", working)
    assert (report.venue, report.symbol, report.side) == (VENUE, "ES", Side.BUY)
    assert these(report.cum_qty, report.leaves_qty, report.last_qty) == (0, 5, 0)
    assert report.price in {None, Decimal("99.75")}
    assert [row["cl_ord_id"] for row in stage.control.status()["working"]] == ["a"]


def test_an_order_that_would_cross_never_makes(stage: Stage) -> None:
    """Where post-only is known it is refused as that; elsewhere it takes, and its fill says so."""
    assert stage.session.send_new(order("a", px="100.25", qty=1), at(1))
    if stage.manners.post_only:
        report = about(stage.sink, "a", lambda report: report.exec_type is ExecType.REJECTED)
        assert (report.ord_status, report.reject) == (OrderState.REJECTED, Reject.POST_ONLY_WOULD_CROSS)
        assert at_venue(stage) == []
    else:
        assert filled(stage, "a", 1).liquidity is Liquidity.TAKER
    assert stage.control.status()["working"] == []


def test_an_emergency_order_takes_what_there_is_and_no_rest_works(stage: Stage) -> None:
    """Immediate or cancel: a taker's fill, then the end."""
    assert stage.session.send_new(order("a", px="99", qty=3, side=Side.SELL, taker=True), at(1))
    end = about(stage.sink, "a", lambda report: report.ord_status is OrderState.CANCELED)
    assert these(end.cum_qty, end.leaves_qty) == (1, 0)
    [fill] = booked(stage.sink)
    assert these(fill.last_qty, fill.liquidity, fill.side) == (1, Liquidity.TAKER, Side.SELL)


def test_fills_are_told_in_order_with_all_their_figures(stage: Stage) -> None:
    """Two partial fills and the last: quantity, price, what is done and left, the average, the fee, who made it."""
    assert stage.session.send_new(order("a"), at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(15))
    filled(stage, "a", 5)
    limit, maker = Decimal("99.75"), Liquidity.MAKER
    assert [
        these(
            one.last_qty, one.last_px, one.cum_qty, one.leaves_qty, one.avg_px, one.fee, one.liquidity, one.ord_status
        )
        for one in booked(stage.sink)
    ] == [
        (2, limit, 2, 3, limit, 2 * FEE, maker, OrderState.PARTIALLY_FILLED),
        (2, limit, 4, 1, limit, 2 * FEE, maker, OrderState.PARTIALLY_FILLED),
        (1, limit, 5, 0, limit, FEE, maker, OrderState.FILLED),
    ]
    assert [one.happened_ns for one in booked(stage.sink)] == [fill["happened_ns"] for fill in at_venue(stage)]


def test_a_cancel_ends_an_order_and_tells_what_was_filled(stage: Stage) -> None:
    """The rest is gone at the venue too."""
    bid = order("a")
    assert stage.session.send_new(bid, at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(10.5))
    filled(stage, "a", 2)
    assert stage.session.send_cancel(bid, at(10.5))
    end = about(stage.sink, "a", lambda report: report.ord_status is OrderState.CANCELED)
    assert these(end.cum_qty, end.leaves_qty) == (2, 0)
    assert stage.control.play(at(15)).working == 0
    assert [one.last_qty for one in booked(stage.sink)] == [2]


@pytest.mark.parametrize("end", [OrderState.FILLED, OrderState.CANCELED])
def test_a_cancel_of_a_done_order_is_refused_and_tells_no_other_end(stage: Stage, end: OrderState) -> None:
    """Its true end, or that nobody knows it and it must be asked about."""
    bid = order("a")
    assert stage.session.send_new(bid, at(1))
    about(stage.sink, "a", working)
    if end is OrderState.FILLED:
        stage.control.play(at(15))
    else:
        stage.session.send_cancel(bid, at(1))
    about(stage.sink, "a", lambda report: report.ord_status is end)
    before = len(stage.sink.reports)
    assert stage.session.send_cancel(bid, at(15))
    stage.sink.after(before + 1)
    assert {report.ord_status for report in stage.sink.reports[before:]} <= {end, OrderState.UNKNOWN}
    assert any(report.exec_type in {*REFUSED, ExecType.ORDER_STATUS} for report in stage.sink.reports[before:]), (
        stage.sink.reports[before:]
    )


def test_a_cancel_of_an_order_that_nobody_knows_leaves_it_in_doubt(stage: Stage) -> None:
    """A venue may have forgotten what it filled, so its "unknown" proves nothing; where it cannot ask, it does not."""
    sent = stage.session.send_cancel(order("a"), at(1))
    assert sent is stage.manners.cancels_by_name
    if sent:
        report = about(stage.sink, "a", lambda report: report.ord_status is OrderState.UNKNOWN)
        assert not report.unknown_order
        assert not report.fills
    assert stage.session.ask_status(order("a"), at(1))
    assert about(stage.sink, "a", lambda report: report.unknown_order).ord_status is OrderState.REJECTED


@pytest.mark.parametrize(
    ("qty", "px"), [(5, "99.5"), (7, "99.75"), (3, "99.75")], ids=["price", "quantity up", "quantity down"]
)
def test_a_replaced_order_lives_on_under_its_new_terms(stage: Stage, qty: int, px: str) -> None:
    """The venue holds one order, which fills to its new quantity at its new price; no lot more."""
    bid = order("a")
    assert stage.session.send_new(bid, at(1))
    about(stage.sink, "a", working)
    wanted = wanting(bid, qty, px)
    assert stage.session.send_replace(wanted, at(2))
    report = about(stage.sink, "a", lambda report: report.exec_type is ExecType.REPLACED)
    assert these(report.cum_qty, report.leaves_qty, report.ord_status) == (0, qty, OrderState.NEW)
    assert report.request_id == wanted.asked_id
    [there] = stage.control.status()["working"]
    assert (there["qty"], there["price"]) == (str(qty), px)
    assert there["cl_ord_id"] in {bid.cl_ord_id, wanted.asked_id}
    stage.control.play(at(19))
    told = sum((Decimal(fill["qty"]) for fill in at_venue(stage)), Decimal(0))
    assert told > 0
    last = filled(stage, "a", int(told))
    assert (last.last_px, last.leaves_qty) == (Decimal(px), qty - told)


def test_a_replace_that_comes_after_the_last_fill_changes_nothing(stage: Stage) -> None:
    """The fills stand, the wish is refused, nothing works."""
    bid = order("a")
    assert stage.session.send_new(bid, at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(15))
    filled(stage, "a", 5)
    wanted = wanting(bid, 9, "99.50")
    before = len(stage.sink.reports)
    assert stage.session.send_replace(wanted, at(15))
    stage.sink.after(before + 1)
    statuses = {report.ord_status for report in stage.sink.reports[before:]}
    assert statuses <= {OrderState.FILLED, OrderState.UNKNOWN}
    assert ExecType.REPLACED not in {report.exec_type for report in stage.sink.reports}
    assert stage.control.play(at(25)).working == 0
    assert sum(one.last_qty for one in booked(stage.sink)) == 5


@pytest.mark.parametrize(
    ("played_s", "status", "cum"),
    [(2, OrderState.NEW, 0), (10.5, OrderState.PARTIALLY_FILLED, 2), (15, OrderState.FILLED, 5)],
    ids=["working", "partly filled", "done"],
)
def test_a_status_says_where_an_order_stands(stage: Stage, played_s: float, status: OrderState, cum: int) -> None:
    """In an answer that is no execution, so that it is never booked."""
    bid = order("a")
    assert stage.session.send_new(bid, at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(played_s))
    if cum:
        filled(stage, "a", cum)
    assert stage.session.ask_status(bid, at(played_s))
    answer = about(stage.sink, "a", lambda report: report.exec_type is ExecType.ORDER_STATUS)
    assert these(answer.ord_status, answer.cum_qty, answer.exec_id) == (status, cum, None)
    assert these(answer.last_qty, answer.unknown_order) == (0, False)


def test_the_status_of_an_order_that_never_was_is_that_it_is_unknown(stage: Stage) -> None:
    """The one answer after which an order may be given up."""
    assert stage.session.ask_status(order("a"), at(1))
    answer = about(stage.sink, "a", lambda report: report.exec_type is ExecType.ORDER_STATUS)
    assert (answer.unknown_order, answer.exec_id) == (True, None)


def test_all_statuses_name_every_working_order_and_then_say_that_this_was_all(stage: Stage) -> None:
    """Also where there are none."""
    assert stage.session.ask_all_statuses("M1")
    stage.sink.wait(lambda: stage.sink.complete == ["M1"])
    assert [one for one in stage.sink.reports if one.ord_status in {OrderState.NEW, OrderState.PARTIALLY_FILLED}] == []
    bids = [order("a"), order("b", px="98", qty=2)]
    for bid in bids:
        assert stage.session.send_new(bid, at(1))
        about(stage.sink, bid.cl_ord_id, working)
    before = len(stage.sink.reports)
    assert stage.session.ask_all_statuses("M2")
    stage.sink.wait(lambda: stage.sink.complete == ["M1", "M2"])
    told = {one.cl_ord_id: one for one in stage.sink.reports[before:] if one.exec_type is ExecType.ORDER_STATUS}
    assert {str(name): these(one.ord_status, one.leaves_qty) for name, one in told.items()} == {
        "a": (OrderState.NEW, 5),
        "b": (OrderState.NEW, 2),
    }


def test_positions_are_the_venues_own_word_and_flat_is_one(stage: Stage) -> None:
    """Each symbol once, dated by the question."""
    assert stage.session.ask_positions(f"P{at(1)}", at(1))
    stage.sink.wait(lambda: len(stage.sink.positions) == 1)
    stage.session.send_new(order("a"), at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(11.5))
    filled(stage, "a", 4)
    assert stage.session.ask_positions(f"P{at(11)}", at(11))
    stage.sink.wait(lambda: len(stage.sink.positions) == 2)
    assert [list(reports) for reports in stage.sink.positions] == [
        [PositionReport(VENUE, f"P{at(1)}", "ES", Quantity(Decimal(0)), at(1))],
        [PositionReport(VENUE, f"P{at(11)}", "ES", Quantity(Decimal(4)), at(11))],
    ]


def test_what_is_sent_while_logged_off_is_refused_and_never_sent_later(stage: Stage) -> None:
    """Orders, changes and questions alike: the venue has heard of none of it after the next logon."""
    kept, lost = order("a"), order("b")
    assert stage.session.send_new(kept, at(1))
    about(stage.sink, "a", working)
    with stage.away():
        session = stage.session
        assert not session.logged_on()
        assert not session.send_new(lost, at(2))
        assert not session.send_cancel(kept, at(2))
        assert not session.send_replace(wanting(kept, 9, "99.50"), at(2))
        assert not session.ask_status(kept, at(2))
        assert not session.ask_all_statuses("M1")
        assert not session.ask_positions(f"P{at(2)}", at(2))
    assert stage.session.logged_on()
    assert stage.session.send_new(order("c"), at(3))
    about(stage.sink, "c", working)
    assert [(row["cl_ord_id"], row["qty"]) for row in stage.control.status()["orders"]] == [("a", "5"), ("c", "5")]
    assert stage.sink.complete == []
    assert stage.sink.positions == []


def test_a_session_that_is_stopped_is_logged_off_and_has_said_so_once(stage: Stage) -> None:
    """When `stop` returns, not some time later: whoever would send still asks."""
    assert stage.sink.logouts == 0
    stage.session.stop()
    assert not stage.session.logged_on()
    assert not stage.session.ask_status(order("a"), at(1))
    assert stage.sink.logouts == 1


def test_fills_that_were_missed_are_told_after_the_next_logon(stage: Stage) -> None:
    """Each once by ExecID, with what the venue's books say of it."""
    assert stage.session.send_new(order("a"), at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(10.5))
    filled(stage, "a", 2)
    with stage.away():
        stage.control.play(at(15))
    filled(stage, "a", 5)
    assert [(one.exec_id, str(one.last_qty)) for one in booked(stage.sink)] == [
        (fill["exec_id"], fill["qty"]) for fill in at_venue(stage)
    ]


def test_a_fill_that_is_taken_back_and_one_that_is_put_right_name_the_fill_they_are_about(stage: Stage) -> None:
    """Each under an ExecID of its own."""
    assert stage.session.send_new(order("a"), at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(11.5))
    filled(stage, "a", 4)
    first, second = booked(stage.sink)
    assert first.exec_id and second.exec_id
    stage.control.fault("correct", exec_id=first.exec_id, px="99.50", qty="1")
    put_right = about(stage.sink, "a", lambda report: report.exec_type is ExecType.TRADE_CORRECT)
    assert these(put_right.ref_exec_id, put_right.last_px, put_right.last_qty) == (first.exec_id, Decimal("99.50"), 1)
    assert put_right.fee == Decimal("99.50") * 50 * Decimal("0.0004")
    stage.control.fault("bust", exec_id=second.exec_id)
    taken_back = about(stage.sink, "a", lambda report: report.exec_type is ExecType.TRADE_CANCEL)
    assert taken_back.ref_exec_id == second.exec_id
    names = [put_right.exec_id, taken_back.exec_id, first.exec_id, second.exec_id]
    assert None not in names
    assert len(set(names)) == 4


@pytest.mark.parametrize("whose", ["session", "venue"])
def test_an_order_outlives_the_end_of_either_side(stage: Stage, whose: str) -> None:
    """It fills as if nothing had happened, and no execution changes its name or its terms."""
    assert stage.session.send_new(order("a"), at(1))
    about(stage.sink, "a", working)
    stage.control.play(at(10.5))
    filled(stage, "a", 2)
    before = at_venue(stage)
    if whose == "session":
        stage.restart_session()
    else:
        stage.restart_venue()
    assert at_venue(stage) == before
    stage.control.play(at(15))
    filled(stage, "a", 5)
    assert [(one.exec_id, str(one.last_qty), one.happened_ns) for one in booked(stage.sink)] == [
        (fill["exec_id"], fill["qty"], fill["happened_ns"]) for fill in at_venue(stage)
    ]
    assert [row["cl_ord_id"] for row in stage.control.status()["orders"]] == ["a"]


def test_the_venues_clock_is_compared_with_ours_whatever_the_tape_says(stage: Stage) -> None:
    """One machine, so they agree to within what a message takes and the venue's clock shows."""
    stage.sink.wait(lambda: stage.session.offset_ns() is not None)
    offset_ns = stage.session.offset_ns()
    assert offset_ns is not None
    assert abs(offset_ns) < 2 * SECOND_NS


WITH_INSYNC = """
import sys
from importlib import import_module

import pytest

import_module("tests")  # ours, before that of a package beside the library
sys.path.insert(0, sys.argv[1])
sys.modules["ib_async"] = None
code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:randomly", sys.argv[2], "-k", "[ib] or [ib-"])
assert "ib_insync.client" in sys.modules
sys.exit(code)
"""


@pytest.mark.timeout(400)
def test_ib_insync_serves_where_ib_async_is_not_installed() -> None:
    """Every case with Interactive Brokers, in a process that knows the predecessor of the library alone."""
    root, insync = Path(__file__).parents[2], Path(sys.prefix) / "share" / "insync"
    if not insync.is_dir() and "CI" not in os.environ:
        pytest.skip(f"no {insync}; make install puts ib_insync there")
    done = subprocess.run(
        [sys.executable, "-c", WITH_INSYNC, str(insync), str(Path(__file__).relative_to(root))],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"\b(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 20
