"""Hidden Markov recursions: both twins against enumeration of all paths, scipy's densities, and each other."""

import importlib.util
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

import ext.hmm
from ext.hmm import _kernel, _reference

Floats = Any
NAMES = ("forward", "smooth", "moments", "scores", "trace")


@dataclass(frozen=True, slots=True)
class Case:
    """A model, a series, and where it begins."""

    x: Floats
    prior: Floats
    transition: Floats
    mean: Floats
    whiten: Floats
    dof: Floats

    def forward(self, twin: ModuleType) -> tuple[Floats, Floats, Floats, Floats]:
        """Filter this one series."""
        done = twin.forward(*(value[None] for value in self.all()))
        return tuple(value[0] for value in done)

    def all(self) -> tuple[Floats, ...]:
        """Give the arguments of `forward`, without the axis of series."""
        return (self.x, self.prior, *self.model())

    def model(self) -> tuple[Floats, ...]:
        """Give the parameters that other functions take behind their own arguments."""
        return (self.transition, self.mean, self.whiten, self.dof)


def case(seed: int, samples: int, states: int, variables: int, dof: tuple[float, ...], zeros: bool = False) -> Case:
    """Draw a model with full scale matrices and a series that wanders through its states."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(states, 0.7), states)
    prior = rng.dirichlet(np.ones(states))
    if zeros:
        # A ring: every state can only stay or go on, and the chain begins in the first.
        transition = 0.6 * np.eye(states) + 0.4 * np.roll(np.eye(states), 1, axis=1)
        prior = np.eye(states)[0]
    whiten = np.tril(rng.normal(size=(states, variables, variables)))
    for a in range(variables):
        whiten[:, a, a] = rng.uniform(0.3, 3.0, states)
    mean = rng.normal(size=(states, variables))
    x = mean[rng.integers(0, states, samples)] + rng.normal(size=(samples, variables))
    return Case(x, prior, transition, mean, whiten, np.array([dof[j % len(dof)] for j in range(states)]))


CASES = [
    pytest.param(case(1, 6, 2, 1, (math.inf,)), id="two normal states"),
    pytest.param(case(2, 5, 3, 1, (4.0,)), id="three states of Student's t"),
    pytest.param(case(3, 5, 3, 2, (math.inf,)), id="two correlated variables"),
    pytest.param(case(4, 5, 3, 3, (1.5, math.inf, 30.0)), id="three variables, normal and t mixed"),
    pytest.param(case(5, 6, 3, 1, (math.inf,), zeros=True), id="transitions of probability 0"),
    pytest.param(case(6, 4, 1, 1, (5.0,)), id="one state"),
    pytest.param(case(12, 4, 6, 1, (math.inf, 5.0)), id="six states"),
    pytest.param(case(13, 5, 4, 1, (math.inf,)), id="four states"),
    pytest.param(case(7, 1, 3, 2, (5.0,)), id="one sample"),
]


@pytest.fixture(params=[_reference, _kernel], ids=["reference", "kernel"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    module: ModuleType = request.param
    return module


def log_density(one: Case, j: int, x: Floats) -> float:
    """Ask scipy for a state's log-density."""
    inverse = np.linalg.inv(one.whiten[j])
    scale = inverse @ inverse.T
    if math.isinf(one.dof[j]):
        return float(stats.multivariate_normal(one.mean[j], scale).logpdf(x))
    return float(stats.multivariate_t(one.mean[j], scale, df=one.dof[j]).logpdf(x))


def paths(one: Case, samples: int) -> tuple[list[tuple[int, ...]], Floats]:
    """Enumerate all paths with the logarithms of ``P(path, x)``."""
    with np.errstate(divide="ignore"):
        log_prior, log_a = np.log(one.prior), np.log(one.transition)
    densities = [[log_density(one, j, x) for j in range(len(one.prior))] for x in one.x[:samples]]
    found = list(itertools.product(range(len(one.prior)), repeat=samples))
    logs = [
        log_prior[path[0]]
        + sum(log_a[i, j] for i, j in itertools.pairwise(path))
        + sum(densities[t][j] for t, j in enumerate(path))
        for path in found
    ]
    return found, np.array(logs)


