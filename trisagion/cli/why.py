"""`trisagion why`: why an order, a cycle, a rest or a standstill is what it is, from what was recorded."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trisagion.cli.rundir import database_of, run_of, settings_of, state_of
from trisagion.clock import SystemClock
from trisagion.errors import ConfigError, StateError, quoted
from trisagion.reports.why import Step, as_json, as_text
from trisagion.services.control import present_ns

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import Unit
    from trisagion.wiring import House

app = typer.Typer(no_args_is_help=True)

YEAR_MAX: Final = 2100
"""So far the rest rule is held against an independent calendar."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

RunOption = Annotated[str | None, typer.Option("--run", help="A run's name; the newest when left out.")]
State = Annotated[Path | None, typer.Option(help="The state directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def _group() -> None:
    """Tell why, from what was recorded when it happened."""


@contextmanager
def _opened(state: Path | None, run: str | None) -> Iterator[tuple["Unit", "House"]]:
    from trisagion.adapters.db.engine import open_database
    from trisagion.wiring import House

    home = run_of(state_of(state), run)
    house = House(settings_of(home))
    with database_of(home) as url, closing(open_database(url, house.signers)) as database, database.snapshot() as unit:
        yield unit, house


@app.command()
def order(
    name: Annotated[str, typer.Argument(metavar="CLORDID", help="Any ClOrdID of the order, or how it alone begins.")],
    run: RunOption = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Tell how an order came to be and what became of it: market, votes, size, verdict, messages, fills, postings."""
    from trisagion.adapters.db.why_source import order_story
    from trisagion.reports.why_order import explain_order

    with _opened(state, run) as (unit, _):
        found = explain_order(order_story(unit, name))
    _show(found, as_json)


@app.command()
def cycle(
    name: Annotated[
        str, typer.Argument(metavar="[ID]", help="A cycle's name, how it alone begins, or `last`.")
    ] = "last",
    run: RunOption = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a reconciliation cycle decided on each symbol, why, and what came of it."""
    from trisagion.adapters.db.why_source import cycle_story
    from trisagion.reports.why_order import explain_cycle

    with _opened(state, run) as (unit, _):
        found = explain_cycle(cycle_story(unit, name))
    _show(found, as_json)


@app.command()
def rest(
    instant: Annotated[
        str | None,
        typer.Argument(metavar="[INSTANT]", help="As 2026-12-24T23:30, UTC where it names no zone; now when left out."),
    ] = None,
    run: RunOption = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether an instant is in a rest, by which rule, since when and until when; in Vatican time and in UTC."""
    from trisagion.reports.why_halt import explain_rest

    given = None if instant is None else _instant(instant)
    try:
        with _opened(state, run) as (unit, _):
            from trisagion.adapters.db.why_source import rest_story

            now_ns = present_ns(unit) if given is None else given
            found = explain_rest(now_ns, rest_story(unit, now_ns))
    except StateError:
        # The calendar needs no run; one that was named is to be there.
        if run is not None or state is not None:
            raise
        found = explain_rest(SystemClock().now_ns() if given is None else given, None)
    _show(found, as_json)


@app.command()
def halt(run: RunOption = None, state: State = None, as_json: AsJson = False) -> None:
    """Tell everything that stands in the way of an order now, each with how it is lifted."""
    from trisagion.adapters.db.why_source import halt_story
    from trisagion.reports.why_halt import explain_halt

    with _opened(state, run) as (unit, house):
        found = explain_halt(halt_story(unit, house.settings, present_ns(unit), house.release_people))
    _show(found, as_json)


def _instant(text: str) -> int:
    expected = "expected an instant of the years 1970 to 2100 as 2026-12-24T23:30"
    try:
        found = datetime.fromisoformat(text)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"{expected}, found {quoted(text)}") from None
    if not EPOCH.year <= found.year <= YEAR_MAX:
        raise ConfigError(f"{expected}, found {quoted(text)}")
    return (found - EPOCH) // timedelta(microseconds=1) * 1000


def _show(found: Step, as_json_wanted: bool) -> None:
    print(json.dumps(as_json(found)) if as_json_wanted else as_text(found))
