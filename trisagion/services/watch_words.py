"""Write down again what somebody has wiped away: a stop that a row lifts which nobody with a key has signed.

Nobody obeys such a row where people have keys. This makes it an event, and says it to those who read the tables alone.
"""

from dataclasses import replace

from trisagion.ports import Database
from trisagion.services.control import PLATFORM


def watch(database: Database, now_ns: int) -> None:
    """Look once."""
    with database.snapshot() as tx:
        if not tx.control.overruled():
            return
    with database.transaction() as tx:
        for row, stands in tx.control.overruled():
            why = f"a release that nobody has signed, by {row.operator}, was not obeyed; {stands.operator} stopped it"
            tx.control.set_mode(replace(stands, operator=PLATFORM, reason=f"{why}: {stands.reason}", set_ns=now_ns))
            told = {"operator": row.operator, "reason": row.reason, "mode": str(row.mode), "stands": str(stands.mode)}
            tx.control.add_event("control.unsigned", stands.where, told, now_ns)
