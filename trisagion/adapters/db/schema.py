"""What tables a database has, against what `tables.py` says it should: types, nullability, keys, collation."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from trisagion.adapters.db.tables import METADATA


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: columns (name, type, nullable) in order, the primary key, and other keys (name, unique, columns)."""

    columns: tuple[tuple[str, str, bool], ...]
    primary: tuple[str, ...]
    keys: frozenset[tuple[str, bool, tuple[str, ...]]]


def differences(connection: sa.Connection, *, missing: bool) -> list[str]:
    """Return a sentence for each difference between the database's tables and ours; `missing` counts absent ones."""
    found = _sqlite_shapes(connection) if connection.dialect.name == "sqlite" else _mysql_shapes(connection)
    problems: list[str] = []
    for table in METADATA.sorted_tables:
        want, have = _expected(table, connection.dialect), found.get(table.name)
        if have is None:
            problems += [f"table {table.name} is missing"] if missing else []
        elif want != have:
            problems += _describe(table.name, want, have)
    return problems


def _describe(table: str, want: Shape, have: Shape) -> list[str]:
    problems = [
        f"table {table}, column {index + 1}: expected {_column(want, index)}, found {_column(have, index)}"
        for index in range(max(len(want.columns), len(have.columns)))
        if want.columns[index : index + 1] != have.columns[index : index + 1]
    ]
    if want.primary != have.primary:
        problems.append(f"table {table}: expected the primary key {want.primary}, found {have.primary}")
    if want.keys != have.keys:
        problems.append(f"table {table}: expected the keys {sorted(want.keys)}, found {sorted(have.keys)}")
    return problems


def _column(shape: Shape, index: int) -> str:
    if index >= len(shape.columns):
        return "none"
    name, kind, nullable = shape.columns[index]
    return f"{name} {kind} {'NULL' if nullable else 'NOT NULL'}"


def _expected(table: sa.Table, dialect: sa.Dialect) -> Shape:
    keys = {(str(index.name), False, tuple(column.name for column in index.columns)) for index in table.indexes}
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            keys.add((str(constraint.name), True, tuple(column.name for column in constraint.columns)))
    return Shape(
        tuple((column.name, _plain(column.type.compile(dialect)), bool(column.nullable)) for column in table.columns),
        tuple(column.name for column in table.primary_key.columns),
        frozenset(keys),
    )


def _plain(kind: str) -> str:
    """Return the one spelling of a type: no width of an integer, NUMERIC is DECIMAL, no blanks."""
    kind = kind.upper().replace(", ", ",").replace("NUMERIC", "DECIMAL")
    name = kind.partition("(")[0]
    if name in {"BOOL", "BOOLEAN", "TINYINT"}:
        return "BOOLEAN"
    if name in {"BIGINT", "INT", "INTEGER"}:
        return "INTEGER" if name == "INT" else name
    return "BLOB" if name in {"BLOB", "LONGBLOB"} else kind


def _sqlite_shapes(connection: sa.Connection) -> dict[str, Shape]:
    def pragma(text: str, name: str) -> list[Any]:
        return list(connection.exec_driver_sql(f"PRAGMA {text}({name})"))

    shapes = {}
    for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").all():
        info = pragma("table_info", name)
        keys = set()
        for _, key, unique, origin, _ in pragma("index_list", name):
            columns = tuple(row[2] for row in pragma("index_info", key))
            if origin != "pk":
                keys.add((_constraint(name) if origin == "u" else key, bool(unique), columns))
        shapes[name] = Shape(
            tuple((row[1], _plain(row[2]), not row[3]) for row in info),
            tuple(row[1] for row in sorted((row for row in info if row[5]), key=lambda row: row[5])),
            frozenset(keys),
        )
    return shapes


def _constraint(table: str) -> str:
    """Return the name of a table's UNIQUE constraint, which SQLite does not tell: no table of ours has two."""
    return f"{table}_once"


def _mysql_shapes(connection: sa.Connection) -> dict[str, Shape]:
    columns: dict[str, list[tuple[str, str, bool]]] = {}
    for table, name, kind, nullable, collation in connection.exec_driver_sql(
        "SELECT table_name, column_name, column_type, is_nullable, collation_name FROM information_schema.columns "
        "WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
    ).all():
        foreign = "" if collation in {None, "utf8mb4_bin"} else f" COLLATE {collation}"
        columns.setdefault(table, []).append((name, _plain(kind) + foreign, nullable == "YES"))
    keys: dict[str, dict[tuple[str, bool], list[str]]] = {table: {} for table in columns}
    for table, key, not_unique, column in connection.exec_driver_sql(
        "SELECT table_name, index_name, non_unique, column_name FROM information_schema.statistics "
        "WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index"
    ).all():
        keys[table].setdefault((key, not not_unique), []).append(column)
    return {
        table: Shape(
            tuple(rows),
            tuple(keys[table].pop(("PRIMARY", True), [])),
            frozenset((name, unique, tuple(names)) for (name, unique), names in keys[table].items()),
        )
        for table, rows in columns.items()
    }
