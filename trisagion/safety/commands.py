"""Commands that a person has signed: by whom, what, once, and not for long (Ed25519, RFC 8032)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trisagion.clock import MINUTE_NS
from trisagion.safety.signatures import is_signature, signature

PURPOSE: Final = "trisagion command 1"
LIFE_NS: Final = MINUTE_NS
"""How long a signed command is good, by the database's clock; our choice."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a person wants done about what, and why; `nonce` is used once, `signature` is hexadecimal."""

    person: str
    action: str
    subject: str
    reason: str
    nonce: str
    expires_ns: int
    signature: str = ""


class Refusal(StrEnum):
    """Why a command is not obeyed."""

    UNSIGNED = "unsigned"
    UNKNOWN = "unknown person"
    FORGED = "bad signature"
    EXPIRED = "expired"
    REPLAYED = "shown again"


def _fields(command: Command) -> tuple[object, ...]:
    return command.person, command.action, command.subject, command.reason, command.nonce, command.expires_ns


def sign(command: Command, key: Ed25519PrivateKey) -> Command:
    """Return the command with its signature."""
    return replace(command, signature=signature(key, PURPOSE, _fields(command)))


def refusal(command: Command, keys: Mapping[str, Ed25519PublicKey], wall_ns: int) -> Refusal | None:
    """Say why a command is not to be obeyed at an instant; whether it was shown before only its store knows."""
    if not command.signature:
        return Refusal.UNSIGNED
    key = keys.get(command.person)
    if key is None:
        return Refusal.UNKNOWN
    if not is_signature(key, command.signature, PURPOSE, _fields(command)):
        return Refusal.FORGED
    # One that is good for longer was made by other rules, or by a clock that is far off.
    return None if wall_ns < command.expires_ns <= wall_ns + 2 * LIFE_NS else Refusal.EXPIRED
