"""Populations of virtual runs and their markets, for the tests of both twins."""

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from ext.cohort import PARAMS_DTYPE, RING, STATE_DTYPE, Columns, Market

SECOND_NS = 1_000_000_000
BORN_NS = 1_000_000 * SECOND_NS
BALANCE = 1_000_000.0
FEE = 0.0004

PARAMS: dict[str, float] = {
    "max_duration_s": 100_000,
    "max_direction_reversal_s": 50_000.0,
    "balance_divisor": 5.0,
    "pos_scaler": 0.002,
    "pos_weight": 0.01,
    "max_cross_margin_ratio": 0.01,
    "apr_target": 1e9,
    "min_goal": 0.5,
    "max_goal": 4.0,
    "min_goal_weight": 0.001,
    "max_goal_weight": 0.01,
    "entropy_window_min": 1,
    "entropy_min_samples": 5,
    "entropy_order": 3,
    "entropy_delay": 1,
    "entropy_max": 0.1,
    "rolling_apr_min": 30,
    "breakout_periods": 20,
    "swing_periods": 30,
    "swing_z": 1.5,
    "leverage": 20.0,
}
"""One run without peculiarities; a row of a test changes what it is about."""

SIZE = BALANCE * 0.01 / 100.0 * 0.002 / 5.0
"""What that run trades at a price of 100."""


@dataclass
class World:
    """The arrays of one or more runs; all trade the first symbol unless told otherwise."""

    params: Columns
    state: Columns
    symbol: np.ndarray = field(init=False)
    ring_ns: np.ndarray = field(init=False)
    ring_apr: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.symbol = np.zeros(len(self.params), dtype=np.int64)
        self.ring_ns = np.zeros((len(self.params), RING), dtype=np.int64)
        self.ring_apr = np.zeros((len(self.params), RING))

    def advance(self, twin: ModuleType, market: Market) -> None:
        """Run the twin over some ticks."""
        twin.advance(self.params, self.state, self.ring_ns, self.ring_apr, self.symbol, market)

    def copy(self) -> "World":
        """Return an independent copy."""
        return self.part(np.arange(len(self.params)))

    def part(self, which: np.ndarray) -> "World":
        """Return a copy of some of the runs."""
        other = World(self.params.take(which), self.state.take(which))
        other.symbol, other.ring_ns, other.ring_apr = self.symbol[which], self.ring_ns[which], self.ring_apr[which]
        return other

    def bytes(self) -> tuple[bytes, ...]:
        """Return what the kernel changes."""
        return self.state.tobytes(), self.ring_ns.tobytes(), self.ring_apr.tobytes()


def one_run(params: dict[str, float] | None = None, state: dict[str, float] | None = None) -> World:
    """Return a world of one run, with some parameters and some of its state as given."""
    made_params = Columns.zeros(PARAMS_DTYPE, 1)
    for name, value in (PARAMS | (params or {})).items():
        made_params[name] = value
    made_state = Columns.zeros(STATE_DTYPE, 1)
    defaults = {"born_ns": BORN_NS, "evaluated_ns": BORN_NS, "start": BALANCE, "balance": BALANCE, "fee_rate": FEE}
    for name, value in (defaults | (state or {})).items():
        made_state[name] = value
    return World(made_params, made_state)


def ticks(*rows: tuple[float, float], **changes: Any) -> Market:
    """Return ticks of (seconds since birth, price): a clear upward trend, unless changed."""
    n = len(rows)
    ts_ns = np.array([BORN_NS + round(seconds * SECOND_NS) for seconds, _ in rows], dtype=np.int64)
    price = np.array([price for _, price in rows], dtype=np.float64)
    return Market(
        np.array([0, n]),
        ts_ns,
        price,
        np.full(n, changes.get("weight", 1.0)),
        np.full(n, changes.get("volatility", 0.1)),
        np.full((n, 15, 3, 3), changes.get("entropy", 0.0)),
        np.full((n, 15), changes.get("samples", 30), dtype=np.int64),
        np.full((n, 51), changes.get("high", 100.5)),
        np.full((n, 51), changes.get("low", 99.5)),
        np.full((n, 51), changes.get("z", 0.0)),
    )


def rows(market: Market, which: np.ndarray) -> Market:
    """Return some of the ticks; `which` is a mask."""
    first = np.concatenate([[0], np.cumsum(which)])[market.first]
    return Market(first, *(array[which] for array in market[1:]))


