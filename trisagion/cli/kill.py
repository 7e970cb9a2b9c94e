"""`trisagion kill`: stop trading at once, from any terminal. It writes the mode to the database and needs no broker."""

import getpass
import json
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from trisagion.cli.rundir import running_house
from trisagion.errors import StepTimeout
from trisagion.safety.modes import Mode
from trisagion.services import control

CONFIRM_S_MAX: Final = 30.0
POLL_S: Final = 0.02


def command(
    reason: Annotated[str, typer.Option(help="Why; goes to the audit log.")] = "trisagion kill",
    flatten: Annotated[bool, typer.Option(help="Also flatten all positions, taking liquidity (Emergency).")] = False,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Cancel all working orders, allow no new ones, and wait until none is working."""
    house = running_house(state)
    begun = time.monotonic()
    mode = Mode.EMERGENCY if flatten else Mode.PAUSE
    control.engage(house.database, mode, getpass.getuser(), reason, house.now_ns())
    blocked_s = time.monotonic() - begun
    while working := control.working(house.database):
        if time.monotonic() - begun > CONFIRM_S_MAX:
            raise StepTimeout(
                f"the mode is {mode}, but after {CONFIRM_S_MAX:.0f} s {working} orders are not confirmed cancelled: "
                "is the session's worker alive? Look at the venue itself"
            )
        time.sleep(POLL_S)
    confirmed_s = time.monotonic() - begun
    if as_json:
        print(json.dumps({"mode": mode, "blocked_s": blocked_s, "confirmed_s": confirmed_s, "working": 0}))
        return
    print(f"{mode}: blocked after {blocked_s:.3f} s, zero working orders confirmed after {confirmed_s:.3f} s")
