"""`trisagion data import, export, rollup, partitions, retention`: as a user calls them, on a SQLite file."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from init import create
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.db import open_database, tables
from trisagion.adapters.files import load_bars, load_quotes
from trisagion.cli import history
from trisagion.cli.data import app
from trisagion.errors import ConfigError, DataError, StateError, TrisagionError
from trisagion.market.history import INTERVALS

BARS = "time,open,high,low,close,volume\n" + "".join(
    f"2026-10-31T23:{minute}:00Z,{minute},{minute + 2},{minute - 1},{minute + 1}.25,{minute}\n"
    for minute in range(40, 60)
)
QUOTES = "Time,Bid_Price,Ask Price,bidSize,askSize\n" + "".join(
    f"2026-10-31T23:{minute}:00.25Z,{minute},{minute}.5,1,0\n" for minute in (10, 10, 59)
)

Call = Callable[..., str]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Give a database with all tables."""
    url = f"sqlite:///{tmp_path / 'history.sqlite3'}"
    create(url)
    return url


@pytest.fixture
def call(url: str) -> Call:
    """Give a caller of `trisagion data` that returns what was printed, or raises what the command raised."""

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [*map(str, arguments), "--database", url])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """Give a file of twenty minutes before the end of a month."""
    path = tmp_path / "NQ.csv"
    path.write_text(BARS, encoding="utf-8")
    return path


def test_bars_are_taken_in_once_and_tell_what_became_of_them(call: Call, bars: Path) -> None:
    """New, then the same, then one corrected; the longer bars with them; as text and as JSON."""
    assert call("import", bars) == (
        "NQ: 20 bars of 1m: 20 new, 0 corrected, 0 the same; 8 longer bars changed with them\n"
    )
    told = json.loads(call("import", bars, "--json"))
    assert told == {
        "symbol": "NQ",
        "kind": "1m",
        "rows": 20,
        "new": 0,
        "corrected": 0,
        "same": 20,
        "older": 0,
        "rolled_up": 0,
    }
    bars.write_text(BARS.replace("59,61,58,60.25", "59,65,58,60.25"), encoding="utf-8")
    told = json.loads(call("import", bars, "--json"))
    assert (told["corrected"], told["same"], told["rolled_up"]) == (1, 19, 4)
    assert json.loads(call("rollup", "--json")) == {"days": 1, "changed": 0}
    assert call("rollup", "--symbol", "ES") == ("0 days rolled up: 0 longer bars were not what the shorter ones make\n")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_exported_can_be_taken_in_and_is_the_same(call: Call, bars: Path, tmp_path: Path, suffix: str) -> None:
    """Every number of every bar; another symbol's name may be given."""
    call("import", bars)
    out = tmp_path / f"out.{suffix}"
    assert call("export", "NQ", out) == f"{out}: 20 bars of 1m of NQ\n"
    before, after = (load_bars(DataSpec(str(path), symbol="NQ")) for path in (bars, out))
    for name in ("close_ns", "open", "high", "low", "close", "volume"):
        assert getattr(after, name).tolist() == getattr(before, name).tolist()
    assert json.loads(call("import", out, "--symbol", "NQ", "--json"))["same"] == 20
    assert json.loads(call("import", out, "--symbol", "CL", "--json"))["new"] == 20


def test_a_span_of_longer_bars_is_exported(call: Call, bars: Path, tmp_path: Path) -> None:
    """Of [from, until), whole bars alone; JSON tells how many."""
    call("import", bars)
    out = tmp_path / "out.csv"
    arguments = ("export", "NQ", out, "--interval", "5m", "--from", "2026-10-31T23:45", "--until", "2026-10-31T23:58")
    told = json.loads(call(*arguments, "--json"))
    assert told == {"symbol": "NQ", "kind": "5m", "rows": 2, "file": str(out)}
    assert out.read_text(encoding="utf-8") == (
        "time,open,high,low,close,volume\n"
        "2026-10-31T23:45:00.000000000Z,45.0,51.0,44.0,50.25,235.0\n"
        "2026-10-31T23:50:00.000000000Z,50.0,56.0,49.0,55.25,260.0\n"
    )
    with pytest.raises(ConfigError, match="there is such a file; --force overwrites it"):
        call(*arguments)
    call(*arguments, "--force")


def test_quotes_are_taken_in_and_exported(call: Call, tmp_path: Path) -> None:
    """Of two at one instant the last; sizes may be 0."""
    path, out = tmp_path / "NQ.csv", tmp_path / "out.parquet"
    path.write_text(QUOTES, encoding="utf-8")
    assert len(load_quotes(DataSpec(str(path)))) == 2
    assert call("import", path, "--quotes") == "NQ: 2 quotes: 2 new, 0 corrected, 0 the same\n"
    assert call("export", "NQ", out, "--quotes") == f"{out}: 2 quotes of NQ\n"
    assert pl.read_parquet(out)["ask"].to_list() == [10.5, 59.5]
    assert json.loads(call("import", out, "--symbol", "NQ", "--quotes", "--json"))["same"] == 2


