"""Data sets: the bundled ones, and any table of trades or bars of the user's, as a tape that is ready to replay.

A user's file is never silently repaired: a file with any problem is refused with the first ones and the command that
lists them. The one exception is ours and declared: the bundled AAPL prices are rounded to their tick.
"""

import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from trisagion import market
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.tables import BoolArray, Findings, Problem, RowArray, Series, read_series
from trisagion.clock import MINUTE_NS, SECOND_NS, iso
from trisagion.errors import DataError, quoted
from trisagion.market.bars import columns as columns_of
from trisagion.market.bars import market_steps, tape_from_bars
from trisagion.market.calendar import rest_ends_ns, rest_reason
from trisagion.market.history import NOISE
from trisagion.market.instruments import AAPL, ES
from trisagion.market.types import Bars, Float64Array, Instrument, Int64Array, Quotes, Tape
from trisagion.units import plain

PROBLEMS_TOLD: Final = 3
"""Problems told by the error of `load`; the others are a command away."""

STEPS: Final = tuple(
    Decimal(text)
    for text in ("1", "0.5", "0.25", *(f"{digit}e-{place}" for place in range(1, 8) for digit in ("1", "0.5")), "1e-8")
)
"""Tick and lot sizes tried for files that do not say, largest first: those that venues use, down to a satoshi."""

UNITS_MAX: Final = 2**53
"""Ticks or lots that a float64 still counts one by one."""

FLOAT32_DIGITS: Final = 2**24
"""Steps that a 32-bit float tells apart: more ticks than this in a price are noise rather than a venue's tick."""

LEVERAGE_MAX: Final = Decimal(20)
"""As for the bundled instruments, when the user does not say."""

FEE_RATE: Final = Decimal("0.0004")
"""The domain's fee rate, when the user does not say."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a file holds and what is wrong with it.

    `kind` is "ticks" or "bars", None when the columns were not understood; `interval_ns` is the bars' most common
    distance; `tick_size` and `lot_size` are the given or inferred ones, None while there are problems. The first
    `PROBLEMS_MAX` problems are kept, in order of row.
    """

    path: str
    kind: str | None
    rows: int
    interval_ns: int | None
    first_ns: int | None
    last_ns: int | None
    last_price: float | None
    tick_size: Decimal | None
    lot_size: Decimal | None
    problems: tuple[Problem, ...]
    problem_count: int

    @property
    def ok(self) -> bool:
        """Tell whether the file can be loaded."""
        return self.problem_count == 0


def load(spec: DataSpec) -> Tape:
    """Return the trades of a data set; bars become synthetic trades (see `tape_from_bars`).

    Raises
    ------
    DataError
        For a file with any problem; the text tells the first ones and the command that lists them.
    """
    return read(spec)[0]


def read(spec: DataSpec) -> tuple[Tape, Check]:
    """Return what `load` does, and the check of the file for its `warnings`."""
    source = _source(spec)
    found, series = _survey(source)
    if series is None or found.tick_size is None or found.lot_size is None or not found.ok:
        raise DataError(_refusal(found.path, found.problems, found.problem_count, spec))
    return _tape(series, source.instrument(found.tick_size, found.lot_size), found.interval_ns), found


def load_bars(spec: DataSpec) -> Bars:
    """Return the bars of a data set for looking at: those of a file as they are, of trades one a minute.

    Unlike `load`, it asks for no grid of prices and for no volume, for nothing is traded on them: adjusted prices will
    do. The bundled sets have the prices that are replayed.

    Raises
    ------
    DataError
        For a file with any other problem.
    """
    source = _source(spec)
    findings = Findings()
    series = read_series(source.path, source.zone, findings)
    if series is not None and series.kind == "ticks":
        return columns_of(spec.name, [step.bar for step in market_steps(load(spec))])
    interval_ns = None if series is None else _interval(series, findings)
    if series is None or interval_ns is None or findings.count:
        raise DataError(_refusal(str(source.path), findings.kept(), findings.count, spec))
    columns = {name: np.concatenate(batches) for name, batches in series.numbers.items()}
    if source.rounds and source.tick_size is not None:
        # As `load` and `prices` have them: the float nearest to a whole number of ticks.
        numerator, denominator = source.tick_size.as_integer_ratio()
        for name in series.price_names:
            columns[name] = np.rint(_in_steps(columns[name], source.tick_size)) * numerator / denominator
    return Bars(spec.name, interval_ns, np.concatenate(series.ts_ns) + interval_ns, **columns)


def load_quotes(spec: DataSpec) -> Quotes:
    """Return the quotes of a file; of several at one instant the last, which is what the instant left.

    Raises
    ------
    DataError
        For a file with any problem.
    """
    source = _source(spec)
    findings = Findings()
    series = read_series(source.path, source.zone, findings, quotes=True)
    if series is None or findings.count:
        told = "; ".join(str(problem) for problem in findings.kept()[:PROBLEMS_TOLD])
        more = f" (and {findings.count - PROBLEMS_TOLD} more)" if findings.count > PROBLEMS_TOLD else ""
        raise DataError(f"{source.path}: {told}{more}")
    at_ns = np.concatenate(series.ts_ns)
    last = np.append(np.diff(at_ns) > 0, [True] * min(len(at_ns), 1))
    columns = {name: np.concatenate(batches)[last] for name, batches in series.numbers.items()}
    return Quotes(spec.name, at_ns[last], **columns)


