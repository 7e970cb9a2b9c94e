"""`trisagion ib`: look at an account and a market at Interactive Brokers; no order can be sent or changed from here."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trisagion.cli.config import ConfigOption, SetOption, overrides
from trisagion.cli.table import aligned
from trisagion.clock import iso
from trisagion.errors import ConfigError
from trisagion.settings import load
from trisagion.units import plain

if TYPE_CHECKING:
    from trisagion.session_ports import VenueData

app = typer.Typer(no_args_is_help=True)

ClientOption = Annotated[int, typer.Option("--client-id", min=1, help="A client id that nobody else has.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]

READER: Final = 901
"""Our own client id; that of the session is its owner's alone."""


@app.command()
def account(
    config: ConfigOption = None, sets: SetOption = None, client: ClientOption = READER, as_json: JsonOption = False
) -> None:
    """Show what TWS counts of the account: liquidation value, cash, margin."""
    with _asked(config, sets, client) as data:
        rows = [{"name": each.name, "value": each.value, "currency": each.currency} for each in data.account_values()]
    _show(rows, as_json)


@app.command()
def positions(
    config: ConfigOption = None, sets: SetOption = None, client: ClientOption = READER, as_json: JsonOption = False
) -> None:
    """Show the positions; a contract that is none of ours is named with an @."""
    with _asked(config, sets, client) as data:
        rows = [{"symbol": symbol, "qty": plain(qty)} for symbol, qty in data.positions().items()]
    _show(rows, as_json)


@app.command()
def orders(
    config: ConfigOption = None, sets: SetOption = None, client: ClientOption = READER, as_json: JsonOption = False
) -> None:
    """Show the open orders of all clients; one without an orderRef is named with a ?."""
    with _asked(config, sets, client) as data:
        rows = [
            {
                "cl_ord_id": order.ref,
                "perm_id": str(order.perm_id),
                "client": str(order.client_id),
                "symbol": order.symbol,
                "side": str(order.side),
                "qty": plain(order.qty),
                "price": "market" if order.price is None else plain(order.price),
                "filled": plain(filled),
                "state": str(order.state),
            }
            for order, filled in data.open_orders()
        ]
    _show(rows, as_json)


@app.command()
def executions(
    config: ConfigOption = None, sets: SetOption = None, client: ClientOption = READER, as_json: JsonOption = False
) -> None:
    """Show the executions since midnight, with what they cost."""
    with _asked(config, sets, client) as data:
        rows = [
            {
                "at": iso(each.told.at_ns),
                "exec_id": each.told.exec_id,
                "cl_ord_id": each.told.ref,
                "symbol": each.told.symbol,
                "side": str(each.told.side),
                "qty": plain(each.told.qty),
                "price": plain(each.told.price),
                "fee": "not told" if each.cost is None else f"{plain(each.cost.fee)} {each.cost.currency}",
                "liquidity": str(each.told.liquidity),
            }
            for each in data.executions()
        ]
    _show(rows, as_json)


@app.command()
def quote(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="A symbol with a table ib.contracts.SYMBOL.")],
    config: ConfigOption = None,
    sets: SetOption = None,
    client: ClientOption = READER,
    as_json: JsonOption = False,
) -> None:
    """Show the present bid, ask and last of a symbol."""
    with _asked(config, sets, client) as data:
        found = data.quote(symbol)
    _show([{"symbol": symbol, "bid": plain(found.bid), "ask": plain(found.ask), "last": plain(found.last)}], as_json)


@app.command()
def bars(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="A symbol with a table ib.contracts.SYMBOL.")],
    size: Annotated[str, typer.Option(help="As '1 min', '1 hour' or '1 day'.")] = "1 min",
    duration: Annotated[str, typer.Option(help="How far back, as TWS says it: '3600 S', '2 D', '1 M'.")] = "1 D",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write what `trisagion run --data` reads.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    client: ClientOption = READER,
    as_json: JsonOption = False,
) -> None:
    """Show or write the bars of a symbol, from its trades."""
    if out is not None and out.exists():
        raise ConfigError(f"--out: expected a file that is not there yet, found {out}")
    with _asked(config, sets, client) as data:
        found = data.bars(symbol, size, duration)
    names = ("open", "high", "low", "close", "volume")
    if out is None:
        _show(
            [{"at": iso(bar.open_ns), **{name: f"{getattr(bar, name):g}" for name in names}} for bar in found], as_json
        )
        return
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("ts_event", *names))
        writer.writerows((bar.open_ns, *(repr(getattr(bar, name)) for name in names)) for bar in found)
    print(f"{out}: {len(found)} bars of {size}")


@contextmanager
def _asked(config: Path | None, sets: list[str] | None, client: int) -> "Iterator[VenueData]":
    """Connect to the TWS that the settings name."""
    from trisagion.adapters.venues.ib.configured import reader_of
    from trisagion.adapters.venues.ib.data import IbData

    given = load(config, os.environ, overrides(sets)).ib
    where = reader_of(given, client, "--client-id")
    with IbData(where, given.environment).opened() as data:
        yield data


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(list(rows)))
        return
    if not rows:
        print("none")
        return
    heads = list(rows[0])
    print("\n".join(aligned([heads, *([str(row[head]) for head in heads] for row in rows)])))
