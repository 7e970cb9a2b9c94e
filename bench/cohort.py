"""The virtual runs on an hour of the bundled ES data: the kernel, a tick as the platform does it, what a run weighs."""

import tempfile
import time
from contextlib import closing
from dataclasses import replace
from functools import cache
from itertools import count, islice
from pathlib import Path

import numpy as np

from bench.measure import Figure, benchmark, interleaved, seconds_each
from ext.cohort import COMPILED, RING, Market, _reference
from ext.cohort import advance as advance_runs
from init import create
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.files import load
from trisagion.adapters.servers import mariadb
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance
from trisagion.cohort.state import Shard, from_bytes, to_bytes
from trisagion.cohort.supervise import CohortRules, first_shards
from trisagion.cohort.types import ShardRow
from trisagion.market.bars import market_steps
from trisagion.market.instruments import ES
from trisagion.market.types import MarketState
from trisagion.regime.state import BARS_NEEDED, ENTROPY_WINDOW_MAX_MIN, market_state

RUNS = 12_000
SHARDS = 2
SIZES = (1_000, 10_000, 100_000, 1_000_000)
REFERENCE_RUNS = 20
MINUTES = 60

FROM_STEP = 900
"""A lively hour, 13:00 UTC: nearly every ten seconds have a trade."""


@cache
def _states() -> list[MarketState]:
    """Compute the market states of an hour, after enough history for every feature to be known."""
    steps = list(islice(market_steps(load(DataSpec("es"))), FROM_STEP + MINUTES))
    states: list[MarketState] = []
    for number in range(FROM_STEP - ENTROPY_WINDOW_MAX_MIN, len(steps)):
        bars = [step.bar for step in steps[number + 1 - BARS_NEEDED : number + 1]]
        states.append(market_state(steps[number], bars, states[-ENTROPY_WINDOW_MAX_MIN - 1 :]))
    return states[-MINUTES:]


@cache
def _shard(runs: int) -> Shard:
    rules = CohortRules(desired_runs=runs, shards=1, runs_per_leverage_max=runs)
    born_ns = _states()[0].at_ns - MINUTE_NS
    return first_shards(rules, [ES], epoch=1, seed=1, next_number=0, now_ns=born_ns).shards[0]


@cache
def _older(runs: int) -> Shard:
    """Return the cohort with a life behind it: positions, full rings, some that ended."""
    return advance(_shard(runs), _states()[:-1])


def _rate(kernel: object, shard: Shard, states: list[MarketState]) -> float:
    """Return iterations a second of one kernel over some states; the copies it works on are made before."""
    assert callable(kernel)
    ticks = [np.concatenate([getattr(state, name) for state in states]) for name in Market._fields[1:]]
    market = Market(np.array([0, len(ticks[0])]), *ticks)
    state, ring_ns, ring_apr = shard.state.copy(), shard.ring_ns.copy(), shard.ring_apr.copy()
    begun = time.perf_counter()
    kernel(shard.params, state, ring_ns, ring_apr, shard.symbol, market)
    took = time.perf_counter() - begun
    return float(state["iterations"].sum() - shard.state["iterations"].sum()) / took


@benchmark("cohort.iteration", "run-iterations/s", "value >= 5e6; ratio >= 1000")
def iteration() -> Figure:
    """One core; the same runs' worth of work, on fewer runs for the plain twin."""
    assert COMPILED, "the kernel is not compiled"
    return interleaved(
        lambda: _rate(advance_runs, _shard(RUNS), _states()),
        lambda: _rate(_reference.advance, _shard(REFERENCE_RUNS), _states()),
        "the plain Python twin",
    )


@benchmark("cohort.tick_12000", "s", "value <= 3e-3")
def tick() -> Figure:
    """One minute of the market over the ticks that it holds, copies included; a task that holds a shard makes none."""
    last = _states()[-1]
    return interleaved(seconds_each(lambda: advance(_older(RUNS), [last]), len(last.ts_ns)))


