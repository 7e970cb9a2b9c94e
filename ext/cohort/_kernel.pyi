import numpy as np
from numpy.typing import NDArray

from ext.cohort._columns import Columns
from ext.cohort._reference import Market

def advance(
    params: Columns,
    state: Columns,
    ring_ns: NDArray[np.int64],
    ring_apr: NDArray[np.float64],
    symbol: NDArray[np.int64],
    market: Market,
) -> None: ...
