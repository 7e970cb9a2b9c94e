"""The one driver of this process' session; there is none in a worker that owns no connection."""

from typing import Final

from trisagion.errors import DataError, OurMistake, quoted
from trisagion.services.drive_session import SessionDriver

_DRIVERS: Final[list[SessionDriver]] = []


def install(made: SessionDriver) -> None:
    """Keep the driver for the tasks of this process."""
    assert not _DRIVERS, "a process owns one session"
    _DRIVERS.append(made)


def driver() -> SessionDriver:
    """Return the driver of this process' session."""
    if not _DRIVERS:
        raise OurMistake("this worker owns no venue session: session.* tasks belong to the queue of their session")
    return _DRIVERS[0]


def owner_of(session: str) -> SessionDriver:
    """Return the driver of this process' session, which must be the one that a message names."""
    found = driver()
    if session != found.name:
        raise DataError(f"expected a message to session {found.name}, found one to {quoted(session)}")
    return found
