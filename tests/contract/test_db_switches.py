"""What the platform takes of a hardware kill switch and what it refuses, on both servers."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trisagion.adapters.db import SqlDatabase, tables
from trisagion.clock import HOUR_NS, SECOND_NS
from trisagion.errors import StaleOwner
from trisagion.safety.beats import Beat, BeatMark, WatchRules, is_signed, sign
from trisagion.safety.killswitch import Word
from trisagion.safety.modes import Control, Mode
from trisagion.services import control
from trisagion.services.beat_switch import Speaker
from trisagion.services.watch_switch import watch
from trisagion.settings import load
from trisagion.wiring import House

NOW_NS = 1_400_000_000 * SECOND_NS
"""The platform's own time, which a replay sets; a switch is judged by the database's clock alone."""

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
DEADLINE_NS = HOUR_NS
"""No test depends on being quick; what is late is dated so."""

RULES = WatchRules("desk", KEY.public_key(), DEADLINE_NS, Mode.EMERGENCY)
SPEAKER = Speaker("desk", KEY, "pi:1", DEADLINE_NS)


@pytest.fixture
def trading(database: SqlDatabase) -> SqlDatabase:
    """Give a platform that trades."""
    with database.transaction() as tx:
        tx.control.set_mode(Control(Mode.NORMAL, "tester", "begun", NOW_NS))
    return database


def wall_ns(database: SqlDatabase) -> int:
    """Return the database's time."""
    with database.snapshot() as tx:
        return tx.control.wall_ns()


def put(database: SqlDatabase, beat: Beat) -> None:
    """Write a row as whoever may write that table can."""
    with database.transaction() as tx:
        tx.switches.put_beat(beat)


def mode(database: SqlDatabase) -> Mode:
    """Return the mode in force."""
    with database.snapshot() as tx:
        return tx.control.control().mode


def refused(database: SqlDatabase) -> list[str]:
    """Return why rows were refused, in order."""
    query = sa.select(tables.event.c.detail).where(tables.event.c.kind == "killswitch.refused").order_by("seq")
    with database.snapshot() as tx:
        return [row.detail.partition('"why": "')[2].partition('"')[0] for row in tx.session.rows(query)]


def test_an_armed_switch_lets_the_platform_trade(trading: SqlDatabase) -> None:
    """Its beats are taken one by one, and it learns that they are; nothing is written at a look without news."""
    for number in (1, 2, 3):
        told = SPEAKER.beat(trading, "armed", Word.GO, "tested", floor=0)
        assert (told.number, told.taken, told.heard) == (number, number - 1, number > 1)
        for _ in range(2):
            assert watch(trading, RULES, NOW_NS).mark.number == number
    assert mode(trading) is Mode.NORMAL
    assert refused(trading) == []


SAID = [
    (Word.STOP, Mode.EMERGENCY, Mode.EMERGENCY),
    (Word.STOP, Mode.PAUSE, Mode.PAUSE),
    (Word.PAUSE, Mode.EMERGENCY, Mode.PAUSE),
]


@pytest.mark.parametrize(("word", "pressed", "expected"), SAID)
def test_a_press_is_the_configured_mode_and_a_fault_a_pause(
    trading: SqlDatabase, word: Word, pressed: Mode, expected: Mode
) -> None:
    """And while it lasts no operator's release does: the next look engages again."""
    SPEAKER.beat(trading, "some", word, "because", floor=0)
    rules = replace(RULES, pressed=pressed)
    watch(trading, rules, NOW_NS)
    assert mode(trading) is expected
    control.release(trading, "tester", "all is well", NOW_NS)
    watch(trading, rules, NOW_NS)
    with trading.snapshot() as tx:
        found = tx.control.control()
    assert (found.mode, found.operator) == (expected, "killswitch desk")
    assert found.reason.endswith("(some: because)")
    SPEAKER.beat(trading, "armed", Word.GO, "reset", floor=0)
    watch(trading, rules, NOW_NS)
    assert mode(trading) is expected
    control.release(trading, "tester", "reset by the key", NOW_NS)
    watch(trading, rules, NOW_NS)
    assert mode(trading) is Mode.NORMAL


