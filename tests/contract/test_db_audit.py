"""The audit chain on both servers: every way to tamper, writers that meet, one that is killed, and anchors."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import TUESDAY_NS, a_report
from trisagion.adapters.anchors import AnchorFile
from trisagion.adapters.db import SqlDatabase, open_database, retrying
from trisagion.adapters.db import audit_tables as own
from trisagion.adapters.db import tables as t
from trisagion.errors import DataError, StateError
from trisagion.safety.audit import Anchor, Link, Witness, as_line, genesis
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Control, Mode
from trisagion.services import keep_audit
from trisagion.services.keep_audit import Verified

COUNT = 40
BY = Witness("host", "actor", "build", "config")
E = own.audit_event.c


@pytest.fixture
def database_url(owned_url: str) -> str:
    """Give the owner's database: the users of a platform may not do what is done to the chain here."""
    return owned_url


@pytest.fixture
def anchors(tmp_path: Path) -> AnchorFile:
    """Give a file of anchors with a key of its own."""
    private = Ed25519PrivateKey.generate()
    return AnchorFile(tmp_path / "far" / "anchors.jsonl", [private.public_key()], private)


@pytest.fixture
def chain(database: SqlDatabase) -> SqlDatabase:
    """Give a database with a chain of so many rows in either shard."""
    happen(database, COUNT)
    keep_audit.chain_all(database, "test")
    return database


def happen(database: SqlDatabase, count: int, *, reports: bool = True, events: bool = True) -> None:
    """Add so many executions and events, as those who book and who watch do; none twice."""
    with database.transaction() as tx:
        for _ in range(count):
            if reports:
                assert tx.orders.add_execution(a_report(f"E{uuid.uuid4()}", reason="é"), TUESDAY_NS)
            if events:
                tx.control.add_event("order.alarm", "subject é", {"text": "x"}, TUESDAY_NS)


def verified(database: SqlDatabase, kept: list[Anchor] | None = None) -> Verified:
    """Verify all of a database."""
    return keep_audit.verify(database, kept or [], lambda _shard, _rows: None)


def flaws(found: Verified) -> list[tuple[str, int, str]]:
    """Return what was found, in short."""
    return [(flaw.shard, flaw.seq, flaw.what) for flaw in found.flaws]


def tamper(database: SqlDatabase, *statements: sa.Executable) -> None:
    """Do what the chain's owner must not."""
    with database.transaction() as tx:
        for statement in statements:
            tx.session.write(statement, {})


def the(seq: int, shard: str = "orders") -> sa.ColumnElement[bool]:
    """Name a row."""
    return sa.and_(E.shard == shard, E.seq == seq)


def test_rows_are_linked_without_a_hole_and_nothing_waits_then(chain: SqlDatabase) -> None:
    """In either shard, from its genesis on, each with its table, its key and all that it says."""
    found = verified(chain)
    assert (found.rows, found.waiting, flaws(found)) == ({"control": COUNT, "orders": COUNT}, 0, [])
    with chain.snapshot() as tx:
        rows = [Link(*row) for row in tx.audit.rows("orders", 0, 100)]
    assert [row.seq for row in rows] == list(range(1, COUNT + 1))
    assert rows[0].prev_hash == genesis("orders").hex()
    assert {row.source for row in rows} == {"execution"} and all(row.at_ns > TUESDAY_NS for row in rows)
    assert [int(row.row_key) for row in rows] == sorted({int(row.row_key) for row in rows})
    told = json.loads(rows[0].detail)
    assert (told["last_px"], told["reason"], told["seq"]) == ("4500.25", "é", rows[0].row_key)


@pytest.mark.parametrize("column", [name for name in Link._fields if name not in {"shard", "seq"}])
def test_a_flipped_byte_in_any_column_is_found_at_its_row(chain: SqlDatabase, column: str) -> None:
    """The first bad row is the one, and the other shard is whole."""
    with chain.snapshot() as tx:
        row = tx.audit.row("orders", 17)
    assert row is not None
    value = getattr(row, column) or "0"
    changed = value ^ 1 if isinstance(value, int) else value[:-1] + chr(ord(value[-1]) ^ 64)
    tamper(chain, sa.update(own.audit_event).where(the(17)).values({column: changed}))
    assert flaws(verified(chain)) == [("orders", 17, "altered")]


