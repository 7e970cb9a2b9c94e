"""The keys of those who sign what they say: made into a file of its owner alone, read by reference."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trisagion.errors import ConfigError
from trisagion.settings import resolve

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def new_key(file: Path) -> str:
    """Make a private key in a file that is not there yet; return the public one, hexadecimal."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if str(file).strip() in {"", "-"}:
        raise ConfigError("file: expected the name of a file, found none")
    made = Ed25519PrivateKey.generate()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{file}: expected no file, for a key is never overwritten, found one") from None
    except OSError as error:
        raise ConfigError(f"file: expected one that can be made, found {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(f"{made.private_bytes_raw().hex()}\n")
    return made.public_key().public_bytes_raw().hex()


def private_key(section: str, reference: str, public_key: str) -> "Ed25519PrivateKey":
    """Follow a reference to a private key that belongs to a public one; `section` is where both are configured."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not reference:
        raise ConfigError(f"{section}.private_key: expected a reference, as file:PATH, found none")
    try:
        found = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(resolve(reference, os.environ)))
    except ValueError:
        raise ConfigError(f"{section}.private_key: expected 64 hexadecimal digits, found something else") from None
    if found.public_key().public_bytes_raw().hex() != public_key:
        raise ConfigError(f"{section}.public_key: expected that of {section}.private_key, found another")
    return found
