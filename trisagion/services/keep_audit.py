"""The audit chain's one writer for each shard, what it signs, and the reading of it against what was signed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trisagion.audit_ports import Anchors
from trisagion.market.types import Instrument, Quote
from trisagion.orders.types import Intent, Order
from trisagion.ports import Database, Transaction
from trisagion.risk.check import Approved, Limits, Refused, check
from trisagion.safety.audit import SHARDS, Anchor, Flaw, Link, Verifier, chained, genesis
from trisagion.safety.modes import Mode
from trisagion.services.outcome import Outcome
from trisagion.units import Quantity, plain

CHAIN_MAX: Final = 2_000
"""Records that are linked in one transaction: a tenth of a second of somebody else's waiting at most."""

LEASE_S: Final = 15.0
"""Never lived to the end: a lease is taken and given back within one transaction, which a crash undoes as a whole."""

PAGE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found: good rows of each shard, heads of those that are whole, flaws, and what waits to be linked."""

    rows: Mapping[str, int]
    heads: Mapping[str, str]
    anchors: int
    waiting: int
    flaws: Sequence[Flaw]


def chain(database: Database, owner: str) -> Outcome:
    """Link what waits, a batch of each shard; "more" when that was not all of it.

    The row of the shard's lease is locked from the first statement to the commit, so there is one writer, wherever it
    runs; were there two, the table's key would let one row of a number stand. What a killed one had begun never was.
    """
    with database.snapshot() as tx:
        waiting = tx.audit.waiting()
    moved = [_chain(database, shard, owner) for shard in waiting]
    return Outcome("more", ("",)) if CHAIN_MAX in moved else Outcome("nothing")


def _chain(database: Database, shard: str, owner: str) -> int:
    lease = f"audit:{shard}"
    with database.transaction() as tx:
        token = tx.control.acquire(lease, owner, LEASE_S)
        if token is None:
            return 0
        waiting = tx.audit.outbox(shard, CHAIN_MAX)
        if waiting:
            head = tx.audit.head(shard)
            before, seq = (genesis(shard), 0) if head is None else (bytes.fromhex(head.hash), head.seq)
            tx.audit.move([number for number, _ in waiting], chained(before, seq, [record for _, record in waiting]))
        tx.control.release(lease, token)
    return len(waiting)


def chain_all(database: Database, owner: str) -> None:
    """Link everything that waits now."""
    with database.snapshot() as tx:
        batches = max((count // CHAIN_MAX + 1 for count in tx.audit.waiting().values()), default=0)
    for _ in range(batches):
        chain(database, owner)


def anchor(database: Database, anchors: Anchors, owner: str, at_ns: int) -> list[Anchor]:
    """Link what waits, and sign the head of each chain that has grown since it was signed last; return what was signed.

    A chain that does not hold what was signed before is not signed again: the event `chain.broken` says so.
    """
    chain_all(database, owner)
    newest = {kept.shard: kept for kept in anchors.kept()}
    with database.snapshot() as tx:
        heads = [head for shard in tx.audit.shards() if (head := tx.audit.head(shard)) is not None]
        broken = [
            kept
            for kept in newest.values()
            if (row := tx.audit.row(kept.shard, kept.seq)) is None or row.hash != kept.hash
        ]
    if broken:
        with database.transaction() as tx:
            for kept in broken:
                tx.control.add_event("chain.broken", kept.shard, {"text": f"row {kept.seq} is not as signed"}, at_ns)
    bad = {kept.shard for kept in broken}
    signed = [Anchor(head.shard, head.seq, head.hash) for head in heads if head.shard not in bad]
    signed = [each for each in signed if each != newest.get(each.shard)]
    if signed:
        anchors.keep(signed, at_ns)
    return signed


def verify(database: Database, kept: Sequence[Anchor], progress: Callable[[str, int], None]) -> Verified:
    """Recompute every chain, each up to its first flaw, and hold it against its anchors.

    `progress` is told shard and number of rows after each page. A chain of which only an anchor is left has no rows.
    """
    by_shard: dict[str, dict[int, str]] = {shard: {} for shard in SHARDS}
    for each in kept:
        by_shard.setdefault(each.shard, {})[each.seq] = each.hash
    with database.snapshot() as tx:
        for shard in tx.audit.shards():
            by_shard.setdefault(shard, {})
        waiting = sum(tx.audit.waiting().values())
    rows, heads, flaws = {}, {}, []
    for shard in sorted(by_shard):
        verifier, flaw = Verifier(shard, by_shard[shard]), None
        for page in _pages(database, shard, 0):
            flaw = verifier.take(page)
            progress(shard, verifier.seq)
            if flaw is not None:
                break
        flaw = flaw or verifier.end()
        rows[shard] = verifier.seq if flaw is None else flaw.seq - 1
        if flaw is None:
            heads[shard] = verifier.head
        else:
            flaws.append(flaw)
    return Verified(rows, heads, len(kept), waiting, flaws)


def export(database: Database, since_ns: int, until_ns: int) -> Iterator[Link]:
    """Yield the rows of a span of time: shard after shard, each from its first row in the span to its last.

    Rows between the two whose clock stood elsewhere are among them: a part of a chain without a hole can be verified.
    """
    with database.snapshot() as tx:
        reach = {shard: tx.audit.reach(shard, since_ns, until_ns) for shard in tx.audit.shards()}
    for shard, (first, last) in reach.items():
        for page in _pages(database, shard, first - 1):
            for row in page:
                link = Link(*row)
                if link.seq > last:
                    break
                yield link
            if page[-1][1] >= last:
                break


def _pages(database: Database, shard: str, after: int) -> Iterator[Sequence[Any]]:
    """Yield a chain page by page, each read at once in a snapshot of its own: it may go on growing."""
    while True:
        with database.snapshot() as tx:
            page = tx.audit.rows(shard, after, PAGE)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1][1]


def note_verdict(
    tx: Transaction,
    subject: str,
    refused: str | None,
    limits: Limits,
    *,
    intent: Intent,
    quote: Quote | None,
    position: Quantity,
    live: int,
    mode: Mode,
    now_ns: int,
) -> None:
    """Record a verdict with what it was given by: the version of the limits, and the inputs of `risk.check`."""
    told = {
        "account": limits.account,
        "limits": limits.version,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "qty": plain(intent.qty),
        "taker": str(intent.taker),
        "position": plain(position),
        "live": str(live),
        "mode": mode.value,
        "now_ns": str(now_ns),
    }
    if quote is not None:
        told |= {"bid": plain(quote.bid), "ask": plain(quote.ask), "quote_ns": str(quote.learned_ns)}
    if refused is not None:
        told["refused"] = refused
    tx.audit.note("verdict.approved" if refused is None else "verdict.refused", subject, told)


def checked(
    tx: Transaction,
    subject: str,
    intent: Intent,
    *,
    instrument: Instrument | None,
    quote: Quote | None,
    position: Quantity,
    live_orders: Sequence[Order],
    mode: Mode,
    limits: Limits,
    now_ns: int,
) -> Approved | Refused:
    """Return the verdict of `risk.check`, recorded."""
    verdict = check(
        intent,
        instrument=instrument,
        quote=quote,
        position=position,
        live_orders=live_orders,
        mode=mode,
        limits=limits,
        now_ns=now_ns,
    )
    note_verdict(
        tx,
        subject,
        None if isinstance(verdict, Approved) else verdict.text,
        limits,
        intent=intent,
        quote=quote,
        position=position,
        live=len(live_orders),
        mode=mode,
        now_ns=now_ns,
    )
    return verdict


def note_login(database: Database, operator: str, command: str) -> None:
    """Record that a person came to a platform that may be trading, and by which command."""
    with database.transaction() as tx:
        tx.audit.note("login", command, {"operator": operator})


def note_start(database: Database, run: str, operator: str, facts: Mapping[str, str]) -> None:
    """Record that a platform was started or taken up again: build and settings are the record's own."""
    with database.transaction() as tx:
        tx.audit.note("run.started", run, {**facts, "operator": operator})
