"""Evidence and history: what bars say now, what was said of them at the time, and that the future changes neither."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from docs.regime_figures import bursting, gaussian, market
from ext.entropy import permutation_entropy
from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.errors import StateError
from trisagion.features.momentum import market_weight
from trisagion.market.types import Bars, Float64Array
from trisagion.regime import evidence as room
from trisagion.regime.classify import UNKNOWN, Reading, classify
from trisagion.regime.evidence import (
    DECAY,
    EVIDENCE_BARS,
    FIT_BARS,
    FIT_BARS_MIN,
    HURST_BARS,
    HURST_ERROR,
    MODELS,
    Models,
    evidence,
    fit,
    models,
)
from trisagion.regime.fgn import fgn
from trisagion.regime.history import (
    GAP_BARS,
    STATES,
    Judgement,
    judgements,
    probability_of,
    shares,
    stretches,
)
from trisagion.regime.hurst import detrended_fluctuation, detrended_fluctuation_batch


def cut(bars: Bars, count: int) -> Bars:
    """Return the first bars."""
    columns = {name: getattr(bars, name)[:count] for name in ("close_ns", "open", "high", "low", "close", "volume")}
    return replace(bars, **columns)


def drawn(count: int, seed: int = 5) -> Float64Array:
    """Return closes of a random walk."""
    return market(gaussian, seed, count).close


# Evidence ------------------------------------------------------------------------------------------------------------


def test_the_error_of_the_exponent_is_that_of_as_many_samples_of_noise() -> None:
    """Two thousand paths spread as the constant says; so does the interval that the estimator simulates."""
    rng = np.random.default_rng(1)
    estimates, _ = detrended_fluctuation_batch(fgn(rng, 0.5, HURST_BARS, 2_000))
    assert np.nanstd(estimates) == pytest.approx(HURST_ERROR, rel=0.1)
    path = fgn(rng, 0.5, HURST_BARS)[0]
    assert detrended_fluctuation(path, rng).standard_error == pytest.approx(HURST_ERROR, rel=0.35)


def test_the_exponent_is_that_of_the_last_256_returns() -> None:
    """With the scales that the estimator takes by itself."""
    closes = drawn(600)
    expected = detrended_fluctuation(np.diff(np.log(closes))[-HURST_BARS:], np.random.default_rng(1)).hurst
    found = evidence(closes, 1, Models())
    assert found.hurst == pytest.approx(expected, abs=1e-12)
    assert found.hurst_error == HURST_ERROR


@pytest.mark.parametrize("count", [2, 5, 17, 43, 44, 45, 600])
def test_the_entropy_is_that_of_the_signs_of_the_last_weights(count: int) -> None:
    """Fifteen weights of thirty closes, fewer at the beginning; computed one by one here."""
    closes = np.round(drawn(count), 2)
    ends = range(max(2, count - 14), count + 1)
    signs = np.sign([market_weight(closes[max(0, end - 30) : end]) for end in ends])
    found = evidence(closes, 1, Models()).entropy
    if len(signs) <= 3:
        assert found is None
    else:
        assert found == permutation_entropy(signs, 3, 1)


def test_the_volatility_is_riskmetrics_over_that_of_the_median_block() -> None:
    """By a plain loop over the last 512 returns; unknown with one return fewer."""
    closes = market(bursting, 3, 1_250).close
    squares = np.diff(np.log(closes))[-512:] ** 2
    average = 0.0
    for square in squares.tolist():
        average = DECAY * average + (1 - DECAY) * square
    usual = np.median([squares[i : i + 16].mean() for i in range(0, 512, 16)])
    assert evidence(closes, 1, Models()).volatility_ratio == pytest.approx(math.sqrt(average / usual), rel=1e-9)
    assert evidence(closes[:512], 1, Models()).volatility_ratio is None


def test_a_market_that_does_not_move_leaves_nearly_all_unknown() -> None:
    """No exponent, no volatility; all of its weights are 0, one pattern."""
    found = evidence(np.full(600, 100.0), 1, Models())
    assert (found.hurst, found.volatility_ratio, found.states, found.entropy) == (None, None, None, 0.0)


def test_only_the_last_closes_count() -> None:
    """What lies further back than `EVIDENCE_BARS` changes nothing."""
    closes = drawn(900)
    known = models(**{name: fit(name, closes, "SIM").text for name in MODELS})
    assert evidence(closes, 1, known) == evidence(closes[-EVIDENCE_BARS:], 1, known)


@pytest.mark.parametrize("wrong", [[1.0, math.nan], [1.0, math.inf], [1.0, 0.0], [1.0, -1.0], [[1.0, 2.0]]])
def test_closes_that_are_no_prices_are_refused(wrong: list[float]) -> None:
    """Evidence and fit say what was expected."""
    with pytest.raises(ValueError, match="closes: expected finite prices above 0 in one row"):
        evidence(np.array(wrong), 1, Models())
    with pytest.raises(ValueError, match="closes: expected finite prices above 0 in one row"):
        fit("garch", np.array(wrong), "SIM")


def test_a_fit_says_why_it_is_none() -> None:
    """Too few returns, or returns that no model can be fitted to, are a note and not an error."""
    few = fit("garch", drawn(FIT_BARS_MIN), "SIM")
    assert (few.text, few.note) == (None, "expected 500 returns at least, found 499")
    for name in MODELS:
        still = fit(name, np.full(FIT_BARS, 100.0), "SIM")
        assert still.text is None
        assert still.note


def test_the_same_bars_give_the_same_models() -> None:
    """Their text is read back as it was, and other text is refused."""
    closes = drawn(800)
    for name in MODELS:
        assert fit(name, closes, "SIM") == fit(name, closes, "SIM")
        text = fit(name, closes, "SIM").text
        assert text is not None
        json.loads(text, parse_constant=pytest.fail)
    with pytest.raises(StateError, match="fitted models: expected what `fit` wrote"):
        models("{}", None)


def test_the_hidden_states_are_those_that_are_what_their_name_says() -> None:
    """Their filtered probabilities sum to 1 at most."""
    closes = drawn(1_000)
    known = models(None, fit("six_states", closes, "SIM").text)
    found = evidence(closes, 1, known).states
    assert found is not None
    assert set(found) <= {"StrongBull", "Bull", "Sideways", "Bear", "Crisis", "Recovery"}
    assert 0 <= sum(found.values()) <= 1 + 1e-9


def test_the_decay_weighs_nothing_that_it_leaves_out() -> None:
    """Weights beyond 512 returns would sum to less than rounding; the constant is RiskMetrics' for days."""
    assert room._DECAY.sum() == pytest.approx(1.0, abs=1e-12)
    assert room._DECAY[-1] == pytest.approx(1 - DECAY)


