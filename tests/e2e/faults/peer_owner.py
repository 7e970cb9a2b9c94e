"""The owner of a session as a process of its own: the real session, driver, services and database, without a broker.

    python -m tests.e2e.faults.peer_owner '{"url": …, "port": …, "store": …, "target": …, "origin_ns": …}'

What a Celery worker would be rung for is done by one loop here: it drains, asks about what is in doubt, sweeps. A death
of this process is a finding of the test that started it.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from tests.builders import ACCOUNT, BOOK_RULES, TUESDAY_NS
from trisagion.adapters.db import open_database
from trisagion.adapters.db.engine import SqlDatabase, retrying
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.fix.session import FixConfig
from trisagion.orders.types import ExecutionReport, PositionReport, Unreadable
from trisagion.services.book_fills import book, observe, put_aside
from trisagion.services.drive_session import SessionDriver, asked_ns
from trisagion.services.sweep import sweep

TURN_S: Final = 0.02
SWEEP_S: Final = 1.0
HEARTBEAT_S: Final = 2
VENUE: Final = "SIM"


class Sink:
    """Books what the venue says and leaves what follows to the loop."""

    driver: SessionDriver

    def __init__(self, database: SqlDatabase, origin_ns: int) -> None:
        self.database, self._origin_ns = database, origin_ns
        self.doubtful: SimpleQueue[str] = SimpleQueue()

    def now_ns(self) -> int:
        """Return the platform's instant: a Tuesday noon and what has passed since the origin."""
        return TUESDAY_NS + time.time_ns() - self._origin_ns

    def on_logon(self) -> None:
        """Ask about all that the venue may hold."""
        retrying(lambda: self.driver.settle(self.now_ns()))

    def on_logout(self) -> None:
        """Nothing is sent while logged off."""
        self.driver.unsettle()

    def on_report(self, report: ExecutionReport) -> None:
        """Book."""
        outcomes = retrying(lambda: book(self.database, BOOK_RULES, report))
        for outcome in outcomes:
            self.doubtful.put(outcome.word)
        self.driver.heard(report, report.happened_ns)

    def on_all_statuses(self, request_id: str) -> None:
        """Ask about those that the venue did not name."""
        self.driver.heard_all(request_id, self.now_ns())

    def on_positions(self, reports: Sequence[PositionReport]) -> None:
        """Record."""
        retrying(lambda: observe(self.database, tuple(reports), asked_ns(reports[0].request_id)))

    def on_unreadable(self, word: Unreadable) -> None:
        """Put aside."""
        for outcome in retrying(lambda: put_aside(self.database, word, self.now_ns())):
            self.doubtful.put(outcome.word)


def main(argument: str) -> None:
    """Own the session until killed."""
    given = json.loads(argument)
    sink = Sink(open_database(given["url"]), int(given["origin_ns"]))
    config = FixConfig(
        host="127.0.0.1",
        port=int(given["port"]),
        sender=given["target"],
        target=VENUE,
        account=ACCOUNT,
        store_dir=Path(given["store"]),
        heartbeat_s=HEARTBEAT_S,
    )
    session = FixSession(config, sink, VENUE)
    driver = sink.driver = SessionDriver(sink.database, session, VENUE, given["store"])
    driver.lease()
    session.start()
    print(json.dumps(["started"]), flush=True)
    swept_s = leased_s = time.monotonic()
    while True:
        words = set()
        try:
            words.add(sink.doubtful.get(timeout=TURN_S))
            while True:
                words.add(sink.doubtful.get_nowait())
        except Empty:
            pass
        now_s = time.monotonic()
        if now_s - leased_s > SWEEP_S:
            driver.lease()
            leased_s = now_s
        if now_s - swept_s > SWEEP_S:
            words |= {outcome.word for outcome in sweep(sink.database) if outcome.subjects}
            swept_s = now_s
        if "doubtful" in words and session.logged_on():
            driver.resolve(sink.now_ns())
        driver.enforce(sink.now_ns())
        driver.drain(sink.now_ns())
        driver.pump(sink.now_ns())


if __name__ == "__main__":
    main(sys.argv[1])
