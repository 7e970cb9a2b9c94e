"""The tables of the audit chain, in the same metadata as `tables`."""

from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db.columns import BLOB, Id, Note, Whole
from trisagion.adapters.db.tables import _key, _must, _seq, _table

audit_note: Final = _table(
    "audit_note",
    _seq(),
    *(_must(name, Whole()) for name in ("at_ns", "monotonic_ns")),
    *(_must(name, Id(64)) for name in ("host", "build", "config", "kind")),
    *(_must(name, Id(200)) for name in ("actor", "subject")),
    _must("detail", Note()),
)

audit_event: Final = _table(
    "audit_event",
    _key("shard", Id(32)),
    _key("seq", Whole()),
    _must("at_ns", Whole()),
    _must("source", Id(32)),
    _must("row_key", Id(200)),
    _must("detail", Note()),
    *(_must(name, Id(64)) for name in ("prev_hash", "hash")),
    sa.UniqueConstraint("source", "row_key", name="audit_event_once"),
)

audit_mark: Final = _table(
    "audit_mark", _key("source", Id(32)), _must("version", Whole()), _must("upto", Whole()), _must("state", BLOB)
)
