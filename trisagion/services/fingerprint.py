"""Which build and configuration may trade: the one that an operator registered last, and no other.

A fingerprint is a name for both, the same in each process of a platform. It travels with every message and is compared
at the door of a worker; it is compared again here, in the transaction that would decide, route or claim an order. Where
nobody has registered one, nothing was ever begun.
"""

from trisagion.errors import StaleBuild
from trisagion.ports import Database, Transaction


def register(database: Database, fingerprint: str, operator: str, now_ns: int) -> None:
    """Let a build and configuration trade from now on; the same again changes nothing, another one is an event."""
    with database.transaction() as tx:
        before = tx.control.fingerprint()
        if before == fingerprint:
            return
        tx.control.register(fingerprint, operator, now_ns)
        if before is not None:
            told = {"operator": operator, "before": before}
            tx.control.add_event("build.registered", fingerprint, told, now_ns)


def expect_current(tx: Transaction, fingerprint: str) -> None:
    """Refuse with `StaleBuild` to go on as another build or configuration than the registered one."""
    registered = tx.control.fingerprint()
    if registered is not None and registered != fingerprint:
        raise StaleBuild(f"expected build and configuration {registered}, as registered, found {fingerprint} here")
