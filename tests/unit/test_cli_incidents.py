"""`trisagion incidents` on a run's directory."""

import getpass
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.builders import TUESDAY_NS, Desk, qty
from tests.databases import founded_run
from trisagion.cli import incidents
from trisagion.clock import MINUTE_NS
from trisagion.errors import StateError
from trisagion.observer_ports import Observation
from trisagion.orders.incidents import IncidentKind, View, lasting, opened, over
from trisagion.ports import Replay

VIEWS = (View("ledger", qty(2), TUESDAY_NS), View("venue", qty(3), TUESDAY_NS))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Lay an account out as the newest run of a state directory, with one incident closed and one open."""
    database = founded_run(tmp_path, '[platform]\naccount = "SIM-1"\n')
    with database.transaction() as tx:
        begun = tx.incidents.add(opened("ES", IncidentKind.DISAGREEMENT, VIEWS, ["WHY: so"], TUESDAY_NS))
        tx.incidents.save(over(begun, VIEWS, TUESDAY_NS + MINUTE_NS))
        begun = tx.incidents.add(opened("ES", IncidentKind.DISAGREEMENT, VIEWS, ["WHY: so"], TUESDAY_NS))
        tx.incidents.save(lasting(begun, IncidentKind.DISAGREEMENT, VIEWS, ["WHY: again"], TUESDAY_NS + MINUTE_NS))
    yield Desk(database).found()
    database.close()


def test_open_incidents_are_listed_and_all_on_demand(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people a table, for machines a list."""
    with desk.database.snapshot() as tx:
        assert len(tx.incidents.newest(9)) == 2
    incidents.show_all(False, None, tmp_path, False)
    assert capsys.readouterr().out == (
        "incident  symbol  kind          opened                    cycles  at last\n"
        "       2  ES      disagreement  2024-06-11T12:00:00.000Z  2       ledger=2 venue=3\n"
    )
    incidents.show_all(True, None, tmp_path, False)
    assert "  2024-06-11T12:01:00.000Z  1  " in capsys.readouterr().out.splitlines()[1]
    incidents.show_all(True, None, tmp_path, True)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["incident"], row["closed"]) for row in rows] == [(1, "2024-06-11T12:01:00.000Z"), (2, None)]
    assert rows[1]["views"][1] == {"witness": "venue", "qty": "3", "at": "2024-06-11T12:00:00.000Z"}


def test_one_incident_is_told_whole(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was said at first and at last, why there is no consensus, and how it ended."""
    assert desk.events("incident") == []
    incidents.shown(1, state=tmp_path)
    told = capsys.readouterr().out
    assert told.startswith(
        "incident 1: ES, disagreement, opened 2024-06-11T12:00:00.000Z, closed 2024-06-11T12:01:00.000Z\n"
    )
    assert "    venue: 3 as of 2024-06-11T12:00:00.000Z" in told
    assert told.endswith("WHY: so\nconsensus is back\n")
    with pytest.raises(StateError, match="expected the number of an incident, found 7"):
        incidents.shown(7, state=tmp_path)


def test_an_incident_is_adjusted_by_its_number(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a price that is named; the entry is told, and the incident says who did it."""
    with desk.database.transaction() as tx:
        tx.control.put_replay(Replay("x", "", 1, "", TUESDAY_NS, TUESDAY_NS, TUESDAY_NS, 1.0, 0, finished=True))
        tx.ledger.observe(Observation("venue", "ES", qty(3), TUESDAY_NS))
    incidents.adjusted(2, "by hand", "ticket 7", at="4001", state=tmp_path, as_json=True)
    entry = json.loads(capsys.readouterr().out)["entry"]
    assert (desk.position.qty, desk.position.cost) == (qty(3), Decimal(4001 * 3 * 50))
    with desk.database.snapshot() as tx:
        incident = tx.incidents.incident(2)
    assert incident is not None and incident.outcome == f"adjusted by {getpass.getuser()}: {entry}"
