"""The audit chain."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage


@stage("audit.chain")
def chain(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Link what was recorded since; which instant it is does not matter."""
    return (house().chain_audit(),)