def symbol_of_ticks(market: Market) -> np.ndarray:
    """Return each tick's symbol."""
    return np.repeat(np.arange(len(market.first) - 1), np.diff(market.first))


def drawn(seed: int, runs: int, n: int, jump: float, symbols: int = 1) -> tuple[World, Market]:
    """Return a population from a wider space than the domain's, and paths: every gate and every end is met.

    The ticks fall to the symbols by chance, to some perhaps none.
    """
    rng = np.random.default_rng(seed)
    params = Columns.zeros(PARAMS_DTYPE, runs)
    params["system_type"] = rng.integers(0, 2, runs)
    params["entry"] = rng.integers(0, 2, runs)
    params["max_duration_s"] = rng.integers(60, 9_000, runs)
    params["max_direction_reversal_s"] = params["max_duration_s"] / rng.integers(1, 11, runs)
    params["balance_divisor"] = 5.0
    params["pos_scaler"] = rng.uniform(1.618, 3.236, runs) / 1000
    params["pos_weight"] = 0.032732855 / 3
    params["max_cross_margin_ratio"] = rng.choice([0.01, 1e-6], runs)
    params["apr_target"] = rng.integers(20, 101, runs) / 8.09 * rng.choice([1.0, 1e-3, 1e-4], runs)
    params["min_goal"] = rng.integers(1, 10, runs) / 10
    params["max_goal"] = rng.choice([0.05, 0.5, 1.0, 9.0], runs)
    params["min_goal_weight"] = rng.integers(1, 39, runs) / 1e4
    params["max_goal_weight"] = np.where(rng.random(runs) < 0.1, params["min_goal_weight"], 0.01)
    params["entropy_window_min"] = rng.integers(1, 16, runs)
    params["entropy_min_samples"] = rng.integers(5, 21, runs)
    params["entropy_order"] = rng.integers(3, 6, runs)
    params["entropy_delay"] = rng.integers(1, 4, runs)
    params["entropy_max"] = rng.uniform(0.05, 0.15, runs)
    params["rolling_apr_min"] = rng.integers(1, 31, runs)
    params["breakout_periods"] = rng.integers(10, 61, runs)
    params["swing_periods"] = rng.integers(10, 61, runs)
    params["swing_z"] = rng.choice([0.5, 1.0, 1.5, 2.5], runs)
    params["decision_distance_s"] = rng.integers(0, 61, runs)
    params["leverage"] = rng.choice([1.0, 20.0, 100.0], runs)
    state = Columns.zeros(STATE_DTYPE, runs)
    state["born_ns"] = state["evaluated_ns"] = BORN_NS + rng.integers(0, 100, runs) * SECOND_NS
    state["start"] = state["balance"] = 10.0 ** rng.integers(0, 8, runs)
    state["fee_rate"] = rng.choice([0.0, 0.00002, 0.0004], runs)
    price = 1600.0 * np.exp(np.cumsum(rng.normal(0, jump, n)))
    entropy = rng.uniform(0.0, 0.2, (n, 15, 3, 3))
    entropy[rng.random(entropy.shape) < 0.1] = np.nan
    weight = np.clip(np.cumsum(rng.normal(0, 0.2, n)), -1, 1) * (rng.random(n) > 0.1)
    # Bounds at the price itself, z-scores at the threshold itself and unknown ones are met as well.
    middle = price[:, None] + rng.integers(-2, 3, (n, 51)) * 0.5
    high, low, z = middle + 0.5, middle - 0.5, rng.integers(-6, 7, (n, 51)) * 0.5
    unknown = rng.random((n, 51)) < 0.1
    steps_ns = np.cumsum(np.concatenate([[0], rng.integers(1, 5, n)])) * 10 * SECOND_NS
    first = np.array([0, *np.sort(rng.integers(0, n + 1, symbols - 1)), n])
    market = Market(
        first,
        BORN_NS + steps_ns[1:] - np.repeat(steps_ns[first[:-1]], np.diff(first)),
        price,
        weight,
        price * rng.uniform(0, 0.02, n),
        entropy,
        rng.integers(0, 90, (n, 15)),
        *(np.where(unknown, np.nan, values) for values in (high, low, z)),
    )
    world = World(params, state)
    world.symbol = rng.integers(0, symbols, runs)
    return world, market
