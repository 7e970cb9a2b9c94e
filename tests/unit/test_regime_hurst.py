"""The Hurst exponent and the noise it is held against: published values, theory, and simulation with known truth."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import toeplitz

from trisagion.regime.fgn import fgn, fgn_autocovariance
from trisagion.regime.hurst import (
    HurstEstimate,
    _aggregated_variance,
    _bridge_curve,
    _detrended_curve,
    _detrending,
    _Method,
    _ranges,
    _rescaled_range,
    _structure_function,
    aggregated_variance,
    detrended_fluctuation,
    detrended_fluctuation_batch,
    rescaled_range,
    structure_function,
)

ESTIMATORS: list[Callable[..., HurstEstimate]] = [
    rescaled_range,
    aggregated_variance,
    detrended_fluctuation,
    structure_function,
]


def _rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def _divisors(samples: int, least: int) -> np.ndarray:
    return np.array([scale for scale in range(least, samples // 2 + 1) if samples % scale == 0])


@pytest.mark.parametrize("hurst", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_the_autocovariance_is_that_of_the_increments_of_fractional_brownian_motion(hurst: float) -> None:
    """Sums of n neighbours have variance n^2H: the definition, whatever the formula of single lags."""
    count = 200
    covariance = toeplitz(fgn_autocovariance(hurst, count))
    for length in (1, 2, 7, count):
        assert covariance[:length, :length].sum() == pytest.approx(length ** (2 * hurst), rel=1e-11)


def test_the_autocovariance_keeps_its_digits_at_far_lags() -> None:
    """At a million lags it is H(2H − 1) k^(2H − 2) to the next term of the series."""
    found = fgn_autocovariance(0.8, 1_000_001)[-1]
    assert found == pytest.approx(0.8 * 0.6 * 1e6 ** (-0.4), rel=1e-8)


@pytest.mark.parametrize("hurst", [0.1, 0.3, 0.5, 0.75, 0.95])
def test_noise_has_the_autocovariance_of_theory(hurst: float) -> None:
    """Over 20,000 paths all products of two samples average to it, within five standard errors."""
    paths, samples = 20_000, 40
    noise = fgn(_rng(3), hurst, samples, paths)
    expected = toeplitz(fgn_autocovariance(hurst, samples))
    # A product of two normals of variance 1 has variance 1 + γ².
    error = np.sqrt((1.0 + expected**2) / paths)
    assert (np.abs(noise.T @ noise / paths - expected) < 5.0 * error).all()
    assert np.abs(noise.mean(axis=0)).max() < 5.0 / math.sqrt(paths)


def test_noise_of_one_half_is_white_and_normal() -> None:
    """All its sample autocorrelations are those of independent draws, and its values normal."""
    noise = fgn(_rng(4), 0.5, 20_000)[0]
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    correlation = np.fft.irfft(spectrum)[1:200] / np.fft.irfft(spectrum)[0]
    box_pierce = len(noise) * (correlation**2).sum()
    assert 0.001 < stats.chi2.sf(box_pierce, 199) < 0.999
    assert stats.kstest(noise, "norm").pvalue > 0.001


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 64, 1000, 1009])
def test_noise_comes_in_the_size_asked_for_and_the_same_from_the_same_seed(samples: int) -> None:
    """Lengths that no transform likes included; nothing but the generator decides."""
    noise = fgn(_rng(5), 0.7, samples, 3)
    assert noise.shape == (3, samples)
    assert np.isfinite(noise).all()
    assert len(np.unique(noise[:, 0])) == 3
    np.testing.assert_array_equal(noise, fgn(_rng(5), 0.7, samples, 3))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: fgn(_rng(), 0.0, 9), "hurst: expected above 0 and below 1, found 0"),
        (lambda: fgn(_rng(), 1.0, 9), "hurst: expected above 0 and below 1, found 1"),
        (lambda: fgn(_rng(), math.nan, 9), "hurst: .* found nan"),
        (lambda: fgn(_rng(), 0.5, 0), "samples: expected 1 to 4194304, found 0"),
        (lambda: fgn(_rng(), 0.5, 2**22 + 1), "samples: expected 1 to 4194304, found 4194305"),
        (lambda: fgn(_rng(), 0.5, 9, 0), "paths: expected at least 1, found 0"),
        (lambda: fgn_autocovariance(1.5, 9), "hurst"),
        (lambda: fgn_autocovariance(0.5, 0), "count: expected 1 to 4194305 lags, found 0"),
    ],
)
def test_noise_that_does_not_exist_is_refused(ask: Callable[[], object], message: str) -> None:
    """The message says what was expected and found."""
    with pytest.raises(ValueError, match=message):
        ask()


@pytest.mark.parametrize("scale", [4, 10, 50])
def test_the_rescaled_range_of_white_noise_is_that_of_anis_and_lloyd(scale: int) -> None:
    """The mean over 40,000 windows is within four standard errors of what the slopes are corrected by."""
    windows = _rng(6).standard_normal((40_000, scale))
    found = _ranges(windows, np.array([scale]))[:, 0]
    gammas = math.gamma((scale - 1) / 2) / (math.sqrt(math.pi) * math.gamma(scale / 2))
    expected = gammas * sum(math.sqrt((scale - rest) / rest) for rest in range(1, scale))
    assert abs(found.mean() - expected) < 4.0 * found.std() / math.sqrt(len(found))


def test_the_rescaled_range_of_two_samples_is_one() -> None:
    """By hand: range and standard deviation of (a, b) are both |a − b|/2; and so says the formula."""
    assert _ranges(np.array([[3.0, 7.0, 1.0, 1.0]]), np.array([2])).tolist() == [[1.0]]
    method = _rescaled_range(np.array([2, 4]))
    # E[R/S](2) = 1, so that the slope expected at H = 0.5 is log E[R/S](4) / log 2.
    four = math.gamma(1.5) / math.sqrt(math.pi) * (math.sqrt(3) + 1 + math.sqrt(1 / 3))
    assert np.interp(0.5, np.arange(1, 100) / 100, method.slopes) == pytest.approx(math.log2(four), rel=1e-12)


@pytest.mark.parametrize("samples", [512, 1024, 4096])
def test_the_spread_on_white_noise_is_the_published_one(samples: int) -> None:
    """Weron, Physica A 312, 285 (2002): between which bounds 95 % of the estimates of n independent draws lie.

    His bounds, for windows that divide n, are fits to 10,000 simulations in M = log2 n: for R/S with the correction of
    Anis and Lloyd, windows above 50, 0.5 − exp(−7.33 ln ln M + 4.21) and 0.5 + exp(−7.20 ln ln M + 4.04); for DFA,
    windows above 10, 0.5 − exp(−2.33 ln M + 3.25) and 0.5 + exp(−2.46 ln M + 3.38). His DFA takes the mean of the
    windows' fluctuations where ours takes the root of the mean square.
    """
    noise = _rng(7).standard_normal((2000, samples))
    depth = math.log(math.log2(samples))
    deeper = math.log(depth)
    ranges = _rescaled_range(_divisors(samples, 51))
    found = np.quantile(ranges.hurst(ranges.exponents(ranges.fluctuations(noise))), [0.025, 0.975])
    published = 0.5 - math.exp(-7.33 * deeper + 4.21), 0.5 + math.exp(-7.20 * deeper + 4.04)
    np.testing.assert_allclose(found, published, atol=0.02)
    _, exponent = detrended_fluctuation_batch(noise, scales=_divisors(samples, 11))
    published = 0.5 - math.exp(-2.33 * depth + 3.25), 0.5 + math.exp(-2.46 * depth + 3.38)
    np.testing.assert_allclose(np.quantile(exponent, [0.025, 0.975]), published, atol=0.02)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("hurst", [0.2, 0.5, 0.9])
def test_the_expected_detrended_fluctuation_is_that_of_the_covariance(hurst: float, order: int) -> None:
    """The curve is the trace of the detrended covariance matrix of fractional Brownian motion, by linear algebra."""
    grid_place = round(hurst * 100) - 1
    for scale in (order + 2, 10, 60):
        place = np.arange(1.0, scale + 1.0)
        own = place ** (2 * hurst)
        covariance = 0.5 * (own[:, None] + own - np.abs(place[:, None] - place) ** (2 * hurst))
        trend = np.vander(place - place.mean(), order + 1)
        off = np.eye(scale) - trend @ np.linalg.pinv(trend)
        expected = 0.5 * math.log(np.trace(off @ covariance @ off) / scale)
        assert _detrended_curve(scale, order)[grid_place] == pytest.approx(expected, abs=1e-9)


def test_the_expected_curve_goes_on_as_a_power_law_where_it_is_one() -> None:
    """From one window to twice as long a one it grows as s^H within a thousandth just below the exact limit."""
    growth = (_detrended_curve(1024, 1) - _detrended_curve(512, 1)) / math.log(2.0)
    hurst = np.arange(1, 100) / 100.0
    np.testing.assert_allclose(growth, hurst, atol=2e-3)
    np.testing.assert_allclose(_detrended_curve(4096, 1) - _detrended_curve(1024, 1), 2.0 * math.log(2.0) * hurst)


@pytest.mark.parametrize("hurst", [0.3, 0.8])
def test_the_expected_structure_function_is_that_of_the_bridge(hurst: float) -> None:
    """The curve is the mean of E|increment|^q over the covariance matrix of a path that ends where it began."""
    samples, lag = 70, 7
    place = np.arange(samples + 1.0)
    own = place ** (2 * hurst)
    covariance = 0.5 * (own[:, None] + own - np.abs(place[:, None] - place) ** (2 * hurst))
    bridge = np.eye(samples + 1)
    bridge[:, -1] -= place / samples
    step = np.eye(samples + 1)[lag:] - np.eye(samples + 1)[:-lag]
    variance = np.einsum("ij,jk,ik->i", step @ bridge, covariance, step @ bridge)
    for moment in (1.0, 2.0, 3.0):
        expected = math.log((variance ** (moment / 2.0)).mean()) / moment
        assert _bridge_curve(lag, samples, moment)[round(hurst * 100) - 1] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("hurst", [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_detrended_fluctuation_is_within_three_hundredths_of_the_truth(hurst: float) -> None:
    """The mean over 100 paths of 4096 samples, for both orders; single paths spread by no more than 0.04."""
    noise = fgn(_rng(8), hurst, 4096, 100)
    for order in (1, 2):
        found, _ = detrended_fluctuation_batch(noise, order=order)
        assert found.mean() == pytest.approx(hurst, abs=0.03)
        assert found.std() < 0.04


@pytest.mark.parametrize(
    ("method", "bias"),
    [
        (_rescaled_range(np.array([16, 25, 40, 64, 100, 160, 256, 400])), 0.11),
        (_aggregated_variance(2048, np.array([2, 4, 8, 16, 32, 64, 128])), 0.02),
        (_detrending(2048, None, 1), 0.02),
        (_structure_function(2048, 1.0), 0.01),
        (_structure_function(2048, 2.5), 0.01),
    ],
    ids=["R/S", "aggregated variance", "DFA", "structure function", "its moment 2.5"],
)
def test_each_estimator_finds_the_exponent_of_noise(method: _Method, bias: float) -> None:
    """The mean over 60 paths of 2048; R/S has the bias towards one half that its table tells."""
    for hurst in (0.2, 0.5, 0.85):
        noise = fgn(_rng(9), hurst, 2048, 60)
        found = method.hurst(method.exponents(method.fluctuations(noise)))
        error = 3.0 * found.std() / math.sqrt(len(found))
        assert found.mean() == pytest.approx(hurst, abs=error + (0.0 if hurst == 0.5 and bias > 0.1 else bias))


@pytest.mark.parametrize("estimate", ESTIMATORS, ids=lambda value: value.__name__)
@pytest.mark.parametrize("hurst", [0.25, 0.8])
def test_the_interval_holds_the_truth_as_often_as_it_says(estimate: Callable[..., HurstEstimate], hurst: float) -> None:
    """Of 80 intervals of 90 %, 62 to 79 hold it: nearly always if the level is true, seldom if it is 75 % or 99.9 %."""
    rng = _rng(10)
    held = 0
    for x in fgn(rng, hurst, 256, 80):
        found = estimate(x, rng, confidence=0.9, paths=20)
        held += found.low <= hurst <= found.high
    assert 62 <= held <= 79


def test_an_interval_is_wider_at_a_higher_level_and_a_shorter_series() -> None:
    """And it is the same for the same generator."""
    x = fgn(_rng(11), 0.6, 4096)[0]
    width = {
        (samples, level): found.high - found.low
        for samples in (512, 4096)
        for level in (0.8, 0.99)
        for found in [detrended_fluctuation(x[:samples], _rng(12), confidence=level)]
    }
    assert width[4096, 0.8] < width[4096, 0.99] < width[512, 0.99]
    assert width[4096, 0.8] < width[512, 0.8] < width[512, 0.99]
    first, second = (detrended_fluctuation(x, _rng(12)) for _ in range(2))
    assert (first.hurst, first.standard_error, first.low, first.high) == (
        second.hurst,
        second.standard_error,
        second.low,
        second.high,
    )


@pytest.mark.parametrize("estimate", ESTIMATORS, ids=lambda value: value.__name__)
def test_neither_level_nor_unit_of_the_increments_matters(estimate: Callable[..., HurstEstimate]) -> None:
    """A drift and a change of unit leave the estimate where it was, up to the largest unit allowed."""
    x = fgn(_rng(13), 0.65, 500)[0]
    expected = estimate(x, _rng(), paths=20).hurst
    for other in (x + 3.0, 1e-6 * x, 1e99 * x):
        assert estimate(other, _rng(), paths=20).hurst == pytest.approx(expected, rel=1e-6)


def test_the_result_shows_what_the_slope_was_taken_from() -> None:
    """The exponent is the least squares slope of its fluctuations, by numpy's fit."""
    x = fgn(_rng(14), 0.7, 1000)[0]
    for found in (
        detrended_fluctuation(x, _rng(), paths=20, order=2),
        rescaled_range(x, _rng(), paths=20),
        aggregated_variance(x, _rng(), paths=20, scales=np.array([1, 5, 50])),
    ):
        assert found.converged
        assert found.reason == ""
        slope = np.polyfit(np.log(found.scales), np.log(found.fluctuations), 1)[0]
        assert found.exponent == pytest.approx(slope, rel=1e-9)
    assert found.scales.tolist() == [1, 5, 50]
    sums = x[:1000].reshape(20, 50).sum(axis=1)
    assert found.fluctuations[2] == pytest.approx(sums.std(), rel=1e-9)


