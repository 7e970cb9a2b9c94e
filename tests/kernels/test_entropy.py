"""Permutation entropy: both twins against published and hand-made values, and against each other."""

import functools
import importlib.util
import math
import signal
import sys
import time
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
    assert ext.entropy.permutation_entropy_batch is _kernel.permutation_entropy_batch
    assert ext.entropy.rolling_permutation_entropy is _kernel.rolling_permutation_entropy
    assert ext.entropy.RollingPermutationEntropy.__module__ == _kernel.__name__


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
    [
        (1, 1, 2.0, "order: expected 2 to 7, found 1"),
        (8, 1, 2.0, "order: expected 2 to 7, found 8"),
        (3, 0, 2.0, "delay: expected at least 1, found 0"),
        (3, 1, 1.0, "base: expected above 1 and finite, found 1"),
        (3, 1, math.nan, "base: .* found nan"),
        (3, 1, math.inf, "base: .* found inf"),
    ],
)
def test_arguments_out_of_range_are_refused(
    twin: ModuleType, order: int, delay: int, base: float, message: str
) -> None:
    """The message names the argument."""
    x = np.array(PUBLISHED)
    calls: list[Callable[[], object]] = [
        lambda: twin.permutation_entropy(x, order, delay, base),
        lambda: twin.permutation_entropy_batch(x[None], order, delay, base),
        lambda: twin.rolling_permutation_entropy(x, 7, order, delay, base),
        lambda: twin.RollingPermutationEntropy(7, order, delay, base),
    ]
    for ask in calls:
        with pytest.raises(ValueError, match=message):
            ask()


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([[1.0, 2.0]], r"expected 1 dimension\(s\), found shape \(1, 2\)"),
        ([1j, 2j], "expected real numbers, found complex128"),
        (["4", "7"], "expected real numbers, found <U1"),
        ([None, 1.0], "expected real numbers, found object"),
    ],
)
def test_what_is_no_series_is_refused(twin: ModuleType, series: list[object], message: str) -> None:
    """The message says the shape or type that was found."""
    for ask in (twin.permutation_entropy, functools.partial(twin.rolling_permutation_entropy, window=5)):
        with pytest.raises(ValueError, match=message):
            ask(np.array(series), order=3, delay=1)


@pytest.mark.parametrize(("window", "delay"), [(2, 1), (0, 1), (4, 2), (2**24 + 1, 1)])
def test_a_window_without_a_pattern_or_beyond_the_limit_is_refused(twin: ModuleType, window: int, delay: int) -> None:
    """The message gives the range."""
    message = f"window: expected {2 * delay + 1} to 16777216 samples, found {window}"
    for ask in (functools.partial(twin.rolling_permutation_entropy, np.zeros(9)), twin.RollingPermutationEntropy):
        with pytest.raises(ValueError, match=message):
            ask(window, 3, delay)


@pytest.mark.parametrize(
    ("series", "order", "expected"),
    [
        # Two rises of variance 1/4 and 9/4, a fall of 25/4: shares 10/35 and 25/35.
        pytest.param([0, 1, 4, -1], 2, -(2 / 7) * math.log2(2 / 7) - (5 / 7) * math.log2(5 / 7), id="by hand, order 2"),
        # The patterns 012 and 120 with variances 14/9 and 24/9.
        pytest.param([0, 1, 3, -1], 3, -sum(w / 38 * math.log2(w / 38) for w in (14, 24)), id="by hand, order 3"),
        pytest.param([1, 2, 3, 9, 30], 3, 0.0, id="one pattern, whatever its weights"),
        pytest.param([0, 1, 0, 1, 0], 2, 1.0, id="equal weights are no weights"),
        pytest.param([5, 5, 5, 6, 6, 6], 2, 0.0, id="what does not move weighs nothing"),
        pytest.param([5, 5, 5, 5], 2, math.nan, id="nothing moves: unknown"),
        pytest.param([0, 1, math.inf, 1], 2, math.nan, id="an infinity has no variance: unknown"),
        pytest.param([0, 1, -1.1e150, 1], 2, math.nan, id="beyond the limit of magnitude: unknown"),
        pytest.param([0, 1, math.nan, 1], 2, math.nan, id="NaN: unknown"),
    ],
)
def test_weighted_entropy_has_the_known_value(
    twin: ModuleType, series: list[float], order: int, expected: float
) -> None:
    """Values made by hand from the definition of Fadlallah et al. (2013)."""
    found = twin.permutation_entropy(np.array(series, dtype=np.float64), order, 1, 2.0, False, True)
    assert found == pytest.approx(expected, abs=1e-14, nan_ok=True)


