"""What tables a database has, against what `tables.py` says it should: columns, keys, checks, engines."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db.table_parts import METADATA
from trisagion.units import plain


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: how each column is declared, in order; the primary key; other keys (unique, columns) and checks by name.

    `notes` is what is not as in any table of ours, as another storage engine.
    """

    columns: dict[str, str]
    primary: tuple[str, ...]
    keys: dict[str, tuple[bool, tuple[str, ...]]]
    checks: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be; `place` is a column, a key or a check, and empty for the table itself."""

    table: str
    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Tell it in a sentence."""
        place = f", {self.place}" if self.place else ""
        return f"table {self.table}{place}: expected {self.expected}, found {self.found}"


def differences(connection: sa.Connection, *, missing: bool, besides: frozenset[str] = frozenset()) -> list[Difference]:
    """Return each difference between the database's tables and ours, `besides` some; `missing` counts absent ones."""
    found = shapes(connection)
    problems: list[Difference] = []
    for table in METADATA.sorted_tables:
        want, have = _expected(table, connection.dialect), found.get(table.name)
        if table.name in besides or (have is None and not missing):
            continue
        if have is None:
            problems.append(Difference(table.name, "", "a table", "none"))
        else:
            problems += _differing(table.name, want, have)
    return problems


def shapes(connection: sa.Connection) -> dict[str, Shape]:
    """Return the shape of every table of a database, by name."""
    return _sqlite_shapes(connection) if connection.dialect.name == "sqlite" else _mysql_shapes(connection)


def _differing(table: str, want: Shape, have: Shape) -> list[Difference]:
    problems = [
        *_compared(table, "column", want.columns, have.columns),
        *_compared(table, "key", *({name: _key(*key) for name, key in shape.keys.items()} for shape in (want, have))),
        *_compared(table, "check", want.checks, have.checks),
        *(Difference(table, "", "a table of ours", note) for note in have.notes),
    ]
    if want.primary != have.primary:
        problems.append(Difference(table, "primary key", _listed(want.primary), _listed(have.primary)))
    if not problems and list(want.columns) != list(have.columns):
        problems.append(Difference(table, "order of columns", _listed(want.columns), _listed(have.columns)))
    return problems


def _compared(table: str, kind: str, want: dict[str, str], have: dict[str, str]) -> list[Difference]:
    return [
        Difference(table, f"{kind} {name}", want.get(name, "none"), have.get(name, "none"))
        for name in {**want, **have}
        if want.get(name) != have.get(name)
    ]


def _key(unique: bool, columns: tuple[str, ...]) -> str:
    return f"{'UNIQUE ' if unique else ''}({', '.join(columns)})"


def _listed(names: Iterable[str]) -> str:
    return f"({', '.join(names)})"


def _column(kind: str, *, nullable: bool, default: Any, counts: bool) -> str:
    """Write the declaration of a column in the one spelling that both servers' are brought to."""
    parts = [_plain(kind), "NULL" if nullable else "NOT NULL"]
    if counts:
        parts.append("AUTO_INCREMENT")
    if default is not None and str(default).upper() != "NULL":
        parts.append(f"DEFAULT {_plain_value(str(default))}")
    return " ".join(parts)


def _plain(kind: str) -> str:
    """Return the one spelling of a type: no width of an integer, NUMERIC is DECIMAL, no blanks."""
    kind = kind.upper().replace(", ", ",").replace("NUMERIC", "DECIMAL")
    name = kind.partition("(")[0]
    if name in {"BOOL", "BOOLEAN", "TINYINT"}:
        return "BOOLEAN"
    if name in {"BIGINT", "INT", "INTEGER"}:
        return "INTEGER" if name == "INT" else name
    return "BLOB" if name in {"BLOB", "LONGBLOB"} else kind


def _plain_value(text: str) -> str:
    """Return the one spelling of a default: MySQL leaves out the quotes of a text, and pads a decimal."""
    value = text.strip("()'")
    try:
        return plain(Decimal(value))
    except InvalidOperation:
        return value


def _plain_check(text: str) -> str:
    """Return the one spelling of a check: no quotes of names, no blanks, no brackets, which servers add."""
    return re.sub(r"[`\"()\s]|_utf8mb4", "", text).replace("\\'", "'").lower()


