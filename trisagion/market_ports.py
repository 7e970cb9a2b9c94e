"""What is asked of the outside about the market: parts of the unit of work of `ports`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from trisagion.market.types import Bar, Float64Array, Instrument, Int64Array, MarketState, MarketStep, Quote
from trisagion.regime.classify import Reading
from trisagion.regime.types import Fit


class MarketStore(Protocol):
    """Tables instrument, trading_hours, bar, market_step, market_state."""

    def add_instrument(self, instrument: Instrument) -> None:
        """Record an instrument, with its closures where it has some; the same again changes nothing."""
        ...

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument; `StateError` when it is not known."""
        ...

    def instruments(self) -> Sequence[Instrument]:
        """Return all instruments in order of symbol."""
        ...

    def add_step(self, step: MarketStep) -> bool:
        """Record a step and its bar; False when it was there already."""
        ...

    def step(self, symbol: str, at_ns: int) -> MarketStep | None:
        """Return the step that closed at an instant."""
        ...

    def bars(self, symbol: str, until_ns: int, count: int) -> Sequence[Bar]:
        """Return the last `count` bars with `close_ns <= until_ns`, oldest first."""
        ...

    def closes(
        self, symbols: Sequence[str], until_ns: int, count: int
    ) -> Mapping[str, tuple[Int64Array, Float64Array]]:
        """Return of each symbol the instants and the closes of the bars that `bars` would return."""
        ...

    def quote(self, symbol: str, now_ns: int) -> Quote | None:
        """Return the quote learned last at or before `now_ns`: one tick around the last trade of the latest step."""
        ...

    def quotes(self, symbols: Sequence[str], now_ns: int) -> Mapping[str, Quote]:
        """Return the quotes of many symbols by one statement, each as `quote` does; who has none is left out."""
        ...

    def put_state(self, state: MarketState) -> None:
        """Record the features of a step; the same again changes nothing."""
        ...

    def states(self, symbol: str, after_ns: int, until_ns: int) -> Sequence[MarketState]:
        """Return states with `after_ns < at_ns <= until_ns`, oldest first."""
        ...

    def new_states(self, seen_ns: Mapping[str, int], until_ns: int) -> Sequence[MarketState]:
        """Return the states of each symbol after the instant that is seen of it, as `states` does."""
        ...

    def unknown_steps(self, symbol: str, until_ns: int) -> Sequence[int]:
        """Return the instants of the steps up to `until_ns` that are newer than the newest state, in order."""
        ...

    def heads(self, symbol: str) -> tuple[int, int]:
        """Return the instants of the newest step and of the newest state, 0 where there is none."""
        ...


class RegimeStore(Protocol):
    """Tables regime_fit, regime_state."""

    def put_fit(self, symbol: str, model: str, last_ns: int, fit: Fit) -> None:
        """Record a fitted model; one of the same bars that is there already stays."""
        ...

    def fit(self, symbol: str, model: str, last_ns: int) -> Fit | None:
        """Return the model fitted to the bars up to an instant, None when nobody has tried."""
        ...

    def put_reading(self, symbol: str, reading: Reading) -> None:
        """Record the state at an instant; the same again changes nothing."""
        ...

    def reading(self, symbol: str, until_ns: int) -> Reading | None:
        """Return the newest reading at or before an instant."""
        ...
