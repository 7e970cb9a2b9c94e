"""The Bayesian run length: against enumeration of every segmentation, and what pruning may cost."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import multivariate_t

from trisagion.regime.runlength import (
    NormalInverseGamma,
    RunLengthModel,
    RunLengths,
    run_length_begin,
    run_length_step,
    run_lengths,
)

PRIOR = NormalInverseGamma(mean=0.5, kappa=0.7, alpha=1.5, beta=0.8)
EXACT = RunLengthModel(PRIOR, hazard=0.2, drop_max=0.0)


def _run(x: np.ndarray) -> float:
    """Return the density of a run: jointly its points are multivariate t."""
    if len(x) == 0:
        return 1.0
    shape = PRIOR.beta / PRIOR.alpha * (np.eye(len(x)) + 1.0 / PRIOR.kappa)
    return float(multivariate_t.pdf(x, loc=np.full(len(x), PRIOR.mean), shape=shape, df=2 * PRIOR.alpha))


def _enumerated(x: np.ndarray, hazard: float) -> np.ndarray:
    """Return the joint density of x and each run length 0 … n, from all 2ⁿ ways of placing changes."""
    joint = np.zeros(len(x) + 1)
    for changed in itertools.product([False, True], repeat=len(x)):
        cuts = [i + 1 for i, change in enumerate(changed) if change]
        density = math.prod(_run(part) for part in np.split(x, cuts))
        density *= hazard ** len(cuts) * (1.0 - hazard) ** (len(x) - len(cuts))
        joint[len(x) - (cuts[-1] if cuts else 0)] += density
    return joint


def test_the_distribution_is_that_of_all_segmentations() -> None:
    """After each of seven points, run lengths and evidence are what enumeration gives."""
    x = np.array([0.1, 0.4, -0.3, 4.0, 4.2, 3.9, -1.0])
    state, evidence = run_length_begin(EXACT), 0.0
    for seen, value in enumerate(x.tolist(), start=1):
        state = run_length_step(EXACT, state, value)
        evidence += state.log_predictive
        joint = _enumerated(x[:seen], EXACT.hazard)
        assert state.lengths.tolist() == list(range(seen + 1))
        assert state.mass == pytest.approx(joint / joint.sum(), rel=1e-10)
        assert evidence == pytest.approx(math.log(joint.sum()), rel=1e-10)
    assert state.mass_lost == 0.0


def _steps(seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat([0.0, 5.0, 5.0, -3.0], 60) + rng.normal(size=240)


def test_a_change_is_noticed_within_a_few_points() -> None:
    """Five points after each jump the most likely run began at it; between jumps nothing is recent."""
    model = RunLengthModel(NormalInverseGamma(0.0, 0.05, 1.0, 1.0), hazard=1 / 100)
    path = run_lengths(model, _steps(), within=10)
    for change, start in ((65, 60), (185, 180)):
        assert path.most_likely[change - 1] == change - start
        assert path.recent[change - 1] > 0.95
    assert path.recent[[40, 110, 160, 230]].max() < 0.2
    assert path.expected[179] == pytest.approx(120, abs=12)


def test_a_state_goes_on_as_if_never_stopped() -> None:
    """Cut anywhere, two halves give what the whole gives, to the last bit."""
    x = _steps()
    whole = run_lengths(EXACT, x)
    for cut in (1, 61, 239):
        first = run_lengths(EXACT, x[:cut])
        second = run_lengths(EXACT, x[cut:], first.state)
        for name in ("most_likely", "expected", "recent", "log_predictive"):
            found = np.concatenate([getattr(first, name), getattr(second, name)])
            np.testing.assert_array_equal(found, getattr(whole, name))
        np.testing.assert_array_equal(second.state.mass, whole.state.mass)


def test_nothing_depends_on_what_comes_later() -> None:
    """Other points after the hundredth leave the first hundred answers as they were."""
    x = _steps()
    changed = x.copy()
    changed[100:] = 1e6
    whole, other = run_lengths(EXACT, x), run_lengths(EXACT, changed)
    for name in ("most_likely", "expected", "recent", "log_predictive"):
        np.testing.assert_array_equal(getattr(whole, name)[:100], getattr(other, name)[:100])
    assert whole.log_predictive[100] != other.log_predictive[100]


def _distance(kept: RunLengths, exact: RunLengths) -> float:
    """Return the total variation between two distributions of the run length."""
    full = np.zeros(int(exact.lengths[-1]) + 1)
    full[exact.lengths] = exact.mass
    full[kept.lengths] -= kept.mass
    return float(np.abs(full).sum()) / 2.0


def test_what_is_dropped_costs_no_more_than_the_bound_on_average() -> None:
    """On series drawn from the model, the mean distance to the exact distribution is below the mean mass lost."""
    rng = np.random.default_rng(5)
    coarse = RunLengthModel(PRIOR, EXACT.hazard, drop_max=0.002)
    distances, lost, dropped = [], [], 0
    for _ in range(60):
        x = np.empty(60)
        mean = deviation = 0.0
        for i in range(len(x)):
            if i == 0 or rng.random() < EXACT.hazard:
                variance = PRIOR.beta / rng.gamma(PRIOR.alpha)
                deviation = math.sqrt(variance)
                mean = PRIOR.mean + math.sqrt(variance / PRIOR.kappa) * rng.normal()
            x[i] = mean + deviation * rng.normal()
        kept, exact = run_lengths(coarse, x).state, run_lengths(EXACT, x).state
        distances.append(_distance(kept, exact))
        lost.append(kept.mass_lost)
        dropped += len(exact.lengths) - len(kept.lengths)
    assert dropped > 60 * 10
    assert 0.0 < np.mean(distances) < np.mean(lost)
    assert max(lost) <= 60 * coarse.drop_max


def test_the_number_of_hypotheses_is_bounded() -> None:
    """Beyond the bound the least likely go, and the mass lost says so."""
    bounded = RunLengthModel(PRIOR, EXACT.hazard, drop_max=0.0, hypotheses_max=30)
    state = run_lengths(bounded, np.random.default_rng(1).normal(size=100)).state
    assert len(state.lengths) == 30
    assert state.lengths[0] == 0
    assert 0.0 < state.mass_lost < 1.0
    assert state.mass.sum() == pytest.approx(1.0)


def test_an_outlier_of_any_size_leaves_a_distribution() -> None:
    """A point 10¹⁰⁰ away takes no logarithm of 0 and no overflow: the masses still sum to 1."""
    state = run_lengths(EXACT, np.array([0.0, 0.1, 1e100, 0.2, 0.1])).state
    assert state.mass.sum() == pytest.approx(1.0)
    assert np.isfinite(state.log_predictive)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NormalInverseGamma(math.nan, 1.0, 1.0, 1.0), "mean"),
        (lambda: NormalInverseGamma(0.0, 0.0, 1.0, 1.0), "kappa"),
        (lambda: NormalInverseGamma(0.0, 1.0, -1.0, 1.0), "alpha"),
        (lambda: NormalInverseGamma(0.0, 1.0, 1.0, math.inf), "beta"),
        (lambda: RunLengthModel(PRIOR, 0.0), "hazard"),
        (lambda: RunLengthModel(PRIOR, 1.0), "hazard"),
        (lambda: RunLengthModel(PRIOR, 0.1, drop_max=0.5), "drop_max"),
        (lambda: RunLengthModel(PRIOR, 0.1, hypotheses_max=1), "hypotheses_max"),
        (lambda: run_length_step(EXACT, run_length_begin(EXACT), math.nan), "finite number"),
        (lambda: run_length_step(EXACT, run_length_begin(EXACT), 1e200), "within 1e\\+150"),
        (lambda: run_lengths(EXACT, np.array([])), "n >= 1"),
        (lambda: run_lengths(EXACT, np.zeros((2, 2))), "shape"),
        (lambda: run_lengths(EXACT, np.array([0.0, math.inf])), "finite number"),
        (lambda: run_lengths(EXACT, np.zeros(3), within=0), "within"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        call()
