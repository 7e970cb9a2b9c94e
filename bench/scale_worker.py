"""Worker slots of `bench.scale_db`: each a thread with a connection of its own. As a program it does what it is told.

A line on standard input is a phase and its numbers, as JSON; the answer is a line, too. Instants are of the monotonic
clock, which all processes of a machine share.
"""

import json
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.db.engine import open_engine
from trisagion.errors import StateError
from trisagion.ports import ProcessBeat

STACK_BYTES: Final = 256 * 1024
"""A slot's stack: thousands of the usual 8 MB would not find room to be promised."""

RAW: Final = """INSERT INTO process (name, pid, wall_ns, tasks, rss_bytes) VALUES (%s, %s, %s, %s, %s)
    ON DUPLICATE KEY UPDATE pid = VALUES(pid), wall_ns = VALUES(wall_ns), tasks = VALUES(tasks),
    rss_bytes = VALUES(rss_bytes)"""


class Slot:
    """A thread that does one thing after the other, on its own connection."""

    def __init__(self, name: str, answers: "queue.SimpleQueue[Any]") -> None:
        self.name = name
        self.wanted: queue.SimpleQueue[Callable[[str], Any]] = queue.SimpleQueue()
        self._answers = answers
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            work = self.wanted.get()
            try:
                self._answers.put(work(self.name))
            except (StateError, sa.exc.SQLAlchemyError, OSError) as error:
                self._answers.put(error)


class Slots:
    """Many of them, and what they are told."""

    def __init__(self, url: str, first: int, count: int) -> None:
        self._database = open_database(url)
        self._database.keep()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._url = url
        self._slots = [Slot(f"slot-{number}", self._answers) for number in range(first, first + count)]

    def _told(self, slots: Sequence[Slot], work: Callable[[str], Any]) -> tuple[list[Any], list[str]]:
        """Have the slots do something at once; return their answers and what failed."""
        for slot in slots:
            slot.wanted.put(work)
        answers = [self._answers.get() for _ in slots]
        failed = [str(answer) for answer in answers if isinstance(answer, Exception)]
        return [answer for answer in answers if not isinstance(answer, Exception)], failed

    def connect(self, ramp_s: float) -> dict[str, Any]:
        """Have every slot do its first unit of work, at some instant of the ramp, and keep the connection."""

        def work(name: str) -> None:
            time.sleep(random.uniform(0.0, ramp_s))
            _beat(self._database, name, 0)

        done, failed = self._told(self._slots, work)
        return {"done": len(done), "failed": failed}

    def hold(self, from_s: float, hold_s: float, units: int) -> dict[str, Any]:
        """Have every slot do its units, each in its own part of the time; return how late each was done after due."""

        def work(name: str) -> list[float]:
            took = []
            for number in range(1, units + 1):
                due_s = from_s + (number - 1 + random.random()) * hold_s / units
                time.sleep(max(0.0, due_s - time.monotonic()))
                _beat(self._database, name, number)
                took.append(time.monotonic() - due_s)
            return took

        done, failed = self._told(self._slots, work)
        return {"took": [seconds for answer in done for seconds in answer], "failed": failed}

    def rate(self, from_s: float, until_s: float, active: int, ours: bool) -> dict[str, Any]:
        """Have some slots write without a pause, through the unit of work or the driver; return how many commits."""

        def through_ours(name: str) -> int:
            return _counted(lambda number: _beat(self._database, name, number), from_s, until_s)

        def through_driver(name: str) -> int:
            raw = open_engine(self._url).raw_connection()
            cursor = raw.cursor()

            def once(number: int) -> None:
                cursor.execute(RAW, (name, 1, number, number, number))
                raw.commit()

            try:
                return _counted(once, from_s, until_s)
            finally:
                raw.close()

        done, failed = self._told(self._slots[:active], through_ours if ours else through_driver)
        return {"commits": sum(done), "failed": failed}


def _beat(database: SqlDatabase, name: str, number: int) -> None:
    with database.transaction() as tx:
        tx.control.beat(ProcessBeat(name, 1, number, number, number))


def _counted(work: Callable[[int], None], from_s: float, until_s: float) -> int:
    """Work from one instant to another; return how many times."""
    time.sleep(max(0.0, from_s - time.monotonic()))
    count = 0
    while time.monotonic() < until_s:
        work(count)
        count += 1
    return count


def main() -> None:
    """Do what the lines say until there are no more."""
    threading.stack_size(STACK_BYTES)
    given = json.loads(sys.stdin.readline())
    slots = Slots(**given)
    for line in sys.stdin:
        told = json.loads(line)
        print(json.dumps(getattr(slots, told.pop("phase"))(**told)), flush=True)


if __name__ == "__main__":
    main()
