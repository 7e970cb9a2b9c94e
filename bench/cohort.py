"""The virtual runs on an hour of the bundled ES data: the kernel, a tick as the platform does it, what a run weighs."""

import time
from functools import cache
from itertools import islice

import numpy as np

from bench.measure import Figure, benchmark, interleaved, seconds_each
from ext.cohort import COMPILED, Market, _reference
from ext.cohort import advance as advance_runs
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load
from trisagion.clock import MINUTE_NS
from trisagion.cohort.advance import advance
from trisagion.cohort.state import Shard, from_bytes, to_bytes
from trisagion.cohort.supervise import CohortRules, first_shards
from trisagion.market.bars import market_steps
from trisagion.market.instruments import ES
from trisagion.market.types import MarketState
from trisagion.regime.state import BARS_NEEDED, ENTROPY_WINDOW_MAX_MIN, market_state

RUNS = 12_000
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
    return first_shards(rules, ES, epoch=1, seed=1, next_number=0, now_ns=born_ns).shards[0]


@cache
def _older(runs: int) -> Shard:
    """Return the cohort with a life behind it: positions, full rings, some that ended."""
    return advance(_shard(runs), _states()[:-1])


def _rate(kernel: object, shard: Shard, states: list[MarketState]) -> float:
    """Return iterations a second of one kernel over some states; the copies it works on are made before."""
    assert callable(kernel)
    market = Market(*(np.concatenate([getattr(state, name) for state in states]) for name in Market._fields))
    state, ring_ns, ring_apr = shard.state.copy(), shard.ring_ns.copy(), shard.ring_apr.copy()
    begun = time.perf_counter()
    kernel(shard.params, state, ring_ns, ring_apr, market)
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
    """One minute of the market as a task advances it, its copies included, over the ticks that it holds."""
    last = _states()[-1]
    return interleaved(seconds_each(lambda: advance(_older(RUNS), [last]), len(last.ts_ns)))


@benchmark("cohort.bytes_per_run", "bytes", "value <= 4096")
def bytes_per_run() -> Figure:
    """A run in a checkpoint; in memory it holds the same arrays."""
    return Figure([len(to_bytes(_older(RUNS))) / RUNS])


@benchmark("cohort.checkpoint_12000", "s", "value <= 0.25")
def checkpoint() -> Figure:
    """Written to bytes and read again."""
    return interleaved(seconds_each(lambda: from_bytes(to_bytes(_older(RUNS)))))
