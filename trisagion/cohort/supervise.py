"""Keep the number and the variety of the runs: remove what ended, purge what sleeps, clone what wins, draw what is new.

Clonal adaptation: of the new runs a share are clones of present winners (live runs whose `live_pnl` is above zero), the
rest random draws, so that exploration never dies. Winners are ranked by `live_pnl`, the best first (rank 0 of n). A
parent is chosen with a probability proportional to n − rank; its clone mutates at the rate 0.1·(rank + 1)/n: the better
the parent, the smaller the step. A clone trades the symbol on which its parent wins.

Runs are spread over the symbols in proportion to maximum leverage (the method of the largest remainder), and over the
shards evenly, whatever their symbols.

Every run has its own random source, seeded by (seed, epoch, run number): a draw is a pure function of these, and a
clone of these and the winners of its hour. Doing the same again gives the same runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count as count_from
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ext.cohort import ALIVE, PARAMS_DTYPE, RING, Columns
from trisagion.clock import SECOND_NS
from trisagion.cohort.space import Params, draw, fitted, mutate, params_json
from trisagion.cohort.state import EXIT_REASONS, Shard, born_state, empty_shard
from trisagion.cohort.survivors import Survivor
from trisagion.cohort.types import ExitReason, RunEnd, RunRecord
from trisagion.ids import RunId, run_id
from trisagion.market.types import Instrument

MUTATION_RATE_MAX: Final = 0.1
"""The worst winner's clones step by a tenth of each range; the share is ours, and reported beside random draws."""


@dataclass(frozen=True, slots=True)
class CohortRules:
    """How many runs, on how many shards, and what each begins with. `start_balance` is in the run's own money.

    Its size gives the fixed threshold of selection its meaning: at 1e8 one trade is worth 350 to 680, so that a
    `live_pnl` of 0.2 is 3 to 6 basis points of a trade after fees; at 1e6 it would be 3 to 6 per cent.

    Of the births of an epoch at least the share `random_share_min` are random draws, at any time, whatever survivors
    there are.
    """

    desired_runs: int = 500
    shards: int = 2
    clone_share: float = 0.5
    random_share_min: float = 0.1
    channel_share: float = 0.0
    start_balance: float = 100_000_000.0
    fee_rate: float = 0.0004
    flat_purge_s: int = 180 * 60
    runs_per_leverage_max: int = 45

    def __post_init__(self) -> None:
        """Hold that clones leave room for random draws."""
        assert self.clone_share + self.random_share_min <= 1, (self.clone_share, self.random_share_min)


@dataclass(frozen=True, slots=True)
class Supervision:
    """The shards as they stand now, and who was born and who ended, in order of number and of shard and row."""

    shards: tuple[Shard, ...]
    born: tuple[RunRecord, ...]
    ended: tuple[RunEnd, ...]


@dataclass(frozen=True, slots=True)
class Births:
    """How many runs were born, and how many of them were random draws."""

    count: int
    drawn: int


FIRST: Final = Births(0, 0)
"""Of an epoch that begins."""


@dataclass(frozen=True, slots=True)
class _Winner:
    """A possible parent."""

    run: RunId
    params: Params
    live_pnl: float


@dataclass(frozen=True, slots=True)
class _Birth:
    """A new run, its shard's number, its symbol, and the run it was cloned from, if any."""

    run: RunId
    shard: int
    symbol: str
    parent: RunId | None
    params: Params


def first_shards(
    rules: CohortRules,
    instruments: Sequence[Instrument],
    *,
    epoch: int,
    seed: int,
    next_number: int,
    now_ns: int,
    survivors: Sequence[Survivor] = (),
) -> Supervision:
    """Return a fresh cohort on shards 0, 1, …: random draws, for nobody has won yet, behind survivors of another one.

    The first `survivors_max` of the survivors are taken, unmutated, each recorded with its foreign parent.
    """
    symbols = [instrument.symbol for instrument in instruments]
    return supervise(
        tuple(empty_shard(number, symbols, epoch, now_ns) for number in range(rules.shards)),
        rules,
        instruments,
        epoch=epoch,
        seed=seed,
        next_number=next_number,
        now_ns=now_ns,
        survivors=survivors[: survivors_max(rules, instruments)],
    )


