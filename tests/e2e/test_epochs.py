"""An account that has gained or lost enough ends its epoch, once, flat, and a new cohort begins."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest
import sqlalchemy as sa

from tests.e2e.platforms import EARLY, Platform, agree, rows
from trisagion.adapters.db import tables
from trisagion.ledger.take_profit import BASELINE_SAMPLES, STEPS

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

Make = Callable[..., Platform]

RUNS: Final = 200
RISE: Final = Decimal("0.0000001")
FALL: Final = Decimal("0.000005")
SEED: Final = "2"
"""A dollar up or fifty down: with this seed the hour of data crosses both lines, more than once."""

FIRST_RUNS: Final = (
    sa.select(tables.run.c.epoch, sa.func.count())
    .join(tables.epoch, tables.epoch.c.number == tables.run.c.epoch)
    .where(tables.run.c.born_ns == tables.epoch.c.opened_ns)
    .group_by(tables.run.c.epoch)
)


def test_each_crossing_of_profit_or_draw_down_ends_an_epoch_once(tape: Path, platform: Make) -> None:
    """Where the equity crosses, by a count of our own; each time all steps are taken, flat, and a cohort is founded."""
    rules = (f"take_profit.threshold={RISE:f}", f"take_profit.reward_multiple={RISE / FALL:f}")
    run = platform().go("--data", str(tape), "--seed", SEED, sets=(*EARLY, *rules))
    told = run.end()["summary"]["epochs"]
    agree(run)
    with run.database() as database:
        epochs = rows(database, sa.select(tables.epoch).order_by(tables.epoch.c.number))
        steps = rows(database, sa.select(tables.take_profit).order_by(tables.take_profit.c.seq))
        curve = rows(database, sa.select(tables.equity).order_by(tables.equity.c.at_ns))
        founders = dict(rows(database, FIRST_RUNS))
    assert {"take_profit", "draw_down"} <= {epoch.reason for epoch in epochs}
    assert [(epoch["number"], epoch["reason"]) for epoch in told] == [(epoch.number, epoch.reason) for epoch in epochs]
    assert founders == {epoch.number: RUNS for epoch in epochs}
    for epoch in epochs:
        taken = {step.step: step.at_ns for step in steps if step.epoch == epoch.number}
        assert (taken.get("Detected"), epoch.reason) == _crossing(curve, epoch.opened_ns)
        if epoch is not epochs[-1]:
            assert tuple(taken) == STEPS
            assert [sample.qty for sample in curve if sample.at_ns == taken["Reconciled"]] == [0]
    assert len(steps) == len({(step.epoch, step.step) for step in steps})
    assert [epoch.opened_ns for epoch in epochs[1:]] == [step.at_ns for step in steps if step.step == "Rebased"]


def _crossing(curve: Sequence[Any], opened_ns: int) -> tuple[int | None, str | None]:
    """Return instant and kind of an epoch's first crossing."""
    own = [sample for sample in curve if sample.at_ns > opened_ns]
    if len(own) >= BASELINE_SAMPLES:
        base = median(sample.equity for sample in own[:BASELINE_SAMPLES])
        for sample in own[BASELINE_SAMPLES - 1 :]:
            if sample.equity >= base * (1 + RISE):
                return sample.at_ns, "take_profit"
            if sample.equity < base * (1 - FALL):
                return sample.at_ns, "draw_down"
    return None, None