TAMPERED: dict[str, tuple[list[sa.Executable], tuple[str, int, str]]] = {
    "a row deleted": ([sa.delete(own.audit_event).where(the(17))], ("orders", 17, "missing")),
    "the first deleted": ([sa.delete(own.audit_event).where(the(1))], ("orders", 1, "missing")),
    "two swapped": (
        [sa.update(own.audit_event).where(the(old)).values(seq=new) for old, new in ((17, 900), (23, 17), (900, 23))],
        ("orders", 17, "displaced"),
    ),
    "moved to the other chain": (
        [
            sa.delete(own.audit_event).where(the(40, "control")),
            sa.update(own.audit_event).where(the(40)).values(shard="control"),
        ],
        ("control", 40, "altered"),
    ),
    "a hole closed": (
        [
            sa.delete(own.audit_event).where(the(17)),
            *(sa.update(own.audit_event).where(the(seq)).values(seq=seq - 1) for seq in range(18, COUNT + 1)),
        ],
        ("orders", 17, "altered"),
    ),
    "the tail cut off": (
        [sa.delete(own.audit_event).where(E.shard == "orders", E.seq > 30)],
        ("orders", 31, "truncated"),
    ),
    "a chain emptied": ([sa.delete(own.audit_event).where(E.shard == "orders")], ("orders", 1, "truncated")),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_whatever_is_done_to_rows_is_found(chain: SqlDatabase, anchors: AnchorFile, how: str) -> None:
    """Deleted, swapped, moved, renumbered, truncated: with the first bad row."""
    keep_audit.anchor(chain, anchors, "test", 1)
    statements, expected = TAMPERED[how]
    tamper(chain, *statements)
    assert flaws(verified(chain, list(anchors.kept())))[0] == expected


def test_a_row_that_is_put_in_is_found(chain: SqlDatabase) -> None:
    """Whoever makes room for it, and links it to the row before it as we would."""
    with chain.snapshot() as tx:
        row = tx.audit.row("orders", 16)
    assert row is not None
    moves = [sa.update(own.audit_event).where(the(seq)).values(seq=seq + 1) for seq in range(COUNT, 16, -1)]
    tamper(chain, *moves, sa.insert(own.audit_event).values(**row._replace(seq=17, row_key="put in")._asdict()))
    assert flaws(verified(chain)) == [("orders", 17, "displaced")]


def test_a_tail_that_is_cut_off_and_grown_again_does_not_fit_its_anchor(
    chain: SqlDatabase, anchors: AnchorFile
) -> None:
    """The new rows are a chain by themselves; the anchor knows that another row stood there."""
    keep_audit.anchor(chain, anchors, "test", 1)
    tamper(chain, sa.delete(own.audit_event).where(E.shard == "orders", E.seq > 30))
    happen(chain, COUNT)
    keep_audit.chain_all(chain, "test")
    assert flaws(verified(chain)) == [("orders", 0, "unrecorded")]
    assert flaws(verified(chain, list(anchors.kept())))[0] == ("orders", 40, "replaced")
    signed = keep_audit.anchor(chain, anchors, "test", 2)
    assert [each.shard for each in signed] == ["control"], "what was tampered with is not signed again"
    with chain.snapshot() as tx:
        assert tx.session.scalar(sa.select(t.event.c.subject).where(t.event.c.kind == "chain.broken")) == "orders"


def test_a_note_a_mode_an_event_and_what_is_rolled_back(database: SqlDatabase) -> None:
    """What people and the platform did is in the chain when its transaction was kept, and only then."""
    with database.transaction() as tx:
        tx.control.set_mode(Control(Mode.PAUSE, "ann", "why", 5))
        tx.control.add_event("gate.shut", "SIM", {"reason": "x"}, 6)
        tx.control.set_gate(Gate("SIM", True, "ann", "why", 7))
    keep_audit.note_login(database, BY, "ann", "kill", {})
    keep_audit.note_start(database, BY, "ann", "one", {"limits": "v1"})
    with suppress(DataError), database.transaction() as tx:
        tx.control.add_event("never", "never", {}, 8)
        raise DataError("no")
    keep_audit.chain_all(database, "test")
    with database.snapshot() as tx:
        rows = [Link(*row) for row in tx.audit.rows("control", 0, 10)]
        assert tx.audit.head("orders") is None
    told = {(row.source, json.loads(row.detail).get("kind")): json.loads(row.detail) for row in rows}
    assert [" ".join(filter(None, key)) for key in told] == [
        "audit_note login", "audit_note run.started", "control", "event gate.shut", "gate",
    ]  # fmt: skip
    start = told["audit_note", "run.started"]
    assert (start["actor"], start["build"], start["config"], start["host"]) == ("ann", "build", "config", "host")
    assert json.loads(start["detail"]) == {"limits": "v1"}
    assert told["control", None]["mode"] == "pause" and told["gate", None]["reason"] == "why"


def test_writers_that_meet_make_one_chain(database: SqlDatabase, database_url: str) -> None:
    """Four link and four record at once: no hole, no double, nothing left."""
    failures: list[BaseException] = []

    def working(work: Callable[[SqlDatabase], object]) -> Callable[[], None]:
        def run() -> None:
            own = open_database(database_url)
            try:
                for _ in range(10):
                    retrying(lambda: work(own))
            except BaseException as error:
                failures.append(error)
                raise
            finally:
                own.close()

        return run

    works: list[Callable[[SqlDatabase], object]] = [lambda own: keep_audit.chain(own, "w"), lambda own: happen(own, 5)]
    threads = [threading.Thread(target=working(work)) for work in works * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    keep_audit.chain_all(database, "test")
    found = verified(database)
    assert (found.rows, found.waiting, flaws(found)) == ({"control": 200, "orders": 200}, 0, [])


WRITER = """
import os, sys
from trisagion.adapters.db import open_database
from trisagion.services import keep_audit
keep_audit.CHAIN_MAX = 50
database = open_database(sys.argv[1])
with database.snapshot() as tx:
    tx.audit.shards()
print("ready", flush=True)
while True:
    keep_audit.chain(database, str(os.getpid()))
"""


def test_a_writer_that_is_killed_leaves_neither_hole_nor_double(database: SqlDatabase, database_url: str) -> None:
    """SIGKILL at two moments while it links; the next one goes on, and every record is there once."""
    happen(database, 1_000)
    root = Path(__file__).resolve().parents[2]
    for delay in (0.01, 0.04):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
        writer.stdout.close()
        assert flaws(verified(database)) == []
    retrying(lambda: keep_audit.chain_all(database, "test"))
    found = verified(database)
    assert (found.rows, found.waiting, flaws(found)) == ({"control": 1_000, "orders": 1_000}, 0, [])
    with database.snapshot() as tx:
        assert tx.session.scalar(sa.select(sa.func.count(sa.distinct(E.row_key))).where(E.shard == "orders")) == 1_000


def test_what_is_more_than_a_batch_is_rung_for_again(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word is "more" until nothing waits."""
    monkeypatch.setattr(keep_audit, "CHAIN_MAX", 10)
    happen(database, 25, reports=False)
    assert [keep_audit.chain(database, "test").word for _ in range(4)] == ["more", "more", "nothing", "nothing"]
    assert verified(database).rows["control"] == 25


def test_anchors_are_signed_once_for_each_head(chain: SqlDatabase, anchors: AnchorFile) -> None:
    """A chain that has not grown is not signed again; what waits is linked before."""
    first = keep_audit.anchor(chain, anchors, "test", 1)
    assert [(each.shard, each.seq) for each in first] == [("control", COUNT), ("orders", COUNT)]
    assert keep_audit.anchor(chain, anchors, "test", 2) == []
    happen(chain, 1, reports=False)
    assert [(each.shard, each.seq) for each in keep_audit.anchor(chain, anchors, "test", 3)] == [("control", COUNT + 1)]
    assert len(anchors.kept()) == 3
    assert flaws(verified(chain, list(anchors.kept()))) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [lines[0].replace('"seq":40', '"seq":41'), lines[1]], "line 1: the anchor is not as it was"),
        (lambda lines: lines[1:], "line 1: expected anchor 1, found 2"),
        (lambda lines: lines[::-1], "line 1: expected anchor 1, found 2"),
        (lambda lines: ["{}", *lines], "line 1: expected a signed anchor"),
        (lambda lines: [*lines, "x"], "line 3: expected a signed anchor"),
    ],
)
def test_anchors_that_were_tampered_with_are_refused(
    chain: SqlDatabase, anchors: AnchorFile, change: Callable[[list[str]], list[str]], told: str
) -> None:
    """With the line."""
    keep_audit.anchor(chain, anchors, "test", 1)
    lines = anchors.path.read_text(encoding="utf-8").splitlines()
    anchors.path.write_text("".join(f"{line}\n" for line in change(lines)), encoding="utf-8")
    with pytest.raises(StateError, match=told):
        anchors.kept()


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_an_anchor_that_was_cut_short_is_none_and_is_signed_again(
    chain: SqlDatabase, anchors: AnchorFile, cut: int
) -> None:
    """The disk was full, or the power went: no run is kept from its start, and the file goes on after what is whole."""
    keep_audit.anchor(chain, anchors, "test", 1)
    whole = anchors.kept()
    first, second = anchors.path.read_bytes().splitlines(keepends=True)
    anchors.path.write_bytes(first + second[:cut])
    assert anchors.kept() == whole[:1]
    assert keep_audit.anchor(chain, anchors, "test", 2) == whole[1:]
    assert anchors.kept() == whole
    assert anchors.path.read_bytes().startswith(first)


def test_another_key_s_anchors_are_not_believed(chain: SqlDatabase, anchors: AnchorFile) -> None:
    """Whoever can write the file cannot sign for us."""
    private = Ed25519PrivateKey.generate()
    forged = AnchorFile(anchors.path, [private.public_key()], private)
    keep_audit.anchor(chain, forged, "test", 1)
    with pytest.raises(StateError, match="signed by another key"):
        anchors.kept()


def test_an_export_has_the_rows_of_its_span(chain: SqlDatabase) -> None:
    """All of both chains, or from one row's instant on, or up to it."""
    lines = [as_line(link) for link in keep_audit.export(chain, 0, 2**63 - 1)]
    assert len(set(lines)) == 2 * COUNT
    with chain.snapshot() as tx:
        row = tx.audit.row("orders", 11)
    assert row is not None
    later = [link.seq for link in keep_audit.export(chain, row.at_ns, 2**63 - 1) if link.shard == "orders"]
    earlier = [link.seq for link in keep_audit.export(chain, 0, row.at_ns) if link.shard == "orders"]
    assert earlier + later == list(range(1, COUNT + 1))
    assert later[0] <= 11
    assert list(keep_audit.export(chain, 0, 1)) == []


@pytest.mark.mariadb
def test_a_platform_s_own_user_records_and_links_and_can_change_no_row(
    on_mariadb: SqlDatabase, mariadb_users: dict[str, str]
) -> None:
    """The owner of a session records, the writer links; the server refuses either what a tamperer would do."""
    assert verified(on_mariadb).rows == {"control": 0, "orders": 0}
    gateway, writer = (open_database(mariadb_users[user]) for user in ("gateway", "writer"))
    try:
        happen(gateway, 5)
        keep_audit.chain_all(writer, "test")
        assert verified(gateway).rows == {"control": 5, "orders": 5}
        for who in (gateway, writer):
            for statement in (sa.delete(own.audit_event), sa.update(own.audit_event).values(detail="x")):
                with pytest.raises(StateError, match="is refused to this user"):
                    tamper(who, statement)
    finally:
        gateway.close()
        writer.close()
