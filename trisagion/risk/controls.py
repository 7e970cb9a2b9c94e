"""The controls of an order, in order of precedence: the first that refuses is the answer.

`refusals` tests them, for every order. The table below has a row for each, with the function that names what it has
looked at, called for a refusal or when somebody asks for the whole verdict. All of it is pure.

RTS 6 (EU 2017/589, Art. 15) and SEC 15c3-5 are the origin of the controls. Orders in doubt count in full.
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final

from trisagion.market.calendar import closing_of
from trisagion.market.types import Instrument, Quote
from trisagion.orders.types import Intent, Side
from trisagion.risk.history import NOTHING, History, repeats, too_many_messages
from trisagion.risk.limits import Limits
from trisagion.risk.load import Account, Load, sum_of
from trisagion.safety.modes import Mode
from trisagion.units import Price, Quantity, exact_times, fits, minus, on_grid, plus, times

# To look up an enumeration's member costs as much as a sum (CPython 3.11), and a verdict would do it ten times.
_BUY, _SELL, _NORMAL = Side.BUY, Side.SELL, Mode.NORMAL
_ZERO: Final = Quantity(Decimal(0))

SYMBOL: Final = re.compile(r"[A-Z0-9./:_-]{1,32}")


class Refusal(StrEnum):
    """Why an intent was refused, ordered by descending precedence: the first that applies is the one that is given."""

    MODE_FORBIDS = "MODE_FORBIDS"
    REST = "REST"
    NUMBER_INSANE = "NUMBER_INSANE"
    LIMITS_UNKNOWN = "LIMITS_UNKNOWN"
    INSTRUMENT_UNKNOWN = "INSTRUMENT_UNKNOWN"
    RESTRICTED = "RESTRICTED"
    LOT_VIOLATED = "LOT_VIOLATED"
    QUOTE_STALE = "QUOTE_STALE"
    PRICE_COLLAR = "PRICE_COLLAR"
    DYNAMIC_COLLAR = "DYNAMIC_COLLAR"
    ORDER_QTY = "ORDER_QTY"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    POSITION_LIMIT = "POSITION_LIMIT"
    SHORT_QTY = "SHORT_QTY"
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"
    OPEN_NOTIONAL = "OPEN_NOTIONAL"
    CAPITAL = "CAPITAL"
    DUPLICATE = "DUPLICATE"
    ORDER_TO_TRADE = "ORDER_TO_TRADE"
    SELF_MATCH = "SELF_MATCH"
    TAKER_FORBIDDEN = "TAKER_FORBIDDEN"


_R = Refusal


@dataclass(slots=True, eq=False)
class Facts:
    """What is known of one intent, and what follows from it.

    Of the derived ones, `sane` says that every number can be computed with; without it no other but `adds` may be read.
    `touch` is the price at which the order would stand, `unit` the money that a unit of the instrument is worth at the
    higher of bid and ask, and `worth` the intent. `worst` is the position should the intent and every live order of its
    side fill, and nothing else; `adds` tells whether that is away from zero.

    Parameters
    ----------
    intent : Intent
        `qty` is what would be sent now.
    instrument : Instrument or None
        None: not in the master.
    quote : Quote or None
        None: no quote.
    position : Quantity
        The signed position in the intent's symbol.
    mode : Mode
    limits : Limits
        Those in force for the intent's symbol, venue and strategy.
    now_ns : int
    price : Price, optional
        Where the order would stand; without one it joins the best quote of its side, or, a taker, reaches the other.
    history : History, optional
        What happened lately.
    """

    intent: Intent
    instrument: Instrument | None
    quote: Quote | None
    position: Quantity
    mode: Mode
    limits: Limits
    now_ns: int
    price: Price | None = None
    history: History = NOTHING
    load: Load = field(init=False)
    account: Account = field(init=False)
    sane: bool = field(init=False)
    adds: bool = field(init=False)
    touch: Price = field(init=False)
    unit: Decimal = field(init=False)
    worth: Decimal = field(init=False)
    worst: Quantity = field(init=False)

    def __post_init__(self) -> None:
        intent, quote, instrument, price = self.intent, self.quote, self.instrument, self.price
        qty = intent.qty
        sane = fits(self.position) and fits(qty) and qty > _ZERO and (price is None or (fits(price) and price > _ZERO))
        if quote is not None:
            bid, ask, last = quote.bid, quote.ask, quote.last
            sane = sane and fits(bid) and fits(ask) and fits(last) and bid > _ZERO and ask > _ZERO and last > _ZERO
            if sane:
                mark = bid if bid > ask else ask  # noqa: FURB136 (a call, for every order)
                joined = ask if (intent.side is _BUY) is intent.taker else bid
                self.touch = joined if price is None else price
                if instrument is not None:
                    self.unit = unit = exact_times(mark, instrument.multiplier)
                    self.worth = exact_times(unit, qty)
        self.sane = sane

    def beside(self, load: Load, account: Account) -> None:
        """Say what it stands beside: the account's other live orders on all symbols, and its worth with those open."""
        self.load, self.account = load, account
        # All that may fill comes from beyond zero where it reduces: what buys up to zero at most was short before.
        self.adds = True
        if self.sane:
            self.worst = worst = worst_of(self.intent, self.position, load)
            self.adds = worst > _ZERO if self.intent.side is _BUY else worst < _ZERO

    @property
    def exposure(self) -> Decimal:
        """The worst position's notional as seen from the side that is added to; negative while it only reduces."""
        worst = self.worst
        return exact_times(self.unit, worst if self.intent.side is _BUY else worst.copy_negate())


