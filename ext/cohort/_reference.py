"""Virtual runs evaluated in plain Python: the truth that the compiled twin must repeat, decision for decision.

Both twins do the same double-precision operations in the same order (the kernel is built without fused multiply-adds),
so a shard may be advanced by one, saved, and continued by the other. Words, numbers and the order of steps are those of
docs/domain, section 3.
"""

import math
from types import SimpleNamespace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ext.cohort._columns import REAL, WHOLE, Columns, fields

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS

RING: Final = 181
"""Samples of the rolling APR: 30 minutes (the longest `rolling_apr_min`) of 10-second ticks, and one."""

DIRECTION_MAX: Final = 1024

DAYS_PER_YEAR: Final = 365.24

SYSTEM_BREAKOUT: Final = 0
SYSTEM_SWING: Final = 1

ENTRY_WEIGHT: Final = 0
ENTRY_CHANNEL: Final = 1

PERIODS_MIN: Final = 10
PERIODS_MAX: Final = 60
"""Bounds of `breakout_periods` and `swing_periods`: column c of a channel array belongs to c + 10 bars."""

ALIVE: Final = 0
EXIT_MAX_DURATION: Final = 1
EXIT_APR_TARGET: Final = 2
EXIT_REVERSAL: Final = 3

PARAMS_DTYPE: Final = np.dtype(
    [
        ("system_type", "<i8"),
        ("entry", "<i8"),
        ("max_duration_s", "<i8"),
        ("max_direction_reversal_s", "<f8"),
        ("balance_divisor", "<f8"),
        ("pos_scaler", "<f8"),
        ("pos_weight", "<f8"),
        ("max_cross_margin_ratio", "<f8"),
        ("apr_target", "<f8"),
        ("min_goal", "<f8"),
        ("max_goal", "<f8"),
        ("min_goal_weight", "<f8"),
        ("max_goal_weight", "<f8"),
        ("entropy_window_min", "<i8"),
        ("entropy_min_samples", "<i8"),
        ("entropy_order", "<i8"),
        ("entropy_delay", "<i8"),
        ("entropy_max", "<f8"),
        ("rolling_apr_min", "<i8"),
        ("breakout_periods", "<i8"),
        ("swing_periods", "<i8"),
        ("swing_z", "<f8"),
        ("decision_distance_s", "<i8"),
        ("leverage", "<f8"),
    ]
)
"""What a run was born with."""

STATE_DTYPE: Final = np.dtype(
    [
        ("born_ns", "<i8"),
        ("start", "<f8"),
        ("fee_rate", "<f8"),
        ("position", "<f8"),
        ("entry_value", "<f8"),
        ("fees", "<f8"),
        ("balance", "<f8"),
        ("live_pnl", "<f8"),
        ("direction", "<i8"),
        ("trades", "<i8"),
        ("iterations", "<i8"),
        ("evaluated_ns", "<i8"),
        ("apr", "<f8"),
        ("rolling_apr", "<f8"),
        ("apr_sum", "<f8"),
        ("apr_sum_low", "<f8"),
        ("ring_first", "<i8"),
        ("ring_count", "<i8"),
        ("exit_code", "<i8"),
        ("ended_ns", "<i8"),
    ]
)
"""What becomes of it. `apr_sum + apr_sum_low` is the sum of the ring's samples to about 106 bits."""

_INDEX_RANGES: Final = {
    "entry": (ENTRY_WEIGHT, ENTRY_CHANNEL),
    "system_type": (SYSTEM_BREAKOUT, SYSTEM_SWING),
    "entropy_window_min": (1, 15),
    "entropy_order": (3, 5),
    "entropy_delay": (1, 3),
    "rolling_apr_min": (1, 30),
    "breakout_periods": (PERIODS_MIN, PERIODS_MAX),
    "swing_periods": (PERIODS_MIN, PERIODS_MAX),
}


