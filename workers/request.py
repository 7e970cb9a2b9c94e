"""How a worker of ours answers the broker when the answer itself fails."""

from typing import Any

from celery.worker.request import Request as CeleryRequest


class Request(CeleryRequest):
    """A task's message whose failed acknowledgement counts as what it is: the loss of the connection.

    Celery logs it and goes on. The message then stays in the prefetch window, which with one message at a time is full
    for ever: the worker waits for a place, never looks at its connection again, and is deaf. Raised, the error makes
    the worker connect anew, and the broker hands the message out again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection_errors = ()
