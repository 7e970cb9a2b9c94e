"""What the services ask of the outside about those who watch our positions: what they say, and where they disagree.

Like `ports`, of which the stores here are a part: they belong to its unit of work.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from trisagion.orders.incidents import Incident
from trisagion.safety.snapshots import Snapshot, SnapshotMark
from trisagion.units import Quantity


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a source found; `at_ns` is the instant as of which it says so, None: now.

    `reason` is empty when it is all that is held; else it says what went wrong, and `positions` may be a part.
    """

    positions: Mapping[str, Quantity] = field(default_factory=dict)
    at_ns: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """A position as an observer saw it."""

    observer: str
    symbol: str
    qty: Quantity
    at_ns: int


class ObservationStore(Protocol):
    """Table observation."""

    def observe(self, observation: Observation) -> None:
        """Record what an observer saw; a newer word replaces an older one."""
        ...

    def observations(self, symbol: str) -> Sequence[Observation]:
        """Return the latest word of each observer on a symbol, in order of observer."""
        ...

    def heard(self, since_ns: int) -> AbstractSet[tuple[str, str]]:
        """Return each (observer, symbol) whose latest word is of `since_ns` or later."""
        ...

    def observed_by(self, observer: str) -> Sequence[str]:
        """Return the symbols on which there is a word of an observer."""
        ...

    def foreign_observations(self) -> Sequence[Observation]:
        """Return the latest words on symbols that are no instruments, in order of symbol, then observer."""
        ...


class IncidentStore(Protocol):
    """Table incident."""

    def add(self, incident: Incident) -> Incident:
        """Record a new incident; return it with its number."""
        ...

    def save(self, incident: Incident) -> None:
        """Replace the incident of that number."""
        ...

    def incident(self, number: int) -> Incident | None:
        """Return an incident."""
        ...

    def unsettled(self, symbol: str) -> Incident | None:
        """Return the open incident of a symbol."""
        ...

    def open_ones(self) -> Sequence[Incident]:
        """Return all open incidents, oldest first."""
        ...

    def newest(self, count: int) -> Sequence[Incident]:
        """Return the newest `count` incidents, open and closed, oldest first."""
        ...


class SnapshotStore(Protocol):
    """Tables observer_snapshot and observer_mark."""

    def add(self, snapshot: Snapshot) -> None:
        """Append a snapshot."""
        ...

    def after(self, observer: str, seq: int, count: int) -> Sequence[tuple[int, Snapshot]]:
        """Return the newest `count` snapshots behind a number, in order; one that cannot be read has no signature."""
        ...

    def mark(self, observer: str) -> SnapshotMark | None:
        """Return how far an observer's snapshots were looked at, None before the first look."""
        ...

    def put_mark(self, mark: SnapshotMark) -> None:
        """Insert or replace the mark of an observer."""
        ...
