"""The tail of losses: against SciPy's distributions, likelihoods written down anew, and known truths simulated."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import genpareto

from trisagion.regime.tails import (
    ParetoTail,
    expected_shortfall,
    hill,
    peaks_over_threshold,
    value_at_risk,
)


def _sample(shape: float, count: int = 800, seed: int = 1) -> np.ndarray:
    """Return excesses of scale 2 over 10, one loss in ten, among losses of 0."""
    excesses = genpareto.rvs(shape, scale=2.0, size=count, random_state=np.random.default_rng(seed))
    return np.concatenate([10.0 + excesses, np.zeros(9 * count)])


@pytest.mark.parametrize("shape", [-0.7, -0.3, 0.0, 0.2, 0.5, 1.3])
def test_the_fit_is_the_maximum_that_scipy_finds(shape: float) -> None:
    """Shape, scale and likelihood agree with SciPy's general search, and ours is no lower."""
    losses = _sample(shape)
    tail = peaks_over_threshold(losses, threshold=10.0)
    theirs, _, scale = genpareto.fit(losses[losses > 10.0] - 10.0, tail.shape, floc=0, scale=tail.scale)
    assert tail.converged
    assert (tail.shape, tail.scale) == pytest.approx((theirs, scale), rel=2e-3, abs=2e-3)
    likelihood = genpareto.logpdf(tail.excesses, theirs, scale=scale).sum()
    assert tail.log_likelihood >= likelihood - 1e-9
    assert tail.log_likelihood == pytest.approx(
        genpareto.logpdf(tail.excesses, tail.shape, scale=tail.scale).sum(), rel=1e-12
    )
    assert tail.share == pytest.approx(0.1)


def test_the_parameters_are_recovered_within_their_errors() -> None:
    """In 200 simulations the mean is the truth within three errors, and the spread what the covariance says."""
    fits = [peaks_over_threshold(_sample(0.3, 500, seed), threshold=10.0) for seed in range(200)]
    found = np.array([(fit.shape, fit.scale) for fit in fits])
    error = np.sqrt(np.diag(fits[0].covariance))
    assert (np.abs(found.mean(axis=0) - [0.3, 2.0]) < 3 * error / math.sqrt(200) + [0.01, 0.02]).all()
    assert found.std(axis=0) == pytest.approx(error, rel=0.2)
    assert np.corrcoef(found.T)[0, 1] == pytest.approx(fits[0].covariance[0, 1] / (error[0] * error[1]), abs=0.12)


def test_a_quantile_is_a_threshold() -> None:
    """The losses above their empirical quantile are fitted, in any order given."""
    losses = np.random.default_rng(2).permutation(_sample(0.2))
    by_quantile = peaks_over_threshold(losses, quantile=0.95)
    by_value = peaks_over_threshold(np.sort(losses), threshold=float(np.quantile(losses, 0.95)))
    assert by_quantile.threshold == by_value.threshold
    assert (by_quantile.shape, by_quantile.scale) == (by_value.shape, by_value.scale)
    assert by_quantile.share == pytest.approx(0.05)


def test_the_unit_of_the_losses_does_not_matter() -> None:
    """Losses a billion times as large, and shifted, have the shape, and everything else in their unit."""
    losses = _sample(0.2)
    small, large = (peaks_over_threshold(factor * losses, threshold=factor * 10.0) for factor in (1.0, 1e9))
    assert large.shape == pytest.approx(small.shape, abs=1e-6)
    assert large.scale == pytest.approx(1e9 * small.scale, rel=1e-6)
    assert value_at_risk(large, 0.99).high == pytest.approx(1e9 * value_at_risk(small, 0.99).high, rel=1e-5)


