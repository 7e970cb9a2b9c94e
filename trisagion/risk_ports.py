"""What is asked of the outside about limits: a part of the unit of work of `ports`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trisagion.orders.types import Intent
from trisagion.risk.limits import LimitRow
from trisagion.risk.losses import LossMark
from trisagion.units import Quantity


@dataclass(frozen=True, slots=True)
class PastIntent:
    """An intent that a cycle approved: when, what was held then, and the session that its first order went to."""

    due_ns: int
    intent: Intent
    actual: Quantity
    session: str | None


class LimitStore(Protocol):
    """Tables risk_limit, risk_limit_approval, risk_mark."""

    def rows(self) -> Sequence[LimitRow]:
        """Return every version with its approval, in order of version; `StateError` when one cannot be read."""
        ...

    def add(self, row: LimitRow) -> bool:
        """Record a version that nobody has approved yet; False when there is one of that number."""
        ...

    def approve(self, version: int, approved_by: str, approved_ns: int) -> bool:
        """Record an approval; False when there is one already."""
        ...

    def mark(self) -> LossMark | None:
        """Return from where losses are counted, None before the first sample."""
        ...

    def put_mark(self, mark: LossMark) -> None:
        """Insert or replace it."""
        ...
