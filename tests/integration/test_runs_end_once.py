"""A run ends at its own goal once, whoever is killed, and wherever: in its shard, in its record, in who replaces it."""

import shutil
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.builders import COHORT_RULES, TUESDAY_NS, Desk, states
from tests.integration.killed import books, killed
from trisagion.adapters.db import SqlDatabase, open_database, tables
from trisagion.clock import MINUTE_NS
from trisagion.cohort.types import ExitReason
from trisagion.ids import cycle_id
from trisagion.market.types import MarketState
from trisagion.ports import Cycle
from trisagion.services.advance_cohort import ShardCopies, advance, found_cohort, supervise_cohort

T0 = TUESDAY_NS
MINUTES = 30
CHECKPOINT_NS = 10 * MINUTE_NS
RULES = replace(COHORT_RULES, desired_runs=40, channel_share=0.0)


def rally() -> list[MarketState]:
    """Return a market that only rises, two per cent at each tick: whoever buys comes to his goal within minutes."""
    risen = 1600.0 * 1.02 ** np.arange(6 * MINUTES).reshape(MINUTES, 6)
    quiet: dict[str, Any] = {
        "weight": np.ones(6),
        "volatility": np.full(6, 40.0),
        "entropy": np.full((6, 15, 3, 3), 0.01),
    }
    return [replace(state, price=price, **quiet) for state, price in zip(states(MINUTES, T0), risen, strict=True)]


def advanced(database: Any, shard: int, now_ns: int, copies: ShardCopies | None = None) -> object:
    """Advance a shard as a worker that has just begun, or as one that has its copies."""
    return advance(database, copies or ShardCopies(), shard, now_ns, CHECKPOINT_NS)


def supervised(database: Any, now_ns: int) -> object:
    """Record the ends and replace who ended."""
    return supervise_cohort(database, RULES, 7, now_ns)


def test_each_run_that_comes_to_its_goal_ends_once_wherever_a_worker_is_killed(
    database_url: str, database: SqlDatabase, sqlite_template: Path, tmp_path: Path
) -> None:
    """Half an hour in which workers die before or after a commit, at each supervision among them, is as a quiet one."""
    market = rally()
    with closing(open_database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'twin.sqlite3')}")) as peaceful:
        twin, desk, copies = Desk(peaceful), Desk(database), ShardCopies()
        for each in (twin, desk):
            each.found()
            with each.database.transaction() as tx:
                found_cohort(tx, RULES, 1, 7, T0)
        for minute, state in enumerate(market, start=1):
            now_ns = T0 + minute * MINUTE_NS
            for each in (twin, desk):
                each.publish([state])
            for shard in (0, 1):
                advanced(peaceful, shard, now_ns, copies)
                if minute % 3 == 0 or now_ns % CHECKPOINT_NS == 0:
                    doomed = partial(advanced, shard=shard, now_ns=now_ns)
                    killed(database_url, doomed, 1, kept=bool(minute % 2))
                for _ in range(2):
                    advanced(database, shard, now_ns)
            if now_ns % CHECKPOINT_NS == 0:
                for each in (twin, desk):
                    with each.database.transaction() as tx:
                        tx.cycles.open_cycle(Cycle(cycle_id(now_ns), now_ns, "decided", None, 0))
                supervised(peaceful, now_ns)
                for survives in (False, True):
                    killed(database_url, partial(supervised, now_ns=now_ns), 1, kept=survives)
                for _ in range(2):
                    supervised(database, now_ns)
                assert books(desk) == books(twin)
        reached = [reason for (reason,) in desk.rows(tables.run.c.reason) if reason == ExitReason.APR_TARGET]
        assert len(reached) > 10
