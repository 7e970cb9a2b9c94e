"""Advance a shard over market states, and say how it stands."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        True at `shard.seen_ns`.
    states : sequence of MarketState
        States of the shard's symbols, those of each oldest first. Ticks that the shard has seen are skipped, so that a
        repeated call does no harm.
    consume : bool
        The given shard's arrays are taken over instead of copied: it must not be used any more, also after an error.

    Returns
    -------
    Shard
        True for each symbol at its last state's `at_ns`, or where it was already.

    Raises
    ------
    DataError
        When a state is of a symbol that the shard does not know, the ticks of a symbol are nearer to each other than
        `TICK_NS` (the rings could overflow), or a price is not finite and above zero.
    """
    if unknown := sorted({state.symbol for state in states} - set(shard.seen_ns)):
        known = ", ".join(shard.seen_ns)
        raise DataError(f"shard {shard.number}: expected states of {known}, found {', '.join(unknown)}")
    parts = [
        [state for state in states if state.symbol == symbol and state.at_ns > seen]
        for symbol, seen in shard.seen_ns.items()
    ]
    if not any(parts):
        return shard
    ticks = [_ticks(shard, part) for part in parts if part]
    lengths = iter([len(ts_ns) for ts_ns, *_ in ticks])
    first = np.cumsum([0, *(next(lengths) if part else 0 for part in parts)])
    market = Market(first, *(np.concatenate(arrays) for arrays in zip(*ticks, strict=True)))
    if not consume:
        shard = replace(shard, state=shard.state.copy(), ring_ns=shard.ring_ns.copy(), ring_apr=shard.ring_apr.copy())
    advance_runs(shard.params, shard.state, shard.ring_ns, shard.ring_apr, shard.symbol, market)
    return replace(shard, seen_ns={**shard.seen_ns, **{part[-1].symbol: part[-1].at_ns for part in parts if part}})


def _ticks(shard: Shard, states: Sequence[MarketState]) -> list[NDArray[Any]]:
    """Return what `Market` holds behind `first`, over the ticks of a symbol that its runs have not seen."""
    symbol = states[0].symbol
    seen_ns = shard.seen_ns[symbol]
    new = np.concatenate([state.ts_ns for state in states]) > seen_ns
    ticks = [np.concatenate([getattr(state, name) for state in states])[new] for name in Market._fields[1:]]
    ts_ns, price, weight, volatility, *_ = ticks
    where = f"shard {shard.number}, {symbol}, after {seen_ns}"
    distance_ns = np.diff(ts_ns)
    if (distance_ns < TICK_NS).any():
        raise DataError(f"{where}: expected ticks at least {TICK_NS} ns apart, found {int(distance_ns.min())} ns")
    finite = np.isfinite(price) & np.isfinite(weight) & np.isfinite(volatility)
    if not (finite & (price > 0)).all():
        raise DataError(f"{where}: expected finite features and prices above 0, found {price.tolist()}")
    return ticks


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
