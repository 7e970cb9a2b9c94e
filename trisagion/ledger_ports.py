"""What the services ask of the books: entries, what they add up to, and the lots that are made of them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from trisagion.ledger.types import Account, Booked, Entry, Lot, SweepMark


class EntryStore(Protocol):
    """Tables ledger_entry, posting, ledger_lot, ledger_mark."""

    def post(self, entry: Entry) -> bool:
        """Append an entry; its amounts sum to zero. False when there is one of that name: then nothing changes."""
        ...

    def entries(self, after_seq: int, count: int, upto_seq: int | None = None) -> Sequence[Booked]:
        """Return the next `count` entries after a number, up to another one if given, in order of booking."""
        ...

    def last_seq(self) -> int:
        """Return the number of the newest entry, 0 when there is none."""
        ...

    def strays(self, count: int) -> Sequence[str]:
        """Return the names of up to `count` entries that have postings and no head."""
        ...

    def split_after(self, entry: str, symbol: str) -> bool:
        """Tell whether a symbol was split in our own account after an entry was booked."""
        ...

    def home(self) -> str | None:
        """Return the account's own currency, that of its opening; None before that."""
        ...

    def booked(self, entry: str) -> bool:
        """Tell whether there is an entry of that name."""
        ...

    def open_lots(self) -> Sequence[Lot]:
        """Return the open lots of all symbols in order of opening, as of the sweep's mark."""
        ...

    def lots(self) -> Sequence[Lot]:
        """Return all lots, closed ones too, in order of opening, as of the sweep's mark."""
        ...

    def save_lots(self, lots: Sequence[Lot]) -> None:
        """Insert or replace lots."""
        ...

    def clear_lots(self) -> None:
        """Forget all lots, to make them anew from the entries."""
        ...

    def balance(self, *accounts: Account) -> Decimal:
        """Return the exact sum of our own account's postings to some accounts, in its own currency.

        It grows slower with their number.
        """
        ...

    def sweep_mark(self) -> SweepMark:
        """Return how far the sweep has verified the entries."""
        ...

    def put_sweep_mark(self, mark: SweepMark) -> None:
        """Insert or replace it."""
        ...
