"""The sweeper: dispatch for speed, sweep for truth."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage


@stage("sweep.run")
def run(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Ring again for whatever a crash or a lost message left undone."""
    return house().sweep(now_ns)
