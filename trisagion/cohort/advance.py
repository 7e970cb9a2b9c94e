"""Advance a shard over market states, and say how it stands."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ext.cohort import Market
from ext.cohort import advance as advance_runs
from trisagion.cohort.state import Shard
from trisagion.cohort.types import Progress, ShardMark
from trisagion.errors import DataError
from trisagion.ids import run_number
from trisagion.market.types import TICK_NS, MarketState


def advance(shard: Shard, states: Sequence[MarketState], *, consume: bool = False) -> Shard:
    """Return the shard as it stands after the ticks of `states`; the shard given stays as it is.

    Parameters
    ----------
    shard : Shard
        True at `shard.at_ns`.
    states : sequence of MarketState
        States of the shard's symbol, oldest first. Ticks not after `shard.at_ns` are skipped, so that a repeated call
        does no harm.
    consume : bool
        The given shard's arrays are taken over instead of copied: it must not be used any more, also after an error.

    Returns
    -------
    Shard
        True at the last state's `at_ns`, or at the shard's own where that is later.

    Raises
    ------
    DataError
        When a state is of another symbol, ticks are nearer to each other than `TICK_NS` (the rings could overflow), or
        a price is not finite and above zero.
    """
    states = [state for state in states if state.at_ns > shard.at_ns]
    if not states:
        return shard
    new = np.concatenate([state.ts_ns for state in states]) > shard.at_ns
    market = Market(*(np.concatenate([getattr(state, name) for state in states])[new] for name in Market._fields))
    where = f"shard {shard.number}, {shard.symbol}, after {shard.at_ns}"
    if {state.symbol for state in states} != {shard.symbol}:
        raise DataError(f"{where}: expected states of its symbol, found {sorted({state.symbol for state in states})}")
    distance_ns = np.diff(market.ts_ns)
    if (distance_ns < TICK_NS).any():
        raise DataError(f"{where}: expected ticks at least {TICK_NS} ns apart, found {int(distance_ns.min())} ns")
    finite = np.isfinite(market.price) & np.isfinite(market.weight) & np.isfinite(market.volatility)
    if not (finite & (market.price > 0)).all():
        raise DataError(f"{where}: expected finite features and prices above 0, found {market.price.tolist()}")
    if not consume:
        shard = replace(shard, state=shard.state.copy(), ring_ns=shard.ring_ns.copy(), ring_apr=shard.ring_apr.copy())
    advance_runs(shard.params, shard.state, shard.ring_ns, shard.ring_apr, market)
    return replace(shard, at_ns=states[-1].at_ns)


def progress(shard: Shard) -> Progress:
    """Return how a shard stands: APRs are of the live runs in the market, of all live runs while none is."""
    alive = shard.alive
    in_market = alive & (shard.state["direction"] != 0)
    apr = shard.state["apr"][in_market if in_market.any() else alive]
    return Progress(
        shard=shard.number,
        at_ns=shard.at_ns,
        alive=int(alive.sum()),
        in_market=int(in_market.sum()),
        best_apr=float(apr.max()) if len(apr) else float("nan"),
        median_apr=float(np.median(apr)) if len(apr) else float("nan"),
    )


def mark(shard: Shard) -> ShardMark:
    """Return what each run of a shard has earned so far."""
    numbers = np.array([run_number(run) for run in shard.run_ids], dtype=np.int64)
    return ShardMark(shard.at_ns, shard.number, numbers, shard.state["live_pnl"].copy())
