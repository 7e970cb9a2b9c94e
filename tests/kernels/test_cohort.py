"""Virtual runs: each rule of the domain as a row on both twins, and the twins against each other."""

import importlib.util
import math
import statistics
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ext.cohort
from ext.cohort import PARAMS_DTYPE, RING, STATE_DTYPE, Columns, Market, _kernel, _reference
from tests.kernels.populations import BALANCE, FEE, SIZE, World, drawn, one_run, rows, symbol_of_ticks, ticks


@pytest.fixture(params=[_reference, _kernel], ids=["reference", "kernel"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    module: ModuleType = request.param
    return module


def year_rate(pnl: float, seconds: float) -> float:
    """Return a P&L as a multiple of the start balance per year."""
    return pnl / (seconds / 3600.0) * 24.0 * 365.24 / BALANCE


def test_the_compiled_kernel_is_loaded() -> None:
    """Where the kernels were built, the door gives them, and says so."""
    assert ext.cohort.COMPILED
    assert ext.cohort.advance is _kernel.advance


def test_the_door_falls_back_to_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiled kernel the door gives the plain twin, and says so."""
    monkeypatch.setitem(sys.modules, "ext.cohort._kernel", None)
    spec = importlib.util.spec_from_file_location("door", ext.cohort.__file__)
    assert spec is not None
    assert spec.loader is not None
    door = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(door)
    assert not door.COMPILED
    assert door.advance is _reference.advance


def test_the_account_keeps_its_arithmetic(twin: ModuleType) -> None:
    """Position, entry value, fees at entry and exit, balance, P&L and APR are those of the domain."""
    world = one_run()
    world.advance(twin, ticks((10, 100.0)))
    value = SIZE * 100.0
    fees = value * 2 * FEE
    run = world.state.record(0)
    assert run["position"] == pytest.approx(SIZE, rel=1e-15)
    assert run["entry_value"] == pytest.approx(value, rel=1e-15)
    assert run["fees"] == pytest.approx(fees, rel=1e-15)
    assert run["live_pnl"] == pytest.approx(-fees, rel=1e-6)
    assert (run["direction"], run["trades"], run["iterations"]) == (1, 1, 1)
    assert (run["apr"], run["rolling_apr"]) == (0.0, 0.0)

    world.advance(twin, ticks((20, 110.0), entropy=math.nan))
    pnl = SIZE * 10.0 - fees
    run = world.state.record(0)
    assert run["balance"] == pytest.approx(BALANCE + pnl, rel=1e-15)
    assert run["live_pnl"] == pytest.approx(pnl, rel=1e-6)
    assert run["apr"] == pytest.approx(year_rate(pnl, 20), rel=1e-6)
    assert run["rolling_apr"] == pytest.approx(year_rate(pnl, 20) / 2, rel=1e-6)
    assert (run["trades"], run["iterations"]) == (1, 2)


LONG = {"position": SIZE, "entry_value": 100.0 * SIZE, "fees": 0.0, "direction": 1, "iterations": 1}
"""A buy at 100, its fees forgotten so that rows may look at an APR of either sign."""
SHORT = {"position": -SIZE, "entry_value": -100.0 * SIZE, "fees": 0.0, "direction": -1, "iterations": 1}
UP = {"rolling_apr": -1e9}
"""Whatever the APR is now, it rose."""
DOWN = {"rolling_apr": 1e9}
BREAKOUT = {"entry": 1, "system_type": 0}
SWING = {"entry": 1, "system_type": 1}


@pytest.mark.parametrize(
    ("params", "state", "price", "market", "direction"),
    [
        pytest.param({}, {}, 100, {"weight": 0.1}, 1, id="flat: buys with the weight"),
        pytest.param({}, {}, 100, {"weight": -0.1}, -1, id="flat: sells with the weight"),
        pytest.param({}, {}, 100, {"weight": 0.0}, -1, id="a weight of zero sells"),
        pytest.param({"system_type": 1}, {}, 100, {"weight": 0.1}, -1, id="swing inverts the side"),
        pytest.param({"system_type": 1}, {}, 100, {"weight": 0.0}, 1, id="swing inverts a weight of zero, too"),
        pytest.param(
            BREAKOUT, {}, 101, {"weight": -1.0}, 1, id="breakout: buys above the channel, whatever the weight"
        ),
        pytest.param(BREAKOUT, {}, 99, {}, -1, id="breakout: sells below the channel, whatever the weight"),
        pytest.param(BREAKOUT, {}, 100.5, {}, 0, id="breakout: the highest high itself is inside"),
        pytest.param(BREAKOUT, {}, 99.5, {}, 0, id="breakout: the lowest low itself is inside"),
        pytest.param(BREAKOUT, {}, 101, {"high": math.nan, "low": math.nan}, 0, id="breakout: too few bars, no side"),
        pytest.param(BREAKOUT, {}, 100, {"z": 9.0}, 0, id="breakout: a z-score is nothing to it"),
        pytest.param(SWING, {}, 100, {"z": 1.6}, -1, id="swing: sells what is stretched upward"),
        pytest.param(SWING, {}, 100, {"z": -1.6}, 1, id="swing: buys what is stretched downward"),
        pytest.param(SWING, {}, 100, {"z": 1.5}, 0, id="swing: the threshold itself is no stretch upward"),
        pytest.param(SWING, {}, 100, {"z": -1.5}, 0, id="swing: nor downward"),
        pytest.param(SWING, {}, 100, {"z": math.nan}, 0, id="swing: too few bars or none that moved, no side"),
        pytest.param(SWING, {}, 101, {}, 0, id="swing: a channel is nothing to it"),
        pytest.param(SWING | {"swing_z": 0.5}, {}, 100, {"z": -0.6}, 1, id="swing: each run has its own threshold"),
        pytest.param(BREAKOUT, {}, 101, {"entropy": 0.1}, 0, id="breakout: noise holds it"),
        pytest.param(BREAKOUT, LONG | UP, 101, {}, 2, id="breakout: adds as another run does"),
        pytest.param(BREAKOUT, SHORT | UP, 101, {}, -1, id="breakout: losing though rising: does not reduce"),
        pytest.param(SWING, LONG | DOWN, 99, {"z": 2.0}, 0, id="swing: losing and falling: reduces"),
        pytest.param({}, {}, 100, {"entropy": math.nan}, 0, id="unknown entropy is noisy"),
        pytest.param({}, {}, 100, {"entropy": 0.1}, 0, id="entropy at the threshold is noisy"),
        pytest.param({}, {}, 100, {"entropy": 0.0999}, 1, id="entropy below the threshold is a trend"),
        pytest.param({}, {}, 100, {"samples": 5}, 0, id="as many samples as the least are too few"),
        pytest.param({}, {}, 100, {"samples": 6}, 1, id="one sample more is enough"),
        pytest.param({}, LONG | UP, 101, {}, 2, id="winning and rising: adds"),
        pytest.param({}, LONG | UP, 100, {}, 2, id="at par and rising: adds"),
        pytest.param({}, LONG | UP, 99, {}, 1, id="losing though rising: does not add"),
        pytest.param({}, LONG | DOWN, 101, {}, 1, id="winning but falling: does not add"),
        pytest.param({}, LONG, 101, {}, 1, id="without an earlier APR there is no change: does not add"),
        pytest.param({}, LONG | DOWN, 99, {"weight": -1.0}, 0, id="losing and falling: reduces"),
        pytest.param({}, LONG, 99, {"weight": -1.0}, 0, id="without an earlier APR there is no change: reduces"),
        pytest.param({}, LONG | DOWN, 100, {"weight": -1.0}, 0, id="at par and falling: reduces"),
        pytest.param({}, LONG | DOWN, 101, {"weight": -1.0}, 1, id="winning: does not reduce"),
        pytest.param({}, LONG | UP, 99, {"weight": -1.0}, 1, id="losing but rising: does not reduce"),
        pytest.param({}, SHORT | UP, 99, {"weight": -1.0}, -2, id="short, winning and rising: adds"),
        pytest.param({}, SHORT | DOWN, 101, {}, 0, id="short, losing and falling: reduces"),
        pytest.param({}, SHORT | DOWN, 99, {}, -1, id="short and winning: does not reduce"),
        pytest.param({}, {"fees": 1.0}, 100, {}, 0, id="flat after a loss: does not open"),
        pytest.param({"leverage": 1e-5}, LONG | UP, 101, {}, 1, id="margin used up: does not add"),
        pytest.param({"leverage": 1e-5}, LONG | DOWN, 99, {"weight": -1.0}, 0, id="margin used up: reduces"),
        pytest.param({}, {"entry_value": -1.0, "start": -1.0}, 100, {}, 0, id="no balance left: does not open"),
        pytest.param({}, LONG | UP | {"direction": 1023}, 101, {}, 1024, id="up to 1024"),
        pytest.param({}, LONG | UP | {"direction": 1024}, 101, {}, 1024, id="never beyond 1024"),
        pytest.param({}, SHORT | UP | {"direction": -1024}, 99, {"weight": -1.0}, -1024, id="never beyond −1024"),
        pytest.param({"decision_distance_s": 10}, LONG | UP, 101, {}, 2, id="as far as the distance is far enough"),
        pytest.param({"decision_distance_s": 11}, LONG | UP, 101, {}, 1, id="nearer than the distance is skipped"),
        pytest.param({"decision_distance_s": 60}, {}, 100, {}, 1, id="the first tick is never skipped"),
    ],
)
def test_a_gate_decides_the_trade(
    twin: ModuleType,
    params: dict[str, float],
    state: dict[str, float],
    price: float,
    market: dict[str, float],
    direction: int,
) -> None:
    """Ten seconds after its last evaluation a run trades, or does not, as the gates say; direction and trades tell."""
    before = int(state.get("direction", 0))
    world = one_run(params, state)
    world.advance(twin, ticks((10, price), **market))
    assert world.state["direction"][0] == direction
    assert world.state["trades"][0] == abs(direction - before)
    assert world.state["exit_code"][0] == _reference.ALIVE


@pytest.mark.parametrize("periods", [10, 11, 37, 60])
@pytest.mark.parametrize(
    ("params", "name", "fields", "side"),
    [
        pytest.param(BREAKOUT, "breakout_periods", {"channel_high": 99.0}, 1, id="channel, above"),
        pytest.param(BREAKOUT, "breakout_periods", {"channel_low": 101.0}, -1, id="channel, below"),
        pytest.param(SWING, "swing_periods", {"z": 2.0}, -1, id="z-score"),
    ],
)
def test_a_run_looks_at_the_column_of_its_own_periods(
    twin: ModuleType, periods: int, params: dict[str, float], name: str, fields: dict[str, float], side: int
) -> None:
    """A signal in the column of its number of bars is taken; one in all the others is not seen."""
    own = np.arange(10, 61) == periods
    for which, direction in ((own, side), (~own, 0)):
        columns = {field: np.where(which, value, math.nan)[None, :] for field, value in fields.items()}
        world = one_run(params | {name: periods})
        world.advance(twin, ticks((10, 100.0))._replace(**columns))
        assert world.state["direction"][0] == direction


ENDS = {
    "max_duration": _reference.EXIT_MAX_DURATION,
    "apr_target": _reference.EXIT_APR_TARGET,
    "reversal": _reference.EXIT_REVERSAL,
    "alive": _reference.ALIVE,
}


def above(goal: float) -> dict[str, float]:
    """Return the target with which the rows below, 1 point up on SIZE after 10 s, stand just at this goal."""
    return {"apr_target": year_rate(SIZE, 10) / goal}


SWAPPED = {"min_goal": 4.0, "max_goal": 0.5}
MIDDLE = 101.0 * (0.001 + 0.01) / 2
"""The volatility in the middle of its range: asks for the goal in the geometric middle, √(0.5·4) = 1.414."""


@pytest.mark.parametrize(
    ("params", "state", "seconds", "market", "end"),
    [
        pytest.param({"max_duration_s": 300}, {}, 300, {}, "alive", id="as old as allowed"),
        pytest.param({"max_duration_s": 300}, {}, 300.000000001, {}, "max_duration", id="a nanosecond older"),
        pytest.param(
            {"max_duration_s": 300, "max_direction_reversal_s": 1.0}, {}, 301, {}, "max_duration", id="age goes first"
        ),
        pytest.param({"max_direction_reversal_s": 60.0}, {}, 60, {}, "alive", id="flat as long as allowed"),
        pytest.param({"max_direction_reversal_s": 60.0}, {}, 61, {}, "reversal", id="flat for too long, in a trend"),
        pytest.param({"max_direction_reversal_s": 60.0}, {}, 61, {"entropy": 1.0}, "alive", id="flat, but noisy"),
        pytest.param({"max_direction_reversal_s": 60.0}, LONG, 61, {}, "alive", id="not flat"),
        pytest.param(
            BREAKOUT | {"max_direction_reversal_s": 60.0}, {}, 61, {"high": 102.0}, "alive", id="flat, without a side"
        ),
        pytest.param(
            BREAKOUT | {"max_direction_reversal_s": 60.0}, {}, 61, {"high": 100.0}, "reversal", id="flat, with a side"
        ),
        pytest.param(above(0.49), LONG, 10, {"volatility": 0.0}, "alive", id="calm: below the least goal"),
        pytest.param(above(0.51), LONG, 10, {"volatility": 0.0}, "apr_target", id="calm: above the least goal"),
        pytest.param(above(1.40), LONG, 10, {"volatility": MIDDLE}, "alive", id="below the middle goal"),
        pytest.param(above(1.42), LONG, 10, {"volatility": MIDDLE}, "apr_target", id="above the middle goal"),
        pytest.param(above(3.99), LONG, 10, {"volatility": 9.9}, "alive", id="storm: below the greatest goal"),
        pytest.param(above(4.01), LONG, 10, {"volatility": 9.9}, "apr_target", id="storm: above the greatest goal"),
        pytest.param(above(4.01), LONG, 10, {"entropy": 1.0}, "apr_target", id="noise does not hold it"),
        pytest.param(
            above(0.51) | {"max_goal_weight": 0.001},
            LONG,
            10,
            {"volatility": 9.9},
            "apr_target",
            id="no span: least goal",
        ),
        pytest.param(
            above(1.40) | SWAPPED, LONG, 10, {"volatility": MIDDLE}, "alive", id="swapped: below the middle goal"
        ),
        pytest.param(
            above(1.42) | SWAPPED, LONG, 10, {"volatility": MIDDLE}, "apr_target", id="swapped: above the middle goal"
        ),
    ],
)
def test_a_run_ends_for_its_reason(
    twin: ModuleType,
    params: dict[str, float],
    state: dict[str, float],
    seconds: float,
    market: dict[str, float],
    end: str,
) -> None:
    """Each end has its threshold, and ends that meet have their order."""
    world = one_run(params, state)
    world.advance(twin, ticks((seconds, 101.0), **market))
    assert world.state["exit_code"][0] == ENDS[end]
    assert (world.state["ended_ns"][0] > 0) == (end != "alive")


def test_an_ended_run_no_longer_changes(twin: ModuleType) -> None:
    """Its P&L is the one at the tick of its end, whatever the price does after."""
    world = one_run({"max_duration_s": 300}, LONG)
    world.advance(twin, ticks((310, 105.0)))
    assert world.state["live_pnl"][0] == pytest.approx(5.0 * SIZE, rel=1e-6)
    before = world.bytes()
    world.advance(twin, ticks((320, 200.0), (330, 1.0)))
    assert world.bytes() == before


def test_a_run_sees_later_ticks_than_its_birth_only(twin: ModuleType) -> None:
    """A tick at the very instant of birth is the past."""
    world = one_run()
    world.advance(twin, ticks((-10, 100.0), (0, 100.0)))
    assert world.state["iterations"][0] == 0
    world.advance(twin, ticks((1e-9, 100.0)))
    assert world.state["iterations"][0] == 1


def test_the_rolling_apr_is_the_mean_of_its_window(twin: ModuleType) -> None:
    """After a wild beginning and 600 ticks it still equals the mean of the APRs in (now − window, now], to 1e-12."""
    rng = np.random.default_rng(2)
    world = one_run({"rolling_apr_min": 17}, LONG | {"direction": 1024})
    seconds = np.concatenate([[1e-6], np.cumsum(rng.integers(1, 4, 600)) * 10.0])
    seen: list[tuple[float, float]] = []
    for second in seconds:
        world.advance(twin, ticks((second, 100.0 + rng.normal()), entropy=math.nan))
        seen.append((second, float(world.state["apr"][0])))
        mean = statistics.fmean(apr for at, apr in seen if at > second - 17 * 60)
        assert world.state["rolling_apr"][0] == pytest.approx(mean, rel=1e-12)
    assert abs(seen[0][1]) > 1e6 * abs(seen[-1][1])


def test_a_full_ring_lets_its_oldest_sample_go(twin: ModuleType) -> None:
    """Ticks closer than the ring was made for shorten the window; they never leave the array."""
    world = one_run({"rolling_apr_min": 30}, LONG)
    aprs = []
    for second in range(1, RING + 20):
        world.advance(twin, ticks((second, 100.0 + second % 7), entropy=math.nan))
        aprs.append(float(world.state["apr"][0]))
    assert world.state["ring_count"][0] == RING
    assert world.state["rolling_apr"][0] == pytest.approx(statistics.fmean(aprs[-RING:]), rel=1e-12)


@pytest.mark.parametrize(
    ("params", "state", "message"),
    [
        ({"entropy_window_min": 0}, {}, "entropy_window_min"),
        ({"entropy_window_min": 16}, {}, "entropy_window_min"),
        ({"entropy_order": 6}, {}, "entropy_order"),
        ({"entropy_delay": 4}, {}, "entropy_delay"),
        ({"rolling_apr_min": 31}, {}, "rolling_apr_min"),
        ({"entry": 2}, {}, "entry"),
        ({"breakout_periods": 9}, {}, "breakout_periods"),
        ({"breakout_periods": 61}, {}, "breakout_periods"),
        ({"swing_periods": 9}, {}, "swing_periods"),
        ({"swing_periods": 61}, {}, "swing_periods"),
        ({"system_type": 2}, {}, "system_type"),
        ({}, {"ring_first": RING}, "ring_first"),
        ({}, {"ring_count": RING + 1}, "ring_count"),
        ({}, {"ring_count": -1}, "ring_count"),
    ],
)
def test_a_run_that_points_outside_the_arrays_is_refused(
    twin: ModuleType, params: dict[str, float], state: dict[str, float], message: str
) -> None:
    """The message names the field; the kernel itself does not look again."""
    with pytest.raises(ValueError, match=message):
        one_run(params, state).advance(twin, ticks((10, 100.0)))


@pytest.mark.parametrize("short", Market._fields[1:])
def test_market_arrays_of_different_lengths_are_refused(twin: ModuleType, short: str) -> None:
    """Each array is as long as there are ticks."""
    market = ticks((10, 100.0), (20, 100.0))
    with pytest.raises(ValueError, match="expected"):
        one_run().advance(twin, market._replace(**{short: getattr(market, short)[:1]}))


@pytest.mark.parametrize(
    "first",
    [[], [0], [2], [0, 1], [0, 3], [1, 2], [-1, 2], [0, 2, 1, 2], [0, 3, 2], [0, -1, 2]],
    ids=lambda first: f"first={first}",
)
def test_ticks_that_are_not_shared_out_in_order_are_refused(twin: ModuleType, first: list[int]) -> None:
    """Each symbol's begin where those of the one before end, the first at 0, and the last end with the ticks."""
    market = ticks((10, 100.0), (20, 100.0))._replace(first=np.array(first, dtype=np.int64))
    with pytest.raises(ValueError, match="first: expected rising numbers from 0 to 2"):
        one_run().advance(twin, market)


@pytest.mark.parametrize(("symbol", "symbols"), [(-1, 1), (1, 1), (2, 2), (0, 0)])
def test_a_run_on_a_symbol_that_is_not_there_is_refused(twin: ModuleType, symbol: int, symbols: int) -> None:
    """The message says how many there are; also where there is none at all."""
    world = one_run()
    world.symbol[:] = symbol
    market = ticks()._replace(first=np.zeros(symbols + 1, dtype=np.int64))
    with pytest.raises(ValueError, match=f"symbol: expected 0 to {symbols - 1}, found {symbol} to {symbol}"):
        world.advance(twin, market)


def cut(columns: Columns, block: str, part: tuple[slice, ...]) -> Columns:
    """Return records of which a block of values is smaller than the others."""
    cropped = columns.copy()
    setattr(cropped, block, getattr(cropped, block)[part].copy())
    return cropped


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda world: setattr(world, "params", world.state), "layouts"),
        (lambda world: setattr(world, "state", world.params), "layouts"),
        (lambda world: setattr(world, "state", Columns.of(np.zeros(2, [("born_ns", "<i8")]))), "layouts"),
        (lambda world: setattr(world, "state", Columns.zeros(STATE_DTYPE, 1)), "shapes"),
        (lambda world: setattr(world, "params", Columns.zeros(PARAMS_DTYPE, 3)), "shapes"),
        (lambda world: setattr(world, "symbol", world.symbol[:1]), "shapes"),
        (lambda world: setattr(world, "ring_ns", world.ring_ns[:, 1:].copy()), "shapes"),
        (lambda world: setattr(world, "ring_apr", world.ring_apr[:1]), "shapes"),
        (lambda world: setattr(world, "params", cut(world.params, "real", np.s_[:, :1])), "shapes"),
        (lambda world: setattr(world, "params", cut(world.params, "whole", np.s_[:10, :])), "shapes"),
        (lambda world: setattr(world, "state", cut(world.state, "real", np.s_[:, :1])), "shapes"),
        (lambda world: setattr(world, "state", cut(world.state, "real", np.s_[:10, :])), "shapes"),
    ],
)
def test_records_of_another_layout_or_number_are_refused(
    twin: ModuleType, damage: Callable[[World], None], message: str
) -> None:
    """Before a value is read: also where a block of values is smaller than its layout and the other block say."""
    world, market = drawn(seed=1, runs=2, n=3, jump=0.0)
    damage(world)
    with pytest.raises(ValueError, match=f"expected {message}"):
        world.advance(twin, market)


