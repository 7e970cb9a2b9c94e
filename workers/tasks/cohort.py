"""The virtual runs."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage
from workers.door import whole


@stage("cohort.advance")
def advance(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Move a shard up to the present."""
    return (house().advance(whole(subject, "a shard"), now_ns),)


@stage("cohort.supervise")
def supervise(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Replace ended runs and close the cycle that `subject` names by its instant."""
    return (house().supervise(whole(subject, "the instant of a cycle")),)
