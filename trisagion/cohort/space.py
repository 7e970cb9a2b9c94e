"""The search space of the runs (domain, section 3) as a table; how parameter sets are drawn, mutated and written down.

The entry is drawn last, from a share that is a setting: parameters of the `channel` entry (`breakout_periods`,
`swing_periods`, `swing_z`) are drawn for every run, and the share moves no other draw.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from ext.cohort import (
    ENTRY_CHANNEL,
    ENTRY_WEIGHT,
    PARAMS_DTYPE,
    PERIODS_MAX,
    PERIODS_MIN,
    SYSTEM_BREAKOUT,
    SYSTEM_SWING,
)
from trisagion.errors import quoted
from trisagion.market.types import Float64Array, Instrument

Params: TypeAlias = np.void
"""One parameter set: a record of `PARAMS_DTYPE`."""

SYSTEM_TYPES: Final = {"breakout": SYSTEM_BREAKOUT, "swing": SYSTEM_SWING}
ENTRIES: Final = {"weight": ENTRY_WEIGHT, "channel": ENTRY_CHANNEL}
WORDS: Final = {"system_type": SYSTEM_TYPES, "entry": ENTRIES}
"""Parameters that are words where people read them."""

BALANCE_DIVISOR: Final = 5.0
POS_WEIGHT: Final = 0.032732855 / 3
CROSS_MARGIN_RATIO: Final = 0.05
GOLDEN: Final = 1.618
"""The domain divides the APR target by it."""

FIXED: Final = {
    "balance_divisor": BALANCE_DIVISOR,
    "pos_weight": POS_WEIGHT,
    "max_cross_margin_ratio": CROSS_MARGIN_RATIO / BALANCE_DIVISOR,
}
"""Parameters with one value for all runs."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One row: a draw is uniform over [low, high], whole where `integer`; the parameter is draw / divisor."""

    name: str
    low: float
    high: float
    integer: bool
    divisor: float = 1.0


REVERSAL: Final = "max_direction_reversal_s"

AXES: Final = (
    Axis("max_duration_s", 300, 432_000, integer=True),
    Axis(REVERSAL, 1, 10, integer=True),
    Axis("pos_scaler", 1.618, 3.236, integer=False, divisor=1000.0),
    Axis("apr_target", 20, 100, integer=True, divisor=BALANCE_DIVISOR * GOLDEN),
    Axis("min_goal", 1, 9, integer=True, divisor=10.0),
    Axis("max_goal", 1, 10, integer=True),
    Axis("min_goal_weight", 1, 38, integer=True, divisor=1e4),
    Axis("max_goal_weight", 69, 200, integer=True, divisor=1e4),
    Axis("entropy_window_min", 1, 15, integer=True),
    Axis("entropy_min_samples", 5, 20, integer=True),
    Axis("entropy_order", 3, 5, integer=True),
    Axis("entropy_delay", 1, 3, integer=True),
    Axis("entropy_max", 0.05, 0.15, integer=False),
    Axis("rolling_apr_min", 1, 30, integer=True),
    Axis("breakout_periods", PERIODS_MIN, PERIODS_MAX, integer=True),
    Axis("swing_periods", PERIODS_MIN, PERIODS_MAX, integer=True),
    Axis("swing_z", 0.5, 2.5, integer=False),
    Axis("decision_distance_s", 0, 60, integer=True),
)
"""The row of `max_direction_reversal_s` is special: the parameter is `max_duration_s` / draw."""

SLACK: Final = 1e-9
"""By which part a draw may miss its bound or a whole number: a quotient times its divisor is not always the draw."""

_AXIS: Final = {axis.name: axis for axis in AXES}
_LOW: Final = np.array([axis.low for axis in AXES])
_HIGH: Final = np.array([axis.high for axis in AXES])
_INTEGER: Final = np.array([axis.integer for axis in AXES])


def draw(rng: np.random.Generator, instrument: Instrument, channel_share: float = 0.0) -> Params:
    """Draw a parameter set uniformly from the space, with the instrument's maximum leverage.

    The entry is `channel` with the probability `channel_share`.
    """
    system_type = SYSTEM_BREAKOUT if rng.random() < 0.5 else SYSTEM_SWING
    u = rng.random(len(AXES))
    # Whole numbers: each of low … high has the same share of [0, 1).
    draws = np.where(_INTEGER, _LOW + np.floor(u * (_HIGH - _LOW + 1)), _LOW + u * (_HIGH - _LOW))
    entry = ENTRY_CHANNEL if rng.random() < channel_share else ENTRY_WEIGHT
    return _params(system_type, entry, draws, instrument)


def mutate(
    rng: np.random.Generator, parent: Params, rate: float, instrument: Instrument, channel_share: float = 0.0
) -> Params:
    """Return a mutated copy of a parameter set.

    Parameters
    ----------
    rng : numpy.random.Generator
        The run's own source.
    parent : record of PARAMS_DTYPE
        The parameter set to start from.
    rate : float
        Standard deviation of the Gaussian step along each axis, as a fraction of the axis' range; also the probability
        that the system type flips, and that the entry does.
    instrument : Instrument
        Gives the leverage.
    channel_share : float
        The share of random draws with entry `channel`: at 0 and at 1 the entry never flips.

    Returns
    -------
    record of PARAMS_DTYPE
        Inside the space: steps are reflected at its bounds, whole numbers rounded (half to even) after that.
    """
    system_type = int(parent["system_type"])
    if rng.random() < rate:
        system_type = SYSTEM_BREAKOUT + SYSTEM_SWING - system_type
    step = rng.standard_normal(len(AXES)) * rate * (_HIGH - _LOW)
    moved = _reflect(_draws(parent) + step)
    entry = int(parent["entry"])
    if 0 < channel_share < 1 and rng.random() < rate:
        entry = ENTRY_WEIGHT + ENTRY_CHANNEL - entry
    return _params(system_type, entry, np.where(_INTEGER, np.rint(moved), moved), instrument)


