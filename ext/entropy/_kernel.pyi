from typing import Self

import numpy as np
from numpy.typing import NDArray

def permutation_entropy(
    x: NDArray[np.float64],
    order: int,
    delay: int,
    base: float = ...,
    normalised: bool = ...,
    weighted: bool = ...,
) -> float: ...
def permutation_entropy_batch(
    x: NDArray[np.float64],
    order: int,
    delay: int,
    base: float = ...,
    normalised: bool = ...,
    weighted: bool = ...,
) -> NDArray[np.float64]: ...
def rolling_permutation_entropy(
    x: NDArray[np.float64],
    window: int,
    order: int,
    delay: int,
    base: float = ...,
    normalised: bool = ...,
    weighted: bool = ...,
) -> NDArray[np.float64]: ...

class RollingPermutationEntropy:
    def __new__(
        cls,
        window: int,
        order: int,
        delay: int,
        base: float = ...,
        normalised: bool = ...,
        weighted: bool = ...,
    ) -> Self: ...
    def update(self, value: float) -> float: ...
    def extend(self, x: NDArray[np.float64]) -> NDArray[np.float64]: ...

def entropy_grid(
    ts_ns: NDArray[np.int64], x: NDArray[np.float64], tick_ns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...
