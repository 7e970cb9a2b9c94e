"""The thread that copies a session's messages to the database, beside the engine's and never in its way."""

import logging
import threading
import time
from typing import Final

from trisagion.errors import StateError
from trisagion.session_ports import MessageOutbox
from workers.app import house

log = logging.getLogger(__name__)

KEEP_S: Final = 0.25
"""The most often that a batch is written: on SQLite each takes the write lock for milliseconds."""

STOP_S_MAX: Final = 5.0
"""How long the end of a session waits for its last messages; what is left then is copied at the next start."""


class Keeper:
    """Keeps the messages of one session, from the number `kept` on."""

    def __init__(self, outbox: MessageOutbox, session: str, kept: int) -> None:
        self._outbox = outbox
        self._session = session
        self._kept = kept
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Copy what is left and end."""
        self._stopping.set()
        self._thread.join(STOP_S_MAX)

    def _run(self) -> None:
        away = False
        while not self._stopping.wait(KEEP_S):
            try:
                self._copy(time.monotonic() + KEEP_S)
            except StateError as error:
                if not away:
                    log.warning("messages of %s wait in their files: %s", self._session, error)
                away = True
            else:
                away = False
        try:
            self._copy(time.monotonic() + STOP_S_MAX)
        except StateError as error:
            log.warning("messages of %s stay in their files until the next start: %s", self._session, error)

    def _copy(self, deadline: float) -> None:
        """Copy batch after batch until nothing is left or the time is over."""
        while self._outbox.last > self._kept:
            self._kept = house().keep_messages(self._outbox, self._session, self._kept)
            if time.monotonic() > deadline:
                return
