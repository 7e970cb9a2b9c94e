"""Dynamic conditional correlation against its definition, an independent likelihood, and simulated truth."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from trisagion.regime import dcc
from trisagion.regime.dcc import ASSETS_MAX, DccModel, DccState, correlations, fit_dcc, update
from trisagion.regime.garch import GarchParams
from trisagion.regime.garch import update as update_one
from trisagion.regime.garch_fit import GarchSpec

TARGET = np.array([[1.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 1.0]])
ASSETS = [
    GarchParams("garch", 0.05, 0.05, 0.08, 0.87),
    GarchParams("garch", 0.0, 0.02, 0.05, 0.93),
    GarchParams("garch", -0.02, 0.10, 0.10, 0.80),
]
A, B = 0.05, 0.92


def drawn(n: int, seed: int, a: float = A, b: float = B) -> np.ndarray:
    """Return returns simulated by the definition, a step at a time."""
    rng = np.random.default_rng(seed)
    h = np.array([asset.unconditional_variance for asset in ASSETS])
    q = TARGET.copy()
    rows = []
    for _ in range(n):
        scale = np.sqrt(np.diag(q))
        z = np.linalg.cholesky(q / np.outer(scale, scale)) @ rng.standard_normal(3)
        e = z * np.sqrt(h)
        rows.append(e + [asset.mu for asset in ASSETS])
        q = (1 - a - b) * TARGET + a * np.outer(z, z) + b * q
        h = np.array([p.omega + p.alpha * s * s + p.beta * v for p, s, v in zip(ASSETS, e, h, strict=True)])
    return np.array(rows)


def test_the_estimates_recover_the_truth() -> None:
    """Over twelve simulated series: the mean of a, b and each target within a tenth of what was put in."""
    fits = [fit_dcc(drawn(1500, seed)) for seed in range(12)]
    assert all(found.converged for found in fits), [found.message for found in fits]
    assert np.mean([found.model.a for found in fits]) == pytest.approx(A, abs=0.01)
    assert np.mean([found.model.b for found in fits]) == pytest.approx(B, abs=0.03)
    np.testing.assert_allclose(np.mean([found.model.target for found in fits], axis=0), TARGET, atol=0.06)


def test_the_likelihood_is_that_of_the_joint_normal_density() -> None:
    """Observation by observation, by scipy's multivariate normal with the fitted covariances; and a maximum of it."""
    y = drawn(600, 20)
    found = fit_dcc(y)
    r, h = correlations(found), np.column_stack([asset.variance for asset in found.assets])

    def joint(path: np.ndarray) -> float:
        return sum(
            float(stats.multivariate_normal(found.model.mu, c * np.sqrt(np.outer(v, v))).logpdf(row))
            for c, v, row in zip(path, h, y, strict=True)
        )

    assert found.log_likelihood == pytest.approx(joint(r), rel=1e-10)
    z, s, a, b = found.standardised, found.model.target, found.model.a, found.model.b
    best = dcc._log_likelihood(z, s, a, b)
    for step_a, step_b in ((0.003, 0.0), (-0.003, 0.0), (0.0, 0.003), (0.0, -0.003), (0.003, -0.003)):
        assert dcc._log_likelihood(z, s, a + step_a, b + step_b) < best


@pytest.mark.parametrize("spec", [GarchSpec("gjr", errors="student"), GarchSpec("egarch")], ids=["gjr-t", "egarch"])
def test_streaming_gives_what_the_batch_gives(spec: GarchSpec) -> None:
    """From the first observation on, every correlation of the path, every variance, and the state after the last."""
    y = drawn(400, 21)
    found = fit_dcc(y, spec)
    path = correlations(found)
    state = DccState(np.array([asset.variance[0] for asset in found.assets]), found.model.target)
    for t, row in enumerate(y):
        np.testing.assert_allclose(state.correlation, path[t], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state.variance, [asset.variance[t] for asset in found.assets], rtol=1e-9)
        state = update(found.model, state, row)
    np.testing.assert_allclose(state.q, found.state.q, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.variance, found.state.variance, rtol=1e-9)


