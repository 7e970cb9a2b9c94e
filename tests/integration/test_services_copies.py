"""`services.compare_copies`: two views of one venue, held against each other; on SQLite, then on MariaDB."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import (
    BOOK_RULES,
    CYCLE_RULES,
    SESSION,
    TUESDAY_NS,
    Desk,
    a_report,
    an_order,
    qty,
    said,
    voting,
    words,
)
from trisagion.adapters.db import tables
from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner
from trisagion.ledger.copies import copied_positions
from trisagion.orders.intents import ReconcileRules
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side
from trisagion.services.book_fills import book
from trisagion.services.compare_copies import (
    CopyLease,
    begin,
    compare,
    confirm,
    observe,
    put_aside,
    record,
    to_confirm,
)
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import cycle
from trisagion.units import Price, Quantity

WALL_NS = 1_800_000_000 * SECOND_NS
"""The machine's time is another than the data's."""
LATE_NS = WALL_NS + 10 * SECOND_NS


def working(desk: Desk) -> Order:
    """Put an order to sell three to work at the venue."""
    order = an_order(state=OrderState.NEW, session=SESSION, price=Price(Decimal("4000.25")), order_id="V1")
    desk.put(order)
    return order


def fills(order: Order) -> list[ExecutionReport]:
    """Return the three reports that fill an order of three, one by one."""
    return [
        said(replace(order, cum_qty=qty(number)), ExecType.TRADE, f"E{number + 1}", last_qty=qty(1))
        for number in range(3)
    ]


def hear(desk: Desk, *reports: ExecutionReport, wall_ns: int = WALL_NS) -> None:
    """Have the drop copy tell reports."""
    for report in reports:
        record(desk.database, report, wall_ns)


def compared(desk: Desk, wall_ns: int) -> list[str]:
    """Compare and return the words but the last, which is always the same."""
    found = words(compare(desk.database, BOOK_RULES, SESSION, wall_ns, TUESDAY_NS))
    assert found[-1] == "compared"
    return found[:-1]


def verdicts(desk: Desk) -> list[tuple[str, str]]:
    """Return the ExecIDs of the copies and what was found of each, in order of hearing."""
    rows = desk.rows(tables.drop_copy.c.seq, tables.drop_copy.c.exec_id, tables.drop_copy.c.verdict)
    return [row[1:] for row in rows]


def test_what_both_tell_alike_is_agreed_whoever_tells_first(shared: Desk) -> None:
    """Also told twice; nothing else follows."""
    one, two, _ = fills(working(shared))
    book(shared.database, BOOK_RULES, one)
    hear(shared, one, one, two)
    assert compared(shared, WALL_NS) == []
    assert verdicts(shared) == [("E1", "agreed"), ("E2", "open")]
    book(shared.database, BOOK_RULES, two)
    assert compared(shared, LATE_NS) == []
    assert verdicts(shared) == [("E1", "agreed"), ("E2", "agreed")]
    assert shared.events("execution") == []
    assert shared.position.qty == -2


def test_a_fill_that_only_the_copy_told_is_booked_after_the_grace_and_its_order_is_asked_about(shared: Desk) -> None:
    """The order is in doubt since the next fill counted it; with the copy booked, the count is whole."""
    one, two, _ = fills(working(shared))
    book(shared.database, BOOK_RULES, two)
    assert shared.order().state is OrderState.UNKNOWN
    hear(shared, one, two)
    assert compared(shared, LATE_NS - 1) == []
    assert shared.position.qty == -1
    outcomes = compare(shared.database, BOOK_RULES, SESSION, LATE_NS, TUESDAY_NS)
    assert Outcome("doubtful", (SESSION,)) in outcomes
    assert (shared.position.qty, shared.order().cum_qty) == (qty(-2), qty(2))
    assert verdicts(shared) == [("E1", "recovered"), ("E2", "agreed")]
    assert [event.split(" ", 2)[:2] for event in shared.events("execution")] == [["execution.recovered", "E1"]]
    status = said(shared.order(), ExecType.ORDER_STATUS, ord_status=OrderState.PARTIALLY_FILLED)
    book(shared.database, BOOK_RULES, status)
    assert shared.order().state is OrderState.PARTIALLY_FILLED
    before = shared.everything()
    assert compared(shared, LATE_NS + SECOND_NS) == []
    book(shared.database, BOOK_RULES, one)
    assert shared.everything() == before, "told late by the session after all, it is a duplicate"


def test_a_comparison_that_died_before_the_booking_is_taken_up_with_one_event(shared: Desk) -> None:
    """And one that died after it books nothing twice."""
    one, two, _ = fills(working(shared))
    hear(shared, one, two)
    with shared.database.transaction() as tx:
        first, second = tx.copies.undecided(SESSION, 9)
        tx.copies.judge({first.seq: "recovering", second.seq: "recovering"})
    book(shared.database, BOOK_RULES, two)
    compared(shared, LATE_NS)
    assert shared.events("execution.recovered") == []
    assert verdicts(shared) == [("E1", "recovered"), ("E2", "recovered")]
    assert shared.position.qty == -2


def test_a_bust_that_only_the_copy_told_takes_the_fill_back(shared: Desk) -> None:
    """Once, however often it is told."""
    one, *_ = fills(working(shared))
    book(shared.database, BOOK_RULES, one)
    bust = said(replace(shared.order(), cum_qty=qty(0)), ExecType.TRADE_CANCEL, "E9", ref_exec_id="E1")
    hear(shared, one, bust)
    compared(shared, LATE_NS)
    assert (shared.position.qty, shared.order().cum_qty) == (qty(0), qty(0))
    book(shared.database, BOOK_RULES, bust)
    compared(shared, LATE_NS)
    assert shared.position.qty == 0
    assert verdicts(shared) == [("E1", "agreed"), ("E9", "recovered")]


@pytest.mark.parametrize(
    "changed",
    [
        {"last_qty": qty(2), "cum_qty": qty(2)},
        {"last_px": Price(Decimal(4001))},
        {"side": Side.BUY},
        {"cl_ord_id": "T2"},
        {"symbol": "NQ"},
    ],
    ids=str,
)
def test_one_exec_id_on_other_terms_is_quarantined_and_shuts_the_gate(desk: Desk, changed: dict[str, object]) -> None:
    """One of the two is wrong: neither is changed, and a person must look; told once."""
    one, *_ = fills(working(desk))
    book(desk.database, BOOK_RULES, one)
    hear(desk, replace(one, **changed))  # type: ignore[arg-type]
    compared(desk, WALL_NS)
    compared(desk, LATE_NS)
    assert verdicts(desk) == [("E1", "quarantined")]
    (event,) = desk.events("execution.contradicted E1")
    assert "DROP_COPY_DIFFERS: booked" in event
    with desk.database.snapshot() as tx:
        assert tx.control.gate(SESSION).shut
    assert desk.position.qty == -1


def test_a_copy_of_a_stranger_is_quarantined_once(desk: Desk) -> None:
    """An order of another hand in the same account: told, not booked, not told again."""
    hear(desk, a_report("E5", cl_ord_id="THEIRS"))
    assert compared(desk, LATE_NS) == ["quarantined", "foreign"]
    assert compared(desk, LATE_NS) == []
    assert verdicts(desk) == [("E5", "quarantined")]
    assert len(desk.events("execution.quarantined")) == 1
    assert desk.position.qty == 0


def test_what_a_complete_copy_lacks_is_told_once_after_the_grace(shared: Desk) -> None:
    """Complete is what was booked before a question that was answered; before its first day nothing is missed."""
    one, two, three = fills(working(shared))
    book(shared.database, BOOK_RULES, one)
    begin(shared.database, SESSION)
    begin(shared.database, SESSION)
    assert to_confirm(shared.database, SESSION) is None
    book(shared.database, BOOK_RULES, two)
    book(shared.database, BOOK_RULES, said(shared.order(), ExecType.CANCEL_REJECTED))
    seq = to_confirm(shared.database, SESSION)
    assert seq is not None
    confirm(shared.database, SESSION, seq, WALL_NS)
    book(shared.database, BOOK_RULES, three)
    assert to_confirm(shared.database, SESSION) is None, "the earlier mark is still to grow old"
    compared(shared, LATE_NS - 1)
    assert shared.events("execution") == []
    compared(shared, LATE_NS)
    compared(shared, LATE_NS)
    assert [event.split(" ", 2)[:2] for event in shared.events("execution")] == [["execution.uncopied", "E2"]]
    assert (to_confirm(shared.database, SESSION) or 0) > seq
    assert shared.position.qty == -3, "nothing is done about it"


def test_a_copied_position_is_the_sum_of_what_stands() -> None:
    """Trades add, a bust takes away, a correction replaces; a bust of a correction, or a second one, finds its own."""
    buy = a_report("E1", side=Side.BUY, last_qty=qty(5))
    sell = a_report("E2", side=Side.SELL, last_qty=qty(2))
    other = a_report("E3", symbol="NQ", last_qty=qty(1))
    correct = a_report("E4", side=Side.BUY, last_qty=qty(4), exec_type=ExecType.TRADE_CORRECT, ref_exec_id="E1")
    bust = a_report("E5", exec_type=ExecType.TRADE_CANCEL, ref_exec_id="E4")
    again = replace(bust, exec_id="E6")
    strange = replace(bust, exec_id="E7", ref_exec_id="E99")
    told = [buy, sell, other, correct, bust, again, strange]
    sums = [copied_positions(told[:count]).get("ES", Decimal(0)) for count in range(1, 8)]
    assert sums == [5, 3, 3, 2, -2, -2, -2]
    assert copied_positions(told) == {"ES": -2, "NQ": -1}


def test_an_observing_drop_copy_is_asked_and_waited_for_and_breaks_the_consensus_when_it_differs(desk: Desk) -> None:
    """It speaks as of the instant it was asked, on every symbol of ours; its word counts like the venue's."""
    due_ns = TUESDAY_NS
    desk.enter(voting(due_ns, 1, 1, 1), at_ns=due_ns)
    desk.mark(due_ns)
    two = ReconcileRules(observers=("venue", "drop_copy"), quorum=2)
    rules = replace(CYCLE_RULES, reconcile=two, drop_copy="US-DC")
    assert cycle(desk.database, rules, "me", due_ns) == (Outcome("observing", (SESSION, "US-DC")),)
    desk.observe(due_ns)
    assert cycle(desk.database, rules, "me", due_ns) == (Outcome("observing", ("US-DC",)),)
    hear(desk, a_report("E1", last_qty=Quantity(Decimal(7))))
    assert observe(desk.database, SESSION, due_ns) == (Outcome("cycle", (str(due_ns),)),)
    assert "decided" in words(cycle(desk.database, rules, "me", due_ns))
    ((reasons,),) = desk.rows(tables.decision.c.reasons)
    assert "OBSERVER_DISAGREES: observer=drop_copy seen=-7 ledger=0" in reasons


def test_a_drop_copy_has_one_owner(shared: Desk, colleague: Desk) -> None:
    """The second one is turned away, and the lease is another than the session's of the same name."""
    mine, theirs = (CopyLease(desk.database, SESSION, name) for desk, name in ((shared, "a"), (colleague, "b")))
    mine.renew()
    with pytest.raises(StaleOwner, match="drop copy SIM"):
        theirs.renew()
    mine.renew()
    with shared.database.transaction() as tx:
        assert tx.control.acquire(f"session:{SESSION}", "c", 1.0) is not None


def test_an_answer_is_no_copy_and_the_unreadable_is_told(desk: Desk) -> None:
    """A status report has no ExecID of its own; what cannot be read is kept in an event."""
    order = working(desk)
    hear(desk, said(order, ExecType.ORDER_STATUS))
    assert verdicts(desk) == []
    put_aside(desk.database, "US-DC", "tag 31: expected a price", TUESDAY_NS)
    assert desk.events("drop_copy.unreadable US-DC")
    hear(desk, replace(fills(order)[0], liquidity=Liquidity.TAKER))
    compared(desk, LATE_NS)
    assert desk.mode().value == "pause", "a recovered fill passes every check that a told one does"
