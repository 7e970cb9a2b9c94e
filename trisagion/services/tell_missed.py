"""Tell which slots passed without a cycle: nobody rang, nothing was ready within the minute, or everything was down.

The row of a cycle is the slot's own, so a slot is told once, by whoever looks first, and a message that comes for it
later finds it done. A replay misses none: its driver waits for the cycle of every slot that its data have.
"""

from typing import Final

from trisagion.clock import SECOND_NS, floor_ns, iso
from trisagion.ids import cycle_id
from trisagion.market.calendar import rest_reason
from trisagion.ports import Cycle, Database

LOOK_BACK_NS: Final = 8 * 86_400 * SECOND_NS
"""Slots are told one by one as far back as this; our choice: a week's outage and the rest at its end."""

SLOTS_MAX: Final = 256
"""Slots that are told in one transaction, oldest first; the next look tells more."""


def tell_missed(database: Database, interval_ns: int, now_ns: int) -> int:
    """Record each slot since the first known cycle whose successor has begun and that has no row; return how many.

    Slots within the rest are left out: nothing would have been decided in them.
    """
    last_ns = floor_ns(now_ns, interval_ns) - interval_ns
    back_ns = max(0, last_ns - LOOK_BACK_NS)
    with database.snapshot() as tx:
        if tx.control.replay() is not None:
            return 0
        begun = tx.cycles.due_between(back_ns, last_ns)
        if not begun and not tx.cycles.due_between(0, back_ns):
            return 0
    slots = range(floor_ns(begun[0] if begun else back_ns, interval_ns) + interval_ns, last_ns + 1, interval_ns)
    known = frozenset(begun)
    missed = [due_ns for due_ns in slots if due_ns not in known and rest_reason(due_ns) is None][:SLOTS_MAX]
    if not missed:
        return 0
    told = 0
    with database.transaction() as tx:
        for due_ns in missed:
            name = cycle_id(due_ns)
            if tx.cycles.open_cycle(Cycle(name, due_ns, "done", "missed: no cycle began in its slot", 0)):
                tx.control.add_event("cycle.missed", name, {"text": f"MISSED: the slot of {iso(due_ns)}"}, now_ns)
                told += 1
    return told
