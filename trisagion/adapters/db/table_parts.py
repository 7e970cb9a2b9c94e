"""What tables are made of: `tables` and its like declare the platform's in one `METADATA`."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Column

METADATA: Final = sa.MetaData()


def key(name: str, kind: sa.types.TypeEngine[Any]) -> "Column[Any]":
    """Return a column of the primary key."""
    return Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def must(name: str, kind: sa.types.TypeEngine[Any]) -> "Column[Any]":
    """Return a column that is never NULL."""
    return Column(name, kind, nullable=False)


def may(name: str, kind: sa.types.TypeEngine[Any]) -> "Column[Any]":
    """Return a column that may be NULL."""
    return Column(name, kind, nullable=True)


def table(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    """Declare a table."""
    return sa.Table(name, METADATA, *parts, implicit_returning=False)


def seq() -> "Column[int]":
    """Return the number that the database gives each row."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return Column("seq", kind, primary_key=True, nullable=False, autoincrement=True)
