"""`services.route_orders`, `sweep`, `control` and `replay`: the gateway, and what brings a platform to rest."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import (
    COHORT_RULES,
    ES,
    LIMITS,
    NQ,
    PATIENT,
    SATURDAY_NS,
    TUESDAY_NS,
    Desk,
    a_report,
    an_intended_order,
    an_order,
    qty,
)
from trisagion.adapters.db import open_database
from trisagion.adapters.db.engine import retrying
from trisagion.clock import MINUTE_NS
from trisagion.cohort.types import Progress
from trisagion.errors import DataError, StateError, TrisagionError
from trisagion.ids import ClOrdId, cycle_id, intent_key
from trisagion.ledger.take_profit import TakeProfitRules
from trisagion.ledger.types import Account
from trisagion.orders.state import LIVE, OrderState
from trisagion.orders.types import Order, Side
from trisagion.ports import Cycle, Replay, TakeProfitStep
from trisagion.risk.limits import Limits
from trisagion.safety.modes import REPLAY, Mode
from trisagion.services import control
from trisagion.services.outcome import Outcome
from trisagion.services.replay import UNSETTLED, begin, mark, take_up, unsettled
from trisagion.services.route_orders import ROUTE_MAX, route
from trisagion.services.sweep import sweep
from trisagion.services.take_profit import WatchRules, watch
from trisagion.units import Money, Price

_S = OrderState
T0 = TUESDAY_NS
WATCH = WatchRules(TakeProfitRules(), COHORT_RULES, seed=7, losses=PATIENT)


def routed(desk: Desk, order_id: ClOrdId, now_ns: int = T0, limits: Limits = LIMITS) -> Outcome:
    """Route an order."""
    return route(desk.database, limits, "SIM", order_id, now_ns)


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "3999.75"), (Side.SELL, "4000.25")])
def test_an_approved_order_is_priced_at_its_own_side_and_given_to_its_session(
    desk: Desk, side: Side, price: str
) -> None:
    """Once: the second time it is only announced again."""
    order = an_intended_order(T0, _S.RISK_CHECKED, side=side)
    desk.put(order)
    assert routed(desk, order.cl_ord_id) == Outcome("routed", ("SIM",))
    after = desk.order(order.cl_ord_id)
    assert after == replace(order, state=_S.ROUTED, price=Price(Decimal(price)), session="SIM", version=1)
    before = desk.everything()
    assert routed(desk, order.cl_ord_id) == Outcome("routed", ("SIM",))
    assert desk.everything() == before


def test_an_order_meets_the_market_of_its_decision_however_old_the_message(desk: Desk) -> None:
    """A sweep may carry the instant before: the order is routed as of its own, and dated to it."""
    order = an_intended_order(T0, _S.RISK_CHECKED)
    desk.put(order)
    assert routed(desk, order.cl_ord_id, T0 - MINUTE_NS).word == "routed"
    after = desk.order(order.cl_ord_id)
    assert (after.state, after.updated_ns) == (_S.ROUTED, T0)


def test_a_taker_order_is_priced_to_reach_the_other_side(desk: Desk) -> None:
    """In Emergency only."""
    desk.hold(3)
    desk.switch(Mode.EMERGENCY)
    order = an_intended_order(T0, _S.RISK_CHECKED, taker=True)
    desk.put(order)
    assert routed(desk, order.cl_ord_id).word == "routed"
    assert desk.order(order.cl_ord_id).price == Decimal("3999.75")


@pytest.mark.parametrize(
    ("mode", "now_ns", "changes", "limits", "code"),
    [
        (Mode.PAUSE, T0, {}, LIMITS, "MODE_FORBIDS"),
        (Mode.REDUCE, T0, {}, LIMITS, "MODE_FORBIDS"),
        (Mode.EMERGENCY, T0, {}, LIMITS, "MODE_FORBIDS"),
        (Mode.NORMAL, SATURDAY_NS, {}, LIMITS, "REST"),
        (Mode.NORMAL, T0 + MINUTE_NS + 1, {}, LIMITS, "QUOTE_STALE"),
        (Mode.NORMAL, T0, {"qty": qty("0.5")}, LIMITS, "LOT_VIOLATED"),
        (Mode.NORMAL, T0, {"qty": qty(50)}, LIMITS, "ORDER_NOTIONAL"),
        (Mode.NORMAL, T0, {}, replace(LIMITS, position_notional_max=Decimal(1)), "POSITION_LIMIT"),
        (Mode.NORMAL, T0, {}, replace(LIMITS, orders_max=0), "TOO_MANY_ORDERS"),
        (Mode.NORMAL, T0, {"taker": True}, LIMITS, "TAKER_FORBIDDEN"),
    ],
)
def test_the_gateway_looks_again_and_denies(
    *, desk: Desk, mode: Mode, now_ns: int, changes: dict[str, Any], limits: Limits, code: str
) -> None:
    """What was true when the cycle decided need not be now; the denial is recorded with its reason, and final."""
    desk.switch(mode)
    order = an_intended_order(T0, _S.RISK_CHECKED, **changes)
    desk.put(order)
    assert routed(desk, order.cl_ord_id, now_ns, limits) == Outcome("denied")
    after = desk.order(order.cl_ord_id)
    assert (after.state, (after.reason or "").partition(":")[0]) == (_S.DENIED, code)
    assert len(desk.events(f"order.denied {order.cl_ord_id}")) == 1
    desk.switch(Mode.NORMAL)
    assert routed(desk, order.cl_ord_id) == Outcome("nothing")


def test_other_live_orders_count_against_the_limits(desk: Desk) -> None:
    """Also one that nobody knows anything of; the order itself does not count twice."""
    tight = replace(LIMITS, orders_max=1)
    order = an_intended_order(T0, _S.RISK_CHECKED)
    desk.put(order, an_intended_order(T0 - MINUTE_NS, _S.UNKNOWN))
    assert routed(desk, order.cl_ord_id, limits=tight) == Outcome("denied")
    alone = an_intended_order(T0 + 1, _S.RISK_CHECKED)
    desk.put(alone)
    assert routed(desk, alone.cl_ord_id, T0 + 1, replace(LIMITS, orders_max=2)) == Outcome("routed", ("SIM",))


@pytest.mark.parametrize("state", sorted(set(OrderState) - {_S.RISK_CHECKED, _S.ROUTED}))
def test_an_order_that_is_further_on_is_left_alone(desk: Desk, state: OrderState) -> None:
    """A message may come late; nor is there anything to do for one that nobody knows."""
    order = an_intended_order(T0, state)
    desk.put(order)
    before = desk.everything()
    assert routed(desk, order.cl_ord_id) == Outcome("nothing")
    assert routed(desk, ClOrdId("stranger")) == Outcome("nothing")
    assert desk.everything() == before


def waiting(desk: Desk, count: int, **changes: Any) -> list[Order]:
    """Put orders there that wait for the gateway, the oldest first."""
    orders = [an_intended_order(T0 + number, _S.RISK_CHECKED, **changes) for number in range(count)]
    desk.put(*orders)
    return orders


def test_one_ring_routes_all_that_wait_as_their_own_rings_would(desk: Desk) -> None:
    """Each at the price and the instant of its own; a new attempt at a refused intent keeps its own time."""
    orders = waiting(desk, 3)
    again = an_intended_order(T0 - 1, _S.RISK_CHECKED, attempt=1)
    desk.put(again)
    assert routed(desk, orders[1].cl_ord_id, T0 + 1) == Outcome("routed", ("SIM",))
    for order in orders:
        at_ns = max(T0 + 1, order.updated_ns)
        done = {"state": _S.ROUTED, "price": Price(Decimal("4000.25")), "session": "SIM"}
        assert desk.order(order.cl_ord_id) == replace(order, **done, updated_ns=at_ns, version=1)  # type: ignore[arg-type]
    assert desk.order(again.cl_ord_id) == again
    assert routed(desk, again.cl_ord_id) == Outcome("routed", ("SIM",))
    assert desk.order(again.cl_ord_id).state is _S.ROUTED


def test_a_ring_routes_no_more_at_once_than_a_session_claims(desk: Desk) -> None:
    """The next ring takes the rest, be it for an order that is done."""
    orders = waiting(desk, ROUTE_MAX + 2)
    limits = replace(LIMITS, orders_max=1000, position_notional_max=Decimal(10**9))
    assert routed(desk, orders[-1].cl_ord_id, T0, limits).word == "routed"
    assert [order.cl_ord_id for order in desk.orders() if order.state is _S.RISK_CHECKED] == [orders[-2].cl_ord_id]
    assert routed(desk, orders[0].cl_ord_id, T0, limits).word == "routed"
    assert {order.state for order in desk.orders()} == {_S.ROUTED}


def test_orders_of_one_ring_count_against_each_other(desk: Desk) -> None:
    """The oldest goes first, beside all the others; once it is denied, there is room for the next."""
    orders = waiting(desk, 4)
    assert routed(desk, orders[-1].cl_ord_id, T0, replace(LIMITS, orders_max=2)) == Outcome("routed", ("SIM",))
    assert [desk.order(order.cl_ord_id).state for order in orders] == [_S.DENIED, _S.DENIED, _S.ROUTED, _S.ROUTED]
    assert len(desk.events("order.denied")) == 2


def test_what_cannot_be_judged_keeps_nobody_else(desk: Desk) -> None:
    """It is left for its own ring, which says why; one on a symbol that nobody knows is denied."""
    with desk.database.transaction() as tx:
        tx.market.add_instrument(NQ)
    desk.quote(T0, "0.35", symbol="NQ")
    made = {
        name: an_order(name, intent=intent_key(cycle_id(T0), name), symbol=symbol, side=Side.BUY)
        for name, symbol in (("good", "ES"), ("priceless", "NQ"), ("strange", "ZZ"))
    }
    desk.put(*made.values())
    assert routed(desk, ClOrdId("good")).word == "routed"
    assert [desk.order(name).state for name in made] == [_S.ROUTED, _S.RISK_CHECKED, _S.DENIED]
    assert (desk.order("strange").reason or "").startswith("INSTRUMENT_UNKNOWN")
    with pytest.raises(DataError, match="NQ: no maker price"):
        routed(desk, ClOrdId("priceless"))


def test_gateways_that_are_rung_at_once_route_each_order_once(shared: Desk) -> None:
    """Whoever comes second finds it done, or takes others."""
    orders = waiting(shared, 40, side=Side.BUY)
    limits = replace(LIMITS, orders_max=1000, position_notional_max=Decimal(10**9))

    def work(mine: list[Order]) -> None:
        for order in mine:
            retrying(lambda name=order.cl_ord_id: routed(shared, name, T0 + MINUTE_NS, limits))  # type: ignore[misc]

    threads = [threading.Thread(target=work, args=(orders[number::3],)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(order.state, order.version) for order in shared.orders()} == {(_S.ROUTED, 1)}


SWEPT = {
    _S.RISK_CHECKED: "unrouted",
    _S.ROUTED: "unsent",
    _S.PENDING_NEW: "doubtful",
    _S.PENDING_CANCEL: "doubtful",
    _S.PENDING_REPLACE: "doubtful",
    _S.UNKNOWN: "doubtful",
}


@pytest.mark.parametrize("state", sorted(set(OrderState)))
@pytest.mark.parametrize("withdrawn", [False, True])
def test_the_sweeper_names_every_order_that_something_is_left_to_do_for(
    desk: Desk, state: OrderState, withdrawn: bool
) -> None:
    """By the session or the order; what works undisturbed or has ended is not named."""
    order = an_intended_order(T0, state, cancel_reason="superseded" if withdrawn else None)
    desk.put(order)
    found = {outcome.word: outcome.subjects for outcome in sweep(desk.database) if outcome.subjects}
    word = "unsent" if withdrawn and state in {_S.NEW, _S.PARTIALLY_FILLED} else SWEPT.get(state)
    assert found == ({word: (order.cl_ord_id if word == "unrouted" else "SIM",)} if word else {})


@pytest.mark.parametrize(
    ("stage", "word"),
    [
        ("opened", "undecided"),
        ("cancelling", "undecided"),
        ("observing", "undecided"),
        ("decided", "unsupervised"),
        ("done", None),
    ],
)
def test_the_sweeper_names_every_cycle_that_is_not_done(desk: Desk, stage: str, word: str | None) -> None:
    """By its instant."""
    with desk.database.transaction() as tx:
        tx.cycles.open_cycle(Cycle(cycle_id(T0), T0, stage, None, 0))
    found = {outcome.word: outcome.subjects for outcome in sweep(desk.database) if outcome.subjects}
    assert found == ({word: (str(T0),)} if word else {})


@pytest.mark.parametrize("before", list(Mode))
@pytest.mark.parametrize("wanted", list(Mode))
def test_a_mode_is_made_stricter_by_anybody_and_looser_by_an_operator_with_a_reason(
    desk: Desk, before: Mode, wanted: Mode
) -> None:
    """`engage` never loosens; `release` wants a name and a reason, and says both."""
    order = [Mode.NORMAL, Mode.REDUCE, Mode.PAUSE, Mode.EMERGENCY]
    desk.switch(before)
    control.engage(desk.database, wanted, "anna", "why", T0)
    assert desk.mode() is max(before, wanted, key=order.index)
    for operator, reason in (("", "why"), ("anna", ""), (" ", "why"), ("anna", "\t")):
        with pytest.raises(TrisagionError, match="a named operator and a reason"):
            control.release(desk.database, operator, reason, T0)
    assert desk.mode() is max(before, wanted, key=order.index)
    control.release(desk.database, "anna", "looked at it", T0)
    assert desk.mode() is Mode.NORMAL
    assert '"anna"' in desk.events("control.released")[0]


def a_replay(**changes: Any) -> Replay:
    """Return a replay of an hour."""
    made = Replay("ES", "d" * 64, 1, "s" * 64, T0, T0 + 60 * MINUTE_NS, T0, 0.0, 0, finished=False)
    return replace(made, **changes)


@pytest.fixture
def fresh(sqlite_url: str) -> Iterator[Desk]:
    """Give an empty database."""
    desk = Desk(open_database(sqlite_url))
    yield desk
    desk.database.close()


def begun(desk: Desk, **changes: Any) -> Replay:
    """Begin a replay, or take it up."""
    return begin(desk.database, a_replay(**changes), [ES], Money(Decimal(1000)), COHORT_RULES, LIMITS)


def test_a_replay_founds_account_cohort_and_itself_at_once(fresh: Desk) -> None:
    """Begun again it is taken up where it stands, at the pace that is asked for now; nothing is founded twice."""
    assert begun(fresh) == a_replay()
    mark(fresh.database, T0 + 5)
    counts = {name: len(rows) for name, rows in fresh.everything().items()}
    assert begun(fresh, speed=60.0, origin_ns=9) == a_replay(now_ns=T0 + 5, speed=60.0, origin_ns=9)
    assert {name: len(rows) for name, rows in fresh.everything().items()} == counts
    with fresh.database.snapshot() as tx:
        assert tx.ledger.balance(Account.CASH) == 1000
        assert tx.cohort.run_count() == COHORT_RULES.desired_runs
    assert fresh.mode() is Mode.NORMAL


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"digest": "e" * 64}, "other data .*ddd.* eee"),
        ({"seed": 2}, "another seed .1 then, 2 now"),
        ({"settings_digest": "t" * 64}, "other settings"),
    ],
)
def test_another_replay_is_refused_by_what_differs(fresh: Desk, changes: dict[str, Any], told: str) -> None:
    """And nothing changes."""
    begun(fresh)
    before = fresh.everything()
    with pytest.raises(StateError, match=told):
        begun(fresh, **changes)
    assert fresh.everything() == before


def test_what_an_operator_stopped_goes_on_only_with_a_reason(fresh: Desk) -> None:
    """What the replay stopped itself goes on by itself."""
    take_up(fresh.database, "anna", None)
    begun(fresh)
    control.engage(fresh.database, Mode.PAUSE, REPLAY, "replay stopped", T0)
    take_up(fresh.database, "anna", None)
    begun(fresh)
    assert fresh.mode() is Mode.NORMAL
    control.engage(fresh.database, Mode.EMERGENCY, "bob", "fat finger", T0)
    with pytest.raises(StateError, match=r"bob stopped this run \(emergency: fat finger"):
        take_up(fresh.database, "anna", None)
    begun(fresh)
    assert fresh.mode() is Mode.EMERGENCY
    take_up(fresh.database, "anna", "checked the books")
    assert fresh.mode() is Mode.NORMAL


def test_a_step_waits_for_each_thing_in_turn(fresh: Desk) -> None:
    """Reports, shards, equity, the end of an epoch, the cycle, older cycles, orders: each is named."""
    begun(fresh)
    at = {"cohort_ns": T0 + MINUTE_NS, "equity_ns": T0 + MINUTE_NS, "cycle_ns": T0 + MINUTE_NS}

    def waits() -> str | None:
        return unsettled(fresh.database, "SIM", 1, **at)

    order = an_intended_order(T0, _S.NEW)
    fresh.put(order)
    assert waits() == "execution reports of SIM up to number 1"
    with fresh.database.transaction() as tx:
        tx.orders.add_execution(a_report(), T0)
    assert "2 of 2 cohort shards" in str(waits())
    fresh.quote(T0 + MINUTE_NS)
    with fresh.database.transaction() as tx:
        for number in (0, 1):
            tx.cohort.put_progress(Progress(number, T0 + MINUTE_NS, 6, 0, 0.0, 0.0))
    assert "the equity at" in str(waits())
    watch(fresh.database, WATCH, T0 + MINUTE_NS)
    with fresh.database.transaction() as tx:
        tx.ledger.add_step(TakeProfitStep(1, "Detected", T0))
    assert waits() == "step EpochClosed of the end of epoch 1"
    watch(fresh.database, WATCH, T0 + MINUTE_NS)
    assert "not begun" in str(waits())
    with fresh.database.transaction() as tx:
        tx.cycles.open_cycle(Cycle(cycle_id(T0 + MINUTE_NS), T0 + MINUTE_NS, "done", None, 0))
        tx.cycles.open_cycle(Cycle(cycle_id(T0), T0, "decided", None, 0))
    assert "(decided)" in str(waits())
    with fresh.database.transaction() as tx:
        tx.cycles.save_cycle(Cycle(cycle_id(T0), T0, "done", None, 1))
    assert waits() is None
    for state in sorted(LIVE):
        with fresh.database.transaction() as tx:
            now = tx.orders.order(order.cl_ord_id)
            assert now is not None
            tx.orders.save(replace(now, state=state, version=now.version + 1))
        assert waits() == (f"order {order.cl_ord_id} ({state})" if state in UNSETTLED else None)
