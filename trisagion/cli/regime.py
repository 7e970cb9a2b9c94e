"""`trisagion regime`: what state a market is in, was in at each bar, why, and a picture of it."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trisagion.cli.table import aligned
from trisagion.errors import DataError

if TYPE_CHECKING:
    from trisagion.market.types import Bars
    from trisagion.regime.history import Judgement, Stretch

REASONS_SHOWN: Final = 2
"""Of a stretch, in the table; all are in the JSON, and told of the present."""

PROGRESS_BARS: Final = 250

HEAD: Final = ("from", "to", "bars", "state", "probability", "because")
FIGURES: Final = frozenset({"bar", "bars", "probability"})


def command(
    file: Annotated[
        str, typer.Argument(help="A CSV (plain, .gz, .zst) or Parquet file of ticks or bars, or es, aapl.")
    ],
    zone: Annotated[str | None, typer.Option(help="Time zone of times without offset, e.g. America/New_York.")] = None,
    symbol: Annotated[str | None, typer.Option(help="What it is called; the file's name when left out.")] = None,
    refit: Annotated[
        int | None, typer.Option(min=1, metavar="BARS", help="Bars from one fit of the models to the next: 1,000.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="OUT.png|.svg|.pdf", help="Draw prices, states and their probabilities.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a picture that is there.")] = False,
    every: Annotated[bool, typer.Option("--all", help="A line for each bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object a line.")] = False,
) -> None:
    """Tell the state of a market at each of its bars: trending, mean reverting, noisy or in crisis."""
    from trisagion.adapters.dataspec import DataSpec
    from trisagion.adapters.files import load_bars

    if image is not None:
        from trisagion.adapters.plots import check_image

        check_image(image, force=force)
    bars = load_bars(DataSpec(file, zone or None, symbol=symbol))
    if len(bars) == 0:
        raise DataError(f"{file}: expected a bar at least, found none")
    judged = _judged(bars, refit)
    if image is not None:
        from trisagion.adapters.plots import draw_regimes
        from trisagion.regime.classify import Rules

        draw_regimes(image, bars, judged, Rules().crisis_ratio)
    if as_json:
        for fact in _facts(bars, judged, every=every):
            print(json.dumps(fact, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(_lines(bars, judged, every=every)))
        if image is not None:
            print(f"picture   {image.resolve()}")


def _judged(bars: "Bars", refit: int | None) -> "list[Judgement]":
    """Judge each bar, and tell a person how far it has come."""
    from trisagion.regime.history import REFIT_BARS, judgements

    judged: list[Judgement] = []
    watched = sys.stderr.isatty()
    for one in judgements(bars, refit or REFIT_BARS):
        judged.append(one)
        if watched and (len(judged) % PROGRESS_BARS == 0 or len(judged) == len(bars)):
            print(f"\r{len(judged):,} of {len(bars):,} bars", end="", file=sys.stderr, flush=True)
    if watched:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return judged


def _lines(bars: "Bars", judged: "Sequence[Judgement]", *, every: bool) -> Iterator[str]:
    from trisagion.regime.classify import MarketRegime
    from trisagion.regime.history import shares, stretches
    from trisagion.reports import format as write

    readings = [one.reading for one in judged]
    span = f"{write.minute(int(bars.close_ns[0]))} to {write.minute(int(bars.close_ns[-1]))}"
    yield f"{bars.symbol}: {len(bars):,} bars of {write.duration(bars.interval_ns)}, closes from {span} UTC"
    yield ""
    found = stretches(readings)
    head = ("at", "bar", *HEAD[3:]) if every else HEAD
    figures = [index for index, name in enumerate(head) if name in FIGURES]
    yield from aligned([head, *_rows(judged, found, every=every)], figures)
    yield ""
    told = ", ".join(f"{_word(state)} {write.percent(share)}" for state, share in shares(readings).items())
    yield f"time in   {told}; {len(found) - 1:,} changes"
    now = readings[-1]
    yield f"now       {_word(now.state)}, since {write.minute(found[-1].from_ns)}"
    chances = zip(MarketRegime, now.probability, strict=True)
    yield f"          {', '.join(f'{_word(state)} {write.percent(chance)}' for state, chance in chances)}"
    for reason in now.reasons:
        yield f"          {reason}"


def _rows(judged: "Sequence[Judgement]", found: "Sequence[Stretch]", *, every: bool) -> Iterator[tuple[str, ...]]:
    from trisagion.regime.history import probability_of
    from trisagion.reports import format as write

    if every:
        for number, one in enumerate(judged, start=1):
            reading = one.reading
            chance = write.percent(probability_of(reading))
            because = _because(reading.state, reading.reasons)
            yield (write.minute(reading.at_ns), f"{number:,}", _word(reading.state), chance, because)
        return
    for part in found:
        because = _because(part.state, part.reasons)
        ends = (write.minute(part.from_ns), write.minute(part.to_ns))
        yield (*ends, f"{part.bars:,}", _word(part.state), write.percent(part.probability), because)


def _facts(bars: "Bars", judged: "Sequence[Judgement]", *, every: bool) -> Iterator[dict[str, Any]]:
    """Give what the lines tell, with every digit: bars or stretches, the shares, the present."""
    from trisagion.regime.history import shares, stretches

    readings = [one.reading for one in judged]
    found = stretches(readings)
    if every:
        yield from ({"kind": "bar", **_reading(one)} for one in judged)
    else:
        for part in found:
            yield {
                "kind": "stretch",
                "from_ns": part.from_ns,
                "to_ns": part.to_ns,
                "bars": part.bars,
                "state": part.state,
                "probability": None if math.isnan(part.probability) else part.probability,
                "reasons": part.reasons,
            }
    yield {
        "kind": "shares",
        "symbol": bars.symbol,
        "bars": len(bars),
        "interval_ns": bars.interval_ns,
        "shares": shares(readings),
        "changes": len(found) - 1,
    }
    yield {"kind": "now", "since_ns": found[-1].from_ns, **_reading(judged[-1])}


def _reading(one: "Judgement") -> dict[str, Any]:
    from trisagion.regime.classify import MarketRegime

    reading, known = one.reading, one.evidence
    return {
        "at_ns": reading.at_ns,
        "state": reading.state,
        "probability": dict(zip(map(str, MarketRegime), reading.probability, strict=True)),
        "entropy": known.entropy,
        "hurst": known.hurst,
        "hurst_error": known.hurst_error,
        "volatility_ratio": known.volatility_ratio,
        "hidden_states": None if known.states is None else {str(name): p for name, p in known.states.items()},
        "reasons": reading.reasons,
    }


def _because(state: str, reasons: Sequence[str]) -> str:
    """Return the first reasons, those that speak for the state before the others."""
    return "; ".join(sorted(reasons, key=lambda reason: f"for {state}" not in reason)[:REASONS_SHOWN])


def _word(state: str) -> str:
    return state.replace("_", " ")
