"""`trisagion gate`: show the gates of the venue sessions; open one that was shut."""

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from trisagion.cli.acting import AsOption, KeyOption, acting
from trisagion.cli.rundir import running_house
from trisagion.clock import iso
from trisagion.safety.gates import OPEN, opening
from trisagion.services import control

app = typer.Typer(no_args_is_help=True)

StateOption = Annotated[Path | None, typer.Option(help="The state directory.")]


@app.command("list")
def show(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show every gate that was ever shut."""
    house = running_house(state)
    with closing(house.database) as database, database.snapshot() as tx:
        gates = tx.control.gates()
    if as_json:
        told = [{"session": g.session, "shut": g.shut, "operator": g.operator, "reason": g.reason} for g in gates]
        print(json.dumps(told))
        return
    for gate in gates:
        print(
            f"{gate.session}  {'shut' if gate.shut else 'open'} by {gate.operator}, {iso(gate.set_ns)}: {gate.reason}"
        )
    if not gates:
        print("no gate was ever shut")


@app.command("open")
def opened(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's name, as `list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why it is safe again; goes to the audit log.")],
    state: StateOption = None,
    operator: AsOption = None,
    key: KeyOption = None,
) -> None:
    """Let new orders pass to a session again."""
    house = running_house(state)
    with closing(house.database):
        actor, now_ns = acting(house, house.database, "gate open", operator, key), house.now_ns()
        with house.database.snapshot() as tx:
            wish = opening(session, tx.control.last_of(session))
        control.open_gate(house.database, session, actor.name, reason, now_ns, actor.signs(OPEN, wish, reason, now_ns))
    print(f"the gate of {session} is open")
