"""Incidents that are resolved: by an operator's adjustment with evidence, or adopted where that is configured."""

import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import CAPITAL, CYCLE_RULES, TUESDAY_NS, Desk, an_intended_order, qty, voting
from tests.integration.beside import meanwhile
from trisagion.adapters.db import Conflict
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.errors import StateError
from trisagion.ledger.types import Voucher
from trisagion.observer_ports import Observation
from trisagion.orders.incidents import Incident
from trisagion.orders.intents import ReconcileRules
from trisagion.orders.state import OrderState
from trisagion.services import adjust_incidents
from trisagion.services.adjust_incidents import AdoptRules, adjust
from trisagion.services.incidents import LEASE
from trisagion.services.ledger_check import verify
from trisagion.services.reconcile import CycleRules, cycle
from trisagion.units import Price, Quantity

DUE = TUESDAY_NS
WHY = Voucher("ann", "bought by hand", "ticket 7")
TWO = replace(CYCLE_RULES, reconcile=ReconcileRules(observers=("venue", "copy"), quorum=2))


def turn(
    desk: Desk,
    number: int,
    seen: int | None,
    copy: int | None = None,
    rules: CycleRules = CYCLE_RULES,
    baseline: str | None = str(CAPITAL),
) -> int:
    """Let a cycle decide, with what the venue and a second observer see; return its instant."""
    due_ns = DUE + number * 10 * MINUTE_NS
    desk.quote(due_ns)
    desk.enter(voting(due_ns, 1), at_ns=due_ns)
    with desk.database.transaction() as tx:
        epoch = tx.cohort.epoch()
        assert epoch is not None
        tx.cohort.put_epoch(replace(epoch, baseline=baseline))
    desk.mark(due_ns)
    desk.observe(due_ns, seen=seen)
    if copy is not None:
        with desk.database.transaction() as tx:
            tx.ledger.observe(Observation("copy", "ES", qty(copy), due_ns))
    cycle(desk.database, rules, "tester", due_ns)
    return due_ns


def last(desk: Desk) -> Incident:
    """Return the newest incident."""
    with desk.database.snapshot() as tx:
        return tx.incidents.newest(1)[0]


def set_right(desk: Desk, now_ns: int, rules: CycleRules = CYCLE_RULES, **named: Any) -> None:
    """Adjust the newest incident."""
    adjust(desk.database, rules.reconcile, last(desk).number, WHY, "cli", now_ns, **named)


def test_an_operator_books_what_the_observers_see(shared: Desk) -> None:
    """At the last price, with reason, evidence and both views; the next cycle finds consensus and closes it."""
    shared.hold(2)
    now_ns = turn(shared, 0, seen=5)
    set_right(shared, now_ns + SECOND_NS)
    assert shared.position.qty == 5
    incident = last(shared)
    assert incident.closed_ns is None and (incident.outcome or "").startswith("adjusted by ann: adjustment/")
    [event] = shared.events("ledger.adjusted")
    assert "ticket 7 (incident" in event and "ledger=2 venue=5" in event and "bought by hand" in event
    with pytest.raises(StateError, match="expected a fresh word on the present position, found none"):
        set_right(shared, now_ns + SECOND_NS)
    turn(shared, 1, seen=5)
    assert last(shared).closed_ns == DUE + 10 * MINUTE_NS
    assert (last(shared).outcome or "").endswith("; consensus is back")
    assert verify(shared.database).problems == ()
    with pytest.raises(StateError, match="expected the number of an open incident"):
        set_right(shared, now_ns + SECOND_NS)


def test_observers_of_two_minds_need_a_name(desk: Desk) -> None:
    """Who is believed is the operator's word, and so may be the price."""
    now_ns = turn(desk, 0, seen=3, copy=1, rules=TWO)
    with pytest.raises(StateError, match=r"found copy=1 venue=3; name the one to be believed"):
        set_right(desk, now_ns, TWO)
    set_right(desk, now_ns, TWO, observer="copy", px=Price(Decimal("3999.75")))
    assert (desk.position.qty, desk.position.cost) == (qty(1), Decimal("199987.5"))


def test_nothing_is_booked_while_it_may_be_a_fill_on_its_way(desk: Desk) -> None:
    """Nor while a cycle looks."""
    now_ns = turn(desk, 0, seen=3)
    order = an_intended_order(DUE, OrderState.NEW)
    desk.put(order)
    with pytest.raises(StateError, match="expected no order at the venue, whose fills may be on their way"):
        set_right(desk, now_ns)
    with desk.database.transaction() as tx:
        token = tx.control.acquire(LEASE, "a cycle", 60.0)
    with pytest.raises(StateError, match="a cycle is under way"):
        set_right(desk, now_ns)
    assert token is not None and desk.position.qty == 0


