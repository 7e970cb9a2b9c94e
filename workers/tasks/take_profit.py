"""The watch over profit and draw-down."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage


@stage("take_profit.watch")
def watch(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Mark the account and take the next steps of a take-profit."""
    return house().watch(now_ns)
