"""Statistical tests, in one form: normality, autocorrelation, distribution, and the price of testing often.

The computations are SciPy's and statsmodels'. What is ours is the form of the answer, and the refusal of input for
which those give a number that means nothing.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import jarque_bera, ks_2samp, kstest
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.stats.multitest import multipletests

from trisagion.market.types import Float64Array

LEVEL: Final = 0.05
"""Fisher's (1925) convention."""

JARQUE_BERA_ASYMPTOTIC: Final = 2_000
"""SciPy's documentation of `jarque_bera`: the χ² distribution holds for samples of more than this."""

Bound = Literal["exactly", "at most", "at least"]

_METHODS: Final = {"bonferroni": "bonferroni", "holm": "holm", "benjamini-hochberg": "fdr_bh"}


@dataclass(frozen=True, slots=True)
class HypothesisTest:
    """The outcome of one test.

    Attributes
    ----------
    name : str
        Of the test.
    null : str
        The hypothesis that is rejected or not, in words.
    statistic : float
    p_value : float or None
        None where only critical values are tabulated.
    p_bound : "exactly", "at most" or "at least"
        What `p_value` is: where a table ends, all that is known is a bound.
    level : float
        The level of significance that was asked for.
    rejected : bool
        Whether the null is rejected at that level.
    critical_values : tuple of (float, float)
        Level and critical value, where the test has such.
    lags : int or None
        Lags used, where the test has such.
    observations : int
        Values that were given.
    cautions : tuple of str
        What a reader should know before believing the p-value.
    """

    name: str
    null: str
    statistic: float
    p_value: float | None
    p_bound: Bound
    level: float
    rejected: bool
    critical_values: tuple[tuple[float, float], ...]
    lags: int | None
    observations: int
    cautions: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        sign = {"exactly": "=", "at most": "<=", "at least": ">="}[self.p_bound]
        p_value = "" if self.p_value is None else f", p {sign} {self.p_value:.3g}"
        said = "rejected" if self.rejected else "not rejected"
        return f"{self.name}: {self.null}: {said} at {self.level:g} (statistic {self.statistic:.4g}{p_value})"


@dataclass(frozen=True, slots=True, eq=False)
class MultipleTests:
    """Many p-values, corrected for their number.

    Attributes
    ----------
    p_values : float64, shape (n,)
        Adjusted: compare each with `level`.
    rejected : bool, shape (n,)
    method : str
    level : float
        The familywise error rate (Bonferroni, Holm) or the false discovery rate (Benjamini-Hochberg).
    """

    p_values: Float64Array
    rejected: NDArray[np.bool_]
    method: str
    level: float


def normality(x: Float64Array, *, level: float = LEVEL) -> HypothesisTest:
    """Test, as Jarque and Bera do, whether skewness and kurtosis are those of a normal distribution.

    Parameters
    ----------
    x : float64, shape (n,)
        Finite, n >= 8, not constant.
    level : float
        Of significance, within (0, 1).

    Returns
    -------
    HypothesisTest

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Jarque & Bera, "A test for normality of observations and regression residuals", Int. Stat. Rev. 55, 163 (1987), by
    SciPy. The p-value is that of χ²(2), which small samples reach slowly: below 2000 values a caution says so.
    """
    values = sample(x, 8)
    check_level(level)
    # The statistic does not depend on the unit; values of an ordinary size cannot overflow its fourth powers.
    found = jarque_bera(_standard(values))
    cautions: tuple[str, ...] = ()
    if len(values) <= JARQUE_BERA_ASYMPTOTIC:
        cautions = (
            f"the p-value is asymptotic, for more than {JARQUE_BERA_ASYMPTOTIC} values; here are {len(values)}",
        )
    return outcome(
        "Jarque-Bera",
        "the values are normally distributed",
        float(found.statistic),
        float(found.pvalue),
        level,
        len(values),
        cautions=cautions,
    )


