"""Makes a database and changes its shape: init, and one migration at a time, each alone in the database.

On SQLite all of it is one transaction. MariaDB and MySQL commit at each DDL statement, so there a lock of the server
(`GET_LOCK`) keeps others out; it ends with the connection, also when the process is killed. A statement that waits for
a table gives up after `TABLE_WAIT_S`: everything that comes after it would wait behind it.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.faults import Conflict
from trisagion.adapters.db.migrations import (
    Entry,
    Migration,
    Standing,
    listed,
    migrations,
    older,
    standing,
    table_names,
)
from trisagion.adapters.db.schema import Difference, differences
from trisagion.adapters.db.session import Session, params, upsert
from trisagion.adapters.db.sql import INIT, for_sqlite, init_files, statement_of
from trisagion.adapters.db.users import expected_name, make_users
from trisagion.clock import Clock, SystemClock
from trisagion.errors import StateError

DDL_S: Final = 6 * 3600
"""How long a statement may take: adding an index to a table of a billion rows is a matter of hours."""

TABLE_WAIT_S: Final = 5
LOCK_WAIT_S: Final = 10

_UNKNOWN_DATABASE: Final = 1049
LOCK: Final = "CONCAT('trisagion.', LEFT(SHA2(DATABASE(), 256), 40))"
_KEEP: Final = upsert(t.schema_migration)


def create(url: str, passwords: Mapping[str, str] | None = None, *, operator: str = "init") -> list[str]:
    """Create what a database lacks: itself, tables, users; return the names of the files of all tables, in order.

    Parameters
    ----------
    url
        Of the database, with a user who may create.
    passwords
        By name of `users.USERS`: these are created too. SQLite has no users.
    operator
        Who is recorded to have made it.

    Raises
    ------
    ConfigError
        The URL cannot be used.
    StateError
        The database is of another release, has a table with one of our names and another shape, or cannot be written.
    """
    _make_database(url)
    with _alone(url, may_create=True, wait_s=LOCK_WAIT_S) as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        found = standing(connection, migrations())
        _refuse_another_shape(connection, found)
        there = found.ours | ({t.schema_migration.name} if found.recorded else set())
        for name, path in init_files().items():
            if name not in there:
                statement = statement_of(path.read_text(encoding="utf-8"))
                for part in for_sqlite(statement) if is_sqlite else [statement]:
                    connection.exec_driver_sql(part)
            if name == t.schema_migration.name and found.fresh:
                # Before any other table: one that was made in part is gone on with, not taken for an older one.
                _record(connection, migrations(), "created", operator, SystemClock().now_ns())
        if passwords and not is_sqlite:
            make_users(connection, passwords)
        problems = differences(connection, missing=True, besides=_unsettled(found))
    assert not problems, problems
    return [path.name for path in init_files().values()]


def apply(url: str, number: int, operator: str, clock: Clock) -> Entry:
    """Run one migration and record it; where it was run already and not recorded, record it.

    It may be killed at any point and called again: what was done is told by the file's check, never guessed.

    Raises
    ------
    StateError
        There is no such file, it is not the next, was applied or changed since, or its check denies that it was done.
    Conflict
        Somebody else is at it, or a table is in use for longer than `TABLE_WAIT_S`.
    """
    with _alone(url, wait_s=0) as connection:
        found = standing(connection, migrations())
        migration = _next(found, number)
        is_sqlite = connection.dialect.name == "sqlite"
        if found.recorded:
            _record(connection, [migration], "begun", operator, clock.now_ns())
        if not _is_done(connection, migration):
            for statement in migration.statements(sqlite=is_sqlite):
                connection.exec_driver_sql(statement)
            if not _is_done(connection, migration):
                raise StateError(
                    f"{migration.name} was run, and its check denies it: expected a count above 0 from "
                    f"{migration.check(sqlite=is_sqlite)}, found 0; mend it by hand, then apply it again"
                )
        return _record(connection, [migration], "applied", operator, clock.now_ns())


def rows_in(connection: sa.Connection, table: str) -> int | None:
    """Return about how many rows a table has, None where there is no such table."""
    if table not in table_names(connection):
        return None
    if connection.dialect.name == "sqlite":
        return int(connection.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar_one())  # noqa: S608 # a name of ours
    estimate = "SELECT table_rows FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s"
    return int(connection.exec_driver_sql(estimate, (table,)).scalar_one())


def drift_of_files() -> list[Difference]:
    """Return each difference between the tables that `init/*.sql` makes on SQLite and those that the code expects."""
    with tempfile.TemporaryDirectory(prefix="trisagion-") as folder:
        engine = open_engine(f"sqlite:///{folder}/made.sqlite3", may_create=True)
        with engine.connect() as connection:
            for path in init_files().values():
                for part in for_sqlite(statement_of(path.read_text(encoding="utf-8"))):
                    connection.exec_driver_sql(part)
            return differences(connection, missing=True)


def _next(found: Standing, number: int) -> Migration:
    """Return the migration of a number if it is the one to be applied."""
    if found.fresh:
        raise StateError("this database has no tables of ours: run `trisagion db init`, which makes it as it should be")
    if found.changed:
        raise StateError(f"a migration is never changed, found another one: {listed(found.changed)}")
    if found.unknown:
        names = listed(entry.name for entry in found.unknown)
        raise StateError(f"this database is of a newer release, it has had {names}: use that release")
    if before := next((entry for entry in found.done if entry.number == number), None):
        raise StateError(f"{before.name} was {before.state} by {before.operator} already: nothing was done")
    wanted = next((migration for migration in found.pending if migration.number == number), None)
    if wanted is None:
        raise StateError(f"expected the number of a file in migrations_manual/, found {number:04d}")
    first = found.pending[0]
    if wanted is not first:
        raise StateError(
            f"migrations are applied in order: expected {first.number:04d} ({first.name}), found {number:04d}"
        )
    return wanted


def _is_done(connection: sa.Connection, migration: Migration) -> bool:
    count = connection.exec_driver_sql(migration.check(sqlite=connection.dialect.name == "sqlite")).scalar_one()
    return bool(count)


def _record(
    connection: sa.Connection, files: tuple[Migration, ...] | list[Migration], state: str, operator: str, at_ns: int
) -> Entry:
    entries = [Entry(file.number, file.name, file.checksum, state, operator, at_ns) for file in files]
    session = Session(connection, writable=True)
    for entry in entries:
        session.write(_KEEP, params(entry))
    if not session.is_sqlite:
        connection.commit()
    return entries[-1]


def _refuse_another_shape(connection: sa.Connection, found: Standing) -> None:
    where = f"database {connection.engine.url.render_as_string(hide_password=True)}"
    problems = differences(connection, missing=False, besides=_unsettled(found))
    if found.unknown or found.changed:
        names = listed([*(entry.name for entry in found.unknown), *found.changed])
        told = [
            f"{where} is of another release ({names}): nothing was created",
            *(str(problem) for problem in problems),
        ]
        raise StateError("\n".join(told))
    ours = len(found.ours) - len({problem.table for problem in problems})
    if found.needed and not found.fresh and (found.recorded or ours):
        raise StateError("\n".join([older(where, found), *(str(problem) for problem in problems)]))
    if problems:
        raise StateError(
            "\n".join([f"{where} has tables of another shape, and nothing was created:", *map(str, problems)])
        )


def _unsettled(found: Standing) -> frozenset[str]:
    """Return the tables that are not yet in our shape and may be used as they are: an `after` file will change them."""
    return frozenset(file.table for file in found.pending if file not in found.needed)


def _make_database(url: str) -> None:
    """Create the database on a server that does not have it."""
    parsed = make_url(url) if "://" in url else None
    if parsed is None or parsed.get_backend_name() not in {"mysql", "mariadb"}:
        return
    try:
        open_engine(url).connect().close()
    except StateError as error:
        number = error.__cause__.args[0] if error.__cause__ is not None and error.__cause__.args else None
        if number != _UNKNOWN_DATABASE:
            raise
    else:
        return
    text = (INIT / "database.sql").read_text(encoding="utf-8")
    statement = statement_of(text).replace("{database}", expected_name(parsed.database))
    elsewhere = parsed.set(database="information_schema").render_as_string(hide_password=False)
    with open_engine(elsewhere).connect() as connection:
        connection.exec_driver_sql(statement)


@contextmanager
def _alone(url: str, *, may_create: bool = False, wait_s: int) -> Iterator[sa.Connection]:
    """Give a connection while nobody else changes this database's shape."""
    engine = open_engine(url, may_create=may_create, io_s=DDL_S)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
            return
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout={TABLE_WAIT_S}")
        if not connection.exec_driver_sql(f"SELECT GET_LOCK({LOCK}, {wait_s})").scalar_one():
            holder = connection.exec_driver_sql(f"SELECT IS_USED_LOCK({LOCK})").scalar_one()
            raise Conflict(
                f"connection {holder} of the server is changing this database's shape: wait until it is done "
                "(a statement goes on when its client was killed)"
            )
        yield connection
        connection.commit()
        connection.exec_driver_sql(f"SELECT RELEASE_LOCK({LOCK})")
