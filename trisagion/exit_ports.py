"""What the services ask of the outside about protective exits. A part of `ports`, and of its unit of work."""

from typing import Protocol

from trisagion.portfolio.exits import ExitState


class ExitStore(Protocol):
    """Table exit_state."""

    def state(self, strategy: str, symbol: str) -> ExitState:
        """Return what is remembered, locked against other writers until the transaction ends; nothing before a row."""
        ...

    def put(self, state: ExitState) -> None:
        """Insert or replace what is remembered; what has seen later bars stays."""
        ...


class ExitUnit(Protocol):
    """The part of `ports.Transaction` that is about exits."""

    @property
    def exits(self) -> ExitStore:
        """What protective exits remember."""
        ...
