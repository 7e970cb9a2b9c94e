"""One error family. Refusals that are part of the business (a risk verdict, a rest period) are values, not errors."""

from typing import Final

TEXT_MAX: Final = 40
"""Characters of the user's text quoted in a message."""


class TrisagionError(Exception):
    """Anything the platform raises on purpose; its text is one sentence for a person, with what to do."""

    exit_code = 1


class ConfigError(TrisagionError):
    """The configuration cannot be used; the text lists every problem found, one a line."""

    exit_code = 4


class DataError(TrisagionError):
    """A user's file that cannot be used: what is wrong, in which row or entry, and what was expected."""

    exit_code = 4


class StateError(TrisagionError):
    """The state directory or database is in use, foreign, or damaged."""

    exit_code = 4


class UnreadableRow(StateError):
    """A row holds what nobody of ours writes there: another program did, or the storage is damaged."""


class StepTimeout(TrisagionError):
    """Something was waited for as long as its bound allows, and did not come."""

    exit_code = 5


class OurMistake(TrisagionError):
    """We broke a protocol: an illegal order transition, a message the dictionary refuses. Wakes a developer."""


class VenueMistake(TrisagionError):
    """The counterparty broke the protocol. Wakes an operator."""


class StaleOwner(TrisagionError):
    """A lease was lost: its fencing token is older than the one in the database. The holder stops at once."""


class StaleBuild(StaleOwner):
    """Another build or configuration than this process' was registered by an operator; the holder stops at once."""


def quoted(value: object, length_max: int = TEXT_MAX) -> str:
    """Quote a piece of the user's text for a message: short, and harmless to a terminal."""
    text = "" if value is None else str(value)
    return repr(text if len(text) <= length_max else text[: length_max - 1] + "…")


def harmless(text: str, length_max: int) -> str:
    """Write a text so that a terminal or a log shows it: its lines stay, every other sign that acts is spelt out."""
    cut = text if len(text) <= length_max else f"{text[:length_max]}…"
    return "".join(sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in cut)
