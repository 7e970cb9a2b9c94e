"""`trisagion db`: make the database, tell how its schema stands, and change it, one migration at a time.

Nothing here empties or drops anything.
"""

import json as json_text
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trisagion.adapters.witness import person, this_process
from trisagion.cli.config import ConfigOption, SetOption, overrides
from trisagion.cli.rundir import database_of, run_of
from trisagion.clock import SystemClock, iso
from trisagion.errors import ConfigError, StateError
from trisagion.settings import Settings, load, resolve

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from trisagion.adapters.db.migrations import Migration

app = typer.Typer(no_args_is_help=True)

StateOption = Annotated[Path | None, typer.Option(help="The state directory.")]
RunOption = Annotated[str | None, typer.Option(help="A run's name: its database, not the configured one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@contextmanager
def _chosen(config: Path | None, sets: list[str] | None, state: Path | None, run: str | None) -> Iterator[str]:
    """Give the URL of the configured database; of a run's where one is named, and of the newest where none is set."""
    settings = load(config, os.environ, overrides(sets))
    if settings.database.url and run is None:
        yield resolve(settings.database.url, os.environ)
        return
    with database_of(run_of(state or Path(settings.platform.state), run)) as url:
        yield url


def _looking(look: "Callable[[Connection, bool], None]") -> None:
    """Make a command of what looks at the chosen database; all of them have these options."""

    def command(
        config: ConfigOption = None,
        sets: SetOption = None,
        run: RunOption = None,
        state: StateOption = None,
        json: JsonOption = False,
    ) -> None:
        from trisagion.adapters.db.engine import open_engine

        with _chosen(config, sets, state, run) as url, open_engine(url).connect() as connection:
            look(connection, json)

    app.command(look.__name__, help=look.__doc__)(command)


@app.command()
def init(
    config: ConfigOption = None,
    sets: SetOption = None,
    users: Annotated[
        bool, typer.Option("--users", help="Create the users too whose passwords are configured.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Create what the configured database lacks; what is there stays as it is."""
    from trisagion.adapters.db.maintenance import create
    from trisagion.adapters.db.users import user_passwords

    settings = load(config, os.environ, overrides(sets))
    url = resolve(settings.database.url, os.environ)
    if not url:
        raise ConfigError("database.url: expected the URL of the database to be created, found none")
    passwords = user_passwords(settings, os.environ) if users else {}
    tables = create(url, passwords, operator=person())
    made = [] if url.startswith("sqlite") else list(passwords)
    unbounded = _budgeted(url, settings) if made else None
    if json:
        print(json_text.dumps({"tables": len(tables), "users": made, "unbounded": unbounded}))
        return
    print(f"{len(tables)} tables are there")
    if made:
        print(f"and the users {', '.join(made)}")
    elif users:
        print("SQLite has no users; whoever may write the file may do everything")
    if unbounded:
        print(f"their connections are not bounded: {unbounded}; raise the one or lower the others, and call this again")


def _budgeted(url: str, settings: Settings) -> str | None:
    """Bound the connections of the users that there are; return why that cannot be."""
    from trisagion.adapters.budget import budget_of
    from trisagion.adapters.db import open_database
    from trisagion.adapters.db.budget import set_budget

    with closing(open_database(url)) as database, database.transaction() as tx:
        try:
            set_budget(tx.session, budget_of(settings, str(database.engine.url.database)))
        except ConfigError as error:
            return str(error)
    return None


@_looking
def status(connection: "Connection", json: bool) -> None:
    """Tell of each migration whether it was applied, by whom and when; exit code 1 when one is due."""
    from trisagion.adapters.db.migrations import migrations, standing

    found = standing(connection, migrations())
    told = [
        {"name": entry.name, "state": entry.state, "operator": entry.operator, "at": iso(entry.at_ns)}
        for entry in (*found.done, *found.begun)
    ]
    begun = {entry.number for entry in found.begun}
    told += [{"name": file.name, "state": "pending"} for file in found.pending if file.number not in begun]
    due = found.fresh or bool(found.needed) or bool(found.changed)
    if json:
        names = [entry.name for entry in found.unknown]
        print(json_text.dumps({"migrations": told, "unknown": names, "changed": found.changed, "due": due}, indent=2))
    else:
        for row in told:
            who = f"by {row['operator']}, {row['at']}" if "operator" in row else ""
            print(f"{row['state']:<8} {row['name']:<48} {who}".rstrip())
        for name in (entry.name for entry in found.unknown):
            print(f"{name} is of a newer release")
        for sentence in found.changed:
            print(f"BAD  {sentence}")
        if found.fresh:
            print("no table of ours is there: `trisagion db init` makes them")
    raise typer.Exit(1 if due else 0)


@_looking
def plan(connection: "Connection", json: bool) -> None:
    """Tell what is to be applied, in order: why, how long, what it locks, and how large the table is."""
    from trisagion.adapters.db.maintenance import rows_in
    from trisagion.adapters.db.migrations import migrations, standing

    pending = standing(connection, migrations()).pending
    rows = [rows_in(connection, file.table) for file in pending]
    if json:
        items = [
            {"number": file.number, "name": file.name, "table": file.table, "rows": count, **file.head}
            for file, count in zip(pending, rows, strict=True)
        ]
        print(json_text.dumps({"pending": items}, indent=2))
        return
    for file, count in zip(pending, rows, strict=True):
        print(f"{file.name}  (table {file.table}: {'new' if count is None else f'{count:,} rows'})")
        for heading in ("Why", "How long", "Locks", "Safe while trading", "Undo"):
            print(f"    {heading + ':':<20}{file.head[heading]}")
    if not pending:
        print("nothing is to be applied")


@_looking
def verify(connection: "Connection", json: bool) -> None:
    """Compare the tables, the SQL and what the code expects, column by column; exit code 1 when they differ."""
    from trisagion.adapters.db.maintenance import drift_of_files
    from trisagion.adapters.db.migrations import migrations, standing
    from trisagion.adapters.db.schema import differences

    found = standing(connection, migrations())
    live = differences(connection, missing=True)
    files = drift_of_files()
    begun = [f"{entry.name} was begun by {entry.operator} and is not recorded as applied" for entry in found.begun]
    pending = [file.name for file in found.pending]
    bad = bool(live or files or found.changed or begun)
    if json:
        told: dict[str, Any] = {
            "database": [_fields(one) for one in live],
            "files": [_fields(one) for one in files],
            "record": [*found.changed, *begun],
            "pending": pending,
        }
        print(json_text.dumps(told, indent=2))
    else:
        for one in live:
            print(f"database: {one}")
        for one in files:
            print(f"init/: {one}")
        for sentence in (*found.changed, *begun):
            print(f"record: {sentence}")
        if pending:
            print(f"pending: {', '.join(pending)}")
        print("they differ" if bad else "database, SQL and code are of one shape")
    raise typer.Exit(1 if bad else 0)


@app.command("apply")
def applied(
    number: Annotated[int, typer.Argument(metavar="NNNN", min=1, help="The number of the next migration.")],
    config: ConfigOption = None,
    sets: SetOption = None,
    run: RunOption = None,
    state: StateOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Show one migration, ask, run it, and record who did so; after a crash, call it again."""
    from trisagion.adapters.db import open_database
    from trisagion.adapters.db.maintenance import apply
    from trisagion.adapters.db.migrations import migrations
    from trisagion.services.keep_audit import note_login

    migration = next((file for file in migrations() if file.number == number), None)
    if migration is None:
        raise StateError(f"expected the number of a file in migrations_manual/, found {number:04d}")
    with _chosen(config, sets, state, run) as url:
        if not yes:
            _ask(migration)
        entry = apply(url, number, person(), SystemClock())
        # One that others have to follow leaves the database closed to us; who applied it stands in schema_migration.
        with suppress(StateError), closing(open_database(url)) as database:
            note_login(database, this_process(""), person(), f"db apply {entry.name}", {})
    if json:
        print(json_text.dumps({"name": entry.name, "state": entry.state, "operator": entry.operator}))
    else:
        print(f"{entry.name} is applied")


def _ask(migration: "Migration") -> None:
    """Show a file on standard error, where it does not disturb JSON, and go on only after a yes."""
    typer.echo(f"{migration.name}.sql\n\n{migration.text}", err=True)
    if not typer.confirm("Run it?", err=True):
        raise StateError(f"{migration.name} was not run")


def _fields(difference: Any) -> dict[str, str]:
    return {name: getattr(difference, name) for name in ("table", "place", "expected", "found")}