# History -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bars() -> Bars:
    """Return 900 minutes with a pause of an hour after 700."""
    whole = market(gaussian, 9, 900)
    return replace(whole, close_ns=whole.close_ns + np.where(np.arange(900) >= 700, HOUR_NS, 0))


@pytest.fixture(scope="module")
def judged(bars: Bars) -> list[Judgement]:
    """Return their judgements, with fits at bars 500, 650 and 800."""
    return list(judgements(bars, refit=150))


@pytest.mark.parametrize("count", [1, 300, 501, 502, 651, 720])
def test_what_comes_later_changes_no_reading(count: int, bars: Bars, judged: list[Judgement]) -> None:
    """Bars cut short are judged as they were when there were no more."""
    assert list(judgements(cut(bars, count), refit=150)) == judged[:count]


def test_each_reading_is_what_a_run_would_have_seen(bars: Bars, judged: list[Judgement]) -> None:
    """Put together anew from what the service calls: fit at 500, used from 501 on; nothing bridges the pause."""
    texts = {name: fit(name, bars.close[:501], bars.symbol).text for name in MODELS}
    for i, known in ((499, Models()), (500, Models()), (501, models(**texts)), (650, models(**texts))):
        found = evidence(bars.close[: i + 1], int(bars.close_ns[i]), known)
        assert judged[i] == Judgement(found, classify(found, judged[i - 1].reading))
    assert judged[501].evidence.states is not None
    assert judged[651].evidence != evidence(bars.close[:652], int(bars.close_ns[651]), models(**texts))
    assert judged[700].reading == classify(judged[700].evidence, None)
    assert judged[699].reading == classify(judged[699].evidence, judged[698].reading)


