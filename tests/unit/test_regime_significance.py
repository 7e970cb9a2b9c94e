"""Statistical tests in our form: against published examples, other programs, and values made by hand."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from trisagion.regime import significance
from trisagion.regime.significance import (
    adjust,
    autocorrelation,
    distribution,
    normality,
    same_distribution,
)

BENJAMINI_HOCHBERG = (
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
)
"""The fifteen p-values of Benjamini & Hochberg (1995), section 4.1."""


def _uniform(x: np.ndarray) -> np.ndarray:
    return np.asarray(stats.uniform.cdf(x))


def test_jarque_bera_is_its_definition() -> None:
    """``n/6·(S² + (K − 3)²/4)`` from the moments, p the tail of χ²(2), ``exp(−JB/2)``; a small sample is cautioned."""
    x = np.array([0.3, -1.2, 0.8, 2.9, -0.4, 0.1, -0.7, 1.5, -2.2, 0.6])
    z = (x - x.mean()) / x.std()
    expected = 10 / 6 * ((z**3).mean() ** 2 + ((z**4).mean() - 3) ** 2 / 4)
    found = normality(x)
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(math.exp(-expected / 2))
    assert "here are 10" in found.cautions[0]
    assert normality(np.random.default_rng(1).normal(size=2001)).cautions == ()


def test_jarque_bera_tells_normal_from_heavy_tails() -> None:
    """It rejects Student's t, and about one normal sample in twenty."""
    rng = np.random.default_rng(2)
    assert normality(rng.standard_t(4, 3000)).rejected
    rejected = sum(normality(rng.normal(size=2500)).rejected for _ in range(200))
    assert 2 <= rejected <= 20


def test_ljung_box_repeats_r() -> None:
    """The values R's Box.test prints for these series, as statsmodels' own tests record them."""
    # The legacy generator is the one whose numbers were given to R.
    rs = np.random.RandomState(9876543)
    noise = rs.standard_normal(100)
    e = rs.standard_normal(201)
    arma = np.zeros(201)
    arma[0] = e[0]
    for i in range(1, 201):
        arma[i] = 0.5 * arma[i - 1] - 0.4 * e[i - 1] + e[i]
    for x, lags, statistic, p_value in (
        (noise, 1, 0.15685, 0.6921),
        (noise, 5, 5.4737, 0.3608),
        (noise, 10, 10.508, 0.3971),
        (arma[-100:], 1, 2.8764, 0.08989),
        (arma[-100:], 10, 8.4779, 0.5823),
    ):
        found = autocorrelation(x, lags=lags)
        assert found.statistic == pytest.approx(statistic, rel=1e-4)
        assert found.p_value == pytest.approx(p_value, rel=1e-3)
        assert found.lags == lags


def test_fitted_parameters_cost_degrees_of_freedom() -> None:
    """The statistic stays, its χ² distribution has fewer; the default number of lags makes room."""
    x = np.random.default_rng(3).normal(size=60)
    plain, residual = autocorrelation(x, lags=8), autocorrelation(x, lags=8, fitted=3)
    assert residual.statistic == plain.statistic
    assert residual.p_value == pytest.approx(float(stats.chi2.sf(plain.statistic, 5)))
    assert autocorrelation(x).lags == 10
    assert autocorrelation(x[:10], fitted=4).lags == 5


