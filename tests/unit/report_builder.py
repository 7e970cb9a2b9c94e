"""Reports for tests: a seeded market walk, and an account that trades on it and adds up to the last digit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from trisagion.clock import MINUTE_NS
from trisagion.cohort.types import ShardMark
from trisagion.ids import ClOrdId
from trisagion.market.instruments import ES
from trisagion.market.types import Float64Array, Instrument, Int64Array
from trisagion.orders.types import Liquidity, Side
from trisagion.reports.model import (
    AccountTotals,
    CohortOutcome,
    CycleRow,
    EpochRow,
    EquityCurve,
    EventRow,
    Fill,
    Market,
    PriceTrack,
    Provenance,
    RegimeTrack,
    RunReport,
)
from trisagion.units import Money, Price, Quantity

START_NS = 1_378_072_800 * 1_000_000_000
"""Sunday 2013-09-01 22:00 UTC, the first minute of the week in the Vatican."""

CAPITAL = Decimal(1000000)


@dataclass(frozen=True, slots=True)
class Books:
    """The account after its fills, its equity at each bar, and its part in the instrument."""

    totals: AccountTotals
    equity: Float64Array
    market: Market


def fill(
    minute: float, side: Side, qty: str, px: str, *, fee: str = "0", liquidity: Liquidity | None = Liquidity.MAKER
) -> Fill:
    """Make a fill some minutes after the start."""
    at_ns = START_NS + round(minute * MINUTE_NS)
    return Fill(
        at_ns, "ES", side, Price(Decimal(px)), Quantity(Decimal(qty)), Money(Decimal(fee)), liquidity, ClOrdId("T")
    )


def walk(minutes: int, seed: int) -> PriceTrack:
    """Make one-minute bars: closes walk on the tick grid, each bar holds its neighbour's close."""
    random = np.random.default_rng(seed)
    close = 1640 + 0.25 * np.cumsum(random.integers(-3, 4, minutes)).astype(np.float64)
    before = np.concatenate(([1640.0], close[:-1]))
    at_ns = START_NS + MINUTE_NS * np.arange(1, minutes + 1, dtype=np.int64)
    return PriceTrack(at_ns, np.minimum(close, before), np.maximum(close, before), close)


def trade(prices: PriceTrack, every: int, seed: int) -> tuple[Fill, ...]:
    """Trade one to three lots each `every` bars, at the close, in the middle of the bar, paying the fee rate."""
    random = np.random.default_rng(seed)
    fills = []
    for bar in range(every, len(prices.at_ns), every):
        qty, px = Decimal(int(random.integers(1, 4))), Decimal(repr(float(prices.close[bar])))
        side = Side.BUY if random.random() < 0.5 else Side.SELL
        fee = px * qty * ES.multiplier * ES.fee_rate
        at_ns = int(prices.at_ns[bar]) - MINUTE_NS // 2
        fills.append(Fill(at_ns, "ES", side, Price(px), Quantity(qty), Money(fee), Liquidity.MAKER, ClOrdId(f"T{bar}")))
    return tuple(fills)


def keep_books(fills: Sequence[Fill], prices: PriceTrack, instrument: Instrument = ES) -> Books:
    """Book fills at average cost; what rounding leaves stays in the cost, so that the sums are exact."""
    qty = cost = realised = fees = Decimal(0)
    queue = list(fills)
    equity, held = np.empty(len(prices.at_ns)), np.empty(len(prices.at_ns))
    for bar, (at_ns, close) in enumerate(zip(prices.at_ns.tolist(), prices.close.tolist(), strict=True)):
        while queue and queue[0].at_ns < at_ns:
            now = queue.pop(0)
            signed, unit = now.qty * now.side.sign, now.px * instrument.multiplier
            closing = -min(abs(signed), abs(qty)) * (1 if qty > 0 else -1) if qty * signed < 0 else Decimal(0)
            released = round(cost * -closing / qty, 6) if closing else Decimal(0)
            if closing and qty + closing == 0:
                released = cost
            realised += -closing * unit - released
            cost += (signed - closing) * unit - released
            qty += signed
            fees += now.fee
        worth = CAPITAL + realised - fees + qty * Decimal(repr(close)) * instrument.multiplier - cost
        equity[bar] = float(worth)
        held[bar] = float(qty)
    mark = Price(Decimal(repr(float(prices.close[-1])))) if len(prices.close) else None
    worth = CAPITAL + realised - fees - cost + (qty * mark * instrument.multiplier if mark is not None else 0)
    words = ["trending" if np.sin(i / 40) > 0.2 else "noisy" if i > 15 else "unknown" for i in range(len(equity))]
    market = Market(
        instrument=instrument,
        realised=Money(realised),
        fees=Money(fees),
        qty=Quantity(qty),
        cost=Money(cost),
        mark=mark,
        held=held,
        prices=prices,
        regimes=RegimeTrack(prices.at_ns, tuple(words)),
    )
    return Books(AccountTotals(Money(CAPITAL), Money(worth), Money(Decimal(0))), equity, market)


