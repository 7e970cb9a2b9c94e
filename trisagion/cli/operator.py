"""`trisagion operator`: the keys by which people sign their commands."""

import re
from pathlib import Path
from typing import Annotated

import typer

from trisagion.cli.keys import new_key
from trisagion.errors import ConfigError, quoted
from trisagion.settings.safety import OPERATOR

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Make the keys of the people who may release what was stopped."""


@app.command()
def keygen(
    name: Annotated[str, typer.Argument(help="The operator's name.")],
    file: Annotated[Path, typer.Argument(help="Where the private key is to lie; it must not be there yet.")],
) -> None:
    """Make an operator's key: the private one into a file of its owner alone, the public one for the configuration."""
    if re.fullmatch(OPERATOR, name) is None:
        raise ConfigError(f"name: expected letters, digits, _ and -, 32 at most, found {quoted(name)}")
    print(f'[safety.operators.{name}]\npublic_key = "{new_key(file)}"')
