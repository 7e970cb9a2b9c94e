"""`portfolio.exits` and `features.atr`: stops that only ratchets move, scale-outs that come once, and their clock."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ES, TUESDAY_NS, qty
from trisagion.clock import HOUR_NS, MINUTE_NS
from trisagion.errors import ConfigError
from trisagion.features.atr import average_true_range, minutes_needed
from trisagion.market.types import Bar
from trisagion.portfolio.exits import (
    Cause,
    ExitRules,
    ExitState,
    allowance,
    bounded,
    break_even,
    follow,
    released,
)
from trisagion.units import Money

RULES: Final = ExitRules(atr_bars=2, bar_min=1)
"""Each minute is a bar of its own, and three of them are enough: in tests their true range is 4 points."""

FREE: Final = replace(ES, fee_rate=Decimal(0))
NOTHING: Final = ExitState.nothing("cohort", "ES")


def bar(minute: int, close: float, high: float | None = None, low: float | None = None) -> Bar:
    """Return the bar that closes at a minute after noon, two points up and down unless told otherwise."""
    top, bottom = close + 2 if high is None else high, close - 2 if low is None else low
    return Bar("ES", TUESDAY_NS + (minute - 1) * MINUTE_NS, MINUTE_NS, close, top, bottom, close, 17.0, 5)


def steady(price: float, until: int = 0, count: int = 5) -> list[Bar]:
    """Return minutes in which nothing but the usual happens, the last of which closes at a minute."""
    return [bar(until - count + 1 + number, price) for number in range(count)]


def cost(number: int | str, price: float | str) -> Money:
    """Return what a position costs at an average price."""
    return Money(Decimal(number) * Decimal(str(price)) * 50)


def at(number: int, price: float | str = 4000) -> Any:
    """Return the state of a position that was opened at noon, at a price that is the market's."""
    bars = steady(float(price))
    return follow(NOTHING, qty=qty(number), cost=cost(number, price), bars=bars, rules=RULES, instrument=FREE)


def walk(state: Any, *bars: Bar, rules: ExitRules = RULES, number: object = None) -> Any:
    """Follow bars one by one while the position stays as it is, or has become `number` with the last of them."""
    seen = steady(4000)
    for each in bars:
        seen.append(each)
        held = qty(number) if number is not None and each is bars[-1] else state.qty
        state = follow(state, qty=held, cost=Money(held * state.entry * 50), bars=seen, rules=rules, instrument=FREE)
    return state


def test_the_true_range_of_bars_counts_the_jump_from_the_close_before() -> None:
    """By hand: minutes make bars of two, of which the first only gives its close; what has not ended is left out."""
    quiet = [bar(minute, close, close + 1, close - 1) for minute, close in ((1, 10), (2, 12), (3, 20), (4, 18))]
    # Bars (9..13, close 12), (17..21, close 18): true range 21 − 12 = 9.
    assert average_true_range(quiet, 2 * MINUTE_NS, 1) == 9.0
    assert average_true_range([*quiet, bar(5, 90)], 2 * MINUTE_NS, 1) == 9.0
    assert average_true_range(quiet, 2 * MINUTE_NS, 2) is None
    assert average_true_range([], MINUTE_NS, 1) is None
    assert average_true_range([bar(n, 10, 10, 10) for n in range(5)], MINUTE_NS, 2) is None


@given(st.lists(st.booleans(), min_size=60, max_size=60), st.integers(0, 9))
def test_so_many_minutes_are_enough_wherever_they_lie(traded: list[bool], offset: int) -> None:
    """What is read beyond them changes nothing, whichever minutes had no trades."""
    minutes = [bar(offset + n, 100 + n % 7, 104 + n % 5, 98 - n % 3) for n, there in enumerate(traded) if there]
    needed = minutes_needed(3, 4)
    known = average_true_range(minutes[-needed:], 3 * MINUTE_NS, 4)
    assert len(minutes) < needed or known == average_true_range(minutes, 3 * MINUTE_NS, 4)
    assert len(minutes) < needed or known is not None


@pytest.mark.parametrize(("side", "price"), [(1, "4003.25"), (-1, "3996.75")])
def test_at_break_even_both_fees_are_paid(side: int, price: str) -> None:
    """A tick nearer to the entry they are not."""
    found = break_even(Decimal(4000), side, ES)
    assert found == Decimal(price)
    for px, enough in ((found, True), (found - side * ES.tick_size, False)):
        earned = side * (px - 4000) - (px + 4000) * ES.fee_rate
        assert (earned >= 0) is enough


