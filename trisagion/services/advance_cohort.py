"""Move the virtual runs of one shard up to the present, and keep their number and variety.

A shard's truth is its checkpoint plus the market states since. Every worker may hold a copy of any shard in memory: a
copy is good while its version is the database's, and rolling it forward costs microseconds a tick. Losing it costs
time, never truth.
"""

from dataclasses import dataclass, field, replace

from trisagion.cohort.advance import advance as advance_shard
from trisagion.cohort.advance import progress
from trisagion.cohort.state import Shard, from_bytes, to_bytes
from trisagion.cohort.supervise import CohortRules, first_shards, supervise
from trisagion.cohort.types import Epoch, ShardRow
from trisagion.errors import StaleOwner
from trisagion.ids import cycle_id
from trisagion.market.types import Instrument
from trisagion.ports import Database, Transaction
from trisagion.services.outcome import Outcome


@dataclass(slots=True)
class ShardCopies:
    """The shards that this process has seen, with the version of the checkpoint they started from."""

    held: dict[int, tuple[int, Shard]] = field(default_factory=dict)


def advance(database: Database, copies: ShardCopies, number: int, now_ns: int, checkpoint_ns: int) -> Outcome:
    """Advance a shard to `now_ns`; write a checkpoint when `now_ns` is a multiple of `checkpoint_ns`."""
    with database.snapshot() as tx:
        head = tx.cohort.shard_head(number)
        if head is None:
            return Outcome("nothing")
        at_ns, version = head
        held_version, shard = copies.held.get(number, (-1, None))
        if shard is None or held_version != version or shard.at_ns > now_ns:
            shard = from_bytes(tx.cohort.shard(number).state)
        states = tx.market.states(shard.symbol, shard.at_ns, now_ns)
    shard = advance_shard(shard, states)
    with database.transaction() as tx:
        if tx.cohort.shard_head(number) != head:
            copies.held.pop(number, None)
            return Outcome("stale", (str(number),))
        if now_ns % checkpoint_ns == 0 and at_ns < now_ns:
            version += 1
            if not tx.cohort.save_shard(_row(shard, now_ns, version)):
                copies.held.pop(number, None)
                return Outcome("stale", (str(number),))
        tx.cohort.put_progress(replace(progress(shard), at_ns=now_ns))
    copies.held[number] = (version, shard)
    return Outcome("advanced")


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
    instrument = tx.market.instrument(rows[0].symbol)
    shards = [from_bytes(row.state) for row in rows]
    number = tx.cohort.run_count()
    result = supervise(shards, rules, instrument, epoch=epoch.number, seed=seed, next_number=number, now_ns=due_ns)
    tx.cohort.end_runs(result.ended)
    tx.cohort.add_runs(result.born)
    if not (result.ended or result.born):
        return
    for row, shard in zip(rows, result.shards, strict=True):
        if not tx.cohort.save_shard(_row(shard, row.at_ns, row.version + 1)):
            raise StaleOwner(f"shard {shard.number} was advanced meanwhile")


def found_cohort(
    tx: Transaction, rules: CohortRules, instrument: Instrument, epoch: int, seed: int, now_ns: int
) -> None:
    """Open an epoch with a fresh cohort in the caller's transaction; shards of an earlier epoch are replaced."""
    number = tx.cohort.run_count()
    tx.cohort.put_epoch(Epoch(epoch, now_ns, None, None, None))
    result = first_shards(rules, instrument, epoch=epoch, seed=seed, next_number=number, now_ns=now_ns)
    tx.cohort.add_runs(result.born)
    known = {row.number: row for row in tx.cohort.shards()}
    for shard in result.shards:
        before = known.get(shard.number)
        if before is None:
            tx.cohort.add_shard(_row(shard, now_ns, 0))
        elif not tx.cohort.save_shard(_row(shard, now_ns, before.version + 1)):
            raise StaleOwner(f"shard {shard.number} was advanced meanwhile: the new cohort is founded by the next try")


def _row(shard: Shard, at_ns: int, version: int) -> ShardRow:
    return ShardRow(shard.number, shard.symbol, shard.epoch, at_ns, version, to_bytes(shard))
