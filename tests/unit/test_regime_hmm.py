"""Hidden Markov models: filters, paths and forecasts of a given model, against statsmodels and simulation."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from tests.unit.hmm_builder import GNP, MODEL, PAIR, SIX, daily_returns, simulate
from trisagion.market.types import Float64Array, Int64Array
from trisagion.regime import hmm
from trisagion.regime.hmm import (
    HmmModel,
    begin,
    decode,
    filter_many,
    filter_states,
    forecast,
    log_likelihood,
    predictive_cdf,
    smooth_states,
    stack,
    update,
)
from trisagion.regime.hmm_fit import fit


@pytest.mark.parametrize("regimes", [2, 3])
def test_likelihood_filter_and_smoother_are_those_of_statsmodels(regimes: int) -> None:
    """With the same parameters Hamilton's filter and Kim's smoother of statsmodels give the same on his GNP series."""
    theirs = MarkovRegression(GNP, k_regimes=regimes, switching_variance=True)
    rng = np.random.default_rng(2)
    for _ in range(5):
        transition = rng.dirichlet(np.full(regimes, 2.0), regimes)
        mean, variance = rng.normal(0.5, 1.0, regimes), rng.uniform(0.2, 3.0, regimes)
        params = np.concatenate([transition[:, :-1].T.ravel(), mean, variance])
        model = HmmModel(
            hmm.stationary_distribution(transition),
            transition,
            mean[:, None],
            variance[:, None, None],
            np.full(regimes, math.inf),
        )
        found = theirs.smooth(params)
        mine = filter_states(model, GNP)
        assert mine.log_likelihood == pytest.approx(theirs.loglike(params), rel=1e-11)
        np.testing.assert_allclose(mine.probability, found.filtered_marginal_probabilities, atol=1e-10)
        np.testing.assert_allclose(smooth_states(model, GNP), found.smoothed_marginal_probabilities, atol=1e-10)


@pytest.mark.parametrize("model", [MODEL, PAIR, SIX], ids=["one variable", "two variables", "six states"])
def test_a_stream_gives_the_batch_bit_for_bit(model: HmmModel) -> None:
    """Sample by sample, or going on after a batch, the numbers equal those of one call."""
    _, x = simulate(model, 600, 1)
    whole = filter_states(model, x)
    state = begin(model)
    for t, sample in enumerate(x):
        state = update(model, state, sample)
        np.testing.assert_array_equal(state.probability, whole.probability[t])
        assert state.log_density == whole.log_density[t]
    np.testing.assert_array_equal(state.prior, whole.next_prior)
    late = filter_states(model, x[:400]).state
    for sample in x[400:]:
        late = update(model, late, sample)
    np.testing.assert_array_equal(late.probability, whole.state.probability)
    np.testing.assert_array_equal(late.prior, whole.state.prior)


def test_the_future_does_not_change_the_past() -> None:
    """Filtered probabilities and densities of a truncated series are those of the whole one, to the last bit."""
    _, x = simulate(MODEL, 900, 2)
    whole = filter_states(MODEL, x)
    for end in (1, 256, 300, 899):
        part = filter_states(MODEL, x[:end])
        np.testing.assert_array_equal(part.probability, whole.probability[:end])
        np.testing.assert_array_equal(part.predicted, whole.predicted[:end])
        np.testing.assert_array_equal(part.log_density, whole.log_density[:end])


def test_the_smoother_knows_more_than_the_filter() -> None:
    """With later samples the true state has the higher probability on average, at the last sample the same."""
    states, x = simulate(MODEL, 3000, 3)
    filtered, smoothed = filter_states(MODEL, x).probability, smooth_states(MODEL, x)
    rows = np.arange(len(x))
    assert smoothed[rows, states].mean() > filtered[rows, states].mean() + 0.02
    np.testing.assert_array_equal(smoothed[-1], filtered[-1])


def test_a_short_block_length_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filter, smoother and path are the same however the series is cut for the kernels."""
    _, x = simulate(MODEL, 700, 4)
    whole = (filter_states(MODEL, x), smooth_states(MODEL, x), decode(MODEL, x))
    monkeypatch.setattr(hmm, "CHUNK_WORK", 100 * hmm.work_of_a_sample(3, 1))
    assert len(hmm.chunks(MODEL, len(x))) == 7
    cut = (filter_states(MODEL, x), smooth_states(MODEL, x), decode(MODEL, x))
    np.testing.assert_array_equal(cut[0].probability, whole[0].probability)
    np.testing.assert_array_equal(cut[0].next_prior, whole[0].next_prior)
    np.testing.assert_array_equal(cut[1], whole[1])
    np.testing.assert_array_equal(cut[2][0], whole[2][0])
    assert cut[2][1] == whole[2][1]


