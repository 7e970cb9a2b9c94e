"""Observers outside the platform write signed snapshots, and cycles take them: on both servers."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import CYCLE_RULES, NQ, TUESDAY_NS, Desk, a_report, qty, voting
from trisagion.adapters.db import SqlDatabase
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.errors import StaleOwner
from trisagion.observer_ports import Observation, Seen
from trisagion.orders.intents import ReconcileRules
from trisagion.ports import Replay
from trisagion.safety.snapshots import Snapshot, SnapshotMark, sign
from trisagion.services.hear_observers import ROWS_MAX, take
from trisagion.services.observe_source import Watcher
from trisagion.services.reconcile import cycle

NOW = TUESDAY_NS
AGE_NS = 300 * SECOND_NS
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
WATCHER = Watcher("broker", KEY, "host:1", 60.0)


@pytest.fixture
def desk(database: SqlDatabase) -> Desk:
    """Give a founded account whose platform stands at Tuesday noon."""
    desk = Desk(database).found()
    with database.transaction() as tx:
        tx.control.put_replay(Replay("x", "", 1, "", NOW, NOW + MINUTE_NS, NOW, 1.0, 0, False))
    return desk


def add(desk: Desk, *snapshots: Snapshot) -> None:
    """Write rows as whoever may write that table can."""
    with desk.database.transaction() as tx:
        for snapshot in snapshots:
            tx.snapshots.add(snapshot)


def taken(desk: Desk, now_ns: int = NOW) -> list[Observation]:
    """Let the platform look, twice; return the words of the observer."""
    for _ in range(2):
        with desk.database.transaction() as tx:
            take(tx, {"broker": KEY.public_key()}, AGE_NS, now_ns)
    with desk.database.snapshot() as tx:
        every = (seen for symbol in sorted(tx.ledger.observed_by("broker")) for seen in tx.ledger.observations(symbol))
        return list(every)


def a_word(number: int, at_ns: int = NOW, complete: bool = True, **held: int) -> Snapshot:
    """Return a signed snapshot."""
    positions = tuple((symbol, qty(count)) for symbol, count in held.items())
    return sign(Snapshot("broker", number, at_ns, complete, "" if complete else "no line", positions), KEY)


def refusals(desk: Desk) -> list[str]:
    """Return why rows were refused, in order."""
    return [text.partition('"why": "')[2].partition('"')[0] for text in desk.events("observer.refused")]


def test_an_observer_is_heard_over_all_symbols(desk: Desk) -> None:
    """What it does not name is flat, also what it named before; nothing is refused."""
    assert WATCHER.lease(desk.database) == NOW
    WATCHER.say(desk.database, Seen({"GOLD": qty(2)}), NOW)
    assert taken(desk) == [Observation("broker", "ES", qty(0), NOW), Observation("broker", "GOLD", qty(2), NOW)]
    WATCHER.say(desk.database, Seen({"ES": qty(1)}, at_ns=NOW + 1), NOW)
    assert taken(desk) == [Observation("broker", "ES", qty(1), NOW + 1), Observation("broker", "GOLD", qty(0), NOW + 1)]
    assert desk.events("observer") == []


def test_a_failure_leaves_the_earlier_word_and_is_told(desk: Desk) -> None:
    """What it names besides is taken; its silence about the rest is no flat."""
    add(desk, a_word(1, ES=3), a_word(2, NOW + 1, False, GOLD=1))
    assert taken(desk) == [Observation("broker", "ES", qty(3), NOW), Observation("broker", "GOLD", qty(1), NOW + 1)]
    [failed] = desk.events("observer.failed broker")
    assert '"reason": "no line"' in failed


def test_each_refused_row_is_an_event_once_and_hides_no_true_one(desk: Desk) -> None:
    """Forged, replayed and out of order between two true ones."""
    forged = replace(sign(a_word(99, ES=7), STRANGER))
    add(desk, a_word(5, ES=1), forged, a_word(5, ES=1), a_word(6, NOW - 1, ES=8), a_word(7, NOW + 1, ES=2))
    assert taken(desk) == [Observation("broker", "ES", qty(2), NOW + 1)]
    assert refusals(desk) == ["forged", "replayed", "out_of_order"]
    with desk.database.snapshot() as tx:
        mark = tx.snapshots.mark("broker")
    assert mark == SnapshotMark("broker", 0 if mark is None else mark.seen_seq, 7, NOW + 1)


def test_a_word_that_is_too_old_is_refused_and_passed(desk: Desk) -> None:
    """It is never taken, not even when it is shown again with a later one behind it."""
    add(desk, a_word(1, NOW - AGE_NS - 1, ES=4))
    assert taken(desk) == []
    add(desk, a_word(1, NOW - AGE_NS - 1, ES=4))
    assert taken(desk) == []
    assert refusals(desk) == ["stale", "replayed"]


def test_a_row_that_nobody_of_ours_writes_is_refused(desk: Desk) -> None:
    """It blinds nobody."""
    add(desk, a_word(1, ES=1))
    for number, text in enumerate(("[[", '[["ES"]]', '[["ES", "NaN"]]', '{"a": 1}', '[["A B", "1"]]'), start=2):
        with desk.database.transaction() as tx:
            tx.session.connection.execute(
                sa.text(
                    "INSERT INTO observer_snapshot (observer, number, at_ns, complete, reason, positions, key_id, "
                    "signature) VALUES ('broker', :number, 0, 1, '', :text, '', '')"
                ),
                {"number": number, "text": text},
            )
    assert taken(desk) == [Observation("broker", "ES", qty(1), NOW)]
    assert refusals(desk) == ["forged"] * 5


def test_only_the_newest_rows_are_looked_at(desk: Desk) -> None:
    """A backlog of a platform that was away is no work and no alarm."""
    add(desk, *(a_word(number, NOW - number, False, ES=number) for number in range(1, ROWS_MAX + 5)))
    assert taken(desk)[0].at_ns == NOW - 5
    assert refusals(desk) == []


def test_an_observer_goes_on_with_its_numbers_after_a_restart(desk: Desk) -> None:
    """Above what it signed and what was taken, a forger's row apart; what was said already is not said again."""
    first = WATCHER.say(desk.database, Seen({"ES": qty(1)}), NOW)
    add(desk, sign(a_word(2**62, ES=9), STRANGER))
    again = Watcher("broker", KEY, "host:2", 60.0)
    assert again.say(desk.database, Seen({"ES": qty(1)}), NOW) is None
    second = again.say(desk.database, Seen(reason="no line"), NOW)
    assert first is not None and second is not None
    assert (first.number, second.number, second.complete, second.reason) == (1, 2, False, "no line")