def test_the_compiled_kernel_is_loaded() -> None:
    """Where the kernels were built, the door gives them, and says so."""
    assert ext.hmm.COMPILED
    for name in NAMES:
        assert getattr(ext.hmm, name) is getattr(_kernel, name)


def test_the_door_falls_back_to_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiled kernel the door gives the plain twin, and says so."""
    monkeypatch.setitem(sys.modules, "ext.hmm._kernel", None)
    spec = importlib.util.spec_from_file_location("door", ext.hmm.__file__)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    assert not door.COMPILED
    for name in NAMES:
        assert getattr(door, name) is getattr(_reference, name)


@pytest.mark.parametrize("one", CASES)
def test_the_filter_is_the_enumeration_of_all_paths(twin: ModuleType, one: Case) -> None:
    """Likelihood, filtered and predicted probabilities of every beginning of the series equal sums over its paths."""
    filtered, predicted, log_densities, next_prior = one.forward(twin)
    k = len(one.prior)
    for t in range(len(one.x)):
        found, logs = paths(one, t + 1)
        assert log_densities[: t + 1].sum() == pytest.approx(logsumexp(logs), rel=1e-11, abs=1e-11)
        weights = np.exp(logs - logsumexp(logs))
        expected = [sum(w for path, w in zip(found, weights, strict=True) if path[-1] == j) for j in range(k)]
        np.testing.assert_allclose(filtered[t], expected, rtol=1e-10, atol=1e-14)
        ahead = predicted[t + 1] if t + 1 < len(one.x) else next_prior
        np.testing.assert_allclose(ahead, np.array(expected) @ one.transition, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(predicted[0], one.prior)


@pytest.mark.parametrize("one", CASES)
def test_the_smoother_is_the_enumeration_of_all_paths(twin: ModuleType, one: Case) -> None:
    """Smoothed probabilities and expected transitions equal sums over the paths of the whole series."""
    filtered, predicted, _, _ = one.forward(twin)
    smoothed, flows, _ = twin.smooth(filtered, predicted, one.transition, None)
    found, logs = paths(one, len(one.x))
    weights = np.exp(logs - logsumexp(logs))
    expected, moved = np.zeros(smoothed.shape), np.zeros(flows.shape)
    for path, weight in zip(found, weights, strict=True):
        for t, j in enumerate(path):
            expected[t, j] += weight
        for i, j in itertools.pairwise(path):
            moved[i, j] += weight
    np.testing.assert_allclose(smoothed, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(flows, moved, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("one", CASES)
def test_the_best_path_is_the_best_of_all(twin: ModuleType, one: Case) -> None:
    """Viterbi's path is the enumeration's most probable one, with its probability."""
    with np.errstate(divide="ignore"):
        entry = np.log(one.prior)
    delta, _ = twin.scores(one.x, entry, *one.model())
    path = twin.trace(delta, one.transition, int(delta[-1].argmax()))
    found, logs = paths(one, len(one.x))
    assert tuple(path) == found[int(logs.argmax())]
    assert delta[-1].max() == pytest.approx(logs.max(), rel=1e-11, abs=1e-11)


def test_equally_good_predecessors_give_the_lower_number(twin: ModuleType) -> None:
    """Where nothing tells the states apart the path stays in the state of the lowest number."""
    same = Case(
        np.zeros((4, 1)),
        np.full(3, 1 / 3),
        np.full((3, 3), 1 / 3),
        np.zeros((3, 1)),
        np.ones((3, 1, 1)),
        np.full(3, 5.0),
    )
    delta, _ = twin.scores(same.x, np.log(same.prior), *same.model())
    assert twin.trace(delta, same.transition, 2).tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize("one", CASES)
def test_the_moments_are_sums_over_samples(twin: ModuleType, one: Case) -> None:
    """Each sum equals its definition, with Mahalanobis' distance from the inverse of the scale matrix."""
    smoothed = np.random.default_rng(3).dirichlet(np.ones(len(one.prior)), len(one.x))
    found = twin.moments(one.x, smoothed, one.mean, one.whiten, one.dof)
    for j, nu in enumerate(one.dof):
        inverse = one.whiten[j].T @ one.whiten[j]
        away = one.x - one.mean[j]
        squares = [float(row @ inverse @ row) for row in away]
        u = np.ones(len(away))
        if math.isfinite(nu):
            u = np.array([(nu + away.shape[1]) / (nu + square) for square in squares])
        gamma = smoothed[:, j]
        expected = (
            gamma.sum(),
            (gamma * u).sum(),
            sum(g * w * row for g, w, row in zip(gamma, u, away, strict=True)),
            sum(g * w * np.outer(row, row) for g, w, row in zip(gamma, u, away, strict=True)),
            (gamma * (np.log(u) - u)).sum(),
        )
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine[j], theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("cut", [1, 7, 299, 300])
def test_a_series_may_be_cut_anywhere(twin: ModuleType, cut: int) -> None:
    """Two blocks give what one gives: probabilities, densities and scores to the last bit, sums to rounding."""
    one = case(8, 600, 4, 2, (math.inf, 5.0))
    whole = one.forward(twin)
    first = replace(one, x=one.x[:cut]).forward(twin)
    second = replace(one, x=one.x[cut:], prior=first[3]).forward(twin)
    for part in range(3):
        np.testing.assert_array_equal(np.concatenate([first[part], second[part]]), whole[part])
    np.testing.assert_array_equal(second[3], whole[3])

    smoothed, flows, ratio = twin.smooth(whole[0], whole[1], one.transition, None)
    late = twin.smooth(second[0], second[1], one.transition, None)
    early = twin.smooth(first[0], first[1], one.transition, late[2])
    np.testing.assert_array_equal(np.concatenate([early[0], late[0]]), smoothed)
    np.testing.assert_allclose(early[1] + late[1], flows, rtol=1e-12)
    np.testing.assert_array_equal(early[2], ratio)

    delta, entry = twin.scores(one.x, np.log(one.prior), *one.model())
    begun, between = twin.scores(one.x[:cut], np.log(one.prior), *one.model())
    ended, last = twin.scores(one.x[cut:], between, *one.model())
    np.testing.assert_array_equal(np.concatenate([begun, ended]), delta)
    np.testing.assert_array_equal(last, entry)


