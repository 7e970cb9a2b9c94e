"""Whoever is killed, and whenever: the run goes on by itself, and our books are the venue's."""

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.platforms import EARLY, Platform, agree, in_state
from trisagion.adapters.db import SqlDatabase
from trisagion.orders.state import OrderState

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

Make = Callable[..., Platform]

SEED = 7
SPREAD_S = 0.1
"""About what a minute of data takes: a blow that waits up to so long falls into any part of it."""

BLOWS = ("desk", "cohort1", "redis", "driver", "desk", "redis", "cohort2", "driver", "desk", "redis")

COHORT_BLOWS = ("cohort1", "cohort2", "cohort2", "cohort1") * 3

DOUBTS = (
    ("session", OrderState.PENDING_NEW),
    ("venue", OrderState.PENDING_NEW),
    ("venue", OrderState.PENDING_CANCEL),
    ("session", OrderState.PENDING_CANCEL),
)
"""Who dies while the venue does not answer, and what it was asked: only the venue can tell what became of the order."""


def test_killing_workers_broker_and_driver_changes_nothing(undisturbed: Platform, tape: Path, platform: Make) -> None:
    """Ten of them killed within an hour of data, at random moments: to the last digit the history of a quiet run."""
    run, moments = platform().go("--data", str(tape), sets=EARLY), random.Random(SEED)
    with run.trading() as database:
        for victim in BLOWS:
            run.moves_on(database, 3)
            time.sleep(moments.uniform(0, SPREAD_S))
            run.kill(victim)
    summary = run.end()["summary"]
    notes = [line["note"] for line in run.lines() if "note" in line]
    assert sum("SIGKILL" in note for note in notes) == len(BLOWS), notes
    assert [check for check in summary["checks"] if not check["ok"]] == []
    assert run.traded() == undisturbed.traded()
    agree(run)


def test_killing_the_workers_of_the_cohort_leaves_every_run_as_it_would_have_been(
    undisturbed: Platform, tape: Path, platform: Make
) -> None:
    """Twelve times one of the two, at random moments: each array of each shard ends equal to the bit."""
    run, moments = platform().go("--data", str(tape), sets=EARLY), random.Random(SEED)
    with run.trading() as database:
        for victim in COHORT_BLOWS:
            run.moves_on(database, 2)
            time.sleep(moments.uniform(0, SPREAD_S))
            run.kill(victim)
    run.end()
    notes = [line["note"] for line in run.lines() if "note" in line]
    assert sum("SIGKILL" in note for note in notes) == len(COHORT_BLOWS), notes
    ours, theirs = run.traded(), undisturbed.traded()
    assert len(theirs["shards"]) == 2
    assert ours["shards"] == theirs["shards"]
    assert ours == theirs


def test_no_order_is_lost_or_doubled_when_session_or_venue_die_with_one_on_its_way(tape: Path, platform: Make) -> None:
    """Killed while an order or its cancel is asked for and not answered; each fill is booked once all the same."""
    run = platform().go("--data", str(tape), sets=EARLY)
    with run.trading() as database:
        for victim, asked in DOUBTS:
            run.moves_on(database, 5)
            run.hold_in_doubt(database, asked)
            run.kill(victim)
            if victim != "venue":
                run.kill("venue", signal.SIGCONT)
            run.until(partial(_none_is, asked, database), f"no order is {asked}")
    run.end()
    agree(run)


def _none_is(state: OrderState, database: SqlDatabase) -> bool:
    return not in_state(database, state)
