"""All runs of a database as members of a census: ends from the run table, the living from their shards."""

import math
from typing import Final

import numpy as np
import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import Unit
from trisagion.adapters.db.reading import RunOutcome, runs
from trisagion.clock import HOUR_NS
from trisagion.cohort.advance import advance
from trisagion.cohort.census import Member
from trisagion.cohort.state import EXIT_REASONS, from_bytes
from trisagion.cohort.survivors import Origin
from trisagion.cohort.types import ExitReason
from trisagion.errors import StateError
from trisagion.ids import RunId
from trisagion.ports import Replay

_PARAMS: Final = sa.select(t.run.c.run_id, t.run.c.params)

HOURS_PER_YEAR: Final = 24 * 365.24
"""Domain, section 3, step 2."""


def replay_of(unit: Unit) -> Replay:
    """Return the replay that a database holds; `StateError` when there is none yet."""
    replay = unit.control.replay()
    if replay is None:
        raise StateError("this database holds no replay yet: start one with `trisagion run`")
    return replay


def census(unit: Unit) -> tuple[Member, ...]:
    """Return all runs as they stand at the replay's last complete step, in order of birth.

    A shard's checkpoint is some minutes old: it is rolled forward over the market since, as every worker does.
    """
    now_ns = replay_of(unit).now_ns
    shards = [from_bytes(row.state) for row in unit.cohort.shards()]
    shards = [advance(shard, unit.market.new_states(shard.seen_ns, now_ns), consume=True) for shard in shards]
    present = {run: shard.state.record(row) for shard in shards for row, run in enumerate(shard.run_ids)}
    start = next((float(state["start"]) for state in present.values()), math.nan)
    params: dict[RunId, str] = dict(unit.session.rows(_PARAMS))
    return tuple(
        _living(run, present[run.run_id], params[run.run_id])
        if run.ended_ns is None and run.run_id in present
        else _ended(run, start, params[run.run_id])
        for run in runs(unit)
    )


def symbols(unit: Unit) -> tuple[str, ...]:
    """Return what is traded, in order."""
    return tuple(instrument.symbol for instrument in unit.market.instruments())


def origin(unit: Unit, symbols: tuple[str, ...]) -> Origin:
    """Return what an export says of where its runs, on these symbols, come from."""
    replay = replay_of(unit)
    return Origin(
        dataset=replay.dataset,
        dataset_digest=replay.digest,
        symbols=symbols,
        seed=replay.seed,
        settings_digest=replay.settings_digest,
        epoch=unit.cohort.epochs()[-1].number,
        at_ns=replay.now_ns,
    )


def _living(run: RunOutcome, state: np.void, params: str) -> Member:
    reason = EXIT_REASONS.get(int(state["exit_code"]))
    return Member(
        run_id=run.run_id,
        epoch=run.epoch,
        symbol=run.symbol,
        parent=run.parent,
        born_ns=run.born_ns,
        ended_ns=None if reason is None else int(state["ended_ns"]),
        reason=reason,
        direction=int(state["direction"]),
        trades=int(state["trades"]),
        iterations=int(state["iterations"]),
        live_pnl=float(state["live_pnl"]),
        apr=float(state["apr"]),
        params=params,
    )


def _ended(run: RunOutcome, start: float, params: str) -> Member:
    assert run.ended_ns is not None, f"{run.run_id} lives on no shard"
    assert run.pnl is not None, f"{run.run_id} ended without a P&L"
    hours = (run.ended_ns - run.born_ns) / HOUR_NS
    return Member(
        run_id=run.run_id,
        epoch=run.epoch,
        symbol=run.symbol,
        parent=run.parent,
        born_ns=run.born_ns,
        ended_ns=run.ended_ns,
        reason=ExitReason(run.reason or ""),
        direction=None,
        trades=run.trades or 0,
        iterations=run.iterations or 0,
        live_pnl=run.pnl,
        apr=run.pnl / hours * HOURS_PER_YEAR / start if hours > 0 else math.nan,
        params=params,
    )