def test_excesses_without_a_maximum_say_so() -> None:
    """Most excesses at the very top: the likelihood grows without bound as the shape falls; nothing is made up."""
    excesses = np.concatenate([np.full(50, 1.0), [0.999, 0.5]])
    tail = peaks_over_threshold(excesses, threshold=0.0)
    assert not tail.converged
    assert "no maximum" in tail.reason
    assert math.isnan(tail.shape)
    with pytest.raises(ValueError, match="converged fit"):
        value_at_risk(tail, 0.99)


def test_no_asymptotics_are_claimed_where_they_do_not_hold() -> None:
    """For a shape below −1/2 the covariance is NaN."""
    tail = peaks_over_threshold(_sample(-0.7), threshold=10.0)
    assert tail.shape < -0.5
    assert np.isnan(tail.covariance).all()


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.4])
def test_risk_is_the_quantile_and_the_mean_beyond_it(shape: float) -> None:
    """By SciPy's quantile function, and by integrating it from the level to 1."""
    tail = peaks_over_threshold(_sample(shape), threshold=10.0)

    def quantile(level: float) -> float:
        return 10.0 + float(genpareto.ppf(1.0 - (1.0 - level) / tail.share, tail.shape, scale=tail.scale))

    risk, shortfall = value_at_risk(tail, 0.99), expected_shortfall(tail, 0.99)
    assert risk.value == pytest.approx(quantile(0.99), rel=1e-9)
    assert shortfall.value == pytest.approx(quad(quantile, 0.99, 1.0, epsrel=1e-8)[0] / 0.01, rel=1e-5)
    assert risk.low < risk.value < risk.high
    assert shortfall.low < shortfall.value < shortfall.high


