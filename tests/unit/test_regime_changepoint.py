"""Change points in hindsight and as they happen: against published examples, tables, and enumeration."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from statsmodels.datasets import nile

from trisagion.regime.changepoint import (
    CusumRule,
    CusumState,
    cusum,
    cusum_run_length,
    cusum_step,
    cusum_threshold,
    noise_deviation,
    shifts_of_mean,
    shifts_of_mean_and_variance,
)

MONTGOMERY = (
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34),
    *(9.03, 11.47, 10.51, 9.40, 10.08, 9.37, 10.62, 10.31, 8.52, 10.84),
    *(10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
)
"""Montgomery, "Introduction to Statistical Quality Control", table 9.1: around 10, from the 21st on around 11."""

LUCAS_CROSIER = {
    4.0: (168.0, 74.2, 26.6, 13.3, 8.38, 4.75, 3.34, 2.62, 2.19, 1.71),
    5.0: (465.0, 139.0, 38.0, 17.0, 10.4, 5.75, 4.01, 3.11, 2.57, 2.01),
}
"""Average run lengths for a drift of 0.5: Lucas & Crosier (1982), reprinted in Montgomery, table 9.3."""
SHIFTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def test_the_flow_of_the_nile_changed_in_1899() -> None:
    """Cobb (1978) and everybody since: 28 years from 1871 at 1098, then 72 at 850 (10⁸ m³)."""
    flow = nile.load_pandas().data["volume"].to_numpy()
    for found in (shifts_of_mean(flow), shifts_of_mean(flow, "mbic"), shifts_of_mean_and_variance(flow)):
        assert found.changes.tolist() == [28]
        assert found.means == pytest.approx([1097.75, 849.97], abs=0.005)
        assert found.deviations == pytest.approx([np.std(flow[:28]), np.std(flow[28:])])


def _segmentations(count: int, shortest: int) -> list[list[int]]:
    """Return the cuts of every segmentation."""
    return [
        list(cuts)
        for number in range(count // shortest)
        for cuts in itertools.combinations(range(1, count), number)
        if min(np.diff([0, *cuts, count])) >= shortest
    ]


def _squares(x: np.ndarray, cuts: list[int]) -> float:
    return sum(float(((part - part.mean()) ** 2).sum()) for part in np.split(x, cuts))


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_modified_bic_is_that_of_zhang_and_siegmund(sigma: float) -> None:
    """Among all segmentations the one found has the least ``Σ(x − mean)²/σ² + 3k·log n + Σ log(length/n)``."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        x = np.repeat(rng.normal(0.0, 3.0, 3), 4) + sigma * rng.normal(size=12)

        def criterion(cuts: list[int], x: np.ndarray = x) -> float:
            lengths = np.diff([0, *cuts, 12])
            return _squares(x, cuts) / sigma**2 + 3 * len(cuts) * math.log(12) + float(np.log(lengths / 12).sum())

        found = shifts_of_mean(x, "mbic", sigma=sigma)
        assert found.changes.tolist() == min(_segmentations(12, 1), key=criterion)
        assert found.cost + len(found.changes) * found.penalty == pytest.approx(criterion(found.changes.tolist()))


@pytest.mark.parametrize(("penalty", "beta"), [("bic", 2 * math.log(12)), (5.0, 5.0), (0.0, 0.0)])
def test_the_penalty_is_for_each_change(penalty: Any, beta: float) -> None:
    """Among all segmentations of the least length, the one found has the least cost and penalties."""
    x = np.repeat([0.0, 2.0, -1.0], 4) + np.random.default_rng(5).normal(size=12)
    found = shifts_of_mean(x, penalty, sigma=0.8, min_size=2)
    best = min(_segmentations(12, 2), key=lambda cuts: _squares(x, cuts) / 0.64 + beta * len(cuts))
    assert found.penalty == pytest.approx(beta)
    assert found.changes.tolist() == best
    assert found.cost == pytest.approx(_squares(x, best) / 0.64)