@benchmark("cohort.cost_curve", "× the cheapest size", "value <= 1.5")
def cost_curve() -> Figure:
    """What an iteration costs at the dearest of four sizes of the cohort; 1.0 is a flat curve.

    An hour in one call, on one core, as a shard catches up; a million runs take 3.3 GB.
    """
    costs = [_seconds_per_iteration(runs) for runs in SIZES]
    return Figure([max(costs) / min(costs)])


@benchmark("cohort.cost_curve_live", "× the cheapest size", "value <= 2")
def cost_curve_live() -> Figure:
    """The same minute by minute, as a shard lives: a call for each, and all runs brought from memory each time."""
    costs = [_seconds_per_iteration(runs, by_minute=True) for runs in SIZES]
    return Figure([max(costs) / min(costs)])


def _seconds_per_iteration(runs: int, *, by_minute: bool = False) -> float:
    """Take the best of some hours: the small sizes are over within milliseconds."""
    best = float("inf")
    for _ in range(max(1, RUNS * 10 // runs)):
        shard = _crowd(runs)
        begun = time.perf_counter()
        for states in [[state] for state in _states()] if by_minute else [_states()]:
            shard = advance(shard, states, consume=True)
        best = min(best, (time.perf_counter() - begun) / int(shard.state["iterations"].sum()))
    return best


def _crowd(runs: int) -> Shard:
    """Repeat a thousand newborn runs; all of the memory is touched before it is timed."""
    newborn = _shard(SIZES[0])
    times = runs // SIZES[0]
    rows = np.tile(np.arange(SIZES[0]), times)
    rings = np.empty((runs, RING), dtype=np.int64), np.empty((runs, RING))
    for ring in rings:
        ring.fill(0)
    return replace(
        newborn,
        run_ids=newborn.run_ids * times,
        symbol=newborn.symbol[rows],
        params=newborn.params.take(rows),
        state=newborn.state.take(rows),
        ring_ns=rings[0],
        ring_apr=rings[1],
    )


@benchmark("cohort.bytes_per_run", "bytes", "value <= 4096")
def bytes_per_run() -> Figure:
    """What a run takes in memory; in a checkpoint it takes less, for there its ring holds what is used alone."""
    shard = _older(RUNS)
    arrays = (shard.symbol, shard.params, shard.state, shard.ring_ns, shard.ring_apr)
    return Figure([sum(array.nbytes for array in arrays) / RUNS])


@benchmark("cohort.checkpoint_12000", "s", "value <= 0.25")
def checkpoint() -> Figure:
    """Written to a private MariaDB through the adapter, committed, and read again: as many shards as by default."""
    whole = _older(RUNS)
    each = RUNS // SHARDS
    shards = [_part(whole, number, slice(number * each, (number + 1) * each)) for number in range(SHARDS)]
    with tempfile.TemporaryDirectory(prefix="trisagion-") as folder, mariadb(Path(folder), Path(folder)) as url:
        create(url)
        with closing(open_database(url)) as database:
            with database.transaction() as tx:
                for shard in shards:
                    tx.cohort.add_shard(ShardRow(shard.number, shard.epoch, shard.at_ns, 0, b""))
            versions = count(1)
            return interleaved(seconds_each(lambda: _write_and_read(database, shards, next(versions))))


def _part(whole: Shard, number: int, rows: slice) -> Shard:
    return replace(
        whole,
        number=number,
        run_ids=whole.run_ids[rows],
        symbol=whole.symbol[rows],
        params=whole.params.take(rows),
        state=whole.state.take(rows),
        ring_ns=whole.ring_ns[rows],
        ring_apr=whole.ring_apr[rows],
    )


def _write_and_read(database: SqlDatabase, shards: list[Shard], version: int) -> None:
    for shard in shards:
        row = ShardRow(shard.number, shard.epoch, shard.at_ns, version, to_bytes(shard))
        with database.transaction() as tx:
            assert tx.cohort.save_shard(row)
    with database.snapshot() as tx:
        back = [from_bytes(row.state) for row in tx.cohort.shards()]
    assert sum(len(shard.run_ids) for shard in back) == RUNS
