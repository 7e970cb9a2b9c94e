"""Unit roots, cointegration and half-life: against Stata, R, SAS and Matlab's numbers, and simulations."""

import math
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from statsmodels.datasets import macrodata, nile, sunspots

from trisagion.regime.stationarity import cointegration, half_life, johansen, stationarity, unit_root


def _macro(name: str) -> np.ndarray:
    return np.asarray(macrodata.load_pandas().data[name].to_numpy(), dtype=np.float64)


def _walk(count: int, seed: int = 1) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=count))


def _ornstein_uhlenbeck(persistence: float, count: int, seed: int) -> np.ndarray:
    """Draw from the stationary process with unit innovations."""
    noise = np.random.default_rng(seed).normal(size=count)
    x = np.empty(count)
    x[0] = noise[0] / math.sqrt(1.0 - persistence**2)
    for i in range(1, count):
        x[i] = persistence * x[i - 1] + noise[i]
    return x


@pytest.mark.parametrize(
    ("name", "trend", "lags", "statistic", "p_value"),
    [
        ("realgdp", "c", 4, 0.97505319, 0.99399563),
        ("realgdp", "ct", 4, -1.8566374, 0.67682968),
        ("realgdp", "n", 4, 3.5227498, 1.0),
        ("infl", "c", 1, -4.3346988, 0.00038661),
        ("infl", "ct", 1, -4.425093, 0.00199633),
        ("infl", "n", 1, -2.4511596, 0.013747),
    ],
)
def test_dickey_fuller_repeats_stata(name: str, trend: Any, lags: int, statistic: float, p_value: float) -> None:
    """The values Stata gives for American real product and inflation, as statsmodels' own tests record them."""
    found = unit_root(_macro(name), trend=trend, lags=lags, criterion=None)
    assert found.statistic == pytest.approx(statistic, abs=1e-5)
    assert found.p_value == pytest.approx(p_value, abs=1e-4)
    assert found.rejected is (p_value <= 0.05)
    assert found.lags == lags
    assert [share for share, _ in found.critical_values] == [0.01, 0.05, 0.10]


def test_dickey_fuller_critical_values_are_statas() -> None:
    """For a constant and some 200 observations: −3.476, −2.883, −2.573, to their two digits that agree."""
    found = unit_root(_macro("realgdp"), lags=4, criterion=None)
    assert [value for _, value in found.critical_values] == pytest.approx([-3.476, -2.883, -2.573], abs=0.02)


@pytest.mark.parametrize(("trend", "statistic"), [("c", 5.0169), ("ct", 1.1828)])
def test_kpss_repeats_the_known_value_and_bounds_its_p_value(trend: Any, statistic: float) -> None:
    """American real product with 3 lags; beyond the table, all that is known is that p is at most 0.01."""
    found = stationarity(_macro("realgdp"), trend=trend, lags=3)
    assert found.statistic == pytest.approx(statistic, abs=5e-4)
    assert (found.p_value, found.p_bound) == (0.01, "at most")
    assert found.rejected
    assert "p <= 0.01" in str(found)


def test_kpss_bounds_a_large_p_value_and_interpolates_between() -> None:
    """Noise is below the table, p at least 0.10; in between p is a value, and both sides of a level are met."""
    found = stationarity(np.random.default_rng(2).normal(size=300))
    assert (found.p_value, found.p_bound, found.rejected) == (0.10, "at least", False)
    inside = [stationarity(_ornstein_uhlenbeck(0.98, 300, seed)) for seed in range(30)]
    exact = [test for test in inside if test.p_bound == "exactly"]
    assert len(exact) > 3
    for test in exact:
        assert test.p_value is not None
        assert 0.01 < test.p_value < 0.10
        assert test.rejected is (test.statistic >= 0.463)


def test_kpss_chooses_the_lags_that_sas_does() -> None:
    """Hobijn et al.'s rule by SAS 9.3: 9 for real product, 7 for the sunspots, 5 for the Nile."""
    series = (
        _macro("realgdp"),
        sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(),
        nile.load_pandas().data["volume"].to_numpy(),
    )
    assert [stationarity(x).lags for x in series] == [9, 7, 5]


