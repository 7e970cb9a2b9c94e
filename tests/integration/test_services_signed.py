"""Where people have keys nobody is believed without their signatures, whoever can write to the database."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import ACCOUNT, ES, LIMITS, NQ, SESSION, TUESDAY_NS, Desk, an_intended_order
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.db import control_tables as stops
from trisagion.adapters.db import tables as t
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.errors import StateError, TrisagionError
from trisagion.orders.state import OrderState
from trisagion.risk.limits import LIMIT, LimitBook, LimitRow
from trisagion.safety.commands import CONFIRM, LIFE_NS, Command, Signers, digest, sign
from trisagion.safety.gates import OPEN, Gate, opening
from trisagion.safety.modes import REPLAY, Control, Level, Mode
from trisagion.safety.release import RELEASE, Place
from trisagion.services import control, limits, release, watch_words
from trisagion.services.commands import accept
from trisagion.services.reconcile import VENUE
from trisagion.services.route_orders import route

ANN, BOB, EVE = (Ed25519PrivateKey.generate() for _ in range(3))
KEYS: Final = {"ann": ANN.public_key(), "bob": BOB.public_key()}
OWN: Final = {"ann": ANN, "bob": BOB, "eve": EVE}
RULES: Final = release.ReleaseRules(people=2, limits=LIMITS, observers=(VENUE,), quorum=1, heard_ns_max=HOUR_NS)
ALL: Final = (Level.ALL, "")
ON_ES: Final = (Level.SYMBOL, "ES")
T0: Final = TUESDAY_NS


@pytest.fixture
def green(database: SqlDatabase) -> Iterator[Desk]:
    """Give an account of which the venue says what the ledger says, to be released by two people with keys."""
    Desk(database).found(instruments=(ES, NQ))
    url = database.engine.url.render_as_string(hide_password=False)
    with closing(open_database(url, Signers(KEYS, people=2))) as opened:
        desk = Desk(opened)
        for symbol in ("ES", "NQ"):
            desk.observe(T0, symbol=symbol)
        yield desk


@pytest.fixture(params=[ALL, ON_ES], ids=["all", "symbol"])
def place(request: pytest.FixtureRequest, green: Desk) -> Place:
    """Give a place where a person has stopped trading."""
    where: Place = request.param
    control.engage(green.database, Mode.PAUSE, "ann", "odd", T0, *where)
    return where


def on_es(desk: Desk, now_ns: int = T0) -> Mode:
    """Return the mode that binds orders in ES at an instant."""
    with desk.database.snapshot() as tx:
        standing = tx.control.standing()
    return standing.over(account=ACCOUNT, venue=SESSION, symbol="ES", now_ns=now_ns).mode


def command(desk: Desk, person: str, action: str, subject: str, reason: str = "", nonce: str = "") -> Command:
    """Return a command that its person has signed, good for a minute."""
    with desk.database.snapshot() as tx:
        expires_ns = tx.control.wall_ns() + LIFE_NS
    return sign(Command(person, action, subject, reason, nonce or f"{person} {action}", expires_ns), OWN[person])


def wish(desk: Desk, place: Place) -> str:
    """Return what is signed to lift what stands now."""
    with desk.database.snapshot() as tx:
        return release.wish(tx, *place, T0)


def released(desk: Desk, place: Place, again: str = "") -> None:
    """Release a place as the commands do it."""
    first = command(desk, "ann", RELEASE, wish(desk, place), "all is well", f"1{again}")
    accept(desk.database, KEYS, first, T0)
    number = release.propose(desk.database, *place, "ann", "all is well", T0, first)
    with desk.database.snapshot() as tx:
        assert release.wished(tx, number, T0) == first
    second = command(desk, "bob", CONFIRM, digest(first), nonce=f"2{again}")
    accept(desk.database, KEYS, second, T0)
    release.confirm(desk.database, RULES, number, "bob", T0, second)


def by_hand(desk: Desk, *rows: tuple[sa.Table, dict[str, Any]]) -> None:
    """Add rows as whoever may write to the database can."""
    with desk.database.transaction() as tx:
        for table, row in rows:
            tx.session.write(sa.insert(table), row)


def kept(given: Command, taken_ns: int | None = None) -> tuple[sa.Table, dict[str, Any]]:
    """Return the row of a command, as if it had been taken ten seconds after it was given."""
    row = {name: getattr(given, name) for name in given.__dataclass_fields__}
    return stops.signed_command, row | {"taken_ns": taken_ns or given.expires_ns - LIFE_NS + 10 * SECOND_NS}


def said(place: Place, mode: Mode, until_ns: int | None = None, operator: str = "ann, bob") -> tuple[sa.Table, Any]:
    """Return the row that says that a place is in a mode."""
    row: dict[str, Any] = {"mode": mode, "operator": operator, "reason": "all is well", "set_ns": T0}
    if place == ALL and until_ns is None:
        return t.control, row
    return stops.control_level, row | {"level": place[0], "name": place[1], "until_ns": until_ns}


def test_two_people_with_their_keys_release(green: Desk, place: Place) -> None:
    """The first minute is Reduce, and then nothing stands; the tables say the same as those who ask for signatures."""
    released(green, place)
    assert [on_es(green, T0 + after_ns) for after_ns in (0, MINUTE_NS - 1, MINUTE_NS)] == [
        Mode.REDUCE,
        Mode.REDUCE,
        Mode.NORMAL,
    ]
    watch_words.watch(green.database, T0)
    assert not green.events("control.unsigned")


LOOSER: Final = (
    (Mode.NORMAL, None),
    (Mode.REDUCE, None),
    (Mode.NORMAL, T0 - 1),
    (Mode.REDUCE, T0 - 1),
    (Mode.PAUSE, T0 - 1),
    (Mode.EMERGENCY, T0 - 1),
)


def test_a_row_by_hand_releases_nothing(green: Desk, place: Place) -> None:
    """Whatever it says; where it would have loosened something an event says so, once, and the stop is said again."""
    url = green.database.engine.url.render_as_string(hide_password=False)
    told = 0
    for mode, until_ns in LOOSER:
        by_hand(green, said(place, mode, until_ns))
        assert on_es(green) is Mode.PAUSE, (mode, until_ns)
        for _ in range(2):
            watch_words.watch(green.database, T0 + SECOND_NS)
            assert on_es(green) is Mode.PAUSE, (mode, until_ns)
        # What is for a while is in a table of its own, and hides nothing of what is for everything.
        told += not (place == ALL and until_ns is not None)
        assert len(green.events("control.unsigned ")) == told, (mode, until_ns)
        with closing(open_database(url)) as unsigned:
            assert on_es(Desk(unsigned)) is Mode.PAUSE, (mode, until_ns)
    released(green, place)
    assert on_es(green) is Mode.REDUCE


def test_a_replay_takes_back_no_word_but_its_own(green: Desk) -> None:
    """Its stop ends with its beginning; a row in its name lifts nobody else's."""
    by_hand(green, said(ALL, Mode.PAUSE, operator=REPLAY))
    assert green.mode() is Mode.PAUSE
    by_hand(green, said(ALL, Mode.NORMAL, operator=REPLAY))
    assert green.mode() is Mode.NORMAL
    control.engage(green.database, Mode.EMERGENCY, "ann", "fire", T0)
    by_hand(green, said(ALL, Mode.PAUSE, operator=REPLAY), said(ALL, Mode.NORMAL, operator=REPLAY))
    assert green.mode() is Mode.EMERGENCY


