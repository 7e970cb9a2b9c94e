"""Tables of trades or bars as they come: CSV (plain, gzip, zstd) or Parquet, read and examined row by row.

What is wrong is listed with its row; nothing is dropped, filled, sorted or rounded on the way in, because a repaired
series is a different series. Files are read in batches by polars' streaming engine, so that memory holds a few numbers
of each row and not its text.

A row has one problem, the first in this order: number of columns, time, numbers from left to right, a bar's extremes,
symbol, order of time.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trisagion.clock import SECOND_NS, iso
from trisagion.errors import quoted
from trisagion.market.history import INSTANT_MAX_NS, NOISE
from trisagion.market.types import Float64Array, Int64Array

PROBLEMS_MAX: Final = 20
"""Problems kept with their row; all are counted."""

BATCH_ROWS: Final = 500_000
"""Rows in memory as text at one time (measured: larger batches are no faster)."""

HEAD_ROWS: Final = 50
"""Rows looked at to tell the form of the time column."""

# Column names, lower case and without anything but letters and digits; the first that a file has is taken. They are
# those of NautilusTrader, Freqtrade, VeighNa, IB, vectorbt, hftbacktest, Binance and MetaTrader, and short forms.
TIME_NAMES: Final = (
    *("tsevent", "exchts", "opentime", "timestamp", "unix", "unixtime", "epoch", "datetime", "gmttime"),
    *("date", "time", "ts", "t"),
)
BAR_NAMES: Final = {
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h"),
    "low": ("low", "lowprice", "l"),
    "close": ("close", "closeprice", "c"),
    "volume": ("volume", "vol", "v", "tickvolume", "tickvol"),
}
TICK_NAMES: Final = {
    "price": ("price", "px", "last", "lastprice", "tradeprice"),
    "size": ("size", "qty", "quantity", "amount", "volume", "vol", "lastsize", "lastqty"),
}
QUOTE_NAMES: Final = {
    "bid": ("bid", "bidprice", "bidpx", "bestbid", "bidpx00", "b"),
    "ask": ("ask", "askprice", "askpx", "bestask", "askpx00", "offer", "a"),
    "bid_size": ("bidsize", "bidsz", "bidqty", "bidvolume", "bidamount", "bestbidqty", "bidsz00"),
    "ask_size": ("asksize", "asksz", "askqty", "askvolume", "askamount", "bestaskqty", "asksz00", "offersize"),
}
SYMBOL_NAMES: Final = ("symbol", "ticker", "instrumentid", "vtsymbol", "instrument")

_TIME_TEXT: Final = re.compile(
    r"\d{4}(?P<dash>[-/.]?)\d\d(?P=dash)\d\d"
    r"(?:(?P<gap>T| {1,2}|-)\d\d(?P<colon>:?)\d\d(?P<second>(?P=colon)\d\d(?:\.\d{1,9})?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?| UTC| GMT)?)?"
)
_DATE_TEXT: Final = re.compile(r"\d{4}([-/.]?)\d\d\1\d\d")
_EPOCH_TEXT: Final = re.compile(r"\d{9,19}")
_EPOCH_POINT_TEXT: Final = re.compile(r"\d{9,10}\.\d{1,9}")
_EPOCH_SECONDS_MIN: Final = 10**8
_YEARS: Final = (1900, 2200)

_MAY_BE_ZERO: Final = frozenset({"volume", "bid_size", "ask_size"})

BoolArray = NDArray[np.bool_]
RowArray = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `row` counts as an editor does (a CSV's header is row 1); None: the file as a whole."""

    row: int | None
    column: str
    what: str

    def __str__(self) -> str:
        """Say it in one line."""
        where = ", ".join(part for part in (f"row {self.row}" if self.row else "", self.column) if part)
        return f"{where}: {self.what}" if where else self.what


