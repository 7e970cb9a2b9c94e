"""Look for what is far from ordinary, and pause what it is about until people have looked.

At each mark of the account, by the data's clock, so that no pace changes what is found; where there is no replay, also
by the owner of the session, once a second. What a fill or a refusal shows is looked at in the transaction that books
it.
"""

from dataclasses import dataclass
from typing import Final

from trisagion.clock import MINUTE_NS, SECOND_NS
from trisagion.orders.types import ExecutionReport, Order
from trisagion.ports import Database, Transaction
from trisagion.risk.limits import Limits
from trisagion.risk.panic import Condition, PanicRules, cascades, clustered, follow, silent, slipped, widened
from trisagion.safety.modes import Level, Mode
from trisagion.services.control import shut_gate, stop
from trisagion.units import Money

REPEATED: Final = "panic.repeated"
"""The kind of the event of a strategy that was filled too often."""

KINDS: Final = {
    Condition.SLIPPAGE: "panic.slippage",
    Condition.QUOTE_AGE: "panic.quote_age",
    Condition.SPREAD: "panic.spread",
    Condition.ERRORS: "panic.errors",
    Condition.LOSSES: "panic.losses",
}
"""And those of the conditions."""

REPEATED_NS: Final = MINUTE_NS
REFUSED_NS: Final = MINUTE_NS
"""Over which fills of one side, and refusals in a row, are counted; ours."""


@dataclass(frozen=True, slots=True)
class Panic:
    """What is looked for, and whose account and session it is."""

    rules: PanicRules
    account: str
    session: str

    def looks_for(self, condition: Condition) -> bool:
        """Tell whether a condition is looked for."""
        return condition in self.rules.conditions


def at_mark(tx: Transaction, panic: Panic, equity: Money, now_ns: int) -> None:
    """Look at what the account's marks and its market show."""
    if panic.looks_for(Condition.LOSSES):
        _losses(tx, panic, equity, now_ns)
    _market(tx, panic, now_ns)


def between_marks(database: Database, panic: Panic, now_ns: int) -> None:
    """Look at the market where there is no replay; where nothing is found this only reads."""
    with database.snapshot() as tx:
        if tx.control.replay() is not None or not _found(tx, panic, now_ns):
            return
    with database.transaction() as tx:
        _market(tx, panic, now_ns)


def at_fill(tx: Transaction, panic: Panic | None, limits: Limits, order: Order, report: ExecutionReport) -> None:
    """Look at a maker's fill: at its price, and at how many orders of its side were filled in a minute.

    An emergency's fills are not looked at: they are wanted at any price, and as often as it takes.
    """
    if order.taker or report.last_px is None:
        return
    now_ns, symbol = report.happened_ns, order.symbol
    if panic is not None and panic.looks_for(Condition.SLIPPAGE):
        first_ns = order.created_ns if order.attempt == 0 else tx.orders.attempts(order.intent)[0].created_ns
        decided = tx.market.quote(symbol, first_ns)
        if decided is not None:
            slip = slipped(order.side, report.last_px, decided, tx.market.instrument(symbol), panic.rules)
            _engage(tx, KINDS[Condition.SLIPPAGE], slip, Level.SYMBOL, symbol, now_ns)
    most = max(limits.same_side_fills_max, 1)

    def filled(since_ns: int) -> bool:
        return tx.lately.traded(symbol, order.side, since_ns, most) >= most

    if filled(now_ns - REPEATED_NS) and filled(
        max(now_ns - REPEATED_NS, tx.lately.released_ns(Level.SYMBOL, symbol) + 1)
    ):
        text = f"REPEATED: side={order.side} orders={most} in_s={REPEATED_NS // SECOND_NS}"
        _engage(tx, REPEATED, text, Level.SYMBOL, symbol, now_ns)


