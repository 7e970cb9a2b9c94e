"""Pins that are a file: the kill switch on any desk. A person, or a test, writes what the contacts are to show."""

from pathlib import Path
from typing import Final

from trisagion.adapters.gpio.pins import CONTACTS, PinsFailed
from trisagion.safety.killswitch import Lamps

_WORDS: Final = {"closed": True, "open": False}

_BYTES_MAX: Final = 4096


class FilePins:
    """Reads `estop closed`, `tamper closed`, `key open`, a line each, at every look; the lamps are kept for `lamps`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lamps = Lamps()

    def closed(self, contact: str) -> bool:
        """Tell whether a contact is closed; a file that is away or has no word on it is a pin that cannot be read."""
        try:
            with self._path.open("rb") as file:
                lines = file.read(_BYTES_MAX).decode().splitlines()
            return _WORDS[dict(line.split() for line in lines if line.strip())[contact]]
        except (OSError, ValueError, KeyError) as error:
            known = ", ".join(f"{name} closed" for name in CONTACTS)
            raise PinsFailed(f"{self._path}: expected lines as {known}, found: {error!r}") from error

    def show(self, lamps: Lamps) -> None:
        """Keep what is lit."""
        self.lamps = lamps

    def close(self) -> None:
        """Put everything out."""
        self.lamps = Lamps()
