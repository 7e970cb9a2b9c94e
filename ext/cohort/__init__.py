"""The evaluation of virtual runs: the compiled kernel where it was built, else its plain twin (see `COMPILED`)."""

from typing import TYPE_CHECKING, Final

from ext.cohort._columns import Columns
from ext.cohort._reference import (
    ALIVE,
    DIRECTION_MAX,
    ENTRY_CHANNEL,
    ENTRY_WEIGHT,
    EXIT_APR_TARGET,
    EXIT_MAX_DURATION,
    EXIT_REVERSAL,
    PARAMS_DTYPE,
    PERIODS_MAX,
    PERIODS_MIN,
    RING,
    STATE_DTYPE,
    SYSTEM_BREAKOUT,
    SYSTEM_SWING,
    Market,
)

if TYPE_CHECKING:
    from ext.cohort._reference import advance

    COMPILED: Final[bool] = True
else:
    try:
        from ext.cohort._kernel import advance

        COMPILED = True
    except ImportError:
        from ext.cohort._reference import advance

        COMPILED = False

__all__ = [
    "ALIVE",
    "COMPILED",
    "DIRECTION_MAX",
    "ENTRY_CHANNEL",
    "ENTRY_WEIGHT",
    "EXIT_APR_TARGET",
    "EXIT_MAX_DURATION",
    "EXIT_REVERSAL",
    "PARAMS_DTYPE",
    "PERIODS_MAX",
    "PERIODS_MIN",
    "RING",
    "STATE_DTYPE",
    "SYSTEM_BREAKOUT",
    "SYSTEM_SWING",
    "Columns",
    "Market",
    "advance",
]
