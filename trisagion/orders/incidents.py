"""What is known of a symbol without consensus, from the cycle that found it to the one that finds it over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from trisagion.units import Quantity, plain

LEDGER: Final = "ledger"
"""The witness that is our own books; the others are observers."""

CONSENSUS: Final = "consensus is back"


class IncidentKind(StrEnum):
    """What is wrong."""

    DISAGREEMENT = "disagreement"
    """A fresh observer sees another position than the ledger."""
    UNCONFIRMED = "unconfirmed"
    """Nobody contradicts, and too few confirm."""
    FOREIGN = "foreign"
    """An observer sees a position in what is no instrument of ours."""


@dataclass(frozen=True, slots=True)
class View:
    """A position as a witness sees it, as of an instant."""

    witness: str
    qty: Quantity
    at_ns: int

    @property
    def text(self) -> str:
        """The view as `witness=quantity`."""
        return f"{self.witness}={plain(self.qty)}"


@dataclass(frozen=True, slots=True)
class Incident:
    """A symbol that is not traded, and why; `number` is 0 before it is recorded.

    `began` is what the witnesses said when it was opened, `views` what they say now; the ledger's view comes first.
    `cycles` counts those that it has lasted, `outcome` says what was done about it, or how it ended.
    """

    number: int
    symbol: str
    kind: IncidentKind
    opened_ns: int
    updated_ns: int
    closed_ns: int | None
    cycles: int
    began: tuple[View, ...]
    views: tuple[View, ...]
    reasons: tuple[str, ...]
    outcome: str | None = None

    @property
    def text(self) -> str:
        """All views on one line."""
        return " ".join(view.text for view in self.views)


def opened(symbol: str, kind: IncidentKind, views: Sequence[View], reasons: Sequence[str], now_ns: int) -> Incident:
    """Return the incident that begins with a cycle."""
    return Incident(0, symbol, kind, now_ns, now_ns, None, 1, tuple(views), tuple(views), tuple(reasons))


def lasting(
    incident: Incident, kind: IncidentKind, views: Sequence[View], reasons: Sequence[str], now_ns: int
) -> Incident:
    """Return the incident as one more cycle finds it; what was contradicted once stays a disagreement."""
    worse = kind if incident.kind is IncidentKind.UNCONFIRMED else incident.kind
    return replace(
        incident,
        kind=worse,
        updated_ns=now_ns,
        cycles=incident.cycles + 1,
        views=tuple(views),
        reasons=tuple(reasons),
    )


def over(incident: Incident, views: Sequence[View], now_ns: int) -> Incident:
    """Return the incident as the cycle that ends it leaves it; what was done about it stays to be read."""
    outcome = CONSENSUS if incident.outcome is None else f"{incident.outcome}; {CONSENSUS}"
    return replace(incident, updated_ns=now_ns, closed_ns=now_ns, views=tuple(views), outcome=outcome)
