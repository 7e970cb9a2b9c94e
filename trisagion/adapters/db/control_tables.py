"""The tables of control modes beside that for everything, as `tables` has all others."""

from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db.columns import Id, Note, Whole
from trisagion.adapters.db.table_parts import key, may, must, seq, table

control_level: Final = table(
    "control_level",
    seq(),
    must("level", Id(16)),
    must("name", Id(128)),
    must("mode", Id(16)),
    must("operator", Id(128)),
    must("reason", Note()),
    must("set_ns", Whole()),
    may("until_ns", Whole()),
    sa.Index("control_level_by_name", "level", "name", "seq"),
)

control_release: Final = table(
    "control_release",
    seq(),
    must("level", Id(16)),
    must("name", Id(128)),
    must("was", Note()),
    must("proposed_by", Id(128)),
    must("reason", Note()),
    must("proposed_ns", Whole()),
    may("confirmed_by", Id(128)),
    may("confirmed_ns", Whole()),
)

command_nonce: Final = table(
    "command_nonce",
    key("nonce", Id(64)),
    must("person", Id(128)),
    must("expires_ns", Whole()),
)

signed_command: Final = table(
    "signed_command",
    seq(),
    must("person", Id(128)),
    must("action", Id(32)),
    must("subject", Note()),
    must("reason", Note()),
    must("nonce", Id(64)),
    must("expires_ns", Whole()),
    must("signature", Id(128)),
    must("taken_ns", Whole()),
    sa.UniqueConstraint("nonce", name="signed_command_once"),
)
