"""Evidence against published numbers, slow direct computations, and cases whose answer is known."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.report_builder import START_NS, marks, report
from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.cohort.types import ShardMark
from trisagion.market.types import Float64Array
from trisagion.reports.evidence import (
    BLOCKS,
    HOURS_MIN,
    STRATEGIES_MIN,
    clone_effect,
    overfitting,
    probabilistic_sharpe,
    skill,
    stretches,
    weigh,
)
from trisagion.reports.metrics import Moments, expected_maximum
from trisagion.reports.model import CohortOutcome
from trisagion.reports.summary import findings


def cohort_of(runs: Sequence[tuple[int, bool, float]], epoch: int = 1) -> CohortOutcome:
    """Make runs from (instant of birth, clone or not, P&L in bp); each has traded twice its start balance."""
    points = np.array([bp for _, _, bp in runs])
    return CohortOutcome(
        profit=points / 1e4 * 2,
        turnover=np.full(len(runs), 2.0),
        fees=np.full(len(runs), 16e-4),
        alive=np.zeros(len(runs), dtype=bool),
        cloned=np.array([cloned for _, cloned, _ in runs], dtype=bool),
        epoch=np.full(len(runs), epoch),
        born_ns=np.array([instant for instant, _, _ in runs], dtype=np.int64),
    )


def many(hours: int, effect: float, seed: int, drift: float = 0.0) -> CohortOutcome:
    """Make three clones and two draws each hour; clones gain `effect` bp more, later births `drift` bp more."""
    random = np.random.default_rng(seed)
    return cohort_of(
        [
            (hour * HOUR_NS, cloned, float(random.standard_normal()) + drift * hour + effect * cloned)
            for hour in range(hours)
            for cloned in (True, True, True, False, False)
        ]
    )


def test_clones_are_compared_with_draws_of_the_same_instant() -> None:
    """Instants with one kind alone, runs that never traded and other epochs do not count; weights are m·n/(m + n)."""
    runs = [(1, True, 5.0), (1, True, 7.0), (1, False, 1.0), (2, True, 0.0), (2, False, 3.0)]
    alone = [(0, False, -90.0), (0, False, -80.0), (3, True, 70.0)]
    cohort = cohort_of([*runs, *alone, (1, False, 1e9), (2, False, -1e9)])
    cohort.turnover[-2] = 0.0
    cohort.epoch[-1] = 2
    found = clone_effect(cohort, 1, running=True)
    assert found.difference_bp == pytest.approx((2 / 3 * 5.0 + 1 / 2 * -3.0) / (2 / 3 + 1 / 2))
    assert (found.births, found.clones, found.randoms, found.trials, found.running) == (2, 3, 2, 9, True)
    assert (found.low_bp, found.high_bp, found.verdict) == (None, None, "too few to tell")


def test_the_difference_is_the_least_squares_coefficient_with_a_constant_for_each_instant() -> None:
    """The weighted mean of differences equals a regression on a dummy for clones and one for each instant."""
    random = np.random.default_rng(3)
    runs = [
        (int(random.integers(8)), bool(random.random() < 0.4), float(random.standard_normal() * 9)) for _ in range(200)
    ]
    found = clone_effect(cohort_of(runs), 1, running=False)
    design = np.array([[cloned, *(instant == place for place in range(8))] for instant, cloned, _ in runs], dtype=float)
    coefficients = np.linalg.lstsq(design, np.array([bp for _, _, bp in runs]), rcond=None)[0]
    assert found.difference_bp == pytest.approx(coefficients[0], rel=1e-9)


def slow_bca(values: Float64Array, weights: Float64Array, resamples: int, seed: int) -> tuple[float, float]:
    """Return Efron's interval by his formulas, one resample at a time."""
    normal, random, count = NormalDist(), np.random.default_rng(seed), len(values)

    def mean(rows: Sequence[int]) -> float:
        return float(np.average(values[list(rows)], weights=weights[list(rows)]))

    whole = mean(range(count))
    drawn = np.sort([mean(random.integers(0, count, count).tolist()) for _ in range(resamples)])
    bias = normal.inv_cdf(float(np.mean(drawn < whole)))
    left_out = np.array([mean([row for row in range(count) if row != out]) for out in range(count)])
    pull = left_out.mean() - left_out
    acceleration = float((pull**3).sum() / (6 * (pull**2).sum() ** 1.5))

    def bound(z: float) -> float:
        level = normal.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        return float(np.quantile(drawn, level))

    return bound(normal.inv_cdf(0.025)), bound(normal.inv_cdf(0.975))


