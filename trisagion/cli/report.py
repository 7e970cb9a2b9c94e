"""`trisagion report`: write the tear sheet of a run, finished or running, and print its summary."""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from trisagion.cli.rundir import database_of, run_of, state_of
from trisagion.errors import StateError

REPORT = "report.html"


def command(
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
    run: Annotated[str | None, typer.Option(help="A run's name; the newest when left out.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the page; report.html of the run when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: the summary with every digit.")] = False,
) -> None:
    """Write the report of a run."""
    from trisagion.adapters.db.engine import open_database
    from trisagion.adapters.db.report_source import collect
    from trisagion.cli.console import columns
    from trisagion.reports.tearsheet import render, summary_json, summary_text

    home = run_of(state_of(state), run)
    with database_of(home) as url, closing(open_database(url)) as database:
        report = collect(database)
    page = (out or home / REPORT).resolve()
    try:
        page.write_text(render(report), encoding="utf-8")
    except OSError as error:
        raise StateError(
            f"{page}: the report cannot be written ({error.strerror}); name another file with --out"
        ) from None
    if as_json:
        print(json.dumps({**summary_json(report), "report": str(page)}, ensure_ascii=False, allow_nan=False))
        return
    print(summary_text(report, columns(sys.stdout)))
    print(f"report    {page}")