def worst_of(intent: Intent, position: Quantity, load: Load) -> Quantity:
    """Return the position should the intent and every live order of its side and symbol fill, and nothing else."""
    side = intent.side
    fills = sum_of(load.leaves.get((intent.symbol, side), _ZERO), intent.qty)
    return sum_of(position, fills) if side is _BUY else Quantity(minus(position, fills))


def refusals(facts: Facts) -> Iterator[Refusal]:
    """Give every refusal of an intent in order of precedence, but those that cannot be judged where a `needed` one is.

    Whoever asks for the first alone has no other looked at. A function for each control would cost a fifth of a verdict
    more, for the calls alone.
    """
    if (yield from _unfit(facts)):
        yield from _beyond_limits(facts)
        touch, other = facts.touch, _other(facts)
        if other is not None and (touch >= other if facts.intent.side is _BUY else touch <= other):
            yield _R.SELF_MATCH
    if facts.intent.taker and facts.mode is not Mode.EMERGENCY:
        yield _R.TAKER_FORBIDDEN


def _unfit(facts: Facts) -> Generator[Refusal, None, bool]:
    """Give the refusals of what may not be traded now, or is not known well enough; tell whether prices are known."""
    mode, adds, intent, instrument, limits = facts.mode, facts.adds, facts.intent, facts.instrument, facts.limits
    if mode is not _NORMAL and (mode is Mode.PAUSE or adds):
        yield _R.MODE_FORBIDS
    if closing_of(instrument, facts.now_ns) is not None:
        yield _R.REST
    if not facts.sane:
        yield _R.NUMBER_INSANE
        return False
    if limits.unknown and adds:
        yield _R.LIMITS_UNKNOWN
    symbol = intent.symbol
    if instrument is None or instrument.symbol != symbol or not _is_word(symbol):
        yield _R.INSTRUMENT_UNKNOWN
        return False
    if adds and symbol in limits.restricted:
        yield _R.RESTRICTED
    if not on_grid(intent.qty, instrument.lot_size):
        yield _R.LOT_VIOLATED
    quote = facts.quote
    if quote is None or quote.symbol != symbol or not 0 <= facts.now_ns - quote.learned_ns <= limits.quote_age_ns_max:
        yield _R.QUOTE_STALE
        return False
    return True


def _beyond_limits(facts: Facts) -> Iterator[Refusal]:
    """Give the refusals by a limit that is a number: of the order, of the position, of the account."""
    limits, load, account, history = facts.limits, facts.load, facts.account, facts.history
    intent, worth, adds = facts.intent, facts.worth, facts.adds
    if _outside_collar(facts):
        yield _R.PRICE_COLLAR
    if _runs_away(facts):
        yield _R.DYNAMIC_COLLAR
    if intent.qty > limits.order_qty_max:
        yield _R.ORDER_QTY
    if worth > limits.order_notional_max:
        yield _R.ORDER_NOTIONAL
    # Only the side that is added to: a position beyond its limit must not lock out the order that brings it back.
    if adds and facts.exposure > limits.position_notional_max:
        yield _R.POSITION_LIMIT
    if adds and intent.side is _SELL and facts.worst.copy_negate() > limits.short_qty_max:
        yield _R.SHORT_QTY
    if load.orders >= limits.orders_max:
        yield _R.TOO_MANY_ORDERS
    if plus(account.open, worth) > limits.open_notional_max:
        yield _R.OPEN_NOTIONAL
    if adds and _beyond_capital(facts):
        yield _R.CAPITAL
    if history.alike and not intent.taker and repeats(history.alike, facts.touch) >= limits.alike_orders_max:
        yield _R.DUPLICATE
    if adds and too_many_messages(history, limits.order_trade_ratio_max):
        yield _R.ORDER_TO_TRADE


@lru_cache(maxsize=4096)
def _is_word(symbol: str) -> bool:
    return SYMBOL.fullmatch(symbol) is not None


