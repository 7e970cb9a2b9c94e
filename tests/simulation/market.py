"""The venue with its market, and the people: who wants orders, withdraws and amends them, who kills and releases."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import numpy as np

from tests.builders import ES, NQ, a_step
from tests.simulation.house import Platform
from tests.simulation.plan import Plan
from tests.simulation.world import World, seconds
from trisagion.clock import SECOND_NS
from trisagion.errors import TrisagionError, VenueMistake
from trisagion.gateway.words import Fields
from trisagion.ids import IntentKey, cycle_id, intent_key
from trisagion.ledger.postings import opening
from trisagion.market.types import Instrument, Tape
from trisagion.orders.state import AT_VENUE, LIVE, WORKING
from trisagion.orders.types import Intent, Side
from trisagion.ports import Database
from trisagion.risk.check import Approved, judge
from trisagion.risk.controls import Facts
from trisagion.risk.load import Load
from trisagion.safety.modes import Mode
from trisagion.services import control, limits
from trisagion.services.reconcile import new_attempt
from trisagion.services.stakes import Stakes
from trisagion.simulate.venue import SimulatedVenue
from trisagion.units import Money, Price, Quantity

INSTRUMENTS: Final = (ES, NQ)
TICKS_AROUND: Final = 16_000
TICKS_AWAY_MAX: Final = 160
"""One per cent to either side of 4000: far below what the limits leave."""
STEP_S: Final = 15
PLAY_S: Final = 1.0
LOTS_MAX: Final = 4
OPERATOR: Final = "operator"


def tape(instrument: Instrument, seed: int, start_ns: int, length_s: int) -> Tape:
    """Return a walk of prints, one in two seconds or so."""
    random = np.random.default_rng([seed, len(instrument.symbol), ord(instrument.symbol[0])])
    count = length_s // 2
    at_ns = start_ns - 60 * SECOND_NS + np.sort(random.integers(0, (length_s + 60) * SECOND_NS, count))
    walk = np.clip(np.cumsum(random.integers(-3, 4, count)), -TICKS_AWAY_MAX, TICKS_AWAY_MAX)
    # The account is marked at the first print before anything happens.
    at_ns[0] = start_ns - 60 * SECOND_NS
    return Tape(instrument, at_ns, TICKS_AROUND + walk, random.integers(1, 6, count))


class Market:
    """The bundled venue, its faults, and the minutes that we get of its prices."""

    def __init__(self, world: World, plan: Plan, length_s: int) -> None:
        self.world = world
        self.tapes = {
            instrument.symbol: tape(instrument, world.seed, plan.start_ns, length_s) for instrument in INSTRUMENTS
        }
        self.venue = SimulatedVenue(list(self.tapes.values()))
        self.random = world.stream("venue")
        self.commanded: list[Mapping[str, Any]] = []
        self.say: Any = None
        self.looking: Any = lambda fields: None
        self.healed = False

    def receive(self, fields: Fields) -> None:
        """Answer what has come over the wire."""
        answers = self.venue.answer(fields)
        self.looking(fields)
        for answer in answers:
            self.say(answer)

    def play(self) -> None:
        """Let the market go on."""
        for report in self.venue.play(self.world.now_ns):
            self.say(report)

    def publish(self, database: Database) -> None:
        """Tell the platform the last prices."""
        at_ns = self.world.now_ns
        with database.transaction() as tx:
            for symbol, known in self.tapes.items():
                last = int(known.price_ticks[np.searchsorted(known.ts_ns, at_ns) - 1])
                tx.market.add_step(a_step(at_ns, str(Decimal(last) / 4), symbol))

    def fault(self) -> None:
        """Let the venue be slow, deaf or silent for a while."""
        if self.healed:
            return
        command = self.random.choice(
            [
                {
                    "kind": "acknowledgements",
                    "lost": 0.3,
                    "late": 0.3,
                    "late_s": 7.0,
                    "seed": self.random.randrange(99),
                },
                {"kind": "acknowledgements", "lost": 0.0, "late": 0.9, "late_s": 30.0, "seed": 1},
                {"kind": "acknowledgements", "lost": 0.0, "late": 0.0, "late_s": 0.0, "seed": 1},
                {"kind": "rate_limit", "per_second": self.random.choice([0, 1, 2])},
                {"kind": "outage", "seconds": self.random.choice([1.0, 10.0, 25.0])},
            ]
        )
        self._fail(command)

    def wrong(self) -> None:
        """Let the venue do what no venue should."""
        if self.healed:
            return
        books: Any = self.venue.snapshot()
        fills = [fill for fill in books["fills"] if "exec_ref" not in fill]
        orders = [order for order in books["orders"] if order["state"] != "rejected"]
        kind = self.random.choice(["repeat", "repeat", "bust", "correct", "fill", "fill"])
        if kind == "fill" and orders:
            order = self.random.choice(orders)
            liquidity = self.random.choice(["maker", "maker", "taker"])
            self._fail({"kind": kind, "cl_ord_id": order["cl_ord_id"], "qty": "1", "liquidity": liquidity})
        elif kind == "repeat" and self.venue.executions:
            self._fail({"kind": kind, "exec_id": f"E{self.random.randint(1, self.venue.executions)}"})
        elif kind in {"bust", "correct"} and fills:
            fill = self.random.choice(fills)
            told = {"kind": kind, "exec_id": fill["exec_id"], "cl_ord_id": fill["cl_ord_id"], "qty": fill["qty"]}
            self._fail(told | ({"px": fill["price"]} if kind == "correct" else {}))

    def _fail(self, command: Mapping[str, Any]) -> None:
        self.world.tell(f"venue: {' '.join(f'{name}={value}' for name, value in command.items())}")
        try:
            reports = self.venue.fail(command)
        except VenueMistake as mistake:
            self.world.tell(f"venue: {mistake}")
            return
        if command["kind"] in {"bust", "correct", "fill"}:
            self.commanded.append(command)
        for report in reports:
            self.say(report)

    def heal(self) -> None:
        """End the faults."""
        self.healed = True
        self._fail({"kind": "acknowledgements", "lost": 0.0, "late": 0.0, "late_s": 0.0, "seed": 1})
        self._fail({"kind": "rate_limit", "per_second": 0})
        self._fail({"kind": "outage", "seconds": 0.0})


class Desk:
    """What people and the deciding part of the platform do; their own transactions do not fail."""

    def __init__(self, world: World, plan: Plan, platform: Platform, market: Market) -> None:
        self.world = world
        self.plan = plan
        self.platform = platform
        self.market = market
        self.database = platform.server.database
        self.random = world.stream("desk")
        self.limits = platform.lives["worker-a"].house.limits
        self.intents: dict[IntentKey, Intent] = {}
        self.amended: dict[str, Decimal] = {}
        self.modes: list[tuple[int, Mode]] = []

    def found(self) -> None:
        """Found the account."""
        with self.database.transaction() as tx:
            for instrument in INSTRUMENTS:
                tx.market.add_instrument(instrument)
            tx.ledger.post(opening(Money(Decimal(100_000_000)), 0, "USD"))
            limits.found(tx, self.limits, "simulation", 0)
        control.release(self.database, OPERATOR, "begin", self.world.now_ns)
        self.market.publish(self.database)

    def decide(self) -> None:
        """Want an order, as a cycle does that has found a difference."""
        at_ns = self.world.now_ns
        instrument = self.random.choice(INSTRUMENTS)
        side, lots = self.random.choice(list(Side)), self.random.randint(1, LOTS_MAX)
        key = intent_key(cycle_id(at_ns), instrument.symbol)
        with self.database.transaction() as tx:
            mode = tx.control.control().mode
            intent = Intent(key, cycle_id(at_ns), instrument.symbol, side, Quantity(Decimal(lots)))
            if mode is Mode.EMERGENCY:
                held = tx.ledger.position(instrument.symbol).qty
                side = Side.SELL if held > 0 else Side.BUY
                intent = replace(intent, side=side, qty=Quantity(abs(held) or Decimal(1)), taker=True)
            quote, position = tx.market.quote(instrument.symbol, at_ns), tx.ledger.position(instrument.symbol).qty
            facts = Facts(intent, instrument, quote, position, mode, self.limits, at_ns)
            load = Load.of(tx.orders.in_states(LIVE), intent)
            verdict = judge(facts, load, Stakes.read(tx, (), at_ns).beside(Load()))
            if not isinstance(verdict, Approved):
                self.world.tell(f"desk: {key} is refused: {verdict.text}")
                return
            order = new_attempt(self.limits.account, verdict, 0, at_ns)
            tx.orders.add(order)
        self.intents[key] = verdict.intent
        self.world.tell(f"desk: {order.cl_ord_id} is to {intent.side} {intent.qty} {intent.symbol} for {key}")
        self.platform.broker.publish("gateway.route", at_ns, order.cl_ord_id)

    def withdraw(self) -> None:
        """Ask for the cancel of an order, as a later cycle does."""
        with self.database.transaction() as tx:
            live = tx.orders.in_states(AT_VENUE)
            order = self.random.choice(live) if live else None
            if order is None or order.cancel_reason is not None:
                return
            at_ns = max(self.world.now_ns, order.updated_ns)
            tx.orders.save(replace(order, cancel_reason="superseded", updated_ns=at_ns, version=order.version + 1))
        self.world.tell(f"desk: {order.cl_ord_id} is withdrawn")
        self.platform.broker.publish("session.drain", self.world.now_ns, "SIM")

    def amend(self) -> None:
        """Ask that an order become another one."""
        with self.database.snapshot() as tx:
            working = tx.orders.in_states(WORKING)
            if not working:
                return
            order = self.random.choice(working)
        assert order.price is not None
        qty = order.cum_qty + self.random.randint(1, LOTS_MAX)
        price = Price(order.price - order.side.sign * self.random.randint(0, 3) * Decimal("0.25"))
        self.amended[order.intent] = max(self.amended.get(order.intent, qty), qty)
        self.world.tell(f"desk: {order.cl_ord_id} is to become {qty} at {price}")
        self.platform.broker.publish("gateway.amend", self.world.now_ns, f"{order.cl_ord_id} {qty} {price}")

    def kill(self) -> None:
        """Stop everything, or everything that adds; release it after a while."""
        mode = self.random.choice([Mode.PAUSE, Mode.PAUSE, Mode.REDUCE, Mode.EMERGENCY])
        self.world.tell(f"operator: {mode}")
        control.engage(self.database, mode, OPERATOR, "drill", self.world.now_ns)
        self.world.after(seconds(self.random.choice([0.5, 5.0, 20.0])), self.release)

    def release(self) -> None:
        """Go on, and open what was shut."""
        control.release(self.database, OPERATOR, "drill is over", self.world.now_ns)
        self.open()

    def open(self) -> None:
        """Open the gate if it is shut."""
        try:
            control.open_gate(self.database, "SIM", OPERATOR, "looked at it", self.world.now_ns)
        except TrisagionError:
            return
        self.world.tell("operator: the gate is open")

    def observe(self) -> None:
        """Ask for the venue's positions, as a cycle does."""
        self.platform.broker.publish("session.observe", self.world.now_ns, "SIM")
