"""`services.protect`: exits from the marks of the account through a cycle of their own to a maker order."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import (
    ACCOUNT,
    COHORT_RULES,
    CYCLE_RULES,
    ES,
    NQ,
    SATURDAY_NS,
    SESSION,
    TUESDAY_NS,
    Desk,
    an_intended_order,
    qty,
    voting,
    words,
)
from tests.fakes import Died
from trisagion.adapters.db import tables
from trisagion.adapters.db.control import ControlRoom
from trisagion.clock import MINUTE_NS
from trisagion.cohort.types import Epoch
from trisagion.ids import cycle_id
from trisagion.ledger.take_profit import TakeProfitRules
from trisagion.market.closures import Closures
from trisagion.orders.state import OrderState
from trisagion.orders.types import Order, Side
from trisagion.portfolio.exits import Cause, ExitRules, ExitState
from trisagion.ports import Cycle, Decision
from trisagion.risk.losses import LossRules
from trisagion.safety.modes import Level, Mode
from trisagion.services.control import engage
from trisagion.services.outcome import Outcome
from trisagion.services.protect import Protection
from trisagion.services.reconcile import cycle
from trisagion.services.replay import protecting
from trisagion.services.take_profit import WatchRules, watch
from trisagion.units import Price

T0 = TUESDAY_NS
PROTECTION = Protection(ExitRules(atr_bars=2, bar_min=1, break_even_atr=Decimal(0)), 10 * MINUTE_NS, ACCOUNT, SESSION)
"""At bars of a point the average true range is one as long as the price stays: the stop is three points behind."""
WATCH = WatchRules(TakeProfitRules(), COHORT_RULES, seed=7, losses=LossRules(), protection=PROTECTION)
RULES = replace(CYCLE_RULES, protection=PROTECTION)


def at(minute: int) -> int:
    """Return the instant of a minute."""
    return T0 + minute * MINUTE_NS


def look(desk: Desk, minute: int, price: str, rules: WatchRules = WATCH) -> list[str]:
    """Publish a minute and mark it; return what is said, which is the same a second time."""
    desk.quote(at(minute), price)
    said = watch(desk.database, rules, at(minute))
    before = desk.everything()
    assert watch(desk.database, rules, at(minute)) == said
    assert desk.everything() == before
    return words(said)


def held(desk: Desk, number: int = 8) -> Desk:
    """Hold a position for some quiet minutes: bought at 4000, marked each minute up to the third."""
    desk.enter(voting(T0, 40 if number > 0 else -40), at_ns=T0)
    desk.hold(number)
    for minute in (1, 2, 3):
        assert look(desk, minute, "4000") == ["watched"]
    return desk


def state(desk: Desk) -> ExitState:
    """Return what is remembered."""
    with desk.database.snapshot() as tx:
        return tx.exits.state("cohort", "ES")


def move(desk: Desk, minute: int) -> list[str]:
    """Let the venue confirm and move the cycle of a minute."""
    desk.observe(at(minute))
    return words(cycle(desk.database, RULES, "tester", at(minute)))


def decision(desk: Desk) -> Decision:
    """Return the newest decision."""
    with desk.database.snapshot() as tx:
        [newest] = tx.cycles.last_decisions("ES", 1)
    return newest


def live(desk: Desk) -> list[Any]:
    """Return what waits to be sent or is at the venue."""
    return [(o.side, o.qty, o.taker) for o in desk.orders() if o.state in {OrderState.RISK_CHECKED, OrderState.NEW}]


@pytest.mark.parametrize(("number", "price", "side"), [(8, "3990", Side.SELL), (-8, "4010", Side.BUY)])
def test_a_crossed_stop_rings_a_cycle_at_once_which_makes(desk: Desk, number: int, price: str, side: Side) -> None:
    """Between two slots of the schedule, whatever the cohort has come to: all of it, as a maker, with its reason."""
    held(desk, number)
    desk.quote(at(4), price)
    assert watch(desk.database, WATCH, at(4)) == (Outcome("exiting", (str(at(4)),)),)
    assert protecting(desk.database, at(4))
    assert move(desk, 4) == ["decided", "done"]
    assert live(desk) == [(side, 8, False)]
    assert decision(desk).reasons[-1].startswith("TRAILING_STOP: wanted=")
    assert (decision(desk).desired, decision(desk).actual) == (qty(0), qty(number))
    assert [event.split()[:2] for event in desk.events("exit.")] == [["exit.trailing_stop", "ES"]]
    assert look(desk, 4, price) == ["watched"]


def test_a_scale_out_takes_a_quarter_and_the_next_one_another(desk: Desk) -> None:
    """At one range beyond the entry, and at two; an order at the best price is given its time."""
    held(desk)
    assert look(desk, 4, "4001") == ["exiting"]
    assert state(desk).legs == 1
    assert move(desk, 4) == ["decided", "done"]
    assert live(desk) == [(Side.SELL, 2, False)]
    [order] = desk.orders()
    working(desk, order, "4001.25")
    assert look(desk, 5, "4001") == ["watched"]
    assert look(desk, 6, "4000.5") == ["exiting"]
    assert move(desk, 6) == ["cancelling"]
    ended(desk)
    assert move(desk, 6) == ["decided", "done"]
    assert live(desk) == [(Side.SELL, 2, False)]
    legs = [event.partition('"leg": ')[2][:3] for event in desk.events("exit.scale_out")]
    assert legs == ['"1"']


def working(desk: Desk, order: Order, price: str) -> None:
    """Let an order rest at the venue."""
    with desk.database.transaction() as tx:
        px = Price(Decimal(price))
        tx.orders.save(replace(order, state=OrderState.NEW, price=px, session="SIM", version=order.version + 1))


def ended(desk: Desk) -> None:
    """Let the venue confirm the cancel of all that rests."""
    with desk.database.transaction() as tx:
        for order in tx.orders.in_states(frozenset({OrderState.NEW})):
            tx.orders.save(replace(order, state=OrderState.CANCELED, version=order.version + 1))


def test_a_slot_of_the_schedule_decides_on_everything_within_the_bounds(desk: Desk) -> None:
    """The votes want more, the stop allows nothing: no cycle is opened beside the slot's own, which sells all."""
    held(desk)
    for minute in range(4, 10):
        look(desk, minute, "4000")
    assert look(desk, 10, "3990") == ["watched"]
    assert not protecting(desk.database, at(10))
    desk.enter(voting(at(10), 40), at_ns=at(10))
    assert move(desk, 10) == ["decided", "closing"]
    assert live(desk) == [(Side.SELL, 8, False)]
    codes = [reason.partition(":")[0] for reason in decision(desk).reasons]
    assert codes[-3:] == ["VOTES_COUNTED", "KELLY_PROBATION", "TRAILING_STOP"]


