"""Turn a stored step into the features that all runs on its symbol share."""

from typing import Final

from trisagion.clock import MINUTE_NS
from trisagion.ports import Database
from trisagion.regime.state import BARS_NEEDED, ENTROPY_WINDOW_MAX_MIN, market_state
from trisagion.services.outcome import Outcome

HISTORY_NS: Final = ENTROPY_WINDOW_MAX_MIN * MINUTE_NS


def detect(database: Database, symbol: str, now_ns: int) -> tuple[Outcome, ...]:
    """Compute and store the market state of the step that closed at `now_ns`; announce every shard on the symbol."""
    with database.snapshot() as tx:
        shards = tuple(str(row) for row in tx.cohort.shard_numbers(symbol))
        if tx.market.last_state_ns(symbol) == now_ns:
            return _announce(shards)
        step = tx.market.step(symbol, now_ns)
        if step is None:
            return (Outcome("nothing"),)
        bars = tx.market.bars(symbol, now_ns, BARS_NEEDED)
        past = tx.market.states(symbol, now_ns - HISTORY_NS - MINUTE_NS, now_ns - 1)
    state = market_state(step, bars, past)
    with database.transaction() as tx:
        tx.market.put_state(state)
    return _announce(shards)


def _announce(shards: tuple[str, ...]) -> tuple[Outcome, ...]:
    return Outcome("ready", shards), Outcome("priced", ("",))
