"""The hand-written SQL of `init/` and `migrations_manual/`: which statements it may hold, and how SQLite is told them.

The SQL is MySQL's, in the part that MariaDB knows too. For SQLite it is rewritten in six ways, and no more:

1. `DECIMAL(38,12)` becomes `TEXT`: SQLite would keep a decimal as a float, a text stays exact.
2. `BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY` becomes `INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT`.
3. A `KEY name (columns)` line becomes a `CREATE INDEX` after the table.
4. What follows a table's closing bracket (engine, character set, partitions) is left out.
5. Each `ADD COLUMN` of an `ALTER TABLE` becomes a statement.
6. `DROP INDEX name ON table` loses its table.
"""

import re
from pathlib import Path
from typing import Final

_HOUSE: Final = Path(__file__).resolve().parents[3]
INIT: Final = _HOUSE / "init"
MIGRATIONS: Final = _HOUSE / "migrations_manual"
"""Both lie beside `trisagion/`, in a clone and where it is installed."""

_TABLE: Final = re.compile(
    r"CREATE TABLE (IF NOT EXISTS )?(\w+) \(\n.*?\n\)( ENGINE=InnoDB [\w =]*)?(\nPARTITION BY RANGE [^\n]*)?", re.DOTALL
)
_KEY: Final = re.compile(r",\n    KEY (\w+) (\(.*\))")
_INDEX: Final = re.compile(r"CREATE (?:UNIQUE )?INDEX \w+ ON (\w+) \([^;]*\)")
_DROP_INDEX: Final = re.compile(r"DROP INDEX (\w+) ON (\w+)")
_ADD: Final = re.compile(r"ALTER TABLE (\w+)((?:,?\s+ADD COLUMN [^\n]+?)+)")
_FILL: Final = re.compile(r"INSERT INTO (\w+) \([\w, ]+\)\nSELECT [^;]+")
_REMOVE: Final = re.compile(r"(?:ALTER TABLE (\w+)\s+DROP COLUMN \w+|DROP TABLE (\w+))")

FORMS: Final = (
    "CREATE TABLE, CREATE INDEX, DROP INDEX … ON …, ALTER TABLE … ADD COLUMN …, DROP COLUMN …, DROP TABLE, "
    "INSERT INTO … SELECT …"
)
"""What both servers can do to a table as it stands, in the forms of a migration."""


def statement_of(text: str) -> str:
    """Return the one statement of a file, without the lines of comment above it and the semicolon."""
    return re.sub(r"^--.*\n", "", text, flags=re.MULTILINE).strip().removesuffix(";")


def init_files() -> dict[str, Path]:
    """Return the files that create tables, by the table's name, in the order in which they are run."""
    return {path.stem.partition("_")[2]: path for path in sorted(INIT.glob("[0-9]*.sql"))}


def table_of(statement: str) -> str | None:
    """Return the table that a statement of one of `FORMS` is about, None for any other statement."""
    for form in (_TABLE, _INDEX, _DROP_INDEX, _ADD, _FILL, _REMOVE):
        if found := form.fullmatch(statement):
            group = 2 if form in {_TABLE, _DROP_INDEX} else 1
            return found[group] or found[found.lastindex or 1]
    return None


def for_sqlite(statement: str) -> list[str]:
    """Return a statement of one of `FORMS` as SQLite takes it."""
    if table := _TABLE.fullmatch(statement):
        absent, name = table[1] or "", table[2]
        head = statement[: statement.index("\n)") + 2]
        made = _exact(_KEY.sub("", head))
        return [made, *(f"CREATE INDEX {absent}{key} ON {name} {columns}" for key, columns in _KEY.findall(head))]
    if added := _ADD.fullmatch(statement):
        columns = re.split(r",?\s+ADD COLUMN ", added[2])[1:]
        return [f"ALTER TABLE {added[1]} ADD COLUMN {_exact(column)}" for column in columns]
    if dropped := _DROP_INDEX.fullmatch(statement):
        return [f"DROP INDEX {dropped[1]}"]
    return [statement]


def _exact(text: str) -> str:
    text = text.replace("DECIMAL(38,12)", "TEXT")
    return text.replace("BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY", "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT")
