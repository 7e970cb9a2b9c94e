"""The console: what a frame looks like live, plain and as JSON, and how often it is drawn."""

import io
import json
import math
import os
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from rich.console import Console as Screen

from trisagion.cli.console import PLAIN_S, REDRAW_S, Console, Frame, Holding, frame_json, pace_of, picture, plain_line
from trisagion.clock import SECOND_NS
from trisagion.ports import ProcessBeat
from trisagion.safety.modes import Mode

START_NS = 1_378_072_800 * SECOND_NS

FRAME = Frame(
    wall_s=0.0,
    dataset="es",
    holdings=(Holding("ES", "trending", Decimal(3), Decimal(-2)),),
    currency="USD",
    start_ns=START_NS,
    end_ns=START_NS + 160_000 * SECOND_NS,
    now_ns=START_NS,
    mode=Mode.NORMAL,
    epoch=1,
    alive=500,
    in_market=212,
    best_apr=1.234,
    median_apr=-0.02,
    lag_s=0.0,
    working=1,
    fills=41,
    maker_share=0.99999,
    equity=Decimal("1000512.50"),
    profit=Decimal("512.50"),
    cycles=132,
    rests=5,
    tasks=0,
    processes=(ProcessBeat("driver", 4711, 0, 12_345, 80 << 20), ProcessBeat("cohort1", 4712, 0, 9, 64 << 20)),
    events=("14:20 order.denied T7ABC: QUOTE_STALE",),
)

