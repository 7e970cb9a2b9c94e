"""Writes what became of the paths to the database, on a thread of its own: no byte of a session waits for a row."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from trisagion.errors import StateError
from trisagion.gateway.egress import EgressEvent, What

WAITING_MAX: Final = 1000
"""Events that wait while the database is away; the oldest go first, and how many went is an event."""

RETRY_S: Final = 1.0
CLOSE_S_MAX: Final = 2.0


class Recorder:
    """Keeps events in order until `write`, which raises `StateError` while the database is away, has taken them."""

    def __init__(self, write: Callable[[EgressEvent], None]) -> None:
        self._write = write
        self._waiting: deque[EgressEvent] = deque()
        self._lost = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def add(self, event: EgressEvent) -> None:
        """Take an event; returns at once."""
        with self._changed:
            self._waiting.append(event)
            if len(self._waiting) > WAITING_MAX:
                self._waiting.popleft()
                self._lost += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, for a short while at most."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S_MAX)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                event, lost = self._waiting.popleft(), self._lost
                self._lost = 0
            self._keep_trying(event, lost)

    def _keep_trying(self, event: EgressEvent, lost: int) -> None:
        """Write an event, and before it that others were lost; give it back while that cannot be done."""
        why = f"{lost} events could not be recorded: the database was away too long"
        try:
            if lost:
                self._write(replace(event, path="", what=What.LOST, why=why))
            self._write(event)
        except StateError:
            with self._changed:
                self._lost += lost
                self._waiting.appendleft(event)
                self._changed.wait_for(lambda: self._closing, RETRY_S)
                if self._closing:
                    self._waiting.clear()
