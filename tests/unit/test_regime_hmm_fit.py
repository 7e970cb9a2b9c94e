"""Fitting hidden Markov models: rising likelihood, known maxima, recovered truth; and the names of six states."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from tests.unit.hmm_builder import GNP, MODEL, PAIR, daily_returns, simulate
from trisagion.market.types import Float64Array
from trisagion.regime import hmm, hmm_fit
from trisagion.regime.hmm import HmmModel, log_likelihood
from trisagion.regime.hmm_fit import DOF_MAX, DOF_MIN, HmmFit, Rules, baum_welch, fit
from trisagion.regime.hmm_preset import NamedState, Regime, fit_six_states, name_states


def rng() -> np.random.Generator:
    """Give the same generator each time."""
    return np.random.default_rng(1)


def poor_start(dof: float) -> HmmModel:
    """Make a bad first guess for two variables."""
    return HmmModel(
        np.array([0.3, 0.7]),
        np.array([[0.5, 0.5], [0.4, 0.6]]),
        np.array([[2.0, 1.0], [-1.0, 0.0]]),
        np.array([np.eye(2) * 3.0, np.eye(2)]),
        np.full(2, dof),
    )


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("start", ["free", "stationary"])
@pytest.mark.parametrize(
    ("dof", "fit_dof"),
    [(math.inf, False), (4.0, False), (10.0, True)],
    ids=["normal", "t of 4 degrees", "t of unknown degrees"],
)
def test_the_likelihood_never_falls(covariance: Any, start: Any, dof: float, fit_dof: bool) -> None:
    """Whatever is estimated, none of sixty iterations lowers the likelihood, and the first ones raise it."""
    _, x = simulate(PAIR, 500, 1)
    rules = Rules(covariance=covariance, start=start, fit_dof=fit_dof, iterations_max=60, tolerance=0.0)
    begin = poor_start(dof)
    found = baum_welch(begin, x, rules)
    if start == "stationary":
        begin = replace(begin, start=np.array([4.0, 5.0]) / 9.0)
    gains = np.diff(found.history)
    assert found.iterations == 60
    assert (gains > -1e-9).all()
    assert gains[:5].min() > 1e-3
    assert log_likelihood(found.model, x) == pytest.approx(found.log_likelihood, rel=1e-12)
    assert found.history[0] == pytest.approx(log_likelihood(begin, x), rel=1e-12)
    if start == "stationary":
        np.testing.assert_allclose(found.model.start, found.model.stationary, atol=1e-9)


def nudged(model: HmmModel) -> list[HmmModel]:
    """Move each parameter a little, both ways."""
    near = []
    for step in (-1e-3, 1e-3):
        for j in range(model.states):
            near += [_moved(model, "mean", (j, a), step) for a in range(model.variables)]
            near += [_moved(model, "dof", (j,), 100 * step)] if math.isfinite(model.dof[j]) else []
            near += [_moved(model, "scale", (j, a, a), step) for a in range(model.variables)]
            transition = model.transition.copy()
            transition[j] += step * (np.eye(model.states)[j] - transition[j])
            near.append(replace(model, transition=transition))
    return near


def _moved(model: HmmModel, name: str, place: tuple[int, ...], step: float) -> HmmModel:
    values = getattr(model, name).copy()
    values[place] += step
    changed: HmmModel = replace(model, **{name: values})
    return changed


@pytest.mark.parametrize("dof", [math.inf, None], ids=["normal", "t"])
def test_no_model_nearby_is_likelier(dof: float | None) -> None:
    """At a converged fit every small change of one parameter lowers the likelihood."""
    truth = replace(PAIR, dof=np.full(2, math.inf if dof else 5.0))
    _, x = simulate(truth, 1500, 2)
    found = fit(x, 2, rng(), dof=dof, rules=Rules(covariance="full", tolerance=1e-8, iterations_max=5000), restarts=2)
    assert found.converged
    for near in nudged(found.model):
        assert log_likelihood(near, x) < found.log_likelihood


def test_one_normal_state_has_the_sample_moments() -> None:
    """With one state the maximum is known: mean and covariance of the samples."""
    _, x = simulate(PAIR, 400, 3)
    found = fit(x, 1, rng(), rules=Rules(covariance="full"))
    np.testing.assert_allclose(found.model.mean[0], x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.model.scale[0], np.cov(x.T, bias=True), rtol=1e-9)
    expected = stats.multivariate_normal(x.mean(axis=0), np.cov(x.T, bias=True)).logpdf(x).sum()
    assert found.log_likelihood == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("dof", [None, 4.0], ids=["estimated", "fixed"])
def test_one_state_of_students_t_has_the_maximum_that_scipy_finds(dof: float | None) -> None:
    """With one state ECM and scipy's optimiser find one maximum."""
    x = stats.t.rvs(4.5, loc=0.1, scale=2.0, size=800, random_state=np.random.default_rng(4))

    def loss(params: Float64Array) -> float:
        nu = math.exp(params[0]) if dof is None else dof
        return -float(stats.t.logpdf(x, nu, params[1], math.exp(params[2])).sum())

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9, "maxiter": 5000})
    theirs = (math.exp(best.x[0]) if dof is None else dof, best.x[1], math.exp(best.x[2]))
    found = fit(x, 1, rng(), dof=dof, rules=Rules(tolerance=1e-8, iterations_max=5000), restarts=1)
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(found.model.dof[0], theirs[0], rtol=1e-3)
    np.testing.assert_allclose(found.model.mean[0, 0], theirs[1], atol=1e-3)
    np.testing.assert_allclose(math.sqrt(found.model.scale[0, 0, 0]), theirs[2], rtol=1e-3)


