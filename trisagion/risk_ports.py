"""What is asked of the outside about limits: a part of the unit of work of `ports`."""

from collections.abc import Sequence
from typing import Protocol

from trisagion.risk.limits import LimitRow


class LimitStore(Protocol):
    """Tables risk_limit, risk_limit_approval."""

    def rows(self) -> Sequence[LimitRow]:
        """Return every version with its approval, in order of version; `StateError` when one cannot be read."""
        ...

    def add(self, row: LimitRow) -> bool:
        """Record a version that nobody has approved yet; False when there is one of that number."""
        ...

    def approve(self, version: int, approved_by: str, approved_ns: int) -> bool:
        """Record an approval; False when there is one already."""
        ...
