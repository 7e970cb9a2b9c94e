"""`trisagion cohort`: the best virtual runs, where one comes from and what became of it, a file of the survivors."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trisagion.cli.rundir import database_of, run_of, state_of
from trisagion.cli.table import aligned
from trisagion.cohort.census import By, Kin, Lineage, Member, best, lineage, winners
from trisagion.cohort.survivors import Exported
from trisagion.errors import StateError
from trisagion.ids import RunId
from trisagion.reports import format as write

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import Unit

app = typer.Typer(no_args_is_help=True)

StateOption = Annotated[Path | None, typer.Option(help="The state directory.")]
RunOption = Annotated[str | None, typer.Option("--run", help="A run's name; the newest when left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines: every digit.")]

HEAD: Final = (
    "run",
    "symbol",
    "parent",
    "age",
    "direction",
    "trades",
    "P&L",
    "APR",
    "per trade",
    "type",
    "entry",
    "end",
)


@app.command()
def top(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 20,
    by: Annotated[By, typer.Option(help="What is best.")] = By.LIVE_PNL,
    ended: Annotated[bool, typer.Option("--ended", help="Of those that have ended, not of those alive.")] = False,
    state: StateOption = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the best virtual runs; money is their own."""
    from trisagion.adapters.db.census import census, replay_of, symbols

    with _database(state, run) as unit:
        now_ns = replay_of(unit).now_ns
        several = len(symbols(unit)) > 1
        members = [member for member in census(unit) if member.alive is not ended]
    chosen = best(members, by, count)
    if as_json:
        _print([_facts(member, now_ns) for member in chosen])
        return
    if chosen:
        rows = [HEAD, *(_row(member, now_ns) for member in chosen)]
        shown = rows if several else [(row[0], *row[2:]) for row in rows]
        figures = range(shown[0].index("age"), shown[0].index("type"))
        print("\n".join(aligned(shown, figures)))
    print(f"{len(chosen)} of {len(members)} {'ended' if ended else 'alive'}, by {by}")


@app.command("lineage")
def lineage_of(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A virtual run's name, as `top` shows it.")],
    state: StateOption = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a virtual run's ancestors up to the random draw, its descendants, and what mutated at each step."""
    from trisagion.adapters.db.census import census, replay_of

    with _database(state, run) as unit:
        now_ns = replay_of(unit).now_ns
        members = census(unit)
    found = lineage(members, RunId(run_id))
    if found is None:
        names = f"{members[0].run_id} to {members[-1].run_id}" if members else "none"
        raise StateError(f"{run_id}: expected a virtual run of this replay ({names}), found no such")
    if as_json:
        _print(
            {
                "line": [_kin_facts(kin, now_ns) for kin in found.line],
                "descendants": [_kin_facts(kin, now_ns) for kin in found.descendants],
            }
        )
        return
    print("\n".join(_tree(found)))


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A new file; `trisagion run --survivors` takes it.")],
    top: Annotated[int | None, typer.Option(min=1, help="The best so many; all when left out.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Those that trade this symbol alone; all when left out.")] = None,
    state: StateOption = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the virtual runs that live and have gained to a file, the best first."""
    from trisagion.adapters.db.census import census, origin, symbols
    from trisagion.adapters.survivors import save_survivors

    with _database(state, run) as unit:
        traded = symbols(unit)
        if symbol is not None and symbol not in traded:
            raise StateError(f"--symbol {symbol}: expected one of {', '.join(traded)}, which this run trades")
        wanted = traded if symbol is None else (symbol,)
        where = origin(unit, wanted)
        chosen = [member for member in winners(census(unit)) if member.symbol in wanted][:top]
    if not chosen:
        raise StateError(
            f"no virtual run {f'on {symbol} ' if symbol else ''}that lives has gained: there are no survivors to export"
        )
    save_survivors(
        file,
        where,
        [
            Exported(member.run_id, member.parent, member.live_pnl, member.iterations, member.trades, member.params)
            for member in chosen
        ],
    )
    if as_json:
        _print({"file": str(file.resolve()), "survivors": len(chosen)})
        return
    print(f"{len(chosen)} survivors: {file.resolve()}")


@contextmanager
def _database(state: Path | None, run: str | None) -> "Iterator[Unit]":
    """Give one consistent look at the database of a run, living or ended."""
    from trisagion.adapters.db.engine import open_database

    with (
        database_of(run_of(state_of(state), run)) as url,
        closing(open_database(url)) as database,
        database.snapshot() as unit,
    ):
        yield unit


def _print(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def _facts(member: Member, now_ns: int) -> dict[str, Any]:
    """Return a run for machines; what is not known is null."""
    params = json.loads(member.params)
    return {
        "run": member.run_id,
        "symbol": member.symbol,
        "parent": member.parent,
        "epoch": member.epoch,
        "born_ns": member.born_ns,
        "ended_ns": member.ended_ns,
        "reason": member.reason,
        "age_s": member.age_ns(now_ns) / 1e9,
        "direction": member.direction,
        "trades": member.trades,
        "iterations": member.iterations,
        "live_pnl": member.live_pnl,
        "apr": _number(member.apr),
        "pnl_per_trade": _number(member.pnl_per_trade),
        "system_type": params["system_type"],
        "entry": params["entry"],
        "params": params,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _kin_facts(kin: Kin, now_ns: int) -> dict[str, Any]:
    mutated = [{"parameter": change.name, "old": change.old, "new": change.new} for change in kin.changes]
    return {"generation": kin.generation, "mutated": mutated, **_facts(kin.member, now_ns)}


def _row(member: Member, now_ns: int) -> tuple[str, ...]:
    params = json.loads(member.params)
    return (
        member.run_id,
        member.symbol,
        member.parent or "",
        write.duration(member.age_ns(now_ns)),
        "" if member.direction is None else f"{member.direction:+d}" if member.direction else "0",
        f"{member.trades:,}",
        write.gain(member.live_pnl),
        write.percent(_number(member.apr), 3, signed=True),
        write.number(_number(member.pnl_per_trade), 4, signed=True),
        params["system_type"],
        params["entry"],
        member.reason or "",
    )


def _tree(found: Lineage) -> Iterator[str]:
    """Yield a lineage as a tree: a line for each run, and below it what mutated."""
    kin = (*found.line, *found.descendants)
    asked = found.line[-1].member.run_id
    for one, going in zip(kin, _going(kin), strict=True):
        member = one.member
        rails = "".join("│  " if generation in going else "   " for generation in range(1, one.generation))
        branch, below = ("├─ ", "│  ") if one.generation in going else ("└─ ", "   ")
        if one.generation == 0:
            branch = below = ""
        how = f"ended: {member.reason}" if member.reason else "alive"
        facts = f"P&L {write.gain(member.live_pnl)}, {member.trades:,} trades, {how}"
        birth = "" if one.generation else f", {f'survivor {member.parent}' if member.parent else 'random draw'}"
        yield f"{rails}{branch}{member.run_id}{'  <<' if member.run_id == asked else ''}  {facts}{birth}"
        if one.changes:
            told = ", ".join(f"{change.name} {_short(change.old)} → {_short(change.new)}" for change in one.changes)
            yield f"{rails}{below}   {told}"


def _going(kin: Sequence[Kin]) -> list[frozenset[int]]:
    """Return, for each run of a tree, the generations whose branch goes on to a later run."""
    going: list[frozenset[int]] = []
    later: frozenset[int] = frozenset()
    for one in reversed(kin):
        going.append(later)
        later = frozenset(generation for generation in later if generation < one.generation) | {one.generation}
    return going[::-1]


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
