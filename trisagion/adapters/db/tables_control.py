"""The tables of control modes beside that for everything, as `tables` has all others."""

from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db.columns import Id, Note, Whole
from trisagion.adapters.db.tables import _key, _may, _must, _seq, _table

control_level: Final = _table(
    "control_level",
    _seq(),
    _must("level", Id(16)),
    _must("name", Id(128)),
    _must("mode", Id(16)),
    _must("operator", Id(128)),
    _must("reason", Note()),
    _must("set_ns", Whole()),
    _may("until_ns", Whole()),
    sa.Index("control_level_by_name", "level", "name", "seq"),
)

control_release: Final = _table(
    "control_release",
    _seq(),
    _must("level", Id(16)),
    _must("name", Id(128)),
    _must("was", Note()),
    _must("proposed_by", Id(128)),
    _must("reason", Note()),
    _must("proposed_ns", Whole()),
    _may("confirmed_by", Id(128)),
    _may("confirmed_ns", Whole()),
)

command_nonce: Final = _table(
    "command_nonce",
    _key("nonce", Id(64)),
    _must("person", Id(128)),
    _must("expires_ns", Whole()),
)
