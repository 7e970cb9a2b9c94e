"""The audit chain as values: canonical JSON by its published vectors, the links, and every way to break them."""

import hashlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.errors import DataError
from trisagion.safety import audit
from trisagion.safety.audit import Link, Record, Verifier

COUNT = 12


def records(count: int = COUNT, shard: str = audit.ORDERS) -> list[Record]:
    """Return records that differ in every column."""
    return [Record(shard, 10**18 + n, f"t{n}", f"k{n}", f'{{"n":"{n}"}}') for n in range(count)]


@pytest.fixture
def chain() -> list[Link]:
    """Return a whole chain."""
    return audit.chained(audit.genesis(audit.ORDERS), 0, records())


def flaw(rows: list[Link], anchors: dict[int, str] | None = None) -> tuple[int, str] | None:
    """Return seq and kind of the first flaw of a chain, None when it is whole."""
    verifier = Verifier(audit.ORDERS, anchors or {})
    found = verifier.take(rows) or verifier.end()
    return None if found is None else (found.seq, found.what)


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ],
)
def test_a_link_on_nothing_is_the_digest_that_nist_published(message: str, digest: str) -> None:
    """FIPS 180-4 and its example values (NIST, SHA256.pdf): one block, none, and two."""
    assert audit.linked(b"", message).hex() == digest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # RFC 8785, 3.2.3: the order of the keys is that of their UTF-16 code units.
        (
            {
                "\u20ac": "Euro Sign",
                "\r": "Carriage Return",
                "\ufb33": "Hebrew Letter Dalet With Dagesh",
                "1": "One",
                "\U0001f600": "Emoji: Grinning Face",
                "\u0080": "Control",
                "\u00f6": "Latin Small Letter O With Diaeresis",
            },
            (
                '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",'
                '"€":"Euro Sign","\U0001f600":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
            ),
        ),
        # RFC 8785, 3.2.2: its example without the floats, which we refuse.
        (
            {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/", "literals": [None, True, False]},
            '{"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
        ),
        ({"b": {"c": [1, -2, {}]}, "a": []}, '{"a":[],"b":{"c":[1,-2,{}]}}'),
        ("\b\t\n\f\r\x01\x1f\x7f", '"\\b\\t\\n\\f\\r\\u0001\\u001f\x7f"'),
        (2**53 - 1, "9007199254740991"),
    ],
)
def test_canonical_json_is_that_of_rfc_8785(value: object, text: str) -> None:
    """Escapes, literals, nesting and the order of keys."""
    assert audit.canonical(value) == text


@pytest.mark.parametrize("value", [1.5, 2**53, -(2**53), "\ud800", {1: "a"}, b"a", {"a": {"b": 0.1}}])
def test_what_has_no_one_text_is_refused(value: object) -> None:
    """A float, a number that a double cannot hold, a lone surrogate, a key that is no text, bytes."""
    with pytest.raises(DataError, match="expected"):
        audit.canonical(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(-(2**53) + 1, 2**53 - 1),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_canonical_json_says_what_it_was_made_of(value: object) -> None:
    """It reads back as the value, and has no two forms: what is read writes itself again."""
    try:
        text = audit.canonical(value)
    except DataError:
        return
    assert json.loads(text) == value
    assert audit.canonical(json.loads(text)) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=4, max_size=4))
def test_the_quick_form_of_a_record_is_its_canonical_json(texts: list[str]) -> None:
    """What is hashed is what anybody's RFC 8785 would write of the export's line without its two hashes."""
    shard, source, row_key, detail = texts
    link = audit.chained(b"", 6, [Record(shard, 2**60, source, row_key, detail)])[0]
    members = json.loads(audit.as_line(link))
    del members["prev_hash"], members["hash"]
    assert hashlib.sha256(audit.canonical(members).encode()).hexdigest() == link.hash
    assert audit.read_line(audit.as_line(link)) == link


def test_a_whole_chain_has_no_flaw(chain: list[Link]) -> None:
    """In one piece or in several, with anchors that are right; and its head is the last hash."""
    verifier = Verifier(audit.ORDERS, {1: chain[0].hash, 12: chain[11].hash})
    assert [verifier.take(chain[a:b]) for a, b in ((0, 5), (5, 5), (5, 12))] == [None] * 3
    assert verifier.end() is None
    assert (verifier.seq, verifier.head) == (12, chain[-1].hash)
    assert [link.seq for link in chain] == list(range(1, 13))


def test_a_part_of_a_chain_is_verified_from_its_first_row(chain: list[Link]) -> None:
    """Its first row is trusted for what was before it, and for nothing else."""
    assert Verifier(audit.ORDERS, {3: "not of this part"}, chain[4]).take(chain[4:]) is None
    changed = chain[4]._replace(row_key="x")
    found = Verifier(audit.ORDERS, {}, changed).take([changed, *chain[5:]])
    assert found is not None and (found.seq, found.what) == (5, "altered")