@pytest.mark.parametrize("measure", [value_at_risk, expected_shortfall])
def test_the_ends_of_an_interval_are_where_the_likelihood_has_fallen(
    measure: Callable[[ParetoTail, float, float], object],
) -> None:
    """At each end the best likelihood with the quantity held is 1.92 below the maximum; χ²(1) at 95 % is 3.84."""
    tail = peaks_over_threshold(_sample(0.2), threshold=10.0)

    def held(quantity: float) -> float:
        """Maximise over the shape, with the scale that gives the quantity found by its own definition."""

        def depth(shape: float) -> float:
            beyond = genpareto.ppf(0.9, shape)
            unit = beyond if measure is value_at_risk else (beyond + 1.0) / (1.0 - shape)
            return -float(genpareto.logpdf(tail.excesses, shape, scale=(quantity - 10.0) / unit).sum())

        return -float(minimize_scalar(depth, bounds=(-0.3, 0.9), method="bounded", options={"xatol": 1e-9}).fun)

    found = measure(tail, 0.99, 0.95)
    for end in (found.low, found.high):  # type: ignore[attr-defined]
        assert tail.log_likelihood - held(end) == pytest.approx(3.841459 / 2, abs=1e-4)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Of 150 fits to the excesses of known distributions, 95 % intervals of both measures hold it in 90 to 98 %."""
    true_risk = 10.0 + float(genpareto.ppf(0.9, 0.25, scale=2.0))
    true_shortfall = (true_risk + 2.0 - 0.25 * 10.0) / 0.75
    risks = shortfalls = 0
    for seed in range(150):
        tail = peaks_over_threshold(_sample(0.25, 120, seed), threshold=10.0)
        risk, shortfall = value_at_risk(tail, 0.99), expected_shortfall(tail, 0.99)
        risks += risk.low <= true_risk <= risk.high
        shortfalls += shortfall.low <= true_shortfall <= shortfall.high
    assert 0.90 <= risks / 150 <= 0.98
    assert 0.90 <= shortfalls / 150 <= 0.98


def test_a_mean_that_does_not_exist_is_infinite() -> None:
    """With a shape of 1 and more the shortfall is infinite; near it, the upper end of its interval."""
    beyond = peaks_over_threshold(_sample(1.6), threshold=10.0)
    found = expected_shortfall(beyond, 0.99)
    assert beyond.shape > 1.0
    assert (found.value, found.high) == (math.inf, math.inf)
    assert math.isnan(found.low)
    near = peaks_over_threshold(_sample(0.8, 60), threshold=10.0)
    assert near.shape < 1.0
    assert expected_shortfall(near, 0.99).high == math.inf
    assert math.isfinite(expected_shortfall(near, 0.99).value)
    assert math.isfinite(value_at_risk(near, 0.99).high)


def test_hill_has_the_values_made_by_hand() -> None:
    """Of 8, 4, 2, 1: the mean logarithms over the next loss are log 2, 3/2·log 2 and 2·log 2."""
    found = hill(np.array([2.0, 1.0, 8.0, 4.0]), 3)
    expected = np.array([1.0, 1.0 / 1.5, 0.5]) / math.log(2)
    assert found.k.tolist() == [1, 2, 3]
    assert found.alpha == pytest.approx(expected)
    assert found.standard_error == pytest.approx(expected / np.sqrt([1, 2, 3]))
    assert found.threshold.tolist() == [4.0, 2.0, 1.0]


def test_hill_recovers_the_index_of_a_pareto_distribution() -> None:
    """Over 300 samples the mean of 1/alpha is the truth, its spread that of the standard error."""
    rng = np.random.default_rng(3)
    found = np.array([1.0 / hill(rng.pareto(3.0, 500) + 1.0, 100).alpha[-1] for _ in range(300)])
    assert abs(found.mean() - 1.0 / 3.0) < 3 * found.std() / math.sqrt(300)
    assert found.std() == pytest.approx(1.0 / 3.0 / 10.0, rel=0.12)


def test_hill_of_equal_losses_is_unknown() -> None:
    """While the greatest losses are equal there is no slope."""
    found = hill(np.array([5.0, 5.0, 5.0, 1.0]), 3)
    assert np.isnan(found.alpha[:2]).all()
    assert found.alpha[2] == pytest.approx(1.0 / math.log(5.0))


_LOSSES = _sample(0.2, 50)
_TAIL = peaks_over_threshold(_LOSSES, threshold=10.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: peaks_over_threshold(_LOSSES), "either a threshold or a quantile"),
        (lambda: peaks_over_threshold(_LOSSES, threshold=1.0, quantile=0.9), "either a threshold or a quantile"),
        (lambda: peaks_over_threshold(_LOSSES, quantile=1.0), "quantile"),
        (lambda: peaks_over_threshold(_LOSSES, threshold=math.nan), "threshold: expected a finite"),
        (lambda: peaks_over_threshold(_LOSSES, threshold=1e9), "at least 10 losses above 1000000000.0, found 0"),
        (lambda: peaks_over_threshold(np.ones(50), threshold=0.0), "50 equal ones"),
        (lambda: peaks_over_threshold(np.append(_LOSSES, math.nan), threshold=1.0), "finite values"),
        (lambda: peaks_over_threshold(np.append(_LOSSES, math.inf), threshold=1.0), "finite values"),
        (lambda: peaks_over_threshold(np.zeros((9, 9)), threshold=1.0), "shape"),
        (lambda: value_at_risk(_TAIL, 0.9), "level: expected above 0.9"),
        (lambda: value_at_risk(_TAIL, 1.0), "level"),
        (lambda: value_at_risk(_TAIL, math.nan), "level"),
        (lambda: expected_shortfall(_TAIL, 0.5), "level"),
        (lambda: expected_shortfall(_TAIL, 0.99, 1.0), "confidence"),
        (lambda: hill(np.array([1.0, 2.0]), 2), "k_max: expected 1 to 1"),
        (lambda: hill(np.array([1.0, 2.0]), 0), "k_max"),
        (lambda: hill(np.array([-1.0, 2.0, 3.0]), 2), "positive"),
        (lambda: hill(np.array([1.0, math.nan, 3.0]), 1), "finite"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        call()
