"""`trisagion kill`: stop trading at once, from any terminal. It needs no broker, and without the database it pauses."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from trisagion.adapters.witness import person
from trisagion.cli.acting import noted
from trisagion.cli.parts import AccountOption, StrategyOption, SymbolOption, VenueOption, part
from trisagion.cli.rundir import running_house
from trisagion.cli.stop import Stop
from trisagion.errors import ConfigError, StateError, StepTimeout
from trisagion.ports import Database
from trisagion.safety.modes import Level, Mode, cancels_working, stricter
from trisagion.services import control
from trisagion.units import plain

CONFIRM_S_MAX: Final = 30.0
FLAT_S_MAX: Final = 120.0
POLL_S: Final = 0.05
"""Measured: a look at two hundred orders takes 5 ms of a core, which whoever cancels them may need."""


def command(
    reason: Annotated[str, typer.Option(help="Why; goes to the audit log.")] = "trisagion kill",
    flatten: Annotated[bool, typer.Option(help="Also flatten all positions, taking liquidity (Emergency).")] = False,
    mode: Annotated[Mode | None, typer.Option(help="pause (the default), reduce or emergency.")] = None,
    symbol: SymbolOption = None,
    venue: VenueOption = None,
    account: AccountOption = None,
    strategy: StrategyOption = None,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Cancel all working orders, allow no new ones, wait until none is working; with --flatten, until all is flat."""
    asked = mode or (Mode.EMERGENCY if flatten else Mode.PAUSE)
    if asked is Mode.NORMAL or (flatten and asked is not Mode.EMERGENCY):
        beside = " beside --flatten" if flatten else ""
        raise ConfigError(f"--mode: expected {'emergency' if flatten else 'a stricter one'}{beside}, found {asked}")
    house = running_house(state)
    begun = time.monotonic()

    def since() -> float:
        return time.monotonic() - begun

    named = {Level.SYMBOL: symbol, Level.VENUE: venue, Level.ACCOUNT: account, Level.STRATEGY: strategy}
    level, name = part(house, named)
    stop = Stop(house, asked, person(), reason, level, name)
    file = stop.give()
    blocked_s = since()
    if file is not None:
        _await_database(stop, file, asked)
    # Only now: nothing comes before the stop.
    noted(house, house.database, "kill")
    now_ns = house.now_ns()
    with house.database.snapshot() as tx:
        present = control.in_force(tx, level, name, now_ns)
    if stricter(asked, present.mode):
        raise StateError(f"expected {asked} to be in force, found {present.mode}: somebody has released it meanwhile")
    said: dict[str, object] = {"mode": present.mode, "level": level, "name": name, "blocked_s": blocked_s}
    what = str(present.mode) if level is Level.ALL else f"{present.mode} of {present.where}"
    if cancels_working(present.mode):
        _await_none_working(house.database, what, since, level, name)
        said |= {"confirmed_s": since(), "working": 0}
        if not as_json:
            print(f"{what}: blocked after {blocked_s:.3f} s, zero working orders confirmed after {since():.3f} s")
    elif not as_json:
        print(f"{what}: in force after {blocked_s:.3f} s; working orders stay, only what reduces passes")
    if asked is Mode.EMERGENCY:
        _await_flat(house.database, since, level, name)
        said["flat_s"] = since()
        if not as_json:
            print(f"all positions{'' if level is Level.ALL else ' there'} flat after {since():.3f} s")
    if as_json:
        print(json.dumps(said))


def _await_database(stop: Stop, file: Path, asked: Mode) -> None:
    """Say what holds without the database, and wait for it to come back and take the word."""
    print(
        f"the database does not answer; {file} stands in its place: nothing new is sent, and the session's owner asks "
        "for the cancel of what it knows to work",
        file=sys.stderr,
        flush=True,
    )
    if not stop.confirmed(CONFIRM_S_MAX):
        later = "" if asked is Mode.PAUSE else f", and {asked} was not engaged"
        raise StepTimeout(
            f"{file} stops the platform, but for {CONFIRM_S_MAX:.0f} s the database has not answered: no cancel is "
            f"confirmed{later}. Look at the venue itself; remove the file when it is safe"
        )


def _await_none_working(database: Database, what: str, since: Callable[[], float], level: Level, name: str) -> None:
    while working := control.working(database, level, name):
        if since() > CONFIRM_S_MAX:
            raise StepTimeout(
                f"the mode is {what}, but after {CONFIRM_S_MAX:.0f} s {working} orders are not confirmed cancelled: "
                "is the session's worker alive? Look at the venue itself"
            )
        time.sleep(POLL_S)


def _await_flat(database: Database, since: Callable[[], float], level: Level, name: str) -> None:
    while (held := control.held(database, level, name)) or control.working(database, level, name):
        if since() > FLAT_S_MAX:
            left = ", ".join(f"{plain(qty)} {symbol}" for symbol, qty in held.items())
            raise StepTimeout(
                f"the mode is emergency, but after {FLAT_S_MAX:.0f} s we still hold {left}: "
                "does the run live? What it holds can be closed at the venue itself"
            )
        time.sleep(POLL_S)
