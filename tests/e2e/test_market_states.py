"""The state of the market as the gate of the runs: how quick the queue of fits is changes nothing."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.platforms import Platform, agree
from trisagion.regime.evidence import MODELS

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(300)]

MINUTES = 600
FIRST_S = 1_378_188_000
"""3 September 2013, 06:00 UTC."""
SETS = (
    "regime.gate=state",
    'regime.open_in=["trending", "mean_reverting", "noisy"]',
    "reconcile.interval_s=300",
    "cohort.runs=100",
)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ten hours of one-minute bars: a random walk, then a drift."""
    rng = np.random.default_rng(11)
    steps = rng.normal(0.0, 4.0, MINUTES) + np.where(np.arange(MINUTES) > 450, 2.0, 0.0)
    closes = 6_000 + np.round(np.cumsum(steps)).astype(int)
    path = tmp_path_factory.mktemp("bars") / "walk.csv"
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "open", "high", "low", "close", "volume"])
        for minute, (before, close) in enumerate(zip([6_000, *closes[:-1].tolist()], closes.tolist(), strict=True)):
            writer.writerow([FIRST_S + 60 * minute, before, max(before, close) + 1, min(before, close) - 1, close, 40])
    return path


def test_the_state_of_the_market_is_the_same_however_quick_the_fits_are(
    bars: Path, platform: Callable[..., Platform]
) -> None:
    """With the worker of fits killed again and again each minute is judged with the models of its slot."""
    first = platform("first").go("--data", str(bars), sets=SETS)
    summary = first.end()["summary"]
    with first.database() as database, database.snapshot() as unit:
        end_ns = max(row.at_ns for row in unit.market.states("WALK", 0, 2**62))
        judged = unit.regime.reading("WALK", end_ns)
        slot_ns = end_ns // 600_000_000_000 * 600_000_000_000 - 600_000_000_000
        fitted = [unit.regime.fit("WALK", model, slot_ns) for model in MODELS]
    assert judged is not None
    assert judged.at_ns == end_ns
    assert all(fit is not None and fit.text for fit in fitted)
    assert summary["fills"] > 0

    disturbed = platform("disturbed").go("--data", str(bars), sets=SETS)
    with disturbed.trading() as database:
        for _ in range(3):
            disturbed.kill("regime")
            disturbed.moves_on(database, 60)
    disturbed.end()
    assert disturbed.traded() == first.traded()
    with disturbed.database() as database, database.snapshot() as unit:
        assert unit.regime.reading("WALK", end_ns) == judged
    agree(disturbed)