def _outside_collar(facts: Facts) -> bool:
    """Compare with the middle of the quote and with the last trade; a tick from either is always allowed.

    Where the quote is one tick to both sides of a cheap instrument's last trade, a fraction of it is less than a tick.
    """
    quote, instrument = facts.quote, facts.instrument
    assert quote is not None and instrument is not None
    touch, last, collar, tick = facts.touch, quote.last, facts.limits.price_collar, instrument.tick_size
    away = minus(touch, last).copy_abs()
    if away > tick and away > times(collar, last):
        return True
    bid, ask = quote.bid, quote.ask
    # Twice the distance from the middle: of one that joins a side of the quote it is the spread.
    twice = (minus(ask, bid) if facts.price is None else plus(minus(touch, bid), minus(touch, ask))).copy_abs()
    return twice > plus(tick, tick) and twice > times(collar, plus(bid, ask))


def _runs_away(facts: Facts) -> bool:
    """Compare with where the market traded; a tick is always allowed, and an emergency must get out of any market."""
    vwap, atr, instrument = facts.history.vwap, facts.history.atr, facts.instrument
    if vwap is None or atr is None or facts.intent.taker:
        return False
    assert instrument is not None
    allowed = plus(times(facts.limits.collar_atr_max, atr), instrument.tick_size)
    return minus(facts.touch, vwap).copy_abs() > allowed


def _beyond_capital(facts: Facts) -> bool:
    account = facts.account
    if account.equity is None:
        return True
    stake = plus(plus(account.gross, account.open), facts.worth)
    return stake > times(account.equity, facts.limits.gross_leverage_max)


def _other(facts: Facts) -> Price | None:
    """Return the price of the live order of the other side that would trade first, None where there is none."""
    best = facts.load.best
    return best.get((facts.intent.symbol, _SELL if facts.intent.side is _BUY else _BUY)) if best else None


Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Control:
    """One control. `key` names its limit where it has one, `looked_at` what a refusal tells.

    `needed` says that what follows, but the last, cannot be judged where this refuses.
    """

    refusal: Refusal
    what: str
    looked_at: Callable[[Facts], Values]
    key: str | None = None
    needed: bool = False


def _mode(facts: Facts) -> Values:
    return {"mode": facts.mode, "side": facts.intent.side, "qty": facts.intent.qty, "position": facts.position}


def _numbers(facts: Facts) -> Values:
    quote = facts.quote
    given = (facts.intent.qty,) if quote is None else (facts.intent.qty, quote.bid, quote.ask, quote.last)
    limit = {} if facts.price is None else {"price": repr(facts.price)}
    return {"position": repr(facts.position), "qty_bid_ask_last": repr(given), **limit}


def _lot(facts: Facts) -> Values:
    assert facts.instrument is not None
    return {"qty": facts.intent.qty, "lot": facts.instrument.lot_size}


def _age(facts: Facts) -> Values:
    if facts.quote is None or facts.quote.symbol != facts.intent.symbol:
        return {"quote": "none"}
    return {"age_ns": facts.now_ns - facts.quote.learned_ns, "max_ns": facts.limits.quote_age_ns_max}


def _collar(facts: Facts) -> Values:
    quote = facts.quote
    assert quote is not None
    prices = {"bid": quote.bid, "ask": quote.ask, "last": quote.last}
    return {"price": facts.touch, **prices, "max": facts.limits.price_collar}


def _traded(facts: Facts) -> Values:
    vwap, atr = facts.history.vwap, facts.history.atr
    known = {"vwap": "unknown" if vwap is None else vwap, "atr": "unknown" if atr is None else atr}
    return {"price": facts.touch, **known, "max": facts.limits.collar_atr_max}


def _units(facts: Facts) -> Values:
    return {"qty": facts.intent.qty, "max": facts.limits.order_qty_max}


def _order_worth(facts: Facts) -> Values:
    return {"notional": facts.worth, "max": facts.limits.order_notional_max}


def _position(facts: Facts) -> Values:
    return {"notional": facts.exposure, "max": facts.limits.position_notional_max, "worst": facts.worst}


def _short(facts: Facts) -> Values:
    return {"worst": facts.worst, "max": facts.limits.short_qty_max}


def _orders(facts: Facts) -> Values:
    return {"live": facts.load.orders, "max": facts.limits.orders_max}


def _open(facts: Facts) -> Values:
    return {"open": facts.account.open, "notional": facts.worth, "max": facts.limits.open_notional_max}


def _capital(facts: Facts) -> Values:
    account = facts.account
    equity = "unknown" if account.equity is None else account.equity
    stake = {"gross": account.gross, "open": account.open, "notional": facts.worth}
    return {**stake, "equity": equity, "max": facts.limits.gross_leverage_max}


