"""What must be so before an order may go to Interactive Brokers: the right account, the hour, and a price that makes.

The protocol of ib_async and ib_insync has no post-only order (it ends at server version 178; TWS knows `postOnly` from
216 on). So a maker-only order cannot be sent, only guarded: by a price that is no best of the other side, on a quote
that is fresh, straight to an exchange. Between the quote and the exchange the market may still move. Whoever cannot
live with that says "refuse", which is the default of a live account; a fill that took shuts the gate either way.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError, quoted
from trisagion.market.types import Quote
from trisagion.orders.types import Order, Side
from trisagion.units import on_grid, plain

PAPER: Final = "paper"
LIVE: Final = "live"
PORTS: Final = {7497: PAPER, 4002: PAPER, 7496: LIVE, 4001: LIVE}
"""The standard ports of TWS and IB Gateway (IBKR, TWS API, "Initial setup"); any other says nothing."""
QUOTE_NS_MAX: Final = 250_000_000
"""An older quote is no evidence of where the other side stands (reliability 2.3)."""
SMART: Final = "SMART"
"""Routes as IB likes, also to where it takes."""

_PAPER_ACCOUNT: Final = re.compile(r"D[A-Z]{1,2}[0-9]+")
_LIVE_ACCOUNT: Final = re.compile(r"[A-CE-Z][A-Z]?[0-9]+")


def environment_of(account: str) -> str | None:
    """Return what an account's prefix says: DU, DF … paper; U, F, I … live; None where it is neither."""
    if _PAPER_ACCOUNT.fullmatch(account):
        return PAPER
    return LIVE if _LIVE_ACCOUNT.fullmatch(account) else None


def disagreements(environment: str, account: str, port: int | None = None) -> list[str]:
    """Say, a line each, where account or port belong to another environment than the declared one."""
    if environment not in {PAPER, LIVE}:
        return [f"ib.environment: expected {PAPER!r} or {LIVE!r}, found {quoted(environment)}"]
    found = []
    theirs = environment_of(account)
    if theirs is None:
        found.append(f"ib.account: expected an account as DU1234567 or U1234567, found {quoted(account)}")
    elif theirs != environment:
        found.append(f"ib.account: expected one for {environment}, found {quoted(account)}, which is {theirs}")
    by_port = PORTS.get(port) if port is not None else None
    if by_port is not None and by_port != environment:
        found.append(f"ib.port: expected one for {environment}, found {port}, which is for {by_port}")
    return found


def check_environment(environment: str, account: str, port: int | None = None) -> None:
    """Raise `ConfigError` unless declared environment, account and port agree."""
    found = disagreements(environment, account, port)
    if found:
        raise ConfigError("\n".join(found))


@dataclass(frozen=True, slots=True)
class ResetWindow:
    """Hours of each night, on a zone's clock, in which nothing new is sent; `begins` may be later than `ends`."""

    begins: time = time(23, 40)
    ends: time = time(0, 50)
    zone: str = "America/New_York"

    @staticmethod
    def parse(text: str) -> "ResetWindow":
        """Read "23:40-00:50 America/New_York"; `ConfigError` for anything else."""
        hours, _, zone = text.partition(" ")
        begins, _, ends = hours.partition("-")
        try:
            ZoneInfo(zone)
            return ResetWindow(time.fromisoformat(begins), time.fromisoformat(ends), zone)
        except (ValueError, OSError, KeyError):
            raise ConfigError(
                f"reset window: expected HH:MM-HH:MM and a zone, as 23:40-00:50 America/New_York, found {quoted(text)}"
            ) from None

    def holds(self, now_ns: int) -> bool:
        """Tell whether an instant lies in the window: its begin does, its end does not."""
        at = _local(now_ns, self.zone).time()
        if self.begins <= self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends


RESET_WINDOWS: Final = (ResetWindow(),)
"""IBKR, "System status": the Americas reset between 23:45 and 00:45 ET, and TWS was seen to go at 23:45:00."""


def resetting(windows: tuple[ResetWindow, ...], now_ns: int) -> bool:
    """Tell whether an instant lies in any of the windows."""
    return any(window.holds(now_ns) for window in windows)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _local(now_ns: int, zone: str) -> datetime:
    since = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=now_ns // SECOND_NS)
    return since.astimezone(_zone(zone))


def same_day(one_ns: int, other_ns: int, zone: str) -> bool:
    """Tell whether two instants fall on one date of a zone."""
    return _local(one_ns, zone).date() == _local(other_ns, zone).date()


class Making(StrEnum):
    """What is done about maker-only orders, where a venue knows no such order."""

    REFUSE = "refuse"
    GUARDED = "guarded"


@dataclass(frozen=True, slots=True)
class VenueRule:
    """What a venue forbids an order at the last look before the socket.

    `routes` gives each symbol the exchange that its orders go to. `windows` are on the platform's clock, as all that is
    decided is.
    """

    making: Making
    routes: dict[str, str]
    windows: tuple[ResetWindow, ...] = RESET_WINDOWS

    def forbids(self, order: Order, quote: Quote | None, tick: Decimal, now_ns: int) -> str | None:
        """Say why an order, or what is wanted of it, must not go out now."""
        if resetting(self.windows, now_ns):
            return "RESET_WINDOW: the venue's servers are being reset"
        return maker_refusal(order, quote, tick, now_ns, self)


def maker_refusal(order: Order, quote: Quote | None, tick: Decimal, now_ns: int, rule: VenueRule) -> str | None:
    """Say why a maker-only order must not be sent to a venue that cannot promise to make it; None: it may.

    An Emergency's taker passes: it is immediate-or-cancel, and is to take. A replace counts as what it asks for.
    """
    if order.taker:
        return None
    if rule.making is Making.REFUSE:
        return "NO_POST_ONLY: this venue's protocol has no post-only order, and ib.maker is 'refuse'"
    price = order.price if order.wanted_price is None else order.wanted_price
    if price is None or not on_grid(price, tick):
        return f"OFF_TICK: price={price} tick={plain(tick)}"
    route = rule.routes.get(order.symbol)
    if not route or route == SMART:
        return f"NOT_DIRECT: expected an exchange, found {route or 'none'} for {order.symbol}"
    if quote is None:
        return f"NO_QUOTE: {order.symbol}"
    age_ns = now_ns - quote.learned_ns
    if not 0 <= age_ns <= QUOTE_NS_MAX:
        return f"QUOTE_STALE: age_ns={age_ns} limit_ns={QUOTE_NS_MAX}"
    crosses = price > quote.ask - tick if order.side is Side.BUY else price < quote.bid + tick
    if crosses:
        return f"WOULD_TAKE: price={plain(price)} bid={plain(quote.bid)} ask={plain(quote.ask)}"
    return None
