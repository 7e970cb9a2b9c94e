"""The replay driver: publishes the data minute by minute and lets nothing move before everything has come to rest.

`python -m workers.replay` is started by `trisagion run`. Each instant of the data is one step:

1. the venue plays the tape up to the instant, and every execution report of it is booked;
2. the minute is published; features, cohort and account follow;
3. at the reconciliation interval a cycle runs (sent by beat when the replay is paced, by the driver when it is not).

Several instruments share one clock: an instant is a step when any of them has one, and a minute is published whole.

The driver reads from the database whether a step is complete, and rings again for what is overdue. So the same data
and seed give the same decisions, fills and equity at any speed, and after any crash of the others the step completes.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trisagion.adapters.dataspec import DataSpec, dataset
from trisagion.adapters.exchanges import with_closures
from trisagion.adapters.files import digest_of_all, load
from trisagion.adapters.venues.control import VenueControl
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS, ReplayClock, floor_ns, iso
from trisagion.errors import StepTimeout, TrisagionError, VenueMistake
from trisagion.market.bars import minutes
from trisagion.market.calendar import closing_reason
from trisagion.market.types import MarketStep, Tape
from trisagion.ports import Replay
from trisagion.safety.modes import REPLAY, Level, Mode
from trisagion.services import control
from trisagion.services.close_symbols import close_symbols
from trisagion.services.ingest_market import write_steps
from trisagion.services.replay import begin, mark, otherwise_held, protecting, unsettled
from trisagion.settings import digest as settings_digest
from trisagion.units import money
from workers.app import app, house
from workers.flow import ring

POLL_S: Final = 0.0005
POLL_SLOW_S: Final = 0.005
FAST_POLLS: Final = 60
RING_AGAIN_S: Final = 2.0
CHAIN_S: Final = 5.0
"""How often, by the machine's time, the audit chain is rung for where there is no beat."""

LATE_S: Final = 0.5
"""Twice as long as beat looks away: its message for an instant that passed before that was sent."""

STEP_S_MAX: Final = 120.0
"""A step that takes longer is given up: everything that can crash restarts within seconds."""

HEAR_S: Final = 3.0
"""How long a run that was killed waits for the last words on its positions; an answer takes milliseconds."""

QUIET_GAP_NS: Final = HOUR_NS
"""After an hour without a trade nothing can change: no run is fresh, nothing works.

The replay goes on with the next trade.
"""

FLATTEN_ROUNDS_MAX: Final = 10

ENDS: Final = frozenset({Mode.PAUSE, Mode.EMERGENCY})
"""The modes in which a replay ends: an operator wants nothing to trade."""