REFUSED = [
    ("time,bid,ask,bid_size\n2026-10-31T23:00:00Z,1,2,3\n", True, "missing for quotes: a column for ask_size"),
    ("time,bid,ask,bid_size,ask_size\n2026-10-31T23:00:00Z,3,2,1,1\n", True, "row 2, bid: bid 3.0 is above ask 2.0"),
    ("time,bid,ask,bid_size,ask_size\n2026-10-31T23:00:00Z,1,2,-1,1\n", True, "expected a size of 0 or more"),
    (BARS.replace(":40:00Z,40,", ":40:00Z,nan,"), False, "row 2, open: expected a number, found 'nan'"),
    (BARS.replace(":40:00Z,40,", ":40:00Z,-40,"), False, "row 2, open: expected a price above 0, found '-40'"),
    (BARS.replace(":00Z", ":30Z"), False, "expected an opening at a multiple of 1m of UTC, found 2026-10-31T23:40:30"),
    (BARS.replace(":40:00Z,40,42", ":40:00Z,40,1e17"), False, "high: expected a number above 0, up to 2..53, found 1e"),
]


@pytest.mark.parametrize(("text", "quotes", "why"), REFUSED)
def test_a_file_with_a_mistake_leaves_the_history_as_it_was(
    call: Call, tmp_path: Path, text: str, quotes: bool, why: str
) -> None:
    """It is refused with the reason, before anything of it is kept."""
    path = tmp_path / "NQ.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=why):
        call("import", path, *(["--quotes"] if quotes else []))
    assert json.loads(call("partitions", "--json"))["partitions"] == []


def test_partitions_are_listed_with_rows_and_sizes(call: Call, bars: Path) -> None:
    """On SQLite those months that have rows; there is none to be made."""
    call("import", bars)
    assert call("partitions", "--ahead", 3).splitlines() == [
        "bar_day     before_202611  2026-10 to 2026-11             28 rows        0.0 MiB",
        "0 made",
    ]
    told = json.loads(call("partitions", "--json"))
    assert told == {
        "made": [],
        "partitions": [
            {
                "table": "bar_day",
                "partition": "before_202611",
                "rows": 28,
                "bytes": 28 * 7 * 8,
                "from": "2026-10-01T00:00:00.000Z",
                "until": "2026-11-01T00:00:00.000Z",
            }
        ],
    }


def test_retention_drops_only_when_told_to(
    call: Call, bars: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows first; with --yes whole months before those to keep go, and the event log has it."""

    class Present:
        def now_ns(self) -> int:
            return history._instant("", "2027-01-15")

    call("import", bars)
    bars.write_text(BARS.replace("2026-10-31", "2026-11-30"), encoding="utf-8")
    call("import", bars)
    monkeypatch.setattr(history, "SystemClock", Present)
    assert call("retention", "--keep", 3) == "nothing of the history ends before 2026-10\n"
    shown = call("retention", "--keep", 2)
    assert shown.splitlines()[0].split()[1] == "before_202611"
    assert shown.splitlines()[1:] == ["nothing was dropped; --yes drops these 28 bars and quotes for good"]
    assert len(json.loads(call("partitions", "--json"))["partitions"]) == 2
    told = json.loads(call("retention", "--keep", 2, "--yes", "--json"))
    assert (told["before"], told["dropped"]) == ("2026-11-01T00:00:00.000Z", True)
    assert [each["partition"] for each in told["partitions"]] == ["before_202611"]
    assert [each["partition"] for each in json.loads(call("partitions", "--json"))["partitions"]] == ["before_202612"]
    database = open_database(url)
    with database.snapshot() as tx:
        kinds = [row.kind for row in tx.session.rows(sa.select(tables.event).order_by(tables.event.c.seq))]
    database.close()
    assert kinds == ["history.dropping", "history.dropped"]
    assert call("retention", "--keep", 2, "--yes") == "nothing of the history ends before 2026-11\n"


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        (("export", "ES", "out.csv"), StateError, "the history has no bars of 1m of 'ES'"),
        (("export", "ES", "out.csv", "--quotes"), StateError, "the history has no quotes of 'ES'"),
        (("export", "ES", "out.txt"), ConfigError, "out.txt: expected a name that ends in .csv or .parquet"),
        (("rollup", "--from", "soon"), ConfigError, "--from: expected an instant as 2026-11-21T14:30, found 'soon'"),
        (("rollup", "--until", "1960-01-01"), ConfigError, "--until: expected an instant from 1970 to 2100"),
    ],
)
def test_a_mistake_is_one_sentence(
    call: Call, arguments: tuple[str, ...], error: type[TrisagionError], why: str
) -> None:
    """With what was expected and what was found."""
    with pytest.raises(error, match=why):
        call(*arguments)


def test_without_a_database_it_says_how_to_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured one is used; where there is none, the sentence names both ways."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["partitions"])
    assert isinstance(result.exception, ConfigError)
    assert "name it with --database URL or [database] url" in str(result.exception)
    create(f"sqlite:///{tmp_path / 'mine.sqlite3'}")
    monkeypatch.setenv("TRISAGION__DATABASE__URL", f"sqlite:///{tmp_path / 'mine.sqlite3'}")
    assert CliRunner().invoke(app, ["partitions", "--json"]).output == '{"made": [], "partitions": []}\n'


def test_the_intervals_of_the_option_are_those_that_are_kept() -> None:
    """Each can be exported."""
    assert list(history.Interval.__args__) == list(INTERVALS)  # type: ignore[attr-defined]
