"""`services.release`: one proposes, another confirms, only while all is green; the first minute is Reduce."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from threading import Event, Thread

import pytest

from tests.builders import ACCOUNT, ES, LIMITS, NQ, SESSION, TUESDAY_NS, Desk, qty
from tests.integration.owned import routed
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.errors import StateError, TrisagionError
from trisagion.observer_ports import Observation
from trisagion.orders.state import OrderState
from trisagion.ports import Replay
from trisagion.risk.limits import founding_rows
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Level, Mode
from trisagion.safety.release import PROPOSAL_NS_MAX
from trisagion.services import control
from trisagion.services.reconcile import VENUE
from trisagion.services.release import ReleaseRules, confirm, not_green, propose
from trisagion.services.replay import otherwise_held, take_up
from trisagion.settings import load
from trisagion.wiring import House

RULES = ReleaseRules(people=2, limits=LIMITS, observers=(VENUE,), quorum=1, heard_ns_max=HOUR_NS)
ALL = (Level.ALL, "")
ON_ES = (Level.SYMBOL, "ES")


@pytest.fixture
def green(database: SqlDatabase) -> Desk:
    """An account on both databases of which the venue says what the ledger says, paused."""
    desk = Desk(database).found(Mode.PAUSE, instruments=(ES, NQ))
    with desk.database.transaction() as tx:
        if not tx.limits.rows():
            for row in founding_rows(LIMITS, "d", 0):
                assert tx.limits.add(row)
    for symbol in ("ES", "NQ"):
        desk.observe(TUESDAY_NS, symbol=symbol)
    return desk


def on_es(desk: Desk, now_ns: int) -> Mode:
    """Return the mode that binds orders in ES at an instant."""
    with desk.database.snapshot() as tx:
        standing = tx.control.standing()
    return standing.over(account=ACCOUNT, venue=SESSION, symbol="ES", now_ns=now_ns).mode


@pytest.mark.parametrize("part", [ALL, ON_ES])
def test_two_people_release_and_the_first_minute_is_reduce(green: Desk, part: tuple[Level, str]) -> None:
    """Of everything or of a part, once; it passes to Normal by itself."""
    if part == ON_ES:
        green.switch(Mode.NORMAL)
        control.engage(green.database, Mode.PAUSE, "ann", "odd", TUESDAY_NS, *ON_ES)
    number = propose(green.database, *part, "ann", "all is well", TUESDAY_NS)
    assert on_es(green, TUESDAY_NS) is Mode.PAUSE
    confirm(green.database, RULES, number, "bob", TUESDAY_NS)
    modes = [on_es(green, TUESDAY_NS + after_ns) for after_ns in (0, MINUTE_NS - 1, MINUTE_NS)]
    assert modes == [Mode.REDUCE, Mode.REDUCE, Mode.NORMAL]
    assert len(green.events("release.proposed")) == len(green.events("control.released")) == 1
    again = (
        "expected something to release, found normal" if part == ALL else "it is released already; only what reduces"
    )
    with pytest.raises(StateError, match=again):
        propose(green.database, *part, "ann", "in a hurry", TUESDAY_NS + MINUTE_NS - 1)
    with pytest.raises(StateError, match="expected something to release"):
        confirm(green.database, RULES, number, "bob", TUESDAY_NS + MINUTE_NS)


@pytest.mark.parametrize("name", ["ann", " Ann", "ANN"])
def test_nobody_confirms_his_own_proposal(green: Desk, name: str) -> None:
    """However the name is typed; the attempt is an event, and where one person is enough it is none."""
    number = propose(green.database, *ALL, "ann", "all is well", TUESDAY_NS)
    with pytest.raises(TrisagionError, match="another person must confirm it"):
        confirm(green.database, RULES, number, name, TUESDAY_NS)
    assert green.mode() is Mode.PAUSE
    assert len(green.events("release.refused all")) == 1
    confirm(green.database, replace(RULES, people=1), number, name, TUESDAY_NS)
    assert green.mode() is Mode.NORMAL


def shut(desk: Desk) -> None:
    """Shut the gate."""
    with desk.database.transaction() as tx:
        tx.control.set_gate(Gate(SESSION, True, "platform", "TAKER_FILL", TUESDAY_NS))


RED: list[tuple[Callable[[Desk], object], str]] = [
    (shut, "the gate of SIM is shut"),
    (lambda desk: desk.put(routed("T1", state=OrderState.UNKNOWN)), "order T1 is unknown"),
    (lambda desk: desk.hold(3), "the ledger holds 3 ES, the venue 0"),
    (lambda desk: desk.observe(TUESDAY_NS + SECOND_NS, seen=-2), "the ledger holds 0 ES, the venue -2"),
]


@pytest.mark.parametrize(("spoil", "why"), RED)
def test_what_is_not_green_refuses_and_changes_nothing(green: Desk, spoil: Callable[[Desk], object], why: str) -> None:
    """Said at the proposal, looked at again at the confirmation."""
    number = propose(green.database, *ALL, "ann", "all is well", TUESDAY_NS)
    spoil(green)
    before = green.everything()
    with pytest.raises(StateError, match=f"^expected all to be green before a release, found: {why}$"):
        confirm(green.database, RULES, number, "bob", TUESDAY_NS)
    assert green.everything() == before


def test_those_who_are_configured_to_observe_are_asked_and_no_other(green: Desk) -> None:
    """A venue that cannot be asked for positions is no witness; of several the quorum must have spoken lately."""
    green.hold(3)
    copy = replace(RULES, observers=("drop_copy",))
    both = replace(RULES, observers=("venue", "drop_copy"))
    later_ns = TUESDAY_NS + HOUR_NS + 2 * SECOND_NS
    steps: list[tuple[str, int, ReleaseRules, int, list[str]]] = [
        ("", 0, copy, TUESDAY_NS, ["drop_copy has not spoken of ES"]),
        ("drop_copy", 2, copy, TUESDAY_NS, ["the ledger holds 3 ES, drop_copy 2"]),
        ("drop_copy", 3, copy, TUESDAY_NS, []),
        ("", 0, copy, later_ns, ["drop_copy spoke of ES 3601 s ago"]),
        ("", 0, both, TUESDAY_NS, ["the ledger holds 3 ES, the venue 0"]),
        ("venue", 3, replace(both, quorum=2), TUESDAY_NS, []),
    ]
    for number, (observer, seen, rules, now_ns, red) in enumerate(steps):
        if observer:
            with green.database.transaction() as tx:
                tx.ledger.observe(Observation(observer, "ES", qty(seen), TUESDAY_NS + number))
        with green.database.snapshot() as tx:
            assert not_green(tx, rules, *ON_ES, now_ns) == red


def test_limits_that_cannot_be_read_and_a_silent_venue_refuse(green: Desk) -> None:
    """The limits are read anew; a word that is too old counts for nothing."""
    with green.database.snapshot() as tx:
        assert not_green(tx, RULES, *ALL, TUESDAY_NS) == []
        assert not_green(tx, replace(RULES, heard_ns_max=0), *ON_ES, TUESDAY_NS + SECOND_NS) == [
            "the venue spoke of ES 1 s ago"
        ]
    with green.database.transaction() as tx:
        version = len(tx.limits.rows()) + 1
        assert tx.limits.add(replace(founding_rows(LIMITS, "d", 0)[0], version=version, name="x", proposed_by="ann"))
        assert tx.limits.approve(version, "bob", TUESDAY_NS)
    number = propose(green.database, *ALL, "ann", "all is well", TUESDAY_NS)
    with pytest.raises(
        StateError, match=f"found: the limits are not known \\(version {version} cannot be understood\\)$"
    ):
        confirm(green.database, RULES, number, "bob", TUESDAY_NS)


def test_a_proposal_lifts_no_later_word_and_none_that_is_old(green: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever engages after it has seen something that the proposer has not."""
    number = propose(green.database, *ALL, "ann", "all is well", TUESDAY_NS)
    control.engage(green.database, Mode.EMERGENCY, "cat", "fire", TUESDAY_NS)
    with pytest.raises(StateError, match="but now there is 'emergency by cat"):
        confirm(green.database, RULES, number, "bob", TUESDAY_NS)
    assert green.mode() is Mode.EMERGENCY
    number = propose(green.database, *ALL, "ann", "it is out", TUESDAY_NS)
    monkeypatch.setattr("trisagion.services.release.PROPOSAL_NS_MAX", -1)
    with pytest.raises(StateError, match="more than an hour old"):
        confirm(green.database, RULES, number, "bob", TUESDAY_NS)
    assert PROPOSAL_NS_MAX == HOUR_NS


