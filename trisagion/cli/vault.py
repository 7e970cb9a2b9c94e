"""`trisagion vault`: keep secrets sealed in a file, for settings that refer to them as `vault:NAME`."""

import getpass
import json
import os
import re
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from trisagion.cli.acting import noted
from trisagion.cli.rundir import LATEST, running_house, state_of
from trisagion.cli.table import aligned
from trisagion.errors import ConfigError, StateError, quoted
from trisagion.settings.vault import DEFAULT, ENVIRONMENTS, VARIABLE, Vault, days_old

app = typer.Typer(no_args_is_help=True)

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEAD: Final = ("name", "version", "environment", "venues", "key", "made", "days", "key days")
FIGURES: Final = (1, 6, 7)

FileOption = Annotated[Path | None, typer.Option("--vault", help=f"The file; else {VARIABLE}, else {DEFAULT}.")]


@app.callback()
def _group() -> None:
    """Keep secrets sealed in a file; no command shows one."""


def _vault(path: Path | None) -> Vault:
    return Vault.of({**os.environ, VARIABLE: str(path)} if path else os.environ)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _noted(command: str, told: dict[str, str]) -> None:
    """Note in the newest run who did what; where none answers, the next start tells how the vault stands."""
    if not (state_of(None) / LATEST).exists():
        return
    try:
        house = running_house(None)
        with closing(house.database) as database:
            noted(house, database, f"vault {command}", told)
    except (ConfigError, StateError) as error:
        print(f"not noted in the audit chain of the newest run: {error}", file=sys.stderr)


@app.command()
def init(
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Make the key of the passphrase that TRISAGION_VAULT_PASSPHRASE names.")
    ] = False,
    path: FileOption = None,
) -> None:
    """Make an empty vault and its key; keep the key apart from the vault's backups."""
    vault = _vault(path)
    vault.create(by_passphrase=passphrase, now_ns=time.time_ns())
    print(f"{vault.path}: an empty vault")
    _noted("init", {"key": vault.content().keys[-1].name})


@app.command()
def put(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The entry: vault:NAME.")],
    environment: Annotated[str, typer.Option(help="What it is for: paper or live.")] = "paper",
    venue: Annotated[
        list[str] | None, typer.Option(help="A venue (fix.target) that it is for; as often as needed.")
    ] = None,
    path: FileOption = None,
) -> None:
    """Seal a secret from standard input, or from a prompt; an entry of that name gets its next version."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"NAME: expected up to 64 letters, digits, dots, dashes, found {quoted(name)}")
    if environment not in ENVIRONMENTS:
        raise ConfigError(f"--environment: expected {' or '.join(ENVIRONMENTS)}, found {quoted(environment)}")
    where: Literal["paper", "live"] = "live" if environment == "live" else "paper"
    vault = _vault(path)
    vault.content()
    secret = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().rstrip("\r\n")
    entry = vault.put(name, secret, where, tuple(sorted(set(venue or ()))), time.time_ns())
    print(f"vault:{entry.name}: version {entry.version}, {entry.environment}, {', '.join(entry.venues) or 'no venue'}")
    _noted("put", {"entry": entry.name, "version": str(entry.version), "key": entry.key})


@app.command("list")
def show(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    path: FileOption = None,
) -> None:
    """Show the entries without their secrets, with the age of each and of the key that wraps it."""
    content, now_ns = _vault(path).content(), time.time_ns()
    ages = {key.name: days_old(key, now_ns) for key in content.keys}
    rows = [
        {
            "name": entry.name,
            "version": entry.version,
            "environment": entry.environment,
            "venues": list(entry.venues),
            "key": entry.key,
            "made": datetime.fromtimestamp(entry.made_ns // 10**9, UTC).isoformat(),
            "days": days_old(entry, now_ns),
            "key_days": ages.get(entry.key),
        }
        for entry in content.entries.values()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    cells = [[", ".join(cell) if isinstance(cell, list) else str(cell) for cell in row.values()] for row in rows]
    print("\n".join(aligned([HEAD, *cells], FIGURES)) if cells else "no entry")


@app.command()
def rotate(
    anew: Annotated[bool, typer.Option("--all", help="Also seal each secret under a new key of its own.")] = False,
    path: FileOption = None,
) -> None:
    """Wrap all entries under a new key, without a pause for whoever reads; ends a rotation that was killed."""
    vault = _vault(path)
    vault.content()
    count = vault.rotate(time.time_ns(), anew=anew)
    newest = vault.content().keys[-1].name
    print(f"{vault.path}: {_entries(count)} under key {newest}")
    _noted("rotate", {"entries": str(count), "key": newest, "all": str(anew)})


@app.command()
def check(path: FileOption = None) -> None:
    """Open every entry, and say which key or secret is older than thirty days; exit code 1 when anything is wrong."""
    vault = _vault(path)
    problems = vault.problems(time.time_ns())
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(1)
    print(f"{vault.path}: {_entries(len(vault.content().entries))} can be opened")
