"""A real worker on a real Redis is sent what no sender of ours writes: it says so in a line, and works on."""

import base64
import json
import os
import pickle
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.builders import SESSION, TUESDAY_NS, Desk, a_step, an_intended_order
from trisagion.adapters import servers
from trisagion.adapters.db import open_database
from trisagion.adapters.processes import Children
from trisagion.clock import MINUTE_NS
from trisagion.orders.state import OrderState
from trisagion.services.fingerprint import register
from trisagion.services.ingest_market import write_steps
from trisagion.settings import load
from trisagion.wiring import House
from workers.door import BODY_BYTES_MAX
from workers.flow import EXIT_STALE_BUILD, FINGERPRINT
from workers.pulse import PAGE_BYTES

pytestmark = pytest.mark.redis

ROOT = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 40.0
GROWTH_BYTES_MAX = 50 * 2**20
LINE_BYTES_MAX = 800
MEGABYTES = "x" * 10_000_000
DEEP = "[" * 10_000 + "]" * 10_000
OURS = House(load(None, {}, {})).fingerprint
"""What the worker below is: it has every setting by default but for its places."""
OPTIONS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def envelope(
    body: object,
    task: object = "market.ingest",
    *,
    headers: Mapping[str, object] | None = None,
    changed: Mapping[str, object] | None = None,
) -> str:
    """Return the text of a message as Celery writes it to Redis, with further headers and what is changed about it."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    place = {"exchange": "", "routing_key": "market"}
    return json.dumps(
        {
            "body": base64.b64encode(raw).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": task, "id": str(uuid.uuid4()), FINGERPRINT: OURS} | dict(headers or {}),
            "properties": {"body_encoding": "base64", "delivery_tag": str(uuid.uuid4()), "delivery_info": place},
            **(changed or {}),
        }
    )


def call(task: str = "market.ingest", **named: object) -> str:
    """Return a message that calls a task."""
    return envelope([[], named, OPTIONS], task)


def at(subject: object, task: str = "market.ingest", now_ns: object = TUESDAY_NS) -> str:
    """Return a message in our form, with a subject that need not be."""
    return call(task, now_ns=now_ns, subject=subject)


MINUTE = write_steps([a_step(TUESDAY_NS + MINUTE_NS)])


def step_with(**changes: object) -> str:
    """Return the text of a minute with something changed about its step."""
    (step,) = json.loads(MINUTE)
    return json.dumps([step | changes])


NO_INSTANTS: tuple[object, ...] = ("1", True, None, 1.5, [], -1, 2**63, 10**100)
NO_SUBJECTS: tuple[object, ...] = (
    *(1, None, [], {}),
    *("a\x01b", "a\0b", "a\nb", "\u202eX", "\u0665", "\uff15", "\ud800", "é"),
)
NO_MESSAGE: dict[str, str] = {
    "no JSON": "junk",
    "nothing": "",
    "a list": "[]",
    "a number": "5",
    "a nest": DEEP,
    "no properties": '{"body": "", "headers": {}}',
    "no tag": '{"body": "", "headers": {}, "properties": {}}',
    "no headers": envelope([], changed={"headers": None}),
    "headers in a list": envelope([], changed={"headers": []}),
    "a packed body": envelope(b"x" * 9, headers={"compression": "application/x-gzip"}),
    "a body that is no base64": envelope([], changed={"body": "***"}),
    "a body that is none": envelope([], changed={"body": None}),
    "ten megabytes": at(MEGABYTES),
    "sixty-four kilobytes and more": at("x" * BODY_BYTES_MAX),
    "a pickle": envelope(pickle.dumps(1), changed={"content-type": "application/x-python-serialize"}),
    "YAML": envelope("a: 1", changed={"content-type": "application/x-yaml"}),
    "an unknown encoding": envelope([], changed={"content-encoding": "nonsense"}),
    "no UTF-8": envelope(b"\xff\xfe"),
    "half a body": envelope("[[], {"),
    "a nested body": envelope(DEEP),
    "a body of null": envelope("null"),
    "a body by name": envelope("{}"),
    "a body of four": envelope([[], {}, {}, {}]),
    "an unknown task": envelope([[], {}, {}], "os.system"),
    "a task of Celery's": envelope([[], {}, {}], "celery.chunks"),
    "a task that is a number": envelope([[], {}, {}], 5),
    "a task that is a list": envelope([[], {}, {}], ["market.ingest"]),
    "no id": envelope([[], {}, {}], headers={"id": None}),
    "an id with a new line": envelope([[], {}, {}], headers={"id": "a\nb"}),
    "a message put off": envelope([[], {"now_ns": 1}, {}], headers={"eta": "9999-01-01T00:00:00"}),
    "a message that expires": envelope([[], {"now_ns": 1}, {}], headers={"expires": "x"}),
    "a message with limits": envelope([[], {"now_ns": 1}, {}], headers={"timelimit": "x"}),
    "a message with another name": envelope([[], {"now_ns": 1}, {}], headers={"shadow": "x\ny"}),
    "a message with a tail": envelope([[], {"now_ns": 1}, {"callbacks": [{"task": "market.ingest"}]}]),
    "unnamed arguments": envelope([[1, "x"], {}, OPTIONS]),
    "named arguments in a list": envelope([[], [1], OPTIONS]),
    "no named arguments": envelope([[], None, OPTIONS]),
    "an argument too few": call(subject="x"),
    "an argument too many": call(now_ns=1, subject="x", evil=1),
    "an argument twice": envelope('[[], {"now_ns": 1, "now_ns": 2}, {}]'),
    "an infinite instant": envelope('[[], {"now_ns": Infinity}, {}]'),
    **{f"an instant of {value!r}": call(now_ns=value) for value in NO_INSTANTS},
    **{f"a subject of {value!r:.20}": at(value) for value in NO_SUBJECTS},
}

NO_WORK: dict[str, tuple[str, str]] = {
    "a cycle that is no instant": (at("soon", "reconcile.cycle"), "whole number"),
    "a cycle below zero": (at("-1", "reconcile.cycle"), "whole number"),
    "a cycle of a hundred digits": (at("9" * 100, "reconcile.cycle"), "whole number"),
    "a shard that is none": (at("X'; DROP TABLE orders;--", "cohort.advance"), "whole number"),
    "a supervision of nothing": (at("", "cohort.supervise"), "whole number"),
    "a watch in another year": (at("", "take_profit.watch", 4 * 10**18 + 10**18), "expected an instant up to"),
    "a shard in another year": (at("0", "cohort.advance", 2**63 - 1), "expected an instant up to"),
    "an amendment of one word": (at("T1", "gateway.amend"), "3 words"),
    "an amendment of blanks": (at("  ", "gateway.amend"), "3 words"),
    **{
        f"an amendment to {qty} at {px}": (at(f"T1 {qty} {px}", "gateway.amend"), what)
        for qty, px, what in [
            ("NaN", "1", "decimal"), ("1", "Infinity", "decimal"), ("1e308", "1", "26 digits"),
            ("1", "1e-30", "26 digits"), ("1", "-1", "above 0"), ("1", "0", "above 0"), ("9" * 100, "1", "18 sign"),
            ("0x10", "1", "decimal"), ("1_000", "1", "decimal"), ("None", "true", "decimal"),
        ]
    },
    **{
        f"a minute of {text!r:.30}": (at(text, now_ns=TUESDAY_NS + MINUTE_NS), "market.ingest: expected")
        for text in ("", "null", "{}", "[]", "[1]", DEEP, '{"a": 1, "a": 2}', "NaN", "[[[]]]")
    },
    **{
        f"a minute whose {name} is {value!r:.20}": (at(step_with(**{name: value}), now_ns=TUESDAY_NS + MINUTE_NS), what)
        for name, value, what in [
            ("last", "NaN", "market.ingest"), ("last", "1e308", "market.ingest"), ("last", 4000.0, "market.ingest"),
            ("last", "-1", "market.ingest"), ("symbol", "X'; DROP TABLE orders;--", "market.ingest"),
            ("symbol", "E\x01S", "market.ingest"), ("ticks", [[1, float("inf")]], "refused|market.ingest"),
            ("at_ns", 2**63, "market.ingest"), ("last_ns", True, "market.ingest"), ("bar", None, "market.ingest"),
            ("evil", 1, "market.ingest"),
        ]
    },
    "a minute of another instant": (at(MINUTE), "message's instant"),
}  # fmt: skip


@dataclass(slots=True)
class Served:
    """A worker, its queue, its database and its log."""

    desk: Desk
    broker: "redis.Redis"
    worker: "subprocess.Popen[bytes]"
    log: Path
    minutes: Iterator[int] = field(default_factory=lambda: count(2))

    def send(self, item: str, queue: str = "market") -> None:
        """Put an item into a queue, as anybody can who reaches the broker."""
        self.broker.lpush(queue, item)

    def works(self) -> None:
        """Have a minute published, and wait until it is stored: what was sent before is behind us."""
        instant_ns = TUESDAY_NS + next(self.minutes) * MINUTE_NS
        self.send(at(write_steps([a_step(instant_ns)]), now_ns=instant_ns))
        await_that(lambda: self.head_ns() >= instant_ns, lambda: f"a minute: {self.log.read_text()[-2000:]}")
        assert self.worker.poll() is None

    def head_ns(self) -> int:
        """Return the newest minute."""
        with self.desk.database.snapshot() as tx:
            return tx.market.heads("ES")[0]

    def rows(self) -> dict[str, list[Any]]:
        """Return all that a message could have changed, but for `works`, the place of a sweep and a worker's word."""
        own = {"market_step", "bar", "market_state", "equity", "process", "ledger_mark"}
        return {name: rows for name, rows in self.desk.everything().items() if name not in own}

    def rss_bytes(self) -> int:
        """Return the worker's memory."""
        return int(Path(f"/proc/{self.worker.pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def await_that(happened: Callable[[], object], what: Callable[[], str]) -> None:
    """Wait, not for ever."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not happened():
        assert time.monotonic() < deadline, f"waited {WAIT_S_MAX:.0f} s for {what()}"
        time.sleep(0.005)


@pytest.fixture
def served(tmp_path: Path, short_directory: Path, sqlite_url: str) -> Iterator[Served]:
    """Give a worker of every stage's queue at a founded account."""
    database = open_database(sqlite_url)
    argv = [
        *(sys.executable, "-m", "workers.serve", "workers.worker"),
        *("--queues", "market,cohort,reconcile,orders,control", "--name", "door"),
    ]
    with servers.redis(tmp_path / "redis", short_directory, Children()) as url:
        environment = {**os.environ, "TRISAGION__BROKER__URL": url, "TRISAGION__DATABASE__URL": sqlite_url}
        broker = redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=log, stdout=log) as worker,
        ):
            try:
                made = Served(Desk(database).found(), broker, worker, tmp_path / "log")
                made.works()
                yield made
            finally:
                worker.terminate()
        broker.close()
    database.close()