def _alike(facts: Facts) -> Values:
    alike = repeats(facts.history.alike, facts.touch)
    return {"price": facts.touch, "qty": facts.intent.qty, "alike": alike, "max": facts.limits.alike_orders_max}


def _talked(facts: Facts) -> Values:
    history = facts.history
    return {"messages": history.messages, "trades": history.trades, "max": facts.limits.order_trade_ratio_max}


def _own(facts: Facts) -> Values:
    return {"price": facts.touch, "own": _other(facts) or "none"}


CONTROLS: Final = (
    Control(
        _R.MODE_FORBIDS,
        "`pause` allows nothing; `reduce` and `emergency` only what lowers the position even when every live order of "
        "its side fills first, and never carries it through zero",
        _mode,
    ),
    Control(
        _R.REST,
        "nothing is traded in a rest period or a closure of its exchange, nor ordered in the minute before it",
        lambda facts: {"rest": closing_of(facts.instrument, facts.now_ns) or "no"},
    ),
    Control(
        _R.NUMBER_INSANE,
        "quantity and prices are finite decimals above zero of at most 18 digits, the position a finite one",
        _numbers,
        needed=True,
    ),
    Control(
        _R.LIMITS_UNKNOWN,
        "a limit without a version in force, or one that cannot be understood, denies all that does not reduce",
        lambda facts: {"limits": facts.limits.unknown or "known"},
    ),
    Control(
        _R.INSTRUMENT_UNKNOWN,
        "the symbol is one of the instruments, and a word that every venue can be told",
        lambda facts: {"symbol": facts.intent.symbol},
        needed=True,
    ),
    Control(
        _R.RESTRICTED,
        "the symbol is not on the restricted list (`risk.restricted`). What only reduces is exempt",
        lambda facts: {"symbol": facts.intent.symbol, "restricted": sorted(facts.limits.restricted)},
    ),
    Control(_R.LOT_VIOLATED, "the quantity is a whole number of lots", _lot),
    Control(
        _R.QUOTE_STALE,
        "the quote is of this symbol, not too old, and not of the future",
        _age,
        "quote_age_ns_max",
        needed=True,
    ),
    Control(
        _R.PRICE_COLLAR,
        "the price lies within this fraction, or a tick, of the middle of the quote and of the last trade",
        _collar,
        "price_collar",
    ),
    Control(
        _R.DYNAMIC_COLLAR,
        "the price lies within so many average true ranges of a minute, and a tick, of the mean price of five minutes "
        "by volume, where both are known. An emergency's order is exempt",
        _traded,
        "collar_atr_max",
    ),
    Control(_R.ORDER_QTY, "the quantity of one order", _units, "order_qty_max"),
    Control(
        _R.ORDER_NOTIONAL,
        "the notional of one order at the higher of bid and ask",
        _order_worth,
        "order_notional_max",
    ),
    Control(
        _R.POSITION_LIMIT,
        "the notional of the position should this and every live order of its side fill, and nothing else",
        _position,
        "position_notional_max",
    ),
    Control(
        _R.SHORT_QTY,
        "the units that could be short should this and every live sale fill: what can be borrowed. Zero: no short sale",
        _short,
        "short_qty_max",
    ),
    Control(_R.TOO_MANY_ORDERS, "live orders with this one", _orders, "orders_max"),
    Control(
        _R.OPEN_NOTIONAL,
        "the notional of all that live orders may still fill, with this one",
        _open,
        "open_notional_max",
    ),
    Control(
        _R.CAPITAL,
        "positions, live orders and this one, all in full, as a multiple of equity; unknown equity denies. What only "
        "reduces is exempt",
        _capital,
        "gross_leverage_max",
    ),
    Control(
        _R.DUPLICATE,
        "orders of different intents, alike in symbol, side, quantity and price, within five seconds, with this one. "
        "It is not sent; the next cycle decides anew. An emergency's order is exempt",
        _alike,
        "alike_orders_max",
    ),
    Control(
        _R.ORDER_TO_TRADE,
        "messages to the venue for each trade, over fifteen minutes; before the first trade as if there was one. What "
        "only reduces is exempt",
        _talked,
        "order_trade_ratio_max",
    ),
    Control(
        _R.SELF_MATCH,
        "no live order of ours stands on the other side where this one would trade with it",
        _own,
    ),
    Control(
        _R.TAKER_FORBIDDEN,
        "nothing but an emergency takes liquidity",
        lambda facts: {"taker": str(facts.intent.taker).lower(), "mode": facts.mode},
    ),
)
assert tuple(control.refusal for control in CONTROLS) == tuple(Refusal), "the controls stand in order of precedence"