def cohort(runs: int, seed: int) -> CohortOutcome:
    """Make a cohort of which a tenth never traded, a fifth is alive and a half are clones."""
    random = np.random.default_rng(seed)
    turnover = np.where(random.random(runs) < 0.1, 0.0, random.uniform(1e-5, 1e-3, runs))
    fees = turnover * 8e-4
    profit = turnover * random.normal(6e-4, 4e-4, runs) - fees
    alive, cloned = random.random(runs) < 0.2, random.random(runs) < 0.5
    epoch = np.where(np.arange(runs) < runs // 2, 1, 2)
    born_ns = START_NS + 30 * MINUTE_NS * (np.arange(runs) // 5)
    return CohortOutcome(profit, turnover, fees, alive, cloned, epoch, born_ns)


def marks(runs: int, checkpoints: int, seed: int) -> tuple[ShardMark, ...]:
    """Make the marks of two shards, on which nobody ends and each P&L is a random walk."""
    random = np.random.default_rng(seed)
    worth = np.cumsum(random.standard_normal((checkpoints, runs)), axis=0)
    numbers = np.arange(runs, dtype=np.int64)
    return tuple(
        ShardMark(START_NS + 10 * MINUTE_NS * row, shard, numbers[shard::2], worth[row, shard::2])
        for row in range(checkpoints)
        for shard in (0, 1)
    )


def report(minutes: int = 1000, seed: int = 7, every: int = 25, runs: int = 400) -> RunReport:
    """Make the report of a replay of so many minutes, each `every` of them with a fill."""
    prices = walk(minutes, seed)
    return report_of(prices, trade(prices, every, seed), runs, seed)


def report_of(prices: PriceTrack, fills: tuple[Fill, ...], runs: int = 400, seed: int = 7) -> RunReport:
    """Make the report of given prices and fills."""
    books = keep_books(fills, prices)
    random = np.random.default_rng(seed)
    at_ns: Int64Array = prices.at_ns
    end_ns = int(at_ns[-1]) if len(at_ns) else START_NS
    cycles = tuple(
        CycleRow(at, "rest: weekend" if i % 17 == 3 else f"intents: {i % 2}", 0 if i % 17 == 3 else i % 2)
        for i, at in enumerate(range(START_NS, end_ns, 10 * MINUTE_NS))
    )
    middle = START_NS + (end_ns - START_NS) // 2
    return RunReport(
        provenance=Provenance("es", "ab" * 32, 1, "cd" * 32, START_NS, end_ns, end_ns, finished=True),
        markets=(books.market,),
        account=books.totals,
        equity=EquityCurve(at_ns, books.equity),
        fills=fills,
        cycles=cycles,
        epochs=(
            EpochRow(1, START_NS, middle, "draw_down", Decimal(1_000_000), runs // 2, runs // 2, 12.5, -0.4),
            EpochRow(2, middle, None, None, None, runs // 2, runs // 4, 3.25, -0.1),
        ),
        cohort=cohort(runs, seed),
        marks=marks(20, len(cycles), seed),
        orders={"filled": len(fills), "canceled": 12, "rejected": 3},
        rejects={"POST_ONLY_WOULD_CROSS": 3},
        reasons={"SELECTION_KELLY": len(cycles), "INTENT_BELOW_MIN_NOTIONAL": 9},
        event_counts={"order.denied": 2},
        events=(EventRow(middle, "order.denied", "T25", "reason: QUOTE_STALE"),),
        tasks=int(random.integers(10_000, 20_000)),
        wall_s=61.5,
    )


NQ = replace(ES, symbol="NQ", tick_size=Decimal(1), multiplier=Decimal(20), leverage_max=Decimal(10))


def pair(minutes: int = 1000, seed: int = 7, every: int = 25) -> RunReport:
    """Make the report of two instruments in one account: ES, and NQ, whose prices begin a tenth of the time later."""
    one, late = report(minutes, seed, every), minutes // 10
    whole = walk(minutes, seed + 1)
    track = PriceTrack(whole.at_ns[late:], *(4 * column[late:] for column in (whole.low, whole.high, whole.close)))
    fills = trade(track, every, seed + 1)
    books = keep_books(fills, track, NQ)
    market = replace(books.market, held=np.concatenate([np.zeros(late), books.market.held]))
    gained = np.concatenate([np.zeros(late), books.equity - float(CAPITAL)])
    equity = Money(one.account.equity + books.totals.equity - CAPITAL)
    return replace(
        one,
        markets=(*one.markets, market),
        account=replace(one.account, equity=equity),
        equity=replace(one.equity, equity=one.equity.equity + gained),
        fills=tuple(sorted((*one.fills, *(replace(fill, symbol="NQ") for fill in fills)), key=lambda fill: fill.at_ns)),
    )