def _expected(table: sa.Table, dialect: sa.Dialect) -> Shape:
    keys = {
        str(index.name): (bool(index.unique), tuple(column.name for column in index.columns)) for index in table.indexes
    }
    checks = {}
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            keys[str(constraint.name)] = True, tuple(column.name for column in constraint.columns)
        elif isinstance(constraint, sa.CheckConstraint):
            checks[str(constraint.name)] = _plain_check(str(constraint.sqltext))
    return Shape(
        {column.name: _expected_column(column, dialect) for column in table.columns},
        tuple(column.name for column in table.primary_key.columns),
        keys,
        checks,
    )


def _expected_column(column: "sa.Column[Any]", dialect: sa.Dialect) -> str:
    default = column.server_default
    return _column(
        column.type.compile(dialect),
        nullable=bool(column.nullable),
        default=str(default.arg) if isinstance(default, sa.DefaultClause) else None,
        counts=column.autoincrement is True,
    )


_SQLITE_CHECK: Final = re.compile(r"CONSTRAINT (\w+) CHECK \((.*)\),?$", re.MULTILINE)


def _sqlite_shapes(connection: sa.Connection) -> dict[str, Shape]:
    def pragma(text: str, name: str) -> list[Any]:
        return list(connection.exec_driver_sql(f'PRAGMA {text}("{name}")'))

    found = {}
    made = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    for name, sql in connection.exec_driver_sql(made).all():
        info = pragma("table_info", name)
        keys: dict[str, tuple[bool, tuple[str, ...]]] = {}
        for _, key, unique, origin, _ in pragma("index_list", name):
            columns = tuple(row[2] for row in pragma("index_info", key))
            if origin != "pk":
                keys[_constraint(name) if origin == "u" else key] = bool(unique), columns
        counts = "AUTOINCREMENT" in sql.upper()
        found[name] = Shape(
            {
                row[1]: _column(row[2], nullable=not row[3], default=row[4], counts=counts and bool(row[5]))
                for row in info
            },
            tuple(row[1] for row in sorted((row for row in info if row[5]), key=lambda row: row[5])),
            keys,
            {check: _plain_check(text) for check, text in _SQLITE_CHECK.findall(sql)},
        )
    return found


def _constraint(table: str) -> str:
    """Return the name of a table's UNIQUE constraint, which SQLite does not tell: no table of ours has two."""
    return f"{table}_once"


_COLUMNS: Final = (
    "SELECT table_name, column_name, column_type, is_nullable, collation_name, column_default, extra "
    "FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
)
_KEYS: Final = (
    "SELECT table_name, index_name, non_unique, column_name FROM information_schema.statistics "
    "WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index"
)
_CHECKS: Final = (
    "SELECT t.table_name, c.constraint_name, c.check_clause FROM information_schema.check_constraints c "
    "JOIN information_schema.table_constraints t ON t.constraint_schema = c.constraint_schema "
    "AND t.constraint_name = c.constraint_name AND t.constraint_type = 'CHECK' "
    "WHERE c.constraint_schema = DATABASE()"
)
_ENGINES: Final = (
    "SELECT table_name, engine FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND engine <> 'InnoDB'"
)


def _mysql_shapes(connection: sa.Connection) -> dict[str, Shape]:
    columns: dict[str, dict[str, str]] = {}
    for table, name, kind, nullable, collation, default, extra in connection.exec_driver_sql(_COLUMNS).all():
        foreign = "" if collation in {None, "utf8mb4_bin"} else f" COLLATE {collation}"
        declared = _column(kind, nullable=nullable == "YES", default=default, counts="auto_increment" in extra.lower())
        columns.setdefault(table, {})[name] = declared + foreign
    keys: dict[str, dict[str, tuple[bool, tuple[str, ...]]]] = {table: {} for table in columns}
    for table, key, not_unique, column in connection.exec_driver_sql(_KEYS).all():
        _, before = keys[table].get(key, (False, ()))
        keys[table][key] = not not_unique, (*before, column)
    checks: dict[str, dict[str, str]] = {table: {} for table in columns}
    for table, name, text in connection.exec_driver_sql(_CHECKS).all():
        checks[table][name] = _plain_check(text)
    engines = {table: (f"one of the engine {engine}",) for table, engine in connection.exec_driver_sql(_ENGINES)}
    return {
        table: Shape(
            declared, keys[table].pop("PRIMARY", (True, ()))[1], keys[table], checks[table], engines.get(table, ())
        )
        for table, declared in columns.items()
    }