def test_a_change_of_variance_alone_is_found() -> None:
    """The mean stays: only the model that knows variances sees anything."""
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.normal(size=300), 3.0 * rng.normal(size=300)])
    found = shifts_of_mean_and_variance(x)
    assert len(found.changes) == 1
    assert abs(found.changes[0] - 300) <= 5
    assert found.deviations == pytest.approx([1.0, 3.0], rel=0.1)


def test_bic_rarely_finds_changes_in_noise() -> None:
    """In 200 series of 200 values without a change, fewer than one in twenty is cut."""
    rng = np.random.default_rng(8)
    cut = sum(len(shifts_of_mean(rng.normal(size=200), sigma=1.0, min_size=5).changes) > 0 for _ in range(200))
    assert cut < 10


def test_equal_values_are_no_sign_of_certainty_with_a_least_deviation() -> None:
    """Of values rounded to whole steps, a stretch of equal ones is not cut out when the rounding is told."""
    x = np.round(np.random.default_rng(1).normal(size=400))
    x[100:112] = 0.0
    assert len(shifts_of_mean_and_variance(x, deviation_min=1 / math.sqrt(12)).changes) == 0
    assert len(shifts_of_mean_and_variance(x, deviation_min=1e-6).changes) > 0


def test_the_noise_is_estimated_in_spite_of_jumps() -> None:
    """Ten jumps of many deviations move the estimate by a few per cent; the series' own deviation is far off."""
    rng = np.random.default_rng(2)
    x = np.repeat(rng.normal(0.0, 50.0, 10), 200) + 2.5 * rng.normal(size=2000)
    assert noise_deviation(x) == pytest.approx(2.5, rel=0.06)
    assert np.std(x) > 10 * 2.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shifts_of_mean(np.array([1.0, math.nan, 2.0])), "finite"),
        (lambda: shifts_of_mean(np.array([])), "n >= 1"),
        (lambda: shifts_of_mean(np.zeros((3, 2))), "shape \\(n,\\)"),
        (lambda: shifts_of_mean(np.ones(9)), "give sigma"),
        (lambda: shifts_of_mean(np.array([1.0, 2.0])), "at least 3 points"),
        (lambda: shifts_of_mean(np.arange(9.0), sigma=0.0), "sigma"),
        (lambda: shifts_of_mean(np.arange(9.0), sigma=math.nan), "sigma"),
        (lambda: shifts_of_mean(np.arange(9.0), "aic"), "penalty: expected bic or mbic"),  # type: ignore[arg-type]
        (lambda: shifts_of_mean(np.arange(9.0), -1.0), "penalty"),
        (lambda: shifts_of_mean(np.arange(9.0), min_size=10), "min_size"),
        (lambda: shifts_of_mean(np.array([0.0, 1e300, 0.0]), sigma=1e-300), "finite"),
        (lambda: shifts_of_mean_and_variance(np.ones(9)), "not constant"),
        (lambda: shifts_of_mean_and_variance(np.arange(9.0), "mbic"), "penalty: expected bic or"),  # type: ignore[arg-type]
        (lambda: shifts_of_mean_and_variance(np.arange(9.0), min_size=1), "min_size: expected 2"),
        (lambda: shifts_of_mean_and_variance(np.arange(9.0), deviation_min=0.0), "deviation_min"),
        (lambda: CusumRule(math.nan, 1.0), "mean"),
        (lambda: CusumRule(0.0, 0.0), "deviation"),
        (lambda: CusumRule(0.0, 1.0, drift=-0.1), "drift"),
        (lambda: CusumRule(0.0, 1.0, threshold=0.0), "threshold"),
        (lambda: CusumRule(0.0, 1.0, threshold=math.inf), "threshold"),
        (lambda: cusum(CusumRule(0.0, 1.0), np.array([])), "n >= 1"),
        (lambda: cusum(CusumRule(0.0, 1.0), np.array([0.0, math.inf])), "finite"),
        (lambda: cusum_step(CusumRule(0.0, 1.0), CusumState(), math.nan), "finite"),
        (lambda: cusum_run_length(5.0, 0.5, math.nan), "shift"),
        (lambda: cusum_run_length(30.0, 1.0), "run length up to 1e\\+09"),
        (lambda: cusum_threshold(1.0), "run_length"),
        (lambda: cusum_threshold(465.0, 5.0), "drift"),
        (lambda: cusum_threshold(5.0, 1.5), "no threshold"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match=message):
        call()


