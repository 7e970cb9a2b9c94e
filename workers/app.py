"""The Celery application. Its settings come from the one `Settings` of the platform, and each has its reason here.

Tasks may run twice, late or never (Redis redelivers after the visibility timeout, drops what a killed worker held):
none of them trusts its delivery. So results are off, retries are the sweeper's, and a message holds an instant and an
id.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from celery import Celery

from trisagion.errors import StaleBuild, TrisagionError, quoted
from trisagion.services.outcome import Outcome
from trisagion.settings import load, resolve
from trisagion.wiring import House
from workers.door import told
from workers.flow import FINGERPRINT, follow
from workers.queues import QUEUES, route

if not __debug__:
    sys.exit("trisagion: python -O removes the assertions that guard the order path; start without it")

log = logging.getLogger(__name__)


@cache
def house() -> House:
    """Return this process' wiring, made at first use: after the fork, in the process that uses it."""
    return House(load(None, os.environ, {}))


def _configured() -> Celery:
    settings = load(None, os.environ, {})
    made = Celery("trisagion", broker=resolve(settings.broker.url, os.environ))
    made.conf.update(
        task_queues=QUEUES,
        task_routes=(route,),
        task_create_missing_queues=True,
        # Json only: a pickle in the broker would be code.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        event_serializer="json",
        # A fit looks up from its kernel often enough to be stopped by it; only a pool of processes can send the word.
        task_annotations={"regime.refit": {"soft_time_limit": settings.regime.fit_s_max}},
        # The database says what came of a task.
        task_ignore_result=True,
        result_backend=None,
        # Acknowledge after the work; a lost worker's task comes back, or the sweeper rings again.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # Acknowledged late, a message that ends its worker would end the next one too: it is looked at before.
        worker_consumer="workers.builds:Consumer",
        broker_connection_retry_on_startup=True,
        broker_pool_acquire_timeout=2,
        broker_transport_options={
            "visibility_timeout": 60,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        # Whoever can write to the broker could otherwise shut workers down.
        worker_enable_remote_control=settings.platform.profile == "fleet",
        worker_send_task_events=settings.platform.profile == "fleet",
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=5,
        # What each message says of its sender; see workers/builds.py.
        **{FINGERPRINT: House(settings).fingerprint},
        enable_utc=True,
        timezone="UTC",
    )
    made.Task.Request = "workers.request:Request"
    return made


app = _configured()


def stage(name: str) -> Callable[[Callable[[int, str], Iterable[Outcome]]], Any]:
    """Make a task of a function of (now_ns, subject): run it, then ring what follows from its outcomes."""

    def made(function: Callable[[int, str], Iterable[Outcome]]) -> Any:
        def run(now_ns: int, subject: str = "") -> None:
            def work() -> None:
                follow(app, name, house().retrying(lambda: function(now_ns, subject)), now_ns)

            or_say_why(name, now_ns, subject, work)

        run.__doc__ = function.__doc__
        return app.task(name=name)(run)

    return made


def or_say_why(name: str, now_ns: int, subject: str, work: Callable[[], None]) -> None:
    """Do a task's work, or say in one line why not; nothing is kept then, and the sweeper rings again for what is due.

    What is no error of our family is a bug: it goes up, with its traceback.
    """
    try:
        house().expect_instant(now_ns)
        work()
    except StaleBuild as error:
        # The next message of a worker that may trade ends this one; see workers/builds.py.
        log.critical("%s %s at %d was refused: %s", name, quoted(subject), now_ns, told(error))
    except TrisagionError as error:
        log.error("%s %s at %d was not done: %s", name, quoted(subject), now_ns, told(error))  # noqa: TRY400