HUGE = replace(
    FRAME,
    holdings=(
        Holding(
            "A.VERY.LONG.SYMBOL.OF.32.LETTERS",
            "trending",
            Decimal("-123456789.123456789012"),
            Decimal("123456789.123456789012"),
        ),
    ),
    dataset="a_file_with_a_very_long_name_that_somebody_downloaded",
    equity=Decimal("123456789012345.678"),
    profit=Decimal("-98765432109876.54"),
    best_apr=9.87e17,
    median_apr=math.nan,
    lag_s=987_654.3,
    alive=12_000,
    tasks=10**9,
    processes=tuple(ProcessBeat(f"cohort-with-a-long-name-{i}", 4_000_000 + i, 0, 10**9, 10**12) for i in range(40)),
    events=tuple(f"event {i} " + "and on " * 40 for i in range(20)),
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def frames(count: int, every_s: float) -> list[Frame]:
    """Return frames of a replay that runs 4,000 times as fast as its clock and does 200 tasks a second."""
    return [
        replace(
            FRAME,
            wall_s=index * every_s,
            now_ns=START_NS + int(index * every_s * 4000) * SECOND_NS,
            tasks=int(index * every_s * 200),
            profit=Decimal(index),
        )
        for index in range(count)
    ]


def drawn(frame: Frame, width: int) -> list[str]:
    """Return the lines of a picture on a screen of that width."""
    out = io.StringIO()
    Screen(file=out, width=width).print(picture(frame, pace_of(FRAME, frame), [0.0, 2.0, 1.0], width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("frame", [FRAME, HUGE], ids=["usual", "huge"])
def test_a_picture_fits_its_screen(frame: Frame, width: int) -> None:
    """No line is wider than the screen, and the whole picture fits into 40 rows whatever it shows."""
    lines = drawn(frame, width)
    assert max(len(line) for line in lines) <= width
    assert len(lines) <= 40


@pytest.mark.parametrize("width", [80, 120])
def test_a_picture_tells_everything_an_operator_asks_for(width: int) -> None:
    """Clock, progress, mode, cohort, regime, position, orders, P&L, rests, work, processes and events are there."""
    text = "\n".join(drawn(replace(FRAME, wall_s=10.0, now_ns=START_NS + 40_000 * SECOND_NS, tasks=2000), width))
    for part in (
        *(
            "2013-09-02 09:06 UTC",
            "25.0%",
            "left 0:30",
            "4,000×",
            "NORMAL",
            "epoch 1",
            "500 alive",
            "212 in the market",
        ),
        *("best +123.4 %", "median -2.0 %", "trending", "-2 held", "+3 desired", "1 working", "41", "maker 99.9 %"),
        *("1,000,512.50 USD", "+512.50 USD", "132", "5 rests", "200/s", "4711", "80 MiB", "QUOTE_STALE", "▁█"),
    ):
        assert part in text


@pytest.mark.parametrize(("lag_s", "told"), [(0.0, False), (60.0, False), (61.0, True), (7384.0, True)])
def test_a_cohort_that_falls_behind_is_seen(lag_s: float, told: bool) -> None:
    """More than one step behind the clock: in the picture, in a log's line; and in JSON at any time."""
    frame = replace(FRAME, lag_s=lag_s)
    late = {61.0: "1:01", 7384.0: "2:03:04"}.get(lag_s, "")
    assert (f"the cohort is {late} of data behind the clock" in "\n".join(drawn(frame, 80))) == told
    assert plain_line(frame, pace_of(FRAME, frame)).endswith(f"  {late} behind") == told
    assert frame_json(frame, pace_of(FRAME, frame))["lag_s"] == lag_s


def test_two_halves_stand_side_by_side_only_where_there_is_room() -> None:
    """At 120 columns facts and processes share lines, at 80 they follow each other."""
    assert any("P&L" in line and "process" in line for line in drawn(FRAME, 120))
    assert not any("P&L" in line and "process" in line for line in drawn(FRAME, 80))


def test_plain_lines_are_few_and_the_last_frame_is_always_among_them() -> None:
    """A log gets a line each `PLAIN_S` of the frames' wall time, and the end."""
    out = io.StringIO()
    with Console(out) as console:
        console.note("✓ data")
        for frame in frames(117, 0.2):
            console.show(frame)
    lines = out.getvalue().splitlines()
    assert lines[0] == "✓ data"
    assert len(lines) == 1 + math.ceil(116 * 0.2 / PLAIN_S) + 1
    assert "P&L +116.00 USD" in lines[-1]


def test_json_has_one_object_a_frame_and_nothing_that_json_does_not_know() -> None:
    """Each line parses by itself; what is unknown is null; decimals keep every digit as text."""
    out = io.StringIO()
    only = replace(HUGE.holdings[0], actual=None)
    unknown = replace(HUGE, holdings=(only,), maker_share=None, best_apr=math.inf)
    with Console(out, json_lines=True) as console:
        console.note("✓ data")
        for frame in [*frames(5, 0.01), unknown]:
            console.show(frame)
    note, *objects = [json.loads(line) for line in out.getvalue().splitlines()]
    assert note == {"note": "✓ data"}
    assert len(objects) == 6
    assert len({tuple(value) for value in objects}) == 1
    last = objects[-1]
    assert (last["actual"], last["maker_share"], last["best_apr"], last["median_apr"]) == (None, None, None, None)
    assert last["equity"] == "123456789012345.678"
    assert last["desired"] == "-123456789.123456789012"


def test_a_terminal_is_drawn_at_most_eight_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred frames a second for two seconds give some sixteen pictures, and the last frame is the last picture."""
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with Console(out, width=80) as console:
        for frame in frames(201, 0.01):
            console.show(frame)
    pictures = re.findall(r"(\d+)\.00 USD", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()))
    assert len([value for value in pictures if value != "1,000,512"]) <= 2 / REDRAW_S + 3
    assert "200" in pictures


@pytest.mark.parametrize(
    ("now_s", "wall_s", "tasks", "speed", "rate", "eta"),
    [(40_000, 10, 2000, 4000, 200, 30), (160_000, 10, 10, 16_000, 1, 0), (0, 10, 0, 0, 0, None), (0, 0, 0, 0, 0, None)],
)
def test_the_time_left_follows_the_present_pace(
    now_s: int, wall_s: float, tasks: int, speed: float, rate: float, eta: float | None
) -> None:
    """It is what is left over the speed of the last frames, and unknown while nothing moves."""
    pace = pace_of(FRAME, replace(FRAME, now_ns=START_NS + now_s * SECOND_NS, wall_s=wall_s, tasks=tasks))
    assert (pace.speed, pace.tasks_per_s, pace.eta_s) == (speed, rate, eta)


@pytest.mark.parametrize(("end", "now", "done"), [(0, 0, 1.0), (100, -5, 0.0), (100, 200, 1.0), (100, 25, 0.25)])
def test_done_is_a_fraction_whatever_the_clock_says(end: int, now: int, done: float) -> None:
    """A replay of no length is done, and a clock outside it does not leave the bar."""
    assert replace(FRAME, end_ns=START_NS + end, now_ns=START_NS + now).done == done


def test_a_stream_that_cannot_write_our_signs_does_not_end_the_run() -> None:
    """On an ASCII terminal an arrow becomes a question mark."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    with Console(out) as console:
        console.show(FRAME)
    assert b"pos -2?+3" in raw.getvalue()


def test_what_is_not_all_maker_is_never_called_so() -> None:
    """A maker share of 99.999 % reads 99.9 %, not 100.0 %."""
    assert "maker 99.9 %" in plain_line(FRAME, pace_of(FRAME, FRAME))
    assert "maker 100.0 %" in plain_line(replace(FRAME, maker_share=1.0), pace_of(FRAME, FRAME))
    assert frame_json(FRAME, pace_of(FRAME, FRAME))["maker_share"] == 0.99999


def test_an_output_that_nobody_takes_is_lost_and_ends_nothing() -> None:
    """What comes after goes nowhere; whoever runs the platform is told by `lost`."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as out, Console(out, json_lines=True) as console:
        lost = [console.lost]
        console.show(FRAME)
        console.note("still alive")
        lost.append(console.lost)
    assert lost == [False, True]


@pytest.mark.parametrize(
    ("desired", "shown"),
    [
        ("0.393981796061", "+0.394"),
        ("-131.21302027665", "-131.2"),
        ("0.00001234567", "+0.00001235"),
        ("-12345.5", "-12345.5"),
    ],
)
def test_a_desired_quantity_is_rounded_for_the_eye_alone(desired: str, shown: str) -> None:
    """It is not yet in lots; JSON keeps every digit."""
    frame = replace(FRAME, holdings=(replace(FRAME.holdings[0], desired=Decimal(desired)),))
    assert f"→{shown} " in plain_line(frame, pace_of(frame, frame))
    assert frame_json(frame, pace_of(frame, frame))["desired"] == desired


def test_several_instruments_are_shown_each_by_itself() -> None:
    """In order of symbol; JSON has them by symbol, and null where only one could be meant."""
    other = Holding("NQ", "noisy", None, Decimal(4))
    frame = replace(FRAME, holdings=(*FRAME.holdings, other))
    pace = pace_of(frame, frame)
    assert "ES trending -2→+3  NQ noisy +4→" in plain_line(frame, pace)
    told = frame_json(frame, pace)
    assert [told[name] for name in ("symbol", "regime", "desired", "actual")] == [None] * 4
    assert told["symbols"] == ["ES", "NQ"]
    assert told["positions"] == {
        "ES": {"regime": "trending", "desired": "3", "actual": "-2"},
        "NQ": {"regime": "noisy", "desired": None, "actual": "4"},
    }
    assert frame_json(FRAME, pace)["symbol"] == "ES"
    assert set(frame_json(FRAME, pace)) == set(told)


@pytest.mark.parametrize("width", [80, 120])
def test_a_picture_has_a_line_for_each_of_several_instruments(width: int) -> None:
    """With what is held and desired of each, up to a bound that is told; the account's totals stand there once."""
    pair = replace(FRAME, holdings=(*FRAME.holdings, Holding("NQ", "noisy", None, Decimal(4))))
    lines = drawn(pair, width)
    for symbol, told in (("ES", "-2 held, +3 desired, trending"), ("NQ", "+4 held, ? desired, noisy")):
        assert any(line.split()[:1] == [symbol] and told in line for line in lines)
    text = "\n".join(lines)
    assert (text.count("P&L"), text.count("1 working")) == (1, 1)
    crowd = drawn(replace(HUGE, holdings=HUGE.holdings * 64), width)
    assert any("and 56 more" in line for line in crowd)
    assert max(map(len, crowd)) <= width
    assert len(crowd) <= 40
