"""Take a command that a person has signed, once; refuse all others with an event.

Where nobody has a key, no signature is asked for. To stop the platform none ever is: a lost key must not prevent it.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trisagion.errors import TrisagionError, quoted
from trisagion.ports import Database
from trisagion.safety.commands import Command, Refusal, refusal


def accept(database: Database, keys: Mapping[str, Ed25519PublicKey], command: Command, now_ns: int) -> None:
    """Use a command up; `TrisagionError` when it is not to be obeyed. `keys` are those of the operators, by name."""
    if not keys:
        return
    with database.transaction() as tx:
        why = refusal(command, keys, tx.control.wall_ns())
        if why is None and not tx.releases.spend(command.nonce, command.person, command.expires_ns):
            why = Refusal.REPLAYED
        if why is not None:
            told = {"why": why.value, "action": command.action, "subject": quoted(command.subject)}
            tx.control.add_event("command.refused", quoted(command.person), told, now_ns)
    if why is not None:
        raise TrisagionError(
            f"expected a command that an operator has signed (--as NAME --key file:PATH), found one that is not: {why}"
        )
