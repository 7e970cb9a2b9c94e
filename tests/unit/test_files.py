"""Data files: what is read exactly as it is, and what is refused with the row and a sentence."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trisagion.adapters.dataspec import DataSpec, dataset, entry
from trisagion.adapters.files import FEE_RATE, LEVERAGE_MAX, check, digest, digest_of_all, load, read, warnings
from trisagion.adapters.tables import BATCH_ROWS, PROBLEMS_MAX, Findings, read_series
from trisagion.clock import MINUTE_NS, SECOND_NS, iso
from trisagion.errors import DataError
from trisagion.market.bars import market_steps
from trisagion.market.instruments import AAPL, ES
from trisagion.market.types import Tape

START_NS = int(datetime(2024, 1, 31, 14, 30, tzinfo=UTC).timestamp()) * SECOND_NS
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file of the given content and name."""

    def to(content: str | bytes, name: str = "file.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to


def points(tape: Tape) -> list[Decimal]:
    """Return the exact prices of a tape."""
    return [int(ticks) * tape.instrument.tick_size for ticks in tape.price_ticks]


def told(path: Path, zone: str | None = None) -> list[str]:
    """Return the problems of a file, a line each."""
    return [str(problem) for problem in check(path, zone).problems]


# What is bundled -----------------------------------------------------------------------------------------------------


def test_the_bundled_es_tape_is_what_its_readme_says() -> None:
    """Trades, first and last instant, total volume and price range were counted with awk on the file itself."""
    tape = load(DataSpec("es"))
    assert tape.instrument == ES
    assert (len(tape), int(tape.size_lots.sum())) == (500_000, 1_844_058)
    assert [iso(int(tape.ts_ns[i])) for i in (0, -1)] == ["2013-09-01T22:00:00.083Z", "2013-09-03T18:51:44.578Z"]
    assert (points(tape)[0], points(tape)[-1]) == (Decimal("1640.25"), Decimal("1631.25"))


def test_the_bundled_aapl_bars_are_rounded_to_the_cent_and_keep_their_volume() -> None:
    """The stored prices are 32-bit floats between cents; the bars of the tape are the same to half a cent."""
    tape, found = read(DataSpec("aapl"))
    assert (found.kind, found.rows, found.interval_ns, tape.instrument) == ("bars", 2382, MINUTE_NS, AAPL)
    rows = pl.read_csv(found.path).filter(pl.col("volume") > 0)
    steps = list(market_steps(tape))
    assert [step.bar.volume for step in steps] == rows["volume"].to_list()
    for name in ("open", "high", "low", "close"):
        made = np.array([getattr(step.bar, name) for step in steps])
        assert np.abs(made - rows[name].to_numpy()).max() <= 0.005 + 1e-9


@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [
        (DataSpec("es", symbol="ESU3"), "symbol", "ESU3"),
        (DataSpec("es", fee_rate=Decimal(0)), "fee_rate", Decimal(0)),
        (DataSpec("aapl", leverage_max=Decimal(2)), "leverage_max", Decimal(2)),
        (DataSpec("aapl", multiplier=Decimal(100)), "multiplier", Decimal(100)),
        (DataSpec("aapl", tick_size=Decimal("0.05")), "tick_size", Decimal("0.05")),
    ],
)
def test_what_the_user_says_comes_before_the_bundled_instrument(spec: DataSpec, name: str, value: object) -> None:
    """Zero is said too; nothing else changes."""
    instrument = load(spec).instrument
    assert getattr(instrument, name) == value
    assert instrument.venue == "SIM"


# Forms that are understood -------------------------------------------------------------------------------------------

TICK_TIMES = [
    ("ISO with Z", "2024-01-31T14:30:00Z", "2024-01-31T14:30:01.5Z", None),
    ("offset with colon", "2024-01-31 09:30:00-05:00", "2024-01-31 09:30:01.500-05:00", None),
    ("offset without colon", "2024-01-31T09:30:00.000-0500", "2024-01-31T09:30:01.500-0500", None),
    ("offset of hours", "2024-01-31 14:30:00+00", "2024-01-31 14:30:01.500000+00", None),
    ("two offsets", "2024-01-31 14:30:00+00:00", "2024-01-31 15:30:01.500+01:00", None),
    ("named UTC", "2024-01-31 14:30:00 UTC", "2024-01-31 14:30:01.5 UTC", None),
    ("local", "2024-01-31 09:30:00", "2024-01-31 09:30:01.5", "America/New_York"),
    ("local with slashes", "2024/01/31 09:30:00", "2024/01/31 09:30:01.5", "America/New_York"),
    ("local with points", "2024.01.31 09:30:00", "2024.01.31 09:30:01.5", "America/New_York"),
    ("IB", "20240131  09:30:00", "20240131  09:30:01.5", "America/New_York"),
    ("FIX", "20240131-14:30:00.000", "20240131-14:30:01.500", "UTC"),
    ("without colons", "20240131 093000", "20240131 093001.5", "America/New_York"),
    ("seconds with a fraction", "1706711400.0", "1706711401.500000000", None),
    ("milliseconds", "1706711400000", "1706711401500", None),
    ("microseconds", "1706711400000000", "1706711401500000", None),
    ("nanoseconds", "1706711400000000000", "1706711401500000000", None),
]


