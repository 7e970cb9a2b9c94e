"""The lease of a connection's owner: one that died without giving it back holds it for its term, a living one for good.

Whoever waits for it is a standby: it has been started and imported, and takes over within the lease's term.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from celery.worker import state

from trisagion.errors import StaleOwner
from trisagion.services.drive_session import LEASE_S
from workers.app import house

log = logging.getLogger(__name__)

POLL_S: Final = 0.25

EXIT_STALE: Final = 71
"""The exit code of an owner that lost its lease."""


def await_lease(take: Callable[[], None]) -> None:
    """Take a lease as soon as nobody holds it; say so once when that is later than a dead owner's term."""
    since_s, told = time.monotonic(), False
    while True:
        state.maybe_shutdown()
        try:
            house().retrying(take)
        except StaleOwner as held:
            if not told and time.monotonic() - since_s > 2 * LEASE_S:
                log.warning("waiting as a standby: %s", held)
                told = True
            time.sleep(POLL_S)
        else:
            return
