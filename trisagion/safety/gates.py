"""The gate of a venue session: shut by what must not happen there, opened by a named operator alone."""

from dataclasses import dataclass


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
