"""Real databases and a broker for tests: what takes a `database` runs on SQLite and on a private MariaDB."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from init import create
from trisagion.adapters.db import SqlDatabase, open_database, tables
from trisagion.adapters.servers import mariadb, redis


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """Give a folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="trisagion-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def mariadb_url(tmp_path_factory: pytest.TempPathFactory, short_directory: Path) -> Iterator[str]:
    """Run one MariaDB for all tests; give the URL of its empty database."""
    with mariadb(tmp_path_factory.mktemp("mariadb"), short_directory) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory, short_directory: Path) -> Iterator[str]:
    """Run one Redis for all tests."""
    with redis(tmp_path_factory.mktemp("redis"), short_directory) as url:
        yield url


def _emptied(url: str) -> str:
    create(url)
    database = open_database(url)
    with database.transaction() as tx:
        for table in tables.METADATA.sorted_tables:
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


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a database with all tables, each without a row."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return _emptied(str(request.getfixturevalue("mariadb_url")))


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
