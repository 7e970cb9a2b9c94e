"""The face of a run in the terminal: a live table, plain lines where nobody watches, or one JSON object per frame.

The console only draws what it is given. It keeps no clock: frames carry their wall time, and that paces the drawing.
"""

import json
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console as Screen
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trisagion.clock import SECOND_NS, iso
from trisagion.ports import ProcessBeat
from trisagion.safety.modes import Mode
from trisagion.units import plain

REDRAW_S: Final = 0.125
"""Eight pictures a second: faster is not seen, and costs the run."""

PLAIN_S: Final = 5.0
"""Seconds between two plain lines: a log of one hour stays below a thousand lines."""

RATE_WINDOW_S: Final = 20.0
"""Rates and the time left are of this much wall time: long enough to be calm, short enough to follow a stall."""

EVENTS_SHOWN: Final = 5
PROCESSES_SHOWN: Final = 8
HOLDINGS_SHOWN: Final = 8
WIDE: Final = 110
"""Columns from which the two halves stand side by side; each then still has 54, what its longest line needs."""

SPARKS: Final = 24
"""Slots of the little P&L curve; each is a twenty-fourth of the replay, so its length is the progress."""

LAG_S: Final = 60.0
"""One step: what is later than this cannot keep up with its clock, and is told."""

WANTED_MAX: Final = 1000
"""Below this a desired quantity is written with four digits, from there on as it is."""

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_MODE_STYLE: Final = {
    Mode.NORMAL: "bold green",
    Mode.REDUCE: "bold yellow",
    Mode.PAUSE: "bold yellow",
    Mode.EMERGENCY: "bold white on red",
}
_SI: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


@dataclass(frozen=True, slots=True)
class Holding:
    """One instrument: `desired` is None before the first decision, `actual` while there is no consensus on it."""

    symbol: str
    regime: str
    desired: Decimal | None
    actual: Decimal | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One look at a run. `wall_s` is the wall time since its start, `tasks` counts all tasks done so far.

    APRs are multiples per year (1.0 is 100 %), NaN where no run is alive; `maker_share` is a fraction, None before the
    first fill; `holdings` are in order of symbol. `lag_s` is how late the minute in work is, in seconds of data behind
    the platform's clock; 0 where nothing paces the replay. `parts` are the modes that are for a part alone.
    """

    wall_s: float
    dataset: str
    holdings: tuple[Holding, ...]
    currency: str
    start_ns: int
    end_ns: int
    now_ns: int
    mode: Mode
    epoch: int
    alive: int
    in_market: int
    best_apr: float
    median_apr: float
    lag_s: float
    working: int
    fills: int
    maker_share: float | None
    equity: Decimal
    profit: Decimal
    cycles: int
    rests: int
    tasks: int
    processes: tuple[ProcessBeat, ...]
    events: tuple[str, ...]
    parts: tuple[str, ...] = ()

    @property
    def done(self) -> float:
        """How much of the replay is done, 0 to 1."""
        span = self.end_ns - self.start_ns
        return min(max((self.now_ns - self.start_ns) / span, 0.0), 1.0) if span > 0 else 1.0

    @property
    def only(self) -> Holding | None:
        """The instrument where there is one alone."""
        return self.holdings[0] if len(self.holdings) == 1 else None


@dataclass(frozen=True, slots=True)
class Pace:
    """Rates: data seconds per wall second, tasks per wall second, and the wall seconds left (None: unknown)."""

    speed: float
    tasks_per_s: float
    eta_s: float | None


class Console:
    """Shows frames on a stream: `json_lines`, else a live table on a terminal, else plain lines; a context manager."""

    def __init__(self, out: TextIO, *, json_lines: bool = False, width: int | None = None) -> None:
        if isinstance(out, TextIOWrapper):
            # A terminal that cannot show a sign gets a question mark; the run must not die of its face.
            out.reconfigure(errors="replace")
        self._out = out
        self._json = json_lines
        self._screen = Screen(file=out, width=width, highlight=False)
        self._live: Live | None = None
        self._window: deque[Frame] = deque()
        self._profits: dict[int, float] = {}
        self._undrawn: Frame | None = None
        self.lost = False
        self._drawn_s = -math.inf

    def __enter__(self) -> Self:
        if not self._json and self._screen.is_terminal and not self._screen.is_dumb_terminal:
            begin = Text("starting the venue, the workers and the replay …", style="dim")
            self._live = Live(begin, console=self._screen, auto_refresh=False, vertical_overflow="crop")
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What stays on the screen must be the last frame, not the last one that was in time to be drawn.
        if self._undrawn is not None:
            self._draw(self._undrawn)
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Say one line that stays: a step of the start-up, a warning."""
        if self._json:
            self._put(lambda: _write(self._out, {"note": text}))
        elif (live := self._live) is not None:
            self._put(lambda: live.console.print(Text(text)))
        else:
            self._put(lambda: print(text, file=self._out, flush=True))

    def show(self, frame: Frame) -> None:
        """Show a frame, or keep it for later when the last drawing is too recent."""
        self._window.append(frame)
        while len(self._window) > 2 and frame.wall_s - self._window[1].wall_s >= RATE_WINDOW_S:
            self._window.popleft()
        self._profits[int(frame.done * (SPARKS - 1))] = float(frame.profit)
        self._undrawn = frame
        every_s = 0.0 if self._json else REDRAW_S if self._live is not None else PLAIN_S
        if frame.wall_s - self._drawn_s >= every_s:
            self._draw(frame)

    def _draw(self, frame: Frame) -> None:
        pace = pace_of(self._window[0], frame)
        if self._json:
            self._put(lambda: _write(self._out, frame_json(frame, pace)))
        elif (live := self._live) is not None:
            profits = [self._profits[slot] for slot in sorted(self._profits)]
            self._put(lambda: live.update(picture(frame, pace, profits, self._screen.width), refresh=True))
        else:
            self._put(lambda: print(plain_line(frame, pace), file=self._out, flush=True))
        self._drawn_s = frame.wall_s
        self._undrawn = None

    def _put(self, write: Callable[[], None]) -> None:
        """Write, as long as somebody takes it; then fall silent and say so by `lost`: a face must not end a run."""
        try:
            write()
        except OSError:
            self.lost = True
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._out.fileno())


