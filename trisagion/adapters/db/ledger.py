"""Tables posting, ledger_position, observation, equity, take_profit."""

from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once, params, upsert
from trisagion.errors import OurMistake
from trisagion.ledger.types import Account, EquitySample, Position, Posting
from trisagion.ports import Observation, TakeProfitStep

_symbol: Final[sa.BindParameter[Any]] = sa.bindparam("symbol")

_POST: Final = insert_once(t.posting)
_ENTRY: Final = sa.select(t.posting).where(t.posting.c.entry == sa.bindparam("entry")).order_by(t.posting.c.line)
_POSITION: Final = sa.select(t.ledger_position).where(t.ledger_position.c.symbol == _symbol)
_LOCK_INSTRUMENT: Final = sa.select(t.instrument.c.symbol).where(t.instrument.c.symbol == _symbol).with_for_update()
_POSITION_LOCKED: Final = _POSITION.with_for_update()
_POSITIONS: Final = sa.select(t.ledger_position).order_by(t.ledger_position.c.symbol)
_SAVE_POSITION: Final = upsert(t.ledger_position)
_AMOUNTS: Final = sa.select(t.posting.c.amount).where(t.posting.c.account == sa.bindparam("account"))
_BALANCE: Final = sa.select(sa.func.sum(t.posting.c.amount, type_=t.posting.c.amount.type)).where(
    t.posting.c.account == sa.bindparam("account")
)
_OBSERVE: Final = upsert(t.observation, newest_by="at_ns")
_OBSERVATIONS: Final = (
    sa.select(t.observation).where(t.observation.c.symbol == _symbol).order_by(t.observation.c.observer)
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
_LAST_EQUITY: Final = sa.select(t.equity).order_by(t.equity.c.at_ns.desc(), t.equity.c.symbol).limit(1)
_ADD_STEP: Final = insert_once(t.take_profit)
_STEPS: Final = (
    sa.select(t.take_profit.c.epoch, t.take_profit.c.step, t.take_profit.c.at_ns)
    .where(t.take_profit.c.epoch == sa.bindparam("epoch"))
    .order_by(t.take_profit.c.seq)
)


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

    def post(self, postings: Sequence[Posting]) -> None:
        """Append one entry; its amounts sum to zero. The same entry again changes nothing."""
        if len({posting.entry for posting in postings}) != 1:
            raise OurMistake(f"expected the postings of one entry, found {sorted({p.entry for p in postings})}")
        total = exact_sum(posting.amount for posting in postings)
        if total != 0:
            raise OurMistake(f"entry {postings[0].entry}: expected amounts that sum to 0, found {total}")
        self._session.write(_POST, [params(posting) for posting in postings])

    def booked(self, entry: str) -> bool:
        """Tell whether there is an entry of that name."""
        return self._session.row(_ENTRY, {"entry": entry}) is not None

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

    def balance(self, account: Account) -> Decimal:
        """Return the sum of all postings to an account; done here for SQLite, which would sum in floating point."""
        if self._session.is_sqlite:
            return exact_sum(amount for (amount,) in self._session.rows(_AMOUNTS, {"account": account}))
        total: Decimal | None = self._session.scalar(_BALANCE, {"account": account})
        return Decimal(0) if total is None else total

    def observe(self, observation: Observation) -> None:
        """Record what an observer saw; a newer word replaces an older one."""
        self._session.write(_OBSERVE, params(observation))

    def observations(self, symbol: str) -> Sequence[Observation]:
        """Return the latest word of each observer on a symbol, in order of observer."""
        return [Observation(*row) for row in self._session.rows(_OBSERVATIONS, {"symbol": symbol})]

    def add_equity(self, sample: EquitySample) -> None:
        """Record a sample; the same instant and symbol again change nothing."""
        self._session.write(_ADD_EQUITY, params(sample))

    def first_equities(self, after_ns: int, count: int) -> Sequence[EquitySample]:
        """Return a sample of each of the first `count` instants with `at_ns > after_ns`."""
        rows = self._session.rows(_FIRST_EQUITIES, {"after_ns": after_ns, "count": count})
        return [EquitySample(*row) for row in rows]

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
