"""`trisagion egress`: the paths of the venue sessions, read off what their forwarders recorded."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trisagion.cli.rundir import database_of, latest_run, settings_of, state_of
from trisagion.clock import iso

if TYPE_CHECKING:
    from trisagion.gateway.egress import Standing


def command(
    session: Annotated[str | None, typer.Option(help="One session alone.")] = None,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show for each path whether it is up, since when and why, how often it carried, and why it was left last."""
    from trisagion.adapters.db.engine import open_database
    from trisagion.gateway.egress import standings

    run = latest_run(state_of(state))
    settings = settings_of(run)
    own = {settings.session: settings.egress.use} if settings.egress.use else {}
    with database_of(run) as url, closing(open_database(url)) as database, database.snapshot() as tx:
        names = sorted({*tx.egress.sessions(), *own}) if session is None else [session]
        found = {name: standings(tx.egress.counts(name), own.get(name, ())) for name in names}
    if as_json:
        told = [{"session": name, **asdict(path)} for name, paths in found.items() for path in paths]
        print(json.dumps(told))
        return
    for name, paths in found.items():
        for path in paths:
            print(f"{name}  {_line(path)}")
    if not any(found.values()):
        print("no session has paths of its own: they connect directly")


def _line(path: "Standing") -> str:
    parts = ["up" if path.up else "DOWN"]
    if path.since_ns is not None:
        parts[0] += f" since {iso(path.since_ns)} ({path.why})"
    parts.append(f"carried {path.carried} connections" + (", one of them now" if path.carrying else ""))
    if path.left_ns is not None:
        parts.append(f"left {iso(path.left_ns)}: {path.left_why}")
    return f"{path.path:<12} {'; '.join(parts)}"
