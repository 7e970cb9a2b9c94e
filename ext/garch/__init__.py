"""Volatility recursions: the compiled kernel where it was built, else its plain twin; `COMPILED` tells which."""

from typing import TYPE_CHECKING, Final

from ext.garch._reference import PARAMETERS, VARIANCE_MAX, VARIANCE_MIN

if TYPE_CHECKING:
    from ext.garch._reference import conditional_variance, log_likelihood, scores

    COMPILED: Final[bool] = True
else:
    try:
        from ext.garch._kernel import conditional_variance, log_likelihood, scores

        COMPILED = True
    except ImportError:
        from ext.garch._reference import conditional_variance, log_likelihood, scores

        COMPILED = False

__all__ = [
    "COMPILED",
    "PARAMETERS",
    "VARIANCE_MAX",
    "VARIANCE_MIN",
    "conditional_variance",
    "log_likelihood",
    "scores",
]
