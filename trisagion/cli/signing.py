"""How a person's commands are signed in this process: by whom, with which key."""

import os
import secrets
from typing import TYPE_CHECKING, Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trisagion.cli.limits import person
from trisagion.errors import ConfigError
from trisagion.safety.commands import LIFE_NS, Command, sign
from trisagion.settings import resolve

if TYPE_CHECKING:
    from trisagion.wiring import House

AsOption = Annotated[
    str | None, typer.Option("--as", envvar="TRISAGION_OPERATOR", help="The operator, as the configuration names you.")
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", envvar="TRISAGION_OPERATOR_KEY", help="Your private key: env:NAME or file:PATH."),
]


def command_of(
    house: "House", action: str, subject: str, reason: str, operator: str | None, key: str | None
) -> Command:
    """Return a command of whoever calls, signed where a key is given; the database's clock says until when."""
    with house.database.snapshot() as tx:
        expires_ns = tx.control.wall_ns() + LIFE_NS
    given = Command(operator or person(), action, subject, reason, secrets.token_hex(16), expires_ns)
    if not key:
        return given
    if not key.startswith(("env:", "file:")):
        raise ConfigError("--key: expected a reference to the key, env:NAME or file:PATH, found something else")
    try:
        return sign(given, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(resolve(key, os.environ).strip())))
    except ValueError:
        raise ConfigError("--key: expected 64 hexadecimal digits there, found something else") from None
