"""The processes of the platform: the workers' own tasks, wiring, sink and FIX session, on the world's time.

Celery, the FIX engine, the clocks and the database's server are taken out at the seams listed in `seams`; everything
between them is what runs in production.
"""

import random as random_module
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from threading import Event, Lock
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import quickfix

from tests.fakes import Died
from tests.simulation.line import Engine, Wire
from tests.simulation.plan import Plan
from tests.simulation.store import Door, Server
from tests.simulation.world import Process, World, seconds
from trisagion import wiring
from trisagion.adapters.db import engine as db_engine
from trisagion.adapters.venues.fix import initiator
from trisagion.adapters.venues.fix import session as session_base
from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner, StateError
from trisagion.gateway.words import EXECUTION_REPORT, ORDER_CANCEL_REJECT, Tag, instant
from trisagion.services.drive_session import LEASE_S, SessionDriver
from trisagion.settings import Settings
from trisagion.wiring import House
from workers import app as workers_app
from workers import tasks
from workers.queues import SESSION_TASKS
from workers.schedule import SCHEDULE
from workers.sessions import fix as session_fix
from workers.sessions import owner as session_owner
from workers.sessions import venue as session_venue
from workers.tasks import cohort as cohort_tasks
from workers.tasks import gateway as gateway_tasks
from workers.tasks import reconcile as reconcile_tasks
from workers.tasks import session as session_tasks
from workers.tasks import sweep as sweep_tasks
from workers.tasks import take_profit as take_profit_tasks

GUARD_S: Final = LEASE_S / 3
"""How often an owner renews its lease. In production it also looks at the mode, twenty times as often."""
AWAIT_S: Final = 3.0
"""How often an owner without the lease tries to take it; in production ten times a second."""
SWEEP_S: Final = next(float(entry.every_s) for entry in SCHEDULE if entry.task == "sweep.run" and entry.every_s)
NAMES: Final = ("worker-a", "worker-b", "owner-a", "owner-b")

HOUSES: Final = (
    workers_app,
    cohort_tasks,
    gateway_tasks,
    reconcile_tasks,
    session_tasks,
    sweep_tasks,
    take_profit_tasks,
    session_fix,
    session_venue,
)
"""The modules that know their process' wiring by name."""

_LOCK: Final = type(Lock())

tasks.load_stages()


class Directory:
    """The session's store directory, as the adapter's `Store`: one process at a time."""

    def __init__(self, wire: Wire, process: Process) -> None:
        if wire.store_owner is not None:
            raise StateError("the session's directory is in use by another process")
        wire.store_owner = process
        self.dictionary = None

    def settings(self, _sender: str, _target: str, own: Mapping[str, str]) -> Mapping[str, str]:
        """Nothing is configured here."""
        return own

    def bound_log(self) -> None:
        """There is no log."""

    def close(self) -> None:
        """It is freed when its process ends."""


class _NoThread:
    """A thread that looks at the clock; the clock goes on steadily here."""

    def __init__(self, **_: object) -> None:
        pass

    def start(self) -> None:
        """Not."""


class _DataTime:
    """Module `time` by the world's clock."""

    def __init__(self, world: World) -> None:
        self.world = world

    def time_ns(self) -> int:
        """Return the wall's instant."""
        return self.world.now_ns

    def time(self) -> float:
        """Return the wall's instant in seconds."""
        return self.world.now_ns / SECOND_NS

    def monotonic(self) -> float:
        """Return seconds since the world began, without those that were left out."""
        return (self.world.now_ns - self.world.start_ns - self.world.skipped_ns) / SECOND_NS

    perf_counter = monotonic

    def sleep(self, wait_s: float) -> None:
        """Let time pass."""
        self.world.pause(seconds(wait_s))


