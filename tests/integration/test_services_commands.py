"""Signed commands: by a known person, unaltered, in time and once; whatever else is refused, with an event."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from tests.builders import TUESDAY_NS, Desk
from trisagion.cli import operator
from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError, TrisagionError
from trisagion.safety.commands import LIFE_NS, Command, Refusal, sign
from trisagion.services.commands import accept
from trisagion.settings import load
from trisagion.wiring import House

ANN, EVE = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {"ann": ANN.public_key()}


def command(desk: Desk, **changes: object) -> Command:
    """Return what Ann wants, not yet signed."""
    with desk.database.snapshot() as tx:
        expires_ns = tx.control.wall_ns() + LIFE_NS
    return replace(Command("ann", "release", "symbol ES", "all is well", "n1", expires_ns), **changes)  # type: ignore[arg-type]


def test_a_signed_command_is_taken_once(shared: Desk) -> None:
    """Shown again it is refused, though nothing of it was altered; another one is taken."""
    signed = sign(command(shared), ANN)
    accept(shared.database, KEYS, signed, TUESDAY_NS)
    with pytest.raises(TrisagionError, match="found one that is not: shown again"):
        accept(shared.database, KEYS, signed, TUESDAY_NS)
    accept(shared.database, KEYS, sign(command(shared, nonce="n2"), ANN), TUESDAY_NS)
    [event] = shared.events("command.refused")
    assert json.loads(event.partition(" {")[2].join(("{", "")))["why"] == "shown again"


BAD: list[tuple[Callable[[Command], Command], Refusal]] = [
    (lambda wish: wish, Refusal.UNSIGNED),
    (lambda wish: sign(wish, EVE), Refusal.FORGED),
    (lambda wish: replace(sign(wish, ANN), signature="zz"), Refusal.FORGED),
    (lambda wish: replace(sign(wish, ANN), subject="all "), Refusal.FORGED),
    (lambda wish: replace(sign(wish, ANN), reason="another"), Refusal.FORGED),
    (lambda wish: replace(sign(wish, ANN), action="confirm"), Refusal.FORGED),
    (lambda wish: replace(sign(wish, ANN), nonce="n9"), Refusal.FORGED),
    (lambda wish: replace(sign(wish, ANN), expires_ns=wish.expires_ns + 1), Refusal.FORGED),
    (lambda wish: sign(replace(wish, person="eve"), EVE), Refusal.UNKNOWN),
    (lambda wish: sign(replace(wish, expires_ns=wish.expires_ns - LIFE_NS - SECOND_NS), ANN), Refusal.EXPIRED),
    (lambda wish: sign(replace(wish, expires_ns=wish.expires_ns + 5 * LIFE_NS), ANN), Refusal.EXPIRED),
]


@pytest.mark.parametrize(("spoil", "why"), BAD)
def test_what_is_not_signed_as_it_must_be_is_refused(
    desk: Desk, spoil: Callable[[Command], Command], why: Refusal
) -> None:
    """With an event that says why, and without using its number up."""
    wish = command(desk)
    with pytest.raises(TrisagionError, match=f"found one that is not: {why}$"):
        accept(desk.database, KEYS, spoil(wish), TUESDAY_NS)
    assert len(desk.events("command.refused")) == 1
    accept(desk.database, KEYS, sign(wish, ANN), TUESDAY_NS)


def test_where_nobody_has_a_key_no_signature_is_asked_for(desk: Desk) -> None:
    """As in the bundled run."""
    before = desk.everything()
    accept(desk.database, {}, command(desk), TUESDAY_NS)
    assert desk.everything() == before


def test_a_key_is_made_for_its_owner_alone_and_goes_into_the_configuration(tmp_path: Path) -> None:
    """The table that is printed is one that the configuration takes."""
    file = tmp_path / "ann.key"
    made = CliRunner().invoke(operator.app, ["keygen", "ann", str(file)])
    assert made.exit_code == 0, made.output
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "trisagion.toml").write_text(made.output, encoding="utf-8")
    house = House(load(tmp_path / "trisagion.toml", {}, {}))
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text(encoding="ascii").strip()))
    assert house.operators["ann"].public_bytes_raw() == key.public_key().public_bytes_raw()


@pytest.mark.parametrize("name", ["", "a.b", "a b", "x" * 33, "ann\n"])
def test_a_key_is_made_for_no_name_that_the_configuration_would_refuse(tmp_path: Path, name: str) -> None:
    """And no file is left."""
    made = CliRunner().invoke(operator.app, ["keygen", name, str(tmp_path / "a.key")])
    assert isinstance(made.exception, ConfigError)
    assert list(tmp_path.iterdir()) == []
