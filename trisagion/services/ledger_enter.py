"""Enter something into the ledger: its entry and the position, in one transaction, once.

Fills come from `book_fills`; the rest is entered by hand, needs a voucher, and is an event.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from trisagion.errors import DataError, StateError
from trisagion.ledger import by_hand
from trisagion.ledger.postings import with_posting
from trisagion.ledger.types import Account, Entry, Kind, Position, Voucher
from trisagion.market.types import Instrument
from trisagion.orders.state import LIVE
from trisagion.ports import Database, Transaction
from trisagion.risk.losses import moved
from trisagion.services.ledger_check import read_books
from trisagion.services.stakes import marked_equity
from trisagion.units import Money, Price, Quantity, money, plain, plus


def enter(tx: Transaction, entry: Entry, after: Position) -> bool:
    """Post an entry of our own account with the position after it, locked by who read the one before.

    False when the entry is there already: then nothing changes. The lots follow at the next sweep.
    """
    if not tx.ledger.post(entry):
        return False
    tx.ledger.save_position(after)
    return True


def transfer(
    database: Database,
    amount: Money,
    now_ns: int,
    voucher: Voucher,
    *,
    currency: str | None = None,
    book: str | None = None,
    counter: str | None = None,
) -> tuple[Entry, ...]:
    """Enter a deposit, or a withdrawal where the amount is negative.

    A take-profit is a gain: the baseline of the open epoch moves with our own capital. `StateError` while there is none
    yet, for the samples that it will be made of are of two capitals then.
    """
    with database.transaction() as tx:
        home = _home(tx)
        entries = by_hand.transfer(amount, currency or home, now_ns, voucher, book=book, counter=counter)
        for entry in entries:
            _post(tx, entry)
            if entry.book is None and entry.currency == home:
                _rebase(tx, amount if entry is entries[0] else Money(amount.copy_negate()), now_ns)
        _tell(tx, "ledger.transferred", entries[0], now_ns)
        return entries


def charge(
    database: Database,
    kind: Kind,
    amount: Money,
    now_ns: int,
    voucher: Voucher,
    *,
    currency: str | None = None,
    fx_rate: Decimal | None = None,
    symbol: str | None = None,
    book: str | None = None,
) -> tuple[Entry, ...]:
    """Enter a fee or financing that no fill told; a negative amount is paid to us."""
    with database.transaction() as tx:
        home = _home(tx)
        if symbol is not None:
            tx.market.instrument(symbol)
        entries = by_hand.charge(
            kind,
            amount,
            currency or home,
            now_ns,
            voucher,
            home=home,
            fx_rate=fx_rate,
            symbol=symbol,
            book=book,
        )
        for entry in entries:
            _post(tx, entry)
            if symbol is not None and book is None and entry.currency == home:
                position = tx.ledger.position(symbol)
                for posting in entry.postings:
                    position = with_posting(position, posting)
                tx.ledger.save_position(position)
        _tell(tx, "ledger.charged", entries[0], now_ns)
        return entries


def adjust_money(
    database: Database,
    amount: Money,
    now_ns: int,
    voucher: Voucher,
    *,
    currency: str | None = None,
    book: str | None = None,
) -> tuple[Entry, ...]:
    """Correct the cash of an account; of our own it is no gain and no loss, as a transfer is none."""
    with database.transaction() as tx:
        home = _home(tx)
        entry = by_hand.adjust_money(amount, currency or home, now_ns, voucher, book=book)
        _post(tx, entry)
        if entry.book is None and entry.currency == home:
            _rebase(tx, amount, now_ns)
        _tell(tx, "ledger.adjusted", entry, now_ns)
        return (entry,)


def adjust_position(
    database: Database,
    symbol: str,
    qty: Quantity,
    px: Price,
    now_ns: int,
    voucher: Voucher,
    *,
    book: str | None = None,
) -> tuple[Entry, ...]:
    """Correct a position of an account by a signed quantity at a price.

    What it is worth then is no gain and no loss: no money came or went for it, and whoever books that too moves both
    back.
    """

    def made(position: Position, instrument: Instrument) -> tuple[Entry, Position]:
        return by_hand.adjust_position(position, qty, px, instrument, now_ns, voucher, book=book)

    return _move(database, "ledger.adjusted", symbol, made, now_ns, book)


def adjusted(tx: Transaction, symbol: str, qty: Quantity, px: Price, now_ns: int, voucher: Voucher) -> Entry:
    """Do what `adjust_position` does to our own account, in a transaction that has looked why."""

    def made(position: Position, instrument: Instrument) -> tuple[Entry, Position]:
        return by_hand.adjust_position(position, qty, px, instrument, now_ns, voucher)

    return _moved(tx, "ledger.adjusted", symbol, made, now_ns, None)


def split(
    database: Database, symbol: str, new: int, old: int, now_ns: int, voucher: Voucher, *, book: str | None = None
) -> tuple[Entry, ...]:
    """Turn every `old` units of a symbol into `new` ones; refused while orders live, whose quantities are of before."""

    def made(position: Position, instrument: Instrument) -> tuple[Entry, Position]:
        return by_hand.split(position, new, old, instrument, now_ns, voucher, book=book)

    return _move(database, "ledger.split", symbol, made, now_ns, book)


def _move(
    database: Database,
    event: str,
    symbol: str,
    made: Callable[[Position, Instrument], tuple[Entry, Position]],
    now_ns: int,
    book: str | None,
) -> tuple[Entry, ...]:
    with database.transaction() as tx:
        return (_moved(tx, event, symbol, made, now_ns, book),)


def _moved(
    tx: Transaction,
    event: str,
    symbol: str,
    made: Callable[[Position, Instrument], tuple[Entry, Position]],
    now_ns: int,
    book: str | None,
) -> Entry:
    home, instrument = _home(tx), tx.market.instrument(symbol)
    if instrument.currency != home:
        raise DataError(f"{symbol}: expected an instrument in {home}, found one in {instrument.currency}")
    # Held before the position, as whoever marks the account does.
    tx.cohort.epoch()
    before = tx.ledger.position(symbol) if book is None else read_books(tx).position(symbol, book)
    entry, after = made(before, instrument)
    live = [order.cl_ord_id for order in tx.orders.in_states(LIVE) if order.symbol == symbol]
    if entry.kind is Kind.SPLIT and book is None and live:
        raise StateError(f"{symbol}: expected no live orders at a split, found {', '.join(live)}; cancel them first")
    if not (enter(tx, entry, after) if book is None else tx.ledger.post(entry)):
        raise _twice(entry)
    for posting in entry.postings:
        if posting.account is Account.ADJUSTMENT and book is None:
            _rebase(tx, Money(posting.amount.copy_negate()), now_ns)
    _tell(tx, event, entry, now_ns)
    return entry


def _home(tx: Transaction) -> str:
    home = tx.ledger.home()
    if home is None:
        raise StateError("the ledger has no opening yet: start a run with `trisagion run`")
    return home


def _post(tx: Transaction, entry: Entry) -> None:
    if not tx.ledger.post(entry):
        raise _twice(entry)


def _twice(entry: Entry) -> StateError:
    evidence = entry.voucher.evidence if entry.voucher is not None else ""
    return StateError(
        f"{entry.name}: the same by the same evidence ({evidence}) is booked already; "
        "if it is another fact, say by what evidence"
    )


def _rebase(tx: Transaction, amount: Money, now_ns: int) -> None:
    """Move what gains and losses of our own account are counted from by what came or went without a trade of ours."""
    # Held first: whoever marks the account holds it as well, and neither reads what the other one is about to change.
    epoch = tx.cohort.epoch()
    mark = tx.limits.mark()
    if mark is not None:
        tx.limits.put_mark(moved(mark, amount, marked_equity(tx, now_ns)))
    if epoch is None:
        return
    if epoch.baseline is None:
        raise StateError("the open epoch has no baseline yet: enter it when five minutes were marked")
    tx.cohort.put_epoch(replace(epoch, baseline=plain(plus(money(epoch.baseline), amount))))


def _tell(tx: Transaction, kind: str, entry: Entry, now_ns: int) -> None:
    assert entry.voucher is not None, entry.name
    told = {"operator": entry.voucher.operator, "reason": entry.voucher.reason, "evidence": entry.voucher.evidence}
    tx.control.add_event(kind, entry.name, {**told, "lines": _lines(entry)}, now_ns)


def _lines(entry: Entry) -> str:
    texts: Sequence[str] = [
        f"{posting.account} {posting.symbol or ''} {plain(posting.amount)} {entry.currency} {plain(posting.qty)}"
        for posting in entry.postings
    ]
    return "; ".join(" ".join(text.split()) for text in texts)
