"""`trisagion messages`: what was said on the venue sessions of a run, as it was on the wire, secrets masked."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trisagion.cli.rundir import database_of, run_of, state_of
from trisagion.clock import SECOND_NS, iso
from trisagion.errors import ConfigError, StateError, quoted
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.reports.why import legible
from trisagion.session_ports import SessionMessage

if TYPE_CHECKING:
    from trisagion.ports import Database

PAGE: Final = 500
INSTANT_MAX_NS: Final = 2**63 - 1
"""What a column of instants can hold: the year 2262."""
ARROWS: Final = {"in": "<", "out": ">", "event": "*"}


def command(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's name; the newest when left out.")] = None,
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    order: Annotated[
        str | None, typer.Option(metavar="CLORDID", help="Only messages about this order, by any of its ClOrdIDs.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Not older than this instant, as 2026-11-21T14:30; UTC.")] = None,
    state: Annotated[Path | None, typer.Option(help="The state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the messages of the venue sessions, in (<), out (>) and events (*), in order of the machine's time."""
    from trisagion.adapters.db.engine import open_database

    since_ns = instant(since, "--since") if since else 0
    with database_of(run_of(state_of(state), run)) as url, closing(open_database(url)) as database:
        names = _names(database, ClOrdId(order)) if order else []
        for message in _messages(database, session, names, since_ns):
            print(_as_json(message) if as_json else _as_text(message))


def _messages(
    database: "Database", session: str | None, names: list[ClOrdId], since_ns: int
) -> Iterator[SessionMessage]:
    after = (0, "", 0)
    while True:
        with database.snapshot() as tx:
            page = tx.messages.messages(session, names, since_ns, after, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = (page[-1].at_ns, page[-1].session, page[-1].number)


def _names(database: "Database", name: ClOrdId) -> list[ClOrdId]:
    """Return every ClOrdID of the order that has this one among them."""
    with database.snapshot() as tx:
        link = tx.orders.link(name)
        order = tx.orders.order(name if link is None else link.first_id)
    if order is None:
        raise StateError(f"--order: there is no order {quoted(name)} in this run")
    return [order.cl_ord_id, *(link_cl_ord_id(order.cl_ord_id, number + 1) for number in range(order.links))]


def instant(text: str, option: str) -> int:
    """Read the instant of an option, UTC unless it says otherwise; nanoseconds."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: expected an instant as 2026-11-21T14:30, found {quoted(text)}") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return min(int(found.timestamp()) * SECOND_NS + found.microsecond * 1000, INSTANT_MAX_NS)


def _as_text(message: SessionMessage) -> str:
    told = (iso(message.at_ns), message.session, message.number, ARROWS[message.direction], legible(message.text))
    return "  ".join(map(str, told))


def _as_json(message: SessionMessage) -> str:
    named = {name: getattr(message, name) for name in SessionMessage.__slots__}
    return json.dumps({**named, "text": legible(message.text)})
