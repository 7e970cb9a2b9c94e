"""Write down again what somebody has wiped away: a stop, or a shut gate, that an unsigned row lifts.

Nobody obeys such a row where people have keys. This makes it an event, and says it to those who read the tables alone.
"""

from dataclasses import replace

from trisagion.ports import Database
from trisagion.services.control import PLATFORM


def watch(database: Database, now_ns: int) -> None:
    """Look once."""
    with database.snapshot() as tx:
        if not tx.control.overruled() and not tx.control.overruled_gates():
            return
    with database.transaction() as tx:
        for row, stands in tx.control.overruled():
            why = f"a release that nobody has signed, by {row.operator}, was not obeyed; {stands.operator} stopped it"
            tx.control.set_mode(replace(stands, operator=PLATFORM, reason=f"{why}: {stands.reason}", set_ns=now_ns))
            told = {"operator": row.operator, "reason": row.reason, "mode": str(row.mode), "stands": str(stands.mode)}
            tx.control.add_event("control.unsigned", stands.where, told, now_ns)
        for said, gate in tx.control.overruled_gates():
            why = f"an opening that nobody has signed, by {said.operator}, was not obeyed; {gate.operator} shut it"
            tx.control.set_gate(replace(gate, operator=PLATFORM, reason=f"{why}: {gate.reason}", set_ns=now_ns))
            tells = {"operator": said.operator, "reason": said.reason}
            tx.control.add_event("gate.unsigned", gate.session, tells, now_ns)