@dataclass(slots=True)
class Driver:
    """Drives one replay from where the database says it stands; `tapes` are in order of symbol."""

    tapes: Sequence[Tape]
    replay: Replay
    venue: VenueControl
    stop: Path
    executions: int = 0
    chained_s: float = 0.0

    @property
    def paced(self) -> bool:
        """Whether the data's time passes with the machine's."""
        return self.replay.speed > 0

    def run(self) -> str:
        """Replay to the end, a stop or a kill; return "finished", "stopped" or "killed"."""
        database = house().database
        clock = ReplayClock(self.replay.start_ns, self.replay.speed, self.replay.origin_ns)
        for at_ns, steps in self._instants():
            if self.paced:
                self._wait_until(clock, at_ns)
            if (ended := self._ended()) is not None:
                return ended
            self._step(at_ns, steps, late=clock.now_ns() - at_ns > LATE_S * SECOND_NS * self.replay.speed)
            mark(database, at_ns)
            self._chain(at_ns)
        if (ended := self._ended()) is not None:
            return ended
        outcome = self._stop("finished")
        mark(database, house().now_ns(), finished=True)
        return outcome

    def _instants(self) -> Iterator[tuple[int, tuple[MarketStep, ...]]]:
        """Yield every minute with trades and every reconciliation instant near one, after the last complete step.

        With the steps of all instruments that traded in it, none at an instant near one.
        """
        interval_ns = house().settings.reconcile.interval_s * SECOND_NS
        previous_ns = 0
        for at_ns, steps in minutes(self.tapes):
            if previous_ns:
                due_ns = floor_ns(previous_ns, interval_ns) + interval_ns
                while due_ns < min(at_ns, previous_ns + QUIET_GAP_NS):
                    if due_ns > self.replay.now_ns:
                        yield due_ns, ()
                    due_ns += interval_ns
            previous_ns = at_ns
            if at_ns > self.replay.now_ns:
                yield at_ns, steps

    def _wait_until(self, clock: ReplayClock, at_ns: int) -> None:
        """Let the venue play along with the clock until it shows `at_ns`, or somebody wants the replay to end."""
        while (now_ns := clock.now_ns()) < at_ns and not self.stop.exists() and self._mode() not in ENDS:
            self._play(now_ns)
            time.sleep(min(0.5, max(0.001, (at_ns - now_ns) / SECOND_NS / self.replay.speed)))

    def _mode(self) -> Mode:
        with house().database.snapshot() as tx:
            return tx.control.control().mode

    def _ended(self) -> str | None:
        """End the replay where somebody wants it: "stopped", "killed", None when nobody does."""
        if (mode := self._mode()) in ENDS:
            return self._killed(mode)
        return self._stop("stopped") if self.stop.exists() else None

    def _step(self, at_ns: int, steps: Sequence[MarketStep], *, late: bool) -> None:
        self._play(at_ns)
        self._await(lambda: unsettled(house().database, house().session_name, self.executions), self._sweep(at_ns))
        interval_ns = house().settings.reconcile.interval_s * SECOND_NS

        def publish() -> None:
            if steps:
                ring(app, "market.ingest", at_ns, write_steps(steps))
            else:
                ring(app, "take_profit.watch", at_ns)
                for number in range(house().settings.cohort.shards):
                    ring(app, "cohort.advance", at_ns, str(number))

        publish()
        self._await(
            lambda: unsettled(
                house().database, house().session_name, self.executions, cohort_ns=at_ns, equity_ns=at_ns
            ),
            publish,
        )
        forced = house().flattening(at_ns) or protecting(house().database, at_ns) or self._is_closing(at_ns)
        if at_ns % interval_ns == 0 or forced:
            self._cycle(at_ns, ring_first=late or not self.paced)
        self._close(at_ns)

    def _is_closing(self, at_ns: int) -> bool:
        """Tell whether orders work at the edge of a rest: a cycle withdraws them before the data go on.

        The session's guard does it too, at the machine's pace; so no pace changes what is filled.
        """
        return closing_reason(at_ns) is not None and control.working(house().database) > 0

    def _close(self, at_ns: int) -> None:
        """Wait until nothing works in an instrument whose exchange is closing; no other is decided on for that."""
        closing = house().retrying(lambda: close_symbols(house().database, at_ns))
        if not closing:
            return

        def working() -> str | None:
            left = [name for name in closing if control.working(house().database, Level.SYMBOL, name)]
            return f"the end of all orders in {', '.join(left)}, whose exchange is closing" if left else None

        self._sweep(at_ns)()
        self._await(working, self._sweep(at_ns))

    def _cycle(self, due_ns: int, *, ring_first: bool) -> None:
        """Wait for the cycle due now; one that beat sent before its minute was complete came to nothing."""

        def send() -> None:
            ring(app, "reconcile.cycle", due_ns)
            self._sweep(due_ns)()

        if ring_first:
            ring(app, "reconcile.cycle", due_ns)
            self._compare(due_ns)
        self._await(
            lambda: unsettled(house().database, house().session_name, self.executions, cycle_ns=due_ns),
            send,
            again_s=LATE_S if self.paced else RING_AGAIN_S,
        )

    def _sweep(self, now_ns: int) -> Callable[[], None]:
        def again() -> None:
            ring(app, "sweep.run", now_ns)
            self._compare(now_ns)

        return again

    def _compare(self, now_ns: int) -> None:
        """Do what beat does when the replay is paced; its graces are the machine's time, so no pace changes a word."""
        if house().settings.fix.drop_copy:
            ring(app, "copies.compare", now_ns)

    def _chain(self, now_ns: int) -> None:
        """Do what beat does when the replay is paced; what is linked late is recorded all the same."""
        if not self.paced and time.monotonic() - self.chained_s > CHAIN_S:
            self.chained_s = time.monotonic()
            ring(app, "audit.chain", now_ns)

    def _play(self, until_ns: int) -> None:
        """Have the venue play the tape; it may be restarting, so ask until it answers."""
        deadline = time.monotonic() + STEP_S_MAX
        while True:
            try:
                self.executions = self.venue.play(until_ns).executions
                return
            except (VenueMistake, StepTimeout, OSError) as error:
                if time.monotonic() > deadline:
                    raise StepTimeout(f"the venue did not play up to {iso(until_ns)}: {error}") from error
                time.sleep(0.1)

    def _await(
        self, missing: Callable[[], str | None], again: Callable[[], None], again_s: float = RING_AGAIN_S
    ) -> None:
        """Wait until nothing is missing; ring again for what is overdue; give up after `STEP_S_MAX`."""
        database = house().database
        begun = ringed = time.monotonic()
        seen: Any = object()
        polls = 0
        what: str | None = None
        while True:
            version = database.version()
            if version is None or version != seen or polls % 50 == 0:
                seen = version
                what = missing()
                if what is None:
                    return
            polls += 1
            now = time.monotonic()
            if now - begun > STEP_S_MAX:
                raise StepTimeout(f"after {STEP_S_MAX:.0f} s the replay still waits for {what}")
            if now - ringed > again_s:
                ringed = now
                again()
            time.sleep(POLL_S if polls < FAST_POLLS else POLL_SLOW_S)

    def _stop(self, outcome: str) -> str:
        """Withdraw all working orders and wait until the venue confirms that none is left."""
        now_ns = house().now_ns()
        control.engage(house().database, Mode.PAUSE, REPLAY, f"replay {outcome}", now_ns)
        self._await_none_working(now_ns)
        return outcome

    def _killed(self, mode: Mode) -> str:
        """Obey an operator: nothing working; in Emergency also flat, in cycles of their own."""
        now_ns = house().now_ns()
        self._await_none_working(now_ns)
        for turn in range(1, FLATTEN_ROUNDS_MAX + 1):
            with house().database.snapshot() as tx:
                flat = all(position.qty == 0 for position in tx.ledger.positions())
            if mode is not Mode.EMERGENCY or flat:
                break
            self._flatten(now_ns + turn)
        self._await_none_working(now_ns)
        self._hear(now_ns)
        return "killed"

    def _hear(self, now_ns: int) -> None:
        """Have venue and drop copy say what we hold where something was filled since: no release is green before.

        There is nobody to ask once the run has ended. A difference that is real stays one, and is not waited for.
        """
        observers = house().cycle_rules.asked
        for session in otherwise_held(house().database, observers):
            ring(app, "session.observe", now_ns, session)
        deadline = time.monotonic() + HEAR_S
        while otherwise_held(house().database, observers) and time.monotonic() < deadline:
            time.sleep(POLL_SLOW_S)

    def _flatten(self, due_ns: int) -> None:
        ring(app, "take_profit.watch", due_ns)
        self._await(
            lambda: unsettled(house().database, house().session_name, self.executions, equity_ns=due_ns),
            lambda: ring(app, "take_profit.watch", due_ns),
        )
        ring(app, "reconcile.cycle", due_ns)
        self._await(
            lambda: unsettled(house().database, house().session_name, 0, cycle_ns=due_ns),
            lambda: ring(app, "reconcile.cycle", due_ns),
        )

    def _await_none_working(self, now_ns: int) -> None:
        def missing() -> str | None:
            count = control.working(house().database)
            if count:
                return f"{count} working orders"
            at_venue = self.venue.status()["working"]
            return f"{len(at_venue)} orders at the venue" if at_venue else None

        self._await(missing, self._sweep(now_ns))