class Market(NamedTuple):
    """What runs see of m symbols at n ticks, those of one symbol behind those of another.

    Shapes: `first` int64 (m + 1,): the ticks of symbol s are first[s] … first[s + 1] − 1; `ts_ns` int64 (n,), rising
    within a symbol; `price` (points), `weight` (−1 … 1) and `volatility` (points) float64 (n,);
    `entropy` float64 (n, 15, 3, 3) and `samples` int64 (n, 15) as `ext.entropy.entropy_grid` gives them;
    `channel_high`, `channel_low` (points) and `z` (standard deviations) float64 (n, 51) over the last 10 … 60 closed
    bars, NaN where unknown.
    """

    first: NDArray[np.int64]
    ts_ns: NDArray[np.int64]
    price: NDArray[np.float64]
    weight: NDArray[np.float64]
    volatility: NDArray[np.float64]
    entropy: NDArray[np.float64]
    samples: NDArray[np.int64]
    channel_high: NDArray[np.float64]
    channel_low: NDArray[np.float64]
    z: NDArray[np.float64]


def advance(
    params: Columns,
    state: Columns,
    ring_ns: NDArray[np.int64],
    ring_apr: NDArray[np.float64],
    symbol: NDArray[np.int64],
    market: Market,
) -> None:
    """Evaluate k runs, each at the ticks of its symbol, in place.

    Parameters
    ----------
    params : Columns of PARAMS_DTYPE, k records
        What each run was born with; money in the run's own currency, durations in the unit of their names.
    state : Columns of STATE_DTYPE, k records
        What became of each run. Changed in place.
    ring_ns, ring_apr : int64 and float64, shape (k, 181)
        Samples of the rolling APR: a ring that starts at `ring_first` and holds `ring_count`. Changed in place.
    symbol : int64, shape (k,)
        The symbol that each run trades: an index of `market.first`.
    market : Market
        The ticks.

    Raises
    ------
    ValueError
        When shapes or layouts differ, or a parameter, symbol or ring index is outside what the arrays hold.

    Notes
    -----
    With ``f`` the fee rate, charged at entry and provisioned at exit::

        balance = start + position·price − entry_value − fees,   fees = Σ |price·size|·2f
        APR     = (balance − start)/hours · 24 · 365.24 / start

    What the domain leaves open is settled so:

    * A run sees ticks after its birth only; the first of them is evaluated whatever `decision_distance_s`.
    * The channel entry is taken at the tick: a breakout system buys above the highest high and sells below the lowest
      low of the last `breakout_periods` closed bars (Donchian's rule); a swing system takes the side of a z-score
      beyond ±`swing_z`, which is then inverted: it sells what is stretched upward. A price at the bound, a z-score at
      the threshold and an unknown (NaN) one give no side.
    * Without a side the iteration ends as it does in noise: a flat run does not end as `reversal` then.
    * A run is flat when its `direction` (buys less sells) is 0. Sizes are fractions of the price, so that Σ size seldom
      returns to 0 exactly; the sign of `direction` is the side of the position.
    * The margin gate compares ``margin_used > ratio·balance``, which also closes it on a balance of 0 or less.
    * Balance and P&L are those after the tick's trade, its fees included.
    * A run that ended no longer changes: its P&L is the one at the tick of its end.
    """
    check(params, state, ring_ns, ring_apr, symbol, market)
    for r in range(len(params)):
        p = SimpleNamespace(**{name: params[name][r].item() for name in PARAMS_DTYPE.names or ()})
        run = SimpleNamespace(**{name: state[name][r].item() for name in STATE_DTYPE.names or ()})
        for t in range(market.first[symbol[r]], market.first[symbol[r] + 1]):
            now = int(market.ts_ns[t])
            if run.exit_code != ALIVE or now <= run.born_ns:
                continue
            if run.iterations > 0 and now - run.evaluated_ns < p.decision_distance_s * SECOND_NS:
                continue
            window, order, delay = p.entropy_window_min - 1, p.entropy_order - 3, p.entropy_delay - 1
            breakout, swing = p.breakout_periods - PERIODS_MIN, p.swing_periods - PERIODS_MIN
            tick = SimpleNamespace(
                ns=now,
                price=float(market.price[t]),
                weight=float(market.weight[t]),
                volatility=float(market.volatility[t]),
                trending=market.samples[t, window] > p.entropy_min_samples
                and market.entropy[t, window, order, delay] < p.entropy_max,
                channel_high=float(market.channel_high[t, breakout]),
                channel_low=float(market.channel_low[t, breakout]),
                z=float(market.z[t, swing]),
            )
            _evaluate(p, run, ring_ns[r], ring_apr[r], tick)
        for name, value in vars(run).items():
            state[name][r] = value


