"""The audit chain's one writer for each shard, what it signs, and the reading of it against what was signed.

The writer follows tables that are only ever added to, each from the last number that it saw. A number becomes visible
when its transaction commits, which may be after a higher one: what was passed over is a hole, and is looked for at
each turn until no transaction can bring it any more. That is so when a read of uncommitted rows does not see it,
`GRACE_S` after it was first missed: a statement that was given a number shows its row to such a read, however long its
transaction lives, or has failed by then, for the server itself ends its waiting (`innodb_lock_wait_timeout`, 3 s).

Orders change in place. They are read at each turn: those that were made lately, that were live before, and that an
execution has come for; each version that is found is a record. Decisions have no number, and are read by their cycle's
instant.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from trisagion.audit_ports import Anchors
from trisagion.clock import SECOND_NS
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.ports import Database, Transaction
from trisagion.safety.audit import (
    CONTROL,
    DECISION,
    NUMBERED,
    ORDER,
    ORDER_LINK,
    ORDERS,
    SHARDS,
    SMALL,
    Anchor,
    Flaw,
    Hole,
    Link,
    Mark,
    Record,
    Verifier,
    Witness,
    chained,
    gaps,
    genesis,
    without,
)
from trisagion.services.outcome import Outcome

CHAIN_MAX: Final = 2_000
"""Rows of a table that are taken at one turn: a tenth of a second of somebody else's waiting at most."""

GRACE_S: Final = 30.0
"""Ten times what a statement may wait for a lock, and a machine of the database that stands still for a while."""

HOLES_MAX: Final = 1_000
"""With so many of a table its reading waits for the oldest to be final; they come of rows that were there already."""

UNSETTLED_MAX: Final = 10_000
ORDERS_BACK_NS: Final = 600 * SECOND_NS
DECISIONS_BACK_NS: Final = 3_600 * SECOND_NS
"""How far before the last instant that it saw the writer looks: by their own clock they commit out of order as well."""

LOST_MAX: Final = 1_000
BATCHES_MAX: Final = 1_000_000
LEASE_S: Final = 15.0
"""Never lived to the end: a lease is taken and given back within one transaction, which a crash undoes as a whole."""

PAGE: Final = 10_000

SOURCES: Final = {CONTROL: NUMBERED[CONTROL], ORDERS: (*NUMBERED[ORDERS], DECISION, ORDER)}
"""The tables of each shard that have a mark."""


