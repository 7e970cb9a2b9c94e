"""One replay as plain values, finished or still running: all that a report is made from.

Exact numbers (money, prices of fills, quantities) are decimals; arrays are float64 and serve statistics and drawing
only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from trisagion.cohort.types import ShardMark
from trisagion.ids import ClOrdId
from trisagion.market.types import Float64Array, Instrument, Int64Array
from trisagion.orders.types import Liquidity, Side
from trisagion.units import WIDE, Money, Price, Quantity, notional, round_money


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was replayed and how; `digest` is that of the data, `now_ns` how far the replay has come."""

    dataset: str
    digest: str
    seed: int
    settings_digest: str
    start_ns: int
    end_ns: int
    now_ns: int
    finished: bool


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """The account at its start and now, to the last digit.

    `start_equity` is the capital that was put in, transfers since included: they are no profit. `aside` is what
    financing and adjustments have brought in, which is profit of no fill.
    """

    start_equity: Money
    equity: Money
    aside: Money


@dataclass(frozen=True, slots=True, eq=False)
class EquityCurve:
    """The account marked once a minute: shapes (n,), `at_ns` int64 rising; `equity` float64 in money."""

    at_ns: Int64Array
    equity: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class PriceTrack:
    """One-minute bars: shapes (n,), `at_ns` int64 rising, the close instant; `low`, `high`, `close` float64."""

    at_ns: Int64Array
    low: Float64Array
    high: Float64Array
    close: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class RegimeTrack:
    """The regime of each minute: `at_ns` int64 (n,) rising and n words ("trending", "noisy", "unknown")."""

    at_ns: Int64Array
    regime: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """One instrument: its terms, the account's part in it now, to the last digit, and its course.

    `cost` is what the open position was bought for, `mark` its latest price, None before the first. `held` is the
    signed position at each instant of the equity curve, float64 of its shape.
    """

    instrument: Instrument
    realised: Money
    fees: Money
    qty: Quantity
    cost: Money
    mark: Price | None
    held: Float64Array
    prices: PriceTrack
    regimes: RegimeTrack

    @property
    def symbol(self) -> str:
        """The instrument's name."""
        return self.instrument.symbol

    @property
    def unrealised(self) -> Money:
        """The open position at its mark less its cost."""
        if self.mark is None:
            return Money(-self.cost)
        with localcontext(WIDE):
            return Money(round_money(notional(self.mark, self.qty, self.instrument.multiplier)) - self.cost)

    def close_at(self, at_ns: Int64Array) -> Float64Array:
        """Return the last close known at each instant, float64 of its shape; the first one before that."""
        known = np.searchsorted(self.prices.at_ns, at_ns, side="right") - 1
        closes: Float64Array = self.prices.close[np.maximum(known, 0)]
        return closes


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution as the ledger booked it; `qty` is above zero, `fee` what it cost in the instrument's currency.

    `emergency` says that its order flattened in an emergency, and so might take liquidity.
    """

    at_ns: int
    symbol: str
    side: Side
    px: Price
    qty: Quantity
    fee: Money
    liquidity: Liquidity | None
    cl_ord_id: ClOrdId
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class CycleRow:
    """One reconciliation: `outcome` is its own word ("rest: …", "intents: 0"), None while it runs; `orders` it made."""

    at_ns: int
    outcome: str | None
    orders: int

    @property
    def kind(self) -> str:
        """The outcome in one word of four: "orders", "no order", "rest", "unfinished"."""
        if self.orders:
            return "orders"
        if self.outcome is None or self.outcome.startswith(("abandoned", "missed")):
            return "unfinished"
        return "rest" if self.outcome.startswith("rest") else "no order"


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One generation of the cohort; best and median P&L are of its ended runs, in money of their own accounts."""

    number: int
    opened_ns: int
    closed_ns: int | None
    reason: str | None
    baseline: Decimal | None
    born: int
    ended: int
    best_pnl: float | None
    median_pnl: float | None


@dataclass(frozen=True, slots=True, eq=False)
class CohortOutcome:
    """Every run ever born, ended or alive: all shapes (n,).

    `profit` float64 is P&L after `fees`, `turnover` float64 the notional traded, all as multiples of the run's start
    balance;
    `alive` bool; `cloned` bool tells clones of winners from random draws; `epoch` int64 is that of its birth, `born_ns`
    int64 the instant of it.
    """

    profit: Float64Array
    turnover: Float64Array
    fees: Float64Array
    alive: NDArray[np.bool_]
    cloned: NDArray[np.bool_]
    epoch: Int64Array
    born_ns: Int64Array


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of the event log."""

    at_ns: int
    kind: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class RunReport:
    """All that is told about one replay; `markets` are in order of symbol, at least one, all in one currency.

    `orders` counts by state, `rejects` orders denied or rejected by reason, `reasons` the codes of the decisions,
    `event_counts` by kind; `events` are the newest of them, oldest first. Epochs, fills, cycles and `marks` (what
    each run had earned at each checkpoint) are in order of time.
    """

    provenance: Provenance
    markets: tuple[Market, ...]
    account: AccountTotals
    equity: EquityCurve
    fills: tuple[Fill, ...]
    cycles: tuple[CycleRow, ...]
    epochs: tuple[EpochRow, ...]
    cohort: CohortOutcome
    marks: tuple[ShardMark, ...]
    orders: Mapping[str, int]
    rejects: Mapping[str, int]
    reasons: Mapping[str, int]
    event_counts: Mapping[str, int]
    events: tuple[EventRow, ...]
    tasks: int
    wall_s: float | None

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is traded, in order."""
        return tuple(market.symbol for market in self.markets)

    @property
    def currency(self) -> str:
        """The one currency of account and instruments."""
        return self.markets[0].instrument.currency

    @property
    def only(self) -> Market | None:
        """The instrument where there is one alone."""
        return self.markets[0] if len(self.markets) == 1 else None

    @property
    def realised(self) -> Money:
        """What closed positions gained, before fees."""
        return _sum(market.realised for market in self.markets)

    @property
    def fees(self) -> Money:
        """All fees paid."""
        return _sum(market.fees for market in self.markets)

    @property
    def unrealised(self) -> Money:
        """The open positions at their marks less their costs."""
        return _sum(market.unrealised for market in self.markets)

    @property
    def profit(self) -> Money:
        """What the account has gained since its start, fees and open positions included."""
        with localcontext(WIDE):
            return Money(self.account.equity - self.account.start_equity)

    def of(self, symbol: str) -> tuple[Fill, ...]:
        """Return the fills of one symbol, in order of time."""
        return tuple(fill for fill in self.fills if fill.symbol == symbol)


def _sum(amounts: Iterable[Money]) -> Money:
    with localcontext(WIDE):
        return Money(sum(amounts, Decimal(0)))
