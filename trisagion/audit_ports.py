"""What is asked of the outside about the audit chain: a part of the unit of work of `ports`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from trisagion.safety.audit import Anchor, Hole, Link, Mark, Witness


class AuditStore(Protocol):
    """The chain, how far its writer has read, and the tables that it tells of (`safety.audit.NUMBERED` and others)."""

    def note(self, by: Witness, kind: str, subject: str, detail: Mapping[str, str]) -> None:
        """Add to the notes what no other table tells, with both clocks of this machine."""
        ...

    def marks(self, sources: Iterable[str]) -> Mapping[str, Mark]:
        """Return how far each of some tables was read, a new mark where nothing was."""
        ...

    def save_mark(self, mark: Mark) -> bool:
        """Replace the mark whose version is `mark.version - 1`; False when another writer was first."""
        ...

    def fresh(self, source: str, after: int, count: int) -> Sequence[tuple[int, str]]:
        """Return number and detail of the rows after a number, in order, `count` at most."""
        ...

    def within(self, source: str, holes: Sequence[Hole], count: int) -> Sequence[tuple[int, str]]:
        """Return number and detail of the rows within some holes, in order, `count` at most."""
        ...

    def beyond(self, source: str, after: int) -> int:
        """Return how many rows come after a number."""
        ...

    def orders_since(self, since_ns: int, count: int) -> Sequence[tuple[str, str, int, str, int]]:
        """Return the orders of an instant or later whose version is not in the chain, oldest first, `count` at most.

        Each as key, detail, instant of creation, name and number of replaces.
        """
        ...

    def orders_named(self, names: Sequence[str], count: int) -> Sequence[tuple[str, str, int, str, int]]:
        """Return the same of the orders that some ClOrdIDs, also those of replaces, belong to."""
        ...

    def live(self) -> tuple[str, ...]:
        """Return the names of the orders that are not at rest."""
        ...

    def reported(self, after: int) -> Sequence[str]:
        """Return the ClOrdIDs of the executions after a number."""
        ...

    def links(self, names: Sequence[str]) -> Sequence[tuple[str, str]]:
        """Return key and detail of the replaces under some ClOrdIDs that are not in the chain."""
        ...

    def decisions(self, since_ns: int, count: int) -> Sequence[tuple[str, str, int]]:
        """Return key, detail and instant of the decisions of an instant or later that are not in the chain."""
        ...

    def lost(self, source: str, upto: int, count: int) -> Sequence[str]:
        """Return what names the first rows up to a number or instant that the chain should have, and has not."""
        ...

    def at(self, source: str, keys: Sequence[str]) -> Mapping[str, str]:
        """Return key and detail of the rows that keys name, as they are now; an order's key has its present version."""
        ...

    def append(self, links: Sequence[Link]) -> None:
        """Append links to their chain."""
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
