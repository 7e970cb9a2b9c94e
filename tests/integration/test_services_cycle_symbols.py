"""Symbols of a cycle do not wait for each other, whatever becomes of one; and a slot without a cycle is told."""

from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from tests.builders import (
    CYCLE_RULES,
    ES,
    NQ,
    SATURDAY_NS,
    TUESDAY_NS,
    Desk,
    an_intended_order,
    an_order,
    qty,
    voting,
    words,
)
from trisagion.adapters.db import Conflict, SqlDatabase, tables
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.errors import OurMistake
from trisagion.ids import CycleId, cycle_id
from trisagion.observer_ports import Observation
from trisagion.orders.incidents import IncidentKind, opened
from trisagion.orders.state import OrderState
from trisagion.orders.types import PositionReport
from trisagion.ports import Cycle, Decision, Replay
from trisagion.services import reconcile
from trisagion.services.book_fills import observe
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import VENUE, cycle
from trisagion.services.tell_missed import SLOTS_MAX, tell_missed

_S = OrderState
DUE = TUESDAY_NS
SLOT_NS = 10 * MINUTE_NS
SLOT_S = 600
BOTH = (ES, NQ)


@pytest.fixture
def pair(database: SqlDatabase) -> Desk:
    """Give an account with two instruments, both of which the cohort wants, and the venue's word on both."""
    desk = Desk(database).found(instruments=BOTH)
    desk.enter(voting(DUE, *[5] * 8, instruments=BOTH), at_ns=DUE)
    desk.mark(DUE)
    for instrument in BOTH:
        desk.observe(DUE, symbol=instrument.symbol)
    return desk


def moved(desk: Desk, due_ns: int = DUE) -> list[Outcome]:
    """Move the cycle, then once more: the second time nothing moves, and the same is said."""
    outcomes = cycle(desk.database, CYCLE_RULES, "tester", due_ns)
    before = desk.everything()
    assert cycle(desk.database, CYCLE_RULES, "tester", due_ns) == outcomes
    assert desk.everything() == before
    return list(outcomes)


def stage(desk: Desk, due_ns: int = DUE) -> str | None:
    """Return the stage of a cycle."""
    with desk.database.snapshot() as tx:
        found = tx.cycles.cycle(cycle_id(due_ns))
    return found.stage if found else None


def decision(desk: Desk, symbol: str) -> Decision | None:
    """Return the newest decision on a symbol."""
    with desk.database.snapshot() as tx:
        return next(iter(tx.cycles.last_decisions(symbol, 1)), None)


def ordered(desk: Desk) -> list[str]:
    """Return the symbols that wait for the gateway."""
    return [order.symbol for order in desk.orders() if order.state is _S.RISK_CHECKED]


def silenced(desk: Desk, symbol: str) -> None:
    """Make the venue's word on a symbol one from before the cycle."""
    word = tables.observation.c
    with desk.database.transaction() as tx:
        tx.session.write(sa.update(tables.observation).where(word.symbol == symbol).values(at_ns=word.at_ns - 1), {})


def test_a_symbol_that_waits_for_its_cancel_does_not_hold_up_the_other(pair: Desk) -> None:
    """The other is decided and routed at once; this one when its cancel is confirmed and the venue has spoken anew."""
    earlier = an_intended_order(DUE - MINUTE_NS, _S.NEW)
    pair.put(earlier)
    said = moved(pair)
    assert words(said) == ["decided", "cancelling"]
    assert (stage(pair), ordered(pair), decision(pair, "ES")) == ("cancelling", ["NQ"], None)
    silenced(pair, "ES")
    told = (PositionReport("SIM", "P1", "ES", qty(7), DUE), PositionReport("SIM", "P1", "NQ", qty(0), DUE))
    assert observe(pair.database, told, DUE) == (Outcome("cycle", (str(DUE),)),)
    assert words(moved(pair)) == ["decided", "cancelling"], "a word on what is being cancelled does not count"
    with pair.database.transaction() as tx:
        order = tx.orders.order(earlier.cl_ord_id)
        assert order is not None
        tx.orders.save(replace(order, state=_S.CANCELED, version=order.version + 1))
    assert moved(pair)[1:] == [Outcome("observing", ("SIM",))]
    pair.observe(DUE)
    assert words(moved(pair)) == ["decided", "closing"]
    assert (stage(pair), sorted(ordered(pair))) == ("decided", ["ES", "NQ"])