@pytest.mark.parametrize("ends_later", [False, True])
@pytest.mark.parametrize("part", [ALL, ON_ES])
@pytest.mark.mariadb
def test_a_release_lifts_no_stop_that_comes_while_it_is_confirmed(
    on_mariadb: SqlDatabase, monkeypatch: pytest.MonkeyPatch, part: tuple[Level, str], ends_later: bool
) -> None:
    """Whatever was written after the confirmation had looked stands, be it committed by then or only afterwards."""
    desk = Desk(on_mariadb).found(Mode.NORMAL)
    desk.observe(TUESDAY_NS)
    control.engage(desk.database, Mode.PAUSE, "ann", "odd", TUESDAY_NS, *part)
    number = propose(desk.database, *part, "ann", "all is well", TUESDAY_NS)
    written, confirmed = Event(), Event()
    url = desk.database.engine.url.render_as_string(hide_password=False)

    def engage() -> None:
        with closing(open_database(url)) as other, other.transaction() as tx:
            assert control.stop(tx, Mode.EMERGENCY, "fire", TUESDAY_NS, *part)
            written.set()
            # The confirmation waits for this transaction: it goes on by itself when that one cannot be heard of.
            confirmed.wait(0.2 if ends_later else 0)

    stopping = Thread(target=engage)

    def looked(*_: object) -> list[str]:
        stopping.start()
        assert written.wait(10)
        if not ends_later:
            stopping.join(10)
        return []

    monkeypatch.setattr("trisagion.services.release.not_green", looked)
    try:
        with pytest.raises(StateError, match="somebody has stopped it at this moment"):
            confirm(desk.database, RULES, number, "bob", TUESDAY_NS)
    finally:
        confirmed.set()
        stopping.join(10)
    assert on_es(desk, TUESDAY_NS) is Mode.EMERGENCY


