"""Whoever changes something by a command has come through one door: noted, and with a signature where he has a key."""

import inspect
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from init import create
from tests.builders import TUESDAY_NS, Desk, an_order
from tests.databases import lay_out_run
from trisagion.adapters.db import audit_tables as own
from trisagion.adapters.db.engine import open_database
from trisagion.adapters.witness import person
from trisagion.cli import gate, ledger, limits, orders, release
from trisagion.cli.main import COMMANDS
from trisagion.errors import ConfigError, TrisagionError
from trisagion.orders.state import OrderState
from trisagion.risk.limits import Scope
from trisagion.safety.commands import Signers
from trisagion.safety.gates import Gate
from trisagion.safety.modes import Mode
from trisagion.safety.signatures import key_id
from trisagion.services import control
from trisagion.units import Price

ANN, BOB = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
WHY: Final[dict[str, Any]] = {"reason": "seen", "evidence": "case 7"}

NOTES: Final = {
    "audit anchor": "noted(",
    "dashboard": "Keys(",
    "db apply": "note_login(",
    "gate open": "acting(",
    "incidents adjust": "acting(",
    "kill": "noted(",
    "ledger adjust": "desk.voucher(",
    "ledger charge": "desk.voucher(",
    "ledger rebuild": "desk.voucher(",
    "ledger split": "desk.voucher(",
    "ledger transfer": "desk.voucher(",
    "limits approve": "acting(",
    "limits propose": "acting(",
    "orders resolve": "acting(",
    "release": "acting(",
    "run": "supervise(",
    "vault init": "_noted(",
    "vault put": "_noted(",
    "vault rotate": "_noted(",
}
"""The commands by which a person changes something of a platform, and the words by which each says who came."""


def named() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every command by its words."""
    for name, (module, _) in COMMANDS.items():
        loaded: ModuleType = import_module(module)
        if not hasattr(loaded, "app"):
            yield name, loaded.command
            continue
        for info in loaded.app.registered_commands:
            assert info.callback is not None, name
            yield f"{name} {info.name or info.callback.__name__}", info.callback


def test_every_command_that_takes_a_reason_says_who_came() -> None:
    """And those that change something without one."""
    given = dict(named())
    reasoned = {name for name, callback in given.items() if "reason" in inspect.signature(callback).parameters}
    assert reasoned <= set(NOTES), "who gives it must be noted: see trisagion/cli/acting.py"
    for name, words in NOTES.items():
        assert words in inspect.getsource(given[name]), name


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Desk]]:
    """Lay an account out as the newest run of a state directory; its configuration knows Ann and Bob by their keys."""
    url = f"sqlite:///{tmp_path / 'trisagion.sqlite3'}"
    create(url)
    text = "[safety]\nrelease_people = 2\n"
    for name, key in (("ann", ANN), ("bob", BOB)):
        text += f'[safety.operators.{name}]\npublic_key = "{key.public_key().public_bytes_raw().hex()}"\n'
        monkeypatch.setenv(name.upper(), key.private_bytes_raw().hex())
    lay_out_run(tmp_path, url, text)
    keys = {"ann": ANN.public_key(), "bob": BOB.public_key()}
    database = open_database(url, Signers(keys, people=2))
    yield tmp_path, Desk(database).found()
    database.close()


def notes(desk: Desk) -> list[tuple[str, str, dict[str, str]]]:
    """Return who came, by which command, and with what."""
    note = own.audit_note.c
    rows = desk.rows(note.seq, note.kind, note.actor, note.subject, note.detail)
    assert {row[1] for row in rows} == {"login"}
    return [(row[2], row[3], json.loads(row[4])) for row in rows]


def by(name: str, key: Ed25519PrivateKey) -> dict[str, str]:
    """Return what is told of an operator with a key."""
    return {"operator": name, "key": key_id(key.public_key())}


def test_two_people_release_by_their_keys(state: tuple[Path, Desk]) -> None:
    """Each is noted with the key that he came with; one without is refused, and noted, too."""
    where, desk = state
    desk.observe(TUESDAY_NS)
    control.engage(desk.database, Mode.PAUSE, "cat", "odd", TUESDAY_NS)
    with pytest.raises(TrisagionError, match="found one that is not: unsigned"):
        release.command(reason="all is well", operator="ann", state=where)
    with pytest.raises(TrisagionError, match="found one that is not: bad signature"):
        release.command(reason="all is well", operator="ann", key="env:BOB", state=where)
    with desk.database.transaction() as tx:
        wall_ns = tx.control.wall_ns()
    desk.quote(wall_ns)
    desk.observe(wall_ns)
    release.command(reason="all is well", operator="ann", key="env:ANN", state=where)
    assert desk.mode() is Mode.PAUSE
    release.command(confirm=1, operator="bob", key="env:BOB", state=where)
    assert desk.mode() is Mode.NORMAL
    assert notes(desk) == [
        (person(), "release", {"operator": "ann"}),
        (person(), "release", by("ann", BOB)),
        (person(), "release", by("ann", ANN)),
        (person(), "release", by("bob", BOB)),
    ]


def test_a_key_that_others_can_read_signs_nothing(state: tuple[Path, Desk], tmp_path: Path) -> None:
    """It is refused before anything is asked of the platform; as its owner's alone it signs."""
    where, desk = state
    file = tmp_path / "ann.key"
    file.write_text(ANN.private_bytes_raw().hex(), encoding="ascii")
    file.chmod(0o640)
    wish: dict[str, Any] = {"reason": "quiet", "scope": Scope.ACCOUNT, "subject": "", "operator": "ann", "state": where}
    with pytest.raises(ConfigError, match=r"owner alone can read \(0600\), found mode 0640"):
        limits.propose("orders_max", "3", key=f"file:{file}", **wish)
    with pytest.raises(ConfigError, match="expected a key, found: No such file"):
        limits.propose("orders_max", "3", key=f"file:{tmp_path / 'none'}", **wish)
    file.chmod(0o600)
    limits.propose("orders_max", "3", key=f"file:{file}", **wish)
    assert [note[2] for note in notes(desk)] == [by("ann", ANN)]