def test_two_processes_do_not_speak_for_one_observer(desk: Desk) -> None:
    """Until the first one has left."""
    WATCHER.lease(desk.database)
    other = replace(WATCHER, owner="host:2")
    with pytest.raises(StaleOwner, match="expected nobody else to speak as observer 'broker'"):
        other.lease(desk.database)
    WATCHER.leave(desk.database)
    assert other.lease(desk.database) == NOW


@pytest.mark.parametrize(
    ("said", "at_ns", "agreed", "code"),
    [
        (2, NOW, True, "WITNESSES"),
        (3, NOW, False, "OBSERVER_DISAGREES"),
        (3, TUESDAY_NS - 2 * MINUTE_NS, True, "OBSERVER_BEHIND"),
        (2, TUESDAY_NS - 2 * MINUTE_NS, True, "OBSERVER_BEHIND"),
        (None, NOW, True, "OBSERVER_SILENT"),
    ],
)
def test_a_cycle_hears_the_observers_before_it_decides(
    desk: Desk, said: int | None, at_ns: int, agreed: bool, code: str
) -> None:
    """A word as of before the last fill is about another position: it costs the vote, and opens no incident."""
    desk.hold(2)
    with desk.database.transaction() as tx:
        assert tx.ledger.moved_ns("ES") == a_report().happened_ns
        assert tx.ledger.moved_ns(NQ.symbol) == 0
    desk.quote(NOW)
    desk.enter(voting(NOW, 1), at_ns=NOW)
    desk.mark(NOW)
    desk.observe(NOW)
    if said is not None:
        add(desk, a_word(1, at_ns, ES=said))
    rules = ReconcileRules(observers=("venue", "broker"), quorum=1)
    cycle(desk.database, replace(CYCLE_RULES, reconcile=rules, keys={"broker": KEY.public_key()}), "tester", NOW)
    with desk.database.snapshot() as tx:
        [decided] = tx.cycles.last_decisions("ES", 1)
        assert (decided.actual is not None) == agreed
        assert (tx.incidents.unsettled("ES") is None) == agreed
    assert any(reason.startswith(code) for reason in decided.reasons)