def test_the_interval_is_efrons() -> None:
    """On a skewed sample of unequal weights it agrees with a slow BCa within the noise of resampling."""
    random = np.random.default_rng(5)
    runs = [
        (hour * HOUR_NS, cloned, float(random.exponential(3.0)) if cloned else 0.0)
        for hour in range(60)
        for cloned in (True,) * (1 + hour % 4) + (False,)
    ]
    found = clone_effect(cohort_of(runs), 1, running=False)
    values = np.array(
        [np.mean([bp for at, cloned, bp in runs if at == hour * HOUR_NS and cloned]) for hour in range(60)]
    )
    sizes = np.array([1 + hour % 4 for hour in range(60)], dtype=float)
    low, high = slow_bca(values, sizes / (sizes + 1), 4000, seed=8)
    assert found.low_bp is not None and found.high_bp is not None
    width = high - low
    assert found.low_bp == pytest.approx(low, abs=width / 20)
    assert found.high_bp == pytest.approx(high, abs=width / 20)
    assert found == clone_effect(cohort_of(runs), 1, running=False)


def test_a_real_advantage_is_found_and_none_is_not() -> None:
    """The interval holds the truth in about 95 of 100 cohorts, and a market that rises does not look like skill."""
    held = 0
    for seed in range(60):
        found = clone_effect(many(40, 0.5, seed, drift=2.0), 1, running=False)
        assert found.low_bp is not None and found.high_bp is not None
        held += found.low_bp <= 0.5 <= found.high_bp
    assert 52 <= held < 60
    assert clone_effect(many(80, 1.0, 1), 1, running=False).verdict == "clones did better"
    assert clone_effect(many(80, -1.0, 1), 1, running=False).verdict == "clones did worse"
    assert clone_effect(many(80, 0.0, 1), 1, running=False).verdict == "no difference that chance could not make"


@pytest.mark.parametrize(
    ("hours", "bounds", "told"),
    [(0, False, False), (HOURS_MIN - 1, False, False), (HOURS_MIN, True, False), (29, True, False), (30, True, True)],
)
def test_too_few_hours_of_births_give_no_verdict(hours: int, bounds: bool, told: bool) -> None:
    """Below the least number there is a difference, if any; then an interval; and from thirty hours on a verdict."""
    found = clone_effect(many(hours, 9.0, 2), 1, running=False)
    assert found.hours == pytest.approx(hours)
    assert (found.low_bp is not None) == (found.high_bp is not None) == bounds
    assert found.verdict == ("clones did better" if told else "too few to tell")
    assert (found.difference_bp is None) == (hours == 0)


def test_births_of_one_hour_are_drawn_together() -> None:
    """Six instants an hour that all say the same are worth no more than one, and the interval knows it."""
    random = np.random.default_rng(4)
    shocks = random.standard_normal(40)
    runs = [
        (hour * HOUR_NS + minute * MINUTE_NS, cloned, float(shocks[hour]) * cloned)
        for hour in range(40)
        for minute in range(0, 60, 10)
        for cloned in (True, False)
    ]
    six, one = (
        clone_effect(cohort_of(runs), 1, running=False),
        clone_effect(cohort_of(runs[::12] + runs[1::12]), 1, running=False),
    )
    assert (six.births, one.births) == (240, 40)
    assert six.hours == one.hours == pytest.approx(40)
    assert six.low_bp == pytest.approx(one.low_bp)
    assert six.high_bp == pytest.approx(one.high_bp)


def test_an_hour_that_outweighs_all_others_is_not_much_evidence() -> None:
    """Forty hours of which one has half of the runs are worth four."""
    runs = [(hour * HOUR_NS, cloned, float(hour % 3)) for hour in range(40) for cloned in (True, False)]
    heavy = clone_effect(cohort_of(runs + runs[:2] * 38), 1, running=False)
    assert heavy.hours == pytest.approx((39 + 39) ** 2 / (39**2 + 39))
    assert heavy.verdict == "too few to tell"


def test_equal_differences_give_no_interval() -> None:
    """A sample without any spread says nothing about its own."""
    runs = [(hour * HOUR_NS, cloned, float(cloned)) for hour in range(50) for cloned in (True, False)]
    assert clone_effect(cohort_of(runs), 1, running=False).verdict == "too few to tell"


def test_the_deflated_sharpe_ratio_is_that_of_the_papers_example() -> None:
    """SR 2.5 a year, 5 years of 250 days, skew −3, kurtosis 10, best of 100 of variance 1/2: luck 0.1132, DSR 0.90."""
    found = Moments(ratio=2.5 / math.sqrt(250), skewness=-3.0, kurtosis=10.0, count=1250)
    luck = math.sqrt(0.5 / 250) * expected_maximum(100)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe(found, luck) == pytest.approx(0.9004, abs=5e-5)