def main() -> int:
    """Run the replay that the settings and the environment describe; say each change of state as a JSON line."""
    settings = house().settings
    specs = [DataSpec.from_json(text) for text in os.environ["TRISAGION_DATA_SPEC"].split("\n")]
    tapes = sorted(map(load, specs), key=lambda tape: tape.instrument.symbol)
    speed = 0.0 if settings.replay.speed == "max" else float(settings.replay.speed)
    start_ns = floor_ns(min(int(tape.ts_ns[0]) for tape in tapes), MINUTE_NS)
    end_ns = floor_ns(max(int(tape.ts_ns[-1]) for tape in tapes), MINUTE_NS) + MINUTE_NS
    traded = [tape.instrument for tape in tapes]
    instruments = with_closures(traded, settings.calendar.exchanges, start_ns, end_ns)
    with house().database.snapshot() as tx:
        known = tx.control.replay()
    come = (known.now_ns - start_ns) if known else 0
    replay = Replay(
        dataset=dataset(specs),
        digest=digest_of_all(specs, instruments),
        seed=settings.replay.seed,
        settings_digest=settings_digest(settings),
        start_ns=start_ns,
        end_ns=end_ns,
        now_ns=start_ns,
        speed=speed,
        origin_ns=time.time_ns() - int(come / speed) if speed else 0,
        finished=False,
    )
    survivors = house().survivors(instruments) if known is None else ()
    equity = money(settings.account.equity)
    replay = begin(house().database, replay, instruments, equity, house().cohort_rules, house().limits, survivors)
    venue = VenueControl(Path(os.environ["TRISAGION_VENUE_CONTROL"]))
    outcome = Driver(tapes, replay, venue, stop=Path(os.environ["TRISAGION_STOP"])).run()
    Path(os.environ["TRISAGION_VENUE_LEDGER"]).write_text(json.dumps(venue.status()), encoding="utf-8")
    print(json.dumps({"outcome": outcome}), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TrisagionError as error:
        print(f"trisagion: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
