"""What is asked of the outside about what happened lately: a part of `ports`, and of its unit of work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trisagion.ids import ClOrdId, IntentKey
from trisagion.orders.types import Side
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
    """Table session_minute; and what orders and execution say of the last minutes, by their indices."""

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


class LatelyUnit(Protocol):
    """The part of `ports.Transaction` that is about what happened lately."""

    @property
    def lately(self) -> LatelyStore:
        """What happened lately."""
        ...
