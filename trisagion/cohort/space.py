"""The search space of the runs (domain, section 3) as a table; how parameter sets are drawn, mutated and written down.

Parameters of the `channel` entry (`breakout_periods`, `swing_periods`, `swing_z`) are drawn too, so that a parameter
set keeps its meaning; but the runs of this version enter by the sign of the market weight only: every draw has the
entry "weight".
"""

import json
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from ext.cohort import ENTRY_WEIGHT, PARAMS_DTYPE, SYSTEM_BREAKOUT, SYSTEM_SWING
from trisagion.errors import StateError
from trisagion.market.types import Float64Array, Instrument

Params: TypeAlias = np.void
"""One parameter set: a record of `PARAMS_DTYPE`."""

SYSTEM_TYPES: Final = {"breakout": SYSTEM_BREAKOUT, "swing": SYSTEM_SWING}
ENTRIES: Final = {"weight": ENTRY_WEIGHT}

BALANCE_DIVISOR: Final = 5.0
POS_WEIGHT: Final = 0.032732855 / 3
CROSS_MARGIN_RATIO: Final = 0.05
GOLDEN: Final = 1.618
"""The domain divides the APR target by it."""


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
    Axis("breakout_periods", 10, 60, integer=True),
    Axis("swing_periods", 10, 60, integer=True),
    Axis("swing_z", 0.5, 2.5, integer=False),
    Axis("decision_distance_s", 0, 60, integer=True),
)
"""The row of `max_direction_reversal_s` is special: the parameter is `max_duration_s` / draw."""

_LOW: Final = np.array([axis.low for axis in AXES])
_HIGH: Final = np.array([axis.high for axis in AXES])
_INTEGER: Final = np.array([axis.integer for axis in AXES])


def draw(rng: np.random.Generator, instrument: Instrument) -> Params:
    """Draw a parameter set uniformly from the space, with the instrument's maximum leverage."""
    system_type = SYSTEM_BREAKOUT if rng.random() < 0.5 else SYSTEM_SWING
    u = rng.random(len(AXES))
    # Whole numbers: each of low … high has the same share of [0, 1).
    draws = np.where(_INTEGER, _LOW + np.floor(u * (_HIGH - _LOW + 1)), _LOW + u * (_HIGH - _LOW))
    return _params(system_type, draws, instrument)


def mutate(rng: np.random.Generator, parent: Params, rate: float, instrument: Instrument) -> Params:
    """Return a mutated copy of a parameter set.

    Parameters
    ----------
    rng : numpy.random.Generator
        The run's own source.
    parent : record of PARAMS_DTYPE
        The parameter set to start from.
    rate : float
        Standard deviation of the Gaussian step along each axis, as a fraction of the axis' range; also the probability
        that the system type flips.
    instrument : Instrument
        Gives the leverage.

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
    return _params(system_type, np.where(_INTEGER, np.rint(moved), moved), instrument)


def params_json(record: Params) -> str:
    """Write a parameter set as JSON; floats keep every digit."""
    values = dict(zip(PARAMS_DTYPE.names or (), record.item(), strict=True))
    words = {"system_type": SYSTEM_TYPES, "entry": ENTRIES}
    for name, codes in words.items():
        values[name] = next(word for word, code in codes.items() if code == values[name])
    return json.dumps(values)


def params_from_json(text: str) -> Params:
    """Read a parameter set that `params_json` wrote; `StateError` when a name or word is not known or is missing."""
    expected = f"parameter set: expected the names and words of this version, found {text[:200]!r}"
    try:
        values = dict(json.loads(text))
        values["system_type"] = SYSTEM_TYPES[values["system_type"]]
        values["entry"] = ENTRIES[values["entry"]]
        record = _record({name: float(values.pop(name)) for name in PARAMS_DTYPE.names or ()})
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{expected} ({error!r})") from None
    if values:
        raise StateError(f"{expected} (unknown: {sorted(values)})")
    return record


def _params(system_type: int, draws: Float64Array, instrument: Instrument) -> Params:
    values = {axis.name: float(value) / axis.divisor for axis, value in zip(AXES, draws, strict=True)}
    values[REVERSAL] = values["max_duration_s"] / values[REVERSAL]
    return _record(
        values
        | {
            "system_type": system_type,
            "entry": ENTRY_WEIGHT,
            "balance_divisor": BALANCE_DIVISOR,
            "pos_weight": POS_WEIGHT,
            "max_cross_margin_ratio": CROSS_MARGIN_RATIO / BALANCE_DIVISOR,
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
