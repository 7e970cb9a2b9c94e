"""`trisagion study`: questions that a market, or a run, can be asked when it is over."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trisagion.cli.table import aligned
from trisagion.errors import StateError

if TYPE_CHECKING:
    from trisagion.reports.oscillation import Pair, Study

app = typer.Typer(no_args_is_help=True)

BARS_MAX: Final = 10_000_000
"""Of a run, an instrument: nineteen years of minutes."""

HEAD: Final = ("oscillation", "measured", "of", "epochs", "rho", "95 % interval", "p", "p (Holm)", "in words")
FIGURES: Final = range(3, 8)


@app.callback()
def group() -> None:
    """Study a market or a run."""


@app.command()
def oscillation(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Files of ticks or bars, or es, aapl.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The state directory of a run: its market and account.")
    ] = None,
    epoch: Annotated[int, typer.Option(min=5, metavar="BARS", help="Bars of an epoch.")] = 60,
    zone: Annotated[str | None, typer.Option(help="Time zone of times without offset, e.g. America/New_York.")] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="OUT.png|.svg|.pdf", help="Draw each correlation as a scatter.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a picture that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False,
) -> None:
    """Correlate how a market oscillates with the maximum adverse excursion of a position, epoch by epoch."""
    if (run is None) == (not files):
        raise typer.BadParameter("expected files or --run, and not both")
    if image is not None:
        from trisagion.adapters.plots import check_image

        check_image(image, force=force)
    studies = list(_of_files(files or [], zone, epoch) if run is None else _of_run(run, epoch))
    if image is not None:
        from trisagion.adapters.plots import draw_oscillation

        draw_oscillation(image, studies)
    if as_json:
        print(json.dumps({"studies": [_facts(one) for one in studies]}, ensure_ascii=False, allow_nan=False))
        return
    print("\n\n".join("\n".join(_lines(one)) for one in studies))
    if image is not None:
        print(f"\npicture   {image.resolve()}")


def _of_files(files: Sequence[str], zone: str | None, epoch: int) -> "Iterator[Study]":
    from trisagion.adapters.dataspec import DataSpec, entry
    from trisagion.adapters.files import load_bars
    from trisagion.reports.oscillation import study

    for file in files:
        symbol, source = entry(file)
        yield study(load_bars(DataSpec(source, zone or None, symbol=symbol)), epoch)


def _of_run(state: Path, epoch: int) -> "Iterator[Study]":
    from trisagion.adapters.db.engine import open_database
    from trisagion.adapters.db.reading import equity_curve
    from trisagion.cli.rundir import database_of, latest_run
    from trisagion.market.bars import columns
    from trisagion.reports.oscillation import study

    with (
        database_of(latest_run(state)) as url,
        closing(open_database(url)) as database,
        database.snapshot() as unit,
    ):
        replay = unit.control.replay()
        if replay is None:
            raise StateError(f"{state}: this run holds no replay yet: start one with `trisagion run`")
        equity = equity_curve(unit)
        for instrument in unit.market.instruments():
            bars = unit.market.bars(instrument.symbol, replay.end_ns, BARS_MAX)
            yield study(columns(instrument.symbol, bars), epoch, equity)


def _lines(one: "Study") -> Iterator[str]:
    from trisagion.reports.oscillation import ACCOUNT, EPOCHS_TOLD

    count = len(one.epochs)
    yield f"{one.symbol}: {count:,} epochs of {one.epoch_bars} bars, {one.flat:,} of them without a position"
    yield "MAE of a position in the direction of the market weight at the epoch's first close, held to its end"
    if one.account_bp is not None:
        yield f"{ACCOUNT}: the largest fall of the account's equity below its value at the epoch's start"
    yield ""
    yield from aligned([HEAD, *(_row(pair) for pair in one.pairs)], FIGURES)
    if not one.enough:
        yield ""
        yield f"Too few epochs: below {EPOCHS_TOLD} these figures tell nothing. Take more bars, or a smaller --epoch."


def _row(pair: "Pair") -> tuple[str, ...]:
    from trisagion.reports import format as write

    interval = (
        write.UNKNOWN
        if pair.low is None or pair.high is None
        else f"{write.number(pair.low, signed=True)} … {write.number(pair.high, signed=True)}"
    )
    return (
        pair.measure,
        pair.when,
        pair.of,
        f"{pair.epochs:,}",
        write.number(pair.rho, signed=True),
        interval,
        write.number(pair.p, 4),
        write.number(pair.p_adjusted, 4),
        pair.verdict,
    )


def _facts(one: "Study") -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "epoch_bars": one.epoch_bars,
        "epochs": len(one.epochs),
        "without_position": one.flat,
        "enough": one.enough,
        "pairs": [
            {
                "measure": pair.measure,
                "when": pair.when,
                "of": pair.of,
                "epochs": pair.epochs,
                "rho": pair.rho,
                "low": pair.low,
                "high": pair.high,
                "p": pair.p,
                "p_holm": pair.p_adjusted,
                "verdict": pair.verdict,
            }
            for pair in one.pairs
        ],
    }
