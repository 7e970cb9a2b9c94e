"""The options by which a command names the part of the platform that a control mode is for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from trisagion.errors import ConfigError
from trisagion.safety.modes import STRATEGY, Level
from trisagion.services import control

if TYPE_CHECKING:
    from trisagion.wiring import House

SymbolOption = Annotated[str | None, typer.Option(help="Only this symbol.")]
VenueOption = Annotated[str | None, typer.Option(help="Only this venue, by the name of its session.")]
AccountOption = Annotated[str | None, typer.Option(help="Only this account.")]
StrategyOption = Annotated[str | None, typer.Option(help=f"Only this strategy; there is one, {STRATEGY}.")]


def part(house: "House", named: Mapping[Level, str | None]) -> tuple[Level, str]:
    """Return the level and name that the options give, everything where they give none; `ConfigError` if wrong."""
    given = [(level, name) for level, name in named.items() if name is not None]
    if len(given) > 1:
        raise ConfigError(f"expected one part at most, found {' and '.join(f'--{level}' for level, _ in given)}")
    if not given:
        return Level.ALL, ""  # a word for everything does not wait for the database to know of a part
    level, name = given[0]
    with house.database.snapshot() as tx:
        control.expect_known(tx, level, name, account=house.settings.platform.account, venue=house.session_name)
    return level, name
