"""`trisagion egress` on a run's directory."""

import json
from pathlib import Path

import pytest

from tests.databases import founded_run
from trisagion.adapters.db.engine import open_database
from trisagion.cli import egress
from trisagion.clock import SECOND_NS
from trisagion.gateway.egress import EgressEvent, What

T0 = 1_700_000_000 * SECOND_NS

HISTORY = [
    ("", What.STARTED, "paths lte, direct"),
    ("lte", What.CONNECTED, ""),
    ("lte", What.LEFT, "reset by peer"),
    ("lte", What.DOWN, "reset: reset by peer"),
    ("direct", What.CONNECTED, ""),
]


def lay_out(state: Path, use: str) -> None:
    """Make the newest run of a state directory, with a record of its paths."""
    paths = "[egress.paths.lte]\nkind = 'http'\nhost = 'h'\nport = 1\n"
    founded_run(state, f"[egress]\nuse = {use}\n{paths if use != '[]' else ''}").close()


def record(state: Path, session: str) -> None:
    """Write what a forwarder would have."""
    database = open_database(f"sqlite:///{state / 'trisagion.sqlite3'}")
    with database.transaction() as tx:
        for number, (path, what, why) in enumerate(HISTORY):
            tx.egress.add(EgressEvent(session, T0 + number * SECOND_NS, path, what, why))
    database.close()


def test_each_path_is_shown_with_why_it_was_left_and_who_carries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the settings; as text and for machines; one session alone, if asked for."""
    lay_out(tmp_path, '["lte", "direct"]')
    record(tmp_path, "SIM")
    record(tmp_path, "OTHER")
    egress.command("SIM", tmp_path, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        (
            "SIM  lte          DOWN since 2023-11-14T22:13:23.000Z (reset: reset by peer); carried 1 connections; "
            "left 2023-11-14T22:13:22.000Z: reset by peer"
        ),
        "SIM  direct       up; carried 1 connections, one of them now",
    ]
    egress.command(None, tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [(row["session"], row["path"]) for row in told] == [
        *(("OTHER", "direct"), ("OTHER", "lte"), ("SIM", "lte"), ("SIM", "direct")),
    ]
    assert told[2]["up"] is False
    assert told[2]["left_why"] == "reset by peer"
    assert told[3]["carrying"] is True


def test_a_run_without_paths_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its sessions connect directly."""
    lay_out(tmp_path, "[]")
    egress.command(None, tmp_path, as_json=False)
    assert capsys.readouterr().out == "no session has paths of its own: they connect directly\n"
    egress.command(None, tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out) == []
