"""What beat sends and when, on the platform's clock. `python -m workers.schedule` prints the table.

Each run of an entry belongs to a slot, a multiple of its period in data time. The message of a cycle carries the slot's
instant, and what a slot does is keyed by it: two beats, or one that restarts, do no harm.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from celery.beat import Scheduler
from celery.schedules import BaseSchedule

from trisagion.clock import SECOND_NS, Clock, floor_ns
from workers.app import app, house
from workers.flow import headers


class Entry(NamedTuple):
    """One row: a task and its period in seconds of the platform's clock; None: the reconciliation interval.

    A task of the `slot` is given its instant, and waits until the data have come to it. Another is given the instant
    that the data have come to: a replay that is behind its clock must not date to its future what is left to do.
    """

    task: str
    every_s: int | None
    slot: bool


SCHEDULE: Final = (
    Entry("reconcile.cycle", None, slot=True),
    # What a killed worker held is to be taken up within 30 s, and the broker hands it out again only after 60.
    Entry("sweep.run", 15, slot=False),
    Entry("copies.compare", 10, slot=False),
    Entry("audit.chain", 2, slot=False),
)

_OF_SLOTS: Final = {row.task for row in SCHEDULE if row.slot}

LOOK_S: Final = 0.25
"""How often beat looks at the clock, in wall seconds."""


class Slots(BaseSchedule):
    """Due once in every slot of `period_ns` of a clock that may run faster than the wall's.

    The clock is asked for at each look: a replay may begin, or be taken up with another origin, after beat.
    """

    def __init__(self, clock: Callable[[], Clock], period_ns: int) -> None:
        super().__init__()
        self.clock = clock
        self.period_ns = period_ns
        self.slot_ns = self._present_ns()

    def _present_ns(self) -> int:
        return floor_ns(self.clock().now_ns(), self.period_ns)

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Tell whether a new slot has begun."""
        slot_ns = self._present_ns()
        due = slot_ns > self.slot_ns
        self.slot_ns = slot_ns
        return due, LOOK_S

    def __reduce__(self) -> Any:
        return (Slots, (self.clock, self.period_ns))


class SlotScheduler(Scheduler):
    """Beat's scheduler; gives each task its instant."""

    def setup_schedule(self) -> None:
        """Fill the schedule from the table."""
        copied = bool(house().settings.fix.drop_copy)
        for entry in SCHEDULE:
            if entry.task == "copies.compare" and not copied:
                continue
            period_s = entry.every_s or house().settings.reconcile.interval_s
            self.add(name=entry.task, task=entry.task, schedule=Slots(house().clock, period_s * SECOND_NS))

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send the entry's task with the instant of its slot, or with that of the data."""
        now_ns = entry.schedule.slot_ns if entry.task in _OF_SLOTS else house().now_ns()
        entry = self.reserve(entry) if advance else entry
        named = {"now_ns": now_ns, "subject": ""}
        return app.send_task(entry.task, kwargs=named, headers=headers(app), producer=producer)


if __name__ == "__main__":
    for row in SCHEDULE:
        print(f"{row.task:20} every {row.every_s or 'reconcile.interval_s'} s")
