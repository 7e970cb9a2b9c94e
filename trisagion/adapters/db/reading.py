"""What people read: the report and the console. Plain functions over one unit of work, best a snapshot.

The values are those of `reports.model` where it has a shape for them; sums of money are exact.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.cohort import run_order
from trisagion.adapters.db.cycles import read_decision
from trisagion.adapters.db.engine import SqlDatabase, Unit
from trisagion.adapters.db.ledger import exact_sum
from trisagion.ids import RunId
from trisagion.market.types import Float64Array, Int64Array
from trisagion.orders.state import AT_VENUE, OrderState
from trisagion.orders.types import ExecType, Liquidity, Order, Side
from trisagion.ports import Decision
from trisagion.reports.model import CycleRow, EpochRow, EquityCurve, EventRow, Fill, PriceTrack, RegimeTrack
from trisagion.units import Money, Price, plain

_EQUITY: Final = sa.select(t.equity.c.at_ns, t.equity.c.equity).distinct().order_by(t.equity.c.at_ns)
_HELD: Final = (
    sa.select(t.equity.c.at_ns, t.equity.c.qty)
    .where(t.equity.c.symbol == sa.bindparam("symbol"))
    .order_by(t.equity.c.at_ns)
)
_MARK: Final = (
    sa.select(t.equity.c.price)
    .where(t.equity.c.symbol == sa.bindparam("symbol"))
    .order_by(t.equity.c.at_ns.desc())
    .limit(1)
)
_PRICES: Final = (
    sa.select(t.bar.c.close_ns, t.bar.c.low, t.bar.c.high, t.bar.c.close)
    .where(t.bar.c.symbol == sa.bindparam("symbol"))
    .order_by(t.bar.c.close_ns)
)
_REGIMES: Final = (
    sa.select(t.market_state.c.at_ns, t.market_state.c.regime)
    .where(t.market_state.c.symbol == sa.bindparam("symbol"))
    .order_by(t.market_state.c.at_ns)
)
_x, _undoing = t.execution.c, t.execution.alias("undoing").c
_UNDONE: Final = sa.select(_undoing.venue, _undoing.ref_exec_id).where(_undoing.ref_exec_id.is_not(None))
_AT_HOME: Final = sa.case(
    (sa.or_(_x.fee_currency.is_(None), _x.fee_currency == t.instrument.c.currency), _x.fee),
    else_=sa.literal(Decimal(0), _x.fee.type),
)
"""The fee of a fill in the instrument's currency; one in another is no part of the account's equity."""
_FILLS: Final = (
    sa.select(
        _x.happened_ns,
        _x.symbol,
        _x.side,
        _x.last_px,
        _x.last_qty,
        _AT_HOME,
        _x.liquidity,
        _x.cl_ord_id,
        # What takes liquidity is never replaced, so its order has no other ClOrdID.
        sa.func.coalesce(t.orders.c.taker, sa.false()),
    )
    .select_from(t.execution)
    .outerjoin(t.instrument, _x.symbol == t.instrument.c.symbol)
    .outerjoin(t.orders, _x.cl_ord_id == t.orders.c.cl_ord_id)
    .where(
        _x.exec_type.in_([ExecType.TRADE, ExecType.TRADE_CORRECT]),
        sa.tuple_(_x.venue, _x.exec_id).not_in(_UNDONE),
    )
    .order_by(_x.happened_ns, _x.venue, _x.exec_id)
)
_DECISIONS: Final = (
    sa.select(t.decision)
    .join(t.reconcile_cycle, t.reconcile_cycle.c.cycle_id == t.decision.c.cycle_id)
    .order_by(t.reconcile_cycle.c.due_ns, t.decision.c.symbol)
)
_ORDERS_BY_STATE: Final = sa.select(t.orders.c.state, sa.func.count()).group_by(t.orders.c.state)
_REJECTS: Final = sa.select(t.orders.c.reason).where(
    t.orders.c.state.in_(sa.bindparam("states", [OrderState.REJECTED, OrderState.DENIED], expanding=True))
)
_CYCLES: Final = (
    sa.select(t.reconcile_cycle.c.due_ns, t.reconcile_cycle.c.outcome, sa.func.count(t.orders.c.cl_ord_id))
    .outerjoin(t.orders, t.orders.c.cycle == t.reconcile_cycle.c.cycle_id)
    .group_by(t.reconcile_cycle.c.cycle_id, t.reconcile_cycle.c.due_ns, t.reconcile_cycle.c.outcome)
    .order_by(t.reconcile_cycle.c.due_ns)
)
_r = t.run.c
_RUNS: Final = sa.select(
    *(_r.run_id, _r.epoch, _r.shard, _r.symbol, _r.parent, _r.born_ns),
    *(_r.ended_ns, _r.reason, _r.pnl, _r.iterations, _r.trades),
)
_EVENT_COUNTS: Final = sa.select(t.event.c.kind, sa.func.count()).group_by(t.event.c.kind)
_EVENTS: Final = sa.select(t.event).order_by(t.event.c.seq.desc()).limit(sa.bindparam("count", type_=sa.Integer()))
_TASKS: Final = sa.select(sa.func.sum(t.process.c.tasks, type_=sa.BigInteger()))
_FEES: Final = sa.select(t.ledger_position.c.fees)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """A run without its parameters. The last five are None while it lives: its present is in its shard's checkpoint."""

    run_id: RunId
    epoch: int
    shard: int
    symbol: str
    parent: RunId | None
    born_ns: int
    ended_ns: int | None
    reason: str | None
    pnl: float | None
    iterations: int | None
    trades: int | None