def test_an_order_is_not_routed_on_a_forged_release(green: Desk) -> None:
    """The gateway asks for signatures itself."""
    control.engage(green.database, Mode.PAUSE, "ann", "odd", T0)
    by_hand(green, said(ALL, Mode.NORMAL))
    order = an_intended_order(T0, OrderState.RISK_CHECKED)
    green.put(order)
    assert route(green.database, LIMITS, SESSION, order.cl_ord_id, T0).word == "denied"
    [row] = green.rows(t.orders.c.cl_ord_id, t.orders.c.reason)
    assert row[1].startswith("MODE_FORBIDS")


def flipped(text: str) -> str:
    """Return a signature of which one bit is another."""
    return f"{int(text[0], 16) ^ 1:x}{text[1:]}"


Spoil = Callable[[Command, Command], list[tuple[sa.Table, dict[str, Any]]]]

FORGED: Final[dict[str, Spoil]] = {
    "no commands": lambda first, second: [],
    "the proposal alone": lambda first, second: [kept(first)],
    "the confirmation alone": lambda first, second: [kept(second)],
    "unsigned": lambda first, second: [kept(first), kept(replace(second, signature=""))],
    "one bit flipped": lambda first, second: [kept(replace(first, signature=flipped(first.signature))), kept(second)],
    "another reason": lambda first, second: [kept(replace(first, reason="another")), kept(second)],
    "confirmed by the proposer": lambda first, second: [kept(first), kept(sign(replace(second, person="ann"), ANN))],
    "in bob's name by ann's key": lambda first, second: [kept(first), kept(sign(second, ANN))],
    "by somebody without a key": lambda first, second: [kept(first), kept(sign(replace(second, person="eve"), EVE))],
    "taken too late": lambda first, second: [kept(first), kept(second, second.expires_ns + 1)],
    "good for an hour": lambda first, second: [
        kept(first),
        kept(sign(replace(second, expires_ns=second.expires_ns + HOUR_NS), BOB), second.expires_ns - LIFE_NS),
    ],
    "confirmed a day later": lambda first, second: [
        kept(first),
        kept(sign(replace(second, expires_ns=second.expires_ns + 24 * HOUR_NS), BOB)),
    ],
    "the confirmation of another proposal": lambda first, second: [
        kept(sign(replace(first, reason="another"), ANN)),
        kept(second),
    ],
    "a subject that is none": lambda first, second: [
        kept(odd := sign(replace(first, subject='{"level":"all"}'), ANN)),
        kept(sign(replace(second, subject=digest(odd)), BOB)),
    ],
    "of another place": lambda first, second: [
        kept(odd := sign(replace(first, subject=first.subject.replace('"name":"', '"name":"N')), ANN)),
        kept(sign(replace(second, subject=digest(odd)), BOB)),
    ],
}


