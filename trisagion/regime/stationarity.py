"""Does a series, or a spread of several, return to a level, and how fast? Unit roots, cointegration, and half-life.

The tests are statsmodels'; `trisagion.regime.significance` has the form of their answer. Give levels (log prices,
spreads), not returns.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.stats import linregress
from scipy.stats import t as student
from statsmodels.tools.sm_exceptions import CollinearityWarning, InterpolationWarning, SingularMatrixWarning
from statsmodels.tsa.stattools import adfuller, coint, kpss
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from trisagion.market.types import Float64Array
from trisagion.regime.significance import LEVEL, HypothesisTest, check_level, outcome, sample

OBSERVATIONS_MIN: Final = 20
"""The smallest sample of MacKinnon's (2010) simulations."""

KPSS_LEVELS: Final = (0.01, 0.10)
"""The ends of Kwiatkowski et al.'s table: beyond them a p-value is only bounded."""

JOHANSEN_LEVELS: Final = (0.10, 0.05, 0.01)
JOHANSEN_SERIES_MAX: Final = 12
"""MacKinnon, Haug & Michelis's (1999) tables, as statsmodels has them."""

RESIDUAL_MIN: Final = 1e-9
"""Least deviation, as a share of the series' own, of what must not be an exact function of something else."""

Trend = Literal["n", "c", "ct", "ctt"]
"""Nothing, a constant, a constant and a line, those and a square."""


@dataclass(frozen=True, slots=True, eq=False)
class Johansen:
    """What Johansen's test says of d series: for r = 0 … d − 1, whether the cointegration rank is at most r.

    Attributes
    ----------
    trace, max_eigenvalue : tuple of HypothesisTest, length d
        The two statistics for each r. Without p-values: only critical values are tabulated.
    trace_rank, max_eigenvalue_rank : int
        The first r that is not rejected; d when all are, which says that every series is stationary by itself.
    eigenvalues : float64, shape (d,)
        Falling.
    vectors : float64, shape (d, d)
        Column i is the cointegrating vector of eigenvalue i; only the first `rank` of them mean something.
    """

    trace: tuple[HypothesisTest, ...]
    max_eigenvalue: tuple[HypothesisTest, ...]
    trace_rank: int
    max_eigenvalue_rank: int
    eigenvalues: Float64Array
    vectors: Float64Array


@dataclass(frozen=True, slots=True)
class OrnsteinUhlenbeck:
    """``dX = speed·(mean − X)·dt + volatility·dW``, fitted to a series at equal steps.

    Attributes
    ----------
    half_life : float
        ``log 2/speed``, in the unit of the step; infinite when the fit does not return to a mean, NaN ("unknown") when
        successive values alternate around it, which this process never does.
    half_life_low, half_life_high : float
        Ends of the confidence interval; NaN where it has no positive persistence. `high` is infinite whenever a unit
        root is not rejected.
    mean : float
        In the series' unit; NaN unless the half-life is finite. So are speed and volatility.
    speed : float
        Per unit of the step.
    volatility : float
        In the series' unit per root of the unit of the step.
    persistence : float
        b, the autoregression's coefficient, corrected for its bias.
    unit_root : HypothesisTest
        Dickey and Fuller's test of the same regression, at a level of one less the confidence.
    mean_reverting : bool
        Whether the unit root is rejected and the half-life finite.
    """

    half_life: float
    half_life_low: float
    half_life_high: float
    mean: float
    speed: float
    volatility: float
    persistence: float
    unit_root: HypothesisTest
    mean_reverting: bool


