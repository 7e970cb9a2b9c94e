"""`python -m init` creates what is missing and refuses what is foreign; the SQL and the Core tables agree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql.reserved_words import RESERVED_WORDS_MARIADB, RESERVED_WORDS_MYSQL

from init import FOLDER, create
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.db.engine import open_engine
from trisagion.adapters.db.schema import differences
from trisagion.adapters.db.sql import for_sqlite, statement_of
from trisagion.adapters.db.table_parts import METADATA
from trisagion.errors import ConfigError, StateError


def test_the_sql_and_the_core_tables_are_equal(database: SqlDatabase) -> None:
    """Columns, types, nullability, keys and collation of the made tables are those of `tables.py`, all of them."""
    with database.engine.connect() as connection:
        assert differences(connection, missing=True) == []
        made = set(sa.inspect(connection).get_table_names())
    assert made - {"sqlite_sequence"} == set(METADATA.tables)


def test_each_file_creates_the_one_table_of_its_name() -> None:
    """`init/NNN_name.sql` holds one CREATE TABLE IF NOT EXISTS name, and no number is taken twice."""
    files = sorted(FOLDER.glob("[0-9]*.sql"))
    numbers = [file.name[:3] for file in files]
    assert len(set(numbers)) == len(numbers)
    for file in files:
        sql = file.read_text(encoding="utf-8")
        head, _, statement = sql.partition("CREATE ")
        assert all(line.startswith("-- ") for line in head.splitlines()), file.name
        assert statement.startswith(f"TABLE IF NOT EXISTS {file.stem[4:]} ("), file.name
        assert statement.count(";") == 1, file.name
        end = ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        partitions = r"\nPARTITION BY RANGE \(\w+\) \(PARTITION later VALUES LESS THAN MAXVALUE\)"
        assert re.search(rf"\n{re.escape(end)}({partitions})?;\n\Z", sql), file.name


def test_no_name_is_reserved_by_either_server() -> None:
    """The SQL quotes nothing, so no table or column may be a reserved word of MySQL 8 or MariaDB."""
    names = {table.name for table in METADATA.sorted_tables}
    names |= {column.name for table in METADATA.sorted_tables for column in table.columns}
    assert names & (RESERVED_WORDS_MYSQL | RESERVED_WORDS_MARIADB) == set()


def test_the_rewriting_for_sqlite_is_the_documented_one() -> None:
    """Decimals become text, a key line an index, AUTO_INCREMENT SQLite's own, what follows the table goes."""
    sql = (
        "CREATE TABLE IF NOT EXISTS t (\n    seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,\n"
        "    qty DECIMAL(38,12) NOT NULL,\n    KEY t_by_qty (qty, seq)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4\n"
        "PARTITION BY RANGE (seq) (PARTITION later VALUES LESS THAN MAXVALUE);\n"
    )
    assert for_sqlite(statement_of(f"-- why\n{sql}")) == [
        "CREATE TABLE IF NOT EXISTS t (\n    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,\n    qty TEXT NOT NULL\n)",
        "CREATE INDEX IF NOT EXISTS t_by_qty ON t (qty, seq)",
    ]


def test_init_twice_is_init_once(database_url: str, database: SqlDatabase) -> None:
    """Running it again keeps every row."""
    with database.transaction() as tx:
        tx.control.add_event("kind", "subject", {"a": "b"}, 1)
    create(database_url)
    with database.snapshot() as tx:
        assert tx.session.scalar(sa.text("SELECT COUNT(*) FROM event")) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE lease ADD COLUMN colour TEXT", "table lease, column colour: expected none, found TEXT NULL"),
        ("CREATE INDEX foreign_key ON lease (token)", "table lease, key foreign_key: expected none, found (token)"),
    ],
)
def test_a_table_of_ours_with_another_shape_is_refused(tmp_path: Path, change: str, told: str) -> None:
    """The error says what differs, and nothing is created."""
    url = f"sqlite:///{tmp_path / 'foreign.sqlite3'}"
    create(url)
    with open_engine(url).connect() as connection:
        connection.exec_driver_sql("DROP TABLE event")
        connection.exec_driver_sql(change)
        with pytest.raises(StateError) as refusal:
            create(url)
        assert told in str(refusal.value)
        assert "event" not in sa.inspect(connection).get_table_names()


def test_a_foreign_table_is_refused_before_anything_is_created(tmp_path: Path) -> None:
    """A stranger's table named `orders` stops init, column by column."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    engine = open_engine(url, may_create=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT)")
    with pytest.raises(StateError, match=r"orders, column customer: expected none, found TEXT NULL"):
        create(url)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["orders"]


def test_the_command_tells_and_exits(tmp_path: Path) -> None:
    """0 when done, 2 for wrong usage, 4 with one sentence for what is no database."""
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and longer than a header of SQLite would be\n" * 40, encoding="utf-8")
    cases = [
        ([f"sqlite:///{tmp_path / 'a.sqlite3'}"], 0, f"{len(METADATA.tables)} tables are there"),
        ([], 2, "usage: python -m init"),
        ([f"sqlite:///{text}"], 4, "is not a SQLite database"),
        (["postgresql://host/name"], 4, "expected sqlite:///file or mysql://user@host/name"),
    ]
    for arguments, code, told in cases:
        done = subprocess.run(
            [sys.executable, "-m", "init", *arguments],
            cwd=FOLDER.parent,
            env={"PYTHONPATH": str(FOLDER.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert told in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql://h/n", "no url", "mysql+nothing"])
def test_an_unusable_url_is_refused_at_once(url: str) -> None:
    """Also a database in memory, of which each connection would see another one."""
    with pytest.raises(ConfigError, match=r"^database: "):
        open_database(url)
