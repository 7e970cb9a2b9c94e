"""Markov switching: published values of Hamilton's model, and agreement with our own hidden Markov model."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.unit.hmm_builder import GNP, HAMILTON
from trisagion.regime.hmm import HmmModel, filter_states, smooth_states
from trisagion.regime.hmm_fit import Rules, fit
from trisagion.regime.markov_switching import MarkovSwitchingFit, fit_markov_switching


def fitted(**options: Any) -> MarkovSwitchingFit:
    """Fit two regimes to Hamilton's series."""
    return fit_markov_switching(GNP, 2, np.random.default_rng(1), **options)


@pytest.fixture(scope="module")
def hamilton() -> MarkovSwitchingFit:
    """Hamilton's own model: two means, four lags."""
    return fitted(order=4)


@pytest.fixture(scope="module")
def switching() -> MarkovSwitchingFit:
    """Two means and variances, no lags."""
    return fitted(switching_variance=True)


def test_hamiltons_model_has_the_published_values(hamilton: MarkovSwitchingFit) -> None:
    """Likelihood and parameters are those of EViews to the digits that an optimiser's tolerance leaves.

    Hamilton (1989, table I) prints p = 0.9049, q = 0.7550, μ = −0.3577 and −0.3577 + 1.5221, σ = 0.7690.
    """
    assert hamilton.converged
    assert hamilton.log_likelihood == pytest.approx(-181.26339, abs=1e-5)
    np.testing.assert_allclose(hamilton.transition[:, 0], [0.754673, 0.095915], atol=2e-5)
    np.testing.assert_allclose(hamilton.mean, [-0.358811, 1.163516], atol=2e-5)
    np.testing.assert_allclose(hamilton.variance, math.exp(-0.262658) ** 2, atol=1e-5)
    for row in hamilton.autoregression:
        np.testing.assert_allclose(row, [0.013486, -0.057521, -0.246983, -0.212923], atol=3e-5)
    assert (hamilton.samples, hamilton.parameters) == (131, 9)
    paper = (0.9049, 0.7550, -0.3577, 1.1644, 0.7690)
    ours = (*hamilton.transition.diagonal()[::-1], *hamilton.mean, math.sqrt(hamilton.variance[0]))
    np.testing.assert_allclose(ours, paper, atol=2e-3)


def test_hamiltons_regimes_have_the_published_probabilities(hamilton: MarkovSwitchingFit) -> None:
    """Filtered and smoothed probabilities of expansion are those of EViews, quarter by quarter."""
    np.testing.assert_allclose(hamilton.filtered[:, 1], HAMILTON[4:, 1], atol=5e-5)
    np.testing.assert_allclose(hamilton.smoothed[:, 1], HAMILTON[4:, 2], atol=5e-5)
    np.testing.assert_allclose(hamilton.filtered.sum(axis=1), 1.0)


def test_the_regimes_are_in_the_order_of_their_means(
    hamilton: MarkovSwitchingFit, switching: MarkovSwitchingFit
) -> None:
    """Recession is regime 0, expansion 1, and expansion lasts longer: Hamilton found 4.1 and 10.5 quarters."""
    assert (np.diff(switching.mean) > 0).all()
    np.testing.assert_allclose(hamilton.expected_duration, [4.1, 10.5], atol=0.1)


def test_our_hidden_markov_model_agrees_at_the_optimum(switching: MarkovSwitchingFit) -> None:
    """Baum–Welch and statsmodels' optimiser, two ways to one maximum, meet within 1e-5 nats."""
    mine = fit(GNP, 2, np.random.default_rng(1), rules=Rules(start="stationary", tolerance=1e-9))
    assert mine.converged
    assert switching.converged
    assert mine.log_likelihood == pytest.approx(switching.log_likelihood, abs=1e-5)
    by_mean = mine.model.reordered(np.argsort(mine.model.mean[:, 0]).tolist())
    np.testing.assert_allclose(by_mean.mean[:, 0], switching.mean, atol=1e-3)
    np.testing.assert_allclose(by_mean.scale[:, 0, 0], switching.variance, atol=1e-3)
    np.testing.assert_allclose(by_mean.transition, switching.transition, atol=1e-3)
    assert mine.parameters == switching.parameters
    assert mine.aic == pytest.approx(switching.aic, abs=1e-4)
    assert mine.bic == pytest.approx(switching.bic, abs=1e-4)