def unit_root(
    x: Float64Array,
    *,
    trend: Trend = "c",
    lags: int | None = None,
    criterion: Literal["AIC", "BIC", "t-stat"] | None = "AIC",
    level: float = LEVEL,
) -> HypothesisTest:
    """Test for a unit root, against stationarity around a trend: augmented Dickey-Fuller.

    Parameters
    ----------
    x : float64, shape (n,)
        Finite, n >= 20, no straight line.
    trend : "n", "c", "ct" or "ctt"
        In the regression.
    lags : int, optional
        Greatest number of lagged differences, at least 0; without it Schwert's ``12·(n/100)^(1/4)``. Either way the
        regression must keep some degrees of freedom.
    criterion : "AIC", "BIC", "t-stat" or None
        How the number of lags is chosen up to that; None uses all.
    level : float
        Of significance, within (0, 1).

    Returns
    -------
    HypothesisTest
        With MacKinnon's (1994, 2010) p-value and critical values at 1, 5 and 10 %.

    Raises
    ------
    ValueError
        For anything else, or a series that follows the regression without an error.

    Notes
    -----
    Said & Dickey, "Testing for unit roots in autoregressive-moving average models of unknown order", Biometrika 71, 599
    (1984), by statsmodels.
    """
    values = _path(x)
    check_level(level)
    _check_trend(trend)
    used = _lags(lags, len(values), 0 if trend == "n" else len(trend))
    with _determined("x: expected a series with noise, found one that its own past determines"):
        found = adfuller(_unit(values, trend), maxlag=used, regression=trend, autolag=criterion, result_object=True)
        _check_statistic(found.statistic)
    return outcome(
        "Augmented Dickey-Fuller",
        "the series has a unit root",
        float(found.statistic),
        float(found.pvalue),
        level,
        len(values),
        critical_values=_percent(found.critical_values),
        lags=int(found.lags),
    )


def stationarity(
    x: Float64Array,
    *,
    trend: Literal["c", "ct"] = "c",
    lags: int | Literal["auto", "legacy"] = "auto",
    level: float = LEVEL,
) -> HypothesisTest:
    """Test for stationarity around a trend, against a unit root: Kwiatkowski, Phillips, Schmidt and Shin (KPSS).

    Parameters
    ----------
    x : float64, shape (n,)
        Finite, n >= 20, no straight line.
    trend : "c" or "ct"
        Around a constant, or a line.
    lags : int, "auto" or "legacy"
        Of the long-run variance, below n; chosen by Hobijn et al. (1998), or Schwert's ``12·(n/100)^(1/4)``.
    level : float
        Of significance, from 0.01 to 0.10: the table has no more.

    Returns
    -------
    HypothesisTest
        Where the statistic lies beyond the table, `p_bound` says that the p-value is at most 0.01 or at least 0.10.

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Kwiatkowski et al., "Testing the null hypothesis of stationarity against the alternative of a unit root", J.
    Econometrics 54, 159 (1992), by statsmodels.
    """
    values = _path(x)
    if not KPSS_LEVELS[0] <= level <= KPSS_LEVELS[1]:
        raise ValueError(f"level: expected {KPSS_LEVELS[0]} to {KPSS_LEVELS[1]}, the table's, found {level}")
    if trend not in ("c", "ct"):
        raise ValueError(f"trend: expected c or ct, found {trend!r}")
    if isinstance(lags, int) and not 0 <= lags < len(values):
        raise ValueError(f"lags: expected 0 to {len(values) - 1}, found {lags}")
    with warnings.catch_warnings():
        # What this warning says is the field `p_bound` here.
        warnings.simplefilter("ignore", InterpolationWarning)
        found = kpss(_unit(values, trend), regression=trend, nlags=lags, result_object=True)
    critical_values = _percent(found.critical_values)
    table = [value for _, value in critical_values]
    statistic = float(found.statistic)
    return outcome(
        "KPSS",
        "the series is stationary around " + ("a constant" if trend == "c" else "a line"),
        statistic,
        float(found.pvalue),
        level,
        len(values),
        p_bound="at most" if statistic > max(table) else "at least" if statistic < min(table) else "exactly",
        critical_values=critical_values,
        lags=int(found.lags),
    )