def test_the_parameters_of_a_simulated_series_are_recovered() -> None:
    """Twenty thousand samples give back means, variances, transitions and tails."""
    truth = replace(MODEL, scale=MODEL.scale**2, dof=np.full(3, 6.0))
    _, x = simulate(truth, 20_000, 5)
    found = fit(x, 3, rng(), dof=None, restarts=2, rules=Rules(tolerance=1e-2))
    assert found.converged
    np.testing.assert_allclose(found.model.mean, truth.mean, atol=0.25)
    np.testing.assert_allclose(found.model.mean[:2], truth.mean[:2], atol=0.05)
    np.testing.assert_allclose(found.model.scale, truth.scale, rtol=0.12)
    np.testing.assert_allclose(found.model.transition, truth.transition, atol=0.02)
    np.testing.assert_allclose(1 / found.model.dof, 1 / truth.dof, atol=0.05)
    assert found.log_likelihood > log_likelihood(truth, x)
    assert found.log_likelihood < log_likelihood(truth, x) + found.parameters


def test_correlated_variables_are_recovered() -> None:
    """Full scale matrices come back; a diagonal fit of the same series is less likely."""
    _, x = simulate(PAIR, 8000, 6)
    full = fit(x, 2, rng(), dof=None, rules=Rules(covariance="full", iterations_max=150), restarts=2)
    np.testing.assert_allclose(full.model.scale, PAIR.scale, rtol=0.15, atol=0.1)
    assert full.model.dof[0] > 25
    assert full.model.dof[1] == pytest.approx(6.0, rel=0.3)
    diagonal = fit(x, 2, rng(), dof=None, rules=Rules(iterations_max=150), restarts=2)
    assert diagonal.log_likelihood < full.log_likelihood - 100
    assert diagonal.parameters == full.parameters - 2


def test_states_have_one_order_whatever_the_start() -> None:
    """Fits of other seeds number the same states the same: by rising scale of the first variable."""
    truth = replace(MODEL, scale=MODEL.scale**2, dof=np.full(3, math.inf))
    _, x = simulate(truth, 4000, 7)
    fits = [fit(x, 3, np.random.default_rng(seed), rules=Rules(tolerance=1e-7)) for seed in range(4)]
    for found in fits:
        assert (np.diff(found.model.scale[:, 0, 0]) > 0).all()
        np.testing.assert_allclose(found.model.mean, fits[0].model.mean, atol=2e-3)
        np.testing.assert_allclose(found.model.transition, fits[0].model.transition, atol=2e-3)


def test_the_same_generator_gives_the_same_fit() -> None:
    """Nothing is drawn from anywhere else."""
    _, x = simulate(MODEL, 800, 8)
    first, second = (fit(x, 3, rng(), restarts=5) for _ in range(2))
    np.testing.assert_array_equal(first.starts, second.starts)
    np.testing.assert_array_equal(first.model.mean, second.model.mean)
    assert len(first.starts) == 5
    assert first.log_likelihood >= first.starts.max()


