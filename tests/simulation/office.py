"""The market of many days, and the people in them: what the cohort votes, who observes, stops, transfers and mends.

Nothing of it fails: it is what the platform finds. The cohort's votes are planted in its own shards, as of each slot;
what selection, sizing, exits and reconciliation make of them is theirs.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.builders import ES, NQ
from tests.simulation.house import Platform
from tests.simulation.market import OPERATOR, TICKS_AROUND, TICKS_AWAY_MAX, Desk, Market
from tests.simulation.plan import Plan
from tests.simulation.world import World
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.cohort.state import from_bytes, to_bytes
from trisagion.cohort.types import ShardRow
from trisagion.errors import StateError, TrisagionError
from trisagion.ids import ClOrdId
from trisagion.ledger.postings import opening
from trisagion.ledger.types import Voucher
from trisagion.market.types import Bar, Instrument, MarketStep, Tape
from trisagion.orders.state import OrderState
from trisagion.orders.types import Side
from trisagion.ports import Database
from trisagion.safety.modes import Level, Mode
from trisagion.safety.snapshots import Snapshot, sign
from trisagion.services import control, limits, release
from trisagion.services.adjust_incidents import adjust
from trisagion.services.advance_cohort import found_cohort
from trisagion.services.ledger_enter import transfer
from trisagion.services.resolve_orders import resolve
from trisagion.simulate.venue import SimulatedVenue
from trisagion.units import Money, Price, Quantity

CHEAP: Final = Decimal("0.00001")
"""A fee at which an account lives for a year of trading each ten minutes."""
TRADED: Final = tuple(replace(one, fee_rate=CHEAP) for one in (ES, NQ))
CAPITAL: Final = Money(Decimal(10_000_000))
PRINT_S: Final = 20
"""Seconds from print to print: thirty between two slots."""
CLEARER: Final = "clearer"
"""The observer beside the venue: it signs what it sees."""
HAND: Final = "HAND"
"""How the ClOrdIDs of trades begin that somebody made by hand."""
VOTES_MAX: Final = 400
"""At ten millions a vote is worth 4045 of notional: eight contracts of ES."""
PATIENCE_NS: Final = 20 * MINUTE_NS
"""How long people wait before they look into an order in doubt, or a gate."""


def walk(instrument: Instrument, seed: int, start_ns: int, length_s: int) -> Tape:
    """Return a walk of prints between two walls, for as long as a life."""
    random = np.random.default_rng([seed, length_s, ord(instrument.symbol[0])])
    count = length_s // PRINT_S + 60
    at_ns = start_ns - 600 * SECOND_NS + np.arange(count, dtype=np.int64) * (PRINT_S * SECOND_NS)
    at_ns += random.integers(0, PRINT_S * SECOND_NS, count)
    steps = np.cumsum(random.integers(-3, 4, count))
    # Reflected, not clipped: a walk that is only clipped lies at a wall for days.
    ticks = np.abs((steps + TICKS_AWAY_MAX) % (4 * TICKS_AWAY_MAX) - 2 * TICKS_AWAY_MAX) - TICKS_AWAY_MAX
    return Tape(instrument, at_ns, TICKS_AROUND + ticks, random.integers(1, 6, count))


class LongMarket(Market):
    """The bundled venue on tapes of days, and the minutes that we get of its prices."""

    def __init__(self, world: World, plan: Plan, length_s: int) -> None:
        super().__init__(world, plan, 60)
        self.tapes = {one.symbol: walk(one, world.seed, plan.start_ns, length_s) for one in TRADED}
        self.venue = SimulatedVenue(list(self.tapes.values()))
        self.hands = 0

    def publish(self, database: Database) -> None:
        """Tell the platform the minute that ends now."""
        at_ns = self.world.now_ns
        with database.transaction() as tx:
            for symbol, known in self.tapes.items():
                first, last = np.searchsorted(known.ts_ns, [at_ns - MINUTE_NS, at_ns])
                ticks, at = known.price_ticks[first:last], known.ts_ns[first:last]
                if not len(ticks):
                    continue
                prices = ticks / 4
                bar = Bar(
                    symbol,
                    at_ns - MINUTE_NS,
                    MINUTE_NS,
                    float(prices[0]),
                    float(prices.max()),
                    float(prices.min()),
                    float(prices[-1]),
                    float(known.size_lots[first:last].sum()),
                    len(ticks),
                )
                step = MarketStep(
                    symbol, at_ns, bar, ((at_ns, bar.close),), Price(Decimal(int(ticks[-1])) / 4), int(at[-1])
                )
                tx.market.add_step(step)

    def trade_by_hand(self, account: str, symbol: str, side: Side) -> bool:
        """Let somebody trade our account past us; tell whether it came to a fill."""
        self.hands += 1
        engine: Any = self.venue._engine
        before = engine.positions(account)
        last = engine.last_ticks(symbol)
        engine.submit(
            cl_ord_id=f"{HAND}{self.hands}",
            owner=account,
            symbol=symbol,
            side=side,
            price_ticks=last + side.sign * 40,
            lots=1,
            post_only=False,
            immediate_or_cancel=True,
            now_ns=self.world.now_ns,
        )
        return bool(engine.positions(account) != before)


@dataclass(slots=True)
class Lie:
    """What an observer says wrongly of a symbol; `end_ns` is 0 while it goes on."""

    symbol: str
    lots: int
    begin_ns: int
    end_ns: int = 0


@dataclass(eq=False)
class Record:
    """What people planted and did, for the judge."""

    lies: list[Lie] = field(default_factory=list)
    hands: list[tuple[int, str]] = field(default_factory=list)
    refused: int = 0
    beatless: set[int] = field(default_factory=set)


class Office(Desk):
    """Everybody who has to do with the platform for days on end."""

    def __init__(self, world: World, plan: Plan, platform: Platform, market: LongMarket) -> None:
        super().__init__(world, plan, platform, market)
        self.long_market = market
        self.house = platform.lives["worker-a"].house
        self.record = Record()
        self.key = clearer_key(world.seed)
        self.wanted = dict.fromkeys(market.tapes, 0)
        self.drilling = False
        self._number = 0
        self._said: Snapshot | None = None
        self._transfers = 0
        self._noticed: dict[str, int] = {}

    def found(self) -> None:
        """Found account and cohort."""
        at_ns = self.world.now_ns
        with self.database.transaction() as tx:
            for instrument in TRADED:
                tx.market.add_instrument(instrument)
            tx.ledger.post(opening(CAPITAL, 0, "USD"))
            limits.found(tx, self.limits, "simulation", 0)
            found_cohort(tx, self.house.cohort_rules, 1, self.world.seed, at_ns)
        control.release(self.database, OPERATOR, "begin", at_ns)

    def vote(self) -> None:
        """Let the cohort come to the present, with what its runs hold."""
        for symbol in self.wanted:
            if self.random.random() < 0.3:
                self.wanted[symbol] = self.random.choice([0, 1, -1, 1, -1]) * self.random.randint(40, VOTES_MAX)
        at_ns = self.world.now_ns
        with self.database.transaction() as tx:
            for row in tx.cohort.shards():
                shard = from_bytes(row.state)
                direction = shard.state["direction"].copy()
                for symbol, votes in self.wanted.items():
                    which = np.flatnonzero(shard.on(symbol) & shard.alive)
                    direction[which] = [votes // len(which)] * len(which)
                shard.state["direction"] = direction
                shard.state["live_pnl"] = np.ones(len(direction))
                shard.state["evaluated_ns"] = np.full(len(direction), at_ns)
                tx.cohort.save_shard(ShardRow(row.number, row.epoch, at_ns, row.version + 1, to_bytes(shard)))

    # Who observes.

    def snapshot(self) -> None:
        """Let the second observer write what it sees, or what it thinks that it sees."""
        at_ns, luck = self.world.now_ns, self.random.random()
        seen = self.positions()
        for lie in self.record.lies:
            if not lie.end_ns:
                seen[lie.symbol] += lie.lots
        self._number += 1
        complete = luck > 0.02
        positions = tuple((symbol, Quantity(Decimal(lots))) for symbol, lots in seen.items() if lots)
        said = Snapshot(
            CLEARER, self._number, at_ns, complete, "" if complete else "no answer", positions if complete else ()
        )
        said = sign(said, self.key)
        with self.database.transaction() as tx:
            if luck < 0.01 and self._said is not None:
                tx.snapshots.add(self._said)
                self.record.refused += 1
            elif luck < 0.03:
                tx.snapshots.add(replace(said, positions=(("ES", Quantity(Decimal(77))),)))
                self.record.refused += 1
            tx.snapshots.add(said)
        self._said = said

    def positions(self) -> dict[str, int]:
        """Return what the venue holds for us."""
        found: Mapping[str, int] = self.market.venue._engine.positions(self.limits.account)
        return dict(found)

    def lie(self) -> Callable[[], None]:
        """Let the second observer be wrong about a symbol; return what puts it right."""
        symbol = self.random.choice(sorted(self.wanted))
        told = Lie(symbol, self.random.choice([-3, 2, 5]), self.world.now_ns)
        self.record.lies.append(told)
        self.world.tell(f"{CLEARER}: is wrong about {symbol} by {told.lots}")

        def end() -> None:
            told.end_ns = self.world.now_ns
            self.world.tell(f"{CLEARER}: is right about {symbol}")

        return end

    def trade_by_hand(self) -> None:
        """Let somebody trade our account past us."""
        symbol, side = self.random.choice(sorted(self.wanted)), self.random.choice(list(Side))
        if self.long_market.trade_by_hand(self.limits.account, symbol, side):
            self.record.hands.append((self.world.now_ns, symbol))
            self.world.tell(f"by hand: somebody does {side} 1 {symbol}")

    # Who decides.

    def stop(self) -> Callable[[], None]:
        """Stop everything, everything that adds, or a part; return what releases it."""
        self.drilling = True
        if self.random.random() < 0.3:
            symbol = self.random.choice(sorted(self.wanted))
            mode = self.random.choice([Mode.PAUSE, Mode.REDUCE, Mode.EMERGENCY])
            self.world.tell(f"operator: {mode} for {symbol}")
            control.engage(self.database, mode, OPERATOR, "drill", self.world.now_ns, Level.SYMBOL, symbol)
            return lambda: self._release(Level.SYMBOL, symbol)
        mode = self.random.choice([Mode.PAUSE, Mode.PAUSE, Mode.REDUCE, Mode.EMERGENCY])
        self.world.tell(f"operator: {mode}")
        control.engage(self.database, mode, OPERATOR, "drill", self.world.now_ns)
        return lambda: self._release(Level.ALL, "")

    def _release(self, level: Level, name: str) -> None:
        """Release by two people where all is green, else by one who knows why."""
        self.drilling = False
        at_ns = self.world.now_ns
        try:
            number = release.propose(self.database, level, name, OPERATOR, "drill is over", at_ns)
            release.confirm(self.database, self.house.release_rules, number, OPERATOR, at_ns)
            self.world.tell("operator: released by the book")
        except StateError as error:
            self.world.tell(f"operator: releases in spite of: {error}")
            control.release(self.database, OPERATOR, "drill is over", at_ns, level, name)

    def transfer(self) -> None:
        """Pay something in or out."""
        self._transfers += 1
        amount = Money(Decimal(self.random.choice([-50_000, 25_000, 40_000])))
        voucher = Voucher(OPERATOR, "transfer", f"statement {self._transfers}")
        try:
            transfer(self.database, amount, self.world.now_ns, voucher)
            self.world.tell(f"operator: transfers {amount}")
        except StateError as error:
            self.world.tell(f"operator: cannot transfer: {error}")

    def look_after(self) -> None:
        """Mend what waits for a person, once he has had time to see it."""
        at_ns = self.world.now_ns
        with self.database.snapshot() as tx:
            mode, gate = tx.control.control(), tx.control.gate("SIM")
            incidents = tx.incidents.open_ones()
            doubtful = tx.orders.in_states(frozenset({OrderState.UNKNOWN}))
        if self._waited("gate", at_ns, so=gate.shut):
            self.open()
        if self._waited("mode", at_ns, so=mode.mode is not Mode.NORMAL and not self.drilling):
            self._release(Level.ALL, "")
        for order in doubtful:
            if self._waited(order.cl_ord_id, at_ns, so=True):
                self._resolve(order.cl_ord_id, at_ns)
        for incident in incidents:
            with self.database.snapshot() as tx:
                held = tx.ledger.position(incident.symbol).qty
            if incident.cycles >= 2 and held != self.positions().get(incident.symbol):
                self._adjust(incident.number, at_ns)

    def _waited(self, what: str, at_ns: int, *, so: bool) -> bool:
        """Tell whether something has been so for as long as it takes people to see to it."""
        if not so:
            self._noticed.pop(what, None)
            return False
        return at_ns - self._noticed.setdefault(what, at_ns) >= PATIENCE_NS

    def _resolve(self, name: ClOrdId, at_ns: int) -> None:
        """End an order in doubt by the venue's books."""
        known = self.market.venue._engine.status(name)
        ends = [OrderState.FILLED, OrderState.CANCELED] if known else [OrderState.REJECTED, OrderState.CANCELED]
        for end in ends:
            try:
                resolve(self.database, name, end, OPERATOR, "asked the venue", "its books", at_ns)
            except TrisagionError:
                continue
            self.world.tell(f"operator: {name} has ended as {end}")
            return

    def _adjust(self, number: int, at_ns: int) -> None:
        """Set the books right by what the venue holds."""
        rules, voucher = self.house.cycle_rules.reconcile, Voucher(OPERATOR, "asked the venue", f"case {number}")
        try:
            entry = adjust(self.database, rules, number, voucher, OPERATOR, at_ns, observer="venue")
            self.world.tell(f"operator: adjusts by {entry.name}")
        except StateError as error:
            self.world.tell(f"operator: cannot adjust incident {number}: {error}")


def clearer_key(seed: int) -> Ed25519PrivateKey:
    """Return the second observer's private key."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed}/{CLEARER}".encode()).digest())
