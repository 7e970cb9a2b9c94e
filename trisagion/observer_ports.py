"""What the services ask of the outside about those who watch our positions: what they say, and where they disagree.

Like `ports`, of which the stores here are a part: they belong to its unit of work.
"""

from collections.abc import Sequence
from typing import Protocol

from trisagion.orders.incidents import Incident


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
