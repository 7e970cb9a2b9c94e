"""Tables bar_day and quote_hour: a block of history is one row, its columns are arrays.

A row for each bar takes 0.65 s for a month of minutes through SQLAlchemy and 0.22 s through the bare driver: the time
of making 260,000 Python numbers. In blocks the same month is 30 rows, and numpy takes their bytes as they are. Who
writes pays for it: one bar rewrites its day, 80 KB of minutes, so history is written in batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.market import pack, unpack
from trisagion.adapters.db.session import Session, insert_once
from trisagion.clock import HOUR_NS, floor_ns, iso
from trisagion.errors import UnreadableRow, quoted
from trisagion.market.history import (
    BAR_NUMBERS,
    DAY_NS,
    QUOTE_NUMBERS,
    Changes,
    Known,
    as_bars,
    as_quotes,
    merged,
)
from trisagion.market.types import Bars, Quotes


class _Blocks:
    """One of the two tables: where a block begins, how long it is, what its columns are called."""

    def __init__(self, table: sa.Table, *, begins: str, at: str, block_ns: int, numbers: int) -> None:
        self.table, self.block_ns, self.numbers = table, block_ns, numbers
        self.begins, self.at = table.c[begins], table.c[at]
        self.owners = [column for column in table.primary_key if column is not self.begins]
        c = table.c
        mine = sa.and_(*(column == sa.bindparam(f"its_{column.name}") for column in self.owners))
        this = sa.and_(mine, self.begins == sa.bindparam("its_begin"))
        columns = (self.begins.label("begins"), c.n, self.at.label("at"), c.numbers, c.learned_ns)
        self.add = insert_once(table)
        self.one = sa.select(*columns).where(this)
        self.held = self.one.with_for_update()
        self.save = (
            sa.update(table).where(this).values({n: sa.bindparam(n) for n in ("n", at, "numbers", "learned_ns")})
        )
        self.some = (
            sa.select(*columns)
            .where(mine, self.begins >= sa.bindparam("from_ns"), self.begins < sa.bindparam("until_ns"))
            .order_by(self.begins)
        )
        self.span = sa.select(sa.func.min(self.begins), sa.func.max(self.begins)).where(mine)


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose history: the key of a block without its instant."""

    blocks: _Blocks
    key: Mapping[str, Any]

    @property
    def params(self) -> dict[str, Any]:
        """The key for a WHERE."""
        return {f"its_{name}": value for name, value in self.key.items()}


BARS: Final = _Blocks(t.bar_day, begins="day_ns", at="open_ns", block_ns=DAY_NS, numbers=len(BAR_NUMBERS))
QUOTES: Final = _Blocks(t.quote_hour, begins="hour_ns", at="at_ns", block_ns=HOUR_NS, numbers=len(QUOTE_NUMBERS))

_BAR_DAYS: Final = (
    sa.select(t.bar_day.c.symbol, t.bar_day.c.day_ns).distinct().order_by(t.bar_day.c.symbol, t.bar_day.c.day_ns)
)


