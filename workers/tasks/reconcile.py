"""The reconciliation cycle."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import app, house
from workers.flow import follow


@app.task(name="reconcile.cycle")
def cycle(now_ns: int, subject: str = "") -> None:
    """Move a cycle on: the one that `subject` names by its instant, else the one due now.

    What follows belongs to that instant.
    """
    due_ns = int(subject) if subject else now_ns
    outcomes: Iterable[Outcome] = house().retrying(lambda: house().cycle(due_ns))
    follow(app, "reconcile.cycle", outcomes, due_ns)