def columns(out: TextIO) -> int | None:
    """Return how wide a terminal is, None for what is no terminal: a file keeps a line for each fact."""
    return Screen(file=out).width if out.isatty() else None


def pace_of(earlier: Frame, now: Frame) -> Pace:
    """Return the rates between two frames of one run."""
    wall_s = now.wall_s - earlier.wall_s
    if wall_s <= 0:
        return Pace(0.0, 0.0, None)
    speed = (now.now_ns - earlier.now_ns) / SECOND_NS / wall_s
    left_s = max(now.end_ns - now.now_ns, 0) / SECOND_NS
    return Pace(speed, max(now.tasks - earlier.tasks, 0) / wall_s, left_s / speed if speed > 0 else None)


def frame_json(frame: Frame, pace: Pace) -> dict[str, object]:
    """Return a frame as plain JSON values; decimals are text, instants ISO 8601, what is unknown is null.

    `symbol`, `regime`, `desired` and `actual` are those of the one instrument, null where there are several.
    """
    only = frame.only
    facts = {
        each.symbol: {"regime": each.regime, "desired": _exact(each.desired), "actual": _exact(each.actual)}
        for each in frame.holdings
    }
    alone = dict.fromkeys(("regime", "desired", "actual")) if only is None else facts[only.symbol]
    return {
        "at": iso(frame.now_ns),
        "start": iso(frame.start_ns),
        "end": iso(frame.end_ns),
        "done": round(frame.done, 6),
        "speed": round(pace.speed, 3),
        "eta_s": None if pace.eta_s is None else round(pace.eta_s, 1),
        "wall_s": round(frame.wall_s, 3),
        "tasks": frame.tasks,
        "tasks_per_s": round(pace.tasks_per_s, 3),
        "dataset": frame.dataset,
        "symbol": only and only.symbol,
        "symbols": list(facts),
        "mode": str(frame.mode),
        "parts": list(frame.parts),
        "epoch": frame.epoch,
        "alive": frame.alive,
        "in_market": frame.in_market,
        "best_apr": _finite(frame.best_apr),
        "median_apr": _finite(frame.median_apr),
        "lag_s": round(frame.lag_s, 1),
        **alone,
        "positions": facts,
        "working": frame.working,
        "fills": frame.fills,
        "maker_share": frame.maker_share,
        "currency": frame.currency,
        "equity": plain(frame.equity),
        "profit": plain(frame.profit),
        "cycles": frame.cycles,
        "rests": frame.rests,
        "processes": [
            {"name": beat.name, "pid": beat.pid, "tasks": beat.tasks, "rss_bytes": beat.rss_bytes}
            for beat in frame.processes
        ],
        "events": list(frame.events),
    }


def plain_line(frame: Frame, pace: Pace) -> str:
    """Return a frame as one line for a log."""
    mode = ", ".join((str(frame.mode), *frame.parts))
    return (
        f"{_minute(frame.now_ns)} {frame.done:6.1%} eta {_span(pace.eta_s)}  {mode}  "
        f"runs {frame.alive}/{frame.in_market} {_held(frame)}  "
        f"fills {frame.fills} maker {_share(frame.maker_share)}  P&L {frame.profit:+,.2f} {frame.currency}  "
        f"cycles {frame.cycles} rests {frame.rests}  {pace.tasks_per_s:.0f} tasks/s"
        + (f"  {_span(frame.lag_s)} behind" if frame.lag_s > LAG_S else "")
    )


def _held(frame: Frame) -> str:
    if (only := frame.only) is not None:
        return f"{only.regime}  pos {_qty(only.actual)}→{_wanted(only.desired)}"
    return "  ".join(
        f"{each.symbol} {each.regime} {_qty(each.actual)}→{_wanted(each.desired)}" for each in frame.holdings
    )