def runs_kept(rules: CohortRules, instruments: Sequence[Instrument]) -> dict[str, int]:
    """Return how many runs are kept alive on each symbol.

    Those desired, spread in proportion to maximum leverage by the method of the largest remainder, the first of equals
    before the others; on none more than its leverage carries.
    """
    leverages = np.array([float(instrument.leverage_max) for instrument in instruments])
    shares = rules.desired_runs * leverages / leverages.sum()
    counts = np.floor(shares).astype(int)
    for place in np.argsort(counts - shares, kind="stable")[: rules.desired_runs - int(counts.sum())]:
        counts[place] += 1
    return {
        instrument.symbol: min(int(count), int(rules.runs_per_leverage_max * instrument.leverage_max))
        for instrument, count in zip(instruments, counts, strict=True)
    }


def survivors_max(rules: CohortRules, instruments: Sequence[Instrument]) -> int:
    """Return how many survivors a first cohort takes, so that the least share of random draws remains."""
    runs = sum(runs_kept(rules, instruments).values())
    return runs - math.ceil(runs * rules.random_share_min)


def supervise(
    shards: Sequence[Shard],
    rules: CohortRules,
    instruments: Sequence[Instrument],
    *,
    epoch: int,
    seed: int,
    next_number: int,
    now_ns: int,
    births: Births = FIRST,
    survivors: Sequence[Survivor] = (),
) -> Supervision:
    """Remove runs that ended, purge those flat for too long, and fill up with new ones.

    Parameters
    ----------
    shards : sequence of Shard
        All shards.
    rules, instruments, epoch, seed : CohortRules, sequence of Instrument, int, int
        What the new runs are made from; at least one instrument, each symbol once. There are never more than
        `runs_per_leverage_max` runs per unit of leverage.
    next_number : int
        The number of the next run to be born.
    now_ns : int
        The instant of births and purges: a new run sees later ticks only.
    births : Births
        Those of the epoch so far.
    survivors : sequence of Survivor
        Parameter sets with which the first of the new runs begin.

    Returns
    -------
    Supervision
        New runs go to the symbol that lacks the largest share of its runs at the time, the first of equals, and to the
        shard with the fewest runs, the first of equals.
    """
    ended: list[RunEnd] = []
    kept: list[Shard] = []
    for shard in shards:
        age_ns = now_ns - shard.state["born_ns"]
        purged = shard.alive & (shard.state["direction"] == 0) & (age_ns > rules.flat_purge_s * SECOND_NS)
        ended += _ends(shard, ~shard.alive | purged, ExitReason.PURGED, now_ns)
        kept.append(_keep(shard, shard.alive & ~purged))

    new = _births(kept, rules, instruments, (epoch, seed, next_number), births, survivors)
    grown = (_grow(shard, [birth for birth in new if birth.shard == shard.number], rules, now_ns) for shard in kept)
    born = (
        RunRecord(birth.run, epoch, birth.shard, birth.symbol, birth.parent, now_ns, params_json(birth.params))
        for birth in new
    )
    return Supervision(tuple(grown), tuple(born), tuple(ended))


def _births(
    shards: Sequence[Shard],
    rules: CohortRules,
    instruments: Sequence[Instrument],
    source: tuple[int, int, int],
    before: Births,
    survivors: Sequence[Survivor],
) -> list[_Birth]:
    """Return the new runs that shards, as they are kept, lack; `source` is (epoch, seed, number of the first)."""
    epoch, seed, next_number = source
    winners = {instrument.symbol: _winners(shards, instrument.symbol) for instrument in instruments}
    wanted = runs_kept(rules, instruments)
    missing = {symbol: count - sum(int(shard.on(symbol).sum()) for shard in shards) for symbol, count in wanted.items()}
    sizes = {shard.number: len(shard.run_ids) for shard in shards}
    births: list[_Birth] = []
    drawn = before.drawn
    parent: RunId | None
    for number in count_from(next_number):
        instrument = max(instruments, key=lambda each: missing[each.symbol] / max(wanted[each.symbol], 1))
        if missing[instrument.symbol] <= 0:
            return births
        missing[instrument.symbol] -= 1
        shard_number = min(sizes, key=lambda key: (sizes[key], key))
        sizes[shard_number] += 1
        if len(births) < len(survivors):
            parent, params = survivors[len(births)].parent, fitted(survivors[len(births)].params, instrument)
        else:
            enough = drawn >= rules.random_share_min * (before.count + len(births) + 1)
            parents = winners[instrument.symbol] if enough else []
            parent, params = _draw_or_clone(rules, instrument, parents, (seed, epoch, number))
        drawn += parent is None
        births.append(_Birth(run_id(epoch, number), shard_number, instrument.symbol, parent, params))
    raise AssertionError("a count ended")


