"""Withdraw what works in an instrument whose exchange is closing, where nobody is rung for it at that instant.

The session's guard does so by itself, at the machine's pace, and each cycle does. A replay, whose data may be far
faster than its guard, asks for it before they go on.
"""

from trisagion.market.calendar import closing_of
from trisagion.orders.state import LIVE
from trisagion.ports import Database
from trisagion.services.reconcile import withdraw


def close_symbols(database: Database, now_ns: int) -> tuple[str, ...]:
    """Ask for the cancel of each order in what is closing at an instant; return the symbols that may still work."""
    with database.snapshot() as tx:
        shut = {each.symbol: why for each in tx.market.instruments() if (why := closing_of(each, now_ns))}
        live = {order.symbol for order in tx.orders.in_states(LIVE)} if shut else set()
    if not shut.keys() & live:
        return ()
    with database.transaction() as tx:
        asked = [withdraw(tx, None, f"rest: {why}", now_ns, {symbol}) for symbol, why in shut.items() if symbol in live]
    return tuple(sorted(frozenset[str]().union(*asked)))
