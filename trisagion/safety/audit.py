"""The audit chain: what a record is, how records are linked, and what a chain that was tampered with shows.

Each record tells of one row of a table, as it stood when the chain's writer took it. Its hash is
``h(n) = SHA-256(h(n-1) ‖ record n)`` over 32 raw bytes and the record's canonical JSON in UTF-8; ``h(0)`` is SHA-256 of
`GENESIS` and the shard's name. A record names its own sequence number, so a row that is altered, dropped, added or
moved fits nowhere, and nobody who cannot find a collision of SHA-256 can make it fit without replacing every later row.
That, and a tail that is cut off, shows against an anchor: a signed copy of a hash, kept outside the database.

Canonical JSON is RFC 8785 (JCS). We differ by refusing, not by writing otherwise: there are no floats, and a whole
number that a double would not hold exactly (beyond 2^53 - 1) must come as text, as every decimal and instant does.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

from trisagion.errors import DataError
from trisagion.units import plain

GENESIS: Final = b"trisagion audit 1 "
EXACT_MAX: Final = 2**53 - 1
"""The largest whole number below which a double holds all (ECMA-262, Number.MAX_SAFE_INTEGER)."""

DETAIL_BYTES_MAX: Final = 65_535
"""What the chain's column holds; of a row that is longer it keeps the hash."""

ORDERS: Final = "orders"
CONTROL: Final = "control"
SHARDS: Final = (CONTROL, ORDERS)

NUMBERED: Final = {
    CONTROL: (
        "audit_note",
        "control",
        "control_level",
        "event",
        "fingerprint",
        "gate",
        "signed_command",
        "take_profit",
    ),
    ORDERS: ("execution",),
}
"""Tables that rows are only ever added to, under numbers that the database gives."""

SMALL: Final = {CONTROL: ("risk_limit", "risk_limit_approval"), ORDERS: ()}
"""Tables of few rows that are only ever added to, in any order of their versions."""

DECISION: Final = "decision"
ORDER: Final = "orders"
ORDER_LINK: Final = "order_link"
"""Tables of the shard `ORDERS` that have no such number; an order is a row that changes, and is told of by version."""


class Record(NamedTuple):
    """A row of table `source`; `row_key` names it there, `detail` is its columns as canonical JSON of texts.

    `at_ns` is when it was taken, UTC.
    """

    shard: str
    at_ns: int
    source: str
    row_key: str
    detail: str


class Link(NamedTuple):
    """A record in its chain: a row of table audit_event, and a line of an export."""

    shard: str
    seq: int
    at_ns: int
    source: str
    row_key: str
    detail: str
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Witness:
    """Who makes a note: the machine, the process, its code and its settings."""

    host: str
    actor: str
    build: str
    config: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first row of a shard that is not as it was written, and what is wrong."""

    shard: str
    seq: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """The hash of a chain's row, to be kept where who can write to the database cannot."""

    shard: str
    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Hole:
    """Numbers that were passed over, `first` to `last`: none of them had a row at `since_ns`."""

    first: int
    last: int
    since_ns: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the chain's writer has read a table.

    `upto` is the last number (of orders and decisions: instant) that it saw, `holes` what may still come before it,
    `unsettled` the orders that were not at rest.
    """

    source: str
    version: int = 0
    upto: int = 0
    holes: tuple[Hole, ...] = ()
    unsettled: tuple[str, ...] = ()


def row_detail(names: Sequence[str], values: Sequence[object]) -> str:
    """Write a row's columns, whose names are in order, as `canonical` would write an object of texts; none for NULL.

    Of a row that is too long for the chain's column: its SHA-256, as the member `sha256`.
    """
    quote = encode_basestring
    members = [
        f'"{name}":{quote(_column(value))}' for name, value in zip(names, values, strict=True) if value is not None
    ]
    text = "{" + ",".join(members) + "}"
    if len(text) * 4 > DETAIL_BYTES_MAX and len(text.encode()) > DETAIL_BYTES_MAX:
        return f'{{"sha256":"{hashlib.sha256(text.encode()).hexdigest()}"}}'
    return text


def _column(value: object) -> str:
    """Write a column's value as its driver gives it, each in one way: no row may be so that it cannot be told of."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and value.is_finite():
        return plain(value)
    if isinstance(value, bytes):
        return value.hex()
    return repr(value)


def gaps(upto: int, numbers: Sequence[int], now_ns: int) -> list[Hole]:
    """Return the numbers between `upto` and the last of `numbers`, which ascend, that are not among them."""
    found = []
    for number in numbers:
        if number > upto + 1:
            found.append(Hole(upto + 1, number - 1, now_ns))
        upto = number
    return found


def without(hole: Hole, numbers: Sequence[int]) -> list[Hole]:
    """Return what is left of a hole when rows under some numbers have come."""
    within = sorted(number for number in numbers if hole.first <= number <= hole.last)
    return [Hole(each.first, each.last, hole.since_ns) for each in gaps(hole.first - 1, [*within, hole.last + 1], 0)]


