"""Market data as the tape allows it: the last trade, and the bid and offer one tick around it.

A request names one symbol and one kind of entry: our messages hold a repeating group flat. Whoever wants bid, offer and
trade asks three times. Subscriptions end with the session.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trisagion.gateway.words import (
    MARKET_DATA_INCREMENT,
    MARKET_DATA_REQUEST_REJECT,
    MARKET_DATA_SNAPSHOT,
    Fields,
    Tag,
    text,
    timestamp,
    word,
)
from trisagion.market.types import Instrument
from trisagion.units import plain

AROUND_LAST: Final = {"0": -1, "1": 1, "2": 0}
"""MDEntryType(269) bid, offer and trade: in ticks from the last trade."""

SNAPSHOT: Final = "0"
SUBSCRIBE: Final = "1"
UNSUBSCRIBE: Final = "2"

SUBSCRIPTIONS_MAX: Final = 1024

_UNKNOWN_SYMBOL: Final = "0"
_DUPLICATE_ID: Final = "1"
_TOO_MANY: Final = "2"
_BAD_DEPTH: Final = "5"
_BAD_ENTRY: Final = "8"


@dataclass(slots=True)
class _Subscription:
    symbol: str
    entry: str
    px: str | None


class Quotes:
    """Who is told of which price; `last` is asked for the last trade of a symbol in ticks."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self._subscriptions: dict[str, _Subscription] = {}

    def __len__(self) -> int:
        return len(self._subscriptions)

    def clear(self) -> None:
        """End all subscriptions."""
        self._subscriptions.clear()

    def answer(self, fields: Fields, last: Mapping[str, int | None], now_ns: int) -> tuple[Fields, ...]:
        """Answer a MarketDataRequest: with a snapshot, with a reject, or, when it ends one, with nothing.

        A snapshot says when it was, for FIX 5.0 SP2 wants it to; FIX 4.4 has no place for that, and leaves it out.
        """
        request, symbol, entry = text(fields, Tag.MD_REQ_ID), text(fields, Tag.SYMBOL), text(fields, Tag.MD_ENTRY_TYPE)
        kind = word(fields, Tag.SUBSCRIPTION_REQUEST_TYPE, {kind: kind for kind in (SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE)})
        if kind == UNSUBSCRIBE:
            self._subscriptions.pop(request, None)
            return ()
        why = None
        if symbol not in self._instruments:
            why = _UNKNOWN_SYMBOL
        elif request in self._subscriptions:
            why = _DUPLICATE_ID
        elif len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            why = _TOO_MANY
        elif text(fields, Tag.MARKET_DEPTH) != "1":
            why = _BAD_DEPTH
        elif entry not in AROUND_LAST:
            why = _BAD_ENTRY
        if why is not None:
            return ({Tag.MSG_TYPE: MARKET_DATA_REQUEST_REJECT, Tag.MD_REQ_ID: request, Tag.MD_REQ_REJ_REASON: why},)
        px = self._px(symbol, entry, last[symbol])
        if kind == SUBSCRIBE:
            self._subscriptions[request] = _Subscription(symbol, entry, px)
        head: Fields = {
            Tag.MSG_TYPE: MARKET_DATA_SNAPSHOT,
            Tag.MD_REQ_ID: request,
            Tag.SYMBOL: symbol,
            Tag.LAST_UPDATE_TIME: timestamp(now_ns),
        }
        if px is None:
            return ({**head, Tag.NO_MD_ENTRIES: "0"},)
        return ({**head, Tag.NO_MD_ENTRIES: "1", Tag.MD_ENTRY_TYPE: entry, Tag.MD_ENTRY_PX: px},)

    def moved(self, last: Mapping[str, int | None]) -> tuple[Fields, ...]:
        """Tell each subscriber whose price is another than the one told before, in order of subscription."""
        told: list[Fields] = []
        for request, subscription in self._subscriptions.items():
            px = self._px(subscription.symbol, subscription.entry, last[subscription.symbol])
            if px is None or px == subscription.px:
                continue
            told.append(
                {
                    Tag.MSG_TYPE: MARKET_DATA_INCREMENT,
                    Tag.MD_REQ_ID: request,
                    Tag.NO_MD_ENTRIES: "1",
                    Tag.MD_UPDATE_ACTION: "0" if subscription.px is None else "1",
                    Tag.MD_ENTRY_TYPE: subscription.entry,
                    Tag.SYMBOL: subscription.symbol,
                    Tag.MD_ENTRY_PX: px,
                }
            )
            subscription.px = px
        return tuple(told)

    def _px(self, symbol: str, entry: str, last_ticks: int | None) -> str | None:
        if last_ticks is None:
            return None
        return plain((last_ticks + AROUND_LAST[entry]) * self._instruments[symbol].tick_size)
