"""Change points against what others use: the exact least penalised cost of 2000 points with ten levels."""

import numpy as np

from bench.measure import Figure, benchmark, interleaved, released, seconds_each
from trisagion.market.types import Float64Array
from trisagion.regime.changepoint import shifts_of_mean

SAMPLES = 2_000
LEVELS = 10
MIN_SIZE = 2


def _steps() -> tuple[Float64Array, float]:
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(0.0, 3.0, LEVELS), SAMPLES // LEVELS) + rng.normal(size=SAMPLES)
    return x, 2.0 * float(np.log(SAMPLES))


def _ours(x: Float64Array, penalty: float) -> list[int]:
    return [*shifts_of_mean(x, penalty, sigma=1.0, min_size=MIN_SIZE).changes.tolist(), len(x)]


@benchmark("regime.pelt", "s/sample", 100.0)
def pelt() -> Figure:
    """Against the plain-Python search, at every point."""
    import ruptures

    x, penalty = _steps()

    def theirs() -> list[int]:
        found: list[int] = ruptures.Pelt(model="l2", min_size=MIN_SIZE, jump=1).fit(x).predict(pen=penalty)
        return found

    assert _ours(x, penalty) == theirs()
    return interleaved(
        seconds_each(lambda: _ours(x, penalty), SAMPLES), seconds_each(theirs, SAMPLES), released("ruptures"), 3
    )


@benchmark("regime.pelt_kernelcpd", "s/sample", 1.0)
def pelt_kernelcpd() -> Figure:
    """Against the same package's compiled search."""
    import ruptures

    x, penalty = _steps()

    def theirs() -> list[int]:
        found: list[int] = ruptures.KernelCPD(kernel="linear", min_size=MIN_SIZE).fit(x).predict(pen=penalty)
        return found

    assert _ours(x, penalty) == theirs()
    return interleaved(
        seconds_each(lambda: _ours(x, penalty), SAMPLES),
        seconds_each(theirs, SAMPLES),
        f"{released('ruptures')} KernelCPD",
    )
