"""What the ledger is made of."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from trisagion.errors import DataError, quoted
from trisagion.units import Money, Price, Quantity

VOUCHER_CHARS_MAX: Final = 128
"""Of each of a voucher's three texts: a reference to the evidence, not the evidence itself."""


class Account(StrEnum):
    """The accounts of the double entry; every entry's amounts sum to zero."""

    CAPITAL = "capital"
    CASH = "cash"
    INVENTORY = "inventory"
    FEES = "fees"
    REBATES = "rebates"
    REALISED = "realised"
    FINANCING = "financing"
    ADJUSTMENT = "adjustment"
    EXCHANGE = "exchange"


class Kind(StrEnum):
    """What an entry is of."""

    OPENING = "opening"
    TRADE = "trade"
    UNDO = "undo"
    FEE = "fee"
    FINANCING = "financing"
    TRANSFER = "transfer"
    ADJUSTMENT = "adjustment"
    SPLIT = "split"


class Strategy(StrEnum):
    """On whose decision an entry was made: the cohort's, that to flatten in Emergency, or a person's."""

    COHORT = "cohort"
    FLATTEN = "flatten"
    HOUSE = "house"


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of an entry: money into (+) or out of (−) an account; `qty` moves with INVENTORY lines only.

    `entry` names the cause: "venue/exec_id" of a fill, "venue/exec_id/undo" of one that was taken back, "opening", or
    "kind/digest" of what a person entered.
    """

    entry: str
    line: int
    account: Account
    symbol: str | None
    amount: Money
    qty: Quantity
    happened_ns: int


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who entered something by hand, why, and by what evidence (a statement, a message, a case).

    `DataError` unless all three say something.
    """

    operator: str
    reason: str
    evidence: str

    def __post_init__(self) -> None:
        for name in ("operator", "reason", "evidence"):
            text: str = getattr(self, name)
            if not text.strip() or len(text) > VOUCHER_CHARS_MAX:
                raise DataError(
                    f"an entry by hand: expected an operator, a reason and evidence of 1 to {VOUCHER_CHARS_MAX} "
                    f"characters each, found {quoted(text)} as {name}"
                )


@dataclass(frozen=True, slots=True)
class Entry:
    """Lines that belong together and sum to zero, all in one currency: what touches two currencies is two entries.

    `book` is the account at the broker in whose books it stands, None for the platform's own. `fx_rate` is what one
    unit of the foreign currency was worth in the account's own when it was booked, None where nobody said.
    """

    name: str
    kind: Kind
    strategy: Strategy
    currency: str
    happened_ns: int
    postings: tuple[Posting, ...]
    book: str | None = None
    fx_rate: Decimal | None = None
    voucher: Voucher | None = None


@dataclass(frozen=True, slots=True)
class Booked:
    """An entry as the database has it: `seq` is its place in the order of booking, `lines` how many it was made of."""

    seq: int
    lines: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Position:
    """A signed quantity, what it cost, and the P&L so far.

    `cost` is money with the sign of the quantity: cost / (qty·multiplier) is the average price. `fees` are those in the
    instrument's currency, less rebates.

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
class Lot:
    """What one entry opened of a symbol, and what is left of it; the oldest lot is closed first.

    `qty` and `cost` are signed like a position's; `opened_qty` and `opened_cost` are those of the beginning, before any
    split. `realised` is the profit of what was closed so far, before fees.
    """

    entry: str
    symbol: str
    opened_qty: Quantity
    opened_cost: Money
    qty: Quantity
    cost: Money
    realised: Money
    opened_ns: int
    closed_ns: int | None


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


@dataclass(frozen=True, slots=True)
class SweepMark:
    """How far the sweep has verified the entries and made lots of them: all up to `upto_seq`.

    `seen_seq` was the newest one at `seen_ns` by the machine's clock: what was booked then is committed by the next
    sweep, in whatever order transactions end.
    """

    upto_seq: int = 0
    seen_seq: int = 0
    seen_ns: int = 0
