"""The kill switch as a state machine: each way in and out of its states, and what no sequence of contacts can do."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trisagion.clock import MILLISECOND_NS, SECOND_NS
from trisagion.safety.killswitch import (
    LAMP_TEST_NS,
    STALL_NS,
    Lamps,
    Sample,
    State,
    Step,
    Switch,
    SwitchRules,
    Word,
    lamps,
    look,
)

RULES = SwitchRules(30 * MILLISECOND_NS, 10 * SECOND_NS, 60 * SECOND_NS)
TURN_NS = 10 * MILLISECOND_NS

CLOSED = Sample(0, estop=True, tamper=True, key=False)
PRESSED = replace(CLOSED, estop=False)
TURNED = replace(CLOSED, key=True)
TOLD = replace(CLOSED, told=True)
TURNED_TOLD = replace(TURNED, told=True)
UNREAD = replace(CLOSED, estop=None)
BOTH_OPEN = replace(PRESSED, tamper=False)


def after(switch: Switch, *stretches: tuple[Sample, float]) -> Switch:
    """Look every 10 ms for so many seconds at each picture of the contacts."""
    for picture, seconds in stretches:
        for _ in range(round(seconds * SECOND_NS / TURN_NS)):
            switch = look(switch, replace(picture, at_ns=switch.at_ns + TURN_NS), RULES)
    return switch


NEW = Switch.starting(0)
TEST = ((CLOSED, 2.5), (PRESSED, 0.2), (CLOSED, 0.2))
ARMED = after(NEW, *TEST)
BOUNCE = tuple((picture, 0.01) for _ in range(3) for picture in (PRESSED, CLOSED))
LOOSE = tuple((picture, 0.01) for _ in range(30) for picture in (PRESSED, CLOSED))
RESET = ((TOLD, 11.0), (TURNED_TOLD, 0.1))

WAYS = [
    ("self-test asks for a press", NEW, [(CLOSED, 2.5)], State.SELF_TEST, Word.PAUSE),
    ("and arms after it", NEW, [*TEST], State.ARMED, Word.GO),
    ("a stuck contact shows no press", NEW, [(CLOSED, 60.01)], State.FAULT, Word.PAUSE),
    ("a press that never ends is one", NEW, [(CLOSED, 2.5), (PRESSED, 61)], State.PRESSED, Word.STOP),
    ("a start with the button pressed or the wire cut", NEW, [(PRESSED, 0.1)], State.PRESSED, Word.STOP),
    ("a start with the case open", NEW, [(replace(CLOSED, tamper=False), 0.1)], State.TAMPERED, Word.PAUSE),
    ("a start with the key turned", NEW, [(TURNED, 60.01)], State.FAULT, Word.PAUSE),
    ("a press", ARMED, [(PRESSED, 0.05)], State.PRESSED, Word.STOP),
    ("a glitch below the debounce time", ARMED, [(PRESSED, 0.03), (CLOSED, 1)], State.ARMED, Word.GO),
    ("a bounce that ends pressed", ARMED, [*BOUNCE, (PRESSED, 0.05)], State.PRESSED, Word.STOP),
    ("a bounce that ends closed", ARMED, [*BOUNCE, (CLOSED, 1)], State.ARMED, Word.GO),
    ("a loose contact", ARMED, [*LOOSE], State.FAULT, Word.PAUSE),
    ("a loose contact that opens at last", ARMED, [*LOOSE, (PRESSED, 0.1)], State.PRESSED, Word.STOP),
    ("an open case", ARMED, [(replace(CLOSED, tamper=False), 0.05)], State.TAMPERED, Word.PAUSE),
    ("a pin that cannot be read", ARMED, [(UNREAD, 0.01)], State.FAULT, Word.PAUSE),
    ("a key that cannot be read", ARMED, [(replace(CLOSED, key=None), 0.01)], State.FAULT, Word.PAUSE),
    ("a press after an unread pin", ARMED, [(UNREAD, 0.01), (PRESSED, 0.1)], State.PRESSED, Word.STOP),
    ("an open case after a press", ARMED, [(PRESSED, 0.1), (BOTH_OPEN, 1)], State.PRESSED, Word.STOP),
    ("released: it cools down and still says stop", ARMED, [(PRESSED, 0.1), (TOLD, 60)], State.COOLING, Word.STOP),
    ("the key in the cool-down", ARMED, [(PRESSED, 0.1), (TOLD, 5), (TURNED_TOLD, 20)], State.COOLING, Word.STOP),
    ("the key before the platform knows", ARMED, [(PRESSED, 0.1), (CLOSED, 11), (TURNED, 1)], State.COOLING, Word.STOP),
    ("the key while pressed", ARMED, [(PRESSED, 11), (replace(TURNED_TOLD, estop=False), 9)], State.PRESSED, Word.STOP),
    ("a key that was turned all the time", ARMED, [(TURNED, 1), (replace(TURNED, estop=False), 1), (TURNED_TOLD, 30)],
     State.COOLING, Word.STOP),
    ("the key after the cool-down", ARMED, [(PRESSED, 0.1), *RESET], State.ARMED, Word.GO),
    ("pressed again while cooling", ARMED, [(PRESSED, 0.1), (TOLD, 5), (PRESSED, 0.1)], State.PRESSED, Word.STOP),
    ("a cool-down begins anew", ARMED, [(PRESSED, 0.1), (TOLD, 9), (PRESSED, 0.1), (TOLD, 9), (TURNED_TOLD, 0.1)],
     State.COOLING, Word.STOP),
    ("a fault is followed by a self-test", ARMED, [(UNREAD, 0.1), *RESET], State.SELF_TEST, Word.PAUSE),
    ("an open case too", ARMED, [(replace(CLOSED, tamper=False), 0.1), *RESET], State.SELF_TEST, Word.PAUSE),
    ("so is a press before any self-test", NEW, [(PRESSED, 0.1), *RESET], State.SELF_TEST, Word.PAUSE),
    ("which arms", ARMED, [(UNREAD, 0.1), *RESET, *TEST], State.ARMED, Word.GO),
    ("and a press in doubt is not enough", ARMED, [(UNREAD, 0.1), (PRESSED, 0.1), *RESET], State.SELF_TEST, Word.PAUSE),
]  # fmt: skip


@pytest.mark.parametrize(("switch", "stretches", "state", "word"), [row[1:] for row in WAYS], ids=[r[0] for r in WAYS])
def test_the_switch_goes_its_ways(
    switch: Switch, stretches: Iterable[tuple[Sample, float]], state: State, word: Word
) -> None:
    """From a state, through what the contacts show, to the state and the word that follow."""
    found = after(switch, *stretches)
    assert (found.state, found.word) == (state, word), found.reason


def test_nobody_looked_for_a_while() -> None:
    """What was pressed meanwhile was not seen: a fault, although the contacts are closed now."""
    found = look(ARMED, replace(CLOSED, at_ns=ARMED.at_ns + STALL_NS + 1), RULES)
    assert (found.state, found.reason) == (State.FAULT, "the contacts were not looked at for 2.0 s")


def test_one_trip_is_counted_once_and_a_worse_one_again() -> None:
    """The number tells the daemon which word the platform must have taken before the key counts."""
    assert after(ARMED, (UNREAD, 1)).trips == 1
    assert after(ARMED, (UNREAD, 1), (PRESSED, 1), (CLOSED, 1), (PRESSED, 1)).trips == 2


def test_the_lamps_say_what_is() -> None:
    """All of them at the start; steady green for all is well, no steady green without a platform that listens."""
    assert lamps(after(NEW, (CLOSED, 0.05)), RULES, heard=False) == Lamps(True, True, True, True)
    assert after(NEW, (CLOSED, 2.5)).step is Step.PRESS
    calm = [after(ARMED, (CLOSED, 0.1 * turn)) for turn in range(20)]
    assert {lamps(each, RULES, heard=True) for each in calm} == {Lamps(green=True)}
    assert {lamps(each, RULES, heard=False) for each in calm} == {Lamps(green=True), Lamps(yellow=True)}
    pressed = [after(ARMED, (PRESSED, 0.1 * turn)) for turn in range(1, 20)]
    assert {lamps(each, RULES, heard=True) for each in pressed} == {Lamps(red=True, buzzer=True), Lamps(red=True)}
    ready = after(ARMED, (PRESSED, 0.1), (TOLD, 10.2))
    assert ready.ready(RULES)
    assert lamps(ready, RULES, heard=True) == Lamps(red=True, yellow=True)


POSITIONS = st.one_of(st.booleans(), st.booleans(), st.booleans(), st.none())
PICTURES = st.builds(Sample, st.just(0), POSITIONS, POSITIONS, POSITIONS, st.booleans())
LENGTHS = st.sampled_from([1, 2, 3, 5, 40, 1100])
MOVES = st.lists(
    st.one_of(st.tuples(PICTURES, LENGTHS), st.sampled_from([(CLOSED, 300), (TOLD, 1100), (TURNED_TOLD, 5)])),
    max_size=12,
)


@settings(max_examples=40)
@given(moves=MOVES, tested=st.booleans())
def test_nothing_arms_a_switch_whose_loop_is_open_and_only_the_key_ends_a_trip(
    moves: list[tuple[Sample, int]], tested: bool
) -> None:
    """Whatever the contacts do: armed means closed for certain, and a latched trip has seen key, cool-down and word."""
    switch = ARMED if tested else NEW
    open_ns: int | None = None
    for picture, count in moves:
        for _ in range(count):
            before = switch
            switch = look(before, replace(picture, at_ns=before.at_ns + TURN_NS), RULES)
            is_open = not picture.estop or not picture.tamper
            open_ns = None if not is_open else switch.at_ns if open_ns is None else open_ns
            if None in {picture.estop, picture.tamper, picture.key}:
                assert switch.state is not State.ARMED
            if open_ns is not None and switch.at_ns - open_ns >= RULES.debounce_ns:
                assert switch.state is not State.ARMED
            if before.state is not State.ARMED and switch.state is State.ARMED:
                assert not is_open
                assert switch.tested
            assert (switch.word is Word.GO) == (switch.state is State.ARMED)
            if before.cause is not None and switch.cause is None:
                assert before.state is State.COOLING
                assert before.key.closed is False
                assert picture.key
                assert picture.told
                assert switch.at_ns - before.since_ns >= RULES.cool_down_ns
            if before.cause is State.PRESSED and switch.cause is not None:
                assert switch.word is Word.STOP


@settings(max_examples=40)
@given(pattern=st.lists(st.integers(1, 3), min_size=140, max_size=140))
def test_what_never_rests_is_found_within_its_bound(pattern: list[int]) -> None:
    """A contact that changes before each debounce time is over cannot stay between two states: it trips or faults."""
    switch, closed = ARMED, True
    for length in pattern:
        closed = not closed
        switch = after(switch, (replace(CLOSED, estop=closed), length * 0.01))
    assert switch.state in {State.FAULT, State.PRESSED, State.COOLING}


@pytest.mark.parametrize("look_ms", [1, 10, 11, 12, 14, 16, 29, 100])
def test_what_changes_as_late_as_it_may_is_found_however_seldom_it_is_looked_at(look_ms: int) -> None:
    """Between two looks it may have rested, and nobody has seen it."""
    switch, closed = ARMED, True
    looks = -(-RULES.debounce_ns // (look_ms * MILLISECOND_NS))
    for number in range(3_000 // look_ms):
        closed ^= number % looks == 0
        at_ns = switch.at_ns + look_ms * MILLISECOND_NS
        switch = look(switch, replace(CLOSED, at_ns=at_ns, estop=closed), RULES)
    assert switch.state is State.FAULT


def test_the_rules_refuse_what_would_blind_them() -> None:
    """A debounce time of zero, or one so long that chatter could not be told from it."""
    for debounce_ms in (0, 251):
        with pytest.raises(AssertionError):
            SwitchRules(debounce_ms * MILLISECOND_NS, SECOND_NS, LAMP_TEST_NS + 1)
