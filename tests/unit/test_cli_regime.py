"""`trisagion regime`, `trisagion study` and the bars and pictures behind them, as a user meets them."""

import csv
import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from docs.regime_figures import bursting, gaussian, market
from tests.builders import ES
from tests.databases import founded_run
from trisagion.adapters import plots
from trisagion.adapters.dataspec import DataSpec
from trisagion.adapters.files import load, load_bars
from trisagion.cli import regime, study
from trisagion.cli.main import main
from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.errors import DataError, StateError
from trisagion.ledger.types import EquitySample
from trisagion.market.bars import columns, market_steps
from trisagion.market.types import Bar, Bars, Int64Array, MarketStep
from trisagion.ports import Replay
from trisagion.regime.history import judgements, stretches
from trisagion.units import Money, Price, Quantity

START_NS = int(datetime(2024, 6, 10, 13, 30, tzinfo=UTC).timestamp()) * SECOND_NS
PRICES = ("open", "high", "low", "close")


def written(path: Path, bars: Bars) -> Path:
    """Write bars to a file as a user would have them: stamped with their start, prices with all digits."""
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *PRICES, "volume"])
        for i, close_ns in enumerate(bars.close_ns.tolist()):
            row = [f"{float(getattr(bars, name)[i])!r}" for name in PRICES]
            writer.writerow([close_ns - bars.interval_ns + START_NS, *row, 1])
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write 400 minutes of noise."""
    return written(tmp_path / "noise.csv", market(gaussian, 3, 400))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the JSON lines that were printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# Bars ----------------------------------------------------------------------------------------------------------------


def test_bars_of_a_file_are_as_they_are(tmp_path: Path) -> None:
    """Prices on no venue's grid, which cannot be traded, can be looked at; a bar may be used from its close on."""
    walk = market(gaussian, 3, 400)
    expected = replace(walk, **{name: getattr(walk, name) / 1_000 for name in PRICES})
    spec = DataSpec(str(written(tmp_path / "noise.csv", expected)))
    found = load_bars(spec)
    assert (found.symbol, found.interval_ns) == ("NOISE", MINUTE_NS)
    np.testing.assert_array_equal(found.close_ns, expected.close_ns + START_NS)
    for name in PRICES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    with pytest.raises(DataError, match="is not a multiple of the tick"):
        load(spec)


@pytest.mark.parametrize(("source", "first"), [("aapl", 341.60), ("es", 1639.75)])
def test_bars_of_the_bundled_sets_are_those_that_are_replayed(source: str, first: float) -> None:
    """Trades become a bar a minute; prices are the floats that the platform has."""
    found = load_bars(DataSpec(source))
    steps = [step.bar for step in market_steps(load(DataSpec(source)))]
    replayed = {bar.close_ns: bar for bar in steps}
    assert found.close[0] == first
    assert set(replayed) <= set(found.close_ns.tolist())
    for i, close_ns in enumerate(found.close_ns.tolist()):
        if close_ns in replayed:
            bar = replayed[close_ns]
            assert (found.high[i], found.low[i], found.close[i]) == (bar.high, bar.low, bar.close)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("time,open,high,low,close,volume\n", "no rows below the column names"),
        ("time,open,high,low,close,volume\n1700000000,1,1,1,1,1\n", "one bar alone"),
        ("time,open,high,low,close,volume\n2024-01-02,1,1,1,1,1\n2024-01-03,1,1,1,1,1\n", "say of where"),
        ("time,open,high,low,close,volume\n1700000000,1,1,2,1,1\n1700000060,1,1,1,1,1\n", "high 1.0 is below low 2.0"),
        ("time,open,high,low,close,volume\n1700000000,1,1,1,nan,1\n1700000060,1,1,1,1,1\n", "close: expected a number"),
        ("time,open,high,low,close,volume\n1700000060,1,1,1,1,1\n1700000000,1,1,1,1,1\n", "is earlier than the row"),
        ("a,b\n1,2\n", "missing for bars: a column for time"),
    ],
)
def test_a_file_with_a_problem_is_refused_with_its_row(text: str, sentence: str, tmp_path: Path) -> None:
    """As `trisagion data check` does, which the sentence names."""
    path = tmp_path / "broken.csv"
    path.write_text(text, encoding="ascii")
    with pytest.raises(DataError, match=sentence) as refused:
        load_bars(DataSpec(str(path)))
    assert "trisagion data check" in str(refused.value)


