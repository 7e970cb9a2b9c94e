"""`trisagion release`: let a part of the platform, or all of it, trade again; one person proposes, another confirms."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from trisagion.cli.acting import AsOption, KeyOption, acting
from trisagion.cli.parts import AccountOption, StrategyOption, SymbolOption, VenueOption, part
from trisagion.cli.rundir import running_house
from trisagion.clock import iso
from trisagion.errors import ConfigError
from trisagion.safety.commands import CONFIRM, digest
from trisagion.safety.modes import Level
from trisagion.safety.release import RELEASE
from trisagion.services import release


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
        actor = acting(house, house.database, "release", operator, key)
        if number is None:
            level, name = part(house, named)
            with house.database.snapshot() as tx:
                wish = release.wish(tx, level, name, now_ns)
            signed = actor.signs(RELEASE, wish, reason or "", now_ns)
            number = release.propose(house.database, level, name, actor.name, reason or "", now_ns, signed)
            if rules.people > 1:
                with house.database.snapshot() as tx:
                    red = release.not_green(tx, rules, level, name, now_ns)
                print(f"proposed; another person confirms: trisagion release --confirm {number}")
                print("\n".join(f"not green: {text}" for text in red) or "all is green")
                return
        first = ""
        if house.operators:
            with house.database.snapshot() as tx:
                first = digest(release.wished(tx, number, now_ns))
        signed = actor.signs(CONFIRM, first, "", now_ns)
        after = release.confirm(house.database, rules, number, actor.name, now_ns, signed)
    print(f"released: {after.where}; only what reduces passes until {iso(after.until_ns or 0)}")