@pytest.mark.parametrize(
    ("first", "second", "zone"), [row[1:] for row in TICK_TIMES], ids=[row[0] for row in TICK_TIMES]
)
def test_a_time_is_read_to_the_nanosecond(write: Write, first: str, second: str, zone: str | None) -> None:
    """Every form of the two instants 14:30:00 and 14:30:01.5 UTC reads as the same two integers."""
    path = write(f"timestamp,price,size\n{first},100,1\n{second},101,2\n")
    assert load(DataSpec(str(path), zone)).ts_ns.tolist() == [START_NS, START_NS + 1_500_000_000]


@pytest.mark.parametrize(
    ("first", "second", "zone"),
    [("1706711400", "1706711460", None), ("2024-01-31 09:30", "2024-01-31 09:31", "America/New_York")],
)
def test_bars_may_be_stamped_in_whole_seconds_or_minutes(
    write: Write, first: str, second: str, zone: str | None
) -> None:
    """Epoch seconds and times without seconds are forms of bars."""
    path = write(f"date,open,high,low,close,volume\n{first},1,1,1,1,4\n{second},1,1,1,1,4\n")
    found = check(path, zone)
    assert (found.ok, found.kind, found.first_ns, found.interval_ns) == (True, "bars", START_NS, MINUTE_NS)


TICK_HEADERS = [
    ("NautilusTrader", "price,size,aggressor_side,trade_id,ts_event,ts_init", "{p},{s},BUYER,7,{t},9"),
    ("Freqtrade", "timestamp,id,type,side,price,amount,cost", "{t},7,,buy,{p},{s},0"),
    ("hftbacktest", "exch_ts,local_ts,px,qty", "{t},9,{p},{s}"),
    ("short", "TS;PX;QTY", "{t};{p};{s}"),
    ("tabs and quotes", '"Date Time"\t"Last"\t"Volume"', '"{t}"\t"{p}"\t"{s}"'),
]


@pytest.mark.parametrize(("header", "row"), [row[1:] for row in TICK_HEADERS], ids=[row[0] for row in TICK_HEADERS])
def test_trades_of_other_platforms_are_understood(write: Write, header: str, row: str) -> None:
    """Names, order, case and delimiter are the platform's; the event's own time is taken."""
    times = (START_NS, START_NS + 1)
    lines = [
        row.format(t=time, p=price, s=size) for time, price, size in zip(times, (100.5, 99.25), (3, 4), strict=True)
    ]
    tape = load(DataSpec(str(write("\r\n".join([header, *lines])))))
    assert (tape.ts_ns.tolist(), tape.instrument.tick_size) == (list(times), Decimal("0.25"))
    assert (tape.price_ticks.tolist(), tape.size_lots.tolist()) == ([402, 397], [3, 4])


BAR_HEADERS = [
    ("NautilusTrader", "bar_type,open,high,low,close,volume,ts_event,ts_init", "X,{o},{h},{l},{c},{v},{t},9"),
    ("VeighNa", "datetime,open_price,high_price,low_price,close_price,volume,turnover", "{t},{o},{h},{l},{c},{v},0"),
    ("vectorbt", "Open time,Open,High,Low,Close,Volume,Close time", "{t},{o},{h},{l},{c},{v},9"),
    ("IB", "date,open,high,low,close,volume,average,barCount", "{t},{o},{h},{l},{c},{v},1,1"),
    ("MetaTrader", "<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>", "{t}\t{o}\t{h}\t{l}\t{c}\t{v}"),
    ("short", "t,o,h,l,c,v", "{t},{o},{h},{l},{c},{v}"),
]


