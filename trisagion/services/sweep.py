"""Find what a crash or a lost message left undone, and ring for it again."""

from collections.abc import Iterable

from trisagion.errors import quoted
from trisagion.orders.state import IN_DOUBT, WORKING, OrderState
from trisagion.ports import Database
from trisagion.services.outcome import Outcome


def set_aside(database: Database, now_ns: int) -> None:
    """Put away what another program wrote into the outbox and nobody can read: it must not stop the others."""
    with database.transaction() as tx:
        for name, why in tx.orders.set_aside(now_ns):
            tx.control.add_event("order.unreadable", quoted(name), {"text": why}, now_ns)


def sweep(database: Database) -> tuple[Outcome, ...]:
    """Say what is not finished; ringing for something that is under way does no harm."""
    with database.snapshot() as tx:
        checked = tx.orders.in_states(frozenset({OrderState.RISK_CHECKED}))
        routed = tx.orders.in_states(frozenset({OrderState.ROUTED}))
        working = tx.orders.in_states(WORKING)
        doubtful = tx.orders.in_states(IN_DOUBT)
        cycles = tx.cycles.unfinished()
    to_ask = [order for order in working if order.cancel_reason is not None or order.wanted_qty is not None]
    return (
        Outcome("unrouted", tuple(order.cl_ord_id for order in checked)),
        Outcome("unsent", _sessions(order.session for order in (*routed, *to_ask))),
        Outcome("doubtful", _sessions(order.session for order in doubtful)),
        Outcome("unsupervised", tuple(str(c.due_ns) for c in cycles if c.stage == "decided")),
        Outcome("undecided", tuple(str(c.due_ns) for c in cycles if c.stage != "decided")),
    )


def _sessions(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name}))
