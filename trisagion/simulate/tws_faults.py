"""What the simulated TWS gets wrong on command; the table of the kinds is in `SimulatedTws.fail`."""

from collections.abc import Mapping
from typing import Any, Final

from trisagion.errors import VenueMistake
from trisagion.simulate.faults import SWALLOWED_MAX, Acknowledgements, value_of

SWITCHES: Final = frozenset({"duplicate_status", "execution_silence", "deaf"})
"""Kinds that are on or off."""

COUNTED: Final = frozenset({"held", "reject", "swallow"})
"""Kinds that befall so many orders or executions to come."""

TEXT_MAX: Final = 200
"""Characters of a reason to reject."""


class TwsFaults:
    """The faults in force; none at first."""

    def __init__(self) -> None:
        self.acknowledgements = Acknowledgements()
        self.servers_lost = False
        self.farm_broken = False
        self.reject_text = ""
        self._on: dict[str, bool] = dict.fromkeys(SWITCHES, False)
        self._to_come: dict[str, int] = dict.fromkeys(COUNTED, 0)

    def on(self, kind: str) -> bool:
        """Tell whether a switch is on."""
        return self._on[kind]

    def switch(self, command: Mapping[str, Any], kind: str) -> None:
        """Turn one of `SWITCHES` on (1) or off (0)."""
        self._on[kind] = flag(command, "on")

    def count(self, command: Mapping[str, Any], kind: str) -> None:
        """Let one of `COUNTED` befall the next ones; 0 ends it."""
        name = "trades" if kind == "swallow" else "orders"
        number = value_of(command, name, int)
        if not 0 <= number <= SWALLOWED_MAX:
            raise VenueMistake(f"expected {name} of 0 to {SWALLOWED_MAX}, found {number}")
        if kind == "reject":
            self.reject_text = value_of(command, "text", str)[:TEXT_MAX]
        self._to_come[kind] = number

    def befalls(self, kind: str) -> bool:
        """Count one order or execution, and tell whether the fault befalls it."""
        if not self._to_come[kind]:
            return False
        self._to_come[kind] -= 1
        return True


def flag(command: Mapping[str, Any], name: str) -> bool:
    """Read 0 or 1 of a fault command.

    Raises
    ------
    VenueMistake
        It is anything else.
    """
    value = value_of(command, name, int)
    if value not in {0, 1}:
        raise VenueMistake(f"{name}: expected 0 or 1, found {value}")
    return bool(value)