@pytest.mark.parametrize(("header", "row"), [row[1:] for row in BAR_HEADERS], ids=[row[0] for row in BAR_HEADERS])
def test_bars_of_other_platforms_are_understood(write: Write, header: str, row: str) -> None:
    """The bars of the tape are those of the file, a bar's time being its start."""
    bars = [(START_NS + i * MINUTE_NS, 2 + i, 5 + i, 1 + i, 3 + i, 40 + i) for i in range(3)]
    lines = [row.format(t=t, o=o, h=h, l=l, c=c, v=v) for t, o, h, l, c, v in bars]  # noqa: E741
    found = [step.bar for step in market_steps(load(DataSpec(str(write("\n".join([header, *lines, ""]))))))]
    assert [(bar.open_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in found] == bars


def test_a_date_and_a_time_of_day_in_two_columns_are_one_time(write: Write) -> None:
    """The date alone would put the whole day on midnight."""
    path = write("date,time,price,size\n2024.01.31,09:30:00,1,1\n2024.01.31,09:30:01,1,1\n")
    assert load(DataSpec(str(path), "America/New_York")).ts_ns.tolist() == [START_NS, START_NS + SECOND_NS]


def test_gzip_zstandard_and_plain_text_are_the_same_data(write: Write, tmp_path: Path) -> None:
    """A file is what its bytes say, whatever its name."""
    text = "timestamp,price,size\n" + "".join(f"{START_NS + i},{1 + i},1\n" for i in range(9))
    pl.DataFrame({"timestamp": range(START_NS, START_NS + 9), "price": range(1, 10), "size": [1] * 9}).write_csv(
        tmp_path / "z.csv.zst", compression="zstd"
    )
    paths = [write(text, "a.csv"), write(gzip.compress(text.encode()), "b.data"), tmp_path / "z.csv.zst"]
    tapes = [load(DataSpec(str(path), symbol="X")) for path in paths]
    assert [tape.price_ticks.tolist() for tape in tapes] == [list(range(1, 10))] * 3
    assert [tape.ts_ns.tolist() for tape in tapes] == [list(range(START_NS, START_NS + 9))] * 3


@pytest.mark.parametrize(
    ("times", "zone"),
    [
        (pl.Series([START_NS, START_NS + SECOND_NS]), None),
        (pl.Series([START_NS, START_NS + SECOND_NS]).cast(pl.Datetime("ns", "Asia/Tokyo")), None),
        (pl.Series([START_NS // 1000, START_NS // 1000 + 10**6]).cast(pl.Datetime("us")), "UTC"),
        (pl.Series(["2024-01-31T14:30:00Z", "2024-01-31T14:30:01Z"]), None),
    ],
    ids=["integers", "zoned", "local", "text"],
)
@pytest.mark.parametrize("price_type", [pl.Float64, pl.Float32, pl.Decimal(12, 2), pl.String])
def test_parquet_columns_of_several_types_are_the_same_data(
    tmp_path: Path, times: pl.Series, zone: str | None, price_type: pl.DataType
) -> None:
    """Integers, datetimes, decimals and texts read alike; rows count from 1."""
    prices = pl.Series(["1640.25", "1640.50"]).cast(price_type)
    path = tmp_path / "es.parquet"
    pl.DataFrame({"ts_event": times, "price": prices, "size": [1, 2]}).write_parquet(path)
    tape = load(DataSpec(str(path), zone))
    assert tape.ts_ns.tolist() == [START_NS, START_NS + SECOND_NS]
    assert points(tape) == [Decimal("1640.25"), Decimal("1640.50")]
    pl.DataFrame({"ts_event": times, "price": [1.0, -2.0], "size": [1, 2]}).write_parquet(path)
    assert told(path, zone) == ["row 2, price: expected a price above 0, found '-2.0'"]


@given(
    st.sampled_from(["0.25", "0.5", "0.1", "0.05", "0.01", "0.005", "0.001", "0.0001", "0.00001", "0.00000001"]),
    st.lists(st.tuples(st.integers(1, 10**8), st.integers(1, 10**6)), min_size=1, max_size=30),
)
def test_ticks_and_lots_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, tick: str, trades: list[tuple[int, int]]
) -> None:
    """With up to nine digits in a price, price and size of every trade are the decimals of the text."""
    step = Decimal(tick)
    lines = [f"{START_NS + i},{p * step:f},{s * step:f}" for i, (p, s) in enumerate(trades)]
    path = tmp_path_factory.mktemp("exact") / "x.csv"
    path.write_text("\n".join(["timestamp,price,size", *lines]))
    tape = load(DataSpec(str(path)))
    assert points(tape) == [p * step for p, _ in trades]
    assert [int(lots) * tape.instrument.lot_size for lots in tape.size_lots] == [s * step for _, s in trades]


def test_a_user_file_gets_the_documented_defaults(write: Write) -> None:
    """Symbol from the name, tick and lot from the numbers, leverage and fee from the domain page."""
    path = write(
        f"timestamp,price,size\n{START_NS},64000.1,0.0015\n{START_NS + 1},63999.5,2\n",
        "btc/usdt 2024.csv.gz".replace("/", "-"),
    )
    instrument = load(DataSpec(str(path))).instrument
    assert (instrument.symbol, instrument.venue, instrument.currency) == ("BTC-USDT2024", "SIM", "USD")
    assert [instrument.tick_size, instrument.lot_size] == [Decimal("0.1"), Decimal("0.0005")]
    assert [instrument.multiplier, instrument.leverage_max, instrument.fee_rate] == [1, LEVERAGE_MAX, FEE_RATE]


# What is refused -----------------------------------------------------------------------------------------------------

TICKS = "timestamp,price,size\n"
BARS = "timestamp,open,high,low,close,volume\n"
T = [1_706_711_400 + 60 * i for i in range(9)]
FORMS = "expected such as 2024-01-31T09:30:00-05:00, or an epoch in s, ms, us or ns"
NAMES = "expected column names between commas, semicolons or tabs"
NOT_TEXT = "neither UTF-8 text nor Parquet: export it as CSV in UTF-8"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))

REFUSED = [
    ("empty", "", "the file is empty"),
    ("only a header", TICKS, "no rows below the column names"),
    ("one word", "hello\n", f"not a table: {NAMES}, found 'hello'"),
    ("a picture", PNG, NOT_TEXT),
    ("NUL bytes", b"a,b\0,c\n1,2,3\n", f"not a table: {NAMES}, found 'a,b\\x00,c'"),
    ("latin-1", "timestamp,price,size,né\n".encode("latin-1"), NOT_TEXT),
    ("zip", b"PK\x03\x04rest", "a zip archive or a spreadsheet: unpack it, or export it as CSV"),
    ("no header", f"{T[0]},1,1\n{T[1]},1,1\n",
     f"no header: expected column names in the first row, found '{T[0]},1,1'"),
    ("no time", "price,size\n1,1\n", "missing for ticks: a column for time; found 'price, size'"),
    ("no volume", f"date,open,high,low,close\n{T[0]},1,1,1,1\n",
     "missing for bars: a column for volume; found 'date, open, high, low, close'"),
    ("no low", f"date,open,high,close,volume\n{T[0]},1,1,1,1\n",
     "missing for bars: a column for low; found 'date, open, high, close, volume'"),
    ("two prices", f"date,price,Price,size\n{T[0]},1,2,1\n", "price: more than one column has this name"),
    ("order book", f"ev,exch_ts,px,qty\n1,{T[0]},1,1\n",
     "ev: an order-book event file: expected trades alone, and no column ev"),
    ("other delimiter", f"{TICKS}{T[0]};1;1\n", "row 2: expected 3 columns, found 1"),
    ("row cut short", f"{TICKS}{T[0]},1,1\n{T[1]},1", "row 3: expected 3 columns, found 2"),
    ("row too long", f"{TICKS}{T[0]},1,1\n{T[1]},1,000.5,1\n", "row 3: expected 3 columns, found 4"),
    ("decimal comma", f"timestamp;price;size\n{T[0]};1640,25;1\n", "row 2, price: expected a number, found '1640,25'"),
    ("after blank lines", f"{TICKS}\n{T[0]},1,1\n\n{T[1]},x,1\n", "row 5, price: expected a number, found 'x'"),
    ("no price", f"{TICKS}{T[0]},,1\n", "row 2, price: expected a number, found ''"),
    ("NaN", f"{TICKS}{T[0]},NaN,1\n", "row 2, price: expected a number, found 'NaN'"),
    ("infinity", f"{TICKS}{T[0]},1,-inf\n", "row 2, size: expected a number, found '-inf'"),
    ("overflow", f"{TICKS}{T[0]},1e999,1\n", "row 2, price: expected a number, found '1e999'"),
    ("Arabic digits", f"{TICKS}{T[0]},١٢,1\n", "row 2, price: expected a number, found '١٢'"),
    ("control characters", f"{TICKS}{T[0]},\x1b[2J\x01,1\n", "row 2, price: expected a number, found '\\x1b[2J\\x01'"),
    ("long rubbish", f"{TICKS}{T[0]},{'9x' * 500},1\n", f"row 2, price: expected a number, found '{'9x' * 19}9…'"),
    ("zero price", f"{TICKS}{T[0]},0,1\n", "row 2, price: expected a price above 0, found '0'"),
    ("negative price", f"{TICKS}{T[0]},-37.63,1\n", "row 2, price: expected a price above 0, found '-37.63'"),
    ("zero size", f"{TICKS}{T[0]},1,0\n", "row 2, size: expected a size above 0, found '0'"),
    ("negative volume", f"{BARS}{T[0]},1,1,1,1,1\n{T[1]},1,1,1,1,-1\n",
     "row 3, volume: expected a volume of 0 or more, found '-1'"),
    ("high below low", f"{BARS}{T[0]},2,1,3,2,1\n{T[1]},1,1,1,1,1\n", "row 2, high: high 1.0 is below low 3.0"),
    ("open above high", f"{BARS}{T[0]},4,3,1,2,1\n{T[1]},1,1,1,1,1\n",
     "row 2, open: 4.0 is not within low 1.0 and high 3.0"),
    ("close below low", f"{BARS}{T[0]},2,3,1,0.5,1\n{T[1]},1,1,1,1,1\n",
     "row 2, close: 0.5 is not within low 1.0 and high 3.0"),
    ("unsorted", f"{TICKS}{T[1]},1,1\n{T[0]},1,1\n",
     "row 3, timestamp: 2024-01-31T14:30:00.000Z is earlier than the row before"),
    ("bar twice", f"{BARS}{T[0]},1,1,1,1,1\n{T[0]},1,1,1,1,1\n",
     "row 3, timestamp: a second bar at 2024-01-31T14:30:00.000Z"),
    ("one bar", f"{BARS}{T[0]},1,1,1,1,1\n", "one bar alone: how long it lasts cannot be told"),
    ("no trades", f"{BARS}{T[0]},1,1,1,1,0\n{T[1]},1,1,1,1,0\n",
     "volume: expected trades, found a volume of 0 in every row"),
    ("bars overlap", BARS + "".join(f"{t},1,1,1,1,1\n" for t in (T[0], T[1], T[2], T[2] + 30, T[4])),
     "row 5: 2024-01-31T14:32:30.000Z is within 60 s of the bar before"),
    ("off every tick", f"{TICKS}{T[0]},0.0000000123,1\n",
     "row 2, price: 1.23e-08 is not a multiple of the tick 0.00000001"),
    ("off every lot", f"{TICKS}{T[0]},1,0.0000000005\n", "row 2, size: 5e-10 is not a multiple of the lot 0.00000001"),
    ("too large to count", f"{TICKS}{T[0]},1e308,1\n", "row 2, price: 1e+308 is not a multiple of the tick 0.00000001"),
    ("two instruments", f"timestamp,symbol,price,size\n{T[0]},A,1,1\n{T[1]},B,1,1\n",
     "row 3, symbol: expected 'A' alone, found 'B'"),
    ("day first", "date,price,size\n31/01/2024 09:30,1,1\n",
     f"date: a time in no known form: {FORMS}; found '31/01/2024 09:30'"),
    ("no time in a row", f"{TICKS}{T[0]},1,1\n,1,1\n", f"row 3, timestamp: expected a time like '{T[0]}', found ''"),
    ("another unit", f"{TICKS}{T[0]},1,1\n{T[1]}000,1,1\n",
     f"row 3, timestamp: expected a time like '{T[0]}', found '{T[1]}000'"),
    ("another form", f"{TICKS}2024-01-31T14:30:00Z,1,1\n2024-01-31,1,1\n",
     "row 3, timestamp: expected a time like '2024-01-31T14:30:00Z', found '2024-01-31'"),
    ("no such day", f"{TICKS}2024-02-29T00:00:00Z,1,1\n2023-02-29T00:00:00Z,1,1\n",
     "row 3, timestamp: expected a time like '2024-02-29T00:00:00Z', found '2023-02-29T00:00:00Z'"),
    ("before 1970", f"{TICKS}1969-12-31T23:59:59Z,1,1\n",
     "row 2, timestamp: expected a time from 1970 to 2100, found 1969-12-31T23:59:59.000Z"),
    ("after 2100", f"{TICKS}2100-01-01T00:00:00Z,1,1\n",
     "row 2, timestamp: expected a time from 1970 to 2100, found 2100-01-01T00:00:00.000Z"),
    ("beyond nanoseconds", f"{TICKS}2024-01-01T00:00:00Z,1,1\n2610-01-01T00:00:00Z,1,1\n",
     "row 3, timestamp: expected a time like '2024-01-01T00:00:00Z', found '2610-01-01T00:00:00Z'"),
    ("local without a zone", f"{TICKS}2024-01-31 09:30:00,1,1\n",
     "timestamp: local times such as '2024-01-31 09:30:00': say of where, as in --zone America/New_York"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "problem"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_file_is_refused_with_its_row_and_what_was_expected(
    write: Write, content: str | bytes, problem: str
) -> None:
    """One fault, one problem, one sentence; `load` raises it with the command that lists all."""
    path = write(content)
    assert told(path) == [problem]
    with pytest.raises(DataError) as refusal:
        load(DataSpec(str(path)))
    assert str(refusal.value) == f"{path}: {problem}; for the list: trisagion data check {path}"


@pytest.mark.parametrize(
    ("local", "problem"),
    [
        (
            "2024-11-03 01:30:00",
            "happens twice in America/New_York, where the clock changes: give times with their offset",
        ),
        (
            "2024-03-10 02:30:00",
            "does not exist in America/New_York, where the clock changes: give times with their offset",
        ),
    ],
)
def test_a_local_time_at_a_change_of_the_clock_is_refused(write: Write, local: str, problem: str) -> None:
    """The hour that is repeated and the hour that is skipped are told apart; the hours around them are fine."""
    path = write(f"{TICKS}{local[:10]} 00:59:59,1,1\n{local},1,1\n{local[:10]} 03:00:00,1,1\n")
    assert told(path, "America/New_York") == [f"row 3, timestamp: {local} {problem}"]
    assert told(path, "UTC") == []


@pytest.mark.parametrize("kept", [0.5, 0.999])
@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_compressed_file_that_is_cut_short_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    """Half a download is not half a data set."""
    rng = np.random.default_rng(7)
    frame = pl.DataFrame(
        {"timestamp": START_NS + np.arange(50_000), "price": rng.integers(1, 10**6, 50_000), "size": 1}
    )
    path = tmp_path / f"ticks.csv.{suffix}"
    frame.write_csv(path, compression="gzip" if suffix == "gz" else "zstd")
    assert check(path).ok
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "the compressed file is cut short: copy it again" in told(path)


def test_a_damaged_compressed_file_is_refused(write: Write) -> None:
    """Bytes that were changed on the way are noticed."""
    rng = np.random.default_rng(7)
    text = TICKS + "".join(f"{START_NS + i},{price},1\n" for i, price in enumerate(rng.integers(1, 10**6, 20_000)))
    packed = bytearray(gzip.compress(text.encode()))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    found = check(write(bytes(packed)))
    assert not found.ok


def test_problems_are_kept_up_to_a_bound_and_all_counted(write: Write) -> None:
    """A file of a thousand faults tells the first twenty in order of row, and the number of all."""
    rows = "".join(f"{T[0]},{'-1' if i % 2 else '1'},{'x' if i % 3 == 0 else '1'}\n" for i in range(999))
    found = check(write(TICKS + rows))
    bad = [i + 2 for i in range(999) if i % 2 or i % 3 == 0]
    assert (found.rows, found.problem_count, len(found.problems)) == (999, len(bad), PROBLEMS_MAX)
    assert [problem.row for problem in found.problems] == bad[:PROBLEMS_MAX]
    with pytest.raises(DataError, match=rf"\(and {len(bad) - 3} more\)"):
        load(DataSpec(found.path))


def test_rows_are_numbered_and_ordered_across_batches(tmp_path: Path) -> None:
    """A row that is earlier than the last one of the batch before is found, and named by its own number."""
    count = 2 * BATCH_ROWS + 10
    times = START_NS + np.arange(count)
    times[BATCH_ROWS] = START_NS
    path = tmp_path / "long.csv"
    pl.DataFrame({"timestamp": times, "price": np.ones(count), "size": np.ones(count)}).write_csv(path)
    found = check(path)
    assert (found.rows, [problem.row for problem in found.problems]) == (count, [BATCH_ROWS + 2])
    series = read_series(path, None, Findings())
    assert series is not None
    assert sum(len(batch) for batch in series.ts_ns) == count - 1


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"tick_size": Decimal("0.25")}, "row 3, price: 1640.3 is not a multiple of the tick 0.25"),
        ({"lot_size": Decimal(2)}, "row 2, size: 1.0 is not a multiple of the lot 2"),
    ],
)
def test_a_number_off_a_given_grid_is_refused(write: Write, given_: dict[str, Decimal], problem: str) -> None:
    """What the user says about the instrument binds the data."""
    path = write(f"{TICKS}{T[0]},1640.25,1\n{T[1]},1640.3,2\n")
    with pytest.raises(DataError) as refusal:
        load(DataSpec(str(path), tick_size=given_.get("tick_size"), lot_size=given_.get("lot_size")))
    assert problem in str(refusal.value)