def test_the_future_does_not_change_the_past(twin: ModuleType) -> None:
    """Filtered probabilities of a truncated or falsified series equal those of the whole one, to the last bit."""
    one = case(9, 700, 3, 1, (4.0,))
    whole = one.forward(twin)
    for end in (1, 255, 256, 257, 513):
        falsified = one.x.copy()
        falsified[end:] = 1e6
        for other in (replace(one, x=one.x[:end]), replace(one, x=falsified)):
            found = other.forward(twin)
            for part in range(3):
                np.testing.assert_array_equal(found[part][:end], whole[part][:end])


def test_series_of_one_call_do_not_touch_each_other(twin: ModuleType) -> None:
    """Many series in one call, each with its own model, give what each gives alone."""
    many = [case(seed, 40, 3, 2, (math.inf, 6.0)) for seed in range(5)]
    done = twin.forward(*(np.stack(values) for values in zip(*(one.all() for one in many), strict=True)))
    for s, one in enumerate(many):
        for together, alone in zip(done, one.forward(twin), strict=True):
            np.testing.assert_array_equal(together[s], alone)


def test_a_sample_that_is_far_out_is_done_in_logarithms(twin: ModuleType) -> None:
    """Where the only state with a density to speak of is one the chain cannot be in, the others share the sample."""
    # The chain can be in the states 0 and 1; the sample lies at the centre of state 2, 1e4 deviations from both.
    one = Case(
        np.array([[1e4], [0.0]]),
        np.array([0.5, 0.5, 0.0]),
        np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[0.0], [1e-4], [1e4]]),
        np.ones((3, 1, 1)),
        np.full(3, math.inf),
    )
    filtered, _, densities, _ = one.forward(twin)
    log_odds = 0.5 * 1e4**2 - 0.5 * (1e4 - 1e-4) ** 2
    assert filtered[0, 1] == pytest.approx(1 / (1 + math.exp(-log_odds)), rel=1e-6)
    assert filtered[0, 2] == 0.0
    exact = np.logaddexp(stats.norm.logpdf(1e4), stats.norm.logpdf(1e4, 1e-4)) + math.log(0.5)
    assert densities[0] == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize("nu", [math.inf, 3.0])
