"""A FIX session to the bundled venue through proxies that die: how soon it is logged on again, on which path."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.fix_market import WAIT_S, Market, Sink, at, order
from tests.integration.proxies import LOOPBACK, FaultyProxy, free_port, microsocks, tinyproxy
from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.gateway.egress import EgressEvent, What, standings
from trisagion.orders.state import OrderState
from trisagion.settings import Settings, load, to_environment

ROOT = Path(__file__).parents[2]
HEARTBEAT_S = 5
NEW_S_MAX = 5.0
"""How long a session may be down when its path refuses or resets."""

HOLE_S_MAX = 2.4 * HEARTBEAT_S
"""When it swallows: after that long QuickFIX itself would have given up the connection, and not yet made another."""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """Give a venue of its own."""
    market = Market(tmp_path)
    market.start()
    yield market
    market.close()


def settings(market: Market, url: str, **proxies: tuple[str, int]) -> Settings:
    """Configure a forwarder to the market's venue through proxies, the first one first."""
    given: dict[str, object] = {
        "database.url": url,
        "fix.port": market.port,
        "fix.heartbeat_s": HEARTBEAT_S,
        "egress.port": free_port(),
        "egress.use": list(proxies),
        "egress.probe_s": 1,
        "egress.quiet_s": 1,
        "egress.healthy_s": 2,
    }
    for name, (kind, port) in proxies.items():
        if not kind:
            continue
        given[f"egress.paths.{name}"] = {"kind": kind, "host": LOOPBACK, "port": port}
    return load(None, {}, given)


@contextmanager
def forwarder(configured: Settings) -> Iterator["subprocess.Popen[str]"]:
    """Run the forwarder as a process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trisagion.adapters.egress.forwarder"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **to_environment(configured)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        _, said = process.communicate(timeout=WAIT_S)
        assert (process.returncode, said) == (0, ""), said


class Watched:
    """A session through a forwarder, and what that recorded."""

    def __init__(self, sink: Sink, database: SqlDatabase, name: str = "SIM") -> None:
        self.sink = sink
        self.database = database
        self.name = name

    def events(self) -> list[EgressEvent]:
        """Return the record."""
        with self.database.snapshot() as tx:
            return list(tx.egress.events(self.name, 1000))

    def carrier(self) -> str | None:
        """Return the path that carries now."""
        with self.database.snapshot() as tx:
            found = standings(tx.egress.counts(self.name), ())
        return next((path.path for path in found if path.carrying), None)

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for what the record will say."""
        deadline = time.monotonic() + WAIT_S
        while not happened():
            assert time.monotonic() < deadline, (what, self.events())
            time.sleep(0.02)

    def down_s(self, fault: Callable[[], object]) -> float:
        """Break something; return how long it takes to be logged on again."""
        logons, begun = self.sink.logons, time.monotonic()
        fault()
        self.sink.wait(lambda: self.sink.logons > logons)
        return time.monotonic() - begun


@contextmanager
def watched(market: Market, url: str, **proxies: tuple[str, int]) -> Iterator[Watched]:
    """Log a session on through a forwarder."""
    configured, sink, database = settings(market, url, **proxies), Sink(), open_database(url)
    port = configured.egress.port
    try:
        with forwarder(configured), market.session(sink, port=port, heartbeat_s=HEARTBEAT_S):
            yield Watched(sink, database)
    finally:
        database.close()


@pytest.mark.proxies
def test_a_session_survives_a_proxy_that_is_killed_and_one_that_resets_and_returns_to_the_first(
    market: Market, sqlite_url: str, tmp_path: Path
) -> None:
    """Within 5 s each; the first is gone back to when it is there again, and the record says why each was left."""
    best, last = free_port(), free_port()
    with FaultyProxy() as faulty, tinyproxy(last, tmp_path):
        paths = {"best": ("socks5", best), "faulty": ("http", faulty.port), "last": ("http", last)}
        with microsocks(best) as proxy, watched(market, sqlite_url, **paths) as session:
            session.until(lambda: session.carrier() == "best", "the first path")
            killed_s = session.down_s(lambda: proxy.send_signal(signal.SIGKILL))
            session.until(lambda: session.carrier() == "faulty", "the second path")
            reset_s = session.down_s(faulty.refuse)
            session.until(lambda: session.carrier() == "last", "the third path")
            with microsocks(best):
                logons = session.sink.logons
                session.sink.wait(lambda: session.sink.logons > logons)
                session.until(lambda: session.carrier() == "best", "the first path again")
            told = [(event.path, event.what) for event in session.events()]
            whys = [event.why for event in session.events() if event.what is What.LEFT]
    assert killed_s < NEW_S_MAX
    assert reset_s < NEW_S_MAX
    assert ("best", What.UP) in told
    # A machine that is slow to begin with may have gone past the best one first.
    assert [path for path, what in told if what is What.CONNECTED][-4:] == ["best", "faulty", "last", "best"]
    assert "best is well again" in whys


def test_a_session_survives_a_path_that_swallows_everything_and_its_orders_are_as_they_were(
    market: Market, sqlite_url: str
) -> None:
    """Within 2.4 heartbeats, of which two pass before anybody can know; neither end was told."""
    with FaultyProxy() as hole, FaultyProxy() as other:
        paths = {"hole": ("socks5", hole.port), "other": ("socks5", other.port)}
        with watched(market, sqlite_url, **paths) as session:
            market.control.play(at(0))
            # The venue gives the lost connection up 2.4 heartbeats after the last that it heard on it.
            time.sleep(HEARTBEAT_S / 2)
            hole.mode = "mute"
            down_s = session.down_s(lambda: setattr(hole, "hole", True))
            session.until(lambda: session.carrier() == "other", "the other path")
            left = next(event for event in session.events() if event.what is What.LEFT)
            assert left.path == "hole"
            assert left.why.startswith("nothing was read for ")
    assert down_s < HOLE_S_MAX


def test_an_order_passes_the_forwarder_and_a_restart_of_it(market: Market, sqlite_url: str) -> None:
    """Killed, it takes the session down; started again it carries it, and nothing is told twice."""
    configured, sink = settings(market, sqlite_url, direct=("", 0)), Sink()
    with forwarder(configured) as process, market.session(sink, port=configured.egress.port) as session:
        market.control.play(at(0))
        assert session.send_new(order("A"), at(1))
        assert sink.after(1).ord_status is OrderState.NEW
        logons = sink.logons
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        with forwarder(configured):
            sink.wait(lambda: sink.logons > logons)
            market.control.play(at(30))
            assert sink.after(4).ord_status is OrderState.FILLED
    assert len({report.exec_id for report in sink.reports}) == len(sink.reports)
