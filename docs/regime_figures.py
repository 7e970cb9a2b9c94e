"""Computes the figures of docs/regime.md: `python -m docs.regime_figures [FILE …]`, some minutes.

The first table is of simulated markets whose state is known, the second of real ones: what follows on each state. With
files it is the second alone, of these.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from trisagion.adapters.dataspec import DataSpec, entry
from trisagion.adapters.files import load_bars
from trisagion.clock import MINUTE_NS
from trisagion.market.types import Bars, Float64Array
from trisagion.regime.fgn import fgn
from trisagion.regime.history import STATES, judgements

Draw = Callable[[np.random.Generator, int], Float64Array]

DEVIATION: Final = 5e-4
"""Of a minute's return: about that of AAPL."""

BURST: Final = slice(1_100, 1_300)
"""Returns with nine times the variance."""

BEGIN: Final = 520
"""Returns until all evidence is there."""

COUNT: Final = 1_600
SEEDS: Final = range(11, 21)
"""Not those that the rules were chosen with."""

AHEAD: Final = 15
RESAMPLES: Final = 1_000
BLOCK: Final = 120


def gaussian(rng: np.random.Generator, count: int) -> Float64Array:
    """Draw independent normal returns: geometric Brownian motion."""
    return np.asarray(rng.standard_normal(count) * DEVIATION)


def student(rng: np.random.Generator, count: int) -> Float64Array:
    """Draw independent returns with the tails of Student's t with four degrees of freedom."""
    return np.asarray(rng.standard_t(4, count) * (DEVIATION / np.sqrt(2)))


def drifting(rng: np.random.Generator, count: int) -> Float64Array:
    """Draw independent returns whose mean is half of their deviation."""
    return gaussian(rng, count) + DEVIATION / 2


def persistent(rng: np.random.Generator, count: int) -> Float64Array:
    """Draw fractional Gaussian noise with H = 0.75."""
    return np.asarray(fgn(rng, 0.75, count)[0] * DEVIATION)


def persistent_drifting(rng: np.random.Generator, count: int) -> Float64Array:
    """Draw the same with a mean of three tenths of its deviation."""
    return persistent(rng, count) + 0.3 * DEVIATION


def antipersistent(rng: np.random.Generator, count: int) -> Float64Array:
    """Draw fractional Gaussian noise with H = 0.25."""
    return np.asarray(fgn(rng, 0.25, count)[0] * DEVIATION)


def reverting(speed: float) -> Draw:
    """Return a draw of the increments of an Ornstein-Uhlenbeck path that loses the share `speed` in a bar."""

    def draw(rng: np.random.Generator, count: int) -> Float64Array:
        level, path = 0.0, np.empty(count)
        for i, shock in enumerate(gaussian(rng, count).tolist()):
            level = path[i] = (1 - speed) * level + shock
        return np.diff(path, prepend=0.0)

    return draw


def bursting(rng: np.random.Generator, count: int) -> Float64Array:
    """Draw independent normal returns, those of `BURST` three times as large."""
    returns = gaussian(rng, count)
    returns[BURST] *= 3
    return returns


MARKETS: Final[dict[str, tuple[str, Draw]]] = {
    "noise, normal": ("noisy", gaussian),
    "noise, Student's t(4)": ("noisy", student),
    "drift of ½ σ a bar": ("trending", drifting),
    "fGn, H 0.75": ("trending", persistent),
    "fGn, H 0.75, drift of 0.3 σ": ("trending", persistent_drifting),
    "fGn, H 0.25": ("mean_reverting", antipersistent),
    "OU, 0.3 a bar": ("mean_reverting", reverting(0.3)),
    "OU, 0.1 a bar": ("mean_reverting", reverting(0.1)),
    "variance × 9 for 200 bars": ("crisis", bursting),
}
"""Name → the state it is in, and how it is drawn."""