@pytest.mark.parametrize(("factor", "offset"), [(1e-8, 0.0), (1e40, 0.0), (1.0, 1e7), (1.0, -1e7)])
def test_units_and_levels_do_not_matter(factor: float, offset: float) -> None:
    """A series in another unit, or far from 0, has the same states; its log-likelihood moves by the unit alone."""
    _, x = simulate(replace(MODEL, scale=MODEL.scale**2), 1500, 9)
    plain, moved = (fit(series, 3, rng(), restarts=3) for series in (x, x * factor + offset))
    expected = plain.log_likelihood - len(x) * math.log(factor)
    assert moved.log_likelihood == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(moved.model.transition, plain.model.transition, atol=1e-3)


def test_the_variance_floor_holds() -> None:
    """A series that often stands still does not make a state of infinite density: its variance ends at the floor."""
    noise = np.random.default_rng(10).normal(size=600)
    noise[np.random.default_rng(11).random(600) < 0.4] = 0.0
    rules = Rules(variance_floor=1e-4)
    found = fit(noise, 2, rng(), rules=rules)
    floor = 1e-4 * noise.var()
    assert found.model.scale[0, 0, 0] == pytest.approx(floor, rel=1e-9)
    assert (np.diff(found.history) > -1e-9).all()
    assert math.isfinite(found.log_likelihood)


def test_the_floor_holds_for_full_matrices() -> None:
    """Two copies of one variable have a singular covariance; the floor keeps it positive definite."""
    x = np.random.default_rng(12).normal(size=400)
    found = fit(np.column_stack([x, x]), 2, rng(), rules=Rules(covariance="full", iterations_max=50))
    assert np.linalg.eigvalsh(found.model.scale).min() >= 0.9e-6 * x.var()
    assert math.isfinite(found.log_likelihood)


def test_a_wild_outlier_does_not_break_the_fit() -> None:
    """A sample 1e20 times the others leaves a finite, rising likelihood, for the normal distribution and for t."""
    _, x = simulate(MODEL, 600, 13)
    x[300] = 1e20
    for dof in (math.inf, 4.0, None):
        found = fit(x, 2, rng(), dof=dof, rules=Rules(variance_floor=1e-60))
        assert np.isfinite(found.history).all()
        assert (np.diff(found.history) > -1e-6).all()


def test_a_long_series_is_fitted_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels get no more at a time than they do in a few hundredths of a second, and the fit is the same."""
    _, x = simulate(MODEL, 3000, 14)
    rules = Rules(iterations_max=10, tolerance=0.0)
    whole = baum_welch(MODEL, x, rules)
    monkeypatch.setattr(hmm, "CHUNK_WORK", 100 * hmm.work_of_a_sample(3, 1))
    cut = baum_welch(MODEL, x, rules)
    np.testing.assert_allclose(cut.history, whole.history, rtol=1e-11)
    np.testing.assert_allclose(cut.model.scale, whole.model.scale, rtol=1e-9)


def test_degrees_of_freedom_stay_within_their_bounds() -> None:
    """Normal samples go to the upper bound, Cauchy's to the lower."""
    generator = np.random.default_rng(15)
    rules = Rules(iterations_max=3000)
    normal = fit(generator.uniform(size=500), 1, rng(), dof=None, rules=rules, restarts=1)
    cauchy = fit(generator.standard_cauchy(500), 1, rng(), dof=None, rules=rules, restarts=1)
    assert normal.model.dof[0] == DOF_MAX
    assert cauchy.model.dof[0] == DOF_MIN


def test_a_fit_says_whether_it_converged() -> None:
    """With enough iterations it has, with two it has not; the reason tells which bound ended it."""
    enough = fit(GNP, 2, rng())
    short = fit(GNP, 2, rng(), rules=Rules(iterations_max=2))
    assert enough.converged
    assert "left to gain" in enough.reason
    assert not short.converged
    assert short.reason == "2 iterations were done"
    assert short.iterations == 2
    assert enough.iterations == len(enough.history) - 1


def test_what_is_left_to_gain_is_estimated_well() -> None:
    """After convergence at a tolerance, many more iterations gain no more than about that."""
    loose = fit(GNP, 2, rng(), rules=Rules(tolerance=1e-3))
    far = baum_welch(loose.model, GNP, Rules(tolerance=1e-10, iterations_max=20_000))
    assert 0.0 < far.log_likelihood - loose.log_likelihood < 3e-3


