"""Creates the tables that a database lacks: the hand-written SQL beside this file, one CREATE TABLE per file, in order.

`create(url)` may run twice, or twice at once: what is there already is left as it is. It never changes and never drops,
and refuses a database in which one of our names belongs to a table of another shape.

The SQL is MySQL's. For SQLite it is rewritten in four ways, and no more:

1. `DECIMAL(38,12)` becomes `TEXT`: SQLite would keep a decimal as a float, a text stays exact.
2. `BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY` becomes `INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT`.
3. A `KEY name (columns)` line becomes a `CREATE INDEX IF NOT EXISTS` after the table.
4. What follows the closing bracket (engine, character set, partitions) is left out.
"""

import re
from pathlib import Path
from typing import Final

from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.schema import differences
from trisagion.errors import StateError

FOLDER: Final = Path(__file__).parent

_KEY: Final = re.compile(r",\n    KEY (\w+) (\(.*\))")


def create(url: str) -> list[str]:
    """Create the missing tables; return the names of all SQL files run, in order.

    Raises
    ------
    ConfigError
        The URL cannot be used.
    StateError
        The database has a table with one of our names and another shape, or cannot be written.
    """
    engine = open_engine(url, may_create=True)
    files = sorted(FOLDER.glob("[0-9]*.sql"))
    with engine.connect() as connection:
        problems = differences(connection, missing=False)
        if problems:
            raise StateError("\n".join(["this database has tables of another shape; name another one:", *problems]))
        for file in files:
            sql = file.read_text(encoding="utf-8")
            for statement in for_sqlite(sql) if engine.dialect.name == "sqlite" else [sql]:
                connection.exec_driver_sql(statement)
        connection.commit()
        problems = differences(connection, missing=True)
    assert not problems, problems
    return [file.name for file in files]


def for_sqlite(sql: str) -> list[str]:
    """Return the statements of one file for SQLite."""
    table = sql[sql.index("CREATE TABLE") : sql.index("\n)") + 2]
    name = table.split()[5]
    indexes = [f"CREATE INDEX IF NOT EXISTS {key} ON {name} {columns}" for key, columns in _KEY.findall(table)]
    table = _KEY.sub("", table).replace("DECIMAL(38,12)", "TEXT")
    table = table.replace("BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY", "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT")
    return [table, *indexes]
