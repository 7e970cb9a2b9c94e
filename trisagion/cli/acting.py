"""How a person comes to change something: named as the kernel names him, noted in the audit chain, with a signature.

Every command that changes something on a platform comes through here, once. One that stops it comes after it has.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trisagion.adapters.witness import person
from trisagion.errors import ConfigError
from trisagion.safety.commands import LIFE_NS, Command, sign
from trisagion.safety.signatures import key_id
from trisagion.services.commands import accept
from trisagion.services.keep_audit import note_login
from trisagion.settings import resolve

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from trisagion.adapters.db.engine import SqlDatabase
    from trisagion.wiring import House

AsOption = Annotated[
    str | None, typer.Option("--as", envvar="TRISAGION_OPERATOR", help="The operator, as the configuration names you.")
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", envvar="TRISAGION_OPERATOR_KEY", help="Your private key: env:NAME or file:PATH."),
]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who gives a command: by name, and with the key to sign it."""

    house: "House"
    database: "SqlDatabase"
    name: str
    key: "Ed25519PrivateKey | None"

    def signs(self, action: str, subject: str, reason: str, now_ns: int) -> Command | None:
        """Have a command of his taken; return it as he signed it, None where nobody has a key.

        Raises `TrisagionError` when it is not to be obeyed. The database's clock says until when it is good.
        """
        if not self.house.operators:
            return None
        with self.database.snapshot() as tx:
            expires_ns = tx.control.wall_ns() + LIFE_NS
        command = Command(self.name, action, subject, reason, secrets.token_hex(16), expires_ns)
        if self.key is not None:
            command = sign(command, self.key)
        accept(self.database, self.house.operators, command, now_ns)
        return command


def acting(
    house: "House", database: "SqlDatabase", command: str, operator: str | None = None, key: str | None = None
) -> Actor:
    """Return who gives a command of a run, and note that he came; `key` is the reference to his private key."""
    if operator is not None and not house.operators:
        raise ConfigError("--as: expected operators in the configuration, [safety.operators.NAME], found none")
    name, own = operator or person(), _private(key)
    told = {"operator": name} if own is None else {"operator": name, "key": key_id(own.public_key())}
    noted(house, database, command, told if house.operators else _NOTHING)
    return Actor(house, database, name, own)


def noted(house: "House", database: "SqlDatabase", command: str, told: Mapping[str, str] = _NOTHING) -> None:
    """Note that a person came, and by which command."""
    note_login(database, house.witness(), person(), command, told)


def _private(reference: str | None) -> "Ed25519PrivateKey | None":
    if not reference:
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not reference.startswith(("env:", "file:")):
        raise ConfigError("--key: expected a reference to the key, env:NAME or file:PATH, found something else")
    if reference.startswith("file:"):
        _expect_own(Path(reference.removeprefix("file:")))
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(resolve(reference, os.environ).strip()))
    except ValueError:
        raise ConfigError("--key: expected 64 hexadecimal digits there, found something else") from None


def _expect_own(path: Path) -> None:
    """Refuse a key that another user of the machine can read: it would be his, too."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"--key: {path}: expected a key, found: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(f"--key: {path}: expected a key that its owner alone can read (0600), found mode {mode:04o}")
