"""What is asked of the outside about what happened lately: a part of `ports`, and of its unit of work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trisagion.ids import ClOrdId, IntentKey
from trisagion.orders.types import Side
from trisagion.risk.panic import LossRecord
from trisagion.safety.modes import Level
from trisagion.units import Price, Quantity


@dataclass(frozen=True, slots=True)
class Made:
    """An order that was made, and not denied: what another one may repeat."""

    created_ns: int
    cl_ord_id: ClOrdId
    intent: IntentKey
    symbol: str
    side: Side
    qty: Quantity
    price: Price | None


class LatelyStore(Protocol):
    """Tables session_minute, loss_record; and what orders, execution and event say of the last minutes."""

    def count(self, session: str, at_ns: int, *, messages: int = 0, trades: int = 0) -> None:
        """Add to what was said on a session in the minute of an instant.

        The row stays locked until the transaction ends: it comes last, so that nobody waits for another one behind it.
        """
        ...

    def counted(self, since_ns: int) -> tuple[int, int]:
        """Return messages and trades of all sessions in the minutes that began at an instant or later."""
        ...

    def made(self, symbols: Sequence[str], since_ns: int) -> Sequence[Made]:
        """Return some symbols' orders, made since an instant and not denied, in order of creation, then id."""
        ...

    def at_venue(self) -> Sequence[str]:
        """Return the symbols of which a venue may hold an order of ours, in order; also of one that cannot be read."""
        ...

    def traded(self, symbol: str, side: Side, since_ns: int, count_max: int) -> int:
        """Return how many orders of a symbol and side were filled at an instant or later, `count_max` at most."""
        ...

    def answers(self, venue: str, count: int) -> Sequence[int | None]:
        """Return what a venue said last of `count` new orders, newest first: None for a word of it, or when it refused.

        A refusal that a new attempt may follow (`orders.rejects`) is left out.
        """
        ...

    def errors(self, since_ns: int) -> int:
        """Return how many of the newest events tell of an error of a venue or its session, at an instant or later."""
        ...

    def released_ns(self, level: Level, name: str) -> int:
        """Return when people last released a part of the platform by itself, 0 when they never did."""
        ...

    def losses(self) -> LossRecord | None:
        """Return how the account's marks went, None before the first one."""
        ...

    def put_losses(self, record: LossRecord) -> None:
        """Insert or replace it."""
        ...


class LatelyUnit(Protocol):
    """The part of `ports.Transaction` that is about what happened lately."""

    @property
    def lately(self) -> LatelyStore:
        """What happened lately."""
        ...