GOOD: Final[dict[str, Spoil]] = {"both good": lambda first, second: [kept(first), kept(second)]}


def test_what_is_not_signed_as_it_must_be_lifts_nothing(green: Desk, place: Place) -> None:
    """Beside a row that says so; the same two commands, good, do, by which the table is known to try what it says."""
    by_hand(green, said(place, Mode.NORMAL))
    for how, spoil in (FORGED | GOOD).items():
        first = command(green, "ann", RELEASE, wish(green, place), "all is well", f"{how} 1")
        second = command(green, "bob", CONFIRM, digest(first), nonce=f"{how} 2")
        by_hand(green, *spoil(first, second))
        assert on_es(green) is (Mode.NORMAL if how == "both good" else Mode.PAUSE), how


def test_an_old_release_lifts_no_later_stop(green: Desk, place: Place) -> None:
    """Though the stop reads the same to the letter, and the commands are shown again under other numbers of theirs."""
    first = command(green, "ann", RELEASE, wish(green, place), "all is well", "1")
    released(green, place)
    control.engage(green.database, Mode.PAUSE, "ann", "odd", T0, *place)
    assert wish(green, place) != first.subject
    by_hand(green, said(place, Mode.NORMAL))
    assert on_es(green) is Mode.PAUSE
    with pytest.raises(TrisagionError, match="found one that is not: shown again"):
        accept(green.database, KEYS, first, T0)
    released(green, place, "again")
    assert on_es(green) is Mode.REDUCE


def test_a_confirmation_without_a_signature_changes_nothing(green: Desk, place: Place) -> None:
    """The release that would not be obeyed is not written either."""
    first = command(green, "ann", RELEASE, wish(green, place), "all is well")
    number = release.propose(green.database, *place, "ann", "all is well", T0, first)
    before = green.everything()
    with pytest.raises(StateError, match="expected signatures that carry a release"):
        release.confirm(green.database, RULES, number, "bob", T0)
    with pytest.raises(StateError, match="is not what was confirmed"):
        release.confirm(green.database, RULES, number, "bob", T0, command(green, "bob", CONFIRM, "ab"))
    assert green.everything() == before


def version(desk: Desk, value: int = 3) -> LimitRow:
    """Return the version that Ann wants, under its number."""
    bare = LimitRow(0, "orders_max", "account", "", Decimal(value), "ann", "quiet hours", T0)
    with desk.database.snapshot() as tx:
        return limits.numbered(tx, bare)


def in_force(desk: Desk) -> int:
    """Return how many orders may live."""
    with desk.database.snapshot() as tx:
        return LimitBook(LIMITS, tx.limits.rows()).of("ES", venue=SESSION, strategy="cohort").orders_max