def check(path: str | Path, zone: str | None = None) -> Check:
    """Look at a whole file or bundled set and list what is wrong; DataError only when there is no such file or zone."""
    return _survey(_source(DataSpec(str(path), zone, symbol="ANY")))[0]


def warnings(found: Check) -> list[str]:
    """Say what a person should know about data that can be loaded, a sentence each."""
    told = []
    if found.interval_ns is not None and found.interval_ns > MINUTE_NS:
        told.append(
            f"{found.path}: bars of {found.interval_ns / SECOND_NS:g} s: the strategy works on one-minute bars, and"
            " what happens within longer ones is assumed"
        )
    if found.tick_size and found.last_price and found.last_price > FLOAT32_DIGITS * float(found.tick_size):
        told.append(
            f"{found.path}: prices have more digits than a venue quotes, so the tick became {plain(found.tick_size)}:"
            " round the prices in the file if these are the noise of 32-bit floats"
        )
    if found.first_ns is not None and found.last_ns is not None and rest_ends_ns(found.first_ns) > found.last_ns:
        told.append(f"{found.path}: all of it lies in a rest period ({rest_reason(found.first_ns)}): nothing is traded")
    return told


def digest(spec: DataSpec) -> str:
    """Return the SHA-256 of a data set: of its file's bytes and all that the specification adds to them."""
    source = _source(spec)
    added = {name: text for name, text in spec.said().items() if name != "source"}
    with source.path.open("rb") as file:
        hashed = hashlib.file_digest(file, "sha256")
    hashed.update(json.dumps(added, sort_keys=True).encode())
    return hashed.hexdigest()


def digest_of_all(specs: Sequence[DataSpec], instruments: Sequence[Instrument] = ()) -> str:
    """Return the SHA-256 of several data sets and closures together, whatever their order; of one its own."""
    digests = {spec.name: digest(spec) for spec in specs}
    digests |= {
        f"{each.symbol} {each.closures.exchange}": each.closures.digest for each in instruments if each.closures
    }
    if len(digests) == 1:
        return digests.popitem()[1]
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


# Sources -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bundled:
    file: str
    zone: str | None
    instrument: Instrument
    rounds: bool


_BUNDLED: Final = {
    "es": _Bundled("es_ticks_20130901_20130903.csv.gz", "America/Chicago", ES, rounds=False),
    "aapl": _Bundled("aapl_minute.csv.gz", None, AAPL, rounds=True),
}


@dataclass(frozen=True, slots=True)
class _Source:
    """A file and what is known about it before it is opened; `rounds`: prices are rounded to the given tick."""

    path: Path
    zone: str | None
    base: Instrument
    tick_size: Decimal | None
    lot_size: Decimal | None
    rounds: bool
    spec: DataSpec

    def instrument(self, tick_size: Decimal, lot_size: Decimal) -> Instrument:
        """Return the instrument with what the user said before what we assume."""
        said = {name: getattr(self.spec, name) for name in ("symbol", "multiplier", "leverage_max", "fee_rate")}
        given = {name: value for name, value in said.items() if value is not None}
        return replace(self.base, tick_size=tick_size, lot_size=lot_size, **given)


def _source(spec: DataSpec) -> _Source:
    bundled = _BUNDLED.get(spec.source)
    if bundled is None:
        return _user_source(spec)
    path = Path(market.__file__).parent / "data" / bundled.file
    tick_size, lot_size = spec.tick_size or bundled.instrument.tick_size, spec.lot_size or bundled.instrument.lot_size
    return _Source(path, bundled.zone, bundled.instrument, tick_size, lot_size, bundled.rounds, spec)


def _user_source(spec: DataSpec) -> _Source:
    path = Path(spec.source)
    if not path.is_file():
        what = "expected a file, found a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}; the bundled data sets are {' and '.join(_BUNDLED)}")
    try:
        zone = spec.zone and ZoneInfo(spec.zone).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"zone: expected a name such as America/New_York, found {quoted(spec.zone)}") from None
    one = Decimal(1)
    base = Instrument(spec.name, "SIM", "USD", one, one, one, LEVERAGE_MAX, FEE_RATE)
    return _Source(path, zone, base, spec.tick_size, spec.lot_size, rounds=False, spec=spec)


def _refusal(path: str, problems: Sequence[Problem], count: int, spec: DataSpec) -> str:
    told = "; ".join(str(problem) for problem in problems[:PROBLEMS_TOLD])
    more = f" (and {count - PROBLEMS_TOLD} more)" if count > PROBLEMS_TOLD else ""
    zone = f" --zone {spec.zone}" if spec.zone else ""
    return f"{path}: {told}{more}; for the list: trisagion data check {shlex.quote(path)}{zone}"


