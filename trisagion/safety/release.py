"""How what was stopped is let go on: one person proposes, another one confirms, and the first minute is Reduce."""

from dataclasses import dataclass
from typing import Final

from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.safety.modes import Control, Level

REDUCE_NS: Final = MINUTE_NS
"""How long after a release only what reduces passes, by the platform's clock."""

PROPOSAL_NS_MAX: Final = HOUR_NS
"""A proposal that is older was made of another situation. By the database's clock; our choice."""


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
