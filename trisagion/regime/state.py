"""One market state per step: the features that every run on a symbol shares, at each live tick.

A tick stamped t sees only what was known by t: bars closed by then, and the weights of ticks up to and including
itself.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from ext.entropy import WINDOWS, entropy_grid
from trisagion.clock import MINUTE_NS
from trisagion.errors import DataError
from trisagion.features.channel import bands, donchian, z_scores
from trisagion.features.momentum import VOLATILITY_HISTORY, WEIGHT_WINDOW_NS, market_weight, volatility
from trisagion.market.types import Bar, MarketState, MarketStep

BARS_NEEDED: Final = VOLATILITY_HISTORY + 1
"""The volatility's history at the step's end, and one bar more for the ticks that do not see the step's own bar yet."""

ENTROPY_WINDOW_MAX_MIN: Final = WINDOWS

REGIME_ENTROPY_MAX: Final = 0.15
"""The upper end of the range that a run's `entropy_max` is drawn from: above it no run would trade."""
REGIME_SAMPLES_MIN: Final = 5
"""The lower end of the range of `entropy_min_samples`: with no more samples than this no run would trade."""

GATE_SAMPLES: Final = 21
"""More than the upper end of the range of `entropy_min_samples`."""

_HEADLINE: Final = (ENTROPY_WINDOW_MAX_MIN - 1, 0, 0)
"""Index of window 15 minutes, order 3, delay 1 in the entropies of a tick."""


def market_state(step: MarketStep, bars: Sequence[Bar], past: Sequence[MarketState]) -> MarketState:
    """Compute the features of a step.

    Parameters
    ----------
    step : MarketStep
        The minute that closed, with at least one tick, in order of time.
    bars : sequence of Bar
        Up to the last `BARS_NEEDED` one-minute bars with ``close_ns <= step.at_ns``, oldest first, the step's own last.
    past : sequence of MarketState
        The states of the 15 minutes before the step, oldest first; older ones do no harm.

    Returns
    -------
    MarketState
        For each tick the price, market weight, volatility (points), the channels and z-scores of the last 10 … 60 bars
        closed by then, and the normalised permutation entropy of the signs of the weights seen in the last 1 … 15
        minutes. The headline regime is that of the last tick with a window of 15
        minutes, order 3 and delay 1: "unknown" without more than 5 samples, "trending" below 0.15, else "noisy".

    Raises
    ------
    DataError
        When the step has no tick, the last bar is not the step's, or bars, ticks or states are not in order of time.
    """
    ts_ns = np.array([stamp for stamp, _ in step.ticks], dtype=np.int64)
    closed_ns = [bar.close_ns for bar in bars]
    _check(step, ts_ns, closed_ns, past)
    closes, highs, lows = np.array([(bar.close, bar.high, bar.low) for bar in bars]).T

    # Most ticks see the same bars: features are computed once for each count of bars seen.
    seen = [bisect_right(closed_ns, int(stamp)) for stamp in ts_ns]
    volatilities = {count: volatility(highs[:count], lows[:count]) for count in set(seen)}
    channels = {count: (*donchian(highs[:count], lows[:count]), *bands(closes[:count])) for count in set(seen)}
    high, low, mean, deviation = (np.array(rows) for rows in zip(*(channels[count] for count in seen), strict=True))
    price = np.array([price for _, price in step.ticks], dtype=np.float64)
    weight = np.array(
        [
            market_weight(closes[bisect_right(closed_ns, int(stamp) - WEIGHT_WINDOW_NS) : count])
            for stamp, count in zip(ts_ns, seen, strict=True)
        ]
    )

    recent = [state for state in past if state.at_ns > ts_ns[0] - ENTROPY_WINDOW_MAX_MIN * MINUTE_NS]
    entropy, samples = entropy_grid(
        np.concatenate([*(state.ts_ns for state in recent), ts_ns]),
        np.sign(np.concatenate([*(state.weight for state in recent), weight])),
        ts_ns,
    )
    return MarketState(
        symbol=step.symbol,
        at_ns=step.at_ns,
        ts_ns=ts_ns,
        price=price,
        weight=weight,
        volatility=np.array([volatilities[count] for count in seen]),
        entropy=entropy,
        samples=samples,
        channel_high=high,
        channel_low=low,
        z=z_scores(price, mean, deviation),
        regime=_regime(float(entropy[-1][_HEADLINE]), int(samples[-1, _HEADLINE[0]])),
    )


def gated(state: MarketState, regime: str, *, is_open: bool) -> MarketState:
    """Return the features of a step with another gate in place of the entropies (domain, section 3, step 4).

    Where it is open every run finds an entropy of 0 over samples enough; where it is shut, an unknown one, which means
    noisy.
    """
    return replace(
        state,
        entropy=np.full_like(state.entropy, 0.0 if is_open else np.nan),
        samples=np.full_like(state.samples, GATE_SAMPLES if is_open else 0),
        regime=regime,
    )


def _regime(entropy: float, samples: int) -> str:
    if np.isnan(entropy) or samples <= REGIME_SAMPLES_MIN:
        return "unknown"
    return "trending" if entropy < REGIME_ENTROPY_MAX else "noisy"


def _check(step: MarketStep, ts_ns: np.ndarray, closed_ns: Sequence[int], past: Sequence[MarketState]) -> None:
    where = f"{step.symbol} at {step.at_ns}"
    if len(ts_ns) == 0 or ts_ns[-1] > step.at_ns or (np.diff(ts_ns) <= 0).any():
        raise DataError(f"{where}: expected rising ticks up to the step's end, found {ts_ns.tolist()}")
    if not closed_ns or closed_ns[-1] != step.at_ns:
        raise DataError(f"{where}: expected the step's own bar last, found {closed_ns[-1:]}")
    if (np.diff(closed_ns) <= 0).any():
        raise DataError(f"{where}: expected bars in order of time")
    stamps = [state.at_ns for state in past]
    if (np.diff([*stamps, step.at_ns]) <= 0).any():
        raise DataError(f"{where}: expected earlier states in order of time, found {stamps}")
