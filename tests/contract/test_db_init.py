"""Init makes what is missing, also when it was killed in between, and leaves everything else as it is."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import sqlalchemy as sa

from init import FOLDER, create
from tests.builders import TUESDAY_NS
from tests.databases import dump
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.migrations import expect_schema, migrations
from trisagion.adapters.db.sql import init_files
from trisagion.adapters.db.table_parts import METADATA
from trisagion.adapters.db.users import USERS, user_passwords
from trisagion.errors import ConfigError, StateError
from trisagion.settings import load

PASSWORDS = dict.fromkeys(USERS, "it's a 100% \\ \" secret")


def run(url: str, sql: str) -> None:
    """Run a statement as somebody else would."""
    with open_engine(url).connect() as connection:
        connection.exec_driver_sql(sql)
        connection.commit()


def test_a_new_database_is_made_whole(new_url: str) -> None:
    """The database itself, all tables, and a record of every migration; a process may use it at once."""
    create(new_url, operator="alice")
    with open_engine(new_url).connect() as connection:
        expect_schema(connection)
        assert set(sa.inspect(connection).get_table_names()) >= set(METADATA.tables)
        rows = connection.exec_driver_sql("SELECT name, state, operator FROM schema_migration ORDER BY number").all()
    assert [tuple(row) for row in rows] == [(migration.name, "created", "alice") for migration in migrations()]


def test_init_on_a_database_with_data_changes_nothing(database_url: str, database: SqlDatabase) -> None:
    """A dump of every table, its declaration and its rows, is the same before and after."""
    with database.transaction() as tx:
        tx.control.add_event("kind", "subject", {"a": "b"}, TUESDAY_NS)
        tx.control.acquire("lease", "me", 5.0)
    before = dump(database_url)
    create(database_url)
    assert dump(database_url) == before
    assert "kind" in before


def test_what_is_missing_is_made_and_nothing_else(new_url: str) -> None:
    """A table that somebody dropped comes back, empty, and the rows of the others stay."""
    create(new_url)
    run(new_url, "INSERT INTO lease VALUES ('a', 'b', 1, 2)")
    run(new_url, "DROP TABLE event")
    create(new_url)
    with open_engine(new_url).connect() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM lease").scalar_one() == 1
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM event").scalar_one() == 0


@pytest.mark.parametrize("statements", [1, 2, 3, 20])
def test_an_init_that_was_killed_is_gone_on_with(new_url: str, statements: int) -> None:
    """SIGKILL at the given CREATE: the next init completes it, and what is recorded is what a whole one records."""
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED_INIT, new_url, str(statements)],
        env={"PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    create(new_url)
    with open_engine(new_url).connect() as connection:
        expect_schema(connection)
        assert set(sa.inspect(connection).get_table_names()) >= set(METADATA.tables)


_KILLED_INIT = textwrap.dedent(
    """
    import os, signal, sys
    import sqlalchemy as sa
    from init import create
    left = int(sys.argv[2])
    @sa.event.listens_for(sa.engine.Engine, "after_cursor_execute")
    def kill(connection, cursor, statement, *rest):
        global left
        left -= statement.startswith("CREATE TABLE")
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    create(sys.argv[1])
    """
)


def test_a_newer_release_s_database_is_refused_with_what_differs(new_url: str) -> None:
    """The migration that is not known here is named, and so is the column that it added."""
    create(new_url)
    run(new_url, "ALTER TABLE lease ADD COLUMN colour TEXT NULL")
    run(new_url, "INSERT INTO schema_migration VALUES (999, '0999_before_colour', 'abc', 'applied', 'bob', 1)")
    with pytest.raises(StateError, match=r"another release \(0999_before_colour\)") as refusal:
        create(new_url)
    assert "table lease, column colour: expected none, found TEXT NULL" in str(refusal.value)


@pytest.mark.parametrize(
    ("phase", "refused"), [("before", False), ("after", True)], ids=["before files leave old code running", "after"]
)
def test_a_process_goes_on_until_the_first_after_file_of_a_newer_release(
    new_url: str, phase: str, refused: bool
) -> None:
    """What it does not know it can leave alone, unless it removed what this release needs."""
    create(new_url)
    run(
        new_url,
        "INSERT INTO schema_migration VALUES (999, '0999_PHASE_x', 'abc', 'applied', 'bob', 1)".replace("PHASE", phase),
    )
    database = open_database(new_url)
    if refused:
        with pytest.raises(StateError, match=f"newer release, it has had 0999_{phase}_x"), database.snapshot():
            pass
    else:
        with database.snapshot() as tx:
            assert tx.control.replay() is None
    database.close()


def test_a_record_of_another_program_is_refused(new_url: str) -> None:
    """Its table has our name and other columns: nothing is created beside it."""
    create(new_url)
    run(new_url, "ALTER TABLE schema_migration DROP COLUMN checksum")
    with pytest.raises(StateError, match="table schema_migration is another program's: name another database"):
        create(new_url)


def test_an_empty_database_says_what_makes_its_tables(tmp_path: Path) -> None:
    """A process that opens it is told the command, not the name of a missing table."""
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    (tmp_path / "empty.sqlite3").touch()
    database = open_database(url)
    with pytest.raises(StateError, match="has no tables of ours: run `trisagion db init`"), database.snapshot():
        pass
    database.close()


@pytest.fixture
def users(mariadb_elsewhere: str) -> dict[str, str]:
    """Make a database with all its users; give the URL of each."""
    create(mariadb_elsewhere, PASSWORDS)
    create(mariadb_elsewhere, dict.fromkeys(USERS, "another"))  # a password that is set stays
    url = sa.make_url(mariadb_elsewhere)
    named = {user: url.set(username=f"elsewhere_{user}", password=password) for user, password in PASSWORDS.items()}
    return {user: one.render_as_string(hide_password=False) for user, one in named.items()}


@pytest.mark.mariadb
@pytest.mark.parametrize("driver", ["mysql", "mysql+pymysql"])
def test_a_password_that_was_changed_is_read_again_and_a_wrong_one_is_refused(
    users: dict[str, str], mariadb_elsewhere: str, driver: str
) -> None:
    """By a process that has the old one, at its next connection; one that nobody changed is told once, without it."""
    url = sa.make_url(users["writer"]).set(drivername=driver)
    stands = [url]
    given = url.render_as_string(hide_password=False)
    database = open_database(given, renewed=lambda: stands[-1].render_as_string(hide_password=False))
    for password in ("canary", "the next, %40"):
        with database.transaction() as tx:
            tx.control.add_event("kind", password, {}, TUESDAY_NS)
        run(mariadb_elsewhere, f"ALTER USER 'elsewhere_writer'@'%%' IDENTIFIED BY '{password.replace('%', '%%')}'")
        with pytest.raises(StateError, match="check the URL") as error, database.snapshot():
            pass
        assert "canary" not in str(error.value)
        stands.append(url.set(password=password))
    with pytest.raises(ConfigError, match="found no such URL") as refused:
        open_database("mysql:/writer:canary@host")
    assert "canary" not in str(refused.value)
    with database.snapshot() as tx:
        told = tx.session.bare_rows(sa.text("SELECT subject FROM event ORDER BY seq"))
    assert list(told) == [("canary",), ("the next, %40",)]


NOTED = "VALUES (NULL, 1, 1, 'h', 'b', 'c', 'k', 'a', 's', '{}')"
CHAINED = "VALUES ('orders', 1, 1, 'execution', '1', '{}', '0', '1')"
ALLOWED = {
    "writer": {
        "SELECT * FROM orders",
        "INSERT INTO event VALUES (NULL, 1, 'a', 'b', 'c')",
        "UPDATE shard SET epoch = 1",
        f"INSERT INTO audit_event {CHAINED}",
    },
    "gateway": {
        "SELECT * FROM orders",
        "SELECT * FROM shard",
        "INSERT INTO event VALUES (NULL, 1, 'a', 'b', 'c')",
        "UPDATE orders SET state = 'new'",
        f"INSERT INTO audit_note {NOTED}",
    },
    "audit": {"INSERT INTO event VALUES (NULL, 1, 'a', 'b', 'c')", f"INSERT INTO audit_note {NOTED}"},
    "reader": {"SELECT * FROM orders", "SELECT * FROM shard"},
}
REFUSED = {
    "writer": {
        "DELETE FROM orders",
        "UPDATE event SET kind = 'x'",
        "DELETE FROM audit_event",
        "UPDATE audit_event SET detail = 'x'",
        "UPDATE audit_note SET kind = 'x'",
        "UPDATE control SET mode = 'normal'",
        "UPDATE execution SET fee = 0",
        "UPDATE posting SET amount = 0",
        "UPDATE ledger_entry SET currency = 'EUR'",
        "UPDATE schema_migration SET state = 'x'",
        "CREATE TABLE t (a INT)",
        "DROP TABLE event",
        "ALTER TABLE event ADD COLUMN a INT",
    },
    "gateway": {
        "UPDATE shard SET epoch = 1",
        "UPDATE instrument SET tick_size = 1",
        "UPDATE execution SET fee = 0",
        "UPDATE posting SET amount = 0",
        "UPDATE ledger_entry SET currency = 'EUR'",
        "DELETE FROM posting",
        "DELETE FROM orders",
        f"INSERT INTO audit_event {CHAINED}",
        "UPDATE audit_mark SET upto = 1",
        "DROP TABLE event",
    },
    "audit": {"SELECT * FROM event", "UPDATE event SET kind = 'x'", "DELETE FROM event", "SELECT * FROM orders"},
    "reader": {
        "INSERT INTO event VALUES (NULL, 1, 'a', 'b', 'c')",
        "DELETE FROM orders",
        "DELETE FROM audit_event",
        "UPDATE orders SET state = 'x'",
    },
}


@pytest.mark.mariadb
@pytest.mark.parametrize("user", USERS)
def test_each_user_may_do_its_own_and_no_more(users: dict[str, str], user: str) -> None:
    """Granted table by table: what the rows list passes, and what they forbid is refused by the server."""
    for statement in ALLOWED[user]:
        run(users[user], statement)
    for statement in REFUSED[user]:
        with pytest.raises((StateError, sa.exc.DBAPIError), match=r"denied|is refused to this user"):
            run(users[user], statement)


@pytest.mark.mariadb
def test_init_by_a_user_without_the_right_to_create_finds_everything_there(users: dict[str, str]) -> None:
    """A run starts with init, and its user is the writer: where nothing is missing, nothing is created."""
    create(users["writer"])


def test_the_users_files_name_every_table_once() -> None:
    """A new table is granted to somebody, or its file says nothing of it for a reason that stands here."""
    for user in ("writer", "gateway", "reader"):
        text = (FOLDER / "users" / f"{user}.sql").read_text(encoding="utf-8")
        granted = [line.split(" ON ")[1].split(" ")[0] for line in text.splitlines() if line.startswith("GRANT")]
        assert granted == list(init_files()), user


def test_passwords_come_by_reference_and_are_wanted() -> None:
    """Those that are set are resolved; none at all is a mistake of whoever asked for users."""
    settings = load(None, {}, {"database.reader_password": "env:READER"})
    assert user_passwords(settings, {"READER": "hush"}) == {"reader": "hush"}
    with pytest.raises(ConfigError, match="expected the environment variable READER"):
        user_passwords(settings, {})
    with pytest.raises(ConfigError, match="expected a password for one of the users"):
        user_passwords(load(None, {}, {}), {})
    with pytest.raises(ConfigError, match="expected a reference to the secret"):
        load(None, {}, {"database.writer_password": "hush"})
