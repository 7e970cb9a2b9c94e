import numpy as np
from numpy.typing import NDArray

from ext.cohort._reference import Market

def advance(
    params: NDArray[np.void],
    state: NDArray[np.void],
    ring_ns: NDArray[np.int64],
    ring_apr: NDArray[np.float64],
    market: Market,
) -> None: ...