def test_nothing_underflows_in_a_long_series_with_outliers(nu: float) -> None:
    """A hundred thousand samples, some of them 1e30 deviations out, give finite numbers and probabilities of sum 1."""
    rng = np.random.default_rng(4)
    one = case(10, 100_000, 6, 1, (nu,))
    x = one.x.copy()
    x[rng.integers(0, len(x), 50)] = rng.choice([-1e30, 1e30, 1e15], 50)[:, None]
    filtered, predicted, densities, _ = replace(one, x=x).forward(_kernel)
    smoothed, flows, _ = _kernel.smooth(filtered, predicted, one.transition, None)
    assert np.isfinite(densities).all()
    for rows in (filtered, predicted, smoothed):
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-9)
    assert flows.sum() == pytest.approx(len(x) - 1, rel=1e-9)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 30),
    states=st.integers(1, 7),
    variables=st.integers(1, 3),
    dof=st.lists(st.sampled_from([0.5, 1.0, 3.0, 150.0, math.inf]), min_size=1, max_size=3),
    zeros=st.booleans(),
    outlier=st.sampled_from([0.0, -0.0, 5e-324, 40.0, 1e8, -1e40]),
)
@example(seed=0, samples=3, states=2, variables=1, dof=[math.inf], zeros=True, outlier=-1e40)
@example(seed=1, samples=1, states=1, variables=3, dof=[0.5], zeros=False, outlier=1e8)
@example(seed=2, samples=30, states=5, variables=2, dof=[1.0, math.inf], zeros=True, outlier=1e8)
def test_the_twins_agree_on_any_model(
    seed: int, samples: int, states: int, variables: int, dof: list[float], zeros: bool, outlier: float
) -> None:
    """Both give the same numbers, whatever the zeros, tails and outliers."""
    one = case(seed, samples, states, variables, tuple(dof), zeros)
    if outlier:
        one.x[seed % samples] = outlier
    plain, fast = one.forward(_reference), one.forward(_kernel)
    compare(plain, fast)
    ours = [module.smooth(plain[0], plain[1], one.transition, None) for module in (_reference, _kernel)]
    compare(*ours)
    compare(*(module.moments(one.x, ours[0][0], *one.model()[1:]) for module in (_reference, _kernel)))
    with np.errstate(divide="ignore"):
        entry = np.log(one.prior)
    compare(*(module.scores(one.x, entry, *one.model()) for module in (_reference, _kernel)))
    delta = _reference.scores(one.x, entry, *one.model())[0]
    last = int(delta[-1].argmax())
    compare(*([module.trace(delta, one.transition, last)] for module in (_reference, _kernel)))


def compare(plain: Any, fast: Any) -> None:
    """Expect equality to rounding; tiny probabilities come of differences of large logarithms and keep fewer digits."""
    for mine, theirs in zip(fast, plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-250)


GOOD = case(11, 5, 2, 1, (4.0,))
BLOCK = (np.full((5, 2), 0.5), np.full((5, 2), 0.5), np.full((2, 2), 0.5))


def batch(**changes: Floats) -> tuple[Floats, ...]:
    """Give arguments of `forward` with something wrong in them."""
    return tuple(value[None] for value in replace(GOOD, **changes).all())


