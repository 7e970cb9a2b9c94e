"""Records of the cohort as the database keeps them; the numbers of the runs themselves live in `cohort.state`."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from trisagion.ids import RunId


class ExitReason(StrEnum):
    """Why a run ended."""

    MAX_DURATION = "max_duration"
    APR_TARGET = "apr_target"
    REVERSAL = "reversal"
    PURGED = "purged"
    EPOCH = "epoch"
    DRAW_DOWN = "draw_down"


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A checkpoint: the runs of one shard as bytes (`cohort.state`), true at `at_ns`.

    `version` grows with each write.
    """

    number: int
    epoch: int
    at_ns: int
    version: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """What a shard looked like at one instant. APRs are multiples per year; NaN where no run is alive."""

    shard: int
    at_ns: int
    alive: int
    in_market: int
    best_apr: float
    median_apr: float


@dataclass(frozen=True, slots=True, eq=False)
class ShardMark:
    """What the runs of a shard had earned at one checkpoint, those that ended since the last supervision included.

    `runs` int64 (k,) are the numbers of the runs (`ids.run_number`), `pnl` float64 (k,) is `live_pnl` in the run's own
    money. It is kept as float32, 8 bytes a run and checkpoint with its number: 1 MB for 500 runs over 235 cycles, 22 MB
    for 12,000; a part in 10⁷ of a P&L is lost, far below what one tick of one trade is worth.
    """

    at_ns: int
    shard: int
    runs: NDArray[np.int64]
    pnl: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's birth: `params` is the parameter set as JSON; `parent` is None for a random draw."""

    run_id: RunId
    epoch: int
    shard: int
    symbol: str
    parent: RunId | None
    born_ns: int
    params: str


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run's end and what it had earned, in units of its own account."""

    run_id: RunId
    ended_ns: int
    reason: ExitReason
    pnl: float
    iterations: int
    trades: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """A generation of the cohort. `reason` is "take_profit" or "draw_down"; `baseline` is exact text."""

    number: int
    opened_ns: int
    closed_ns: int | None
    reason: str | None
    baseline: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """What selection reads of the runs on one symbol; all arrays have shape (n,).

    `direction` int64: net number of trades, + for buys; `live_pnl` float64: balance − start in the run's own money;
    `exiting` bool: the run has ended; `updated_ns` int64: its last tick.
    """

    symbol: str
    direction: NDArray[np.int64]
    live_pnl: NDArray[np.float64]
    exiting: NDArray[np.bool_]
    updated_ns: NDArray[np.int64]
