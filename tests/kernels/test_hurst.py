"""Detrended fluctuations: both twins against values by hand and polynomial fits, and against each other."""

import importlib.util
import math
import signal
import sys
import time
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ext.hurst
from ext.hurst import _kernel, _reference


@pytest.fixture(params=[_reference, _kernel], ids=["reference", "kernel"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    module: ModuleType = request.param
    return module


def test_the_compiled_kernel_is_loaded() -> None:
    """Where the kernels were built, the door gives them, and says so."""
    assert ext.hurst.COMPILED
    assert ext.hurst.dfa_fluctuations is _kernel.dfa_fluctuations


def test_the_door_falls_back_to_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiled kernel the door gives the plain twin, and says so."""
    monkeypatch.setitem(sys.modules, "ext.hurst._kernel", None)
    spec = importlib.util.spec_from_file_location("door", ext.hurst.__file__)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    assert not door.COMPILED
    assert door.dfa_fluctuations is _reference.dfa_fluctuations


@pytest.mark.parametrize(
    ("series", "scale", "order", "expected"),
    [
        # Profile 1, 2, 3, 0: squares about its mean 5, of which the line of slope −0.2 takes 0.2² · 5.
        pytest.param([1, 1, 1, -3], 4, 1, math.sqrt(4.8 / 4), id="a line, by hand"),
        # The parabola 1, −1, −1, 1 times (1 − 2 − 3 + 0)/4 = −1 takes 4 more.
        pytest.param([1, 1, 1, -3], 4, 2, math.sqrt(0.8 / 4), id="a parabola, by hand"),
        # Profile 1, 0, 1, 0 twice: squares about its mean 1, of which the line of slope −0.2 takes 0.2² · 5.
        pytest.param([1, -1] * 4, 4, 1, math.sqrt(0.8 / 4), id="two windows"),
        pytest.param([1, -1] * 4 + [0], 4, 1, math.sqrt(0.8 / 4), id="what is left at the end is in no window"),
    ],
)
def test_a_fluctuation_has_the_value_made_by_hand(
    twin: ModuleType, series: list[float], scale: int, order: int, expected: float
) -> None:
    """Small profiles, their least squares trends, and the root mean square of what is left."""
    found = twin.dfa_fluctuations(np.array([series], dtype=np.float64), np.array([scale]), order)
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("order", [1, 2])
def test_fluctuations_are_those_of_polynomial_fits(twin: ModuleType, order: int) -> None:
    """Polynomials of numpy's, fitted to each window of the whole series' profile, leave the same."""
    x = np.random.default_rng(2).standard_t(3, 1000) + 0.3
    profile = np.cumsum(x - x.mean())
    scales = [order + 2, 9, 31, 64, 127, 128, 129, 300, 1000]
    expected = []
    for scale in scales:
        windows = profile[: len(x) // scale * scale].reshape(-1, scale).T
        places = np.linspace(-1.0, 1.0, scale)
        fitted = np.polynomial.polynomial.polyval(places, np.polynomial.polynomial.polyfit(places, windows, order))
        expected.append(math.sqrt(((windows.T - fitted) ** 2).mean()))
    np.testing.assert_allclose(twin.dfa_fluctuations(x[None], np.array(scales), order)[0], expected, rtol=1e-10)


def test_a_batch_is_each_of_its_series(twin: ModuleType) -> None:
    """Rows do not see each other, whatever their level and size; no row gives no row."""
    rows = np.random.default_rng(3).standard_normal((4, 333)) * [[1.0], [1e-9], [1e50], [3.0]] + [
        [0.0],
        [1.0],
        [0],
        [9],
    ]
    scales = np.array([4, 10, 40, 166])
    alone = [twin.dfa_fluctuations(row[None], scales)[0] for row in rows]
    np.testing.assert_array_equal(twin.dfa_fluctuations(rows, scales), alone)
    assert twin.dfa_fluctuations(np.empty((0, 50)), scales[:3]).shape == (0, 3)


def _hard(kind: str, samples: int) -> np.ndarray:
    noise = np.random.default_rng(7).standard_normal(samples)
    place = np.arange(samples)
    series: dict[str, np.ndarray] = {
        "noise": noise,
        "far from zero": noise + 1e9,
        "a path": np.cumsum(noise),
        "a path of a path": np.cumsum(np.cumsum(noise)),
        "smooth, with a little noise": np.sin(place / 50.0) + 1e-6 * noise,
        "a spike there and back": noise + 1e12 * (place == 150) - 1e12 * (place == 153),
        "quiet after a storm": noise * np.where(place < samples // 2, 1e8, 1.0),
        "heavy tails": np.random.default_rng(8).standard_cauchy(samples),
        "a step": noise + 1e6 * (place > samples // 3),
    }
    return series[kind]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "kind",
    [
        "noise",
        "far from zero",
        "a path",
        "a path of a path",
        "smooth, with a little noise",
        "a spike there and back",
        "quiet after a storm",
        "heavy tails",
        "a step",
    ],
)
def test_running_sums_lose_nothing_on_hard_series(kind: str, order: int) -> None:
    """Where windows are small differences of large numbers, the kernel still gives the plain twin's value."""
    x = _hard(kind, 20_000)[None]
    scales = np.unique(np.rint(np.geomspace(order + 3, 5000, 25)).astype(np.int64))
    plain = _reference.dfa_fluctuations(x, scales, order)
    np.testing.assert_allclose(_kernel.dfa_fluctuations(x, scales, order), plain, rtol=1e-7)


@settings(max_examples=150, deadline=None)
@given(
    series=st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e6]) | st.floats(-1e100, 1e100), min_size=8, max_size=300),
    order=st.sampled_from([1, 2]),
    data=st.data(),
)
@example(series=[1.0] * 40, order=1, data=None)
@example(series=[0.0] * 130 + [1e100, -1e100] + [5.0] * 130, order=2, data=None)
@example(series=[0.1] * 127 + [0.3] * 130, order=1, data=None)
def test_the_twins_agree_on_any_series(series: list[float], order: int, data: st.DataObject | None) -> None:
    """To 1e-7, and where a window follows its trend exactly, to the rounding of its profile."""
    x = np.array([series])
    lengths = st.sets(st.integers(order + 2, len(series)), min_size=1, max_size=5)
    scales = np.array(sorted(data.draw(lengths)) if data else [order + 2, 10, 40])
    plain = _reference.dfa_fluctuations(x, scales, order)
    rounding = 1e-13 * len(series) * np.abs(x - x.mean()).max() + 1e-150
    np.testing.assert_allclose(_kernel.dfa_fluctuations(x, scales, order), plain, rtol=1e-7, atol=rounding)


