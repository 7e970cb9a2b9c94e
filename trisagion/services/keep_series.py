"""Keep the history of bars and quotes: a block is one transaction, and with bars go the longer bars that they make.

So a longer bar is at every instant what the shorter ones make, and nothing is left to be done after a crash but to tell
the rest. Where both were told, the shorter bars and a longer one, the newest word stands.
"""

from itertools import pairwise
from typing import Final

from trisagion.market.history import INTERVALS, Changes, Known, rolled_up
from trisagion.ports import Database, Transaction

_ORDER: Final = tuple(INTERVALS.values())


def keep_bars(database: Database, symbol: str, interval_ns: int, told: Known) -> tuple[Changes, int]:
    """Take in bars that opened on one UTC day; return what became of them, and how many longer bars changed by it."""
    with database.transaction() as tx:
        changes = tx.series.put_bars(symbol, interval_ns, told)
        rolled = _roll(tx, symbol, interval_ns, told) if changes.written else 0
    return changes, rolled


def keep_quotes(database: Database, symbol: str, told: Known) -> Changes:
    """Take in quotes of one UTC hour; return what became of them."""
    with database.transaction() as tx:
        return tx.series.put_quotes(symbol, told)


def roll_day(database: Database, symbol: str, day_ns: int) -> int:
    """Make a day's longer bars of its shorter ones again; return how many were not as they should be."""
    changed = 0
    with database.transaction() as tx:
        for shorter_ns, longer_ns in pairwise(_ORDER):
            made = rolled_up(tx.series.known_bars(symbol, shorter_ns, day_ns), longer_ns)
            changed += tx.series.put_bars(symbol, longer_ns, made).written if len(made) else 0
    return changed


def _roll(tx: Transaction, symbol: str, interval_ns: int, told: Known) -> int:
    """Carry a change on to the longer bars around it."""
    changed = 0
    from_ns, until_ns = int(told.at_ns[0]), int(told.at_ns[-1]) + 1
    for shorter_ns, longer_ns in pairwise(_ORDER[_ORDER.index(interval_ns) :]):
        from_ns, until_ns = from_ns // longer_ns * longer_ns, -(-until_ns // longer_ns) * longer_ns
        day_ns = from_ns // _ORDER[-1] * _ORDER[-1]
        made = rolled_up(tx.series.known_bars(symbol, shorter_ns, day_ns).within(from_ns, until_ns), longer_ns)
        changed += tx.series.put_bars(symbol, longer_ns, made).written
    return changed
