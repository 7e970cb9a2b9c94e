"""The tables of what happened lately, as `tables` has all others."""

from typing import Final

from sqlalchemy import Column, PrimaryKeyConstraint

from trisagion.adapters.db.columns import Exact, Id, Whole
from trisagion.adapters.db.table_parts import key, must, table

session_minute: Final = table(
    "session_minute",
    Column("session", Id(128), nullable=False),
    Column("minute_ns", Whole(), nullable=False, autoincrement=False),
    must("messages", Whole()),
    must("trades", Whole()),
    PrimaryKeyConstraint("minute_ns", "session"),
)

loss_record: Final = table(
    "loss_record",
    key("id", Whole()),
    must("at_ns", Whole()),
    must("equity", Exact()),
    must("marks", Whole()),
    must("losses", Whole()),
    must("recent", Id(512)),
)

risk_mark: Final = table(
    "risk_mark",
    key("id", Whole()),
    must("peak", Exact()),
    must("day_ns", Whole()),
    must("day_equity", Exact()),
    must("since_ns", Whole()),
)