def picture(frame: Frame, pace: Pace, profits: Sequence[float], width: int) -> RenderableType:
    """Return a frame as a table that fits `width` columns: two halves side by side from `WIDE` on."""
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(
        Text.assemble(
            ("trisagion", "bold"),
            f"  {' '.join(each.symbol for each in frame.holdings)}  {frame.dataset}  epoch {frame.epoch}",
        ),
        Text.assemble((f" {str(frame.mode).upper()} ", _MODE_STYLE[frame.mode]), ("  Ctrl-C stops", "dim")),
    )
    if frame.parts:
        head.add_row(Text(", ".join(frame.parts), style="bold yellow", overflow="ellipsis"), "")
    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    bar.add_row(
        f"{_minute(frame.now_ns)} UTC",
        ProgressBar(total=1.0, completed=frame.done, complete_style="cyan", finished_style="green"),
        f"{frame.done:.1%}  {pace.speed:,.0f}×  left {_span(pace.eta_s)}",
    )
    facts, machine = _facts(frame, pace, profits), _machine(frame)
    if width < WIDE:
        return Group(head, bar, Text(), facts, Text(), machine)
    halves = Table.grid(expand=True, padding=(0, 2))
    halves.add_column(ratio=1)
    halves.add_column(ratio=1)
    halves.add_row(facts, machine)
    return Group(head, bar, Text(), halves)


def _facts(frame: Frame, pace: Pace, profits: Sequence[float]) -> Table:
    gain = "green" if frame.profit > 0 else "red" if frame.profit < 0 else "default"
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(
        "P&L", Text.assemble((f"{frame.profit:+,.2f} {frame.currency}", f"bold {gain}"), "  ", (_sparks(profits), gain))
    )
    table.add_row("equity", f"{frame.equity:,.2f} {frame.currency}")
    if (only := frame.only) is not None:
        table.add_row("position", f"{_qty(only.actual)} held, {_wanted(only.desired)} desired, {frame.working} working")
    else:
        for each in frame.holdings[:HOLDINGS_SHOWN]:
            table.add_row(each.symbol, f"{_qty(each.actual)} held, {_wanted(each.desired)} desired, {each.regime}")
        if (hidden := len(frame.holdings) - HOLDINGS_SHOWN) > 0:
            table.add_row("", f"and {hidden} more")
        table.add_row("orders", f"{frame.working} working")
    table.add_row("fills", f"{frame.fills:,}, maker {_share(frame.maker_share)}")
    table.add_row("cohort", f"{frame.alive:,} alive, {frame.in_market:,} in the market")
    table.add_row("APR", f"best {_apr(frame.best_apr)}, median {_apr(frame.median_apr)}")
    if frame.lag_s > LAG_S:
        table.add_row("lag", Text(f"the cohort is {_span(frame.lag_s)} of data behind the clock", style="bold yellow"))
    if only is not None:
        table.add_row("regime", only.regime)
    table.add_row("cycles", f"{frame.cycles:,}, of them {frame.rests:,} rests")
    table.add_row("tasks", f"{frame.tasks:,}, {pace.tasks_per_s:,.0f}/s, wall {_span(frame.wall_s)}")
    return table


def _machine(frame: Frame) -> RenderableType:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column("process", no_wrap=True, overflow="ellipsis", ratio=1)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(word, style="dim") for word in ("process", "pid", "tasks", "memory")))
    for beat in islice(frame.processes, PROCESSES_SHOWN):
        table.add_row(Text(beat.name), str(beat.pid), f"{beat.tasks:,}", f"{beat.rss_bytes / 2**20:,.0f} MiB")
    hidden = len(frame.processes) - PROCESSES_SHOWN
    if hidden > 0:
        table.add_row(Text(f"and {hidden} more", style="dim"))
    lines = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in frame.events[-EVENTS_SHOWN:]]
    return Group(table, Text(), *lines) if lines else table


def _write(out: TextIO, value: dict[str, object]) -> None:
    print(json.dumps(value, allow_nan=False, ensure_ascii=False), file=out, flush=True)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _minute(instant_ns: int) -> str:
    return iso(instant_ns)[:16].replace("T", " ")


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _qty(value: Decimal | None) -> str:
    return "?" if value is None else plain(value) if value <= 0 else f"+{plain(value)}"


def _exact(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _wanted(value: Decimal | None) -> str:
    """Write what is not yet in lots: more digits than these tell nobody anything."""
    return _qty(value if value is None or abs(value) >= WANTED_MAX else Decimal(f"{value:.4g}"))


def _share(value: float | None) -> str:
    # Floored: a share below one must never read as 100 %.
    return "–" if value is None else f"{math.floor(value * 1000) / 10:.1f} %"


def _apr(multiple: float) -> str:
    if not math.isfinite(multiple):
        return "–"
    percent = multiple * 100
    for size, letter in _SI:
        if abs(percent) >= size:
            return f"{percent / (size if letter != 'k' else 1e3):+,.1f}{letter} %"
    return f"{percent:+,.1f} %" if round(percent, 1) else "0.0 %"


def _sparks(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    if high == low:
        return _SPARKS[0] * len(values)
    return "".join(_SPARKS[round((value - low) / (high - low) * (len(_SPARKS) - 1))] for value in values)
