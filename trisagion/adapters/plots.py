"""Pictures for people, by matplotlib, which is loaded here alone and only when a picture is asked for.

Bars stand side by side by number and not by time, so that nights and weekends take no room; the dates stand below where
they begin.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from trisagion.errors import StateError
from trisagion.market.types import Bars, Int64Array
from trisagion.regime.classify import UNKNOWN, MarketRegime
from trisagion.regime.history import Judgement, stretches
from trisagion.reports.format import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trisagion.reports.oscillation import Pair, Study

SUFFIXES: Final = (".png", ".svg", ".pdf")

COLOURS: Final = {
    MarketRegime.TRENDING: "#0072B2",
    MarketRegime.MEAN_REVERTING: "#009E73",
    MarketRegime.NOISY: "#BBBBBB",
    MarketRegime.CRISIS: "#D55E00",
    UNKNOWN: "#FFFFFF",
}
"""Told apart with any kind of colour vision (Okabe and Ito, Color Universal Design, 2008), and grey for noise."""

DATES_MAX: Final = 9
"""As many dates as fit side by side."""

APART: Final = 0.08
"""Of the picture's width: dates nearer to each other than this would overlap."""

LOGARITHMIC_FROM: Final = 4.0
"""Highest over lowest price from which the prices are drawn on a logarithmic scale."""

_STEPS: Final = (
    *((f"{minutes}m", "%H:%M") for minutes in (1, 2, 5, 10, 15, 30)),
    *((f"{hours}h", "%H:%M") for hours in (1, 2, 3, 4, 6, 12)),
    *((f"{days}D", "%d %b") for days in (1, 2)),
    *((f"{weeks}W", "%d %b") for weeks in (1, 2)),
    *((f"{months}M", "%b") for months in (1, 2, 3, 6)),
    *((f"{years}Y", "%Y") for years in (1, 2, 5, 10, 20, 50)),
)
"""Steps of the calendar between dates, as numpy writes them, with what changes within the next larger one."""

_LARGER: Final = {"%H:%M": "%d %b %Y", "%d %b": "%Y", "%b": "%Y"}


def check_image(path: Path, *, force: bool) -> None:
    """Refuse a picture that could not be written, before hours are spent on it; `StateError`."""
    if path.suffix.lower() not in SUFFIXES:
        raise StateError(f"{path}: expected a name ending in {', '.join(SUFFIXES)}, found {path.suffix or 'none'}")
    if path.exists() and not force:
        raise StateError(f"{path} is there already and was left as it is; --force overwrites it")
    if not path.absolute().parent.is_dir():
        raise StateError(f"{path}: there is no such folder")


def draw_regimes(path: Path, bars: Bars, judged: Sequence[Judgement], crisis_ratio: float) -> None:
    """Draw prices with shaded states, the probabilities of the states, and the volatility ratio, one below the other.

    Parameters
    ----------
    path : Path
        Where; the suffix says what: `SUFFIXES`.
    bars : Bars
        The bars, at least one.
    judged : sequence of Judgement
        One for each bar.
    crisis_ratio : float
        Drawn as a line across the volatility ratios.

    Raises
    ------
    StateError
        When the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that only a picture needs
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - as above

    assert len(judged) == len(bars) > 0, (len(judged), len(bars))
    figure = Figure(figsize=(11, 7.4), layout="constrained")
    price, chance, ratio = figure.subplots(3, 1, sharex=True, height_ratios=(5, 2, 2))
    _shade(price, judged)
    price.plot(bars.close, color="black", linewidth=0.8)
    if bars.close.max() > LOGARITHMIC_FROM * bars.close.min():
        price.set_yscale("log")
        price.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    price.set_ylabel("price")
    span = " to ".join(str(_instant(bars.close_ns[[i]])[0].astype("M8[m]")).replace("T", " ") for i in (0, -1))
    title = f"{bars.symbol}: {len(bars):,} bars of {duration(bars.interval_ns)}, {span} UTC"
    price.set_title(title, loc="left", fontsize=11)

    where = np.arange(len(bars))
    probability = np.array([one.reading.probability for one in judged]).T
    chance.stackplot(where, probability, colors=[COLOURS[state] for state in MarketRegime], linewidth=0)
    chance.set_ylim(0, 1)
    chance.set_ylabel("probability")
    ratio.plot([_number(one.evidence.volatility_ratio) for one in judged], color="black", linewidth=0.8)
    ratio.axhline(crisis_ratio, color=COLOURS[MarketRegime.CRISIS], linewidth=0.9, linestyle="--")
    ratio.set_ylabel("volatility,\nusual = 1")
    # Logarithmic: a night of one-minute bars is forty times the usual, and a crisis three.
    ratio.set_yscale("log")
    ratio.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ratio.yaxis.set_minor_formatter(NullFormatter())
    ratio.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ratio.set_xlim(-0.5, len(bars) - 0.5)
    places, labels = dates(bars.close_ns)
    ratio.set_xticks(places, labels)
    for axes in (price, chance, ratio):
        axes.spines[["top", "right"]].set_visible(False)
    _legend(figure)
    _save(figure, path)


def draw_oscillation(path: Path, studies: "Sequence[Study]") -> None:
    """Draw each correlation of each study as a scatter of its epochs, with the coefficient in words.

    Raises
    ------
    StateError
        When the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that only a picture needs

    from trisagion.reports.oscillation import ACCOUNT, BEFORE, MARKET, MEASURES, WITHIN  # noqa: PLC0415 - statsmodels

    rows = [
        (one, of, when)
        for one in studies
        for of in ((MARKET,) if one.account_bp is None else (MARKET, ACCOUNT))
        for when in (BEFORE, WITHIN)
    ]
    figure = Figure(figsize=(3.1 * len(MEASURES), 2.7 * len(rows)), layout="constrained")
    for line, axes in zip(rows, figure.subplots(len(rows), len(MEASURES), squeeze=False), strict=True):
        one, of, when = line
        outcome = one.epochs.mae_bp if of == MARKET else one.account_bp
        assert outcome is not None, one.symbol
        for place, (measure, values) in enumerate(zip(MEASURES, getattr(one.epochs, when), strict=True)):
            pair = next(pair for pair in one.pairs if (pair.measure, pair.when, pair.of) == (measure, when, of))
            axes[place].scatter(values, outcome, s=9, color=COLOURS[MarketRegime.TRENDING], alpha=0.6, linewidth=0)
            axes[place].set_xlabel(f"{measure}, {when}", fontsize=8)
            axes[place].set_title(_correlation(pair), fontsize=7.5, loc="left")
            axes[place].tick_params(labelsize=7)
            axes[place].spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel(f"{one.symbol}: {'MAE' if of == MARKET else 'fall of the account'}, bp", fontsize=8)
    _save(figure, path)