def test_two_people_with_their_keys_change_a_limit(green: Desk) -> None:
    """One signs the version with all that it says, another one signs that."""
    row = version(green)
    first = command(green, "ann", LIMIT, row.text, row.reason)
    assert limits.propose(green.database, LIMITS, row, first) == row
    assert in_force(green) == LIMITS.orders_max
    with green.database.snapshot() as tx:
        assert limits.wished(tx, row.version) == first
    limits.approve(green.database, LIMITS, row.version, "bob", T0, command(green, "bob", CONFIRM, digest(first)))
    assert in_force(green) == 3


def test_an_approval_that_is_not_signed_is_none(green: Desk) -> None:
    """Written by hand beside a version that Ann may even have signed; nothing but both signatures put it in force."""
    for how, spoil in (FORGED | GOOD).items():
        if how == "confirmed a day later":  # a proposed limit does not age
            continue
        row = version(green)
        first = command(green, "ann", LIMIT, row.text, row.reason, f"{how} 1")
        second = command(green, "bob", CONFIRM, digest(first), nonce=f"{how} 2")
        with green.database.transaction() as tx:
            assert tx.limits.add(row)
            assert tx.limits.approve(row.version, "bob", T0)
        by_hand(green, *spoil(first, second))
        assert in_force(green) == (3 if how == "both good" else LIMITS.orders_max), how


def test_a_version_that_was_altered_after_both_signed_is_not_in_force(green: Desk) -> None:
    """Of another value than the one that they read."""
    row = version(green)
    first = command(green, "ann", LIMIT, row.text, row.reason)
    second = command(green, "bob", CONFIRM, digest(first))
    with green.database.transaction() as tx:
        assert tx.limits.add(replace(row, value=Decimal(7)))
        assert tx.limits.approve(row.version, "bob", T0)
    by_hand(green, kept(first), kept(second))
    assert in_force(green) == LIMITS.orders_max


def gate_of(desk: Desk) -> Gate:
    """Return the gate of the session."""
    with desk.database.snapshot() as tx:
        return tx.control.gate(SESSION)


def opening_of(desk: Desk) -> str:
    """Return what is signed to open it now."""
    with desk.database.snapshot() as tx:
        return opening(SESSION, tx.control.last_of(SESSION))


def test_a_gate_opens_by_one_signature_and_by_no_row(green: Desk) -> None:
    """One that is written by hand, or with a signature that opened it once before, leaves it shut, with an event."""
    row = {"session": SESSION, "shut": False, "operator": "ann", "reason": "seen", "set_ns": T0}
    used = None
    for again in ("1", "2"):
        with green.database.transaction() as tx:
            control.shut_gate(tx, SESSION, "TAKER_FILL", T0)
        by_hand(green, (t.gate, row))
        assert gate_of(green).shut
        for _ in range(2):
            watch_words.watch(green.database, T0)
        assert len(green.events("gate.unsigned SIM")) == 2 * int(again) - 1
        stale = used or command(green, "ann", OPEN, "{}")
        with pytest.raises(StateError, match="was shut again at this moment"):
            control.open_gate(green.database, SESSION, "ann", "seen", T0, stale)
        used = command(green, "ann", OPEN, opening_of(green), nonce=again)
        forged = replace(used, nonce=f"{again} forged")
        by_hand(green, kept(forged), (t.gate, row))
        assert gate_of(green).shut
        watch_words.watch(green.database, T0)
        used = command(green, "ann", OPEN, opening_of(green), nonce=again)
        control.open_gate(green.database, SESSION, "ann", "seen", T0, used)
        assert not gate_of(green).shut
    assert gate_of(green) == Gate(SESSION, False, "ann", "seen", T0)


def test_a_stop_takes_no_key(green: Desk) -> None:
    """Nor is one that is written by hand doubted."""
    control.engage(green.database, Mode.REDUCE, "whoever", "slow", T0)
    assert green.mode() is Mode.REDUCE
    by_hand(green, said(ALL, Mode.EMERGENCY))
    assert green.mode() is Mode.EMERGENCY
    with green.database.transaction() as tx:
        control.stop(tx, Mode.PAUSE, "weaker", T0)
        assert tx.control.control() == Control(Mode.EMERGENCY, "ann, bob", "all is well", T0)
