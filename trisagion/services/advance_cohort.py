"""Move the virtual runs of one shard up to the present, and keep their number and variety.

A shard's truth is its checkpoint plus the market states since. Every worker may hold a copy of any shard in memory: a
copy is good while its version is the database's, and rolling it forward costs microseconds a tick. Losing it costs
time, never truth.

**One owner at a time.** Whoever advances a shard holds the lock of its checkpoint's row from before he reads until his
transaction ends: that is the lease. It runs out when its holder's connection does, so that no clocks are compared and
nobody waits for a dead worker. The checkpoint's version is the fencing token: each write raises it, and a write counts
only where the version is still the one that its copy started from. Whoever lost his connection keeps nothing, not even
progress, whatever he goes on computing.

**Who falls behind does less.** A message for an instant that its shard has passed costs one read. One that finds newer
market states takes the shard over all of them at once, though never past the next checkpoint, for the cycle of that
instant decides on the cohort as it stood then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from trisagion.cohort.advance import advance as advance_shard
from trisagion.cohort.advance import mark, progress
from trisagion.cohort.state import Shard, from_bytes, to_bytes
from trisagion.cohort.supervise import Births, CohortRules, first_shards, supervise
from trisagion.cohort.survivors import Survivor
from trisagion.cohort.types import Epoch, ShardRow
from trisagion.errors import StaleOwner, StateError
from trisagion.ids import cycle_id
from trisagion.ports import Database, Transaction
from trisagion.services.outcome import Outcome


@dataclass(slots=True)
class ShardCopies:
    """The shards that this process has seen, with the version of the checkpoint they started from."""

    held: dict[int, tuple[int, Shard]] = field(default_factory=dict)


def advance(database: Database, copies: ShardCopies, number: int, now_ns: int, checkpoint_ns: int) -> Outcome:
    """Advance a shard to `now_ns`, or beyond as far as there are market states up to the next checkpoint.

    Checkpoints are written at the multiples of `checkpoint_ns`. "nothing": there is no such shard, or it is there
    already. A checkpoint or market state that is damaged raises before anything is written: the last good checkpoint
    stays.
    """
    with database.snapshot() as tx:
        if tx.cohort.shard_head(number) is None or tx.cohort.has_come_to(number, now_ns):
            return Outcome("nothing")
    with database.transaction() as tx:
        head = tx.cohort.hold_shard(number)
        if head is None or head[0] > now_ns or tx.cohort.has_come_to(number, now_ns):
            return Outcome("nothing")
        at_ns, version = head
        # Taken out, for it is changed in place: it comes back when the database has what follows from it.
        held_version, shard = copies.held.pop(number, (-1, None))
        if shard is None or held_version != version:
            shard = _read(tx.cohort.shard(number))
        due_ns = max(now_ns, min(_complete_ns(tx, now_ns), now_ns + -now_ns % checkpoint_ns))
        shard = advance_shard(shard, tx.market.new_states(shard.seen_ns, due_ns), consume=True)
        if due_ns % checkpoint_ns == 0 and at_ns < due_ns:
            version += 1
            saved = tx.cohort.save_shard(_row(shard, due_ns, version))
            assert saved, f"shard {number}: its row is held, and its version is not {version - 1}"
            tx.cohort.add_mark(replace(mark(shard), at_ns=due_ns))
        tx.cohort.put_progress(replace(progress(shard), at_ns=due_ns))
    copies.held[number] = (version, shard)
    return Outcome("advanced")


def _complete_ns(tx: Transaction, now_ns: int) -> int:
    """Return the newest instant up to which every minute that was stored has its features, `now_ns` at least."""
    heads = [tx.market.heads(instrument.symbol) for instrument in tx.market.instruments()]
    behind = [state_ns for step_ns, state_ns in heads if state_ns < step_ns]
    return max(now_ns, min(behind) if behind else max((state_ns for _, state_ns in heads), default=now_ns))


def supervise_cohort(database: Database, rules: CohortRules, seed: int, due_ns: int) -> Outcome:
    """Replace what ended in the cycle due at `due_ns`, and close the cycle; a closed cycle is left alone."""
    try:
        with database.transaction() as tx:
            cycle = tx.cycles.cycle(cycle_id(due_ns))
            if cycle is None or cycle.stage != "decided":
                return Outcome("nothing")
            _supervise(tx, rules, seed, due_ns)
            tx.cycles.save_cycle(replace(cycle, stage="done", version=cycle.version + 1))
    except StaleOwner:
        # Nothing of it is kept: half a supervision would leave runs that are on no shard.
        return Outcome("stale", (str(due_ns),))
    return Outcome("supervised")


def _supervise(tx: Transaction, rules: CohortRules, seed: int, due_ns: int) -> None:
    epoch = tx.cohort.epoch()
    rows = tx.cohort.shards()
    if epoch is None or not rows:
        return
    result = supervise(
        [_read(row) for row in rows],
        rules,
        tx.market.instruments(),
        epoch=epoch.number,
        seed=seed,
        next_number=tx.cohort.run_count(),
        now_ns=due_ns,
        births=Births(*tx.cohort.births(epoch.number)),
    )
    tx.cohort.end_runs(result.ended)
    tx.cohort.add_runs(result.born)
    if not (result.ended or result.born):
        return
    for row, shard in zip(rows, result.shards, strict=True):
        if not tx.cohort.save_shard(_row(shard, row.at_ns, row.version + 1)):
            raise StaleOwner(f"shard {shard.number} was advanced meanwhile")


def found_cohort(
    tx: Transaction,
    rules: CohortRules,
    epoch: int,
    seed: int,
    now_ns: int,
    survivors: Sequence[Survivor] = (),
) -> None:
    """Open an epoch with a fresh cohort on all instruments, in the caller's transaction.

    Shards of an earlier epoch are replaced.
    """
    tx.cohort.put_epoch(Epoch(epoch, now_ns, None, None, None))
    result = first_shards(
        rules,
        tx.market.instruments(),
        epoch=epoch,
        seed=seed,
        next_number=tx.cohort.run_count(),
        now_ns=now_ns,
        survivors=survivors,
    )
    tx.cohort.add_runs(result.born)
    known = {row.number: row for row in tx.cohort.shards()}
    for shard in result.shards:
        before = known.get(shard.number)
        if before is None:
            tx.cohort.add_shard(_row(shard, now_ns, 0))
        elif not tx.cohort.save_shard(_row(shard, now_ns, before.version + 1)):
            raise StaleOwner(f"shard {shard.number} was advanced meanwhile: the new cohort is founded by the next try")


def _row(shard: Shard, at_ns: int, version: int) -> ShardRow:
    return ShardRow(shard.number, shard.epoch, at_ns, version, to_bytes(shard))


def _read(row: ShardRow) -> Shard:
    """Read a checkpoint, and say whose it is when it is damaged."""
    try:
        return from_bytes(row.state)
    except StateError as error:
        raise StateError(f"shard {row.number}, version {row.version}: {error}") from error
