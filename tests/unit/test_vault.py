"""The vault: what is changed does not open, a rotation can die anywhere, and each entry has its environment."""

import base64
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from init import create
from tests.builders import Desk
from tests.databases import lay_out_run
from trisagion.adapters.db import audit_tables as own
from trisagion.adapters.db.engine import open_database
from trisagion.adapters.witness import person
from trisagion.cli import vault as cli
from trisagion.cli.preflight import refuse_unfit_secrets
from trisagion.errors import ConfigError, StateError, TrisagionError
from trisagion.settings import load, resolve
from trisagion.settings.vault import DAY_NS, Content, Entry, Vault, refuse_unfit

SECRET = "hunter2-é"
NOW_NS = 1_800_000_000 * 10**9


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Name a vault."""
    return {"TRISAGION_VAULT": str(tmp_path / "v")}


@pytest.fixture
def vault(environ: dict[str, str]) -> Vault:
    """Give a vault with three entries."""
    made = Vault.of(environ)
    made.create(by_passphrase=False, now_ns=NOW_NS)
    for name in ("a", "b", "c"):
        made.put(name, f"{SECRET} {name}", "paper", ("SIM",), NOW_NS)
    return made


def rewrite(vault: Vault, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the file as somebody else would."""
    tree = json.loads(vault.path.read_text(encoding="utf-8"))
    change(tree)
    vault.path.write_text(json.dumps(tree), encoding="utf-8")


def test_a_secret_is_what_was_put_and_is_nowhere_in_the_file(vault: Vault, environ: dict[str, str]) -> None:
    """By reference, wherever settings take one; the file and the key are their owner's alone."""
    assert resolve("vault:a", environ) == f"{SECRET} a"
    data = vault.path.read_bytes()
    assert SECRET.encode() not in data
    assert base64.b64encode(SECRET.encode()) not in data
    assert vault.path.stat().st_mode & 0o777 == 0o600
    (key,) = Path(f"{vault.path}.keys").iterdir()
    assert key.stat().st_mode & 0o777 == 0o400
    assert load(None, {}, {"fix.password": "vault:a"}).fix.password == "vault:a"


def test_a_second_put_is_the_next_version_with_another_key_and_other_nonces(vault: Vault) -> None:
    """Nothing of the first is used again."""
    first = vault.entry("a")
    second = vault.put("a", f"{SECRET} a", "paper", ("SIM",), NOW_NS)
    assert (first.version, second.version) == (1, 2)
    assert first.wrapped[:16] != second.wrapped[:16]
    assert first.sealed != second.sealed
    assert vault.open("a") == f"{SECRET} a"


@pytest.mark.parametrize("field", ["wrapped", "sealed"])
def test_no_byte_of_an_entry_can_be_changed(vault: Vault, field: str) -> None:
    """Each of nonce, ciphertext and tag, in the wrapped key and in the sealed secret."""
    whole = json.loads(vault.path.read_text(encoding="utf-8"))
    data = base64.b64decode(whole["entries"][0][field])
    for index in range(len(data)):
        spoilt = bytearray(data)
        spoilt[index] ^= 1
        whole["entries"][0][field] = base64.b64encode(spoilt).decode()
        vault.path.write_text(json.dumps(whole), encoding="utf-8")
        with pytest.raises(StateError, match="does not open"):
            vault.open("a")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("environment", "live"),
        ("venues", ["SIM", "X"]),
        ("venues", []),
        ("made_ns", 1),
        ("key", "0" * 16),
        ("wrapped", "x"),
        ("sealed", ""),
    ],
)
def test_what_an_entry_says_of_itself_cannot_be_changed(vault: Vault, field: str, value: object) -> None:
    """Nor can a paper secret be made a live one."""
    rewrite(vault, lambda tree: tree["entries"][0].update({field: value}))
    with pytest.raises(StateError, match="does not open"):
        vault.open("a")


@pytest.mark.parametrize("fields", [("name",), ("sealed",), ("wrapped",), ("wrapped", "sealed")])
def test_two_entries_cannot_be_swapped(vault: Vault, fields: tuple[str, ...]) -> None:
    """Neither their names nor what they hold."""

    def swap(tree: dict[str, Any]) -> None:
        one, other = tree["entries"][:2]
        for field in fields:
            one[field], other[field] = other[field], one[field]

    rewrite(vault, swap)
    for name in ("a", "b"):
        with pytest.raises(StateError, match="does not open"):
            vault.open(name)


