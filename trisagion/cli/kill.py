"""`trisagion kill`: stop trading at once, from any terminal. It writes the mode to the database and needs no broker."""

import getpass
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from trisagion.cli.rundir import running_house
from trisagion.errors import StepTimeout
from trisagion.ports import Database
from trisagion.safety.modes import Mode
from trisagion.services import control
from trisagion.units import plain

CONFIRM_S_MAX: Final = 30.0
FLAT_S_MAX: Final = 120.0
POLL_S: Final = 0.02


def command(
    reason: Annotated[str, typer.Option(help="Why; goes to the audit log.")] = "trisagion kill",
    flatten: Annotated[bool, typer.Option(help="Also flatten all positions, taking liquidity (Emergency).")] = False,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Cancel all working orders, allow no new ones, wait until none is working; with --flatten, until all is flat."""
    house = running_house(state)
    begun = time.monotonic()

    def since() -> float:
        return time.monotonic() - begun

    mode = Mode.EMERGENCY if flatten else Mode.PAUSE
    control.engage(house.database, mode, getpass.getuser(), reason, house.now_ns())
    said: dict[str, object] = {"mode": mode, "blocked_s": since()}
    # Only now: nothing comes before the stop.
    house.note_login(getpass.getuser(), "kill")
    while working := control.working(house.database):
        if since() > CONFIRM_S_MAX:
            raise StepTimeout(
                f"the mode is {mode}, but after {CONFIRM_S_MAX:.0f} s {working} orders are not confirmed cancelled: "
                "is the session's worker alive? Look at the venue itself"
            )
        time.sleep(POLL_S)
    said |= {"confirmed_s": since(), "working": 0}
    if not as_json:
        print(f"{mode}: blocked after {said['blocked_s']:.3f} s, zero working orders confirmed after {since():.3f} s")
    if flatten:
        _await_flat(house.database, since)
        said["flat_s"] = since()
        if not as_json:
            print(f"all positions flat after {since():.3f} s")
    if as_json:
        print(json.dumps(said))


def _await_flat(database: Database, since: Callable[[], float]) -> None:
    while (held := control.held(database)) or control.working(database):
        if since() > FLAT_S_MAX:
            left = ", ".join(f"{plain(qty)} {symbol}" for symbol, qty in held.items())
            raise StepTimeout(
                f"the mode is emergency, but after {FLAT_S_MAX:.0f} s we still hold {left}: "
                "does the run live? What it holds can be closed at the venue itself"
            )
        time.sleep(POLL_S)
