"""Desks for the tests of services: on SQLite for what one writer does, on both servers for what several do."""

from collections.abc import Iterator

import pytest

from tests.builders import Desk
from trisagion.adapters.db import SqlDatabase, open_database


@pytest.fixture
def desk(sqlite_url: str) -> Iterator[Desk]:
    """Give a founded account on SQLite: an instrument, its price on a Tuesday noon, mode NORMAL."""
    database = open_database(sqlite_url)
    yield Desk(database).found()
    database.close()


@pytest.fixture
def empty(sqlite_url: str) -> Iterator[Desk]:
    """Give a database on SQLite in which nothing was founded yet."""
    database = open_database(sqlite_url)
    yield Desk(database)
    database.close()


@pytest.fixture
def shared(database: SqlDatabase) -> Desk:
    """Give a founded account on SQLite, then on MariaDB."""
    return Desk(database).found()


@pytest.fixture
def colleague(shared: Desk, other: SqlDatabase) -> Desk:
    """Give the account of `shared` as another process sees it."""
    return Desk(other)
