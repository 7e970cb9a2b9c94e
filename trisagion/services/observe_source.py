"""Say what an independent source holds for us: one signed snapshot for each look at it.

Whoever looks may stand anywhere; all that it needs is its key and a user of the database with few rights.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trisagion.errors import StaleOwner, quoted
from trisagion.observer_ports import Seen
from trisagion.ports import Database
from trisagion.safety.snapshots import Snapshot, is_signed, sign
from trisagion.services.control import present_ns

LOOKED_BACK: Final = 64
"""Rows in which the observer's own last word is looked for; a forger may have put some behind it."""
REASON_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who speaks for an observer: its name, its key, this process, and how long it may be silent and still be alone."""

    name: str
    key: Ed25519PrivateKey
    owner: str
    lease_s: float

    def lease(self, database: Database) -> int:
        """Take or renew the right to speak; return the instant that the platform has come to.

        Raises
        ------
        StaleOwner
            Another process speaks for this observer: two that take turns would hide that one is blind.
        """
        with database.transaction() as tx:
            if tx.control.acquire(self._lease, self.owner, self.lease_s) is None:
                raise StaleOwner(f"expected nobody else to speak as observer {quoted(self.name)}, found a process")
            return present_ns(tx)

    def leave(self, database: Database) -> None:
        """Give the right to speak back, so that the next process need not wait for its end."""
        with database.transaction() as tx:
            token = tx.control.acquire(self._lease, self.owner, self.lease_s)
            if token is not None:
                tx.control.release(self._lease, token)

    @property
    def _lease(self) -> str:
        return f"observer:{self.name}"

    def say(self, database: Database, seen: Seen, now_ns: int) -> Snapshot | None:
        """Write a snapshot; None where the source says nothing that was not said, as of no later instant."""
        at_ns, held = now_ns if seen.at_ns is None else seen.at_ns, tuple(sorted(seen.positions.items()))
        with database.transaction() as tx:
            rows = tx.snapshots.after(self.name, 0, LOOKED_BACK)
            ours = [snapshot for _, snapshot in rows if is_signed(snapshot, self.key.public_key())]
            last = max(ours, key=lambda snapshot: snapshot.number, default=None)
            mark = tx.snapshots.mark(self.name)
            if last is not None and (last.at_ns, last.complete, last.positions) == (at_ns, not seen.reason, held):
                return None
            number = max(0 if last is None else last.number, 0 if mark is None else mark.number) + 1
            reason = seen.reason[:REASON_MAX]
            snapshot = sign(Snapshot(self.name, number, at_ns, not seen.reason, reason, held), self.key)
            tx.snapshots.add(snapshot)
        return snapshot
