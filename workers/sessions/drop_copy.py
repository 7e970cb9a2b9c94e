"""The worker that hears a venue's drop copy: `celery -A workers.sessions.drop_copy worker -P solo -Q session.<NAME>`.

A process of its own, with a lease and a store of its own, so that whatever befalls the session that trades does not
befall this one. It asks whether it has heard everything every few seconds, and when a cycle wants it as an observer:
`session.observe` on the queue of its name.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from celery import bootsteps

from trisagion.adapters.password import Password
from trisagion.adapters.venues.fix.drop_copy import DropCopySession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.errors import StaleOwner, StateError
from trisagion.orders.types import ExecutionReport
from trisagion.services import compare_copies
from trisagion.services.compare_copies import CopyLease
from trisagion.services.drive_session import LEASE_S, asked_ns
from trisagion.services.outcome import Outcome
from trisagion.settings import resolve
from workers import pulse
from workers.app import app, house, stage
from workers.flow import follow
from workers.sessions.keeper import Keeper
from workers.sessions.lease import EXIT_STALE, await_lease

log = logging.getLogger(__name__)

RENEW_S: Final = LEASE_S / 3
CONFIRM: Final = "C"
"""What a question begins with that asks for completeness up to an execution; one of an observer begins with P."""


class Sink:
    """Records what the drop copy tells; runs on the engine's thread."""

    def on_copy(self, report: ExecutionReport) -> None:
        """Record one copy; it is compared later."""
        house().retrying(lambda: compare_copies.record(house().database, report, time.time_ns()))

    def on_unreadable(self, text: str, why: str) -> None:
        """Put aside what cannot be read."""
        name, told = house().settings.fix.drop_copy, f"{why}: {text}"
        house().retrying(lambda: compare_copies.put_aside(house().database, name, told, house().now_ns()))

    def on_answer(self, request_id: str) -> None:
        """Everything that was told before the question has been recorded."""
        venue, database = house().session_name, house().database
        if request_id.startswith(CONFIRM):
            seq = int(request_id.removeprefix(CONFIRM))
            house().retrying(lambda: compare_copies.confirm(database, venue, seq, time.time_ns()))
            return
        at_ns = asked_ns(request_id)
        outcomes = house().retrying(lambda: compare_copies.observe(database, venue, at_ns))
        follow(app, "session.report", outcomes, at_ns)


def drop_copy_session() -> DropCopySession:
    """Make the session; its message store is in the directory of the run."""
    given = house().settings.fix
    config = FixConfig(
        host=given.host,
        port=given.port,
        sender=given.drop_copy,
        target=given.target,
        store_dir=Path(os.environ["TRISAGION_COPY_STORE"]),
        heartbeat_s=given.heartbeat_s,
        account=house().settings.platform.account,
        profile=house().profile,
        username=given.username,
        password=Password(lambda: resolve(given.password, os.environ)),
    )
    return DropCopySession(config, Sink(), venue=given.target)


_SESSIONS: Final[list[DropCopySession]] = []
"""The one drop copy of this process, once it is started."""


class CopyOwner(bootsteps.StartStopStep):
    """Boot step: take the lease, log on, ask now and then; on stop log out."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self.stopping = threading.Event()
        self.running = ExitStack()

    def start(self, worker: Any) -> None:
        """Take the lease and start the session."""
        name = house().settings.fix.drop_copy
        lease = CopyLease(house().database, name, f"{socket.gethostname()}:{os.getpid()}")
        await_lease(lease.renew)
        compare_copies.begin(house().database, house().session_name)
        session = drop_copy_session()
        kept = house().last_kept(name)
        session.start(kept)
        _SESSIONS.append(session)
        keeper = Keeper(session.messages, name, kept)
        keeper.start()
        self.running.callback(keeper.stop)
        self.running.callback(session.stop)
        threading.Thread(target=self._guard, args=(lease, session), name="guard", daemon=True).start()

    def stop(self, worker: Any) -> None:
        """Log out, then keep what was said last; a standby has nothing to end."""
        self.stopping.set()
        self.running.close()

    def _guard(self, lease: CopyLease, session: DropCopySession) -> None:
        while not self.stopping.wait(RENEW_S):
            try:
                lease.renew()
                seq = compare_copies.to_confirm(house().database, house().session_name)
                if seq is not None:
                    session.ask(f"{CONFIRM}{seq}")
            except StaleOwner as error:
                log.critical("%s", error)
                os._exit(EXIT_STALE)
            except StateError as error:
                log.warning("the drop copy is not confirmed: %s", error)


@stage("session.observe")
def observe(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Ask whether everything has been heard; the answer becomes the drop copy's view of our positions."""
    asked = any(session.ask(f"P{now_ns}") for session in _SESSIONS)
    return (Outcome("asked" if asked else "logged_off"),)


app.steps["worker"].add(CopyOwner)
pulse.install()