def test_the_papers_strategy_of_46_trials_would_have_been_accepted() -> None:
    """With normal returns the same example passes 95 % at 88 trials, with its own moments only at 46."""
    own = Moments(2.5 / math.sqrt(250), -3.0, 10.0, 1250)
    normal = Moments(2.5 / math.sqrt(250), 0.0, 3.0, 1250)
    scale = math.sqrt(0.5 / 250)
    assert probabilistic_sharpe(own, scale * expected_maximum(46)) == pytest.approx(0.95, abs=1e-3)
    assert probabilistic_sharpe(normal, scale * expected_maximum(88)) == pytest.approx(0.95, abs=1e-3)


def test_more_trials_need_more_skill() -> None:
    """One curve deserves less belief the more were tried; against zero the number of trials does not matter."""
    random = np.random.default_rng(2)
    equity = 1e6 * np.cumprod(1 + 1e-3 * random.standard_normal(500) + 2e-4, dtype=np.float64)
    few, many_tried = skill(equity, 10), skill(equity, 10_000)
    assert few is not None and few.above_luck is not None
    assert many_tried is not None and many_tried.above_luck is not None
    assert few.above_zero == many_tried.above_zero > few.above_luck > many_tried.above_luck
    assert few.returns == 499


def test_skill_is_not_told_of_too_little() -> None:
    """No curve, no skill; one trial, no luck."""
    assert skill(np.linspace(1e6, 2e6, 20), 5) is None
    curve = 1e6 + np.cumsum(np.random.default_rng(1).standard_normal(99))
    alone = skill(curve, 1)
    assert alone is not None
    assert alone.above_luck is None


def slow_pbo(gains: Float64Array, blocks: int) -> float:
    """Return the probability of backtest overfitting as the paper describes it, split by split."""
    rows = len(gains) // blocks * blocks
    parts = np.split(gains[len(gains) - rows :], blocks)
    logits = []
    for picked in combinations(range(blocks), blocks // 2):
        train = np.concatenate([parts[b] for b in picked])
        test = np.concatenate([parts[b] for b in range(blocks) if b not in picked])
        train_ratio, test_ratio = ratios(train), ratios(test)
        best = train_ratio.index(max(train_ratio))
        below = sum(ratio < test_ratio[best] for ratio in test_ratio)
        equal = sum(ratio == test_ratio[best] for ratio in test_ratio)
        omega = (below + (equal + 1) / 2) / (len(test_ratio) + 1)
        logits.append(math.log(omega / (1 - omega)))
    return sum(logit <= 0 for logit in logits) / len(logits)


def ratios(gains: Float64Array) -> list[float]:
    """Return each column's mean over its standard deviation."""
    return [round(float(column.mean() / column.std()), 10) if column.any() else 0.0 for column in gains.T]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 6, 8]), st.integers(1, 3), st.integers(0, 9), st.integers(0, 3))
