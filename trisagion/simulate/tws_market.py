"""Market data of the simulated TWS, as the tape allows it: definitions, the last trade with a quote around it, bars.

The bid and the offer stand one tick around the last trade and one lot deep (see `ext.matching`). Bars are of what has
been played, and none is told before its interval is over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from trisagion.clock import HOUR_NS, MINUTE_NS, SECOND_NS
from trisagion.errors import VenueMistake
from trisagion.market.bars import prices
from trisagion.market.types import Instrument, Tape
from trisagion.simulate.tws_orders import INVALID, NO_DEFINITION, NO_DEFINITION_TEXT, Contracts, Refused
from trisagion.simulate.tws_words import Contract, Message, at, moment, read_moment
from trisagion.units import plain

_DAY_NS: Final = 24 * HOUR_NS

BAR_NS: Final[Mapping[str, int]] = {
    "1 min": MINUTE_NS,
    **{f"{count} mins": count * MINUTE_NS for count in (2, 3, 5, 10, 15, 20, 30)},
    "1 hour": HOUR_NS,
    **{f"{count} hours": count * HOUR_NS for count in (2, 3, 4, 8)},
    "1 day": _DAY_NS,
}
"""Bar sizes by their names at a TWS; of those it has, the ones from a minute to a day."""

_DURATIONS: Final = {"S": SECOND_NS, "D": _DAY_NS, "W": 7 * _DAY_NS, "M": 30 * _DAY_NS, "Y": 365 * _DAY_NS}

BARS_MAX: Final = 20_000
"""The most bars of one answer."""

HISTORY_ERROR: Final = 162
TICKERS_MAX: Final = 100
TOO_MANY_TICKERS: Final = 101
"""Codes of the API's list; a TWS has a hundred market-data lines unless more are paid for."""

_BID, _ASK, _LAST = "1", "2", "4"
_LAST_TIMESTAMP: Final = "45"


@dataclass(slots=True)
class Ticker:
    """A subscription: what is told of whom, and the last trade (ticks, instant) that was told before."""

    symbol: str
    told: tuple[int, int] | None = None