def test_a_fill_that_comes_meanwhile_is_no_part_of_the_difference(
    shared: Desk, colleague: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the venue tells late, while an operator books what the observers saw, comes on top of that."""
    shared.hold(2)
    now_ns = turn(shared, 0, seen=5)
    believed = adjust_incidents._believed
    others: list[threading.Thread] = []

    def filled(*arguments: Any) -> tuple[Quantity, int]:
        others.append(meanwhile(lambda: colleague.hold(4)))
        return believed(*arguments)

    monkeypatch.setattr(adjust_incidents, "_believed", filled)
    set_right(shared, now_ns + SECOND_NS)
    others[0].join()
    assert shared.position.qty == 9
    assert verify(shared.database).problems == ()


def test_what_is_no_instrument_has_no_books(desk: Desk) -> None:
    """It is closed where it is held."""
    with desk.database.transaction() as tx:
        tx.ledger.observe(Observation("venue", "GOLD", qty(1), DUE))
    now_ns = turn(desk, 0, seen=None)
    with pytest.raises(StateError, match="GOLD is no instrument of ours"):
        set_right(desk, now_ns)


ROWS: list[tuple[str, dict[str, Any], int | None, str]] = [
    ("adopted", {}, 3, ""),
    ("not configured", {"adopt": AdoptRules(frozenset({"NQ"}), Decimal(10**9))}, 3, ""),
    ("too much", {"adopt": AdoptRules(frozenset({"ES"}), Decimal(599_999))}, 3, "worth at most 599999, found 600000"),
    ("of two minds", {}, 2, "expected observers of one mind"),
    ("too few", {}, None, "expected 2 observers of one mind, found 1"),
]


@pytest.mark.parametrize(("changes", "copy", "why"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_view_of_a_quorum_is_adopted_where_that_is_configured(
    desk: Desk, changes: dict[str, Any], copy: int | None, why: str
) -> None:
    """From the cycle on that would alert, within the limit; what is not adopted is left to a person, and why."""
    rules = replace(TWO, **{"adopt": AdoptRules(frozenset({"ES"}), Decimal(600_000)), **changes})
    for number in range(2):
        turn(desk, number, seen=3, copy=copy, rules=rules)
    assert desk.position.qty == 0 and desk.events("incident.not_adopted") == []
    turn(desk, 2, seen=3, copy=copy, rules=rules)
    adopted = not why and "ES" in rules.adopt.symbols
    assert desk.position.qty == (3 if adopted else 0)
    assert [why in text for text in desk.events("incident.not_adopted")] == ([True] if why else [])
    turn(desk, 3, seen=3, copy=copy, rules=rules)
    assert (last(desk).closed_ns is not None) == adopted


def test_what_cannot_be_adopted_whole_is_not_adopted_at_all(desk: Desk) -> None:
    """In an epoch that has no baseline yet, which would have to move: nothing is booked then, and all of it later."""
    rules = replace(TWO, adopt=AdoptRules(frozenset({"ES"}), Decimal(600_000)))
    for number, baseline in enumerate((str(CAPITAL), str(CAPITAL), None)):
        turn(desk, number, seen=3, copy=3, rules=rules, baseline=baseline)
    assert desk.position.qty == 0 and desk.events("ledger.adjusted") == []
    [told] = desk.events("incident.not_adopted")
    assert "the open epoch has no baseline yet" in told
    turn(desk, 3, seen=3, copy=3, rules=rules)
    assert desk.position.qty == 3 and len(desk.events("ledger.adjusted")) == 1


def test_a_writer_in_the_way_of_an_adoption_is_no_refusal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has undone the cycle so far: it is given up, to be made again, and not told and committed in part."""

    def meets(*_: object) -> None:
        raise Conflict("another writer")

    rules = replace(TWO, adopt=AdoptRules(frozenset({"ES"}), Decimal(600_000)))
    for number in range(2):
        turn(desk, number, seen=3, copy=3, rules=rules)
    monkeypatch.setattr(adjust_incidents, "adjusted", meets)
    with pytest.raises(Conflict):
        turn(desk, 2, seen=3, copy=3, rules=rules)
    assert last(desk).cycles == 2 and desk.events("incident.not_adopted") == []
