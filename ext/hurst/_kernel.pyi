import numpy as np
from numpy.typing import NDArray

def dfa_fluctuations(x: NDArray[np.float64], scales: NDArray[np.int64], order: int = ...) -> NDArray[np.float64]: ...