def test_a_wrong_key_is_one_sentence_without_detail(vault: Vault) -> None:
    """The same as for a changed file; a key that is missing, too open or no key says so."""
    (path,) = Path(f"{vault.path}.keys").iterdir()
    good = path.read_bytes()

    def said(error: type[TrisagionError]) -> str:
        with pytest.raises(error) as refused:
            vault.open("a")
        assert SECRET not in str(refused.value)
        assert good.decode() not in str(refused.value)
        return str(refused.value)

    path.chmod(0o600)
    path.write_bytes(base64.b64encode(bytes(32)))
    assert said(StateError) == f"vault:a: does not open: {vault.path} was changed, or its key is another"
    path.write_bytes(b"short")
    assert "expected a key" in said(ConfigError)
    path.write_bytes(good)
    path.chmod(0o644)
    assert "found mode 0644" in said(ConfigError)
    path.unlink()
    assert "expected a key of the vault, found: No such file" in said(ConfigError)


def test_a_key_can_be_made_of_a_passphrase(tmp_path: Path) -> None:
    """By scrypt; another passphrase opens nothing, and none is asked for by name."""
    environ = {"TRISAGION_VAULT": str(tmp_path / "v"), "TRISAGION_VAULT_PASSPHRASE": "env:P", "P": "correct horse"}
    vault = Vault.of(environ)
    vault.create(by_passphrase=True, now_ns=NOW_NS)
    vault.put("a", SECRET, "paper", (), NOW_NS)
    assert not Path(f"{vault.path}.keys").exists()
    assert vault.rotate(NOW_NS) == 1
    assert resolve("vault:a", environ) == SECRET
    with pytest.raises(StateError, match="does not open"):
        resolve("vault:a", {**environ, "P": "wrong horse"})
    with pytest.raises(ConfigError, match="TRISAGION_VAULT_PASSPHRASE: expected"):
        resolve("vault:a", {**environ, "TRISAGION_VAULT_PASSPHRASE": ""})


def test_a_rotation_wraps_all_under_a_new_key_and_takes_the_old_away(vault: Vault) -> None:
    """No secret is sealed anew, and one key is left."""
    before = vault.content()
    assert vault.rotate(NOW_NS) == 3
    after = vault.content()
    assert {entry.key for entry in after.entries.values()} == {after.keys[0].name} != {before.keys[0].name}
    assert {entry.sealed for entry in after.entries.values()} == {entry.sealed for entry in before.entries.values()}
    assert [path.name for path in Path(f"{vault.path}.keys").iterdir()] == [after.keys[0].name]
    assert vault.open("b") == f"{SECRET} b"