class Series:
    """`series_ports.SeriesStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put_bars(self, symbol: str, interval_ns: int, told: Known) -> Changes:
        """Take in bars that opened on one UTC day, as `history.merged` does; until the end nobody else changes them."""
        return self._put(_bars_of(symbol, interval_ns), told)

    def put_quotes(self, symbol: str, told: Known) -> Changes:
        """Take in quotes of one UTC hour, as `history.merged` does; until the end nobody else changes them."""
        return self._put(_quotes_of(symbol), told)

    def known_bars(self, symbol: str, interval_ns: int, day_ns: int) -> Known:
        """Return the bars that opened on a day; in a transaction nobody else changes them until its end."""
        return self._block(_bars_of(symbol, interval_ns), day_ns)

    def bars(self, symbol: str, interval_ns: int, from_ns: int, until_ns: int) -> Bars:
        """Return the bars that lie within [from_ns, until_ns): what was closed by the present, if that is the end."""
        known = self._between(_bars_of(symbol, interval_ns), from_ns, until_ns - interval_ns + 1)
        return as_bars(symbol, interval_ns, known)

    def quotes(self, symbol: str, from_ns: int, until_ns: int) -> Quotes:
        """Return the quotes of [from_ns, until_ns)."""
        return as_quotes(symbol, self._between(_quotes_of(symbol), from_ns, until_ns))

    def bar_days(self) -> Sequence[tuple[str, int]]:
        """Return each symbol with each day on which bars of it opened, in order."""
        return [(symbol, day_ns) for symbol, day_ns in self._session.rows(_BAR_DAYS)]

    def span(self, symbol: str, interval_ns: int | None) -> tuple[int, int] | None:
        """Return the first block's instant and the end of the last, None where there is none.

        Of the symbol's bars of an interval; None: of its quotes.
        """
        owner = _quotes_of(symbol) if interval_ns is None else _bars_of(symbol, interval_ns)
        first_ns, last_ns = self._session.row(owner.blocks.span, owner.params)
        return None if first_ns is None else (first_ns, last_ns + owner.blocks.block_ns)

    def _put(self, owner: _Owner, told: Known) -> Changes:
        blocks = owner.blocks
        begin_ns = floor_ns(int(told.at_ns[0]), blocks.block_ns)
        assert told.at_ns[-1] < begin_ns + blocks.block_ns, "one block at a time"
        nothing = _columns(blocks, _nothing(blocks))
        # The row is there before it is held, so that two writers of a new block meet too.
        self._session.write(blocks.add, {**owner.key, blocks.begins.name: begin_ns, **nothing})
        known, changes = merged(self._block(owner, begin_ns), told)
        if changes.written:
            self._session.write(blocks.save, {**owner.params, "its_begin": begin_ns, **_columns(blocks, known)})
        return changes

    def _block(self, owner: _Owner, begin_ns: int) -> Known:
        query = owner.blocks.held if self._session.writable else owner.blocks.one
        row = self._session.row(query, {**owner.params, "its_begin": begin_ns})
        return _nothing(owner.blocks) if row is None else _read(owner, row)

    def _between(self, owner: _Owner, from_ns: int, until_ns: int) -> Known:
        span = {"from_ns": floor_ns(from_ns, owner.blocks.block_ns), "until_ns": until_ns}
        parts = [_read(owner, row) for row in self._session.rows(owner.blocks.some, {**owner.params, **span})]
        if not parts:
            return _nothing(owner.blocks)
        whole = Known(
            np.concatenate([part.at_ns for part in parts]),
            np.concatenate([part.numbers for part in parts], axis=1),
            np.concatenate([part.learned_ns for part in parts]),
        )
        return whole.within(from_ns, until_ns)


def _bars_of(symbol: str, interval_ns: int) -> _Owner:
    return _Owner(BARS, {"symbol": symbol, "interval_ns": interval_ns})


def _quotes_of(symbol: str) -> _Owner:
    return _Owner(QUOTES, {"symbol": symbol})


def _nothing(blocks: _Blocks) -> Known:
    none = np.zeros(0, dtype=np.int64)
    return Known(none, np.zeros((blocks.numbers, 0)), none)


def _columns(blocks: _Blocks, known: Known) -> dict[str, Any]:
    return {
        "n": len(known),
        blocks.at.name: pack(known.at_ns, "i8"),
        "numbers": pack(known.numbers, "f8"),
        "learned_ns": pack(known.learned_ns, "i8"),
    }


def _read(owner: _Owner, row: Any) -> Known:
    """Read a block; `UnreadableRow` when its arrays are not as long as it says, or not of its instants."""
    blocks, n = owner.blocks, row.n
    try:
        known = Known(
            unpack(row.at, "i8", n), unpack(row.numbers, "f8", blocks.numbers, n), unpack(row.learned_ns, "i8", n)
        )
    except ValueError:
        known = None
    end_ns = row.begins + blocks.block_ns
    if known is None or (n and not (row.begins <= known.at_ns[0] and known.at_ns[-1] < end_ns)):
        where = f"{blocks.table.name} {quoted(owner.key['symbol'])} of {iso(row.begins)}"
        raise UnreadableRow(f"{where}: expected arrays of {n} instants of this block, found others")
    return known
