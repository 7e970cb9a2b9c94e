"""Which starts are events: those with other code or other settings than the start before."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import Desk
from trisagion.adapters.db import tables as t
from trisagion.cli import run as command
from trisagion.cli import starts
from trisagion.settings import load
from trisagion.wiring import House

PLAIN = load(None, {}, {"fix.password": "env:SECRET"})
FIRST = starts.start_of("one", "0.1+aa", PLAIN)


def test_the_first_start_and_the_same_again_are_no_event(tmp_path: Path) -> None:
    """What is kept of a start is read back as it was."""
    assert starts.last(tmp_path) is None
    assert starts.changes(None, FIRST) == {}
    starts.keep(tmp_path, FIRST)
    assert starts.last(tmp_path) == FIRST
    assert starts.changes(FIRST, replace(FIRST, run="two")) == {}
    assert [path.name for path in tmp_path.iterdir()] == [starts.FILE]


def test_what_changed_is_told_by_key_and_digest_and_never_by_value() -> None:
    """Also what no decision depends on; code and settings each for themselves."""
    other = load(None, {}, {"fix.password": "env:OTHER", "risk.orders_max": "7"})
    told = starts.changes(FIRST, starts.start_of("two", "0.1+bb", other))
    assert told == {
        "build.changed": {"run_before": "one", "before": "0.1+aa", "now": "0.1+bb"},
        "configuration.changed": {
            "run_before": "one",
            "before": FIRST.config,
            "now": starts.start_of("two", "", other).config,
            "keys": "fix.password risk.orders_max",
        },
    }
    assert "OTHER" not in repr(told)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run": 1}', '{"run":"a","build":"b","config":"c","settings":3}'])
def test_a_last_start_that_cannot_be_read_counts_as_another(tmp_path: Path, text: str) -> None:
    """Whoever deletes it whole hides no more than that: each start has all its settings in the chain."""
    (tmp_path / starts.FILE).write_text(text, encoding="utf-8")
    told = starts.changes(starts.last(tmp_path), FIRST)
    assert told["build.changed"]["before"] == told["configuration.changed"]["before"] == "unreadable"


def test_a_run_that_starts_with_other_settings_says_so_once(sqlite_url: str, tmp_path: Path) -> None:
    """In its own events, beside the note of the start."""
    house = House(load(None, {}, {"database.url": sqlite_url}))
    desk = Desk(house.database)
    place = tmp_path / "runs" / "two"
    command._tell_changes(house, place, PLAIN)
    assert desk.events("configuration.changed") == desk.events("build.changed") == []
    other = load(None, {}, {"cohort.runs": "900"})
    for _ in range(2):
        command._tell_changes(house, place, other)
    [row] = desk.rows(t.event.c.seq, t.event.c.kind, t.event.c.subject, t.event.c.detail)
    assert row[1:3] == ("configuration.changed", "two")
    assert '"keys": "cohort.runs fix.password"' in row[3]