class Findings:
    """Collects problems; keeps some, counts all."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[Problem] = []

    def add(self, column: str, what: str) -> None:
        """Note a problem of the file as a whole."""
        self.count += 1
        self._kept.append(Problem(None, column, what))

    def add_rows(self, rows: RowArray, bad: BoolArray, column: str, what: Callable[[int], str]) -> None:
        """Note a problem of each bad row; `what` tells it for an index of `rows`."""
        found = np.flatnonzero(bad)
        self.count += len(found)
        self._kept += [Problem(int(rows[i]), column, what(int(i))) for i in found[:PROBLEMS_MAX]]
        self._kept = self.kept()

    def kept(self) -> list[Problem]:
        """Return the first problems: those of the whole file, then those of rows in their order."""
        return sorted(self._kept, key=lambda problem: problem.row or 0)[:PROBLEMS_MAX]


@dataclass(slots=True)
class Series:
    """The good rows of a file in batches: row numbers, UTC nanoseconds, and the numbers by name, as found.

    `kind` is "ticks" (price, size), "bars" (open, high, low, close, volume) or "quotes" (bid, ask and their sizes);
    `rows_read` counts the others too.
    """

    kind: str
    rows_read: int = 0
    rows: list[RowArray] = field(default_factory=list)
    ts_ns: list[Int64Array] = field(default_factory=list)
    numbers: dict[str, list[Float64Array]] = field(default_factory=dict)

    @property
    def price_names(self) -> tuple[str, ...]:
        """The prices of a row."""
        return {"ticks": ("price",), "quotes": ("bid", "ask")}.get(self.kind, ("open", "high", "low", "close"))

    @property
    def size_name(self) -> str:
        """The size of a row."""
        return "size" if self.kind == "ticks" else "volume"


def read_series(path: Path, zone: str | None, findings: Findings, *, quotes: bool = False) -> Series | None:
    """Read a file's good rows and note what is wrong with the others; None when it is not a table that we understand.

    It is read as one of `quotes`, or else of trades or bars.

    Local times are read as those of `zone`. A bar's time is read as its start: what a file that stamps bars with their
    end tells is then one interval late, but never known before its time.
    """
    series: Series | None = None
    try:
        table = _open(path)
        layout = _layout(table, quotes=quotes)
        form = _time_form(table, layout, zone)
        series = Series(layout.kind, numbers={name: [] for name in layout.numbers})
        examiner = _Examiner(table, layout, form, zone, findings, series)
        for batch in examiner.query().collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            examiner.take(batch)
    except _UnusableError as error:
        findings.add(error.column, error.what)
    except (pl.exceptions.PolarsError, OSError) as error:
        findings.add("", _unreadable(error))
    return series


class _UnusableError(Exception):
    """A problem of the whole file that ends its reading; never leaves this module."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(column, what)
        self.column, self.what = column, what


def _unreadable(error: Exception) -> str:
    text = str(error).split("\n")[0]
    if "end of file" in text or "incomplete frame" in text:
        return "the compressed file is cut short: copy it again"
    if "utf" in text.lower():
        return "neither UTF-8 text nor Parquet: export it as CSV in UTF-8"
    return f"damaged, or neither CSV nor Parquet: {quoted(text, 120)}"


