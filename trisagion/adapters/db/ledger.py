"""Tables ledger_entry, posting, ledger_position, ledger_lot, ledger_mark, observation, equity, take_profit."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, Write, insert_new, insert_once, params, upsert
from trisagion.errors import OurMistake, UnreadableRow
from trisagion.ledger.postings import OPENING
from trisagion.ledger.types import (
    Account,
    Booked,
    Entry,
    EquitySample,
    Kind,
    Lot,
    Position,
    Posting,
    Strategy,
    SweepMark,
    Voucher,
)
from trisagion.observer_ports import Observation
from trisagion.ports import TakeProfitStep
from trisagion.units import SCALE, plain

_symbol: Final[sa.BindParameter[Any]] = sa.bindparam("symbol")

_e, _p, _l = t.ledger_entry.c, t.posting.c, t.ledger_lot.c
_count: Final[sa.BindParameter[int]] = sa.bindparam("count", type_=sa.Integer())
_after: Final[sa.BindParameter[Any]] = sa.bindparam("after_seq")
_upto: Final[sa.BindParameter[Any]] = sa.bindparam("upto_seq")

_POST: Final = insert_new(t.posting)


def _head_of(zero: sa.ColumnElement[bool]) -> sa.Insert:
    columns = [column for column in t.ledger_entry.c if column.name != "seq"]
    values = [sa.bindparam(column.name, type_=column.type) for column in columns]
    whole = sa.func.count() == sa.bindparam("line_count", type_=_e.line_count.type)
    lines = sa.select(*values).where(_p.entry == sa.bindparam("entry")).group_by(_p.entry).having(whole, zero)
    return sa.insert(t.ledger_entry).from_select(columns, lines.select_from(t.posting))


_HEAD: Final = Write(
    _head_of(sa.func.exact_sum(_p.amount, type_=sa.Text()) == sa.literal_column("'0'")),
    _head_of(sa.func.sum(_p.amount) == sa.literal_column("0")),
)
"""The head of an entry, made of its lines by the database: of those that are there and sum to zero, or of none."""
_ENTRY: Final = sa.select(_e.seq).where(_e.entry == sa.bindparam("entry"))
_HEADS: Final = sa.select(t.ledger_entry).where(_e.seq > _after, _e.seq <= _upto).order_by(_e.seq).limit(_count)
_LINES: Final = (
    sa.select(_e.seq, t.posting)
    .join_from(t.ledger_entry, t.posting, _p.entry == _e.entry)
    .where(_e.seq > _after, _e.seq <= _upto)
    .order_by(_e.seq, _p.line)
)
_LAST_SEQ: Final = sa.select(sa.func.max(_e.seq))
_STRAYS: Final = (
    sa.select(_p.entry)
    .distinct()
    .join_from(t.posting, t.ledger_entry, _p.entry == _e.entry, isouter=True)
    .where(_e.seq.is_(None))
    .order_by(_p.entry)
    .limit(_count)
)
_SPLIT_AFTER: Final = (
    sa.select(_e.seq)
    .join_from(t.ledger_entry, t.posting, _p.entry == _e.entry)
    .where(
        _e.kind == Kind.SPLIT,
        _p.symbol == _symbol,
        _e.book.is_(None),
        _e.seq > _ENTRY.correlate(None).scalar_subquery(),
    )
    .limit(1)
)
_HOME: Final = sa.select(_e.currency).where(_e.entry == OPENING)
_LOTS: Final = sa.select(t.ledger_lot).order_by(_l.seq)
_OPEN_LOTS: Final = _LOTS.where(_l.closed_ns.is_(None))
_SAVE_LOTS: Final = upsert(t.ledger_lot)
_CLEAR_LOTS: Final = sa.delete(t.ledger_lot)
_MARK: Final = sa.select(t.ledger_mark.c.upto_seq, t.ledger_mark.c.seen_seq, t.ledger_mark.c.seen_ns)
_PUT_MARK: Final = upsert(t.ledger_mark)
_MARK_ID: Final = 1
_POSITION: Final = sa.select(t.ledger_position).where(t.ledger_position.c.symbol == _symbol)
_LOCK_INSTRUMENT: Final = sa.select(t.instrument.c.symbol).where(t.instrument.c.symbol == _symbol).with_for_update()
_POSITION_LOCKED: Final = _POSITION.with_for_update()
_POSITIONS: Final = sa.select(t.ledger_position).order_by(t.ledger_position.c.symbol)
_SAVE_POSITION: Final = upsert(t.ledger_position)
_SUM: Final = sa.Numeric(65, SCALE)
"""Of what the server adds up in decimals: a sum may be longer than any of its summands."""
_own: Final = (
    sa.and_(
        _p.account.in_(sa.bindparam("accounts", expanding=True)),
        _e.book.is_(None),
        _e.currency == _HOME.correlate(None).scalar_subquery(),
    ),
    sa.join(t.posting, t.ledger_entry, _p.entry == _e.entry),
)
_AMOUNTS: Final = sa.select(_p.amount).select_from(_own[1]).where(_own[0])
_BALANCE: Final = sa.select(sa.func.sum(_p.amount, type_=_SUM)).select_from(_own[1]).where(_own[0])
_OBSERVE: Final = upsert(t.observation, newest_by="at_ns")
_OBSERVATIONS: Final = (
    sa.select(t.observation).where(t.observation.c.symbol == _symbol).order_by(t.observation.c.observer)
)
_OBSERVED_BY: Final = sa.select(t.observation.c.symbol).where(t.observation.c.observer == sa.bindparam("observer"))
_MOVED: Final = (
    sa.select(_e.happened_ns)
    .join_from(t.ledger_entry, t.posting, _p.entry == _e.entry)
    .where(_p.symbol == _symbol, _p.account == Account.INVENTORY, _p.qty != Decimal(0), _e.book.is_(None))
    .order_by(_e.seq.desc())
    .limit(1)
)
_HEARD: Final = sa.select(t.observation.c.observer, t.observation.c.symbol).where(
    t.observation.c.at_ns >= sa.bindparam("since_ns")
)
_FOREIGN: Final = (
    sa.select(t.observation)
    .where(t.observation.c.symbol.not_in(sa.select(t.instrument.c.symbol)))
    .order_by(t.observation.c.symbol, t.observation.c.observer)
)
_ADD_EQUITY: Final = insert_once(t.equity)
_other: Final = t.equity.alias("other")
_INSTANTS: Final = sa.select(t.equity).where(
    # One sample stands for its instant: that of the first symbol.
    t.equity.c.symbol
    == sa.select(sa.func.min(_other.c.symbol)).where(_other.c.at_ns == t.equity.c.at_ns).scalar_subquery()
)
_FIRST_EQUITIES: Final = (
    _INSTANTS.where(t.equity.c.at_ns > sa.bindparam("after_ns"))
    .order_by(t.equity.c.at_ns)
    .limit(sa.bindparam("count", type_=sa.Integer()))
)
_EQUITIES: Final = sa.select(t.equity).where(t.equity.c.at_ns == sa.bindparam("at_ns")).order_by(t.equity.c.symbol)
_LAST_EQUITY: Final = sa.select(t.equity).order_by(t.equity.c.at_ns.desc(), t.equity.c.symbol).limit(1)
_ADD_STEP: Final = insert_once(t.take_profit)
_STEPS: Final = (
    sa.select(t.take_profit.c.epoch, t.take_profit.c.step, t.take_profit.c.at_ns)
    .where(t.take_profit.c.epoch == sa.bindparam("epoch"))
    .order_by(t.take_profit.c.seq)
)


class ExactSum:
    """SQLite's aggregate `exact_sum`: its own would add decimals that are kept as text in floating point."""

    def __init__(self) -> None:
        self._total = Decimal(0)

    def step(self, text: str) -> None:
        """Add a number."""
        self._total = _EXACT.add(self._total, Decimal(text))

    def finalize(self) -> str:
        """Return the sum in its plain form."""
        return plain(self._total)


