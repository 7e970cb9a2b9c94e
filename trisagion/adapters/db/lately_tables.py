"""The tables of what happened lately, as `tables` has all others."""

from typing import Final

from sqlalchemy import Column, PrimaryKeyConstraint

from trisagion.adapters.db.columns import Id, Whole
from trisagion.adapters.db.table_parts import must, table

session_minute: Final = table(
    "session_minute",
    Column("session", Id(128), nullable=False),
    Column("minute_ns", Whole(), nullable=False, autoincrement=False),
    must("messages", Whole()),
    must("trades", Whole()),
    PrimaryKeyConstraint("minute_ns", "session"),
)
