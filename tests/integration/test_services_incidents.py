"""`services.incidents`: a symbol without consensus is an incident, from the first cycle that lacks it to its return."""

from dataclasses import replace

import pytest

from tests.builders import CYCLE_RULES, TUESDAY_NS, Desk, qty, voting
from trisagion.adapters.db import retrying
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.observer_ports import Observation
from trisagion.orders.incidents import Incident, IncidentKind
from trisagion.orders.intents import ReconcileRules
from trisagion.services.reconcile import CycleRules, cycle

DUE = TUESDAY_NS
DISAGREEMENT, UNCONFIRMED, FOREIGN = IncidentKind


def turn(
    desk: Desk, number: int, seen: int | None = None, rules: CycleRules = CYCLE_RULES, gold: int | None = None
) -> int:
    """Let the `number`-th cycle decide, with what the venue sees of ES and, if told, of GOLD; return its instant."""
    due_ns = DUE + number * 10 * MINUTE_NS
    desk.quote(due_ns)
    desk.enter(voting(due_ns, 1), at_ns=due_ns)
    desk.mark(due_ns)
    desk.observe(due_ns, seen=seen)
    if gold is not None:
        with desk.database.transaction() as tx:
            tx.ledger.observe(Observation("venue", "GOLD", qty(gold), due_ns))
    retrying(lambda: cycle(desk.database, rules, "tester", due_ns))
    return due_ns


def incidents(desk: Desk) -> list[Incident]:
    """Return all incidents."""
    with desk.database.snapshot() as tx:
        return list(tx.incidents.newest(10))


def test_an_incident_holds_both_views_while_the_disagreement_lasts(shared: Desk) -> None:
    """Opened by the first cycle, kept up by each further one, closed by the first that agrees; the next is another."""
    shared.hold(2)
    first = turn(shared, 0, seen=3)
    [begun] = incidents(shared)
    assert (begun.symbol, begun.kind, begun.cycles, begun.closed_ns) == ("ES", DISAGREEMENT, 1, None)
    assert (begun.opened_ns, begun.text) == (first, "ledger=2 venue=3")
    assert begun.reasons[0] == "OBSERVER_DISAGREES: observer=venue seen=3 ledger=2"
    second = turn(shared, 1, seen=4)
    [lasting] = incidents(shared)
    assert lasting == replace(begun, updated_ns=second, cycles=2, views=lasting.views, reasons=lasting.reasons)
    assert [(view.witness, view.qty, view.at_ns) for view in lasting.views] == [
        ("ledger", qty(2), second),
        ("venue", qty(4), second),
    ]
    third = turn(shared, 2)
    [closed] = incidents(shared)
    assert (closed.closed_ns, closed.outcome, closed.text) == (third, "consensus is back", "ledger=2 venue=2")
    turn(shared, 3, seen=3)
    assert [each.closed_ns for each in incidents(shared)] == [third, None]
    assert [text.split()[0] for text in shared.events("incident")] == [
        *("incident.opened", "incident.closed", "incident.opened"),
    ]


def test_the_alert_after_three_cycles_names_the_incident(desk: Desk) -> None:
    """So that whoever is woken finds both views."""
    for number in range(3):
        turn(desk, number, seen=3)
    [alert] = desk.events("consensus.alert ES")
    assert f'"incident": "{incidents(desk)[0].number}"' in alert


def test_a_silence_is_an_incident_that_becomes_a_disagreement_when_it_is_broken(desk: Desk) -> None:
    """What was contradicted once is not taken back by a later silence."""
    both = replace(CYCLE_RULES, reconcile=ReconcileRules(observers=("venue", "copy"), quorum=2))
    kinds = []
    for number, seen in enumerate((None, 3, None)):
        turn(desk, number, seen=seen, rules=both)
        kinds.append(incidents(desk)[0].kind)
    assert kinds == [UNCONFIRMED, DISAGREEMENT, DISAGREEMENT]
    assert incidents(desk)[0].cycles == 3


def test_a_position_in_what_is_no_instrument_is_an_incident_of_its_own(shared: Desk) -> None:
    """It stops nothing else; a stale word neither opens nor closes; flat closes it."""
    turn(shared, 0, gold=1)
    [begun] = incidents(shared)
    assert (begun.symbol, begun.kind, begun.text) == ("GOLD", FOREIGN, "ledger=0 venue=1")
    turn(shared, 1)
    assert [(each.cycles, each.closed_ns) for each in incidents(shared)] == [(1, None)]
    turn(shared, 2, gold=1)
    assert incidents(shared)[0].cycles == 2
    closed = turn(shared, 3, gold=0)
    assert [each.closed_ns for each in incidents(shared)] == [closed]
    assert shared.events("consensus") == []


@pytest.mark.parametrize("observer", ["stranger"])
def test_who_is_no_configured_observer_opens_nothing(desk: Desk, observer: str) -> None:
    """Its word counts for nothing."""
    with desk.database.transaction() as tx:
        tx.ledger.observe(Observation(observer, "GOLD", qty(1), DUE - SECOND_NS))
    turn(desk, 0)
    assert incidents(desk) == []