@pytest.mark.parametrize("name", ["channel_high", "channel_low", "z"])
def test_a_channel_without_a_column_for_each_length_is_refused(twin: ModuleType, name: str) -> None:
    """There are 51 lengths, from 10 to 60 bars."""
    market = ticks((10, 100.0))
    with pytest.raises(ValueError, match="shapes"):
        one_run().advance(twin, market._replace(**{name: getattr(market, name)[:, :50].copy()}))


FLOATS = [name for name in STATE_DTYPE.names or () if STATE_DTYPE[name].kind == "f"]
WHOLE = [name for name in STATE_DTYPE.names or () if STATE_DTYPE[name].kind == "i"]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    runs=st.integers(0, 20),
    n=st.integers(0, 120),
    jump=st.sampled_from([0.0, 1e-6, 3e-4, 0.01]),
    early=st.integers(0, 120),
    symbols=st.integers(1, 4),
)
@example(seed=0, runs=0, n=10, jump=1e-4, early=0, symbols=1)
@example(seed=0, runs=5, n=0, jump=1e-4, early=0, symbols=1)
@example(seed=0, runs=5, n=0, jump=1e-4, early=0, symbols=3)
@example(seed=0, runs=20, n=2, jump=1e-4, early=1, symbols=4)
@example(seed=1, runs=20, n=120, jump=0.0, early=60, symbols=1)
@example(seed=1, runs=20, n=120, jump=3e-4, early=20, symbols=4)
def test_the_twins_agree_on_any_population(seed: int, runs: int, n: int, jump: float, early: int, symbols: int) -> None:
    """Every decision is the same, every number within 1e-12; and one twin may continue what the other began."""
    plain, market = drawn(seed, runs, n, jump, symbols)
    fast, mixed = plain.copy(), plain.copy()
    plain.advance(_reference, market)
    fast.advance(_kernel, market)
    of_symbol = np.arange(n) - market.first[symbol_of_ticks(market)]
    mixed.advance(_kernel, rows(market, of_symbol < early))
    mixed.advance(_reference, rows(market, of_symbol >= early))
    for other in (fast, mixed):
        assert_agree(other, plain)


