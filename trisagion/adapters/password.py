"""A password that may be changed while it is in use."""

import logging
from collections.abc import Callable
from typing import Final

from trisagion.errors import TrisagionError

log = logging.getLogger(__name__)

LENGTH_MIN: Final = 4


class Password:
    """Read anew each time that somebody logs on with it, so that a new one is used without a restart.

    `read` follows the setting's reference. Where it cannot, the one that was read last is used, and the log says so:
    a vault that is being changed must not keep a session from its venue.
    """

    def __init__(self, read: Callable[[], str] = str) -> None:
        self._read = read
        self._known: list[str] = []

    def __call__(self) -> str:
        """Return the present one, empty where there is none; the errors of `read` where none was read before."""
        try:
            present = self._read()
        except TrisagionError as error:
            if not self._known:
                raise
            log.warning("a password cannot be read, the one before is used: %s", error)
            return self._known[-1]
        self._known = [*(earlier for earlier in self._known if earlier != present), present]
        return present

    def stars(self, text: str) -> str:
        """Return a text with a star in the place of every byte of each one that there was.

        One of less than `LENGTH_MIN` characters is not looked for, for every number would be one.
        """
        for password in self._known:
            if len(password) >= LENGTH_MIN:
                text = text.replace(password, "*" * len(password.encode(errors="surrogateescape")))
        return text
