"""What breaks, how often, for as long as the faults of a plan last."""

from collections.abc import Callable
from functools import partial
from random import Random

from tests.simulation.house import Platform
from tests.simulation.line import HEARTBEATS_S
from tests.simulation.market import Desk, Market
from tests.simulation.plan import Plan
from tests.simulation.world import seconds


class Faults:
    """The faults of one world."""

    def __init__(self, platform: Platform, market: Market, desk: Desk) -> None:
        self.platform = platform
        self.world = platform.world
        self.server = platform.server
        self.wire = platform.wire
        self.market = market
        self.desk = desk

    def schedule(self, plan: Plan, random: Random) -> None:
        """Draw when things break."""
        for rate, fault in (
            (plan.deaths_per_s, self._kill),
            (plan.freezes_per_s, self._freeze),
            (plan.outages_per_s, self._outage),
            (plan.cuts_per_s, partial(self._cut, plan)),
            (plan.venue_faults_per_s, self.market.fault),
            (plan.wrongs_per_s, self.market.wrong),
            (plan.kills_per_s, self.desk.kill),
            (plan.lost / 100, self.platform.broker.flush),
            (0.05, self.desk.open),
        ):
            self._often(rate, fault, plan.faults_s, random)

    def _often(self, rate: float, fault: Callable[[], None], faults_s: float, random: Random) -> None:
        at_s = random.expovariate(rate) if rate else faults_s
        while at_s < faults_s:
            self.world.after(seconds(at_s), partial(self._while_faulty, fault))
            at_s += random.expovariate(rate)

    def _while_faulty(self, fault: Callable[[], None]) -> None:
        if not self.platform.healed:
            fault()

    def _kill(self) -> None:
        process = self.platform.lives[self.wire.random.choice(sorted(self.platform.lives))]
        if not process.dead:
            self.world.tell(f"kill -9 {process}")
            process.die()

    def _freeze(self) -> None:
        process = self.platform.lives[self.wire.random.choice(sorted(self.platform.lives))]
        wait_s = self.wire.random.choice([1.0, 8.0, 15.0, 40.0])
        self.world.tell(f"{process} is stopped for {wait_s} s")
        process.frozen_until_ns = self.world.now_ns + seconds(wait_s)
        connection = self.wire.current
        if connection is not None and connection.engine.process is process and wait_s > HEARTBEATS_S:
            self.wire.cut(connection, venue_s=HEARTBEATS_S, ours_s=wait_s, arrives=False)

    def _outage(self) -> None:
        wait_s = self.wire.random.choice([0.1, 2.0, 10.0, 25.0])
        self.world.tell(f"the database is away for {wait_s} s")
        self.server.down_until_ns = self.world.now_ns + seconds(wait_s)

    def _cut(self, plan: Plan) -> None:
        connection = self.wire.current
        if connection is None:
            return
        random = self.wire.random
        half = random.random() < plan.half_open
        venue_s, ours_s = random.choice([(24.0, 0.1), (0.1, 24.0), (24.0, 24.0)]) if half else (0.0, 0.1)
        self.wire.cut(connection, venue_s=venue_s, ours_s=ours_s, arrives=random.random() < 0.5)