def at_refusal(tx: Transaction, limits: Limits, session: str, now_ns: int) -> None:
    """Shut a venue's gate where it has refused so many new orders in a row within a minute.

    What it refused before the gate was opened last has been looked at.
    """
    most = max(limits.rejects_max, 1)
    since_ns = max(now_ns - REFUSED_NS, tx.control.gate(session).set_ns + 1)
    refused = [at_ns for at_ns in tx.lately.answers(session, most) if at_ns is not None and at_ns >= since_ns]
    if len(refused) == most:
        shut_gate(tx, session, f"REJECTS: in_a_row={most} in_s={REFUSED_NS // SECOND_NS}", now_ns)


@dataclass(frozen=True, slots=True)
class _Finding:
    condition: Condition
    text: str
    level: Level
    name: str


def _market(tx: Transaction, panic: Panic, now_ns: int) -> None:
    for found in _found(tx, panic, now_ns):
        _engage(tx, KINDS[found.condition], found.text, found.level, found.name, now_ns)


def _found(tx: Transaction, panic: Panic, now_ns: int) -> list[_Finding]:
    """Return what is out of order while something works at the venue; where nothing does, nothing can come to harm."""
    symbols = tx.lately.at_venue()
    if not symbols:
        return []
    found = []
    errors = _errors(tx, panic, now_ns)
    if errors is not None:
        found.append(_Finding(Condition.ERRORS, errors, Level.VENUE, panic.session))
    for symbol in symbols:
        for condition, text in (
            (Condition.QUOTE_AGE, _silence(tx, panic, symbol, now_ns)),
            (Condition.SPREAD, _spread(tx, panic, symbol, now_ns)),
        ):
            if text is not None:
                found.append(_Finding(condition, text, Level.SYMBOL, symbol))
    return found


def _errors(tx: Transaction, panic: Panic, now_ns: int) -> str | None:
    """Count since the venue was released: whoever did that has seen what was before."""
    if not panic.looks_for(Condition.ERRORS):
        return None
    begin_ns = now_ns - panic.rules.errors_ns
    if cascades(tx.lately.errors(begin_ns), panic.rules) is None:
        return None
    released_ns = tx.lately.released_ns(Level.VENUE, panic.session)
    return cascades(tx.lately.errors(max(begin_ns, released_ns + 1)), panic.rules)


def _silence(tx: Transaction, panic: Panic, symbol: str, now_ns: int) -> str | None:
    """Say how old a quote is; not in a replay, whose clock stands at its newest minute, whoever traded in it."""
    if not panic.looks_for(Condition.QUOTE_AGE):
        return None
    text = silent(tx.market.quote(symbol, now_ns), now_ns, panic.rules)
    return None if text is None or tx.control.replay() is not None else text


def _spread(tx: Transaction, panic: Panic, symbol: str, now_ns: int) -> str | None:
    """Look at the quotes that were observed; the platform's own, made from trades, are as wide at all times."""
    if not panic.looks_for(Condition.SPREAD):
        return None
    quotes = tx.series.quotes(symbol, now_ns - panic.rules.spread_ns, now_ns + 1)
    return widened((quotes.ask - quotes.bid).tolist(), panic.rules)


def _losses(tx: Transaction, panic: Panic, equity: Money, now_ns: int) -> None:
    before = tx.lately.losses()
    if before is not None and before.at_ns >= now_ns:
        return
    record = follow(before, equity, now_ns, panic.rules)
    text = clustered(record, panic.rules)
    _engage(tx, KINDS[Condition.LOSSES], text, Level.ACCOUNT, panic.account, now_ns)
    # Told once: whoever releases the account is not to meet the same losses again.
    tx.lately.put_losses(record if text is None else record.anew())


def _engage(tx: Transaction, kind: str, text: str | None, level: Level, name: str, now_ns: int) -> None:
    if text is not None and stop(tx, Mode.PAUSE, text, now_ns, level, name):
        tx.control.add_event(kind, name, {"text": text}, now_ns)
