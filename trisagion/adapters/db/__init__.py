"""The database: `open_database` gives `ports.Database` on SQLite, MariaDB or MySQL."""

from trisagion.adapters.db.engine import SqlDatabase, Unit, open_database, retrying
from trisagion.adapters.db.faults import Conflict, Crowded, Unreachable

__all__ = ["Conflict", "Crowded", "SqlDatabase", "Unit", "Unreachable", "open_database", "retrying"]
