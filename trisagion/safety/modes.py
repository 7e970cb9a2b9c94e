"""Control modes (domain, section 8). Unknown or unreadable means `PAUSE`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """How much the platform may do."""

    NORMAL = "normal"
    REDUCE = "reduce"
    PAUSE = "pause"
    EMERGENCY = "emergency"


class Level(StrEnum):
    """What a mode is for, the widest first."""

    ALL = "all"
    ACCOUNT = "account"
    VENUE = "venue"
    STRATEGY = "strategy"
    SYMBOL = "symbol"


REPLAY: Final = "replay"
"""The operator of what a replay does to itself; it neither takes back nor takes over another's word."""

STRATEGY: Final = "cohort"
"""The strategy that every order is of: the vote of the live cohort."""

_STRICTNESS: Final = {Mode.NORMAL: 0, Mode.REDUCE: 1, Mode.PAUSE: 2, Mode.EMERGENCY: 3}


@dataclass(frozen=True, slots=True)
class Control:
    """A mode, who set it and why; for what, and until which instant of the platform's clock where it passes by itself.

    A venue is named as its session is; the name of everything is empty.
    """

    mode: Mode
    operator: str
    reason: str
    set_ns: int
    level: Level = Level.ALL
    name: str = ""
    until_ns: int | None = None

    @property
    def where(self) -> str:
        """What it is for, in words."""
        return f"{self.level} {self.name}" if self.name else str(self.level)

    def stands(self, now_ns: int) -> bool:
        """Tell whether it forbids anything at an instant."""
        return self.mode is not Mode.NORMAL and (self.until_ns is None or now_ns < self.until_ns)


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is in force at once: the word for everything, and those for a part of it or for a while."""

    everything: Control
    others: tuple[Control, ...] = ()

    def over(self, *, account: str, venue: str, symbol: str, now_ns: int) -> Control:
        """Return the most severe that applies to an order; of several alike the widest."""
        names = {Level.ACCOUNT: account, Level.VENUE: venue, Level.STRATEGY: STRATEGY, Level.SYMBOL: symbol}
        bound = self.everything
        for other in self.at(now_ns):
            if names.get(other.level, other.name) == other.name and stricter(other.mode, bound.mode):
                bound = other
        return bound

    def at(self, now_ns: int) -> Sequence[Control]:
        """Return those that forbid something at an instant, beside the word for everything."""
        order = list(Level)
        standing = [other for other in self.others if other.stands(now_ns)]
        return sorted(standing, key=lambda other: (order.index(other.level), other.name))


def stricter(a: Mode, b: Mode) -> bool:
    """Tell whether `a` forbids more than `b`."""
    return _STRICTNESS[a] > _STRICTNESS[b]


def read_mode(text: str | None) -> Mode:
    """Read a stored mode; what cannot be read is `PAUSE`, for an unreadable switch must not mean go."""
    try:
        return Mode(text) if text is not None else Mode.PAUSE
    except ValueError:
        return Mode.PAUSE


def read_level(text: str) -> Level:
    """Read a stored level; what cannot be read is for everything."""
    try:
        return Level(text)
    except ValueError:
        return Level.ALL


def cancels_working(mode: Mode) -> bool:
    """Tell whether working orders are cancelled in this mode."""
    return mode in {Mode.PAUSE, Mode.EMERGENCY}
