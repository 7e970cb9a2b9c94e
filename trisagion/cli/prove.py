"""`trisagion prove maker`: a certificate of a run's database that maker-only orders added liquidity."""

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from trisagion.cli.rundir import database_of, run_of, state_of

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Prove something about a run."""


@app.command()
def maker(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's name; the newest when left out.")] = None,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Certify that maker-only orders added liquidity; exit code 1 when one of them was filled as a taker."""
    from trisagion.adapters.db.certificate import certificate
    from trisagion.adapters.db.engine import open_database
    from trisagion.reports import certificate as write

    home = run_of(state_of(state), run)
    with database_of(home) as url, closing(open_database(url)) as database, database.snapshot() as unit:
        found = certificate(unit)
    print(json.dumps({"run": home.name, **write.as_json(found)}) if as_json else write.as_text(found, home.name))
    if not found.holds:
        raise typer.Exit(1)
