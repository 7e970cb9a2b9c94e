"""How fast a session may speak. Venues count messages, and cut off whoever says too much.

The owner of a session alone holds this, and in memory: it is the only process that sends there, by its lease, so there
is nobody to share a count with, and a row in the database would cost a write for each message. An owner begins with an
empty bucket; so no second sees more than the rate, whoever owned the session in it, at the price of a first message
that waits for its share.
"""

from collections import deque
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from trisagion.errors import ConfigError

SECOND_S: Final = 1.0
MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A second's worth of messages: filled at `per_s`, emptied by one a message; and a minute's, where one is set.

    A message takes a token of both: `minute` is what is left of `per_min`, which fills as evenly. What adds risk (a new
    order, a replace) leaves `reserve` of the bucket, a share of it, to what takes risk away: a cancel or a question may
    have the last token. Instants are seconds of a clock that never goes back.

    Raises `ConfigError` unless ``per_s >= 1``, ``per_min >= 1`` and ``0 <= reserve < 1``.
    """

    per_s: int
    reserve: Decimal
    tokens: float
    at_s: float
    per_min: int | None = None
    minute: float = 0.0

    def __post_init__(self) -> None:
        if self.per_s < 1 or (self.per_min is not None and self.per_min < 1) or not 0 <= self.reserve < 1:
            raise ConfigError(
                f"message limit: expected at least 1 message a second, 1 a minute and a reserve of 0 to below 1, found "
                f"{self.per_s}, {self.per_min} and {self.reserve}"
            )

    def take(self, now_s: float, *, urgent: bool) -> "TokenBucket | None":
        """Return the bucket less one token, None when there is none for this kind of message."""
        if self._free(now_s, urgent=urgent) < 1.0 - 1e-9:
            return None
        second, minute = self._levels(now_s)
        left = minute if self.per_min is None else minute - 1.0
        return replace(self, tokens=second - 1.0, minute=left, at_s=max(now_s, self.at_s))

    def room(self, now_s: float, *, urgent: bool) -> int:
        """Return how many messages of this kind may go out now."""
        return max(int(self._free(now_s, urgent=urgent) + 1e-9), 0)

    def _free(self, now_s: float, *, urgent: bool) -> float:
        second, minute = self._levels(now_s)
        free = second - self._kept(self.per_s, urgent=urgent)
        return free if self.per_min is None else min(free, minute - self._kept(self.per_min, urgent=urgent))

    def _levels(self, now_s: float) -> tuple[float, float]:
        passed_s, per_min = max(now_s - self.at_s, 0.0), self.per_min or 0
        second = min(self.tokens + passed_s * self.per_s, float(self.per_s))
        return second, min(self.minute + passed_s * per_min / MINUTE_S, float(per_min))

    def _kept(self, whole: int, *, urgent: bool) -> float:
        # The last whole token of a bucket too small for a reserve is everybody's, or nothing new could ever be sent.
        return 0.0 if urgent else min(float(self.reserve) * whole, whole - 1.0)

    @staticmethod
    def empty(per_s: int, reserve: Decimal, now_s: float, per_min: int | None = None) -> "TokenBucket":
        """Return the bucket of an owner that takes over: empty, and filling from now on."""
        return TokenBucket(per_s, reserve, 0.0, now_s, per_min)


class RollingSecond:
    """At most `per_s` messages in any span of a second, for a venue that counts each of them.

    A bucket lets through twice its rate in the second after a silence. Instants are as `TokenBucket`'s.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._said_s: deque[float] = deque()

    def wait_s(self, now_s: float, *, count: int = 1, keep: int = 0) -> float:
        """Return for how long `count` messages have to wait, if they are to leave `keep` to others; 0: they need not.

        More than the rate are let go once the second is empty.
        """
        said = self._said_s
        while said and now_s - said[0] >= SECOND_S:
            said.popleft()
        over = min(len(said), len(said) + count + keep - self._per_s)
        return said[over - 1] + SECOND_S - now_s if over > 0 else 0.0

    def say(self, now_s: float, count: int = 1) -> None:
        """Count messages that leave now."""
        self._said_s.extend([now_s] * count)