@pytest.mark.parametrize("column", [name for name in Link._fields if name not in {"shard", "seq"}])
def test_one_flipped_bit_in_any_column_is_found(chain: list[Link], column: str) -> None:
    """At its own row, whichever column it is in."""
    value = getattr(chain[6], column)
    flipped = value ^ 1 if isinstance(value, int) else value[:-1] + chr(ord(value[-1]) ^ 1)
    rows = [*chain[:6], Link(**{**chain[6]._asdict(), column: flipped}), *chain[7:]]
    assert flaw(rows) == (7, "altered")


@pytest.mark.parametrize("value", [None, b"x", 1.5, "\ud800"])
def test_a_value_of_a_type_that_no_record_has_is_found(chain: list[Link], value: object) -> None:
    """As SQLite would keep it."""
    assert flaw([*chain[:6], chain[6]._replace(row_key=value), *chain[7:]]) == (7, "altered")  # type: ignore[arg-type]


def test_each_way_of_moving_rows_is_found_at_the_first_that_is_wrong(chain: list[Link]) -> None:
    """Deleted, swapped, doubled, followed by another chain's; cut off or written anew, which only an anchor sees."""
    anchors = {12: chain[-1].hash}
    other = audit.chained(audit.genesis(audit.ORDERS), 0, [r._replace(row_key="x") for r in records()])
    moved = [*chain[:3], chain[8]._replace(seq=4), *chain[4:8], chain[3]._replace(seq=9), *chain[9:]]
    cases: dict[str, tuple[list[Link], tuple[int, str]]] = {
        "first deleted": (chain[1:], (1, "missing")),
        "deleted": (chain[:4] + chain[5:], (5, "missing")),
        "swapped": (moved, (4, "displaced")),
        "inserted": ([*chain[:5], *(link._replace(seq=link.seq + 1) for link in chain[4:])], (6, "displaced")),
        "followed by another's": (chain[:4] + other[4:], (5, "unlinked")),
        "truncated": (chain[:9], (10, "truncated")),
        "emptied": ([], (1, "truncated")),
        "written anew": (other, (12, "replaced")),
    }
    assert {name: flaw(rows, anchors) for name, (rows, _) in cases.items()} == {
        name: expected for name, (_, expected) in cases.items()
    }


def test_a_row_of_another_shard_does_not_belong(chain: list[Link]) -> None:
    """Each shard begins with a hash of its own name."""
    assert audit.genesis(audit.ORDERS) != audit.genesis(audit.CONTROL)
    found = Verifier(audit.CONTROL, {}).take(chain)
    assert found is not None and found.seq == 1


@pytest.mark.parametrize("line", ["", "{}", "[]", '"x"', '{"shard":1}', "null"])
def test_a_line_that_is_none_of_an_export_is_refused(line: str) -> None:
    """With a sentence."""
    with pytest.raises(DataError, match="expected a line"):
        audit.read_line(line)


def test_a_row_s_detail_is_the_canonical_json_of_its_columns() -> None:
    """Each value in one way, whatever a driver gives; NULL is left out."""
    values = {
        "a": 'é"',
        "b": Decimal("1.500000000000"),
        "c": 7,
        "d": 0.1,
        "e": None,
        "f": b"\x01\xff",
        "g": Decimal("NaN"),
    }
    expected = {"a": 'é"', "b": "1.5", "c": "7", "d": "0.1", "f": "01ff", "g": "Decimal('NaN')"}
    assert audit.row_detail(list(values), list(values.values())) == audit.canonical(expected)


@pytest.mark.parametrize("text", ["x" * 70_000, "é" * 40_000, '"' * 33_000])
def test_of_a_row_that_is_too_long_the_hash_is_kept(text: str) -> None:
    """What does not fit the chain's column is told by its SHA-256; what just fits is not."""
    whole = audit.canonical({"text": text})
    assert audit.row_detail(["text"], [text]) == f'{{"sha256":"{hashlib.sha256(whole.encode()).hexdigest()}"}}'
    assert audit.row_detail(["text"], [text[:30_000]]) == audit.canonical({"text": text[:30_000]})


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_holes_are_what_was_passed_over_and_did_not_come(first: set[int], second: set[int], late: set[int]) -> None:
    """Numbers come in two readings, some of those between later: what is left is every number that never came."""
    second = {number for number in second if number > max(first, default=0)}
    last = max(first | second, default=0)
    holes = audit.gaps(0, sorted(first), 1) + audit.gaps(max(first, default=0), sorted(second), 2)
    late -= first | second
    left = [part for hole in holes for part in audit.without(hole, sorted(late))]
    missing = [number for hole in left for number in range(hole.first, hole.last + 1)]
    assert missing == [number for number in range(1, last + 1) if number not in first | second | late]
    assert all(hole.since_ns == (1 if hole.first < max(first, default=0) else 2) for hole in left)