def end_all(shards: Sequence[Shard], reason: ExitReason, now_ns: int) -> tuple[RunEnd, ...]:
    """Return the ends of all runs: `reason` for those alive, their own for those that had ended already."""
    return tuple(
        end for shard in shards for end in _ends(shard, np.ones(len(shard.run_ids), dtype=bool), reason, now_ns)
    )


def _draw_or_clone(
    rules: CohortRules, instrument: Instrument, winners: Sequence[_Winner], source: tuple[int, int, int]
) -> tuple[RunId | None, Params]:
    """Return the parent, if any, and the parameters of a run; `source` is (seed, epoch, run number)."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(source)))
    if rng.random() >= rules.clone_share or not winners:
        return None, draw(rng, instrument, rules.channel_share)
    # Inverse of the cumulative weights n, 2n − 1, … of ranks 0, 1, …
    weights = np.cumsum([len(winners) - rank for rank in range(len(winners))])
    rank = int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
    winner = winners[rank]
    rate = MUTATION_RATE_MAX * (rank + 1) / len(winners)
    return winner.run, mutate(rng, winner.params, rate, instrument, rules.channel_share)


def _winners(shards: Sequence[Shard], symbol: str) -> list[_Winner]:
    """Return the possible parents on a symbol, best first; equals in order of shard and row."""
    winners = [
        _Winner(shard.run_ids[row], shard.params.record(row), float(shard.state["live_pnl"][row]))
        for shard in shards
        for row in np.flatnonzero(shard.alive & shard.on(symbol) & (shard.state["live_pnl"] > 0))
    ]
    return sorted(winners, key=lambda winner: -winner.live_pnl)


def _ends(shard: Shard, which: NDArray[np.bool_], reason: ExitReason, now_ns: int) -> list[RunEnd]:
    """Return the ends of some runs of a shard: their own where they ended by themselves, else `reason` now."""
    state = shard.state
    ends = []
    for row in np.flatnonzero(which):
        code = int(state["exit_code"][row])
        ends.append(
            RunEnd(
                run_id=shard.run_ids[row],
                ended_ns=now_ns if code == ALIVE else int(state["ended_ns"][row]),
                reason=reason if code == ALIVE else EXIT_REASONS[code],
                pnl=float(state["live_pnl"][row]),
                iterations=int(state["iterations"][row]),
                trades=int(state["trades"][row]),
            )
        )
    return ends


def _keep(shard: Shard, which: NDArray[np.bool_]) -> Shard:
    """Return the shard with some of its runs only."""
    return replace(
        shard,
        run_ids=tuple(shard.run_ids[row] for row in np.flatnonzero(which)),
        symbol=shard.symbol[which],
        params=shard.params.take(which),
        state=shard.state.take(which),
        ring_ns=shard.ring_ns[which],
        ring_apr=shard.ring_apr[which],
    )


def _grow(shard: Shard, births: Sequence[_Birth], rules: CohortRules, now_ns: int) -> Shard:
    """Return the shard with new runs behind its old ones; a symbol that it did not know begins now."""
    count = len(births)
    new = sorted({birth.symbol for birth in births} - set(shard.seen_ns))
    seen_ns = {**shard.seen_ns, **dict.fromkeys(new, now_ns)}
    place = {symbol: number for number, symbol in enumerate(seen_ns)}
    params = Columns.of(np.array([birth.params for birth in births], dtype=PARAMS_DTYPE))
    return replace(
        shard,
        seen_ns=seen_ns,
        run_ids=(*shard.run_ids, *(birth.run for birth in births)),
        symbol=np.concatenate([shard.symbol, np.array([place[birth.symbol] for birth in births], dtype=np.int64)]),
        params=shard.params.joined(params),
        state=shard.state.joined(born_state(now_ns, rules.start_balance, rules.fee_rate, count)),
        ring_ns=np.concatenate([shard.ring_ns, np.zeros((count, RING), dtype=np.int64)]),
        ring_apr=np.concatenate([shard.ring_apr, np.zeros((count, RING))]),
    )
