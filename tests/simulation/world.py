"""Virtual time for a whole platform in one thread: one queue of events, processes that die, freeze and come back.

Theory of operation. Code of the platform runs as it is, from its call to its return, at one instant. Where it meets the
outside – a transaction, a wait – it calls `World.pause`, and time passes inside it: other events run, nested in the
paused call, until it is its turn again. So anything may happen between two transactions of a service, as if its process
had been held up there. A process that is killed meanwhile never returns from its pause: `Died` is raised in it.

Pauses nest, so the one that began last ends first; an earlier one is only longer for it. Everything that happens is
drawn from the seed, and the same seed gives the same story to the last character.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

from tests.fakes import Died
from trisagion.clock import SECOND_NS, iso

DEPTH_MAX: Final = 25
"""Pauses within pauses; Python's own stack holds about four times as many."""


def seconds(value: float) -> int:
    """Return a duration in nanoseconds."""
    return round(value * SECOND_NS)


@dataclass(eq=False)
class Process:
    """One life of a process: what is started again after a death is another one, of the next `life`."""

    name: str
    life: int
    dead: bool = False
    frozen_until_ns: int = 0
    busy: bool = False
    house: Any = None
    driver: Any = None
    engine: Any = None
    on_death: list[Callable[[], None]] = field(default_factory=list)
    backlog: list["Event"] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name}.{self.life}"

    def die(self) -> None:
        """End; what it holds on this machine goes with it."""
        if not self.dead:
            self.dead = True
            for last in self.on_death:
                last()


@dataclass(order=True, slots=True)
class Event:
    """Something to do at an instant; of one process, or of the world around it; what goes on for ever is `idle`."""

    at_ns: int
    number: int
    what: Callable[[], None] = field(compare=False)
    process: Process | None = field(compare=False)
    idle: bool = field(compare=False)


class World:
    """The queue, the clock, the processes' fates and the story of it all."""

    def __init__(self, seed: int, start_ns: int) -> None:
        self.seed = seed
        self.start_ns = self.now_ns = start_ns
        self.story: list[str] = []
        self.violations: list[tuple[str, str, int]] = []
        self.running: Process | None = None
        self.depth = 0
        self.busy = 0
        self.skipped_ns = 0
        self._events: list[Event] = []
        self._number = 0

    def stream(self, name: str) -> Random:
        """Return random numbers for one purpose, so that a change elsewhere does not move them."""
        return Random(f"{self.seed}/{name}")

    def tell(self, text: str) -> None:
        """Add a line to the story."""
        who = f"{self.running}: " if self.running else ""
        self.story.append(f"{len(self.story):6d} {iso(self.now_ns)} {'| ' * self.depth}{who}{text}")

    def violated(self, invariant: str, text: str) -> None:
        """Record that an invariant does not hold."""
        self.tell(f"VIOLATION {invariant}: {text}")
        self.violations.append((invariant, text, len(self.story) - 1))

    def after(
        self, delay_ns: int, what: Callable[[], None], process: Process | None = None, *, idle: bool = False
    ) -> None:
        """Do something later; nothing if the process is dead by then."""
        self._number += 1
        self._push(Event(self.now_ns + delay_ns, self._number, what, process, idle))

    def _push(self, event: Event) -> None:
        self.busy += not event.idle
        heapq.heappush(self._events, event)

    def every(self, period_ns: int, what: Callable[[], None], process: Process | None = None) -> None:
        """Do something again and again."""

        def again() -> None:
            self.after(period_ns, again, process, idle=True)
            what()

        self.after(period_ns, again, process, idle=True)

    def run(self, until_ns: int) -> None:
        """Let time pass."""
        while self._events and self._events[0].at_ns <= until_ns:
            self._next()
        self.now_ns = max(self.now_ns, until_ns)

    def run_until(self, done: Callable[[], bool], until_ns: int) -> bool:
        """Let time pass until nothing but the idle is left to do and all is `done`, or an instant; tell which."""
        while self.busy or not done():
            if not self._events or self._events[0].at_ns > until_ns:
                self.now_ns = max(self.now_ns, until_ns)
                return False
            self._next()
        return True

    def skip(self, until_ns: int) -> None:
        """Leave time out in which only the idle would have happened: what is to come comes so much later."""
        assert not self.busy and not self.depth, "time is left out while something is under way"
        delta_ns = until_ns - self.now_ns
        assert delta_ns >= 0, delta_ns
        for event in self._events:
            event.at_ns += delta_ns
        self.skipped_ns += delta_ns
        self.now_ns = until_ns

    def _next(self) -> None:
        event = heapq.heappop(self._events)
        self.busy -= not event.idle
        self.now_ns = max(self.now_ns, event.at_ns)
        self._do(event)

    def pause(self, delay_ns: int) -> None:
        """Let time pass inside the code that runs; `Died` if its process does not live to see the end of it."""
        running = self.running
        if self.depth < DEPTH_MAX:
            self.depth += 1
            try:
                self.run(self.now_ns + delay_ns)
                while running is not None and not running.dead and running.frozen_until_ns > self.now_ns:
                    self.run(running.frozen_until_ns)
            finally:
                self.depth -= 1
                self.running = running
        if running is not None and running.dead:
            raise Died

    def thaw(self, process: Process) -> None:
        """Let a process that is stopped no longer do what waited for it, in its order."""
        if process.frozen_until_ns > self.now_ns:
            self.after(process.frozen_until_ns - self.now_ns, partial(self.thaw, process))
            return
        for event in process.backlog:
            event.at_ns = self.now_ns
            self._push(event)
        process.backlog.clear()

    def _do(self, event: Event) -> None:
        process = event.process
        if process is not None and process.dead:
            return
        if process is not None and process.frozen_until_ns > self.now_ns:
            if not process.backlog:
                self.after(process.frozen_until_ns - self.now_ns, partial(self.thaw, process))
            process.backlog.append(event)
            return
        before, self.running = self.running, process
        try:
            event.what()
        except Died:
            if process is None:
                raise
            self.tell("dies")
            process.die()
        finally:
            self.running = before
