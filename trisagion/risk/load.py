"""What an account has at stake already: its live orders, and its worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from trisagion.orders.state import AT_VENUE, LIVE
from trisagion.orders.types import Intent, Order, Side, leaves_of
from trisagion.units import WIDE, Money, Price, Quantity

NOT_SENT: Final = LIVE - AT_VENUE
_ZERO: Final = Quantity(Decimal(0))


@dataclass(frozen=True, slots=True)
class Account:
    """What the account is worth and what stands open, in its own money.

    `equity` is None where it is not known, as while something that is held has no price. `gross` is the sum of
    ``|position|`` at its mark over all symbols, `open` that of all that live orders may still fill, each in full.
    """

    equity: Money | None
    gross: Decimal
    open: Decimal


@dataclass(frozen=True, slots=True)
class Load:
    """What the account's live orders beside an intent amount to.

    `orders` is their number, `leaves` the most that those of each symbol and side may still fill, `best` the price of
    the one of them that would trade first: the highest bid, the lowest offer, of both prices while a replace is asked.
    """

    orders: int
    leaves: Mapping[tuple[str, Side], Quantity]
    best: Mapping[tuple[str, Side], Price] = field(default_factory=dict)

    @staticmethod
    def of(live_orders: Sequence[Order], intent: Intent) -> "Load":
        """Add up; what is not live does not count, nor does an order of the same intent that was not sent yet."""
        leaves: dict[tuple[str, Side], Quantity] = {}
        best: dict[tuple[str, Side], Price] = {}
        key, side, count = intent.key, intent.side, 0
        for order in live_orders:
            state = order.state
            if state in LIVE and not (order.intent == key and state in NOT_SENT):
                count += 1
                which = (order.symbol, order.side)
                left = leaves_of(order.qty, order.cum_qty, order.wanted_qty)
                before = leaves.get(which)
                leaves[which] = left if before is None else Quantity(WIDE.add(before, left))
                # Only those of the other side can trade with the intent.
                if order.side is not side:
                    for price in (order.price, order.wanted_price):
                        if price is not None:
                            best[which] = better(order.side, price, best.get(which))
        return Load(count, leaves, best)

    def less(self, part: "Load") -> "Load":
        """Return what is left without a part of it; that has no price yet, or is of the side that is judged."""
        leaves = dict(self.leaves)
        for which, qty in part.leaves.items():
            leaves[which] = Quantity(WIDE.subtract(leaves[which], qty))
        return Load(self.orders - part.orders, leaves, self.best)

    def left(self, symbol: str, side: Side) -> Quantity:
        """Return the most that the live orders of a symbol and side may still fill."""
        return self.leaves.get((symbol, side), _ZERO)


def better(side: Side, price: Price, best: Price | None) -> Price:
    """Return which of two prices of one side would trade first."""
    if best is None:
        return price
    return max(price, best) if side is Side.BUY else min(price, best)