class MarketData:
    """What the tapes show up to an instant."""

    def __init__(self, tapes: Mapping[str, Tape], contracts: Contracts) -> None:
        self._tapes = tapes
        self._contracts = contracts

    def last(self, symbol: str, now_ns: int) -> tuple[int, int] | None:
        """Return price in ticks and instant of the last trade before an instant, None before the first."""
        tape = self._tapes[symbol]
        count = int(np.searchsorted(tape.ts_ns, now_ns, side="left"))
        return (int(tape.price_ticks[count - 1]), int(tape.ts_ns[count - 1])) if count else None

    def ticks(self, request: int, ticker: Ticker, now_ns: int) -> list[Message]:
        """Return the ticks of a subscription that are news, and remember them as told."""
        last = self.last(ticker.symbol, now_ns)
        if last is None or last == ticker.told:
            return []
        moved = ticker.told is None or last[0] != ticker.told[0]
        ticker.told = last
        instrument = self._contracts.instruments[ticker.symbol]
        size = plain(instrument.lot_size)
        stamp = ("46", "6", str(request), _LAST_TIMESTAMP, str(last[1] // SECOND_NS))
        if not moved:
            return [stamp]
        around = ((_BID, -1), (_ASK, 1), (_LAST, 0))
        return [
            *(
                ("1", "6", str(request), kind, plain((last[0] + away) * instrument.tick_size), size, "0")
                for kind, away in around
            ),
            stamp,
        ]

    def details(self, message: Message, version: int) -> list[Message]:
        """Answer reqContractDetails: one contract, and the end.

        Raises
        ------
        Refused
            There is no such contract.
        """
        request = at(message, 2)
        contract = self._contracts.find(message, 3)
        if contract is None:
            raise Refused(NO_DEFINITION, NO_DEFINITION_TEXT)
        instrument = self._contracts.instruments[contract.symbol]
        return [_details(request, contract, instrument, version), ("52", "1", request)]

    def bars(self, message: Message, now_ns: int) -> Message:
        """Answer reqHistoricalData: closed bars of trades up to the wanted end, and up to now at most.

        Raises
        ------
        Refused
            There is no such contract, size or kind of bar, or nothing was traded then.
        """
        request, contract = at(message, 1), self._contracts.find(message, 2)
        if contract is None:
            raise Refused(NO_DEFINITION, NO_DEFINITION_TEXT)
        end, size, duration, show = (at(message, place) for place in (15, 16, 17, 19))
        if size not in BAR_NS or show not in {"TRADES", "MIDPOINT", "BID", "ASK"} or at(message, 21) not in {"", "0"}:
            raise Refused(
                INVALID, "Error validating request.-'bQ' : cause - Historical data bar size or type is invalid"
            )
        if show != "TRADES":
            raise Refused(HISTORY_ERROR, f"Historical Market Data Service error message:No data of {show}")
        interval_ns, daily = BAR_NS[size], size == "1 day"
        try:
            end_ns = min(read_moment(end), now_ns) if end else now_ns
        except VenueMistake as mistake:
            raise Refused(INVALID, f"Error validating request.-'bQ' : cause - {mistake}") from None
        start_ns = max(end_ns - _duration_ns(duration), 0)
        rows = list(self._rows(contract.symbol, start_ns, end_ns, interval_ns, now_ns))
        if not rows:
            raise Refused(HISTORY_ERROR, "Historical Market Data Service error message:HMDS query returned no data")
        if len(rows) > BARS_MAX:
            raise Refused(HISTORY_ERROR, f"Historical Market Data Service error message:more than {BARS_MAX} bars")
        epoch = at(message, 20) == "2"
        fields = [field for open_ns, values in rows for field in (_stamp(open_ns, epoch=epoch, daily=daily), *values)]
        return ("17", request, moment(start_ns), moment(end_ns), str(len(rows)), *fields)

    def _rows(
        self, symbol: str, start_ns: int, end_ns: int, interval_ns: int, now_ns: int
    ) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Give open instant and fields of each bar that began in [start, end) and has ended by now."""
        tape = self._tapes[symbol]
        first = -(-start_ns // interval_ns) * interval_ns
        last = min(-(-end_ns // interval_ns), now_ns // interval_ns) * interval_ns
        low, high = (int(np.searchsorted(tape.ts_ns, instant, side="left")) for instant in (first, last))
        if low >= high:
            return
        slots = tape.ts_ns[low:high] // interval_ns
        starts = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
        px, sizes = prices(tape)[low:high], tape.size_lots[low:high]
        lot = float(tape.instrument.lot_size)
        ends = np.append(starts[1:], len(slots))
        volumes = np.add.reduceat(sizes, starts)
        averages = np.add.reduceat(px * sizes, starts) / volumes
        highs, lows = np.maximum.reduceat(px, starts), np.minimum.reduceat(px, starts)
        for row, (begin, end) in enumerate(zip(starts, ends, strict=True)):
            values = (px[begin], highs[row], lows[row], px[end - 1], volumes[row] * lot, averages[row])
            yield int(slots[begin]) * interval_ns, (*(f"{float(each):.12g}" for each in values), str(end - begin))


def _duration_ns(text: str) -> int:
    count, _, unit = text.partition(" ")
    if not (count.isascii() and count.isdigit() and len(count) <= 5 and int(count) and unit in _DURATIONS):
        raise Refused(INVALID, "Error validating request.-'bQ' : cause - Historical data query duration is invalid")
    return int(count) * _DURATIONS[unit]


def _stamp(open_ns: int, *, epoch: bool, daily: bool) -> str:
    if daily:
        return f"{datetime.fromtimestamp(open_ns // SECOND_NS, UTC):%Y%m%d}"
    return str(open_ns // SECOND_NS) if epoch else moment(open_ns)


def _details(request: str, contract: Contract, instrument: Instrument, version: int) -> Message:
    old = version < 164
    expiry, strike, right, multiplier, exchange, currency, local, trading = contract.fields[3:]
    tick, lot = plain(instrument.tick_size), plain(instrument.lot_size)
    head = ("10", "8", request) if old else ("10", request)
    name = (contract.symbol, contract.sec_type, expiry, strike, right, exchange, currency, local, contract.symbol)
    market = (trading, str(contract.con_id), tick, *(("100",) if old else ()), multiplier)
    routes = ("LMT,MKT,DAY,GTC,GTD,IOC,FOK", f"SMART,{instrument.venue}", "1", "0", contract.symbol, instrument.venue)
    nature = ("", "", "", "", "UTC", "", "", "", "0", "0")  # contractMonth … evMultiplier, no secIds
    groups = ("1", "", "", "", "", "COMMON" if contract.sec_type == "STK" else "")
    sizes = (lot,) if version == 163 else (lot, lot, lot) if not old else ()
    return (*head, *name, *market, *routes, *nature, *groups, *sizes)