def equity_curve(unit: Unit) -> EquityCurve:
    """Return the account's equity at all instants at which it was marked, in order of time."""
    rows = unit.session.rows(_EQUITY)
    return EquityCurve(_column(rows, 0, np.int64), _column(rows, 1, np.float64))


def held(unit: Unit, symbol: str, at_ns: Int64Array) -> Float64Array:
    """Return a symbol's position at instants at which the account was marked, 0 before it first had a price."""
    rows = unit.session.rows(_HELD, {"symbol": symbol})
    found = np.zeros(len(at_ns))
    found[np.searchsorted(at_ns, _column(rows, 0, np.int64))] = _column(rows, 1, np.float64)
    return found


def mark(unit: Unit, symbol: str) -> Price | None:
    """Return the price at which a symbol was marked last."""
    price: Decimal | None = unit.session.scalar(_MARK, {"symbol": symbol})
    return None if price is None else Price(price)


def price_track(unit: Unit, symbol: str) -> PriceTrack:
    """Return all bars of a symbol in order of time."""
    rows = unit.session.rows(_PRICES, {"symbol": symbol})
    return PriceTrack(_column(rows, 0, np.int64), *(_column(rows, index, np.float64) for index in (1, 2, 3)))


def regime_track(unit: Unit, symbol: str) -> RegimeTrack:
    """Return the regime of each minute of a symbol in order of time."""
    rows = unit.session.rows(_REGIMES, {"symbol": symbol})
    return RegimeTrack(_column(rows, 0, np.int64), tuple(regime for _, regime in rows))


def fills(unit: Unit) -> tuple[Fill, ...]:
    """Return all trades that stand, in order of time: a bust takes one away, a correction puts another in its place."""
    return tuple(
        Fill(
            at_ns,
            symbol,
            Side(side),
            px,
            qty,
            fee,
            None if liquidity is None else Liquidity(liquidity),
            cl_ord_id,
            emergency=bool(taker),
        )
        for at_ns, symbol, side, px, qty, fee, liquidity, cl_ord_id, taker in unit.session.rows(_FILLS)
    )


def maker_share(unit: Unit) -> Decimal | None:
    """Return the share of the filled quantity that added liquidity, None when nothing was filled."""
    done = fills(unit)
    total = exact_sum(fill.qty for fill in done)
    made = exact_sum(fill.qty for fill in done if fill.liquidity is Liquidity.MAKER)
    return made / total if total else None


def fees(unit: Unit) -> Money:
    """Return the fees of all positions together."""
    return Money(exact_sum(fee for (fee,) in unit.session.rows(_FEES)))


def decisions(unit: Unit) -> list[Decision]:
    """Return all decisions in order of cycle, then symbol."""
    return [read_decision(row) for row in unit.session.rows(_DECISIONS)]


def orders_by_state(unit: Unit) -> dict[OrderState, int]:
    """Return how many orders are in each state that has any."""
    found = {OrderState(state): count for state, count in unit.session.rows(_ORDERS_BY_STATE)}
    return {state: found[state] for state in OrderState if state in found}


