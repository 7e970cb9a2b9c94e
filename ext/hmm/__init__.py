"""Hidden Markov models: the compiled kernel where it was built, else its plain twin; `COMPILED` tells which."""

from typing import TYPE_CHECKING, Final

from ext.hmm._reference import PRIOR_MIN, STATES_MAX, VALUE_MAX, VARIABLES_MAX

if TYPE_CHECKING:
    from ext.hmm._reference import forward, moments, scores, smooth, trace

    COMPILED: Final[bool] = True
else:
    try:
        from ext.hmm._kernel import forward, moments, scores, smooth, trace

        COMPILED = True
    except ImportError:
        from ext.hmm._reference import forward, moments, scores, smooth, trace

        COMPILED = False

__all__ = [
    "COMPILED",
    "PRIOR_MIN",
    "STATES_MAX",
    "VALUE_MAX",
    "VARIABLES_MAX",
    "forward",
    "moments",
    "scores",
    "smooth",
    "trace",
]
