"""What a service says when its transaction is done; `workers/flow.py` knows what follows from it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """A word from the flow table, and whom it concerns: one follower is rung for each subject."""

    word: str
    subjects: tuple[str, ...] = ()
