"""Obey a flag beside the database: what it demands is written down there, for all others and for later."""

from collections.abc import Callable
from typing import Final, TypeAlias

from trisagion.ports import Database
from trisagion.safety.modes import Control, Mode, stricter
from trisagion.services.control import engage

KILL_FILE: Final = "kill file"
"""The operator of what a file demands."""

Flag: TypeAlias = Callable[[], str | None]
"""Says why everything is to stop, None where nothing says so."""


def never() -> str | None:
    """Be the flag that nobody can raise."""
    return None


def watch(database: Database, flag: Flag, now_ns: int) -> None:
    """Look once; whoever releases the platform while the flag is up has it paused again at the next look."""
    why = flag()
    if why is None:
        return
    with database.snapshot() as tx:
        present = tx.control.control().mode
    if stricter(Mode.PAUSE, present):
        engage(database, Mode.PAUSE, KILL_FILE, why, now_ns)


def demanded(flag: Flag, now_ns: int) -> tuple[Control, ...]:
    """Return what the flag demands of whoever looks, whatever the database says."""
    why = flag()
    return () if why is None else (Control(Mode.PAUSE, KILL_FILE, why, now_ns),)