def test_engle_granger_repeats_stata() -> None:
    """Consumption on product without lags; and four simulated series with four, with their critical values."""
    found = cointegration(_macro("realcons"), _macro("realgdp"), lags=0, criterion=None)
    assert found.statistic == pytest.approx(-1.830170986148, abs=1e-4)
    assert not found.rejected
    # The legacy generator is the one whose numbers were given to Stata.
    rs = np.random.RandomState(123)
    unit = rs.randn(200).cumsum()
    y = rs.randn(200, 4)
    y[:, :2] += unit[:, None]
    y = np.round(y + np.array([1.0, 0.0, 0.5, 0.0]), 4)
    for columns, statistic, critical in (
        (y[:, 1], -5.760696844656, (-3.952321293402, -3.367006313729, -3.065831247948)),
        (y[:, 1:3], -5.781087068772, (-4.367111915942, -3.783961136005, -3.483501524709)),
        (y[:, 2:], -2.477444137366, (-4.367111915942, -3.783961136005, -3.483501524709)),
        (y[:, 1:], -5.778205811661, (-4.735249216434, -4.152738973763, -3.852480848968)),
    ):
        found = cointegration(y[:, 0], columns, lags=4, criterion=None)
        assert found.statistic == pytest.approx(statistic, rel=1e-8)
        assert [value for _, value in found.critical_values] == pytest.approx(critical, abs=1e-6)
        assert found.rejected is (statistic < critical[1])


def test_johansen_repeats_the_spatial_econometrics_toolbox() -> None:
    """Eight series with a trend and two lags: LeSage's Matlab toolbox, as statsmodels' own tests record it."""
    path = files("statsmodels.tsa.vector_ar.tests") / "Matlab_results" / "test_coint.csv"
    x = np.loadtxt(path.read_text(encoding="utf-8").splitlines())
    found = johansen(x, trend="ct", lags=2)
    trace = (241.985452556075, 166.4781461662553, 110.3298006342814, 70.79801574443575)
    greatest = (75.50730638981975, 56.14834553197396, 39.5317848898456, 25.8891420291594)
    assert [test.statistic for test in found.trace[:4]] == pytest.approx(trace, rel=1e-8)
    assert [test.statistic for test in found.max_eigenvalue[:4]] == pytest.approx(greatest, rel=1e-8)
    assert found.trace[0].critical_values == ((0.01, 187.1891), (0.05, 175.1584), (0.10, 169.0618))
    assert found.max_eigenvalue[2].critical_values == ((0.01, 49.4095), (0.05, 43.4183), (0.10, 40.5244))
    assert found.trace[0].p_value is None
    assert (found.trace_rank, found.max_eigenvalue_rank) == (3, 2)
    assert johansen(x, trend="ct", lags=2, level=0.01).trace_rank == 2


def test_johansen_finds_the_rank_and_the_vector() -> None:
    """Of three series two share a walk: rank 1, and the vector is their spread in their own units."""
    rng = np.random.default_rng(3)
    shared, other = _walk(500), _walk(500, 2)
    x = np.column_stack([2.0 * shared + rng.normal(size=500), shared, 1e6 * other])
    found = johansen(x)
    assert (found.trace_rank, found.max_eigenvalue_rank) == (1, 1)
    vector = found.vectors[:, 0] / found.vectors[0, 0]
    assert vector[:2] == pytest.approx([1.0, -2.0], abs=0.05)
    assert abs(vector[2]) * 1e6 < 0.05
    assert (np.diff(found.eigenvalues) < 0).all()


def test_tests_of_a_unit_root_keep_their_level() -> None:
    """Of 200 random walks about one in twenty is rejected, and of pairs of them too; stationary series always."""
    walks = [_walk(150, seed) for seed in range(200)]
    assert 2 <= sum(unit_root(x, lags=1, criterion=None).rejected for x in walks) <= 20
    pairs = zip(walks[::2], walks[1::2], strict=True)
    assert 1 <= sum(cointegration(x, y, lags=1, criterion=None).rejected for x, y in pairs) <= 12
    assert all(unit_root(_ornstein_uhlenbeck(0.5, 200, seed)).rejected for seed in range(20))


