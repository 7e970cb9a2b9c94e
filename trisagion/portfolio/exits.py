"""Protective exits: how much of a position may stay, from what the market did since it was opened.

A position on one side is an episode: from flat, or from the other side, until it is flat or turned. Its state follows
the closed one-minute bars and the ledger's position, never the orders that were sent, so a partial fill is nothing
special. What comes of it is an allowance: the most that may be held on that side. Within an episode it falls and never
rises, unless the position itself grew by what was on its way.

    trailing stop   `trail_atr` average true ranges behind the best price since the anchor; it only ratchets
    break-even      once the best price is `break_even_atr` beyond the entry the stop is not below entry and both fees
    scale-out       at each of `scale_out_atr` beyond the entry `scale_out_share` of the largest position has to go
    time stop       all has to go after `time_stop_ns` without profit after fees; gaps in the data hardly count

An addition to the position anchors it anew: entry, average true range and best price begin again, and break-even has to
be earned again. The stop does not fall by it, the clock goes on, and no scale-out comes twice. A split and a turn begin
a new episode. What was stopped out stays barred on that side until the votes have wanted something else.

Within a bar nobody knows which came first, so the worse is assumed: the stop before all that helps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext
from enum import StrEnum
from typing import Final

from trisagion.clock import MINUTE_NS
from trisagion.errors import ConfigError
from trisagion.features.atr import average_true_range, minutes_needed
from trisagion.market.types import Bar, Instrument
from trisagion.units import SCALE, WIDE, Money, Quantity, plain, tick_down, tick_up

GAP_NS_MAX: Final = 10 * MINUTE_NS
"""A longer time without trades counts as this on the clock of the time stop: nobody can trade while a market rests."""

_STEP: Final = Decimal(1).scaleb(-SCALE)
_ZERO: Final = Decimal(0)


class Cause(StrEnum):
    """Why nothing may stay."""

    TRAIL = "trailing_stop"
    BREAK_EVEN = "break_even"
    TIME = "time_stop"


@dataclass(frozen=True, slots=True)
class ExitRules:
    """Distances in average true ranges, over `atr_bars` bars of `bar_min` minutes. Zero, or no levels: switched off.

    Raises `ConfigError` unless the levels rise from above 0 and their shares sum to 1 at most.
    """

    trail_atr: Decimal = Decimal(3)
    break_even_atr: Decimal = Decimal(1)
    scale_out_atr: tuple[Decimal, ...] = (Decimal(1), Decimal(2), Decimal(3))
    scale_out_share: Decimal = Decimal("0.25")
    time_stop_ns: int = 120 * MINUTE_NS
    atr_bars: int = 14
    bar_min: int = 5

    def __post_init__(self) -> None:
        levels = self.scale_out_atr
        rising = all(low < high for low, high in zip((_ZERO, *levels), levels, strict=False))
        if not rising or not 0 < self.scale_out_share * max(len(levels), 1) <= 1:
            found = ", ".join(map(plain, levels)) or "none"
            raise ConfigError(
                "exits: expected levels that rise from above 0, and shares that sum to 1 at most, found "
                f"{found} with {plain(self.scale_out_share)} each"
            )

    @property
    def minutes(self) -> int:
        """How many one-minute bars the average true range reads."""
        return minutes_needed(self.bar_min, self.atr_bars)


@dataclass(frozen=True, slots=True)
class ExitState:
    """What is remembered of one strategy's position in one symbol, as of the bar that closed at `seen_ns`.

    `side` is +1 or −1, 0 without an episode. `qty` and `cost` are the ledger's; `entry`, `peak` (the best price since
    the anchor) and `stop` are in points, `atr` is that at the anchor, None while unknown. `armed` says that break-even
    was earned, `legs` how many scale-outs have come, `full_qty` of what they are shares. `idle_ns` is the time without
    profit. `cause` is why all has to go, since `caused_ns`; with a `qty` of 0 it bars the side.
    """

    strategy: str
    symbol: str
    seen_ns: int
    side: int
    qty: Quantity
    cost: Money
    opened_ns: int
    entry: Decimal
    atr: Decimal | None
    peak: Decimal
    stop: Decimal | None
    armed: bool
    full_qty: Quantity
    legs: int
    idle_ns: int
    cause: Cause | None
    caused_ns: int | None

    @staticmethod
    def nothing(strategy: str, symbol: str, seen_ns: int = 0) -> "ExitState":
        """Return the state without an episode."""
        zero, none = Quantity(_ZERO), Money(_ZERO)
        return ExitState(
            strategy=strategy,
            symbol=symbol,
            seen_ns=seen_ns,
            side=0,
            qty=zero,
            cost=none,
            opened_ns=0,
            entry=_ZERO,
            atr=None,
            peak=_ZERO,
            stop=None,
            armed=False,
            full_qty=zero,
            legs=0,
            idle_ns=0,
            cause=None,
            caused_ns=None,
        )


def break_even(entry: Decimal, side: int, instrument: Instrument) -> Decimal:
    """Return the first price on the tick at which closing earns nothing and loses nothing, with both fees paid.

    Long: ``entry·(1 + f)/(1 − f)``, rounded up; short: ``entry·(1 − f)/(1 + f)``, rounded down.
    """
    fee = instrument.fee_rate
    with localcontext(WIDE):
        if side > 0:
            return tick_up(entry * (1 + fee) / (1 - fee), instrument.tick_size)
        return tick_down(entry * (1 - fee) / (1 + fee), instrument.tick_size)


def follow(
    state: ExitState, *, qty: Quantity, cost: Money, bars: Sequence[Bar], rules: ExitRules, instrument: Instrument
) -> ExitState:
    """Return the state after the bars that it has not seen, with the ledger's position as it is after them.

    Parameters
    ----------
    state : ExitState
    qty : Quantity
        Signed.
    cost : Money
        What it cost, with the sign of the quantity: ``cost / (qty·multiplier)`` is the average price.
    bars : sequence of Bar
        Closed one-minute bars, oldest first: those not seen yet and `rules.minutes` before each of them.
    rules : ExitRules
    instrument : Instrument

    Returns
    -------
    ExitState
        A position that appears, turns, grows or is split is anchored at the close of the last bar: nobody knows what of
        that bar came after it.
    """
    assert instrument.symbol == state.symbol, f"exits of {state.symbol} with the terms of {instrument.symbol}"
    if not bars or bars[-1].close_ns < state.seen_ns:
        return state
    newest = bars[-1]
    side = (qty > 0) - (qty < 0)
    if not side:
        flat = ExitState.nothing(state.strategy, state.symbol, newest.close_ns)
        if state.cause is None:
            return flat
        return replace(state, qty=flat.qty, cost=flat.cost, seen_ns=newest.close_ns)
    split = cost == state.cost and qty != state.qty
    if side != state.side or split:
        return _opened(state, side, qty, cost, bars, rules, instrument)
    first = next((at for at, bar in enumerate(bars) if bar.close_ns > state.seen_ns), len(bars))
    for end in range(first + 1, len(bars) + 1):
        state = _after(state, bars[end - 1], _atr(bars[:end], rules), rules, instrument)
    if state.cause is None and abs(qty) > abs(state.qty):
        grown = replace(state, full_qty=Quantity(max(state.full_qty, abs(qty))))
        state = _anchored(grown, qty, cost, bars, rules, instrument)
    return replace(state, qty=qty, cost=cost, seen_ns=newest.close_ns)


def allowance(state: ExitState, rules: ExitRules) -> Decimal | None:
    """Return the most that may be held on the state's side, without sign; None where nothing bounds it."""
    if not state.side:
        return None
    if state.cause is not None:
        return _ZERO
    if not state.legs:
        return None
    with localcontext(WIDE):
        return (state.full_qty * (1 - rules.scale_out_share * state.legs)).quantize(_STEP, rounding=ROUND_DOWN)


