"""Tables instrument, trading_hours, bar, market_step, market_state. Arrays are little-endian bytes in C order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, insert_once, params
from trisagion.errors import DataError, StateError, UnreadableRow, quoted
from trisagion.market.closures import Closures
from trisagion.market.types import Bar, Float64Array, Instrument, Int64Array, MarketState, MarketStep, Quote
from trisagion.units import Price

_symbol: Final[sa.BindParameter[Any]] = sa.bindparam("symbol")
_at: Final[sa.BindParameter[Any]] = sa.bindparam("at_ns")

_BAR: Final = (
    t.bar.c.symbol,
    (t.bar.c.close_ns - t.bar.c.interval_ns).label("open_ns"),
    t.bar.c.interval_ns,
    t.bar.c.open,
    t.bar.c.high,
    t.bar.c.low,
    t.bar.c.close,
    t.bar.c.volume,
    t.bar.c.trades,
)

_ADD_INSTRUMENT: Final = insert_once(t.instrument)
_ADD_HOURS: Final = insert_once(t.trading_hours)
_TRADED: Final = sa.select(t.instrument, t.trading_hours.c.digest).outerjoin(
    t.trading_hours, t.trading_hours.c.symbol == t.instrument.c.symbol
)
_INSTRUMENTS: Final = _TRADED.order_by(t.instrument.c.symbol)
_INSTRUMENT: Final = _TRADED.where(t.instrument.c.symbol == _symbol)
_HOURS: Final = sa.select(t.trading_hours).where(t.trading_hours.c.symbol == _symbol)
_ADD_STEP: Final = insert_once(t.market_step)
_ADD_BAR: Final = insert_once(t.bar)
_STEP: Final = (
    sa.select(t.market_step.c.last, t.market_step.c.last_ns, t.market_step.c.tick_ns, t.market_step.c.tick_price, *_BAR)
    .join(t.bar, sa.and_(t.bar.c.symbol == t.market_step.c.symbol, t.bar.c.close_ns == t.market_step.c.at_ns))
    .where(t.market_step.c.symbol == _symbol, t.market_step.c.at_ns == _at)
)
_BARS: Final = (
    sa.select(*_BAR)
    .where(t.bar.c.symbol == _symbol, t.bar.c.close_ns <= _at)
    .order_by(t.bar.c.close_ns.desc())
    .limit(sa.bindparam("count", type_=sa.Integer()))
)
CLOSES_SYMBOLS_MAX: Final = 250
"""Symbols whose closes are read by one statement; SQLite takes at most 500 SELECTs in one."""


_CLOSE: Final = np.dtype([("number", "i8"), ("close_ns", "i8"), ("close", "f8")])


@lru_cache(maxsize=8)
def _closes(symbols: int) -> "sa.CompoundSelect[Any]":
    """Return the statement for so many symbols: each has its own range of the primary key."""
    parts = []
    for number in range(symbols):
        last = (
            sa.select(sa.literal_column(str(number)).label("number"), t.bar.c.close_ns, t.bar.c.close)
            .where(t.bar.c.symbol == sa.bindparam(f"symbol_{number}"), t.bar.c.close_ns <= _at)
            .order_by(t.bar.c.close_ns.desc())
            .limit(sa.bindparam("count", type_=sa.Integer()))
            .subquery()
        )
        parts.append(sa.select(last))
    return sa.union_all(*parts)


_QUOTE: Final = (
    sa.select(t.market_step.c.last, t.market_step.c.last_ns, t.market_step.c.at_ns, t.instrument.c.tick_size)
    .join(t.instrument, t.instrument.c.symbol == t.market_step.c.symbol)
    .where(t.market_step.c.symbol == _symbol, t.market_step.c.at_ns <= _at)
    .order_by(t.market_step.c.at_ns.desc())
    .limit(1)
)


_step: Final = t.market_step.alias()
# Not max(), for which a server reads all that a symbol ever traded.
_LATEST: Final = (
    sa.select(_step.c.at_ns)
    .where(_step.c.symbol == t.instrument.c.symbol, _step.c.at_ns <= _at)
    .order_by(_step.c.at_ns.desc())
    .limit(1)
    .correlate(t.instrument)
    .scalar_subquery()
)
_QUOTES: Final = (
    sa.select(t.instrument.c.symbol, *_QUOTE.selected_columns)
    .select_from(t.instrument)
    .join(t.market_step, sa.and_(t.market_step.c.symbol == t.instrument.c.symbol, t.market_step.c.at_ns == _LATEST))
    .where(t.instrument.c.symbol.in_(sa.bindparam("symbols", expanding=True)))
)


def _newest(table: sa.Table) -> "sa.ScalarSelect[Any]":
    return sa.select(sa.func.max(table.c.at_ns)).where(table.c.symbol == _symbol).scalar_subquery()


_PUT_STATE: Final = insert_once(t.market_state)
_STATES: Final = (
    sa.select(t.market_state)
    .where(
        t.market_state.c.symbol == _symbol,
        t.market_state.c.at_ns > sa.bindparam("after_ns"),
        t.market_state.c.at_ns <= _at,
    )
    .order_by(t.market_state.c.at_ns)
)
_UNKNOWN_STEPS: Final = (
    sa.select(t.market_step.c.at_ns)
    .where(
        t.market_step.c.symbol == _symbol,
        t.market_step.c.at_ns > sa.func.coalesce(_newest(t.market_state), 0),
        t.market_step.c.at_ns <= _at,
    )
    .order_by(t.market_step.c.at_ns)
)
_HEADS: Final = sa.select(*(sa.func.coalesce(_newest(table), 0) for table in (t.market_step, t.market_state)))

_CLOSURES: Final[dict[str, Closures]] = {}
"""Those that this process has read, by their digest: a row of some dozen kB that never changes is read once."""

_WINDOWS: Final = 15
_ORDERS: Final = 3
_DELAYS: Final = 3
_PERIODS: Final = 51


def pack(array: NDArray[Any], kind: str) -> bytes:
    """Return an array's values as little-endian bytes; `kind` is numpy's, as "f8" or "i8"."""
    return np.ascontiguousarray(array, dtype=f"<{kind}").tobytes()


def unpack(raw: bytes, kind: str, *shape: int) -> NDArray[Any]:
    """Return the array of the bytes, its own and writable, shape `shape`."""
    return np.frombuffer(raw, dtype=f"<{kind}").reshape(shape).astype(kind)


class Market:
    """`market_ports.MarketStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # A row of table instrument never changes, and this store does not outlive a transaction that failed.
        self._known: dict[str, Instrument] = {}

    def add_instrument(self, instrument: Instrument) -> None:
        """Record an instrument, with its closures where it has some; the same again changes nothing."""
        terms = params(instrument)
        closures: Closures | None = terms.pop("closures")
        self._session.write(_ADD_INSTRUMENT, terms)
        if closures is not None:
            self._session.write(_ADD_HOURS, {"symbol": instrument.symbol, **_hours(closures)})

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument; `StateError` when it is not known."""
        known = self._known.get(symbol)
        if known is None:
            row = self._session.row(_INSTRUMENT, {"symbol": symbol})
            if row is None:
                raise StateError(f"instrument {symbol!r} is not in the database: ingest its market data first")
            known = self._known[symbol] = self._read(row)
        return known

    def instruments(self) -> Sequence[Instrument]:
        """Return all instruments in order of symbol."""
        found = [self._read(row) for row in self._session.rows(_INSTRUMENTS)]
        self._known |= {instrument.symbol: instrument for instrument in found}
        return found

    def _read(self, row: Sequence[Any]) -> Instrument:
        *terms, digest = row
        instrument = _read_instrument(terms)
        if digest is None:
            return instrument
        closures = _CLOSURES.get(digest)
        if closures is None:
            found = self._session.row(_HOURS, {"symbol": instrument.symbol})
            closures = _CLOSURES[digest] = _read_hours(found or ())
        return replace(instrument, closures=closures)

    def add_step(self, step: MarketStep) -> bool:
        """Record a step and its bar; False when it was there already."""
        assert (step.symbol, step.at_ns) == (step.bar.symbol, step.bar.close_ns), step
        row = {
            "symbol": step.symbol,
            "at_ns": step.at_ns,
            "last": step.last,
            "last_ns": step.last_ns,
            "tick_ns": pack(np.array([stamp for stamp, _ in step.ticks], dtype=np.int64), "i8"),
            "tick_price": pack(np.array([price for _, price in step.ticks], dtype=np.float64), "f8"),
        }
        if self._session.write(_ADD_STEP, row) == 0:
            return False
        bar = params(step.bar) | {"close_ns": step.at_ns}
        del bar["open_ns"]
        self._session.write(_ADD_BAR, bar)
        return True

    def step(self, symbol: str, at_ns: int) -> MarketStep | None:
        """Return the step that closed at an instant."""
        row = self._session.row(_STEP, {"symbol": symbol, "at_ns": at_ns})
        if row is None:
            return None
        last, last_ns, tick_ns, tick_price, *bar = row
        stamps, prices = unpack(tick_ns, "i8", -1).tolist(), unpack(tick_price, "f8", -1).tolist()
        return MarketStep(symbol, at_ns, Bar(*bar), tuple(zip(stamps, prices, strict=True)), Price(last), last_ns)

    def bars(self, symbol: str, until_ns: int, count: int) -> Sequence[Bar]:
        """Return the last `count` bars with `close_ns <= until_ns`, oldest first."""
        rows = self._session.rows(_BARS, {"symbol": symbol, "at_ns": until_ns, "count": count})
        return [Bar(*row) for row in reversed(rows)]

    def closes(
        self, symbols: Sequence[str], until_ns: int, count: int
    ) -> Mapping[str, tuple[Int64Array, Float64Array]]:
        """Return of each symbol the instants and the closes of the bars that `bars` would return."""
        found: dict[str, tuple[Int64Array, Float64Array]] = {}
        for begin in range(0, len(symbols), CLOSES_SYMBOLS_MAX):
            batch = symbols[begin : begin + CLOSES_SYMBOLS_MAX]
            named = {f"symbol_{number}": symbol for number, symbol in enumerate(batch)}
            rows = self._session.bare_rows(_closes(len(batch)), {**named, "at_ns": until_ns, "count": count})
            # Not by zip(*rows): an iterator for each row has Python look through all its memory for garbage.
            told = np.fromiter(rows, dtype=_CLOSE, count=len(rows))
            number, close_ns, close = told["number"], told["close_ns"], told["close"]
            order = np.lexsort((close_ns, number))
            edges = np.searchsorted(number[order], np.arange(len(batch) + 1))
            for symbol, (first, end) in zip(batch, pairwise(edges.tolist()), strict=True):
                part = order[first:end]
                found[symbol] = (close_ns[part], close[part])
        return found

    def quote(self, symbol: str, now_ns: int) -> Quote | None:
        """Return the quote learned last at or before `now_ns`: one tick around the last trade of the latest step."""
        row = self._session.row(_QUOTE, {"symbol": symbol, "at_ns": now_ns})
        if row is None:
            return None
        return _quote(symbol, *row)

    def quotes(self, symbols: Sequence[str], now_ns: int) -> Mapping[str, Quote]:
        """Return the quotes of many symbols by one statement, each as `quote` does; who has none is left out."""
        rows = self._session.rows(_QUOTES, {"symbols": symbols, "at_ns": now_ns})
        return {symbol: _quote(symbol, *row) for symbol, *row in rows}

    def put_state(self, state: MarketState) -> None:
        """Record the features of a step; the same again changes nothing."""
        n = len(state.ts_ns)
        assert state.entropy.shape == (n, _WINDOWS, _ORDERS, _DELAYS), state.entropy.shape
        assert state.samples.shape == (n, _WINDOWS), state.samples.shape
        for channel in (state.channel_high, state.channel_low, state.z):
            assert channel.shape == (n, _PERIODS), channel.shape
        assert len(state.price) == len(state.weight) == len(state.volatility) == n, state.at_ns
        self._session.write(
            _PUT_STATE,
            {
                "symbol": state.symbol,
                "at_ns": state.at_ns,
                "n": n,
                "regime": state.regime,
                "ts_ns": pack(state.ts_ns, "i8"),
                "price": pack(state.price, "f8"),
                "weight": pack(state.weight, "f8"),
                "volatility": pack(state.volatility, "f8"),
                "entropy": pack(state.entropy, "f8"),
                "samples": pack(state.samples, "i8"),
                "channel_high": pack(state.channel_high, "f8"),
                "channel_low": pack(state.channel_low, "f8"),
                "z": pack(state.z, "f8"),
            },
        )

    def states(self, symbol: str, after_ns: int, until_ns: int) -> Sequence[MarketState]:
        """Return states with `after_ns < at_ns <= until_ns`, oldest first."""
        rows = self._session.rows(_STATES, {"symbol": symbol, "after_ns": after_ns, "at_ns": until_ns})
        return [market_state(row) for row in rows]

    def new_states(self, seen_ns: Mapping[str, int], until_ns: int) -> Sequence[MarketState]:
        """Return the states of each symbol after the instant that is seen of it, as `states` does."""
        return [state for symbol, after_ns in seen_ns.items() for state in self.states(symbol, after_ns, until_ns)]

    def unknown_steps(self, symbol: str, until_ns: int) -> Sequence[int]:
        """Return the instants of the steps up to `until_ns` that are newer than the newest state, in order."""
        return [at_ns for (at_ns,) in self._session.rows(_UNKNOWN_STEPS, {"symbol": symbol, "at_ns": until_ns})]

    def heads(self, symbol: str) -> tuple[int, int]:
        """Return the instants of the newest step and of the newest state, 0 where there is none."""
        row = self._session.row(_HEADS, {"symbol": symbol})
        assert row is not None, "a SELECT of two values has a row"
        return row[0], row[1]


def _quote(symbol: str, last: Decimal, last_ns: int, at_ns: int, tick: Decimal) -> Quote:
    return Quote(symbol, Price(last - tick), Price(last + tick), Price(last), last_ns, at_ns)


def _read_instrument(row: Sequence[Any]) -> Instrument:
    """Read a row of table instrument; `UnreadableRow` when nothing can be traded by its terms."""
    instrument = Instrument(*row)
    for name in ("tick_size", "lot_size", "multiplier", "leverage_max"):
        if getattr(instrument, name) <= 0:
            raise UnreadableRow(
                f"instrument {quoted(row[0])}: {name}: expected above 0, found {getattr(instrument, name)}"
            )
    if not 0 <= instrument.fee_rate < 1:
        raise UnreadableRow(
            f"instrument {quoted(row[0])}: fee_rate: expected 0 to below 1, found {instrument.fee_rate}"
        )
    return instrument


def _hours(closures: Closures) -> dict[str, Any]:
    bounds = {"from_ns": closures.from_ns, "until_ns": closures.until_ns}
    closed = json.dumps(closures.spans).encode()
    return {"exchange": closures.exchange, **bounds, "digest": closures.digest, "closed": closed}


def _read_hours(row: Sequence[Any]) -> Closures:
    """Read a row of table trading_hours; `UnreadableRow` when it is not what was written."""
    try:
        symbol, exchange, from_ns, until_ns, digest, closed = row
        spans = tuple((int(begin_ns), int(end_ns), str(why)) for begin_ns, end_ns, why in json.loads(closed))
        closures = Closures(exchange, from_ns, until_ns, spans)
    except (ValueError, TypeError, DataError) as error:
        raise UnreadableRow(f"trading hours: expected the closures of an exchange, found: {error}") from None
    if closures.digest != digest:
        raise UnreadableRow(f"trading hours {quoted(symbol)}: expected digest {digest}, found {closures.digest}")
    return closures


def market_state(row: sa.Row[Any]) -> MarketState:
    """Read a row of table market_state."""
    n = row.n
    return MarketState(
        symbol=row.symbol,
        at_ns=row.at_ns,
        ts_ns=unpack(row.ts_ns, "i8", n),
        price=unpack(row.price, "f8", n),
        weight=unpack(row.weight, "f8", n),
        volatility=unpack(row.volatility, "f8", n),
        entropy=unpack(row.entropy, "f8", n, _WINDOWS, _ORDERS, _DELAYS),
        samples=unpack(row.samples, "i8", n, _WINDOWS),
        channel_high=unpack(row.channel_high, "f8", n, _PERIODS),
        channel_low=unpack(row.channel_low, "f8", n, _PERIODS),
        z=unpack(row.z, "f8", n, _PERIODS),
        regime=row.regime,
    )
