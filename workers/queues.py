"""Which task goes to which queue.

Orders and control have queues of their own, so that nothing waits behind the cohort.
"""

from typing import Any, Final

from kombu.entity import Queue

QUEUE_OF: Final = {
    "market.ingest": "market",
    "regime.detect": "market",
    "regime.refit": "regime",
    "cohort.advance": "cohort",
    "cohort.supervise": "cohort",
    "take_profit.watch": "reconcile",
    "reconcile.cycle": "reconcile",
    "gateway.route": "orders",
    "gateway.amend": "orders",
    "sweep.run": "control",
    "copies.compare": "control",
    "audit.chain": "control",
}

SESSION_TASKS: Final = ("session.drain", "session.observe", "session.resolve")
"""These go to the queue of the session that they name: only its owner can do them."""

QUEUES: Final = tuple(Queue(name) for name in sorted(set(QUEUE_OF.values())))  # type: ignore[no-untyped-call]


def session_queue(session: str) -> str:
    """Name the queue of a session's owner."""
    return f"session.{session}"


def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> dict[str, str]:
    """Tell Celery the queue of a task; a task without a row is a mistake of ours."""
    if name in SESSION_TASKS:
        return {"queue": session_queue(kwargs["subject"])}
    return {"queue": QUEUE_OF[name]}
