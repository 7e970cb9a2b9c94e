"""`trisagion data`: say what is wrong with a file of market data, row by row; keep bars and quotes in a database."""

import json
from typing import Annotated

import typer

from trisagion.cli import history
from trisagion.clock import SECOND_NS, iso
from trisagion.units import plain

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check market data before it is used; keep its history in a database."""


app.command("import")(history.take_in)
app.command("export")(history.export)
app.command("rollup")(history.rollup)
app.command("partitions")(history.partitions)
app.command("retention")(history.retention)


@app.command()
def check(
    file: Annotated[
        str, typer.Argument(help="A CSV (plain, .gz, .zst) or Parquet file of ticks or bars, or es, aapl.")
    ],
    zone: Annotated[str | None, typer.Option(help="Time zone of times without offset, e.g. America/New_York.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read a whole file and list what is wrong with it; exit code 0 when it can be used, 4 when not."""
    from trisagion.adapters.files import check as check_file
    from trisagion.adapters.files import warnings

    found = check_file(file, zone)
    notes = warnings(found)
    if as_json:
        facts = {
            "file": found.path,
            "ok": found.ok,
            "kind": found.kind,
            "rows": found.rows,
            "first": None if found.first_ns is None else iso(found.first_ns),
            "last": None if found.last_ns is None else iso(found.last_ns),
            "interval_s": None if found.interval_ns is None else found.interval_ns / SECOND_NS,
            "tick_size": None if found.tick_size is None else plain(found.tick_size),
            "lot_size": None if found.lot_size is None else plain(found.lot_size),
            "problem_count": found.problem_count,
            "problems": [{"row": p.row, "column": p.column, "what": p.what} for p in found.problems],
            "warnings": notes,
        }
        print(json.dumps(facts))
    else:
        counted_rows = "1 row" if found.rows == 1 else f"{found.rows:,} rows"
        span = f", {iso(found.first_ns)} to {iso(found.last_ns)}" if found.first_ns and found.last_ns else ""
        print(f"{found.path}: {f'{counted_rows} of {found.kind}{span}' if found.kind else 'not understood'}")
        for problem in found.problems:
            print(f"  {problem}")
        if found.problem_count > len(found.problems):
            print(f"  … and {found.problem_count - len(found.problems)} more")
        for note in notes:
            print(f"  note: {note}")
        counted = "1 problem" if found.problem_count == 1 else f"{found.problem_count:,} problems"
        print("it can be used" if found.ok else f"it cannot be used: {counted}")
    if not found.ok:
        raise typer.Exit(4)
