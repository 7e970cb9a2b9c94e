"""The charts of the tear sheet, one function each, on one time axis where they show time."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Final

import numpy as np

from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.market.types import Float64Array, Int64Array
from trisagion.orders.types import Side
from trisagion.reports import format as write
from trisagion.reports.draw import GRID, TimeAxis, ValueAxis, area, line, panel, ribbon
from trisagion.reports.metrics import drawdowns, mean_held
from trisagion.reports.model import Fill, Market, RunReport
from trisagion.units import plain

MARK_COLUMNS: Final = 200
"""Fills of one side closer than a two-hundredth of the page share a marker: nearer ones would hide each other."""

SAMPLES: Final = 500
"""Instants that the reading line knows: more than a finger or a mouse can tell apart."""

HISTOGRAM_BINS: Final = 40
"""Bins of the cohort's distribution: about the square root of the default cohort's 500 runs, doubled for its tails."""

X_TICKS: Final = 8


def charts(report: RunReport) -> str:
    """Return the stack of charts over time, with its reading line."""
    markets = [market for market in report.markets if len(market.prices.at_ns) > 1]
    if len(report.equity.at_ns) < 2 or not markets:
        return "<h2>Charts</h2><p>Fewer than two marked minutes: nothing to draw yet.</p>"
    source = report.provenance
    seen = np.unique(np.concatenate([report.equity.at_ns, *(market.prices.at_ns for market in markets)]))
    time = TimeAxis.of(seen, source.start_ns, max(source.now_ns, int(seen[-1])))
    x_ticks = time.ticks(X_TICKS)
    paused = ""
    if time.gaps:
        longest = write.duration(max(b - a for a, b in time.gaps))
        paused = (
            '<p class="soft">Shaded stripes are pauses of the data, left out of the time axis '
            f"(the longest: {longest}).</p>"
        )
    return (
        "<h2>Profit, price and position</h2>"
        f'{paused}<div class="stack"><div class="read">Point at the charts to read them.</div>'
        + _profit_panel(report, markets, time)
        + _fall_panel(report, time, x_ticks)
        + "".join(_market_panels(report, market, time) for market in markets)
        + _cycle_panel(report, time, x_ticks)
        + '<div class="cross"></div></div>'
        + f'<script type="application/json" id="samples">{_samples(report, markets, time)}</script>'
    )


def _profit_panel(report: RunReport, markets: Sequence[Market], time: TimeAxis) -> str:
    start = float(report.account.start_equity)
    profit = report.equity.equity - start
    hold_ns, hold = _held_long(markets)
    low, high = float(min(profit.min(), hold.min(), 0.0)), float(max(profit.max(), hold.max(), 0.0))
    values = ValueAxis.of(low, high, 220, 5, unit=2.0)
    curves = (
        ("zero", f"M0 {values.at(0.0):.1f}H{GRID}"),
        ("hold", line(time, values, hold_ns, hold)),
        ("account", line(time, values, report.equity.at_ns, profit)),
    )
    marks = "".join(
        f'<line class="epoch" x1="{time.at(epoch.opened_ns):.2%}" x2="{time.at(epoch.opened_ns):.2%}" y1="0" y2="220"/>'
        f'<text class="tag" x="{time.at(epoch.opened_ns):.2%}" dx="4" y="12">epoch {epoch.number}</text>'
        for epoch in report.epochs[1:]
    )
    keys = _keys(
        ('<i class="line"></i>', "account"),
        ('<i class="dash"></i>', f"buy and hold of the same mean position{'' if report.only else 's'}"),
    )
    return _titled(f"Profit and loss since the start, {report.currency}", keys) + panel(
        "Profit and loss over time", 220, curves, time=time, y_ticks=_amounts(values), overlay=marks
    )


def _held_long(markets: Sequence[Market]) -> tuple[Int64Array, Float64Array]:
    """Return what the account's mean absolute positions, held long from the first close of each, had gained."""
    at_ns = np.unique(np.concatenate([market.prices.at_ns for market in markets]))
    gained = np.zeros(len(at_ns))
    for market in markets:
        size = mean_held(market) * float(market.instrument.multiplier)
        gained += size * (market.close_at(at_ns) - market.prices.close[0])
    return at_ns, gained


def _market_panels(report: RunReport, market: Market, time: TimeAxis) -> str:
    """Return price and fills, position and regime of one instrument; where there are several each bears its name."""
    whose = "" if report.only else f"{market.symbol}: "
    return (
        _price_panel(market, report.of(market.symbol), time)
        + _position_panel(market, report.equity.at_ns, time, whose)
        + _regime_panel(market, time, whose)
    )


