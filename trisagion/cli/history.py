"""`trisagion data import | export | rollup | partitions | retention`: the history of bars and quotes in a database."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import typer

from trisagion.adapters.witness import person
from trisagion.clock import SystemClock, iso
from trisagion.errors import ConfigError, DataError, StateError, quoted
from trisagion.market.history import INSTANT_MAX_NS, INTERVALS, Changes
from trisagion.market.months import month_of, months, named, shifted

if TYPE_CHECKING:
    import polars as pl

    from trisagion.adapters.db.engine import SqlDatabase
    from trisagion.adapters.db.partitions import Partition
    from trisagion.market.history import Known

T = TypeVar("T")

MONTHS_MAX: Final = 1200
"""A hundred years."""

DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="Of the history; the configured one when left out.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Interval = Literal["1m", "5m", "15m", "1h", "1d"]


def take_in(
    file: Annotated[
        str, typer.Argument(help="A CSV (plain, .gz, .zst) or Parquet file of ticks, bars or quotes, or es, aapl.")
    ],
    symbol: Annotated[str | None, typer.Option(help="What it is called; the file's name when left out.")] = None,
    zone: Annotated[str | None, typer.Option(help="Time zone of times without offset, e.g. America/New_York.")] = None,
    quotes: Annotated[bool, typer.Option("--quotes", help="The file holds quotes: bid, ask and their sizes.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take bars, those of trades, or quotes into the history; the same again changes nothing, other numbers correct."""
    from trisagion.adapters.dataspec import DataSpec
    from trisagion.adapters.db.engine import retrying
    from trisagion.adapters.db.partitions import make
    from trisagion.adapters.files import load_bars, load_quotes
    from trisagion.clock import HOUR_NS
    from trisagion.market.history import DAY_NS, known_bars, known_quotes
    from trisagion.services.keep_series import keep_bars, keep_quotes

    spec = DataSpec(file, zone or None, symbol=symbol)
    learned_ns = SystemClock().now_ns()
    interval_ns = 0
    if quotes:
        told = known_quotes(load_quotes(spec), learned_ns)
    else:
        bars = load_bars(spec)
        interval_ns = bars.interval_ns
        told = known_bars(bars, learned_ns)
    if len(told) == 0:
        raise DataError(f"{file}: expected rows, found none")
    kind = "quotes" if quotes else next(name for name, each in INTERVALS.items() if each == interval_ns)
    changes, rolled = Changes(), 0
    with _opened(database) as history:
        retrying(lambda: make(history, months(int(told.at_ns[0]), int(told.at_ns[-1]) + 1)))
        blocks = list(told.blocks(HOUR_NS if quotes else DAY_NS))
        for _, block in _told(blocks, f"{'hours' if quotes else 'days'} of {spec.name}"):

            def keep(block: "Known" = block) -> tuple[Changes, int]:
                if quotes:
                    return keep_quotes(history, spec.name, block), 0
                return keep_bars(history, spec.name, interval_ns, block)

            changed, longer = retrying(keep)
            changes, rolled = changes + changed, rolled + longer
    facts = {"symbol": spec.name, "kind": kind, "rows": len(told), **_counts(changes), "rolled_up": rolled}
    if as_json:
        print(json.dumps(facts))
        return
    older = f", {changes.older:,} older than what is known and left out" if changes.older else ""
    longer_bars = "" if quotes else f"; {rolled:,} longer bars changed with them"
    print(
        f"{spec.name}: {len(told):,} {kind if quotes else f'bars of {kind}'}: {changes.new:,} new, "
        f"{changes.corrected:,} corrected, {changes.same:,} the same{older}{longer_bars}"
    )


