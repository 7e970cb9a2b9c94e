"""The search space: draws and mutations stay inside it, and a parameter set survives being written down."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ext.cohort import PARAMS_DTYPE
from tests.builders import ES
from trisagion.cohort.space import AXES, REVERSAL, Params, draw, mutate, params_json, params_of, problems
from trisagion.errors import quoted

RANGES = {
    "system_type": (0, 1),
    "entry": (0, 1),
    "max_duration_s": (300, 432_000),
    "balance_divisor": (5.0, 5.0),
    "pos_scaler": (1.618 / 1000, 3.236 / 1000),
    "pos_weight": (0.032732855 / 3, 0.032732855 / 3),
    "max_cross_margin_ratio": (0.01, 0.01),
    "apr_target": (20 / 5 / 1.618, 100 / 5 / 1.618),
    "min_goal": (0.1, 0.9),
    "max_goal": (1.0, 10.0),
    "min_goal_weight": (1e-4, 38e-4),
    "max_goal_weight": (69e-4, 200e-4),
    "entropy_window_min": (1, 15),
    "entropy_min_samples": (5, 20),
    "entropy_order": (3, 5),
    "entropy_delay": (1, 3),
    "entropy_max": (0.05, 0.15),
    "rolling_apr_min": (1, 30),
    "breakout_periods": (10, 60),
    "swing_periods": (10, 60),
    "swing_z": (0.5, 2.5),
    "decision_distance_s": (0, 60),
    "leverage": (20.0, 20.0),
}
"""The domain's table."""

SLACK = 1e-12


def assert_inside(record: Params) -> None:
    """Check a parameter set against the domain's table."""
    for name, (low, high) in RANGES.items():
        assert low * (1 - SLACK) <= record[name] <= high * (1 + SLACK), name
    divisor = record["max_duration_s"] / record[REVERSAL]
    assert divisor == pytest.approx(round(divisor))
    assert 1 <= round(divisor) <= 10


def test_every_parameter_has_its_range() -> None:
    """The domain's table, the kernel's record and the axes name the same parameters."""
    assert {*RANGES, REVERSAL} == set(PARAMS_DTYPE.names or ())
    assert {axis.name for axis in AXES} <= set(PARAMS_DTYPE.names or ())


def test_draws_fill_the_space_and_never_leave_it() -> None:
    """All draws are inside; of a small set of whole numbers each has about its share, both ends included."""
    rng = np.random.default_rng(1)
    records = [draw(rng, ES) for _ in range(3000)]
    for record in records:
        assert_inside(record)
    for name, values in (("entropy_order", (3, 4, 5)), ("entropy_delay", (1, 2, 3)), ("system_type", (0, 1))):
        for value in values:
            share = sum(record[name] == value for record in records) / len(records)
            assert share == pytest.approx(1 / len(values), abs=0.05)
    for name in ("rolling_apr_min", "decision_distance_s", "entropy_window_min"):
        assert {min(record[name] for record in records), max(record[name] for record in records)} == set(RANGES[name])
    for name in ("pos_scaler", "swing_z", "entropy_max"):
        low, high = RANGES[name]
        assert np.mean([record[name] for record in records]) == pytest.approx((low + high) / 2, rel=0.03)


def test_the_same_source_draws_the_same_parameters() -> None:
    """A draw is a function of its random source."""
    assert draw(np.random.default_rng(4), ES) == draw(np.random.default_rng(4), ES)
    assert draw(np.random.default_rng(4), ES) != draw(np.random.default_rng(5), ES)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_draws_enters_by_the_channel_and_nothing_else_changes(share: float) -> None:
    """About the share has entry `channel`; the other parameters are those of a draw without it."""
    channels = 0
    for seed in range(1000):
        plain = draw(np.random.default_rng(seed), ES)
        record = draw(np.random.default_rng(seed), ES, share)
        assert plain["entry"] == 0
        channels += int(record["entry"])
        record["entry"] = 0
        assert record == plain
    assert channels / 1000 == pytest.approx(share, abs=0.05 * (0 < share < 1))


@pytest.mark.parametrize("entry", ["weight", "channel"])
@pytest.mark.parametrize(("share", "flips"), [(0.0, 0.0), (1e-9, 0.2), (0.5, 0.2), (1.0, 0.0)])
def test_a_clone_has_its_parents_entry_unless_it_flips(entry: str, share: float, flips: float) -> None:
    """It flips as often as the rate says while there are draws of both kinds, else never; nothing else changes."""
    parent = draw(np.random.default_rng(8), ES, float(entry == "channel"))
    assert json.loads(params_json(parent))["entry"] == entry
    flipped = 0
    for seed in range(1000):
        plain = mutate(np.random.default_rng(seed), parent, 0.2, ES)
        child = mutate(np.random.default_rng(seed), parent, 0.2, ES, share)
        assert plain["entry"] == parent["entry"]
        flipped += int(child["entry"] != parent["entry"])
        child["entry"] = plain["entry"]
        assert child == plain
    assert flipped / 1000 == pytest.approx(flips, abs=0.05 * (flips > 0))


@hypothesis_settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), rate=st.floats(0.0, 3.0))
@example(seed=0, rate=3.0)
def test_a_mutation_stays_inside_the_space(seed: int, rate: float) -> None:
    """Whatever the rate, steps are reflected at the bounds."""
    rng = np.random.default_rng(seed)
    assert_inside(mutate(rng, draw(rng, ES), rate, ES))