def test_what_was_fitted_can_go_on_as_a_hidden_markov_model(switching: MarkovSwitchingFit) -> None:
    """Without lags the parameters are those of a hidden Markov model, and its filter gives the same probabilities."""
    stationary = np.linalg.matrix_power(switching.transition, 200)[0]
    model = HmmModel(
        stationary / stationary.sum(),
        switching.transition,
        switching.mean[:, None],
        switching.variance[:, None, None],
        np.full(2, math.inf),
    )
    assert filter_states(model, GNP).log_likelihood == pytest.approx(switching.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(filter_states(model, GNP).probability, switching.filtered, atol=1e-9)
    np.testing.assert_allclose(smooth_states(model, GNP), switching.smoothed, atol=1e-9)


def test_lags_may_switch() -> None:
    """Each regime then has its own coefficient; the fuller model is at least as likely as the restricted one."""
    free = fitted(order=1, switching_autoregression=True)
    tied = fitted(order=1)
    assert free.autoregression.shape == (2, 1)
    assert free.autoregression[0, 0] != free.autoregression[1, 0]
    assert tied.autoregression[0, 0] == tied.autoregression[1, 0]
    assert free.log_likelihood > tied.log_likelihood - 1e-6


def test_restarts_are_drawn_from_the_generator_and_do_not_lose() -> None:
    """With restarts the likelihood is at least that without, and the same seed gives the same fit."""
    with_restarts = fitted(switching_variance=True, restarts=2)
    assert with_restarts.log_likelihood >= fitted(switching_variance=True).log_likelihood - 1e-6
    again = fitted(switching_variance=True, restarts=2)
    assert again.log_likelihood == with_restarts.log_likelihood


def test_a_fit_that_did_not_converge_says_so() -> None:
    """Two iterations are not enough, and the result says that they were all."""
    short = fitted(order=2, iterations_max=2)
    assert not short.converged
    assert short.reason == "the iterations allowed were done"


def call(y: Any = GNP, regimes: int = 2, **options: Any) -> Callable[[], object]:
    """Ask for a fit with something wrong in it."""
    return lambda: fit_markov_switching(y, regimes, np.random.default_rng(1), **options)


REFUSED = [
    ("regimes: expected 2 to 6, found 1", call(regimes=1)),
    ("regimes: expected 2 to 6, found 7", call(regimes=7)),
    ("order: expected 0 to 8, found -1", call(order=-1)),
    ("order: expected 0 to 8, found 9", call(order=9)),
    ("at most 1024, found 4096", call(regimes=4, order=5)),
    ("restarts: expected 0 to 100, found -1", call(restarts=-1)),
    ("iterations_max: expected 1 to 100000, found 0", call(iterations_max=0)),
    ("expected float64", call(y=np.arange(50))),
    ("expected float64", call(y=np.zeros(0))),
    ("one series of finite numbers that vary", call(y=np.zeros(50))),
    ("one series of finite numbers that vary", call(y=np.append(GNP, math.nan))),
    ("one series of finite numbers that vary", call(y=np.append(GNP, math.inf))),
    ("one series of finite numbers that vary", call(y=np.ones((50, 2)))),
    ("expected more than 13 samples, found 10", call(y=GNP[:10].copy(), order=4)),
]


@pytest.mark.parametrize(("message", "ask"), REFUSED, ids=[f"{i}: {row[0]}" for i, row in enumerate(REFUSED)])
def test_bad_input_is_refused(message: str, ask: Callable[[], object]) -> None:
    """The message says what was expected and what was found."""
    with pytest.raises(ValueError, match=message):
        ask()