def test_the_blocks_of_the_path_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven observations at a time give what all at once give."""
    found = fit_dcc(drawn(150, 22))
    whole = correlations(found)
    monkeypatch.setattr(dcc, "_BLOCK_NUMBERS", 7 * 9)
    np.testing.assert_allclose(correlations(found), whole, rtol=1e-12, atol=1e-14)


def test_an_update_is_the_definition() -> None:
    """By hand for two assets, and each variance that of its own model."""
    pair = ASSETS[:2]
    model = DccModel.of(pair, 0.1, 0.8, np.array([[1.0, 0.5], [0.5, 1.0]]))
    state = update(model, DccState(np.array([1.0, 4.0]), np.array([[1.0, 0.2], [0.2, 2.0]])), np.array([1.05, -4.0]))
    # z = (1, −2): 0.1·S + 0.1·zz' + 0.8·Q
    np.testing.assert_allclose(state.q, [[1.0, 0.05 - 0.2 + 0.16], [0.05 - 0.2 + 0.16, 0.1 + 0.4 + 1.6]], rtol=1e-14)
    assert state.variance.tolist() == [update_one(pair[0], 1.0, 1.05), update_one(pair[1], 4.0, -4.0)]
    assert state.correlation[0, 1] == pytest.approx(0.01 / math.sqrt(2.1))
    assert state.covariance[0, 1] == pytest.approx(state.correlation[0, 1] * math.sqrt(np.prod(state.variance)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 8),
    weights=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    size=st.sampled_from([1e-6, 1.0, 30.0, 1e4]),
)
@example(seed=0, count=8, weights=(1.0, 1.0), size=1e4)
@example(seed=0, count=2, weights=(0.0, 0.0), size=1.0)
def test_every_correlation_matrix_is_one(seed: int, count: int, weights: tuple[float, float], size: float) -> None:
    """Whatever the returns: a diagonal of exact ones, symmetry, no entry beyond one, no eigenvalue below zero."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((count, count + 2))
    covariance = mixed @ mixed.T + 0.1 * np.eye(count)
    target = np.asarray(covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance))))
    np.fill_diagonal(target, 1.0)
    a = 0.999 * weights[0]
    model = DccModel.of([GarchParams("garch", 0.0, 0.1, 0.1, 0.8)] * count, a, (0.999 - a) * weights[1], target)
    state = DccState(np.ones(count), target)
    for row in rng.standard_normal((30, count)) * size:
        state = update(model, state, row)
        r = state.correlation
        assert (np.diag(r) == 1.0).all()
        np.testing.assert_array_equal(r, r.T)
        assert np.abs(r).max() <= 1.0 + 1e-12
        assert np.linalg.eigvalsh(r)[0] > -1e-12


def test_a_singular_correlation_has_no_likelihood() -> None:
    """Minus infinity, for the search to turn back from, and no error."""
    assert dcc._log_likelihood(np.ones((5, 2)), np.ones((2, 2)), 0.0, 0.0) == -math.inf


def test_independent_assets_have_constant_correlations() -> None:
    """Without dynamics nothing is made up: the correlations stay near zero, or the message says that a is at 0."""
    found = fit_dcc(np.random.default_rng(23).standard_normal((2000, 2)))
    assert found.converged
    assert np.abs(correlations(found)[:, 0, 1]).max() < 0.3
    assert found.model.a > 0.0 or "constant" in found.message


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        (np.zeros(200), "expected shape"),
        (np.zeros((200, 1)), "expected shape"),
        (np.zeros((200, ASSETS_MAX + 1)), "expected shape"),
        (np.array([["a", "b"]] * 200), "real numbers"),
        (np.column_stack([np.arange(200.0), np.zeros(200)]), "column 1: .*constant"),
        (np.column_stack([np.arange(99.0), np.arange(99.0)]), "column 0: "),
        (np.column_stack([drawn(200, 1)[:, 0]] * 2), "explain each other"),
    ],
)
def test_returns_that_cannot_be_fitted_are_refused(returns: np.ndarray, message: str) -> None:
    """The message says what was expected, and of which column."""
    with pytest.raises(ValueError, match=message):
        fit_dcc(returns)


@pytest.mark.parametrize(
    ("assets", "a", "b", "target", "message"),
    [
        (ASSETS[:1], 0.1, 0.8, np.eye(1), "assets"),
        ([ASSETS[0], GarchParams("egarch", 0.0, 0.0, 0.1, 0.9)], 0.1, 0.8, np.eye(2), "one model"),
        (ASSETS, -0.1, 0.8, TARGET, "a, b"),
        (ASSETS, 0.1, math.nan, TARGET, "a, b"),
        (ASSETS, 0.2, 0.8, TARGET, "a, b"),
        (ASSETS, 0.1, 0.8, np.eye(2), "symmetric"),
        (ASSETS, 0.1, 0.8, np.triu(TARGET), "symmetric"),
        (ASSETS, 0.1, 0.8, 2 * np.eye(3), "diagonal"),
        (ASSETS, 0.1, 0.8, np.ones((3, 3)), "explain each other"),
    ],
)
def test_a_model_that_is_none_is_refused(
    assets: list[GarchParams], a: float, b: float, target: np.ndarray, message: str
) -> None:
    """In this order, and the message names the argument."""
    with pytest.raises(ValueError, match=message):
        DccModel.of(assets, a, b, target)


@pytest.mark.parametrize("values", [np.zeros(2), np.array([0.0, math.nan, 0.0])])
def test_an_observation_that_cannot_be_used_is_refused(values: np.ndarray) -> None:
    """A state never becomes NaN."""
    model = DccModel.of(ASSETS, A, B, TARGET)
    with pytest.raises(ValueError, match="expected 3 finite returns"):
        update(model, DccState(np.ones(3), TARGET), values)
