"""Change points by PELT: the compiled kernel where it was built, else its plain twin; `COMPILED` tells which."""

from typing import TYPE_CHECKING, Final

from ext.changepoint._reference import MEAN, MEAN_MBIC, MEAN_VARIANCE, PeltState, pelt_begin

if TYPE_CHECKING:
    from ext.changepoint._reference import pelt_advance

    COMPILED: Final[bool] = True
else:
    try:
        from ext.changepoint._kernel import pelt_advance

        COMPILED = True
    except ImportError:
        from ext.changepoint._reference import pelt_advance

        COMPILED = False

__all__ = ["COMPILED", "MEAN", "MEAN_MBIC", "MEAN_VARIANCE", "PeltState", "pelt_advance", "pelt_begin"]
