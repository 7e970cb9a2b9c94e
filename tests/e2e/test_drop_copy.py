"""A whole platform with a drop copy that observes: what the session loses is booked, and every message is kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.e2e.platforms import EARLY, Platform, agree, rows
from tests.leaks import CANARY, leaks
from trisagion.adapters.db import tables

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(300)]

COPIED = (
    *EARLY,
    "fix.password=env:FIX_PASSWORD_OF_THE_TEST",
    "fix.drop_copy=TRISAGION-DC",
    'reconcile.observers=["venue", "drop_copy"]',
    "reconcile.quorum=2",
)
LOST = 3


def test_swallowed_trades_are_booked_from_the_drop_copy_through_kills_of_both_sessions(
    tape: Path, platform: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Books equal the venue's, each loss is told once, no message is missing, and no file holds the password."""
    monkeypatch.setenv("FIX_PASSWORD_OF_THE_TEST", CANARY)
    run = platform().go("--data", str(tape), sets=COPIED)
    with run.trading() as database:
        run.venue().fault("swallow", trades=LOST)
        told = sa.select(tables.event.c.subject).where(tables.event.c.kind == "execution.recovered")
        run.until(lambda: len(rows(database, told)) == LOST, "the lost trades are recovered")
        run.kill("drop_copy")
        run.moves_on(database, 3)
        run.kill("session")
        run.moves_on(database, 3)
    run.end()
    agree(run)
    assert leaks(run.state, CANARY) == []
    with run.database() as database:
        assert len(rows(database, told)) == LOST
        verdicts = dict(
            rows(
                database,
                sa.select(tables.drop_copy.c.verdict, sa.func.count()).group_by(tables.drop_copy.c.verdict),
            )
        )
        assert verdicts["recovered"] == LOST
        assert set(verdicts) <= {"recovered", "agreed", "open"}
        copies = rows(database, sa.select(tables.drop_copy.c.exec_id))
        executions = rows(database, sa.select(tables.execution.c.exec_id))
        assert {row.exec_id for row in executions if row.exec_id.startswith("E")} <= {row.exec_id for row in copies}
        for session in ("SIM", "TRISAGION-DC"):
            numbers = rows(
                database,
                sa.select(tables.fix_message.c.number)
                .where(tables.fix_message.c.session == session)
                .order_by(tables.fix_message.c.number),
            )
            assert [row.number for row in numbers] == list(range(1, len(numbers) + 1))
            assert len(numbers) > 20