def test_the_structure_function_averages_the_slopes_of_several_ranges_of_lags() -> None:
    """Di Matteo's average over the longest lag, 5 to 19, of numpy's fits; F(1) is the mean increment for q = 1."""
    x = fgn(_rng(15), 0.6, 700)[0]
    for moment in (0.5, 1.0, 2.0):
        found = structure_function(x, _rng(), moment=moment, paths=20)
        lags, log = np.log(found.scales), np.log(found.fluctuations)
        slopes = [np.polyfit(lags[:most], log[:most], 1)[0] for most in range(5, 20)]
        assert found.exponent == pytest.approx(np.mean(slopes), rel=1e-9)
        steps = np.abs(x - x.mean())
        assert found.fluctuations[0] == pytest.approx((steps**moment).mean() ** (1 / moment), rel=1e-9)


def test_a_batch_is_each_of_its_series_and_knows_what_does_not_move() -> None:
    """A path, whose exponent is above 1, and a constant are unknown; the path's exponent is told."""
    rows = fgn(_rng(16), 0.6, 1000, 4)
    rows[1] = 0.1
    rows[2] = np.cumsum(rows[2])
    hurst, exponent = detrended_fluctuation_batch(rows)
    assert np.isnan(hurst).tolist() == [False, True, True, False]
    assert np.isnan(exponent).tolist() == [False, True, False, False]
    for row in (0, 3):
        found = detrended_fluctuation(rows[row], _rng(), paths=20)
        assert (hurst[row], exponent[row]) == pytest.approx((found.hurst, found.exponent), rel=1e-12)
    path = detrended_fluctuation(rows[2], _rng())
    assert not path.converged
    assert path.exponent == pytest.approx(exponent[2], rel=1e-12)
    assert path.exponent > 1.2
    assert all(math.isnan(value) for value in (path.hurst, path.standard_error, path.low, path.high))
    assert "expected a slope of" in path.reason
    assert f"found {path.exponent:.3f}" in path.reason