@pytest.mark.parametrize("side", [1, -1])
def test_a_position_is_anchored_where_it_is_opened(side: int) -> None:
    """Entry by the ledger, the stop three ranges behind the close; what came before in that bar does not count."""
    state = at(10 * side)
    assert (state.side, state.entry, state.peak, state.atr) == (side, 4000, 4000, 4)
    assert state.stop == 4000 - 12 * side
    assert (state.legs, state.armed, state.full_qty, state.cause) == (0, False, 10, None)
    assert allowance(state, RULES) is None


@pytest.mark.parametrize("side", [1, -1])
def test_the_trailing_stop_follows_and_fires(side: int) -> None:
    """Up with the best price, never back, and at a touch; then nothing may stay on that side."""
    rules = replace(RULES, break_even_atr=Decimal(0))
    # The ranges are now 4 and 5 points: three times 4.5 behind the best price.
    state = walk(at(10 * side), bar(1, 4000 + 3 * side), rules=rules)
    assert (state.peak, state.stop) == (4000 + 5 * side, 4000 - Decimal("8.5") * side)
    state = walk(at(10 * side), bar(1, 4000 + 3 * side), bar(2, 4000 + side), rules=rules)
    assert (state.peak, state.stop) == (4000 + 5 * side, 4000 - Decimal("8.5") * side)
    assert state.stop is not None
    touched = float(state.stop)
    near = bar(3, touched + side, high=touched + 2 if side > 0 else touched, low=touched if side > 0 else touched - 2)
    state = walk(state, near, rules=rules)
    assert (state.cause, state.caused_ns) == (Cause.TRAIL, TUESDAY_NS + 3 * MINUTE_NS)
    assert allowance(state, RULES) == 0
    within, reason = bounded(state, RULES, Decimal(15 * side))
    assert within == 0
    assert reason is not None
    assert reason.startswith(f"TRAILING_STOP: wanted={15 * side} allowed=0 entry=4000 ")


def test_the_stop_comes_before_all_that_helps_within_a_bar() -> None:
    """A bar that touches the stop and three scale-outs is a stop."""
    state = walk(at(10), bar(1, 4000, high=4100, low=3980))
    assert (state.cause, state.legs, state.peak) == (Cause.TRAIL, 0, 4000)


def test_scale_outs_come_in_order_once_and_leave_shares() -> None:
    """At one, two and three ranges a quarter of the largest position goes, from what the ledger holds."""
    rules = replace(RULES, trail_atr=Decimal(0), break_even_atr=Decimal(0))
    state = at(8)
    for minute, high, legs, most in (
        (1, 4003.75, 0, None),
        (2, 4004, 1, 6),
        (3, 4004, 1, 6),
        (4, 4012, 3, 2),
        (5, 4100, 3, 2),
    ):
        state = walk(state, bar(minute, 4002, high=high), rules=rules)
        assert (state.legs, allowance(state, rules)) == (legs, most)
    within, reason = bounded(state, rules, Decimal(8))
    assert within == 2
    assert reason is not None
    assert reason.startswith("SCALED_OUT: wanted=8 allowed=2 ")
    assert bounded(state, rules, Decimal(1)) == (Decimal(1), None)
    assert bounded(state, rules, Decimal(-5)) == (Decimal(-5), None)


def test_a_scale_out_of_a_partial_fill_counts_from_what_is_held() -> None:
    """Four of ten were filled when the price came: three may stay; what was on its way still counts when it comes."""
    rules = replace(RULES, trail_atr=Decimal(0), break_even_atr=Decimal(0))
    state = walk(at(4), bar(1, 4002, high=4004), rules=rules)
    assert allowance(state, rules) == 3
    state = walk(state, bar(2, 4002), rules=rules, number=8)
    assert allowance(state, rules) == 6
    assert state.legs == 1
    state = walk(state, bar(3, 4002), rules=rules, number=5)
    assert allowance(state, rules) == 6


def test_break_even_is_earned_and_holds() -> None:
    """From one range beyond the entry on; back there all goes."""
    rules = replace(RULES, trail_atr=Decimal(0), scale_out_atr=())
    state = walk(at(10), bar(1, 4002, high=4003.75), rules=rules)
    assert (state.armed, state.stop) == (False, 3988)
    state = walk(state, bar(2, 4003, high=4004), rules=rules)
    assert (state.armed, state.stop) == (True, 4000)
    assert walk(state, bar(3, 4002.25, low=4000.25), rules=rules).cause is None
    assert walk(state, bar(3, 4001, low=4000), rules=rules).cause is Cause.BREAK_EVEN


