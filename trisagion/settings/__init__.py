"""Environment and file become one frozen `Settings`; nothing else of the platform reads either.

A value comes from the highest layer that gives it: command line, then `TRISAGION__SECTION__KEY`, then
`trisagion.toml`, then the default here. What is unknown, misplaced or out of bounds is refused, all of it at once,
each with its source. Secrets come by reference only (`env:NAME`, `file:PATH`); the secret itself is never in a
`Settings`, so it can be shown, hashed and logged. There is no setting for rest periods: they are the platform's rule.

Defaults are those of the domain page. The outer bounds are sanity bounds of ours: they stop a slipped digit, they are
no advice.
"""

from trisagion.settings.layers import (
    FILE,
    FILE_VARIABLE,
    digest,
    flatten,
    load,
    origins,
    references,
    resolve,
    to_environment,
    trading_digest,
    variable,
)
from trisagion.settings.observe import Source
from trisagion.settings.safety import KILL_FILE
from trisagion.settings.sections import (
    CONTENT,
    DIRECT,
    FIX_SIM,
    IB_SIM,
    LINES,
    PAPER,
    PLACE,
    SECRETS,
    SECTIONS,
    TABLES,
    Fix,
    Ib,
    IbTerms,
    Replay,
    Settings,
    Terms,
)

__all__ = [
    "CONTENT",
    "DIRECT",
    "FILE",
    "FILE_VARIABLE",
    "FIX_SIM",
    "IB_SIM",
    "KILL_FILE",
    "LINES",
    "PAPER",
    "PLACE",
    "SECRETS",
    "SECTIONS",
    "TABLES",
    "Fix",
    "Ib",
    "IbTerms",
    "Replay",
    "Settings",
    "Source",
    "Terms",
    "digest",
    "flatten",
    "load",
    "origins",
    "references",
    "resolve",
    "to_environment",
    "trading_digest",
    "variable",
]