@pytest.mark.parametrize("iterations_max", [1, 50], ids=["in the last iteration", "before"])
def test_a_fall_of_the_likelihood_is_not_hidden(monkeypatch: pytest.MonkeyPatch, iterations_max: int) -> None:
    """Were an iteration to make the model worse, the fit would say so, and give the better one back."""
    _, x = simulate(MODEL, 300, 18)
    worse = replace(MODEL, mean=MODEL.mean + 5.0)
    monkeypatch.setattr(hmm_fit, "_maximise", lambda *_: worse)
    found = baum_welch(MODEL, x, Rules(iterations_max=iterations_max))
    assert not found.converged
    assert "fell by" in found.reason
    assert found.model is MODEL
    assert found.history.tolist() == [found.log_likelihood] == [log_likelihood(MODEL, x)]


def test_zeros_stay_zeros() -> None:
    """A transition that the start excludes is never taken: models with a given structure can be fitted."""
    ring = np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]])
    _, x = simulate(replace(MODEL, transition=ring), 1000, 16)
    found = baum_welch(replace(MODEL, transition=ring), x, Rules(fit_dof=False, iterations_max=30))
    assert (found.model.transition[ring == 0.0] == 0.0).all()
    assert (np.diff(found.history) > -1e-9).all()


def ask(x: Any = GNP, states: int = 2, **options: Any) -> Callable[[], HmmFit]:
    """Ask for a fit with something wrong in it."""
    return lambda: fit(x, states, rng(), **options)


REFUSED: list[tuple[str, Callable[[], object]]] = [
    ("x: expected float64", ask(np.arange(100))),
    ("x: expected float64", ask(np.zeros((0, 1)))),
    ("expected numbers that vary", ask(np.ones(100))),
    ("expected numbers that vary", ask(np.column_stack([GNP, np.ones(len(GNP))]))),
    ("expected numbers that vary", ask(np.append(GNP, math.nan))),
    ("expected numbers that vary", ask(np.append(GNP, -math.inf))),
    ("expected numbers that vary, at most 1e\\+100", ask(np.append(GNP, 1e101))),
    ("as many samples as parameters, 47, found 40", ask(GNP[:40].copy(), 6)),
    ("states: expected 1 to 32, found 0", ask(states=0)),
    ("states: expected 1 to 32, found 33", ask(states=33)),
    ("restarts: expected 1 to 1000, found 0", ask(restarts=0)),
    ("dof: expected above 0", ask(dof=0.0)),
    ("dof: expected above 0", ask(dof=math.nan)),
    ("diagonal or full", lambda: Rules(covariance="spherical")),  # type: ignore[arg-type]
    ("free or stationary", lambda: Rules(start="known")),  # type: ignore[arg-type]
    ("variance_floor: expected between 0 and 1", lambda: Rules(variance_floor=0.0)),
    ("iterations_max: expected 1 to 100000", lambda: Rules(iterations_max=0)),
    ("tolerance: expected 0 or more", lambda: Rules(tolerance=-1.0)),
    ("tolerance: expected 0 or more", lambda: Rules(tolerance=math.nan)),
    ("expected variances of at least", lambda: baum_welch(MODEL, GNP, Rules(variance_floor=0.9))),
    ("expected diagonal scale matrices", lambda: baum_welch(PAIR, simulate(PAIR, 50, 1)[1])),
    ("dof: expected 2.1 to 200.0", lambda: baum_welch(replace(MODEL, dof=np.full(3, 2.0)), GNP)),
    ("expected 3 variables|expected 1 variables", lambda: baum_welch(MODEL, np.zeros((50, 2)))),
    ("expected 6 states, found 3", lambda: name_states(MODEL)),
]


@pytest.mark.parametrize(("message", "call"), REFUSED, ids=[f"{i}: {row[0]}" for i, row in enumerate(REFUSED)])
def test_bad_input_is_refused(message: str, call: Callable[[], object]) -> None:
    """The message says what was expected and what was found."""
    with pytest.raises(ValueError, match=message):
        call()


def market(means: list[float], dof: float = math.inf) -> HmmModel:
    """Make six states of rising volatility, 0.4 to 3 per cent; the fifth is entered out of the sixth,
    and that out of the fourth.
    """
    transition = np.full((6, 6), 0.01)
    transition[5, 4], transition[3, 5] = 0.08, 0.02
    np.fill_diagonal(transition, 0.0)
    np.fill_diagonal(transition, 1 - transition.sum(axis=1))
    spread = np.array([0.4, 0.6, 0.9, 1.3, 2.0, 3.0])
    return HmmModel(
        np.full(6, 1 / 6), transition, np.array(means)[:, None], (spread**2)[:, None, None], np.full(6, dof)
    )