def test_what_is_not_stopped_cannot_be_released(green: Desk) -> None:
    """Nor without a name, a reason, or a proposal."""
    with pytest.raises(StateError, match="symbol ES: expected something to release, found normal"):
        propose(green.database, *ON_ES, "ann", "all is well", TUESDAY_NS)
    for person, reason in (("", "why"), ("ann", " "), ("platform", "why")):
        with pytest.raises(TrisagionError, match="needs a named operator and a reason"):
            propose(green.database, *ALL, person, reason, TUESDAY_NS)
    with pytest.raises(StateError, match="found none of number 99"):
        confirm(green.database, RULES, 99, "bob", TUESDAY_NS)


@pytest.mark.parametrize(
    ("sets", "people"),
    [
        ({}, 1),
        ({"safety.release_people": 2}, 2),
        ({"fix.host": "fix.example"}, 2),
        ({"fix.host": "fix.example", "safety.release_people": 1}, 1),
        ({"platform.venue": "paper"}, 1),
        ({"platform.venue": "ib-sim", "ib.environment": "live", "ib.account": "U1234567"}, 2),
    ],
)
def test_a_release_takes_two_people_where_money_may_be_real(sets: dict[str, object], people: int) -> None:
    """By default; a setting says otherwise."""
    assert House(load(None, {}, sets)).release_people == people


def test_a_run_that_is_killed_knows_whether_the_venue_has_spoken_since_the_last_fill(desk: Desk) -> None:
    """It asks once more where it has not: afterwards there is nobody to ask, and no release would be green."""
    asked = {VENUE: "SIM", "drop_copy": "COPY"}
    assert otherwise_held(desk.found().database, asked) == ()
    desk.observe(TUESDAY_NS)
    desk.hold(2)
    assert otherwise_held(desk.database, asked) == ("SIM",)
    desk.observe(TUESDAY_NS)
    assert otherwise_held(desk.database, asked) == ()


def test_a_replay_that_takes_two_people_is_not_taken_up_by_one(desk: Desk) -> None:
    """Nothing is released, and the message says how; by one it is, where one is enough."""
    with desk.database.transaction() as tx:
        tx.control.put_replay(Replay("es", "d", 1, "s", TUESDAY_NS, TUESDAY_NS + HOUR_NS, TUESDAY_NS, 0.0, 0, False))
    desk.switch(Mode.PAUSE)
    with pytest.raises(StateError, match="trisagion release --reason"):
        take_up(desk.database, "ann", "why not", people=2)
    with pytest.raises(StateError, match=r"--as NAME --key file:PATH`, then `trisagion run --resume`$"):
        take_up(desk.database, "ann", "why not", signed=True)
    assert desk.mode() is Mode.PAUSE
    take_up(desk.database, "ann", "why not")
    assert desk.mode() is Mode.NORMAL
