"""What tests are made of: an instrument, orders, reports, minutes and shards, each in order unless told otherwise."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from trisagion.adapters.db import SqlDatabase, tables
from trisagion.adapters.db.table_parts import METADATA
from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.cohort.state import Shard, to_bytes
from trisagion.cohort.supervise import CohortRules, first_shards
from trisagion.cohort.types import Epoch, ShardRow
from trisagion.ids import ClOrdId, CycleId, IntentKey, cl_ord_id, cycle_id, intent_key
from trisagion.ledger.postings import book_fill, opening
from trisagion.ledger.types import EquitySample, Position
from trisagion.market.types import TICK_NS, Bar, Instrument, MarketState, MarketStep
from trisagion.observer_ports import Observation
from trisagion.orders.intents import ReconcileRules
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, ExecutionReport, Liquidity, Order, Side
from trisagion.portfolio.sizing import SizingRules
from trisagion.risk.limits import Limits, founding_rows
from trisagion.risk.losses import LossRules
from trisagion.safety.modes import Control, Mode
from trisagion.selection.votes import SelectionRules
from trisagion.services.advance_cohort import found_cohort
from trisagion.services.book_fills import BookRules
from trisagion.services.ledger_enter import enter
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import VENUE, CycleRules
from trisagion.services.stakes import booked_cash, marked_equity
from trisagion.units import Money, Price, Quantity

ES: Final = Instrument("ES", "SIM", "USD", Decimal("0.25"), Decimal(1), Decimal(50), Decimal(20), Decimal("0.0004"))
"""An index future of four ticks to the point, 50 to the point and contract."""
NQ: Final = replace(ES, symbol="NQ", multiplier=Decimal(20), leverage_max=Decimal(10))
"""Another one, of a smaller contract and half the maximum leverage: of three runs it has one."""

TUESDAY_NS: Final = int(datetime(2024, 6, 11, 12, tzinfo=UTC).timestamp()) * SECOND_NS
"""A noon at which everything may be traded, a multiple of any reconciliation interval."""
SATURDAY_NS: Final = int(datetime(2024, 6, 15, 12, tzinfo=UTC).timestamp()) * SECOND_NS

ACCOUNT: Final = "SIM-1"
SESSION: Final = "SIM"
CAPITAL: Final = Money(Decimal(100_000_000))
LIMITS: Final = Limits(
    ACCOUNT,
    Decimal(10_000_000),
    Decimal(20_000_000),
    8,
    quote_age_ns_max=MINUTE_NS,
    open_notional_max=Decimal(1_000_000_000),
    collar_atr_max=Decimal(1_000_000),
    alike_orders_max=1_000_000,
    order_trade_ratio_max=Decimal(1_000_000),
    same_side_fills_max=1_000,
    rejects_max=1_000,
)
"""At 4000 a contract is worth 200,000: forty-nine to an order, ninety-nine to a position. A quote serves a minute.

