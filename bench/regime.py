"""Permutation entropy against what others use."""

import numpy as np

from bench.measure import Figure, benchmark, interleaved, released, seconds_each
from ext.entropy import DELAYS, ORDERS, WINDOWS, entropy_grid, permutation_entropy
from trisagion.clock import MINUTE_NS
from trisagion.market.types import TICK_NS, Float64Array

SAMPLES = 100_000
FEW_SAMPLES = 2_000
ROLLING_TICKS = 60


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
    """All windows, orders and delays at an hour's live ticks in one call, against one call of antropy for each."""
    import antropy

    count = WINDOWS * MINUTE_NS // TICK_NS
    x = _noise(count + ROLLING_TICKS)
    ts_ns = np.arange(len(x), dtype=np.int64) * TICK_NS
    ticks = ts_ns[-ROLLING_TICKS:]
    per_minute = MINUTE_NS // TICK_NS

    def theirs() -> None:
        for end in range(len(x) - ROLLING_TICKS + 1, len(x) + 1):
            for minutes in range(1, WINDOWS + 1):
                window = x[end - minutes * per_minute : end]
                for order in ORDERS:
                    for delay in DELAYS:
                        if len(window) > (order - 1) * delay:
                            antropy.perm_entropy(window, order, delay, normalize=True)

    values = ROLLING_TICKS * WINDOWS * len(ORDERS) * len(DELAYS)
    return interleaved(
        seconds_each(lambda: entropy_grid(ts_ns, x, ticks), values),
        seconds_each(theirs, values),
        released("antropy"),
        3,
    )
