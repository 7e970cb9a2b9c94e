"""`trisagion release`: let a part of the platform, or all of it, trade again."""

import getpass
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from trisagion.cli.parts import AccountOption, StrategyOption, SymbolOption, VenueOption, part
from trisagion.cli.rundir import running_house
from trisagion.safety.modes import Level
from trisagion.services import control


def command(
    reason: Annotated[str, typer.Option(help="Why it is safe again; goes to the audit log.")],
    symbol: SymbolOption = None,
    venue: VenueOption = None,
    account: AccountOption = None,
    strategy: StrategyOption = None,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
) -> None:
    """Return a part of the platform, or all of it, to Normal."""
    house = running_house(state)
    named = {Level.SYMBOL: symbol, Level.VENUE: venue, Level.ACCOUNT: account, Level.STRATEGY: strategy}
    with closing(house.database):
        level, name = part(house, named)
        control.release(house.database, getpass.getuser(), reason, house.now_ns(), level, name)
    print("released" if level is Level.ALL else f"{level} {name} is released")