def test_overfitting_equals_the_direct_computation(seed: int, blocks: int, rows: int, extra: int, still: int) -> None:
    """Also with periods to spare and with strategies that move in some blocks only."""
    random = np.random.default_rng(seed)
    gains = random.standard_normal((rows * blocks + extra % blocks, STRATEGIES_MIN + 3)) + random.normal(
        0, 0.4, STRATEGIES_MIN + 3
    )
    gains[: len(gains) // 2, :still] = 0.0
    found = overfitting(gains, blocks)
    assert found.probability == slow_pbo(gains, blocks)
    assert found.splits == math.comb(blocks, blocks // 2)
    assert found.periods == len(gains) // blocks * blocks


def test_the_best_of_pure_noise_is_as_often_below_the_median_as_above() -> None:
    """Over many seeds the mean is one half: there is nothing that could last."""
    found = [overfitting(np.random.default_rng(seed).standard_normal((64, 25)), 8).probability for seed in range(80)]
    assert all(value is not None for value in found)
    assert np.mean([value for value in found if value is not None]) == pytest.approx(0.5, abs=0.08)


def test_one_truly_better_strategy_is_no_overfitting() -> None:
    """What wins in every half is chosen for a reason."""
    gains = np.random.default_rng(4).standard_normal((160, 25))
    gains[:, 7] += 1.0
    assert overfitting(gains).probability == 0.0


def test_a_winner_that_always_turns_is_overfitting() -> None:
    """Where each strategy's gain of one half is its loss in the other, the best becomes the worst."""
    random = np.random.default_rng(6)
    gains = random.standard_normal((64, 20))
    gains -= gains.mean(axis=0)
    assert (overfitting(gains, 2).probability or 0.0) == 1.0


def test_equal_strategies_share_their_rank() -> None:
    """Where all are one strategy under many names, the best is the median, and choosing it shows nothing."""
    gains = np.random.default_rng(3).integers(-9, 9, (32, 1)).astype(np.float64).repeat(20, axis=1)
    assert overfitting(gains).probability == 1.0


@pytest.mark.parametrize(
    "shape", [(0, 0), (BLOCKS - 1, 50), (BLOCKS, STRATEGIES_MIN - 1)], ids=["nothing", "short", "few"]
)
def test_too_little_gives_no_probability_of_overfitting(shape: tuple[int, int]) -> None:
    """Nor any number of splits."""
    found = overfitting(np.random.default_rng(0).standard_normal(shape))
    assert (found.splits, found.probability) == (0, None)
    assert (found.periods, found.strategies) == shape


def test_the_gains_of_a_stretch_are_aligned_over_shards_and_checkpoints() -> None:
    """Whatever the order of marks and within them, a column is one run's and a row one period's, oldest first."""
    made = marks(runs=21, checkpoints=40, seed=9)
    worth = np.zeros((40, 21))
    for mark in made:
        worth[(mark.at_ns - START_NS) // (10 * MINUTE_NS), mark.runs] = mark.pnl
    first, second = stretches(made)
    assert np.array_equal(first, np.diff(worth[7:24], axis=0))
    assert np.array_equal(second, np.diff(worth[23:40], axis=0))
    shuffled = [replace(mark, runs=mark.runs[::-1], pnl=mark.pnl[::-1]) for mark in reversed(made)]
    assert all(np.array_equal(a, b) for a, b in zip(stretches(shuffled), (first, second), strict=True))


def lived(first: int, last: int, runs: Sequence[int]) -> list[tuple[int, int]]:
    """Return (checkpoint, run) for a stretch of checkpoints."""
    return [(at, run) for at in range(first, last + 1) for run in runs]


@pytest.mark.parametrize(
    ("seen", "runs"),
    [
        ([], []),
        (lived(0, BLOCKS - 1, range(12)), []),
        (lived(0, BLOCKS, range(12)), [12]),
        (lived(0, 2 * BLOCKS, range(12)), [12, 12]),
        (lived(0, 2 * BLOCKS, range(4)) + lived(5, 2 * BLOCKS, range(4, 30)), [4, 30]),
        (lived(0, 2 * BLOCKS, range(4)) + lived(0, 20, range(4, 30)), [30, 4]),
        (lived(0, 20, range(12)) + lived(21, 2 * BLOCKS, range(12, 40)), [12, 0]),
    ],
    ids=["nothing", "too short", "just enough", "two", "born on the way", "ended on the way", "a new epoch on the way"],
)
def test_a_stretch_holds_the_runs_that_lived_through_it(seen: list[tuple[int, int]], runs: list[int]) -> None:
    """Those that were born or ended within it do not count, nor across the end of an epoch."""
    random = np.random.default_rng(0)
    made = []
    for at in sorted({at for at, _ in seen}):
        numbers = np.array([run for when, run in seen if when == at], dtype=np.int64)
        made.append(ShardMark(START_NS + at, 0, numbers, random.standard_normal(len(numbers))))
    assert [gains.shape for gains in stretches(made)] == [(BLOCKS, count) for count in runs]


def test_half_a_checkpoint_and_runs_that_never_moved_are_left_out() -> None:
    """While a replay runs, one shard may be a checkpoint ahead; a run without any gain or loss has shown nothing."""
    made = marks(runs=20, checkpoints=BLOCKS + 2, seed=1)
    (late,), (early,) = stretches(made), stretches(made[:-1])
    assert np.array_equal(late[:-1], early[1:])
    for mark in made:
        mark.pnl[0] = 0.0
    assert stretches(made)[0].shape == (BLOCKS, 18)


def test_a_report_of_little_claims_nothing() -> None:
    """Before the first minute each line says that there is too little to tell, and none has a number."""
    evidence = weigh(report(minutes=0, runs=0))
    for _, found, note in findings(evidence, evidence.clones):
        assert found == "–"
        assert "to tell" in note


def test_a_report_has_a_line_for_each_epoch_and_gives_its_numbers_again() -> None:
    """Skill, each epoch's clones, overfitting; twice the same."""
    evidence = weigh(report())
    assert evidence == weigh(report())
    assert [effect.epoch for effect in evidence.clones] == [1, 2]
    assert [effect.running for effect in evidence.clones] == [False, True]
    assert all(effect.low_bp is not None for effect in evidence.clones)
    assert [stretch.strategies for stretch in evidence.overfitting] == [20] * 6
    assert all(stretch.probability is not None for stretch in evidence.overfitting)
    assert evidence.skill is not None
    assert evidence.skill.trials == 400
    assert len(findings(evidence, evidence.clones)) == 4