def test_kolmogorov_smirnov_has_the_values_made_by_hand() -> None:
    """One value of 0.2 is 0.8 from a uniform's distribution function: p is 2·0.2. Two and two apart: 2 of 6 orders."""
    found = distribution(np.array([0.2]), _uniform)
    assert (found.statistic, found.p_value) == pytest.approx((0.8, 0.4))
    found = same_distribution(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert (found.statistic, found.p_value) == pytest.approx((1.0, 2 / 6))
    assert found.observations == 4


def test_kolmogorov_smirnov_tells_distributions_apart() -> None:
    """Uniform draws pass, their squares do not; neither do two samples of different spread."""
    rng = np.random.default_rng(5)
    x = rng.uniform(size=500)
    assert not distribution(x, _uniform).rejected
    assert distribution(x**2, _uniform).rejected
    assert not same_distribution(x, rng.uniform(size=300)).rejected
    assert same_distribution(x, rng.uniform(-1, 2, size=300)).rejected


def test_ties_are_cautioned() -> None:
    """A continuous distribution has none."""
    x = np.array([0.1, 0.1, 0.5, 0.9])
    assert "1 of 4 values repeat" in distribution(x, _uniform).cautions[0]
    assert "2 of 5 values repeat" in same_distribution(x, np.array([0.9])).cautions[0]
    assert distribution(x[1:], _uniform).cautions == ()


def test_what_scipy_warns_of_is_cautioned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the exact computation fail, SciPy warns and goes on; the warning becomes part of the answer."""

    def failing(x: np.ndarray, y: np.ndarray) -> object:
        warnings.warn("exact calculation unsuccessful", RuntimeWarning, stacklevel=2)
        return stats.ks_2samp(x, y, method="asymp")

    monkeypatch.setattr(significance, "ks_2samp", failing)
    found = same_distribution(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert found.cautions == ("exact calculation unsuccessful",)


@pytest.mark.parametrize(("method", "rejections"), [("bonferroni", 3), ("holm", 3), ("benjamini-hochberg", 4)])
def test_adjusting_rejects_as_many_as_benjamini_and_hochberg_did(method: str, rejections: int) -> None:
    """Their example at 0.05, in any order; an adjusted p-value is at most the level where the null is rejected."""
    order = np.random.default_rng(6).permutation(15)
    values = np.array(BENJAMINI_HOCHBERG)[order]
    found = adjust(values, method)  # type: ignore[arg-type]
    assert np.sort(values[found.rejected]).tolist() == list(BENJAMINI_HOCHBERG[:rejections])
    np.testing.assert_array_equal(found.p_values <= 0.05, found.rejected)
    assert (found.p_values >= values).all()


def test_adjusted_p_values_are_those_made_by_hand() -> None:
    """Of 0.01, 0.02 and 0.04: times 3; times 3, 2, 1, never falling; times 3/rank, never rising from the end."""
    values = np.array([0.02, 0.01, 0.04])
    assert adjust(values, "bonferroni").p_values == pytest.approx([0.06, 0.03, 0.12])
    assert adjust(values, "holm").p_values == pytest.approx([0.04, 0.03, 0.04])
    assert adjust(values, "benjamini-hochberg").p_values == pytest.approx([0.03, 0.03, 0.04])


def test_the_level_decides() -> None:
    """The same p-value rejects at one level and not at another, and a line says so."""
    x = np.array([0.2])
    assert distribution(x, _uniform, level=0.5).rejected
    assert not distribution(x, _uniform, level=0.3).rejected
    said = str(distribution(x, _uniform, level=0.3))
    assert said.endswith("not rejected at 0.3 (statistic 0.8, p = 0.4)")


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_the_unit_of_the_values_does_not_matter(factor: float) -> None:
    """Values whose squares no float64 holds are tested as any others."""
    x = np.random.default_rng(7).normal(size=50)
    assert normality(factor * x).statistic == pytest.approx(normality(x).statistic)
    assert autocorrelation(factor * x).statistic == pytest.approx(autocorrelation(x).statistic)


_X = np.arange(10.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normality(_X[:7]), "n >= 8"),
        (lambda: normality(np.ones(9)), "found 9 times 1.0"),
        (lambda: normality(np.append(_X, math.nan)), "finite"),
        (lambda: normality(_X, level=0.0), "level"),
        (lambda: normality(_X.reshape(2, 5)), "shape"),
        (lambda: autocorrelation(_X, lags=0), "lags: expected 1 to 9"),
        (lambda: autocorrelation(_X, lags=10), "lags"),
        (lambda: autocorrelation(_X, lags=3, fitted=3), "lags: expected 4 to 9"),
        (lambda: autocorrelation(_X, fitted=-1), "fitted"),
        (lambda: autocorrelation(np.append(_X, math.inf)), "finite"),
        (lambda: distribution(np.array([]), _uniform), "n >= 1"),
        (lambda: distribution(_X, lambda x: x), "cdf: expected a probability"),
        (lambda: distribution(_X, lambda x: np.full(len(x), math.nan)), "cdf: expected a probability"),
        (lambda: distribution(np.array([math.nan]), _uniform), "finite"),
        (lambda: same_distribution(_X, np.array([])), "y: expected shape"),
        (lambda: same_distribution(np.array([math.nan]), _X), "x: expected finite"),
        (lambda: same_distribution(_X, _X, level=1.0), "level"),
        (lambda: adjust(np.array([]), "holm"), "n >= 1"),
        (lambda: adjust(np.array([0.1, math.nan]), "holm"), "from 0 to 1"),
        (lambda: adjust(np.array([0.1, 1.1]), "holm"), "from 0 to 1"),
        (lambda: adjust(np.array([0.1]), "sidak"), "method"),  # type: ignore[arg-type]
        (lambda: adjust(np.array([0.1]), "holm", level=math.nan), "level"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        call()
