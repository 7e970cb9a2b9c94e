"""Commands that a person has signed: by whom, what, once, and not for long (Ed25519, RFC 8032)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.safety.signatures import is_signature, signature, words

PURPOSE: Final = "trisagion command 1"
LIFE_NS: Final = MINUTE_NS
"""How long a signed command is good, by the database's clock; our choice."""

CONFIRM: Final = "confirm"
"""The action by which a second person stands by the command of a first one; its subject is that command's digest."""

APART_NS_MAX: Final = HOUR_NS + LIFE_NS
"""How far two commands of one release may lie apart, by what both have signed: a proposal holds for an hour."""


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


def digest(command: Command) -> str:
    """Return what a second person signs to stand by a command: the SHA-256 of all that the first one signed."""
    return hashlib.sha256(words(PURPOSE, _fields(command))).hexdigest()


@dataclass(frozen=True, slots=True)
class Taken:
    """A command that was taken, and when, by the database's clock."""

    command: Command
    taken_ns: int


class Signers:
    """Who signs, by their keys, and how many of them it takes to loosen something.

    The keys are the configuration's, so whoever can write the tables of commands can add none. What was found of a
    signature is remembered: it never changes, and is asked for before each order.
    """

    def __init__(self, keys: Mapping[str, Ed25519PublicKey], people: int) -> None:
        self._keys = keys
        self._people = people
        self._good: dict[Taken, bool] = {}

    def countersigned(self, action: str, taken: Sequence[Taken]) -> Iterator[tuple[Command, Command]]:
        """Yield each command of an action that another person, where it takes two, stands by, and that person's.

        Where something is wrong with either signature it is as if the command had never been given.
        """
        good = [each.command for each in taken if self._is_good(each)]
        firsts = {digest(command): command for command in good if command.action == action}
        for second in good:
            first = firsts.get(second.subject) if second.action == CONFIRM else None
            if first is not None and (self._people < 2 or first.person.casefold() != second.person.casefold()):
                yield first, second

    def signed(self, action: str, taken: Sequence[Taken]) -> list[Command]:
        """Return the commands of an action that takes one person, whose signatures are good."""
        return [each.command for each in taken if each.command.action == action and self._is_good(each)]

    def _is_good(self, taken: Taken) -> bool:
        found = self._good.get(taken)
        if found is None:
            found = self._good[taken] = refusal(taken.command, self._keys, taken.taken_ns) is None
        return found