Nothing is taken for a repetition, and a price may move as a test wants it to."""
AMPLE: Final = tuple(replace(row, value=Decimal(10) ** 15) for row in founding_rows(LIMITS, "test", 0))
"""Versions in force that leave it to the ceiling what is allowed."""
PATIENT: Final = LossRules(Decimal("0.97"), Decimal("0.98"), Decimal("0.96"))
"""Nothing that a test loses stops the platform."""

CYCLE_RULES: Final = CycleRules(
    account=ACCOUNT,
    session=SESSION,
    reconcile=ReconcileRules(),
    selection=SelectionRules(),
    sizing=SizingRules(),
    limits=LIMITS,
    alert_after=3,
)
BOOK_RULES: Final = BookRules(ACCOUNT, LIMITS, reprices_max=2)
COHORT_RULES: Final = CohortRules(desired_runs=12, shards=2, channel_share=0.5, fee_rate=0.0)


def qty(number: object) -> Quantity:
    """Make a quantity."""
    return Quantity(Decimal(str(number)))


def an_order(name: str = "T1", **changes: Any) -> Order:
    """Return an order to sell three, fresh from risk."""
    order = Order(
        cl_ord_id=ClOrdId(name),
        intent=IntentKey("C1:ES"),
        cycle=CycleId("C1"),
        attempt=0,
        symbol="ES",
        side=Side.SELL,
        qty=qty(3),
        taker=False,
        state=OrderState.RISK_CHECKED,
        created_ns=TUESDAY_NS,
        updated_ns=TUESDAY_NS,
    )
    return replace(order, **changes)


def an_intended_order(due_ns: int, state: OrderState, attempt: int = 0, **changes: Any) -> Order:
    """Return an order as the cycle due at an instant makes it, in any state."""
    key = intent_key(cycle_id(due_ns), "ES")
    sent = {} if state is OrderState.RISK_CHECKED else {"price": Price(Decimal("4000.25")), "session": SESSION}
    named = {"intent": key, "cycle": cycle_id(due_ns), "created_ns": due_ns, "updated_ns": due_ns}
    return an_order(
        cl_ord_id(ACCOUNT, key, attempt), **{**named, **sent, "state": state, "attempt": attempt, **changes}
    )


def a_report(exec_id: str | None = "E1", **changes: Any) -> ExecutionReport:
    """Return the fill of one of the three of `an_order`."""
    report = ExecutionReport(
        venue="SIM",
        exec_id=exec_id,
        cl_ord_id=ClOrdId("T1"),
        order_id="V1",
        exec_type=ExecType.TRADE,
        ord_status=OrderState.PARTIALLY_FILLED,
        symbol="ES",
        side=Side.SELL,
        last_qty=qty(1),
        last_px=Price(Decimal("4500.25")),
        cum_qty=qty(1),
        leaves_qty=qty(2),
        avg_px=Decimal("4500.25"),
        fee=Money(Decimal("1.8001")),
        liquidity=Liquidity.MAKER,
        reason=None,
        unknown_order=False,
        happened_ns=TUESDAY_NS,
    )
    return replace(report, **changes)


def said(order: Order, exec_type: ExecType, exec_id: str | None = "E1", **changes: Any) -> ExecutionReport:
    """Return what an honest venue says of an order that stands as we think; a trade fills one more."""
    trade = exec_type is ExecType.TRADE
    cum = order.cum_qty + int(trade)
    leaves = max(order.qty - cum, Decimal(0))
    resting = OrderState.PARTIALLY_FILLED if cum else OrderState.NEW
    status = {
        ExecType.NEW: resting,
        ExecType.TRADE: OrderState.PARTIALLY_FILLED if leaves else OrderState.FILLED,
        ExecType.ORDER_STATUS: resting,
        ExecType.TRADE_CANCEL: resting,
        ExecType.TRADE_CORRECT: resting,
        ExecType.REPLACED: resting,
        ExecType.CANCEL_REJECTED: resting,
        ExecType.REPLACE_REJECTED: resting,
    }
    ended = exec_type in {ExecType.CANCELED, ExecType.REJECTED, ExecType.EXPIRED, ExecType.DONE_FOR_DAY}
    bare = exec_type in {ExecType.CANCEL_REJECTED, ExecType.REPLACE_REJECTED}
    plain = {
        "cl_ord_id": order.cl_ord_id,
        "exec_type": exec_type,
        "ord_status": status[exec_type] if exec_type in status else OrderState(exec_type.value),
        "symbol": "" if bare else order.symbol,
        "side": order.side,
        "last_qty": qty(int(trade)),
        "last_px": Price(Decimal("4000.25")) if trade else None,
        "cum_qty": Quantity(cum),
        "leaves_qty": Quantity(Decimal(0) if ended else leaves),
        "avg_px": Decimal("4000.25") if cum else Decimal(0),
        "fee": Money(Decimal("1.8")) if trade else Money(Decimal(0)),
        "liquidity": Liquidity.MAKER if trade else None,
        "happened_ns": order.updated_ns,
    }
    answer = bare or exec_type is ExecType.ORDER_STATUS
    return a_report(None if answer else exec_id, **{**plain, **changes})


def a_step(at_ns: int, last: str = "4000", symbol: str = "ES") -> MarketStep:
    """Return the minute that closes at an instant, with a tick at each ten seconds."""
    price = float(last)
    bar = Bar(symbol, at_ns - MINUTE_NS, MINUTE_NS, price, price + 0.5, price - 0.5, price, 17.0, 5)
    ticks = tuple((bar.open_ns + (slot + 1) * TICK_NS, price) for slot in range(6))
    return MarketStep(symbol, at_ns, bar, ticks, Price(Decimal(last)), at_ns - 1)


def states(minutes: int, begin_ns: int, seed: int = 1, symbol: str = "ES") -> list[MarketState]:
    """Return the market states of some minutes after an instant: a random path with trends in it."""
    rng = np.random.default_rng(seed)
    n = minutes * 6
    price = 1600.0 + np.cumsum(rng.normal(0.0, 0.3, n))
    weight = np.clip(np.cumsum(rng.normal(0, 0.1, n)), -1, 1)
    entropy = rng.uniform(0, 0.2, (n, 15, 3, 3))
    middle = price[:, None] + rng.normal(0.0, 0.5, (n, 51))
    return [
        MarketState(
            symbol=symbol,
            at_ns=begin_ns + (minute + 1) * MINUTE_NS,
            ts_ns=begin_ns + minute * MINUTE_NS + np.arange(1, 7) * TICK_NS,
            price=price[part],
            weight=weight[part],
            volatility=np.full(6, 4.0),
            entropy=entropy[part],
            samples=np.full((6, 15), 30),
            channel_high=middle[part] + 0.3,
            channel_low=middle[part] - 0.3,
            z=rng.normal(0.0, 1.5, (6, 51)),
            regime="noisy",
        )
        for minute, part in ((minute, slice(minute * 6, minute * 6 + 6)) for minute in range(minutes))
    ]


def voting(
    at_ns: int,
    *directions: int,
    pnl: float = 1.0,
    updated_ns: int | None = None,
    instruments: Sequence[Instrument] = (ES,),
) -> Shard:
    """Return a shard whose runs vote these directions, each with the same P&L, on the instruments in turns."""
    rules = CohortRules(desired_runs=len(directions), shards=1)
    shard = first_shards(rules, instruments, epoch=1, seed=7, next_number=0, now_ns=at_ns).shards[0]
    shard.state["direction"] = directions
    shard.state["live_pnl"] = pnl
    shard.state["evaluated_ns"] = at_ns if updated_ns is None else updated_ns
    return shard


def words(outcomes: Outcome | Sequence[Outcome]) -> list[str]:
    """Return the words of outcomes whose subjects do not matter."""
    return [outcome.word for outcome in ([outcomes] if isinstance(outcomes, Outcome) else outcomes)]


@dataclass(slots=True)
class Desk:
    """An account on a real database, and what a test wants to put there and see of it."""

    database: SqlDatabase

    def found(
        self,
        mode: Mode = Mode.NORMAL,
        *,
        quoted_ns: int | None = TUESDAY_NS,
        instruments: Sequence[Instrument] = (ES,),
    ) -> "Desk":
        """Found the account with its instruments and a control mode; with a price unless `quoted_ns` is None."""
        with self.database.transaction() as tx:
            for instrument in instruments:
                tx.market.add_instrument(instrument)
            tx.ledger.post(opening(CAPITAL, 0, "USD"))
            for row in AMPLE:
                tx.limits.add(row)
        self.switch(mode)
        if quoted_ns is not None:
            for instrument in instruments:
                self.quote(quoted_ns, symbol=instrument.symbol)
        return self

    def switch(self, mode: Mode) -> None:
        """Set the control mode."""
        with self.database.transaction() as tx:
            tx.control.set_mode(Control(mode, "tester", "test", TUESDAY_NS))

    def quote(self, at_ns: int, last: str = "4000", symbol: str = "ES") -> None:
        """Publish the minute that closes at an instant."""
        with self.database.transaction() as tx:
            tx.market.add_step(a_step(at_ns, last, symbol))

    def put(self, *orders: Order) -> None:
        """Put orders there, whatever their state."""
        with self.database.transaction() as tx:
            for order in orders:
                assert tx.orders.add(order), order.cl_ord_id

    def hold(self, number: int, confirmed_ns: int = 0, price: str = "4000", at_ns: int = TUESDAY_NS) -> None:
        """Buy a position (sell a negative one), properly booked."""
        side = Side.BUY if number > 0 else Side.SELL
        last_qty, last_px = qty(abs(number)), Price(Decimal(price))
        fill = a_report(f"H{number}", side=side, last_qty=last_qty, last_px=last_px, happened_ns=at_ns)
        with self.database.transaction() as tx:
            entry, after = book_fill(tx.ledger.position("ES"), fill, ES)
            assert enter(tx, entry, replace(after, confirmed_ns=confirmed_ns)), entry.name

    def enter(self, *shards: Shard, at_ns: int) -> None:
        """Write checkpoints of shards, as of an instant, in an open epoch."""
        with self.database.transaction() as tx:
            if tx.cohort.epoch() is None:
                tx.cohort.put_epoch(Epoch(1, at_ns, None, None, None))
            versions = {row.number: row.version for row in tx.cohort.shards()}
            for shard in shards:
                version = versions.get(shard.number, -1) + 1
                row = ShardRow(shard.number, shard.epoch, at_ns, version, to_bytes(shard))
                if version:
                    assert tx.cohort.save_shard(row)
                else:
                    tx.cohort.add_shard(row)

    def people(self, at_ns: int = TUESDAY_NS) -> "Desk":
        """Found a cohort of two shards on all instruments."""
        with self.database.transaction() as tx:
            found_cohort(tx, COHORT_RULES, 1, 7, at_ns)
        return self

    def publish(self, known: Iterable[MarketState]) -> "Desk":
        """Publish market states."""
        with self.database.transaction() as tx:
            for state in known:
                tx.market.put_state(state)
        return self

    def checkpoint(self, number: int = 0) -> tuple[int, int, bytes]:
        """Return instant, version and bytes of a shard's checkpoint."""
        with self.database.snapshot() as tx:
            row = tx.cohort.shard(number)
        return row.at_ns, row.version, row.state

    def mark(self, at_ns: int) -> None:
        """Record the account's equity at an instant."""
        with self.database.transaction() as tx:
            worth = marked_equity(tx, at_ns)
            assert worth is not None
            price, held = Price(Decimal(4000)), tx.ledger.position("ES").qty
            tx.ledger.add_equity(EquitySample(at_ns, worth, booked_cash(tx), "ES", held, price))

    def observe(self, at_ns: int, *, seen: int | None = None, symbol: str = "ES") -> None:
        """Let the venue confirm the ledger at an instant, or see something else."""
        with self.database.transaction() as tx:
            held = tx.ledger.position(symbol)
            tx.ledger.observe(Observation(VENUE, symbol, held.qty if seen is None else qty(seen), at_ns))
            tx.ledger.save_position(replace(held, confirmed_ns=at_ns))

    def order(self, name: str = "T1") -> Order:
        """Return an order that is there."""
        with self.database.snapshot() as tx:
            order = tx.orders.order(ClOrdId(name))
        assert order is not None, name
        return order

    def orders(self) -> list[Order]:
        """Return all orders."""
        with self.database.snapshot() as tx:
            return list(tx.orders.in_states(frozenset(OrderState)))

    @property
    def position(self) -> Position:
        """The position in ES."""
        with self.database.snapshot() as tx:
            return tx.ledger.position("ES")

    def mode(self) -> Mode:
        """Return the control mode in force."""
        with self.database.snapshot() as tx:
            return tx.control.control().mode

    def rows(self, *columns: "sa.Column[Any]") -> list[Any]:
        """Return columns of a table, in order of the first."""
        with self.database.snapshot() as unit:
            return [tuple(row) for row in unit.session.rows(sa.select(*columns).order_by(columns[0]))]

    def events(self, begin: str = "") -> list[str]:
        """Return the events that begin so, written "kind subject detail"."""
        found = self.rows(tables.event.c.seq, tables.event.c.kind, tables.event.c.subject, tables.event.c.detail)
        return [text for row in found if (text := " ".join(row[1:])).startswith(begin)]

    def everything(self) -> dict[str, list[Any]]:
        """Return every row of every table but the leases', so that a test can say that nothing changed."""
        with self.database.snapshot() as unit:
            return {
                table.name: sorted(map(repr, unit.session.rows(sa.select(table))))
                for table in METADATA.sorted_tables
                if table is not tables.lease
            }
