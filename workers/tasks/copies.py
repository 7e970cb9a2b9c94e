"""The second view of the venue, held against the first."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage


@stage("copies.compare")
def compare(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Book what the drop copy told and the session did not; tell where they differ."""
    return house().compare_copies(now_ns)
