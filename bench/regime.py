"""Permutation entropy and detrended fluctuation analysis against what others use."""

import numpy as np

from bench.measure import Figure, benchmark, interleaved, released, seconds_each
from ext.entropy import (
    DELAYS,
    ORDERS,
    WINDOWS,
    entropy_grid,
    permutation_entropy,
    rolling_permutation_entropy,
)
from trisagion.clock import MINUTE_NS
from trisagion.market.types import TICK_NS, Float64Array
from trisagion.regime.hurst import detrended_fluctuation_batch

SAMPLES = 100_000
FEW_SAMPLES = 2_000
GRID_TICKS = 60
WINDOW = 100
PEER_WINDOWS = 200


def _noise(count: int) -> Float64Array:
    return np.random.default_rng(1).normal(size=count)


def _against_antropy(order: int) -> Figure:
    import antropy

    x = _noise(SAMPLES)
    ours, theirs = permutation_entropy(x, order, 1), antropy.perm_entropy(x, order, 1, normalize=True)
    assert abs(ours - theirs) < 1e-9, (ours, theirs)
    return interleaved(
        seconds_each(lambda: permutation_entropy(x, order, 1), SAMPLES),
        seconds_each(lambda: antropy.perm_entropy(x, order, 1, normalize=True), SAMPLES),
        released("antropy"),
    )


@benchmark("regime.pe_order3", "s/sample", 5.0)
def pe_order3() -> Figure:
    """A long series, order 3."""
    return _against_antropy(3)


@benchmark("regime.pe_order5", "s/sample", 10.0)
def pe_order5() -> Figure:
    """A long series, order 5."""
    return _against_antropy(5)


@benchmark("regime.pe_ordpy", "s/sample", 100.0)
def pe_ordpy() -> Figure:
    """The package of the authors who extended the method; order 3."""
    import ordpy

    x = _noise(FEW_SAMPLES)
    ours, theirs = permutation_entropy(x, 3, 1), ordpy.permutation_entropy(x, dx=3)
    assert abs(ours - theirs) < 1e-9, (ours, theirs)
    return interleaved(
        seconds_each(lambda: permutation_entropy(x, 3, 1), FEW_SAMPLES),
        seconds_each(lambda: ordpy.permutation_entropy(x, dx=3), FEW_SAMPLES),
        released("ordpy"),
    )


@benchmark("regime.pe_rolling", "s/value", 100.0)
def pe_rolling() -> Figure:
    """Every window of 100 of a long series, order 3; the peer, called for each, is measured on every 500th of them."""
    import antropy

    x = _noise(SAMPLES)
    ends = range(WINDOW, SAMPLES + 1, SAMPLES // PEER_WINDOWS)

    def theirs() -> list[float]:
        return [antropy.perm_entropy(x[end - WINDOW : end], 3, 1, normalize=True) for end in ends]

    ours = rolling_permutation_entropy(x, WINDOW, 3, 1)
    assert np.abs(ours[np.array(ends) - 1] - theirs()).max() < 1e-12
    return interleaved(
        seconds_each(lambda: rolling_permutation_entropy(x, WINDOW, 3, 1), SAMPLES - WINDOW + 1),
        seconds_each(theirs, len(ends)),
        released("antropy"),
    )


@benchmark("regime.pe_grid", "s/value", 100.0)
def pe_grid() -> Figure:
    """All windows, orders and delays at an hour's live ticks in one call, against one call of antropy for each."""
    import antropy

    count = WINDOWS * MINUTE_NS // TICK_NS
    x = _noise(count + GRID_TICKS)
    ts_ns = np.arange(len(x), dtype=np.int64) * TICK_NS
    ticks = ts_ns[-GRID_TICKS:]
    per_minute = MINUTE_NS // TICK_NS

    def theirs() -> None:
        for end in range(len(x) - GRID_TICKS + 1, len(x) + 1):
            for minutes in range(1, WINDOWS + 1):
                window = x[end - minutes * per_minute : end]
                for order in ORDERS:
                    for delay in DELAYS:
                        if len(window) > (order - 1) * delay:
                            antropy.perm_entropy(window, order, delay, normalize=True)

    values = GRID_TICKS * WINDOWS * len(ORDERS) * len(DELAYS)
    return interleaved(
        seconds_each(lambda: entropy_grid(ts_ns, x, ticks), values),
        seconds_each(theirs, values),
        released("antropy"),
        3,
    )


@benchmark("regime.dfa", "s", 20.0)
def dfa() -> Figure:
    """A long series on the peer's scales; what is expected at these scales is computed once, at the warm-up."""
    import antropy
    from antropy.utils import _log_n

    x = _noise(SAMPLES)
    scales = np.asarray(_log_n(4, 0.1 * SAMPLES, 1.2), dtype=np.int64)
    _, ours = detrended_fluctuation_batch(x[None], scales=scales)
    theirs = antropy.detrended_fluctuation(x)
    assert abs(ours[0] - theirs) < 1e-9, (ours, theirs)
    return interleaved(
        seconds_each(lambda: detrended_fluctuation_batch(x[None], scales=scales)),
        seconds_each(lambda: antropy.detrended_fluctuation(x)),
        released("antropy"),
    )