def test_a_pause_of_fewer_bars_is_bridged(bars: Bars) -> None:
    """One bar less than `GAP_BARS`."""
    early = replace(bars, close_ns=bars.close_ns - np.where(np.arange(900) >= 700, 2 * MINUTE_NS, 0))
    assert int(early.close_ns[700] - early.close_ns[699]) == (GAP_BARS - 1) * MINUTE_NS
    *_, before, found = judgements(cut(early, 701), refit=1_000)
    assert found.reading == classify(found.evidence, before.reading)


@pytest.mark.parametrize(
    ("wrong", "refit", "sentence"),
    [
        ({}, 0, "refit: expected 1 bar at least, found 0"),
        ({"close_ns": np.array([2, 1])}, 1, "bars: expected rising instants"),
        ({"close_ns": np.array([1, 1])}, 1, "bars: expected rising instants"),
        ({"close": np.array([1.0, np.nan])}, 1, "bars: expected finite closes above 0"),
        ({"close": np.array([1.0, 0.0])}, 1, "bars: expected finite closes above 0"),
    ],
)
def test_bars_that_cannot_be_judged_are_refused(wrong: dict[str, Any], refit: int, sentence: str) -> None:
    """At the call, before the first bar is judged."""
    with pytest.raises(ValueError, match=sentence):
        judgements(replace(cut(market(gaussian, 1, 10), 2), **wrong), refit)


def test_no_bars_have_no_history() -> None:
    """An empty file is no error here."""
    assert list(judgements(cut(market(gaussian, 1, 10), 0))) == []
    assert stretches([]) == ()
    assert set(shares([]).values()) == {0.0}


def test_stretches_are_the_readings_joined(judged: list[Judgement]) -> None:
    """They cover all bars without overlap, neighbours differ, and their mean probability is that of their bars."""
    readings = [one.reading for one in judged]
    found = stretches(readings)
    assert [found[0].first, found[-1].last] == [0, len(readings) - 1]
    for one, following in pairwise(found):
        assert following.first == one.last + 1
        assert following.state != one.state
    for one in found:
        own = readings[one.first : one.last + 1]
        assert {reading.state for reading in own} == {one.state}
        assert (one.from_ns, one.to_ns, one.bars) == (own[0].at_ns, own[-1].at_ns, len(own))
        assert one.reasons == own[0].reasons
        if one.state == UNKNOWN:
            assert math.isnan(one.probability)
        else:
            assert one.probability == pytest.approx(np.mean([probability_of(reading) for reading in own]))


def test_shares_are_of_all_states_and_sum_to_one(judged: list[Judgement]) -> None:
    """Also of those that never came."""
    found = shares([one.reading for one in judged])
    assert tuple(found) == STATES
    assert sum(found.values()) == pytest.approx(1.0)
    assert found[UNKNOWN] == 256 / 900


def test_the_probability_of_a_reading_is_that_of_its_state() -> None:
    """In the order of `MarketRegime`."""
    assert probability_of(Reading(1, "crisis", (0.1, 0.2, 0.3, 0.4), ())) == 0.4
    assert math.isnan(probability_of(Reading(1, UNKNOWN, (0.25,) * 4, ())))
