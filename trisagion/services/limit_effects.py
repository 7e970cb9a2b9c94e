"""What a proposed limit would refuse: of the orders that are live, and of what the cycles of the last day approved.

Each is judged twice, under what is in force and under that with the proposal, as it was when it was decided: with the
quote of then, beside those of its cycle that come before it and pass. What is in force refuses itself is left aside.
What had happened lately at the time is not looked at: repetitions, the ratio of messages and the dynamic collar refuse
nothing here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby
from typing import Final

from trisagion.clock import HOUR_NS
from trisagion.errors import DataError
from trisagion.gateway.decide import intent_of
from trisagion.ledger.types import Strategy
from trisagion.market.types import Instrument, Quote
from trisagion.orders.state import LIVE
from trisagion.orders.types import Intent
from trisagion.ports import Transaction
from trisagion.risk.check import Approved, judge_all
from trisagion.risk.controls import Facts, Refusal
from trisagion.risk.history import BARS, History, references
from trisagion.risk.limits import LimitBook, LimitRow, Limits
from trisagion.risk.load import Account, Load
from trisagion.risk_ports import PastIntent
from trisagion.safety.modes import Mode
from trisagion.services.stakes import Stakes
from trisagion.units import Price, Quantity, exact_times, plus

UNTRIED: Final = frozenset({"alike_orders_max", "order_trade_ratio_max", "rejects_max", "same_side_fills_max"})
"""They look at orders, messages, trades and refusals of the minutes before, which a day later are one sum."""

DAY_NS: Final = 24 * HOUR_NS
INTENTS_MAX: Final = 10_000
"""So many of the last day's intents are judged, the newest: a thousand symbols for ten cycles, in a few seconds."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Of `intents`, so many are `within` what is in force, and of these each control would refuse so many."""

    intents: int
    within: int
    refused: Mapping[Refusal, int]


@dataclass(frozen=True, slots=True)
class Effects:
    """What a proposal does to the live orders and to the last day; `cut` says that the day had more intents."""

    live: Effect
    day: Effect
    cut: bool


@dataclass(frozen=True, slots=True)
class _Case:
    intent: Intent
    instrument: Instrument | None
    quote: Quote | None
    position: Quantity
    at_ns: int
    session: str
    history: History
    price: Price | None = None

    def under(self, book: LimitBook) -> Facts:
        """Return it as it is to be judged under some limits."""
        intent, taker = self.intent, self.intent.taker
        # Only an emergency takes; the mode of then is not asked again, for no limit is about it.
        mode, strategy = (Mode.EMERGENCY, Strategy.FLATTEN) if taker else (Mode.NORMAL, Strategy.COHORT)
        limits = book.of(intent.symbol, venue=self.session, strategy=strategy.value)
        market = (self.instrument, self.quote, self.position)
        return Facts(intent, *market, mode, limits, self.at_ns, self.price, self.history)


_Batch = tuple[Sequence[_Case], Account]


def effects(tx: Transaction, ceiling: Limits, version: int, now_ns: int) -> Effects | None:
    """Return what a version would do if it were approved now, None for a limit of `UNTRIED`.

    Raises `DataError` for a version that nobody proposed.
    """
    rows = {row.version: row for row in tx.limits.rows()}
    row = rows.pop(version, None)
    if row is None:
        raise DataError(f"expected a version that was proposed, found {version}")
    if row.name in UNTRIED:
        return None
    books = LimitBook(ceiling, rows.values()), LimitBook(ceiling, [*rows.values(), _approved(row, now_ns)])
    instruments = {instrument.symbol: instrument for instrument in tx.market.instruments()}
    past = tx.cycles.approved(now_ns - DAY_NS, INTENTS_MAX + 1)
    day = _compared(_cycles(tx, instruments, past[-INTENTS_MAX:]), *books)
    return Effects(_compared([_live(tx, instruments, now_ns)], *books), day, cut=len(past) > INTENTS_MAX)


def _approved(row: LimitRow, now_ns: int) -> LimitRow:
    return replace(row, approved_by=f"not {row.proposed_by}", approved_ns=now_ns)


def _live(tx: Transaction, instruments: Mapping[str, Instrument], now_ns: int) -> _Batch:
    """Return the live orders, in order of creation, beside what is held now."""
    stakes = Stakes.read(tx, (), now_ns)
    cases = [
        _Case(
            intent_of(order),
            instruments.get(order.symbol),
            tx.market.quote(order.symbol, order.created_ns),
            tx.ledger.position(order.symbol).qty,
            order.created_ns,
            order.session or "",
            _history(tx, order.symbol, order.created_ns),
            order.price,
        )
        for order in tx.orders.in_states(LIVE)
        if order.leaves_qty
    ]
    return cases, Account(stakes.equity, stakes.gross, Decimal(0))


def _cycles(tx: Transaction, instruments: Mapping[str, Instrument], past: Sequence[PastIntent]) -> Iterable[_Batch]:
    """Return the intents of each cycle beside what was held and what the account was worth at its instant."""
    for due_ns, cycle in groupby(past, key=lambda each: each.due_ns):
        samples = tx.ledger.equities(due_ns)
        gross = Decimal(0)
        for sample in samples:
            worth = exact_times(exact_times(sample.price, sample.qty), instruments[sample.symbol].multiplier)
            gross = plus(gross, worth.copy_abs())
        cases = [
            _Case(
                each.intent,
                instruments.get(each.intent.symbol),
                tx.market.quote(each.intent.symbol, due_ns),
                each.actual,
                due_ns,
                each.session or "",
                _history(tx, each.intent.symbol, due_ns),
            )
            for each in cycle
        ]
        # A cycle begins with nothing open: it withdraws first, and waits until the venue has confirmed.
        yield cases, Account(samples[0].equity if samples else None, gross, Decimal(0))


def _history(tx: Transaction, symbol: str, at_ns: int) -> History:
    """Return where the market traded before an instant."""
    vwap, atr = references(tx.market.bars(symbol, at_ns, BARS), at_ns)
    return History(vwap=vwap, atr=atr)


def _compared(batches: Iterable[_Batch], present: LimitBook, wanted: LimitBook) -> Effect:
    intents, within, refused = 0, 0, Counter[Refusal]()
    for cases, account in batches:
        before = judge_all((case.under(present) for case in cases), Load(), account)
        after = judge_all((case.under(wanted) for case in cases), Load(), account)
        intents += len(cases)
        for one, other in zip(before, after, strict=True):
            if isinstance(one, Approved):
                within += 1
                if not isinstance(other, Approved):
                    refused[other.reason] += 1
    return Effect(intents, within, {reason: refused[reason] for reason in Refusal if refused[reason]})
