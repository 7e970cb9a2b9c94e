"""A long life: days of virtual time, of which only the moments are lived in which something happens.

Theory of operation. The wake-ups are the minutes that the market trades in, the slots of the cycle, and the acts of
people. At each the world is given its events and runs until nothing is under way any more; then all clocks but the
calendar's stand still until the next one. So a year costs what happens in it: no heart-beat is sent a million times.
What is left out is told to nobody: leases and counts of seconds go on as if it had not been.

Most slots are calm. In some the weather is that of a short world (`plan.draw`): everything fails for a minute or two,
at the rates of its own seed, and then has to come to rest. What the platform does in the calm is judged without mercy,
what it does in a storm by what must hold always.
"""

import hashlib
import heapq
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, Final

from tests.simulation.chronicle import Chronicle
from tests.simulation.faults import Faults
from tests.simulation.house import Platform
from tests.simulation.line import Wire
from tests.simulation.office import CLEARER, LongMarket, Office, clearer_key
from tests.simulation.plan import draw
from tests.simulation.store import Server
from tests.simulation.world import World, seconds
from trisagion.clock import MINUTE_NS, SECOND_NS, iso
from trisagion.ids import cycle_id
from trisagion.market.calendar import CLOSING_NS, closing_reason, rest_reason
from trisagion.safety.modes import Mode
from trisagion.services import control
from trisagion.settings import Settings

SLOT_NS: Final = 600 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS
STORY_MAX: Final = 4000
"""Lines of the story that are kept: a year has millions."""
TOLD: Final = 60
"""Lines before a violation that are told with it."""
AGAIN_S: Final = (1.0, 2.0, 2.0, 5.0, 10.0, 10.0)
"""After what waits a cycle that has not begun is rung for again."""
ACT_S: Final = 5.0
"""How long the world stays awake after an act of people: two turns of the guard."""
VIOLATIONS_MAX: Final = 20
"""After so many of them a life is ended."""
CLOSE_S: Final = 120.0
SETTLE_S: Final = 40.0
"""What the venue says late it says within so long after a storm."""
HOURLY_NS: Final = 6 * SLOT_NS
"""In a rest the market is looked at once an hour."""

RISK: Final = {
    "position_notional_max": Decimal(2_480_000),
    "order_notional_max": Decimal(1_200_000),
    "orders_max": 8,
    "reprices_max": 2,
    "quote_age_ms": 90_000,
    "daily_loss": Decimal("0.004"),
    "order_trade_ratio_max": 10_000,
    "rejects_max": 1_000,
}
"""Twelve contracts of ES, thirty of NQ, of which half may be wanted at once; some days lose enough to end at noon. A
storm is to be lived through, and not to end all trade."""
EXITS: Final = {
    "strategies": ["cohort"],
    "atr_bars": 5,
    "bar_min": 2,
    "trail_atr": Decimal(4),
    "break_even_atr": Decimal(2),
    "scale_out_atr": [Decimal(2), Decimal(4)],
    "time_stop_s": 14_400,
}
STARTS: Final = (
    # The evenings before a weekend, Good Friday, Christmas, New Year; the night after the clocks changed; any Monday.
    (datetime(2024, 6, 14, 16, tzinfo=UTC), 3),
    (datetime(2024, 3, 28, 18, tzinfo=UTC), 2),
    (datetime(2024, 12, 24, 20, tzinfo=UTC), 1),
    (datetime(2024, 12, 31, 18, tzinfo=UTC), 1),
    (datetime(2024, 10, 27, 20, tzinfo=UTC), 1),
    (datetime(2024, 6, 10, 6, tzinfo=UTC), 1),
)
"""When short lives begin, with weights: at few instants there is more to be done wrong than before and after a rest."""


@dataclass(frozen=True, slots=True)
class Climate:
    """What a seed makes of a life: shares of the slots, and counts a day."""

    start_ns: int
    storms: float
    lively: float
    kills: float
    lies: float
    hands: float
    transfers: float
    beatless: float
    exits: bool
    threshold: Decimal


def climate(seed: int, days: int) -> Climate:
    """Draw the climate of a life; a long one is of the mean, for it meets everything."""
    random = Random(f"{seed}/climate")
    long = days > 30
    [start] = random.choices([start for start, _ in STARTS], [weight for _, weight in STARTS])
    start = datetime(2024, 1, 2, tzinfo=UTC) if long else start

    def often(mean: float) -> float:
        return mean if long else mean * random.choice([0.0, 0.5, 1.0, 3.0])

    return Climate(
        start_ns=int(start.timestamp()) * SECOND_NS,
        storms=often(0.02),
        lively=0.05 if long else random.choice([0.02, 0.1, 0.3]),
        kills=often(1.0),
        lies=often(0.5),
        hands=often(0.3),
        transfers=often(0.5),
        beatless=often(0.3),
        exits=long or random.random() < 0.7,
        threshold=Decimal(random.choice(["0.001", "0.002", "0.004"])),
    )


