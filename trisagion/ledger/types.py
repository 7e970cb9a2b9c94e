"""What the ledger is made of."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trisagion.units import Money, Price, Quantity


class Account(StrEnum):
    """The accounts of the double entry; every entry's amounts sum to zero."""

    CAPITAL = "capital"
    CASH = "cash"
    INVENTORY = "inventory"
    FEES = "fees"
    REALISED = "realised"


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of an entry: money into (+) or out of (−) an account; `qty` moves with INVENTORY lines only.

    `entry` names the cause: "venue/exec_id" of a fill, "venue/exec_id/undo" of one that was taken back, or "opening".
    """

    entry: str
    line: int
    account: Account
    symbol: str | None
    amount: Money
    qty: Quantity
    happened_ns: int


@dataclass(frozen=True, slots=True)
class Position:
    """A signed quantity, what it cost, and the P&L so far.

    `cost` is money with the sign of the quantity: cost / (qty·multiplier) is the average price.

    `confirmed_ns` is the last instant at which the venue session was known to be in sequence with nothing in doubt.
    """

    symbol: str
    qty: Quantity
    cost: Money
    realised: Money
    fees: Money
    confirmed_ns: int

    @staticmethod
    def flat(symbol: str) -> "Position":
        """Return the position before the first fill."""
        zero = Decimal(0)
        return Position(symbol, Quantity(zero), Money(zero), Money(zero), Money(zero), 0)


@dataclass(frozen=True, slots=True)
class EquitySample:
    """The account marked at one instant: `equity = cash + Σ qty·price·multiplier`.

    `price` and `qty` are of `symbol`; each instrument that has a price by then has a sample of the instant, all with
    the same equity and cash.
    """

    at_ns: int
    equity: Money
    cash: Money
    symbol: str
    qty: Quantity
    price: Price
