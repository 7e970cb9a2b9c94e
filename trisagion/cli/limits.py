"""`trisagion limits`: which limits are in force; one person proposes a change, another one approves it.

Whoever gives a command is the user of this machine that the kernel names, whatever the environment says.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trisagion.cli.acting import AsOption, KeyOption, acting
from trisagion.cli.rundir import database_of, run_of, settings_of, state_of
from trisagion.clock import iso
from trisagion.errors import harmless
from trisagion.risk.limits import LIMIT, LimitBook, LimitRow, Limits, Scope
from trisagion.safety.commands import CONFIRM, digest
from trisagion.services import limits
from trisagion.services.control import present_ns
from trisagion.services.limit_effects import INTENTS_MAX, Effects, effects
from trisagion.units import parse_decimal, plain

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import SqlDatabase
    from trisagion.wiring import House

app = typer.Typer(no_args_is_help=True)

LINE_MAX: Final = 500

RunOption = Annotated[str | None, typer.Option("--run", help="A run's name; the newest when left out.")]
StateOption = Annotated[Path | None, typer.Option("--state", help="The state directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]


@dataclass(frozen=True, slots=True)
class _Desk:
    """A run's open database, and the ceiling that its configuration sets."""

    database: "SqlDatabase"
    house: "House"

    @property
    def ceiling(self) -> Limits:
        """What no version may go beyond."""
        return self.house.limits

    def now_ns(self) -> int:
        """Return the instant that the run has come to."""
        with self.database.snapshot() as tx:
            return present_ns(tx)


@contextmanager
def _desk(state: Path | None, run: str | None) -> Iterator[_Desk]:
    from trisagion.adapters.db.engine import open_database
    from trisagion.wiring import House

    home = run_of(state_of(state), run)
    house = House(settings_of(home))
    with database_of(home) as url, closing(open_database(url, house.signers)) as database:
        yield _Desk(database, house)


@app.command("show")
def show(run: RunOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show the versions in force, the ceiling of each, and what stops the account where a limit is not known."""
    with _desk(state, run) as desk, desk.database.snapshot() as tx:
        rows = tx.limits.rows()
    book = LimitBook(desk.ceiling, rows)
    newest = max((row.version for row in book.in_force), default=0)
    unknown = book.of("", venue="", strategy="").unknown
    if as_json:
        in_force = [_row(row, desk.ceiling) for row in book.in_force]
        print(json.dumps({"version": newest, "unknown": unknown or None, "in_force": in_force}))
        return
    _print(book.in_force, desk.ceiling)
    if unknown:
        print(f"nothing but what reduces is approved: {unknown}")


@app.command("history")
def history(run: RunOption = None, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show every version, also those that nobody has approved."""
    with _desk(state, run) as desk, desk.database.snapshot() as tx:
        rows = tx.limits.rows()
    if as_json:
        print(json.dumps([_row(row, desk.ceiling) for row in rows]))
        return
    _print(rows, desk.ceiling)


@app.command("propose")
def propose(
    name: Annotated[str, typer.Argument(metavar="LIMIT", help="Its name, as `show` has it.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Not above what the run was founded with; 0 forbids.")],
    reason: Annotated[str, typer.Option(help="Why; goes to the event log.")],
    scope: Annotated[Scope, typer.Option(help="What it is about.")] = Scope.ACCOUNT,
    subject: Annotated[str, typer.Option("--of", help="The symbol, venue or strategy.")] = "",
    operator: AsOption = None,
    key: KeyOption = None,
    run: RunOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose another value; it changes nothing until another person approves it."""
    wanted = parse_decimal(value, what="VALUE")
    with _desk(state, run) as desk:
        actor, now_ns = acting(desk.house, desk.database, "limits propose", operator, key), desk.now_ns()
        wish = LimitRow(0, name, scope.value, subject, wanted, actor.name, reason, now_ns)
        with desk.database.snapshot() as tx:
            limits.expect_known(tx, wish, desk.house.session_name)
            text = limits.numbered(tx, wish).text
        row = limits.propose(desk.database, desk.ceiling, wish, actor.signs(LIMIT, text, reason, now_ns))
        found = _effects(desk, row.version)
    if as_json:
        print(json.dumps(_row(row, desk.ceiling) | {"effect": _effect(found)}))
        return
    _print([row], desk.ceiling)
    _print_effects(found)
    print(f"proposed; another person approves it: trisagion limits approve {row.version}")


@app.command("effect")
def effect(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="As `history` has it.")],
    run: RunOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a version would refuse: of the live orders, and of what was approved in the last day."""
    with _desk(state, run) as desk:
        found = _effects(desk, version)
    if as_json:
        print(json.dumps(_effect(found)))
    else:
        _print_effects(found)


@app.command("approve")
def approve(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="As `history` has it.")],
    operator: AsOption = None,
    key: KeyOption = None,
    run: RunOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put another person's proposal in force; live orders, decided under the old limits, are cancelled."""
    with _desk(state, run) as desk:
        actor, now_ns = acting(desk.house, desk.database, "limits approve", operator, key), desk.now_ns()
        first = ""
        if desk.house.operators:
            with desk.database.snapshot() as tx:
                first = digest(limits.wished(tx, version))
        signed = actor.signs(CONFIRM, first, "", now_ns)
        row = limits.approve(desk.database, desk.ceiling, version, actor.name, now_ns, signed)
    _tell(row, desk.ceiling, "in force for every check from now on", as_json)


def _row(row: LimitRow, ceiling: Limits) -> dict[str, Any]:
    most = getattr(ceiling, row.name, None)
    return {
        "version": row.version,
        "limit": row.name,
        "scope": row.scope,
        "of": row.subject or None,
        "value": plain(row.value),
        "ceiling": None if most is None else str(most) if isinstance(most, int) else plain(most),
        "proposed_by": row.proposed_by,
        "proposed": iso(row.proposed_ns),
        "reason": row.reason,
        "approved_by": row.approved_by,
        "approved": None if row.approved_ns is None else iso(row.approved_ns),
        "holds": row.holds,
    }


def _print(rows: Iterable[LimitRow], ceiling: Limits) -> None:
    for row in rows:
        told = _row(row, ceiling)
        where = f"{row.scope} {row.subject}".strip()
        by = f"by {row.proposed_by}" + (f", approved by {row.approved_by}" if row.approved_by else "")
        stands = "" if row.holds else "  NOT IN FORCE"
        line = f"{row.version}  {row.name} = {told['value']} of {told['ceiling']}  {where}  {by}: {row.reason}{stands}"
        print(harmless(line, LINE_MAX))


def _tell(row: LimitRow, ceiling: Limits, what: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_row(row, ceiling)))
        return
    _print([row], ceiling)
    print(what)


def _effect(found: Effects | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _effects(desk: _Desk, version: int) -> Effects | None:
    with desk.database.snapshot() as tx:
        return effects(tx, desk.ceiling, version, present_ns(tx))


def _print_effects(found: Effects | None) -> None:
    if found is None:
        print("what it would refuse is not known: it looks at what happens in the minutes before an order")
        return
    day = f"approved in the last day{f', the newest {INTENTS_MAX:,} of them' if found.cut else ''}"
    for name, part in (("live orders", found.live), (day, found.day)):
        refused = ", ".join(f"{reason} {count:,}" for reason, count in part.refused.items())
        total = f"{sum(part.refused.values()):,}{f' ({refused})' if refused else ''}"
        print(f"{name}: {part.intents:,}, within what is in force {part.within:,}, of these it would refuse {total}")
