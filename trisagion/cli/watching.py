"""What the console shows of a running platform: a few counts and last rows, read a few times a second."""

import math
import time
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.engine import SqlDatabase, Unit
from trisagion.adapters.db.reading import events
from trisagion.cli.console import EVENTS_SHOWN, Frame, Holding
from trisagion.clock import SECOND_NS, ReplayClock
from trisagion.ledger.types import Account
from trisagion.orders.state import AT_VENUE
from trisagion.orders.types import ExecType, Liquidity
from trisagion.ports import Replay

_TRADES: Final = sa.select(sa.func.count()).where(t.execution.c.exec_type == ExecType.TRADE)
_MAKER: Final = _TRADES.where(t.execution.c.liquidity == Liquidity.MAKER)
_CYCLES: Final = sa.select(sa.func.count()).select_from(t.reconcile_cycle)
_RESTS: Final = _CYCLES.where(t.reconcile_cycle.c.outcome.like("rest:%"))


def frames(database: SqlDatabase, begun_s: float, currency: str) -> Iterator[Frame | None]:
    """Yield a look at the run each time one is asked for; None until the replay has begun. `begun_s` is monotonic."""
    while True:
        with database.snapshot() as unit:
            replay = unit.control.replay()
            frame = None if replay is None else _frame(unit, replay, currency, begun_s)
        yield frame


def _frame(unit: Unit, replay: Replay, currency: str, begun_s: float) -> Frame:
    sample = unit.ledger.last_equity()
    capital = unit.ledger.balance(Account.CAPITAL).copy_negate()
    epochs = unit.cohort.epochs()
    shards = unit.cohort.progress(replay.now_ns)
    best = [shard.best_apr for shard in shards if not math.isnan(shard.best_apr)]
    median = [shard.median_apr for shard in shards if not math.isnan(shard.median_apr)]
    beats = tuple(unit.control.beats())
    standing = unit.control.standing()
    fills = unit.session.scalar(_TRADES)
    equity = sample.equity if sample is not None else capital
    return Frame(
        wall_s=time.monotonic() - begun_s,
        dataset=replay.dataset,
        holdings=tuple(_holding(unit, instrument.symbol, replay.now_ns) for instrument in unit.market.instruments()),
        currency=currency,
        start_ns=replay.start_ns,
        end_ns=replay.end_ns,
        now_ns=replay.now_ns,
        mode=standing.everything.mode,
        parts=tuple(f"{part.mode} {part.where}" for part in standing.at(replay.now_ns)),
        epoch=epochs[-1].number if epochs else 0,
        alive=sum(shard.alive for shard in shards),
        in_market=sum(shard.in_market for shard in shards),
        best_apr=max(best, default=math.nan),
        median_apr=sum(median) / len(median) if median else math.nan,
        lag_s=_lag_s(unit, replay),
        working=len(unit.orders.in_states(AT_VENUE)),
        fills=fills,
        maker_share=unit.session.scalar(_MAKER) / fills if fills else None,
        equity=equity,
        profit=equity - capital,
        cycles=unit.session.scalar(_CYCLES),
        rests=unit.session.scalar(_RESTS),
        tasks=sum(beat.tasks for beat in beats),
        processes=beats,
        events=tuple(f"{event.kind} {event.subject} {event.text}".strip() for event in events(unit, EVENTS_SHOWN)),
    )


def _holding(unit: Unit, symbol: str, now_ns: int) -> Holding:
    decisions = unit.cycles.last_decisions(symbol, 1)
    states = unit.market.states(symbol, now_ns - 1, now_ns)
    return Holding(
        symbol=symbol,
        regime=states[-1].regime if states else "unknown",
        desired=decisions[0].desired if decisions else None,
        actual=unit.ledger.position(symbol).qty,
    )


def _lag_s(unit: Unit, replay: Replay) -> float:
    """Return how long ago, by the clock of a paced replay, the minute was due that is not complete yet."""
    newest_ns = max((unit.market.heads(each.symbol)[1] for each in unit.market.instruments()), default=0)
    if not replay.speed or newest_ns <= replay.now_ns:
        return 0.0
    clock = ReplayClock(replay.start_ns, replay.speed, replay.origin_ns)
    return max(0.0, (clock.now_ns() - newest_ns) / SECOND_NS)