@pytest.mark.parametrize("work", [hmm.CHUNK_WORK, 5 * hmm.work_of_a_sample(3, 1)])
def test_many_series_in_one_call_are_each_their_own(monkeypatch: pytest.MonkeyPatch, work: int) -> None:
    """Each series under its own model, in a batch and then live, gives what it gives alone, bit for bit."""
    monkeypatch.setattr(hmm, "CHUNK_WORK", work)
    models = [MODEL, MODEL.reordered([2, 0, 1]), MODEL.reordered([1, 2, 0])]
    series = np.stack([simulate(model, 200, seed)[1] for seed, model in enumerate(models)])
    batch = filter_many(stack(models), series[:, :199])
    live = filter_many(stack(models), series[:, 199:], batch.next_prior)
    for s, model in enumerate(models):
        alone = filter_states(model, series[s])
        np.testing.assert_array_equal(batch.probability[s], alone.probability[:199])
        np.testing.assert_array_equal(batch.predicted[s], alone.predicted[:199])
        np.testing.assert_array_equal(batch.log_density[s], alone.log_density[:199])
        np.testing.assert_array_equal(live.probability[s, 0], alone.probability[199])
        np.testing.assert_array_equal(live.next_prior[s], alone.next_prior)


def test_the_path_is_more_probable_than_the_true_one() -> None:
    """No path, the true one included, has a higher joint probability; most states of it are right."""
    states, x = simulate(MODEL, 2000, 5)
    path, reached = decode(MODEL, x)

    def joint(candidate: Int64Array) -> float:
        total = math.log(MODEL.start[candidate[0]])
        total += np.log(MODEL.transition[candidate[:-1], candidate[1:]]).sum()
        for j in range(3):
            z = x[candidate == j, 0]
            center, spread = MODEL.mean[j, 0], math.sqrt(MODEL.scale[j, 0, 0])
            total += stats.t.logpdf(z, MODEL.dof[j], center, spread).sum()
        return float(total)

    assert reached == pytest.approx(joint(path), rel=1e-12)
    assert joint(states) < reached < log_likelihood(MODEL, x)
    assert (path == states).mean() > 0.65


def test_one_bad_tick_is_survived() -> None:
    """A price a thousandfold off yields finite numbers, and the states recover within some samples."""
    _, x = simulate(MODEL, 400, 6)
    spoiled = x.copy()
    spoiled[200] = 1e6
    found, clean = filter_states(MODEL, spoiled), filter_states(MODEL, x)
    assert np.isfinite(found.log_density).all()
    assert found.probability[200, 2] > 0.999
    assert abs(found.probability[300:] - clean.probability[300:]).max() < 1e-3


@pytest.mark.parametrize("model", [MODEL, PAIR], ids=["one variable", "two variables"])
def test_forecasts_are_moments_of_the_mixture(model: HmmModel) -> None:
    """Each step ahead has the matrix power of the states, and mean and covariance of the samples drawn from them."""
    probability = np.eye(model.states)[-1]
    ahead = forecast(model, probability, 8)
    for h in (1, 3, 8):
        weights = probability @ np.linalg.matrix_power(model.transition, h)
        np.testing.assert_allclose(ahead.probability[h - 1], weights, rtol=1e-12)
        mean = sum(p * mu for p, mu in zip(weights, model.mean, strict=True))
        square = sum(
            p * (cov + np.outer(mu, mu)) for p, mu, cov in zip(weights, model.mean, model.covariance, strict=True)
        )
        np.testing.assert_allclose(ahead.mean[h - 1], mean, rtol=1e-12)
        np.testing.assert_allclose(ahead.covariance[h - 1], square - np.outer(mean, mean), rtol=1e-10)


def test_forecasts_agree_with_simulation() -> None:
    """The stationary mean and variance are those of a long simulated series, within four standard errors."""
    _, x = simulate(MODEL, 60_000, 7)
    ahead = forecast(MODEL, MODEL.start, 2000)
    np.testing.assert_allclose(ahead.probability[-1], MODEL.stationary, rtol=1e-9)
    deviation = math.sqrt(ahead.covariance[-1, 0, 0])
    # Persistent states make samples' squares dependent over some tens of samples: thirty of them count as one.
    blocks = (x[:, 0] ** 2).reshape(-1, 300).mean(axis=1)
    assert x.mean() == pytest.approx(ahead.mean[-1, 0], abs=4 * deviation / math.sqrt(len(x) / 30))
    second = ahead.covariance[-1, 0, 0] + ahead.mean[-1, 0] ** 2
    assert blocks.mean() == pytest.approx(second, abs=4 * float(stats.sem(blocks)))