def check(
    params: Columns,
    state: Columns,
    ring_ns: NDArray[np.int64],
    ring_apr: NDArray[np.float64],
    symbol: NDArray[np.int64],
    market: Market,
) -> None:
    """Raise `ValueError` unless `advance` stays within its arrays: the compiled twin does not look."""
    k, m, n = len(params), len(market.first) - 1, len(market.ts_ns)
    if (params.layout, state.layout) != (PARAMS_DTYPE, STATE_DTYPE):
        raise ValueError(f"expected layouts {PARAMS_DTYPE}, {STATE_DTYPE}, found {params.layout}, {state.layout}")
    channel = (n, PERIODS_MAX - PERIODS_MIN + 1)
    blocks = [(len(fields(layout, kind)), k) for layout in (PARAMS_DTYPE, STATE_DTYPE) for kind in (WHOLE, REAL)]
    shapes = [*blocks, (k, RING), (k, RING), (k,)]
    shapes += [(n,), (n,), (n,), (n,), (n, 15, 3, 3), (n, 15), channel, channel, channel]
    arrays = (params.whole, params.real, state.whole, state.real, ring_ns, ring_apr, symbol, *market[1:])
    found = [array.shape for array in arrays]
    if found != shapes:
        raise ValueError(f"expected shapes {shapes}, found {found}")
    if m < 0 or market.first[0] != 0 or market.first[-1] != n or (np.diff(market.first) < 0).any():
        raise ValueError(f"first: expected rising numbers from 0 to {n}, found {market.first.tolist()}")
    ranges = [(params[name], name, low, high) for name, (low, high) in _INDEX_RANGES.items()]
    ranges += [(state["ring_first"], "ring_first", 0, RING - 1), (state["ring_count"], "ring_count", 0, RING)]
    ranges += [(symbol, "symbol", 0, m - 1)]
    for values, name, low, high in ranges:
        if k and not low <= values.min() <= values.max() <= high:
            raise ValueError(f"{name}: expected {low} to {high}, found {values.min()} to {values.max()}")


def _evaluate(
    p: SimpleNamespace,
    run: SimpleNamespace,
    ring_ns: NDArray[np.int64],
    ring_apr: NDArray[np.float64],
    tick: SimpleNamespace,
) -> None:
    """Do one iteration: the steps of the domain, in its order."""
    run.iterations += 1
    run.evaluated_ns = tick.ns
    _mark(run, tick.price)
    age_ns = tick.ns - run.born_ns
    if age_ns > p.max_duration_s * SECOND_NS:
        _end(run, EXIT_MAX_DURATION, tick.ns)
        return

    hours = age_ns / 3.6e12
    run.apr = run.live_pnl / hours * 24.0 * DAYS_PER_YEAR / run.start if hours > 0 else 0.0
    rolling = run.rolling_apr
    apr_change = (run.apr - rolling) / abs(rolling) if rolling != 0 else 0.0
    _roll(p, run, ring_ns, ring_apr, tick.ns)

    if run.apr > p.apr_target * _goal(p, tick):
        _end(run, EXIT_APR_TARGET, tick.ns)
        return

    if not tick.trending:
        return

    side = _side(p, tick)
    if side == 0:
        return

    flat = run.direction == 0
    reduces = side * run.direction < 0
    if flat:
        if age_ns / 1e9 > p.max_direction_reversal_s:
            _end(run, EXIT_REVERSAL, tick.ns)
            return
    elif (apr_change > 0) == reduces:
        return

    if not reduces and abs(run.entry_value) / p.leverage > p.max_cross_margin_ratio * run.balance:
        return

    if run.apr > 0 if reduces else run.apr < 0:
        return

    if abs(run.direction + side) > DIRECTION_MAX:
        return
    size = side * (run.start * p.pos_weight / tick.price * p.pos_scaler / p.balance_divisor)
    value = tick.price * size
    run.position += size
    run.entry_value += value
    run.fees += abs(value) * (2.0 * run.fee_rate)
    run.direction += side
    run.trades += 1
    _mark(run, tick.price)


