"""Permutation entropy: both twins against published and hand-made values, and against each other."""

import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ext.entropy
from ext.entropy import _kernel, _reference

MINUTE_NS = 60_000_000_000
PUBLISHED = (4.0, 7.0, 9.0, 10.0, 6.0, 11.0, 3.0)
"""The example of Bandt & Pompe (2002), page 2."""


@pytest.fixture(params=[_reference, _kernel], ids=["reference", "kernel"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    module: ModuleType = request.param
    return module


def test_the_compiled_kernel_is_loaded() -> None:
    """Where the kernels were built, the door gives them, and says so."""
    assert ext.entropy.COMPILED
    assert ext.entropy.permutation_entropy is _kernel.permutation_entropy
    assert ext.entropy.entropy_grid is _kernel.entropy_grid


def test_the_door_falls_back_to_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiled kernel the door gives the plain twin, and says so."""
    monkeypatch.setitem(sys.modules, "ext.entropy._kernel", None)
    spec = importlib.util.spec_from_file_location("door", ext.entropy.__file__)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    assert not door.COMPILED
    assert door.permutation_entropy is _reference.permutation_entropy


@pytest.mark.parametrize(
    ("series", "order", "delay", "base", "normalised", "expected"),
    [
        pytest.param(PUBLISHED, 2, 1, 2.0, False, 0.9183, id="published, order 2"),
        pytest.param(PUBLISHED, 3, 1, 2.0, False, 1.5219, id="published, order 3"),
        pytest.param(PUBLISHED, 3, 1, math.e, False, 1.5219 * math.log(2), id="published, in nats"),
        pytest.param(PUBLISHED, 3, 1, 2.0, True, 1.5219 / math.log2(6), id="published, normalised"),
        pytest.param(range(50), 5, 2, math.e, True, 0.0, id="a rising series has one pattern"),
        pytest.param([1.0] * 9, 3, 1, math.e, True, 0.0, id="ties are ranked by order of appearance: one pattern"),
        pytest.param([1, 1, 2, 2, 3, 3], 2, 1, 2.0, True, 0.0, id="a tie is no fall"),
        pytest.param([1, 2, 1, 2, 1], 2, 1, 2.0, True, 1.0, id="as many rises as falls"),
        pytest.param([1, 9, 2, 8, 3, 7], 2, 2, 2.0, True, 1.0, id="the delay skips the neighbour"),
        pytest.param([math.inf, 0.0, -math.inf, 1.0], 2, 1, 2.0, False, 0.9183, id="infinities have ranks"),
        pytest.param([3.0, 1.0, 2.0], 3, 1, 2.0, True, 0.0, id="just one pattern long"),
        pytest.param([1.0, 2.0], 3, 1, 2.0, True, math.nan, id="too short is unknown"),
        pytest.param(PUBLISHED, 3, 4, 2.0, True, math.nan, id="too short for the delay is unknown"),
        pytest.param(PUBLISHED, 7, 2**60, 2.0, True, math.nan, id="an enormous delay is unknown"),
        pytest.param([], 2, 1, 2.0, True, math.nan, id="nothing is unknown"),
        pytest.param([*PUBLISHED, math.nan], 3, 1, 2.0, True, math.nan, id="NaN makes it unknown"),
    ],
)
def test_permutation_entropy_has_the_known_value(
    twin: ModuleType,
    series: Sequence[float],
    order: int,
    delay: int,
    base: float,
    normalised: bool,
    expected: float,
) -> None:
    """Published values to the digits printed, hand-made ones to rounding."""
    found = twin.permutation_entropy(np.array(series, dtype=np.float64), order, delay, base, normalised)
    assert found == pytest.approx(expected, abs=5e-5, nan_ok=True)


def test_white_noise_is_near_one(twin: ModuleType) -> None:
    """All patterns of independent draws are equally likely."""
    noise = np.random.default_rng(5).standard_normal(6000)
    assert 0.998 < twin.permutation_entropy(noise, 3, 1) <= 1.0


@pytest.mark.parametrize(
    ("order", "delay", "base", "message"),
    [(1, 1, 2.0, "order"), (8, 1, 2.0, "order"), (3, 0, 2.0, "delay"), (3, 1, 1.0, "base"), (3, 1, math.nan, "base")],
)
def test_arguments_out_of_range_are_refused(
    twin: ModuleType, order: int, delay: int, base: float, message: str
) -> None:
    """The message names the argument."""
    with pytest.raises(ValueError, match=message):
        twin.permutation_entropy(np.array(PUBLISHED), order, delay, base)


@settings(max_examples=150, deadline=None)
@given(
    series=st.lists(st.sampled_from([-1.0, 0.0, -0.0, 1.0, 2.5, math.inf]) | st.floats(allow_nan=False), max_size=60),
    order=st.integers(2, 7),
    delay=st.integers(1, 4),
    normalised=st.booleans(),
)
@example(series=[0.0, -0.0] * 9, order=4, delay=1, normalised=True)
@example(series=[5e-324, 0.0, -5e-324, 1.8e308], order=2, delay=1, normalised=False)
def test_the_twins_agree_on_any_series(series: list[float], order: int, delay: int, normalised: bool) -> None:
    """Both give the same number, whatever the ties, signs of zero and magnitudes."""
    x = np.array(series, dtype=np.float64)
    plain = _reference.permutation_entropy(x, order, delay, 2.0, normalised)
    fast = _kernel.permutation_entropy(x, order, delay, 2.0, normalised)
    assert fast == pytest.approx(plain, rel=1e-12, abs=0.0, nan_ok=True)


def test_the_twins_agree_across_the_kernels_blocks() -> None:
    """A series longer than the kernel's block of starts is seen whole, whatever the rest at its end."""
    noise = np.random.default_rng(11).integers(0, 9, 4100).astype(np.float64)
    for order, delay, length in ((3, 1, 2050), (3, 1, 2051), (5, 3, 4100)):
        plain = _reference.permutation_entropy(noise[:length], order, delay)
        assert _kernel.permutation_entropy(noise[:length], order, delay) == pytest.approx(plain, rel=1e-12)


def test_a_window_holds_its_newest_and_not_its_oldest_instant(twin: ModuleType) -> None:
    """A sample belongs to the window of m minutes of tick t when t − m·60 s < ts <= t."""
    tick = 100 * MINUTE_NS
    offsets = [-2 * MINUTE_NS, -2 * MINUTE_NS + 1, -MINUTE_NS, -MINUTE_NS + 1, 0, 1]
    ts_ns = np.array([tick + offset for offset in offsets])
    _, samples = twin.entropy_grid(ts_ns, np.zeros(6), np.array([tick]))
    assert samples[0].tolist() == [2, 4] + [5] * 13


def test_the_grid_is_the_entropy_of_each_window(twin: ModuleType) -> None:
    """Each cell is what `permutation_entropy` gives for the samples of its window, NaN where they are too few."""
    rng = np.random.default_rng(3)
    ts_ns = np.cumsum(rng.integers(1, 30, 120)) * 1_000_000_000
    x = rng.integers(-1, 2, 120).astype(np.float64)
    ticks = ts_ns[[0, 3, 60, 119]]
    entropy, samples = twin.entropy_grid(ts_ns, x, ticks)
    assert entropy.shape == (4, 15, 3, 3)
    for (t, m, i, j), found in np.ndenumerate(entropy):
        seen = x[(ts_ns > ticks[t] - (m + 1) * MINUTE_NS) & (ts_ns <= ticks[t])]
        assert samples[t, m] == len(seen)
        expected = _reference.permutation_entropy(seen, 3 + i, 1 + j)
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert np.isnan(entropy).any()
    assert (entropy > 0.5).any()


@settings(max_examples=40, deadline=None)
@given(
    gaps_s=st.lists(st.sampled_from([0, 1, 10, 50, 60, 300, 900, 4000]), max_size=40),
    seed=st.integers(0, 2**32 - 1),
    late_s=st.integers(-100, 100),
)
@example(gaps_s=[], seed=0, late_s=0)
def test_the_twins_agree_on_any_grid(gaps_s: list[int], seed: int, late_s: int) -> None:
    """Both see the same windows, with gaps, equal instants, and ticks before, at and after the history's end."""
    ts_ns = np.cumsum(np.array(gaps_s, dtype=np.int64)) * 1_000_000_000
    x = np.random.default_rng(seed).integers(-1, 2, len(ts_ns)).astype(np.float64)
    end_ns = int(ts_ns[-1]) if gaps_s else 0
    ticks = np.array([end_ns // 2, end_ns + late_s * 1_000_000_000])
    plain, fast = _reference.entropy_grid(ts_ns, x, ticks), _kernel.entropy_grid(ts_ns, x, ticks)
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-12, atol=0.0)
    np.testing.assert_array_equal(fast[1], plain[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: (np.array([1, 2]), np.zeros(3)), "as many instants"),
        (lambda: (np.array([2, 1]), np.zeros(2)), "never fall"),
        (lambda: (np.array([1, 2]), np.array([0.0, math.nan])), "without NaN"),
    ],
)
def test_a_history_out_of_order_is_refused(
    twin: ModuleType, make: Callable[[], tuple[np.ndarray, np.ndarray]], message: str
) -> None:
    """The message says what was expected."""
    ts_ns, x = make()
    with pytest.raises(ValueError, match=message):
        twin.entropy_grid(ts_ns, x, np.array([5]))
