"""Turn a stored step into the features that all runs on its symbol share."""

from collections.abc import Callable
from typing import Final, TypeAlias

from trisagion.clock import MINUTE_NS
from trisagion.market.types import MarketState
from trisagion.ports import Database
from trisagion.regime.state import BARS_NEEDED, ENTROPY_WINDOW_MAX_MIN, market_state
from trisagion.services.outcome import Outcome

HISTORY_NS: Final = ENTROPY_WINDOW_MAX_MIN * MINUTE_NS


Judge: TypeAlias = Callable[[MarketState], MarketState]
"""Gives the features of a step another gate than the entropies."""


def detect(database: Database, symbol: str, now_ns: int, judge: Judge | None = None) -> tuple[Outcome, ...]:
    """Compute and store the market state of the step that closed at `now_ns`.

    "ready" announces it to every shard: when the features of every symbol with a step by then are there, for shards
    hold runs on any symbols. Of two symbols whose features come at the same time one at least sees the other's.
    """
    if not _learn(database, symbol, now_ns, judge):
        return (Outcome("nothing"),)
    with database.snapshot() as tx:
        heads = [tx.market.heads(instrument.symbol) for instrument in tx.market.instruments()]
        if any(state_ns < now_ns <= step_ns for step_ns, state_ns in heads):
            return (Outcome("nothing"),)
        return Outcome("ready", tuple(str(number) for number in tx.cohort.shard_numbers())), Outcome("priced", ("",))


def _learn(database: Database, symbol: str, now_ns: int, judge: Judge | None) -> bool:
    """Compute and store what is not there yet, of minutes whose message was late too; False when there is no step."""
    with database.snapshot() as tx:
        if tx.market.heads(symbol)[1] >= now_ns:
            return True
        due = tx.market.unknown_steps(symbol, now_ns)
    for at_ns in due:
        _learn_minute(database, symbol, at_ns, judge)
    return now_ns in due


def _learn_minute(database: Database, symbol: str, at_ns: int, judge: Judge | None) -> None:
    with database.snapshot() as tx:
        step = tx.market.step(symbol, at_ns)
        bars = tx.market.bars(symbol, at_ns, BARS_NEEDED)
        past = tx.market.states(symbol, at_ns - HISTORY_NS - MINUTE_NS, at_ns - 1)
    assert step is not None, f"{symbol} at {at_ns}: a step is never taken away"
    state = market_state(step, bars, past)
    if judge is not None:
        state = judge(state)
    with database.transaction() as tx:
        tx.market.put_state(state)
