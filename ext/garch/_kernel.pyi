import numpy as np
from numpy.typing import NDArray

def conditional_variance(
    returns: NDArray[np.float64],
    params: NDArray[np.float64],
    log_variance: bool,
    start: float | None = ...,
    abs_mean: float = ...,
) -> NDArray[np.float64]: ...
def scores(
    returns: NDArray[np.float64],
    params: NDArray[np.float64],
    log_variance: bool,
    start: float | None = ...,
    abs_mean: float = ...,
    abs_mean_slope: float = ...,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def log_likelihood(
    returns: NDArray[np.float64],
    params: NDArray[np.float64],
    log_variance: bool,
    start: float | None = ...,
    abs_mean: float = ...,
    abs_mean_slope: float = ...,
) -> tuple[float, NDArray[np.float64]]: ...