# Opening -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """A file as columns named by their position: `names` as `TIME_NAMES` writes them, `shown` as the file does.

    The frame has two columns of ours besides: `row`, and `width`, the number of columns found in the row.
    """

    frame: pl.LazyFrame
    names: tuple[str, ...]
    shown: tuple[str, ...]
    head: pl.DataFrame

    def position(self, aliases: Iterable[str]) -> int | None:
        """Return the column that goes by the first alias present."""
        return next((self.names.index(alias) for alias in aliases if alias in self.names), None)


def _open(path: Path) -> _Table:
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise _UnusableError("", "the file is empty")
    if magic == b"PK\x03\x04":
        raise _UnusableError("", "a zip archive or a spreadsheet: unpack it, or export it as CSV")
    frame, shown = _parquet(path) if magic == b"PAR1" else _csv(path)
    head = frame.head(HEAD_ROWS).collect()
    if len(head) == 0:
        raise _UnusableError("", "no rows below the column names")
    return _Table(frame, tuple(re.sub(r"[^a-z0-9]", "", name.lower()) for name in shown), shown, head)


def _parquet(path: Path) -> tuple[pl.LazyFrame, tuple[str, ...]]:
    frame = pl.scan_parquet(path, glob=False)
    shown = tuple(frame.collect_schema().names())
    numbered = frame.rename({name: str(i) for i, name in enumerate(shown)}).with_row_index("row", 1)
    return numbered.with_columns(pl.lit(len(shown)).alias("width")), shown


def _csv(path: Path) -> tuple[pl.LazyFrame, tuple[str, ...]]:
    lines = pl.scan_lines(path, row_index_name="row", row_index_offset=1, glob=False)
    first = lines.head(1).collect().get_column("line")
    header = str(first[0]).lstrip("\ufeff") if len(first) else ""
    delimiter, count = Counter({mark: header.count(mark) for mark in ",;\t|"}).most_common(1)[0]
    if "\0" in header or count == 0:
        expected = "expected column names between commas, semicolons or tabs"
        raise _UnusableError("", f"not a table: {expected}, found {quoted(header)}")
    shown = tuple(name.strip(' "\r') for name in header.split(delimiter))
    if any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in shown):
        raise _UnusableError("", f"no header: expected column names in the first row, found {quoted(header)}")
    # Blank lines are no rows; the index still counts them, so that a row's number is its line's.
    parts = pl.col("line").str.split_exact(delimiter, len(shown) - 1)
    frame = lines.filter((pl.col("row") > 1) & (pl.col("line").str.strip_chars() != "")).select(
        "row",
        (pl.col("line").str.count_matches(delimiter, literal=True) + 1).alias("width"),
        *(parts.struct.field(f"field_{i}").str.strip_chars(' "\r').alias(str(i)) for i in range(len(shown))),
    )
    return frame, shown


# Understanding the columns -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which columns mean what; two `time` columns are a date and a time of day."""

    kind: str
    time: tuple[int, ...]
    numbers: Mapping[str, int]
    symbol: int | None


@dataclass(frozen=True, slots=True)
class _TimeForm:
    """How the time column reads: `instant` gives UTC nanoseconds, `local` the clock of a text that has no offset."""

    instant: pl.Expr
    local: pl.Expr | None
    example: str


def _kind(table: _Table, *, quotes: bool) -> tuple[str, Mapping[str, int | None]]:
    if quotes:
        return "quotes", {name: table.position(aliases) for name, aliases in QUOTE_NAMES.items()}
    bars = {name: table.position(aliases) for name, aliases in BAR_NAMES.items()}
    ticks = {name: table.position(aliases) for name, aliases in TICK_NAMES.items()}
    is_ticks = ticks["price"] is not None and None in (bars["open"], bars["high"], bars["low"], bars["close"])
    return ("ticks", ticks) if is_ticks else ("bars", bars)


def _layout(table: _Table, *, quotes: bool) -> _Layout:
    kind, wanted = _kind(table, quotes=quotes)
    time = table.position(TIME_NAMES)
    missing = [name for name, position in {"time": time, **wanted}.items() if position is None]
    if missing or time is None:
        found = quoted(", ".join(table.shown), 120)
        raise _UnusableError("", f"missing for {kind}: a column for {', '.join(missing)}; found {found}")
    if "ev" in table.names:
        raise _UnusableError("ev", "an order-book event file: expected trades alone, and no column ev")
    numbers = {name: position for name, position in wanted.items() if position is not None}
    for position in (time, *numbers.values()):
        if table.names.count(table.names[position]) > 1:
            raise _UnusableError(table.shown[position], "more than one column has this name")
    return _Layout(kind, _time_columns(table, time), numbers, table.position(SYMBOL_NAMES))


