"""Set the books right after a disagreement: by an operator's word, or by itself where that is configured.

What the observers see and nobody ordered, a trade by hand or a corporate action, becomes an adjustment in the ledger:
an entry with its evidence, against the account `adjustment`, for a person to explain. The incident stays open until a
cycle finds consensus again.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from trisagion.clock import SECOND_NS
from trisagion.errors import DataError, StateError
from trisagion.ledger.types import Entry, Voucher
from trisagion.orders.incidents import Incident, IncidentKind
from trisagion.orders.intents import ReconcileRules
from trisagion.orders.state import AT_VENUE
from trisagion.ports import Database, Transaction
from trisagion.services.control import PLATFORM
from trisagion.services.incidents import LEASE, LEASE_S
from trisagion.services.ledger_enter import adjusted
from trisagion.units import EXACT, Price, Quantity, plain

VIEWS_MAX: Final = 200
"""Characters of the views that go into the evidence; the incident has them all."""


@dataclass(frozen=True, slots=True)
class AdoptRules:
    """Of which symbols the observers' view is adopted without a person, and up to which worth of a difference."""

    symbols: frozenset[str] = frozenset()
    notional_max: Decimal = Decimal(0)


def adjust(
    database: Database,
    rules: ReconcileRules,
    number: int,
    voucher: Voucher,
    owner: str,
    now_ns: int,
    *,
    observer: str | None = None,
    px: Price | None = None,
) -> Entry:
    """Book the difference between the ledger and what the observers see, at a price or the last one known.

    Raises
    ------
    StateError
        The incident is not open or not of ours, a cycle is under way, something works in the symbol or changed since
        the observers spoke, or they do not agree and none is named.
    """
    with database.transaction() as tx:
        token = tx.control.acquire(LEASE, owner, LEASE_S)
        if token is None:
            raise StateError("a cycle is under way; try again in a moment")
        incident = tx.incidents.incident(number)
        if incident is None or incident.closed_ns is not None:
            raise StateError(f"expected the number of an open incident, found {number}")
        if incident.kind is IncidentKind.FOREIGN:
            raise StateError(f"{incident.symbol} is no instrument of ours and has no books: close it at the venue")
        entry = _post(tx, rules, incident, voucher, now_ns, observer, px)
        tx.control.release(LEASE, token)
        return entry


def adopt(
    tx: Transaction, rules: ReconcileRules, adopted: AdoptRules, incident: Incident, after: int, now_ns: int
) -> None:
    """Adopt the observers' view of a symbol where that is configured, in the `after`-th cycle that disagrees, or later.

    Only what a quorum of them sees alike; what must not be adopted is left to a person, and said each time.
    """
    if incident.symbol not in adopted.symbols or incident.cycles < after:
        return
    if incident.kind is not IncidentKind.DISAGREEMENT:
        return
    try:
        why = _against(tx, rules, adopted, incident, now_ns)
        if why is None:
            reason = f"adopted after {incident.cycles} cycles without consensus"
            with tx.part():
                _post(tx, rules, incident, Voucher(PLATFORM, reason, "observers"), now_ns, None, None)
    except (StateError, DataError) as refusal:
        # A writer in the way and a server that is away have kinds of their own: what was begun is undone, not refused.
        if type(refusal) not in {StateError, DataError}:
            raise
        why = str(refusal)
    if why is not None:
        told = {"incident": str(incident.number), "why": why}
        tx.control.add_event("incident.not_adopted", incident.symbol, told, now_ns)


def _against(
    tx: Transaction, rules: ReconcileRules, adopted: AdoptRules, incident: Incident, now_ns: int
) -> str | None:
    """Return what speaks against adopting the observers' view without a person."""
    symbol = incident.symbol
    seen, count = _believed(tx, rules, incident, now_ns, None)
    position, quote = tx.ledger.position(symbol), tx.market.quote(symbol, now_ns)
    if count < rules.quorum:
        return f"expected {rules.quorum} observers of one mind, found {count}"
    if abs(now_ns - position.confirmed_ns) > rules.ledger_age_s_max * SECOND_NS:
        return "expected nothing in doubt, found a ledger that nobody confirmed lately"
    if quote is None:
        return "expected a price, found none"
    unit = EXACT.multiply(quote.last, tx.market.instrument(symbol).multiplier)
    worth = abs(EXACT.multiply(seen - position.qty, unit))
    if worth > adopted.notional_max:
        return f"expected a difference worth at most {plain(adopted.notional_max)}, found {plain(worth)}"
    return None


def _post(
    tx: Transaction,
    rules: ReconcileRules,
    incident: Incident,
    voucher: Voucher,
    now_ns: int,
    observer: str | None,
    px: Price | None,
) -> Entry:
    symbol = incident.symbol
    # Held before anything is looked at: what fills meanwhile waits, and is no part of the difference.
    tx.cohort.epoch()
    held = tx.ledger.position(symbol).qty
    there = [order.cl_ord_id for order in tx.orders.in_states(AT_VENUE) if order.symbol == symbol]
    if there:
        raise StateError(f"{symbol}: expected no order at the venue, whose fills may be on their way, found {there[0]}")
    seen, _ = _believed(tx, rules, incident, now_ns, observer)
    quote = tx.market.quote(symbol, now_ns) if px is None else None
    at = px if quote is None else quote.last
    if at is None:
        raise StateError(f"{symbol}: expected a price, found none; name one")
    difference = Quantity(seen - held)
    if difference == 0:
        raise StateError(f"{symbol}: expected a difference, found none: the next cycle closes the incident")
    evidence = f"{voucher.evidence} (incident {incident.number}: {incident.text[:VIEWS_MAX]})"
    entry = adjusted(tx, symbol, difference, at, now_ns, replace(voucher, evidence=evidence))
    tx.incidents.save(replace(incident, outcome=f"adjusted by {voucher.operator}: {entry.name}"))
    return entry


def _believed(
    tx: Transaction, rules: ReconcileRules, incident: Incident, now_ns: int, observer: str | None
) -> tuple[Quantity, int]:
    """Return what the fresh observers see alike, or one of them that is named, and how many they are."""
    symbol, moved_ns = incident.symbol, tx.ledger.moved_ns(incident.symbol)
    fresh = [
        seen
        for seen in tx.ledger.observations(symbol)
        if seen.observer in ((observer,) if observer else rules.observers)
        and abs(now_ns - seen.at_ns) <= rules.observer_age_s_max * SECOND_NS
        and seen.at_ns >= moved_ns
    ]
    views = {seen.qty for seen in fresh}
    if not fresh:
        raise StateError(f"{symbol}: expected a fresh word on the present position, found none; wait for a cycle")
    if len(views) > 1:
        said = " ".join(f"{seen.observer}={plain(seen.qty)}" for seen in fresh)
        raise StateError(f"{symbol}: expected observers of one mind, found {said}; name the one to be believed")
    return views.pop(), len(fresh)
