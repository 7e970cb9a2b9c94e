"""What the account is worth, has at stake and may do, read for a verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from trisagion.clock import MINUTE_NS
from trisagion.errors import StateError
from trisagion.ledger.postings import OUTSIDE, cash, equity
from trisagion.ledger.types import Position, Strategy
from trisagion.market.types import Quote
from trisagion.ports import Transaction
from trisagion.risk.limits import LimitBook, Limits
from trisagion.risk.load import Account, Load
from trisagion.units import EXACT, Money, Price

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Stakes:
    """Equity, the worth of all positions, and the money that a unit of each symbol is worth; None: it has no price.

    `quotes` are those of the symbols that have a price.
    """

    equity: Money | None
    gross: Decimal
    worth: Mapping[str, Decimal | None]
    quotes: Mapping[str, Quote] = field(default_factory=dict)

    @staticmethod
    def read(tx: Transaction, symbols: Iterable[str], now_ns: int) -> "Stakes":
        """Read what is held, and the prices of that and of some symbols more.

        Equity is that of the newest mark, of at most a minute ago; where there is none it is computed.
        """
        held = {position.symbol: position.qty for position in tx.ledger.positions() if position.qty}
        worth: dict[str, Decimal | None] = {}
        named = sorted({*held, *symbols})
        quotes = tx.market.quotes(named, now_ns)
        for symbol in named:
            quote = quotes.get(symbol)
            unit = None if quote is None else max(quote.bid, quote.ask)
            worth[symbol] = None if unit is None else EXACT.multiply(unit, tx.market.instrument(symbol).multiplier)
        sample = tx.ledger.last_equity()
        if sample is None or now_ns - sample.at_ns > MINUTE_NS:
            worth_all = marked_equity(tx, now_ns)
        else:
            worth_all = sample.equity
        gross = Decimal(0)
        for symbol, qty in held.items():
            price = worth[symbol]
            if price is None:
                return Stakes(None, gross, worth, quotes)
            gross = EXACT.add(gross, abs(EXACT.multiply(price, qty)))
        return Stakes(worth_all, gross, worth, quotes)

    def beside(self, load: Load) -> Account:
        """Return the account beside some live orders; one whose symbol has no price leaves it without an equity.

        What was not read is of a symbol that is no instrument: no such order can have left.
        """
        total, known = Decimal(0), self.equity
        for (symbol, _), qty in load.leaves.items():
            price = self.worth.get(symbol, _ZERO)
            if price is None:
                known = None if qty else known
            else:
                total = EXACT.add(total, EXACT.multiply(price, qty))
        return Account(known, self.gross, total)


class LimitsNow:
    """The limits that are in force while a transaction lasts, under a ceiling that the configuration sets."""

    def __init__(self, tx: Transaction, ceiling: Limits) -> None:
        try:
            self._book = LimitBook(ceiling, tx.limits.rows())
        except StateError as error:
            self._book = LimitBook(ceiling, (), str(error))

    def of(self, symbol: str, venue: str, *, taker: bool) -> Limits:
        """Return those of an order at a venue; only Emergency takes, to flatten, which no run decided."""
        strategy = Strategy.FLATTEN if taker else Strategy.COHORT
        return self._book.of(symbol, venue=venue, strategy=strategy.value)


def marked_equity(tx: Transaction, now_ns: int) -> Money | None:
    """Return cash plus all positions at their last trades; None while a held symbol has no price.

    The positions are read once: a fill that is booked between two looks would be in one of them alone.
    """
    positions = tx.ledger.positions()
    prices: dict[str, Price] = {}
    multipliers: dict[str, Decimal] = {}
    quotes = tx.market.quotes([position.symbol for position in positions if position.qty], now_ns)
    for position in positions:
        if not position.qty:
            continue
        quote = quotes.get(position.symbol)
        if quote is None:
            return None
        prices[position.symbol] = quote.last
        multipliers[position.symbol] = tx.market.instrument(position.symbol).multiplier
    return equity(_cash(tx, positions), positions, prices, multipliers)


def booked_cash(tx: Transaction) -> Money:
    """Return the account's money by its books: cash, and what foreign money was worth when it was booked."""
    return _cash(tx, tx.ledger.positions())


def _cash(tx: Transaction, positions: Sequence[Position]) -> Money:
    return cash(Money(tx.ledger.balance(*OUTSIDE)), positions)
