"""Real databases and a broker for tests: what takes a `database` runs on SQLite and on a private MariaDB."""

import getpass
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from init import create
from tests.mysql_server import MYSQLD, mysql
from trisagion.adapters.db import SqlDatabase, open_database, tables
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.migrations import BASE
from trisagion.adapters.db.sql import MIGRATIONS, for_sqlite
from trisagion.adapters.db.table_parts import METADATA
from trisagion.adapters.db.users import USERS
from trisagion.adapters.servers import mariadb, redis


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """Give a folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="trisagion-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def mariadb_url(tmp_path_factory: pytest.TempPathFactory, short_directory: Path) -> Iterator[str]:
    """Run one MariaDB for all tests, or the MySQL that MYSQLD names; give the URL of its empty database."""
    directory = tmp_path_factory.mktemp("mariadb")
    with mysql(MYSQLD, directory, short_directory) if MYSQLD else mariadb(directory, short_directory) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory, short_directory: Path) -> Iterator[str]:
    """Run one Redis for all tests."""
    with redis(tmp_path_factory.mktemp("redis"), short_directory) as url:
        yield url


@pytest.fixture
def mariadb_elsewhere(mariadb_url: str, short_directory: Path) -> Iterator[str]:
    """Give the URL, with all rights, of a database that the server does not have yet; it goes after the test."""
    assert mariadb_url
    # The server's administrator is whoever started it, by the socket file alone.
    at = f"{getpass.getuser()}@localhost/{{}}?unix_socket={short_directory / 'mariadb.sock'}"
    yield f"mysql://{at.format('elsewhere')}"
    with open_engine(f"mysql://{at.format('information_schema')}").connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS elsewhere")
        for user in USERS:
            connection.exec_driver_sql(f"DROP USER IF EXISTS 'elsewhere_{user}'@'%%'")


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database that is not there yet, with the right to create it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.sqlite3'}"
    return str(request.getfixturevalue("mariadb_elsewhere"))


def lay_out_run(state: Path, url: str, more: str = "") -> Path:
    """Lay out a state directory whose newest run has this database, and `more` in its settings; return its folder."""
    run = state / "runs" / "one"
    run.mkdir(parents=True)
    (run / "trisagion.toml").write_text(f'[database]\nurl = "{url}"\n{more}', encoding="utf-8")
    (state / "latest").write_text("one\n", encoding="utf-8")
    return run


def founded_run(state: Path, more: str = "") -> SqlDatabase:
    """Lay out a state directory as `lay_out_run` does, over a new SQLite database; return that, open."""
    url = f"sqlite:///{state / 'trisagion.sqlite3'}"
    create(url)
    lay_out_run(state, url, more)
    return open_database(url)


def dump(url: str) -> str:
    """Write every table of a database, as it is declared and row by row."""
    with open_engine(url).connect() as connection:
        lite = connection.dialect.name == "sqlite"
        made = "SELECT sql FROM sqlite_master WHERE name = '{}'" if lite else "SHOW CREATE TABLE {}"
        texts = []
        for name in sorted(sa.inspect(connection).get_table_names()):
            texts.append(str(connection.exec_driver_sql(made.format(name)).all()))
            texts += sorted(map(str, connection.exec_driver_sql(f"SELECT * FROM {name}")))  # noqa: S608 # its own names
    return "\n".join(texts)


def make_base(url: str) -> None:
    """Make a database as release 0.1.0 left it, before the first migration."""
    if not url.startswith("sqlite"):
        create(url)
        with open_engine(url).connect() as connection:
            for (name,) in connection.exec_driver_sql("SHOW TABLES").all():
                connection.exec_driver_sql(f"DROP TABLE {name}")
    text = re.sub(r"^--.*\n", "", (MIGRATIONS / BASE).read_text(encoding="utf-8"), flags=re.MULTILINE)
    with open_engine(url, may_create=True).connect() as connection:
        for statement in filter(None, (part.strip() for part in text.split(";"))):
            for part in for_sqlite(statement) if url.startswith("sqlite") else [statement]:
                connection.exec_driver_sql(part)


def _emptied(url: str) -> str:
    create(url)
    database = open_database(url)
    with database.transaction() as tx:
        for table in set(METADATA.sorted_tables) - {tables.schema_migration}:
            tx.session.write(table.delete(), {})
    database.close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite database with all tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "trisagion.sqlite3"
    create(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Give the URL of a SQLite database with all tables, each without a row."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'trisagion.sqlite3')}"


@pytest.fixture(scope="session")
def mariadb_users(mariadb_url: str, short_directory: Path) -> dict[str, str]:
    """Give the URL of each user with few rights on the one MariaDB's database."""
    owner = f"mysql://{getpass.getuser()}@localhost/trisagion?unix_socket={short_directory / 'mariadb.sock'}"
    create(owner, dict.fromkeys(USERS, "secret"))
    url = sa.make_url(mariadb_url)
    named = {user: url.set(username=f"trisagion_{user}", password="secret") for user in USERS}
    return {user: one.render_as_string(hide_password=False) for user, one in named.items()}


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def owned_url(request: pytest.FixtureRequest) -> str:
    """Give the same as `database_url`, for what makes and drops partitions: with the rights to do so."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return _emptied(str(request.getfixturevalue("mariadb_url")))


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a database with all tables, each without a row; on MariaDB the writer's, who may do no more."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    _emptied(str(request.getfixturevalue("mariadb_url")))
    return str(request.getfixturevalue("mariadb_users")["writer"])


@pytest.fixture
def database(database_url: str) -> Iterator[SqlDatabase]:
    """Give an open database."""
    database = open_database(database_url)
    yield database
    database.close()


@pytest.fixture
def other(database_url: str) -> Iterator[SqlDatabase]:
    """Give the same database, opened a second time, as another process would."""
    other = open_database(database_url)
    yield other
    other.close()


@pytest.fixture
def on_mariadb(mariadb_url: str) -> Iterator[SqlDatabase]:
    """Give an open database on MariaDB only, for what SQLite has not."""
    database = open_database(_emptied(mariadb_url))
    yield database
    database.close()
