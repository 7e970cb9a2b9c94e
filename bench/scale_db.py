"""Twelve thousand direct connections to a private MariaDB at once: `python -m bench.scale_db`, some minutes.

Some processes hold them, one thread and one connection to a worker slot. While all are connected, every slot does short
transactions through the unit of work at random instants: none may fail, and how long each took after it was due is the
figure. Then, still beside all of them, a few slots write without a pause: through the unit of work and through the
driver alone in turns; and one process opens a connection for each unit of work, beside one that takes it from a pool.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from bench.measure import REGISTERED, ROOT, Figure, benchmark, interleaved, measured, seconds_each
from init import create
from trisagion.adapters.db import SqlDatabase, Unit, open_database
from trisagion.adapters.db.engine import LOCK_WAIT_S, SETTINGS, open_engine
from trisagion.adapters.db.session import Session
from trisagion.adapters.servers import mariadb
from trisagion.errors import ConfigError
from trisagion.ports import ProcessBeat

FILES_SPARE: Final = 500
"""A server's open files beside its connections; a client's beside its own."""

LEAD_S: Final = 0.5
"""So far ahead processes are told to begin at once."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How many connections in how many processes, and how long what is done; the times in seconds."""

    connections: int
    processes: int
    ramp_s: float
    hold_s: float
    units: int
    active: int
    rate_s: float
    turns: int
    each: int
    """How many units of work with a connection of their own are one sample."""


FULL: Final = Scale(12_000, 6, ramp_s=60.0, hold_s=60.0, units=2, active=2, rate_s=5.0, turns=5, each=200)


@dataclass(slots=True)
class Found:
    """What one run found: seconds, bytes, commits a second, seconds of a unit of work."""

    connected: int
    took: list[float]
    server_bytes: int
    clients_bytes: int
    ours: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    direct: Figure = field(default_factory=lambda: Figure([]))


class Clients:
    """The processes that hold the connections."""

    def __init__(self, processes: Sequence["subprocess.Popen[str]"]) -> None:
        self._processes = processes

    def told(self, phase: str, **numbers: Any) -> list[dict[str, Any]]:
        """Have all processes do a phase; return their answers, of which none may tell of a failure."""
        for process in self._processes:
            assert process.stdin is not None
            print(json.dumps({"phase": phase, **numbers}), file=process.stdin, flush=True)
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"a client ended in the phase {phase!r}"
            answers.append(json.loads(line))
        failed = [text for answer in answers for text in answer["failed"]]
        assert not failed, f"{phase}: expected no error, found {len(failed)}, as {failed[:3]}"
        return answers

    def rss_bytes(self) -> int:
        """Return the resident memory of all of them."""
        return sum(_rss_bytes(process.pid) for process in self._processes)


def run(scale: Scale) -> Found:
    """Connect them all, have them work, and measure."""
    _raise_limit(scale)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trisagion-")))
        url = stack.enter_context(mariadb(folder / "db", folder))
        create(url)
        clients = stack.enter_context(_clients(url, scale))
        database = stack.enter_context(closing(open_database(url)))
        clients.told("connect", ramp_s=scale.ramp_s)
        connected = _status(database, "Threads_connected")
        begun = {"from_s": time.monotonic() + LEAD_S, "hold_s": scale.hold_s, "units": scale.units}
        took = [seconds for answer in clients.told("hold", **begun) for seconds in answer["took"]]
        server = int((folder / "db" / "pid").read_text(encoding="ascii"))
        found = Found(connected, took, _rss_bytes(server), clients.rss_bytes())
        for _ in range(scale.turns):
            found.ours.append(_rate(clients, scale, ours=True))
            found.raw.append(_rate(clients, scale, ours=False))
        found.direct = _direct(database, url, scale.each)
        connected = _status(database, "Threads_connected")
    found.connected = min(found.connected, connected - 1)  # without the one that counts them
    return found


