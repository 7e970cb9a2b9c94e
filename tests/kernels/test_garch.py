"""Volatility recursions: both twins against hand-made values, finite differences, scipy's densities and each other."""

import importlib.util
import math
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

import ext.garch
from ext.garch import VARIANCE_MAX, VARIANCE_MIN, _kernel, _reference

GARCH = (0.1, 0.2, 0.3, 0.0, 0.4, math.inf)
GJR = (0.1, 0.2, 0.3, 0.2, 0.4, math.inf)
GJR_STUDENT = (-0.05, 0.2, 0.05, 0.1, 0.8, 4.5)
EGARCH = (0.1, -0.1, 0.3, -0.15, 0.9, math.inf)
EGARCH_STUDENT = (-0.05, -0.1, 0.2, 0.1, 0.95, 6.0)
MODELS = [(GARCH, False), (GJR, False), (GJR_STUDENT, False), (EGARCH, True), (EGARCH_STUDENT, True)]


@pytest.fixture(params=[_reference, _kernel], ids=["reference", "kernel"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    module: ModuleType = request.param
    return module


def series(n: int = 60, seed: int = 4) -> np.ndarray:
    """Return noise with a mean."""
    return np.random.default_rng(seed).standard_normal(n) + 0.1


def centre(nu: float) -> float:
    """Return a stand-in for E|z| that depends smoothly on ν: the kernel takes whatever it is given."""
    return 0.8 if math.isinf(nu) else 0.8 - 1.0 / nu


def centre_slope(nu: float) -> float:
    """Return its derivative."""
    return 0.0 if math.isinf(nu) else 1.0 / nu**2


def test_the_compiled_kernel_is_loaded() -> None:
    """Where the kernels were built, the door gives them, and says so."""
    assert ext.garch.COMPILED
    assert ext.garch.log_likelihood is _kernel.log_likelihood
    assert ext.garch.scores is _kernel.scores
    assert ext.garch.conditional_variance is _kernel.conditional_variance


def test_the_door_falls_back_to_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiled kernel the door gives the plain twin, and says so."""
    monkeypatch.setitem(sys.modules, "ext.garch._kernel", None)
    spec = importlib.util.spec_from_file_location("door", ext.garch.__file__)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    assert not door.COMPILED
    assert door.log_likelihood is _reference.log_likelihood


@pytest.mark.parametrize(
    ("params", "log_variance", "start", "expected"),
    [
        # y − μ = 1, −2: h = 0.2 + 0.7·0.5, 0.2 + 0.3·1 + 0.4·0.55, 0.2 + 0.3·4 + 0.4·0.72
        pytest.param(GARCH, False, 0.5, [0.55, 0.72, 1.688], id="garch, given start"),
        # the mean of 1 and 4 is 2.5
        pytest.param(GARCH, False, None, [1.95, 1.28, 1.912], id="garch, start from the series"),
        # half of γ on the start, all of it on the fall
        pytest.param(GJR, False, 0.5, [0.6, 0.74, 0.2 + 0.5 * 4 + 0.4 * 0.74], id="gjr"),
        # ln h = −0.1 + 0.9·0; then + 0.3(|z| − 0.8) − 0.15 z with z = 1/√h, then z = −2/√h
        pytest.param(
            EGARCH,
            True,
            1.0,
            [
                math.exp(-0.1),
                math.exp(-0.34 + 0.15 * math.exp(0.05) - 0.09),
                math.exp(
                    -0.34 + 0.9 * math.exp(-(-0.43 + 0.15 * math.exp(0.05)) / 2) + 0.9 * (-0.43 + 0.15 * math.exp(0.05))
                ),
            ],
            id="egarch",
        ),
    ],
)
def test_the_variance_has_the_value_computed_by_hand(
    twin: ModuleType, params: tuple[float, ...], log_variance: bool, start: float | None, expected: list[float]
) -> None:
    """Two observations and the forecast, from the formula with pencil and paper."""
    found = twin.conditional_variance(np.array([1.1, -1.9]), np.array(params), log_variance, start, 0.8)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize(("params", "log_variance"), MODELS)
def test_the_terms_are_the_logarithm_of_the_density(
    twin: ModuleType, params: tuple[float, ...], log_variance: bool
) -> None:
    """Scipy's normal and Student densities at the conditional deviation, but for the constant at zero."""
    y, nu = series(), params[5]
    terms, _ = twin.scores(y, np.array(params), log_variance, 0.7, centre(nu))
    h = twin.conditional_variance(y, np.array(params), log_variance, 0.7, centre(nu))[:-1]
    if math.isinf(nu):
        density, peak = stats.norm(params[0], np.sqrt(h)), stats.norm.logpdf(0.0)
    else:
        density = stats.t(nu, params[0], np.sqrt(h * (nu - 2.0) / nu))
        peak = stats.t(nu, 0.0, math.sqrt((nu - 2.0) / nu)).logpdf(0.0)
    np.testing.assert_allclose(terms + peak, density.logpdf(y), rtol=1e-12)


@pytest.mark.parametrize("start", [None, 0.6])
@pytest.mark.parametrize(("params", "log_variance"), MODELS)
def test_the_gradient_is_that_of_finite_differences(
    twin: ModuleType, params: tuple[float, ...], log_variance: bool, start: float | None
) -> None:
    """Central differences of the log-likelihood, by every parameter that the model has, the start's share included."""
    y, theta = series(), np.array(params)

    def value(at: np.ndarray) -> float:
        return float(twin.log_likelihood(y, at, log_variance, start, centre(at[5]))[0])

    _, gradient = twin.log_likelihood(y, theta, log_variance, start, centre(theta[5]), centre_slope(theta[5]))
    for i in range(5 if math.isinf(theta[5]) else 6):
        step = np.zeros(6)
        step[i] = 1e-5
        expected = (value(theta + step) - value(theta - step)) / 2e-5
        assert gradient[i] == pytest.approx(expected, rel=1e-6, abs=1e-6), i


@pytest.mark.parametrize(("params", "log_variance"), MODELS)
def test_the_likelihood_is_the_sum_of_the_terms(
    twin: ModuleType, params: tuple[float, ...], log_variance: bool
) -> None:
    """And its gradient that of the rows, however the sums are taken."""
    y, theta = series(3000), np.array(params)
    value, gradient = twin.log_likelihood(y, theta, log_variance, None, 0.8, 0.02)
    terms, rows = twin.scores(y, theta, log_variance, None, 0.8, 0.02)
    assert value == pytest.approx(math.fsum(terms), rel=1e-12)
    np.testing.assert_allclose(gradient, rows.sum(axis=0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("params", "log_variance", "start"),
    [
        pytest.param((0.0, -1.0, 0.1, 0.0, 0.1, math.inf), False, 1.0, id="a variance below zero"),
        pytest.param((0.0, 0.1, 0.1, 0.0, 1e60, math.inf), False, 1.0, id="a variance that explodes"),
        pytest.param((0.0, 0.1, 0.1, 0.0, 0.5, math.inf), False, 1e300, id="a start out of bounds"),
        pytest.param((0.0, 5.0, 0.1, 0.0, 2.0, math.inf), True, 1.0, id="a logarithm that explodes"),
        pytest.param((0.0, -5.0, 0.0, 0.0, 2.0, math.inf), True, 1.0, id="a logarithm that implodes"),
        pytest.param((0.0, 0.0, 0.1, 0.0, 0.9, math.inf), True, 1e-200, id="a start whose logarithm is out of bounds"),
    ],
)
def test_a_path_out_of_bounds_has_no_likelihood(
    twin: ModuleType, params: tuple[float, ...], log_variance: bool, start: float
) -> None:
    """Minus infinity with a zero gradient, and NaN from there on; never a number."""
    y, theta = series(200), np.array(params)
    value, gradient = twin.log_likelihood(y, theta, log_variance, start)
    assert value == -math.inf
    assert gradient.tolist() == [0.0] * 6
    path = twin.conditional_variance(y, theta, log_variance, start)
    terms, rows = twin.scores(y, theta, log_variance, start)
    left = int(np.isnan(path).argmax())
    assert np.isnan(path[left:]).all()
    assert np.isnan(terms[left:]).all()
    assert np.isnan(rows[left:]).all()
    assert ((path[:left] >= VARIANCE_MIN) & (path[:left] <= VARIANCE_MAX)).all()


@pytest.mark.parametrize(
    ("returns", "params", "start", "message"),
    [
        ([], GARCH, None, "returns: expected shape"),
        ([[1.0]], GARCH, None, "returns: expected shape"),
        ([1.0, math.nan], GARCH, None, "returns: expected finite"),
        ([1.0, math.inf], GARCH, None, "returns: expected finite"),
        ([1.0], GARCH[:5], None, "params: expected shape"),
        ([1.0], (math.nan, *GARCH[1:]), None, "params: expected finite"),
        ([1.0], (*GARCH[:5], 2.0), None, "params: expected finite"),
        ([1.0], (*GARCH[:5], math.nan), None, "params: expected finite"),
        ([1.0], GARCH, 0.0, "start: expected a positive"),
        ([1.0], GARCH, math.nan, "start: expected a positive"),
    ],
)
@pytest.mark.parametrize("function", ["conditional_variance", "scores", "log_likelihood"])
def test_what_cannot_be_used_is_refused(
    twin: ModuleType, function: str, returns: list[float], params: tuple[float, ...], start: float | None, message: str
) -> None:
    """In this order, and the message names the argument."""
    with pytest.raises(ValueError, match=message):
        getattr(twin, function)(np.array(returns), np.array(params), False, start)


def test_an_observation_whose_square_overflows_has_no_likelihood(twin: ModuleType) -> None:
    """Minus infinity with a zero gradient, though the variance itself stays in bounds."""
    with np.errstate(over="ignore", invalid="ignore"):
        value, gradient = twin.log_likelihood(np.array([1e300]), np.array((0.0, 1.0, 0.0, 0.0, 0.0, 3.0)), False, 1.0)
    assert value == -math.inf
    assert gradient.tolist() == [0.0] * 6


@settings(max_examples=150, deadline=None)
@given(
    y=st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0]) | st.floats(-1e6, 1e6), min_size=1, max_size=30),
    params=st.tuples(
        st.floats(-1.0, 1.0),
        st.floats(-1.0, 2.0),
        st.floats(0.0, 0.5),
        st.floats(-0.3, 0.3),
        st.floats(0.0, 0.99),
        st.floats(2.001, 1e3) | st.just(math.inf),
    ),
    log_variance=st.booleans(),
    start=st.none() | st.floats(1e-8, 1e8),
)
@example(y=[0.0], params=GARCH, log_variance=True, start=None)
@example(y=[0.1, 0.1], params=GARCH, log_variance=True, start=None)
@example(y=[1e6, -1e6, 1e6], params=(0.0, 1e-8, 0.0, 0.0, 0.0, 2.001), log_variance=False, start=1e-8)
@example(y=[1e300], params=(0.0, 1e-90, 0.0, 0.0, 0.0, 3.0), log_variance=False, start=1.0)
@example(y=[1e3] * 30, params=(0.0, 1e-30, 0.0, 0.0, 0.0, 2.5), log_variance=False, start=1.0)
def test_the_twins_agree_on_any_series(
    y: list[float], params: tuple[float, ...], log_variance: bool, start: float | None
) -> None:
    """Variances, terms, scores and sums, whatever the sign of zero, the tails and the start."""
    arguments = (np.array(y), np.array(params), log_variance, start, 0.8)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_allclose(
            _kernel.conditional_variance(*arguments), _reference.conditional_variance(*arguments), rtol=1e-9
        )
        plain, fast = _reference.scores(*arguments, 0.01), _kernel.scores(*arguments, 0.01)
        size = np.nanmax(np.abs(plain[1]), initial=1.0)
        np.testing.assert_allclose(fast[0], plain[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(fast[1], plain[1], rtol=1e-9, atol=1e-9 * size)
        plain_sum, fast_sum = _reference.log_likelihood(*arguments, 0.01), _kernel.log_likelihood(*arguments, 0.01)
        assert fast_sum[0] == pytest.approx(plain_sum[0], rel=1e-9, abs=1e-9, nan_ok=True)
        np.testing.assert_allclose(fast_sum[1], plain_sum[1], rtol=1e-9, atol=1e-9 * size * len(y))
