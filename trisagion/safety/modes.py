"""Control modes (domain, section 8). Unknown or unreadable means `PAUSE`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """How much the platform may do."""

    NORMAL = "normal"
    REDUCE = "reduce"
    PAUSE = "pause"
    EMERGENCY = "emergency"


_STRICTNESS: Final = {Mode.NORMAL: 0, Mode.REDUCE: 1, Mode.PAUSE: 2, Mode.EMERGENCY: 3}


@dataclass(frozen=True, slots=True)
class Control:
    """The mode in force, who set it and why."""

    mode: Mode
    operator: str
    reason: str
    set_ns: int


def stricter(a: Mode, b: Mode) -> bool:
    """Tell whether `a` forbids more than `b`."""
    return _STRICTNESS[a] > _STRICTNESS[b]


def read_mode(text: str | None) -> Mode:
    """Read a stored mode; what cannot be read is `PAUSE`, for an unreadable switch must not mean go."""
    try:
        return Mode(text) if text is not None else Mode.PAUSE
    except ValueError:
        return Mode.PAUSE


def cancels_working(mode: Mode) -> bool:
    """Tell whether working orders are cancelled in this mode."""
    return mode in {Mode.PAUSE, Mode.EMERGENCY}
