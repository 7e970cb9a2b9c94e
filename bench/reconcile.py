"""A reconciliation cycle over 1,000 symbols on MariaDB: from the votes to the outbox, without and with all clamps.

Each symbol has a price, five votes, the venue's word on its position, and an order of the cycle before, which is
withdrawn first; so a round reads and writes what a cycle of a busy account does.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa

from bench.floor import ACCOUNT, LIMITS, TUESDAY_NS, VENUE
from bench.measure import Figure, benchmark
from init import create
from trisagion.adapters.db import tables
from trisagion.adapters.db.engine import SqlDatabase, open_database
from trisagion.adapters.servers import mariadb
from trisagion.clock import MINUTE_NS
from trisagion.cohort.state import to_bytes
from trisagion.cohort.supervise import CohortRules, first_shards
from trisagion.cohort.types import Epoch, ShardRow
from trisagion.ids import cycle_id
from trisagion.ledger.postings import opening
from trisagion.ledger.types import EquitySample, Position
from trisagion.market.instruments import ES
from trisagion.market.types import Bar, Instrument, MarketStep
from trisagion.observer_ports import Observation
from trisagion.orders.intents import ReconcileRules
from trisagion.portfolio.clamps import ClampRules
from trisagion.portfolio.sizing import SizingRules
from trisagion.portfolio.tails import worst
from trisagion.regime.classify import Reading
from trisagion.safety.modes import Control, Mode
from trisagion.selection.votes import SelectionRules
from trisagion.services import limits
from trisagion.services.clamp import Clamping
from trisagion.services.reconcile import CycleRules, cycle
from trisagion.units import Money, Price, Quantity

SYMBOLS: Final = 1_000
VOTES: Final = 5
ROUNDS: Final = 3
LAST: Final = Price(Decimal(1640))
CAPITAL: Final = Money(Decimal(10) ** 11)
FLAT: Final = Quantity(Decimal(0))
RULES: Final = CycleRules(
    account=ACCOUNT,
    session=VENUE,
    reconcile=ReconcileRules(),
    selection=SelectionRules(),
    sizing=SizingRules(),
    limits=LIMITS,
    alert_after=3,
)
CLAMPING: Final = Clamping(
    ClampRules(
        kelly_max=Decimal(1),
        volatility_max=Decimal(10),
        crisis_share=Decimal("0.5"),
        concentration_max=Decimal("0.05"),
        var_max=Decimal("0.5"),
        es_max=Decimal("0.5"),
    ),
    worst,
)
"""All of them look, and leave an order for each symbol, which counts for the next ones."""


@benchmark("reconcile.symbols_1000", "s", "value <= 10")
def symbols() -> Figure:
    """One worker moves the cycle from its ring to "decided", with an order for each symbol."""
    return _measured(RULES)


@benchmark("reconcile.clamped_1000", "s", "value <= 10")
def clamped() -> Figure:
    """The same with eight clamps, on five hundred returns of each symbol."""
    return _measured(replace(RULES, clamping=CLAMPING))


def _measured(rules: CycleRules) -> Figure:
    instruments = [replace(ES, symbol=f"S{number:04}") for number in range(SYMBOLS)]
    with tempfile.TemporaryDirectory(prefix="trisagion-") as name:
        folder = Path(name)
        with mariadb(folder / "mariadb", folder) as url:
            create(url)
            database = open_database(url)
            try:
                _found(database, instruments)
                if rules.clamping is not None:
                    _remember(database, instruments, rules.clamping.rules.returns)
                return Figure([_cycled(database, instruments, rules, turn) for turn in range(ROUNDS)])
            finally:
                database.close()


def _found(database: SqlDatabase, instruments: Sequence[Instrument]) -> None:
    with database.transaction() as tx:
        for instrument in instruments:
            tx.market.add_instrument(instrument)
        tx.ledger.post(opening(CAPITAL, 0, ES.currency))
        tx.cohort.put_epoch(Epoch(1, TUESDAY_NS, None, None, None))
        tx.control.set_mode(Control(Mode.NORMAL, "bench", "begun", TUESDAY_NS))
        limits.found(tx, LIMITS, "bench", 0)


def _remember(database: SqlDatabase, instruments: Sequence[Instrument], count: int) -> None:
    """Give each symbol past minutes, which one thing moves by half, and the classifier's word that nothing is wrong."""
    rng = np.random.default_rng(11)
    moves = rng.normal(0.0, 3e-4, (count, 1)) + rng.normal(0.0, 3e-4, (count, len(instruments)))
    walk = np.cumsum(moves, axis=0)
    closes = float(LAST) * np.exp(walk - walk[-1])
    for first in range(0, count, 50):
        with database.transaction() as tx:
            rows = [
                {
                    "symbol": instrument.symbol,
                    "close_ns": TUESDAY_NS - (count - minute) * MINUTE_NS,
                    "interval_ns": MINUTE_NS,
                    **dict.fromkeys(("open", "high", "low", "close"), float(closes[minute, number])),
                    "volume": 1.0,
                    "trades": 1,
                }
                for minute in range(first, min(first + 50, count))
                for number, instrument in enumerate(instruments)
            ]
            tx.session.write(sa.insert(tables.bar), rows)
    with database.transaction() as tx:
        for turn in range(ROUNDS):
            quiet = Reading(TUESDAY_NS + turn * 10 * MINUTE_NS, "noisy", (0.1, 0.1, 0.7, 0.1), ())
            for instrument in instruments:
                tx.regime.put_reading(instrument.symbol, quiet)


def _cycled(database: SqlDatabase, instruments: Sequence[Instrument], rules: CycleRules, turn: int) -> float:
    """Bring the market, the cohort and the witnesses to the cycle's instant; return the seconds that it takes."""
    due_ns = TUESDAY_NS + turn * 10 * MINUTE_NS
    population = CohortRules(desired_runs=VOTES * SYMBOLS, shards=1, runs_per_leverage_max=VOTES * SYMBOLS)
    shard = first_shards(population, instruments, epoch=1, seed=7, next_number=0, now_ns=due_ns).shards[0]
    shard.state["direction"], shard.state["live_pnl"], shard.state["evaluated_ns"] = 1, 1.0, due_ns
    row = ShardRow(0, 1, due_ns, turn, to_bytes(shard))
    with database.transaction() as tx:
        if turn:
            assert tx.cohort.save_shard(row)
        else:
            tx.cohort.add_shard(row)
        for instrument in instruments:
            tx.market.add_step(_step(instrument.symbol, due_ns))
            tx.ledger.observe(Observation("venue", instrument.symbol, FLAT, due_ns))
            tx.ledger.save_position(replace(Position.flat(instrument.symbol), confirmed_ns=due_ns))
        tx.ledger.add_equity(EquitySample(due_ns, CAPITAL, CAPITAL, instruments[0].symbol, FLAT, LAST))
    begun = time.perf_counter()
    said = cycle(database, rules, "bench", due_ns)
    took = time.perf_counter() - begun
    with database.snapshot() as tx:
        decided = tx.cycles.decided(cycle_id(due_ns))
    assert len(decided) == SYMBOLS and None not in decided.values(), said
    assert len(said[0].subjects) == SYMBOLS, said
    return took


def _step(symbol: str, at_ns: int) -> MarketStep:
    price = float(LAST)
    bar = Bar(symbol, at_ns - MINUTE_NS, MINUTE_NS, price, price, price, price, 1.0, 1)
    return MarketStep(symbol, at_ns, bar, ((at_ns, price),), LAST, at_ns)