class AuditedDatabase(Database, Protocol):
    """A database whose tables a chain follows."""

    def uncommitted(self) -> AbstractContextManager[Transaction]:
        """Open a unit of work that reads what others have written and not committed, too, where the server shows it."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found: good rows of each shard, heads of those that are whole, flaws, and what waits to be linked."""

    rows: Mapping[str, int]
    heads: Mapping[str, str]
    anchors: int
    waiting: int
    flaws: Sequence[Flaw]


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be linked to a shard, on which row, the marks that it was read from and those after it.

    `more` when it was cut.
    """

    records: Sequence[Record]
    head: Link | None
    before: Mapping[str, Mark]
    after: Mapping[str, Mark]
    more: bool


def chain(database: AuditedDatabase, owner: str) -> Outcome:
    """Link what has come to be, a batch of each shard; "more" when that was not all of it.

    Rows are read before the shard's lease is taken, whose row is locked to the commit: so there is one writer, wherever
    it runs, nobody waits for its reading, and one to whose chain or marks something was done meanwhile links nothing.
    What a killed one had begun never was.
    """
    more = [_link(database, shard, owner, batch) for shard, batch in _batches(database).items()]
    return Outcome("more", ("",)) if any(more) else Outcome("nothing")


def _batches(database: AuditedDatabase) -> dict[str, Batch]:
    """Read what is new; holes that are old enough are looked for among uncommitted rows before."""
    with database.snapshot() as tx:
        now_ns, marks = tx.control.wall_ns(), _marks(tx)
        old = {
            name: [hole for hole in mark.holes if now_ns - hole.since_ns > GRACE_S * SECOND_NS]
            for name, mark in marks.items()
        }
        if not any(old.values()):
            return _read(tx, marks, old, now_ns)
    with database.uncommitted() as tx:
        final = {name: _final(tx, name, holes) for name, holes in old.items()}
    with database.snapshot() as tx:
        return _read(tx, marks, final, now_ns)


def _marks(tx: Transaction) -> Mapping[str, Mark]:
    return tx.audit.marks([source for sources in SOURCES.values() for source in sources])


def _final(tx: Transaction, source: str, holes: Sequence[Hole]) -> list[Hole]:
    """Return the holes that have no row, committed or not; of those beyond a cut answer nothing is known yet."""
    seen = [number for number, _ in tx.audit.within(source, holes, CHAIN_MAX)]
    known = seen[-1] if len(seen) == CHAIN_MAX else None
    return [
        hole
        for hole in holes
        if (known is None or hole.last < known) and not any(hole.first <= number <= hole.last for number in seen)
    ]


def _read(
    tx: Transaction, marks: Mapping[str, Mark], final: Mapping[str, Sequence[Hole]], now_ns: int
) -> dict[str, Batch]:
    batches = {}
    for shard in SHARDS:
        turn = _Turn(tx, shard, now_ns)
        for source in NUMBERED[shard]:
            turn.numbered(marks[source], final[source])
        if shard == ORDERS:
            turn.decisions(marks[DECISION])
            turn.orders(marks[ORDER])
        for source in SMALL[shard]:
            turn.small(source)
        before = {source: marks[source] for source in SOURCES[shard]}
        batches[shard] = Batch(turn.records, tx.audit.head(shard), before, turn.marks, turn.more)
    return batches


class _Turn:
    """Gathers what is new in the tables of a shard."""

    def __init__(self, tx: Transaction, shard: str, now_ns: int) -> None:
        self._tx = tx
        self._shard = shard
        self._now_ns = now_ns
        self._named: set[str] = set()
        self.records: list[Record] = []
        self.marks: dict[str, Mark] = {}
        self.more = False

    def _take(self, source: str, row_key: str, detail: str) -> None:
        self.records.append(Record(self._shard, self._now_ns, source, row_key, detail))

    def numbered(self, mark: Mark, final: Sequence[Hole]) -> None:
        """Take the rows that came into holes, then those after the last."""
        late = self._tx.audit.within(mark.source, mark.holes, CHAIN_MAX)
        came = [number for number, _ in late]
        holes = [left for hole in mark.holes if hole not in final for left in without(hole, came)]
        rows = list(late)
        upto = mark.upto
        if len(holes) < HOLES_MAX:
            fresh = self._tx.audit.fresh(mark.source, upto, CHAIN_MAX)
            numbers = [number for number, _ in fresh]
            holes += gaps(upto, numbers, self._now_ns)
            upto = max([upto, *numbers])
            rows += fresh
            self.more |= len(fresh) == CHAIN_MAX
        for number, detail in rows:
            self._take(mark.source, str(number), detail)
        if mark.source in NUMBERED[ORDERS]:
            self._named |= {json.loads(detail).get("cl_ord_id", "") for _, detail in rows}
        self.marks[mark.source] = replace(mark, upto=upto, holes=tuple(holes))

    def small(self, source: str) -> None:
        """Take the rows that no record tells of."""
        rows = self._tx.audit.unchained(source, CHAIN_MAX)
        for row_key, detail in rows:
            self._take(source, row_key, detail)
        self.more |= len(rows) == CHAIN_MAX

    def decisions(self, mark: Mark) -> None:
        """Take the decisions of late cycles."""
        rows = self._tx.audit.decisions(mark.upto - DECISIONS_BACK_NS, CHAIN_MAX)
        for row_key, detail, _ in rows:
            self._take(mark.source, row_key, detail)
        self.more |= len(rows) == CHAIN_MAX
        self.marks[mark.source] = replace(mark, upto=max([mark.upto, *(due_ns for *_, due_ns in rows)]))

    def orders(self, mark: Mark) -> None:
        """Take the orders that changed, and what replaces named them."""
        audit, live = self._tx.audit, self._tx.audit.live()[:UNSETTLED_MAX]
        late = audit.orders_since(mark.upto - ORDERS_BACK_NS, CHAIN_MAX)
        named = audit.orders_named(sorted(self._named.union(mark.unsettled, live)), CHAIN_MAX + UNSETTLED_MAX)
        names = []
        for row_key, (detail, name, links) in {row[0]: (row[1], *row[3:]) for row in (*late, *named)}.items():
            self._take(mark.source, row_key, detail)
            names += [link_cl_ord_id(ClOrdId(name), number) for number in range(1, links + 1)]
        for row_key, detail in audit.links(names):
            self._take(ORDER_LINK, row_key, detail)
        self.more |= len(late) == CHAIN_MAX
        upto = max([mark.upto, *(row[2] for row in late)])
        self.marks[mark.source] = replace(mark, upto=upto, unsettled=live)


def _link(database: Database, shard: str, owner: str, batch: Batch) -> bool:
    """Append a batch and save its marks; tell whether there is more, which whoever was first will see to."""
    changed = [mark for source, mark in batch.after.items() if mark != batch.before[source]]
    if not changed and not batch.records:
        return False
    lease = f"audit:{shard}"
    with database.transaction() as tx:
        token = tx.control.acquire(lease, owner, LEASE_S)
        if token is None:
            return False
        head = tx.audit.head(shard)
        if head == batch.head and tx.audit.marks(SOURCES[shard]) == batch.before:
            if batch.records:
                before, seq = (genesis(shard), 0) if head is None else (bytes.fromhex(head.hash), head.seq)
                tx.audit.append(chained(before, seq, batch.records))
            for mark in changed:
                saved = tx.audit.save_mark(replace(mark, version=mark.version + 1))
                assert saved, mark
        tx.control.release(lease, token)
    return batch.more


def chain_all(database: AuditedDatabase, owner: str) -> None:
    """Link everything that is committed now."""
    for _ in range(BATCHES_MAX):
        if chain(database, owner).word == "nothing":
            return


def anchor(database: AuditedDatabase, anchors: Anchors, owner: str, at_ns: int) -> list[Anchor]:
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


def verify(
    database: Database, kept: Sequence[Anchor], progress: Callable[[str, int], None], *, sources: bool = True
) -> Verified:
    """Recompute every chain, each up to its first flaw; hold it against its anchors and, with `sources`, its tables.

    What differs from its table first is a flaw, and so is the first row of each that the chain should have and has not.
    `progress` is told shard and number of rows after each page. A chain of which only an anchor is left has no rows.
    """
    by_shard: dict[str, dict[int, str]] = {shard: {} for shard in SHARDS}
    for each in kept:
        by_shard.setdefault(each.shard, {})[each.seq] = each.hash
    with database.snapshot() as tx:
        for shard in tx.audit.shards():
            by_shard.setdefault(shard, {})
    rows, heads, flaws = {}, {}, []
    linked = []
    for shard in sorted(by_shard):
        verifier, flaw, differs = Verifier(shard, by_shard[shard]), None, None
        with closing(_pages(database, shard, 0)) as pages:
            for tx, page in pages:
                flaw = verifier.take(page)
                if flaw is not None:
                    break
                if sources and differs is None:
                    differs = _differs(tx, shard, page)
                progress(shard, verifier.seq)
        flaw = flaw or verifier.end()
        linked += [] if flaw else [shard]
        rows[shard] = verifier.seq if flaw is None else flaw.seq - 1
        found = [each for each in (flaw, differs) if each is not None]
        if not found:
            heads[shard] = verifier.head
        flaws += found
    with database.snapshot() as tx:
        marks = _marks(tx)
        numbered = [source for names in NUMBERED.values() for source in names]
        waiting = sum(tx.audit.beyond(source, marks[source].upto) for source in numbered)
        if sources:
            # Of a chain that is broken it shows no more than that it is.
            known = [(shard, source) for shard in SHARDS if shard in linked for source in SOURCES[shard]]
            flaws += [flaw for shard, source in known for flaw in _lost(tx, shard, marks, source)]
    return Verified(rows, heads, len(kept), waiting, flaws)


def _differs(tx: Transaction, shard: str, page: Sequence[Any]) -> Flaw | None:
    """Return the first row of a page whose table has it otherwise, or not at all."""
    links = [Link(*row) for row in page]
    keys: dict[str, list[str]] = {}
    for link in links:
        keys.setdefault(link.source, []).append(link.row_key)
    now = {source: tx.audit.at(source, names) for source, names in keys.items()}
    versions = {}
    for key in now.get(ORDER, {}):
        name, _, version = key.rpartition("/")
        versions[name] = int(version)
    for link in links:
        detail = now[link.source].get(link.row_key)
        if detail is None and link.source == ORDER:
            name, _, version = link.row_key.rpartition("/")
            if versions.get(name, -1) > int(version):
                # It went on, and the version that it has now is, or will be, a record of its own.
                continue
        if detail != link.detail:
            what, how = ("erased", "is not there") if detail is None else ("rewritten", "is not as it was")
            return Flaw(shard, link.seq, what, f"row {link.row_key} of table {link.source} {how}")
    return None


def _lost(tx: Transaction, shard: str, marks: Mapping[str, Mark], source: str) -> list[Flaw]:
    """Return a flaw when rows that the writer must have passed are not in the chain."""
    mark = marks[source]
    back_ns = {ORDER: ORDERS_BACK_NS, DECISION: DECISIONS_BACK_NS}.get(source, 0)
    names = tx.audit.lost(source, mark.upto - back_ns, LOST_MAX)
    if source == ORDER and names:
        reported = tx.audit.reported(marks["execution"].upto)
        due = {row[3] for row in tx.audit.orders_named([*mark.unsettled, *reported], LOST_MAX + UNSETTLED_MAX)}
        names = [name for name in names if name not in due]
    elif mark.holes:
        names = [name for name in names if not any(hole.first <= int(name) <= hole.last for hole in mark.holes)]
    return [Flaw(shard, 0, "unrecorded", f"row {name} of table {source} is in no record") for name in names[:1]]


def export(database: Database, since_ns: int, until_ns: int) -> Iterator[Link]:
    """Yield the rows of a span of time: shard after shard, each from its first row in the span to its last.

    Rows between the two whose clock stood elsewhere are among them: a part of a chain without a hole can be verified.
    """
    with database.snapshot() as tx:
        reach = {shard: tx.audit.reach(shard, since_ns, until_ns) for shard in tx.audit.shards()}
    for shard, (first, last) in reach.items():
        for _, page in _pages(database, shard, first - 1):
            for row in page:
                link = Link(*row)
                if link.seq > last:
                    break
                yield link
            if page[-1][1] >= last:
                break


def _pages(database: Database, shard: str, after: int) -> Generator[tuple[Transaction, Sequence[Any]], None, None]:
    """Yield a chain page by page, each with the snapshot of its own that it is read in: the chain may go on growing."""
    while True:
        with database.snapshot() as tx:
            page = tx.audit.rows(shard, after, PAGE)
            if page:
                yield tx, page
        if len(page) < PAGE:
            return
        after = page[-1][1]


def note_login(database: Database, by: Witness, person: str, command: str, told: Mapping[str, str]) -> None:
    """Record that a person came to a platform that may be trading, and by which command; `told` has no secret."""
    with database.transaction() as tx:
        tx.audit.note(replace(by, actor=person), "login", command, told)


def note_start(database: Database, by: Witness, operator: str, run: str, facts: Mapping[str, str]) -> None:
    """Record that a platform was started or taken up again, under which build and settings."""
    with database.transaction() as tx:
        tx.audit.note(replace(by, actor=operator), "run.started", run, facts)