_EXACT: Final = Context(prec=60, traps=[InvalidOperation, Inexact])
"""Python's own context would round sums to 28 digits; a column has 38, and 60 hold the sum of 10²² of its values."""


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Return the sum without any rounding."""
    with localcontext(_EXACT):
        return sum(values, Decimal(0))


class Ledger:
    """`ports.LedgerStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def post(self, entry: Entry) -> bool:
        """Append an entry; its amounts sum to zero. False when there is one of that name: then nothing changes."""
        postings = entry.postings
        if {posting.entry for posting in postings} != {entry.name}:
            raise OurMistake(f"expected postings of {entry.name}, found {sorted({p.entry for p in postings})}")
        # The lines come first: what makes them an entry is the head, and the database gives none to lines that it
        # does not find whole and sum to zero.
        added = self._session.add(_POST, [params(posting) for posting in postings])
        if added == 0 and self.booked(entry.name):
            return False
        if added != len(postings) or self._session.add(_HEAD, _head(entry)) != 1:
            raise OurMistake(
                f"entry {entry.name}: expected {len(postings)} new lines that sum to 0 in the database and no head, "
                f"found it otherwise; these sum to {exact_sum(posting.amount for posting in postings)}"
            )
        return True

    def booked(self, entry: str) -> bool:
        """Tell whether there is an entry of that name."""
        return self._session.scalar(_ENTRY, {"entry": entry}) is not None

    def entries(self, after_seq: int, count: int, upto_seq: int | None = None) -> Sequence[Booked]:
        """Return the next `count` entries after a number, up to another one if given, in order of booking."""
        span = {"after_seq": after_seq, "upto_seq": self.last_seq() if upto_seq is None else upto_seq}
        heads = self._session.rows(_HEADS, {**span, "count": count})
        lines: dict[int, list[Posting]] = {}
        if heads:
            for seq, *posting in self._session.rows(_LINES, {**span, "upto_seq": heads[-1].seq}):
                lines.setdefault(seq, []).append(_read_posting(posting))
        return [Booked(head.seq, head.line_count, _read_entry(head, lines.get(head.seq, ()))) for head in heads]

    def last_seq(self) -> int:
        """Return the number of the newest entry, 0 when there is none."""
        return self._session.scalar(_LAST_SEQ) or 0

    def strays(self, count: int) -> Sequence[str]:
        """Return the names of up to `count` entries that have postings and no head."""
        return [entry for (entry,) in self._session.rows(_STRAYS, {"count": count})]

    def split_after(self, entry: str, symbol: str) -> bool:
        """Tell whether a symbol was split in our own account after an entry was booked."""
        return self._session.scalar(_SPLIT_AFTER, {"entry": entry, "symbol": symbol}) is not None

    def home(self) -> str | None:
        """Return the account's own currency, that of its opening; None before that."""
        currency: str | None = self._session.scalar(_HOME)
        return currency

    def open_lots(self) -> Sequence[Lot]:
        """Return the open lots of all symbols in order of opening."""
        return [Lot(*row[1:]) for row in self._session.rows(_OPEN_LOTS)]

    def lots(self) -> Sequence[Lot]:
        """Return all lots, closed ones too, in order of opening."""
        return [Lot(*row[1:]) for row in self._session.rows(_LOTS)]

    def save_lots(self, lots: Sequence[Lot]) -> None:
        """Insert or replace lots."""
        if lots:
            self._session.write(_SAVE_LOTS, [params(lot) for lot in lots])

    def clear_lots(self) -> None:
        """Forget all lots, to make them anew from the entries."""
        self._session.write(_CLEAR_LOTS, {})

    def position(self, symbol: str) -> Position:
        """Return a position, flat when there was no fill; in a transaction it is locked against other writers.

        MySQL cannot lock a position that does not exist yet: its instrument's row is locked in its place.
        """
        if self._session.writable and not self._session.is_sqlite:
            self._session.row(_LOCK_INSTRUMENT, {"symbol": symbol})
        row = self._session.row(_POSITION_LOCKED if self._session.writable else _POSITION, {"symbol": symbol})
        return Position.flat(symbol) if row is None else Position(*row)

    def positions(self) -> Sequence[Position]:
        """Return all positions in order of symbol."""
        return [Position(*row) for row in self._session.rows(_POSITIONS)]

    def save_position(self, position: Position) -> None:
        """Insert or replace a position."""
        self._session.write(_SAVE_POSITION, params(position))

    def balance(self, *accounts: Account) -> Decimal:
        """Return the exact sum of our own account's postings to some accounts, in its own currency.

        Done here for SQLite, which would sum in floating point.
        """
        asked = {"accounts": [str(account) for account in accounts]}
        if self._session.is_sqlite:
            return exact_sum(amount for (amount,) in self._session.rows(_AMOUNTS, asked))
        total: Decimal | None = self._session.scalar(_BALANCE, asked)
        return Decimal(0) if total is None else Decimal(plain(total))

    def sweep_mark(self) -> SweepMark:
        """Return how far the sweep has verified the entries."""
        row = self._session.row(_MARK)
        return SweepMark() if row is None else SweepMark(*row)

    def put_sweep_mark(self, mark: SweepMark) -> None:
        """Insert or replace it."""
        self._session.write(_PUT_MARK, {**params(mark), "id": _MARK_ID})

    def observe(self, observation: Observation) -> None:
        """Record what an observer saw; a newer word replaces an older one."""
        self._session.write(_OBSERVE, params(observation))

    def observations(self, symbol: str) -> Sequence[Observation]:
        """Return the latest word of each observer on a symbol, in order of observer."""
        return [Observation(*row) for row in self._session.rows(_OBSERVATIONS, {"symbol": symbol})]

    def observed_by(self, observer: str) -> Sequence[str]:
        """Return the symbols on which there is a word of an observer."""
        return [symbol for (symbol,) in self._session.rows(_OBSERVED_BY, {"observer": observer})]

    def moved_ns(self, symbol: str) -> int:
        """Return the instant of the newest entry that changed a position of our own account, 0 when there is none."""
        return self._session.scalar(_MOVED, {"symbol": symbol}) or 0

    def heard(self, since_ns: int) -> AbstractSet[tuple[str, str]]:
        """Return each (observer, symbol) whose latest word is of `since_ns` or later."""
        return {(observer, symbol) for observer, symbol in self._session.rows(_HEARD, {"since_ns": since_ns})}

    def foreign_observations(self) -> Sequence[Observation]:
        """Return the latest words on symbols that are no instruments, in order of symbol, then observer."""
        return [Observation(*row) for row in self._session.rows(_FOREIGN)]

    def add_equity(self, sample: EquitySample) -> None:
        """Record a sample; the same instant and symbol again change nothing."""
        self._session.write(_ADD_EQUITY, params(sample))

    def first_equities(self, after_ns: int, count: int) -> Sequence[EquitySample]:
        """Return a sample of each of the first `count` instants with `at_ns > after_ns`."""
        rows = self._session.rows(_FIRST_EQUITIES, {"after_ns": after_ns, "count": count})
        return [EquitySample(*row) for row in rows]

    def equities(self, at_ns: int) -> Sequence[EquitySample]:
        """Return all samples of an instant, in order of symbol."""
        return [EquitySample(*row) for row in self._session.rows(_EQUITIES, {"at_ns": at_ns})]

    def last_equity(self) -> EquitySample | None:
        """Return a sample of the newest instant."""
        row = self._session.row(_LAST_EQUITY)
        return None if row is None else EquitySample(*row)

    def add_step(self, step: TakeProfitStep) -> bool:
        """Record a step of a take-profit sequence; False when it is there already."""
        return self._session.write(_ADD_STEP, params(step)) == 1

    def steps(self, epoch: int) -> Sequence[TakeProfitStep]:
        """Return the recorded steps of an epoch's sequence in the order of their recording."""
        return [TakeProfitStep(*row) for row in self._session.rows(_STEPS, {"epoch": epoch})]


def _head(entry: Entry) -> dict[str, Any]:
    voucher = entry.voucher
    return {
        "entry": entry.name,
        "kind": entry.kind,
        "strategy": entry.strategy,
        "currency": entry.currency,
        "happened_ns": entry.happened_ns,
        "line_count": len(entry.postings),
        "book": entry.book,
        "fx_rate": entry.fx_rate,
        "operator": None if voucher is None else voucher.operator,
        "reason": None if voucher is None else voucher.reason,
        "evidence": None if voucher is None else voucher.evidence,
    }


def _read_entry(head: Any, postings: Sequence[Posting]) -> Entry:
    try:
        kind, strategy = Kind(head.kind), Strategy(head.strategy)
    except ValueError as error:
        raise UnreadableRow(f"ledger_entry {head.entry}: expected a word of ours, found {error}") from None
    voucher = None if head.operator is None else Voucher(head.operator, head.reason, head.evidence)
    return Entry(
        head.entry,
        kind,
        strategy,
        head.currency,
        head.happened_ns,
        tuple(postings),
        head.book,
        head.fx_rate,
        voucher,
    )


def _read_posting(row: Sequence[Any]) -> Posting:
    entry, line, account, *rest = row
    try:
        return Posting(entry, line, Account(account), *rest)
    except ValueError as error:
        raise UnreadableRow(f"posting {entry}, line {line}: expected a word of ours, found {error}") from None