def cointegration(
    y: Float64Array,
    x: Float64Array,
    *,
    trend: Trend = "c",
    lags: int | None = None,
    criterion: Literal["AIC", "BIC", "t-stat"] | None = "AIC",
    level: float = LEVEL,
) -> HypothesisTest:
    """Test, as Engle and Granger do, whether what a regression of y on x leaves over is stationary.

    Parameters
    ----------
    y : float64, shape (n,)
        Finite, n >= 20, no straight line.
    x : float64, shape (n,) or (n, k)
        The same; up to 11 columns.
    trend, lags, criterion, level
        As in `unit_root`; the trend is that of the regression of y on x.

    Returns
    -------
    HypothesisTest
        The answer depends on which series is y. `lags` is None: statsmodels does not tell.

    Raises
    ------
    ValueError
        For anything else, or a y that is an exact combination of x.

    Notes
    -----
    Engle & Granger, "Co-integration and error correction", Econometrica 55, 251 (1987), with MacKinnon's (2010)
    critical values, by statsmodels.
    """
    first = _path(y, "y")
    others = np.asarray(x, dtype=np.float64)
    others = others[:, None] if others.ndim == 1 else others
    if others.ndim != 2 or len(others) != len(first) or not 1 <= others.shape[1] < JOHANSEN_SERIES_MAX:
        raise ValueError(f"x: expected shape ({len(first)},) or ({len(first)}, 1 … 11), found {np.shape(x)}")
    for column in others.T:
        _path(column)
    check_level(level)
    _check_trend(trend)
    used = _lags(lags, len(first), 0)
    columns = [_unit(column, trend) for column in (first, *others.T)]
    _check_independent(np.column_stack(columns))
    with _determined("expected series with noise, found that the regressions determine y, or what is left of it"):
        statistic, p_value, critical = coint(
            columns[0],
            np.column_stack(columns[1:]),
            trend=trend,
            maxlag=used,
            autolag=criterion,
            return_results=False,
        )
        _check_statistic(statistic)
    return outcome(
        "Engle-Granger",
        "the series are not cointegrated",
        float(statistic),
        float(p_value),
        level,
        len(first),
        critical_values=tuple((share, float(value)) for share, value in zip((0.01, 0.05, 0.10), critical, strict=True)),
    )