def test_bars_without_volume_and_of_any_length_can_be_looked_at(tmp_path: Path) -> None:
    """Daily rates of a currency, in the zone that the user names: stamped with the day's end there."""
    path = tmp_path / "EURUSD.csv.gz"
    rows = "".join(f"2024-01-{day:02d},1.1,1.2,1.0,1.1,0\n" for day in (2, 3, 4))
    path.write_bytes(gzip.compress(f"date,open,high,low,close,volume\n{rows}".encode()))
    found = load_bars(DataSpec(str(path), zone="America/New_York"))
    assert (found.symbol, found.interval_ns, found.volume.tolist()) == ("EURUSD", 24 * HOUR_NS, [0.0, 0.0, 0.0])
    midnight = datetime(2024, 1, 3, 5, tzinfo=UTC)
    assert found.close_ns[0] == int(midnight.timestamp()) * SECOND_NS


def test_no_bars_are_empty_columns() -> None:
    """Of a minute, for there is nothing to tell otherwise."""
    assert (len(columns("ES", [])), columns("ES", []).interval_ns) == (0, MINUTE_NS)


# The states ----------------------------------------------------------------------------------------------------------


def test_the_table_tells_stretches_shares_and_the_present(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each stretch, and every reason of the last reading."""
    regime.command(str(file), symbol="SIM")
    told = capsys.readouterr().out.splitlines()
    readings = [one.reading for one in judgements(load_bars(DataSpec(str(file))), 1_000)]
    assert told[0] == "SIM: 400 bars of 1 min, closes from 2024-06-10 13:31 to 2024-06-10 20:10 UTC"
    first = "2024-06-10 13:31  2024-06-10 17:46   256  unknown  "
    assert told[3].startswith(first)
    assert told[3].endswith("–  entropy: unknown; hurst: unknown")
    assert len([line for line in told if line.startswith("2024")]) == len(stretches(readings))
    assert next(line for line in told if line.startswith("time in")).count("unknown 64.0 %") == 1
    assert [line.strip() for line in told[-4:]] == list(readings[-1].reasons)


def test_json_is_the_same_with_every_digit(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stretches cover all bars; with --all there is an object for each."""
    regime.command(str(file), as_json=True)
    found = lines(capsys)
    assert [fact["kind"] for fact in found[-2:]] == ["shares", "now"]
    parts = [fact for fact in found if fact["kind"] == "stretch"]
    assert sum(part["bars"] for part in parts) == found[-2]["bars"] == 400
    assert parts[0]["probability"] is None
    regime.command(str(file), every=True, as_json=True)
    found = lines(capsys)
    assert [fact["kind"] for fact in found[:400]] == ["bar"] * 400
    assert {name: found[399][name] for name in found[399] if name != "kind"} == {
        name: found[-1][name] for name in found[-1] if name not in {"kind", "since_ns"}
    }
    assert sum(found[-1]["probability"].values()) == pytest.approx(1.0)


def test_all_is_a_line_a_bar(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In order of time, numbered."""
    regime.command(str(file), every=True)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("2024-")]
    assert [row[2] for row in rows] == [f"{number:,}" for number in range(1, 401)]


@pytest.mark.parametrize(("suffix", "begin"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_written_when_asked_for(suffix: str, begin: bytes, file: Path, tmp_path: Path) -> None:
    """Of the kind that its name says; a picture that is there is left as it is unless --force."""
    image = tmp_path / f"states{suffix}"
    regime.command(str(file), image=image)
    assert image.read_bytes().startswith(begin)
    image.write_bytes(b"mine")
    with pytest.raises(StateError, match="is there already and was left as it is"):
        regime.command(str(file), image=image)
    assert image.read_bytes() == b"mine"
    regime.command(str(file), image=image, force=True)
    assert image.read_bytes().startswith(begin)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("a.gif", "expected a name ending in"), ("no/a.png", "there is no such folder")],
)
def test_a_picture_that_cannot_be_written_is_refused_first(name: str, sentence: str, tmp_path: Path) -> None:
    """Before the file is read: here there is none."""
    with pytest.raises(StateError, match=sentence):
        regime.command("absent.csv", image=tmp_path / name)


def test_a_file_that_is_not_there_is_one_sentence() -> None:
    """As with every command."""
    with pytest.raises(DataError, match="no such file; the bundled data sets are es and aapl"):
        regime.command("absent.csv")


def test_the_console_ends_with_a_sentence_and_exit_code_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Through the console's own door: no traceback, nothing on standard output."""
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n", encoding="ascii")
    for words in (["regime", str(tmp_path / "bad.csv")], ["study", "oscillation", str(tmp_path / "bad.csv")]):
        monkeypatch.setattr("sys.argv", ["trisagion", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (ended.value.code, said.out, said.err.count("\n")) == (4, "", 1)
        assert "missing for bars" in said.err


def test_progress_is_told_to_a_terminal_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, and wiped when it is done."""
    regime.command(str(file))
    assert not capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    regime.command(str(file))
    assert capsys.readouterr().err == "\r250 of 400 bars\r400 of 400 bars\r\033[K"


def test_the_picture_shades_each_state_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spans of each colour are the stretches of its state, in bars, and the probabilities add up to one."""
    bars = market(bursting, 21, 1_250)
    judged = list(judgements(bars, 500))
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "_save", lambda figure, _path: drawn.append(figure))
    plots.draw_regimes(tmp_path / "a.png", bars, judged, 2.0)
    price, chance, _ = drawn[0].axes
    found = stretches([one.reading for one in judged])
    for (state, colour), spans in zip(plots.COLOURS.items(), price.collections, strict=True):
        own = [(one.first - 0.5, one.last + 0.5) for one in found if one.state == state]
        boxes = [path.get_extents() for path in spans.get_paths()]
        assert [(box.x0, box.x1) for box in boxes] == own, state
        if own:
            assert spans.get_facecolor()[0][:3] == pytest.approx([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert chance.get_ylim() == (0, 1)
    assert max(area.get_paths()[0].vertices[:, 1].max() for area in chance.collections) == pytest.approx(1.0)


def at(*texts: str) -> Int64Array:
    """Return instants."""
    return np.array(texts, dtype="M8[ns]").astype(np.int64)


def test_dates_stand_where_they_begin() -> None:
    """Sessions with nights between them, an hour of minutes, and forty years of days."""
    days = [f"2024-06-{day:02d}" for day in (10, 11, 12)]
    sessions = np.concatenate([at(f"{day}T13:30")[0] + np.arange(390) * MINUTE_NS for day in days])
    places, labels = plots.dates(sessions)
    assert set(places) >= {390, 780}
    assert labels[places.index(390)].endswith("\n11 Jun 2024")
    hour = at("2024-06-10T13:57")[0] + np.arange(60) * MINUTE_NS
    assert plots.dates(hour) == (
        [3, 13, 23, 33, 43, 53],
        ["14:00\n10 Jun 2024", "14:10", "14:20", "14:30", "14:40", "14:50"],
    )
    years = at("1980-12-12")[0] + np.arange(365 * 40) * 24 * HOUR_NS
    places, labels = plots.dates(years)
    assert labels[-2:] == ["2015", "2020"]
    assert str(years[[places[-1]]].astype("M8[ns]")[0])[:10] == "2020-01-01"
    assert plots.dates(at("2024-06-10T13:55")) == ([0], ["13:55\n10 Jun 2024"])


def test_there_are_never_more_dates_than_fit() -> None:
    """Whatever the bars: seconds, minutes, days, or one each three months for two centuries."""
    for step_ns in (SECOND_NS, 7 * MINUTE_NS, 5 * HOUR_NS, 24 * HOUR_NS, 91 * 24 * HOUR_NS):
        for count in (1, 2, 50, 1_000):
            places, labels = plots.dates(np.arange(count, dtype=np.int64) * step_ns)
            assert 1 <= len(places) == len(labels) <= plots.DATES_MAX + 1
            assert all(np.diff(places) >= plots.APART * count)


# The study -----------------------------------------------------------------------------------------------------------


def test_the_study_tells_each_file_a_table(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its symbol, and that twenty epochs are too few."""
    image = tmp_path / "study.svg"
    study.oscillation([str(file), f"OTHER={file}"], epoch=20, image=image)
    told = capsys.readouterr().out
    assert "NOISE: 19 epochs of 20 bars" in told
    assert "OTHER: 19 epochs of 20 bars" in told
    assert told.count("Too few epochs") == 2
    assert image.read_text(encoding="utf-8").startswith("<?xml")
    with pytest.raises(StateError, match="--force"):
        study.oscillation([str(file)], image=image)


def test_the_study_in_json_has_every_pair(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight of them, and what is unknown is null."""
    study.oscillation([str(file)], epoch=10, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)["studies"]
    assert (found["symbol"], found["epochs"], found["enough"], len(found["pairs"])) == ("NOISE", 39, True, 8)
    assert all(-1 <= pair["low"] <= pair["rho"] <= pair["high"] <= 1 for pair in found["pairs"])


@pytest.mark.parametrize(("files", "run"), [(None, None), ([], None), (["es"], Path("state"))])
def test_the_study_asks_for_files_or_a_run(files: list[str] | None, run: Path | None) -> None:
    """One of the two, and not both."""
    with pytest.raises(typer.BadParameter, match="expected files or --run, and not both"):
        study.oscillation(files, run=run)


def test_the_study_of_a_run_knows_its_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bars and equity come from the run's database: here the account falls by a hundredth in each epoch's third bar."""
    (tmp_path / "state").mkdir()
    database = founded_run(tmp_path / "state")
    with database.transaction() as tx:
        tx.market.add_instrument(ES)
        tx.control.put_replay(
            Replay("es", "ab" * 32, 3, "cd" * 32, START_NS, START_NS + HOUR_NS, START_NS, 0.0, 0, finished=True)
        )
        for minute in range(1, 61):
            at_ns, px = START_NS + minute * MINUTE_NS, Price(Decimal(4000) + Decimal("0.25") * (minute % 7))
            bar = Bar("ES", at_ns - MINUTE_NS, MINUTE_NS, float(px), float(px) + 1, float(px) - 1, float(px), 10.0, 5)
            tx.market.add_step(MarketStep("ES", at_ns, bar, ((at_ns, float(px)),), px, at_ns - 1))
            worth = Money(Decimal(990_000 if minute % 5 == 3 else 1_000_000))
            tx.ledger.add_equity(EquitySample(at_ns, worth, worth, "ES", Quantity(Decimal(0)), px))
    database.close()
    (found,) = study._of_run(tmp_path / "state", 5)
    assert len(found.epochs) == 11
    assert found.account_bp is not None
    assert found.account_bp.tolist() == [100.0] * 11
    study.oscillation(None, run=tmp_path / "state", epoch=5)
    told = capsys.readouterr().out
    assert "account: the largest fall of the account's equity" in told
    assert told.count(" account ") >= 8
