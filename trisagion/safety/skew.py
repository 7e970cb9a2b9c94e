"""How far our clock is off, by what others say of the time: when a person must hear of it, and when nothing new leaves.

A message's SendingTime(52) lies behind our clock by the skew and by what the message took; the least of a while is the
skew and the least latency. A server whose answer lies between two looks at our clock proves no skew at all.

By more than 120 s (QuickFIX, MaxLatency) a venue lets us not log on, nor we the venue, and no message says why.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from trisagion.clock import SECOND_NS

ALARM_NS: Final = SECOND_NS
SHUT_NS: Final = 5 * SECOND_NS
"""Reliability, 0.14: watch the offset, alarm at 1 s, stop new orders at 5 s."""

WINDOW_S: Final = 30
"""Three heartbeats of the default interval: at least one message of each window was not waited for."""


class Skew(IntEnum):
    """What an offset asks for, the worse the greater."""

    NONE = 0
    ALARM = 1
    SHUT = 2


def judge(offset_ns: int, known: Skew = Skew.NONE) -> Skew:
    """Judge our clock less another's; an excursion that is known ends below half of what began it."""
    size_ns = abs(offset_ns)
    if size_ns >= SHUT_NS:
        return Skew.SHUT
    return Skew.ALARM if size_ns >= (ALARM_NS if known is Skew.NONE else ALARM_NS // 2) else Skew.NONE


def offset_between(before_ns: int, theirs_ns: int, after_ns: int) -> int:
    """Return the least skew that an answer proves: one that lies between our looks before and after proves none."""
    if theirs_ns > after_ns:
        return after_ns - theirs_ns
    return max(before_ns - theirs_ns, 0)


@dataclass(frozen=True, slots=True)
class Window:
    """The least offset of each of the last `WINDOW_S` seconds in which there was one; seconds of any steady clock."""

    least: tuple[tuple[int, int], ...] = ()

    def seen(self, now_s: float, offset_ns: int) -> "Window":
        """Add an offset."""
        second = int(now_s)
        if self.least and self.least[-1][0] == second:
            if self.least[-1][1] <= offset_ns:
                return self
            return replace(self, least=(*self.least[:-1], (second, offset_ns)))
        return replace(self, least=(*self._since(second - WINDOW_S), (second, offset_ns)))

    def offset_ns(self, now_s: float) -> int | None:
        """Return the least offset; None when nothing was heard for so long."""
        return min((offset for _, offset in self._since(int(now_s) - WINDOW_S)), default=None)

    def _since(self, second: int) -> tuple[tuple[int, int], ...]:
        return tuple(entry for entry in self.least if entry[0] > second)
