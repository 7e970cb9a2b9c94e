"""`trisagion release`: let a part of the platform, or all of it, trade again; one person proposes, another confirms."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from trisagion.cli.limits import person
from trisagion.cli.parts import AccountOption, StrategyOption, SymbolOption, VenueOption, part
from trisagion.cli.rundir import running_house
from trisagion.cli.signing import AsOption, KeyOption, command_of
from trisagion.clock import iso
from trisagion.errors import ConfigError
from trisagion.safety.modes import Level
from trisagion.services import release
from trisagion.services.commands import accept


def command(
    reason: Annotated[str | None, typer.Option(help="Propose it: why it is safe again; goes to the audit log.")] = None,
    confirm: Annotated[int | None, typer.Option(help="Confirm the proposal of this number.")] = None,
    symbol: SymbolOption = None,
    venue: VenueOption = None,
    account: AccountOption = None,
    strategy: StrategyOption = None,
    operator: AsOption = None,
    key: KeyOption = None,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
) -> None:
    """Return to Normal, after a minute of Reduce, what was stopped; only while all is green."""
    if (reason is None) is (confirm is None):
        raise ConfigError("expected --reason to propose a release or --confirm to confirm one, found both or neither")
    house = running_house(state)
    named = {Level.SYMBOL: symbol, Level.VENUE: venue, Level.ACCOUNT: account, Level.STRATEGY: strategy}
    with closing(house.database):
        now_ns, rules = house.now_ns(), house.release_rules
        number = confirm
        if operator is not None and not house.operators:
            raise ConfigError("--as: expected operators in the configuration, [safety.operators.NAME], found none")
        who = operator or person()

        def signed(action: str, subject: str, why: str) -> None:
            command = command_of(house, action, subject, why, operator, key)
            accept(house.database, house.operators, command, now_ns)

        if number is None:
            level, name = part(house, named)
            signed("release", f"{level} {name}", reason or "")
            number = release.propose(house.database, level, name, who, reason or "", now_ns)
            if rules.people > 1:
                with house.database.snapshot() as tx:
                    red = release.not_green(tx, rules, level, name, now_ns)
                print(f"proposed; another person confirms: trisagion release --confirm {number}")
                print("\n".join(f"not green: {text}" for text in red) or "all is green")
                return
        if confirm is not None:
            signed("confirm", str(number), "")
        after = release.confirm(house.database, rules, number, who, now_ns)
    print(f"released: {after.where}; only what reduces passes until {iso(after.until_ns or 0)}")
