"""Keep the incidents: a symbol without consensus opens one, each further cycle keeps it up, consensus closes it.

Only cycles write them, and a person's word about one under the lease of the cycles; so a symbol has one at most.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from trisagion.clock import SECOND_NS
from trisagion.ledger.types import Position
from trisagion.observer_ports import Observation
from trisagion.orders.incidents import LEDGER, Incident, IncidentKind, View, lasting, opened, over
from trisagion.orders.intents import Consensus, ReconcileRules
from trisagion.ports import Transaction
from trisagion.units import Quantity

LEASE: Final = "reconcile"
LEASE_S: Final = 15.0
"""Of the cycles; while a person sets the books right, no cycle looks at them."""
_CONTRADICTED: Final = "OBSERVER_DISAGREES:"


def note(
    tx: Transaction, position: Position, observations: Sequence[Observation], agreed: Consensus, now_ns: int
) -> Incident | None:
    """Note what a cycle found about one of our symbols; return its incident while there is one."""
    views = (View(LEDGER, position.qty, position.confirmed_ns), *map(_view, observations))
    before = tx.incidents.unsettled(position.symbol)
    if agreed.qty is not None:
        if before is not None:
            _close(tx, before, views, now_ns)
        return None
    contradicted = any(reason.startswith(_CONTRADICTED) for reason in agreed.reasons)
    kind = IncidentKind.DISAGREEMENT if contradicted else IncidentKind.UNCONFIRMED
    return _keep(tx, before, position.symbol, kind, views, agreed.reasons, now_ns)


def note_foreign(tx: Transaction, rules: ReconcileRules, now_ns: int) -> None:
    """Note what the observers see in symbols that are none of ours; a stale word neither opens nor closes."""
    told: dict[str, list[Observation]] = {}
    for seen in tx.ledger.foreign_observations():
        if seen.observer in rules.observers and abs(now_ns - seen.at_ns) <= rules.observer_age_s_max * SECOND_NS:
            told.setdefault(seen.symbol, []).append(seen)
    for symbol, words in told.items():
        views = (View(LEDGER, Quantity(Decimal(0)), now_ns), *map(_view, words))
        before = tx.incidents.unsettled(symbol)
        if any(seen.qty for seen in words):
            reasons = tuple(f"FOREIGN_POSITION: {view.text}" for view in views[1:] if view.qty)
            _keep(tx, before, symbol, IncidentKind.FOREIGN, views, reasons, now_ns)
        elif before is not None:
            _close(tx, before, views, now_ns)


def _keep(
    tx: Transaction,
    before: Incident | None,
    symbol: str,
    kind: IncidentKind,
    views: Sequence[View],
    reasons: Sequence[str],
    now_ns: int,
) -> Incident:
    if before is not None:
        after = lasting(before, kind, views, reasons, now_ns)
        tx.incidents.save(after)
        return after
    begun = tx.incidents.add(opened(symbol, kind, views, reasons, now_ns))
    told = {"incident": str(begun.number), "kind": begun.kind, "views": begun.text, "reasons": "; ".join(reasons)}
    tx.control.add_event("incident.opened", symbol, told, now_ns)
    return begun


def _close(tx: Transaction, before: Incident, views: Sequence[View], now_ns: int) -> None:
    after = over(before, views, now_ns)
    tx.incidents.save(after)
    told = {"incident": str(after.number), "cycles": str(after.cycles), "views": after.text}
    tx.control.add_event("incident.closed", after.symbol, {**told, "outcome": after.outcome or ""}, now_ns)


def _view(seen: Observation) -> View:
    return View(seen.observer, seen.qty, seen.at_ns)