def test_a_mutation_moves_as_far_as_its_rate() -> None:
    """No rate moves nothing; a small one moves by the rate times the range, in the mean square; a flip is as rare."""
    rng = np.random.default_rng(9)
    parent = draw(rng, ES)
    parent["swing_z"] = 1.5
    still = mutate(rng, parent, 0.0, ES)
    for name in PARAMS_DTYPE.names or ():
        assert still[name] == pytest.approx(parent[name], rel=1e-12)
    children = [mutate(rng, parent, 0.05, ES) for _ in range(2000)]
    steps = np.array([child["swing_z"] - 1.5 for child in children])
    assert steps.mean() == pytest.approx(0.0, abs=0.01)
    assert steps.std() == pytest.approx(0.05 * 2.0, rel=0.1)
    assert np.mean([child["system_type"] != parent["system_type"] for child in children]) == pytest.approx(
        0.05, abs=0.02
    )


def test_a_line_of_thousands_of_mutations_stays_inside_the_space() -> None:
    """Child of a child, at ever other rates: errors do not add up, and each bound of a whole number is reached."""
    rng = np.random.default_rng(11)
    record = draw(rng, ES)
    seen: list[Params] = []
    for step in range(4000):
        record = mutate(rng, record, 0.1 * (step % 10 + 1) / 10, ES)
        assert_inside(record)
        assert problems(json.loads(params_json(record)), 20.0) == []
        seen.append(record)
    for name in ("entropy_order", "entropy_delay", "rolling_apr_min", "decision_distance_s"):
        assert {min(one[name] for one in seen), max(one[name] for one in seen)} == set(RANGES[name])


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("max_duration_s", 299, "max_duration_s: expected a whole number 300 to 432000, found '299'"),
        ("max_duration_s", 3000.5, "max_duration_s: expected a whole number 300 to 432000, found '3000.5'"),
        (REVERSAL, 1e9, f"{REVERSAL}: expected max_duration_s over a whole number from 1 to 10, found '1000000000.0'"),
        (REVERSAL, 0, f"{REVERSAL}: expected max_duration_s over a whole number from 1 to 10, found '0'"),
        ("pos_scaler", 0.0016, "pos_scaler: expected 0.001618 to 0.003236, found '0.0016'"),
        ("apr_target", 5.0, "apr_target: expected 2.47219 to 12.3609 in steps of 0.123609, found '5.0'"),
        ("min_goal", 0.95, "min_goal: expected 0.1 to 0.9 in steps of 0.1, found '0.95'"),
        ("entropy_max", float("nan"), "entropy_max: expected 0.05 to 0.15, found 'nan'"),
        ("swing_z", float("inf"), "swing_z: expected 0.5 to 2.5, found 'inf'"),
        ("swing_z", 10**400, f"swing_z: expected 0.5 to 2.5, found {quoted(10**400)}"),
        ("decision_distance_s", -1, "decision_distance_s: expected a whole number 0 to 60, found '-1'"),
        ("entropy_order", True, "entropy_order: expected a whole number 3 to 5, found 'True'"),
        ("entropy_order", "4", "entropy_order: expected a whole number 3 to 5, found '4'"),
        ("entropy_order", None, "entropy_order: expected a whole number 3 to 5, found ''"),
        ("leverage", 50, "leverage: expected 20, the instrument's, found '50'"),
        ("balance_divisor", 4.0, "balance_divisor: expected 5.0, found '4.0'"),
        ("system_type", "trend", "system_type: expected breakout or swing, found 'trend'"),
        ("system_type", ["swing"], "system_type: expected breakout or swing, found \"['swing']\""),
        ("colour", 1, "'colour': there is no such parameter"),
    ],
)
def test_a_parameter_outside_its_range_is_told_with_value_and_range(name: str, value: object, told: str) -> None:
    """One sentence for the one parameter that was changed."""
    values = json.loads(params_json(draw(np.random.default_rng(8), ES)))
    assert problems(values | {name: value}, 20.0) == [told]


def test_a_missing_parameter_is_told() -> None:
    """By its name; without an instrument any leverage above 0 will do."""
    values = json.loads(params_json(draw(np.random.default_rng(8), ES)))
    del values["swing_z"]
    assert problems(values | {"leverage": 7.5}) == ["swing_z: expected 0.5 to 2.5, found none"]
    assert problems(values | {"leverage": 0, "swing_z": 1.0}) == ["leverage: expected a number above 0, found '0'"]


@pytest.mark.parametrize("entry", ["weight", "channel"])
def test_a_parameter_set_survives_being_written_down(entry: str) -> None:
    """Reading what was written gives the same record, to the bit; a person finds words, not codes."""
    record = draw(np.random.default_rng(8), ES, float(entry == "channel"))
    text = params_json(record)
    assert params_of(json.loads(text)).tobytes() == record.tobytes()
    assert json.loads(text)["entry"] == entry
    assert json.loads(text)["system_type"] in {"breakout", "swing"}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda values: values.pop("leverage"), id="a name is missing"),
        pytest.param(lambda values: values.update(colour=1.0), id="a name is not known"),
        pytest.param(lambda values: values.update(entry="tide"), id="an entry that this version cannot run"),
        pytest.param(lambda values: values.update(system_type=1), id="a code where a word should be"),
        pytest.param(lambda values: values.update(leverage="much"), id="not a number"),
    ],
)
def test_another_parameter_set_is_refused(damage: object) -> None:
    """What this version did not write it does not run."""
    values = json.loads(params_json(draw(np.random.default_rng(8), ES)))
    assert callable(damage)
    damage(values)
    assert len(problems(values)) == 1