def test_half_life_is_least_squares_corrected_for_bias() -> None:
    """From NumPy's own regression: ``(m·b + 1)/(m − 3)``, ``−h·log 2/log b``, and the diffusion of the residuals."""
    x = 7.0 + _ornstein_uhlenbeck(0.9, 300, 4)
    found = half_life(x, step=0.5)
    slope, intercept = np.polyfit(x[:-1], x[1:], 1)
    persistence = (299 * slope + 1) / 296
    speed = -math.log(persistence) / 0.5
    variance = ((x[1:] - intercept - slope * x[:-1]) ** 2).sum() / 297
    assert found.persistence == pytest.approx(persistence)
    assert found.half_life == pytest.approx(math.log(2) / speed)
    assert found.speed == pytest.approx(speed)
    assert found.volatility == pytest.approx(math.sqrt(variance * 2 * speed / (1 - persistence**2)))
    assert found.mean == pytest.approx((x[1:].mean() - persistence * x[:-1].mean()) / (1 - persistence))
    assert found.mean_reverting
    assert found.half_life_low < found.half_life < found.half_life_high


@pytest.mark.parametrize(("persistence", "count"), [(0.5, 250), (0.9, 250), (0.98, 500)])
def test_half_lives_are_recovered(persistence: float, count: int) -> None:
    """In 150 simulations the median is the truth within a tenth, and 88 % of the intervals and more hold it."""
    truth = -math.log(2) / math.log(persistence)
    fits = [half_life(_ornstein_uhlenbeck(persistence, count, seed)) for seed in range(150)]
    assert np.median([fit.half_life for fit in fits]) == pytest.approx(truth, rel=0.10)
    assert sum(fit.half_life_low <= truth <= fit.half_life_high for fit in fits) >= 0.88 * 150


def test_a_random_walk_has_no_half_life() -> None:
    """Of 100 walks few are called mean-reverting; of all others the interval has no upper end."""
    fits = [half_life(_walk(250, seed)) for seed in range(100)]
    assert sum(fit.mean_reverting for fit in fits) <= 12
    assert all(fit.half_life_high == math.inf for fit in fits if not fit.unit_root.rejected)
    assert any(fit.half_life == math.inf and math.isnan(fit.speed) for fit in fits)


def test_without_a_rejected_unit_root_the_half_life_has_no_upper_end() -> None:
    """Also where Student's interval of the persistence ends below 1: of a unit root that distribution is not true."""
    fits = [half_life(_ornstein_uhlenbeck(0.9, 100, seed)) for seed in range(60)]
    doubtful = [fit for fit in fits if not fit.unit_root.rejected and fit.half_life < 6.5]
    assert len(doubtful) > 3
    assert all(fit.half_life_high == math.inf and not fit.mean_reverting for fit in doubtful)
    assert all(fit.half_life_high < math.inf for fit in fits if fit.unit_root.rejected and fit.half_life < 5.0)


def test_an_alternating_series_is_unknown() -> None:
    """No Ornstein-Uhlenbeck process has a negative persistence: NaN, and not called mean-reverting."""
    found = half_life(_ornstein_uhlenbeck(-0.8, 200, 5))
    assert math.isnan(found.half_life)
    assert math.isnan(found.half_life_low)
    assert math.isnan(found.half_life_high)
    assert not found.mean_reverting
    noise = half_life(_ornstein_uhlenbeck(-0.02, 200, 6))
    assert noise.half_life_low == 0.0
    assert 0.0 < noise.half_life_high < 0.5


