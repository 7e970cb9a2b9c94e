"""SQLAlchemy's two dialects of MySQL, without what each connection would say twice.

Both drivers tell the server the character set as they connect (`SET NAMES`), and SQLAlchemy has each of them say it
again: a round trip of each unit of work that has a connection of its own.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.mysql.mysqldb import MySQLDialect_mysqldb
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.engine.interfaces import DBAPIConnection


def _nothing(_connection: DBAPIConnection) -> None:
    """Say nothing: the driver has."""


class Mysqldb(MySQLDialect_mysqldb):
    """`mysql+mysqldb://`."""

    supports_statement_cache = True

    def on_connect(self) -> Callable[[DBAPIConnection], None]:
        """Return what is done with a new connection."""
        return _nothing


class Pymysql(MySQLDialect_pymysql):
    """`mysql+pymysql://`."""

    supports_statement_cache = True

    def on_connect(self) -> Callable[[DBAPIConnection], None]:
        """Return what is done with a new connection."""
        return _nothing


NAMES: Final = {"mysql.mysqldb": Mysqldb, "mysql.pymysql": Pymysql}


def register() -> None:
    """Have SQLAlchemy make its engines of these."""
    for name, dialect in NAMES.items():
        registry.register(name, dialect.__module__, dialect.__name__)