def test_no_message_ends_a_worker_or_is_kept(served: Served) -> None:
    """One line for each, no traceback, nothing stored, nothing left in the broker, and the memory is given back."""
    before, rows, rss = len(served.log.read_text()), served.rows(), served.rss_bytes()
    for item in NO_MESSAGE.values():
        served.send(item)
    served.works()
    lines = served.log.read_text()[before:].splitlines()
    assert [line for line in lines if "a message was refused: " not in line] == []
    assert len(lines) == len(NO_MESSAGE)
    assert max(map(len, lines)) <= LINE_BYTES_MAX
    assert served.rows() == rows
    await_that(
        lambda: served.broker.hlen("unacked") == served.broker.llen("market") == 0, lambda: "what the minute rang for"
    )
    for _ in range(5):
        served.send(at(MEGABYTES))
    served.works()
    assert served.rss_bytes() - rss <= GROWTH_BYTES_MAX


def test_a_message_in_our_form_that_asks_for_nonsense_does_nothing(served: Served) -> None:
    """The use case refuses it, in one line with the reason; orders, account and cycles are what they were."""
    order = an_intended_order(TUESDAY_NS, OrderState.NEW)
    served.desk.put(order)
    before, rows = len(served.log.read_text()), served.rows()
    for item, _ in NO_WORK.values():
        served.send(item)
    served.works()
    lines = served.log.read_text()[before:].splitlines()
    assert len(lines) == len(NO_WORK), "\n".join(lines)
    for line, (name, (_, what)) in zip(lines, NO_WORK.items(), strict=True):
        assert "was not done: " in line or "was refused: " in line, (name, line)
        assert any(word in line for word in what.split("|")), (name, line)
        assert len(line) <= LINE_BYTES_MAX, name
    assert served.rows() == rows