def test_break_even_is_not_earned_before_the_fees_are() -> None:
    """With ranges smaller than two fees a stop there would fire at once."""
    state = follow(NOTHING, qty=qty(1), cost=cost(1, 4000), bars=steady(4000), rules=RULES, instrument=ES)
    rules = replace(RULES, break_even_atr=Decimal("0.25"))
    for high, armed in ((4003.25, False), (4003.5, True)):
        bars = [*steady(4000), bar(1, 4003.25, high=high)]
        after: Any = follow(state, qty=qty(1), cost=state.cost, bars=bars, rules=rules, instrument=ES)
        assert after.armed is armed


@pytest.mark.parametrize(("profit_at", "ends_at"), [(None, 120), (60, 180), (119, 239), (120, None)])
def test_two_hours_without_profit_are_the_end(profit_at: int | None, ends_at: int | None) -> None:
    """Counted from the opening, or from when it last closed in profit; a profit in the very minute is in time."""
    rules = replace(RULES, trail_atr=Decimal(0), break_even_atr=Decimal(0), scale_out_atr=())
    found = None
    state = at(3)
    for minute in range(1, 200 if ends_at is None else 260):
        state = walk(state, bar(minute, 4000.25 if minute == profit_at else 3999), rules=rules)
        if state.cause is not None:
            found = minute
            break
    assert found == ends_at
    assert found is None or state.cause is Cause.TIME


def test_a_weekend_is_not_time_without_profit() -> None:
    """A gap counts as ten minutes, however long it was."""
    rules = replace(RULES, trail_atr=Decimal(0), break_even_atr=Decimal(0))
    state = walk(at(3), bar(1, 3999), bar(3000, 3999), rules=rules)
    assert (state.idle_ns, state.cause) == (11 * MINUTE_NS, None)


def test_an_addition_anchors_anew_without_giving_anything_back() -> None:
    """Entry, range and best price begin again; the stop stays, the clock goes on, scale-outs have come."""
    held = replace(walk(at(8), bar(1, 4001, high=4002, low=4000)), idle_ns=HOUR_NS, legs=1, stop=Decimal(3995))
    bars = [*steady(4000), bar(1, 4001), bar(2, 4000, high=4001, low=3998)]
    after: Any = follow(
        held, qty=qty(9), cost=Money(cost(8, 4000) + cost(1, 4009)), bars=bars, rules=RULES, instrument=FREE
    )
    assert (after.entry, after.peak, after.armed) == (4001, 4000, False)
    assert (after.stop, after.legs, after.full_qty) == (3995, 1, 9)
    assert after.idle_ns == HOUR_NS + MINUTE_NS
    assert after.opened_ns == held.opened_ns


@pytest.mark.parametrize(
    ("number", "paid"),
    [(-3, cost(-3, 4000)), (16, cost(8, 4000))],
    ids=["a turn", "a split of two for one"],
)
def test_a_turn_and_a_split_begin_a_new_episode(number: int, paid: Money) -> None:
    """Nothing is left of the one before, whatever was reached in it."""
    held = replace(at(8), legs=3, armed=True, stop=Decimal(3999), idle_ns=HOUR_NS)
    bars = [*steady(4000), bar(1, 2000 if number > 0 else 4000)]
    after: Any = follow(held, qty=qty(number), cost=paid, bars=bars, rules=RULES, instrument=FREE)
    assert (after.legs, after.armed, after.idle_ns, after.cause) == (0, False, 0, None)
    assert (after.full_qty, after.opened_ns) == (abs(number), TUESDAY_NS + MINUTE_NS)
    assert after.entry == paid / (number * 50)


def test_what_was_stopped_out_stays_barred_until_the_votes_change() -> None:
    """Flat, the side is barred; wanting nothing, or the other side, frees it; a scale-out bars nothing."""
    out = walk(at(8), bar(1, 3980))
    assert out.cause is Cause.TRAIL
    assert released(out, Decimal(0)) == out
    flat: Any = follow(out, qty=qty(0), cost=Money(Decimal(0)), bars=[bar(2, 3980)], rules=RULES, instrument=FREE)
    assert (flat.side, flat.qty, flat.cause) == (1, 0, Cause.TRAIL)
    assert bounded(flat, RULES, Decimal(5))[0] == 0
    assert bounded(flat, RULES, Decimal(-5)) == (Decimal(-5), None)
    assert released(flat, Decimal(5)) == flat
    for wanted in (Decimal(0), Decimal(-5)):
        assert released(flat, wanted) == ExitState.nothing("cohort", "ES", flat.seen_ns)
    late: Any = follow(flat, qty=qty(1), cost=cost(1, 3980), bars=[bar(3, 3980)], rules=RULES, instrument=FREE)
    assert allowance(late, RULES) == 0
    scaled = walk(at(8), bar(1, 4003, high=4005))
    gone = follow(scaled, qty=qty(0), cost=Money(Decimal(0)), bars=[bar(2, 4003)], rules=RULES, instrument=FREE)
    assert gone == ExitState.nothing("cohort", "ES", gone.seen_ns)