def test_weights_see_what_patterns_do_not(twin: ModuleType) -> None:
    """A spike in noise lowers the weighted entropy much and the plain one hardly: the authors' first experiment."""
    noise = np.random.default_rng(8).standard_normal(1000)
    spiked = noise.copy()
    spiked[500] = 100.0
    plain = [twin.permutation_entropy(x, 3, 1) for x in (noise, spiked)]
    weighted = [twin.permutation_entropy(x, 3, 1, weighted=True) for x in (noise, spiked)]
    assert abs(plain[1] - plain[0]) < 0.01
    assert weighted[1] < weighted[0] - 0.2


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_is_each_of_its_series(twin: ModuleType, weighted: bool) -> None:
    """Rows do not see each other, not even one that is unknown or longer than what came before."""
    rows = np.random.default_rng(4).integers(0, 5, (5, 90)).astype(np.float64)
    rows[1, 7] = math.nan
    rows[3] = 2.0
    for order, delay in ((2, 1), (3, 2), (4, 1), (7, 15)):
        expected = [_reference.permutation_entropy(row, order, delay, 2.0, False, weighted) for row in rows]
        found = twin.permutation_entropy_batch(rows, order, delay, 2.0, False, weighted)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    assert twin.permutation_entropy_batch(np.empty((0, 9)), 3, 1).shape == (0,)
    with pytest.raises(ValueError, match="expected 2 dimension"):
        twin.permutation_entropy_batch(rows[0], 3, 1)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_rolling_entropy_is_that_of_each_window_known_with_its_last_sample(twin: ModuleType, weighted: bool) -> None:
    """Element i belongs to the samples up to and including i; before a whole window it is unknown."""
    x = np.random.default_rng(6).integers(-3, 4, 200).astype(np.float64)
    x[60] = math.nan
    x[120:150] = 1.0
    for window, order, delay in ((3, 3, 1), (20, 3, 2), (25, 5, 6), (9, 2, 1)):
        found = twin.rolling_permutation_entropy(x, window, order, delay, 2.0, False, weighted)
        assert found.shape == x.shape
        assert np.isnan(found[: window - 1]).all()
        for end in range(window, len(x) + 1):
            expected = _reference.permutation_entropy(x[end - window : end], order, delay, 2.0, False, weighted)
            assert found[end - 1] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert np.isnan(twin.rolling_permutation_entropy(x[:5], 6, 3, 1)).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("window", "order"), [(100, 3), (5000, 5)])
def test_the_rolling_entropy_does_not_drift(window: int, order: int, weighted: bool) -> None:
    """After a hundred thousand updates it is the window's own entropy to 1e-12, through calm and storm.

    The storms raise weights 10^12 times, so that the sums of a calm window would drown in what a storm leaves behind.
    """
    rng = np.random.default_rng(9)
    x = rng.standard_normal(100_000) * 10.0 ** np.repeat(rng.choice([0, 0, 3, 6], 100), 1000)
    found = _kernel.rolling_permutation_entropy(x, window, order, 1, weighted=weighted)
    ends = [window, *range(2 * window, len(x), 997), *range(len(x) - 50, len(x) + 1)]
    expected = [_kernel.permutation_entropy(x[end - window : end], order, 1, weighted=weighted) for end in ends]
    np.testing.assert_allclose(found[np.array(ends) - 1], expected, rtol=0.0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    series=st.lists(st.sampled_from([0.0, -0.0, 1.0, 1e150, -1e-160, math.nan, math.inf]) | st.floats(), max_size=80),
    order=st.integers(2, 7),
    delay=st.integers(1, 3),
    more=st.integers(0, 25),
    weighted=st.booleans(),
    cuts=st.lists(st.integers(0, 80), max_size=5),
)
@example(series=[1e150, *[0.0, 1.0, 5.0, 2.0] * 9], order=2, delay=1, more=4, weighted=True, cuts=[3])
@example(series=[1.0] * 9 + [1e-150, 0.0] * 9 + [1.0] * 9, order=3, delay=1, more=2, weighted=True, cuts=[])
@example(series=[0.0, -1e-160, 64.0], order=2, delay=1, more=1, weighted=True, cuts=[])
@example(series=[0.0, 1.0, math.nan, *range(20)], order=2, delay=3, more=0, weighted=True, cuts=[4])
def test_the_twins_agree_on_any_stream_however_it_is_cut(
    series: list[float], order: int, delay: int, more: int, weighted: bool, cuts: list[int]
) -> None:
    """One by one, in pieces or at once, both give the same; the compiled one to the bit."""
    x = np.array(series, dtype=np.float64)
    window = (order - 1) * delay + 1 + more
    arguments = (window, order, delay, 2.0, True, weighted)
    at_once = _kernel.rolling_permutation_entropy(x, *arguments)
    single = _kernel.RollingPermutationEntropy(*arguments)
    np.testing.assert_array_equal([single.update(value) for value in series], at_once)
    pieces = _kernel.RollingPermutationEntropy(*arguments)
    np.testing.assert_array_equal(np.concatenate([pieces.extend(part) for part in np.split(x, sorted(cuts))]), at_once)
    np.testing.assert_allclose(at_once, _reference.rolling_permutation_entropy(x, *arguments), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("rolling", [False, True])
def test_a_signal_ends_a_long_call(rolling: bool) -> None:
    """The kernel lets the process look at its signals many times a second: a task's soft time limit stops it.

    Python would see a signal after the call too; what tells is how much of the whole call's time was spent.
    """
    x = np.tile(np.random.default_rng(1).standard_normal(1 << 20), 8)

    def long_call() -> None:
        if rolling:
            _kernel.rolling_permutation_entropy(x, 100, 7, 1)
        else:
            _kernel.permutation_entropy(x, 7, 1, weighted=True)

    def stop(*_: object) -> None:
        raise TimeoutError

    begun = time.thread_time()
    long_call()
    whole = time.thread_time() - begun
    before = signal.signal(signal.SIGPROF, stop)
    begun = time.thread_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, whole / 10.0)
        with pytest.raises(TimeoutError):
            long_call()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
    assert time.thread_time() - begun < 0.7 * whole


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
    plain = _reference.permutation_entropy(x, order, delay, 2.0, normalised, True)
    fast = _kernel.permutation_entropy(x, order, delay, 2.0, normalised, True)
    assert fast == pytest.approx(plain, rel=1e-12, abs=1e-12, nan_ok=True)


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
