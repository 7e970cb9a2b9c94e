"""`workers`: what follows from what, where it runs, when beat sends it, and what refuses to start."""

import ast
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from trisagion.clock import SECOND_NS, Clock
from trisagion.services.outcome import Outcome
from workers import flow, schedule, tasks
from workers.app import app
from workers.flow import FLOW, SILENT, follow
from workers.queues import QUEUE_OF, QUEUES, SESSION_TASKS, route
from workers.schedule import SCHEDULE, Slots, SlotScheduler

ROOT: Final = Path(__file__).resolve().parents[2]
SERVICES: Final = ROOT / "trisagion" / "services"

SPEAKS_FOR: Final = {
    "ingest_market.ingest": ("market.ingest",),
    "detect_regime.detect": ("regime.detect",),
    "judge_regime.due": ("regime.detect",),
    "judge_regime.refit": ("regime.refit",),
    "judge_regime.give_up": ("regime.refit",),
    "advance_cohort.advance": ("cohort.advance",),
    "advance_cohort.supervise_cohort": ("cohort.supervise",),
    "take_profit.watch": ("take_profit.watch",),
    "take_profit._watched": ("take_profit.watch",),
    "take_profit._carry_on": ("take_profit.watch",),
    "reconcile.cycle": ("reconcile.cycle",),
    "reconcile._move": ("reconcile.cycle",),
    "reconcile._announce": ("reconcile.cycle",),
    "route_orders.route": ("gateway.route",),
    "drive_session.drain": ("session.drain",),
    "drive_session.observe": ("session.observe",),
    "drive_session.resolve": ("session.resolve",),
    "drive_session.settle": ("session.report",),
    "drive_session._advance": ("session.report",),
    "book_fills.book": ("session.report", "copies.compare"),
    "book_fills._book": ("session.report", "copies.compare"),
    "book_fills.put_aside": ("session.report",),
    "book_fills._contradicted": ("session.report", "copies.compare"),
    "book_fills._doubt": ("session.report",),
    "book_fills._follow": ("session.report", "copies.compare"),
    "book_fills._remedy": ("session.report", "copies.compare"),
    "amend_orders.amend": ("gateway.amend",),
    "book_fills.waiting_cycles": ("session.report",),
    "compare_copies.compare": ("copies.compare",),
    "compare_copies._recover": ("copies.compare",),
    "sweep.sweep": ("sweep.run",),
    "keep_audit.chain": ("audit.chain",),
}
"""Which function's outcomes become those of which tasks."""


def _words(node: ast.AST) -> set[str]:
    """Return the words that the first argument of an `Outcome` may be."""
    if isinstance(node, ast.IfExp):
        return _words(node.body) | _words(node.orelse)
    assert isinstance(node, ast.Constant) and isinstance(node.value, str), ast.dump(node)
    return {node.value}