def test_windows_in_which_nothing_moves_have_no_rescaled_range() -> None:
    """They do not count, whatever rounding says about their deviation."""
    x = fgn(_rng(17), 0.5, 400)[0]
    gap = np.concatenate([x[:200], np.full(200, 0.1), x[200:]])
    scales = np.array([5, 10, 20, 40])
    np.testing.assert_allclose(_ranges(gap[None], scales), _ranges(x[None], scales), rtol=1e-12)


GOOD = np.random.default_rng(18).standard_normal(200)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        pytest.param(GOOD[None], r"in one dimension, found float64, shape \(1, 200\)", id="two dimensions"),
        pytest.param(GOOD * 1j, "real numbers in one dimension, found complex128", id="complex"),
        pytest.param(GOOD[:127], "expected 128 to 4194304 samples, found 127", id="too short"),
        pytest.param(np.zeros(2**22 + 1, np.int8), "samples, found 4194305", id="too long"),
        pytest.param(np.where(GOOD > 2.0, math.nan, GOOD), "found nan", id="NaN"),
        pytest.param(np.where(GOOD > 2.0, -math.inf, GOOD), "found -inf", id="infinite"),
        pytest.param(GOOD * 1e101, "magnitude up to 1e[+]100", id="too large"),
        pytest.param(np.full(200, 0.1), "a series that moves, found 0.1 throughout", id="constant"),
    ],
)
@pytest.mark.parametrize("estimate", ESTIMATORS, ids=lambda value: value.__name__)
def test_what_has_no_exponent_is_refused(estimate: Callable[..., HurstEstimate], x: np.ndarray, message: str) -> None:
    """The message says what was expected and found."""
    with pytest.raises(ValueError, match=message):
        estimate(x, _rng())