def _side(p: SimpleNamespace, tick: SimpleNamespace) -> int:
    """Return 1 to buy, −1 to sell, 0 where the channel entry sees neither; `swing` is inverted already."""
    if p.entry == ENTRY_WEIGHT:
        side = 1 if tick.weight > 0 else -1
    elif p.system_type == SYSTEM_BREAKOUT:
        side = (tick.price > tick.channel_high) - (tick.price < tick.channel_low)
    else:
        side = (tick.z > p.swing_z) - (tick.z < -p.swing_z)
    return -side if p.system_type == SYSTEM_SWING else side


def _mark(run: SimpleNamespace, price: float) -> None:
    run.balance = run.start + run.position * price - run.entry_value - run.fees
    run.live_pnl = run.balance - run.start


def _end(run: SimpleNamespace, code: int, now: int) -> None:
    run.exit_code = code
    run.ended_ns = now


def _roll(
    p: SimpleNamespace, run: SimpleNamespace, ring_ns: NDArray[np.int64], ring_apr: NDArray[np.float64], now: int
) -> None:
    """Make `rolling_apr` the mean of the APRs of the last `rolling_apr_min` minutes, the present one included.

    The sum is kept in two doubles (Knuth's TwoSum; Ogita, Rump & Oishi, SIAM J. Sci. Comput. 26, 1955, 2005), so that
    what was added can be taken away again without the large APRs of a run's first seconds spoiling the small ones of
    later.
    """
    oldest = now - p.rolling_apr_min * MINUTE_NS
    while run.ring_count == RING or (run.ring_count > 0 and ring_ns[run.ring_first] <= oldest):
        _add(run, -float(ring_apr[run.ring_first]))
        run.ring_first = (run.ring_first + 1) % RING
        run.ring_count -= 1
    if run.ring_count == 0:
        run.apr_sum = run.apr_sum_low = 0.0
    last = (run.ring_first + run.ring_count) % RING
    ring_ns[last] = now
    ring_apr[last] = run.apr
    run.ring_count += 1
    _add(run, run.apr)
    run.rolling_apr = (run.apr_sum + run.apr_sum_low) / run.ring_count


def _add(run: SimpleNamespace, x: float) -> None:
    total = run.apr_sum + x
    part = total - run.apr_sum
    run.apr_sum_low += (run.apr_sum - (total - part)) + (x - part)
    run.apr_sum = total


def _goal(p: SimpleNamespace, tick: SimpleNamespace) -> float:
    """Return the goal that the volatility asks for: geometric between the least and the greatest.

    The exponent is clipped to [0, 1] before the power is taken: the same value, and no overflow.
    """
    low, high = min(p.min_goal, p.max_goal), max(p.min_goal, p.max_goal)
    span = tick.price * p.max_goal_weight - tick.price * p.min_goal_weight
    if span == 0:
        return float(low)
    s = (tick.volatility - tick.price * p.min_goal_weight) / span
    goal = low * math.pow(high / low, min(max(s, 0.0), 1.0))
    return float(min(max(goal, low), high))