def _fall_panel(report: RunReport, time: TimeAxis, x_ticks: Iterable[tuple[float, str]]) -> str:
    fall = -drawdowns(report.equity.equity) * 100
    values = ValueAxis.of(min(float(fall.min()), -0.001), 0.0, 80, 2)
    curves = (("fall", area(time, values, report.equity.at_ns, fall, 0.0)),)
    ticks = [(values.at(tick), f"{tick:.3g} %".replace("-", "−")) for tick in values.ticks]
    return _titled("Draw-down below the highest equity so far", "") + panel(
        "Draw-down over time", 80, curves, time=time, y_ticks=ticks, x_ticks=x_ticks
    )


def _price_panel(market: Market, fills: Sequence[Fill], time: TimeAxis) -> str:
    close = market.prices.close
    values = ValueAxis.of(float(close.min()), float(close.max()), 220, 5, unit=float(market.instrument.tick_size))
    places = _places(market.instrument.tick_size)
    ticks = [(values.at(tick), f"{tick:,.{places}f}") for tick in values.ticks]
    keys = _keys(
        (_sign("buy"), f"bought ({_count(fills, Side.BUY)})"),
        (_sign("sell"), f"sold ({_count(fills, Side.SELL)})"),
    )
    title = f"Price of {market.instrument.symbol}, one-minute closes, and fills (axis does not begin at zero)"
    return _titled(title, keys) + panel(
        "Price and fills over time",
        220,
        (("price", line(time, values, market.prices.at_ns, close)),),
        time=time,
        y_ticks=ticks,
        overlay=_markers(fills, time, values),
    )


def _markers(fills: Sequence[Fill], time: TimeAxis, values: ValueAxis) -> str:
    groups: dict[tuple[int, Side], list[Fill]] = {}
    for fill in fills:
        groups.setdefault((int(time.at(fill.at_ns) * MARK_COLUMNS), fill.side), []).append(fill)
    return "".join(_marker(group, time, values) for group in groups.values())


def _marker(group: Sequence[Fill], time: TimeAxis, values: ValueAxis) -> str:
    side, first = group[0].side, group[0]
    qty = sum((fill.qty for fill in group), Decimal(0))
    mean = float(sum((fill.px * fill.qty for fill in group), Decimal(0)) / qty)
    where = sum(time.at(fill.at_ns) for fill in group) / len(group)
    told = "bought" if side is Side.BUY else "sold"
    text = f"{told} {plain(qty)} at {mean:,.{_places(first.px)}f}, {write.minute(first.at_ns)} UTC"
    if len(group) > 1:
        text += f" and on, {len(group)} fills"
    return f'<use href="#{side}" x="{where:.2%}" y="{values.at(mean):.1f}"><title>{escape(text)}</title></use>'


def _position_panel(market: Market, at_ns: Int64Array, time: TimeAxis, whose: str) -> str:
    qty, lot = market.held, float(market.instrument.lot_size)
    values = ValueAxis.of(float(min(qty.min(), 0.0)), float(max(qty.max(), 0.0)), 80, 3, unit=2 * lot)
    curves = (
        ("long", area(time, values, at_ns, qty, 0.0, stairs=True)),
        ("qty", line(time, values, at_ns, qty, stairs=True)),
        ("zero", f"M0 {values.at(0.0):.1f}H{GRID}"),
    )
    ticks = [(values.at(tick), f"{tick:+,.6g}".replace("-", "−") if tick else "0") for tick in values.ticks]
    return _titled(f"{whose}Position, units (above zero long, below short)", "") + panel(
        "Position over time", 80, curves, time=time, y_ticks=ticks
    )


def _regime_panel(market: Market, time: TimeAxis, whose: str) -> str:
    words = market.regimes.regime
    paths = ribbon(time, market.regimes.at_ns, words, 20, MINUTE_NS)
    keys = _keys(*(_share_key(word, words.count(word), len(words)) for word in sorted(paths)))
    return _titled(f"{whose}Regime of each minute", keys) + panel(
        "Regime over time", 20, [(f"w-{_slug(word)}", path) for word, path in paths.items()], time=time
    )


def _cycle_panel(report: RunReport, time: TimeAxis, x_ticks: Iterable[tuple[float, str]]) -> str:
    at_ns = np.array([cycle.at_ns for cycle in report.cycles], dtype=np.int64)
    kinds = [cycle.kind for cycle in report.cycles]
    every_ns = int(np.median(np.diff(at_ns))) if len(at_ns) > 1 else MINUTE_NS
    paths = ribbon(time, at_ns + every_ns, kinds, 20, every_ns)
    keys = _keys(*(_share_key(kind, kinds.count(kind), len(kinds)) for kind in sorted(set(kinds))))
    return _titled("Reconciliation cycles", keys) + panel(
        "Cycles over time", 20, [(f"w-{_slug(kind)}", path) for kind, path in paths.items()], time=time, x_ticks=x_ticks
    )