def test_moments_that_do_not_exist_are_unknown() -> None:
    """Student's t has no mean up to one degree of freedom and no variance up to two: NaN, not a number."""
    heavy = HmmModel(np.ones(1), np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1, 1)), np.array([1.0]))
    ahead = forecast(heavy, np.ones(1), 1)
    assert np.isnan(ahead.mean).all()
    assert np.isnan(ahead.covariance).all()
    heavy = HmmModel(np.ones(1), np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1, 1)), np.array([2.0]))
    ahead = forecast(heavy, np.ones(1), 1)
    assert ahead.mean[0, 0] == 0.0
    assert np.isnan(ahead.covariance).all()


def test_probability_integral_transforms_of_the_true_model_are_uniform() -> None:
    """One and five steps ahead they are uniform; those of a single normal distribution are far from it."""
    _, x = simulate(MODEL, 6000, 8)
    found = filter_states(MODEL, x)
    one_ahead = predictive_cdf(MODEL, found.predicted, x)[:, 0]
    assert stats.kstest(one_ahead, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(one_ahead[:-1], one_ahead[1:])[0, 1]) < 3 / math.sqrt(len(x))
    five = np.array([forecast(MODEL, row, 5).probability[-1] for row in found.probability[:-5]])
    # Forecasts that overlap depend on each other; every fifth does not.
    assert stats.kstest(predictive_cdf(MODEL, five, x[5:])[::5, 0], "uniform").pvalue > 0.01
    assert stats.kstest(stats.norm.cdf(x[:, 0], x.mean(), x.std()), "uniform").pvalue < 1e-6


@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("fitted", [False, True], ids=["true model", "fitted model"])
def test_forecasts_of_states_are_reliable(horizon: int, fitted: bool) -> None:
    """On held-out samples states come as often as was forecast (a fitted model errs more), oftener than by shares."""
    truth = HmmModel(MODEL.start, MODEL.transition, MODEL.mean, MODEL.scale**2, np.full(3, math.inf))
    states, x = simulate(truth, 9000, 9)
    model = fit(x[:5000], 3, np.random.default_rng(1), restarts=3).model if fitted else truth
    filtered = filter_states(model, x).probability[5000:-horizon]
    told = np.array([forecast(model, row, horizon).probability[-1] for row in filtered])
    came = np.eye(3)[states[5000 + horizon :]]
    brier = ((told - came) ** 2).sum(axis=1).mean()
    shares = ((came.mean(axis=0) - came) ** 2).sum(axis=1).mean()
    assert brier < (0.75 if horizon == 1 else 0.9) * shares
    for low in np.arange(0.0, 1.0, 0.2):
        chosen = (told >= low) & (told < low + 0.2)
        if chosen.sum() > 200:
            # States persist: about ten forecasts in a row succeed or fail together.
            error = math.sqrt(told[chosen].mean() * (1 - told[chosen].mean()) / chosen.sum() * 10)
            assert came[chosen].mean() == pytest.approx(told[chosen].mean(), abs=2.5 * error + 0.03 * fitted)


def test_forecasts_of_real_daily_returns_are_calibrated() -> None:
    """Two states of Student's t, fitted to 2000 days, forecast the next 1000 well; a normal distribution does not."""
    returns = daily_returns()
    fitted = fit(returns[:2000], 2, np.random.default_rng(1), dof=None, restarts=4)
    assert fitted.converged
    found = filter_states(fitted.model, returns)
    told = predictive_cdf(fitted.model, found.predicted, returns)[2000:, 0]
    assert stats.kstest(told, "uniform").pvalue > 0.05
    assert 0.02 < ((told < 0.025) | (told > 0.975)).mean() < 0.08
    flat = stats.norm(returns[:2000].mean(), returns[:2000].std())
    assert stats.kstest(flat.cdf(returns[2000:]), "uniform").pvalue < 1e-4
    assert found.log_density[2000:].sum() > flat.logpdf(returns[2000:]).sum() + 50


def test_durations_and_stationary_shares_are_those_of_a_chain() -> None:
    """A simulated chain stays as long and is as often in each state as the model says."""
    states, _ = simulate(MODEL, 60_000, 10)
    np.testing.assert_allclose(np.bincount(states) / len(states), MODEL.stationary, atol=0.03)
    entered = np.bincount(states[1:][np.diff(states) != 0])
    np.testing.assert_allclose(np.bincount(states) / entered, MODEL.expected_duration, rtol=0.1)


def test_a_state_never_left_lasts_for_ever() -> None:
    """Its expected duration is infinite; a chain that falls apart still has a stationary distribution."""
    apart = HmmModel(MODEL.start, np.eye(3), MODEL.mean, MODEL.scale, MODEL.dof)
    assert np.isinf(apart.expected_duration).all()
    np.testing.assert_allclose(apart.stationary, 1 / 3)


def test_a_model_cannot_be_changed() -> None:
    """Its arrays are copies, and read-only."""
    mean = MODEL.mean.copy()
    model = HmmModel(MODEL.start, MODEL.transition, mean, MODEL.scale, MODEL.dof)
    mean[0] = 9.0
    assert model.mean[0, 0] == MODEL.mean[0, 0]
    with pytest.raises(ValueError, match="read-only"):
        model.mean[0] = 9.0


