"""Migrations: base and all files are what init makes; one at a time, in order, once, through a kill at any point."""

import hashlib
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from init import FOLDER, create
from tests.databases import dump, make_base
from trisagion.adapters.db import Conflict, maintenance, open_database
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.maintenance import apply
from trisagion.adapters.db.migrations import BASE, Migration, migrations, read_migrations, standing
from trisagion.adapters.db.schema import differences, shapes
from trisagion.adapters.db.sql import MIGRATIONS
from trisagion.clock import SystemClock
from trisagion.errors import StateError

HEAD = """\
-- Why: a test
-- How long: at once
-- Locks: lease, while it is copied
-- Safe while trading: no
-- Check: SELECT COUNT(*) FROM information_schema.columns
--     WHERE table_schema = DATABASE() AND table_name = 'lease' AND column_name = '{column}'
-- Check on SQLite: SELECT COUNT(*) FROM pragma_table_info('lease') WHERE name = '{column}'
-- Undo: ALTER TABLE lease DROP COLUMN {column}
"""
WIDER = HEAD.format(column="size") + (
    "ALTER TABLE lease\n    ADD COLUMN colour VARCHAR(8) NOT NULL DEFAULT 'red',\n"
    "    ADD COLUMN size DECIMAL(38,12) NULL;\n"
)
BLIND = HEAD.format(column="taste") + "ALTER TABLE lease ADD COLUMN smell BIGINT NULL;\n"
LAST = len(migrations())


@pytest.fixture
def more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Migration, ...]:
    """Add two files to the release's: one that widens a table, and one whose check looks for something else."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in MIGRATIONS.glob("*.sql"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / f"{LAST + 1:04d}_before_wider.sql").write_text(WIDER, encoding="utf-8")
    (folder / f"{LAST + 2:04d}_after_blind.sql").write_text(BLIND, encoding="utf-8")
    known = read_migrations(folder)
    monkeypatch.setattr(maintenance, "migrations", lambda: known)
    return known


def apply_all(url: str) -> None:
    """Apply every migration of the release."""
    for migration in migrations():
        assert apply(url, migration.number, "alice", SystemClock()).state == "applied"


def made_by_this_release(url: str) -> None:
    """Make a database that has had the migrations of the release, and not those that a test adds."""
    make_base(url)
    apply_all(url)


def test_base_and_all_migrations_are_what_init_makes(new_url: str, tmp_path: Path) -> None:
    """Every table, column by column and in one order, with keys, defaults and checks.

    It fails when init/ was changed without a migration: migrations_manual/README.md says how one is written.
    """
    create(new_url)
    with open_engine(new_url).connect() as connection:
        made = shapes(connection)
    url = new_url if not new_url.startswith("sqlite") else f"sqlite:///{tmp_path / 'migrated.sqlite3'}"
    make_base(url)
    apply_all(url)
    with open_engine(url).connect() as connection:
        assert differences(connection, missing=True) == []
        migrated = shapes(connection)
    assert migrated == made
    assert {name: list(shape.columns) for name, shape in migrated.items()} == {
        name: list(shape.columns) for name, shape in made.items()
    }


def test_the_base_is_never_changed() -> None:
    """Databases were made by it: what they lack is a migration's to add."""
    digest = hashlib.sha256((MIGRATIONS / BASE).read_bytes()).hexdigest()
    assert digest == "c3c093f91f3132d0dc1a4e6174e7df5df5ff4c2bc2def59abeb981832a2dcab7"


def test_a_database_of_the_base_is_refused_with_the_command_to_apply(new_url: str) -> None:
    """By a process, and by init, which creates nothing; after the migrations both go on, and the rows are there."""
    make_base(new_url)
    with open_engine(new_url).connect() as connection:
        connection.exec_driver_sql("INSERT INTO lease VALUES ('a', 'b', 1, 2)")
        connection.commit()
    before = dump(new_url)
    database = open_database(new_url)
    told = r"is of an older release, it lacks 0001_before_schema_migration.*: see `trisagion db plan`, then "
    with pytest.raises(StateError, match=told + "`trisagion db apply 0001`"), database.snapshot():
        pass
    with pytest.raises(StateError, match=told):
        create(new_url)
    assert dump(new_url) == before
    apply_all(new_url)
    create(new_url)
    with database.snapshot() as tx:
        assert tx.session.connection.exec_driver_sql("SELECT owner FROM lease").scalar_one() == "b"
    database.close()