def fitted(params: Params, instrument: Instrument) -> Params:
    """Return a copy of a parameter set with the leverage of an instrument."""
    made = params.copy()
    made["leverage"] = float(instrument.leverage_max)
    return made


def params_json(record: Params) -> str:
    """Write a parameter set as JSON; floats keep every digit."""
    values = dict(zip(PARAMS_DTYPE.names or (), record.item(), strict=True))
    for name, codes in WORDS.items():
        values[name] = next(word for word, code in codes.items() if code == values[name])
    return json.dumps(values)


def params_of(values: Mapping[str, Any]) -> Params:
    """Return the record of a table in which `problems` finds none."""
    return _record({name: WORDS[name][value] if name in WORDS else value for name, value in values.items()})


def problems(values: Mapping[str, object], leverage: float | None = None) -> list[str]:
    """Say what keeps a table, as `params_json` writes it, from being a parameter set of the space.

    Parameters
    ----------
    values : mapping
        Names to numbers and words, as JSON has them.
    leverage : float, optional
        The only leverage that will do; any above 0 when left out.

    Returns
    -------
    list of str
        A sentence for each parameter, in the order of the record: its name, what was expected, what was found.
    """
    told = []
    for name in PARAMS_DTYPE.names or ():
        expected = _expected(name, values, leverage)
        if expected is not None:
            told.append(f"{name}: expected {expected}, found {quoted(values[name]) if name in values else 'none'}")
    unknown = sorted(values.keys() - set(PARAMS_DTYPE.names or ()))
    return told + [f"{quoted(name)}: there is no such parameter" for name in unknown]


def _expected(name: str, values: Mapping[str, object], leverage: float | None) -> str | None:
    """Say what a parameter should be; None when it is."""
    if name in WORDS:
        word = values.get(name)
        return None if isinstance(word, str) and word in WORDS[name] else " or ".join(WORDS[name])
    value = _finite(values.get(name))
    if name == "leverage":
        if leverage is None:
            return None if value is not None and value > 0 else "a number above 0"
        return None if value == leverage else f"{leverage:g}, the instrument's"
    if name in FIXED:
        return None if value == FIXED[name] else repr(FIXED[name])
    axis = _AXIS[name]
    if name == REVERSAL:
        duration = _finite(values.get("max_duration_s"))
        if not _on(_AXIS["max_duration_s"], duration):
            return None  # what it should be is not known, and the other is told
        drawn = None if value is None or duration is None or value <= 0 else duration / value
        return None if _on(axis, drawn) else f"max_duration_s over a whole number from {axis.low} to {axis.high}"
    if _on(axis, None if value is None else value * axis.divisor):
        return None
    whole = "a whole number " if axis.integer and axis.divisor == 1 else ""
    steps = f" in steps of {1 / axis.divisor:g}" if axis.integer and axis.divisor != 1 else ""
    return f"{whole}{axis.low / axis.divisor:g} to {axis.high / axis.divisor:g}{steps}"


def _on(axis: Axis, drawn: float | None) -> bool:
    """Tell whether a number can have been drawn on an axis."""
    counted = axis.integer and axis.divisor == 1 and axis.name != REVERSAL
    slack = 0.0 if counted else SLACK
    if drawn is None or not axis.low * (1 - slack) <= drawn <= axis.high * (1 + slack):
        return False
    return not axis.integer or abs(drawn - round(drawn)) <= slack * drawn


def _finite(value: object) -> float | None:
    """Return a finite number as float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _params(system_type: int, entry: int, draws: Float64Array, instrument: Instrument) -> Params:
    values = {axis.name: float(value) / axis.divisor for axis, value in zip(AXES, draws, strict=True)}
    values[REVERSAL] = values["max_duration_s"] / values[REVERSAL]
    return _record(
        values
        | FIXED
        | {
            "system_type": system_type,
            "entry": entry,
            "leverage": float(instrument.leverage_max),
        }
    )


def _draws(record: Params) -> Float64Array:
    """Return the draws that `_params` makes this record of; whole ones exactly."""
    values = {axis.name: float(record[axis.name]) * axis.divisor for axis in AXES}
    values[REVERSAL] = float(record["max_duration_s"]) / float(record[REVERSAL])
    draws = np.array([values[axis.name] for axis in AXES])
    return np.where(_INTEGER, np.rint(draws), draws)


def _reflect(draws: Float64Array) -> Float64Array:
    """Fold each draw back into its bounds, as a mirror at either end would."""
    width = _HIGH - _LOW
    phase = np.mod(draws - _LOW, 2 * width)
    folded: Float64Array = _LOW + np.minimum(phase, 2 * width - phase)
    return folded


def _record(values: dict[str, float]) -> Params:
    made = np.zeros(1, dtype=PARAMS_DTYPE)
    for name, value in values.items():
        made[name] = value
    record: Params = made[0]
    return record