def made(**changes: Any) -> Callable[[], HmmModel]:
    """Make a model with something wrong in it."""
    parts = {name: getattr(MODEL, name) for name in ("start", "transition", "mean", "scale", "dof")}
    return lambda: HmmModel(**{**parts, **changes})


ROW = np.array([0.2, 0.3, 0.5])
REFUSED: list[tuple[str, Callable[[], object]]] = [
    ("1 to 32 states", made(start=np.empty(0))),
    (r"transition: expected shape \(3, 3\)", made(transition=np.eye(2))),
    (r"scale: expected shape \(3, 1, 1\)", made(scale=np.ones((3, 1)))),
    ("start: expected probabilities that sum to 1", made(start=np.array([0.5, 0.5, 0.1]))),
    ("start: expected probabilities", made(start=np.array([1.5, -0.5, 0.0]))),
    ("transition: expected probabilities", made(transition=np.full((3, 3), math.nan))),
    ("mean: expected numbers", made(mean=np.array([[0.0], [math.inf], [0.0]]))),
    ("dof: expected above 0", made(dof=np.array([1.0, 0.0, 1.0]))),
    ("dof: expected above 0", made(dof=np.full(3, math.nan))),
    ("scale: expected deviations", made(scale=np.zeros((3, 1, 1)))),
    ("scale: expected deviations", made(scale=np.full((3, 1, 1), math.nan))),
    ("scale: expected positive definite", lambda: _pair(np.array([[1.0, 2.0], [2.0, 1.0]]))),
    ("scale: expected symmetric", lambda: _pair(np.array([[1.0, 0.5], [0.4, 1.0]]))),
    ("order: expected each of 0 to 2 once", lambda: MODEL.reordered([0, 1, 1])),
    ("x: expected float64", lambda: filter_states(MODEL, np.zeros(3, dtype=np.float32))),
    ("x: expected float64", lambda: filter_states(MODEL, np.zeros(0))),
    ("x: expected float64", lambda: filter_states(MODEL, np.zeros((2, 2, 2)))),
    ("x: expected 1 variables, found 2", lambda: filter_states(MODEL, np.zeros((3, 2)))),
    ("found NaN", lambda: filter_states(MODEL, np.array([0.0, math.nan]))),
    ("found NaN", lambda: smooth_states(MODEL, np.array([math.inf]))),
    ("found NaN", lambda: decode(MODEL, np.array([1e101]))),
    ("found NaN", lambda: update(MODEL, begin(MODEL), math.nan)),
    ("transition: expected shape", lambda: update(MODEL, begin(PAIR), 0.0)),
    ("mean: expected shape", lambda: update(MODEL, begin(MODEL), np.zeros(2))),
    ("models of one size", lambda: stack([MODEL, PAIR])),
    ("models of one size", lambda: stack([])),
    ("x: expected float64 of shape", lambda: filter_many(stack([MODEL]), np.zeros((1, 5)))),
    ("as many models as series", lambda: filter_many(stack([MODEL]), np.zeros((2, 5, 1)))),
    ("horizon: expected 1 to 10000, found 0", lambda: forecast(MODEL, ROW, 0)),
    ("horizon: expected 1 to 10000", lambda: forecast(MODEL, ROW, 10_001)),
    ("probability: expected 3 that sum to 1", lambda: forecast(MODEL, ROW * 2, 1)),
    ("probability: expected 3 that sum to 1", lambda: forecast(MODEL, ROW * math.nan, 1)),
    ("a row each sample", lambda: predictive_cdf(MODEL, np.ones((2, 3)), np.zeros(3))),
    ("density 0 on every path", lambda: decode(_narrow(), np.array([[1e99, -1e99]]))),
    ("density is 0 in every state", lambda: filter_states(_narrow(), np.array([[1e99, -1e99]]))),
]


def _pair(scale: Float64Array) -> HmmModel:
    return HmmModel(np.ones(1), np.ones((1, 1)), np.zeros((1, 2)), scale[None], np.full(1, math.inf))


def _narrow() -> HmmModel:
    """Make a model of two variables hardly ever apart: where they are, far out, its density is 0 in doubles."""
    return _pair(np.array([[1.0, 1.0 - 1e-12], [1.0 - 1e-12, 1.0]]) * 1e-99)


@pytest.mark.parametrize(("message", "call"), REFUSED, ids=[f"{i}: {row[0]}" for i, row in enumerate(REFUSED)])
def test_bad_input_is_refused(message: str, call: Callable[[], object]) -> None:
    """The message says what was expected and what was found."""
    with pytest.raises(ValueError, match=message):
        call()