def johansen(x: Float64Array, *, trend: Literal["n", "c", "ct"] = "c", lags: int = 1, level: float = LEVEL) -> Johansen:
    """Test, as Johansen does, how many independent combinations of the series are stationary.

    Parameters
    ----------
    x : float64, shape (n, d)
        Finite, d from 2 to 12, no column a straight line or an exact combination of others.
    trend : "n", "c" or "ct"
        Nothing, a constant, or a line in the regressions.
    lags : int
        Lagged differences in the regressions, at least 0; n must exceed ``20 + d·(lags + 1)``.
    level : float
        0.10, 0.05 or 0.01: the critical values tabulated.

    Returns
    -------
    Johansen

    Raises
    ------
    ValueError
        For anything else.

    Notes
    -----
    Johansen, "Estimation and hypothesis testing of cointegration vectors in Gaussian vector autoregressive models",
    Econometrica 59, 1551 (1991), by statsmodels. The ranks come from testing r = 0, 1, … until one is not rejected.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2 or not 2 <= values.shape[1] <= JOHANSEN_SERIES_MAX:
        raise ValueError(f"x: expected shape (n, d) with d from 2 to {JOHANSEN_SERIES_MAX}, found {values.shape}")
    n, d = values.shape
    orders = {"n": -1, "c": 0, "ct": 1}
    if trend not in orders:
        raise ValueError(f"trend: expected n, c or ct, found {trend!r}")
    if level not in JOHANSEN_LEVELS:
        raise ValueError(f"level: expected one of {JOHANSEN_LEVELS}, found {level}")
    if not (lags >= 0 and n > OBSERVATIONS_MIN + d * (lags + 1)):
        raise ValueError(f"lags: expected 0 or more, and more than 20 + d·(lags + 1) rows; found {lags} lags, {n} rows")
    columns = np.column_stack([_unit(_path(column), trend) for column in values.T])
    _check_independent(columns)
    try:
        with np.errstate(divide="raise", invalid="raise"):
            found = coint_johansen(columns, orders[trend], lags)
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        raise ValueError("x: expected series with noise, found some that their own past determines") from error
    # What lagged differences leave over of differences and levels: of a determined series nothing but rounding.
    if min(np.abs(left).max(axis=0).min() for left in (found.r0t, found.rkt)) < RESIDUAL_MIN:
        raise ValueError("x: expected series with noise, found some that their own past determines")
    scales = np.array([_scale(column, trend) for column in values.T])

    def tests(name: str, statistics: Float64Array, critical: Float64Array) -> tuple[HypothesisTest, ...]:
        return tuple(
            _tabulated(name, rank, float(statistics[rank]), critical[rank], level, lags, n) for rank in range(d)
        )

    trace = tests("Johansen, trace", found.trace_stat, found.trace_stat_crit_vals)
    greatest = tests("Johansen, greatest eigenvalue", found.max_eig_stat, found.max_eig_stat_crit_vals)
    return Johansen(
        trace=trace,
        max_eigenvalue=greatest,
        trace_rank=next((rank for rank, test in enumerate(trace) if not test.rejected), d),
        max_eigenvalue_rank=next((rank for rank, test in enumerate(greatest) if not test.rejected), d),
        eigenvalues=np.asarray(found.eig, dtype=np.float64),
        vectors=np.asarray(found.evec, dtype=np.float64) / scales[:, None],
    )


def half_life(x: Float64Array, *, step: float = 1.0, confidence: float = 0.95) -> OrnsteinUhlenbeck:
    """Fit an Ornstein-Uhlenbeck process by its exact discretisation, and tell how fast it returns to its mean.

    Parameters
    ----------
    x : float64, shape (n,)
        Finite, n >= 20, no straight line, at equal steps.
    step : float
        Time between two values, positive, in the unit that the half-life shall have.
    confidence : float
        Of the interval, within (0, 1).

    Returns
    -------
    OrnsteinUhlenbeck

    Raises
    ------
    ValueError
        For anything else, or a series that its own past determines exactly.

    Notes
    -----
    Sampled at steps of h the process is the autoregression ``x' = a + b·x + e`` with ``b = exp(−speed·h)`` and
    ``var e = volatility²·(1 − b²)/(2·speed)``. Least squares is its conditional maximum likelihood.

    We differ in b: least squares falls short by about ``(1 + 3b)/m`` for m pairs (Marriott & Pope, "Bias in the
    estimation of autocorrelations", Biometrika 41, 390 (1954)), which in two years of days would shorten a half-life of
    seven weeks to five. We use ``(m·b + 1)/(m − 3)``. The interval is b's by Student's distribution, carried over; its
    upper end holds only where a unit root is rejected. In simulations of ours (some of them in the tests) it covers the
    truth in 91 to 95 % of cases for b of 0.5 to 0.99 and 250 to 1000 values, at a confidence of 95 %.
    """
    values = _path(x)
    if not 0.0 < step < math.inf:
        raise ValueError(f"step: expected a positive finite number, found {step}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: expected above 0 and below 1, found {confidence}")
    root = unit_root(values, lags=0, criterion=None, level=1.0 - confidence)
    scale = _scale(values, "c")
    moved = (values - values[0]) / scale
    fit = linregress(moved[:-1], moved[1:])
    pairs = len(values) - 1
    slope = (pairs * float(fit.slope) + 1.0) / (pairs - 3.0)
    reach = float(student.ppf((1.0 + confidence) / 2.0, pairs - 2)) * float(fit.stderr)
    life = _life(slope, step)
    speed = mean = volatility = math.nan
    if math.isfinite(life):
        speed = math.log(2.0) / life
        mean = float(values[0] + scale * (moved[1:].mean() - slope * moved[:-1].mean()) / (1.0 - slope))
        residual = moved[1:] - fit.intercept - fit.slope * moved[:-1]
        variance = float(residual @ residual) / (pairs - 2)
        volatility = scale * math.sqrt(variance * 2.0 * speed / (1.0 - slope * slope))
    return OrnsteinUhlenbeck(
        half_life=life,
        half_life_low=0.0 if slope - reach <= 0.0 < slope + reach else _life(slope - reach, step),
        half_life_high=_life(slope + reach, step) if root.rejected else math.inf,
        mean=mean,
        speed=speed,
        volatility=volatility,
        persistence=slope,
        unit_root=root,
        mean_reverting=root.rejected and math.isfinite(life),
    )


def _life(persistence: float, step: float) -> float:
    """Return the half-life of a persistence: infinite from 1 on, NaN where there is no such process."""
    if persistence >= 1.0:
        return math.inf
    if persistence <= 0.0:
        return math.nan
    return -step * math.log(2.0) / math.log(persistence)


def _path(x: Float64Array, name: str = "x") -> Float64Array:
    """Return the values of a series; raise `ValueError` unless it is long, finite, and no straight line."""
    values = sample(x, OBSERVATIONS_MIN, name=name)
    steps = np.diff(values)
    if np.ptp(steps) <= RESIDUAL_MIN * np.abs(steps).max():
        raise ValueError(f"{name}: expected a series with noise, found a straight line")
    return values


def _scale(values: Float64Array, trend: Trend) -> float:
    """Return the greatest magnitude of a series; with a constant in the regression, of its distance from the start."""
    return float(np.abs(values if trend == "n" else values - values[0]).max())


def _unit(values: Float64Array, trend: Trend) -> Float64Array:
    """Scale a series to a greatest magnitude of 1, which no test minds, so that its squares keep their digits."""
    return (values if trend == "n" else values - values[0]) / _scale(values, trend)


@contextmanager
def _determined(complaint: str) -> Iterator[None]:
    """Turn what a regression without an error, or of dependent columns, does to statsmodels into a `ValueError`."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("error", SingularMatrixWarning)
        warnings.simplefilter("error", CollinearityWarning)
        try:
            yield
        except (SingularMatrixWarning, CollinearityWarning, np.linalg.LinAlgError) as error:
            raise ValueError(complaint) from error


def _check_statistic(statistic: float) -> None:
    """Refuse a t-statistic of a size that is the rounding error of a regression which leaves nothing over."""
    if not abs(statistic) < 1.0 / RESIDUAL_MIN:
        raise np.linalg.LinAlgError(f"a t-statistic of {statistic}")


def _lags(lags: int | None, count: int, trends: int) -> int:
    """Return the greatest number of lags to use: 3 degrees of freedom must remain, and statsmodels wants its own."""
    most = min((count - 5 - trends) // 2, count // 2 - trends - 1)
    if lags is None:
        return min(most, math.ceil(12.0 * math.pow(count / 100.0, 0.25)))
    if not 0 <= lags <= most:
        raise ValueError(f"lags: expected 0 to {most}, found {lags}")
    return lags


def _check_trend(trend: str) -> None:
    if trend not in ("n", "c", "ct", "ctt"):
        raise ValueError(f"trend: expected n, c, ct or ctt, found {trend!r}")


def _check_independent(values: Float64Array) -> None:
    """Raise `ValueError` when a column is, but for rounding, a combination of the others and a constant."""
    moved = values - values.mean(axis=0)
    moved /= np.sqrt((moved * moved).sum(axis=0))
    if np.linalg.svd(moved, compute_uv=False)[-1] < RESIDUAL_MIN:
        raise ValueError("expected series of which none is an exact combination of the others")


def _percent(critical_values: dict[str, float]) -> tuple[tuple[float, float], ...]:
    """Turn statsmodels' "5%" into 0.05, most significant first."""
    return tuple(sorted((round(float(share.rstrip("%")) / 100.0, 4), float(v)) for share, v in critical_values.items()))


def _tabulated(
    name: str, rank: int, statistic: float, critical: Float64Array, level: float, lags: int, observations: int
) -> HypothesisTest:
    table = dict(zip(JOHANSEN_LEVELS, critical.tolist(), strict=True))
    return HypothesisTest(
        name=name,
        null=f"the cointegration rank is at most {rank}",
        statistic=statistic,
        p_value=None,
        p_bound="exactly",
        level=level,
        rejected=statistic > table[level],
        critical_values=tuple(sorted(table.items())),
        lags=lags,
        observations=observations,
        cautions=(),
    )