@dataclass(eq=False)
class Platform:
    """All processes, and what is between them."""

    world: World
    server: Server
    wire: Wire
    plan: Plan
    settings: Settings
    healed: bool = False

    def __post_init__(self) -> None:
        self.random = self.world.stream("processes")
        self.time = _DataTime(self.world)
        self.broker = Broker(self)
        self.lives: dict[str, Process] = {}

    def begin(self) -> None:
        """Start everything."""
        for name in NAMES:
            self.start(name)
        self.world.every(seconds(SWEEP_S), lambda: self.broker.publish("sweep.run", self.world.now_ns, ""))

    def start(self, name: str) -> None:
        """Start a process; when it dies it is started again."""
        life = self.lives[name].life + 1 if name in self.lives else 1
        process = self.lives[name] = Process(name, life)
        self.world.tell(f"{process} starts")
        process.house = House(self.settings)
        door = Door(self.server, process, self.plan, self.world.stream(f"{process}/door"))
        vars(process.house)["database"] = door
        process.on_death.append(partial(self._bury, process))
        if name.startswith("owner"):
            owner = Owner(self, process)
            self.world.after(0, owner.await_lease, process)

    def _bury(self, process: Process) -> None:
        again_s = 1.0 if self.healed else self.random.choice([0.5, 2.0, 8.0, 20.0])
        self.world.after(seconds(again_s), partial(self.start, process.name))

    def hurt(self, plan: Plan) -> None:
        """From now on goes wrong what is in a plan."""
        self.world.tell("=== faults begin ===")
        self.healed = self.wire.healed = self.server.healed = False
        self.plan = self.wire.plan = self.broker.plan = plan
        for process in self.lives.values():
            process.house.database.plan = plan

    def heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self.world.tell("=== the faults end ===")
        self.healed = self.wire.healed = self.server.healed = True
        self.server.down_until_ns = 0
        for process in self.lives.values():
            process.frozen_until_ns = 0
            self.world.thaw(process)

    @contextmanager
    def seams(self) -> Iterator[None]:
        """Put the world in the place of broker, engine, clocks and of what each process keeps to itself."""
        world = self.world

        def house() -> House:
            assert world.running is not None
            found: House = world.running.house
            return found

        def driver() -> SessionDriver:
            assert world.running is not None and world.running.driver is not None
            found: SessionDriver = world.running.driver
            return found

        def engine(*_: object) -> Engine:
            assert world.running is not None
            found: Engine = world.running.engine
            return found

        sessions = SimpleNamespace(lookupSession=engine, sendToTarget=lambda fields, _: engine().send(fields))
        fix = SimpleNamespace(
            Session=sessions,
            SessionID=lambda *names: names,
            ThreadedSocketInitiator=None,
            DoNotSend=quickfix.DoNotSend,
            UnsupportedMessageType=quickfix.UnsupportedMessageType,
        )
        virtual_random = SimpleNamespace(uniform=world.stream("backoff").uniform, Random=random_module.Random)
        replaced: list[tuple[Any, str, Any]] = [
            *((module, "house", house) for module in HOUSES),
            (session_owner, "driver", driver),
            (workers_app, "log", SimpleNamespace(error=self._not_done)),
            (workers_app.app, "send_task", self.broker.send_task),
            (wiring, "SystemClock", lambda: SimpleNamespace(now_ns=self.time.time_ns)),
            (wiring, "socket", SimpleNamespace(gethostname=lambda: str(self._running()))),
            (db_engine, "time", self.time),
            (db_engine, "random", virtual_random),
            (initiator, "time", self.time),
            (initiator, "fix", fix),
            (initiator, "encode", lambda fields, _: fields),
            (initiator, "decode", lambda fields, **_: dict(fields)),
            (initiator, "off_ns", lambda fields: self.world.now_ns - instant(fields, Tag.SENDING_TIME)),
            (initiator, "kind_of", lambda fields: fields[Tag.MSG_TYPE]),
            (session_base, "fix", fix),
            (session_base, "threading", SimpleNamespace(Event=Event, Thread=_NoThread)),
            (session_base, "Store", lambda *_, **__: Directory(self.wire, self._running())),
            (session_base, "Connection", self._engine),
            (session_base, "bound_sending", lambda *_: None),
            (session_base, "kind_of", lambda fields: fields[Tag.MSG_TYPE]),
            (session_base, "edge", self._edge),
        ]
        with ExitStack() as stack:
            for module, name, value in replaced:
                stack.enter_context(patch.object(module, name, value))
            stack.enter_context(patch.dict("os.environ", {"TRISAGION_SESSION_STORE": "simulated"}))
            yield

    def _not_done(self, *_: object) -> None:
        """Hear, from within the handler, why a task was not done; only what the world did to it is no bug."""
        error = sys.exc_info()[1]
        self.world.tell(f"failed: {type(error).__name__}: {error}")
        if not isinstance(error, StateError | StaleOwner):
            self.world.violated("CRASH", f"{type(error).__name__}: {error}")

    def _running(self) -> Process:
        assert self.world.running is not None
        return self.world.running

    def _engine(self, _kind: object, application: Any, *_: object) -> Engine:
        process = self._running()
        return Engine(self.wire, application, process, self.world.stream(f"{process}/engine"))

    @contextmanager
    def _edge(self) -> Iterator[None]:
        """End the process with the message unprocessed, as `engine.edge` does."""
        try:
            yield
        except Died:
            raise
        except (StateError, StaleOwner) as error:
            self.world.tell(f"ends: {type(error).__name__}: {error}")
            raise Died from error
        except Exception as error:  # the outermost edge of a session
            self.world.violated("CRASH", f"{type(error).__name__}: {error}")
            raise Died from error


