"""The reconciliation cycle."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import app, house, or_say_why
from workers.door import whole
from workers.flow import follow


@app.task(name="reconcile.cycle")
def cycle(now_ns: int, subject: str = "") -> None:
    """Move a cycle on: the one that `subject` names by its instant, else the one due now.

    What follows belongs to that instant.
    """

    def work() -> None:
        due_ns = whole(subject, "the instant of a cycle") if subject else now_ns
        outcomes: Iterable[Outcome] = house().retrying(lambda: house().cycle(due_ns))
        follow(app, "reconcile.cycle", outcomes, due_ns)

    or_say_why("reconcile.cycle", now_ns, subject, work)