class LongWorld(World):
    """A world whose story is too long to be kept: a digest of it is, and what came before each violation."""

    def __init__(self, seed: int, start_ns: int, hear: Callable[[str], None] | None) -> None:
        super().__init__(seed, start_ns)
        self.hear = hear
        self.lines = 0
        self.digest = hashlib.sha256()
        self.excerpts: list[str] = []

    def tell(self, text: str) -> None:
        """Add a line to the story."""
        who = f"{self.running}: " if self.running else ""
        line = f"{self.lines:9d} {iso(self.now_ns)} {'| ' * self.depth}{who}{text}"
        self.lines += 1
        self.digest.update(line.encode())
        self.story.append(line)
        if len(self.story) > STORY_MAX:
            del self.story[: STORY_MAX // 2]
        if self.hear is not None:
            self.hear(line)

    def violated(self, invariant: str, text: str) -> None:
        """Record that an invariant does not hold, with what came before."""
        self.tell(f"VIOLATION {invariant}: {text}")
        self.violations.append((invariant, text, self.lines - 1))
        if len(self.excerpts) < 5:
            self.excerpts.append("\n".join(self.story[-TOLD:]))


@dataclass(frozen=True, slots=True)
class Biography:
    """What became of a life; `counts` says how much of each thing happened in it."""

    seed: int
    days: float
    violations: tuple[tuple[str, str, int], ...]
    excerpts: tuple[str, ...]
    counts: dict[str, int]
    digest: str
    wall_s: float

    def explain(self) -> str:
        """Write the violations, the first with what came before."""
        told = [f"life {self.seed}: replay with `python -m tests.simulation.year --seed {self.seed} -v`"]
        told += [f"--- {invariant} at line {line}: {text}" for invariant, text, line in self.violations[:20]]
        return "\n".join([*told, *self.excerpts[:2]])


class Life:
    """A world that lives for days."""

    def __init__(
        self, seed: int, days: int, hear: Callable[[str], None] | None = None, violations_max: int = VIOLATIONS_MAX
    ) -> None:
        self.days = days
        self.violations_max = violations_max
        self.climate = climate(seed, days)
        self.calm = replace(draw(_calm_seed()), start_ns=self.climate.start_ns, messages_per_s=50)
        self.world = LongWorld(seed, self.climate.start_ns, hear)
        self.random = self.world.stream("life")
        self.server = Server(self.world)
        self.market = LongMarket(self.world, self.calm, days * 86_400 + 7200)
        self.wire = Wire(self.world, self.calm, self.market.receive)
        self.market.say = self.wire.say
        self.platform = Platform(self.world, self.server, self.wire, self.calm, _settings(seed, self.climate))
        self.agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self.storm_until_ns = self.silent_until_ns = 0
        self.lively = False
        self.slots = self.storms = 0

    def live(self, progress: Callable[[float], None] = lambda day: None) -> Biography:
        """Live to the end and be judged."""
        began_s = time.perf_counter()
        with self.platform.seams():
            self.platform.begin()
            self.platform.heal()
            self.office = Office(self.world, self.calm, self.platform, self.market)
            self.judge = Chronicle(self.world, self.server, self.market, self.wire, self.office, self.climate.threshold)
            self.faults = Faults(self.platform, self.market, self.office)
            try:
                self._live(progress)
            except Exception:  # noqa: BLE001 - whatever the platform raises beyond its own errors is a finding
                self.world.violated("CRASH", traceback.format_exc())
        counts = self._counts()
        self.server.close()
        return Biography(
            self.world.seed,
            (self.world.now_ns - self.world.start_ns) / DAY_NS,
            tuple(self.world.violations),
            tuple(self.world.excerpts),
            counts,
            self.world.digest.hexdigest(),
            time.perf_counter() - began_s,
        )

    def _live(self, progress: Callable[[float], None]) -> None:
        world, end_ns = self.world, self.climate.start_ns + self.days * DAY_NS
        self.market.play()
        self.office.found()
        world.run_until(self._is_still, world.now_ns + seconds(60))
        for day in range(self.days):
            self._plan_day(self.climate.start_ns + day * DAY_NS)
        minute_ns = self.climate.start_ns + 2 * MINUTE_NS
        while (at_ns := self._next_wake(minute_ns)) < end_ns and len(world.violations) < self.violations_max:
            self._come_to(at_ns)
            if at_ns >= minute_ns:
                self._minute(at_ns)
                minute_ns = self._next_minute(at_ns)
                if at_ns % SLOT_NS == 0:
                    progress((at_ns - self.climate.start_ns) / DAY_NS)
            while self.agenda and self.agenda[0][0] <= world.now_ns:
                heapq.heappop(self.agenda)[2]()
                self._stay_awake(ACT_S)
            self._rest(self._next_wake(minute_ns))
        self._end()

    # The hours.

    def _plan_day(self, day_ns: int) -> None:
        """Draw when people act on a day."""
        for rate, act in (
            (self.climate.kills, self._drill),
            (self.climate.lies, self._mislead),
            (self.climate.hands, self.office.trade_by_hand),
            (self.climate.transfers, self.office.transfer),
            (self.climate.beatless, self._lose_beat),
        ):
            at_s = self.random.expovariate(rate) * 86_400 if rate else 86_400
            while at_s < 86_400:
                # A quarter of a minute past one: an act of people falls into no mark of the account.
                self._at(day_ns + int(at_s) // 60 * MINUTE_NS + seconds(15), act)
                at_s += self.random.expovariate(rate) * 86_400

    def _at(self, at_ns: int, act: Callable[[], None]) -> None:
        self._numbers += 1
        heapq.heappush(self.agenda, (at_ns, self._numbers, act))

    def _drill(self) -> None:
        if not self.office.drilling:
            self._later(self.office.stop(), self.random.choice([1, 10, 45, 180]))

    def _mislead(self) -> None:
        self._later(self.office.lie(), self.random.choice([5, 25, 90]))

    def _lose_beat(self) -> None:
        self.silent_until_ns = self.world.now_ns + self.random.choice([1, 2, 5]) * SLOT_NS
        self.world.tell("beat is gone")

    def _later(self, act: Callable[[], None], minutes: int) -> None:
        self._at(self.world.now_ns + minutes * MINUTE_NS, act)

    def _next_wake(self, minute_ns: int) -> int:
        return min(minute_ns, self.agenda[0][0]) if self.agenda else minute_ns

    def _next_minute(self, at_ns: int) -> int:
        """Return the next minute in which the market is looked at: each one where much happens, else few."""
        slot_ns = at_ns - at_ns % SLOT_NS + SLOT_NS
        if rest_reason(at_ns) is not None:
            hour_ns = at_ns - at_ns % HOURLY_NS + HOURLY_NS
            return hour_ns if rest_reason(hour_ns) is not None else slot_ns
        if closing_reason(at_ns + 3 * MINUTE_NS) is not None or self.lively:
            return at_ns + MINUTE_NS
        return min(slot_ns, at_ns + self.random.choice([3, 10, 10]) * MINUTE_NS)

    # The moments.

    def _come_to(self, at_ns: int) -> None:
        """Let the world come to an instant: what lies between is left out where nothing is under way."""
        world = self.world
        if world.now_ns < at_ns and self._is_still() and not world.busy:
            self.server.skip(at_ns - world.now_ns)
            world.skip(at_ns)
        else:
            world.run(at_ns)

    def _minute(self, at_ns: int) -> None:
        """Let the market trade, the platform see it, and where it is due a cycle begin."""
        world, slot = self.world, at_ns % SLOT_NS == 0
        self.market.play()
        resting = rest_reason(at_ns) is not None
        if slot:
            self.slots += 1
            self.lively = self.random.random() < self.climate.lively
            self.wire.forget()
            self._change_weather(at_ns)
            self.office.look_after()
            self.office.snapshot()
            self.office.vote()
        self.market.publish(self.server.database)
        self.platform.broker.publish("take_profit.watch", at_ns, "")
        if slot and world.now_ns >= self.silent_until_ns:
            self._ring(at_ns, list(AGAIN_S))
        elif slot and not resting:
            self.office.record.beatless.add(at_ns)
        if closing_reason(at_ns) is not None and rest_reason(at_ns - CLOSING_NS) is None:
            self._stay_awake(ACT_S)

    def _ring(self, at_ns: int, again_s: list[float]) -> None:
        """Ring a cycle as beat does, and again while it has not begun, as the replay's driver does."""

        def look() -> None:
            if not self.server.rows("SELECT 1 FROM reconcile_cycle WHERE cycle_id = ?", cycle_id(at_ns)):
                self.platform.broker.publish("take_profit.watch", at_ns, "")
                self._ring(at_ns, again_s[1:])

        self.world.after(seconds(0.05), partial(self.platform.broker.publish, "reconcile.cycle", at_ns, ""))
        if again_s:
            self.world.after(seconds(again_s[0]), look)

    def _change_weather(self, at_ns: int) -> None:
        """Let a storm begin, or none."""
        if rest_reason(at_ns) is not None and self.random.random() < 0.9:
            return
        if self.random.random() >= self.climate.storms:
            return
        self.storms += 1
        plan = replace(draw(self.random.randrange(10**9)), start_ns=self.climate.start_ns)
        self.storm_until_ns = at_ns + seconds(plan.faults_s)
        self.platform.hurt(plan)
        self.market.healed = False
        self.faults.schedule(plan, self.random)
        self._play_for(plan.faults_s + SETTLE_S)
        self.world.after(seconds(plan.faults_s), self._clear_up)

    def _clear_up(self) -> None:
        self.platform.heal()
        self.platform.plan = self.wire.plan = self.platform.broker.plan = self.calm
        self.market.heal()
        if not self.office.drilling:
            self.office.release()
        self.world.after(seconds(20), self.office.open)

    def _play_for(self, wait_s: float) -> None:
        """Let the market go on second by second: the venue's own faults end by its tape."""
        for at_s in range(1, int(wait_s)):
            self.world.after(seconds(at_s), self.market.play)

    def _stay_awake(self, wait_s: float) -> None:
        self.world.after(seconds(wait_s), lambda: None)

    def _rest(self, until_ns: int) -> None:
        """Let everything come to rest before the next moment, and look at what has become of it."""
        still = self.world.run_until(self._is_still, until_ns)
        self.judge.look(still=still, stormy=self.world.now_ns < self.storm_until_ns + SLOT_NS)

    def _is_still(self) -> bool:
        """Tell whether somebody owns a settled session, everybody lives, and nothing is left to be done."""
        lives = self.platform.lives.values()
        now_ns = self.world.now_ns
        if any(life.dead or life.frozen_until_ns > now_ns for life in lives):
            return False
        if not any(life.engine and life.engine.is_logged_on() and life.driver.settled for life in lives):
            return False
        return not self.server.unfinished()

    def _end(self) -> None:
        """Withdraw everything and compare the books."""
        world = self.world
        world.tell("=== everything is withdrawn ===")
        if not self.platform.healed:
            self._clear_up()
        control.engage(self.server.database, Mode.PAUSE, "operator", "the end", world.now_ns)
        self._play_for(CLOSE_S)
        world.run(world.now_ns + seconds(CLOSE_S))
        self.judge.settled()
        self.judge.ended()

    def _counts(self) -> dict[str, int]:
        rows = self.server.rows

        def count(query: str) -> int:
            return int(rows(query)[0][0])

        return {
            "slots": self.slots,
            "storms": self.storms,
            "cycles": count("SELECT COUNT(*) FROM reconcile_cycle WHERE outcome LIKE 'intents:%'"),
            "rests": count("SELECT COUNT(*) FROM reconcile_cycle WHERE outcome LIKE 'rest:%'"),
            "exits": count("SELECT COUNT(*) FROM event WHERE kind LIKE 'exit.%'"),
            "missed": count("SELECT COUNT(*) FROM event WHERE kind = 'cycle.missed'"),
            "orders": count("SELECT COUNT(*) FROM orders"),
            "fills": self.judge.fills,
            "epochs": count("SELECT COUNT(*) FROM epoch"),
            "take_profits": count("SELECT COUNT(*) FROM epoch WHERE reason = 'take_profit'"),
            "incidents": count("SELECT COUNT(*) FROM incident"),
            "modes": count("SELECT COUNT(*) FROM control"),
            "transfers": count("SELECT COUNT(*) FROM ledger_entry WHERE kind = 'transfer'"),
            "adjustments": count("SELECT COUNT(*) FROM ledger_entry WHERE kind = 'adjustment'"),
            "transactions": self.server.transactions,
            "lines": self.world.lines,
        }


def _calm_seed() -> int:
    """Return a seed whose plan has no faults."""
    quiet = ("deaths_per_s", "freezes_per_s", "outages_per_s", "cuts_per_s", "venue_faults_per_s", "wrongs_per_s")
    shares = ("pause", "conflict", "lost", "doubled", "delayed", "raises_lost", "raises_kept", "swallows")
    never = ("dies_before", "dies_after", "dies_sending", "kills_per_s", *quiet, *shares)
    return next(seed for seed in range(1000) if not any(getattr(draw(seed), name) for name in never))


def _settings(seed: int, given: Climate) -> Settings:
    public: Any = clearer_key(seed).public_key()
    return Settings.model_validate(
        {
            "risk": RISK,
            "panic": {"conditions": []},
            "fix": {"messages_per_s": 50, "mass_status": True},
            "cohort": {"runs": 8, "shards": 1},
            "take_profit": {"threshold": given.threshold, "reward_multiple": Decimal(2)},
            "exits": EXITS if given.exits else {},
            "reconcile": {"observers": ["venue", CLEARER]},
            "observe": {"sources": {CLEARER: {"public_key": public.public_bytes_raw().hex()}}},
        }
    )


def live(seed: int, days: int, violations_max: int = VIOLATIONS_MAX) -> Biography:
    """Live a life, to its end or until so much of it is wrong."""
    return Life(seed, days, violations_max=violations_max).live()