def test_a_symbol_that_no_observer_speaks_of_does_not_hold_up_the_other(pair: Desk) -> None:
    """The venue leaves it out of its answer: the other is traded, and the next cycle says that this one waited."""
    silenced(pair, "NQ")
    assert words(moved(pair)) == ["decided", "observing"]
    assert (stage(pair), ordered(pair), decision(pair, "NQ")) == ("observing", ["ES"], None)
    later = DUE + SLOT_NS
    for instrument in BOTH:
        pair.quote(later, symbol=instrument.symbol)
    pair.enter(voting(later, *[5] * 8, instruments=BOTH), at_ns=later)
    pair.mark(later)
    cycle(pair.database, CYCLE_RULES, "tester", later)
    waited = decision(pair, "NQ")
    assert waited is not None and waited.reasons == ("WAITED: stage=observing",)
    assert (waited.cycle_id, waited.actual, waited.intent) == (cycle_id(DUE), None, None)
    assert stage(pair) == "done"


def test_a_symbol_that_cannot_be_decided_is_recorded_as_failed_and_the_other_goes_on(pair: Desk) -> None:
    """Its price is absurd: the error is its decision's reason and an event, and nothing else of it is kept."""
    with pair.database.transaction() as tx:
        spoilt = sa.update(tables.market_step).where(tables.market_step.c.symbol == "ES").values(last=Decimal("-0.25"))
        assert tx.session.write(spoilt, {}) == 1
    assert words(moved(pair)) == ["decided", "closing"]
    failed = decision(pair, "ES")
    assert failed is not None and failed.reasons[0].startswith("FAILED: ")
    assert (failed.intent, failed.actual, failed.delta) == (None, None, qty(0))
    assert ordered(pair) == ["NQ"]
    [event] = pair.events("cycle.failed")
    assert event.startswith("cycle.failed ES ") and failed.reasons[0][:40] in event


def test_what_is_foreign_and_cannot_be_read_stops_none_of_ours(pair: Desk) -> None:
    """Its incident is spoilt by another program: that is told, and both symbols are decided."""
    with pair.database.transaction() as tx:
        tx.ledger.observe(Observation(VENUE, "GOLD", qty(1), DUE))
        tx.incidents.add(opened("GOLD", IncidentKind.FOREIGN, (), (), DUE - SLOT_NS))
        tx.session.write(sa.update(tables.incident).values(kind="nonsense"), {})
    assert words(moved(pair)) == ["decided", "closing"]
    assert sorted(ordered(pair)) == ["ES", "NQ"]
    [event] = pair.events("cycle.failed")
    assert event.startswith("cycle.failed foreign ") and "nonsense" in event


