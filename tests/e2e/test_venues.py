"""The same data and seed on every venue: one matching engine behind them, so one history where their rules allow it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.e2e.faults.judge import books, violations
from tests.e2e.platforms import EARLY, Platform, agree, rows
from trisagion.adapters.db import SqlDatabase, tables
from trisagion.cli import rundir
from trisagion.clock import SECOND_NS

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

Make = Callable[..., Platform]


FILL = tables.execution.c
FILLS = (
    sa.select(FILL.happened_ns, FILL.cl_ord_id, FILL.side, FILL.last_qty, FILL.last_px, FILL.fee, FILL.liquidity)
    .where(FILL.liquidity.is_not(None))
    .order_by(FILL.cl_ord_id, FILL.cum_qty)
)


def fills(database: SqlDatabase) -> list[tuple[object, ...]]:
    """Return all that is booked of fills but their names, which each venue makes in its own way; IB tells seconds."""
    return [(at_ns // SECOND_NS, *terms) for at_ns, *terms in rows(database, FILLS)]


def books_of(tws: Platform) -> dict[str, Any]:
    """Return the books of the simulated TWS, its fills dated as its protocol dates them."""
    told = dict(json.loads((tws.run / rundir.VENUE_LEDGER).read_text(encoding="utf-8")))
    seconds = [{**fill, "happened_ns": fill["happened_ns"] // SECOND_NS * SECOND_NS} for fill in told["fills"]]
    return {**told, "fills": seconds}


def as_by_fix(platform: Platform) -> object:
    """Return a paper run's history under the name that the bundled FIX venue has."""
    return json.loads(json.dumps(platform.traded()).replace('"PAPER', '"SIM'))


def test_the_paper_venue_trades_as_the_fix_venue_to_the_last_digit(
    undisturbed: Platform, tape: Path, platform: Make
) -> None:
    """Decisions, orders, executions with their names, postings, equity; and it has no process of its own."""
    paper = platform().go("--venue", "paper", "--data", str(tape), sets=EARLY)
    summary = paper.end()["summary"]
    assert as_by_fix(paper) == json.loads(json.dumps(undisturbed.traded()))
    assert summary["account"]["equity"] == undisturbed.end()["summary"]["account"]["equity"]
    assert not (paper.run / "log" / "venue.log").exists()
    agree(paper)


def test_a_paper_venue_that_is_killed_with_its_session_loses_and_doubles_nothing(tape: Path, platform: Make) -> None:
    """Three times, both at once: each execution is booked once, and our books are the venue's."""
    paper = platform().go("--venue", "paper", "--data", str(tape), sets=EARLY)
    with paper.trading() as database:
        for _ in range(3):
            paper.moves_on(database, 5)
            paper.kill("session")
    paper.end()
    with paper.database() as database:
        kept = rows(database, tables.execution.select())
    assert len({row.exec_id for row in kept}) == len(kept) > 100
    agree(paper)


def test_the_simulated_tws_trades_as_the_fix_venue_to_the_last_digit(
    undisturbed: Platform, tape: Path, platform: Make
) -> None:
    """Every decision and fill with its fee, each position and equity; names are IB's, and instants whole seconds."""
    tws = platform().go("--venue", "ib-sim", "--data", str(tape), sets=EARLY)
    summary = tws.end()["summary"]
    ours, theirs = tws.traded(), undisturbed.traded()
    for part in ("decisions", "positions", "equity", "shards"):
        assert ours[part] == theirs[part], part
    with tws.database() as one, undisturbed.database() as other:
        assert fills(one) == fills(other)
        assert len(fills(one)) > 100
        assert violations(books(one), books_of(tws)) == []
    assert summary["account"]["equity"] == undisturbed.end()["summary"]["account"]["equity"]
    assert [check for check in summary["checks"] if not check["ok"]] == []
    assert any("ib.maker: guarded" in line.get("note", "") for line in tws.lines())
