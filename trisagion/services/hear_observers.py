"""Take what observers say: the venue and its drop copy by our own sessions, the others by signed snapshots.

All become the latest word of an observer on a symbol (table observation), over the union of the symbols: what is
missing in a complete view is flat, what is missing in one that failed is left as it was.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trisagion.observer_ports import Observation
from trisagion.ports import Transaction
from trisagion.safety.snapshots import Refusal, Snapshot, SnapshotMark, judge, passed, union
from trisagion.units import Quantity, plain

ROWS_MAX: Final = 16
"""Rows of an observer that are looked at since the last time, the newest; what lies before them is of no more use."""
TOLD_MAX: Final = 500
"""Characters of a refused row in its event."""


def hear(
    tx: Transaction,
    observer: str,
    held: Mapping[str, Quantity],
    at_ns: int,
    *,
    complete: bool = True,
    leave: AbstractSet[str] = frozenset(),
) -> dict[str, Quantity]:
    """Record what an observer sees as of an instant, some symbols left out; return its word on every other one."""
    ours = {instrument.symbol for instrument in tx.market.instruments()} if complete else set()
    before = tx.ledger.observed_by(observer) if complete else ()
    every = union(held, ours.union(before), complete=complete)
    said = {symbol: qty for symbol, qty in every.items() if symbol not in leave}
    for symbol, qty in said.items():
        tx.ledger.observe(Observation(observer, symbol, qty, at_ns))
    return said


def take(tx: Transaction, keys: Mapping[str, Ed25519PublicKey], age_ns_max: int, now_ns: int) -> None:
    """Look at the snapshots that came since the last time, each once; what is refused is an event."""
    for observer, key in keys.items():
        mark = tx.snapshots.mark(observer) or SnapshotMark(observer)
        rows = tx.snapshots.after(observer, mark.seen_seq, ROWS_MAX)
        for seq, snapshot in rows:
            newest = seq == rows[-1][0]
            refusal = judge(snapshot, mark, now_ns, key=key, age_ns_max=age_ns_max, newest=newest)
            if refusal is None:
                hear(tx, observer, dict(snapshot.positions), snapshot.at_ns, complete=snapshot.complete)
            else:
                told = {"why": refusal.name.lower(), "row": repr(snapshot)[:TOLD_MAX]}
                tx.control.add_event("observer.refused", observer, told, now_ns)
            if refusal in {None, Refusal.STALE}:
                mark = passed(mark, snapshot)
            mark = replace(mark, seen_seq=seq)
        if rows:
            _tell_failure(tx, rows[-1][1], mark, now_ns)
            tx.snapshots.put_mark(mark)


def _tell_failure(tx: Transaction, newest: Snapshot, mark: SnapshotMark, now_ns: int) -> None:
    """Tell of an observer whose newest true word is that it could not look."""
    if newest.number == mark.number and not newest.complete:
        told = {"reason": newest.reason[:TOLD_MAX], "named": " ".join(f"{s}={plain(q)}" for s, q in newest.positions)}
        tx.control.add_event("observer.failed", mark.observer, told, now_ns)
