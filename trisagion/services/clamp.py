"""Bring the account before the clamps: what it holds and has ordered, how the markets moved, what is left of a wish.

A book is of one transaction. It knows the positions as they are, counts live orders at their worst, and takes in each
order that the cycle adds, so that the symbols that are decided on later find less room.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from math import sqrt
from typing import Final

import numpy as np

from trisagion.clock import MINUTE_NS
from trisagion.market.types import Float64Array, Instrument, Int64Array
from trisagion.orders.types import Order, Side, leaves_of
from trisagion.portfolio.clamps import Clamped, ClampRules, Facts, Measure, clamped, unit_risk
from trisagion.portfolio.returns import TAIL_RETURNS_MIN, Returns
from trisagion.ports import Transaction
from trisagion.units import WIDE, Money

READING_NS_MAX: Final = 10 * MINUTE_NS
"""An older word on the state of a market is none; markets are judged each minute in which they trade."""

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Clamping:
    """What clamps are applied with; `measure` is of the tail, None without a limit on it."""

    rules: ClampRules
    measure: Measure | None = None


class History:
    """The closes that one call of a cycle has read, so that each of its transactions reads those of its own symbols."""

    def __init__(self) -> None:
        self._closes: dict[str, tuple[Int64Array, Float64Array]] = {}

    def returns(self, tx: Transaction, symbols: Iterable[str], until_ns: int, count: int) -> Returns:
        """Return the returns of some symbols, and of those that were asked for before."""
        missing = sorted(set(symbols) - self._closes.keys())
        if missing:
            self._closes |= tx.market.closes(missing, until_ns, count + 1)
        return Returns.of(self._closes, count)


@dataclass(slots=True)
class _Stake:
    """A symbol of the account; `unit` is what a unit is worth, `stop` what it may lose down to its stop."""

    instrument: Instrument
    unit: Decimal
    held: Decimal = _ZERO
    bought: Decimal = _ZERO
    sold: Decimal = _ZERO
    stop: Decimal | None = None
    stop_side: int = 0
    worth: Decimal = field(default=_ZERO, init=False)
    """Signed, with all live orders of the worse side."""
    heat: Decimal = field(default=_ZERO, init=False)

    @property
    def worst(self) -> Decimal:
        """The position should all live orders of the side fill that makes it larger, and none of the other."""
        with localcontext(WIDE):
            return max(self.held + self.bought, self.held - self.sold, key=abs)

    def stop_of(self, qty: Decimal) -> Decimal | None:
        """Return what a unit of a position may lose down to the stop, where there is one on its side."""
        return self.stop if qty * self.stop_side > 0 else None


class Book:
    """The account as the clamps of one transaction see it. `live` is looked at anew for each wish."""

    def __init__(
        self,
        clamping: Clamping,
        history: History,
        instruments: Iterable[Instrument],
        units: Mapping[str, Decimal | None],
        live: Sequence[Order],
        due_ns: int,
        strategy: str | None,
    ) -> None:
        self._clamping, self._history, self._due_ns = clamping, history, due_ns
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._units, self._live, self._strategy = units, live, strategy
        self._stakes: dict[str, _Stake] | None = None
        self._returns: Returns | None = None
        self._correlations: Float64Array | None = None
        self._deviations = self._as_held = self._at_worst = self._pnl = np.zeros(0)
        self._symbols: list[str] = []
        self._taken = 0
        self._heat = _ZERO
        self._gross: dict[str, Decimal] = {}

    def clamp(
        self, tx: Transaction, instrument: Instrument, wanted: Decimal, equity: Money | None, kelly: float | None
    ) -> Clamped:
        """Return what is left of a wish, with the reasons."""
        rules = self._clamping.rules
        if not wanted or equity is None or not rules.looks:
            return Clamped(wanted, ())
        if self._stakes is None:
            self._read(tx)
        assert self._stakes is not None
        self._take_in_orders()
        own = self._stakes[instrument.symbol]
        deviation = self._deviation(instrument.symbol)
        pnl, others = self._minutes(own) if rules.has_tail else (None, None)
        facts = Facts(
            equity=equity,
            unit=own.unit,
            held=own.held,
            risk=unit_risk(own.unit, own.stop_of(wanted), deviation, instrument.leverage_max),
            kelly=kelly,
            deviation=deviation,
            regime=self._regime(tx, instrument.symbol) if rules.crisis_share is not None else None,
            alike=self._alike(own, wanted) if rules.concentration_max is not None else _ZERO,
            heat=WIDE.subtract(self._heat, own.heat),
            gross=WIDE.subtract(self._gross.get(instrument.venue, _ZERO), abs(own.worth)),
            pnl=pnl,
            others=others,
        )
        return clamped(wanted, facts, rules, self._clamping.measure)

    def _read(self, tx: Transaction) -> None:
        """Read positions, stops and closes of all that has a price; there is no book before all of it is read."""
        stakes = {
            symbol: _Stake(self._instruments[symbol], unit)
            for symbol, unit in sorted(self._units.items())
            if unit is not None and symbol in self._instruments
        }
        for position in tx.ledger.positions():
            stake = stakes.get(position.symbol)
            if stake is not None and position.qty:
                stake.held = position.qty
                stake.stop, stake.stop_side = self._stop(tx, stake)
        rules = self._clamping.rules
        if rules.reads_returns:
            self._returns = self._history.returns(tx, stakes, self._due_ns, rules.returns)
            self._deviations = self._returns.deviations(rules.half_life_min) * sqrt(rules.day_min)
            self._symbols = list(self._returns.column)
            self._as_held, self._at_worst = np.zeros((2, len(self._symbols)))
            self._pnl = np.zeros((2, len(self._returns.values)))
        self._heat, self._gross = _ZERO, {}
        for stake in stakes.values():
            self._count(stake)
        self._stakes = stakes

    def _take_in_orders(self) -> None:
        """Count the live orders that were not counted yet."""
        assert self._stakes is not None
        for order in self._live[self._taken :]:
            stake = self._stakes.get(order.symbol)
            if stake is None:
                continue
            left = leaves_of(order.qty, order.cum_qty, order.wanted_qty)
            if order.side is Side.BUY:
                stake.bought = WIDE.add(stake.bought, left)
            else:
                stake.sold = WIDE.add(stake.sold, left)
            self._count(stake)
        self._taken = len(self._live)

    def _count(self, stake: _Stake) -> None:
        """Put a symbol's worth and heat, as they are now, in the place of what they were."""
        worst, venue = stake.worst, stake.instrument.venue
        risk = unit_risk(
            stake.unit, stake.stop_of(worst), self._deviation(stake.instrument.symbol), stake.instrument.leverage_max
        )
        with localcontext(WIDE):
            worth, heat = worst * stake.unit, abs(worst) * risk
            self._gross[venue] = self._gross.get(venue, _ZERO) + abs(worth) - abs(stake.worth)
            self._heat += heat - stake.heat
            held = stake.held * stake.unit
        stake.worth, stake.heat = worth, heat
        if self._returns is not None:
            at = self._returns.column[stake.instrument.symbol]
            more = (float(held) - self._as_held[at], float(worth) - self._at_worst[at])
            self._as_held[at], self._at_worst[at] = float(held), float(worth)
            if any(more):
                self._pnl += np.outer(more, self._returns.values[:, at])

    def _deviation(self, symbol: str) -> float | None:
        """Return the deviation of a day's return, None where it is unknown."""
        if self._returns is None:
            return None
        found = float(self._deviations[self._returns.column[symbol]])
        return None if np.isnan(found) else found

    def _stop(self, tx: Transaction, stake: _Stake) -> tuple[Decimal | None, int]:
        """Return what a unit of the position may lose down to its stop, and its side; none where it is crossed."""
        symbol = stake.instrument.symbol
        state = None if self._strategy is None else tx.exits.state(self._strategy, symbol)
        quote = tx.market.quote(symbol, self._due_ns)
        if state is None or state.stop is None or quote is None:
            return None, 0
        with localcontext(WIDE):
            away = (quote.last - state.stop) * state.side * stake.instrument.multiplier
        return (away, state.side) if away > 0 else (None, 0)

    def _regime(self, tx: Transaction, symbol: str) -> str | None:
        reading = tx.regime.reading(symbol, self._due_ns)
        return None if reading is None or self._due_ns - reading.at_ns > READING_NS_MAX else reading.state

    def _alike(self, own: _Stake, wanted: Decimal) -> Decimal:
        """Return what all positions are worth that win and lose as the wish does; those of which it is unknown, too."""
        assert self._stakes is not None and self._returns is not None
        if self._correlations is None:
            self._correlations = self._returns.correlations()
        at = self._returns.column[own.instrument.symbol]
        together = self._correlations[at] * np.sign(self._at_worst) * (1 if wanted > 0 else -1)
        same = (self._at_worst != 0.0) & ~(together <= float(self._clamping.rules.correlation_max))
        same[at] = False
        found = _ZERO
        for number in np.flatnonzero(same).tolist():
            found = WIDE.add(found, abs(self._stakes[self._symbols[number]].worth))
        return found

    def _minutes(self, own: _Stake) -> tuple[Float64Array | None, Sequence[Float64Array] | None]:
        """Return the P&L of each minute: of a unit, and of all other positions, as they are and with their orders.

        Over the minutes in which all of them had a price; None where too few of a symbol's returns are known.
        """
        assert self._returns is not None
        at = self._returns.column[own.instrument.symbol]
        used = (self._as_held != 0.0) | (self._at_worst != 0.0)
        used[at] = False
        known = self._returns.known >= TAIL_RETURNS_MIN
        begin = int(self._returns.first[at])
        begin = max(begin, int(self._returns.first[used].max())) if used.any() else begin
        values = self._returns.values[begin:, at]
        pnl = float(own.unit) * values if known[at] else None
        if not known[used].all():
            return pnl, None
        as_held = self._pnl[0, begin:] - self._as_held[at] * values
        at_worst = self._pnl[1, begin:] - self._at_worst[at] * values
        return pnl, [as_held] if np.array_equal(as_held, at_worst) else [as_held, at_worst]
