"""Give a venue session numbers for its orders; what was given is given, used or not."""

from dataclasses import dataclass

from trisagion.ports import Database


@dataclass(frozen=True, slots=True)
class ReservedIds:
    """`session_ports.OrderIds`: each block is a transaction of its own, committed before its first number is used."""

    database: Database

    def reserve(self, session: str, floor: int, count: int) -> int:
        """Return the first of `count` fresh numbers."""
        with self.database.transaction() as tx:
            return tx.order_ids.reserve(session, floor, count)