# From a series to a tape ---------------------------------------------------------------------------------------------


def _survey(source: _Source) -> tuple[Check, Series | None]:
    """Read a whole file; intervals and grids are examined once its rows are good."""
    findings = Findings()
    series = read_series(source.path, source.zone, findings)
    interval_ns = tick_size = lot_size = None
    if series is not None and series.kind == "bars":
        interval_ns = _interval(series, findings)
    if series is not None and findings.count == 0 and not any(size.any() for size in series.numbers[series.size_name]):
        findings.add(series.size_name, "expected trades, found a volume of 0 in every row")
    if series is not None and findings.count == 0:
        tick_size = source.tick_size or _inferred(series, series.price_names)
        lot_size = source.lot_size or _inferred(series, (series.size_name,))
        if not source.rounds:
            _refuse_off_grid(series, series.price_names, "tick", tick_size, findings)
        _refuse_off_grid(series, (series.size_name,), "lot", lot_size, findings)
    instants = [batch for batch in (series.ts_ns if series else []) if len(batch)]
    closes = [batch for batch in (series.numbers[series.price_names[-1]] if series else []) if len(batch)]
    found = Check(
        path=str(source.path),
        kind=series.kind if series else None,
        rows=series.rows_read if series else 0,
        interval_ns=interval_ns,
        first_ns=min((int(batch.min()) for batch in instants), default=None),
        last_ns=max((int(batch.max()) for batch in instants), default=None),
        last_price=float(closes[-1][-1]) if closes else None,
        tick_size=tick_size,
        lot_size=lot_size,
        problems=tuple(findings.kept()),
        problem_count=findings.count,
    )
    return found, series


def _interval(series: Series, findings: Findings) -> int | None:
    """Return the most common distance of bars; when all rows are good, refuse those that overlap the one before."""
    ts_ns = np.concatenate(series.ts_ns) if series.ts_ns else np.empty(0, dtype=np.int64)
    distances, counts = np.unique(np.diff(ts_ns), return_counts=True)
    if len(distances) == 0:
        if findings.count == 0:
            findings.add("", "one bar alone: how long it lasts cannot be told")
        return None
    interval_ns = int(distances[counts == counts.max()].max())
    if findings.count == 0:
        overlaps = np.diff(ts_ns, prepend=ts_ns[0] - interval_ns) < interval_ns
        seconds = f"{interval_ns / SECOND_NS:g}"
        rows = np.concatenate(series.rows)
        findings.add_rows(rows, overlaps, "", lambda i: f"{iso(int(ts_ns[i]))} is within {seconds} s of the bar before")
    return interval_ns


def _inferred(series: Series, names: tuple[str, ...]) -> Decimal:
    """Return the largest of `STEPS` on which all numbers lie, the last when none fits."""

    def fits(step: Decimal) -> bool:
        return all(bool(_on_grid(values, step).all()) for name in names for values in series.numbers[name])

    return next((step for step in STEPS if fits(step)), STEPS[-1])


def _refuse_off_grid(series: Series, names: tuple[str, ...], what: str, step: Decimal, findings: Findings) -> None:
    for name, rows, values in _batches(series, names):

        def told(i: int, values: Float64Array = values) -> str:
            return f"{float(values[i])!r} is not a multiple of the {what} {plain(step)}"

        findings.add_rows(rows, ~_on_grid(values, step), name, told)


def _batches(series: Series, names: tuple[str, ...]) -> Iterator[tuple[str, RowArray, Float64Array]]:
    for name in names:
        for rows, values in zip(series.rows, series.numbers[name], strict=True):
            yield name, rows, values


def _in_steps(values: Float64Array, step: Decimal) -> Float64Array:
    numerator, denominator = step.as_integer_ratio()
    with np.errstate(over="ignore"):  # 1e308 becomes inf, which is on no grid
        return values * denominator / numerator


def _on_grid(values: Float64Array, step: Decimal) -> BoolArray:
    steps = _in_steps(values, step)
    return np.asarray((steps <= UNITS_MAX) & (np.abs(steps - np.minimum(np.rint(steps), UNITS_MAX)) <= NOISE * steps))


def _tape(series: Series, instrument: Instrument, interval_ns: int | None) -> Tape:
    def whole(name: str, step: Decimal) -> Int64Array:
        batches = series.numbers.pop(name)  # given back one by one: memory never holds all of them twice
        return np.concatenate([np.rint(_in_steps(values, step)).astype(np.int64) for values in batches])

    ts_ns = np.concatenate(series.ts_ns)
    prices = [whole(name, instrument.tick_size) for name in series.price_names]
    size_lots = whole(series.size_name, instrument.lot_size)
    if interval_ns is None:
        return Tape(instrument, ts_ns, prices[0], size_lots)
    # An extreme that the open or close leaves by less than `NOISE` is theirs.
    high, low = np.maximum.reduce(prices), np.minimum.reduce(prices)
    return tape_from_bars(instrument, ts_ns, interval_ns, o=prices[0], h=high, l=low, c=prices[-1], volume=size_lots)
