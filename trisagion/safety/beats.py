"""The heart-beats of a hardware kill switch: how they are signed, and what the platform makes of them.

A beat says what the switch is at an instant of the database's clock; the switch's own clock counts for nothing, as a
Raspberry Pi has none that survives a loss of power. Its number grows from beat to beat, through reboots too, so that a
row which somebody has kept cannot be shown again. The signature is Ed25519 (RFC 8032): the platform holds the public
key only, and nobody there can speak for the switch.
"""

import hashlib
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trisagion.clock import SECOND_NS
from trisagion.safety.killswitch import Word
from trisagion.safety.modes import Mode
from trisagion.safety.signatures import is_signature, signature

PURPOSE: Final = "trisagion killswitch 1"


@dataclass(frozen=True, slots=True)
class Beat:
    """One heart-beat; `number` grows, `at_ns` is the database's time, `signature` hexadecimal."""

    name: str
    number: int
    at_ns: int
    state: str
    word: str
    reason: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class BeatMark:
    """What the platform took last of a switch; `refused` is a hash of the last row that it did not take.

    Before any was taken the number is 0 and the instant that of the first look.
    """

    name: str
    number: int
    at_ns: int
    word: str
    refused: str = ""


def _fields(beat: Beat) -> tuple[object, ...]:
    return beat.name, beat.number, beat.at_ns, beat.state, beat.word, beat.reason


def sign(beat: Beat, key: Ed25519PrivateKey) -> Beat:
    """Return the beat with its signature."""
    return replace(beat, signature=signature(key, PURPOSE, _fields(beat)))


def is_signed(beat: Beat, key: Ed25519PublicKey) -> bool:
    """Tell whether whoever holds the private key has signed this beat."""
    return is_signature(key, beat.signature, PURPOSE, _fields(beat))


class Refusal(Enum):
    """Why a row is not taken for a heart-beat; each is an event, once for each row."""

    FORGED = auto()
    REPLAYED = auto()
    FUTURE = auto()


@dataclass(frozen=True, slots=True)
class WatchRules:
    """Which switch is listened to, by which key, how old its word may be, and what a press means."""

    name: str
    key: Ed25519PublicKey
    deadline_ns: int
    pressed: Mode


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a switch found: the mark from now on, the mode that is to be in force at least, and why."""

    mark: BeatMark
    refusal: Refusal | None
    mode: Mode
    reason: str


def judge(beat: Beat | None, mark: BeatMark | None, wall_ns: int, rules: WatchRules) -> Finding:
    """Judge the newest row of a switch at `wall_ns` of the database's clock.

    A row with a bad signature is `PAUSE`. One that is older than what was taken, or dated in the future, counts for
    nothing; then the age of the last good one decides.
    """
    kept = mark or BeatMark(rules.name, 0, wall_ns, Word.GO)
    refusal = None if beat is None else _refusal(beat, kept, wall_ns, rules)
    said = ""
    if beat is not None and refusal is None:
        kept = replace(kept, number=beat.number, at_ns=beat.at_ns, word=Word(beat.word))
        said = f" ({beat.state}: {beat.reason})"
    elif beat is not None:
        kept = replace(kept, refused=hashlib.sha256(repr(beat).encode()).hexdigest())
    mode, reason = _meaning(kept, said, wall_ns, rules)
    if mode is Mode.NORMAL and refusal is Refusal.FORGED:
        return Finding(kept, refusal, Mode.PAUSE, "a heart-beat has a bad signature")
    return Finding(kept, refusal, mode, reason)


def _refusal(beat: Beat, mark: BeatMark, wall_ns: int, rules: WatchRules) -> Refusal | None:
    if beat.name != rules.name or beat.word not in set(Word) or not is_signed(beat, rules.key):
        return Refusal.FORGED
    if (beat.number, beat.at_ns) == (mark.number, mark.at_ns):
        return None  # the one that was taken last
    if beat.number <= mark.number:
        return Refusal.REPLAYED
    if beat.at_ns > wall_ns + rules.deadline_ns:
        return Refusal.FUTURE
    return None


def _meaning(mark: BeatMark, said: str, wall_ns: int, rules: WatchRules) -> tuple[Mode, str]:
    if mark.word == Word.STOP:
        return rules.pressed, f"the emergency stop was pressed{said}"
    age_ns = wall_ns - mark.at_ns
    if age_ns > rules.deadline_ns:
        # Without the age: whoever reads the same reason twice knows that it is the same silence.
        return Mode.PAUSE, f"no heart-beat for more than {rules.deadline_ns / SECOND_NS:g} s"
    if age_ns < -rules.deadline_ns:
        return Mode.PAUSE, "the database's clock was set back: nobody knows how old the last heart-beat is"
    if mark.word != Word.GO:
        return Mode.PAUSE, f"the switch is not armed{said}"
    return Mode.NORMAL, ""
