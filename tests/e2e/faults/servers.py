"""Rows 4, 5 and 6: a server dies, hangs, is slow or forgets, while orders are on their way.

Some orders work before the blow, a burst is on its way when it falls, and one more order is put in as soon as the
database can be reached again.
"""

import json
import random
import shutil
import signal
import time
from typing import Final

from redis import Redis

from tests.e2e.faults.judge import ONCE
from tests.e2e.faults.lane import Lane
from tests.e2e.faults.rows import LaneRow
from trisagion.gateway.words import Tag
from trisagion.ids import ClOrdId

BURST: Final = 5
UNDER_WAY_S_MAX: Final = 0.3
"""A burst is through in about so long: the blow falls somewhere on its way."""

SHUT_S_MAX: Final = 5.0
"""What was claimed before the database hung may still leave; after so long nothing does."""
STOPPED_S: Final = {"stopped": 30.0, "stopped shortly": 8.0}
SLOW_S, SLOW_FOR_S = 0.25, 20.0
"""Each way, and for how long. A lease is renewed in five round trips: twice as slow it runs out, and nothing leaves."""

DATABASE_S_MAX: Final = 20.0
BROKER_S_MAX: Final = 30.0

AWAY: Final = (
    r"adapters\.db\.faults\.(Unreachable|Conflict)\b",
    r"^trisagion\.errors\.StateError: database ",
    r"^(sqlalchemy\.exc|MySQLdb|pymysql\.err)\.\w*Error\b",
    r"^(kombu\.exceptions\.OperationalError|redis\.exceptions\.\w+|Connection\w*Error|TimeoutError|BrokenPipeError)\b",
)
"""What may be raised, and be written into a log, while a server is away."""
SUCCEEDED: Final = (r"StateError: .*another process has this session", r"\.StaleOwner\b")
"""What the two owners of a session may say when the lease of the one runs out and he still lives."""


def database_dies(lane: Lane, case: str, draw: random.Random) -> float:
    """Kill MariaDB; it is started again at once."""
    names = _under_way(lane, draw)
    lane.kill("mariadb")
    return _recovered(lane, time.monotonic(), draw, names)


def database_ails(lane: Lane, case: str, draw: random.Random) -> float:
    """Stop MariaDB for a while and see that nothing new leaves; or hold back what goes to it and comes from it."""
    names = _under_way(lane, draw)
    if case == "slow":
        return _slow(lane, draw, names)
    lane.signal("mariadb", signal.SIGSTOP)
    try:
        time.sleep(SHUT_S_MAX)
        before = asked(lane)
        time.sleep(STOPPED_S[case] - SHUT_S_MAX)
        left = asked(lane) - before
    finally:
        lane.signal("mariadb", signal.SIGCONT)
    assert left == 0, f"expected nothing new {SHUT_S_MAX:g} s after the database stopped, found {left} messages"
    return _recovered(lane, time.monotonic(), draw, names)


def _slow(lane: Lane, draw: random.Random, names: list[ClOrdId]) -> float:
    assert lane.database_proxy is not None, "the row asks for a proxy before the database"
    lane.database_proxy.delay(SLOW_S)
    healed_s = time.monotonic() + SLOW_FOR_S
    try:
        names = [*names, lane.intend(draw)]
        lane.until(lambda: time.monotonic() > healed_s, "the database has been slow for a while")
    finally:
        lane.database_proxy.heal()
    return _recovered(lane, time.monotonic(), draw, names)


def broker_forgets(lane: Lane, case: str, draw: random.Random) -> float:
    """Have Redis forget all, or kill it with its file or without."""
    names = _under_way(lane, draw)
    with Redis(unix_socket_path=str(lane.broker_socket)) as redis:
        if case == "flushed":
            redis.flushall()
            return _recovered(lane, time.monotonic(), draw, names)
        if case == "killed without a file":
            redis.config_set("appendonly", "no")
    lane.kill("redis")
    if case == "killed without a file":
        shutil.rmtree(lane.directory / "redis" / "appendonlydir")
    return _recovered(lane, time.monotonic(), draw, names)


def _under_way(lane: Lane, draw: random.Random) -> list[ClOrdId]:
    names = lane.work(draw, draw.randint(1, 2))
    names += [lane.intend(draw) for _ in range(BURST)]
    time.sleep(draw.uniform(0.0, UNDER_WAY_S_MAX))
    return names


def _recovered(lane: Lane, begun_s: float, draw: random.Random, names: list[ClOrdId]) -> float:
    """Put one more order in when the database answers; wait until the venue confirms where all of them are."""
    lane.until(lambda: bool(lane.order(names[0])), "the database answers")
    names = [*names, lane.intend(draw)]
    lane.until(lambda: lane.confirmed(*names), "the orders concerned are confirmed")
    return time.monotonic() - begun_s


def asked(lane: Lane) -> int:
    """Count the orders and replaces that the venue was asked for."""
    lines = (lane.directory / "venue" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line).get("message", {}).get(str(int(Tag.MSG_TYPE))) in ONCE for line in lines)


ROWS: Final = (
    LaneRow(
        number=4,
        what="`kill -9` of MariaDB while orders are on their way",
        must="I1 I2 I3 I8; recovery within 20 s",
        cases={"killed": 20},
        short=("killed",),
        play=database_dies,
        recovery_s_max=DATABASE_S_MAX,
        raised=AWAY,
    ),
    LaneRow(
        number=5,
        what="MariaDB stops for 30 s, or each round trip takes half a second longer for 20 s",
        must="I1 I2 I3 I8; nothing new leaves later than 5 s after it stopped; recovery within 20 s of its return",
        cases={"stopped": 20, "stopped shortly": 1, "slow": 20},
        short=("stopped shortly",),
        play=database_ails,
        recovery_s_max=DATABASE_S_MAX,
        raised=AWAY + SUCCEEDED,
        paired=True,
    ),
    LaneRow(
        number=6,
        what="Redis killed with its file, killed without one, flushed",
        must="I1 I2 I3 I8; the sweeper has rung for all within 30 s",
        cases={"killed": 20, "killed without a file": 20, "flushed": 20},
        short=("flushed", "killed without a file"),
        play=broker_forgets,
        recovery_s_max=BROKER_S_MAX,
        raised=AWAY,
    ),
)
