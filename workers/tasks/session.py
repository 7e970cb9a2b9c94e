"""What is asked of a session's owner. These run only in the worker that holds the connection."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage
from workers.sessions.owner import owner_of


@stage("session.drain")
def drain(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Send what the outbox holds for the session."""
    return (owner_of(subject).drain(house().present_ns(now_ns)),)


@stage("session.observe")
def observe(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Ask the venue for its view of our positions."""
    return (owner_of(subject).observe(now_ns),)


@stage("session.resolve")
def resolve(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Ask the venue about orders in doubt."""
    return (owner_of(subject).resolve(now_ns),)