def test_silence_is_counted_from_the_first_look_and_then_from_the_last_beat(trading: SqlDatabase) -> None:
    """Nobody who never spoke is waited for longer than the deadline, by the database's clock."""
    assert watch(trading, RULES, NOW_NS).mode is Mode.NORMAL
    with trading.transaction() as tx:
        tx.switches.put_mark(BeatMark("desk", 0, tx.control.wall_ns() - DEADLINE_NS - SECOND_NS, Word.GO))
    assert watch(trading, RULES, NOW_NS).reason == "no heart-beat for more than 3600 s"
    assert mode(trading) is Mode.PAUSE
    control.release(trading, "tester", "it lives", NOW_NS)
    SPEAKER.beat(trading, "armed", Word.GO, "tested", floor=0)
    watch(trading, RULES, NOW_NS)
    assert mode(trading) is Mode.NORMAL


def test_a_clock_that_was_set_back_does_not_stretch_the_deadline(trading: SqlDatabase) -> None:
    """A last heart-beat that lies ahead by more than the deadline says nothing of now; the next one is taken."""
    for ahead_ns, expected in ((DEADLINE_NS // 2, Mode.NORMAL), (DEADLINE_NS + HOUR_NS, Mode.PAUSE)):
        with trading.transaction() as tx:
            tx.switches.put_mark(BeatMark("desk", 7, tx.control.wall_ns() + ahead_ns, Word.GO))
        assert watch(trading, RULES, NOW_NS).mode is expected
    assert mode(trading) is Mode.PAUSE
    assert SPEAKER.beat(trading, "armed", Word.GO, "tested", floor=0).number == 8
    assert watch(trading, RULES, NOW_NS).mode is Mode.NORMAL


def test_the_sweeper_looks_too(trading: SqlDatabase, database_url: str) -> None:
    """Where no session's owner lives the mode is set all the same, for whoever comes next."""
    key = KEY.public_key().public_bytes_raw().hex()
    given = load(None, {}, {"killswitch.name": "desk", "killswitch.public_key": key})
    there = given.database.model_copy(update={"url": database_url})
    SPEAKER.beat(trading, "pressed", Word.STOP, "because", floor=0)
    house = House(given.model_copy(update={"database": there}))
    with closing(house.database):
        house.sweep(NOW_NS)
    assert mode(trading) is Mode.PAUSE


OLD_NS = DEADLINE_NS + 60 * SECOND_NS

ROWS: list[tuple[str, Callable[[Beat], Beat], list[str], Mode]] = [
    ("another key", lambda beat: sign(replace(beat, number=9), OTHER_KEY), ["forged"], Mode.PAUSE),
    ("a changed word", lambda beat: replace(beat, word="go", state="armed"), ["forged"], Mode.EMERGENCY),
    ("a changed number", lambda beat: replace(beat, number=9), ["forged"], Mode.PAUSE),
    ("no signature", lambda beat: replace(beat, number=9, signature=""), ["forged"], Mode.PAUSE),
    ("no hexadecimal", lambda beat: replace(beat, number=9, signature="zz"), ["forged"], Mode.PAUSE),
    ("an unknown word", lambda beat: sign(replace(beat, number=9, word="hold"), KEY), ["forged"], Mode.PAUSE),
    ("another switch", lambda beat: replace(sign(replace(beat, name="b", number=9), KEY), name="desk"),
     ["forged"], Mode.PAUSE),
    ("an earlier number", lambda beat: sign(replace(beat, number=2), KEY), ["replayed"], Mode.NORMAL),
    ("the same number", lambda beat: sign(replace(beat, number=3, at_ns=beat.at_ns + 1), KEY), ["replayed"],
     Mode.NORMAL),
    ("the future", lambda beat: sign(replace(beat, number=9, at_ns=beat.at_ns + OLD_NS), KEY), ["future"], Mode.NORMAL),
    ("a new one that is old", lambda beat: sign(replace(beat, number=9, at_ns=beat.at_ns - OLD_NS), KEY), [],
     Mode.PAUSE),
]  # fmt: skip


@pytest.mark.parametrize(("change", "why", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_row_that_is_no_heart_beat_is_refused_once(
    trading: SqlDatabase, change: Callable[[Beat], Beat], why: list[str], expected: Mode
) -> None:
    """With one event, however often it is seen; a forged one is a pause, and none makes what was said unsaid."""
    stopped = expected is Mode.EMERGENCY
    for _ in range(3):
        SPEAKER.beat(trading, "some", Word.STOP if stopped else Word.GO, "because", floor=0)
        watch(trading, RULES, NOW_NS)
    with trading.snapshot() as tx:
        taken = tx.switches.beat("desk")
    assert taken is not None
    put(trading, change(taken))
    for _ in range(3):
        watch(trading, RULES, NOW_NS)
    assert refused(trading) == why
    assert mode(trading) is expected


def test_a_row_that_is_no_row_of_ours_is_forged(trading: SqlDatabase) -> None:
    """SQLite keeps a text where a number should be; whoever looks is not blinded by it. MariaDB refuses it."""
    SPEAKER.beat(trading, "armed", Word.GO, "tested", floor=0)
    watch(trading, RULES, NOW_NS)
    if trading.engine.dialect.name == "sqlite":
        with trading.transaction() as tx:
            tx.session.connection.exec_driver_sql("UPDATE killswitch_beat SET number = 'many'")
        watch(trading, RULES, NOW_NS)
        assert (refused(trading), mode(trading)) == (["forged"], Mode.PAUSE)
    else:
        with pytest.raises(sa.exc.DatabaseError), trading.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE killswitch_beat SET number = 'many'")


def test_numbers_grow_through_a_reboot_a_replay_and_a_forged_row(trading: SqlDatabase) -> None:
    """Above what was taken, above what was signed, above what is remembered; a forged row counts for nothing."""
    SPEAKER.beat(trading, "armed", Word.GO, "tested", floor=0)
    with trading.snapshot() as tx:
        first = tx.switches.beat("desk")
    assert first is not None
    assert SPEAKER.beat(trading, "armed", Word.GO, "tested", floor=0).number == 2
    watch(trading, RULES, NOW_NS)
    put(trading, first)  # a row that somebody kept
    assert SPEAKER.beat(trading, "armed", Word.GO, "rebooted", floor=0).number == 3
    put(trading, replace(first, number=2**63 - 1))
    assert SPEAKER.beat(trading, "armed", Word.GO, "rebooted", floor=7).number == 8
    watch(trading, RULES, NOW_NS)
    assert (refused(trading), mode(trading)) == ([], Mode.NORMAL)


def test_a_mark_never_goes_back(trading: SqlDatabase) -> None:
    """A watcher that was slow does not make the platform forget what another one took."""
    newer, older = (BeatMark("desk", number, number, Word.GO, "x") for number in (5, 4))
    with trading.transaction() as tx:
        tx.switches.put_mark(newer)
        tx.switches.put_mark(older)
        assert tx.switches.mark("desk") == newer


def test_two_processes_do_not_speak_for_one_switch(trading: SqlDatabase) -> None:
    """The one that lives would hide that the other one is dead."""
    SPEAKER.beat(trading, "armed", Word.GO, "tested", floor=0)
    with pytest.raises(StaleOwner, match="expected nobody else to speak for the switch 'desk'"):
        replace(SPEAKER, owner="pi:2").beat(trading, "armed", Word.GO, "tested", floor=0)


def test_a_signature_holds_every_field() -> None:
    """Each changed alone, it is none."""
    beat = sign(Beat("desk", 1, 2, "armed", "go", "tested"), KEY)
    assert is_signed(beat, KEY.public_key())
    changes = {"name": "b", "number": 2, "at_ns": 3, "state": "pressed", "word": "stop", "reason": "", "signature": ""}
    for name, value in changes.items():
        assert not is_signed(replace(beat, **{name: value}), KEY.public_key()), name  # type: ignore[arg-type] # by name
