"""`trisagion audit` on a run's directory: verify, export, sign, and what is said of a chain that was changed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.builders import TUESDAY_NS, a_report
from tests.databases import founded_run
from trisagion.adapters.anchors import own_key, private_key
from trisagion.adapters.db import SqlDatabase
from trisagion.adapters.db import audit_tables as own
from trisagion.cli import audit
from trisagion.errors import ConfigError, DataError, StateError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqlDatabase]:
    """Lay out the newest run of a state directory, with five rows for either chain that were not linked yet."""
    database = founded_run(tmp_path)
    with database.transaction() as tx:
        for number in range(5):
            tx.orders.add_execution(a_report(f"E{number}"), TUESDAY_NS)
            tx.control.add_event("control.engaged", "kill", {"operator": "ann"}, TUESDAY_NS)
    yield database
    database.close()


def spoil(database: SqlDatabase) -> None:
    """Change a key in the chain of orders."""
    with database.transaction() as tx:
        row = sa.update(own.audit_event).where(own.audit_event.c.shard == "orders", own.audit_event.c.seq == 3)
        tx.session.write(row.values(row_key="T9"), {})


def test_what_is_signed_is_whole_until_somebody_changes_a_row(
    database: SqlDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five rows in either chain and who signs, two anchors; then exit code 1 with shard, row and what is wrong."""
    audit.anchor(state=tmp_path)
    assert "2 anchors added" in capsys.readouterr().out
    audit.verify(state=tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["whole"], told["rows"], told["anchors"]) == (True, {"control": 6, "orders": 5}, 2)
    audit.verify(state=tmp_path)
    assert "orders           5 rows  whole, head " in capsys.readouterr().out
    spoil(database)
    with pytest.raises(typer.Exit) as ended:
        audit.verify(state=tmp_path)
    assert ended.value.exit_code == 1
    out = capsys.readouterr().out
    assert "orders           2 rows  BROKEN at 3: altered" in out
    assert "control          6 rows  whole" in out


def test_an_export_is_verified_by_itself(
    database: SqlDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a whole chain and of a part; a changed line is found, and an existing file is left as it is."""
    audit.anchor(state=tmp_path)
    out = tmp_path / "chain.jsonl"
    audit.export(state=tmp_path, out=out)
    lines = out.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 11
    audit.export(state=tmp_path)
    assert capsys.readouterr().out.splitlines()[-11:] == lines
    part = tmp_path / "part.jsonl"
    part.write_text("\n".join(lines[2:5]) + "\n", encoding="utf-8")
    for whole in (out, part):
        audit.verify(export_file=whole)
    with pytest.raises(StateError, match="left as it is"):
        audit.export(state=tmp_path, out=out)
    part.write_text("\n".join([*lines[2:4], lines[4].replace("ann", "bob")]), encoding="utf-8")
    with pytest.raises(typer.Exit):
        audit.verify(export_file=part, as_json=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["flaws"][0]["seq"] == 5
    part.write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="line 1: expected a line of"):
        audit.verify(export_file=part)
    with pytest.raises(DataError, match="expected a readable export"):
        audit.verify(export_file=tmp_path / "none")


def test_an_auditor_verifies_with_the_public_key_alone(
    database: SqlDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The private key is asked for by nobody then; another's public key does not do."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with (tmp_path / "runs" / "one" / "trisagion.toml").open("a", encoding="utf-8") as file:
        file.write(f'[audit]\nkey = "env:AUDIT_KEY"\nanchors = "{tmp_path / "far"}"\n')
    monkeypatch.setenv("AUDIT_KEY", pem)
    audit.anchor(state=tmp_path)
    assert (tmp_path / "far" / "one.jsonl").exists()
    monkeypatch.delenv("AUDIT_KEY")
    with pytest.raises(ConfigError, match="AUDIT_KEY"):
        audit.verify(state=tmp_path)
    for private, good in ((key, True), (Ed25519PrivateKey.generate(), False)):
        public = tmp_path / "public.pem"
        public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        if good:
            audit.verify(keys=[public], state=tmp_path)
        else:
            with pytest.raises(StateError, match="signed by another key"):
                audit.verify(keys=[public], state=tmp_path)


def test_a_key_of_one_s_own_is_made_once_and_is_nobody_else_s(tmp_path: Path) -> None:
    """The same at each call, readable by its owner; what is no key is refused without a word of it."""
    first = own_key(tmp_path / "new")
    assert own_key(tmp_path / "new") == first
    assert (tmp_path / "new" / "audit.key").stat().st_mode & 0o777 == 0o600
    private_key(first)
    with pytest.raises(ConfigError, match="expected an Ed25519 private key") as refused:
        private_key("hunter2")
    assert "hunter2" not in str(refused.value)
