"""The market state of a step: what each tick may see, and the headline."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from ext.entropy import permutation_entropy
from trisagion.clock import MINUTE_NS
from trisagion.errors import DataError
from trisagion.market.types import TICK_NS, Bar, MarketState, MarketStep
from trisagion.regime.state import BARS_NEEDED, market_state
from trisagion.units import Price


def bar(close_min: int, close: float) -> Bar:
    """Return the bar that closes at a minute, a point wide."""
    return Bar(
        symbol="ES",
        open_ns=(close_min - 1) * MINUTE_NS,
        interval_ns=MINUTE_NS,
        open=close,
        high=close + 0.5,
        low=close - 0.5,
        close=close,
        volume=1.0,
        trades=1,
    )


def step(own: Bar) -> MarketStep:
    """Return the step of a bar, with a tick at each ten seconds."""
    ticks = tuple((own.open_ns + (slot + 1) * TICK_NS, own.close + slot) for slot in range(6))
    return MarketStep("ES", own.close_ns, own, ticks, Price(Decimal("1.0")), own.close_ns - 1)


def history(closes: list[float]) -> tuple[list[Bar], list[MarketState]]:
    """Return the bars of minutes 1, 2, … and the states made from them, one by one."""
    bars = [bar(minute, close) for minute, close in enumerate(closes, start=1)]
    states: list[MarketState] = []
    for i, own in enumerate(bars):
        states.append(market_state(step(own), bars[max(0, i + 1 - BARS_NEEDED) : i + 1], states[-15:]))
    return bars, states


def test_only_the_tick_at_the_close_sees_the_steps_own_bar() -> None:
    """Another own bar changes the last tick's features, and no earlier one's."""
    bars, states = history([100.0 + (i * 7 % 5) for i in range(60)])
    own = replace(bars[-1], close=1.5, high=900.0, low=1.0)
    other = market_state(replace(step(bars[-1]), bar=own), [*bars[:-1], own], states[-16:-1])
    state = states[-1]
    for name in ("weight", "volatility", "entropy", "channel_high", "channel_low", "z"):
        np.testing.assert_array_equal(getattr(other, name)[:-1], getattr(state, name)[:-1])
    assert other.volatility[-1] > state.volatility[-1]
    assert other.weight[-1] < state.weight[-1]
    assert (other.channel_high[-1] == 900.0).sum() == (other.channel_low[-1] == 1.0).sum() == 51


def test_features_are_those_of_the_bars_seen() -> None:
    """A steady rise has weight 1; the volatility grows with the bars seen, until 61 of them fill a window."""
    _, states = history([100.0 + i for i in range(130)])
    state = states[-1]
    assert state.weight.tolist() == [1.0] * 6
    # A window of 61 rising bars, each a point wide, spans 61 points.
    assert state.volatility.tolist() == [61.0] * 6
    assert state.price.tolist() == [229.0 + slot for slot in range(6)]
    assert states[0].weight.tolist() == [0.0] * 6
    assert states[0].volatility.tolist() == [0.0] * 5 + [1.0]


def test_channels_and_z_scores_are_those_of_the_last_bars_seen() -> None:
    """In a steady rise a tick stands above every channel and far from every mean, until its own bar closes."""
    _, states = history([100.0 + i for i in range(70)])
    state = states[-1]
    for column, periods in enumerate(range(10, 61)):
        # Until the step's own bar closes at 169, the newest bar closed at 168 and the others 1 below the next.
        means = np.array([168.0] * 5 + [169.0]) - (periods - 1) / 2
        deviation = ((periods**2 - 1) / 12) ** 0.5
        assert state.channel_high[:, column].tolist() == [168.5] * 5 + [169.5]
        assert state.channel_low[:, column].tolist() == [169.0 - periods - 0.5] * 5 + [170.0 - periods - 0.5]
        np.testing.assert_allclose(state.z[:, column], (state.price - means) / deviation, rtol=1e-12)
    assert np.isfinite(states[9].z[-1]).tolist() == [True] + [False] * 50
    assert np.isnan(states[9].z[:-1]).all()


def test_the_weight_forgets_bars_older_than_30_minutes() -> None:
    """After a halt the closes of before it are not the last 30 minutes."""
    before = [bar(minute, 100.0 - minute) for minute in range(1, 31)]
    after = [bar(400, 50.0), bar(401, 51.0)]
    state = market_state(step(after[-1]), [*before, *after], [])
    assert state.weight.tolist() == [0.0] * 5 + [1.0]


def test_the_entropy_is_that_of_the_signs_of_the_weights_seen() -> None:
    """Each tick counts the ticks of past states and of its own step, itself included, inside each window."""
    _, states = history([100.0 + 3.0 * np.sin(i / 2.0) for i in range(60)])
    stamps = np.concatenate([state.ts_ns for state in states])
    signs = np.sign(np.concatenate([state.weight for state in states]))
    last = states[-1]
    assert len(set(signs.tolist())) > 1
    for t, now in enumerate(last.ts_ns):
        for window in (1, 7, 15):
            seen = signs[(stamps > now - window * MINUTE_NS) & (stamps <= now)]
            assert last.samples[t, window - 1] == len(seen) == 6 * window
            expected = permutation_entropy(seen, 4, 2)
            assert last.entropy[t, window - 1, 1, 1] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_the_headline_names_the_regime_of_the_last_tick() -> None:
    """Unknown before there are more than 5 samples, trending while the sign stays, noisy when it flips about."""
    _, steady = history([100.0 + i for i in range(40)])
    assert steady[-1].regime == "trending"

    bars = [bar(minute, 100.0 + minute) for minute in range(1, 41)]
    five = replace(step(bars[-1]), ticks=step(bars[-1]).ticks[:5])
    assert market_state(five, bars, []).regime == "unknown"
    assert market_state(step(bars[-1]), bars, []).regime == "trending"

    flips = [replace(state, weight=state.weight * np.array([1, -1, -1, 1, -1, 1])) for state in steady[-16:-1]]
    assert market_state(step(bars[-1]), bars, flips).regime == "noisy"


@pytest.mark.parametrize(
    ("ticks", "bars", "past", "message"),
    [
        pytest.param((), [39, 40], [], "rising ticks", id="no tick"),
        pytest.param(((2, 1.0), (1, 1.0)), [39, 40], [], "rising ticks", id="ticks out of order"),
        pytest.param(((41 * MINUTE_NS, 1.0),), [39, 40], [], "rising ticks", id="a tick of the future"),
        pytest.param(None, [38, 39], [], "own bar last", id="the step's bar is missing"),
        pytest.param(None, [], [], "own bar last", id="no bar"),
        pytest.param(None, [40, 41], [], "own bar last", id="a bar of the future"),
        pytest.param(None, [39, 38, 40], [], "bars in order", id="bars out of order"),
        pytest.param(None, [39, 40], [1, 0], "states in order", id="states out of order"),
        pytest.param(None, [39, 40], [39], "states in order", id="the step's own state among the past"),
    ],
)
def test_what_is_out_of_order_is_refused(
    ticks: tuple[tuple[int, float], ...] | None, bars: list[int], past: list[int], message: str
) -> None:
    """The message names the symbol, the step and what was expected."""
    _, states = history([100.0 + i for i in range(40)])
    given = step(bar(40, 100.0))
    if ticks is not None:
        given = replace(given, ticks=ticks)
    with pytest.raises(DataError, match=message):
        market_state(given, [bar(minute, 100.0) for minute in bars], [states[i] for i in past])