def test_stale_votes_do_not_keep_what_has_to_go(desk: Desk) -> None:
    """Nothing is known of what is wanted; what was stopped goes all the same."""
    held(desk)
    assert look(desk, 10, "3990") == ["watched"]
    desk.enter(voting(at(10), 40, updated_ns=T0 - 60 * MINUTE_NS), at_ns=at(10))
    move(desk, 10)
    assert live(desk) == [(Side.SELL, 8, False)]


def test_a_side_that_was_stopped_out_is_entered_again_only_after_another_vote(desk: Desk) -> None:
    """Slot after slot, until the votes have wanted the other side; that entry is free at once."""
    held(desk)
    look(desk, 4, "3990")
    move(desk, 4)
    for order in desk.orders():
        working(desk, order, "3990.25")
    ended(desk)
    desk.hold(-8, price="3990")
    said = []
    for minute, direction in ((10, 40), (20, 40), (30, -40), (40, 40)):
        look(desk, minute, "3990")
        desk.enter(voting(at(minute), direction), at_ns=at(minute))
        move(desk, minute)
        said.append("TRAILING_STOP" in {reason.partition(":")[0] for reason in decision(desk).reasons})
    assert said == [True, True, False, False]
    assert state(desk).cause is None


def test_a_cycle_of_exits_leaves_the_orders_of_other_symbols_alone(desk: Desk) -> None:
    """Only what has to go is withdrawn and decided anew."""
    held(desk)
    resting = an_intended_order(T0, OrderState.NEW, symbol="NQ", cl_ord_id="N1")
    adding = an_intended_order(T0, OrderState.NEW, side=Side.BUY)
    desk.put(resting, adding)
    assert look(desk, 4, "3990") == ["exiting"]
    assert move(desk, 4) == ["cancelling"]
    wishes = {order.symbol: order.cancel_reason for order in desk.orders()}
    assert wishes == {"NQ": None, "ES": "superseded"}


def test_an_abandoned_cycle_of_exits_says_nothing_of_other_symbols(desk: Desk) -> None:
    """It was not for them: what has to go is recorded to have waited, and no more."""
    with desk.database.transaction() as tx:
        tx.market.add_instrument(NQ)
    held(desk)
    desk.put(an_intended_order(T0, OrderState.NEW, side=Side.BUY))
    assert look(desk, 4, "3990") == ["exiting"]
    assert move(desk, 4) == ["cancelling"]
    look(desk, 10, "3990")
    desk.enter(voting(at(10), 40), at_ns=at(10))
    assert "cancelling" in move(desk, 10)
    waited = desk.rows(tables.decision.c.symbol, tables.decision.c.cycle_id, tables.decision.c.reasons)
    assert [row[0] for row in waited if row[1] == cycle_id(at(4))] == ["ES"]


