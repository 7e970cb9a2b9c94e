"""The files of `migrations_manual/` and the record of what was done with them: which are due, in which order.

Theory of operation. Numbers run without holes, and a database has had a first part of them. Table `schema_migration`
has a row for each: "created" when init made the database in the shape that the file leaves, "applied" when an operator
had it run. A database of 0.1.0 has no such table; its first migration makes it. "begun" is written before a file is run
on a server where a DDL statement commits by itself; whether it was done is told by the file's own check, so a process
that was killed anywhere in between leaves something that can be gone on with.

A process needs every `before` file of its release, and none of the `after` files: these follow when no process of an
older release is left. So one that finds an `after` file it does not know was forgotten, and must not go on.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.sql import FORMS, MIGRATIONS, for_sqlite, statement_of, table_of
from trisagion.adapters.db.table_parts import METADATA
from trisagion.errors import DataError, StateError

HEADINGS: Final = ("Why", "How long", "Locks", "Safe while trading", "Check", "Check on SQLite", "Undo")
"""The operator's questions, all of which the head of a file answers, in this order."""

BASE: Final = "base/0.1.0.sql"
"""The schema before the first migration."""

_NAME: Final = re.compile(r"(\d{4})_(before|after)_\w+")
_HEADING: Final = re.compile(r"-- ([A-Z][\w ]*?): (.*)")
_CONTINUED: Final = re.compile(r"-- {4,}(.*)")
_CHECK: Final = re.compile(r"SELECT COUNT\(\*\) FROM [^;]+")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `head` has an answer to each of `HEADINGS`; `statement` is MySQL's."""

    number: int
    name: str
    phase: Literal["before", "after"]
    head: MappingProxyType[str, str]
    statement: str
    table: str
    checksum: str
    text: str

    def statements(self, *, sqlite: bool) -> list[str]:
        """Return what is run on a server."""
        return for_sqlite(self.statement) if sqlite else [self.statement]

    def check(self, *, sqlite: bool) -> str:
        """Return the query that counts above 0 once the file has been run, and 0 before."""
        return self.head["Check on SQLite" if sqlite else "Check"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `schema_migration`."""

    number: int
    name: str
    checksum: str
    state: str
    operator: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a database stands to this release's files; `ours` are the tables of ours that it has, without the record."""

    ours: frozenset[str]
    recorded: bool
    done: tuple[Entry, ...]
    begun: tuple[Entry, ...]
    pending: tuple[Migration, ...]
    unknown: tuple[Entry, ...]
    changed: tuple[str, ...]

    @property
    def fresh(self) -> bool:
        """Whether init has still to make it: no table of ours, and nothing recorded."""
        return not self.ours and not self.done and not self.begun

    @property
    def needed(self) -> tuple[Migration, ...]:
        """What must be applied before a process of this release may use it."""
        needed = [index for index, file in enumerate(self.pending, start=1) if file.phase == "before"]
        return self.pending[: max(needed, default=0)]


def read_migration(path: Path) -> Migration:
    """Read one file; `DataError` says what about it is not as migrations_manual/README.md has it."""
    name = _NAME.fullmatch(path.stem)
    if name is None:
        raise DataError(f"{path.name}: expected a name as NNNN_before_what.sql or NNNN_after_what.sql")
    text = path.read_text(encoding="utf-8")
    head = _read_head(path.name, text)
    statement = statement_of(text)
    table = table_of(statement)
    if table is None or ";" in statement or "--" in statement:
        raise DataError(f"{path.name}: expected one statement of the forms {FORMS}, found {statement[:80]!r}")
    phase: Literal["before", "after"] = "before" if name[2] == "before" else "after"
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return Migration(int(name[1]), path.stem, phase, MappingProxyType(head), statement, table, checksum, text)


def _read_head(name: str, text: str) -> dict[str, str]:
    head: dict[str, str] = {}
    for line in text.splitlines():
        if begins := _HEADING.fullmatch(line):
            head[begins[1]] = begins[2].strip()
        elif (more := _CONTINUED.fullmatch(line)) and head:
            head[list(head)[-1]] += f" {more[1].strip()}"
        elif line.startswith("--"):
            raise DataError(f"{name}: expected a head of {', '.join(HEADINGS)}, found the line {line!r}")
    if tuple(head) != HEADINGS or not all(head.values()):
        raise DataError(f"{name}: expected a head of {', '.join(HEADINGS)}, found {', '.join(head) or 'none'}")
    for heading in ("Check", "Check on SQLite"):
        if not _CHECK.fullmatch(head[heading]):
            raise DataError(f"{name}: expected a {heading} as SELECT COUNT(*) FROM …, found {head[heading]!r}")  # noqa: S608 # a sentence
    return head


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Read all files of a folder, in order; `DataError` when one is wrong or a number is missing or taken twice."""
    found = tuple(read_migration(path) for path in sorted(folder.glob("*.sql")))
    for number, migration in enumerate(found, start=1):
        if migration.number != number:
            raise DataError(f"{migration.name}.sql: expected the number {number:04d}, found {migration.number:04d}")
    return found


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the migrations of this release."""
    return read_migrations(MIGRATIONS)


def standing(connection: sa.Connection, known: Sequence[Migration]) -> Standing:
    """Read how a database stands to the known migrations; `StateError` when the record is none of ours."""
    there = table_names(connection)
    recorded = t.schema_migration.name in there
    entries = _entries(connection) if recorded else []
    by_number = {migration.number: migration for migration in known}
    done = {entry.number: entry for entry in entries if entry.state != "begun"}
    changed = [
        f"{entry.name} was {entry.state} with the checksum {entry.checksum[:12]}…, and its file has "
        f"{by_number[entry.number].checksum[:12]}…"
        for entry in entries
        if entry.number in by_number and by_number[entry.number].checksum != entry.checksum
    ]
    return Standing(
        ours=frozenset((there & METADATA.tables.keys()) - {t.schema_migration.name}),
        recorded=recorded,
        done=tuple(done.values()),
        begun=tuple(entry for entry in entries if entry.state == "begun"),
        pending=tuple(migration for migration in known if migration.number not in done),
        unknown=tuple(entry for entry in entries if entry.number not in by_number),
        changed=tuple(changed),
    )


def _entries(connection: sa.Connection) -> list[Entry]:
    try:
        return [Entry(*row) for row in connection.execute(_RECORD)]
    except sa.exc.DBAPIError as error:
        raise StateError(
            f"table {t.schema_migration.name} is another program's: name another database ({error.orig})"
        ) from error


def table_names(connection: sa.Connection) -> set[str]:
    """Return the names of all tables of a database."""
    names = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if connection.dialect.name == "sqlite"
        else "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    return {name for (name,) in connection.exec_driver_sql(names)}


def expect_schema(connection: sa.Connection) -> None:
    """Refuse a database that a process of this release cannot use.

    Raises
    ------
    StateError
        It has no tables, lacks a `before` migration, or had an `after` migration of a newer release.
    """
    found = standing(connection, migrations())
    where = f"database {connection.engine.url.render_as_string(hide_password=True)}"
    if found.fresh:
        raise StateError(f"{where} has no tables of ours: run `trisagion db init` or `python -m init`")
    if found.needed:
        raise StateError(older(where, found))
    if late := [entry.name for entry in found.unknown if "_after_" in entry.name]:
        raise StateError(f"{where} is of a newer release, it has had {listed(late)}: use a release that has them too")


def older(where: str, found: Standing) -> str:
    """Say of a database what it lacks, and what to do."""
    names = listed(migration.name for migration in found.needed)
    return (
        f"{where} is of an older release, it lacks {names}: see `trisagion db plan`, "
        f"then `trisagion db apply {found.needed[0].number:04d}`"
    )


def listed(names: Iterable[str]) -> str:
    """Write names one after the other."""
    return ", ".join(names)


_RECORD: Final = sa.select(*t.schema_migration.c).order_by(t.schema_migration.c.number)