def assert_agree(other: World, plain: World) -> None:
    """Check that whatever was decided is equal, and whatever was measured nearly so."""
    for name in WHOLE:
        np.testing.assert_array_equal(other.state[name], plain.state[name], err_msg=name)
    for name in FLOATS:
        np.testing.assert_allclose(other.state[name], plain.state[name], rtol=1e-12, atol=1e-15, err_msg=name)
    np.testing.assert_array_equal(other.ring_ns, plain.ring_ns)
    np.testing.assert_allclose(other.ring_apr, plain.ring_apr, rtol=1e-12, atol=0.0)


def test_the_twins_agree_on_two_thousand_populations() -> None:
    """Small ones on paths of every temper, each from its own seed."""
    traded = 0
    for seed in range(2_000):
        plain, market = drawn(seed, runs=3, n=40, jump=(1e-6, 3e-4, 0.01)[seed % 3], symbols=1 + seed % 2)
        fast = plain.copy()
        plain.advance(_reference, market)
        fast.advance(_kernel, market)
        assert_agree(fast, plain)
        traded += int(plain.state["trades"].sum())
    assert traded > 5_000


def test_drawn_populations_meet_every_end_and_both_sides() -> None:
    """All ends, adds, reductions, longs and shorts occur among each system type with each entry: no calm corner."""
    world, market = drawn(seed=6, runs=800, n=240, jump=3e-4)
    world.advance(_kernel, market)
    for system_type in (_reference.SYSTEM_BREAKOUT, _reference.SYSTEM_SWING):
        for entry in (_reference.ENTRY_WEIGHT, _reference.ENTRY_CHANNEL):
            which = (world.params["system_type"] == system_type) & (world.params["entry"] == entry)
            state = world.state.take(which)
            assert set(state["exit_code"]) == set(ENDS.values())
            assert state["direction"].min() < -1
            assert state["direction"].max() > 1
            assert (state["trades"] > abs(state["direction"])).any()