def test_a_bar_seen_again_or_late_changes_nothing() -> None:
    """A minute may be marked twice, and in any order."""
    state = walk(at(8), bar(1, 4003, high=4005), bar(2, 3999))
    for bars in ([], steady(4000), [*steady(4000), bar(1, 4003, high=4005), bar(2, 3999)]):
        again = follow(state, qty=state.qty, cost=state.cost, bars=bars, rules=RULES, instrument=FREE)
        assert again == state


def test_a_market_without_a_range_has_a_clock_only() -> None:
    """Before there are bars enough no stop and no scale-out is known; they are when there are."""
    young: Any = follow(NOTHING, qty=qty(3), cost=cost(3, 4000), bars=[bar(0, 4000)], rules=RULES, instrument=FREE)
    assert (young.atr, young.stop) == (None, None)
    bars = [bar(0, 4000), bar(1, 4000), bar(2, 4000)]
    grown: Any = follow(young, qty=qty(3), cost=young.cost, bars=bars, rules=RULES, instrument=FREE)
    assert (grown.atr, grown.stop) == (4, 3990)


@pytest.mark.parametrize(
    ("levels", "share"), [(("0",), "0.1"), (("2", "1"), "0.1"), (("1", "1"), "0.1"), (("1", "2"), "0.6"), ((), "0")]
)
def test_rules_that_contradict_themselves_are_refused(levels: Sequence[str], share: str) -> None:
    """Levels rise from above 0, and no more than all can be sold."""
    with pytest.raises(ConfigError, match="expected levels that rise"):
        ExitRules(scale_out_atr=tuple(map(Decimal, levels)), scale_out_share=Decimal(share))


PRICES = st.integers(15_960, 16_040).map(lambda ticks: ticks / 4)
MINUTES = st.lists(
    st.tuples(PRICES, st.integers(0, 12), st.integers(0, 12), st.integers(0, 8)), min_size=1, max_size=40
)
"""Close, ticks above and below it, and the size of the position after the minute."""


@given(MINUTES, st.sampled_from([1, -1]))
def test_within_an_episode_nothing_is_ever_given_back(minutes: list[tuple[float, int, int, int]], side: int) -> None:
    """Whatever the market does and whatever is filled: the stop ratchets, break-even keeps the fees, legs come once."""
    bars = steady(4000)
    state = NOTHING
    for number, (close, above, below, size) in enumerate(minutes, start=1):
        bars.append(bar(number, close, close + above / 4, close - below / 4))
        before = state
        held = qty(side * size)
        paid = before.cost if held == before.qty else cost(side * size, close)
        state = follow(before, qty=held, cost=paid, bars=bars, rules=RULES, instrument=ES)
        assert follow(state, qty=held, cost=paid, bars=bars, rules=RULES, instrument=ES) == state
        if not state.side or before.side != state.side or before.opened_ns != state.opened_ns:
            continue
        if before.stop is not None:
            assert state.stop is not None
            assert (state.stop - before.stop) * side >= 0
        assert state.legs >= before.legs
        assert state.full_qty >= before.full_qty
        if state.armed:
            assert state.stop is not None
            assert (state.stop - break_even(state.entry, side, ES)) * side >= 0
        assert state.cause is before.cause or before.cause is None
        most, less = allowance(before, RULES), allowance(state, RULES)
        if most is not None and state.full_qty == before.full_qty:
            assert less is not None
            assert less <= most


@given(MINUTES, st.sampled_from([1, -1]), st.integers(1, 39))
def test_minutes_missed_and_followed_later_make_the_same_state(
    minutes: list[tuple[float, int, int, int]], side: int, missed: int
) -> None:
    """Whoever was away while nothing was filled finds what he would have found one by one."""
    opened = steady(4000)
    start = follow(NOTHING, qty=qty(5 * side), cost=cost(5 * side, 4000), bars=opened, rules=RULES, instrument=ES)
    bars = list(opened)
    one_by_one = at_once = start
    for number, (close, above, below, _) in enumerate(minutes, start=1):
        bars.append(bar(number, close, close + above / 4, close - below / 4))
        one_by_one = follow(one_by_one, qty=start.qty, cost=start.cost, bars=bars, rules=RULES, instrument=ES)
        if number % missed == 0 or number == len(minutes):
            at_once = follow(at_once, qty=start.qty, cost=start.cost, bars=bars, rules=RULES, instrument=ES)
    assert at_once == one_by_one