def autocorrelation(
    x: Float64Array, *, lags: int | None = None, fitted: int = 0, level: float = LEVEL
) -> HypothesisTest:
    """Test, as Ljung and Box do, whether there is any autocorrelation up to a lag.

    Parameters
    ----------
    x : float64, shape (n,)
        Finite, n >= 8, not constant: a series, or the residuals of a model.
    lags : int, optional
        From ``fitted + 1`` to ``n − 1``; without it the lesser of 10 and n/5, as Hyndman & Athanasopoulos advise, but
        at least ``fitted + 1``.
    fitted : int
        Parameters of the ARMA model whose residuals these are; they cost degrees of freedom.
    level : float
        Of significance, within (0, 1).

    Returns
    -------
    HypothesisTest

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Ljung & Box, "On a measure of lack of fit in time series models", Biometrika 65, 297 (1978), by statsmodels.
    """
    values = sample(x, 8)
    check_level(level)
    if fitted < 0:
        raise ValueError(f"fitted: expected at least 0, found {fitted}")
    used = max(min(10, len(values) // 5), fitted + 1) if lags is None else lags
    if not fitted < used < len(values):
        raise ValueError(f"lags: expected {fitted + 1} to {len(values) - 1}, found {used}")
    found = acorr_ljungbox(_standard(values), lags=[used], model_df=fitted, return_df=True)
    return outcome(
        "Ljung-Box",
        f"there is no autocorrelation up to lag {used}",
        float(found["lb_stat"].iloc[0]),
        float(found["lb_pvalue"].iloc[0]),
        level,
        len(values),
        lags=used,
    )


def distribution(
    x: Float64Array, cdf: Callable[[Float64Array], Float64Array], *, level: float = LEVEL
) -> HypothesisTest:
    """Test, as Kolmogorov and Smirnov do, whether values were drawn from a distribution.

    Parameters
    ----------
    x : float64, shape (n,)
        Finite, n >= 1.
    cdf : callable
        The distribution function, fully specified: with parameters estimated from the same values the test hardly ever
        rejects (Lilliefors 1967).
    level : float
        Of significance, within (0, 1).

    Returns
    -------
    HypothesisTest
        With a caution when there are ties, which no continuous distribution has.

    Raises
    ------
    ValueError
        For anything else, or a `cdf` that gives anything but probabilities.

    Notes
    -----
    Exact or asymptotic as SciPy's `kstest` chooses.
    """
    values = sample(x, 1, constant=True)
    check_level(level)
    probabilities = np.asarray(cdf(values), dtype=np.float64)
    if probabilities.shape != values.shape or not ((probabilities >= 0.0) & (probabilities <= 1.0)).all():
        raise ValueError("cdf: expected a probability for each value")
    found = kstest(values, cdf)
    return outcome(
        "Kolmogorov-Smirnov, one sample",
        "the values come from the distribution given",
        float(found.statistic),
        float(found.pvalue),
        level,
        len(values),
        cautions=_ties(values),
    )


def same_distribution(x: Float64Array, y: Float64Array, *, level: float = LEVEL) -> HypothesisTest:
    """Test, as Kolmogorov and Smirnov do, whether two samples were drawn from one distribution.

    Parameters
    ----------
    x, y : float64, shapes (n,) and (m,)
        Finite, each with at least one value.
    level : float
        Of significance, within (0, 1).

    Returns
    -------
    HypothesisTest
        With a caution when there are ties.

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Exact or asymptotic as SciPy's `ks_2samp` chooses; should its exact computation fail, a caution says so.
    """
    first, second = sample(x, 1, constant=True), sample(y, 1, constant=True, name="y")
    check_level(level)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RuntimeWarning)
        found = ks_2samp(first, second)
    return outcome(
        "Kolmogorov-Smirnov, two samples",
        "both samples come from one distribution",
        float(found.statistic),
        float(found.pvalue),
        level,
        len(first) + len(second),
        cautions=(*_ties(np.concatenate([first, second])), *(str(warning.message) for warning in said)),
    )


def adjust(
    p_values: Float64Array, method: Literal["bonferroni", "holm", "benjamini-hochberg"], *, level: float = LEVEL
) -> MultipleTests:
    """Correct p-values for the number of tests that were made.

    Parameters
    ----------
    p_values : float64, shape (n,)
        Of all tests made, also of those that found nothing; each from 0 to 1, n >= 1.
    method : "bonferroni", "holm" or "benjamini-hochberg"
        The first two bound the probability of any false rejection, under any dependence; Holm's rejects whatever
        Bonferroni's does, and more. The third bounds the expected share of false ones among the rejections, for tests
        that are independent or positively dependent.
    level : float
        The bound, within (0, 1).

    Returns
    -------
    MultipleTests

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Holm, Scand. J. Stat. 6, 65 (1979); Benjamini & Hochberg, J. R. Stat. Soc. B 57, 289 (1995), by statsmodels.
    """
    values = np.asarray(p_values, dtype=np.float64)
    check_level(level)
    if method not in _METHODS:
        raise ValueError(f"method: expected {', '.join(_METHODS)}, found {method!r}")
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"p_values: expected shape (n,) with n >= 1, found {values.shape}")
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError("p_values: expected values from 0 to 1")
    rejected, adjusted, _, _ = multipletests(values, alpha=level, method=_METHODS[method])
    return MultipleTests(np.asarray(adjusted, dtype=np.float64), np.asarray(rejected), method, level)


def sample(x: Float64Array, least: int, *, constant: bool = False, name: str = "x") -> Float64Array:
    """Return the values of a sample; raise `ValueError` unless there are enough, finite, and they differ."""
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 1 or len(values) < least:
        raise ValueError(f"{name}: expected shape (n,) with n >= {least}, found {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite values")
    if not constant and values.min() == values.max():
        raise ValueError(f"{name}: expected values that differ, found {len(values)} times {values[0]}")
    return values


def check_level(level: float) -> None:
    """Raise `ValueError` unless a level of significance is one."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected above 0 and below 1, found {level}")


def outcome(
    name: str,
    null: str,
    statistic: float,
    p_value: float,
    level: float,
    observations: int,
    *,
    p_bound: Bound = "exactly",
    critical_values: tuple[tuple[float, float], ...] = (),
    lags: int | None = None,
    cautions: tuple[str, ...] = (),
) -> HypothesisTest:
    """Put a test that has a p-value into the one form; raise `ValueError` when the library found no number."""
    if math.isnan(statistic) or math.isnan(p_value):
        raise ValueError(f"{name}: expected values that the test can tell apart, found a statistic of {statistic}")
    return HypothesisTest(
        name=name,
        null=null,
        statistic=statistic,
        p_value=p_value,
        p_bound=p_bound,
        level=level,
        rejected=p_value <= level,
        critical_values=critical_values,
        lags=lags,
        observations=observations,
        cautions=cautions,
    )


def _standard(values: Float64Array) -> Float64Array:
    """Shift and scale to mean 0 and a greatest magnitude of 1."""
    moved = values - values[0]
    moved -= moved.mean()
    return np.asarray(moved / np.abs(moved).max())


def _ties(values: Float64Array) -> tuple[str, ...]:
    ties = len(values) - len(np.unique(values))
    if ties == 0:
        return ()
    return (f"{ties} of {len(values)} values repeat another; the test assumes none, and its p-value is too high",)