@pytest.mark.parametrize(("factor", "offset"), [(1e-200, 0.0), (1e200, 0.0), (1.0, 1e9)])
def test_unit_and_offset_do_not_matter(factor: float, offset: float) -> None:
    """Levels far from 0, and squares that no float64 holds, change no answer."""
    x, y = _walk(120), _walk(120, 2)
    moved, other = factor * x + offset, factor * y + offset
    for test in (unit_root, stationarity):
        assert test(moved).statistic == pytest.approx(test(x).statistic, rel=1e-5)
    assert cointegration(moved, y).statistic == pytest.approx(cointegration(x, y).statistic, rel=1e-5)
    both, plain = johansen(np.column_stack([moved, other])), johansen(np.column_stack([x, y]))
    assert both.trace[0].statistic == pytest.approx(plain.trace[0].statistic, rel=1e-5)
    assert half_life(moved).persistence == pytest.approx(half_life(x).persistence, rel=1e-6)


def test_a_short_series_keeps_degrees_of_freedom() -> None:
    """Twenty values leave room for no more than seven lags: with more the regression fits anything."""
    x, y = _walk(20), _walk(20, 2)
    for trend in ("n", "c", "ct", "ctt"):
        assert abs(unit_root(x, trend=trend).statistic) < 20
        assert 0.01 < abs(cointegration(y, x, trend=trend).statistic) < 20
    with pytest.raises(ValueError, match="lags: expected 0 to 7"):
        unit_root(x, lags=8)


_WALK = _walk(60)
_PAIR = np.column_stack([_WALK, _walk(60, 2)])
_ZIGZAG = np.tile([1.0, -1.0], 30)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unit_root(_WALK[:19]), "n >= 20"),
        (lambda: unit_root(np.ones(30)), "found 30 times"),
        (lambda: unit_root(np.arange(30.0)), "straight line"),
        (lambda: unit_root(_ZIGZAG), "its own past determines"),
        (lambda: unit_root(1.01 ** np.arange(60.0)), "its own past determines"),
        (lambda: unit_root(np.append(_WALK, math.nan)), "finite"),
        (lambda: unit_root(np.append(_WALK, math.inf)), "finite"),
        (lambda: unit_root(_PAIR), "shape"),
        (lambda: unit_root(_WALK, trend="x"), "trend"),  # type: ignore[arg-type]
        (lambda: unit_root(_WALK, lags=-1), "lags"),
        (lambda: unit_root(_WALK, level=1.5), "level"),
        (lambda: stationarity(_WALK[:10]), "n >= 20"),
        (lambda: stationarity(np.arange(30.0)), "straight line"),
        (lambda: stationarity(_WALK, level=0.001), "level: expected 0.01 to 0.1"),
        (lambda: stationarity(_WALK, trend="ctt"), "trend"),  # type: ignore[arg-type]
        (lambda: stationarity(_WALK, lags=60), "lags: expected 0 to 59"),
        (lambda: cointegration(_WALK, _WALK[:-1]), "x: expected shape \\(60,\\)"),
        (lambda: cointegration(_WALK, 2.0 * _WALK + 1.0), "exact combination"),
        (lambda: cointegration(_WALK, np.arange(60.0)), "straight line"),
        (lambda: cointegration(_WALK, np.where(_WALK > 0, math.nan, _WALK)), "x: expected finite"),
        (lambda: cointegration(_WALK, _PAIR[:, 1], lags=99), "lags"),
        (lambda: cointegration(_WALK, _PAIR[:, 1], trend="x"), "trend"),  # type: ignore[arg-type]
        (lambda: johansen(_WALK), "shape \\(n, d\\)"),
        (lambda: johansen(_PAIR[:, :1]), "d from 2 to 12"),
        (lambda: johansen(_PAIR, level=0.02), "level: expected one of"),
        (lambda: johansen(_PAIR, lags=20), "more than 20"),
        (lambda: johansen(_PAIR, lags=-1), "lags"),
        (lambda: johansen(_PAIR, trend="ctt"), "trend"),  # type: ignore[arg-type]
        (lambda: johansen(np.column_stack([_PAIR, _PAIR.sum(axis=1)])), "exact combination"),
        (lambda: johansen(np.column_stack([_WALK, _ZIGZAG])), "their own past determines"),
        (lambda: half_life(_ZIGZAG), "its own past determines"),
        (lambda: half_life(_WALK, step=0.0), "step"),
        (lambda: half_life(_WALK, confidence=1.0), "confidence"),
        (lambda: half_life(np.append(_WALK, math.nan)), "finite"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        call()
