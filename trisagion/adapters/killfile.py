"""A file that stops the platform by being there: for whoever can reach neither the database nor a command of ours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trisagion.errors import quoted

WORDS_MAX: Final = 200
"""Characters of the file that are repeated as the reason."""


@dataclass(frozen=True, slots=True)
class KillFile:
    """The file, by its path."""

    path: Path

    def raised(self) -> str | None:
        """Say why everything is to stop, None where nothing says so; what cannot be looked at says stop."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return None if self.path.parent.is_dir() else f"{self.path.parent}: expected a directory, found none"
        except OSError as error:
            return f"{self.path}: expected to find out whether it is there, found {error.strerror}"
        return f"{self.path} is there{self._words()}"

    def _words(self) -> str:
        """Return what the file says, where it is a file that says something; a pipe would never end."""
        try:
            if not self.path.is_file():
                return ""
            with self.path.open("rb") as file:
                text = file.read(WORDS_MAX).decode(errors="replace").strip()
        except OSError:
            return ""
        return f": {quoted(text, WORDS_MAX)}" if text else ""
