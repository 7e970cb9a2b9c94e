"""What an account has at stake already: its live orders, and its worth."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, cast

from trisagion.orders.state import AT_VENUE, LIVE
from trisagion.orders.types import Intent, Order, Side
from trisagion.units import Money, Price, Quantity, minus, plus

NOT_SENT: Final = LIVE - AT_VENUE

sum_of: Final = cast("Callable[[Quantity, Quantity], Quantity]", plus)
"""The sum of two quantities is one."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the account is worth and what stands open, in its own money.

    `equity` is None where it is not known, as while something that is held has no price. `gross` is the sum of
    ``|position|`` at its mark over all symbols, `open` that of all that live orders may still fill, each in full.
    """

    equity: Money | None
    gross: Decimal
    open: Decimal


@dataclass(slots=True)
class Load:
    """What the account's live orders beside an intent amount to; it is of whoever made it, and grows by `add` alone.

    `orders` is their number, `leaves` the most that those of each symbol and side may still fill, `best` the price of
    the one of them that would trade first: the highest bid, the lowest offer, of both prices while a replace is asked.
    """

    orders: int = 0
    leaves: dict[tuple[str, Side], Quantity] = field(default_factory=dict)
    best: dict[tuple[str, Side], Price] = field(default_factory=dict)

    @staticmethod
    def of(live_orders: Iterable[Order], intent: Intent) -> "Load":
        """Add up; what is not live does not count, nor does an order of the same intent that was not sent yet."""
        leaves: dict[tuple[str, Side], Quantity] = {}
        best: dict[tuple[str, Side], Price] = {}
        key, side, count = intent.key, intent.side, 0
        for order in live_orders:
            state = order.state
            # Most are at the venue, and one look tells; most have neither a fill nor a wish, and a call costs more.
            if state in AT_VENUE or (state in NOT_SENT and order.intent != key):
                count += 1
                order_side = order.side
                which = (order.symbol, order_side)
                left = order.leaves_qty if order.cum_qty or order.wanted_qty else order.qty
                others = leaves.get(which)
                leaves[which] = left if others is None else sum_of(others, left)
                # Only those of the other side can trade with the intent.
                if order_side is not side:
                    for price in (order.price, order.wanted_price):
                        if price is not None:
                            best[which] = better(order_side, price, best.get(which))
        return Load(count, leaves, best)

    def add(self, symbol: str, side: Side, left: Quantity, price: Price) -> None:
        """Count one more order: what it may still fill, and its price."""
        self.orders += 1
        which, leaves = (symbol, side), self.leaves
        leaves[which] = sum_of(leaves[which], left) if which in leaves else left
        self.best[which] = better(side, price, self.best.get(which))

    def copy(self) -> "Load":
        """Return another one that is as this is."""
        return Load(self.orders, self.leaves.copy(), self.best.copy())

    def less(self, part: "Load") -> "Load":
        """Return what is left without a part of it; that has no price yet, or is of the side that is judged."""
        leaves = self.leaves.copy()
        for which, qty in part.leaves.items():
            leaves[which] = Quantity(minus(leaves[which], qty))
        return Load(self.orders - part.orders, leaves, self.best.copy())


def better(side: Side, price: Price, best: Price | None) -> Price:
    """Return which of two prices of one side would trade first."""
    if best is None:
        return price
    return max(price, best) if side is Side.BUY else min(price, best)
