"""Dependence in the tails: against SciPy, a published table, and copulas drawn with known parameters."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kendalltau, kstest, multivariate_t
from scipy.stats import t as student

from trisagion.regime import dependence
from trisagion.regime.dependence import (
    empirical_tail_dependence,
    fit_student_copula,
    kendall_tau,
    nearest_correlation,
    sample_student_copula,
    tail_dependence,
)

MATRIX = np.array([[1.0, 0.6, 0.1], [0.6, 1.0, -0.3], [0.1, -0.3, 1.0]])


def _draw(freedom: float, count: int, seed: int = 1) -> np.ndarray:
    return sample_student_copula(np.random.default_rng(seed), MATRIX, freedom, count)


@pytest.mark.parametrize("rounded", [False, True], ids=["without ties", "with ties"])
def test_kendalls_tau_is_scipys(rounded: bool) -> None:
    """Of every pair of columns, with and without ties."""
    x = _draw(4.0, 300)
    x = np.round(x, 1) if rounded else x
    tau = kendall_tau(x)
    for i in range(3):
        for j in range(3):
            assert tau[i, j] == pytest.approx(kendalltau(x[:, i], x[:, j]).statistic, abs=1e-12)


def test_kendalls_tau_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared seven rows at a time, the sums are the same."""
    x = _draw(4.0, 100)
    whole = kendall_tau(x)
    monkeypatch.setattr(dependence, "_COMPARISONS", 7 * 300)
    np.testing.assert_array_equal(kendall_tau(x), whole)


def test_the_sample_has_uniform_margins_and_the_correlation_asked_for() -> None:
    """Each column is uniform (Kolmogorov-Smirnov), and ``sin(πτ/2)`` is the correlation, whatever the freedom."""
    for freedom in (2.0, 20.0):
        x = _draw(freedom, 4000)
        assert min(kstest(column, "uniform").pvalue for column in x.T) > 0.001
        assert np.sin(math.pi / 2 * kendall_tau(x)) == pytest.approx(MATRIX, abs=0.06)


def test_the_fit_has_the_greatest_likelihood() -> None:
    """SciPy's densities give the likelihood found, and less for any other degrees of freedom."""
    x = _draw(5.0, 400)
    fitted = fit_student_copula(x)
    uniforms = (np.argsort(np.argsort(x, axis=0), axis=0) + 1.0) / 401.0

    def likelihood(freedom: float) -> float:
        z = student.ppf(uniforms, freedom)
        joint = multivariate_t.logpdf(z, shape=fitted.correlation, df=freedom)
        return float(joint.sum() - student.logpdf(z, freedom).sum())

    assert fitted.log_likelihood == pytest.approx(likelihood(fitted.freedom), rel=1e-9)
    for other in (1.0, 2.0, fitted.freedom * 0.98, fitted.freedom * 1.02, 30.0, 200.0):
        assert likelihood(other) < fitted.log_likelihood
    assert fitted.converged
    assert not fitted.repaired


@pytest.mark.parametrize("freedom", [2.5, 4.0, 8.0])
def test_the_parameters_are_recovered(freedom: float) -> None:
    """Of 20 samples of 1000, the mean is the truth within 8 % for ν, and 0.02 for the correlation."""
    fits = [fit_student_copula(_draw(freedom, 1000, seed)) for seed in range(20)]
    assert all(fit.converged for fit in fits)
    assert np.mean([fit.freedom for fit in fits]) == pytest.approx(freedom, rel=0.08)
    assert np.mean([fit.correlation for fit in fits], axis=0) == pytest.approx(MATRIX, abs=0.02)


def test_the_margins_do_not_matter() -> None:
    """Any rising function of a column leaves the fit as it is."""
    x = _draw(4.0, 300)
    plain, changed = (
        fit_student_copula(x),
        fit_student_copula(np.column_stack([x[:, 0] ** 3, np.exp(x[:, 1]), x[:, 2]])),
    )
    assert changed.freedom == plain.freedom
    np.testing.assert_array_equal(changed.correlation, plain.correlation)


def test_a_normal_copula_and_a_wild_one_say_that_no_maximum_was_found() -> None:
    """The likelihood rises to the end of the range: the fit tells, rather than to give 200 or 1 for an estimate."""
    normal = fit_student_copula(np.random.default_rng(3).normal(size=(500, 4)))
    assert not normal.converged
    assert "as good as normal" in normal.reason
    wild = fit_student_copula(_draw(0.3, 500))
    assert not wild.converged
    assert "beyond the model" in wild.reason