def market(draw: Draw, seed: int, count: int = COUNT) -> Bars:
    """Return minutes without a range whose log returns are drawn."""
    closes = 100 * np.exp(np.cumsum(draw(np.random.default_rng(seed), count)))
    close_ns = np.arange(1, count + 1, dtype=np.int64) * MINUTE_NS
    return Bars("SIM", MINUTE_NS, close_ns, closes, closes, closes, closes, np.ones(count))


def states_of(bars: Bars, refit: int = 500) -> list[str]:
    """Return the state at each bar."""
    return [one.reading.state for one in judgements(bars, refit)]


def changes(states: Sequence[str]) -> int:
    """Count how often the state changes."""
    return sum(one != other for one, other in pairwise(states))


def simulated() -> None:
    """Print how often each market is called what it is."""
    print("| market | truth | right | called instead | changes per 1,000 bars |\n| --- | --- | --- | --- | --- |")
    for name, (truth, draw) in MARKETS.items():
        told: Counter[str] = Counter()
        count = turns = 0
        for seed in SEEDS:
            states = states_of(market(draw, seed))[BURST if truth == "crisis" else slice(BEGIN, None)]
            told.update(states)
            count += len(states)
            turns += changes(states)
        others = ", ".join(f"{state} {n / count:.0%}" for state, n in told.most_common() if state != truth)
        print(f"| {name} | {truth} | {told[truth] / count:.0%} | {others} | {1000 * turns / count:.1f} |", flush=True)


def followed(bars: Bars) -> None:
    """Print what the next `AHEAD` bars are like after each state, with 95 % block bootstrap intervals."""
    states = np.array(states_of(bars, 1_000))
    returns = np.diff(np.log(bars.close))
    # A return over a pause is no bar's.
    returns[np.diff(bars.close_ns) > 5 * bars.interval_ns] = np.nan
    ahead = np.lib.stride_tricks.sliding_window_view(returns, AHEAD)
    squares, products = ahead**2, ahead[:, 1:] * ahead[:, :-1]
    sizes, sums = np.nanmean(np.abs(ahead), axis=1), np.nansum(products, axis=1)
    scales = np.nansum(squares[:, 1:] + squares[:, :-1], axis=1) / 2
    states = states[: len(ahead)]
    usual = np.nanmean(np.abs(returns))
    rng = np.random.default_rng(1)
    begins = rng.integers(len(ahead), size=(RESAMPLES, -(-len(ahead) // BLOCK)))
    drawn = ((begins[:, :, None] + np.arange(BLOCK)) % len(ahead)).reshape(RESAMPLES, -1)
    for state in STATES:
        here = states == state
        if here.sum() < AHEAD:
            continue
        stays = int(here[0]) + int((here[1:] & ~here[:-1]).sum())
        # A resample that has missed the state tells nothing of it.
        rows = drawn[here[drawn].any(axis=1)]
        picked = here[rows]
        size = np.nansum(np.where(picked, sizes[rows], 0), axis=1) / picked.sum(axis=1) / usual
        memory = np.where(picked, sums[rows], 0).sum(axis=1) / np.where(picked, scales[rows], 0).sum(axis=1)
        found = (
            (np.nanmean(sizes[here]) / usual, size, ".2f"),
            (sums[here].sum() / scales[here].sum(), memory, "+.2f"),
        )
        cells = [f"{value:{form}} ({_bounds(draws, form)})" for value, draws, form in found]
        print(f"| {bars.symbol} | {state} | {here.sum():,} | {stays} | {' | '.join(cells)} |", flush=True)


def _bounds(draws: Float64Array, form: str) -> str:
    return " … ".join(f"{bound:{form}}" for bound in np.quantile(draws, (0.025, 0.975)).tolist())


def main() -> None:
    """Print both tables."""
    if not sys.argv[1:]:
        simulated()
    print("\n| market | state | bars | stretches | size of the next returns | their autocorrelation |")
    print("| --- | --- | --- | --- | --- | --- |")
    for file in sys.argv[1:] or ["aapl", "es"]:
        symbol, source = entry(file)
        followed(load_bars(DataSpec(source, zone="America/New_York", symbol=symbol)))


if __name__ == "__main__":
    main()
