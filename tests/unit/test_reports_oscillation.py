"""Oscillation against adverse excursions: by hand, by scipy, and where the truth is known because it was simulated."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from statsmodels.stats.multitest import multipletests

from ext.entropy import permutation_entropy
from trisagion.clock import MINUTE_NS
from trisagion.features.momentum import market_weight
from trisagion.market.types import Bars, Float64Array
from trisagion.regime.hurst import detrended_fluctuation_batch
from trisagion.reports.model import EquityCurve
from trisagion.reports.oscillation import (
    ACCOUNT,
    BEFORE,
    EPOCHS_MIN,
    EPOCHS_TOLD,
    MARKET,
    MEASURES,
    WITHIN,
    Pair,
    Study,
    _pair,
    epochs_of,
    falls_bp,
    study,
)


def bars_of(closes: Float64Array, margin: float = 0.0) -> Bars:
    """Return minutes whose highs and lows are off the closes by a share."""
    stamps = np.arange(1, len(closes) + 1, dtype=np.int64) * MINUTE_NS
    volume = np.ones(len(closes))
    return Bars("SIM", MINUTE_NS, stamps, closes, closes * (1 + margin), closes * (1 - margin), closes, volume)


def walk(count: int, seed: int = 1) -> Float64Array:
    """Return closes of a random walk."""
    return 100 * np.exp(np.cumsum(1e-3 * np.random.default_rng(seed).standard_normal(count)))


def pair_of(found: Study, measure: str, when: str, of: str = MARKET) -> Pair:
    """Return one of the pairs."""
    return next(pair for pair in found.pairs if (pair.measure, pair.when, pair.of) == (measure, when, of))


def test_an_excursion_is_the_worst_move_against_the_position() -> None:
    """Two blocks of six: entered at the first close, long after rises, short after falls, none without a weight."""
    rising = np.array([100.0, 101, 102, 103, 104, 105, 106, 110, 103, 104, 120, 121])
    found = epochs_of(bars_of(rising, 0.01), 6)
    assert (found.direction.tolist(), found.start_ns.tolist(), found.end_ns.tolist()) == (
        [1],
        [7 * MINUTE_NS],
        [12 * MINUTE_NS],
    )
    assert found.mae_bp[0] == pytest.approx((106 - 103 * 0.99) / 106 * 1e4)
    falling = np.array([106.0, 105, 104, 103, 102, 101, 100, 99, 104, 90, 80, 70])
    found = epochs_of(bars_of(falling, 0.01), 6)
    assert found.direction.tolist() == [-1]
    assert found.mae_bp[0] == pytest.approx((104 * 1.01 - 100) / 100 * 1e4)
    still = epochs_of(bars_of(np.full(12, 100.0), 0.01), 6)
    assert still.direction.tolist() == [0]
    assert np.isnan(still.mae_bp[0])


def test_a_position_that_never_loses_has_no_excursion() -> None:
    """Zero, not a gain with a sign."""
    found = epochs_of(bars_of(np.arange(100.0, 130.0)), 10)
    assert found.mae_bp.tolist() == [0.0, 0.0]


def test_the_entrys_own_bar_is_not_held() -> None:
    """What happened before the first close cannot hurt whoever entered at it."""
    bars = bars_of(np.arange(100.0, 120.0))
    low = bars.low.copy()
    low[10] = 1.0
    assert epochs_of(replace(bars, low=low), 10).mae_bp.tolist() == [0.0]


def test_the_measures_are_those_of_each_block() -> None:
    """Written out for one block; the block before an epoch is the epoch before."""
    closes = walk(900)
    bars = bars_of(closes, 1e-4)
    found = epochs_of(bars, 150)
    assert found.before.shape == found.within.shape == (len(MEASURES), 5)
    np.testing.assert_array_equal(found.before[:, 1:], found.within[:, :-1])
    block = slice(300, 450)
    returns = np.diff(np.log(closes[block]))
    signs = np.sign([market_weight(closes[bar - 29 : bar + 1]) for bar in range(300, 450)])
    expected = [
        permutation_entropy(returns, 3, 1),
        permutation_entropy(signs, 3, 1),
        float(detrended_fluctuation_batch(returns[None])[0][0]),
        (bars.high[block].max() - bars.low[block].min()) / closes[block].mean(),
    ]
    np.testing.assert_allclose(found.within[:, 1], expected, rtol=1e-12)


def test_a_block_too_short_for_an_exponent_looks_back_256_returns() -> None:
    """And where there are not so many it is unknown."""
    closes = walk(400)
    found = epochs_of(bars_of(closes), 60)
    hurst = MEASURES.index("Hurst exponent")
    assert np.isnan(found.before[hurst, :4]).all()
    expected = float(detrended_fluctuation_batch(np.diff(np.log(closes[300 - 257 : 300]))[None])[0][0])
    assert found.before[hurst, 4] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("at", [200, 359])
def test_what_comes_later_changes_nothing_before_an_epoch(at: int) -> None:
    """Measures before, direction and entry of an epoch are known at its first close."""
    closes = walk(400)
    changed = closes.copy()
    changed[at + 1 :] *= 2
    one, other = epochs_of(bars_of(closes), 40), epochs_of(bars_of(changed), 40)
    known = one.start_ns <= (at + 1) * MINUTE_NS
    assert known.sum() == {200: 5, 359: 8}[at]
    np.testing.assert_array_equal(one.before[:, known], other.before[:, known])
    np.testing.assert_array_equal(one.direction[known], other.direction[known])


def test_correlations_are_scipys() -> None:
    """Each pair, over the epochs in which both are known."""
    found = study(bars_of(walk(1_500), 1e-4), 20)
    for when, values in ((BEFORE, found.epochs.before), (WITHIN, found.epochs.within)):
        for row, measure in enumerate(MEASURES):
            known = np.isfinite(values[row]) & np.isfinite(found.epochs.mae_bp)
            pair = pair_of(found, measure, when)
            assert pair.epochs == known.sum()
            assert pair.rho == pytest.approx(spearmanr(values[row][known], found.epochs.mae_bp[known]).statistic)
    raw = [pair.p for pair in found.pairs]
    for pair, adjusted in zip(found.pairs, multipletests(raw, method="holm")[1], strict=True):
        assert pair.p_adjusted == pytest.approx(adjusted)


def test_the_same_bars_give_the_same_study() -> None:
    """The bootstrap is seeded."""
    bars = bars_of(walk(800), 1e-4)
    assert study(bars, 20).pairs == study(bars, 20).pairs


def test_a_relation_that_is_there_is_found_and_one_that_is_not_is_not() -> None:
    """Volatility that doubles for a hundred bars at a time makes range and excursion large together, the rest not."""
    rng = np.random.default_rng(4)
    loud = np.repeat(rng.permutation(np.tile([1.0, 4.0], 30)), 100)
    closes = 100 * np.exp(np.cumsum(1e-3 * loud * rng.standard_normal(len(loud))))
    found = study(bars_of(closes), 50)
    pair = pair_of(found, "range", WITHIN)
    assert pair.low is not None
    assert pair.low > 0.3
    assert pair.verdict == "larger, then a larger excursion"
    assert pair_of(found, "entropy of returns", BEFORE).verdict == "no relation that chance could not make"


def test_intervals_leave_out_the_truth_about_as_seldom_as_they_say() -> None:
    """Of a hundred independent pairs of sixty epochs the 95 % interval leaves out zero in 1 to 15."""
    rng = np.random.default_rng(6)
    missed = 0
    for _ in range(100):
        pair = _pair("range", BEFORE, MARKET, rng.standard_normal(60), rng.standard_normal(60))
        assert pair.low is not None
        assert pair.high is not None
        missed += not pair.low <= 0 <= pair.high
    assert 1 <= missed <= 15


@pytest.mark.parametrize(("blocks", "told"), [(EPOCHS_MIN, False), (EPOCHS_TOLD, False), (EPOCHS_TOLD + 1, True)])
def test_too_few_epochs_are_said_to_be_too_few(blocks: int, told: bool) -> None:
    """The first block is no epoch; below thirty epochs there is no verdict, below ten no interval."""
    rng = np.random.default_rng(2)
    trend = 100 * np.exp(np.cumsum(7e-4 + 1e-3 * rng.standard_normal(blocks * 20)))
    found = study(bars_of(trend, 1e-4), 20)
    pair = pair_of(found, "range", BEFORE)
    assert pair.epochs == blocks - 1
    assert found.enough is told
    assert (pair.low is not None) is (blocks - 1 >= EPOCHS_MIN)
    assert pair.verdict.startswith("too few epochs to tell") is not told


def test_what_does_not_vary_has_no_correlation() -> None:
    """A straight line: no entropy in any block, no excursion."""
    found = study(bars_of(100 * 1.001 ** np.arange(800.0)), 20)
    pair = pair_of(found, "entropy of weight signs", BEFORE)
    assert (pair.rho, pair.low, pair.p, pair.p_adjusted) == (None, None, None, None)
    assert pair.verdict == "one of the two does not vary"


def test_no_bars_make_an_empty_study() -> None:
    """Nor does less than two blocks."""
    for count in (0, 39):
        found = study(bars_of(walk(count)), 20)
        assert (len(found.epochs), found.flat, found.enough) == (0, 0, False)


def test_an_account_falls_from_its_value_at_the_start_of_the_epoch() -> None:
    """By hand: looked at once a minute, unknown before the first look and where it was not looked at."""
    epochs = epochs_of(bars_of(walk(30)), 5)
    minutes = np.array([8, 9, 10, 11, 12, 13, 16, 17, 26])
    worth = np.array([1000.0, 990, 980, 1000, 900, 2000, 100, 0, 500])
    equity = EquityCurve(minutes * MINUTE_NS, worth)
    # Epochs are the minutes 6-10, 11-15, 16-20, 21-25, 26-30.
    expected = [math.nan, 1000.0, 10_000.0, math.nan, math.nan]
    np.testing.assert_allclose(falls_bp(equity, epochs), expected)
    found = study(bars_of(walk(30)), 5, equity)
    assert {pair.of for pair in found.pairs} == {MARKET, ACCOUNT}
    assert pair_of(found, "range", BEFORE, ACCOUNT).epochs == 2


@pytest.mark.parametrize(
    ("wrong", "epoch", "sentence"),
    [
        ({}, 4, "epoch: expected 5 bars at least, found 4"),
        ({"close_ns": np.array([3, 2, 1])}, 5, "bars: expected rising instants"),
        ({"high": np.array([1.0, np.nan, 1.0])}, 5, "bars: expected finite prices above 0"),
        ({"low": np.array([1.0, 0.0, 1.0])}, 5, "bars: expected finite prices above 0"),
        ({"close": np.array([1.0, np.inf, 1.0])}, 5, "bars: expected finite prices above 0"),
    ],
)
def test_bars_that_cannot_be_studied_are_refused(wrong: dict[str, Any], epoch: int, sentence: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match=sentence):
        study(replace(bars_of(walk(3)), **wrong), epoch)


@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_an_excursion_is_never_negative_and_never_all_of_the_price_when_long(seed: int, epoch: int) -> None:
    """A long position cannot lose more than its price; a flat one has none."""
    found = epochs_of(bars_of(walk(160, seed), 1e-3), epoch)
    known = found.direction != 0
    np.testing.assert_array_equal(np.isfinite(found.mae_bp), known)
    assert (found.mae_bp[known] >= 0).all()
    assert (found.mae_bp[found.direction > 0] < 10_000).all()
