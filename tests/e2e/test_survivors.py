"""The survivors of one cohort found another, and nothing that becomes of their file disturbs a run that began."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.e2e.platforms import EARLY, Platform, agree, rows
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.census import census, origin, symbols
from trisagion.adapters.survivors import save_survivors
from trisagion.cohort.survivors import Exported

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

TAKEN = 150
BIRTHS = sa.select(t.run.c.parent, t.run.c.params).where(t.run.c.run_id.in_([f"R1-{n}" for n in range(TAKEN)]))


@pytest.fixture
def file(undisturbed: Platform, tmp_path: Path) -> Path:
    """Write the youngest runs of another cohort to a file: in the hour of this tape nobody gains until its end."""
    with undisturbed.database() as database, database.snapshot() as unit:
        runs = [
            Exported(one.run_id, one.parent, one.live_pnl, one.iterations, one.trades, one.params)
            for one in census(unit)[-TAKEN:]
        ]
        save_survivors(tmp_path / "survivors.json", origin(unit, symbols(unit)), runs)
    return tmp_path / "survivors.json"


def test_a_run_that_dies_goes_on_without_the_file_that_its_cohort_began_with(
    undisturbed: Platform, tape: Path, platform: Callable[..., Platform], file: Path, tmp_path: Path
) -> None:
    """The first runs are the survivors; a crash, a lost file and a moved folder later the history is the same."""
    told = json.loads(file.read_text(encoding="utf-8"))["survivors"]
    whole = platform("whole").go("--data", str(tape), "--survivors", str(file), sets=EARLY)
    whole.end()
    with whole.database() as database:
        born = rows(database, BIRTHS)
    assert sorted((parent.partition("/")[2], json.loads(params)["swing_z"]) for parent, params in born) == sorted(
        (one["run"], one["params"]["swing_z"]) for one in told
    )
    assert whole.traded()["shards"] != undisturbed.traded()["shards"]

    died = platform("died").go("--data", str(tape), "--survivors", str(file), "--speed", "300", sets=EARLY)
    died.until(lambda: any(line.get("alive") for line in died.lines()), "the replay moves")
    died.stop()
    file.unlink()
    died.state = died.state.rename(tmp_path / "moved")
    died.go("--resume", "--speed", "max").end()
    assert died.traded() == whole.traded()
    agree(died)
