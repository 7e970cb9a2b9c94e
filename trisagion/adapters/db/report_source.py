"""Gathers one replay's report from its database, in one consistent snapshot: it may be read while the replay runs."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import localcontext
from typing import Final

import numpy as np
import sqlalchemy as sa

from trisagion.adapters.db import reading
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import SqlDatabase, Unit
from trisagion.cohort.state import from_bytes
from trisagion.errors import StateError
from trisagion.ledger.types import Account
from trisagion.market.types import Instrument, Int64Array
from trisagion.reports.model import AccountTotals, CohortOutcome, Market, Provenance, RunReport
from trisagion.units import WIDE, Money, notional, round_money

EVENTS_SHOWN: Final = 50
"""A page of events; their counts by kind are complete."""

_PARAMS: Final = sa.select(t.run.c.run_id, t.run.c.params)


@dataclass(frozen=True, slots=True)
class _Present:
    """A run as its shard's checkpoint has it."""

    pnl: float
    trades: int
    alive: bool


def collect(database: SqlDatabase, wall_s: float | None = None) -> RunReport:
    """Read the report of the replay that a database holds; `wall_s` is how long it took, where the caller knows.

    Raises
    ------
    StateError
        The database holds no replay.
    """
    with database.snapshot() as unit:
        provenance = _provenance(unit)
        equity = reading.equity_curve(unit)
        markets = tuple(_market(unit, instrument, equity.at_ns) for instrument in unit.market.instruments())
        return RunReport(
            provenance=provenance,
            markets=markets,
            account=_account(unit, markets),
            equity=equity,
            fills=reading.fills(unit),
            cycles=reading.cycle_rows(unit),
            epochs=reading.epoch_rows(unit),
            cohort=_cohort(unit),
            marks=tuple(unit.cohort.marks()),
            orders={str(state): count for state, count in reading.orders_by_state(unit).items()},
            rejects=_codes(reason for reason, count in reading.rejects(unit).items() for _ in range(count)),
            reasons=_codes(reason for decision in reading.decisions(unit) for reason in decision.reasons),
            event_counts=reading.event_counts(unit),
            events=reading.events(unit, EVENTS_SHOWN),
            tasks=reading.tasks_done(unit),
            wall_s=wall_s,
        )


def _provenance(unit: Unit) -> Provenance:
    replay = unit.control.replay()
    if replay is None:
        raise StateError("this database holds no replay yet: start one with `trisagion run`")
    return Provenance(
        dataset=replay.dataset,
        digest=replay.digest,
        seed=replay.seed,
        settings_digest=replay.settings_digest,
        start_ns=replay.start_ns,
        end_ns=replay.end_ns,
        now_ns=max(replay.now_ns, replay.start_ns),
        finished=replay.finished,
    )


def _market(unit: Unit, instrument: Instrument, at_ns: Int64Array) -> Market:
    position = unit.ledger.position(instrument.symbol)
    return Market(
        instrument=instrument,
        realised=position.realised,
        fees=position.fees,
        qty=position.qty,
        cost=position.cost,
        mark=reading.mark(unit, instrument.symbol),
        held=reading.held(unit, instrument.symbol, at_ns),
        prices=reading.price_track(unit, instrument.symbol),
        regimes=reading.regime_track(unit, instrument.symbol),
    )


def _account(unit: Unit, markets: Iterable[Market]) -> AccountTotals:
    """Mark the ledger as it is now at the latest sampled prices: a fill may be younger than the latest sample."""
    with localcontext(WIDE):
        equity = unit.ledger.balance(Account.CASH, Account.EXCHANGE)
        for market in markets:
            if market.mark is not None:
                equity += round_money(notional(market.mark, market.qty, market.instrument.multiplier))
    return AccountTotals(
        start_equity=Money(unit.ledger.balance(Account.CAPITAL).copy_negate()),
        equity=Money(equity),
        aside=Money(unit.ledger.balance(Account.FINANCING, Account.ADJUSTMENT).copy_negate()),
    )


def _cohort(unit: Unit) -> CohortOutcome:
    """Join the ends in the run table with the present of those that live; arrays are in order of birth.

    Notes
    -----
    Every trade of a run has the notional ``start · pos_weight · pos_scaler / balance_divisor`` (domain, section 3, step
    9), so that its turnover over its start balance is the number of its trades times the rest of that product, and each
    trade has paid the fees of both ends. All runs of a replay start with the same balance and fee rate. A run whose
    checkpoint is not written yet has not traded yet.
    """
    shards = [from_bytes(row.state) for row in unit.cohort.shards()]
    accounts = (
        (float(shard.state["start"][0]), float(shard.state["fee_rate"][0])) for shard in shards if len(shard.run_ids)
    )
    start, fee_rate = next(accounts, (1.0, 0.0))
    present = {
        run_id: _Present(float(pnl), int(trades), bool(alive))
        for shard in shards
        for run_id, pnl, trades, alive in zip(
            shard.run_ids, shard.state["live_pnl"], shard.state["trades"], shard.alive, strict=True
        )
    }
    per_trade = {run_id: _notional_share(params) for run_id, params in unit.session.rows(_PARAMS)}
    runs = reading.runs(unit)
    states = [
        _Present(run.pnl, run.trades or 0, alive=False)
        if run.pnl is not None
        else present.get(run.run_id, _Present(0.0, 0, alive=True))
        for run in runs
    ]
    shares = np.array([per_trade[run.run_id] for run in runs], dtype=np.float64)
    turnover = np.array([state.trades for state in states], dtype=np.float64) * shares
    return CohortOutcome(
        profit=np.array([state.pnl for state in states], dtype=np.float64) / start,
        turnover=turnover,
        fees=turnover * (2 * fee_rate),
        alive=np.array([state.alive for state in states], dtype=np.bool_),
        cloned=np.array([run.parent is not None for run in runs], dtype=np.bool_),
        epoch=np.array([run.epoch for run in runs], dtype=np.int64),
        born_ns=np.array([run.born_ns for run in runs], dtype=np.int64),
    )


def _notional_share(params: str) -> float:
    values = json.loads(params)
    return float(values["pos_weight"] * values["pos_scaler"] / values["balance_divisor"])


def _codes(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons by their code, the word before the colon, the commonest first."""
    counts = Counter(reason.partition(":")[0] for reason in reasons)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
