"""Charts as SVG, drawn by hand so that one file shows them anywhere.

A chart stretches with the page while its text does not: curves live in an inner SVG that is `GRID` wide and stretched,
text and markers are placed by per cent in the outer one. Heights are pixels. Colours are CSS classes, so that light and
dark are the page's affair.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

import numpy as np

from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.market.types import Float64Array, Int64Array

GRID: Final = 1000
"""Horizontal resolution: about the pixels of a page's column; finer cannot be seen."""

GAP_NS: Final = 30 * MINUTE_NS
"""A pause this long is left out of the time axis: the market weight's window (domain, section 2) forgets it too."""

GAP_SHARE: Final = 0.012
"""Width of a removed pause: wide enough to be seen on a phone."""

_STEPS_NS: Final = tuple(
    minutes * MINUTE_NS
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 44640, 131760, 527040, 2635200)
)


@dataclass(frozen=True, slots=True, eq=False)
class TimeAxis:
    """Maps instants to 0…1, linear between `knots`, int64 (k,), at `places`, float64 (k,); pauses are narrow."""

    knots: Int64Array
    places: Float64Array
    gaps: tuple[tuple[int, int], ...]

    @staticmethod
    def of(at_ns: Int64Array, start_ns: int, end_ns: int) -> "TimeAxis":
        """Make the axis from start to end of data seen at `at_ns` int64 (n,), rising."""
        seen = np.unique(np.concatenate(([start_ns], at_ns[(at_ns > start_ns) & (at_ns < end_ns)], [end_ns])))
        steps = np.diff(seen)
        pauses = np.flatnonzero(steps >= GAP_NS)
        # Were pauses to fill more than a third of the page, the rest could not be read: then the axis is plain time.
        if len(pauses) * GAP_SHARE > 1 / 3 or len(pauses) == len(steps):
            pauses = pauses[:0]
        gaps = tuple((int(seen[i]), int(seen[i + 1])) for i in pauses)
        knots = np.array([start_ns, *(edge for gap in gaps for edge in gap), max(end_ns, start_ns + 1)], dtype=np.int64)
        widths = np.diff(knots).astype(np.float64)
        active = widths[0::2].sum()
        widths[0::2] *= (1 - GAP_SHARE * len(gaps)) / active if active else 0.0
        widths[1::2] = GAP_SHARE
        return TimeAxis(knots, np.concatenate(([0.0], np.cumsum(widths))), gaps)

    def place(self, at_ns: Int64Array) -> Float64Array:
        """Return where instants lie: int64 (n,) in, float64 (n,) in 0…1 out; what is outside goes to the edge."""
        return np.interp(at_ns.astype(np.float64), self.knots.astype(np.float64), self.places)

    def at(self, instant_ns: int) -> float:
        """Return where one instant lies, 0…1."""
        return float(self.place(np.array([instant_ns], dtype=np.int64))[0])

    def ticks(self, count_max: int) -> tuple[tuple[float, str], ...]:
        """Return about `count_max` round instants at most, as (place, label); a day's first label has its date."""
        start, end = int(self.knots[0]), int(self.knots[-1])
        shown = end - start - sum(b - a for a, b in self.gaps)
        step = next((step for step in _STEPS_NS if shown / step <= count_max), _STEPS_NS[-1])
        ticks: list[tuple[float, str]] = []
        day = ""
        for instant in range(-(-start // step) * step, end + 1, step):
            place = self.at(instant)
            inside_gap = any(a < instant < b for a, b in self.gaps)
            if inside_gap or (ticks and place - ticks[-1][0] < 0.6 / count_max):
                continue
            label, day = _label(instant, step, day)
            ticks.append((place, label))
        return tuple(ticks)


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """Maps values to pixels, `height` tall, larger ones higher; `ticks` are round values within."""

    low: float
    high: float
    height: int
    ticks: tuple[float, ...]

    @staticmethod
    def of(low: float, high: float, height: int, count: int, *, unit: float = 0.0) -> "ValueAxis":
        """Make an axis that holds [low, high], with about `count` round ticks; a range below `unit` is widened."""
        middle = (high + low) / 2
        least = max(unit, abs(middle) * 1e-6, 1e-9)
        if high - low < least:
            low, high = middle - least / 2, middle + least / 2
        pad = (high - low) * 0.06
        # Room above and below, but never across zero: an axis that begins at zero keeps beginning there.
        low, high = (low if low == 0 else low - pad), (high if high == 0 else high + pad)
        step = _round_step((high - low) / count)
        first = int(np.ceil(low / step))
        last = int(np.floor(high / step))
        return ValueAxis(low, high, height, tuple(index * step for index in range(first, last + 1)))

    def place(self, value: Float64Array) -> Float64Array:
        """Return pixels from the top: float64 (n,) in and out."""
        placed: Float64Array = (self.high - value) / (self.high - self.low) * self.height
        return placed

    def at(self, value: float) -> float:
        """Return pixels from the top for one value."""
        return (self.high - value) / (self.high - self.low) * self.height


def thin(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Keep of each pixel column its first, lowest, highest and last sample.

    Parameters
    ----------
    x : float64 (n,), rising, 0…1
    y : float64 (n,), finite

    Returns
    -------
    (float64 (m,), float64 (m,))
        The kept samples in order, m ≤ 4·`GRID`: a line through them lights the same pixels as a line through all.

    Notes
    -----
    M4 of Jugel, Jerzak, Hackenbroich and Markl, "M4: a visualization-oriented time series data aggregation", VLDB 2014.
    """
    if len(x) <= 4 * GRID:
        return x, y
    column = np.minimum((x * GRID).astype(np.int64), GRID - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    ends = np.append(starts[1:], len(x))
    kept: set[int] = set()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = y[start:end]
        kept.update((start, end - 1, start + int(np.argmin(part)), start + int(np.argmax(part))))
    index = np.array(sorted(kept), dtype=np.int64)
    return x[index], y[index]


def line(time: TimeAxis, values: ValueAxis, at_ns: Int64Array, y: Float64Array, *, stairs: bool = False) -> str:
    """Return the path data of a curve, broken at the axis' pauses; `stairs` holds each value until the next sample."""
    pieces = []
    for part in _parts(time, at_ns):
        px, py = thin(time.place(at_ns[part]), y[part])
        points = list(zip((px * GRID).tolist(), values.place(py).tolist(), strict=True))
        if stairs:
            pieces.append(_move(points[0]) + "".join(f"H{x:.1f}V{v:.1f}" for x, v in points[1:]))
        else:
            pieces.append(_move(points[0]) + "".join(f"L{x:.1f} {v:.1f}" for x, v in points[1:]))
    return "".join(pieces)


def area(
    time: TimeAxis, values: ValueAxis, at_ns: Int64Array, y: Float64Array, floor: float, *, stairs: bool = False
) -> str:
    """Return the path data of the area between a curve and the level `floor`."""
    base = values.at(floor)
    pieces = []
    for part in _parts(time, at_ns):
        curve = line(time, values, at_ns[part], y[part], stairs=stairs)
        left, right = (float(edge) * GRID for edge in time.place(at_ns[part][[0, -1]]))
        pieces.append(f"{curve}L{right:.1f} {base:.1f}L{left:.1f} {base:.1f}Z")
    return "".join(pieces)


def ribbon(time: TimeAxis, at_ns: Int64Array, words: Sequence[str], height: int, lasting_ns: int) -> dict[str, str]:
    """Return path data by word: a bar for each stretch of equal words, each sample covering the `lasting_ns` before it.

    Pixel columns that hold several words show the commonest.
    """
    if len(at_ns) == 0:
        return {}
    names, codes = np.unique(np.array(words), return_inverse=True)
    left = np.floor(time.place(at_ns - lasting_ns) * GRID).astype(np.int64)
    right = np.maximum(np.ceil(time.place(at_ns) * GRID).astype(np.int64), left + 1)
    votes = np.zeros((len(names), GRID + 2), dtype=np.int64)
    np.add.at(votes, (codes, np.clip(left, 0, GRID)), 1)
    np.add.at(votes, (codes, np.clip(right, 0, GRID + 1)), -1)
    held = votes.cumsum(axis=1)[:, :GRID]
    winner = np.where(held.sum(axis=0) > 0, held.argmax(axis=0), -1)
    edges = np.flatnonzero(np.diff(winner, prepend=-2, append=-2))
    paths: dict[str, list[str]] = {}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if winner[start] >= 0:
            paths.setdefault(str(names[winner[start]]), []).append(f"M{start} 0H{end}V{height}H{start}Z")
    return {name: "".join(pieces) for name, pieces in paths.items()}


def panel(
    title: str,
    height: int,
    curves: Iterable[tuple[str, str]],
    *,
    time: TimeAxis | None = None,
    y_ticks: Iterable[tuple[float, str]] = (),
    x_ticks: Iterable[tuple[float, str]] = (),
    overlay: str = "",
) -> str:
    """Return one chart: `curves` are (CSS class, path data) in grid units, ticks are (pixels or place, label).

    Labels are escaped; `overlay` is SVG placed by per cent and is taken as it is.
    """
    y_ticks, x_ticks = tuple(y_ticks), tuple(x_ticks)
    foot = 22 if x_ticks else 0
    lines = "".join(f'<path class="rule" d="M0 {y:.1f}H{GRID}"/>' for y, _ in y_ticks)
    if time is not None:
        lines += "".join(
            f'<rect class="gap" x="{time.at(a) * GRID:.1f}" y="0" height="{height}" '
            f'width="{(time.at(b) - time.at(a)) * GRID:.1f}"/>'
            for a, b in time.gaps
        )
    paths = "".join(f'<path class="{name}" d="{data}"/>' for name, data in curves if data)
    labels = "".join(f'<text x="100%" dx="-6" y="{y + 4:.1f}">{escape(text)}</text>' for y, text in y_ticks)
    below = "".join(
        f'<text class="x{" minor" if index % 2 else ""}" x="{place:.2%}" y="{height + 16}">{escape(text)}</text>'
        for index, (place, text) in enumerate(x_ticks)
    )
    total = height + foot
    return (
        f'<div class="panel{"" if time is None else " timed"}"><svg class="yaxis" height="{total}" aria-hidden="true">'
        f'{labels}</svg><svg class="plot" height="{total}" role="img" aria-label="{escape(title)}">'
        f'<svg viewBox="0 0 {GRID} {height}" preserveAspectRatio="none" width="100%" height="{height}">'
        f"{lines}{paths}</svg>{overlay}{below}</svg></div>"
    )


def _label(instant_ns: int, step_ns: int, day: str) -> tuple[str, str]:
    """Return an instant's label and its day, `day` being the day of the label before it."""
    moment = datetime.fromtimestamp(instant_ns // SECOND_NS, UTC)
    date = f"{moment.day} {moment:%b}"
    if step_ns >= 28 * 24 * HOUR_NS:
        return f"{moment:%b %Y}", date
    if step_ns >= 24 * HOUR_NS or (date != day and (moment.hour, moment.minute) == (0, 0)):
        return date, date
    return (f"{moment:%H:%M}" if date == day else f"{date} {moment:%H:%M}"), date


def _parts(time: TimeAxis, at_ns: Int64Array) -> list[slice]:
    """Cut samples where the axis has a pause between two of them."""
    cuts = sorted({int(np.searchsorted(at_ns, b, side="left")) for _, b in time.gaps} - {0, len(at_ns)})
    edges = [0, *cuts, len(at_ns)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _move(point: tuple[float, float]) -> str:
    return f"M{point[0]:.1f} {point[1]:.1f}"


def _round_step(rough: float) -> float:
    """Return the least of 1, 2, 2.5, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9)))
