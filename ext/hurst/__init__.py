"""Detrended fluctuations: the compiled kernel where it was built, else its plain twin; `COMPILED` tells which."""

from typing import TYPE_CHECKING, Final

from ext.hurst._reference import MAGNITUDE_MAX, ORDERS, SAMPLES_MAX

if TYPE_CHECKING:
    from ext.hurst._reference import dfa_fluctuations

    COMPILED: Final[bool] = True
else:
    try:
        from ext.hurst._kernel import dfa_fluctuations

        COMPILED = True
    except ImportError:
        from ext.hurst._reference import dfa_fluctuations

        COMPILED = False

__all__ = ["COMPILED", "MAGNITUDE_MAX", "ORDERS", "SAMPLES_MAX", "dfa_fluctuations"]
