"""Control modes of a part: the most severe that applies to an order binds, at the intent, the claim and the socket."""

from dataclasses import replace

import pytest

from tests.builders import ACCOUNT, CYCLE_RULES, ES, LIMITS, NQ, SESSION, TUESDAY_NS, Desk, qty, voting
from tests.integration.owned import owner, routed
from trisagion.adapters.db import SqlDatabase
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.errors import ConfigError
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side
from trisagion.safety.modes import STRATEGY, Control, Level, Mode
from trisagion.services import control
from trisagion.services.reconcile import cycle
from trisagion.services.replay import flattening
from trisagion.services.route_orders import route

_S = OrderState
PARTS = [(Level.ALL, ""), (Level.ACCOUNT, ACCOUNT), (Level.VENUE, SESSION), (Level.STRATEGY, STRATEGY)]
ON_ES = (Level.SYMBOL, "ES")


@pytest.fixture
def both(database: SqlDatabase) -> Desk:
    """An account that trades two symbols, with prices, on both databases."""
    return Desk(database).found(instruments=(ES, NQ))


def engage(desk: Desk, mode: Mode, level: Level, name: str) -> None:
    """Have an operator set a mode for a part."""
    control.engage(desk.database, mode, "ann", "looks odd", TUESDAY_NS, level, name)


def on(desk: Desk, symbol: str) -> Mode:
    """Return the mode that binds orders in a symbol."""
    with desk.database.snapshot() as tx:
        standing = tx.control.standing()
    return standing.over(account=ACCOUNT, venue=SESSION, symbol=symbol, now_ns=TUESDAY_NS).mode


@pytest.mark.parametrize(("level", "name"), [*PARTS, ON_ES])
def test_a_part_that_is_paused_claims_nothing_and_withdraws_its_own(both: Desk, level: Level, name: str) -> None:
    """The other symbol goes on where the part is a symbol; a cancel passes always."""
    engage(both, Mode.PAUSE, level, name)
    working = routed("W1", state=_S.NEW), routed("W2", state=_S.NEW, symbol="NQ", intent="I2")
    both.put(routed("T1", intent="I3"), routed("T2", symbol="NQ", intent="I4"), *working)
    driver, session = owner(both)
    assert driver.enforce(TUESDAY_NS)
    driver.drain(TUESDAY_NS)
    alone = level is Level.SYMBOL
    assert sorted(session.asked) == sorted([("cancel", "W1"), *([("new", "T2")] if alone else [("cancel", "W2")])])
    assert (both.order("T1").state, both.order("T1").reason) == (_S.DENIED, "MODE_FORBIDS: mode=pause")
    assert both.order("W2").cancel_reason == (None if alone else "mode pause")


@pytest.mark.parametrize(("level", "name"), [(Level.VENUE, "OTHER"), (Level.ACCOUNT, "OTHER"), (Level.SYMBOL, "CL")])
def test_what_is_said_of_another_part_binds_nothing_here(both: Desk, level: Level, name: str) -> None:
    """Nor is anything withdrawn."""
    engage(both, Mode.EMERGENCY, level, name)
    both.put(routed("T1"))
    driver, session = owner(both)
    assert not driver.enforce(TUESDAY_NS)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("new", "T1")]


@pytest.mark.parametrize(
    ("everything", "part", "binds"),
    [
        (Mode.NORMAL, Mode.REDUCE, Mode.REDUCE),
        (Mode.PAUSE, Mode.REDUCE, Mode.PAUSE),
        (Mode.REDUCE, Mode.EMERGENCY, Mode.EMERGENCY),
        (Mode.EMERGENCY, Mode.PAUSE, Mode.EMERGENCY),
    ],
)
def test_the_most_severe_that_applies_binds(both: Desk, everything: Mode, part: Mode, binds: Mode) -> None:
    """Whatever came last."""
    engage(both, part, *ON_ES)
    both.switch(everything)
    assert (on(both, "ES"), on(both, "NQ")) == (binds, everything)


def test_a_part_is_engaged_stricter_only_and_released_by_a_named_person(both: Desk) -> None:
    """Each with its event; a release of everything leaves a part as it is."""
    engage(both, Mode.PAUSE, *ON_ES)
    engage(both, Mode.REDUCE, *ON_ES)
    assert on(both, "ES") is Mode.PAUSE
    control.release(both.database, "bob", "all is well", TUESDAY_NS)
    assert on(both, "ES") is Mode.PAUSE
    control.release(both.database, "bob", "ES is well", TUESDAY_NS, *ON_ES)
    assert on(both, "ES") is Mode.NORMAL
    assert [event.partition(" {")[0] for event in both.events("control.")] == [
        "control.engaged pause symbol ES",
        "control.released normal",
        "control.released normal symbol ES",
    ]


def test_a_row_that_nobody_of_ours_wrote_pauses_everything(both: Desk) -> None:
    """An unknown level is everything, an unknown mode a pause."""
    with both.database.transaction() as tx:
        tx.control.set_mode(Control("go", "eve", "", 1, "galaxy", "M31"))  # type: ignore[arg-type]
    assert (on(both, "ES"), on(both, "NQ")) == (Mode.PAUSE, Mode.PAUSE)


