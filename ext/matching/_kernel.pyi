from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

class Matcher:
    def __new__(
        cls,
        tapes: Sequence[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]],
        window_ns: int,
    ) -> Self: ...
    @property
    def played_ns(self) -> int: ...
    def last_before(self, book: int, instant_ns: int) -> int: ...
    def run(self, messages: NDArray[np.int64], steps_max: int = ...) -> tuple[NDArray[np.int64], int]: ...
