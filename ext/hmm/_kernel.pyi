import numpy as np
from numpy.typing import NDArray

def forward(
    x: NDArray[np.float64],
    prior: NDArray[np.float64],
    transition: NDArray[np.float64],
    mean: NDArray[np.float64],
    whiten: NDArray[np.float64],
    dof: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def smooth(
    filtered: NDArray[np.float64],
    predicted: NDArray[np.float64],
    transition: NDArray[np.float64],
    ratio: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def moments(
    x: NDArray[np.float64],
    smoothed: NDArray[np.float64],
    mean: NDArray[np.float64],
    whiten: NDArray[np.float64],
    dof: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def scores(
    x: NDArray[np.float64],
    entry: NDArray[np.float64],
    transition: NDArray[np.float64],
    mean: NDArray[np.float64],
    whiten: NDArray[np.float64],
    dof: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def trace(delta: NDArray[np.float64], transition: NDArray[np.float64], last: int) -> NDArray[np.int64]: ...
