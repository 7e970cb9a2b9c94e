"""Values of the room that are kept in the database; nothing here needs a model to be loaded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fit:
    """A model fitted to bars, as text; None: it could not be, and `note` says why."""

    text: str | None
    note: str