def test_two_people_change_a_limit_by_their_keys(state: tuple[Path, Desk], capsys: pytest.CaptureFixture[str]) -> None:
    """What is in force is what both have signed."""
    where, desk = state
    limits.propose("orders_max", "3", "quiet", Scope.ACCOUNT, "", operator="ann", key="env:ANN", state=where)
    version = len(desk_limits(desk))
    with pytest.raises(TrisagionError, match="bad signature"):
        limits.approve(version, operator="bob", key="env:ANN", state=where)
    limits.approve(version, operator="bob", key="env:BOB", state=where)
    capsys.readouterr()
    limits.show(state=where, as_json=True)
    shown = {row["limit"]: row["approved_by"] for row in json.loads(capsys.readouterr().out)["in_force"]}
    assert shown["orders_max"] == "bob"
    assert [note[1] for note in notes(desk)] == ["limits propose", "limits approve", "limits approve"]


def desk_limits(desk: Desk) -> list[Any]:
    """Return the versions."""
    with desk.database.snapshot() as tx:
        return list(tx.limits.rows())


CHANGES: Final[dict[str, Callable[..., None]]] = {
    "gate open": lambda **by: gate.opened("SIM", "seen", **by),
    "orders resolve": lambda **by: orders.resolve("T1", "canceled", **WHY, **by),
    "ledger transfer": lambda **by: ledger.transfer("5", **WHY, **by),
    "ledger charge": lambda **by: ledger.charge(ledger.Charge.FEE, "5", **WHY, **by),
    "ledger adjust": lambda **by: ledger.adjust(**WHY, amount="5", **by),
    "ledger rebuild": lambda **by: ledger.rebuild(**WHY, **by),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_person_changes_by_hand_takes_his_signature(state: tuple[Path, Desk], name: str) -> None:
    """Without it nothing changes but that he came; the environment's word on who he is counts for nothing."""
    where, desk = state
    desk.put(an_order("T1", state=OrderState.UNKNOWN, session="SIM", price=Price(Decimal("4000.25")), intent="C1:T1"))
    with desk.database.transaction() as tx:
        tx.control.set_gate(Gate("SIM", True, "platform", "TAKER_FILL", TUESDAY_NS))
    before = {table: rows for table, rows in desk.everything().items() if table not in {"audit_note", "event"}}
    with pytest.raises(TrisagionError, match="found one that is not: unsigned"):
        CHANGES[name](operator="ann", state=where)
    assert before == {table: rows for table, rows in desk.everything().items() if table not in {"audit_note", "event"}}
    assert len(desk.events("command.refused")) == 1
    CHANGES[name](operator="ann", key="env:ANN", state=where)
    assert notes(desk) == [(person(), name, {"operator": "ann"}), (person(), name, by("ann", ANN))]
