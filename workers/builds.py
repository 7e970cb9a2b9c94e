"""Workers of one build and configuration alone vote and hold an order: each message bears those of its sender.

Theory of operation. A worker that was forgotten at an upgrade, or started with last week's file, would decide by other
rules, or advance by them the runs that vote. An operator registers one fingerprint, and
`trisagion.services.fingerprint` holds every decision, routing and claim against it. That is safe, and not enough: a
worker whose every task is refused would still take messages from those that could do them. So a message of another
fingerprint is not taken. If it is the sender's that is not registered, the message is dropped, for what it was about is
in the database and the sweep rings for it. If it is this worker's, it gives the message back and ends; whoever
supervises it starts it again, with what is installed then.
"""

import logging
from typing import Any, Final

from celery.worker import state

from trisagion.errors import DataError, quoted
from workers import door
from workers.app import house
from workers.flow import EXIT_STALE_BUILD, FINGERPRINT
from workers.queues import QUEUE_OF, SESSION_TASKS

FENCED: Final = frozenset({*QUEUE_OF, *SESSION_TASKS}) - {"audit.chain"}
"""Tasks that vote, decide, send or book, or ring for those that do; the audit chain is none of them."""

TOLD_MAX: Final = 16
"""Strange fingerprints that one worker records as events; of more it only logs."""

log = logging.getLogger(__name__)


class Consumer(door.Consumer):
    """The consumer behind the door, that takes orders of its own build alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told: set[object] = set()

    def takes(self, message: Any) -> bool:
        """Tell whether a message may be taken; the sender's or this worker's fault is an event."""
        ours, theirs, task = house().fingerprint, message.headers.get(FINGERPRINT), message.headers["task"]
        if theirs == ours or task not in FENCED:
            return True
        if not house().is_current():
            message.requeue()
            if state.should_stop != EXIT_STALE_BUILD:
                # Once: what was given back may come again before the end.
                state.should_stop = EXIT_STALE_BUILD
                text = f"WORKER_STALE: build and configuration {ours} are not the registered ones, and this worker ends"
                log.critical(text)
                house().tell("build.stale", self.hostname, text)
            return False
        text = f"expected a message of build and configuration {ours}, found one of {quoted(theirs)}"
        if str(theirs) not in self._told and len(self._told) < TOLD_MAX:
            self._told.add(str(theirs))
            house().tell("build.refused", task, text)
        raise DataError(f"{task}: {text}")