def canonical(value: object) -> str:
    """Write a value of texts, whole numbers, booleans, None, lists and string-keyed mappings as RFC 8785 says.

    Raises
    ------
    DataError
        A float, a whole number beyond `EXACT_MAX`, a text that UTF-8 cannot hold, or any other type.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if abs(value) > EXACT_MAX:
            raise DataError(f"expected a whole number up to {EXACT_MAX}, or its text, found {value}")
        return str(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise DataError("expected texts as keys, found others")
        pairs = ((_text(key), canonical(value[key])) for key in sorted(value, key=_utf_16))
        return "{" + ",".join(f"{key}:{item}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    raise DataError(f"expected texts and whole numbers, found {type(value).__name__}")


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError("expected text that UTF-8 can hold, found a lone surrogate") from None
    # Python's escapes are those of RFC 8785, 3.2.2.2, when nothing beyond ASCII is escaped.
    return encode_basestring(text)


def _utf_16(key: str) -> bytes:
    """Return what keys are ordered by: their UTF-16 code units (RFC 8785, 3.2.3)."""
    return key.encode("utf-16-be", errors="surrogatepass")


def linked(before: bytes, text: str) -> bytes:
    """Return the hash of a record that follows on a hash."""
    return hashlib.sha256(before + text.encode()).digest()


def genesis(shard: str) -> bytes:
    """Return the hash that a shard's first record follows on."""
    return hashlib.sha256(GENESIS + shard.encode()).digest()


def chained(before: bytes, seq: int, records: Sequence[Record]) -> list[Link]:
    """Link records, in this order, to the row `seq` of their shard whose hash is `before`."""
    links = []
    for number, record in enumerate(records, seq + 1):
        after = linked(before, _of(number, *record))
        links.append(Link(record.shard, number, *record[1:], before.hex(), after.hex()))
        before = after
    return links


def _of(seq: int, shard: str, at_ns: int, source: str, row_key: str, detail: str) -> str:
    """Write a record as `canonical` would write it, at a third of its cost: the keys and their order are known."""
    quote = encode_basestring
    return (
        f'{{"at_ns":"{at_ns}","detail":{quote(detail)},"row_key":{quote(row_key)},"seq":{seq},'
        f'"shard":{quote(shard)},"source":{quote(source)}}}'
    )


def as_line(link: Link) -> str:
    """Write a row as a line of an export: the record's own members, with `prev_hash` and `hash` beside them."""
    members = link._asdict()
    return canonical(members | {"at_ns": str(link.at_ns)})


def read_line(line: str) -> Link:
    """Read a line of an export; `DataError` when it is none."""
    try:
        found = json.loads(line)
        link = Link(**{**found, "at_ns": int(found["at_ns"])})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError("expected a line of `trisagion audit export`, found something else") from None
    if type(link.seq) is not int or not all(isinstance(part, str) for part in (link.shard, *link[3:])):
        raise DataError("expected a line of `trisagion audit export`, found one with members of another type")
    return link


class Verifier:
    """Follows one shard's rows, in order of seq, from its first row or from one that is trusted as it is.

    `anchors` are hashes by seq that somebody kept outside the database. `take` returns the first flaw; nothing after it
    means anything.
    """

    def __init__(self, shard: str, anchors: Mapping[int, str], first: Link | None = None) -> None:
        self.shard = shard
        self.seq = 0 if first is None else first.seq - 1
        self._value = genesis(shard) if first is None else bytes.fromhex(first.prev_hash)
        self._anchors = {seq: value for seq, value in anchors.items() if seq > self.seq}

    @property
    def head(self) -> str:
        """The hash of the last row that was taken."""
        return self._value.hex()

    def take(self, rows: Sequence[Any]) -> Flaw | None:
        """Take the next rows, in the order of `Link`'s fields; return the first flaw of the shard."""
        value, seq, sha256, before = self._value, self.seq, hashlib.sha256, self._value.hex()
        for index, (shard, number, *told, prev_hash, found) in enumerate(rows):
            seq += 1
            try:
                after = sha256(value + _of(number, shard, *told).encode())
            except (TypeError, ValueError):
                # SQLite keeps any type in any column, and no such value was ever written.
                return self._flaw(seq, "altered", "it holds a value that no record has")
            digits = after.hexdigest()
            if digits != found or prev_hash != before or number != seq or shard != self.shard:
                return self._told(rows, index, seq, before)
            if self._anchors and self._anchors.get(seq, digits) != digits:
                return self._flaw(seq, "replaced", "the chain was written anew: its hash is not that of the anchor")
            value, before = after.digest(), digits
        self._value, self.seq = value, seq
        return None

    def end(self) -> Flaw | None:
        """Return the flaw of a chain whose anchors know more rows than it has."""
        last = max(self._anchors, default=0)
        if last <= self.seq:
            return None
        return self._flaw(self.seq + 1, "truncated", f"the chain ends at {self.seq}, an anchor was made of row {last}")

    def _told(self, rows: Sequence[Any], index: int, seq: int, before: str) -> Flaw:
        """Say what is wrong with a row that does not fit."""
        row = Link(*rows[index])
        if row.seq != seq or row.shard != self.shard:
            return self._flaw(seq, "missing", f"the next row there is {row.shard} {row.seq}")
        for later in _links(rows[index + 1 :]):
            # Whatever stands there was written to stand here.
            if later.prev_hash == before and _hash(later, seq) == later.hash:
                return self._flaw(seq, "displaced", f"what was written as row {seq} stands in row {later.seq}")
        if _hash(row, seq) == row.hash:
            return self._flaw(seq, "unlinked", "it is whole, but does not follow on the row before it")
        return self._flaw(seq, "altered", "its hash is not that of what it holds")

    def _flaw(self, seq: int, what: str, text: str) -> Flaw:
        return Flaw(self.shard, seq, what, text)


def _links(rows: Sequence[Any]) -> Iterator[Link]:
    return (Link(*row) for row in rows)


def _hash(link: Link, seq: int) -> str | None:
    """Return the hash that a row would have as row `seq`, by its own word on what was before it."""
    try:
        return linked(bytes.fromhex(link.prev_hash), _of(seq, link.shard, *link[2:6])).hex()
    except (TypeError, ValueError):
        return None