def dates(close_ns: Int64Array) -> tuple[list[int], list[str]]:
    """Return the numbers of the bars at which a date stands, and the dates, UTC: `DATES_MAX` at most.

    Parameters
    ----------
    close_ns : int64, shape (n,)
        Closes of the bars, rising, at least one.
    """
    instants = _instant(close_ns)
    steps = (
        (np.flatnonzero(np.diff(instants.astype(f"M8[{unit}]").astype(np.int64))) + 1, form) for unit, form in _STEPS
    )
    # A step of fifty years leaves few dates whatever the bars: instants end in 2262.
    changes, form = next(found for found in steps if len(found[0]) <= DATES_MAX)
    places: list[int] = []
    for place in [0, *changes.tolist()]:
        if places and place - places[-1] < APART * len(instants):
            if places != [0]:
                continue
            places.clear()  # the beginning of a step says more than the beginning of the data
        places.append(place)
    labels, larger = [], ""
    for place in places:
        at = instants[place].astype("M8[s]").item()
        above = f"{at:{_LARGER[form]}}" if form in _LARGER else ""
        labels.append(f"{at:{form}}" + (f"\n{above}" if above != larger else ""))
        larger = above
    return places, labels


def _shade(axes: "Axes", judged: Sequence[Judgement]) -> None:
    """Colour the background by state: one collection for each, however many stretches."""
    found = stretches([one.reading for one in judged])
    for state, colour in COLOURS.items():
        spans = [(one.first - 0.5, one.bars) for one in found if one.state == state]
        axes.broken_barh(
            spans, (0, 1), transform=axes.get_xaxis_transform(), facecolors=colour, alpha=0.45, linewidth=0
        )


def _legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - as above

    patches = [
        Patch(facecolor=colour, edgecolor="#888888", linewidth=0.5, label=state.replace("_", " "))
        for state, colour in COLOURS.items()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)


def _correlation(pair: "Pair") -> str:
    if pair.rho is None:
        return pair.verdict
    interval = "" if pair.low is None or pair.high is None else f" ({pair.low:+.2f} … {pair.high:+.2f})"
    return f"ρ = {pair.rho:+.2f}{interval}, {pair.epochs} epochs\n{pair.verdict}"


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _instant(instants_ns: Int64Array) -> NDArray[np.datetime64]:
    return instants_ns.astype("M8[ns]")


def _save(figure: "Figure", path: Path) -> None:
    # Without the instant of its making: the same data give the same file.
    made = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    try:
        figure.savefig(path, dpi=130, metadata=made)
    except OSError as error:
        raise StateError(f"{path}: the picture cannot be written ({error.strerror})") from None