def _time_columns(table: _Table, time: int) -> tuple[int, ...]:
    # A "date" that holds only dates, beside a "time", is half of the time.
    if table.names[time] != "date" or "time" not in table.names:
        return (time,)
    dates_only = _DATE_TEXT.fullmatch(str(table.head[str(time)][0]))
    return (time, table.names.index("time")) if dates_only else (time,)


def _time_form(table: _Table, layout: _Layout, zone: str | None) -> _TimeForm:
    raw = pl.col(str(layout.time[0]))
    if len(layout.time) > 1:
        raw = pl.concat_str([pl.col(str(i)).cast(pl.String) for i in layout.time], separator=" ")
    whole = table.head.filter(pl.col("width") == len(table.shown))
    if len(whole) == 0:
        return _TimeForm(pl.lit(None), None, "")  # every row is refused for its width before its time is asked for
    values = whole.select(raw.alias("time"))["time"].drop_nulls()
    dtype, first = values.dtype, values[0] if len(values) else None
    form: _TimeForm | None = None
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        form = _TimeForm(_epoch_ns(raw), None, str(first))
    elif isinstance(dtype, pl.Datetime | pl.Date):
        form = _TimeForm(pl.lit(None), raw.cast(pl.Datetime), str(first))
    elif dtype.is_integer() or isinstance(dtype, pl.String):
        # The form of the first value that has one: a damaged first row is then a problem of that row.
        forms = (_text_form(raw.cast(pl.String), str(value)) for value in values)
        form = next((found for found in forms if found is not None), None)
    column = table.shown[layout.time[0]]
    if form is None:
        expected = "expected such as 2024-01-31T09:30:00-05:00, or an epoch in s, ms, us or ns"
        raise _UnusableError(column, f"a time in no known form: {expected}; found {quoted(first)}")
    if form.local is None:
        return form
    if zone is None:
        example = quoted(form.example)
        raise _UnusableError(column, f"local times such as {example}: say of where, as in --zone America/New_York")
    return replace(
        form, instant=_epoch_ns(form.local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null"))
    )


def _text_form(raw: pl.Expr, text: str) -> _TimeForm | None:
    if _EPOCH_TEXT.fullmatch(text):
        return _epoch_form(raw, text)
    if _EPOCH_POINT_TEXT.fullmatch(text):
        return _epoch_point_form(raw, text)
    found = _TIME_TEXT.fullmatch(text)
    if found is None:
        return None
    dash, gap, colon, zone = (found[name] or "" for name in ("dash", "gap", "colon", "zone"))
    form = f"%Y{dash}%m{dash}%d" + (f"{gap}%H{colon}%M" if gap else "") + (f"{colon}%S%.f" if found["second"] else "")
    named = zone.strip() in {"UTC", "GMT"}
    parsed = raw.str.to_datetime(form + (zone if named else "%#z" if zone else ""), time_unit="ns", strict=False)
    # Beyond 1677 to 2262 nanoseconds wrap round, in polars too.
    read = pl.when(raw.str.head(4).cast(pl.Int32, strict=False).is_between(*_YEARS)).then(parsed)
    return _TimeForm(read.dt.epoch("ns"), None, text) if zone else _TimeForm(pl.lit(None), read, text)


def _epoch_form(raw: pl.Expr, text: str) -> _TimeForm | None:
    # Each unit has three decades of numbers to itself, from 1973 on in that unit; a file's units cannot be mixed.
    for unit_ns in (SECOND_NS, 1_000_000, 1_000, 1):
        least = _EPOCH_SECONDS_MIN * (SECOND_NS // unit_ns)
        if least <= int(text) < 1000 * least:
            count = raw.cast(pl.Int64, strict=False)
            return _TimeForm(
                pl.when(count.is_between(least, INSTANT_MAX_NS // unit_ns)).then(count * unit_ns), None, text
            )
    return None


def _epoch_point_form(raw: pl.Expr, text: str) -> _TimeForm:
    # Seconds with a fraction, by integers: a float64 of today's seconds ends at 0.2 microseconds.
    parts = raw.str.split_exact(".", 1)
    seconds = parts.struct.field("field_0").cast(pl.Int64, strict=False)
    nanos = parts.struct.field("field_1").str.pad_end(9, "0").str.head(9).cast(pl.Int64, strict=False)
    in_range = seconds.is_between(_EPOCH_SECONDS_MIN, INSTANT_MAX_NS // SECOND_NS)
    return _TimeForm(pl.when(in_range).then(seconds * SECOND_NS + nanos), None, text)


def _epoch_ns(instant: pl.Expr) -> pl.Expr:
    return pl.when(instant.dt.year().is_between(*_YEARS)).then(instant.dt.epoch("ns"))


# Examining the rows --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Examiner:
    """Takes a file's batches in order, adds their good rows to the series and notes one problem of each other row."""

    table: _Table
    layout: _Layout
    form: _TimeForm
    zone: str | None
    findings: Findings
    series: Series
    last_ns: int = 0

    def query(self) -> pl.LazyFrame:
        """Return what `take` needs of the file: the columns as written, for messages, and as read."""
        positions = {*self.layout.time, *self.layout.numbers.values()} | ({self.layout.symbol} - {None})
        local = pl.lit(None) if self.form.local is None else self.form.local
        return self.table.frame.select(
            "row",
            "width",
            *(pl.col(str(position)) for position in positions),
            self.form.instant.cast(pl.Int64).alias("instant"),
            local.cast(pl.Datetime).alias("local"),
            *(pl.col(str(i)).cast(pl.Float64, strict=False).alias(name) for name, i in self.layout.numbers.items()),
        )

    def take(self, batch: pl.DataFrame) -> None:
        """Examine a batch; the order of the checks is that of precedence."""
        verdict = _Verdict(batch["row"].to_numpy(), self.findings)
        expected = len(self.table.shown)
        width = batch["width"].to_numpy()
        verdict.refuse(width != expected, "", lambda i: f"expected {expected} columns, found {width[i]}")
        ts_ns = self._instants(batch, verdict)
        numbers = {name: self._numbers(batch, name, verdict) for name in self.layout.numbers}
        if self.series.kind == "bars":
            self._extremes(numbers, verdict)
        if self.series.kind == "quotes":
            bid, ask = numbers["bid"], numbers["ask"]
            verdict.refuse(bid > ask, self._column("bid"), lambda i: f"bid {bid[i]} is above ask {ask[i]}")
        self._symbol(batch, verdict)
        self._order(ts_ns, verdict)

        good = verdict.good
        self.series.rows_read += len(batch)
        self.series.rows.append(verdict.rows[good])
        self.series.ts_ns.append(ts_ns[good])
        for name, values in numbers.items():
            self.series.numbers[name].append(values[good])

    def _column(self, name: str) -> str:
        return self.table.shown[self.layout.numbers[name]]

    def _instants(self, batch: pl.DataFrame, verdict: "_Verdict") -> Int64Array:
        column, instant = self.table.shown[self.layout.time[0]], batch["instant"]
        ts_ns = instant.fill_null(0).to_numpy()
        beyond = (ts_ns < 0) | (ts_ns >= INSTANT_MAX_NS)
        verdict.refuse(instant.is_null().to_numpy(), column, lambda i: self._no_instant(batch, i))
        verdict.refuse(beyond, column, lambda i: f"expected a time from 1970 to 2100, found {iso(int(ts_ns[i]))}")
        return ts_ns

    def _no_instant(self, batch: pl.DataFrame, i: int) -> str:
        local: datetime | None = batch["local"][i]
        if local is not None and self.zone is not None:
            placed = local.replace(tzinfo=ZoneInfo(self.zone))
            before, after = placed.replace(fold=0).utcoffset(), placed.replace(fold=1).utcoffset()
            if before is not None and after is not None and before != after:
                told = "happens twice" if before > after else "does not exist"
                return f"{local} {told} in {self.zone}, where the clock changes: give times with their offset"
        raw = " ".join(str(batch[str(position)][i] or "") for position in self.layout.time)
        return f"expected a time like {quoted(self.form.example)}, found {quoted(raw)}"

    def _numbers(self, batch: pl.DataFrame, name: str, verdict: "_Verdict") -> Float64Array:
        column, raw = self._column(name), batch[str(self.layout.numbers[name])]
        values = batch[name].fill_null(np.nan).to_numpy()
        may_be_zero = name in _MAY_BE_ZERO
        what = {"volume": "volume", "size": "size", "bid_size": "size", "ask_size": "size"}.get(name, "price")
        least = f"a {what} of 0 or more" if may_be_zero else f"a {what} above 0"
        verdict.refuse(~np.isfinite(values), column, lambda i: f"expected a number, found {quoted(raw[i])}")
        bad = values < 0 if may_be_zero else values <= 0
        verdict.refuse(bad, column, lambda i: f"expected {least}, found {quoted(raw[i])}")
        return values

    def _extremes(self, numbers: Mapping[str, Float64Array], verdict: "_Verdict") -> None:
        low, high = numbers["low"], numbers["high"]
        verdict.refuse(
            high < low * (1 - NOISE), self._column("high"), lambda i: f"high {high[i]} is below low {low[i]}"
        )
        for name in ("open", "close"):
            value = numbers[name]
            outside = (value < low * (1 - NOISE)) | (value > high * (1 + NOISE))

            def told(i: int, value: Float64Array = value) -> str:
                return f"{value[i]} is not within low {low[i]} and high {high[i]}"

            verdict.refuse(outside, self._column(name), told)

    def _symbol(self, batch: pl.DataFrame, verdict: "_Verdict") -> None:
        if self.layout.symbol is None:
            return
        column = str(self.layout.symbol)
        expected, symbols = str(self.table.head[column][0]), batch[column].cast(pl.String)
        other = (symbols != expected).fill_null(value=True).to_numpy()
        shown = self.table.shown[self.layout.symbol]
        verdict.refuse(other, shown, lambda i: f"expected {quoted(expected)} alone, found {quoted(symbols[i])}")

    def _order(self, ts_ns: Int64Array, verdict: "_Verdict") -> None:
        kept = np.flatnonzero(verdict.good)
        if len(kept) == 0:
            return
        column = self.table.shown[self.layout.time[0]]
        steps = np.zeros(len(ts_ns), dtype=np.int64)
        steps[kept] = np.diff(ts_ns[kept], prepend=np.int64(self.last_ns))
        self.last_ns = int(ts_ns[kept[-1]])
        verdict.refuse(steps < 0, column, lambda i: f"{iso(int(ts_ns[i]))} is earlier than the row before")
        if self.series.kind == "bars":
            repeated = (steps == 0) & (ts_ns > 0)
            verdict.refuse(repeated, column, lambda i: f"a second bar at {iso(int(ts_ns[i]))}")


class _Verdict:
    """Which rows of a batch are still good; a refused row is not refused again."""

    def __init__(self, rows: RowArray, findings: Findings) -> None:
        self.rows = rows
        self.good: BoolArray = np.ones(len(rows), dtype=np.bool_)
        self._findings = findings

    def refuse(self, bad: BoolArray, column: str, what: Callable[[int], str]) -> None:
        """Refuse the bad rows among the good ones."""
        bad = bad & self.good
        if bad.any():
            self._findings.add_rows(self.rows, bad, column, what)
            self.good &= ~bad
