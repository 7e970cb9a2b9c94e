"""A session with TWS or IB Gateway: every phase and what leads from one to another, in `PASSAGES` and nowhere else.

Two lines lie between us and an exchange: ours to TWS, and TWS' to the servers of Interactive Brokers. When only the
second is down (code 1100), TWS takes orders as before and they vanish. So "connected" is not enough to send by, and
whatever was said meanwhile is asked for again when either line is back.
"""

from enum import StrEnum
from typing import Final

from trisagion.errors import OurMistake


class Phase(StrEnum):
    """Where a session stands."""

    DOWN = "down"
    """No connection; the next attempt is waited for."""
    CONNECTING = "connecting"
    """From the first byte to the account and the first order id."""
    SYNCHRONISING = "synchronising"
    """Open orders, completed orders and executions are asked for; nothing is sent before all have been told."""
    READY = "ready"
    """Orders may leave."""
    SERVERS_LOST = "servers_lost"
    """TWS is there and its servers are not: what is handed to it now may vanish."""
    RESETTING = "resetting"
    """The nightly reset, by the machine's clock; whether something new leaves is decided by the platform's."""
    ENDED = "ended"
    """Not to be taken up again by this process."""


class Happening(StrEnum):
    """What may happen to a session."""

    DIALLED = "dialled"
    CONNECTED = "connected"
    SYNCHRONISED = "synchronised"
    LOST = "lost"
    SERVERS_LOST = "servers lost"
    SERVERS_BACK = "servers back"
    RESET_BEGAN = "reset began"
    RESET_OVER = "reset over"
    REFUSED = "refused"


_P, _H = Phase, Happening

PASSAGES: Final[dict[tuple[Phase, Happening], Phase]] = {
    (_P.DOWN, _H.DIALLED): _P.CONNECTING,
    (_P.DOWN, _H.LOST): _P.DOWN,
    (_P.CONNECTING, _H.CONNECTED): _P.SYNCHRONISING,
    (_P.CONNECTING, _H.LOST): _P.DOWN,
    # Told between the first bytes; once connected it is told to ourselves again.
    (_P.CONNECTING, _H.SERVERS_LOST): _P.CONNECTING,
    (_P.CONNECTING, _H.SERVERS_BACK): _P.CONNECTING,
    # The account is not the one of the configuration.
    (_P.CONNECTING, _H.REFUSED): _P.ENDED,
    (_P.SYNCHRONISING, _H.SYNCHRONISED): _P.READY,
    (_P.SYNCHRONISING, _H.SERVERS_LOST): _P.SERVERS_LOST,
    # 1102 follows a 1100 that was said before we connected.
    (_P.SYNCHRONISING, _H.SERVERS_BACK): _P.SYNCHRONISING,
    (_P.SYNCHRONISING, _H.LOST): _P.DOWN,
    (_P.SYNCHRONISING, _H.REFUSED): _P.ENDED,
    (_P.READY, _H.SERVERS_LOST): _P.SERVERS_LOST,
    # We did not hear of the loss; what was sent meanwhile is asked for all the same.
    (_P.READY, _H.SERVERS_BACK): _P.SYNCHRONISING,
    (_P.READY, _H.RESET_BEGAN): _P.RESETTING,
    (_P.READY, _H.LOST): _P.DOWN,
    (_P.READY, _H.REFUSED): _P.ENDED,
    (_P.SERVERS_LOST, _H.SERVERS_LOST): _P.SERVERS_LOST,
    (_P.SERVERS_LOST, _H.SERVERS_BACK): _P.SYNCHRONISING,
    (_P.SERVERS_LOST, _H.LOST): _P.DOWN,
    (_P.SERVERS_LOST, _H.REFUSED): _P.ENDED,
    (_P.RESETTING, _H.SERVERS_LOST): _P.SERVERS_LOST,
    (_P.RESETTING, _H.SERVERS_BACK): _P.SYNCHRONISING,
    # What was sent in the seconds around a reset may have vanished without a word.
    (_P.RESETTING, _H.RESET_OVER): _P.SYNCHRONISING,
    (_P.RESETTING, _H.LOST): _P.DOWN,
    (_P.RESETTING, _H.REFUSED): _P.ENDED,
}
"""What is not here cannot happen, but for `ENDED`, which nothing leads out of."""

UP: Final = frozenset({Phase.READY, Phase.RESETTING})
"""Messages may leave."""


def passage(phase: Phase, happening: Happening) -> Phase:
    """Return the phase that follows; `OurMistake` where the table has none."""
    if phase is Phase.ENDED:
        return phase
    after = PASSAGES.get((phase, happening))
    if after is None:
        raise OurMistake(f"IB session: no passage from {phase} by {happening!r} in the table")
    return after