def sent_by(sender: str, task: str = "sweep.run") -> str:
    """Return a message from a build and configuration."""
    return envelope([[], {"now_ns": TUESDAY_NS, "subject": ""}, OPTIONS], task, headers={FINGERPRINT: sender})


def test_a_message_of_a_build_that_may_not_trade_is_refused_and_told_once(served: Served) -> None:
    """The worker is the registered one, the sender is not: one event for it, however often it rings for a task."""
    register(served.desk.database, OURS, "tester", TUESDAY_NS)
    before = len(served.log.read_text())
    for sender in ("another.one", "another.one", "a.third", ""):
        served.send(sent_by(sender))
    served.send(sent_by("a.fourth", "cohort.advance"))
    served.works()
    lines = served.log.read_text()[before:].splitlines()
    assert len([line for line in lines if "expected a message of build and configuration" in line]) == 5, lines
    assert len(served.desk.events("build.refused sweep.run")) == 3
    assert len(served.desk.events("build.refused cohort.advance")) == 1


def test_a_worker_that_may_not_trade_gives_the_message_back_and_ends(served: Served) -> None:
    """Another build was registered since it began: what it was asked is there for who may."""
    register(served.desk.database, OURS, "tester", TUESDAY_NS)
    register(served.desk.database, "the.next", "tester", TUESDAY_NS)
    served.send(sent_by("the.next"), queue="control")
    assert served.worker.wait(WAIT_S_MAX) == EXIT_STALE_BUILD
    # To where its envelope says that it came from, beside what it had not taken yet.
    assert "sweep.run" in [json.loads(item)["headers"]["task"] for item in served.broker.lrange("market", 0, -1)]
    assert len(served.desk.events("build.stale")) == 1
    assert len(served.desk.events("build.registered the.next")) == 1


def test_a_forged_doorbell_rings_for_nothing(served: Served) -> None:
    """Orders that are not there, or are further on; cycles that are not due: the database knows better."""
    order = an_intended_order(TUESDAY_NS, OrderState.NEW)
    served.desk.put(order)
    before, rows = len(served.log.read_text()), served.rows()
    for task, subject in [
        ("gateway.route", "X'; DROP TABLE orders;--"),
        ("gateway.route", ""),
        ("gateway.route", "A" * 5000),
        ("gateway.route", order.cl_ord_id),
        ("gateway.amend", "nobody 1 4000"),
        ("gateway.amend", f"{order.cl_ord_id} -1 4000"),
        ("gateway.amend", f"{order.cl_ord_id} 0 4000"),
        ("cohort.advance", "7"),
        ("cohort.supervise", "7"),
        ("reconcile.cycle", "7"),
        ("regime.detect", "XX"),
        ("sweep.run", SESSION),
    ]:
        served.send(at(subject, task))
    served.works()
    assert served.log.read_text()[before:].count("Traceback") == 0
    assert served.rows() == rows
