"""Permutation entropy: the compiled kernel where it was built, else its plain twin; `COMPILED` tells which."""

from typing import TYPE_CHECKING, Final

from ext.entropy._reference import DELAYS, ORDER_MAX, ORDER_MIN, ORDERS, WEIGHTED_MAX, WINDOW_MAX, WINDOWS

if TYPE_CHECKING:
    from ext.entropy._reference import (
        RollingPermutationEntropy,
        entropy_grid,
        permutation_entropy,
        permutation_entropy_batch,
        rolling_permutation_entropy,
    )

    COMPILED: Final[bool] = True
else:
    try:
        from ext.entropy._kernel import (
            RollingPermutationEntropy,
            entropy_grid,
            permutation_entropy,
            permutation_entropy_batch,
            rolling_permutation_entropy,
        )

        COMPILED = True
    except ImportError:
        from ext.entropy._reference import (
            RollingPermutationEntropy,
            entropy_grid,
            permutation_entropy,
            permutation_entropy_batch,
            rolling_permutation_entropy,
        )

        COMPILED = False

__all__ = [
    "COMPILED",
    "DELAYS",
    "ORDERS",
    "ORDER_MAX",
    "ORDER_MIN",
    "WEIGHTED_MAX",
    "WINDOWS",
    "WINDOW_MAX",
    "RollingPermutationEntropy",
    "entropy_grid",
    "permutation_entropy",
    "permutation_entropy_batch",
    "rolling_permutation_entropy",
]
