"""Processes that are killed at a commit, and how the account is compared with one that was left in peace."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tests.builders import Desk
from trisagion.adapters.db import SqlDatabase, Unit, open_database, tables
from trisagion.adapters.db.table_parts import METADATA

EVERYTHING = {
    table.name: sa.select(*(column for column in table.c if not column.name.endswith("seq")))
    for table in METADATA.sorted_tables
    if table not in {tables.lease, tables.schema_migration}
}


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class Counted:
    """A database that counts its transactions, and whose process dies at one: before it is kept, or after."""

    inner: SqlDatabase
    dies_at: int = 0
    kept: bool = False
    begun: int = 0
    die: Callable[[], None] = _kill

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Open a unit of work, perhaps the last."""
        self.begun += 1
        with self.inner.transaction() as tx:
            yield tx
            if self.begun == self.dies_at and not self.kept:
                self.die()
        if self.begun == self.dies_at:
            self.die()

    def snapshot(self) -> Any:
        """Open a unit of work that only reads."""
        return self.inner.snapshot()

    def version(self) -> int | None:
        """Return what the database says."""
        return self.inner.version()


def killed(url: str, act: Callable[[Counted], object], dies_at: int, *, kept: bool) -> None:
    """Do something in a process of its own that is killed at its n-th transaction."""
    child = os.fork()
    if child == 0:
        try:
            act(Counted(open_database(url), dies_at, kept))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def books(desk: Desk) -> dict[str, list[str]]:
    """Return every row of every table that is about the platform, without the numbers that a database gives to rows."""
    with desk.database.snapshot() as unit:
        return {
            name: sorted(repr(tuple(row)) for row in unit.session.rows(query)) for name, query in EVERYTHING.items()
        }
