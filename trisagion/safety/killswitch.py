"""The hardware kill switch as a state machine: what its contacts show goes in, its state, lamps and word come out.

Theory of operation. Two loops of normally closed contacts carry a small current: the emergency stop's and the tamper
contact's. An open loop is a pressed button, a cut wire, a loose plug or a supply that failed, and nobody can tell which
from here; so all of them count as pressed. What cannot be read, and what chatters, is a fault. `ARMED` is the one state
that lets the platform trade, and the way into it is a self-test, in which a press is asked for and must be seen: a
contact that is stuck shows none. Whoever has passed it is armed again by the key after a press, not after a fault.

A trip latches. It ends when both loops have been closed for the cool-down, the platform has taken the word, and only
then the key is turned: a key that was left turned releases nothing. An operator still has to release the platform.

Instants are of a clock that never goes back. Opening counts when it has lasted for the debounce time; a contact that
opens and closes more often than `chatter_max` in a second, or was not seen at rest for one, is a fault before that.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from trisagion.clock import MILLISECOND_NS, SECOND_NS

CHATTER_NS: Final = SECOND_NS
STALL_NS: Final = 2 * SECOND_NS
"""Nobody looked for so long: what was pressed meanwhile was not seen. Our choice: two hundred looks."""
LAMP_TEST_NS: Final = 2 * SECOND_NS
BUZZER_NS: Final = 30 * SECOND_NS
"""How long the buzzer sounds after a trip; the lamps stay."""


class State(StrEnum):
    """What the switch is."""

    SELF_TEST = "self-test"
    ARMED = "armed"
    PRESSED = "pressed"
    TAMPERED = "tampered"
    FAULT = "fault"
    COOLING = "cooling"


class Word(StrEnum):
    """What the platform is told: to go on, to pause, or what a press is configured to mean."""

    GO = "go"
    PAUSE = "pause"
    STOP = "stop"


class Step(StrEnum):
    """Where a self-test is: the loops are to close, the button is to be pressed, and to be released."""

    CLOSE = "close"
    PRESS = "press"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class SwitchRules:
    """How long a contact must rest to count, how long a trip lasts at least, and a self-test at most."""

    debounce_ns: int
    cool_down_ns: int
    self_test_ns: int

    def __post_init__(self) -> None:
        assert 0 < self.debounce_ns <= CHATTER_NS // 4, self.debounce_ns
        assert self.cool_down_ns > 0, self.cool_down_ns
        assert self.self_test_ns > LAMP_TEST_NS, self.self_test_ns

    @property
    def chatter_max(self) -> int:
        """How many changes of a contact in a second are none of a hand."""
        return CHATTER_NS // self.debounce_ns - 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: whether each loop is closed and the key is turned, None for what could not be read.

    `told` says that the platform has taken the word of the present trip.
    """

    at_ns: int
    estop: bool | None
    tamper: bool | None
    key: bool | None
    told: bool = False


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact that bounces: `closed` is where it rested last, None before it ever did; `changes` are the newest.

    `restless_ns` is since when it has not been seen at rest, None while it is.
    """

    closed: bool | None = None
    raw: bool | None = None
    raw_ns: int = 0
    changes: tuple[int, ...] = ()
    restless_ns: int | None = None

    def look(self, closed: bool, at_ns: int, rules: SwitchRules) -> "Contact":
        """Return the contact after another look."""
        recent = tuple(each for each in self.changes if at_ns - each < CHATTER_NS)
        if self.raw is None:
            return Contact(None, closed, at_ns, restless_ns=at_ns)
        if closed is not self.raw:
            since_ns = at_ns if self.restless_ns is None else self.restless_ns
            return Contact(self.closed, closed, at_ns, (*recent, at_ns)[-rules.chatter_max - 1 :], since_ns)
        if at_ns - self.raw_ns >= rules.debounce_ns:
            return Contact(closed, closed, self.raw_ns, recent)
        return replace(self, changes=recent)

    def chatters(self, at_ns: int, rules: SwitchRules) -> bool:
        """Tell whether no hand changes a contact so often, or lets it come to rest so late."""
        restless = self.restless_ns is not None and at_ns - self.restless_ns > CHATTER_NS
        return restless or len(self.changes) > rules.chatter_max


@dataclass(frozen=True, slots=True)
class Switch:
    """The switch at an instant: its state since `since_ns` and why; `cause` is what latched it, None while nothing did.

    `trips` counts trips since the start. `safe_ns` is since when both loops have been closed, None while one is not.
    `tested` says that the self-test has passed, and that nothing since has put it in doubt.
    """

    state: State
    since_ns: int
    at_ns: int
    reason: str
    step: Step = Step.CLOSE
    cause: State | None = None
    trips: int = 0
    tested: bool = False
    safe_ns: int | None = None
    estop: Contact = field(default=Contact())
    tamper: Contact = field(default=Contact())
    key: Contact = field(default=Contact())

    @staticmethod
    def starting(at_ns: int) -> "Switch":
        """Return the switch as it is when its supply comes: in its self-test, whatever it was before."""
        return Switch(State.SELF_TEST, at_ns, at_ns, "the self-test has not passed")

    @property
    def word(self) -> Word:
        """What the platform is told."""
        if State.PRESSED in {self.state, self.cause}:
            return Word.STOP
        return Word.GO if self.state is State.ARMED else Word.PAUSE

    def ready(self, rules: SwitchRules) -> bool:
        """Tell whether the cool-down is over."""
        return self.state is State.COOLING and self.at_ns - self.since_ns >= rules.cool_down_ns


def look(switch: Switch, sample: Sample, rules: SwitchRules) -> Switch:
    """Return the switch after a look at its contacts; looks come in the order of their instants."""
    at_ns = sample.at_ns
    assert at_ns >= switch.at_ns, f"{at_ns} lies before {switch.at_ns}"
    stalled = at_ns - switch.at_ns > STALL_NS
    if sample.estop is None or sample.tamper is None or sample.key is None:
        unread = ", ".join(name for name in ("estop", "tamper", "key") if getattr(sample, name) is None)
        blind = replace(switch, at_ns=at_ns, safe_ns=None, estop=Contact(), tamper=Contact(), key=Contact())
        return _tripped(blind, State.FAULT, f"cannot be read: {unread}")
    turned_before = switch.key.closed
    estop = switch.estop.look(sample.estop, at_ns, rules)
    tamper = switch.tamper.look(sample.tamper, at_ns, rules)
    key = switch.key.look(sample.key, at_ns, rules)
    # The raw position too: a loop that is open at this moment is not closed, whatever it was until now.
    closed = bool(estop.closed and estop.raw and tamper.closed and tamper.raw)
    safe_ns = (at_ns if switch.safe_ns is None else switch.safe_ns) if closed else None
    seen = replace(switch, at_ns=at_ns, estop=estop, tamper=tamper, key=key, safe_ns=safe_ns)
    asked = switch.state is State.SELF_TEST and switch.step in {Step.PRESS, Step.RELEASE}
    if estop.closed is False and not asked:
        return _tripped(seen, State.PRESSED, "the emergency-stop loop is open")
    if stalled:
        return _tripped(seen, State.FAULT, f"the contacts were not looked at for {_seconds(at_ns - switch.at_ns)}")
    chattering = [name for name in ("estop", "tamper", "key") if getattr(seen, name).chatters(at_ns, rules)]
    if chattering:
        return _tripped(seen, State.FAULT, f"does not come to rest: {chattering[0]}")
    if tamper.closed is False:
        return _tripped(seen, State.TAMPERED, "the tamper loop is open")
    if switch.state is State.SELF_TEST:
        return _tested(seen, rules)
    if switch.cause is None:
        return seen
    turned = turned_before is False and key.closed is True
    return _cooled(seen, turned=turned, told=sample.told, rules=rules)


_RANK: Final = {State.TAMPERED: 1, State.FAULT: 2, State.PRESSED: 3}
"""What latched stays until something worse does."""


def _tripped(switch: Switch, cause: State, reason: str) -> Switch:
    """Latch; what latched already stays the cause, unless this is worse."""
    if switch.cause is None or _RANK[cause] > _RANK[switch.cause]:
        latched = replace(switch, state=cause, since_ns=switch.at_ns, reason=reason, cause=cause, safe_ns=None)
        return replace(latched, trips=switch.trips + 1, tested=switch.tested and cause is State.PRESSED)
    if switch.state is State.COOLING:
        return replace(switch, state=switch.cause, since_ns=switch.at_ns, reason=reason, safe_ns=None)
    return replace(switch, safe_ns=None)


def _tested(switch: Switch, rules: SwitchRules) -> Switch:
    """Carry the self-test on: closed loops, then the press that was asked for, then its end."""
    if switch.at_ns - switch.since_ns > rules.self_test_ns:
        missing = {
            Step.CLOSE: "the loops did not close, or the key is turned",
            Step.PRESS: "the emergency-stop loop did not open when asked: a stuck contact, or nobody pressed",
            Step.RELEASE: "the emergency-stop loop did not close again",
        }[switch.step]
        return _tripped(switch, State.FAULT, f"self-test: {missing}")
    step = switch.step
    lit = switch.at_ns - switch.since_ns >= LAMP_TEST_NS
    if step is Step.CLOSE and lit and switch.safe_ns is not None and switch.key.closed is False:
        return replace(switch, step=Step.PRESS)
    if step is Step.PRESS and switch.estop.closed is False:
        return replace(switch, step=Step.RELEASE)
    if step is Step.RELEASE and switch.safe_ns is not None:
        return replace(switch, state=State.ARMED, since_ns=switch.at_ns, reason="the self-test has passed", tested=True)
    return switch


def _cooled(switch: Switch, *, turned: bool, told: bool, rules: SwitchRules) -> Switch:
    """Let a trip whose loops are closed cool down, and end it by the key."""
    if switch.safe_ns is None:
        return _tripped(switch, switch.cause or State.FAULT, "a loop is not closed for certain")
    if switch.state is not State.COOLING:
        return replace(switch, state=State.COOLING, since_ns=switch.at_ns)
    if not (switch.ready(rules) and told and turned):
        return switch
    freed = replace(switch, since_ns=switch.at_ns, cause=None)
    if switch.tested:
        # The press has shown that the contact opens, its end that it closes.
        return replace(freed, state=State.ARMED, reason="reset by the key")
    return replace(freed, state=State.SELF_TEST, step=Step.CLOSE, reason="reset by the key, not yet tested again")


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / SECOND_NS:.1f} s"


@dataclass(frozen=True, slots=True)
class Lamps:
    """What is lit and what sounds."""

    red: bool = False
    yellow: bool = False
    green: bool = False
    buzzer: bool = False


SLOW_NS: Final = 500 * MILLISECOND_NS
QUICK_NS: Final = 125 * MILLISECOND_NS
"""Half a blink."""


def lamps(switch: Switch, rules: SwitchRules, *, heard: bool) -> Lamps:
    """Return what shows; `heard` says that the platform takes the heart-beats. Steady green alone: all is well."""
    since_ns = switch.at_ns - switch.since_ns
    slow, quick = since_ns // SLOW_NS % 2 == 0, since_ns // QUICK_NS % 2 == 0
    sounds = slow and since_ns < BUZZER_NS
    match switch.state:
        case State.SELF_TEST if since_ns < LAMP_TEST_NS:
            return Lamps(red=True, yellow=True, green=True, buzzer=since_ns < QUICK_NS)
        case State.SELF_TEST:
            return Lamps(yellow=quick if switch.step is Step.PRESS else True, red=switch.step is Step.RELEASE)
        case State.ARMED:
            return Lamps(green=heard or slow, yellow=not heard and not slow)
        case State.PRESSED:
            return Lamps(red=True, buzzer=sounds)
        case State.TAMPERED:
            return Lamps(red=slow, buzzer=sounds)
        case State.FAULT:
            return Lamps(red=slow, yellow=not slow, buzzer=sounds)
        case State.COOLING:
            return Lamps(red=True, yellow=slow or switch.ready(rules))