def export(
    symbol: Annotated[str, typer.Argument(help="Of the instrument.")],
    file: Annotated[Path, typer.Argument(metavar="OUT.csv|.parquet", help="Where to write.")],
    interval: Annotated[Interval, typer.Option(help="Of the bars.")] = "1m",
    quotes: Annotated[bool, typer.Option("--quotes", help="Quotes instead of bars.")] = False,
    since: Annotated[str | None, typer.Option("--from", help="First instant, as 2026-11-21T14:30; UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included; the present when left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write bars or quotes of the history to a file that `import` and `trisagion run` read."""
    suffix = file.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise ConfigError(f"{file}: expected a name that ends in .csv or .parquet")
    if file.exists() and not force:
        raise ConfigError(f"{file}: there is such a file; --force overwrites it")
    interval_ns = None if quotes else INTERVALS[interval]
    with _opened(database) as history:
        with history.snapshot() as tx:
            span = tx.series.span(symbol, interval_ns)
        if span is None:
            raise StateError(f"the history has no {'quotes' if quotes else f'bars of {interval}'} of {quoted(symbol)}")
        from_ns = max(span[0], _instant("--from", since) if since else 0)
        until_ns = min(span[1], _instant("--until", until) if until else SystemClock().now_ns())
        frames = [
            _frame(history, symbol, interval_ns, max(month_ns, from_ns), min(shifted(month_ns, 1), until_ns))
            for month_ns in _told(months(from_ns, until_ns), f"months of {symbol}")
        ]
    rows = _write(frames, file, as_csv=suffix == ".csv")
    if as_json:
        print(json.dumps({"symbol": symbol, "kind": "quotes" if quotes else interval, "rows": rows, "file": str(file)}))
    else:
        print(f"{file}: {rows:,} {'quotes' if quotes else f'bars of {interval}'} of {symbol}")


def rollup(
    symbol: Annotated[str | None, typer.Option(help="Of this instrument alone.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From the day of this instant on; UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to the day of this instant; UTC.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make all longer bars of the shorter ones again, 1m to 5m to 15m to 1h to 1d, and tell how many were not so.

    `import` does it by itself: this is for proof, and after another program has written.
    """
    from trisagion.adapters.db.engine import retrying
    from trisagion.market.history import DAY_NS
    from trisagion.services.keep_series import roll_day

    from_ns = _instant("--from", since) // DAY_NS * DAY_NS if since else 0
    until_ns = _instant("--until", until) if until else INSTANT_MAX_NS
    with _opened(database) as history:
        with history.snapshot() as tx:
            days = [
                (owner, day_ns)
                for owner, day_ns in tx.series.bar_days()
                if symbol in {None, owner} and from_ns <= day_ns <= until_ns
            ]
        changed = sum(
            retrying(lambda owner=owner, day_ns=day_ns: roll_day(history, owner, day_ns))  # type: ignore[misc]
            for owner, day_ns in _told(days, "days")
        )
    if as_json:
        print(json.dumps({"days": len(days), "changed": changed}))
    else:
        print(f"{len(days):,} days rolled up: {changed:,} longer bars were not what the shorter ones make")


def partitions(
    ahead: Annotated[
        int | None,
        typer.Option(min=0, max=MONTHS_MAX, metavar="MONTHS", help="Make those of the present month and so many more."),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the months in which the history is kept, with rows and sizes; make some ahead."""
    from trisagion.adapters.db.engine import retrying
    from trisagion.adapters.db.partitions import listed, make

    with _opened(database) as history:
        made: list[str] = []
        if ahead is not None:
            present_ns = month_of(SystemClock().now_ns())
            wanted = [shifted(present_ns, count) for count in range(ahead + 1)]
            made = retrying(lambda: make(history, wanted))
        found = listed(history)
    if as_json:
        print(json.dumps({"made": made, "partitions": [_facts(partition) for partition in found]}))
        return
    _show(found)
    if ahead is not None:
        print(f"{len(made)} made")


def retention(
    keep: Annotated[
        int, typer.Option(min=1, max=MONTHS_MAX, metavar="MONTHS", help="Full months to keep before the present one.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Drop; without it this only shows what would be dropped.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop the history that is older than so many months, whole months at a time; nothing else ever drops it."""
    from trisagion.adapters.db.engine import retrying
    from trisagion.adapters.db.partitions import drop, due

    now_ns = SystemClock().now_ns()
    before_ns = shifted(month_of(now_ns), -keep)
    with _opened(database) as history:
        chosen = retrying(lambda: due(history, before_ns))
        if yes and chosen:
            drop(history, chosen, person(), now_ns)
    if as_json:
        told = {"before": iso(before_ns), "dropped": yes, "partitions": [_facts(partition) for partition in chosen]}
        print(json.dumps(told))
        return
    _show(chosen)
    count = sum(partition.count for partition in chosen)
    if not chosen:
        print(f"nothing of the history ends before {named(before_ns)}")
    elif yes:
        print(f"dropped: {count:,} bars and quotes before {named(before_ns)}")
    else:
        print(f"nothing was dropped; --yes drops these {count:,} bars and quotes for good")


@contextmanager
def _opened(url: str | None) -> "Iterator[SqlDatabase]":
    """Open the database of the history: the one given, else the configured one."""
    from trisagion.adapters.db.engine import open_database
    from trisagion.settings import load, resolve

    url = url or resolve(load(None, os.environ, {}).database.url, os.environ)
    if not url:
        raise ConfigError(
            "the history needs a database that outlives a run: name it with --database URL or [database] url, and make "
            "it with `python -m init URL`"
        )
    with closing(open_database(url)) as database:
        yield database


def _told(items: "Sequence[T]", what: str) -> Iterator[T]:
    """Give the items, and tell a person who watches how far it has come."""
    watched = sys.stderr.isatty()
    for number, item in enumerate(items, start=1):
        yield item
        if watched:
            print(f"\r{number:,} of {len(items):,} {what}", end="", file=sys.stderr, flush=True)
    if watched:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _instant(option: str, text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: expected an instant as 2026-11-21T14:30, found {quoted(text)}") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    instant_ns = int(found.timestamp()) * 1_000_000_000 + found.microsecond * 1000
    if not 0 <= instant_ns <= INSTANT_MAX_NS:
        raise ConfigError(f"{option}: expected an instant from 1970 to 2100, found {quoted(text)}")
    return instant_ns


def _counts(changes: Changes) -> dict[str, int]:
    return {"new": changes.new, "corrected": changes.corrected, "same": changes.same, "older": changes.older}


def _frame(history: "SqlDatabase", symbol: str, interval_ns: int | None, from_ns: int, until_ns: int) -> "pl.DataFrame":
    import polars as pl

    from trisagion.market.history import BAR_NUMBERS, QUOTE_NUMBERS

    with history.snapshot() as tx:
        if interval_ns is None:
            quotes = tx.series.quotes(symbol, from_ns, until_ns)
            at_ns, numbers = quotes.at_ns, {name: getattr(quotes, name) for name in QUOTE_NUMBERS}
        else:
            bars = tx.series.bars(symbol, interval_ns, from_ns, until_ns)
            at_ns, numbers = bars.close_ns - interval_ns, {name: getattr(bars, name) for name in BAR_NUMBERS}
    time = pl.Series("time", at_ns).cast(pl.Datetime("ns", "UTC"))
    return pl.DataFrame([time, *(pl.Series(name, values) for name, values in numbers.items())])


def _write(frames: "list[pl.DataFrame]", file: Path, *, as_csv: bool) -> int:
    """Write a file whole or not at all; return its rows."""
    import polars as pl

    if sum(len(frame) for frame in frames) == 0:
        raise StateError(f"{file}: there is nothing to write: the history has none in that time")
    whole = pl.concat(frames)
    new = file.with_name(f"{file.name}.new")
    try:
        if as_csv:
            whole.write_csv(new, datetime_format="%Y-%m-%dT%H:%M:%S%.9fZ")
        else:
            whole.write_parquet(new)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
    return len(whole)


def _facts(partition: "Partition") -> dict[str, object]:
    return {
        "table": partition.table,
        "partition": partition.name,
        "from": None if partition.from_ns is None else iso(partition.from_ns),
        "until": None if partition.until_ns is None else iso(partition.until_ns),
        "rows": partition.count,
        "bytes": partition.size_bytes,
    }


def _show(found: "Iterable[Partition]") -> None:
    for partition in found:
        first = "" if partition.from_ns is None else named(partition.from_ns)
        end = "" if partition.until_ns is None else named(partition.until_ns)
        print(
            f"{partition.table:10}  {partition.name:13}  {first or '…':>7} to {end or '…':7}"
            f"  {partition.count:>13,} rows  {partition.size_bytes / 2**20:>9,.1f} MiB"
        )