def spoken() -> set[tuple[str, str]]:
    """Return every (task, word) that the services can say, read from their source."""
    found = set()
    for path in sorted(SERVICES.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Outcome":
                    for task in SPEAKS_FOR[f"{path.stem}.{function.name}"]:
                        found |= {(task, word) for word in _words(node.args[0])}
    return found


def test_every_word_that_a_service_says_is_in_the_flow_or_silent() -> None:
    """For its task; nothing is said that would stop a worker with an assertion."""
    unheard = {(task, word) for task, word in spoken() if (task, word) not in FLOW and word not in SILENT}
    assert unheard == set()


def test_the_flow_has_no_row_that_nobody_says() -> None:
    """Nor does the list of silent words."""
    assert set(FLOW) <= spoken()
    assert {word for _, word in spoken()} >= SILENT


def test_every_task_is_registered_and_has_a_queue() -> None:
    """What the flow rings, what beat sends, and what a worker can do are the same tasks; each has one queue."""
    tasks.load_stages()
    tasks.load_session()
    registered = {name for name in app.tasks if not name.startswith("celery.")}
    assert registered == set(QUEUE_OF) | set(SESSION_TASKS)
    assert set(FLOW.values()) <= registered
    assert {entry.task for entry in SCHEDULE} <= registered
    assert {queue.name for queue in QUEUES} == set(QUEUE_OF.values())
    assert {task for task, _ in FLOW} <= registered | {"session.report"}


def test_a_task_goes_to_its_queue_and_a_sessions_to_its_owner() -> None:
    """A task without a row is a mistake of ours."""
    for name, queue in QUEUE_OF.items():
        assert route(name, (), {"subject": "x"}, {}) == {"queue": queue}
    for name in SESSION_TASKS:
        assert route(name, (), {"subject": "SIM"}, {}) == {"queue": "session.SIM"}
    with pytest.raises(KeyError):
        route("stranger", (), {}, {})


def test_one_follower_is_rung_for_each_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent word rings nobody; a word without a row stops the worker."""
    rung: list[tuple[Any, ...]] = []
    monkeypatch.setattr(flow, "ring", lambda _app, *call: rung.append(call))
    follow(app, "reconcile.cycle", (Outcome("decided", ("a", "b")), Outcome("busy"), Outcome("done", ("7",))), 7)
    assert rung == [("gateway.route", 7, "a"), ("gateway.route", 7, "b")]
    with pytest.raises(AssertionError, match="no row in FLOW"):
        follow(app, "reconcile.cycle", (Outcome("gibberish"),), 7)


@dataclass(slots=True)
class HandClock:
    """A clock that shows what the test sets."""

    at_ns: int = 0

    def now_ns(self) -> int:
        """Return it."""
        return self.at_ns


def test_beat_gives_a_cycle_its_slot_and_a_sweep_the_instant_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay that is behind its clock: what a sweep brings to an end happens where the data are."""
    clock, data_ns = HandClock(1_250 * SECOND_NS), 777 * SECOND_NS
    reconcile = SimpleNamespace(interval_s=600)
    fix = SimpleNamespace(drop_copy="")
    given = SimpleNamespace(reconcile=reconcile, fix=fix)
    house = SimpleNamespace(clock=lambda: clock, now_ns=lambda: data_ns, settings=given)
    sent: dict[str, int] = {}
    monkeypatch.setattr(schedule, "house", lambda: house)
    monkeypatch.setattr(app, "send_task", lambda name, kwargs, **_: sent.update({name: kwargs["now_ns"]}))
    beat = SlotScheduler(app=app)
    for entry in beat.schedule.values():
        beat.apply_async(entry)
    assert sent == {"reconcile.cycle": 1_200 * SECOND_NS, "sweep.run": data_ns, "audit.chain": data_ns}
    fix.drop_copy = "US-DC"
    assert "copies.compare" in SlotScheduler(app=app).schedule


def test_a_slot_fires_once() -> None:
    """Looked at ever so often; with the slot's own instant; a slot slept through is left out, not made up for."""
    hand = HandClock(65 * SECOND_NS)
    clock: Clock = hand
    slots = Slots(lambda: clock, 60 * SECOND_NS)
    fired = []
    for second in (66, 119, 120, 121, 150, 179, 180, 180, 400, 401, 420):
        hand.at_ns = second * SECOND_NS
        due, _ = slots.is_due(datetime.now(UTC))
        if due:
            fired.append((second, slots.slot_ns // SECOND_NS))
    assert fired == [(120, 120), (180, 180), (400, 360), (420, 420)]


def test_two_beats_send_the_same_instants() -> None:
    """Whenever each looks: what a slot does is keyed by its instant, so the second message does nothing."""
    hand = HandClock(0)
    clock: Clock = hand
    fired: list[list[int]] = [[], []]
    beats = [Slots(lambda: clock, 60 * SECOND_NS) for _ in fired]
    for second in range(0, 600, 7):
        for number, beat in enumerate(beats):
            hand.at_ns = (second + 3 * number) * SECOND_NS
            if beat.is_due(datetime.now(UTC))[0]:
                fired[number].append(beat.slot_ns)
    assert fired[0] == fired[1] == [minute * 60 * SECOND_NS for minute in range(1, 10)]


def test_a_clock_that_is_turned_back_fires_nothing_by_it() -> None:
    """A replay that is taken up with another origin: a slot comes again only when its own time has come again."""
    hand = HandClock(120 * SECOND_NS)
    clock: Clock = hand
    slots = Slots(lambda: clock, 60 * SECOND_NS)
    hand.at_ns = 61 * SECOND_NS
    assert not slots.is_due(datetime.now(UTC))[0]
    hand.at_ns = 119 * SECOND_NS
    assert not slots.is_due(datetime.now(UTC))[0]
    hand.at_ns = 120 * SECOND_NS
    assert slots.is_due(datetime.now(UTC))[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import workers.app"),
        ("-c", "import workers.worker"),
        ("-c", "import workers.replay"),
        ("-c", "from workers.sessions import fix"),
        ("-m", "trisagion.cli.main", "--version"),
    ],
)
def test_nothing_starts_without_its_assertions(arguments: tuple[str, ...]) -> None:
    """`python -O` is refused with a word why, by everything that can touch an order."""
    environment = {**os.environ, "PYTHONOPTIMIZE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "python -O" in done.stderr