def bounded(state: ExitState, rules: ExitRules, wanted: Decimal) -> tuple[Decimal, str | None]:
    """Return the wanted position within the allowance, and the reason where it has to be less."""
    most = allowance(state, rules)
    if most is None or wanted * state.side <= most:
        return wanted, None
    code = "SCALED_OUT" if state.cause is None else _CODES[state.cause]
    told = {"wanted": wanted, "allowed": most * state.side, "entry": state.entry, "peak": state.peak}
    told |= {"stop": state.stop} if state.stop is not None else {}
    told |= {"atr": state.atr} if state.atr is not None else {}
    words = " ".join(f"{name}={plain(value)}" for name, value in told.items())
    return most * state.side, f"{code}: {words} legs={state.legs}"


def released(state: ExitState, wanted: Decimal) -> ExitState:
    """Return the state once the votes want `wanted`: a barred side is free when that is nothing, or the other side."""
    if state.cause is None or state.qty or wanted * state.side > 0:
        return state
    return ExitState.nothing(state.strategy, state.symbol, state.seen_ns)


_CODES: Final = {Cause.TRAIL: "TRAILING_STOP", Cause.BREAK_EVEN: "BREAK_EVEN_STOP", Cause.TIME: "TIME_STOP"}


def _opened(
    state: ExitState,
    side: int,
    qty: Quantity,
    cost: Money,
    bars: Sequence[Bar],
    rules: ExitRules,
    instrument: Instrument,
) -> ExitState:
    seen_ns = bars[-1].close_ns
    fresh = replace(ExitState.nothing(state.strategy, state.symbol, seen_ns), side=side, opened_ns=seen_ns)
    anchored = _anchored(fresh, qty, cost, bars, rules, instrument)
    return replace(anchored, qty=qty, cost=cost, full_qty=Quantity(abs(qty)))


