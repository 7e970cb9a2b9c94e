"""What is asked of the outside about the audit chain: a part of the unit of work of `ports`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trisagion.safety.audit import Anchor, Link, Record


class AuditStore(Protocol):
    """Tables audit_outbox and audit_event."""

    def note(self, kind: str, subject: str, detail: Mapping[str, str]) -> None:
        """Record what happens in this transaction; it is kept when the transaction is."""
        ...

    def waiting(self) -> Mapping[str, int]:
        """Return how many records of each shard wait to be linked, where any do."""
        ...

    def outbox(self, shard: str, count: int) -> Sequence[tuple[int, Record]]:
        """Return the oldest records of a shard that wait, with their numbers there, `count` at most."""
        ...

    def move(self, numbers: Sequence[int], links: Sequence[Link]) -> None:
        """Append links to their chain, and take the records with these numbers out of the outbox."""
        ...

    def shards(self) -> Sequence[str]:
        """Return the shards that have a chain."""
        ...

    def head(self, shard: str) -> Link | None:
        """Return the last row of a chain."""
        ...

    def row(self, shard: str, seq: int) -> Link | None:
        """Return one row of a chain."""
        ...

    def rows(self, shard: str, after: int, count: int) -> Sequence[Any]:
        """Return the rows of a chain after a number, in order and in the order of `Link`'s fields, `count` at most.

        They are as they stand in the database, whatever somebody wrote there.
        """
        ...

    def reach(self, shard: str, since_ns: int, until_ns: int) -> tuple[int, int]:
        """Return the first and the last number of a chain's rows in a span of time, its end outside; (1, 0): none."""
        ...


class Anchors(Protocol):
    """What keeps anchors outside the database."""

    def kept(self) -> Sequence[Anchor]:
        """Return all that were kept; `StateError` when one is not as it was signed."""
        ...

    def keep(self, anchors: Sequence[Anchor], at_ns: int) -> None:
        """Sign and append."""
        ...
