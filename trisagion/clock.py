"""What a clock is. Instants are UTC nanoseconds since 1970 as `int`; rooms and services get `now_ns` as an argument.

Only the outermost processes hold a clock: the live one reads the machine, the replay one maps the machine's
time onto the data's; `origin_ns` is the machine's instant of `start_ns`, so that several processes share one clock.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

MILLISECOND_NS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
HOUR_NS: Final = 3600 * SECOND_NS


class Clock(Protocol):
    """Tells the present instant."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        return time.time_ns()


@dataclass(frozen=True, slots=True)
class ReplayClock:
    """The data's clock: `start_ns` at its making, then `speed` data seconds for each second that passes."""

    start_ns: int
    speed: float
    origin_ns: int

    def now_ns(self) -> int:
        """Return the replay's instant as UTC nanoseconds since 1970."""
        return self.start_ns + int((time.time_ns() - self.origin_ns) * self.speed)


def floor_ns(instant_ns: int, step_ns: int) -> int:
    """Return the last whole step at or before an instant."""
    return instant_ns - instant_ns % step_ns


def iso(instant_ns: int) -> str:
    """Write an instant as ISO 8601 UTC with milliseconds."""
    seconds, rest = divmod(instant_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"
