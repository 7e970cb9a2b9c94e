"""How what was stopped is let go on: one person proposes, another one confirms, and the first minute is Reduce."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.safety.audit import canonical
from trisagion.safety.commands import APART_NS_MAX, Signers, Taken
from trisagion.safety.modes import Control, Level, Mode, stricter

REDUCE_NS: Final = MINUTE_NS
"""How long after a release only what reduces passes, by the platform's clock."""

PROPOSAL_NS_MAX: Final = HOUR_NS
"""A proposal that is older was made of another situation. By the database's clock; our choice."""

RELEASE: Final = "release"
"""The action of the command that proposes a release; its subject is a `Lift`."""

Place: TypeAlias = tuple[Level, str]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A wish to lift the word `was` of a level and name; `confirmed_by` is None while nobody has confirmed it."""

    level: Level
    name: str
    was: str
    proposed_by: str
    reason: str
    proposed_ns: int
    confirmed_by: str | None = None


def worded(control: Control) -> str:
    """Write a control so that no other one is written alike."""
    return f"{control.mode} by {control.operator} at {control.set_ns}: {control.reason}"


def release_commands(people: int, what: str, *, signed: bool, at: str = "") -> str:
    """Return what people type for a release: `what` names part and reason, `at` the platform."""
    at = f"{at} --as NAME --key file:PATH" if signed else at
    second = f", then another person's `trisagion release --confirm NUMBER{at}`" if people > 1 else ""
    return f"`trisagion release {what}{at}`{second}"


def way_back(people: int, *, signed: bool, at: str = "") -> str:
    """Return what people type for a run to go on that was killed."""
    if people < 2 and not signed:
        return f"trisagion run --resume{at} --reason 'why it is safe'"
    return f"{release_commands(people, '--reason TEXT', signed=signed, at=at)}, then `trisagion run --resume{at}`"


@dataclass(frozen=True, slots=True)
class Lift:
    """What the people who release a place sign: that its words up to the row `upto` of their table are lifted.

    So it can be shown again without lifting a later word. `was` is the last of them, for a person to read.
    """

    level: Level
    name: str
    upto: int
    was: str

    @property
    def text(self) -> str:
        """What is signed."""
        return canonical({"level": str(self.level), "name": self.name, "upto": self.upto, "was": self.was})


def lifted(signers: Signers, taken: Sequence[Taken]) -> dict[Place, int]:
    """Return up to which row the words of each place are lifted, by those releases whose signatures are good."""
    found: dict[Place, int] = {}
    for first, second in signers.countersigned(RELEASE, taken):
        lift = _lift(first.subject)
        if lift is not None and abs(second.expires_ns - first.expires_ns) <= APART_NS_MAX:
            place = lift.level, lift.name
            found[place] = max(lift.upto, found.get(place, 0))
    return found


def _lift(text: str) -> Lift | None:
    try:
        found = json.loads(text)
        lift = Lift(Level(found["level"]), found["name"], found["upto"], found["was"])
    except (ValueError, KeyError, TypeError):
        return None
    return lift if type(lift.upto) is int and lift.text == text else None


def unlifted(rows: Iterable[tuple[int, Control]], lifts: Mapping[Place, int]) -> list[Control]:
    """Return of each place the word that still stands: the last of the strictest after what was lifted.

    `rows` are words without an end, in order of their numbers in the one table that they are of.
    """
    found: dict[Place, Control] = {}
    for number, control in rows:
        place = control.level, control.name
        if control.mode is Mode.NORMAL or number <= lifts.get(place, 0):
            continue
        if place not in found or not stricter(found[place].mode, control.mode):
            found[place] = control
    return list(found.values())
