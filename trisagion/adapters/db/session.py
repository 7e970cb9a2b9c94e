"""One transaction's door to the tables: runs statements, written once in the words of both servers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from trisagion.errors import OurMistake

Params: TypeAlias = Mapping[str, Any]

DUPLICATE_KEY: Final = 1062
"""https://mariadb.com/kb/en/mariadb-error-code-reference/"""


@dataclass(frozen=True, slots=True)
class Write:
    """One write in the words of both servers."""

    sqlite: sa.Executable
    mysql: sa.Executable


def insert_new(table: sa.Table) -> Write:
    """Insert rows for `Session.add`, which needs no right to UPDATE them: for tables that are only ever added to."""
    return Write(sqlite.insert(table).on_conflict_do_nothing(), mysql.insert(table))


def insert_once(table: sa.Table) -> Write:
    """Insert a row; where its key is taken, change nothing and count 0 rows.

    Not MySQL's INSERT IGNORE, which would also let cut and rounded values pass.
    """
    key = list(table.primary_key)[-1]
    if key.autoincrement is True:
        key = next(column for column in table.columns if column is not key)
    same = {key.name: key}
    return Write(sqlite.insert(table).on_conflict_do_nothing(), mysql.insert(table).on_duplicate_key_update(same))


def upsert(table: sa.Table, *, newest_by: str | None = None) -> Write:
    """Insert a row, or replace the one with its key; with `newest_by`, only by one that is not older by that column."""
    lite, my = sqlite.insert(table), mysql.insert(table)
    names = [column.name for column in table.columns if not column.primary_key and column.name != newest_by]
    if newest_by is None:
        return Write(
            lite.on_conflict_do_update(set_={name: lite.excluded[name] for name in names}),
            my.on_duplicate_key_update([(name, my.inserted[name]) for name in names]),
        )
    # MySQL assigns from left to right and compares with what it has assigned already: the stamp comes last.
    names.append(newest_by)
    stamp = table.columns[newest_by]
    fresh = my.inserted[newest_by] >= stamp
    return Write(
        lite.on_conflict_do_update(
            set_={name: lite.excluded[name] for name in names}, where=lite.excluded[newest_by] >= stamp
        ),
        my.on_duplicate_key_update(
            [(name, sa.case((fresh, my.inserted[name]), else_=table.columns[name])) for name in names]
        ),
    )


def params(record: Any) -> dict[str, Any]:
    """Return a flat dataclass as parameters: its fields are named as the columns are."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


class Session:
    """An open connection inside a transaction. `writable` is False in a snapshot."""

    __slots__ = ("connection", "is_sqlite", "writable")

    def __init__(self, connection: sa.Connection, *, writable: bool) -> None:
        self.connection = connection
        self.writable = writable
        self.is_sqlite = connection.dialect.name == "sqlite"

    def rows(self, statement: sa.Executable, params: Params | None = None) -> Sequence[Any]:
        """Return all rows of a query: tuples whose items are also attributes."""
        return self.connection.execute(statement, params).all()

    def bare_rows(self, statement: sa.Executable, params: Params | None = None) -> Sequence[tuple[Any, ...]]:
        """Return all rows of a query as the driver gives them: numbers in half the time, where there are many."""
        result = self.connection.execute(statement, params)
        assert isinstance(result, sa.CursorResult), type(result)
        found: Sequence[tuple[Any, ...]] = result.cursor.fetchall()
        result.close()
        return found

    def row(self, statement: sa.Executable, params: Params | None = None) -> Any:
        """Return the first row of a query, None when it has none."""
        return self.connection.execute(statement, params).first()

    def scalar(self, statement: sa.Executable, params: Params | None = None) -> Any:
        """Return the first column of the first row, None when there is no row."""
        return self.connection.execute(statement, params).scalar()

    def write(self, statement: sa.Executable | Write, params: Params | Sequence[Params]) -> int:
        """Run a write; return how many rows it changed (for many rows at once: undefined)."""
        if not self.writable:
            raise OurMistake("a snapshot only reads: open a transaction to write")
        if isinstance(statement, Write):
            statement = statement.sqlite if self.is_sqlite else statement.mysql
        return self.connection.execute(statement, params).rowcount

    def add(self, statement: Write, params: Params | Sequence[Params]) -> int:
        """Run an insert of `insert_new`; return how many rows are new.

        Where the key of one of several is taken, a server inserts none of them, and SQLite the others.
        """
        try:
            return self.write(statement, params)
        except sa.exc.IntegrityError as error:
            # The statement alone was taken back; the transaction goes on.
            if error.orig is None or error.orig.args[0] != DUPLICATE_KEY:
                raise
            return 0
