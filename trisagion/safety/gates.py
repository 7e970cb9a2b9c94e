"""The gate of a venue session: shut by what must not happen there, opened by a named operator alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trisagion.safety.audit import canonical
from trisagion.safety.commands import Signers, Taken

OPEN: Final = "gate open"
"""The action of the command that opens a gate; its subject is an `opening`."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether new orders may go to a session, who said so and why. Cancels and questions pass a shut gate."""

    session: str
    shut: bool
    operator: str
    reason: str
    set_ns: int

    @staticmethod
    def untouched(session: str) -> "Gate":
        """Return the gate of which nothing was ever said: it is open."""
        return Gate(session, shut=False, operator="", reason="", set_ns=0)

    def forbids(self, *, taker: bool) -> str | None:
        """Say why an order must not pass; an Emergency's taker may: a shut gate must not keep us from being flat."""
        return f"GATE_SHUT: {self.reason}" if self.shut and not taker else None


def opening(session: str, upto: int) -> str:
    """Write what a person signs who opens a gate: that what shut it up to a row of its table is over."""
    return canonical({"session": session, "upto": upto})


def opened(session: str, signers: Signers, taken: Sequence[Taken]) -> int:
    """Return up to which row of its table a session's gate was opened by somebody whose signature is good."""
    found = 0
    for command in signers.signed(OPEN, taken):
        try:
            upto = json.loads(command.subject)["upto"]
        except (ValueError, KeyError, TypeError):
            continue
        if type(upto) is int and command.subject == opening(session, upto):
            found = max(found, upto)
    return found