ROWS: list[tuple[list[float], str, str]] = [
    ([0.15, 0.08, 0.01, -0.1, 0.2, -0.4], "StrongBull Bull Sideways Bear Recovery Crisis", "111111"),
    ([0.01, 0.08, 0.15, -0.1, 0.2, -0.4], "Sideways Bull StrongBull Bear Recovery Crisis", "111111"),
    ([0.15, 0.08, 0.06, 0.05, 0.2, -0.4], "StrongBull Bull Sideways Bear Recovery Crisis", "111011"),
    ([0.15, 0.08, 0.01, -0.1, -0.2, -0.4], "StrongBull Bull Sideways Bear Recovery Crisis", "111101"),
    ([0.15, 0.08, 0.01, -0.4, 0.2, -0.1], "StrongBull Bull Sideways Crisis Recovery Bear", "111101"),
    ([-0.1, -0.2, -0.3, 0.1, 0.2, 0.3], "Bull Sideways Bear Crisis StrongBull Recovery", "001011"),
]
"""Means of six states in order of volatility, their names, and which are typical."""


@pytest.mark.parametrize("dof", [math.inf, 5.0, 1.5])
@pytest.mark.parametrize(("means", "names", "typical"), ROWS)
def test_names_follow_from_the_rules(means: list[float], names: str, typical: str, dof: float) -> None:
    """Each name is given once, by the same rules for any tails; a state that is not what its name says admits it."""
    found = name_states(market(means, dof))
    assert " ".join(state.regime for state in found) == names
    if dof != 1.5:
        assert "".join(str(int(state.typical)) for state in found) == typical
    assert [state.index for state in found] == list(range(6))
    for state, mean in zip(found, means, strict=True):
        assert state.mean == mean
        assert state.reason


def test_names_do_not_depend_on_the_order_of_the_states() -> None:
    """A state keeps its name, mean, volatility, duration and share wherever it stands in the model."""
    model = market(ROWS[0][0])
    plain = {state.regime: state for state in name_states(model)}
    for state in name_states(model.reordered([3, 5, 0, 2, 4, 1])):
        same = plain[state.regime]
        for name in ("mean", "volatility", "expected_duration", "share"):
            assert getattr(state, name) == pytest.approx(getattr(same, name), rel=1e-9)
        assert (state.typical, state.reason) == (same.typical, same.reason)
    assert plain[Regime.CRISIS].volatility == pytest.approx(3.0)
    assert plain[Regime.CRISIS].expected_duration == pytest.approx(1 / 0.12)
    assert plain[Regime.STRONG_BULL].expected_duration == pytest.approx(1 / 0.05)
    assert sum(state.share for state in plain.values()) == pytest.approx(1.0)


def test_a_variance_that_does_not_exist_is_unknown() -> None:
    """Student's t with 1.5 degrees of freedom has no volatility: NaN; a sideways state then is not typical."""
    found = name_states(market(ROWS[0][0], 1.5))
    assert all(math.isnan(state.volatility) for state in found)
    assert not found[2].typical


def test_six_simulated_regimes_get_their_names_back() -> None:
    """A fit of twelve thousand days of six separated states names each as the true model's is named."""
    truth = market([0.6, 0.3, 0.0, -1.5, 3.0, -4.0])
    _, x = simulate(truth, 12_000, 17)
    found = fit_six_states(x[:, 0], rng(), restarts=6, rules=Rules(tolerance=1e-2))
    by_name: dict[Regime, NamedState] = {state.regime: state for state in found.states}
    for state in name_states(truth):
        mine = by_name[state.regime]
        assert mine.mean == pytest.approx(state.mean, abs=0.35)
        assert mine.volatility == pytest.approx(state.volatility, rel=0.15)
        assert mine.expected_duration == pytest.approx(state.expected_duration, rel=0.35)
        assert mine.typical == state.typical


def test_six_states_of_real_returns_are_explained() -> None:
    """Each of Apple's six states has one name, finite numbers and a reason; Crisis is rough and loses."""
    found = fit_six_states(daily_returns(), rng(), restarts=4, rules=Rules(iterations_max=100))
    assert {state.regime for state in found.states} == set(Regime)
    for state in found.states:
        assert state.volatility > 0.0
        assert state.expected_duration >= 1.0
    crisis = next(state for state in found.states if state.regime is Regime.CRISIS)
    assert crisis.volatility > np.median([state.volatility for state in found.states])
    assert crisis.mean < 0.0