def test_noise_of_arithmetic_is_no_fault(write: Write) -> None:
    """A sum of floats on the grid, and a close that leaves its low by the sixteenth digit, are what they should be."""
    path = write(f"{BARS}{T[0]},{0.1 + 0.2},0.4,0.3,0.29999999999999993,8\n{T[1]},0.3,0.4,0.2,0.3,0\n")
    tape = load(DataSpec(str(path)))
    assert tape.instrument.tick_size == Decimal("0.1")
    assert tape.price_ticks.tolist() == [3, 3, 4, 3]


# What a person is told -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "warned"), [(1, False), (60, False), (61, True), (3600, True)])
def test_bars_longer_than_a_minute_are_warned_about(write: Write, seconds: int, warned: bool) -> None:
    """They load, and the sentence names the interval."""
    rows = "".join(f"{T[0] + i * seconds},1,1,1,1,1\n" for i in range(3))
    tape, found = read(DataSpec(str(write(BARS + rows))))
    assert len(tape) == 3
    assert [f"bars of {seconds} s" in sentence for sentence in warnings(found)] == ([True] if warned else [])


def test_prices_with_the_noise_of_small_floats_are_warned_about() -> None:
    """The bundled AAPL file, read as a user's file, loads on a tick that no venue has, and says so."""
    path = read(DataSpec("aapl"))[1].path
    tape, found = read(DataSpec(path))
    assert tape.instrument.tick_size < Decimal("0.000001")
    assert ["32-bit floats" in sentence for sentence in warnings(found)] == [True]
    assert warnings(read(DataSpec("aapl"))[1]) == []