def test_cusum_repeats_montgomerys_example() -> None:
    """The upper sum passes 5 at the 29th value with 5.28, seven values after it left 0: the shift was at the 23rd."""
    path = cusum(CusumRule(mean=10.0, deviation=1.0), np.array(MONTGOMERY))
    assert path.up[[3, 4, 27, 28]] == pytest.approx([1.16, 2.82, 4.47, 5.28])
    assert path.down[[0, 1, 2]] == pytest.approx([0.05, 1.56, 1.77])
    assert path.alarms.tolist() == [28]
    assert path.changes.tolist() == [22]
    assert path.directions.tolist() == [1]


def test_cusum_finds_a_fall_and_starts_anew_after_an_alarm() -> None:
    """The lower side is the mirror of the upper, and a lasting shift raises alarm after alarm."""
    x = np.concatenate([np.zeros(10), np.full(30, -2.0)])
    path = cusum(CusumRule(0.0, 1.0), x)
    assert path.alarms.tolist() == [13, 17, 21, 25, 29, 33, 37]
    assert path.changes.tolist() == [10, 14, 18, 22, 26, 30, 34]
    assert set(path.directions.tolist()) == {-1}
    mirrored = cusum(CusumRule(0.0, 1.0), -x)
    np.testing.assert_array_equal(mirrored.up, path.down)
    assert set(mirrored.directions.tolist()) == {1}


def test_cusum_goes_on_from_a_state_as_if_never_stopped() -> None:
    """Cut anywhere, the two halves give the sums, alarms and changes of the whole; a change may lie in the first."""
    rule = CusumRule(5.0, 2.0, drift=0.25, threshold=3.0)
    x = 5.0 + 2.0 * np.random.default_rng(3).normal(size=200)
    whole = cusum(rule, x)
    assert len(whole.alarms) > 3
    for cut in (1, 57, int(whole.alarms[0]), int(whole.alarms[0]) + 1, 199):
        first = cusum(rule, x[:cut])
        second = cusum(rule, x[cut:], first.state)
        np.testing.assert_array_equal(np.concatenate([first.up, second.up]), whole.up)
        np.testing.assert_array_equal(np.concatenate([first.alarms, second.alarms + cut]), whole.alarms)
        np.testing.assert_array_equal(np.concatenate([first.changes, second.changes + cut]), whole.changes)
        assert second.state == whole.state


@pytest.mark.parametrize("threshold", [4.0, 5.0])
def test_average_run_lengths_are_those_of_the_published_table(threshold: float) -> None:
    """To the three digits printed."""
    for shift, printed in zip(SHIFTS, LUCAS_CROSIER[threshold], strict=True):
        assert cusum_run_length(threshold, 0.5, shift) == pytest.approx(printed, rel=0.005)
        assert cusum_run_length(threshold, 0.5, -shift) == pytest.approx(cusum_run_length(threshold, 0.5, shift))


def test_the_cusum_itself_runs_as_long_as_computed() -> None:
    """Simulated: 1500 alarms after a shift of one deviation come after 10.4 points on average, within three errors."""
    x = 1.0 + np.random.default_rng(4).normal(size=15_600)
    alarms = cusum(CusumRule(0.0, 1.0), x).alarms
    lengths = np.diff([-1, *alarms])
    error = np.std(lengths) / math.sqrt(len(lengths))
    assert abs(np.mean(lengths) - cusum_run_length(5.0, 0.5, 1.0)) < 3 * error


@pytest.mark.parametrize(("run_length", "drift", "threshold"), [(167.684, 0.5, 4.0), (465.444, 0.5, 5.0)])
def test_the_threshold_for_a_run_length_is_the_inverse(run_length: float, drift: float, threshold: float) -> None:
    """The table read backwards, and any other drift by the forward computation."""
    assert cusum_threshold(run_length, drift) == pytest.approx(threshold, abs=1e-4)
    for other in (0.1, 1.0, 2.0):
        assert cusum_run_length(cusum_threshold(run_length, other), other) == pytest.approx(run_length, rel=1e-6)
