"""Engage a control mode from a face of ours: by the database, and by the kill file where that does not answer."""

import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trisagion.errors import StateError, TrisagionError
from trisagion.safety.modes import Level, Mode
from trisagion.services import control

if TYPE_CHECKING:
    from trisagion.wiring import House

ANSWER_S_MAX: Final = 1.5
"""How long the database is waited for before the file is made. Our choice: it costs no order, for without the database
nothing is claimed, and leaves most of the five seconds in which two hundred orders are to be cancelled."""

AGAIN_S: Final = 0.25

REASON_MAX: Final = 1_000
"""Characters of a reason that are kept: no stop is refused for its words."""


class Stop:
    """A person's word on its way; the database is asked on a thread of its own, so that nobody waits with it.

    `file` is the kill file. It is for everything and says pause, so a word for a part goes by the database alone.
    """

    def __init__(
        self,
        house: "House",
        mode: Mode,
        operator: str,
        reason: str,
        level: Level = Level.ALL,
        name: str = "",
        file: Path | None = None,
    ) -> None:
        self._house = house
        # A terminal of another encoding gives what UTF-8 cannot hold.
        reason = reason[:REASON_MAX].encode("utf-8", "backslashreplace").decode()
        self._word = (mode, operator, reason)
        self._part = (level, name)
        named = house.settings.safety.kill_file
        known = file or (Path(named) if named else None)
        self._file = known if level is Level.ALL else None
        self._text = f"{reason} ({operator}, {secrets.token_hex(4)})\n"
        self._error: TrisagionError | None = None
        self._made = False
        self._begin()

    def _begin(self) -> None:
        self._error = None
        self._thread = threading.Thread(target=self._ask, name="stop", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            control.engage(self._house.database, *self._word, self._house.now_ns(), *self._part)
        except TrisagionError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - what ends the thread must not be taken for a word that arrived
            self._error = StateError(f"expected the database to take the word, found: {error!r}")

    def give(self) -> Path | None:
        """Return None when the database has the word; else the file that was made in its place.

        Raises
        ------
        TrisagionError
            The database has not taken it, and there is no file for it.
        StateError
            Nor could the file be made.
        """
        self._thread.join(None if self._file is None else ANSWER_S_MAX)
        if not self._thread.is_alive() and self._error is None:
            return None
        if self._file is None:
            assert self._error is not None, "a thread that has ended without an error has done its work"
            raise self._error
        try:
            if not self._file.exists():
                self._file.write_text(self._text, encoding="utf-8")
                self._made = True
        except OSError as error:
            raise StateError(
                f"the database does not answer, and {self._file} cannot be made ({error.strerror}): nothing is stopped"
            ) from None
        return self._file

    def confirmed(self, seconds: float) -> bool:
        """Wait until the database has the word, asking again where it refused; then a file of ours goes."""
        deadline = time.monotonic() + seconds
        while True:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if not self._thread.is_alive() and self._error is None:
                break
            if not self._thread.is_alive():
                self._begin()
            if time.monotonic() > deadline:
                return False
            time.sleep(AGAIN_S)
        if self._made and self._file is not None:
            # Another may have taken it away, or put his own in its place.
            with suppress(FileNotFoundError):
                if self._file.read_bytes() == self._text.encode():
                    self._file.unlink()
        return True
