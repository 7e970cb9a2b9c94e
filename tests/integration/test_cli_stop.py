"""`cli.stop`, `trisagion kill`: one step, and the kill file where the database does not answer."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import Desk
from trisagion.adapters.killfile import KillFile
from trisagion.cli.stop import Stop
from trisagion.errors import StateError, TrisagionError
from trisagion.safety.modes import Level, Mode
from trisagion.settings import load
from trisagion.wiring import House

WAIT_S = 30.0


@pytest.fixture
def held(sqlite_url: str) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a database: who wants to write waits, as for a server that stands still."""
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def house(url: str, file: Path | None) -> House:
    """Return the wiring of a platform whose kill file is that one."""
    return House(load(None, {}, {"database.url": url, "safety.kill_file": "" if file is None else str(file)}))


def test_a_database_that_answers_has_the_word_and_no_file_is_made(desk: Desk, sqlite_url: str, tmp_path: Path) -> None:
    """One person, one step."""
    stop = Stop(house(sqlite_url, tmp_path / "KILL"), Mode.PAUSE, "ann", "smoke")
    assert stop.give() is None
    assert stop.confirmed(0.0)
    assert desk.mode() is Mode.PAUSE
    assert not (tmp_path / "KILL").exists()


def test_a_database_that_stands_still_has_the_file_in_its_place_until_it_has_the_word(
    desk: Desk, sqlite_url: str, held: sqlite3.Connection, tmp_path: Path
) -> None:
    """The file says pause to whoever looks; it goes when it has done its work."""
    file = tmp_path / "KILL"
    stop = Stop(house(sqlite_url, file), Mode.EMERGENCY, "ann", "smoke")
    assert stop.give() == file
    said = KillFile(file).raised()
    assert said is not None
    assert "smoke" in said
    assert not stop.confirmed(0.0)
    held.execute("ROLLBACK")
    assert stop.confirmed(WAIT_S)
    assert desk.mode() is Mode.EMERGENCY
    assert not file.exists()


def test_a_file_that_another_has_made_stays(
    desk: Desk, sqlite_url: str, held: sqlite3.Connection, tmp_path: Path
) -> None:
    """Whoever made it takes it away."""
    file = tmp_path / "KILL"
    file.write_text("bob\n", encoding="utf-8")
    stop = Stop(house(sqlite_url, file), Mode.PAUSE, "ann", "smoke")
    assert stop.give() == file
    held.execute("ROLLBACK")
    assert stop.confirmed(WAIT_S)
    assert desk.mode() is Mode.PAUSE
    assert file.read_text(encoding="utf-8") == "bob\n"


@pytest.mark.parametrize("left", [None, b"f\xfcr Ann"])
def test_a_file_that_another_took_away_or_wrote_anew_is_his(
    desk: Desk,
    sqlite_url: str,
    held: sqlite3.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left: bytes | None,
) -> None:
    """The word has arrived all the same."""
    monkeypatch.setattr("trisagion.cli.stop.ANSWER_S_MAX", 0.05)
    file = tmp_path / "KILL"
    stop = Stop(house(sqlite_url, file), Mode.PAUSE, "ann", "smoke")
    assert stop.give() == file
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    held.execute("ROLLBACK")
    assert stop.confirmed(WAIT_S)
    assert desk.mode() is Mode.PAUSE
    assert file.exists() is (left is not None)


def test_a_database_that_is_gone_is_told_where_no_file_can_stand_for_it(tmp_path: Path) -> None:
    """A word for a part is none that a file can say; nor is there always one, nor can it always be made."""
    gone = f"sqlite:///{tmp_path}/no/such.sqlite3"
    with pytest.raises(TrisagionError, match="does not exist"):
        Stop(house(gone, None), Mode.PAUSE, "ann", "smoke").give()
    with pytest.raises(TrisagionError, match="does not exist"):
        Stop(house(gone, tmp_path / "KILL"), Mode.PAUSE, "ann", "smoke", Level.SYMBOL, "ES").give()
    assert not (tmp_path / "KILL").exists()
    with pytest.raises(StateError, match="nothing is stopped"):
        Stop(house(gone, tmp_path / "none" / "KILL"), Mode.PAUSE, "ann", "smoke").give()


@pytest.mark.parametrize("reason", ["f\udcfcr Ann", "x" * 100_000, "'; DROP TABLE control; --", ""])
def test_no_stop_is_refused_for_its_words(desk: Desk, sqlite_url: str, tmp_path: Path, reason: str) -> None:
    """As a terminal of another encoding gives them, or of any length; by the database and by the file."""
    assert Stop(house(sqlite_url, tmp_path / "KILL"), Mode.PAUSE, "ann", reason).give() is None
    assert desk.mode() is Mode.PAUSE
    gone = f"sqlite:///{tmp_path}/no/such.sqlite3"
    assert Stop(house(gone, tmp_path / "KILL"), Mode.PAUSE, "ann", reason).give() == tmp_path / "KILL"
    assert KillFile(tmp_path / "KILL").raised() is not None


def test_a_word_that_was_not_written_down_is_never_taken_for_one_that_was(
    desk: Desk, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has ended the attempt: the file stands, or the person is told."""

    def broken(*_: object) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr("trisagion.services.control.engage", broken)
    assert Stop(house(sqlite_url, tmp_path / "KILL"), Mode.PAUSE, "ann", "smoke").give() == tmp_path / "KILL"
    with pytest.raises(TrisagionError, match="nobody expected this"):
        Stop(house(sqlite_url, None), Mode.PAUSE, "ann", "smoke").give()
    assert desk.mode() is Mode.NORMAL