def working_orders(unit: Unit) -> Sequence[Order]:
    """Return the orders that the venue may know and that are not done."""
    return unit.orders.in_states(AT_VENUE)


def rejects(unit: Unit) -> dict[str, int]:
    """Return how often each reason ended an order as denied or rejected, the most frequent first."""
    counts = Counter(reason or "no reason given" for (reason,) in unit.session.rows(_REJECTS))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def cycle_rows(unit: Unit) -> tuple[CycleRow, ...]:
    """Return all reconciliation cycles in order of time, with how many orders each made (attempts count)."""
    return tuple(CycleRow(*row) for row in unit.session.rows(_CYCLES))


def runs(unit: Unit) -> list[RunOutcome]:
    """Return all runs in order of birth."""
    found = [RunOutcome(*row) for row in unit.session.rows(_RUNS)]
    return sorted(found, key=lambda run: run_order(run.run_id))


def epoch_rows(unit: Unit) -> tuple[EpochRow, ...]:
    """Return all epochs in order, with the P&L of the runs born in them that have ended."""
    born: dict[int, int] = {}
    pnls: dict[int, list[float]] = {}
    for run in runs(unit):
        born[run.epoch] = born.get(run.epoch, 0) + 1
        if run.pnl is not None:
            pnls.setdefault(run.epoch, []).append(run.pnl)
    return tuple(
        EpochRow(
            number=epoch.number,
            opened_ns=epoch.opened_ns,
            closed_ns=epoch.closed_ns,
            reason=epoch.reason,
            baseline=None if epoch.baseline is None else Decimal(epoch.baseline),
            born=born.get(epoch.number, 0),
            ended=len(pnls.get(epoch.number, ())),
            best_pnl=max(pnls[epoch.number]) if epoch.number in pnls else None,
            median_pnl=float(np.median(pnls[epoch.number])) if epoch.number in pnls else None,
        )
        for epoch in unit.cohort.epochs()
    )


def event_counts(unit: Unit) -> dict[str, int]:
    """Return how many events of each kind there are, in order of kind."""
    return dict(sorted((kind, count) for kind, count in unit.session.rows(_EVENT_COUNTS)))


def events(unit: Unit, count: int) -> tuple[EventRow, ...]:
    """Return the newest `count` events, oldest first; the text is "key=value" pairs in order of key."""
    return tuple(
        EventRow(at_ns, kind, subject, " ".join(f"{key}={value}" for key, value in json.loads(detail).items()))
        for _, at_ns, kind, subject, detail in reversed(unit.session.rows(_EVENTS, {"count": count}))
    )


def tasks_done(unit: Unit) -> int:
    """Return how many tasks all processes have done, by their last word."""
    return int(unit.session.scalar(_TASKS) or 0)


_HISTORY: Final[dict[str, tuple[sa.Table, frozenset[str], tuple[str, ...]]]] = {
    "decisions": (t.decision, frozenset(), ("cycle_id", "symbol")),
    "orders": (t.orders, frozenset({"updated_ns", "version"}), ("created_ns", "cl_ord_id")),
    "executions": (t.execution, frozenset({"seq", "learned_ns"}), ("happened_ns", "venue", "exec_id")),
    "postings": (t.posting, frozenset(), ("happened_ns", "entry", "line")),
    "positions": (t.ledger_position, frozenset({"confirmed_ns"}), ("symbol",)),
}
"""What two replays of one thing must have in common: table, columns that may differ (when we learned it), order."""


def history(database: SqlDatabase) -> dict[str, list[tuple[str, ...]]]:
    """Return decisions, orders, executions, postings and positions as text, in an order that every replay has."""
    with database.snapshot() as unit:
        return {
            name: [
                tuple(_text(value) for value in row)
                for row in unit.session.rows(
                    sa.select(*(column for column in table.c if column.name not in left_out)).order_by(
                        *(table.c[column] for column in order)
                    )
                )
            ]
            for name, (table, left_out, order) in _HISTORY.items()
        }


def _text(value: object) -> str:
    if value is None:
        return ""
    return plain(value) if isinstance(value, Decimal) else repr(value) if isinstance(value, float) else str(value)


def _column(rows: Sequence[Any], index: int, kind: type[Any]) -> NDArray[Any]:
    return np.array([row[index] for row in rows], dtype=kind)