def test_one_file_is_applied_in_order_and_once(new_url: str, more: tuple[Migration, ...]) -> None:
    """Who and when are recorded; out of order, again, and unknown are refused with the number that is expected."""
    make_base(new_url)
    with pytest.raises(StateError, match=r"applied in order: expected 0001 \(0001_before_schema_migration\), found"):
        apply(new_url, 2, "alice", SystemClock())
    apply_all(new_url)
    entry = apply(new_url, LAST + 1, "bob", SystemClock())
    assert (entry.name, entry.checksum, entry.operator) == (f"{LAST + 1:04d}_before_wider", more[LAST].checksum, "bob")
    with pytest.raises(StateError, match="was applied by bob already: nothing was done"):
        apply(new_url, LAST + 1, "carol", SystemClock())
    with pytest.raises(StateError, match="expected the number of a file in migrations_manual/, found 0999"):
        apply(new_url, 999, "carol", SystemClock())
    with open_engine(new_url).connect() as connection:
        columns = shapes(connection)["lease"].columns
        number = "TEXT" if new_url.startswith("sqlite") else "DECIMAL(38,12)"
        assert (columns["colour"], columns["size"]) == ("VARCHAR(8) NOT NULL DEFAULT red", f"{number} NULL")


def test_a_file_that_was_changed_since_is_refused(
    new_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is applied on top of what is not what it was; the checksums are told."""
    create(new_url)
    for path in MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    (tmp_path / f"{LAST + 1:04d}_before_wider.sql").write_text(WIDER, encoding="utf-8")
    known = read_migrations(tmp_path)
    monkeypatch.setattr(maintenance, "migrations", lambda: known)
    with pytest.raises(StateError, match=f"never changed, found another one: 0001.*{known[0].checksum[:12]}"):
        apply(new_url, LAST + 1, "alice", SystemClock())


def test_a_file_whose_check_denies_it_is_not_recorded(new_url: str, more: tuple[Migration, ...]) -> None:
    """It ran, and something else came of it: the operator is told, and the record says begun at most."""
    made_by_this_release(new_url)
    apply(new_url, LAST + 1, "alice", SystemClock())
    with pytest.raises(StateError, match="was run, and its check denies it: expected a count above 0"):
        apply(new_url, LAST + 2, "alice", SystemClock())
    assert LAST + 2 not in _done(new_url, more)


def _done(url: str, known: tuple[Migration, ...]) -> set[int]:
    with open_engine(url).connect() as connection:
        return {entry.number for entry in standing(connection, known).done}


def test_two_operators_do_not_get_in_each_other_s_way(new_url: str, more: tuple[Migration, ...]) -> None:
    """While one holds the lock, another is told so; nothing waits behind it."""
    made_by_this_release(new_url)
    with open_engine(new_url).connect() as holder:
        lite = new_url.startswith("sqlite")
        holder.exec_driver_sql("BEGIN IMMEDIATE" if lite else f"SELECT GET_LOCK({maintenance.LOCK}, 0)").close()
        with pytest.raises(Conflict, match="holds the write lock" if lite else "is changing this database's shape"):
            apply(new_url, LAST + 1, "alice", SystemClock())
    assert LAST + 1 not in _done(new_url, more)
    apply(new_url, LAST + 1, "alice", SystemClock())


KILLED = textwrap.dedent(
    """
    import os, pathlib, signal, sys
    import sqlalchemy as sa
    from trisagion.adapters.db import maintenance
    from trisagion.adapters.db.migrations import read_migrations
    from trisagion.clock import SystemClock
    url, folder, number, moment = sys.argv[1:]
    known = read_migrations(pathlib.Path(folder))
    maintenance.migrations = lambda: known
    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    def is_ddl(statement):
        return statement.startswith(("ALTER", "CREATE"))
    @sa.event.listens_for(sa.engine.Engine, "before_cursor_execute")
    def before(connection, cursor, statement, *rest):
        if moment == "before the statement" and is_ddl(statement):
            kill()
    @sa.event.listens_for(sa.engine.Engine, "after_cursor_execute")
    def after(connection, cursor, statement, parameters, *rest):
        if moment == "after the statement" and is_ddl(statement):
            kill()
        if moment == "recorded, not committed" and "applied" in str(parameters):
            kill()
    maintenance.apply(url, int(number), "alice", SystemClock())
    """
)


def killed_apply(url: str, folder: Path, number: int, moment: str) -> "subprocess.Popen[str]":
    """Start a process that applies a migration and kills itself at a moment, with SIGKILL."""
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, url, str(folder), str(number), moment],
        env={"PYTHONPATH": str(FOLDER.parent)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("moment", ["before the statement", "after the statement", "recorded, not committed"])
@pytest.mark.parametrize("what", ["the first, which makes the record", "a later one"])
def test_an_apply_that_was_killed_is_called_again(
    new_url: str, tmp_path: Path, more: tuple[Migration, ...], moment: str, what: str
) -> None:
    """SIGKILL before the DDL statement, behind it, and before the record's commit: the second call completes it."""
    number = 1 if what.startswith("the first") else LAST + 1
    make_base(new_url)
    if number > 1:
        apply_all(new_url)
    process = killed_apply(new_url, tmp_path / "migrations", number, moment)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -9, said
    assert number not in _done(new_url, more)
    with open_engine(new_url).connect() as connection:
        left = {entry.number for entry in standing(connection, more).begun}
    # SQLite takes all of it back, and the first migration is not recorded before it was done: its table is the record.
    assert left == (set() if new_url.startswith("sqlite") or number == 1 else {number})
    assert apply(new_url, number, "bob", SystemClock()).operator == "bob"
    assert number in _done(new_url, more)
    with open_engine(new_url).connect() as connection:
        assert ("size" in shapes(connection)["lease"].columns) == (number > 1)


@pytest.mark.mariadb
def test_a_client_that_dies_while_the_server_works_leaves_it_to_finish(
    mariadb_elsewhere: str, tmp_path: Path, more: tuple[Migration, ...]
) -> None:
    """It waits for a table in use when its client is killed: whatever becomes of it, the next call is right."""
    made_by_this_release(mariadb_elsewhere)
    with open_engine(mariadb_elsewhere).connect() as reader:
        reader.exec_driver_sql("SELECT * FROM lease").all()  # its transaction holds the table's shape
        process = killed_apply(mariadb_elsewhere, tmp_path / "migrations", LAST + 1, "never")
        deadline = time.monotonic() + 60
        with open_engine(mariadb_elsewhere).connect() as watcher:
            while not watcher.exec_driver_sql(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata%%'"
            ).scalar_one():
                assert time.monotonic() < deadline
                assert process.poll() is None, process.stderr
                time.sleep(0.05)
        process.kill()
        process.communicate()
        with pytest.raises(Conflict, match=r"is changing this database's shape|is in use|try again"):
            apply(mariadb_elsewhere, LAST + 1, "bob", SystemClock())
        reader.rollback()
    while LAST + 1 not in _done(mariadb_elsewhere, more):
        assert time.monotonic() < deadline
        try:
            apply(mariadb_elsewhere, LAST + 1, "bob", SystemClock())
        except Conflict:
            time.sleep(0.1)
    with open_engine(mariadb_elsewhere).connect() as connection:
        assert "size" in shapes(connection)["lease"].columns


def test_a_before_file_leaves_a_running_process_running(new_url: str, more: tuple[Migration, ...]) -> None:
    """Writes go on while a column is added, and after; none is lost."""
    made_by_this_release(new_url)
    database = open_database(new_url)
    stop = threading.Event()
    failed: list[BaseException] = []
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            try:
                with database.transaction() as tx:
                    tx.control.acquire(f"lease {len(written)}", "me", 60.0)
                written.append(1)
            except Conflict:
                continue
            except BaseException as error:
                failed.append(error)
                raise

    thread = threading.Thread(target=write)
    thread.start()
    try:
        _until(lambda: len(written) > 20)
        apply(new_url, LAST + 1, "alice", SystemClock())
        seen = len(written)
        _until(lambda: len(written) > seen + 20)
    finally:
        stop.set()
        thread.join()
    assert not failed
    with database.snapshot() as tx:
        count = tx.session.connection.exec_driver_sql("SELECT COUNT(*) FROM lease WHERE colour = 'red'").scalar_one()
    assert count == len(written)
    database.close()


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)
