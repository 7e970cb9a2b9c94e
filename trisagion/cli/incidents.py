"""`trisagion incidents`: the symbols on which there is no consensus, with what each witness says."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trisagion.cli.acting import AsOption, KeyOption, acting
from trisagion.cli.rundir import database_of, run_of, settings_of, state_of
from trisagion.cli.table import aligned
from trisagion.clock import iso
from trisagion.errors import StateError, harmless
from trisagion.ledger.types import Voucher
from trisagion.orders.incidents import Incident, View
from trisagion.units import plain, price

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import SqlDatabase

app = typer.Typer()

NEWEST: Final = 50
"""Closed incidents are shown as long as they are among so many."""
LINE_MAX: Final = 500
HEAD: Final = ("incident", "symbol", "kind", "opened", "closed", "cycles", "at last")

RunOption = Annotated[str | None, typer.Option("--run", help="A run's name; the newest when left out.")]
StateOption = Annotated[Path | None, typer.Option("--state", help="The state directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback(invoke_without_command=True)
def listed(
    context: typer.Context,
    closed: Annotated[bool, typer.Option("--all", help=f"The newest {NEWEST}, closed ones too.")] = False,
    run: RunOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the open incidents: each a symbol that is not traded, with what ledger and observers say."""
    if context.invoked_subcommand is None:
        show_all(closed, run, state, as_json)


def show_all(closed: bool, run: str | None, state: Path | None, as_json: bool) -> None:
    """Print the incidents, a line each."""
    with opened(state, run) as database, database.snapshot() as tx:
        found = tx.incidents.newest(NEWEST) if closed else tx.incidents.open_ones()
    if as_json:
        print(json.dumps([row(each) for each in found]))
        return
    if not found:
        print("no incident was ever opened" if closed else "no incident is open")
        return
    ends = ["" if each.closed_ns is None else iso(each.closed_ns) for each in found]
    cells = [
        (str(each.number), each.symbol, each.kind.value, iso(each.opened_ns), end, str(each.cycles), each.text)
        for each, end in zip(found, ends, strict=True)
    ]
    rows = [HEAD, *([harmless(cell, LINE_MAX) for cell in row] for row in cells)]
    print("\n".join(aligned(rows if closed else [(*row[:4], *row[5:]) for row in rows], (0,))))


@app.command("show")
def shown(
    number: Annotated[int, typer.Argument(metavar="INCIDENT", help="Its number, as the list shows it.")],
    run: RunOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one incident: what the witnesses said when it began and last, why there is no consensus, what was done."""
    with opened(state, run) as database, database.snapshot() as tx:
        found = tx.incidents.incident(number)
    if found is None:
        raise StateError(f"expected the number of an incident, found {number}")
    if as_json:
        print(json.dumps(row(found)))
        return
    closed = "" if found.closed_ns is None else f", closed {iso(found.closed_ns)}"
    print(f"incident {found.number}: {found.symbol}, {found.kind}, opened {iso(found.opened_ns)}{closed}")
    for head, views in (("at first", found.began), ("at last", found.views)):
        print(f"{head}, in {found.cycles} cycles" if views is found.views else head)
        for view in views:
            print(harmless(f"    {view.witness}: {plain(view.qty)} as of {iso(view.at_ns)}", LINE_MAX))
    for reason in found.reasons:
        print(harmless(reason, LINE_MAX))
    if found.outcome is not None:
        print(harmless(found.outcome, LINE_MAX))


@app.command("adjust")
def adjusted(
    number: Annotated[int, typer.Argument(metavar="INCIDENT", help="Its number, as the list shows it.")],
    reason: Annotated[str, typer.Option(help="Why; goes to the books and the event log.")],
    evidence: Annotated[str, typer.Option(help="Where it can be seen: a statement, a notice, a case.")],
    observer: Annotated[str | None, typer.Option(help="Whom to believe, where the observers do not agree.")] = None,
    at: Annotated[str | None, typer.Option(metavar="PRICE", help="At this price; the last one when left out.")] = None,
    operator: AsOption = None,
    key: KeyOption = None,
    run: RunOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Book the difference to what the observers see, as an adjustment; the next cycle closes the incident."""
    from trisagion.adapters.db.engine import retrying
    from trisagion.services.adjust_incidents import adjust
    from trisagion.services.control import present_ns
    from trisagion.wiring import House

    house = House(settings_of(run_of(state_of(state), run)))
    rules, owner = house.cycle_rules.reconcile, f"incidents:{os.getpid()}"
    px = None if at is None else price(at)
    with opened(state, run) as database:
        with database.snapshot() as tx:
            now_ns = present_ns(tx)
        actor = acting(house, database, "incidents adjust", operator, key)
        actor.signs("incidents adjust", str(number), f"{reason} ({evidence})", now_ns)
        voucher = Voucher(actor.name, reason, evidence)
        entry = retrying(lambda: adjust(database, rules, number, voucher, owner, now_ns, observer=observer, px=px))
    if as_json:
        print(json.dumps({"incident": number, "entry": entry.name}))
    else:
        print(f"booked as {entry.name}; `trisagion ledger postings --entry {entry.name}` shows its lines")


def row(incident: Incident) -> dict[str, Any]:
    """Return an incident as JSON values; quantities are text."""
    return {
        "incident": incident.number,
        "symbol": incident.symbol,
        "kind": incident.kind.value,
        "opened": iso(incident.opened_ns),
        "updated": iso(incident.updated_ns),
        "closed": None if incident.closed_ns is None else iso(incident.closed_ns),
        "cycles": incident.cycles,
        "began": [_view(view) for view in incident.began],
        "views": [_view(view) for view in incident.views],
        "reasons": list(incident.reasons),
        "outcome": incident.outcome,
    }


def _view(view: View) -> dict[str, str]:
    return {"witness": view.witness, "qty": plain(view.qty), "at": iso(view.at_ns)}


@contextmanager
def opened(state: Path | None, run: str | None) -> "Iterator[SqlDatabase]":
    """Open a run's database."""
    from trisagion.adapters.db.engine import open_database

    with database_of(run_of(state_of(state), run)) as url, closing(open_database(url)) as database:
        yield database
