"""`safety.snapshots`: what of an observer's rows is its word, and what it says of symbols that it does not name."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import TUESDAY_NS, qty
from trisagion.clock import MINUTE_NS
from trisagion.errors import DataError
from trisagion.safety.snapshots import Refusal, Snapshot, SnapshotMark, expected_symbol, is_signed, judge, sign, union

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
AGE_NS = 5 * MINUTE_NS
NOW = TUESDAY_NS
SAID = Snapshot("broker", 8, NOW - MINUTE_NS, True, "", (("NQ", qty(1)), ("ES", qty("-2.5"))))
MARK = SnapshotMark("broker", 100, 7, NOW - 2 * MINUTE_NS)

ROWS: list[tuple[str, dict[str, Any], bool, Refusal | None]] = [
    ("the next one", {}, True, None),
    ("by nobody", {"signature": ""}, True, Refusal.FORGED),
    ("of another observer", {"observer": "other"}, True, Refusal.FORGED),
    ("shown again", {"number": 7}, True, Refusal.REPLAYED),
    ("older than shown", {"number": 3, "at_ns": NOW + AGE_NS + 1}, True, Refusal.REPLAYED),
    ("as of a time to come", {"at_ns": NOW + AGE_NS + 1}, True, Refusal.FUTURE),
    ("of a cycle that came late", {"at_ns": NOW + AGE_NS}, True, None),
    ("as of before the last one", {"at_ns": NOW - 3 * MINUTE_NS}, True, Refusal.OUT_OF_ORDER),
    ("a failure knows no order", {"at_ns": NOW - 3 * MINUTE_NS, "complete": False}, True, None),
    ("the newest, and too old", {"at_ns": NOW - AGE_NS - 1, "complete": False}, True, Refusal.STALE),
    ("too old, and not the newest", {"at_ns": NOW - AGE_NS - 1, "complete": False}, False, None),
]


@pytest.mark.parametrize(("changes", "newest", "refusal"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_row_is_taken_or_refused(changes: dict[str, Any], newest: bool, refusal: Refusal | None) -> None:
    """In order of precedence; an instant may lie ahead of a cycle that came late, as far as a word counts."""
    snapshot = sign(replace(SAID, **changes), KEY)
    snapshot = replace(snapshot, **{name: value for name, value in changes.items() if name == "signature"})
    assert judge(snapshot, MARK, NOW, key=KEY.public_key(), age_ns_max=AGE_NS, newest=newest) is refusal


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 9},
        {"at_ns": NOW},
        {"complete": False},
        {"reason": "x"},
        {"key_id": "x"},
        {"positions": (("ES", qty("-2.5")),)},
        {"positions": (("ES", qty("-2.5")), ("NQ", qty(2)))},
        {"signature": "not hexadecimal"},
    ],
)
def test_each_field_is_signed(changes: dict[str, Any]) -> None:
    """Whoever changes one needs the key."""
    signed = sign(SAID, KEY)
    assert is_signed(signed, KEY.public_key())
    assert signed.positions == (("ES", qty("-2.5")), ("NQ", qty(1)))
    assert not is_signed(signed, OTHER.public_key())
    assert not is_signed(replace(signed, **changes), KEY.public_key())


def test_what_a_complete_view_does_not_name_is_flat_and_in_a_part_unknown() -> None:
    """Over the union of what is known and what is held."""
    held = {"NQ": qty(1), "GOLD": qty(2)}
    assert union(held, {"ES", "NQ"}, complete=True) == {"ES": qty(0), "GOLD": qty(2), "NQ": qty(1)}
    assert union(held, {"ES", "NQ"}, complete=False) == held


@pytest.mark.parametrize("symbol", ["", " ", "A B", "A ", "Ä", "A" * 65, 7, None, "A\n"])
def test_what_cannot_be_a_symbol_is_refused(symbol: object) -> None:
    """It could not be kept, or not be told from another."""
    with pytest.raises(DataError, match="symbol: expected 1 to 64 characters"):
        expected_symbol(symbol)
