"""The matching core: the compiled kernel where it was built, else its plain twin; `COMPILED` tells which."""

from typing import TYPE_CHECKING, Final

from ext.matching._columns import (
    STEPS_MAX,
    VALUE_MAX,
    Column,
    Happening,
    Kind,
    Manner,
    Message,
    Reason,
    State,
)

if TYPE_CHECKING:
    from ext.matching._reference import Matcher

    COMPILED: Final[bool] = True
else:
    try:
        from ext.matching._kernel import Matcher

        COMPILED = True
    except ImportError:
        from ext.matching._reference import Matcher

        COMPILED = False

__all__ = [
    "COMPILED",
    "STEPS_MAX",
    "VALUE_MAX",
    "Column",
    "Happening",
    "Kind",
    "Manner",
    "Matcher",
    "Message",
    "Reason",
    "State",
]