REFUSED: list[tuple[str, str, Callable[[], tuple[Any, ...]]]] = [
    ("forward", "x: expected 1 to 32 variables", lambda: batch(x=np.zeros((5, 0)))),
    ("forward", "1 to 32 states", lambda: batch(prior=np.zeros(33))),
    ("forward", r"transition: expected shape \(2, 2\)", lambda: batch(transition=np.zeros((2, 3)))),
    ("forward", r"mean: expected shape \(2, 1\)", lambda: batch(mean=np.zeros((1, 1)))),
    ("forward", r"whiten: expected shape \(2, 1, 1\)", lambda: batch(whiten=np.zeros((2, 1, 2)))),
    ("forward", r"dof: expected shape \(2,\)", lambda: batch(dof=np.zeros(3))),
    ("forward", "as many models as series", lambda: (np.zeros((2, 5, 1)), *batch()[1:])),
    ("forward", "found NaN", lambda: batch(x=np.array([[0.0], [math.nan]]))),
    ("forward", "found NaN", lambda: batch(x=np.array([[math.inf]]))),
    ("forward", "found NaN", lambda: batch(x=np.array([[-2e100]]))),
    (
        "forward",
        "sample 1 of the block: its density is 0",
        lambda: batch(x=np.array([[0.0], [1e99]]), dof=np.full(2, math.inf), whiten=np.full((2, 1, 1), 1e99)),
    ),
    ("forward", "sample 0 of the block: its density is 0", lambda: batch(prior=np.zeros(2))),
    ("smooth", "two arrays of shape", lambda: (BLOCK[0], BLOCK[1][:4], BLOCK[2], None)),
    ("smooth", "two arrays of shape", lambda: (BLOCK[0][:0], BLOCK[1][:0], BLOCK[2], None)),
    ("smooth", "expected transition", lambda: (BLOCK[0], BLOCK[1], np.zeros((3, 3)), None)),
    ("smooth", "expected transition", lambda: (*BLOCK, np.zeros(3))),
    ("moments", "a row of probabilities for each sample", lambda: (GOOD.x, BLOCK[0][:3], *GOOD.model()[1:])),
    ("moments", "mean: expected shape", lambda: (GOOD.x, np.zeros((5, 3)), *GOOD.model()[1:])),
    ("moments", "found NaN", lambda: (GOOD.x * math.nan, BLOCK[0], *GOOD.model()[1:])),
    ("scores", "dof: expected shape", lambda: (GOOD.x, np.zeros(2), *GOOD.model()[:3], np.ones(1))),
    ("scores", "found NaN", lambda: (GOOD.x * math.inf, np.zeros(2), *GOOD.model())),
    ("trace", "two arrays of shape", lambda: (np.zeros((0, 2)), np.zeros((2, 2)), 0)),
    ("trace", "expected transition", lambda: (np.zeros((5, 2)), np.zeros((3, 2)), 0)),
    ("trace", "a state from 0 to 1, found 2", lambda: (np.zeros((5, 2)), np.ones((2, 2)), 2)),
    ("trace", "a state from 0 to 1, found -1", lambda: (np.zeros((5, 2)), np.ones((2, 2)), -1)),
]


@pytest.mark.parametrize(("name", "message", "make"), REFUSED, ids=[f"{row[0]}: {row[1]}" for row in REFUSED])
def test_bad_arguments_are_refused(
    twin: ModuleType, name: str, message: str, make: Callable[[], tuple[Any, ...]]
) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        getattr(twin, name)(*make())


def test_a_block_without_samples_changes_nothing(twin: ModuleType) -> None:
    """Its priors go out as they came in, and its sums are 0."""
    empty = replace(GOOD, x=np.empty((0, 1)))
    filtered, _, densities, prior = empty.forward(twin)
    assert (filtered.shape, densities.shape) == ((0, 2), (0,))
    np.testing.assert_array_equal(prior, GOOD.prior)
    for total in twin.moments(empty.x, np.empty((0, 2)), *GOOD.model()[1:]):
        assert not total.any()
    delta, entry = twin.scores(empty.x, np.zeros(2), *GOOD.model())
    assert delta.shape == (0, 2)
    np.testing.assert_array_equal(entry, np.zeros(2))