def _samples(report: RunReport, markets: Sequence[Market], time: TimeAxis) -> str:
    """Return what the reading line shows, as JSON that may stand in a page."""
    at_ns = report.equity.at_ns
    chosen = np.unique(np.linspace(0, len(at_ns) - 1, min(SAMPLES, len(at_ns))).astype(np.int64))
    instants = at_ns[chosen]
    profit = report.equity.equity[chosen] - float(report.account.start_equity)
    value: dict[str, object] = {
        "x": [round(place, 5) for place in time.place(instants).tolist()],
        "t": (instants // (SECOND_NS // 1000)).tolist(),
        "pl": [write.gain(amount) for amount in profit.tolist()],
    }
    if report.only:
        value |= _market_samples(report.only, instants, chosen)
    else:
        value["m"] = [{"s": market.symbol, **_market_samples(market, instants, chosen)} for market in markets]
    # "<" would let a word of the data close the script element.
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _market_samples(market: Market, instants: Int64Array, chosen: Int64Array) -> dict[str, object]:
    regime = np.searchsorted(market.regimes.at_ns, instants, side="right") - 1
    words = ["unknown" if index < 0 else market.regimes.regime[index] for index in regime.tolist()]
    places = _places(market.instrument.tick_size)
    return {
        "px": [f"{close:,.{places}f}" for close in market.close_at(instants).tolist()],
        "q": [f"{qty:+g}" if qty else "0" for qty in market.held[chosen].tolist()],
        "r": words,
    }


def histogram(points: Float64Array, account: float | None) -> str:
    """Return the distribution of `points`, float64 (m,) basis points, with median and account marked."""
    # The outermost hundredths share the edge bins, or one odd run would squeeze all others into one bar.
    low, high = (float(value) for value in np.quantile(points, (0.01, 0.99)))
    if account is not None:
        low, high = min(low, account), max(high, account)
    span = max(high - low, 1e-6)
    low, high = low - 0.03 * span, high + 0.03 * span
    counts, _ = np.histogram(np.clip(points, low, high), bins=HISTOGRAM_BINS, range=(low, high))
    values = ValueAxis.of(0.0, float(counts.max()), 160, 4)
    width = GRID / HISTOGRAM_BINS
    bars = "".join(
        f"M{index * width + 1:.1f} 160V{values.at(float(count)):.1f}H{(index + 1) * width - 1:.1f}V160Z"
        for index, count in enumerate(counts.tolist())
        if count
    )
    scale = ValueAxis.of(low, high, 1, 6)
    ticks = [
        ((tick - low) / (high - low), f"{tick:.6g}".replace("-", "−")) for tick in scale.ticks if low <= tick <= high
    ]
    median = float(np.median(points))
    marks = _upright("middle", (median - low) / (high - low), f"median {write.number(median, 2, signed=True)}", 26)
    if account is not None:
        marks += _upright(
            "mark", (account - low) / (high - low), f"account {write.number(account, 2, signed=True)}", 12
        )
    return '<div class="keys">runs per bar; the outermost bars hold everything beyond them</div>' + panel(
        "Distribution of the cohort's P&L per notional traded, basis points",
        160,
        (("bars", bars), ("zero", f"M0 160H{GRID}")),
        y_ticks=[(values.at(tick), f"{tick:,.0f}") for tick in values.ticks if tick == int(tick)],
        x_ticks=ticks,
        overlay=marks,
    )


def _upright(name: str, place: float, text: str, y: int) -> str:
    shift, anchor = (-6, "end") if place > 0.7 else (6, "start")
    return (
        f'<line class="{name}" x1="{place:.2%}" x2="{place:.2%}" y1="0" y2="160"/>'
        f'<text class="tag" x="{place:.2%}" y="{y}" dx="{shift}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _titled(title: str, keys: str) -> str:
    return f"<h3>{escape(title)}</h3>{keys}"


def _keys(*pairs: tuple[str, str]) -> str:
    """Return a legend of (sign as HTML, text)."""
    return '<div class="keys">' + "".join(f"<span>{sign}{escape(text)}</span>" for sign, text in pairs) + "</div>"


def _share_key(word: str, count: int, total: int) -> tuple[str, str]:
    return f'<i class="w-{_slug(word)}"></i>', f"{word} {write.percent(count / total)}"


def _sign(side: str) -> str:
    return f'<svg viewBox="-6 -6 12 12"><use href="#{side}" y="{-6 if side == "buy" else 6}"/></svg>'


def _slug(word: str) -> str:
    """Make a CSS class of a word; what is not a letter becomes a hyphen."""
    return "".join(letter if letter.isascii() and letter.isalpha() else "-" for letter in word)


def _amounts(values: ValueAxis) -> list[tuple[float, str]]:
    step = values.ticks[1] - values.ticks[0] if len(values.ticks) > 1 else 1.0
    places = 0 if step >= 1 else 2
    return [(values.at(tick), write.number(tick, places, signed=True)) for tick in values.ticks]


def _places(step: Decimal) -> int:
    """Return how many decimal places a price on this step needs."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _count(fills: Sequence[Fill], side: Side) -> str:
    return f"{sum(fill.side is side for fill in fills):,}"
