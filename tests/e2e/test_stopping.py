"""A run that is interrupted, stopped by an operator, or loses its supervisor: nothing works on, and it can go on."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.e2e.platforms import EARLY, END_S_MAX, Platform, agree, rebuilt, rows, trisagion
from trisagion.adapters.db import SqlDatabase, tables
from trisagion.orders.state import AT_VENUE
from trisagion.orders.types import Liquidity
from trisagion.safety.modes import Mode

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(240)]

Make = Callable[..., Platform]

EXIT_KILLED, EXIT_REFUSED, EXIT_INTERRUPTED = 3, 4, 130


def test_an_interrupted_run_withdraws_its_orders_says_how_to_go_on_and_goes_on(tape: Path, platform: Make) -> None:
    """Ctrl-C while an order works: exit code 130, none at the venue; `--resume` finishes it."""
    run = platform().go("--data", str(tape), sets=EARLY, json_lines=False)
    run.until(lambda: "cycles" in run.said, "the replay has begun")
    with run.database() as database:
        _works(run, database)
        os.kill(run.pid, signal.SIGINT)
    run.end(EXIT_INTERRUPTED)
    assert f"go on with: trisagion run --resume --state {run.state}" in run.said
    assert agree(run)["orders"]
    assert run.go("--resume").end()["outcome"] == "finished"
    agree(run)


def test_no_child_outlives_a_killed_supervisor_and_the_run_goes_on(tape: Path, platform: Make) -> None:
    """SIGKILL of the supervisor while an order works takes the whole platform down; `--resume` brings it up."""
    run = platform().go("--data", str(tape), sets=EARLY)
    with run.trading() as database:
        _works(run, database)
        children = run.processes()
        assert {"venue", "session", "cohort1", "desk", "driver", "redis"} <= set(children)
        os.kill(run.pid, signal.SIGKILL)
        run.end(-signal.SIGKILL)
        deadline = time.monotonic() + END_S_MAX
        while left := {name for name, pid in children.items() if _lives(pid)}:
            assert time.monotonic() < deadline, f"orphans: {left}"
            time.sleep(0.01)
    assert run.go("--resume").end()["outcome"] == "finished"
    agree(run)


def test_a_killed_run_goes_on_only_with_a_reason_and_flattens_when_told_to(tape: Path, platform: Make) -> None:
    """`trisagion kill` from elsewhere: confirmed, exit code 3, on only with a reason; `--flatten` leaves nothing."""
    run = platform().go("--data", str(tape), sets=EARLY)
    with run.trading() as database:
        _works(run, database)
    killed = trisagion("kill", "--json", "--state", str(run.state), "--reason", "drill")
    assert killed.returncode == 0, killed.stderr
    assert json.loads(killed.stdout)["working"] == 0
    assert rebuilt(run.run)["working"] == []
    assert run.end(EXIT_KILLED)["outcome"] == "killed"
    agree(run)
    run.go("--resume").end(EXIT_REFUSED)
    assert [line for line in run.said.splitlines() if line] == [run.said.strip()]
    assert "pause: drill" in run.said
    assert "--reason" in run.said

    run.go("--resume", "--reason", "the drill is over")
    said: list[subprocess.CompletedProcess[str]] = []
    where = ("--state", str(run.state))
    with run.trading() as database:
        _holds(run, database)
        operator = threading.Thread(target=lambda: said.append(trisagion("kill", "--flatten", "--json", *where)))
        operator.start()
        emergency = sa.select(tables.event.c.kind).where(tables.event.c.subject == Mode.EMERGENCY)
        run.until(lambda: bool(rows(database, emergency)), "the operator's word")
        run.kill("driver", signal.SIGCONT)
    assert run.end(EXIT_KILLED)["outcome"] == "killed"
    operator.join(END_S_MAX)
    assert said[0].returncode == 0, said[0].stderr
    assert json.loads(said[0].stdout)["flat_s"] > 0
    _flat_by_takers(run)


def _flat_by_takers(run: Platform) -> None:
    """Assert that nothing is held, and that who took liquidity for it was allowed to and is on record."""
    venue = agree(run, takers=True)
    assert {Decimal(qty) for qty in venue["positions"].values()} == {Decimal(0)}
    with run.database() as database:
        takers = {name for (name,) in rows(database, sa.select(tables.orders.c.cl_ord_id).where(tables.orders.c.taker))}
        events = rows(database, sa.select(tables.event.c.kind, tables.event.c.subject))
    taken = {fill["cl_ord_id"] for fill in venue["fills"] if fill["liquidity"] == Liquidity.TAKER}
    assert taken
    assert taken <= takers == {subject for kind, subject in events if kind == "order.taker"}
    assert [subject for kind, subject in events if kind == "control.engaged"][-1] == "emergency"


def _works(run: Platform, database: SqlDatabase) -> None:
    """Wait until an order works at the venue; orders of a minute ago are withdrawn, so this is one of now."""
    run.moves_on(database, 10)
    working = sa.select(tables.orders.c.cl_ord_id).where(tables.orders.c.state.in_(AT_VENUE))
    run.until(lambda: bool(rows(database, working)), "an order works")


def _holds(run: Platform, database: SqlDatabase) -> None:
    """Wait until something is held, and stop the data's time, so that it is held still when the operator comes.

    By the venue's journal: a report that is on its way may take back what our books hold.
    """
    position = sa.select(tables.ledger_position.c.qty)
    while True:
        run.until(lambda: any(qty for (qty,) in rows(database, position)), "a position")
        run.kill("driver", signal.SIGSTOP)
        if any(Decimal(qty) for qty in rebuilt(run.run)["positions"].values()):
            return
        run.kill("driver", signal.SIGCONT)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
