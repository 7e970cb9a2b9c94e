"""The lease of a connection's owner, waited for: one that died without giving it back holds it for its term."""

import time
from collections.abc import Callable
from typing import Final

from trisagion.errors import StaleOwner
from trisagion.services.drive_session import LEASE_S

POLL_S: Final = 0.1

EXIT_STALE: Final = 71
"""The exit code of an owner that lost its lease."""


def await_lease(take: Callable[[], None]) -> None:
    """Take a lease; `StaleOwner` when another owner still renews it after two of its terms."""
    deadline = time.monotonic() + 2 * LEASE_S
    while True:
        try:
            take()
        except StaleOwner:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)
        else:
            return