class Owner:
    """What `workers.sessions.venue.VenueOwner` does, without its threads."""

    def __init__(self, platform: Platform, process: Process) -> None:
        self.platform = platform
        self.process = process
        self.world = platform.world
        self.sink = session_venue.Sink()
        self.deadline_s = platform.time.monotonic() + 2 * LEASE_S

    def await_lease(self) -> None:
        """Take the lease, or end when it is not to be had."""
        if self.process.driver is None:
            self.session = session_fix.fix_session(self.sink)
            monotonic = self.platform.time.monotonic
            self.sink.driver = self.process.driver = SessionDriver(
                self.process.house.database,
                self.session,
                self.process.house.session_name,
                str(self.process),
                bucket=self.process.house.bucket(monotonic()),
                clock=monotonic,
                wall=self.platform.time.time_ns,
            )
        try:
            self.process.driver.lease()
        except StateError as error:
            self.world.tell(f"ends: {error}")
            raise Died from error
        except StaleOwner as error:
            if self.platform.time.monotonic() > self.deadline_s:
                self.world.tell("ends: the lease is not to be had")
                raise Died from error
            self.world.after(seconds(AWAIT_S), self.await_lease, self.process, idle=True)
            return
        self.world.tell(f"owns the session with token {self.process.driver.token}")
        self.world.every(seconds(GUARD_S), self.guard, self.process)
        try:
            self.session.start()
        except StateError as error:
            self.world.tell(f"ends: {error}")
            raise Died from error
        self.process.engine.hindered = self.hindered

    def hindered(self, fields: Mapping[int, str]) -> bool:
        """Tell whether another thread of the process holds what handling the message needs."""
        reports = fields[Tag.MSG_TYPE] in {EXECUTION_REPORT, ORDER_CANCEL_REJECT}
        return locked(self.process) and (not reports or Tag.MASS_STATUS_REQ_ID in fields)

    def guard(self) -> None:
        """Renew the lease, look at the mode, send what had to wait."""
        if locked(self.process):
            return
        driver = self.process.driver
        try:
            driver.lease()
            driver.watch(self.world.now_ns)
            if not locked(self.process):
                driver.enforce(self.world.now_ns)
            if not locked(self.process):
                driver.pump(self.world.now_ns)
        except StaleOwner as error:
            self.world.tell(f"ends: {error}")
            raise Died from error
        except StateError as error:
            self.world.tell(f"the guard sees nothing: {error}")


def locked(process: Process) -> bool:
    """Tell whether a thread of the process holds one of the driver's locks; it is suspended beneath whoever asks."""
    driver = process.driver
    held = (getattr(driver, name) for name in driver.__dataclass_fields__)
    return any(isinstance(lock, _LOCK) and lock.locked() for lock in held)


class Broker:
    """A doorbell: what is rung may be lost, come several times, late, and in any order."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.world = platform.world
        self.random: Random = self.world.stream("broker")
        self.plan = platform.plan
        self._flushed = 0

    def send_task(self, name: str, kwargs: Mapping[str, Any], **_: object) -> None:
        """Take what Celery's `send_task` takes."""
        self.publish(name, kwargs["now_ns"], kwargs["subject"])

    def publish(self, name: str, now_ns: int, subject: str) -> None:
        """Ring a task."""
        copies = 1
        if not self.platform.healed:
            if self.random.random() < self.plan.lost:
                self.world.tell(f"the broker loses {name} {subject}")
                return
            if self.random.random() < self.plan.doubled:
                copies = self.random.choice([2, 2, 3, 10])
        for _ in range(copies):
            self.world.after(self._delay_ns(), partial(self._deliver, name, now_ns, subject, self._flushed, 0))

    def flush(self) -> None:
        """Lose everything that waits."""
        self.world.tell("the broker forgets everything")
        self._flushed += 1

    def _delay_ns(self) -> int:
        if not self.platform.healed and self.random.random() < self.plan.delayed:
            return seconds(self.random.choice([0.1, 1.0, 5.0, 30.0, 90.0]))
        return seconds(0.002 + 0.003 * self.random.random())

    def _deliver(self, name: str, now_ns: int, subject: str, flushed: int, waited: int) -> None:
        if flushed != self._flushed:
            return
        process = self._taker(name)
        if process is None:
            # Ten looks a second at first; a queue whose reader is away for long is looked at less often.
            look_s = 0.1 if waited < 10 else 1.0
            self.world.after(seconds(look_s), partial(self._deliver, name, now_ns, subject, flushed, waited + 1))
            return
        self.world.after(0, partial(self._do, process, name, now_ns, subject, flushed), process)

    def _taker(self, name: str) -> Process | None:
        lives = self.platform.lives.values()
        kind = "owner" if name in SESSION_TASKS else "worker"
        ready = [
            process
            for process in lives
            if process.name.startswith(kind)
            and not (process.dead or process.busy or process.frozen_until_ns > self.world.now_ns)
            and (kind == "worker" or (process.engine is not None and not locked(process)))
        ]
        return self.random.choice(ready) if ready else None

    def _do(self, process: Process, name: str, now_ns: int, subject: str, flushed: int) -> None:
        if process.busy or (process.driver is not None and name in SESSION_TASKS and locked(process)):
            self._deliver(name, now_ns, subject, flushed, 0)
            return
        process.busy = True
        self.world.tell(f"does {name} {subject}")
        run: Callable[[int, str], None] = workers_app.app.tasks[name].run
        try:
            run(now_ns, subject)
        except Died:
            # Acknowledged late: what a lost worker had in hand comes again.
            if self.random.random() < 0.5:
                self.world.after(self._delay_ns(), partial(self._deliver, name, now_ns, subject, flushed, 0))
            raise
        finally:
            process.busy = False
