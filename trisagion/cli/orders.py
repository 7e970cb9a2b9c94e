"""`trisagion orders`: show the orders in doubt, and end one of which a person has seen what became."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trisagion.cli.acting import KeyOption, acting
from trisagion.cli.rundir import database_of, run_of, settings_of, state_of
from trisagion.clock import iso
from trisagion.errors import ConfigError, StateError, harmless, quoted
from trisagion.ids import ClOrdId
from trisagion.orders.state import IN_DOUBT, OrderState
from trisagion.orders.types import Order
from trisagion.services import resolve_orders
from trisagion.services.control import present_ns
from trisagion.units import plain

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import SqlDatabase

app = typer.Typer(no_args_is_help=True)

TEXT_MAX = 200

RunOption = Annotated[str | None, typer.Option("--run", help="A run's name; the newest when left out.")]
State = Annotated[Path | None, typer.Option(help="The state directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def _group() -> None:
    """Show the orders in doubt, and end one by hand."""


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="[CLORDID]", help="All in doubt when left out.")] = None,
    run: RunOption = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show an order, or all of which it is not known where they stand at the venue."""
    with _database(state, run) as database, database.snapshot() as tx:
        if name is None:
            found = list(tx.orders.in_states(IN_DOUBT))
        elif (order := tx.orders.order(ClOrdId(name))) is not None:
            found = [order]
        else:
            raise StateError(f"expected the ClOrdID of an order, found {quoted(name)}")
    _show(found, as_json)


@app.command()
def resolve(
    name: Annotated[str, typer.Argument(metavar="CLORDID", help="The order, as `show` names it.")],
    end: Annotated[str, typer.Option("--as", help=f"How it ended: {', '.join(resolve_orders.ENDS)}.")],
    reason: Annotated[str, typer.Option(help="Why it is ended by hand; goes to the event log.")],
    evidence: Annotated[str, typer.Option(help="Where it can be seen: a statement, a trade log, a case.")],
    operator: Annotated[
        str | None, typer.Option("--operator", envvar="TRISAGION_OPERATOR", help="You, as the configuration names you.")
    ] = None,
    key: KeyOption = None,
    run: RunOption = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """End an order that is unknown, as a person saw at the venue; its fills stay as they are booked."""
    from trisagion.adapters.db.engine import retrying
    from trisagion.wiring import House

    if end not in resolve_orders.ENDS:
        raise ConfigError(f"--as: expected one of {', '.join(resolve_orders.ENDS)}, found {quoted(end)}")
    with _database(state, run) as database:
        with database.snapshot() as tx:
            now_ns = present_ns(tx)
        actor = acting(House(settings_of(run_of(state_of(state), run))), database, "orders resolve", operator, key)
        actor.signs("orders resolve", f"{name} {end}", f"{reason} ({evidence})", now_ns)
        ended = retrying(
            lambda: resolve_orders.resolve(
                database, ClOrdId(name), OrderState(end), actor.name, reason, evidence, now_ns
            )
        )
    _show([ended], as_json)


@contextmanager
def _database(state: Path | None, run: str | None) -> Iterator["SqlDatabase"]:
    from trisagion.adapters.db.engine import open_database

    with database_of(run_of(state_of(state), run)) as url, closing(open_database(url)) as database:
        yield database


def _show(orders: list[Order], as_json: bool) -> None:
    rows = [
        {
            "cl_ord_id": order.cl_ord_id,
            "session": order.session or "",
            "order_id": order.order_id or "",
            "symbol": order.symbol,
            "side": order.side.value,
            "qty": plain(order.qty),
            "cum_qty": plain(order.cum_qty),
            "price": "" if order.price is None else plain(order.price),
            "state": order.state.value,
            "updated": iso(order.updated_ns),
            "reason": order.reason or "",
        }
        for order in orders
    ]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print("  ".join(f"{key}={harmless(value, TEXT_MAX)}" for key, value in row.items() if value))
    if not rows:
        print("no order is in doubt")
