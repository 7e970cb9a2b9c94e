"""`trisagion db` as processes: what an operator does with a database that an older release left, kills included."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from init import FOLDER, create
from tests.databases import dump, make_base
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.maintenance import apply
from trisagion.adapters.db.migrations import Migration, migrations, standing
from trisagion.adapters.db.users import USERS
from trisagion.clock import SystemClock

FILES = [migration.name for migration in migrations()]


def trisagion(url: str, *words: str, said: str = "", code: int = 0) -> str:
    """Run a command on a database, with what is typed on its standard input; give what it printed."""
    done = subprocess.run(
        command(url, *words), env=environment(url), input=said, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code != 4 else done.stderr


def command(url: str, *words: str) -> list[str]:
    """Give the command line; the URL stays out of it, as it may hold a password."""
    assert url
    return [sys.executable, "-m", "trisagion.cli.main", *words, "--set", "database.url=env:URL"]


def environment(url: str) -> dict[str, str]:
    """Give the environment of a command."""
    return {"PYTHONPATH": str(FOLDER.parent), "URL": url, "HOME": os.environ.get("HOME", "/")}


def test_an_older_database_is_brought_up_file_by_file(new_url: str) -> None:
    """Status says what is due, plan why and on what, apply asks; then all agree, and verify finds one shape."""
    make_base(new_url)
    told = json.loads(trisagion(new_url, "db", "status", "--json", code=1))
    assert told["migrations"] == [{"name": name, "state": "pending"} for name in FILES]
    first, *_ = json.loads(trisagion(new_url, "db", "plan", "--json"))["pending"]
    assert (first["name"], first["rows"], set(first) >= {"Why", "Locks", "Undo"}) == (FILES[0], None, True)
    assert "0001_before_schema_migration  (table schema_migration: new)" in trisagion(new_url, "db", "plan")
    assert "was not run" in trisagion(new_url, "db", "apply", "1", said="n\n", code=4)
    assert "is of an older release" in trisagion(new_url, "db", "init", code=4)
    assert "0001_before_schema_migration is applied" in trisagion(new_url, "db", "apply", "1", said="y\n")
    second, *others = migrations()[1:]
    applied = json.loads(trisagion(new_url, "db", "apply", str(second.number), "--yes", "--json"))
    assert (applied["name"], applied["state"]) == (second.name, "applied")
    apply_each(new_url, others)
    assert "0001_before_schema_migration" in trisagion(new_url, "db", "status")
    assert trisagion(new_url, "db", "verify") == "database, SQL and code are of one shape\n"
    assert "nothing is to be applied" in trisagion(new_url, "db", "plan")
    assert f"{len(list(FOLDER.glob('[0-9]*.sql')))} tables are there" in trisagion(new_url, "db", "init")
    assert "there is no" not in trisagion(new_url, "doctor", "--json")


DRIFTS = [
    ("ALTER TABLE lease DROP COLUMN owner", "column owner", "VARCHAR(128) NOT NULL", "none"),
    (
        "ALTER TABLE lease ADD COLUMN colour VARCHAR(8) DEFAULT 'red'",
        "column colour",
        "none",
        "VARCHAR(8) NULL DEFAULT red",
    ),
    ("CREATE UNIQUE INDEX once ON lease (token)", "key once", "none", "UNIQUE (token)"),
]
SERVER_DRIFTS = [
    (
        "ALTER TABLE lease MODIFY owner VARCHAR(99) NOT NULL",
        "column owner",
        "VARCHAR(128) NOT NULL",
        "VARCHAR(99) NOT NULL",
    ),
    ("ALTER TABLE lease MODIFY owner VARCHAR(128) NULL", "column owner", "VARCHAR(128) NOT NULL", "VARCHAR(128) NULL"),
    ("ALTER TABLE lease DROP PRIMARY KEY", "primary key", "(name)", "()"),
    ("ALTER TABLE lease ADD CONSTRAINT c CHECK (token > 0)", "check c", "none", "token>0"),
    ("ALTER TABLE lease ENGINE=MyISAM", "", "a table of ours", "one of the engine MyISAM"),
    (
        "ALTER TABLE lease CONVERT TO CHARACTER SET latin1",
        "column owner",
        "VARCHAR(128) NOT NULL",
        "VARCHAR(128) NOT NULL COLLATE latin1_swedish_ci",
    ),
    (
        "ALTER TABLE lease MODIFY token BIGINT NOT NULL AFTER until_ms",
        "order of columns",
        "(name, owner,",
        "(name, owner,",
    ),
]


def drift(url: str, change: str) -> list[dict[str, Any]]:
    """Change a database by hand; give what verify finds."""
    create(url)
    with open_engine(url).connect() as connection:
        connection.exec_driver_sql(change)
    return list(json.loads(trisagion(url, "db", "verify", "--json", code=1))["database"])


@pytest.mark.parametrize(("change", "place", "expected", "found"), DRIFTS, ids=lambda value: value[:40])
def test_a_drift_is_told_column_by_column(new_url: str, change: str, place: str, expected: str, found: str) -> None:
    """Where, what should be there, and what is; exit code 1."""
    assert {"table": "lease", "place": place, "expected": expected, "found": found} in drift(new_url, change)


@pytest.mark.mariadb
@pytest.mark.parametrize(("change", "place", "expected", "found"), SERVER_DRIFTS, ids=lambda value: value[:40])
def test_a_drift_of_what_only_servers_have_is_told(
    mariadb_elsewhere: str, change: str, place: str, expected: str, found: str
) -> None:
    """Types, nullability, keys, checks, engine, collation and order."""
    told = drift(mariadb_elsewhere, change)
    assert any(
        (one["place"], one["expected"][: len(expected)], one["found"][: len(found)]) == (place, expected, found)
        for one in told
    ), told


def test_nothing_drops_a_database(new_url: str) -> None:
    """There is no such command, and init takes a wrong one for no excuse."""
    create(new_url)
    before = dump(new_url)
    for words in (["db", "drop"], ["db", "reset"], ["db", "init", "--force"]):
        trisagion(new_url, *words, code=2)
    assert dump(new_url) == before


@pytest.mark.parametrize("milliseconds", [400, 800])
def test_an_apply_killed_from_outside_is_called_again(new_url: str, milliseconds: int) -> None:
    """SIGKILL at whatever the command is doing then: the next call completes it, and never does it twice."""
    make_base(new_url)
    words = command(new_url, "db", "apply", "1", "--yes")
    process = subprocess.Popen(words, env=environment(new_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(milliseconds / 1000)
    process.kill()
    process.communicate()
    first, *_ = json.loads(trisagion(new_url, "db", "status", "--json", code=1 if pending(new_url) else 0))[
        "migrations"
    ]
    due, *others = migrations()[1 if first["state"] == "applied" else 0 :]
    trisagion(new_url, "db", "apply", str(due.number), "--yes")
    apply_each(new_url, others)
    assert trisagion(new_url, "db", "verify") == "database, SQL and code are of one shape\n"


def apply_each(url: str, due: Sequence[Migration]) -> None:
    """Apply migrations as the command does, without a process for each."""
    for migration in due:
        apply(url, migration.number, "ann", SystemClock())


def pending(url: str) -> bool:
    """Tell whether a migration is still due."""
    with open_engine(url).connect() as connection:
        return bool(standing(connection, migrations()).pending)


def test_a_worker_of_this_release_does_not_start_on_an_older_database(new_url: str, tmp_path: Path) -> None:
    """One sentence with the command, exit code 4, before a task is taken; a run says the same."""
    make_base(new_url)
    config = tmp_path / "trisagion.toml"
    for words, broker in (
        (["worker", "--role", "desk", "--config", str(config)], '[broker]\nurl = "redis://127.0.0.1:1/0"\n'),
        (["run", "--config", str(config), "--state", str(tmp_path / "state")], ""),
    ):
        config.write_text(f'[database]\nurl = "env:URL"\n{broker}', encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "trisagion.cli.main", *words],
            env=environment(new_url),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout.count("Traceback")) == (4, 0), done.stderr
        assert "is of an older release, it lacks 0001_before_schema_migration" in done.stderr
        assert "`trisagion db apply 0001`" in done.stderr


@pytest.mark.mariadb
def test_users_are_made_with_their_budgets_where_the_server_has_room_for_them(mariadb_elsewhere: str) -> None:
    """Without room nobody is bounded, and it is said why; with room the server knows each user's bound."""
    password = ("--set", "database.writer_password=env:SECRET")
    env = {**environment(mariadb_elsewhere), "SECRET": "canary"}

    def init(*sets: str) -> dict[str, Any]:
        line = command(mariadb_elsewhere, "db", "init", "--users", "--json", *password, *sets)
        return dict(json.loads(subprocess.run(line, env=env, capture_output=True, text=True, check=True).stdout))

    assert "max_connections" in init("--set", "database.writer_connections=100000")["unbounded"]
    assert bound(mariadb_elsewhere) == 0
    few = [f"--set=database.{user}_connections=7" for user in USERS]
    assert init(*few)["unbounded"] is None
    assert bound(mariadb_elsewhere) == 7


def bound(url: str) -> int:
    """Give how many connections the writer may have; 0 is no bound."""
    with open_engine(url).connect() as connection:
        grants = connection.exec_driver_sql("SHOW CREATE USER 'elsewhere_writer'@'%%'").scalar_one()
    found = re.search(r"MAX_USER_CONNECTIONS (\d+)", str(grants))
    return int(found[1]) if found else 0