def test_an_impossible_correlation_is_repaired_and_said_to_be() -> None:
    """The result is positive definite, has a diagonal of ones, and is near; a possible one is returned as it is."""
    impossible = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, -0.9], [0.9, -0.9, 1.0]])
    repaired, changed = nearest_correlation(impossible)
    assert changed
    assert np.linalg.eigvalsh(repaired)[0] > 0.0
    assert np.diag(repaired).tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(repaired, repaired.T)
    assert np.abs(repaired - impossible).max() < 0.45
    assert np.sign(repaired).tolist() == np.sign(impossible).tolist()
    kept, changed = nearest_correlation(MATRIX)
    assert not changed
    np.testing.assert_array_equal(kept, MATRIX)


def test_a_copula_of_twins_is_repaired() -> None:
    """Two assets in the same order have a correlation of exactly 1: the fit must not fail on its singular matrix."""
    x = _draw(4.0, 200)
    fitted = fit_student_copula(np.column_stack([x, x[:, 0]]))
    assert fitted.repaired
    assert np.linalg.eigvalsh(fitted.correlation)[0] > 0.0
    assert fitted.correlation[0, 3] > 0.999
    assert math.isfinite(fitted.log_likelihood)


@pytest.mark.parametrize(
    ("freedom", "printed"),
    [
        (2.0, (0.06, 0.18, 0.39, 0.72, 1.0)),
        (4.0, (0.01, 0.08, 0.25, 0.63, 1.0)),
        (10.0, (0.00, 0.01, 0.08, 0.46, 1.0)),
    ],
)
def test_tail_dependence_is_that_of_the_published_table(freedom: float, printed: tuple[float, ...]) -> None:
    """McNeil, Frey & Embrechts (2005), table 5.1: ρ of −0.5, 0, 0.5, 0.9 and 1, to the two digits printed."""
    found = tail_dependence(np.array([-0.5, 0.0, 0.5, 0.9, 1.0]), freedom)
    assert np.round(found, 2).tolist() == list(printed)
    assert tail_dependence(np.array([-1.0]), freedom).tolist() == [0.0]


def test_counted_tail_dependence_nears_the_limit() -> None:
    """Of 200000 draws the 400 lowest, and the 400 highest, meet as often as the formula says, within three errors."""
    x = _draw(3.0, 200_000)
    lower, upper = empirical_tail_dependence(x, 400)
    expected = tail_dependence(MATRIX, 3.0)
    error = np.sqrt(expected * (1.0 - expected) / 400)
    assert (np.abs(lower - expected) <= 3 * error + 0.02).all()
    assert (np.abs(upper - expected) <= 3 * error + 0.02).all()


def test_counted_tail_dependence_has_the_values_made_by_hand() -> None:
    """Of six days the two lowest share one, the two highest none."""
    x = np.array([[1.0, 1.0], [2.0, 5.0], [3.0, 2.0], [4.0, 6.0], [5.0, 3.0], [6.0, 4.0]])
    lower, upper = empirical_tail_dependence(x, 2)
    assert lower.tolist() == [[1.0, 0.5], [0.5, 1.0]]
    assert upper.tolist() == [[1.0, 0.0], [0.0, 1.0]]


_X = _draw(4.0, 50)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kendall_tau(np.zeros(5)), "shape"),
        (lambda: kendall_tau(np.array([[1.0, 2.0]])), "n >= 2"),
        (lambda: kendall_tau(np.array([[1.0, 2.0], [1.0, 3.0]])), "found column 0"),
        (lambda: kendall_tau(np.array([[1.0, 2.0], [math.nan, 3.0]])), "finite"),
        (lambda: fit_student_copula(_X[:19]), "n >= 20"),
        (lambda: fit_student_copula(_X[:, :1]), "at least 2 columns"),
        (lambda: fit_student_copula(np.where(_X > 0.9, math.inf, _X)), "finite"),
        (lambda: nearest_correlation(np.ones((2, 3))), "shape"),
        (lambda: nearest_correlation(np.array([[1.0, 0.2], [0.3, 1.0]])), "symmetric"),
        (lambda: nearest_correlation(np.array([[2.0, 0.2], [0.2, 1.0]])), "ones on its diagonal"),
        (lambda: nearest_correlation(np.array([[1.0, math.nan], [math.nan, 1.0]])), "finite"),
        (lambda: sample_student_copula(np.random.default_rng(1), MATRIX, 0.0, 5), "freedom"),
        (lambda: sample_student_copula(np.random.default_rng(1), MATRIX, 3.0, 0), "count"),
        (lambda: sample_student_copula(np.random.default_rng(1), np.ones((2, 2)), 3.0, 5), "positive definite"),
        (lambda: tail_dependence(np.array([1.5]), 3.0), "correlation"),
        (lambda: tail_dependence(np.array([math.nan]), 3.0), "correlation"),
        (lambda: tail_dependence(np.array([0.5]), math.inf), "freedom"),
        (lambda: empirical_tail_dependence(_X, 0), "k: expected 1 to 25"),
        (lambda: empirical_tail_dependence(_X, 26), "k: expected 1 to 25"),
        (lambda: empirical_tail_dependence(np.round(_X, 1), 3), "no tie"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        call()
