"""What follows from what: (task, word of its outcome) → the task that is rung for each subject.

This is the whole of the platform's choreography. A message is a hint: everything it leads to is read from the database.
"""

import logging
from collections.abc import Iterable
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError

from trisagion.services.outcome import Outcome
from workers.door import expect_size

log = logging.getLogger(__name__)

FLOW: Final = {
    ("market.ingest", "stored"): "regime.detect",
    ("regime.detect", "ready"): "cohort.advance",
    ("regime.detect", "priced"): "take_profit.watch",
    ("regime.detect", "refit"): "regime.refit",
    ("cohort.supervise", "stale"): "cohort.supervise",
    ("take_profit.watch", "flattening"): "reconcile.cycle",
    ("take_profit.watch", "exiting"): "reconcile.cycle",
    ("reconcile.cycle", "cancelling"): "session.drain",
    ("reconcile.cycle", "observing"): "session.observe",
    ("reconcile.cycle", "decided"): "gateway.route",
    ("reconcile.cycle", "closing"): "cohort.supervise",
    ("gateway.route", "routed"): "session.drain",
    ("gateway.amend", "amended"): "session.drain",
    ("session.report", "cycle"): "reconcile.cycle",
    ("session.report", "repriced"): "gateway.route",
    ("session.report", "doubtful"): "session.resolve",
    ("session.report", "undone"): "session.drain",
    ("copies.compare", "cycle"): "reconcile.cycle",
    ("copies.compare", "repriced"): "gateway.route",
    ("copies.compare", "doubtful"): "session.resolve",
    ("copies.compare", "undone"): "session.drain",
    ("session.report", "settled"): "sweep.run",
    ("audit.chain", "more"): "audit.chain",
    ("sweep.run", "unrouted"): "gateway.route",
    ("sweep.run", "unsent"): "session.drain",
    ("sweep.run", "doubtful"): "session.resolve",
    ("sweep.run", "unsupervised"): "cohort.supervise",
    ("sweep.run", "undecided"): "reconcile.cycle",
}

SILENT: Final = {
    "advanced",
    "asked",
    "booked",
    "busy",
    "compared",
    "denied",
    "done",
    "drained",
    "duplicate",
    "fitted",
    "foreign",
    "logged_off",
    "nothing",
    "postponed",
    "quarantined",
    "settling",
    "supervised",
    "throttled",
    "waiting",
    "watched",
}
"""Words from which nothing follows."""


FINGERPRINT: Final = "trisagion_fingerprint"
"""The header of a message, and the name in Celery's configuration, of the sender's build and configuration."""


EXIT_STALE_BUILD: Final = 72
"""The exit code of a worker whose build or configuration is not the registered one."""


def ring(app: Celery, task: str, now_ns: int, subject: str = "") -> None:
    """Send a task: its name, the instant it belongs to, and whom it concerns.

    A broker that is away is no error of the work that was committed before: the sweeper rings again.
    """
    expect_size(task, subject)
    try:
        app.send_task(task, kwargs={"now_ns": now_ns, "subject": subject}, headers=headers(app))
    except OperationalError as error:
        log.warning("%s %s was not rung: %s", task, subject[:40], error)


def headers(app: Celery) -> dict[str, str]:
    """Return what a message carries beside its task: the sender's build and configuration."""
    return {FINGERPRINT: app.conf.get(FINGERPRINT)}


def follow(app: Celery, task: str, outcomes: Iterable[Outcome], now_ns: int) -> None:
    """Ring what follows from a task's outcomes; called after its transaction has been committed."""
    for outcome in outcomes:
        following = FLOW.get((task, outcome.word))
        assert following is not None or outcome.word in SILENT, f"{task} said {outcome.word!r}: no row in FLOW"
        if following is not None:
            for subject in outcome.subjects:
                ring(app, following, now_ns, subject)
