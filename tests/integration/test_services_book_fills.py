"""`services.book_fills`: what each report does to each order, the ledger, and those who are to be rung."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import (
    BOOK_RULES,
    SATURDAY_NS,
    TUESDAY_NS,
    Desk,
    a_report,
    an_intended_order,
    an_order,
    qty,
    said,
    words,
)
from trisagion.adapters.db import tables
from trisagion.clock import MINUTE_NS
from trisagion.ids import ClOrdId, CycleId, IntentKey, cl_ord_id
from trisagion.orders.rejects import Reject
from trisagion.orders.state import TERMINAL, OrderState
from trisagion.orders.types import (
    ExecType,
    ExecutionReport,
    Liquidity,
    Order,
    OrderLink,
    PositionReport,
    Side,
    Unreadable,
)
from trisagion.ports import Cycle
from trisagion.safety.modes import Mode
from trisagion.services.book_fills import RESTATING, BookRules, book, observe, put_aside
from trisagion.services.outcome import Outcome
from trisagion.units import Money, Price

_S, _X = OrderState, ExecType

MATRIX = """
                  new               trade             canceled  rejected  expired  pending_cancel    order_status
risk_checked      unknown!          unknown!          unknown!  unknown!  unknown! unknown!          unknown!
routed            unknown!          unknown!          unknown!  unknown!  unknown! unknown!          unknown!
pending_new       new               partially_filled  canceled  rejected  expired  pending_new       new
new               new               partially_filled  canceled  rejected  expired  new               new
partially_filled  partially_filled  partially_filled  canceled  unknown!  expired  partially_filled  partially_filled
pending_cancel    pending_cancel    pending_cancel    canceled  unknown!  expired  pending_cancel    new
pending_replace   pending_replace   pending_replace   canceled  unknown!  expired  pending_replace   unknown
unknown           new               partially_filled  canceled  rejected  expired  unknown           new
filled            filled!           filled!           filled!   filled!   filled!  filled!           filled
canceled          canceled!         canceled!         canceled  canceled! canceled! canceled!        canceled!
rejected          rejected!         rejected!         rejected! rejected  rejected! rejected!        rejected!
expired           expired!          expired!          expired!  expired!  expired  expired!          expired!
done_for_day  done_for_day! done_for_day! done_for_day! done_for_day! done_for_day! done_for_day! done_for_day!
denied            denied!           denied!           denied!   denied!   denied!  denied!           denied!
"""
REST_OF_MATRIX = """
                  pending_new       pending_replace   replaced      done_for_day  cancel_rejected   replace_rejected