@pytest.mark.parametrize("symbols", [1, 3])
def test_one_call_over_many_ticks_equals_many_calls(twin: ModuleType, symbols: int) -> None:
    """How ticks are grouped into calls leaves no trace, to the bit."""
    whole, market = drawn(seed=4, runs=10, n=60, jump=3e-4, symbols=symbols)
    parts = whole.copy()
    whole.advance(twin, market)
    for t in range(60):
        parts.advance(twin, rows(market, np.arange(60) == t))
    assert whole.bytes() == parts.bytes()


def test_one_call_over_many_symbols_equals_a_call_for_each(twin: ModuleType) -> None:
    """A run sees the ticks of its own symbol and no others, to the bit, whoever lies beside it."""
    world, market = drawn(seed=11, runs=40, n=160, jump=3e-4, symbols=4)
    alone = world.copy()
    world.advance(twin, market)
    assert world.state["trades"].any()
    for symbol in range(4):
        own = alone.part(alone.symbol == symbol)
        assert len(own.params) > 1
        own.symbol[:] = 0
        ticks_of = rows(market, symbol_of_ticks(market) == symbol)
        own.advance(twin, ticks_of._replace(first=np.array([0, len(ticks_of.ts_ns)])))
        assert own.bytes() == world.part(world.symbol == symbol).bytes()


def test_a_symbol_without_ticks_leaves_its_runs_as_they_were(twin: ModuleType) -> None:
    """The first, one in the middle and the last symbol stand still while the others trade."""
    world, market = drawn(seed=5, runs=50, n=80, jump=3e-4)
    world.symbol[:] = np.arange(50) % 5
    before = world.copy()
    world.advance(twin, market._replace(first=np.array([0, 0, 40, 40, 80, 80])))
    still = np.isin(world.symbol, [0, 2, 4])
    assert world.part(still).bytes() == before.part(still).bytes()
    assert (world.state["iterations"][~still] > 0).all()
