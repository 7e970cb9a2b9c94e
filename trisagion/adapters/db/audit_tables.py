"""The tables of the audit chain, in the same metadata as `tables`."""

from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db.columns import BLOB, Id, Note, Whole
from trisagion.adapters.db.table_parts import key, must, seq, table

audit_note: Final = table(
    "audit_note",
    seq(),
    *(must(name, Whole()) for name in ("at_ns", "monotonic_ns")),
    *(must(name, Id(64)) for name in ("host", "build", "config", "kind")),
    *(must(name, Id(200)) for name in ("actor", "subject")),
    must("detail", Note()),
)

audit_event: Final = table(
    "audit_event",
    key("shard", Id(32)),
    key("seq", Whole()),
    must("at_ns", Whole()),
    must("source", Id(32)),
    must("row_key", Id(200)),
    must("detail", Note()),
    *(must(name, Id(64)) for name in ("prev_hash", "hash")),
    sa.UniqueConstraint("source", "row_key", name="audit_event_once"),
)

audit_mark: Final = table(
    "audit_mark", key("source", Id(32)), must("version", Whole()), must("upto", Whole()), must("state", BLOB)
)
