"""Change points by PELT: both twins against optimal partitioning written down plainly, and against each other."""

import importlib.util
import itertools
import math
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ext.changepoint
from ext.changepoint import MEAN, MEAN_MBIC, MEAN_VARIANCE, PeltState, _kernel, _reference, pelt_begin

VARIANCE_MIN = 1e-6


@pytest.fixture(params=[_reference, _kernel], ids=["reference", "kernel"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    module: ModuleType = request.param
    return module


def search(
    twin: ModuleType, x: np.ndarray, cost: int, penalty: float, min_size: int, calls_of: int = 10**9
) -> PeltState:
    """Search to the end, in calls of so many evaluations."""
    state = pelt_begin(x, cost, penalty, min_size, VARIANCE_MIN)
    while not twin.pelt_advance(state, calls_of):
        pass
    return state


def ends(state: PeltState) -> list[int]:
    """Return the ends of the segments of the whole series, rising."""
    found = [len(state.x)]
    while (before := int(state.previous[found[-1]])) > 0:
        found.append(before)
    return found[::-1]


def segment_cost(x: np.ndarray, cost: int, count: int) -> float:
    """Return the cost of a segment by its definition, in two passes."""
    squares = float(((x - x.mean()) ** 2).sum())
    if cost == MEAN:
        return squares
    if cost == MEAN_MBIC:
        return squares + math.log(len(x) / count)
    variance = max(squares / len(x), VARIANCE_MIN)
    return len(x) * math.log(2.0 * math.pi * variance) + squares / variance


def penalised(x: np.ndarray, cuts: list[int], cost: int, penalty: float) -> float:
    """Return what a segmentation costs, given the ends of its segments."""
    parts = itertools.pairwise([0, *cuts])
    return sum(segment_cost(x[a:b], cost, len(x)) for a, b in parts) + penalty * (len(cuts) - 1)


def optimal_cost(x: np.ndarray, cost: int, penalty: float, min_size: int) -> float:
    """Optimal partitioning (Jackson et al. 2005) without any pruning."""
    n = len(x)
    best = [-penalty] + [math.inf] * n
    for t in range(min_size, n + 1):
        best[t] = min(best[s] + segment_cost(x[s:t], cost, n) + penalty for s in range(t - min_size + 1))
    return best[n]


def test_the_compiled_kernel_is_loaded() -> None:
    """Where the kernels were built, the door gives them, and says so."""
    assert ext.changepoint.COMPILED
    assert ext.changepoint.pelt_advance is _kernel.pelt_advance


def test_the_door_falls_back_to_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiled kernel the door gives the plain twin, and says so."""
    monkeypatch.setitem(sys.modules, "ext.changepoint._kernel", None)
    spec = importlib.util.spec_from_file_location("door", ext.changepoint.__file__)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    assert not door.COMPILED
    assert door.pelt_advance is _reference.pelt_advance


@pytest.mark.parametrize(
    ("x", "cost", "penalty", "min_size", "cuts", "least"),
    [
        pytest.param([0, 0, 0, 9, 9], MEAN, 1.0, 1, [3, 5], 1.0, id="one jump costs one penalty"),
        pytest.param([0, 0, 0, 9, 9], MEAN, 97.3, 1, [5], 97.2, id="a dearer penalty keeps one segment: 6·9²/5"),
        pytest.param([0, 0, 0, 9, 9], MEAN, 1.0, 3, [5], 97.2, id="no room for a second segment"),
        pytest.param([0, 9, 0, 9], MEAN, 0.0, 1, [1, 2, 3, 4], 0.0, id="a cut for nothing is taken where it pays"),
        pytest.param([5, 5, 5, 5], MEAN, 1.0, 1, [4], 0.0, id="a constant series is one segment"),
        pytest.param([7], MEAN, 1.0, 1, [1], 0.0, id="one point"),
        pytest.param([0, 2], MEAN_VARIANCE, 1.0, 2, [2], 2 * math.log(2 * math.pi) + 2, id="variance 1 by hand"),
        pytest.param([3, 3, 3], MEAN_VARIANCE, 1.0, 2, [3], 3 * math.log(2 * math.pi * 1e-6), id="the least variance"),
        pytest.param(
            [0, 0, 9, 9], MEAN_MBIC, 3.0, 1, [2, 4], 3.0 + 2 * math.log(0.5), id="lengths count: log(2/4) each"
        ),
    ],
)
def test_the_search_has_the_result_made_by_hand(
    twin: ModuleType, x: list[float], cost: int, penalty: float, min_size: int, cuts: list[int], least: float
) -> None:
    """The ends of the segments, and the penalised cost."""
    state = search(twin, np.array(x, dtype=np.float64), cost, penalty, min_size)
    assert ends(state) == cuts
    assert state.best[-1] == pytest.approx(least, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("cost", [MEAN, MEAN_MBIC, MEAN_VARIANCE])
@pytest.mark.parametrize("min_size", [2, 3, 7])
def test_the_search_is_exactly_optimal(twin: ModuleType, cost: int, min_size: int) -> None:
    """The penalised cost is that of optimal partitioning, and the cuts returned have it: pruning loses nothing."""
    rng = np.random.default_rng(17)
    for penalty in (0.3, 2.0, 8.0):
        for levels in (1, 6):
            x = np.repeat(rng.normal(0.0, 2.0, levels), 60 // levels) + rng.normal(size=60)
            state = search(twin, x, cost, penalty, min_size)
            assert state.best[-1] == pytest.approx(optimal_cost(x, cost, penalty, min_size), rel=1e-10)
            assert penalised(x, ends(state), cost, penalty) == pytest.approx(float(state.best[-1]), rel=1e-10)
            assert min(np.diff([0, *ends(state)])) >= min_size


@pytest.mark.parametrize("cost", [MEAN, MEAN_MBIC, MEAN_VARIANCE])
def test_short_series_of_few_values_are_cut_optimally(twin: ModuleType, cost: int) -> None:
    """Where costs nearly tie, a start forgotten with a little too much slack would show: 400 series have none."""
    rng = np.random.default_rng(1)
    for _ in range(400):
        x = rng.integers(0, 4, int(rng.integers(4, 14))).astype(np.float64)
        penalty = float(rng.choice([0.0, 0.5, 1.0, 3.0, 6.0]))
        state = search(twin, x, cost, penalty, 2)
        assert state.best[-1] == pytest.approx(optimal_cost(x, cost, penalty, 2), rel=1e-9, abs=1e-9)


def test_a_start_ruled_out_too_early_would_be_missed(twin: ModuleType) -> None:
    """A start is wanted until a cut at the point that ruled it out is allowed; forgetting it at once is not exact."""
    missed = 0
    rng = np.random.default_rng(2)
    for _ in range(200):
        x = rng.integers(-3, 4, 14).astype(np.float64)
        state = search(twin, x, MEAN, 2.0, 3)
        assert state.best[-1] == pytest.approx(optimal_cost(x, MEAN, 2.0, 3), abs=1e-9)
        missed += _pruned_at_once(x, 2.0, 3) > float(state.best[-1]) + 1e-9
    assert missed > 0


def _pruned_at_once(x: np.ndarray, penalty: float, min_size: int) -> float:
    """Search with starts forgotten as soon as the paper's equation 4 holds."""
    n = len(x)
    best = [-penalty] + [math.inf] * n
    starts: list[int] = []
    for t in range(min_size, n + 1):
        starts.append(t - min_size)
        values = {s: best[s] + segment_cost(x[s:t], MEAN, n) for s in starts}
        best[t] = min(values.values()) + penalty
        starts = [s for s in starts if values[s] < best[t]]
    return best[n]


def test_pruning_forgets_nearly_everything_when_there_are_changes(twin: ModuleType) -> None:
    """With a change every 20 points the starts in the race stay few: that is what makes the search linear."""
    rng = np.random.default_rng(4)
    x = np.repeat(rng.normal(0.0, 9.0, 20), 20) + rng.normal(size=400)
    assert search(twin, x, MEAN, 12.0, 2).active < 60


def test_an_offset_far_above_the_noise_changes_nothing(twin: ModuleType) -> None:
    """A series of whole numbers around 2⁴⁰ has the very segments and costs of the same around 0."""
    rng = np.random.default_rng(8)
    x = np.repeat(rng.integers(-9, 9, 5), 30) + rng.integers(-3, 4, 150).astype(np.float64)
    here, there = (search(twin, x + offset, MEAN, 20.0, 2) for offset in (0.0, 2.0**40))
    assert ends(here) == ends(there)
    assert float(there.best[-1]) == pytest.approx(float(here.best[-1]), rel=1e-4)


def test_a_jump_far_above_the_noise_does_not_hide_a_small_one(twin: ModuleType) -> None:
    """A jump of 10⁹ deviations leaves the digits of the segment after it: cumulative sums of squares would not."""
    rng = np.random.default_rng(9)
    x = np.concatenate([np.full(40, 1e9), np.zeros(40), np.full(40, 4.0)]) + rng.normal(size=120)
    assert ends(search(twin, x, MEAN, 15.0, 2)) == [40, 80, 120]


def test_a_search_in_small_calls_ends_as_one_in_a_single_call(twin: ModuleType) -> None:
    """A call returns once its evaluations are spent, and the next goes on where it stopped."""
    x = np.random.default_rng(6).normal(size=150)
    state = pelt_begin(x, MEAN, 8.0, 2)
    assert not twin.pelt_advance(state, 1)
    assert state.t == 1
    calls = 1
    while not twin.pelt_advance(state, 100):
        calls += 1
    assert calls > 20
    whole = search(twin, x, MEAN, 8.0, 2)
    np.testing.assert_array_equal(state.best, whole.best)
    np.testing.assert_array_equal(state.previous, whole.previous)
    assert twin.pelt_advance(state, 1)


@settings(max_examples=150, deadline=None)
@given(
    series=st.lists(
        st.sampled_from([-1.0, 0.0, -0.0, 1.0, 2.5, 1e9]) | st.floats(-1e140, 1e140, allow_subnormal=True),
        min_size=2,
        max_size=40,
    ),
    cost=st.sampled_from([MEAN, MEAN_MBIC, MEAN_VARIANCE]),
    penalty=st.sampled_from([0.0, 1.0, 7.5, 1e6]),
    min_size=st.integers(2, 5),
    calls_of=st.sampled_from([1, 17, 10**9]),
)
@example(series=[0.0, -0.0] * 9, cost=MEAN_VARIANCE, penalty=0.0, min_size=2, calls_of=1)
@example(series=[5e-324, 0.0, -5e-324, 9e149], cost=MEAN, penalty=1.0, min_size=2, calls_of=17)
@example(series=[1.0, 1.0 + 2**-52] * 6, cost=MEAN_MBIC, penalty=0.0, min_size=3, calls_of=10**9)
@example(series=[0.0] * 5, cost=MEAN, penalty=0.0, min_size=5, calls_of=10**9)
def test_the_twins_agree_on_any_series(
    series: list[float], cost: int, penalty: float, min_size: int, calls_of: int
) -> None:
    """Both find the same costs and cuts, to the last bit, however the search is divided."""
    x = np.array(series, dtype=np.float64)
    shortest = min(min_size, len(x))
    plain = search(_reference, x, cost, penalty, shortest)
    fast = search(_kernel, x, cost, penalty, shortest, calls_of)
    np.testing.assert_allclose(fast.best, plain.best, rtol=1e-12)
    np.testing.assert_array_equal(fast.previous, plain.previous)
    assert fast.active == plain.active
    np.testing.assert_array_equal(fast.starts[: fast.active], plain.starts[: plain.active])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros((3, 2))}, "one dimension"),
        ({"x": np.zeros(0)}, "min_size: expected 1 to the length of the series, 0"),
        ({"cost": 3}, "cost: expected 0, 1 or 2"),
        ({"min_size": 0}, "min_size: expected 1"),
        ({"min_size": 7}, "found 7"),
        ({"min_size": 1, "cost": MEAN_VARIANCE, "variance_min": 1.0}, "min_size: expected 2"),
        ({"x": np.array([0.0, math.nan, 1.0])}, "finite"),
        ({"x": np.array([0.0, math.inf, 1.0])}, "finite"),
        ({"x": np.array([-1e308, 1e308])}, "range below 1e\\+150"),
        ({"penalty": -1.0}, "penalty: expected"),
        ({"penalty": math.nan}, "penalty: expected"),
        ({"penalty": math.inf}, "penalty: expected"),
        ({"cost": MEAN_VARIANCE, "min_size": 2}, "variance_min: expected"),
        ({"cost": MEAN_VARIANCE, "min_size": 2, "variance_min": math.nan}, "variance_min: expected"),
    ],
)
def test_arguments_out_of_range_are_refused(changed: dict[str, Any], message: str) -> None:
    """The message says which, what was expected, and what was found."""
    arguments: dict[str, Any] = {"x": np.arange(6.0), "cost": MEAN, "penalty": 1.0, "min_size": 1}
    with pytest.raises(ValueError, match=message):
        pelt_begin(**{**arguments, **changed})


def test_a_call_without_evaluations_is_refused(twin: ModuleType) -> None:
    """It could never end."""
    with pytest.raises(ValueError, match="evaluations_max: expected at least 1, found 0"):
        twin.pelt_advance(pelt_begin(np.arange(6.0), MEAN, 1.0, 1), 0)