X = np.random.default_rng(1).standard_normal((2, 50))


@pytest.mark.parametrize(
    ("x", "scales", "order", "message"),
    [
        pytest.param(X, [5], 3, "order: expected 1 or 2, found 3", id="order"),
        pytest.param(X[0], [5], 1, r"two dimensions, found float64, shape \(50,\)", id="one dimension"),
        pytest.param(X.astype(complex), [5], 1, "real numbers in two dimensions, found complex128", id="complex"),
        pytest.param(np.zeros((1, 2**22 + 1), np.int8), [5], 1, "at most 4194304 samples", id="too long"),
        pytest.param(X, [5.0], 1, "scales: expected integers in one dimension, found float64", id="real scales"),
        pytest.param(X, [[5]], 1, r"scales: expected integers in one dimension, .*\(1, 1\)", id="shape of scales"),
        pytest.param(X, [2, 5], 1, "scales: expected 3 to 50 samples, found 2", id="too short a window"),
        pytest.param(X, [3, 5], 2, "scales: expected 4 to 50 samples, found 3", id="too short for a parabola"),
        pytest.param(X, [5, 51], 1, "scales: expected 3 to 50 samples, found 51", id="too long a window"),
        pytest.param(X, [5, 5], 1, r"rising lengths, found \[5, 5\]", id="scales that do not rise"),
        pytest.param(np.where(X > 2, math.nan, X), [5], 1, "magnitude up to 1e[+]100, found nan", id="NaN"),
        pytest.param(np.where(X > 2, math.inf, X), [5], 1, "magnitude up to 1e[+]100, found inf", id="infinite"),
        pytest.param(X * 1e101, [5], 1, "magnitude up to 1e[+]100, found", id="too large"),
    ],
)
def test_arguments_out_of_range_are_refused(
    twin: ModuleType, x: np.ndarray, scales: list[object], order: int, message: str
) -> None:
    """The message says what was expected and what was found, in this order of precedence."""
    with pytest.raises(ValueError, match=message):
        twin.dfa_fluctuations(x, np.array(scales), order)


def test_a_signal_ends_a_long_call() -> None:
    """The kernel looks at the process's signals once a scale: a task's soft time limit stops it.

    Python would see a signal after the call too; what tells is how much of the whole call's time was spent.
    """
    x = np.random.default_rng(1).standard_normal((1, 1_000_000))
    scales = np.arange(4, 300)

    def stop(*_: object) -> None:
        raise TimeoutError

    begun = time.thread_time()
    _kernel.dfa_fluctuations(x, scales)
    whole = time.thread_time() - begun
    before = signal.signal(signal.SIGPROF, stop)
    begun = time.thread_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, whole / 10.0)
        with pytest.raises(TimeoutError):
            _kernel.dfa_fluctuations(x, scales)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
    assert time.thread_time() - begun < 0.7 * whole