risk_checked      unknown!          unknown!          unknown!      unknown!      unknown!          unknown!
routed            unknown!          unknown!          unknown!      unknown!      unknown!          unknown!
pending_new       pending_new       pending_new       unknown!      done_for_day  unknown           pending_new
new               new               new               unknown!      done_for_day  new               new
partially_filled  partially_filled  partially_filled  unknown!      done_for_day  partially_filled  partially_filled
pending_cancel    pending_cancel    pending_cancel    unknown!      done_for_day  unknown           pending_cancel
pending_replace   pending_replace   pending_replace   unknown!      done_for_day  unknown           pending_replace
unknown           unknown           unknown           unknown!      done_for_day  unknown           unknown
filled            filled!           filled!           filled!       filled!       filled            filled
canceled          canceled!         canceled!         canceled!     canceled!     canceled          canceled
rejected          rejected!         rejected!         rejected!     rejected!     rejected          rejected
expired           expired!          expired!          expired!      expired!      expired           expired
done_for_day      done_for_day!     done_for_day!     done_for_day! done_for_day  done_for_day      done_for_day
denied            denied!           denied!           denied!       denied!       denied            denied
"""
"""The state after each kind of report on an order in each state; with "!" a person hears of it."""


def _matrix() -> list[tuple[OrderState, ExecType, OrderState, bool]]:
    found = []
    for half in (MATRIX, REST_OF_MATRIX):
        head, *rows = (line.split() for line in half.strip().splitlines())
        found += [
            (OrderState(state), ExecType(kind), OrderState(after.rstrip("!")), after.endswith("!"))
            for state, *afters in rows
            for kind, after in zip(head, afters, strict=True)
        ]
    return found


def standing(state: OrderState, **changes: Any) -> Order:
    """Return an order of three in a state, one of them filled where the state says so, all of them when filled."""
    filled = {_S.PARTIALLY_FILLED: 1, _S.FILLED: 3}.get(state, 0)
    sent = {} if state is _S.RISK_CHECKED else {"session": "SIM", "price": Price(Decimal("4000.25"))}
    asked = {"links": 1, "wanted_qty": qty(4), "wanted_price": Price(Decimal("4000.5"))}
    replacing = asked if state is _S.PENDING_REPLACE else {}
    return an_order(**{"state": state, "cum_qty": qty(filled), **sent, **replacing, **changes})


def test_the_matrix_is_complete() -> None:
    """Each order state meets each kind of report but those that speak of a fill told before."""
    kinds = set(_X) - RESTATING
    assert {(state, kind) for state, kind, *_ in _matrix()} == {(state, kind) for state in _S for kind in kinds}


@pytest.mark.parametrize(("state", "kind", "after", "heard"), _matrix())
def test_each_report_moves_each_order_as_the_matrix_says(
    desk: Desk, state: OrderState, kind: ExecType, after: OrderState, heard: bool
) -> None:
    """The order as in the matrix, a trade booked whatever the state, and the same exec_id again without any effect."""
    order = standing(state)
    desk.put(order)
    report = said(order, kind)
    outcomes = book(desk.database, BOOK_RULES, report)
    assert desk.order().state is after
    assert bool(desk.events("order.alarm")) == heard
    assert ("doubtful" in words(outcomes)) == (after is _S.UNKNOWN and state is not _S.UNKNOWN)
    traded = kind is _X.TRADE
    assert desk.position.qty == (-1 if traded else 0)
    assert desk.order().cum_qty == order.cum_qty + int(traded)
    if report.exec_id is not None:
        before = desk.everything()
        assert words(book(desk.database, BOOK_RULES, replace(report, happened_ns=1))) == ["duplicate"]
        assert desk.everything() == before


N, PF, PC, PN, U = _S.NEW, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.PENDING_NEW, _S.UNKNOWN
DONE, GONE, REJ = _S.FILLED, _S.CANCELED, _S.REJECTED
FILL, STATUS = _X.TRADE, _X.ORDER_STATUS
CROSSED = Reject.POST_ONLY_WOULD_CROSS
OURS = Price(Decimal("4000.25"))
ALL = {"cum": 3, "leaves": 0}

# What is told, the order's state and what is filled of its three, the report and what is odd of it, the end, alarms.
SPECIAL: list[tuple[str, OrderState, int, ExecType, dict[str, Any], OrderState, str]] = [
    ("a fill before the ack", PN, 0, FILL, {}, PF, ""),
    ("the whole before the ack", PN, 0, FILL, {"last": 3, "cum": 3, "leaves": 0, "status": DONE}, DONE, ""),
    ("the ack after a fill", PF, 1, _X.NEW, {"status": N, "cum": 0}, PF, ""),
    ("the ack after a cancel was asked", PC, 0, _X.NEW, {}, PC, ""),
    ("a fill while a cancel is asked", PC, 0, FILL, {}, PC, ""),
    ("the last fill while a cancel is asked", PC, 2, FILL, {}, DONE, ""),
    ("a fill after the cancel", GONE, 0, FILL, {}, GONE, "LATE_FILL"),
    ("more than was ordered", PF, 2, FILL, {"last": 2, "cum": 4, "leaves": 0}, DONE, "OVER_FILL"),
    ("a fill more than we heard of", N, 0, FILL, {"cum": 2, "leaves": 1}, U, "CUM_QTY_GAP"),
    ("a count that falls", PF, 2, FILL, {"cum": 1}, U, "CUM_QTY_GAP"),
    ("nothing left, and yet not all of it", N, 0, FILL, {"leaves": 0}, U, "CUM_QTY_GAP"),
    ("a gap after the end", GONE, 0, FILL, {"cum": 2}, GONE, "LATE_FILL CUM_QTY_GAP"),
    ("cancelled with a fill unheard of", N, 0, _X.CANCELED, {"cum": 1}, U, "CUM_QTY_GAP"),
    ("cancelled and yet working", N, 0, _X.CANCELED, {"status": N}, U, "CONTRADICTION"),
    ("a refused duplicate of a live order", N, 0, _X.REJECTED, {"status": N}, U, "DUPLICATE_REJECTED"),
    ("a refused duplicate of one just sent", PN, 0, _X.REJECTED, {"status": N}, U, "DUPLICATE_REJECTED"),
    ("a refused duplicate of an ended order", DONE, 3, _X.REJECTED, {"status": DONE}, DONE, ""),
    ("cancelled by the venue on its own", N, 0, _X.CANCELED, {"reason": "session end"}, GONE, ""),
    ("a late word on the end we know", GONE, 0, _X.CANCELED, {}, GONE, ""),
    ("status: still working", U, 0, STATUS, {}, N, ""),
    ("status: working in part", U, 1, STATUS, {}, PF, ""),
    ("status: fills unheard of", U, 0, STATUS, {"cum": 1, "status": PF}, U, "CUM_QTY_GAP"),
    ("status: fewer fills than booked", U, 2, STATUS, {"cum": 1}, U, "CUM_QTY_GAP"),
    ("status: filled, and yet not all of it", U, 1, STATUS, {"status": DONE}, U, "CUM_QTY_GAP"),
    ("status: all filled and booked", U, 3, STATUS, {"status": DONE}, DONE, ""),
    ("status: cancelled", PC, 0, STATUS, {"status": GONE}, GONE, ""),
    ("status: expired", U, 0, STATUS, {"status": _S.EXPIRED}, _S.EXPIRED, ""),
    ("status: a cancel is pending there", PC, 0, STATUS, {"status": PC}, U, ""),
    ("status: pending there", U, 0, STATUS, {"status": PN}, U, ""),
    ("status: never heard of it", U, 0, STATUS, {"unknown_order": True, "status": REJ}, REJ, ""),
    ("status: nor of what it filled", U, 1, STATUS, {"unknown_order": True, "status": REJ}, U, "UNKNOWN_AT_VENUE"),
    ("status: nor of what works", N, 0, STATUS, {"unknown_order": True, "status": REJ}, U, "UNKNOWN_AT_VENUE"),
    ("status of what works: as we think", PF, 1, STATUS, {"price": OURS}, PF, ""),
    ("status of what works: a fill unheard of", N, 0, STATUS, {"cum": 1, "leaves": 2, "status": PF}, U, "CUM_QTY_GAP"),
    ("status of what works: a fill too many", PF, 2, STATUS, {"cum": 1, "leaves": 2}, U, "CUM_QTY_GAP"),
    ("status of what works: filled unheard of", N, 0, STATUS, {**ALL, "status": DONE}, U, "CUM_QTY_GAP"),
    ("status of what works: all of it booked", PF, 3, STATUS, {**ALL, "status": DONE}, DONE, ""),
    ("status of what works: cancelled unheard of", PF, 1, STATUS, {"leaves": 0, "status": GONE}, GONE, ""),
    ("status of what works: expired unheard of", N, 0, STATUS, {"leaves": 0, "status": _S.EXPIRED}, _S.EXPIRED, ""),
    ("status of what works: cancelled, a fill lost", N, 0, STATUS, {"cum": 1, "status": GONE}, U, "CUM_QTY_GAP"),
    ("status of what works: rejected", N, 0, STATUS, {"leaves": 0, "status": REJ}, REJ, ""),
    ("status of what works: rejected with fills", PF, 1, STATUS, {"leaves": 0, "status": REJ}, U, "IMPOSSIBLE"),
    ("status of what works: another quantity", N, 0, STATUS, {"leaves": 5}, U, "QTY_GAP"),
    ("status of what works: another price", N, 0, STATUS, {"price": Price(Decimal(3999))}, U, "PRICE_GAP"),
    ("status of what is in doubt: another quantity", U, 0, STATUS, {"leaves": 5}, U, "QTY_GAP"),
    ("status of what is in doubt: another price", U, 0, STATUS, {"price": Price(Decimal(3999))}, U, "PRICE_GAP"),
    ("status of what works: a cancel is pending", N, 0, STATUS, {"status": PC}, U, "CONTRADICTION"),
    ("status of what has ended: it works", GONE, 0, STATUS, {"status": N}, GONE, "REINSTATED"),
    ("status of what has ended: more fills", GONE, 0, STATUS, {**ALL, "status": GONE}, GONE, "CUM_QTY_GAP"),
    ("status of what has ended: as we think", GONE, 1, STATUS, {"leaves": 0, "status": GONE}, GONE, ""),
    ("cancel reject: too late", PC, 0, STATUS, {"symbol": "", "status": DONE, "reason": "TOO_LATE"}, U, ""),
    ("cancel reject: still working", PC, 0, STATUS, {"symbol": "", "status": N}, U, ""),
    ("cancel reject: unknown order", PC, 0, STATUS, {"symbol": "", "status": U}, U, ""),
    ("cancel reject after the end", DONE, 3, STATUS, {"symbol": "", "status": DONE, "cum": 0}, DONE, ""),
]


def _in_full(short: dict[str, Any]) -> dict[str, Any]:
    names = {"last": "last_qty", "cum": "cum_qty", "leaves": "leaves_qty", "status": "ord_status"}
    return {names.get(key, key): qty(value) if type(value) is int else value for key, value in short.items()}


@pytest.mark.parametrize(
    ("state", "filled", "kind", "report", "after", "alarms"),
    [row[1:] for row in SPECIAL],
    ids=[row[0] for row in SPECIAL],
)
def test_what_real_venues_say_is_taken_for_what_it_proves(
    *,
    desk: Desk,
    state: OrderState,
    filled: int,
    kind: ExecType,
    report: dict[str, Any],
    after: OrderState,
    alarms: str,
) -> None:
    """Evidence moves the order, contradiction makes it UNKNOWN and is asked about, and a person hears what he must."""
    order = standing(state, cum_qty=qty(filled))
    desk.put(order)
    outcomes = book(desk.database, BOOK_RULES, said(order, kind, **_in_full(report)))
    assert desk.order().state is after
    doubt = [Outcome("doubtful", ("SIM",))] if after is U and state is not U else []
    assert list(outcomes) == [Outcome("booked"), *doubt]
    found = [event.partition('"text": "')[2].partition(":")[0] for event in desk.events("order.alarm")]
    assert found == alarms.split()


@pytest.mark.parametrize(("state", "kind"), [(U, STATUS), (U, FILL), (PN, _X.NEW), (PN, FILL), (PC, STATUS)])
def test_an_order_that_works_though_it_was_withdrawn_is_withdrawn_again(
    desk: Desk, state: OrderState, kind: ExecType
) -> None:
    """When doubt ends with "it works", the session is rung, for the cancel was lost or never sent."""
    order = standing(state, cancel_reason="superseded")
    desk.put(order)
    outcomes = book(desk.database, BOOK_RULES, said(order, kind))
    assert list(outcomes) == [Outcome("booked"), Outcome("undone", ("SIM",))]
    assert desk.order().cancel_reason == "superseded"


@pytest.mark.parametrize(
    "report",
    [
        a_report(cl_ord_id=ClOrdId("stranger")),
        a_report(cl_ord_id=ClOrdId("stranger"), exec_type=_X.CANCELED, ord_status=_S.CANCELED),
        a_report(None, cl_ord_id=ClOrdId("stranger"), exec_type=_X.ORDER_STATUS),
        a_report(symbol="NQ"),
        a_report(side=Side.BUY),
    ],
)
def test_a_report_that_is_none_of_our_orders_is_quarantined(desk: Desk, report: ExecutionReport) -> None:
    """Recorded in full and counted as heard, and neither an order nor the ledger moves."""
    desk.put(standing(N))
    before = desk.everything()
    works = report.cl_ord_id == "stranger" and report.ord_status is not GONE
    assert words(book(desk.database, BOOK_RULES, report)) == ["quarantined", *(["foreign"] if works else [])]
    after = desk.everything()
    touched = {"execution", "event"} if report.exec_id else {"event"}
    assert {name for name in after if after[name] != before[name]} == touched | ({"gate"} if works else set())
    assert len(desk.events("order.foreign stranger")) == works
    assert len(desk.events("execution.quarantined " + report.cl_ord_id)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"cl_ord_id": ClOrdId("T2")},
        {"symbol": "NQ"},
        {"side": Side.BUY},
        {"exec_type": _X.CANCELED, "ord_status": _S.CANCELED},
        {"last_qty": qty(2), "cum_qty": qty(2)},
        {"last_px": Price(Decimal("4000.50"))},
        {"exec_type": _X.TRADE_CANCEL, "ref_exec_id": "E0"},
    ],
)
def test_an_exec_id_told_again_on_other_terms_is_no_repetition(desk: Desk, changes: dict[str, Any]) -> None:
    """Nothing is booked of it; the orders that it and the first report name are asked about, and the gate is shut."""
    desk.put(standing(N), replace(standing(N), cl_ord_id=ClOrdId("T2"), intent=IntentKey("C2:ES")))
    told = a_report()
    assert words(book(desk.database, BOOK_RULES, told)) == ["booked"]
    assert words(book(desk.database, BOOK_RULES, told)) == ["duplicate"]
    before = desk.everything()
    found = book(desk.database, BOOK_RULES, replace(told, **changes))
    assert found == (Outcome("quarantined"), Outcome("doubtful", ("SIM",)))
    after = desk.everything()
    assert {name for name in after if after[name] != before[name]} == {"event", "gate", "orders"}
    named = {told.cl_ord_id, changes.get("cl_ord_id", told.cl_ord_id)}
    assert {order.cl_ord_id for order in desk.orders() if order.state is OrderState.UNKNOWN} == named
    assert len(desk.events("execution.contradicted E1")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"exec_id": "x" * 200},
        {"exec_id": "ends with a space "},
        {"last_px": Price(Decimal("0.1234567890123"))},
        {"last_qty": qty(10**27)},
        {"cl_ord_id": ClOrdId("nul\0" + "x" * 500)},
    ],
)
def test_a_report_that_the_database_cannot_hold_is_put_aside(desk: Desk, changes: dict[str, Any]) -> None:
    """Once and in words, so that the session lives on; the ledger does not move, and the order is asked about."""
    desk.put(standing(N))
    before = desk.everything()
    report = a_report(**{"exec_id": "E1", **changes})
    assert book(desk.database, BOOK_RULES, report) == (Outcome("quarantined"), Outcome("doubtful", ("SIM",)))
    after = desk.everything()
    assert {name for name in after if after[name] != before[name]} == {"event", "orders"}
    assert desk.order().state is OrderState.UNKNOWN


@pytest.mark.parametrize(
    ("of_orders", "names", "doubted"),
    [
        (True, ["T1"], ["T1"]),
        (True, ["X1", "T1", "T1"], ["T1"]),
        (True, ["R1"], ["T1"]),
        (True, ["T3"], []),
        (True, ["stranger"], ["T1", "T2"]),
        (True, ["nul\0" + "x" * 500], ["T1", "T2"]),
        (True, [], ["T1", "T2"]),
        (False, [], []),
    ],
)
def test_a_message_that_cannot_be_read_puts_in_doubt_what_it_may_be_about(
    shared: Desk, of_orders: bool, names: list[str], doubted: list[str]
) -> None:
    """The order that it names by any name, or all that its venue may hold; an ended one gets an alarm alone."""
    desk = shared
    one, two = standing(N), standing(OrderState.PARTIALLY_FILLED)
    desk.put(one, replace(two, cl_ord_id=ClOrdId("T2")))
    desk.put(replace(two, cl_ord_id=ClOrdId("T3"), state=OrderState.FILLED))
    desk.put(replace(one, cl_ord_id=ClOrdId("T4"), session="ELSEWHERE"))
    with desk.database.transaction() as tx:
        tx.orders.add_link(OrderLink(ClOrdId("R1"), one.cl_ord_id, 1, one.qty, Price(Decimal(4000)), TUESDAY_NS))
    word = Unreadable("SIM", of_orders, tuple(map(ClOrdId, names)), "35=8|…", "tag 150: expected another value")
    for again in (False, True):
        rung = [Outcome("doubtful", ("SIM",))] if doubted and not again else []
        assert put_aside(desk.database, word, TUESDAY_NS) == (Outcome("quarantined"), *rung)
        assert [order.cl_ord_id for order in desk.orders() if order.state is OrderState.UNKNOWN] == doubted
    assert len(desk.events("message.quarantined")) == 2
    alarmed = {event.split()[1] for event in desk.events("order.alarm")}
    assert alarmed == ({"T3"} if names == ["T3"] else set(doubted))


@pytest.mark.parametrize(
    ("found", "after"), [(Mode.NORMAL, Mode.PAUSE), (Mode.REDUCE, Mode.PAUSE), (Mode.EMERGENCY, Mode.EMERGENCY)]
)
def test_a_maker_order_that_took_liquidity_pauses_the_platform(desk: Desk, found: Mode, after: Mode) -> None:
    """The fill is booked, an alarm is raised, and the mode is PAUSE or what is stricter."""
    desk.switch(found)
    desk.put(standing(N))
    book(desk.database, BOOK_RULES, said(standing(N), _X.TRADE, liquidity=Liquidity.TAKER))
    assert desk.mode() is after
    assert desk.position.qty == -1
    assert "TAKER_FILL" in desk.events("order.alarm")[0]


def test_a_taker_order_may_take(desk: Desk) -> None:
    """In Emergency that is what it is for: no alarm."""
    desk.switch(Mode.EMERGENCY)
    order = standing(N, taker=True)
    desk.put(order)
    book(desk.database, BOOK_RULES, said(order, _X.TRADE, liquidity=Liquidity.TAKER))
    assert desk.events("order.alarm") == []


def refused(desk: Desk, order: Order) -> list[str]:
    """Let the venue refuse an order that would have crossed; return what is rung."""
    return words(book(desk.database, BOOK_RULES, said(order, _X.REJECTED, f"R{order.attempt}", reject=CROSSED)))


def test_a_refused_maker_is_priced_anew_within_its_budget_and_not_beyond(desk: Desk) -> None:
    """Each attempt carries the same intent under its own id; when the budget is spent, that is an event."""
    order = an_intended_order(TUESDAY_NS, PN)
    desk.put(order)
    for attempt in range(BOOK_RULES.reprices_max):
        assert refused(desk, order) == ["booked", "repriced"]
        again = desk.order(cl_ord_id("SIM-1", order.intent, attempt + 1))
        assert (again.state, again.attempt, again.qty, again.side) == (_S.RISK_CHECKED, attempt + 1, qty(3), Side.SELL)
        order = replace(again, state=PN, session="SIM", version=1)
        with desk.database.transaction() as tx:
            tx.orders.save(order)
    assert refused(desk, order) == ["booked"]
    assert len(desk.orders()) == 3
    assert len(desk.events("order.reprices_spent")) == 1


@pytest.mark.parametrize(
    ("mode", "now_ns", "changes", "reject"),
    [
        (Mode.PAUSE, TUESDAY_NS, {}, CROSSED),
        (Mode.REDUCE, TUESDAY_NS, {}, CROSSED),
        (Mode.NORMAL, SATURDAY_NS, {}, CROSSED),
        (Mode.NORMAL, TUESDAY_NS + 2 * MINUTE_NS, {}, CROSSED),
        (Mode.NORMAL, TUESDAY_NS, {"cancel_reason": "superseded"}, CROSSED),
        (Mode.NORMAL, TUESDAY_NS, {}, Reject.UNKNOWN_ACCOUNT),
        (Mode.NORMAL, TUESDAY_NS, {}, Reject.EXCEEDS_LIMIT),
        (Mode.NORMAL, TUESDAY_NS, {}, None),
    ],
)
def test_a_refused_order_is_not_priced_anew_where_nothing_may_be_sent(
    desk: Desk, mode: Mode, now_ns: int, changes: dict[str, Any], reject: Reject | None
) -> None:
    """Not in PAUSE, not to add in REDUCE, at rest, on an old quote, when withdrawn, or for other reasons."""
    desk.switch(mode)
    order = an_intended_order(TUESDAY_NS, PN, **changes)
    desk.put(order)
    report = said(order, _X.REJECTED, reject=reject, reason="POST_ONLY_WOULD_CROSS", happened_ns=now_ns)
    assert words(book(desk.database, BOOK_RULES, report)) == ["booked"]
    assert len(desk.orders()) == 1


def test_no_budget_means_no_second_attempt(desk: Desk) -> None:
    """Zero re-prices: the refusal is the end."""
    order = an_intended_order(TUESDAY_NS, PN)
    desk.put(order)
    rules = BookRules(BOOK_RULES.account, BOOK_RULES.limits, reprices_max=0)
    assert words(book(desk.database, rules, said(order, _X.REJECTED, reject=CROSSED))) == ["booked"]
    assert len(desk.orders()) == 1


@pytest.mark.parametrize("kind", [_X.CANCELED, _X.EXPIRED, _X.TRADE])
def test_an_order_that_ends_rings_the_cycle_that_waits_for_it(desk: Desk, kind: ExecType) -> None:
    """Every unfinished cycle that is cancelling, and no other."""
    order = standing(PC, cum_qty=qty(2), cancel_reason="superseded")
    desk.put(order)
    with desk.database.transaction() as tx:
        for due, stage in ((10, "cancelling"), (20, "observing"), (30, "done")):
            tx.cycles.open_cycle(Cycle(CycleId(f"C{due}"), due, stage, None, 0))
    outcomes = book(desk.database, BOOK_RULES, said(order, kind))
    assert [outcome.subjects for outcome in outcomes if outcome.word == "cycle"] == [("10",)]


def test_a_fill_is_booked_to_the_last_digit(desk: Desk) -> None:
    """Position, fees, cash and a balanced entry named by venue and exec_id."""
    order = standing(N)
    desk.put(order)
    book(
        desk.database, BOOK_RULES, said(order, _X.TRADE, fee=Money(Decimal("1.85")), last_px=Price(Decimal("4000.25")))
    )
    position = desk.position
    assert (position.qty, position.cost, position.fees) == (
        qty(-1),
        Money(Decimal("-200012.5")),
        Money(Decimal("1.85")),
    )
    lines = desk.rows(tables.posting.c.entry, tables.posting.c.account, tables.posting.c.amount)
    assert sum(row[2] for row in lines if row[0] == "SIM/E1") == 0
    assert ("SIM/E1", "cash", Decimal("200010.65")) in lines


def test_a_report_of_the_past_does_not_turn_the_orders_clock_back(desk: Desk) -> None:
    """`updated_ns` never falls, and each change has its version."""
    desk.put(standing(PN, updated_ns=TUESDAY_NS + 5))
    book(desk.database, BOOK_RULES, said(standing(PN), _X.NEW, happened_ns=TUESDAY_NS - 5))
    assert (desk.order().updated_ns, desk.order().version) == (TUESDAY_NS + 5, 1)


def test_two_sessions_booking_one_fill_book_it_once(shared: Desk, colleague: Desk) -> None:
    """The database decides, on either server: the second hears "duplicate"."""
    order = standing(N)
    shared.put(order)
    assert words(book(shared.database, BOOK_RULES, said(order, _X.TRADE))) == ["booked"]
    assert words(book(colleague.database, BOOK_RULES, said(order, _X.TRADE))) == ["duplicate"]
    assert shared.position.qty == -1
    assert shared.order().cum_qty == 1


def positions(*held: tuple[str, int]) -> tuple[PositionReport, ...]:
    """Return an answer to a request for positions."""
    return tuple(PositionReport("SIM", "P1", symbol, qty(number), 0) for symbol, number in held)


@pytest.mark.parametrize(
    ("state", "confirmed"), [(N, True), (_S.FILLED, True), (PN, False), (PC, False), (U, False), (_S.ROUTED, True)]
)
def test_the_venues_word_confirms_the_ledger_unless_something_is_in_doubt(
    desk: Desk, state: OrderState, confirmed: bool
) -> None:
    """It is recorded in any case, and cycles that wait for it are rung; an older word confirms nothing new."""
    desk.put(standing(state))
    with desk.database.transaction() as tx:
        for due, stage in ((10, "cancelling"), (20, "observing")):
            tx.cycles.open_cycle(Cycle(CycleId(f"C{due}"), due, stage, None, 0))
    for asked_ns in (7, 5):
        outcomes = observe(desk.database, positions(("ES", 4)), asked_ns)
        assert [(outcome.word, outcome.subjects) for outcome in outcomes] == [("cycle", ("10",)), ("cycle", ("20",))]
    assert desk.position.confirmed_ns == (7 if confirmed else 0)
    with desk.database.snapshot() as tx:
        assert [(seen.qty, seen.at_ns) for seen in tx.ledger.observations("ES")] == [(qty(4), 7)]


def test_a_position_in_what_we_do_not_trade_is_an_alarm(desk: Desk) -> None:
    """It is seen and said, and does not enter the ledger, which could not price it."""
    observe(desk.database, positions(("ES", 0), ("GOLD", 1)), 7)
    assert "FOREIGN_POSITION" in desk.events("position.alarm GOLD")[0]
    with desk.database.snapshot() as tx:
        assert [position.symbol for position in tx.ledger.positions()] == ["ES"]


def test_every_end_is_an_end() -> None:
    """The matrix never leads out of a terminal state."""
    assert all(after is state for state, _, after, _ in _matrix() if state in TERMINAL)
