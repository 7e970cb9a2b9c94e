"""The short form of the faults, in one lane; and the judge, who must see what is wrong with a doctored lane."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa

from tests.e2e.faults.judge import books, read_books, sent, tracebacks, violations
from tests.e2e.faults.lane import SWEEP_S, Lane, opened
from tests.e2e.faults.rows import LaneRow, play
from tests.e2e.faults.table import LANE_ROWS
from trisagion.adapters.db import tables
from trisagion.adapters.db.engine import Unit
from trisagion.orders.types import ExecType
from trisagion.settings import FIX_SIM
from workers.schedule import SCHEDULE

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.redis, pytest.mark.timeout(240)]

SHORT: Final = {
    paired: [
        pytest.param(row, case, id=f"{row.number}-{case}")
        for row in LANE_ROWS.values()
        if row.paired is paired and row.venue == FIX_SIM and not row.sets
        for case in row.short
    ]
    for paired in (False, True)
}


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """Run one lane for all rows that need no second process of a kind."""
    with opened(tmp_path_factory.mktemp("lane")) as lane:
        yield lane


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """Run one lane for the rows that do."""
    with opened(tmp_path_factory.mktemp("paired"), paired=True) as lane:
        yield lane


def _is_survived(lane: Lane, row: LaneRow, case: str) -> None:
    run = play(lane, row, case, seed=0)
    assert run.violations == ()
    assert run.recovery_s is not None


@pytest.mark.parametrize(("row", "case"), SHORT[False])
def test_a_fault_leaves_our_books_as_the_venues(lane: Lane, row: LaneRow, case: str) -> None:
    """Nothing is doubled, nothing lost, each fill is booked once, and the platform is back within its bound."""
    _is_survived(lane, row, case)


@pytest.mark.parametrize(("row", "case"), SHORT[True])
def test_a_fault_among_two_of_each_leaves_our_books_as_the_venues(paired: Lane, row: LaneRow, case: str) -> None:
    """The same where two may do what one does."""
    _is_survived(paired, row, case)


@pytest.fixture
def traded(lane: Lane) -> Lane:
    """Give a lane at rest that has orders and fills, and nothing wrong."""
    if not books(lane.database).executions:
        assert play(lane, LANE_ROWS[2], "K11", seed=0).violations == ()
    assert violations(books(lane.database), lane.venue.status()) == []
    return lane


def test_a_lane_is_swept_as_often_as_beat_sweeps() -> None:
    """What a lane recovers by is what the platform recovers by."""
    assert [entry.every_s for entry in SCHEDULE if entry.task == "sweep.run"] == [SWEEP_S]


class Undone(Exception):
    """Raised so that a transaction is not kept."""


def _remove_an_order(unit: Unit, fill: Any) -> None:
    unit.session.write(sa.delete(tables.orders).where(tables.orders.c.cl_ord_id == fill.cl_ord_id), {})


def _book_a_fill_twice(unit: Unit, fill: Any) -> None:
    again = {column.name: getattr(fill, column.name) for column in tables.execution.c if column.name != "seq"}
    unit.session.write(sa.insert(tables.execution), {**again, "exec_id": "again"})


def _post_an_entry_twice(unit: Unit, fill: Any) -> None:
    row = unit.session.rows(sa.select(tables.posting).where(tables.posting.c.entry.contains(fill.exec_id)).limit(1))[0]
    unit.session.write(sa.insert(tables.posting), {**row._mapping, "line": 99})


def _move_a_position(unit: Unit, _: Any) -> None:
    unit.session.write(sa.update(tables.ledger_position).values(qty=tables.ledger_position.c.qty + Decimal(1)), {})


def _forget_a_fill(unit: Unit, fill: Any) -> None:
    unit.session.write(sa.delete(tables.execution).where(tables.execution.c.exec_id == fill.exec_id), {})


def _leave_an_order_open(unit: Unit, fill: Any) -> None:
    mine = tables.orders.c.cl_ord_id == fill.cl_ord_id
    unit.session.write(sa.update(tables.orders).where(mine).values(state="unknown"), {})


@pytest.mark.parametrize(
    ("doctor", "says"),
    [
        (_remove_an_order, "which we do not know"),
        (_book_a_fill_twice, "I8: expected the venue to know what is recorded"),
        (_post_an_entry_twice, "I8: expected entry"),
        (_move_a_position, "I3: expected the venue's position"),
        (_forget_a_fill, "I8: expected fill"),
        (_leave_an_order_open, "I2: expected an end of order"),
    ],
)
def test_the_judge_names_what_is_wrong_with_our_books(
    traded: Lane, doctor: Callable[[Unit, Any], None], says: str
) -> None:
    """Each wrong is done to the real database, and taken back."""
    fill = next(row for row in books(traded.database).executions if row.exec_type == ExecType.TRADE)
    found: list[str] = []
    with suppress(Undone), traded.database.transaction() as unit:
        doctor(unit, fill)
        found = violations(read_books(unit), traded.venue.status())
        raise Undone
    assert [sentence for sentence in found if says in sentence], found
    assert violations(books(traded.database), traded.venue.status()) == []


def test_the_judge_names_what_was_sent_twice_late_or_after_a_denial(traded: Lane, tmp_path: Path) -> None:
    """The venue's journal is doctored: a message comes once more, and another a minute and a half later."""
    ours = books(traded.database)
    journal = traded.directory / "venue" / "journal.jsonl"
    assert sent(ours, journal) == []
    lines = journal.read_text(encoding="utf-8").splitlines()
    order = next(line for line in lines if json.loads(line).get("message", {}).get("35") == "D")
    doctored = tmp_path / "journal.jsonl"
    doctored.write_text("\n".join([*lines, order, ""]), encoding="utf-8")
    assert [sentence for sentence in sent(ours, doctored) if sentence.startswith("I1: expected message D")]
    message = json.loads(order)["message"]
    day, _, clock = message["60"].partition("-")
    late = {"message": {**message, "60": f"{day}-{int(clock[:2]) + 1:02d}{clock[2:]}"}}
    doctored.write_text("\n".join([lines[0], json.dumps(late), ""]), encoding="utf-8")
    assert [sentence for sentence in sent(ours, doctored) if sentence.startswith("I6")]


def test_the_judge_names_an_exception_that_nobody_expected(tmp_path: Path) -> None:
    """The line that says what was raised; an expected one is passed over."""
    text = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\nValueError: expected 1, found 2\n'
    (tmp_path / "gateway.log").write_text(f"before\n{text}after\n", encoding="utf-8")
    assert tracebacks(tmp_path) == ["gateway.log: expected no exception, found ValueError: expected 1, found 2"]
    assert tracebacks(tmp_path, ["^ValueError: expected 1"]) == []