def test_what_a_failed_symbol_has_written_is_undone_alone(pair: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its order was there already when it failed: neither it nor its event is left, and the other's order is."""
    put = reconcile._approve

    def breaks(tx: object, rules: object, intent: object, instrument: object, *others: object) -> object:
        order = put(tx, rules, intent, instrument, *others)  # type: ignore[arg-type]
        if order is not None and order.symbol == "ES":
            raise OurMistake("after the order was written")
        return order

    monkeypatch.setattr(reconcile, "_approve", breaks)
    cycle(pair.database, CYCLE_RULES, "tester", DUE)
    assert [order.symbol for order in pair.orders()] == ["NQ"]
    failed = decision(pair, "ES")
    assert failed is not None and failed.reasons == ("FAILED: OurMistake: after the order was written",)


def test_a_writer_in_the_way_is_nobodys_failure(pair: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole move is given up, to be made again: nothing was written."""

    def meets(*_: object) -> None:
        raise Conflict("another writer")

    before = pair.everything()
    monkeypatch.setattr(reconcile, "_approve", meets)
    with pytest.raises(Conflict):
        cycle(pair.database, CYCLE_RULES, "tester", DUE)
    assert pair.everything() == before


def test_many_symbols_are_decided_in_several_transactions(pair: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if in one: the same decisions, one cycle, and the lease is given back."""
    monkeypatch.setattr(reconcile, "SYMBOLS_MAX", 1)
    assert words(moved(pair)) == ["decided", "closing"]
    assert sorted(ordered(pair)) == ["ES", "NQ"]
    with pair.database.snapshot() as tx:
        found = tx.cycles.cycle(cycle_id(DUE))
    assert found is not None and (found.stage, found.outcome) == ("decided", "intents: 2")
    assert cycle(pair.database, CYCLE_RULES, "another", DUE)[0].word == "decided"


def test_whoever_dies_between_two_symbols_leaves_the_rest_to_the_next(
    pair: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is decided and stays so; nobody waits for a lease, and another one decides the second at once."""
    monkeypatch.setattr(reconcile, "SYMBOLS_MAX", 1)
    decide = reconcile._decide_each
    decided: list[None] = []

    def dies(*arguments: object) -> None:
        if decided:
            raise KeyboardInterrupt
        decided.append(decide(*arguments))  # type: ignore[arg-type]

    monkeypatch.setattr(reconcile, "_decide_each", dies)
    with pytest.raises(KeyboardInterrupt):
        cycle(pair.database, CYCLE_RULES, "one", DUE)
    assert ordered(pair) == ["ES"]
    monkeypatch.undo()
    assert words(cycle(pair.database, CYCLE_RULES, "two", DUE)) == ["decided", "closing"]
    assert sorted(ordered(pair)) == ["ES", "NQ"]


def begun(desk: Desk, *slots: int, stage: str = "done") -> None:
    """Begin the cycles of some slots, counted from the first."""
    with desk.database.transaction() as tx:
        for slot in slots:
            due_ns = DUE + slot * SLOT_NS
            assert tx.cycles.open_cycle(Cycle(cycle_id(due_ns), due_ns, stage, None, 0))


@pytest.mark.parametrize(
    ("slots", "after_s", "missed"),
    [
        ((), 5 * SLOT_S, []),
        ((0,), SLOT_S, []),
        ((0,), 2 * SLOT_S - 1, []),
        ((0,), 2 * SLOT_S, [1]),
        ((0, 1, 3), 4 * SLOT_S, [2]),
        ((0, 1, 3), 5 * SLOT_S + 17, [2, 4]),
        ((2,), 4 * SLOT_S, [3]),
    ],
)
def test_a_slot_without_a_cycle_is_told_when_its_successor_has_begun(
    shared: Desk, slots: tuple[int, ...], after_s: int, missed: list[int]
) -> None:
    """Once, as a cycle that is done and an event, whoever looks; nothing is told of what was before the first cycle."""
    begun(shared, *slots)
    now_ns = DUE + after_s * SECOND_NS
    assert tell_missed(shared.database, SLOT_NS, now_ns) == len(missed)
    assert tell_missed(shared.database, SLOT_NS, now_ns) == 0
    assert [event.split()[1] for event in shared.events("cycle.missed")] == [
        cycle_id(DUE + slot * SLOT_NS) for slot in missed
    ]
    assert {stage(shared, DUE + slot * SLOT_NS) for slot in missed} <= {"done"}


def test_a_message_that_comes_for_a_missed_slot_decides_nothing(pair: Desk) -> None:
    """Its minute is over, and its row says so."""
    begun(pair, -1)
    tell_missed(pair.database, SLOT_NS, DUE + SLOT_NS)
    assert words(cycle(pair.database, CYCLE_RULES, "tester", DUE)) == ["decided", "done"]
    assert pair.orders() == []


def test_the_rest_is_no_missed_slot(shared: Desk) -> None:
    """From Friday's last slot on nothing is told until Monday's first has passed."""
    friday = SATURDAY_NS - 15 * 3600 * SECOND_NS - 10 * MINUTE_NS  # 20:50 UTC, 22:50 on the clocks of the rest
    with shared.database.transaction() as tx:
        tx.cycles.open_cycle(Cycle(cycle_id(friday), friday, "done", None, 0))
    monday = SATURDAY_NS + 34 * 3600 * SECOND_NS
    assert tell_missed(shared.database, SLOT_NS, monday) == 0
    assert tell_missed(shared.database, SLOT_NS, monday + SLOT_NS) == 1


def test_a_long_outage_is_told_in_turns(shared: Desk) -> None:
    """At most so many slots in a transaction, the oldest first, none twice."""
    begun(shared, 0)
    now_ns = DUE + (SLOTS_MAX + 12) * SLOT_NS
    assert [tell_missed(shared.database, SLOT_NS, now_ns) for _ in range(3)] == [SLOTS_MAX, 11, 0]


def test_an_outage_longer_than_anybody_looks_back_is_told_as_far_as_that(desk: Desk) -> None:
    """Its last eight days, without the weekend in them, and not nothing at all."""
    begun(desk, 0)
    now_ns = DUE + 14 * 86_400 * SECOND_NS
    turns = [tell_missed(desk.database, SLOT_NS, now_ns) for _ in range(6)]
    assert turns[-1] == 0
    # Of the 192 h back from Tuesday 14:00 on the clocks of the rest 49 are the weekend's.
    assert sum(turns) == (192 - 49) * 6


def test_a_replay_misses_no_slot(shared: Desk) -> None:
    """Its data have gaps, and its driver waits for the cycle of each slot that they have."""
    begun(shared, 0)
    with shared.database.transaction() as tx:
        tx.control.put_replay(Replay("d", "d", 1, "s", DUE, DUE + 1, DUE, 0.0, 0, finished=False))
    assert tell_missed(shared.database, SLOT_NS, DUE + 9 * SLOT_NS) == 0


def test_an_order_of_no_cycle_of_ours_is_withdrawn_too(pair: Desk) -> None:
    """It is of another cycle than this one; its symbol waits, the other does not."""
    pair.put(an_order("OTHER", symbol="NQ", cycle=CycleId("C9"), state=_S.UNKNOWN, session="SIM"))
    assert words(moved(pair)) == ["decided", "cancelling"]
    assert pair.order("OTHER").cancel_reason == "superseded"
    assert ordered(pair) == ["ES"]