def _anchored(
    state: ExitState, qty: Quantity, cost: Money, bars: Sequence[Bar], rules: ExitRules, instrument: Instrument
) -> ExitState:
    with localcontext(WIDE):
        entry = (cost / (qty * instrument.multiplier)).quantize(_STEP, rounding=ROUND_HALF_EVEN)
    close, atr = _exact(bars[-1].close), _atr(bars, rules)
    state = replace(state, entry=entry, atr=atr, peak=close, armed=False)
    return replace(state, stop=_ratcheted(state, atr, rules, instrument))


def _after(state: ExitState, bar: Bar, atr: Decimal | None, rules: ExitRules, instrument: Instrument) -> ExitState:
    """Return the state of a position that is held all through a bar."""
    if state.cause is not None:
        return replace(state, seen_ns=bar.close_ns)
    side = state.side
    floor = break_even(state.entry, side, instrument)
    best, worst = (bar.high, bar.low) if side > 0 else (bar.low, bar.high)
    close = _exact(bar.close)
    if _is_crossed(state, _exact(worst)):
        return _ended(state, bar, _of_stop(state, floor))
    peak = max(state.peak, _exact(best), key=lambda price: price * side)
    scale = state.atr or atr
    gain = (peak - state.entry) * side
    legs, armed = state.legs, state.armed
    if scale is not None:
        reached = sum(gain >= level * scale for level in rules.scale_out_atr)
        legs = max(legs, reached)
        earned = rules.break_even_atr > 0 and gain >= rules.break_even_atr * scale
        armed = armed or (earned and (peak - floor) * side > 0)
    gap_ns = min(bar.close_ns - state.seen_ns, GAP_NS_MAX)
    idle_ns = 0 if (close - floor) * side > 0 else state.idle_ns + gap_ns
    state = replace(state, seen_ns=bar.close_ns, atr=scale, peak=peak, legs=legs, armed=armed, idle_ns=idle_ns)
    state = replace(state, stop=_ratcheted(state, atr, rules, instrument))
    if _is_crossed(state, close):
        return _ended(state, bar, _of_stop(state, floor))
    if rules.time_stop_ns and idle_ns >= rules.time_stop_ns:
        return _ended(state, bar, Cause.TIME)
    return state


def _ratcheted(state: ExitState, atr: Decimal | None, rules: ExitRules, instrument: Instrument) -> Decimal | None:
    """Return the stop, moved nearer to the price where trail or break-even is nearer, and never away from it."""
    side, tick = state.side, instrument.tick_size
    found = [] if state.stop is None else [state.stop]
    if rules.trail_atr and atr is not None:
        behind = state.peak - side * rules.trail_atr * atr
        found.append(tick_down(behind, tick) if side > 0 else tick_up(behind, tick))
    if state.armed:
        found.append(break_even(state.entry, side, instrument))
    return max(found, key=lambda price: price * side, default=None)


def _is_crossed(state: ExitState, price: Decimal) -> bool:
    return state.stop is not None and (price - state.stop) * state.side <= 0


def _of_stop(state: ExitState, floor: Decimal) -> Cause:
    return Cause.BREAK_EVEN if state.armed and state.stop == floor else Cause.TRAIL


def _ended(state: ExitState, bar: Bar, cause: Cause) -> ExitState:
    return replace(state, seen_ns=bar.close_ns, cause=cause, caused_ns=bar.close_ns)


def _atr(bars: Sequence[Bar], rules: ExitRules) -> Decimal | None:
    """Return the average true range of the last bars, read from no more of them than are needed."""
    known = average_true_range(bars[-rules.minutes :], rules.bar_min * MINUTE_NS, rules.atr_bars)
    return None if known is None else _exact(known) or None


def _exact(number: float) -> Decimal:
    """Turn a float into the decimal of its shortest text that reads back the same, half-even to `SCALE` places."""
    return Decimal(repr(number)).quantize(_STEP, rounding=ROUND_HALF_EVEN)