def test_data_of_a_rest_period_alone_warns(write: Write) -> None:
    """A replay of a Saturday trades nothing, and says so before it starts; one that ends on Monday may trade."""
    saturday = write(f"{TICKS}2024-01-13T10:00:00Z,1,1\n2024-01-13T11:00:00Z,1,1\n")
    assert ["(weekend): nothing is traded" in sentence for sentence in warnings(check(saturday))] == [True]
    monday = write(f"{TICKS}2024-01-13T10:00:00Z,1,1\n2024-01-15T11:00:00Z,1,1\n")
    assert warnings(check(monday)) == []


# Specifications ------------------------------------------------------------------------------------------------------

FULL = DataSpec("es", "UTC", "X", Decimal("0.25"), Decimal(1), Decimal(50), Decimal("12.5"), Decimal("0.0001"))


@pytest.mark.parametrize("spec", [DataSpec("es"), FULL, DataSpec("es", tick_size=Decimal("1e-8"))])
def test_a_specification_survives_the_way_to_another_process(spec: DataSpec) -> None:
    """Decimals stay the same decimals."""
    assert DataSpec.from_json(spec.to_json()) == spec


def test_a_relative_path_becomes_absolute_on_the_way(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process may run in another folder."""
    path = write(TICKS)
    monkeypatch.chdir(path.parent)
    assert DataSpec.from_json(DataSpec("file.csv").to_json()).source == str(path)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "expected JSON"),
        ("[]", "expected source and some of"),
        ("{}", "expected source and some of"),
        ('{"source": "es", "speed": "9"}', "expected source and some of"),
        ('{"source": "es", "fee_rate": 0.1}', "expected texts"),
        ('{"source": "es", "fee_rate": "1"}', "fee_rate: expected a share of the notional, from 0 to below 1, found 1"),
        ('{"source": "es", "fee_rate": "-0.1"}', "fee_rate: expected a share"),
        ('{"source": "es", "tick_size": "0"}', "tick_size: expected above 0, found 0"),
        ('{"source": "es", "lot_size": "NaN"}', "lot_size: expected a"),
        ('{"source": "es", "symbol": "a b"}', "symbol: expected 1 to 32 of A-Z 0-9 . _ -, found 'a b'"),
        ('{"source": "es", "symbol": "ES\\u0001"}', "symbol: expected 1 to 32"),
    ],
)
def test_a_specification_that_describes_nothing_is_refused(text: str, part: str) -> None:
    """What comes from another process is checked again."""
    with pytest.raises(DataError) as refusal:
        DataSpec.from_json(text)
    assert part in str(refusal.value)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_an_unknown_zone_or_file_is_refused_at_once(write: Write, zone: str) -> None:
    """The sentence names an example and the bundled sets."""
    path = write(f"{TICKS}{T[0]},1,1\n")
    if zone:
        with pytest.raises(DataError, match="zone: expected a name such as America/New_York, found"):
            check(path, zone)
    with pytest.raises(DataError, match="no such file; the bundled data sets are es and aapl"):
        load(DataSpec(str(path) + zone + "x"))


def test_a_file_without_letters_in_its_name_needs_a_symbol(write: Write) -> None:
    """A name is never made up."""
    path = write(f"{TICKS}{T[0]},1,1\n", "価格.csv")
    with pytest.raises(DataError, match=r"give one with --data NAME="):
        load(DataSpec(str(path)))
    assert load(DataSpec(str(path), symbol="JP")).instrument.symbol == "JP"
    assert check(path).ok


def test_a_folder_and_a_bundled_set_can_be_named(tmp_path: Path) -> None:
    """A folder is told from a missing file; a bundled set is checked by its name."""
    with pytest.raises(DataError, match="expected a file, found a folder"):
        check(tmp_path)
    assert (check("aapl").rows, check("aapl").problems) == (2382, ())


def test_a_digest_depends_on_the_bytes_and_the_specification_and_nothing_else(write: Write) -> None:
    """The same bytes elsewhere are the same data; one byte or one number more is other data."""
    text = f"{TICKS}{T[0]},1,1\n"
    paths = [str(write(text, "a.csv")), str(write(text, "b.csv")), str(write(text + "\n", "c.csv"))]
    digests = [digest(DataSpec(path)) for path in paths]
    assert digests[0] == digests[1] != digests[2]
    assert digest(DataSpec(paths[0], "UTC")) != digests[0] != digest(DataSpec(paths[0], fee_rate=Decimal(0)))
    assert all(len(bytes.fromhex(value)) == 32 for value in digests)
    assert json.loads(DataSpec(paths[0]).to_json()) == {"source": paths[0]}


@pytest.mark.parametrize(
    ("text", "symbol", "source"),
    [
        ("es", None, "es"),
        ("NQ=nq.csv", "NQ", "nq.csv"),
        ("NQ=es", "NQ", "es"),
        ("A.B-1=/x/a=b.csv", "A.B-1", "/x/a=b.csv"),
        ("./A=b.csv", None, "./A=b.csv"),
        ("nq=nq.csv", None, "nq=nq.csv"),
        ("NQ=", None, "NQ="),
    ],
)
def test_an_entry_is_a_source_with_or_without_a_symbol(text: str, symbol: str | None, source: str) -> None:
    """A symbol is in capitals; a file of such a name is written with its folder."""
    assert entry(text) == (symbol, source)


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["es"], "es"),
        (["/somewhere/es.csv"], "/somewhere/es.csv"),
        (["NQ=/somewhere/nq.csv", "es"], "ES=es, NQ=nq.csv"),
        ([f"{letter * 30}=x.csv" for letter in "ABCDE"], ", ".join(f"{c * 30}=x.csv" for c in "ABCDE")[:127] + "…"),
    ],
)
def test_several_data_sets_have_one_name(sources: list[str], name: str) -> None:
    """With their symbols in order, and never longer than the database keeps."""
    specs = [DataSpec(source, symbol=symbol) for symbol, source in map(entry, sources)]
    assert dataset(specs) == name


def test_the_digest_of_several_files_is_theirs_together_in_any_order(write: Write) -> None:
    """It changes with each file and each symbol; of one file it is the file's own."""
    specs = [DataSpec(str(write(f"{TICKS}{T[0]},1,{size}\n", f"{size}.csv")), symbol=f"S{size}") for size in (1, 2)]
    both = digest_of_all(specs)
    assert both == digest_of_all(specs[::-1])
    assert digest_of_all(specs[:1]) == digest(specs[0])
    assert len({both, *map(digest, specs), digest_of_all([specs[0], replace(specs[1], symbol="S3")])}) == 4