@pytest.mark.parametrize(
    ("estimate", "arguments", "message"),
    [
        (rescaled_range, {"confidence": 1.0}, "confidence: expected above 0 and below 1, found 1.0"),
        (rescaled_range, {"confidence": math.nan}, "confidence: .* found nan"),
        (rescaled_range, {"paths": 19}, "paths: expected at least 20, found 19"),
        (rescaled_range, {"scales": np.array([3, 9, 20])}, "scales: expected 4 to 100 samples, found 3"),
        (aggregated_variance, {"scales": np.array([0, 9, 20])}, "scales: expected 1 to 100 samples, found 0"),
        (detrended_fluctuation, {"scales": np.array([9, 20, 101])}, "scales: expected 3 to 100 samples, found 101"),
        (detrended_fluctuation, {"scales": np.array([9, 20])}, "at least 3 integers, found int64, shape"),
        (detrended_fluctuation, {"scales": np.array([9.0, 20, 30])}, "at least 3 integers, found float64"),
        (detrended_fluctuation, {"scales": np.array([9, 20, 20])}, r"rising lengths, found \[9, 20, 20\]"),
        (detrended_fluctuation, {"order": 3}, "order: expected 1 or 2, found 3"),
        (structure_function, {"moment": 0.0}, "moment: expected above 0 and at most 4, found 0"),
        (structure_function, {"moment": 4.5}, "moment: expected above 0 and at most 4, found 4.5"),
    ],
)
def test_arguments_out_of_range_are_refused(
    estimate: Callable[..., HurstEstimate], arguments: dict[str, Any], message: str
) -> None:
    """The message names the argument."""
    with pytest.raises(ValueError, match=message):
        estimate(GOOD, _rng(), **arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (GOOD, "expected two dimensions, found shape"),
        (GOOD[None, :99], "expected 128 to 4194304 samples, found 99"),
        (GOOD[None] * math.nan, "found nan"),
    ],
)
def test_a_batch_of_something_else_is_refused(x: np.ndarray, message: str) -> None:
    """The message says what was expected and found."""
    with pytest.raises(ValueError, match=message):
        detrended_fluctuation_batch(x)


def test_a_series_that_stands_still_at_some_scale_is_refused() -> None:
    """Steps there and back: sums of two are all 0, and no power law goes through 0."""
    with pytest.raises(ValueError, match="moves at every scale, found none at 2"):
        aggregated_variance(np.tile([1.0, -1.0], 100), _rng())