def test_a_word_with_an_end_passes_by_itself_on_the_platforms_clock(both: Desk) -> None:
    """At its instant, without anybody doing anything."""
    until_ns = TUESDAY_NS + SECOND_NS
    with both.database.transaction() as tx:
        tx.control.set_mode(Control(Mode.PAUSE, "ann", "for a second", TUESDAY_NS, until_ns=until_ns))
    both.put(routed("T1", intent="I1"), routed("T2", intent="I2", updated_ns=until_ns))
    driver, session = owner(both)
    driver.drain(TUESDAY_NS)
    assert session.asked == [("new", "T2")]
    assert both.order("T1").reason == "MODE_FORBIDS: mode=pause"
    assert not driver.enforce(until_ns)


def test_the_gateway_denies_what_a_part_forbids(both: Desk) -> None:
    """At the routing, before any session is rung."""
    engage(both, Mode.PAUSE, *ON_ES)
    first = routed("T1", state=_S.RISK_CHECKED, session=None, price=None)
    both.put(first, replace(routed("T2", state=_S.RISK_CHECKED, session=None, price=None), symbol="NQ"))
    route(both.database, LIMITS, SESSION, first.cl_ord_id, TUESDAY_NS)
    assert (both.order("T1").state, both.order("T2").state) == (_S.DENIED, _S.ROUTED)


def prepared(desk: Desk, due_ns: int, *, voted_ns: int = 0) -> None:
    """Bring prices, account and the venue's word to an instant, and the votes, unless they are of an earlier slot."""
    for symbol in ("ES", "NQ"):
        desk.quote(due_ns, symbol=symbol)
        desk.observe(due_ns, symbol=symbol)
    voted_ns = voted_ns or due_ns
    desk.enter(voting(voted_ns, 20), at_ns=voted_ns)
    desk.mark(due_ns)


def test_a_cycle_says_which_part_forbade_its_intent(both: Desk) -> None:
    """In the decision on the symbol, and in no other."""
    engage(both, Mode.PAUSE, *ON_ES)
    prepared(both, TUESDAY_NS)
    cycle(both.database, CYCLE_RULES, "tester", TUESDAY_NS)
    with both.database.snapshot() as tx:
        [on_es], [on_nq] = tx.cycles.last_decisions("ES", 1), tx.cycles.last_decisions("NQ", 1)
    assert "CONTROL: level=symbol name=ES" in on_es.reasons
    assert on_es.reasons[-1].startswith("MODE_FORBIDS: mode=pause")
    assert not any(reason.startswith("CONTROL") for reason in on_nq.reasons)


def test_an_emergency_of_one_symbol_flattens_that_symbol_between_two_cycles(both: Desk) -> None:
    """By taking, whatever the cohort has come to; the other symbol's orders stay, and it is not decided on."""
    both.hold(9)
    due_ns = TUESDAY_NS + MINUTE_NS
    engage(both, Mode.EMERGENCY, *ON_ES)
    assert flattening(both.database, ACCOUNT, SESSION, due_ns)
    both.put(routed("W2", state=_S.NEW, symbol="NQ", intent="I2"))
    prepared(both, due_ns, voted_ns=TUESDAY_NS)
    rules = replace(CYCLE_RULES, interval_ns=10 * MINUTE_NS)
    cycle(both.database, rules, "tester", due_ns)
    [made] = [order for order in both.orders() if order.cl_ord_id != "W2"]
    assert (made.symbol, made.side, made.qty, made.taker) == ("ES", Side.SELL, qty(9), True)
    assert both.order("W2").cancel_reason is None
    with both.database.snapshot() as tx:
        assert tx.cycles.last_decisions("NQ", 1) == []
    driver, session = owner(both)
    route(both.database, LIMITS, SESSION, made.cl_ord_id, due_ns)
    driver.drain(due_ns)
    assert session.asked == [("new", made.cl_ord_id)]


def test_a_symbol_that_is_flat_rings_no_cycles_of_its_own(both: Desk) -> None:
    """An Emergency that has done its work leaves the clock of the others alone."""
    engage(both, Mode.EMERGENCY, *ON_ES)
    assert not flattening(both.database, ACCOUNT, SESSION, TUESDAY_NS)


@pytest.mark.parametrize(
    ("level", "name", "known"),
    [
        (Level.SYMBOL, "EX", "symbol: expected ES or NQ, found 'EX'"),
        (Level.VENUE, "", "venue: expected SIM, found ''"),
        (Level.STRATEGY, "swing", "strategy: expected cohort, found 'swing'"),
    ],
)
def test_a_part_that_there_is_none_of_is_refused(both: Desk, level: Level, name: str, known: str) -> None:
    """A command with a slip in it would stop nothing."""
    with both.database.snapshot() as tx, pytest.raises(ConfigError, match=f"^{known}$"):
        control.expect_known(tx, level, name, account=ACCOUNT, venue=SESSION)
