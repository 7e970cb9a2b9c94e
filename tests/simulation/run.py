"""One seed from its first order to the verdict."""

import time
import traceback
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tests.simulation.faults import Faults
from tests.simulation.house import Platform
from tests.simulation.judge import Judge
from tests.simulation.line import HEARTBEAT_S, Wire
from tests.simulation.market import PLAY_S, STEP_S, Desk, Market
from tests.simulation.plan import Plan, draw
from tests.simulation.store import Server
from tests.simulation.world import World, seconds
from trisagion.safety.modes import Mode
from trisagion.services import control
from trisagion.settings import Settings

SETTLE_S: Final = 60.0
"""Reliability, 5.2: everything is judged after at most so much quiet."""
GRACE_S: Final = 12.0
"""What was rung for at the end of it is done, and an owner that began then has waited for an older lease."""
CLOSE_S: Final = 30.0
"""Until every order that rests has been withdrawn and the venue has said so, two messages a second."""

RISK: Final = {
    "position_notional_max": Decimal(2_480_000),
    "order_notional_max": Decimal(2_000_000),
    "orders_max": 8,
    "reprices_max": 2,
    "quote_age_ms": 20_000,
    "alike_orders_max": 1_000,
    "order_trade_ratio_max": 10_000,
    "same_side_fills_max": 1_000,
    "rejects_max": 1_000,
}
"""Twelve contracts of ES, thirty of NQ: some intents are refused, and many orders together reach the limit. The desk
wants what chance makes it want, though it be the same again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a seed."""

    seed: int
    plan: Plan
    violations: tuple[tuple[str, str, int], ...]
    story: tuple[str, ...]
    orders: int
    sent: int
    fills: int
    transactions: int
    wall_s: float

    def explain(self, lines: int = 40) -> str:
        """Write the violations, each with the last events before it."""
        told = [f"seed {self.seed}: replay with `python -m tests.simulation --seed {self.seed} -v`"]
        for invariant, text, step in self.violations[:5]:
            told += [f"--- {invariant} at step {step}: {text}", *self.story[max(0, step - lines) : step + 1]]
        return "\n".join(told)


class Seed:
    """A world with everything in it."""

    def __init__(self, seed: int) -> None:
        self.plan = draw(seed)
        self.world = World(seed, self.plan.start_ns)
        self.server = Server(self.world)
        length_s = int(self.plan.faults_s + SETTLE_S + GRACE_S + CLOSE_S + 120)
        self.market = Market(self.world, self.plan, length_s)
        self.wire = Wire(self.world, self.plan, self.market.receive)
        self.market.say = self.wire.say
        fix = {"messages_per_s": self.plan.messages_per_s, "mass_status": self.plan.mass_status}
        settings = Settings.model_validate({"risk": RISK, "panic": {"conditions": []}, "fix": fix})
        self.platform = Platform(self.world, self.server, self.wire, self.plan, settings)

    def live(self) -> Verdict:
        """Run the seed and judge it."""
        began_s = time.perf_counter()
        with self.platform.seams():
            self.platform.begin()
            self.desk = Desk(self.world, self.plan, self.platform, self.market)
            self.judge = Judge(self.world, self.server, self.market, self.wire, self.desk)
            try:
                self._live()
            except Exception:  # noqa: BLE001 - whatever the platform raises beyond its own errors is a finding
                self.world.violated("CRASH", traceback.format_exc())
        transactions = self.server.transactions
        orders = self.server.rows("SELECT COUNT(*) FROM orders")[0][0]
        self.server.close()
        return Verdict(
            self.world.seed,
            self.plan,
            tuple(self.world.violations),
            tuple(self.world.story),
            orders,
            len(self.judge.sent),
            self.judge.fills,
            transactions,
            time.perf_counter() - began_s,
        )

    def _live(self) -> None:
        world, plan = self.world, self.plan
        self.desk.found()
        world.every(seconds(PLAY_S), self.market.play)
        world.every(seconds(STEP_S), lambda: self.market.publish(self.server.database))
        self._schedule()
        world.run(world.now_ns + seconds(plan.faults_s))
        self.platform.heal()
        self.market.heal()
        self.desk.release()
        # A process that wakes up hears what was said to it long ago, and takes its clock for wrong: the gate is shut.
        world.after(seconds(2 * HEARTBEAT_S), self.desk.open)
        world.run(world.now_ns + seconds(SETTLE_S + GRACE_S))
        self.judge.settled()
        world.tell("=== everything is withdrawn ===")
        control.engage(self.server.database, Mode.PAUSE, "operator", "the end", world.now_ns)
        world.run(world.now_ns + seconds(CLOSE_S))
        self.judge.ended()

    def _schedule(self) -> None:
        """Draw when the people act and when things break."""
        plan, random = self.plan, self.world.stream("schedule")
        for count, act in (
            (plan.intents, self.desk.decide),
            (plan.cancels, self.desk.withdraw),
            (plan.amends, self.desk.amend),
            (3, self.desk.observe),
        ):
            for _ in range(count):
                # Nobody wants anything new in the last seconds; the faults go on.
                self.world.after(seconds(2.0 + random.random() * (plan.faults_s - 5.0)), act)
        Faults(self.platform, self.market, self.desk).schedule(plan, random)


def run(seed: int) -> Verdict:
    """Run a seed."""
    return Seed(seed).live()
