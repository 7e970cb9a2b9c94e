"""What an observer says is held: how it is signed, and what is taken of it.

An observer reads somewhere else than the platform does, and writes what it has read into the database. Nobody there can
speak for it: a snapshot is signed (Ed25519, RFC 8032) and the platform holds the public key only. Its number grows from
one to the next, so that a row which somebody has kept cannot be shown again.

A complete snapshot names everything that is held: what is not in it is flat. One that failed may name a part: what is
not in it is unknown, and the observer's earlier word on it stands until it is too old.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum, auto
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trisagion.errors import DataError, quoted
from trisagion.safety.signatures import is_signature, key_id, signature
from trisagion.units import Quantity, plain

PURPOSE: Final = "trisagion snapshot 1"
_SYMBOL: Final = re.compile(r"[!-~]{1,64}")
"""What a symbol is, ours or anybody's: what the database can hold and a person can read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One word of an observer, as of `at_ns`; `positions` are in order of symbol, `signature` is hexadecimal.

    `reason` says why it is not complete. `key_id` names the key that it is signed by.
    """

    observer: str
    number: int
    at_ns: int
    complete: bool
    reason: str
    positions: tuple[tuple[str, Quantity], ...]
    key_id: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotMark:
    """How far an observer's rows were looked at, the number taken last, and the instant of the newest complete one."""

    observer: str
    seen_seq: int = 0
    number: int = 0
    at_ns: int = 0


def expected_symbol(symbol: object) -> str:
    """Return what can be a symbol; `DataError` for anything else."""
    if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
        raise DataError(f"symbol: expected 1 to 64 characters of ASCII without a space, found {quoted(symbol)}")
    return symbol


def _fields(snapshot: Snapshot) -> tuple[object, ...]:
    held = [[symbol, plain(qty)] for symbol, qty in snapshot.positions]
    told = snapshot.observer, snapshot.number, snapshot.at_ns, snapshot.complete, snapshot.reason
    return (*told, held, snapshot.key_id)


def sign(snapshot: Snapshot, key: Ed25519PrivateKey) -> Snapshot:
    """Return the snapshot with its positions in order, the name of the key, and the signature."""
    named = replace(snapshot, positions=tuple(sorted(snapshot.positions)), key_id=key_id(key.public_key()))
    return replace(named, signature=signature(key, PURPOSE, _fields(named)))


def is_signed(snapshot: Snapshot, key: Ed25519PublicKey) -> bool:
    """Tell whether whoever holds the private key has signed this snapshot."""
    return is_signature(key, snapshot.signature, PURPOSE, _fields(snapshot))


class Refusal(Enum):
    """Why a row is not taken for an observer's word, by descending precedence; each is an event, once for each row."""

    FORGED = auto()
    REPLAYED = auto()
    FUTURE = auto()
    OUT_OF_ORDER = auto()
    STALE = auto()


def judge(
    snapshot: Snapshot, mark: SnapshotMark, now_ns: int, *, key: Ed25519PublicKey, age_ns_max: int, newest: bool
) -> Refusal | None:
    """Return why a row must not be taken after those that the mark tells of; None: it is the observer's word.

    A cycle may come late, so an instant lies in the future only beyond the age to which a word counts. Of the rows
    since the last look all but the `newest` may be old: an observer speaks more often than anybody listens.
    """
    if snapshot.observer != mark.observer or not is_signed(snapshot, key):
        return Refusal.FORGED
    if snapshot.number <= mark.number:
        return Refusal.REPLAYED
    if snapshot.at_ns > now_ns + age_ns_max:
        return Refusal.FUTURE
    if snapshot.complete and snapshot.at_ns < mark.at_ns:
        return Refusal.OUT_OF_ORDER
    if newest and snapshot.at_ns < now_ns - age_ns_max:
        return Refusal.STALE
    return None


def passed(mark: SnapshotMark, snapshot: Snapshot) -> SnapshotMark:
    """Return the mark behind a snapshot that was taken, or one that is true and only too old."""
    at_ns = max(mark.at_ns, snapshot.at_ns) if snapshot.complete else mark.at_ns
    return replace(mark, number=snapshot.number, at_ns=at_ns)


def union(held: Mapping[str, Quantity], known: Iterable[str], *, complete: bool) -> dict[str, Quantity]:
    """Return what an observer says of every symbol, in order: in a complete view what is known and not held is flat."""
    flat = dict.fromkeys(known, Quantity(Decimal(0))) if complete else {}
    return dict(sorted({**flat, **held}.items()))