def _rate(clients: Clients, scale: Scale, *, ours: bool) -> float:
    from_s = time.monotonic() + LEAD_S
    times = {"from_s": from_s, "until_s": from_s + scale.rate_s}
    answers = clients.told("rate", **times, active=scale.active, ours=ours)
    return float(sum(answer["commits"] for answer in answers) / scale.rate_s)


def _direct(database: SqlDatabase, url: str, each: int) -> Figure:
    """Return what a unit of work costs with a connection of its own, and with one of a pool that is open already."""
    settings = {"charset": "utf8mb4", "init_command": SETTINGS.format(lock_wait_s=LOCK_WAIT_S)}
    pooled = sa.create_engine(open_engine(url).url, poolclass=QueuePool, connect_args=settings)

    def write(tx: Unit, number: int) -> None:
        tx.control.beat(ProcessBeat("direct", 1, number, number, number))

    def ours() -> None:
        for number in range(each):
            with database.transaction() as tx:
                write(tx, number)

    def theirs() -> None:
        for number in range(each):
            with pooled.connect() as connection:
                write(Unit(Session(connection, writable=True)), number)
                connection.commit()

    try:
        return interleaved(seconds_each(ours, each), seconds_each(theirs, each), "SQLAlchemy's QueuePool")
    finally:
        pooled.dispose()


@contextmanager
def _clients(url: str, scale: Scale) -> Iterator[Clients]:
    each, rest = divmod(scale.connections, scale.processes)
    assert not rest, "every process holds as many"
    with ExitStack() as stack:
        processes = []
        for number in range(scale.processes):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "bench.scale_worker"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)  # thousands of connections are not closed one by one
            assert process.stdin is not None
            print(json.dumps({"url": url, "first": number * each, "count": each}), file=process.stdin, flush=True)
            processes.append(process)
        yield Clients(processes)


def _raise_limit(scale: Scale) -> None:
    """Raise the limit of open files as far as it may be; the server and the clients inherit it."""
    needed, (_, hard) = scale.connections + FILES_SPARE, resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"ulimit -n: expected {needed} open files a process, found {hard} at most: raise `nofile` in "
            "/etc/security/limits.conf (systemd: LimitNOFILE; docker: --ulimit nofile)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))


def _status(database: SqlDatabase, name: str) -> int:
    with database.snapshot() as tx:
        row = tx.session.row(sa.text("SHOW GLOBAL STATUS WHERE Variable_name = :name"), {"name": name})
    return int(row[1])


def _rss_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


@cache
def _full() -> Found:
    found = run(FULL)
    assert found.connected >= FULL.connections, f"expected {FULL.connections} connections, found {found.connected}"
    return found


@benchmark("scale_db.p50_12000", "s", "value <= 0.05")
def median() -> Figure:
    """The median of all transactions of the slots."""
    return Figure([float(np.median(_full().took))])


@benchmark("scale_db.p99_12000", "s", "value <= 1")
def high() -> Figure:
    """The 99th percentile of the same."""
    return Figure([float(np.quantile(_full().took, 0.99))])


@benchmark("scale_db.server_bytes", "bytes", "value <= 2e9")
def server_bytes() -> Figure:
    """The server's resident memory after every slot has worked."""
    return Figure([float(_full().server_bytes)])


@benchmark("scale_db.clients_bytes", "bytes", "value <= 2e9")
def clients_bytes() -> Figure:
    """The resident memory of all client processes together."""
    return Figure([float(_full().clients_bytes)])


@benchmark("scale_db.commit_rate", "commits/s", 0.5)
def commit_rate() -> Figure:
    """One row written and committed, by a few slots without a pause, beside all that are connected."""
    return Figure(_full().ours, _full().raw, "limit: raw driver")


@benchmark("scale_db.direct", "s", 0.25)
def direct() -> Figure:
    """One unit of work with its own connection."""
    return _full().direct


if __name__ == "__main__":
    measured([bench for bench in REGISTERED if bench.name.startswith("scale_db.")])
