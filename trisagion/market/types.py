"""The facts of a market, one frozen dataclass each. Instants are UTC nanoseconds."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trisagion.clock import SECOND_NS
from trisagion.market.closures import Closures
from trisagion.units import Price

Float64Array: TypeAlias = NDArray[np.float64]
Int64Array: TypeAlias = NDArray[np.int64]

TICK_NS: Final = 10 * SECOND_NS
"""The live tick: the last trade of each ten seconds.

Entropy windows count in minutes and want several ticks in each.
"""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded. `fee_rate` is a fraction of the notional, `multiplier` money per point and unit.

    `closures` are those of its exchange, None where no exchange adds to the platform's rest.
    """

    symbol: str
    venue: str
    currency: str
    tick_size: Decimal
    lot_size: Decimal
    multiplier: Decimal
    leverage_max: Decimal
    fee_rate: Decimal
    closures: Closures | None = field(default=None, repr=False, hash=False, kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Trades of one instrument in order of time: all arrays have shape (n,), dtype int64.

    `price_ticks` counts ticks of the instrument (exact), `size_lots` counts lots. Instants never fall.
    """

    instrument: Instrument
    ts_ns: Int64Array
    price_ticks: Int64Array
    size_lots: Int64Array

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True, slots=True)
class Bar:
    """Trades of [open_ns, open_ns + interval_ns): prices in points, volume in lots. Usable from `close_ns` on."""

    symbol: str
    open_ns: int
    interval_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int

    @property
    def close_ns(self) -> int:
        """The first instant at which the bar may be used."""
        return self.open_ns + self.interval_ns


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one instrument as columns, oldest first: all arrays have shape (n,).

    `close_ns` int64 rises by at least `interval_ns`, and is the first instant at which a bar may be used; `open`,
    `high`, `low`, `close` float64 above 0, in points; `volume` float64, not negative.
    """

    symbol: str
    interval_ns: int
    close_ns: Int64Array
    open: Float64Array
    high: Float64Array
    low: Float64Array
    close: Float64Array
    volume: Float64Array

    def __len__(self) -> int:
        return len(self.close_ns)


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and offer as known at `learned_ns`; `happened_ns` is the trade they were derived from."""

    symbol: str
    bid: Price
    ask: Price
    last: Price
    happened_ns: int
    learned_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Quotes:
    """Best bids and offers of one instrument as columns, oldest first: all arrays have shape (n,).

    `at_ns` int64 rises: of several quotes at one instant the last stands. `bid` and `ask` float64 above 0, in points;
    `bid_size` and `ask_size` float64, not negative, in lots.
    """

    symbol: str
    at_ns: Int64Array
    bid: Float64Array
    ask: Float64Array
    bid_size: Float64Array
    ask_size: Float64Array

    def __len__(self) -> int:
        return len(self.at_ns)


@dataclass(frozen=True, slots=True)
class MarketStep:
    """What the feed publishes for one minute that had trades: its bar and its live ticks.

    `ticks` holds (stamp, price): the last price of each ten-second slot that had a trade, stamped with the end of the
    slot. `last` is the last trade's price as exact text, `last_ns` its instant. `at_ns` equals `bar.close_ns`.
    """

    symbol: str
    at_ns: int
    bar: Bar
    ticks: tuple[tuple[int, float], ...]
    last: Price
    last_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class MarketState:
    """Features of the ticks of one step, shared by all runs on the symbol.

    Shapes: `ts_ns` int64 (n,); `price`, `weight`, `volatility` float64 (n,); `entropy` float64 (n, 15, 3, 3) indexed by
    window in minutes − 1, order − 3, delay − 1, NaN where unknown; `samples` int64 (n, 15), the number of weights
    seen in each window; `channel_high`, `channel_low` (points) and `z` (standard deviations) float64 (n, 51) over the
    last 10 … 60 closed bars, NaN where unknown (`features.channel`). `regime` is the headline of the last tick:
    "trending", "noisy" or "unknown".
    """

    symbol: str
    at_ns: int
    ts_ns: Int64Array
    price: Float64Array
    weight: Float64Array
    volatility: Float64Array
    entropy: Float64Array
    samples: Int64Array
    channel_high: Float64Array
    channel_low: Float64Array
    z: Float64Array
    regime: str