@pytest.mark.parametrize(
    "why",
    ["pause", "pause of the symbol", "pause of the account", "rest", "its exchange is closed", "a cycle under way"],
)
def test_no_cycle_is_opened_where_it_could_do_nothing(desk: Desk, why: str) -> None:
    """Not in a pause, not in a rest, not over a cycle that has just begun; the state is kept all the same."""
    begin = SATURDAY_NS if why == "rest" else T0
    if why == "its exchange is closed":
        night = Closures("XNEW", T0, at(60), ((at(5), at(50), "Good Friday"),))
        with desk.database.transaction() as tx:
            tx.market.add_instrument(replace(ES, closures=night))
    desk.enter(voting(begin, 40), at_ns=begin)
    desk.hold(8)
    for minute, price in ((1, "4000"), (2, "4000"), (3, "4000"), (4, "3990")):
        at_ns = begin + minute * MINUTE_NS
        if minute == 4 and why == "pause":
            desk.switch(Mode.PAUSE)
        if minute == 4 and why.startswith("pause of"):
            level, name = (Level.SYMBOL, "ES") if why.endswith("symbol") else (Level.ACCOUNT, ACCOUNT)
            engage(desk.database, Mode.PAUSE, "tester", "test", at_ns, level=level, name=name)
        if minute == 4 and why == "a cycle under way":
            with desk.database.transaction() as tx:
                tx.cycles.open_cycle(Cycle(cycle_id(at_ns - MINUTE_NS), at_ns - MINUTE_NS, "observing", None, 0))
        desk.quote(at_ns, price)
        assert words(watch(desk.database, WATCH, at_ns)) == ["watched"]
    assert state(desk).cause is Cause.TRAIL


def test_in_emergency_exits_take_with_all_the_rest(desk: Desk) -> None:
    """The one exemption from making: everything is flattened, and no exit is asked."""
    held(desk)
    desk.switch(Mode.EMERGENCY)
    assert look(desk, 4, "3990") == ["exiting"]
    assert move(desk, 4) == ["decided", "closing"]
    assert live(desk) == [(Side.SELL, 8, True)]
    assert any(reason.startswith("FLATTEN") for reason in decision(desk).reasons)


def test_without_protection_nothing_is_remembered(desk: Desk) -> None:
    """The default: no row, no cycle, whatever the price does."""
    desk.enter(voting(T0, 40), at_ns=T0)
    desk.hold(8)
    plain = replace(WATCH, protection=None)
    for minute, price in ((1, "4000"), (2, "3000"), (3, "5000")):
        assert look(desk, minute, price, plain) == ["watched"]
    assert state(desk) == ExitState.nothing("cohort", "ES")
    assert not protecting(desk.database, at(3))


@pytest.mark.parametrize("dies", [True, False], ids=["before the commit", "after it"])
def test_exits_are_there_after_a_crash_on_either_server(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    """Mark, state and cycle are of one commit: whoever comes next finds all of it, or makes all of it again."""
    with shared.database.transaction() as tx:
        tx.cohort.put_epoch(Epoch(1, T0, None, None, None))
    shared.hold(8)
    for minute in (1, 2, 3):
        shared.quote(at(minute), "4000")
        watch(shared.database, WATCH, at(minute))
    shared.quote(at(4), "3990")
    add: Callable[..., None] = ControlRoom.add_event

    def mortal(room: ControlRoom, kind: str, *rest: object) -> None:
        add(room, kind, *rest)
        if kind.startswith("exit."):
            raise Died

    if dies:
        with monkeypatch.context() as patched:
            patched.setattr(ControlRoom, "add_event", mortal)
            with pytest.raises(Died):
                watch(shared.database, WATCH, at(4))
        assert state(colleague).cause is None
        assert not protecting(colleague.database, at(4))
    else:
        watch(shared.database, WATCH, at(4))
        assert state(colleague).cause is Cause.TRAIL
        with colleague.database.snapshot() as tx:
            assert [found.due_ns for found in tx.cycles.unfinished()] == [at(4)]
    assert watch(colleague.database, WATCH, at(4)) == (Outcome("exiting", (str(at(4)),)),)
    colleague.observe(at(4))
    assert words(cycle(colleague.database, RULES, "tester", at(4))) == ["decided", "done"]
    assert [(order.side, order.qty) for order in shared.orders()] == [(Side.SELL, qty(8))]
    assert len(shared.events("exit.")) == 1
