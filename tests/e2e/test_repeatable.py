"""The same data and seed give the same history, whatever the pace, the servers and the machine's mood."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.platforms import EARLY, Platform, agree

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

Make = Callable[..., Platform]


def test_two_runs_of_one_seed_are_equal_to_the_last_digit_and_their_books_are_the_venues(
    undisturbed: Platform, tape: Path, platform: Make
) -> None:
    """Decisions, orders, executions, postings, positions and equity; and there are dozens of each."""
    again = platform().go("--data", str(tape), sets=EARLY)
    summary = again.end()["summary"]
    first = undisturbed.traded()
    assert again.traded() == first
    assert len(first["executions"]) > 100
    assert min(summary["orders"].get(state, 0) for state in ("filled", "canceled")) > 12
    assert summary["account"]["equity"] == undisturbed.end()["summary"]["account"]["equity"]
    assert [check for check in summary["checks"] if not check["ok"]] == []
    assert agree(undisturbed) == agree(again)


def test_another_seed_trades_otherwise(undisturbed: Platform, tape: Path, platform: Make) -> None:
    """The comparison of histories can fail."""
    other = platform().go("--data", str(tape), "--seed", "2", sets=EARLY)
    other.end()
    theirs, ours = other.traded(), undisturbed.traded()
    assert theirs["decisions"] != ours["decisions"]
    assert theirs["shards"] != ours["shards"]
    assert theirs["equity"] != ours["equity"]
    agree(other)


def test_the_pace_changes_nothing(undisturbed: Platform, tape: Path, platform: Make) -> None:
    """With beat sending cycles and sweeps, and kept up with, the history is that without pace."""
    paced = platform().go("--data", str(tape), "--speed", "900", sets=EARLY)
    paced.end()
    assert (paced.run / "log" / "beat.log").exists()
    assert paced.traded() == undisturbed.traded()
    agree(paced)


@pytest.mark.mariadb
def test_the_fleet_profile_at_a_pace_far_ahead_changes_nothing(
    undisturbed: Platform, tape: Path, platform: Make
) -> None:
    """On a private MariaDB, with Flower beside it, and beat far behind the data, the history is that of SQLite."""
    pytest.importorskip("flower", reason="no Flower here; make fleet installs it")
    fleet = platform().go("--data", str(tape), "--profile", "fleet", "--speed", "100000", sets=EARLY)
    fleet.until(lambda: {"mariadb", "flower"} <= set(fleet.processes()), "MariaDB and Flower live")
    fleet.end()
    assert fleet.traded() == undisturbed.traded()
    agree(fleet)
