"""The boot step of a worker that owns a venue session, whatever the venue: lease, settling, guard, messages.

Theory of operation. The session lives in this process only, for a venue takes one connection of a name and a session's
threads do not survive a fork. A lease row with a fencing token says whose it is; the token is compared in the
transaction that marks an order as asked. Reports come on the session's thread and are booked there, one transaction
each; a session counts a report as heard only when its callback returned, so a crash in between means that it is told
again. A guard thread renews the lease and reads the control mode ten times a second, from the database itself: a kill
does not need the broker, nor does the hardware kill switch, to which it listens as often. Another thread copies every
message from the session's files to the database.
"""

import logging
import os
import socket
import threading
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from celery import bootsteps

from trisagion.errors import StaleOwner, StateError
from trisagion.gateway.ib_guard import VenueRule
from trisagion.orders.types import ExecutionReport, PositionReport, Unreadable
from trisagion.services.book_fills import observe, put_aside
from trisagion.services.drive_session import LEASE_S, SessionDriver, asked_ns
from trisagion.services.watch_unread import Watchman
from trisagion.session_ports import OwnedSession, ReportSink
from workers import pulse, tasks
from workers.app import app, house
from workers.flow import follow, ring
from workers.sessions.keeper import Keeper
from workers.sessions.lease import EXIT_STALE, await_lease
from workers.sessions.owner import install

log = logging.getLogger(__name__)

GUARD_S: Final = 0.1
"""How often the control mode is read: a kill is to block within 250 ms."""

RENEW_S: Final = LEASE_S / 3
"""By the clock, not by turns: in a stop of hundreds of orders a turn may take long."""

PANIC_S: Final = 1.0
"""How often it looks for panic conditions: an alarm is to be up within five (RTS 6, Art. 16)."""


class Sink:
    """Books what the venue says and rings what follows; runs on the session's thread."""

    driver: SessionDriver

    def on_logon(self) -> None:
        """Ask about all that the venue may hold; what waited for the session is rung now, for cancels need not wait."""
        now_ns = house().now_ns()
        outcome = house().retrying(lambda: self.driver.settle(now_ns))
        follow(app, "session.report", (outcome,), now_ns)
        ring(app, "sweep.run", now_ns)

    def on_logout(self) -> None:
        """Say so; nothing is sent while logged off, nor after the next logon before it is settled."""
        self.driver.unsettle()
        log.warning("session %s is logged off", self.driver.name)

    def on_report(self, report: ExecutionReport) -> None:
        """Book one report."""
        outcomes = house().retrying(lambda: house().book(report))
        if any(outcome.word == "foreign" for outcome in outcomes):
            self.driver.orphan(report)
        follow(app, "session.report", outcomes, report.happened_ns)
        follow(app, "session.report", (self.driver.heard(report, report.happened_ns),), report.happened_ns)

    def on_all_statuses(self, request_id: str) -> None:
        """Ask about the orders that the venue did not name."""
        now_ns = house().now_ns()
        follow(app, "session.report", (self.driver.heard_all(request_id, now_ns),), now_ns)

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Record the venue's view of our positions."""
        at_ns = asked_ns(reports[0].request_id)
        outcomes = house().retrying(lambda: observe(house().database, tuple(reports), at_ns))
        follow(app, "session.report", outcomes, at_ns)

    def on_unreadable(self, word: Unreadable) -> None:
        """Put aside what cannot be read, and ask about the orders concerned."""
        log.error("session %s: a message cannot be read: %s", self.driver.name, word.why)
        now_ns = house().now_ns()
        outcomes = house().retrying(lambda: put_aside(house().database, word, now_ns))
        follow(app, "session.report", outcomes, now_ns)


class VenueOwner(bootsteps.StartStopStep):
    """Boot step: take the lease, log on, guard; on stop log out. A kind of venue only says how its session is made."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self.stopping = threading.Event()
        self.running = ExitStack()

    @abstractmethod
    def session(self, sink: ReportSink) -> OwnedSession:
        """Make the session, not yet started."""

    def rule(self, session: Any) -> VenueRule | None:
        """Return what the venue of a session forbids besides; a venue that knows post-only orders forbids nothing."""
        return None

    def start(self, worker: Any) -> None:
        """Take the lease and start the session."""
        house().database.keep()
        sink = Sink()
        name = house().session_name
        session = self.session(sink)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        sink.driver = SessionDriver(
            house().database,
            session,
            name,
            owner,
            bucket=house().bucket(time.monotonic()),
            rule=self.rule(session),
            account=house().settings.platform.account,
            flag=house().flag,
            fingerprint=house().fingerprint,
        )
        await_lease(sink.driver.lease)
        install(sink.driver)
        watchman = Watchman(sink.driver)
        for name_of, work in (("guard", self._guard), ("watchman", self._watch)):
            threading.Thread(target=work, args=(watchman,), name=name_of, daemon=True).start()
        kept = house().last_kept(name)
        session.start(kept)
        keeper = Keeper(session.messages, name, kept)
        keeper.start()
        self.running.callback(keeper.stop)
        self.running.callback(session.stop)

    def stop(self, worker: Any) -> None:
        """Log out, then keep what was said last; a standby has nothing to end."""
        self.stopping.set()
        self.running.close()

    def _watch(self, watchman: Watchman) -> None:
        while not self.stopping.wait(GUARD_S):
            before = watchman.untold
            watchman.look()
            if watchman.untold > before:
                log.warning("the database says nothing: %d orders are asked to be cancelled", watchman.untold - before)

    def _guard(self, watchman: Watchman) -> None:
        driver = watchman.driver
        renewed_s = looked_s = time.monotonic()
        unreadable = False
        while not self.stopping.wait(GUARD_S):
            try:
                if (present_s := time.monotonic()) - renewed_s >= RENEW_S:
                    driver.lease()
                    renewed_s = present_s
                now_ns = house().now_ns()
                watchman.tell(now_ns)
                house().watch_switch(now_ns)
                if present_s - looked_s >= PANIC_S:
                    looked_s = present_s
                    house().watch_panic(now_ns)
                driver.watch(now_ns)
                driver.enforce(now_ns)
                driver.pump(now_ns)
                unreadable = False
            except StaleOwner as error:
                log.critical("%s", error)
                os._exit(EXIT_STALE)
            except Exception as error:
                # The outermost edge: a guard that has ended guards nothing any more.
                # Nothing can be sent without the database either: unreadable means Pause. The watchman sees to it.
                if not unreadable:
                    unexpected = not isinstance(error, StateError)
                    log.warning("what is in force is not read, nothing is sent: %s", error, exc_info=unexpected)
                unreadable = True


def serve(owner: type[VenueOwner]) -> None:
    """Make the worker of this process the owner of a session."""
    app.steps["worker"].add(owner)
    tasks.load_session()
    pulse.install()