def test_a_rotation_may_die_at_any_write_and_goes_on(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries open before and after it goes on, which makes no further key, and in between a put works, too."""
    real = Vault._write
    for fatal in range(5):
        written: list[Content] = []

        def dying(self: Vault, content: Content, fatal: int = fatal, written: list[Content] = written) -> None:
            if len(written) == fatal:
                raise KeyboardInterrupt
            written.append(content)
            real(self, content)

        monkeypatch.setattr(Vault, "_write", dying)
        with pytest.raises(KeyboardInterrupt):
            vault.rotate(NOW_NS)
        monkeypatch.setattr(Vault, "_write", real)
        assert [vault.open(name) for name in "abc"] == [f"{SECRET} {name}" for name in "abc"]
        newest = vault.content().keys[-1].name
        if 0 < fatal < 4:
            assert "a rotation was not ended" in "\n".join(vault.problems(NOW_NS))
            assert vault.rotate(NOW_NS) == 4 - fatal
            assert vault.content().keys[0].name == newest
        else:
            vault.rotate(NOW_NS)
        assert [vault.open(name) for name in "abc"] == [f"{SECRET} {name}" for name in "abc"]
        assert len(vault.content().keys) == 1
        assert vault.problems(NOW_NS) == []


def test_no_loss_of_power_leaves_a_vault_without_its_key(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key, by its name too, is on the disk before the vault names it, and the vault before an old key goes."""
    keys, done = Path(f"{vault.path}.keys"), []
    real_sync, real_replace, real_unlink = os.fsync, Path.replace, Path.unlink

    def sync(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        real_sync(handle)

    def replace_(self: Path, target: Path) -> Path:
        done.append(f"{self.name} -> {target.name}")
        return real_replace(self, target)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        done.extend([f"without {self.name}"] if self.parent == keys else [])
        real_unlink(self, missing_ok)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace_)
    monkeypatch.setattr(Path, "unlink", unlink)
    old = vault.content().keys[0].name
    vault.rotate(NOW_NS)
    [new] = [key.name for key in vault.content().keys]
    named = ["sync v.new", "v.new -> v", f"sync {vault.path.parent.name}"]
    assert done == [f"sync {new}", f"sync {keys.name}", *named * 4, f"without {old}", *named]


@pytest.mark.parametrize("is_link", [False, True])
def test_what_lies_in_the_place_of_the_new_file_is_neither_used_nor_followed(
    vault: Vault, tmp_path: Path, is_link: bool
) -> None:
    """A file that was left there, whoever may read it, or a link to one of somebody's."""
    left, other = vault.path.with_name("v.new"), tmp_path / "other"
    other.write_text("mine", encoding="utf-8")
    if is_link:
        left.symlink_to(other)
    else:
        left.write_text("half", encoding="utf-8")
        left.chmod(0o644)
    vault.put("d", SECRET, "paper", ("SIM",), NOW_NS)
    assert vault.open("d") == SECRET
    assert other.read_text(encoding="utf-8") == "mine"
    assert not vault.path.is_symlink()


def test_whoever_reads_while_the_old_key_goes_reads_again(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was read names a key that is gone; the one that is there now does not."""
    old = vault.content()
    vault.rotate(NOW_NS)
    found = iter([old])
    real = Vault.content
    monkeypatch.setattr(Vault, "content", lambda self: next(found, None) or real(self))
    assert vault.open("a") == f"{SECRET} a"


def test_what_is_thirty_days_old_is_told(vault: Vault) -> None:
    """Key and secrets, not on the day before; a rotation makes the key young, a new version the secret."""
    then_ns = NOW_NS + 30 * DAY_NS
    assert vault.problems(then_ns - 1) == vault.aged(then_ns - 1) == []
    key, *secrets = vault.problems(then_ns)
    assert "30 days old, at most 30: rotate" in key
    assert [text.partition(",")[0] for text in secrets] == [f"vault:{name}: version 1 is 30 days old" for name in "abc"]
    vault.rotate(then_ns)
    vault.put("a", SECRET, "paper", ("SIM",), then_ns)
    assert [text.partition(" ")[0] for text in vault.aged(then_ns)] == ["vault:b:", "vault:c:"]


def test_a_rotation_may_seal_each_secret_anew(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a key of its own that is new; one that dies half-way leaves all open, and nothing of it is younger."""
    before, real = vault.content(), Vault._write
    written: list[Content] = []

    def dying(self: Vault, content: Content) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(content)
        real(self, content)

    monkeypatch.setattr(Vault, "_write", dying)
    with pytest.raises(KeyboardInterrupt):
        vault.rotate(NOW_NS, anew=True)
    monkeypatch.setattr(Vault, "_write", real)
    assert [vault.open(name) for name in "abc"] == [f"{SECRET} {name}" for name in "abc"]
    assert vault.rotate(NOW_NS, anew=True) == 2
    after = vault.content()
    assert [vault.open(name) for name in "abc"] == [f"{SECRET} {name}" for name in "abc"]
    for name, entry in after.entries.items():
        old = before.entries[name]
        assert entry.sealed != old.sealed and entry.wrapped != old.wrapped
        assert (entry.version, entry.made_ns) == (old.version, old.made_ns)


def test_a_vault_that_others_can_read_is_refused(vault: Vault) -> None:
    """It is sealed, but whose it is to write is whose it is to replace by an older one."""
    for mode in (0o640, 0o602):
        vault.path.chmod(mode)
        with pytest.raises(ConfigError, match=f"owner alone can read \\(0600\\), found mode {mode:04o}"):
            vault.open("a")


@pytest.mark.parametrize(
    ("setting", "changes", "told"),
    [
        ("fix.password", {}, None),
        ("fix.password", {"environment": "live"}, "expected an entry for paper, found vault:a: live"),
        ("fix.password", {"venues": ("OTHER",)}, "expected an entry for the venue 'SIM', found vault:a: OTHER"),
        ("fix.password", {"venues": ()}, "expected an entry for the venue 'SIM', found vault:a: none"),
        ("database.url", {"venues": ()}, None),
        ("database.url", {"venues": ("OTHER",)}, "expected an entry for the venue 'SIM'"),
        ("database.url", {"venues": (), "environment": "live"}, "expected an entry for paper"),
    ],
)
def test_an_entry_is_for_one_environment_and_its_venues(
    vault: Vault,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    changes: dict[str, Any],
    told: str | None,
) -> None:
    """A live entry is refused by a paper platform; a session's password must name its venue."""
    entry = replace(vault.entry("a"), **changes)
    monkeypatch.setattr(Vault, "entry", lambda _self, _name: entry)
    if told is None:
        refuse_unfit({setting: "vault:a", "broker.url": "env:B"}, "paper", "SIM", environ)
    else:
        with pytest.raises(ConfigError, match=told):
            refuse_unfit({setting: "vault:a", "broker.url": "env:B"}, "paper", "SIM", environ)


def test_a_paper_entry_is_refused_by_a_live_platform_at_its_start(
    vault: Vault, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what `trisagion run`, `worker` and `config check` ask before anything is made."""
    monkeypatch.setenv("TRISAGION_VAULT", environ["TRISAGION_VAULT"])
    refuse_unfit_secrets(load(None, {}, {"fix.password": "vault:a"}))
    with pytest.raises(ConfigError, match="password: expected an entry for live, found vault:a: paper"):
        refuse_unfit_secrets(load(None, {}, {"fix.password": "vault:a", "platform.environment": "live"}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"format":1,"keys":[],"entries":[]}',
        '{"format":1,"keys":[{"name":"../../x","made_ns":1,"salt":""}],"entries":[]}',
    ],
)
def test_what_is_no_vault_is_refused(vault: Vault, text: str) -> None:
    """Also one whose key is a path to somebody else's file, which a rotation would remove."""
    vault.path.write_text(text, encoding="utf-8")
    with pytest.raises(StateError, match="expected a vault, found something else"):
        vault.open("a")


def test_what_is_not_there_is_named(tmp_path: Path, vault: Vault, environ: dict[str, str]) -> None:
    """No vault, no entry; and a vault that is there is not made again."""
    with pytest.raises(ConfigError, match="expected a vault, found none; `trisagion vault init`"):
        resolve("vault:a", {"TRISAGION_VAULT": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="vault:z: expected an entry"):
        resolve("vault:z", environ)
    with pytest.raises(StateError, match="left as it is"):
        vault.create(by_passphrase=False, now_ns=NOW_NS)


def test_what_is_done_to_a_vault_is_noted_in_the_newest_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whom, and to which version under which key; one whose database is gone is said, and the vault is changed."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'run.sqlite3'}"
    create(url)
    lay_out_run(tmp_path / ".trisagion", url)
    path = tmp_path / "v"
    cli.init(path=path)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    cli.put("venue.password", venue=["SIM"], path=path)
    cli.rotate(anew=True, path=path)
    note = own.audit_note.c
    rows = Desk(open_database(url)).rows(note.seq, note.kind, note.actor, note.subject, note.detail)
    assert [row[1:4] for row in rows] == [("login", person(), f"vault {done}") for done in ("init", "put", "rotate")]
    details = [json.loads(row[4]) for row in rows]
    assert details[1] == {"entry": "venue.password", "version": "1", "key": details[0]["key"]}
    newest = Vault.of({"TRISAGION_VAULT": str(path)}).content().keys[-1].name
    assert details[2] == {"entries": "1", "key": newest, "all": "True"}
    assert SECRET not in repr(rows)
    assert capsys.readouterr().err == ""
    (tmp_path / "run.sqlite3").unlink()
    cli.rotate(path=path)
    assert "not noted in the audit chain of the newest run" in capsys.readouterr().err


def test_the_commands_make_fill_show_turn_and_check_a_vault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From standard input; nothing that is printed holds the secret."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "v"
    cli.init(path=path)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    cli.put("venue.password", venue=["SIM"], path=path)
    cli.show(as_json=True, path=path)
    cli.show(path=path)
    cli.rotate(path=path)
    cli.check(path=path)
    out = capsys.readouterr().out
    assert "vault:venue.password: version 1, paper, SIM" in out
    assert "1 entries open" in out
    assert SECRET not in out
    assert Vault.of({"TRISAGION_VAULT": str(path)}).open("venue.password") == SECRET
    for name, environment in (("no blanks", "paper"), ("x", "test")):
        with pytest.raises(ConfigError, match="expected"):
            cli.put(name, environment=environment, path=path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(ConfigError, match="expected a secret of 1 to"):
        cli.put("empty", path=path)
    rewrite(Vault.of({"TRISAGION_VAULT": str(path)}), lambda tree: tree["keys"][0].update(made_ns=1))
    with pytest.raises(typer.Exit):
        cli.check(path=path)
    assert "days old" in capsys.readouterr().out


def test_an_entry_is_a_value(vault: Vault) -> None:
    """It shows no secret when it is printed, for it has none."""
    assert isinstance(vault.entry("a"), Entry)
    assert SECRET not in repr(vault.content())
